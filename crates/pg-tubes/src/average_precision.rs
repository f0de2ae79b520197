//! Average precision: the area under the curve of precision over recall, in its two forms.
//!
//! ACT takes the curve as it is; PASCAL VOC 2011, and with it Singh et al. and Cheron et al., first raises each
//! precision to the greatest one at the same or a higher recall. With few ground-truth tubes the two differ by
//! points.

use serde::Serialize;

use crate::convention::Convention;

/// Average precision in both forms, each in [0, 1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AveragePrecision {
    /// See [`trapezoid`].
    pub trapezoid: f64,
    /// See [`envelope`].
    pub envelope: f64,
}

impl AveragePrecision {
    /// Of detections in order of falling score: whether each is a hit.
    pub fn new(hits: &[bool], ground_truth: usize) -> Self {
        Self { trapezoid: trapezoid(hits, ground_truth), envelope: envelope(hits, ground_truth) }
    }

    /// The form that a convention reports.
    pub fn by(self, convention: Convention) -> f64 {
        match convention {
            Convention::Act => self.trapezoid,
            Convention::Voc | Convention::Cheron => self.envelope,
        }
    }

    /// The mean of several; 0 without any.
    pub fn mean(values: &[Self]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = |form: fn(&Self) -> f64| total(values.iter().map(form)) / count;
        Self { trapezoid: mean(|value| value.trapezoid), envelope: mean(|value| value.envelope) }
    }
}

/// The area under the straight lines between the points of the curve, which starts at precision 1 and recall 0
/// (ACT). `hits` are those of the detections in order of falling score. 0 without ground truth.
pub fn trapezoid(hits: &[bool], ground_truth: usize) -> f64 {
    let mut before = (1.0, 0.0);
    let areas = curve(hits, ground_truth).map(|(precision, recall)| {
        let area = (recall - before.1) * (precision + before.0) / 2.0;
        before = (precision, recall);
        area
    });
    total(areas)
}

/// The area under the precision envelope (PASCAL VOC 2011): to each step of recall belongs the greatest precision
/// at this or a higher recall. 0 without ground truth.
pub fn envelope(hits: &[bool], ground_truth: usize) -> f64 {
    let points: Vec<(f64, f64)> = curve(hits, ground_truth).collect();
    let recall_before = |index: usize| index.checked_sub(1).map_or(0.0, |before| points[before].1);
    let mut highest = 0.0_f64;
    let areas = points.iter().enumerate().rev().map(|(index, &(precision, recall))| {
        highest = highest.max(precision);
        (recall - recall_before(index)) * highest
    });
    total(areas)
}

/// The sum; of nothing 0, where `sum` gives -0, which a report would show.
fn total(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.fold(0.0, |total, number| total + number)
}

/// Precision and recall after each detection; no point without ground truth.
fn curve(hits: &[bool], ground_truth: usize) -> impl Iterator<Item = (f64, f64)> {
    let hits = if ground_truth == 0 { &[] } else { hits };
    let mut found = 0_usize;
    (1_usize..).zip(hits).map(move |(detections, &hit)| {
        found += usize::from(hit);
        (found as f64 / detections as f64, found as f64 / ground_truth as f64)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn areas_are_those_of_the_published_tools() {
        let cases: [(&[u8], usize, f64, f64); 6] = [
            (&[1, 0, 1], 2, 0.791667, 0.833333),
            (&[0, 1], 1, 0.25, 0.5),
            (&[1, 1, 0, 0, 1], 4, 0.6375, 0.65),
            (&[1, 0, 0, 1, 1, 0], 3, 0.655556, 0.733333),
            (&[1], 2, 0.5, 0.5),
            (&[0, 0], 3, 0.0, 0.0),
        ];
        for (hits, ground_truth, trapezoid, envelope) in cases {
            let hits: Vec<bool> = hits.iter().map(|&hit| hit == 1).collect();
            let found = AveragePrecision::new(&hits, ground_truth);
            assert!((found.trapezoid - trapezoid).abs() < 1e-6, "{found:?} is not {trapezoid}");
            assert!((found.envelope - envelope).abs() < 1e-6, "{found:?} is not {envelope}");
        }
    }

    #[test]
    fn nothing_to_find_or_nothing_found_is_zero() {
        for (hits, ground_truth) in [(&[][..], 0), (&[][..], 3), (&[false][..], 0), (&[true][..], 0)] {
            assert_eq!(AveragePrecision::new(hits, ground_truth), AveragePrecision::default());
        }
        assert_eq!(AveragePrecision::mean(&[]), AveragePrecision::default());
    }

    #[test]
    fn conventions_report_their_form() {
        let found = AveragePrecision { trapezoid: 0.25, envelope: 0.5 };
        assert_eq!(Convention::ALL.map(|convention| found.by(convention)), [0.25, 0.5, 0.5]);
        let mean = AveragePrecision::mean(&[found, AveragePrecision::default()]);
        assert_eq!(mean, AveragePrecision { trapezoid: 0.125, envelope: 0.25 });
    }

    proptest! {
        #[test]
        fn the_envelope_is_never_below_the_curve(hits: Vec<bool>, missed in 0usize..5) {
            let ground_truth = hits.iter().filter(|&&hit| hit).count() + missed;
            let found = AveragePrecision::new(&hits, ground_truth);
            prop_assert!(found.trapezoid >= 0.0 && found.envelope <= 1.0 + 1e-12);
            prop_assert!(found.envelope >= found.trapezoid - 1e-12, "{found:?}");
        }
    }

    #[test]
    fn nothing_is_worth_zero_and_not_minus_zero() {
        for value in [trapezoid(&[], 3), envelope(&[], 3), envelope(&[true], 0), trapezoid(&[true], 0)] {
            assert!(value == 0.0 && value.is_sign_positive(), "{value}");
        }
        let mean = AveragePrecision::mean(&[]);
        assert!(mean.trapezoid.is_sign_positive() && mean.envelope.is_sign_positive());
    }
}
