//! Products of matrices, batch by batch, each factor read as it is or transposed.
//!
//! ```text
//!   C[i] = A'[i] B'[i]      (m, n) = (m, k) (k, n)
//! ```
//!
//! One thread takes one product of a batch; a product by itself is cut up by `gemm`, whose every element is summed in the
//! same order for any number of threads.

use crate::collect::written;
use crate::geometry::{ShapeError, checked_len, non_empty};
use crate::matmul::{Float, Matrix, matmul_on_all_threads, matmul_to};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// The checked sizes of a batch of products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProductGeometry {
    batch: usize,
    /// m, k and n.
    sizes: [usize; 3],
    /// Whether A is stored (k, m), and B (n, k).
    transposed: [bool; 2],
}

impl ProductGeometry {
    /// `batch` products of (m, k) and (k, n), for `sizes` m, k and n; a factor that is `transposed` is stored so.
    ///
    /// # Errors
    /// [`ShapeError`] if a size is 0, or a product of sizes overflows.
    pub fn new(batch: usize, sizes: [usize; 3], transposed: [bool; 2]) -> Result<Self, ShapeError> {
        let [m, k, n] = sizes;
        non_empty("matmul", &[batch, m, k, n])?;
        for shape in [[batch, m, k], [batch, k, n], [batch, m, n]] {
            checked_len("matmul", &shape)?;
        }
        Ok(Self { batch, sizes, transposed })
    }

    /// Products that give the gradient by A, of the gradient by C and of B in this order, or in the other if the second
    /// result says so.
    pub fn by_first(&self) -> (Self, bool) {
        let ([m, k, n], [a, b]) = (self.sizes, self.transposed);
        // A = C B^T, or transposed B C^T.
        let (sizes, transposed) = if a { ([k, n, m], [b, true]) } else { ([m, n, k], [false, !b]) };
        (Self { sizes, transposed, ..*self }, a)
    }

    /// Products that give the gradient by B, of A and of the gradient by C in this order, or in the other if the second
    /// result says so.
    pub fn by_second(&self) -> (Self, bool) {
        let ([m, k, n], [a, b]) = (self.sizes, self.transposed);
        // B = A^T C, or transposed C^T A.
        let (sizes, transposed) = if b { ([n, m, k], [true, a]) } else { ([k, m, n], [!a, false]) };
        (Self { sizes, transposed, ..*self }, b)
    }

    /// Number of elements of all results.
    pub fn output_len(&self) -> usize {
        let [m, _, n] = self.sizes;
        self.batch * m * n
    }

    fn first<'a, T>(&self, a: &'a [T]) -> Matrix<'a, T> {
        let [m, k, _] = self.sizes;
        if self.transposed[0] { Matrix::new(a, k, m).transposed() } else { Matrix::new(a, m, k) }
    }

    fn second<'a, T>(&self, b: &'a [T]) -> Matrix<'a, T> {
        let [_, k, n] = self.sizes;
        if self.transposed[1] { Matrix::new(b, n, k).transposed() } else { Matrix::new(b, k, n) }
    }
}

/// All products.
///
/// # Panics
/// If a slice has not the elements of the geometry.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
pub fn multiply<T: Float>(g: &ProductGeometry, a: &[T], b: &[T]) -> Vec<T> {
    // SAFETY: the products are one after the other, and each writes its own matrix.
    unsafe { written(g.output_len(), |c| write_products(g, a, b, c)) }
}

fn write_products<T: Float>(g: &ProductGeometry, a: &[T], b: &[T], c: &mut [MaybeUninit<T>]) {
    let [m, k, n] = g.sizes;
    let lengths = [a.len(), b.len(), c.len()];
    assert_eq!(lengths, [m * k, k * n, m * n].map(|len| g.batch * len), "elements of {g:?}");
    if g.batch == 1 {
        return matmul_on_all_threads(c, g.first(a), g.second(b));
    }
    let factors = a.par_chunks_exact(m * k).zip(b.par_chunks_exact(k * n));
    c.par_chunks_exact_mut(m * n).zip(factors).for_each(|(c, (a, b))| matmul_to(c, g.first(a), g.second(b)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers, on_one_and_four_threads};

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn every_way_to_read_the_factors_equals_the_definition() {
        let (m, k, n) = (3, 4, 5);
        for batch in [1, 3] {
            for transposed in [[false, false], [false, true], [true, false], [true, true]] {
                let g = ProductGeometry::new(batch, [m, k, n], transposed).unwrap();
                let (a, b): (Vec<f64>, Vec<f64>) = (numbers(batch * m * k, 1), numbers(batch * k * n, 2));
                let a_at = |i: usize, row: usize, col: usize| {
                    a[i * m * k + if transposed[0] { col * m + row } else { row * k + col }]
                };
                let b_at = |i: usize, row: usize, col: usize| {
                    b[i * k * n + if transposed[1] { col * k + row } else { row * n + col }]
                };
                let expected: Vec<f64> = (0..batch * m * n)
                    .map(|at| {
                        let (i, row, col) = (at / (m * n), at / n % m, at % n);
                        (0..k).map(|inner| a_at(i, row, inner) * b_at(i, inner, col)).sum()
                    })
                    .collect();
                assert_close(&multiply(&g, &a, &b), &expected, 1e-13);
            }
        }
    }

    /// The products are linear in each factor, so that <dC, product(A, B)> = <A, by_first> = <B, by_second>.
    #[test]
    fn the_gradients_are_products_again() {
        for transposed in [[false, false], [false, true], [true, false], [true, true]] {
            let g = ProductGeometry::new(2, [3, 4, 5], transposed).unwrap();
            let (a, b, dc): (Vec<f64>, Vec<f64>, Vec<f64>) = (numbers(24, 1), numbers(40, 2), numbers(30, 3));
            let value = dot(&dc, &multiply(&g, &a, &b));
            let of = |(g, swaps): (ProductGeometry, bool), first: &[f64], second: &[f64]| {
                if swaps { multiply(&g, second, first) } else { multiply(&g, first, second) }
            };
            let (by_a, by_b) = (of(g.by_first(), &dc, &b), of(g.by_second(), &a, &dc));
            assert!((dot(&a, &by_a) - value).abs() < 1e-12 && (dot(&b, &by_b) - value).abs() < 1e-12);
            // Linear forms that agree in one point need not be equal; of another A only the first changes.
            let other: Vec<f64> = numbers(24, 4);
            let moved = dot(&dc, &multiply(&g, &other, &b));
            assert!((dot(&other, &by_a) - moved).abs() < 1e-12, "{transposed:?}");
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        for (batch, sizes) in [(1, [1200, 200, 300]), (5, [60, 70, 80])] {
            let g = ProductGeometry::new(batch, sizes, [false, true]).unwrap();
            let [m, k, n] = sizes;
            let (a, b): (Vec<f32>, Vec<f32>) = (numbers(batch * m * k, 5), numbers(batch * k * n, 6));
            let [one, four] = on_one_and_four_threads(|| multiply(&g, &a, &b));
            assert_eq!(one, four, "{batch} of {sizes:?}");
        }
    }

    #[test]
    fn sizes_that_are_none_are_refused() {
        let new = |batch, sizes| ProductGeometry::new(batch, sizes, [false; 2]);
        assert!(matches!(new(0, [1, 1, 1]), Err(ShapeError::Empty { .. })));
        assert!(matches!(new(1, [1, 0, 1]), Err(ShapeError::Empty { .. })));
        assert!(matches!(new(2, [usize::MAX, 1, 1]), Err(ShapeError::Overflow { .. })));
    }
}
