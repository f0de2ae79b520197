//! Batch normalisation over (outer, channels, inner), its gradient and that gradient's own, each in two passes over
//! memory: one for the sums of a channel, one for the elements.
//!
//! With mean m and inverse deviation r of a channel of N elements, and z = (x - m) r:
//!
//! ```text
//!   y  = w z + b                                          mean(.) over the channel
//!   dx = w r P(dy),   P(u) = u - mean(u) - z mean(u z)    P is linear and symmetric
//!   dw = sum(dy z)    db = sum(dy)
//!
//!   and of L = sum(v dx), with S = mean(v dy) - mean(v) mean(dy), Cv = mean(v z), Cg = mean(dy z):
//!   L_dy = w r P(v)   L_w = r N (S - Cv Cg)   L_x = -w r^2 [ z (S - Cv Cg) + Cg P(v) + Cv P(dy) ]
//! ```
//!
//! Everything is computed in f64 and rounded once.

use crate::channels::{ChannelGeometry, map_lines, sums};
use crate::matmul::Float;

/// Moments of each channel of a batch.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Mean.
    pub mean: Vec<f64>,
    /// Variance, with divisor N.
    pub variance: Vec<f64>,
    /// 1 / sqrt(variance + eps).
    pub inverse_deviation: Vec<f64>,
}

impl Moments {
    /// Of `x`.
    pub fn new<T: Float>(g: &ChannelGeometry, x: &[T], eps: f64) -> Self {
        let count = g.count() as f64;
        let total = sums(g, |_, line| [line_sum([&x[line]], |[x]| [x])[0]]);
        let mean: Vec<f64> = total.iter().map(|[sum]| sum / count).collect();
        let squares = sums(g, |channel, line| {
            let mean = mean[channel];
            line_sum([&x[line]], |[x]| [(x - mean) * (x - mean)])
        });
        let variance: Vec<f64> = squares.iter().map(|[sum]| sum / count).collect();
        let inverse_deviation = variance.iter().map(|variance| 1.0 / (variance + eps).sqrt()).collect();
        Self { mean, variance, inverse_deviation }
    }

    /// z of the elements of a channel.
    fn standard(&self, channel: usize) -> impl Fn(f64) -> f64 + use<> {
        let (mean, inverse_deviation) = (self.mean[channel], self.inverse_deviation[channel]);
        move |x| (x - mean) * inverse_deviation
    }
}

/// `y` = w z + b.
pub fn forward<T: Float>(
    g: &ChannelGeometry,
    moments: &Moments,
    x: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
) {
    map_lines(g, [x], y, |channel| {
        let (w, b, z) = (weight[channel].into(), bias[channel].into(), moments.standard(channel));
        move |[x]| w * z(x) + b
    });
}

/// `dx` of `dy`; returns the gradients of weight and bias.
pub fn input_gradient<T: Float>(
    g: &ChannelGeometry,
    moments: &Moments,
    x: &[T],
    weight: &[T],
    dy: &[T],
    dx: &mut [T],
) -> (Vec<T>, Vec<T>) {
    let count = g.count() as f64;
    let totals = sums(g, |channel, line| {
        let z = moments.standard(channel);
        line_sum([&x[line.clone()], &dy[line]], |[x, dy]| [dy, dy * z(x)])
    });
    map_lines(g, [x, dy], dx, |channel| {
        let (z, [dy_mean, dy_z]) = (moments.standard(channel), totals[channel].map(|sum| sum / count));
        let scale = weight[channel].into() * moments.inverse_deviation[channel];
        move |[x, dy]| scale * (dy - dy_mean - z(x) * dy_z)
    });
    (totals.iter().map(|t| T::from_f64(t[1])).collect(), totals.iter().map(|t| T::from_f64(t[0])).collect())
}

/// The gradient of sum(`v` dx), of which `dx` is that of `dy`: writes that by `x` and that by `dy`, returns that by the
/// weight.
pub fn second<T: Float>(
    g: &ChannelGeometry,
    moments: &Moments,
    [x, weight, dy, v]: [&[T]; 4],
    by_x: &mut [T],
    by_dy: &mut [T],
) -> Vec<T> {
    let count = g.count() as f64;
    let totals = sums(g, |channel, line| {
        let z = moments.standard(channel);
        line_sum([&x[line.clone()], &dy[line.clone()], &v[line]], |[x, dy, v]| {
            [dy, v, dy * z(x), v * z(x), dy * v]
        })
    });
    let means: Vec<[f64; 5]> = totals.into_iter().map(|sums| sums.map(|sum| sum / count)).collect();
    let correlation = |[dy, v, dy_z, v_z, dy_v]: [f64; 5]| dy_v - dy * v - dy_z * v_z;
    map_lines(g, [x, v], by_dy, |channel| {
        let (z, [_, v_mean, _, v_z, _]) = (moments.standard(channel), means[channel]);
        let scale = weight[channel].into() * moments.inverse_deviation[channel];
        move |[x, v]| scale * (v - v_mean - z(x) * v_z)
    });
    map_lines(g, [x, dy, v], by_x, |channel| {
        let (z, [dy_mean, v_mean, dy_z, v_z, _]) = (moments.standard(channel), means[channel]);
        let correlation = correlation(means[channel]);
        let scale = -weight[channel].into() * moments.inverse_deviation[channel].powi(2);
        move |[x, dy, v]| {
            let z = z(x);
            let (p_v, p_dy) = (v - v_mean - z * v_z, dy - dy_mean - z * dy_z);
            scale * (z * correlation + dy_z * p_v + v_z * p_dy)
        }
    });
    let by_weight = |(&means, r): (&[f64; 5], &f64)| T::from_f64(r * count * correlation(means));
    means.iter().zip(&moments.inverse_deviation).map(by_weight).collect()
}

/// Independent partial sums, so that additions need not wait for each other.
const LANES: usize = 8;

/// Sums over a line of what `f` makes of the elements of `N` slices.
fn line_sum<T: Float, const N: usize, const M: usize>(
    slices: [&[T]; N],
    f: impl Fn([f64; N]) -> [f64; M],
) -> [f64; M] {
    let len = slices[0].len();
    let mut lanes = [[0.0; LANES]; M];
    let mut start = 0;
    while start + LANES <= len {
        let parts = slices.map(|slice| &slice[start..start + LANES]);
        for lane in 0..LANES {
            let terms = f(parts.map(|part| part[lane].into()));
            for (lanes, term) in lanes.iter_mut().zip(terms) {
                lanes[lane] += term;
            }
        }
        start += LANES;
    }
    let mut total = lanes.map(|lanes| lanes.iter().sum::<f64>());
    for i in start..len {
        for (total, term) in total.iter_mut().zip(f(slices.map(|slice| slice[i].into()))) {
            *total += term;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, salt: u64) -> Vec<f64> {
        (0..n as u64).map(|i| ((i * 2_654_435_761 + salt * 40_503) % 1009) as f64 / 504.5 - 1.0).collect()
    }

    struct Case {
        g: ChannelGeometry,
        weight: Vec<f64>,
        dy: Vec<f64>,
        v: Vec<f64>,
    }

    impl Case {
        /// sum(dy y): its gradient by x is dx.
        fn first(&self, x: &[f64], weight: &[f64]) -> f64 {
            let mut y = vec![0.0; x.len()];
            forward(&self.g, &Moments::new(&self.g, x, 1e-2), x, weight, &[0.3; 3], &mut y);
            y.iter().zip(&self.dy).map(|(y, dy)| y * dy).sum()
        }

        /// sum(v dx).
        fn second(&self, x: &[f64], weight: &[f64], dy: &[f64]) -> f64 {
            let mut dx = vec![0.0; x.len()];
            input_gradient(&self.g, &Moments::new(&self.g, x, 1e-2), x, weight, dy, &mut dx);
            dx.iter().zip(&self.v).map(|(dx, v)| dx * v).sum()
        }
    }

    fn central(at: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        (0..at.len())
            .map(|i| {
                let moved = |by: f64| {
                    let mut at = at.to_vec();
                    at[i] += by;
                    f(&at)
                };
                (moved(1e-5) - moved(-1e-5)) / 2e-5
            })
            .collect()
    }

    fn assert_close(actual: &[f64], expected: &[f64]) {
        for (a, e) in actual.iter().zip(expected) {
            assert!((a - e).abs() < 1e-7 * e.abs().max(1.0), "{a} != {e}");
        }
    }

    #[test]
    fn both_gradients_equal_central_differences() {
        let g = ChannelGeometry::new(&[2, 3, 11]).unwrap();
        let n = g.elements();
        let case = Case { g, weight: vec![0.7, -1.2, 0.4], dy: numbers(n, 2), v: numbers(n, 3) };
        let x = numbers(n, 1);
        let moments = Moments::new(&g, &x, 1e-2);
        let mut dx = vec![0.0; n];
        let (dw, _) = input_gradient(&g, &moments, &x, &case.weight, &case.dy, &mut dx);
        assert_close(&dx, &central(&x, |x| case.first(x, &case.weight)));
        assert_close(&dw, &central(&case.weight, |w| case.first(&x, w)));
        let (mut by_x, mut by_dy) = (vec![0.0; n], vec![0.0; n]);
        let by_weight = second(&g, &moments, [&x, &case.weight, &case.dy, &case.v], &mut by_x, &mut by_dy);
        assert_close(&by_x, &central(&x, |x| case.second(x, &case.weight, &case.dy)));
        assert_close(&by_dy, &central(&case.dy, |dy| case.second(&x, &case.weight, dy)));
        assert_close(&by_weight, &central(&case.weight, |w| case.second(&x, w, &case.dy)));
    }
}
