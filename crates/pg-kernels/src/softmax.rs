//! Soft-max of rows, its gradient and that gradient's own, each in one pass over memory.
//!
//! Of a row x, with <a, b> for the sum of the products of two rows:
//!
//! ```text
//!   y  = exp(x - max x) / sum
//!   dx = y (dy - <y, dy>)
//!   of L = <v, dx>, with s = <y, dy> and t = <y, v>:
//!   L_dy = y (v - t)    L_y = v (dy - s) - t dy    L_x = y (L_y - <y, L_y>),   <y, L_y> = <y, v dy> - 2 s t
//! ```
//!
//! Sums are in f64.

use crate::collect::{TASK, zeros};
use crate::exponential::Exponential;
use crate::matmul::Float;
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// y of rows of `row` elements.
///
/// # Panics
/// As all functions of this module, if the slices are not of whole rows, or differ in length.
pub fn forward<T: Exponential>(row: usize, x: &[T]) -> Vec<T> {
    let task = elements_a_task(row, [x.len()]);
    let mut y = zeros(x.len());
    let tasks = y.par_chunks_mut(task).zip(x.par_chunks(task));
    tasks.for_each(|(y, x)| Arch::new().dispatch(Forward { row, x, y }));
    y
}

/// dx.
pub fn gradient<T: Float>(row: usize, y: &[T], dy: &[T]) -> Vec<T> {
    let task = elements_a_task(row, [y.len(), dy.len()]);
    let mut dx = zeros(y.len());
    let tasks = dx.par_chunks_mut(task).zip(y.par_chunks(task)).zip(dy.par_chunks(task));
    tasks.for_each(|((dx, y), dy)| Arch::new().dispatch(Gradient { row, y, dy, dx }));
    dx
}

/// L_x and L_dy.
pub fn second<T: Float>(row: usize, y: &[T], dy: &[T], v: &[T]) -> [Vec<T>; 2] {
    let task = elements_a_task(row, [y.len(), dy.len(), v.len()]);
    let [mut by_x, mut by_dy] = [(); 2].map(|()| zeros(y.len()));
    let inputs = y.par_chunks(task).zip(dy.par_chunks(task)).zip(v.par_chunks(task));
    let outputs = by_x.par_chunks_mut(task).zip(by_dy.par_chunks_mut(task));
    outputs.zip(inputs).for_each(|((by_x, by_dy), ((y, dy), v))| {
        Arch::new().dispatch(Second { row, y, dy, v, by_x, by_dy });
    });
    [by_x, by_dy]
}

/// Of whole rows.
fn elements_a_task<const N: usize>(row: usize, lengths: [usize; N]) -> usize {
    assert!(row > 0 && lengths[0].is_multiple_of(row), "{} elements in rows of {row}", lengths[0]);
    assert!(lengths.iter().all(|len| *len == lengths[0]), "elements {lengths:?}");
    TASK.next_multiple_of(row)
}

struct Forward<'a, T> {
    row: usize,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Exponential> NullaryFnOnce for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (y, x) in self.y.chunks_exact_mut(self.row).zip(self.x.chunks_exact(self.row)) {
            let greatest = x.iter().fold(x[0], |greatest, &x| if x > greatest { x } else { greatest });
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - greatest).exp_of_negative());
            let scale = 1.0 / sum([&*y], |[y]| y);
            y.iter_mut().for_each(|y| *y = T::from_f64((*y).into() * scale));
        }
    }
}

struct Gradient<'a, T> {
    row: usize,
    y: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Float> NullaryFnOnce for Gradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let rows = self.y.chunks_exact(self.row).zip(self.dy.chunks_exact(self.row));
        for (dx, (y, dy)) in self.dx.chunks_exact_mut(self.row).zip(rows) {
            let s = sum([y, dy], |[y, dy]| y * dy);
            for (dx, (&y, &dy)) in dx.iter_mut().zip(y.iter().zip(dy)) {
                *dx = T::from_f64(y.into() * (dy.into() - s));
            }
        }
    }
}

struct Second<'a, T> {
    row: usize,
    y: &'a [T],
    dy: &'a [T],
    v: &'a [T],
    by_x: &'a mut [T],
    by_dy: &'a mut [T],
}

impl<T: Float> NullaryFnOnce for Second<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let rows = self
            .y
            .chunks_exact(self.row)
            .zip(self.dy.chunks_exact(self.row))
            .zip(self.v.chunks_exact(self.row));
        let results = self.by_x.chunks_exact_mut(self.row).zip(self.by_dy.chunks_exact_mut(self.row));
        for ((by_x, by_dy), ((y, dy), v)) in results.zip(rows) {
            let (s, t) = (sum([y, dy], |[y, dy]| y * dy), sum([y, v], |[y, v]| y * v));
            let mean = sum([y, dy, v], |[y, dy, v]| y * dy * v) - 2.0 * s * t;
            let inputs = y.iter().zip(dy).zip(v);
            for ((by_x, by_dy), ((&y, &dy), &v)) in by_x.iter_mut().zip(by_dy.iter_mut()).zip(inputs) {
                let (y, dy, v): (f64, f64, f64) = (y.into(), dy.into(), v.into());
                *by_x = T::from_f64(y * (v * (dy - s) - t * dy - mean));
                *by_dy = T::from_f64(y * (v - t));
            }
        }
    }
}

/// Independent partial sums, so that additions need not wait for each other.
const LANES: usize = 8;

/// The sum of `f` of the elements of slices of equal length.
#[inline(always)]
fn sum<T: Float, const N: usize>(slices: [&[T]; N], f: impl Fn([f64; N]) -> f64) -> f64 {
    let len = slices[0].len();
    let slices = slices.map(|slice| &slice[..len]);
    let whole = len - len % LANES;
    let mut lanes = [0.0; LANES];
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(slices.map(|slice| slice[start + lane].into()));
        }
    }
    let rest: f64 = (whole..len).map(|i| f(slices.map(|slice| slice[i].into()))).sum();
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers, on_one_and_four_threads};

    const ROW: usize = 11;

    fn defined(x: &[f64]) -> Vec<f64> {
        x.chunks_exact(ROW)
            .flat_map(|x| {
                let total: f64 = x.iter().map(|x| x.exp()).sum();
                x.iter().map(move |x| x.exp() / total).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn rows_are_exponentials_by_their_sum() {
        let x: Vec<f64> = numbers(3 * ROW, 1);
        assert_close(&forward(ROW, &x), &defined(&x), 1e-14);
        let single: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let single: Vec<f64> = forward(ROW, &single).into_iter().map(f64::from).collect();
        assert_close(&single, &defined(&x), 1e-6);
        assert_eq!(forward(2, &[1e30f32, 1e30, -1e30, 1e30]), [0.5, 0.5, 0.0, 1.0]);
        assert!(forward(2, &[f32::NAN, 1.0]).iter().all(|y| y.is_nan()));
    }

    #[test]
    fn derivatives_are_those_of_the_function_before() {
        let (x, dy, v): (Vec<f64>, Vec<f64>, Vec<f64>) =
            (numbers(2 * ROW, 2), numbers(2 * ROW, 3), numbers(2 * ROW, 4));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let difference = |at: &[f64], f: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
            let e = 1e-5;
            let moved = |i: usize, by: f64| {
                let mut x = at.to_vec();
                x[i] += by;
                f(&x)
            };
            (0..at.len()).map(|i| (moved(i, e) - moved(i, -e)) / (2.0 * e)).collect()
        };
        let y = forward(ROW, &x);
        assert_close(&gradient(ROW, &y, &dy), &difference(&x, &|x| dot(&forward(ROW, x), &dy)), 1e-9);
        let [by_x, by_dy] = second(ROW, &y, &dy, &v);
        assert_close(&by_x, &difference(&x, &|x| dot(&gradient(ROW, &forward(ROW, x), &dy), &v)), 1e-9);
        assert_close(&by_dy, &difference(&dy, &|dy| dot(&gradient(ROW, &y, dy), &v)), 1e-9);
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let x: Vec<f32> = numbers(198 * 500, 5);
        let [one, four] = on_one_and_four_threads(|| forward(198, &x));
        assert_eq!(one, four);
    }
}
