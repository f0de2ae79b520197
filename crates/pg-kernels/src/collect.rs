//! Vectors that all threads write, and write once. One thread alone would spend more on the fresh pages of a large vector
//! of zeros than many a kernel on its arithmetic, and a step of training would write as many zeros as results.

use crate::matmul::Float;
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Elements that are worth a task.
pub(crate) const TASK: usize = 1 << 15;

/// `len` elements, of which `elements` gives those of a range.
///
/// # Panics
/// If it gives too few.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
pub(crate) fn collect<T: Float, I: Iterator<Item = T>>(
    len: usize,
    elements: impl Fn(Range<usize>) -> I + Sync,
) -> Vec<T> {
    let mut vector = Vec::with_capacity(len);
    let room = &mut vector.spare_capacity_mut()[..len];
    room.par_chunks_mut(TASK).enumerate().for_each(|(task, places)| {
        let range = task * TASK..task * TASK + places.len();
        assert_eq!(write(places, elements(range.clone())), range.len(), "elements {range:?}");
    });
    // SAFETY: the chunks are the first `len` places, and of each `write` has counted that all are written.
    unsafe { vector.set_len(len) }
    vector
}

/// `len` elements, which `fill` writes.
///
/// # Safety
/// It must leave a number in every place that it is given.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
pub(crate) unsafe fn written<T: Float>(len: usize, fill: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    // SAFETY: the caller's promise.
    let [vector] = unsafe { written_each(len, |[places]| fill(places)) };
    vector
}

/// Several vectors of `len` elements, which `fill` writes.
///
/// # Safety
/// As [`written`].
#[allow(unsafe_code, reason = "vectors that are not written twice")]
pub(crate) unsafe fn written_each<T: Float, const R: usize>(
    len: usize,
    fill: impl FnOnce([&mut [MaybeUninit<T>]; R]),
) -> [Vec<T>; R] {
    let mut vectors = [(); R].map(|()| Vec::with_capacity(len));
    let mut places = vectors.each_mut().map(|vector| &mut vector.spare_capacity_mut()[..len]);
    if cfg!(test) {
        // Places that were forgotten show.
        places.iter_mut().for_each(|places| places.fill(MaybeUninit::new(T::from_f64(f64::NAN))));
    }
    fill(places);
    // SAFETY: the caller's promise.
    vectors.iter_mut().for_each(|vector| unsafe { vector.set_len(len) });
    vectors
}

/// The places as zeros.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
pub(crate) fn zeroed<T: Float>(places: &mut [MaybeUninit<T>]) -> &mut [T] {
    places.fill(MaybeUninit::new(T::default()));
    // SAFETY: all were written by the line above.
    unsafe { places.assume_init_mut() }
}

/// How many of the first places were written.
fn write<T>(places: &mut [MaybeUninit<T>], elements: impl Iterator<Item = T>) -> usize {
    let mut written = 0;
    for (place, element) in places.iter_mut().zip(elements) {
        place.write(element);
        written += 1;
    }
    written
}

/// `len` zeros.
pub fn zeros<T: Float>(len: usize) -> Vec<T> {
    collect(len, |range| std::iter::repeat_n(T::default(), range.len()))
}

#[cfg(test)]
mod tests {
    use super::{TASK, collect, zeros};

    #[test]
    fn every_place_is_written() {
        for len in [0, 1, TASK - 1, TASK, 2 * TASK + 3] {
            assert!(collect(len, |range| range.map(|i| i as f64)).into_iter().eq((0..len).map(|i| i as f64)));
            assert_eq!(zeros::<f32>(len), vec![0.0; len]);
        }
    }

    #[test]
    #[should_panic(expected = "elements 0..8")]
    fn too_few_elements_are_no_vector() {
        collect(8, |range| range.skip(1).map(|i| i as f32));
    }
}
