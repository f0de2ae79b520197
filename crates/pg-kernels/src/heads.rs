//! The heads of attention: from tokens whose numbers lie beside each other to a matrix a head, and back.
//!
//! ```text
//!   tokens (n, tokens, parts, heads, width)   <->   (n, heads, tokens, width) of one part
//! ```

use crate::collect::{written, zeros};
use crate::geometry::{ShapeError, checked_len, non_empty};
use crate::matmul::Float;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// The checked sizes of tokens, and which part of theirs is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadGeometry {
    n: usize,
    tokens: usize,
    parts: usize,
    heads: usize,
    width: usize,
    part: usize,
}

impl HeadGeometry {
    /// Of `shape` (n, tokens, numbers) the part `part` of `parts`, which has `heads` heads.
    ///
    /// # Errors
    /// [`ShapeError`] if a size is 0 or overflows, the numbers are no multiple of parts times heads, or there is no such
    /// part.
    pub fn new(shape: [usize; 3], (part, parts): (usize, usize), heads: usize) -> Result<Self, ShapeError> {
        let operation = "heads";
        let [n, tokens, numbers] = shape;
        non_empty(operation, &shape)?;
        non_empty(operation, &[parts, heads])?;
        checked_len(operation, &shape)?;
        let divides = parts.checked_mul(heads).is_some_and(|count| numbers.is_multiple_of(count));
        if !divides || part >= parts {
            let expected = "numbers that parts and heads divide";
            return Err(ShapeError::Rank { operation, shape: vec![numbers, parts, heads], expected });
        }
        Ok(Self { n, tokens, parts, heads, width: numbers / parts / heads, part })
    }

    /// (n, tokens, numbers).
    pub fn merged_shape(&self) -> [usize; 3] {
        [self.n, self.tokens, self.parts * self.heads * self.width]
    }

    /// (n, heads, tokens, width).
    pub fn split_shape(&self) -> [usize; 4] {
        [self.n, self.heads, self.tokens, self.width]
    }

    /// Where the numbers of a head of a token are among those of a sample.
    fn place(&self, head: usize, token: usize) -> usize {
        ((token * self.parts + self.part) * self.heads + head) * self.width
    }

    fn split_len(&self) -> usize {
        self.n * self.heads * self.tokens * self.width
    }

    fn merged_len(&self) -> usize {
        self.split_len() * self.parts
    }
}

/// The part of `merged`, times `factor`, head by head.
///
/// # Panics
/// As all functions of this module, if the slice has not the elements of the geometry.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
pub fn split<T: Float>(g: &HeadGeometry, merged: &[T], factor: T) -> Vec<T> {
    assert_eq!(merged.len(), g.merged_len(), "elements of {g:?}");
    let sample = g.merged_len() / g.n;
    let write = |split: &mut [MaybeUninit<T>]| {
        split.par_chunks_exact_mut(g.tokens * g.width).enumerate().for_each(|(index, matrix)| {
            let numbers = &merged[index / g.heads * sample..][..sample];
            for (token, row) in matrix.chunks_exact_mut(g.width).enumerate() {
                let from = &numbers[g.place(index % g.heads, token)..][..g.width];
                for (to, &from) in row.iter_mut().zip(from) {
                    to.write(from * factor);
                }
            }
        });
    };
    // SAFETY: every row of every matrix is written.
    unsafe { written(g.split_len(), write) }
}

/// Tokens that hold `split`, times `factor`, in their part, and zeros in the others.
pub fn merge<T: Float>(g: &HeadGeometry, split: &[T], factor: T) -> Vec<T> {
    assert_eq!(split.len(), g.split_len(), "elements of {g:?}");
    let mut merged = zeros(g.merged_len());
    let token_len = g.parts * g.heads * g.width;
    merged.par_chunks_exact_mut(token_len).enumerate().for_each(|(index, numbers)| {
        let (sample, token) = (index / g.tokens, index % g.tokens);
        for head in 0..g.heads {
            let from = &split[((sample * g.heads + head) * g.tokens + token) * g.width..][..g.width];
            let to = &mut numbers[g.place(head, 0)..][..g.width];
            to.iter_mut().zip(from).for_each(|(to, &from)| *to = from * factor);
        }
    });
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_head_lie_token_by_token() {
        // Two tokens of two parts of two heads of one number.
        let merged = [0.0, 1.0, 10.0, 11.0, 100.0, 101.0, 110.0, 111.0];
        let g = |part| HeadGeometry::new([1, 2, 4], (part, 2), 2).unwrap();
        assert_eq!(split(&g(0), &merged, 1.0), [0.0, 100.0, 1.0, 101.0]);
        assert_eq!(split(&g(1), &merged, 2.0), [20.0, 220.0, 22.0, 222.0]);
        assert_eq!(merge(&g(1), &[1.0, 2.0, 3.0, 4.0], 1.0), [0.0, 0.0, 1.0, 3.0, 0.0, 0.0, 2.0, 4.0]);
        assert_eq!((g(0).merged_shape(), g(0).split_shape()), ([1, 2, 4], [1, 2, 2, 1]));
        let samples: Vec<f64> = (0..24).map(f64::from).collect();
        let g = HeadGeometry::new([2, 3, 4], (0, 1), 2).unwrap();
        assert_eq!(merge(&g, &split(&g, &samples, 1.0), 1.0), samples, "of one part nothing is lost");
    }

    #[test]
    fn shapes_that_do_not_divide_are_refused() {
        for (shape, part, heads) in [([1, 2, 5], (0, 2), 2), ([1, 2, 4], (2, 2), 2), ([1, 2, 4], (0, 2), 3)] {
            let error = HeadGeometry::new(shape, part, heads);
            assert!(matches!(error, Err(ShapeError::Rank { .. })), "{error:?}");
        }
        assert!(matches!(HeadGeometry::new([0, 2, 4], (0, 1), 1), Err(ShapeError::Empty { .. })));
        assert!(matches!(HeadGeometry::new([1, 2, 4], (0, 1), 0), Err(ShapeError::Empty { .. })));
    }
}
