//! A person over time: a box in each of a run of frames.

use std::ops::Range;

use crate::bounding_box::BoundingBox;
use serde::{Deserialize, Serialize};

/// Boxes in consecutive frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tube {
    /// The first frame, from 0.
    pub start: usize,
    /// A box in this and each following frame; at least one.
    pub boxes: Vec<BoundingBox>,
}

impl Tube {
    /// The frame after the last.
    pub fn end(&self) -> usize {
        self.start.saturating_add(self.boxes.len())
    }

    /// Its box in a frame, if it has one there.
    pub fn box_at(&self, frame: usize) -> Option<BoundingBox> {
        self.boxes.get(frame.checked_sub(self.start)?).copied()
    }

    /// The frames that it shares with another, over those that either has; in [0, 1].
    pub fn temporal_iou(&self, other: &Self) -> f64 {
        let common = self.common_frames(other).len();
        if common == 0 {
            return 0.0;
        }
        let union = self.end().max(other.end()) - self.start.min(other.start);
        common as f64 / union as f64
    }

    /// The mean overlap of the boxes in the frames that it shares with another, in [0, 1]; 0 if it shares none.
    pub fn spatial_iou(&self, other: &Self) -> f64 {
        let common = self.common_frames(other);
        if common.is_empty() {
            return 0.0;
        }
        let pairs = self.within(&common).iter().zip(other.within(&common));
        pairs.map(|(a, b)| a.iou(*b)).sum::<f64>() / common.len() as f64
    }

    /// The overlap in space and time ("3D IoU"), in [0, 1]: the temporal one times the spatial one, as ACT, Singh
    /// et al. and Cheron et al. define it. It is the mean overlap of the boxes over all frames that either tube
    /// has, with 0 where only one has a box.
    pub fn spatio_temporal_iou(&self, other: &Self) -> f64 {
        self.temporal_iou(other) * self.spatial_iou(other)
    }

    /// The part of it in a range of frames; `None` if it has no box there.
    #[must_use]
    pub fn slice(&self, frames: Range<usize>) -> Option<Self> {
        let frames = frames.start.max(self.start)..frames.end.min(self.end());
        let boxes = self.within(&frames);
        (!boxes.is_empty()).then(|| Self { start: frames.start, boxes: boxes.to_vec() })
    }

    pub(crate) fn common_frames(&self, other: &Self) -> Range<usize> {
        let start = self.start.max(other.start);
        start..self.end().min(other.end()).max(start)
    }

    /// The boxes in a range of its frames.
    fn within(&self, frames: &Range<usize>) -> &[BoundingBox] {
        let range = frames.start.saturating_sub(self.start)..frames.end.saturating_sub(self.start);
        self.boxes.get(range).unwrap_or_default()
    }

    /// What is wrong with it, and what to do.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.boxes.is_empty() {
            return Err("ends before it starts; give it a box in at least one frame, or remove it".to_owned());
        }
        if self.start.checked_add(self.boxes.len()).is_none() {
            return Err(format!("starts at frame {}; count frames from 0", self.start));
        }
        (self.start..).zip(&self.boxes).try_for_each(|(frame, bounding_box)| {
            bounding_box.check().map_err(|problem| format!("frame {frame}: {problem}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From and to frames that both belong to it, with one box.
    fn tube(frames: std::ops::RangeInclusive<usize>, corners: [f64; 4]) -> Tube {
        Tube { start: *frames.start(), boxes: frames.map(|_| corners.into()).collect() }
    }

    const SQUARE: [f64; 4] = [0.0, 0.0, 10.0, 10.0];

    #[test]
    fn overlaps_are_those_of_the_published_tools() {
        let cases = [
            (tube(1..=10, SQUARE), tube(6..=15, SQUARE), 0.333333),
            (tube(1..=10, SQUARE), tube(10..=19, SQUARE), 0.052632),
            (tube(1..=10, SQUARE), tube(1..=10, [5.0, 5.0, 15.0, 15.0]), 0.142857),
            (tube(1..=10, SQUARE), tube(6..=15, [5.0, 0.0, 15.0, 10.0]), 0.111111),
            (tube(1..=10, SQUARE), tube(11..=19, SQUARE), 0.0),
        ];
        for (a, b, expected) in cases {
            let overlap = a.spatio_temporal_iou(&b);
            assert!((overlap - expected).abs() < 1e-6, "{overlap} is not {expected}");
            assert_eq!(overlap, b.spatio_temporal_iou(&a));
        }
    }

    #[test]
    fn only_the_common_frames_count_in_space() {
        let mut moving = tube(0..=3, [50.0, 50.0, 60.0, 60.0]);
        moving.boxes[2] = SQUARE.into();
        moving.boxes[3] = [0.0, 0.0, 10.0, 5.0].into();
        let still = tube(2..=5, SQUARE);
        assert_eq!(moving.spatial_iou(&still), 0.75);
        assert_eq!(moving.temporal_iou(&still), 2.0 / 6.0);
        assert_eq!(moving.box_at(3), Some([0.0, 0.0, 10.0, 5.0].into()));
        assert_eq!((moving.box_at(4), still.box_at(1)), (None, None));
    }

    #[test]
    fn a_slice_keeps_its_place_in_time() {
        let whole = tube(3..=8, SQUARE);
        assert_eq!(whole.slice(5..100), Some(tube(5..=8, SQUARE)));
        assert_eq!(whole.slice(0..4), Some(tube(3..=3, SQUARE)));
        assert_eq!(whole.slice(9..12), None);
        assert_eq!(whole.slice(0..3), None);
        assert_eq!(whole.slice(6..6), None);
    }

    #[test]
    fn the_end_of_time_is_no_trouble() {
        let last = Tube { start: usize::MAX, boxes: vec![SQUARE.into(); 3] };
        let first = tube(0..=1, SQUARE);
        assert_eq!(last.end(), usize::MAX);
        assert_eq!(last.spatio_temporal_iou(&first), 0.0);
        assert_eq!(last.slice(0..usize::MAX), None);
        let empty = Tube { start: 1, boxes: vec![] };
        assert_eq!(empty.spatio_temporal_iou(&first), 0.0);
        assert_eq!(empty.spatio_temporal_iou(&empty), 0.0);
    }

    proptest! {
        /// The definition without the product: the mean over the frames of the union.
        #[test]
        fn overlap_is_the_mean_over_all_frames(
            a in (0usize..6, 1usize..8, 0.0f64..9.0), b in (0usize..6, 1usize..8, 0.0f64..9.0)
        ) {
            let tube = |(start, length, shift): (usize, usize, f64)| {
                let corners = |i| [shift + i as f64, 0.0, shift + i as f64 + 10.0, 10.0].into();
                Tube { start, boxes: (0..length).map(corners).collect() }
            };
            let (a, b) = (tube(a), tube(b));
            let frames = |frame: &usize| a.box_at(*frame).is_some() || b.box_at(*frame).is_some();
            let overlap = |frame| Some(a.box_at(frame)?.iou(b.box_at(frame)?));
            let overlaps: Vec<f64> = (0..20).filter(frames).map(|frame| overlap(frame).unwrap_or(0.0)).collect();
            // Tubes apart in time have nothing in common either way.
            let mean = overlaps.iter().sum::<f64>() / overlaps.len() as f64;
            prop_assert!((a.spatio_temporal_iou(&b) - mean).abs() < 1e-12);
        }
    }
}
