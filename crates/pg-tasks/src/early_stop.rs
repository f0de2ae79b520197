//! Stopping when a metric, of which more is better, has not improved for some epochs.

use serde::{Deserialize, Serialize};

/// What an epoch's metric means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The best value so far: keep these weights.
    Improved,
    /// Not the best, but patience remains.
    Waiting,
    /// `patience` epochs in a row without a better value.
    Stop,
}

/// Watches one metric. Its serialised form is its whole state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlyStop {
    patience: Option<usize>,
    best: Option<f64>,
    epochs_since_best: usize,
}

impl EarlyStop {
    /// Stops after `patience` epochs without improvement; `None` only keeps track of the best value.
    #[must_use]
    pub fn new(patience: Option<usize>) -> Self {
        Self { patience, best: None, epochs_since_best: 0 }
    }

    /// Takes the metric of the next epoch. NaN never improves.
    pub fn observe(&mut self, value: f64) -> Verdict {
        if !value.is_nan() && self.best.is_none_or(|best| value > best) {
            self.best = Some(value);
            self.epochs_since_best = 0;
            return Verdict::Improved;
        }
        self.epochs_since_best += 1;
        match self.patience {
            Some(patience) if self.epochs_since_best >= patience => Verdict::Stop,
            _ => Verdict::Waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Improved, Stop, Waiting};
    use super::*;

    #[test]
    fn stops_after_patience_epochs_without_a_better_value() {
        let mut stop = EarlyStop::new(Some(2));
        let verdicts = [0.5, 0.6, 0.6, f64::NAN, 0.7].map(|value| stop.observe(value));
        assert_eq!(verdicts, [Improved, Improved, Waiting, Stop, Improved]);

        let mut stop = EarlyStop::new(Some(1));
        assert_eq!(
            [f64::NAN, 1.0, 2.0, 1.5].map(|value| stop.observe(value)),
            [Stop, Improved, Improved, Stop]
        );

        let mut forever = EarlyStop::new(None);
        forever.observe(1.0);
        assert!((0..100).all(|_| forever.observe(1.0) == Waiting));
    }

    #[test]
    fn a_saved_state_goes_on_where_it_was() {
        let mut stop = EarlyStop::new(Some(3));
        for value in [0.1 + 0.2, 0.1, 0.1] {
            stop.observe(value);
        }
        let mut resumed: EarlyStop = serde_json::from_str(&serde_json::to_string(&stop).unwrap()).unwrap();
        assert_eq!(resumed, stop);
        assert_eq!(resumed.observe(0.1), Stop);
    }
}
