//! Metrics of classification under bias: everything that papers call "accuracy", side by side.
//!
//! On Waterbirds, one network has a plain top-1, a class-balanced, a group-mean, a worst-group and an
//! *adjusted* average accuracy that lie tens of points apart, and papers differ in which they call the
//! accuracy. [`Scores`] has them all, together with what a constant answer would reach.

mod confusion;
mod groups;

use serde::Serialize;

pub use confusion::Confusion;
pub use groups::{GroupScores, Grouping};

use crate::interval::{Interval, wilson};

/// What is wrong with the arguments of a metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// Nothing to score.
    #[error("no predictions; a metric needs at least one")]
    Empty,
    /// Slices that should be parallel are not.
    #[error("{predictions} predictions for {expected} {what}; pass one for each image")]
    Length {
        /// Number of predictions.
        predictions: usize,
        /// Length of the other slice.
        expected: usize,
        /// What the other slice holds.
        what: &'static str,
    },
    /// Not every group is said to be aligned or opposed.
    #[error("alignment of {aligned} groups given, but there are {groups}; pass one for each group")]
    Aligned {
        /// Length of the alignment.
        aligned: usize,
        /// Number of groups.
        groups: usize,
    },
    /// A class or group is out of range.
    #[error("{what} {value} of image {index} is out of range; there are {count}")]
    Range {
        /// `prediction`, `label` or `group`.
        what: &'static str,
        /// Position of the image.
        index: usize,
        /// The value.
        value: u32,
        /// Number of classes or groups.
        count: usize,
    },
}

/// A number of correct answers out of a total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ratio {
    /// Correct answers.
    pub correct: usize,
    /// All answers.
    pub total: usize,
}

/// Every metric of one set of predictions; accuracies lie in [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Plain accuracy over all images.
    pub top1: Ratio,
    /// Class-balanced accuracy: the mean recall of the classes that occur among the labels. WILDS:
    /// recall-macro.
    pub balanced: f64,
    /// Mean F1 of the classes that occur among the labels. WILDS: F1-macro.
    pub macro_f1: f64,
    /// Recall of each class; its total is 0 for a class that does not occur.
    pub recalls: Vec<Ratio>,
    /// Accuracies by group, for a set with groups.
    pub groups: Option<GroupScores>,
    /// The least accurate group that occurs; for a set without groups, the least accurate class.
    pub worst: Worst,
    /// What the best constant answer reaches.
    pub constant: Constant,
}

/// The least accurate part of a set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "of")]
pub enum Worst {
    /// Of the groups.
    Group {
        /// Index of the group.
        index: usize,
        /// Its accuracy.
        accuracy: f64,
    },
    /// Of the classes, for a set without groups.
    Class {
        /// Index of the class.
        index: usize,
        /// Its recall.
        accuracy: f64,
    },
}

/// The classifier that always answers the most frequent class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Constant {
    /// The class; of several equally frequent ones the first.
    pub class: usize,
    /// Its plain accuracy.
    pub top1: f64,
    /// Its class-balanced accuracy: one over the number of classes that occur.
    pub balanced: f64,
}

/// Scores `predictions` of `classes` classes against `labels`.
///
/// # Errors
/// [`MetricError`] for no predictions, slices of different lengths, or classes and groups out of range.
pub fn evaluate(
    predictions: &[u32],
    labels: &[u32],
    classes: usize,
    grouping: Option<&Grouping>,
) -> Result<Scores, MetricError> {
    let confusion = Confusion::new(predictions, labels, classes)?;
    let groups = grouping.map(|grouping| GroupScores::new(predictions, labels, grouping)).transpose()?;
    let recalls = confusion.recalls();
    let least = |ratios: &[Ratio]| {
        let present = ratios.iter().enumerate().filter_map(|(index, ratio)| Some((index, ratio.value()?)));
        present.min_by(|a, b| a.1.total_cmp(&b.1)).ok_or(MetricError::Empty)
    };
    let worst = match &groups {
        Some(groups) => {
            let (index, accuracy) = least(&groups.accuracies)?;
            Worst::Group { index, accuracy }
        }
        None => {
            let (index, accuracy) = least(&recalls)?;
            Worst::Class { index, accuracy }
        }
    };
    Ok(Scores {
        top1: confusion.top1(),
        balanced: mean_present(&recalls).ok_or(MetricError::Empty)?,
        macro_f1: confusion.macro_f1(),
        recalls,
        groups,
        worst,
        constant: confusion.constant(),
    })
}

impl Ratio {
    /// The share of correct answers, in [0, 1]; `None` of nothing.
    pub fn value(self) -> Option<f64> {
        (self.total > 0).then(|| self.correct as f64 / self.total as f64)
    }

    /// Its 95 % confidence interval (Wilson); `None` of nothing.
    pub fn interval(self) -> Option<Interval> {
        wilson(self.correct, self.total)
    }

    fn count(&mut self, correct: bool) {
        self.correct += usize::from(correct);
        self.total += 1;
    }
}

impl std::ops::Add for Ratio {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { correct: self.correct + other.correct, total: self.total + other.total }
    }
}

impl Worst {
    /// The accuracy, in [0, 1].
    pub fn accuracy(self) -> f64 {
        match self {
            Self::Group { accuracy, .. } | Self::Class { accuracy, .. } => accuracy,
        }
    }
}

/// The unweighted mean of the ratios that are ratios of something.
fn mean_present(ratios: &[Ratio]) -> Option<f64> {
    let values: Vec<f64> = ratios.iter().filter_map(|ratio| ratio.value()).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn check_length(predictions: usize, expected: usize, what: &'static str) -> Result<(), MetricError> {
    if predictions == expected { Ok(()) } else { Err(MetricError::Length { predictions, expected, what }) }
}

fn check_range(what: &'static str, values: &[u32], count: usize) -> Result<(), MetricError> {
    match values.iter().position(|&value| value as usize >= count) {
        Some(index) => Err(MetricError::Range { what, index, value: values[index], count }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Waterbirds' test split: label and group (landbird/land, landbird/water, waterbird/land,
    /// waterbird/water).
    fn waterbirds_test() -> (Vec<u32>, Vec<u32>) {
        let sizes = [(0, 0, 2255), (0, 1, 2255), (1, 2, 642), (1, 3, 642)];
        let images = sizes.iter().flat_map(|&(label, group, size)| std::iter::repeat_n((label, group), size));
        images.unzip()
    }

    fn waterbirds(of: &[u32]) -> Grouping<'_> {
        Grouping { of, train_counts: &[3498, 184, 56, 1057], aligned: Some(&[true, false, false, true]) }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn a_constant_landbird_has_77_84_percent_on_waterbirds_and_is_worthless() {
        let (labels, of) = waterbirds_test();
        let scores = evaluate(&vec![0; 5794], &labels, 2, Some(&waterbirds(&of))).unwrap();
        assert_eq!(scores.top1, Ratio { correct: 4510, total: 5794 });
        assert!((scores.top1.value().unwrap() - 0.77839).abs() < 5e-6);
        assert!(near(scores.balanced, 0.5));
        assert_eq!(scores.worst, Worst::Group { index: 2, accuracy: 0.0 });
        assert_eq!(scores.constant.class, 0);
        assert!(near(scores.constant.top1, 4510.0 / 5794.0) && near(scores.constant.balanced, 0.5));
        let groups = scores.groups.unwrap();
        assert!(near(groups.mean, 0.5));
        assert!(near(groups.adjusted.unwrap(), 3682.0 / 4795.0));
    }

    #[test]
    fn a_classifier_of_the_ground_is_perfect_on_aligned_images_only() {
        let (labels, of) = waterbirds_test();
        let ground: Vec<u32> = of.iter().map(|group| group % 2).collect();
        let scores = evaluate(&ground, &labels, 2, Some(&waterbirds(&of))).unwrap();
        let groups = scores.groups.unwrap();
        assert_eq!(groups.id, Some(Ratio { correct: 2897, total: 2897 }));
        assert_eq!(groups.ood, Some(Ratio { correct: 0, total: 2897 }));
        assert!(near(scores.top1.value().unwrap(), 0.5));
        assert!(near(groups.adjusted.unwrap(), (3498.0 + 1057.0) / 4795.0));
    }

    proptest! {
        /// ALIA's (ID + OOD) / 2 is plain top-1 on Waterbirds, because both halves have 2,897 images.
        #[test]
        fn the_mean_of_id_and_ood_is_top1_on_waterbirds(seed: u64) {
            use rand::RngExt;
            let (labels, of) = waterbirds_test();
            let mut random = pg_random::Seed(seed).stream("predictions", &[]);
            let predictions: Vec<u32> = labels.iter().map(|_| random.random_range(0..2)).collect();
            let scores = evaluate(&predictions, &labels, 2, Some(&waterbirds(&of))).unwrap();
            let mean = scores.groups.unwrap().id_ood_mean().unwrap();
            prop_assert!(near(mean, scores.top1.value().unwrap()));
        }

        /// Against definitions written out one class at a time.
        #[test]
        fn class_metrics_agree_with_their_definitions(
            pairs in proptest::collection::vec((0_u32..4, 0_u32..4), 1..60)
        ) {
            let (predictions, labels): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
            let scores = evaluate(&predictions, &labels, 5, None).unwrap();
            let (mut recalls, mut f1s) = (Vec::new(), Vec::new());
            for class in 0..5 {
                let count = |f: &dyn Fn(bool, bool) -> bool| {
                    pairs.iter().filter(|&&(p, y)| f(p == class, y == class)).count() as f64
                };
                let (hit, false_alarm, miss) = (count(&|p, y| p && y), count(&|p, y| p && !y), count(&|p, y| !p && y));
                if hit + miss > 0.0 {
                    let recall = hit / (hit + miss);
                    let precision = if hit > 0.0 { hit / (hit + false_alarm) } else { 0.0 };
                    let sum = precision + recall;
                    recalls.push(recall);
                    f1s.push(if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 });
                }
            }
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            prop_assert!(near(scores.balanced, mean(&recalls)));
            prop_assert!(near(scores.macro_f1, mean(&f1s)));
            prop_assert!(near(scores.worst.accuracy(), recalls.iter().copied().fold(1.0, f64::min)));
        }
    }

    #[test]
    fn impalas_are_half_of_the_small_iwildcam_test() {
        let sizes = [127, 1416, 2003, 4533, 144, 47, 213];
        let labels: Vec<u32> =
            (0..).zip(sizes).flat_map(|(label, size)| std::iter::repeat_n(label, size)).collect();
        let scores = evaluate(&vec![3; 8483], &labels, 7, None).unwrap();
        assert_eq!(scores.constant.class, 3);
        assert!((scores.constant.top1 - 0.5344).abs() < 5e-5 && near(scores.constant.balanced, 1.0 / 7.0));
        assert_eq!(scores.worst, Worst::Class { index: 0, accuracy: 0.0 });
    }

    #[test]
    fn wrong_arguments_are_refused() {
        assert_eq!(evaluate(&[], &[], 2, None), Err(MetricError::Empty));
        let error = evaluate(&[0, 1], &[0], 2, None).unwrap_err();
        assert_eq!(error.to_string(), "2 predictions for 1 labels; pass one for each image");
        let error = evaluate(&[0, 2], &[0, 1], 2, None).unwrap_err();
        assert_eq!(error.to_string(), "prediction 2 of image 1 is out of range; there are 2");
        let grouping = Grouping { of: &[0, 7], train_counts: &[1, 1], aligned: None };
        let error = evaluate(&[0, 1], &[0, 1], 2, Some(&grouping)).unwrap_err();
        assert_eq!(error.to_string(), "group 7 of image 1 is out of range; there are 2");
        let grouping = Grouping { of: &[0], ..grouping };
        assert!(matches!(evaluate(&[0, 1], &[0, 1], 2, Some(&grouping)), Err(MetricError::Length { .. })));
        let grouping = Grouping { of: &[0, 1], train_counts: &[1, 1], aligned: Some(&[true]) };
        assert!(matches!(evaluate(&[0, 1], &[0, 1], 2, Some(&grouping)), Err(MetricError::Aligned { .. })));
    }
}
