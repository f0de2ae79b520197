//! Batch normalisation over (outer, channels, inner), its gradient and that gradient's own, each in two passes: one for the
//! sums of a channel, one for the elements. A task of the gradients makes both of a few channels, whose elements are in the
//! cache the second time.
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
//! What is the same for all of a channel is computed in f64, an element's own arithmetic, and the sum of four terms, in its type.
//! Elements there are less the mean rounded to that type; what is lost by it is put back in the channel's numbers.

use crate::channels::{
    ChannelGeometry, Group, groups, line_sum, line_sum_of_four, lines, map_line, map_lines, reduce,
};
use crate::collect::{written, written_each};
use crate::matmul::Float;
use rayon::prelude::*;
use std::mem::MaybeUninit;

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
        g.check(&[x.len()], &[]);
        let count = g.count() as f64;
        // Of each line, while it is in the cache: the sum, and the squares around its own mean.
        let lines = lines(g, |_, line| {
            let (x, size) = ([&x[line.clone()]], line.len() as f64);
            let [sum] = line_sum(x, |[x]| [x]);
            let mean = sum / size;
            let [squares] = line_sum(x, |[x]| [(x - mean) * (x - mean)]);
            [sum, squares]
        });
        let sums = reduce(g, &lines, |_, [sum, _]| [*sum]);
        let mean: Vec<f64> = sums.iter().map(|[sum]| sum / count).collect();
        let size = count * g.channels() as f64 / lines.len() as f64;
        let squares = reduce(g, &lines, |channel, [sum, squares]| {
            let distance = sum / size - mean[channel];
            [squares + size * distance * distance]
        });
        let variance: Vec<f64> = squares.iter().map(|[sum]| sum / count).collect();
        let inverse_deviation = variance.iter().map(|variance| 1.0 / (variance + eps).sqrt()).collect();
        Self { mean, variance, inverse_deviation }
    }

    /// The mean of a channel in the type of its elements, and what it is larger by than the mean.
    fn rounded_mean<T: Float>(&self, channel: usize) -> (T, f64) {
        let rounded = T::from_f64(self.mean[channel]);
        (rounded, rounded.into() - self.mean[channel])
    }
}

/// y = w z + b.
///
/// # Panics
/// As all functions of this module, if a slice has not the elements of the geometry, or of its channels.
pub fn forward<T: Float>(
    g: &ChannelGeometry,
    moments: &Moments,
    x: &[T],
    weight: &[T],
    bias: &[T],
) -> Vec<T> {
    g.check(&[x.len()], &[weight.len(), bias.len(), moments.mean.len()]);
    let [y] = map_lines(g, [x], |channel| {
        let affine = affine(moments, channel, weight, bias);
        move |[x]| [affine(x)]
    });
    y
}

/// y = max(0, w z + b), or with a shortcut s max(0, w z + b + s).
pub fn forward_relu<T: Float>(
    g: &ChannelGeometry,
    moments: &Moments,
    x: &[T],
    weight: &[T],
    bias: &[T],
    shortcut: Option<&[T]>,
) -> Vec<T> {
    let added = shortcut.map_or(x.len(), <[T]>::len);
    g.check(&[x.len(), added], &[weight.len(), bias.len(), moments.mean.len()]);
    let [y] = match shortcut {
        None => map_lines(g, [x], |channel| {
            let affine = affine(moments, channel, weight, bias);
            move |[x]| [rectify(affine(x))]
        }),
        Some(shortcut) => map_lines(g, [x, shortcut], |channel| {
            let affine = affine(moments, channel, weight, bias);
            move |[x, shortcut]| [rectify(affine(x) + shortcut)]
        }),
    };
    y
}

fn affine<T: Float>(moments: &Moments, channel: usize, weight: &[T], bias: &[T]) -> impl Fn(T) -> T + use<T> {
    let (mean, rest) = moments.rounded_mean::<T>(channel);
    let scale = weight[channel].into() * moments.inverse_deviation[channel];
    let [scale, shift] = [scale, bias[channel].into() + scale * rest].map(T::from_f64);
    move |x| scale * (x - mean) + shift
}

/// Not `max`: NaN must stay NaN, so that a broken run shows.
#[inline]
fn rectify<T: Float>(x: T) -> T {
    if x <= T::default() { T::default() } else { x }
}

/// The gradients by x, weight and bias, of `dy`. To that by x `so_far` is added, in the same pass over memory.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
pub fn input_gradient<T: Float>(
    g: &ChannelGeometry,
    moments: &Moments,
    [x, weight, dy]: [&[T]; 3],
    so_far: Option<&[T]>,
) -> [Vec<T>; 3] {
    g.check(&[x.len(), dy.len(), so_far.map_or(x.len(), <[T]>::len)], &[weight.len(), moments.mean.len()]);
    let work = |mut group: Group<'_, T, 1>| {
        let sums = group.sums(|channel, line| {
            let (mean, _) = moments.rounded_mean(channel);
            line_sum_of_four([&x[line.clone()], &dy[line]], |[x, dy]| [dy, dy * (x - mean)])
        });
        let of_z = |(channel, [dy, dy_x]): (usize, [f64; 2])| {
            let (_, rest) = moments.rounded_mean::<T>(channel);
            [dy, (dy_x + rest * dy) * moments.inverse_deviation[channel]]
        };
        let sums: Vec<[f64; 2]> = group.channels().zip(sums).map(of_z).collect();
        let of_channel =
            |(channel, &sums): (usize, &_)| of_input(g, moments, channel, weight[channel].into(), sums);
        let gradients: Vec<_> = group.channels().zip(&sums).map(of_channel).collect();
        group.for_each_line(|in_group, line, places| {
            let gradient = &gradients[in_group];
            let (x, dy) = (&x[line.clone()], &dy[line.clone()]);
            match so_far {
                None => map_line([x, dy], places, |[x, dy]| [gradient(x, dy)]),
                Some(so_far) => {
                    map_line([x, dy, &so_far[line]], places, |[x, dy, so_far]| [so_far + gradient(x, dy)])
                }
            }
        });
        sums
    };
    let mut sums = Vec::new();
    let write = |dx: &mut [MaybeUninit<T>]| {
        sums = groups(g, [dx]).into_par_iter().map(work).collect::<Vec<_>>().concat();
    };
    // SAFETY: each line is one of a group, whose work writes it.
    let dx = unsafe { written(g.elements(), write) };
    let [db, dw] = [0, 1].map(|i| sums.iter().map(|sums| T::from_f64(sums[i])).collect());
    [dx, dw, db]
}

/// dx of an element of a channel from x and dy, given sum(dy) and sum(dy z).
fn of_input<T: Float>(
    g: &ChannelGeometry,
    moments: &Moments,
    channel: usize,
    weight: f64,
    sums: [f64; 2],
) -> impl Fn(T, T) -> T + use<T> {
    let ((mean, rest), r) = (moments.rounded_mean(channel), moments.inverse_deviation[channel]);
    let ([dy_mean, dy_z], scale) = (sums.map(|sum| sum / g.count() as f64), weight * r);
    let of_x = -scale * dy_z * r;
    let [of_dy, of_x, constant] = [scale, of_x, of_x * rest - scale * dy_mean].map(T::from_f64);
    move |x, dy| of_dy * dy + of_x * (x - mean) + constant
}

/// The gradients of sum(`v` dx), where dx is that of `dy`, by x, weight and `dy`. What there is `so_far`
/// of those by x and by `dy` is added, in the same pass over memory.
#[allow(unsafe_code, reason = "vectors that are not written twice")]
pub fn second<T: Float>(
    g: &ChannelGeometry,
    moments: &Moments,
    [x, weight, dy, v]: [&[T]; 4],
    so_far: [Option<&[T]>; 2],
) -> [Vec<T>; 3] {
    let [had_x, had_dy] = so_far.map(|slice| slice.map_or(x.len(), <[T]>::len));
    g.check(&[x.len(), dy.len(), v.len(), had_x, had_dy], &[weight.len(), moments.mean.len()]);
    let work = |mut group: Group<'_, T, 2>| {
        let sums = group.sums(|channel, line| {
            let (mean, _) = moments.rounded_mean(channel);
            line_sum_of_four([&x[line.clone()], &dy[line.clone()], &v[line]], |[x, dy, v]| {
                let x = x - mean;
                [dy, v, dy * x, v * x, dy * v]
            })
        });
        let of_channel =
            |(channel, sums): (usize, _)| Second::new(g, moments, channel, weight[channel].into(), sums);
        let seconds: Vec<Second<T>> = group.channels().zip(sums).map(of_channel).collect();
        group.for_each_line(|in_group, line, places| {
            let second = &seconds[in_group];
            let (x, dy, v) = (&x[line.clone()], &dy[line.clone()], &v[line.clone()]);
            match so_far.map(|slice| Some(&slice?[line.clone()])) {
                [None, None] => map_line([x, dy, v], places, |[x, dy, v]| second.gradients(x, dy, v)),
                [Some(had), None] => map_line([x, dy, v, had], places, |[x, dy, v, had]| {
                    let [by_x, by_dy] = second.gradients(x, dy, v);
                    [had + by_x, by_dy]
                }),
                [None, Some(had)] => map_line([x, dy, v, had], places, |[x, dy, v, had]| {
                    let [by_x, by_dy] = second.gradients(x, dy, v);
                    [by_x, had + by_dy]
                }),
                [Some(had_x), Some(had_dy)] => {
                    map_line([x, dy, v, had_x, had_dy], places, |[x, dy, v, had_x, had_dy]| {
                        let [by_x, by_dy] = second.gradients(x, dy, v);
                        [had_x + by_x, had_dy + by_dy]
                    });
                }
            }
        });
        seconds.iter().map(|second| second.by_weight).collect::<Vec<f64>>()
    };
    let mut by_weight = Vec::new();
    let write = |results: [&mut [MaybeUninit<T>]; 2]| {
        by_weight = groups(g, results).into_par_iter().map(work).collect::<Vec<_>>().concat();
    };
    // SAFETY: each line is one of a group, whose work writes it in both.
    let [by_x, by_dy] = unsafe { written_each(g.elements(), write) };
    [by_x, by_weight.into_iter().map(T::from_f64).collect(), by_dy]
}

/// What the gradients of a channel's dx are made of. Those by x and dy are linear in x - m', dy and v.
struct Second<T> {
    mean: T,
    /// Factors of x - m', dy and v, and what is added.
    of_x: [T; 4],
    /// Factors of x - m' and v, and what is added.
    of_dy: [T; 3],
    by_weight: f64,
}

impl<T: Float> Second<T> {
    /// Of sums over dy, v, dy (x - m'), v (x - m') and dy v, where m' is the rounded mean.
    fn new(g: &ChannelGeometry, moments: &Moments, channel: usize, weight: f64, sums: [f64; 5]) -> Self {
        let ((mean, rest), r) = (moments.rounded_mean::<T>(channel), moments.inverse_deviation[channel]);
        let count = g.count() as f64;
        let [dy_mean, v_mean, dy_x, v_x, dy_v] = sums.map(|sum| sum / count);
        let (dy_z, v_z) = ((dy_x + rest * dy_mean) * r, (v_x + rest * v_mean) * r);
        let correlation = dy_v - dy_mean * v_mean - dy_z * v_z;
        let w_r = weight * r;
        let scale = -w_r * r;
        let of_x_by_x = scale * (correlation - 2.0 * dy_z * v_z) * r;
        let constant = of_x_by_x * rest - scale * (dy_z * v_mean + v_z * dy_mean);
        let of_dy_by_x = -w_r * v_z * r;
        Self {
            mean,
            of_x: [of_x_by_x, scale * v_z, scale * dy_z, constant].map(T::from_f64),
            of_dy: [of_dy_by_x, w_r, of_dy_by_x * rest - w_r * v_mean].map(T::from_f64),
            by_weight: r * count * correlation,
        }
    }

    /// By x and by dy.
    #[inline(always)]
    fn gradients(&self, x: T, dy: T, v: T) -> [T; 2] {
        let x = x - self.mean;
        let ([a, b, c, d], [e, f, h]) = (self.of_x, self.of_dy);
        [a * x + b * dy + c * v + d, e * x + f * v + h]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers, on_one_and_four_threads};

    const BIAS: [f64; 3] = [0.3; 3];

    struct Case {
        g: ChannelGeometry,
        weight: Vec<f64>,
        dy: Vec<f64>,
        v: Vec<f64>,
    }

    impl Case {
        fn y(&self, x: &[f64], weight: &[f64]) -> Vec<f64> {
            forward(&self.g, &Moments::new(&self.g, x, 1e-2), x, weight, &BIAS)
        }

        /// sum(dy y): its gradient by x is dx.
        fn first(&self, x: &[f64], weight: &[f64]) -> f64 {
            let y = self.y(x, weight);
            y.iter().zip(&self.dy).map(|(y, dy)| y * dy).sum()
        }

        /// sum(v dx).
        fn second(&self, x: &[f64], weight: &[f64], dy: &[f64]) -> f64 {
            let [dx, ..] = input_gradient(&self.g, &Moments::new(&self.g, x, 1e-2), [x, weight, dy], None);
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

    #[test]
    fn both_gradients_equal_central_differences() {
        // Less than a block of elements, several, and one.
        for shape in [[2, 3, 11], [1, 3, 150], [9, 3, 1]] {
            let g = ChannelGeometry::new(&shape).unwrap();
            let n = g.elements();
            let case = Case { g, weight: vec![0.7, -1.2, 0.4], dy: numbers(n, 2), v: numbers(n, 3) };
            let x = numbers(n, 1);
            let moments = Moments::new(&g, &x, 1e-2);
            let [dx, dw, db] = input_gradient(&g, &moments, [&x, &case.weight, &case.dy], None);
            assert_close(&dx, &central(&x, |x| case.first(x, &case.weight)), 1e-7);
            assert_close(&dw, &central(&case.weight, |w| case.first(&x, w)), 1e-7);
            assert_close(&db, &crate::channels::sum(&g, &case.dy), 1e-12);
            let [by_x, by_weight, by_dy] =
                second(&g, &moments, [&x, &case.weight, &case.dy, &case.v], [None; 2]);
            assert_close(&by_x, &central(&x, |x| case.second(x, &case.weight, &case.dy)), 1e-7);
            assert_close(&by_dy, &central(&case.dy, |dy| case.second(&x, &case.weight, dy)), 1e-7);
            assert_close(&by_weight, &central(&case.weight, |w| case.second(&x, w, &case.dy)), 1e-7);
            // Added to what there was.
            let [sum, ..] = input_gradient(&g, &moments, [&x, &case.weight, &case.dy], Some(&case.v));
            assert_close(&sum, &dx.iter().zip(&case.v).map(|(dx, v)| dx + v).collect::<Vec<_>>(), 1e-12);
            for (of_x, of_dy) in [(Some(&x), None), (None, Some(&case.dy)), (Some(&case.dy), Some(&x))] {
                let so_far = [of_x, of_dy].map(|so_far| so_far.map(|so_far| &so_far[..]));
                let [to_x, same, to_dy] = second(&g, &moments, [&x, &case.weight, &case.dy, &case.v], so_far);
                assert_close(&same, &by_weight, 1e-12);
                for (sum, alone, so_far) in [(to_x, &by_x, of_x), (to_dy, &by_dy, of_dy)] {
                    let so_far = so_far.cloned().unwrap_or_else(|| vec![0.0; n]);
                    let expected: Vec<f64> = alone.iter().zip(so_far).map(|(a, b)| a + b).collect();
                    assert_close(&sum, &expected, 1e-12);
                }
            }
        }
    }

    /// y does not change with the mean and the scale of x.
    #[test]
    fn gradients_are_orthogonal_to_shifts_and_scales() {
        for shape in [[2, 3, 5], [1, 2, 70]] {
            let g = ChannelGeometry::new(&shape).unwrap();
            let n = g.elements();
            let (x, dy, v): (Vec<f64>, Vec<f64>, Vec<f64>) = (numbers(n, 1), numbers(n, 2), numbers(n, 3));
            let (moments, weight) = (Moments::new(&g, &x, 0.0), vec![0.7; shape[1]]);
            let [dx, ..] = input_gradient(&g, &moments, [&x, &weight, &dy], None);
            let [_, _, by_dy] = second(&g, &moments, [&x, &weight, &dy, &v], [None; 2]);
            for gradient in [dx, by_dy] {
                let none = vec![0.0; shape[1]];
                assert_close(&crate::channels::sum(&g, &gradient), &none, 1e-12);
                assert_close(&crate::channels::dot(&g, &gradient, &x), &none, 1e-12);
            }
        }
    }

    /// Far from 0, where elements less their mean are small; in three groups of channels, the last one smaller.
    #[test]
    fn f32_is_right_up_to_rounding() {
        let g = ChannelGeometry::new(&[2, 7, 6000]).unwrap();
        let n = g.elements();
        let far = |numbers: Vec<f32>| numbers.iter().map(|x| x + 100.3).collect::<Vec<f32>>();
        let (x, w): (Vec<f32>, Vec<f32>) = (far(numbers(n, 1)), numbers(7, 2));
        let (dy, v, so_far): (Vec<f32>, Vec<f32>, Vec<f32>) = (numbers(n, 3), numbers(n, 4), numbers(n, 5));
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let [x64, w64, dy64, v64, so_far64] = [&x, &w, &dy, &v, &so_far].map(|x| wide(x));
        let (moments, moments64) = (Moments::new(&g, &x, 1e-5), Moments::new(&g, &x64, 1e-5));
        let first = input_gradient(&g, &moments, [&x, &w, &dy], Some(&so_far));
        let first64 = input_gradient(&g, &moments64, [&x64, &w64, &dy64], Some(&so_far64));
        let second = second::<f32>(&g, &moments, [&x, &w, &dy, &v], [Some(&so_far); 2]);
        let second64 = super::second::<f64>(&g, &moments64, [&x64, &w64, &dy64, &v64], [Some(&so_far64); 2]);
        let y = forward(&g, &moments, &x, &w, &w);
        assert_close(&wide(&y), &forward(&g, &moments64, &x64, &w64, &w64), 1e-5);
        for (narrow, exact) in first.iter().zip(&first64).chain(second.iter().zip(&second64)) {
            assert_close(&wide(narrow), exact, 1e-5);
        }
    }

    #[test]
    fn moments_of_large_numbers_close_together_are_exact() {
        let g = ChannelGeometry::new(&[3, 2, 4]).unwrap();
        let x: Vec<f64> = (0..24).map(|i| 1e6 * (1 + i / 4 % 2) as f64 + (i % 4) as f64 * 1e-3).collect();
        let moments = Moments::new(&g, &x, 0.0);
        for (channel, mean) in [1e6, 2e6].into_iter().enumerate() {
            assert!((moments.mean[channel] - mean - 1.5e-3).abs() < 1e-9);
            assert!(
                (moments.variance[channel] / 1.25e-6 - 1.0).abs() < 1e-6,
                "{}",
                moments.variance[channel]
            );
        }
    }

    #[test]
    fn a_shortcut_is_added_before_the_rectifier() {
        let g = ChannelGeometry::new(&[2, 1, 2]).unwrap();
        let moments = Moments { mean: vec![1.0], variance: vec![1.0], inverse_deviation: vec![1.0] };
        let (x, shortcut) = ([0.0, 1.0, 2.0, f64::NAN], [0.5, 0.5, 0.5, 0.5]);
        let y = forward_relu(&g, &moments, &x, &[2.0], &[0.0], Some(&shortcut));
        assert_eq!(y[..3], [0.0, 0.5, 2.5]);
        assert!(y[3].is_nan());
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let g = ChannelGeometry::new(&[7, 5, 6001]).unwrap();
        let n = g.elements();
        let (x, dy, v, w): (Vec<f64>, _, _, _) = (numbers(n, 1), numbers(n, 2), numbers(n, 3), numbers(5, 4));
        let [one, four] = on_one_and_four_threads(|| {
            let moments = Moments::new(&g, &x, 1e-5);
            let y = forward(&g, &moments, &x, &w, &w);
            // Lines of several tasks are those of their channels.
            for (i, y) in y.iter().enumerate().step_by(997) {
                let channel = i / 6001 % 5;
                let z = (x[i] - moments.mean[channel]) * moments.inverse_deviation[channel];
                assert!((y - w[channel] * (z + 1.0)).abs() < 1e-12);
            }
            let first = input_gradient(&g, &moments, [&x, &w, &dy], Some(&v));
            let second = second(&g, &moments, [&x, &w, &dy, &v], [Some(&x), Some(&dy)]);
            (moments.mean, moments.variance, first, second)
        });
        assert!(one == four);
    }
}
