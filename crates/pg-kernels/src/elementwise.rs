//! Maps of equal elements, on all threads.

use crate::matmul::Float;
use rayon::prelude::*;

/// Elements that are worth a task.
const TASK: usize = 1 << 15;

/// `f` of each element.
pub fn map<T: Float>(x: &[T], f: impl Fn(T) -> T + Sync) -> Vec<T> {
    let mut result = vec![T::default(); x.len()];
    result.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each(|(result, x)| {
        for (result, &x) in result.iter_mut().zip(x) {
            *result = f(x);
        }
    });
    result
}

/// `f` of each pair of elements.
///
/// # Panics
/// If the slices differ in length.
pub fn map2<T: Float>(x: &[T], y: &[T], f: impl Fn(T, T) -> T + Sync) -> Vec<T> {
    assert_eq!(x.len(), y.len(), "elements");
    let mut result = vec![T::default(); x.len()];
    result.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).zip(y.par_chunks(TASK)).for_each(
        |((result, x), y)| {
            for ((result, &x), &y) in result.iter_mut().zip(x).zip(y) {
                *result = f(x, y);
            }
        },
    );
    result
}

#[cfg(test)]
mod tests {
    use super::{TASK, map, map2};

    #[test]
    fn every_element_is_mapped() {
        let x: Vec<f32> = (0..TASK + 7).map(|i| i as f32).collect();
        assert!(map(&x, |x| x + 1.0).iter().enumerate().all(|(i, &y)| y == i as f32 + 1.0));
        assert!(map2(&x, &x, |x, y| x + y).iter().enumerate().all(|(i, &y)| y == 2.0 * i as f32));
    }
}
