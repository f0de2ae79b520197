//! Means over seeds and their 95 % intervals.

use serde::{Deserialize, Serialize};

/// The mean of independent values, and half the width of its 95 % Student t interval.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Estimate {
    pub(crate) mean: f64,
    /// None for a single value, which tells nothing of the spread.
    pub(crate) half: Option<f64>,
    pub(crate) values: Vec<f64>,
}

impl Estimate {
    /// None if there are no values.
    pub(crate) fn of(values: Vec<f64>) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let half = (values.len() > 1).then(|| {
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
            student_t_975(values.len() - 1) * (variance / n).sqrt()
        });
        Some(Self { mean, half, values })
    }

    /// Whether the whole interval lies above that of `other`.
    pub(crate) fn lies_above(&self, other: &Self) -> bool {
        match (self.half, other.half) {
            (Some(half), Some(other_half)) => self.mean - half > other.mean + other_half,
            _ => false,
        }
    }
}

/// `1 seed`, `3 seeds`.
pub(crate) fn seeds(count: usize) -> String {
    if count == 1 { "1 seed".into() } else { format!("{count} seeds") }
}

/// The 97.5 % quantile of Student's t distribution.
fn student_t_975(degrees: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788,
        2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639,
        2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
    ];
    if let Some(quantile) = degrees.checked_sub(1).and_then(|index| TABLE.get(index)) {
        return *quantile;
    }
    // The first terms of its expansion around the normal quantile (Abramowitz and Stegun 26.7.5).
    let z = 1.959_964_f64;
    let n = degrees as f64;
    z + (z.powi(3) + z) / (4.0 * n)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * n * n)
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / (384.0 * n.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 3e-5 * b.abs(), "{a} is not {b}");
    }

    /// Golden values from scipy.stats.t.interval(0.95, n - 1, mean, sem).
    #[test]
    fn intervals_are_students() {
        let three = Estimate::of(vec![1.0, 2.0, 3.0]).unwrap();
        close(three.mean, 2.0);
        close(three.half.unwrap(), 2.484_138);
        let five = Estimate::of(vec![0.62, 0.65, 0.61, 0.70, 0.66]).unwrap();
        close(five.mean, 0.648);
        close(five.half.unwrap(), 0.044_249_25);
    }

    #[test]
    fn quantiles_go_on_beyond_the_table() {
        close(student_t_975(30), 2.042_272);
        close(student_t_975(31), 2.039_513);
        close(student_t_975(60), 2.000_298);
        close(student_t_975(1000), 1.962_339);
    }

    #[test]
    fn one_value_has_no_interval_and_none_no_estimate() {
        assert_eq!(Estimate::of(vec![0.5]).unwrap().half, None);
        assert_eq!(Estimate::of(vec![]), None);
    }

    #[test]
    fn intervals_that_touch_are_not_apart() {
        let at = |mean: f64| Estimate { mean, half: Some(0.5), values: vec![] };
        assert!(at(2.1).lies_above(&at(1.0)));
        assert!(!at(2.0).lies_above(&at(1.0)));
        assert!(!at(1.0).lies_above(&at(2.1)));
        assert!(!at(9.0).lies_above(&Estimate::of(vec![1.0]).unwrap()));
    }
}
