//! Confidence intervals of 95 %: of an accuracy on one test set, and of a mean over seeds.
//!
//! They answer different questions. [`wilson`] says how far the accuracy of *this* network is known from so
//! many test images; [`over_seeds`] says how far the *method's* mean is known from so many runs. Comparing
//! methods needs the second.

use serde::Serialize;

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The 97.5 % quantiles of Student's t distribution with 1 to 29 degrees of freedom.
const T: [f64; 29] = [
    12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582, 2.446_912, 2.364_624, 2.306_004, 2.262_157,
    2.228_139, 2.200_985, 2.178_813, 2.160_369, 2.144_787, 2.131_450, 2.119_905, 2.109_816, 2.100_922,
    2.093_024, 2.085_963, 2.079_614, 2.073_873, 2.068_658, 2.063_899, 2.059_539, 2.055_529, 2.051_831,
    2.048_407, 2.045_230,
];

/// A closed interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// A mean with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Half the width of its confidence interval, which is symmetric; `None` for a single value.
    pub half_width: Option<f64>,
    /// Number of values.
    pub count: usize,
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

/// The mean of one value a seed, with Student's t interval; `None` of nothing.
pub fn over_seeds(values: &[f64]) -> Option<Mean> {
    if values.is_empty() {
        return None;
    }
    let count = values.len();
    let n = count as f64;
    let mean = values.iter().sum::<f64>() / n;
    let half_width = (count > 1).then(|| {
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        t_quantile(count - 1) * (squares / (n - 1.0) / n).sqrt()
    });
    Some(Mean { mean, half_width, count })
}

/// The 97.5 % quantile of Student's t distribution: of the table, or beyond it by the Cornish-Fisher
/// expansion, which is right to five digits there.
fn t_quantile(freedom: usize) -> f64 {
    let n = freedom as f64;
    T.get(freedom.wrapping_sub(1)).copied().unwrap_or_else(|| {
        Z + (Z.powi(3) + Z) / (4.0 * n)
            + (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * n.powi(2))
            + (3.0 * Z.powi(7) + 19.0 * Z.powi(5) + 17.0 * Z.powi(3) - 15.0 * Z) / (384.0 * n.powi(3))
    })
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

    #[test]
    fn seeds_give_students_interval() {
        // 1, 2, 3: standard error 1/sqrt(3), t with 2 degrees of freedom.
        let mean = over_seeds(&[1.0, 2.0, 3.0]).unwrap();
        assert!((mean.mean - 2.0).abs() < 1e-15 && mean.count == 3);
        assert!((mean.half_width.unwrap() - 4.302_653 / 3.0_f64.sqrt()).abs() < 1e-6);
        assert_eq!(over_seeds(&[5.0]), Some(Mean { mean: 5.0, half_width: None, count: 1 }));
        assert_eq!(over_seeds(&[]), None);
    }

    /// Integrates Student's density numerically: an oracle for the whole table and for the expansion beyond
    /// it.
    fn central_mass(freedom: usize, t: f64) -> f64 {
        let n = freedom as f64;
        let density = |x: f64| (1.0 + x * x / n).powf(-f64::midpoint(n, 1.0));
        let simpson = |end: f64, f: &dyn Fn(f64) -> f64| {
            let steps = 20_000;
            let h = end / f64::from(steps);
            let weight = |i: i32| {
                if i == 0 || i == steps {
                    1.0
                } else if i % 2 == 1 {
                    4.0
                } else {
                    2.0
                }
            };
            (0..=steps).map(|i| weight(i) * f(f64::from(i) * h)).sum::<f64>() * h / 3.0
        };
        // The substitution x = tan(u) makes the whole half-line finite.
        let total = simpson(std::f64::consts::FRAC_PI_2 - 1e-12, &|u| density(u.tan()) / u.cos().powi(2));
        simpson(t, &density) / total
    }

    #[test]
    fn quantiles_cut_off_the_outer_five_percent() {
        for freedom in (1..=31).chain([50, 200]) {
            let mass = central_mass(freedom, t_quantile(freedom));
            assert!((mass - 0.95).abs() < 2e-6, "{freedom} degrees of freedom: {mass}");
        }
        assert!(T.is_sorted_by(|a, b| a > b));
    }
}
