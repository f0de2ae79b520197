//! Accuracies by group.

use serde::Serialize;

use super::{MetricError, Ratio, check_length, check_range, mean_present};

/// The groups of the scored images, and what the training set says about groups.
#[derive(Clone, Copy, Debug)]
pub struct Grouping<'a> {
    /// Group of each image.
    pub of: &'a [u32],
    /// Training images of each group: the weights of the adjusted average.
    pub train_counts: &'a [usize],
    /// Which groups follow the training set's bias, if it has one.
    pub aligned: Option<&'a [bool]>,
}

/// Accuracies by group, each in [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupScores {
    /// Accuracy of each group; its total is 0 for a group that does not occur.
    pub accuracies: Vec<Ratio>,
    /// Unweighted mean over the groups that occur.
    pub mean: f64,
    /// Mean weighted by the groups' training counts, which `GroupDRO` and WILDS report as *the* average
    /// accuracy of Waterbirds. `None` if a group seen in training does not occur, or if none was seen in
    /// training.
    pub adjusted: Option<f64>,
    /// Pooled accuracy of the aligned groups, ALIA's "ID".
    pub id: Option<Ratio>,
    /// Pooled accuracy of the opposed groups, ALIA's "OOD".
    pub ood: Option<Ratio>,
}

impl GroupScores {
    /// Scores predictions by group.
    ///
    /// # Errors
    /// [`MetricError`] for no predictions, different lengths, or a group out of range.
    pub fn new(predictions: &[u32], labels: &[u32], grouping: &Grouping) -> Result<Self, MetricError> {
        let count = grouping.train_counts.len();
        check_length(predictions.len(), labels.len(), "labels")?;
        check_length(predictions.len(), grouping.of.len(), "groups")?;
        check_range("group", grouping.of, count)?;
        if let Some(aligned) = grouping.aligned.filter(|aligned| aligned.len() != count) {
            return Err(MetricError::Aligned { aligned: aligned.len(), groups: count });
        }
        let mut accuracies = vec![Ratio::default(); count];
        for ((prediction, label), &group) in predictions.iter().zip(labels).zip(grouping.of) {
            accuracies[group as usize].count(prediction == label);
        }
        let pool = |wanted: bool| -> Option<Ratio> {
            let aligned = grouping.aligned?;
            let ratios = accuracies.iter().zip(aligned).filter(|&(_, &aligned)| aligned == wanted);
            Some(ratios.fold(Ratio::default(), |pooled, (&ratio, _)| pooled + ratio))
        };
        Ok(Self {
            mean: mean_present(&accuracies).ok_or(MetricError::Empty)?,
            adjusted: adjusted(&accuracies, grouping.train_counts),
            id: pool(true),
            ood: pool(false),
            accuracies,
        })
    }

    /// The mean of ID and OOD accuracy, which ALIA plots as "class balanced" on Waterbirds.
    pub fn id_ood_mean(&self) -> Option<f64> {
        Some(f64::midpoint(self.id?.value()?, self.ood?.value()?))
    }
}

fn adjusted(accuracies: &[Ratio], train_counts: &[usize]) -> Option<f64> {
    let seen = || accuracies.iter().zip(train_counts).filter(|&(_, &count)| count > 0);
    let weighted: Option<f64> = seen().map(|(ratio, &count)| Some(ratio.value()? * count as f64)).sum();
    let total: usize = seen().map(|(_, count)| count).sum();
    weighted.filter(|_| total > 0).map(|sum| sum / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(of: &[u32], train_counts: &[usize]) -> GroupScores {
        // Every second answer is right.
        let predictions: Vec<u32> = (0..of.len()).map(|n| (n % 2) as u32).collect();
        GroupScores::new(&predictions, &vec![0; of.len()], &Grouping { of, train_counts, aligned: None })
            .unwrap()
    }

    #[test]
    fn the_adjusted_average_weighs_by_training_counts() {
        // Images 0 and 2 are right.
        let scores = score(&[0, 1, 0, 0], &[30, 10]);
        assert_eq!(scores.accuracies, [Ratio { correct: 2, total: 3 }, Ratio { correct: 0, total: 1 }]);
        assert!((scores.adjusted.unwrap() - 0.5).abs() < 1e-15); // (30 * 2/3 + 10 * 0) / 40
        assert!((scores.mean - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn unseen_groups_weigh_nothing_and_absent_ones_leave_no_adjusted_average() {
        assert_eq!(score(&[0, 0], &[5, 0]).adjusted, Some(0.5));
        assert_eq!(score(&[0, 0], &[5, 1]).adjusted, None);
        assert_eq!(score(&[0, 0], &[0, 0]).adjusted, None);
        assert!((score(&[0, 0], &[5, 1]).mean - 0.5).abs() < 1e-15);
    }

    #[test]
    fn without_bias_there_is_no_id_and_ood() {
        let scores = score(&[0, 1], &[1, 1]);
        assert_eq!((scores.id, scores.ood, scores.id_ood_mean()), (None, None, None));
    }
}
