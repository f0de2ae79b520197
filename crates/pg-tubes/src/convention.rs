//! What published evaluations do with tubes, by name. They disagree by points on the same files.
//!
//! ACT: Kalogeiton et al., "Action Tubelet Detector for Spatio-Temporal Action Localization", ICCV 2017 (also in
//! MOC and 3D-RetinaNet). Voc: Singh et al., "Online Real-time Multiple Spatiotemporal Action Localisation and
//! Prediction", ICCV 2017, the MATLAB evaluation. Cheron: Cheron et al., "A Flexible Model for Training Action
//! Localization with Varying Levels of Supervision", NeurIPS 2018.

use crate::tube::Tube;

/// A published way to compare detected tubes with the ground truth.
///
/// In all of them the detections of a class are taken by falling score, and each ground-truth tube is found once
/// at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Convention {
    /// A detection finds the ground-truth tube of its class that it overlaps most with, of those not yet found,
    /// from an overlap of the threshold on. Detections of a class in a video that overlap by more than 0.3 with a
    /// surer one are dropped first. Average precision is the trapezoid area.
    #[default]
    Act,
    /// As ACT, but the overlap has to exceed the threshold, tubes with one common frame do not overlap, nothing is
    /// dropped, a class that only the detections name counts with 0, and average precision is the area under the
    /// envelope. That MATLAB code also moves each detection by a pixel, which belongs to its files and is left out
    /// here.
    Voc,
    /// A detection finds the ground-truth tube of its class that it overlaps most with, from an overlap of the
    /// threshold on, unless that is found already: then it is wrong, even if it would fit another. Detections that
    /// overlap by 0.2 or more with a surer one are dropped first. Average precision is the area under the
    /// envelope.
    Cheron,
}

impl Convention {
    /// All, in the order of the tools' age.
    pub const ALL: [Self; 3] = [Self::Act, Self::Voc, Self::Cheron];

    /// Its name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Act => "act",
            Self::Voc => "voc",
            Self::Cheron => "cheron",
        }
    }

    /// The overlap of two tubes in space and time, in [0, 1].
    pub fn overlap(self, a: &Tube, b: &Tube) -> f64 {
        match self {
            Self::Voc if a.common_frames(b).len() == 1 => 0.0,
            _ => a.spatio_temporal_iou(b),
        }
    }

    /// Whether that overlap is enough.
    pub fn is_match(self, overlap: f64, threshold: f64) -> bool {
        match self {
            Self::Act | Self::Cheron => overlap >= threshold,
            Self::Voc => overlap > threshold,
        }
    }

    /// Whether a detection is dropped beforehand for its overlap with a surer one of its class and video.
    pub fn is_suppressed(self, overlap: f64) -> bool {
        match self {
            Self::Act => overlap > 0.3,
            Self::Voc => false,
            Self::Cheron => overlap >= 0.2,
        }
    }

    /// Whether ground truth that is found already is left to no other detection, which then may find the next
    /// best.
    pub fn skips_found(self) -> bool {
        self != Self::Cheron
    }

    /// Whether a class that only the detections name counts, with 0.
    pub fn counts_classes_without_ground_truth(self) -> bool {
        self == Self::Voc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_common_frame_is_none_for_voc() {
        let tube = |start| Tube { start, boxes: vec![[0.0, 0.0, 10.0, 10.0].into(); 10] };
        let (a, b) = (tube(1), tube(10));
        assert_eq!(
            Convention::ALL.map(|convention| convention.overlap(&a, &b)),
            [1.0 / 19.0, 0.0, 1.0 / 19.0]
        );
        assert_eq!(Convention::Voc.overlap(&a, &tube(9)), 2.0 / 18.0);
    }

    #[test]
    fn thresholds_are_met_or_exceeded() {
        assert_eq!(Convention::ALL.map(|convention| convention.is_match(0.5, 0.5)), [true, false, true]);
        assert_eq!(Convention::ALL.map(|convention| convention.is_suppressed(0.3)), [false, false, true]);
        assert_eq!(Convention::ALL.map(|convention| convention.is_suppressed(0.31)), [true, false, true]);
        assert_eq!(Convention::ALL.map(|convention| convention.is_suppressed(0.2)), [false, false, true]);
        assert_eq!(Convention::default().name(), "act");
    }
}
