//! Average precision of each class, and the mean over the classes.

use crate::average_precision::AveragePrecision;
use crate::ranking::falling;

/// What the literature reports: 0.2, and 0.5 to 0.95 in steps of 0.05.
pub const THRESHOLDS: [f64; 11] = [0.2, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];

/// The thresholds whose mean is reported as "0.5:0.95".
pub const STRICT_THRESHOLDS: [f64; 10] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];

/// Average precision of some classes.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanAveragePrecision {
    /// Every class that counts, in alphabetical order.
    pub classes: Vec<ClassPrecision>,
}

/// Average precision of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassPrecision {
    /// Name of the class.
    pub label: String,
    /// How much there is to find.
    pub ground_truth: usize,
    /// How much was detected, after suppression.
    pub detections: usize,
    /// Average precision at each threshold of the overlap.
    pub by_threshold: Vec<(f64, AveragePrecision)>,
}

impl MeanAveragePrecision {
    /// The mean over classes and thresholds; 0 without classes, `None` if a threshold was not evaluated.
    pub fn over(&self, thresholds: &[f64]) -> Option<AveragePrecision> {
        let classes: Option<Vec<_>> = self.classes.iter().map(|class| class.over(thresholds)).collect();
        Some(AveragePrecision::mean(&classes?))
    }
}

impl ClassPrecision {
    /// The mean over thresholds; `None` if one was not evaluated.
    pub fn over(&self, thresholds: &[f64]) -> Option<AveragePrecision> {
        let at = |threshold: &f64| {
            self.by_threshold.iter().find(|(at, _)| at == threshold).map(|(_, value)| *value)
        };
        let values: Option<Vec<_>> = thresholds.iter().map(at).collect();
        Some(AveragePrecision::mean(&values?))
    }
}

/// Average precision of detections with a score each, which are hits or not; equal scores keep their order.
pub(crate) fn of_scored(mut detections: Vec<(f64, bool)>, ground_truth: usize) -> AveragePrecision {
    detections.sort_by(|a, b| falling(a.0, b.0));
    let hits: Vec<bool> = detections.into_iter().map(|(_, hit)| hit).collect();
    AveragePrecision::new(&hits, ground_truth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_plain_over_classes_and_thresholds() {
        let both = |value| AveragePrecision { trapezoid: value, envelope: value };
        let class = |low, high| ClassPrecision {
            label: String::new(),
            ground_truth: 1,
            detections: 1,
            by_threshold: vec![(0.2, both(low)), (0.5, both(high))],
        };
        let map = MeanAveragePrecision { classes: vec![class(1.0, 0.5), class(0.5, 0.0)] };
        assert_eq!(map.over(&[0.2]), Some(both(0.75)));
        assert_eq!(map.over(&[0.2, 0.5]), Some(both(0.5)));
        assert_eq!(map.over(&[0.2, 0.6]), None);
        assert_eq!(MeanAveragePrecision { classes: vec![] }.over(&[0.2]), Some(both(0.0)));
    }

    #[test]
    fn equal_scores_keep_their_order() {
        let found = of_scored(vec![(0.5, true), (0.9, false), (0.5, false)], 1);
        assert_eq!(found, AveragePrecision::new(&[false, true, false], 1));
    }

    #[test]
    fn thresholds_are_the_nearest_numbers() {
        for (index, threshold) in STRICT_THRESHOLDS.into_iter().enumerate() {
            assert_eq!(threshold, (10 + index) as f64 / 20.0);
            assert!(THRESHOLDS.contains(&threshold));
        }
    }
}
