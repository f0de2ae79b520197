//! A checked face on the `gemm` crate: row-major matrices, on one thread where callers parallelise over samples, else on all.

use gemm::Parallelism;
use std::mem::MaybeUninit;
use std::ops::Range;

mod sealed {
    use std::mem::MaybeUninit;

    /// The elements themselves, if they are f32: for kernels that f32 alone has.
    pub trait Sealed: Sized {
        fn f32s(_: &[Self]) -> Option<&[f32]> {
            None
        }

        fn f32s_mut(_: &mut [Self]) -> Option<&mut [f32]> {
            None
        }

        fn f32_places(_: &mut [MaybeUninit<Self>]) -> Option<&mut [MaybeUninit<f32>]> {
            None
        }
    }

    impl Sealed for f32 {
        fn f32s(elements: &[f32]) -> Option<&[f32]> {
            Some(elements)
        }

        fn f32s_mut(elements: &mut [f32]) -> Option<&mut [f32]> {
            Some(elements)
        }

        fn f32_places(places: &mut [MaybeUninit<f32>]) -> Option<&mut [MaybeUninit<f32>]> {
            Some(places)
        }
    }

    impl Sealed for f64 {}
}

/// The element types of the kernels: f32 and f64.
pub trait Float:
    Copy
    + Send
    + Sync
    + PartialOrd
    + Default
    + std::ops::AddAssign
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + Into<f64>
    + pulp::bytemuck::Pod
    + sealed::Sealed
    + 'static
{
    /// 1.
    const ONE: Self;

    /// Rounds to the nearest.
    fn from_f64(value: f64) -> Self;
}

impl Float for f32 {
    const ONE: Self = 1.0;

    fn from_f64(value: f64) -> Self {
        value as f32
    }
}

impl Float for f64 {
    const ONE: Self = 1.0;

    fn from_f64(value: f64) -> Self {
        value
    }
}

/// A row-major matrix, read as it is or transposed.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// `data` holds `rows * cols` elements.
    pub(crate) fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert_eq!(Some(data.len()), rows.checked_mul(cols), "matrix of {rows} x {cols}");
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// `count` rows from row `first` on.
    pub(crate) fn some_rows(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.rows, "rows {first} to {} of {}", first + count, self.rows);
        Self { data: &self.data[first * self.row_stride..], rows: count, ..self }
    }

    /// The columns of a range.
    pub(crate) fn some_columns(self, range: Range<usize>) -> Self {
        assert!(range.end <= self.cols, "columns {range:?} of {}", self.cols);
        Self { data: &self.data[range.start * self.col_stride..], cols: range.len(), ..self }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = a b`, or `out += a b` if `accumulate`; `out` is row-major.
#[allow(unsafe_code, reason = "numbers as places of numbers")]
pub(crate) fn matmul<T: Float>(out: &mut [T], a: Matrix<'_, T>, b: Matrix<'_, T>, accumulate: bool) {
    // SAFETY: `multiply` writes nothing but numbers.
    let places = unsafe { &mut *(std::ptr::from_mut(out) as *mut [MaybeUninit<T>]) };
    let out = Out::whole(places, &a, &b);
    // SAFETY: all places hold numbers.
    unsafe { multiply(out, a, b, accumulate, Parallelism::None) }
}

/// Writes `a b`, row-major.
#[allow(unsafe_code, reason = "places that may not be read")]
pub(crate) fn matmul_to<T: Float>(out: &mut [MaybeUninit<T>], a: Matrix<'_, T>, b: Matrix<'_, T>) {
    // SAFETY: nothing is added to.
    unsafe { multiply(Out::whole(out, &a, &b), a, b, false, Parallelism::None) }
}

/// As [`matmul_to`], on all threads of the pool.
#[allow(unsafe_code, reason = "places that may not be read")]
pub(crate) fn matmul_on_all_threads<T: Float>(
    out: &mut [MaybeUninit<T>],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
) {
    let parallelism = Parallelism::Rayon(rayon::current_num_threads());
    // SAFETY: nothing is added to.
    unsafe { multiply(Out::whole(out, &a, &b), a, b, false, parallelism) }
}

/// Writes `a b` to the columns from `first` on of the row-major `out`, which has `columns` of them.
#[allow(unsafe_code, reason = "places that may not be read")]
pub(crate) fn matmul_to_columns<T: Float>(
    out: &mut [MaybeUninit<T>],
    columns: usize,
    first: usize,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
) {
    assert_eq!(Some(out.len()), a.rows.checked_mul(columns), "output of {} x {columns}", a.rows);
    assert!(first + b.cols <= columns, "columns {first} to {} of {columns}", first + b.cols);
    let out = Out { places: &mut out[first..], row_stride: columns };
    // SAFETY: nothing is added to.
    unsafe { multiply(out, a, b, false, Parallelism::None) }
}

/// Where a product goes.
struct Out<'a, T> {
    places: &'a mut [MaybeUninit<T>],
    row_stride: usize,
}

impl<'a, T> Out<'a, T> {
    /// All of `places`.
    fn whole(places: &'a mut [MaybeUninit<T>], a: &Matrix<'_, T>, b: &Matrix<'_, T>) -> Self {
        assert_eq!(Some(places.len()), a.rows.checked_mul(b.cols), "output of {} x {}", a.rows, b.cols);
        Self { places, row_stride: b.cols }
    }
}

/// # Safety
/// If it is to `accumulate`, the places hold numbers.
#[allow(unsafe_code, reason = "gemm takes pointers")]
unsafe fn multiply<T: Float>(
    out: Out<'_, T>,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    accumulate: bool,
    parallelism: Parallelism,
) {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert_eq!(k, b.rows, "inner sizes");
    // SAFETY: the asserts here, in `Matrix::new`, `some_rows` and `some_columns`, and where an `Out` is made, keep every
    // index (row * row_stride + col * col_stride) inside its slice; the places are borrowed mutably and so overlap neither
    // input; gemm 0.19 reads them only to add to them (its `read_dst`); T is f32 or f64 (`Float` is sealed).
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.places.as_mut_ptr().cast(),
            1,
            out.row_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{Matrix, matmul};

    #[test]
    fn multiplies_as_given_transposed_and_accumulating() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // 2 x 3
        let b = [1.0, 0.0, 2.0, 1.0, 0.0, 3.0]; // 3 x 2
        let mut out = [0.0; 4];
        matmul(&mut out, Matrix::new(&a, 2, 3), Matrix::new(&b, 3, 2), false);
        assert_eq!(out, [5.0, 11.0, 14.0, 23.0]);
        matmul(&mut out, Matrix::new(&a, 2, 3), Matrix::new(&b, 3, 2), true);
        assert_eq!(out, [10.0, 22.0, 28.0, 46.0]);
        let mut gram = [0.0; 9];
        matmul(&mut gram, Matrix::new(&a, 2, 3).transposed(), Matrix::new(&a, 2, 3), false);
        assert_eq!(gram, [17.0, 22.0, 27.0, 22.0, 29.0, 36.0, 27.0, 36.0, 45.0]);
    }
}
