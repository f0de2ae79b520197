//! Picking elements by index, and its transpose: the two halves of max-pooling's derivatives, of any order.

use crate::matmul::Float;
use rayon::prelude::*;

/// `picked[r, k] = rows[r, indices[r, k]]`, for rows of `length` elements and `count` indices each.
///
/// # Panics
/// If the slices are not of as many rows, or an index is not less than `length`.
pub fn gather<T: Float>(rows: &[T], length: usize, indices: &[u32], count: usize, picked: &mut [T]) {
    check(rows, length, indices, count, picked);
    rows.par_chunks(length).zip(indices.par_chunks(count)).zip(picked.par_chunks_mut(count)).for_each(
        |((row, indices), picked)| {
            for (value, &index) in picked.iter_mut().zip(indices) {
                *value = row[index as usize];
            }
        },
    );
}

/// `rows[r, i] = sum of picked[r, k] over the k with indices[r, k] = i`.
///
/// # Panics
/// As [`gather`].
pub fn scatter_add<T: Float>(picked: &[T], indices: &[u32], count: usize, length: usize, rows: &mut [T]) {
    check(rows, length, indices, count, picked);
    rows.par_chunks_mut(length).zip(indices.par_chunks(count)).zip(picked.par_chunks(count)).for_each(
        |((row, indices), picked)| {
            row.fill(T::default());
            for (&value, &index) in picked.iter().zip(indices) {
                row[index as usize] += value;
            }
        },
    );
}

fn check<T>(rows: &[T], length: usize, indices: &[u32], count: usize, picked: &[T]) {
    assert!(length > 0 && count > 0, "rows of {length}, {count} of each");
    let expected = (rows.len() / length * count, rows.len() / length * length);
    assert_eq!((indices.len(), rows.len()), expected, "indices and elements");
    assert_eq!(picked.len(), indices.len(), "picked elements");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scatter_is_the_transpose_of_gather() {
        let (mut picked, mut rows) = ([0.0; 4], [0.0; 6]);
        gather(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, &[2, 2, 0, 1], 2, &mut picked);
        assert_eq!(picked, [3.0, 3.0, 4.0, 5.0]);
        scatter_add(&[1.0, 10.0, 100.0, 1000.0], &[2, 2, 0, 1], 2, 3, &mut rows);
        assert_eq!(rows, [0.0, 0.0, 11.0, 100.0, 1000.0, 0.0]);
    }
}
