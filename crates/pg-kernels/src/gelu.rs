//! Gaussian error linear unit, erf form (Hendrycks and Gimpel 2016), and its two derivatives, each in one pass over memory.
//!
//! With the Gaussian density p and distribution function P:
//!
//! ```text
//!   y  = x P(x)
//!   dx = dy (P(x) + x p(x))
//!   of L = sum(v dx):   L_x = v dy p(x) (2 - x^2)    L_dy = v (P(x) + x p(x))
//! ```
//!
//! In f64 to the last digits. In f32 P is off by at most 3e-7: Abramowitz and Stegun 7.1.26, which the compiler makes
//! vectors of.

use crate::collect::{TASK, written, written_each};
use crate::exponential::Exponential;
use crate::matmul::Float;
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// A type for which the Gaussian functions are known.
pub trait Gaussian: Float + std::ops::Sub<Output = Self> {
    /// The density, and the distribution function.
    fn gaussian(self) -> (Self, Self);
}

impl Gaussian for f64 {
    fn gaussian(self) -> (Self, Self) {
        const INVERSE_ROOT_OF_TWO_PI: f64 = 0.398_942_280_401_432_7;
        let density = INVERSE_ROOT_OF_TWO_PI * (-0.5 * self * self).exp();
        (density, 0.5 * libm::erfc(-self * std::f64::consts::FRAC_1_SQRT_2))
    }
}

impl Gaussian for f32 {
    #[inline(always)]
    fn gaussian(self) -> (Self, Self) {
        const P: f32 = 0.231_641_9; // 0.3275911 / sqrt(2)
        const TAIL: [f32; 5] = [0.530_702_7, -0.726_576, 0.710_706_9, -0.142_248_37, 0.127_414_8];
        let exponential = (-0.5 * self * self).exp_of_negative();
        let t = 1.0 / (1.0 + P * self.abs());
        let tail = TAIL.iter().fold(0.0, |sum, &a| sum * t + a) * t * exponential;
        // NaN fails the comparison and comes through the tail.
        (0.398_942_3 * exponential, if self > 0.0 { 1.0 - tail } else { tail })
    }
}

/// y.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
pub fn forward<T: Gaussian>(x: &[T]) -> Vec<T> {
    let write = |y: &mut [MaybeUninit<T>]| {
        let tasks = y.par_chunks_mut(TASK).zip(x.par_chunks(TASK));
        tasks.for_each(|(y, x)| Arch::new().dispatch(Forward { x, y }));
    };
    // SAFETY: a task writes one number for each of `x`.
    unsafe { written(x.len(), write) }
}

/// dx.
///
/// # Panics
/// As all functions of this module, if the slices differ in length.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
pub fn gradient<T: Gaussian>(x: &[T], dy: &[T]) -> Vec<T> {
    assert_eq!(x.len(), dy.len(), "elements");
    let write = |dx: &mut [MaybeUninit<T>]| {
        let inputs = x.par_chunks(TASK).zip(dy.par_chunks(TASK));
        let tasks = dx.par_chunks_mut(TASK).zip(inputs);
        tasks.for_each(|(dx, (x, dy))| Arch::new().dispatch(Gradient { x, dy, dx }));
    };
    // SAFETY: as in `forward`.
    unsafe { written(x.len(), write) }
}

/// L_x and L_dy.
#[allow(unsafe_code, reason = "vectors that are not written twice")]
pub fn second<T: Gaussian>(x: &[T], dy: &[T], v: &[T]) -> [Vec<T>; 2] {
    assert_eq!([x.len(); 2], [dy.len(), v.len()], "elements");
    let write = |[by_x, by_dy]: [&mut [MaybeUninit<T>]; 2]| {
        let inputs = x.par_chunks(TASK).zip(dy.par_chunks(TASK)).zip(v.par_chunks(TASK));
        let outputs = by_x.par_chunks_mut(TASK).zip(by_dy.par_chunks_mut(TASK));
        outputs.zip(inputs).for_each(|((by_x, by_dy), ((x, dy), v))| {
            Arch::new().dispatch(Second { x, dy, v, by_x, by_dy });
        });
    };
    // SAFETY: as in `forward`, for both.
    unsafe { written_each(x.len(), write) }
}

struct Forward<'a, T> {
    x: &'a [T],
    y: &'a mut [MaybeUninit<T>],
}

impl<T: Gaussian> NullaryFnOnce for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            y.write(x * x.gaussian().1);
        }
    }
}

struct Gradient<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    dx: &'a mut [MaybeUninit<T>],
}

impl<T: Gaussian> NullaryFnOnce for Gradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for ((dx, &x), &dy) in self.dx.iter_mut().zip(self.x).zip(self.dy) {
            let (density, distribution) = x.gaussian();
            dx.write(dy * (distribution + x * density));
        }
    }
}

struct Second<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    v: &'a [T],
    by_x: &'a mut [MaybeUninit<T>],
    by_dy: &'a mut [MaybeUninit<T>],
}

impl<T: Gaussian> NullaryFnOnce for Second<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let outputs = self.by_x.iter_mut().zip(self.by_dy);
        for ((by_x, by_dy), ((&x, &dy), &v)) in outputs.zip(self.x.iter().zip(self.dy).zip(self.v)) {
            let (density, distribution) = x.gaussian();
            by_x.write(v * dy * density * (T::ONE + T::ONE - x * x));
            by_dy.write(v * (distribution + x * density));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> impl Iterator<Item = f64> {
        (-1200..=1200).map(|i| f64::from(i) / 100.0)
    }

    /// Phi from its series, term by term.
    fn distribution(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..400 {
            term *= x * x / f64::from(2 * n + 1);
            sum += term;
        }
        0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }

    #[test]
    fn the_gaussian_functions_are_accurate() {
        for x in grid().filter(|x| x.abs() < 6.0) {
            let (density, cumulative) = x.gaussian();
            assert!((cumulative - distribution(x)).abs() < 1e-14, "{x}: {cumulative}");
            let (density_f32, cumulative_f32) = (x as f32).gaussian();
            assert!((f64::from(density_f32) - density).abs() < 3e-7, "{x}: {density_f32} {density}");
            assert!(
                (f64::from(cumulative_f32) - cumulative).abs() < 3e-7,
                "{x}: {cumulative_f32} {cumulative}"
            );
        }
    }

    #[test]
    fn far_from_zero_it_is_a_rectifier_and_nan_stays() {
        let y = forward(&[-1e30f32, -20.0, 20.0, 1e30, f32::NAN, f32::INFINITY]);
        assert_eq!(y[..4], [0.0, 0.0, 20.0, 1e30]);
        assert!(y[4].is_nan() && y[5] == f32::INFINITY);
        assert!(gradient(&[f32::NAN], &[1.0])[0].is_nan());
    }

    #[test]
    fn derivatives_are_those_of_the_function_before() {
        let x: Vec<f64> = grid().filter(|x| x.abs() < 5.0).collect();
        let shifted = |e: f64| x.iter().map(|x| x + e).collect::<Vec<_>>();
        let (e, ones) = (1e-5, vec![1.0; x.len()]);
        let twos = vec![2.0; x.len()];
        let difference = |f: &dyn Fn(&[f64]) -> Vec<f64>| {
            let (up, down) = (f(&shifted(e)), f(&shifted(-e)));
            up.iter().zip(&down).map(|(up, down)| (up - down) / (2.0 * e)).collect::<Vec<_>>()
        };
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close(&gradient(&x, &ones), &difference(&|x| forward(x))));
        let [by_x, by_dy] = second(&x, &twos, &ones);
        assert!(close(&by_x, &difference(&|x| gradient(x, &twos))));
        assert!(close(&by_dy, &gradient(&x, &ones)));
    }
}
