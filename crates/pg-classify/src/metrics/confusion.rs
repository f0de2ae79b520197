//! The confusion matrix and the metrics that follow from it.

use super::{Constant, MetricError, Ratio, check_length, check_range};

/// Counts of (label, prediction).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<usize>,
}

impl Confusion {
    /// Counts `predictions` against `labels`, both below `classes`.
    ///
    /// # Errors
    /// [`MetricError`] for no predictions, different lengths, or a class out of range.
    pub fn new(predictions: &[u32], labels: &[u32], classes: usize) -> Result<Self, MetricError> {
        check_length(predictions.len(), labels.len(), "labels")?;
        check_range("prediction", predictions, classes)?;
        check_range("label", labels, classes)?;
        if predictions.is_empty() {
            return Err(MetricError::Empty);
        }
        let mut counts = vec![0; classes * classes];
        for (&prediction, &label) in predictions.iter().zip(labels) {
            counts[label as usize * classes + prediction as usize] += 1;
        }
        Ok(Self { classes, counts })
    }

    /// How often an image of class `label` was called `prediction`.
    pub fn count(&self, label: usize, prediction: usize) -> usize {
        self.counts[label * self.classes + prediction]
    }

    /// Plain accuracy.
    pub fn top1(&self) -> Ratio {
        Ratio { correct: (0..self.classes).map(|class| self.count(class, class)).sum(), total: self.total() }
    }

    /// Recall of each class.
    pub fn recalls(&self) -> Vec<Ratio> {
        (0..self.classes)
            .map(|class| Ratio { correct: self.count(class, class), total: self.labelled(class) })
            .collect()
    }

    /// The mean F1 of the classes that occur among the labels, as scikit-learn's `f1_score(average="macro")`
    /// with those `labels` and as WILDS. Calling an image by a class that does not occur costs the true class
    /// its recall, but adds no class of F1 zero.
    pub fn macro_f1(&self) -> f64 {
        let f1s: Vec<f64> = (0..self.classes)
            .filter(|&class| self.labelled(class) > 0)
            .map(|class| {
                let predicted: usize = (0..self.classes).map(|label| self.count(label, class)).sum();
                2.0 * self.count(class, class) as f64 / (predicted + self.labelled(class)) as f64
            })
            .collect();
        f1s.iter().sum::<f64>() / f1s.len() as f64
    }

    /// What the best constant answer reaches.
    pub fn constant(&self) -> Constant {
        let sizes: Vec<usize> = (0..self.classes).map(|class| self.labelled(class)).collect();
        let present = sizes.iter().filter(|&&size| size > 0).count();
        let class = (0..self.classes).rev().max_by_key(|&class| sizes[class]).unwrap_or(0);
        Constant { class, top1: sizes[class] as f64 / self.total() as f64, balanced: 1.0 / present as f64 }
    }

    fn labelled(&self, class: usize) -> usize {
        self.counts[class * self.classes..][..self.classes].iter().sum()
    }

    fn total(&self) -> usize {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_by_label_and_prediction() {
        let confusion = Confusion::new(&[1, 1, 0], &[0, 1, 0], 2).unwrap();
        assert_eq!(confusion.count(0, 1), 1);
        assert_eq!(confusion.count(1, 0), 0);
        assert_eq!(confusion.recalls(), [Ratio { correct: 1, total: 2 }, Ratio { correct: 1, total: 1 }]);
    }

    #[test]
    fn macro_f1_skips_classes_that_only_the_predictions_have() {
        // Class 0: F1 = 2 * 2 / (2 + 3) = 0.8. Class 1: 1. Class 2 is predicted once but never true: no zero for it.
        let confusion = Confusion::new(&[0, 0, 2, 1], &[0, 0, 0, 1], 3).unwrap();
        assert!((confusion.macro_f1() - 0.9).abs() < 1e-15);
    }

    #[test]
    fn the_first_of_equally_frequent_classes_is_the_constant() {
        let constant = Confusion::new(&[0, 0, 0], &[1, 2, 0], 4).unwrap().constant();
        assert_eq!(constant.class, 0);
        assert!((constant.balanced - 1.0 / 3.0).abs() < 1e-15);
    }
}
