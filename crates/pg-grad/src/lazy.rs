//! Guidance on some steps or some samples only, scaled so that its expected gradient stays the same.

use crate::error::{Error, Result};
use pg_random::Seed;
use rand::seq::SliceRandom;

/// When the guidance loss is computed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Lazy {
    /// Every step, every sample.
    #[default]
    Always,
    /// Every k-th step (the 0th, the k-th, ...), k times as strong.
    EverySteps(u64),
    /// A random share in (0, 1] of each batch, at least two samples (of one there are no batch statistics); the mean runs
    /// over those.
    Fraction(f64),
}

/// What one step guides.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Factor on alpha that keeps the expectation.
    pub scale: f64,
    /// The samples that are guided, in ascending order; all of them if `None`.
    pub samples: Option<Vec<u32>>,
}

impl Turn {
    /// Every sample, at its own strength.
    pub const ALL: Turn = Turn { scale: 1.0, samples: None };
}

impl Lazy {
    /// Whether the options make sense.
    ///
    /// # Errors
    /// [`Error::Option`] if k is 0 or the share is outside (0, 1].
    pub fn check(&self) -> Result<()> {
        match *self {
            Lazy::EverySteps(0) => {
                Err(Error::Option { option: "guidance interval", expected: "at least 1 step", value: 0.0 })
            }
            Lazy::Fraction(value) if !(value > 0.0 && value <= 1.0) => {
                Err(Error::Option { option: "guided fraction", expected: "in (0, 1]", value })
            }
            _ => Ok(()),
        }
    }

    /// What step number `step` (from 0) of a run guides in a batch of `batch` samples; `None`: nothing.
    pub fn turn(&self, step: u64, batch: usize, seed: Seed) -> Option<Turn> {
        match *self {
            Lazy::EverySteps(k) if k > 1 => {
                step.is_multiple_of(k).then_some(Turn { scale: k as f64, samples: None })
            }
            Lazy::Fraction(share) if share < 1.0 => {
                let count = ((share * batch as f64).ceil() as usize).clamp(batch.min(2), batch.max(1));
                let mut samples: Vec<u32> = (0..batch as u32).collect();
                samples.shuffle(&mut seed.stream("guided-samples", &[step]));
                samples.truncate(count);
                samples.sort_unstable();
                Some(Turn { scale: 1.0, samples: Some(samples) })
            }
            _ => Some(Turn::ALL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_k_steps_is_k_times_as_strong() {
        let total: f64 = (0..12)
            .filter_map(|step| Lazy::EverySteps(4).turn(step, 8, Seed(0)))
            .map(|turn| turn.scale)
            .sum();
        assert_eq!(total, 12.0);
    }

    #[test]
    fn every_sample_is_drawn_equally_often() {
        let mut counts = [0; 10];
        for step in 0..4000 {
            let turn = Lazy::Fraction(0.25).turn(step, 10, Seed(7)).unwrap();
            let samples = turn.samples.unwrap();
            assert_eq!(samples.len(), 3);
            assert!(samples.is_sorted());
            samples.iter().for_each(|&i| counts[i as usize] += 1);
        }
        // 4000 draws of 3 in 10: 1200 each, standard deviation 29.
        assert!(counts.iter().all(|&c| (1200i32 - c).abs() < 130), "{counts:?}");
    }

    #[test]
    fn no_sample_is_guided_alone_unless_it_is_the_batch() {
        for (batch, expected) in [(0, 0), (1, 1), (2, 2), (3, 2), (8, 2), (40, 4)] {
            let turn = Lazy::Fraction(0.1).turn(5, batch, Seed(0)).unwrap();
            assert_eq!((turn.samples.unwrap().len(), turn.scale), (expected, 1.0), "of {batch}");
        }
    }

    #[test]
    fn senseless_options_are_errors() {
        assert!(Lazy::EverySteps(0).check().is_err());
        for share in [0.0, -1.0, 1.1, f64::NAN] {
            assert!(Lazy::Fraction(share).check().is_err());
        }
        assert!(Lazy::Fraction(1.0).check().is_ok());
    }
}
