//! Maps of equal elements, on all threads.

use crate::collect::collect;
use crate::matmul::Float;

/// `f` of each element.
pub fn map<T: Float>(x: &[T], f: impl Fn(T) -> T + Sync) -> Vec<T> {
    let f = &f;
    collect(x.len(), |range| x[range].iter().map(move |&x| f(x)))
}

/// `f` of each pair of elements.
///
/// # Panics
/// If the slices differ in length.
pub fn map2<T: Float>(x: &[T], y: &[T], f: impl Fn(T, T) -> T + Sync) -> Vec<T> {
    assert_eq!(x.len(), y.len(), "elements");
    let f = &f;
    collect(x.len(), |range| x[range.clone()].iter().zip(&y[range]).map(move |(&x, &y)| f(x, y)))
}

#[cfg(test)]
mod tests {
    use super::{map, map2};
    use crate::collect::TASK;

    #[test]
    fn every_element_is_mapped() {
        let x: Vec<f32> = (0..TASK + 7).map(|i| i as f32).collect();
        assert!(map(&x, |x| x + 1.0).iter().enumerate().all(|(i, &y)| y == i as f32 + 1.0));
        assert!(map2(&x, &x, |x, y| x + y).iter().enumerate().all(|(i, &y)| y == 2.0 * i as f32));
    }
}
