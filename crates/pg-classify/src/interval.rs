//! Confidence interval of 95 % of an accuracy on one test set.
//!
//! It says how far the accuracy of *one* network is known from so many test images. How far a *method's* mean is known
//! is another question, which takes several seeds.

use serde::Serialize;

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A closed interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies in it.
    pub fn contains(self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Wilson's score interval of a proportion, within [0, 1]; `None` of nothing.
///
/// Unlike the normal approximation it holds near 0 and 1, where worst groups lie.
pub fn wilson(correct: usize, total: usize) -> Option<Interval> {
    if total == 0 {
        return None;
    }
    let n = total as f64;
    let p = correct as f64 / n;
    let scale = 1.0 / (1.0 + Z * Z / n);
    let centre = scale * (p + Z * Z / (2.0 * n));
    let half = scale * Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wilson_of_textbook_cases() {
        let eight_of_ten = wilson(8, 10).unwrap();
        assert!((eight_of_ten.low - 0.490_162).abs() < 1e-6 && (eight_of_ten.high - 0.943_318).abs() < 1e-6);
        let none_of_ten = wilson(0, 10).unwrap();
        assert!(none_of_ten.low.abs() < 1e-12 && (none_of_ten.high - 0.277_533).abs() < 1e-6);
        assert_eq!(wilson(0, 0), None);
    }

    proptest! {
        /// The ends of the interval are where the score test is just significant: |p - p0| = z sqrt(p0 (1 -
        /// p0) / n).
        #[test]
        fn wilson_inverts_the_score_test(total in 1_usize..5000, share in 0.0..=1.0_f64) {
            let correct = (share * total as f64).round() as usize;
            let interval = wilson(correct, total).unwrap();
            let p = correct as f64 / total as f64;
            prop_assert!(interval.contains(p) || (interval.low - p).abs() < 1e-12 || (interval.high - p).abs() < 1e-12);
            for end in [interval.low, interval.high] {
                let critical = Z * (end * (1.0 - end) / total as f64).sqrt();
                prop_assert!(((p - end).abs() - critical).abs() < 1e-9 || !(1e-9..=1.0 - 1e-9).contains(&end));
            }
        }
    }
}
