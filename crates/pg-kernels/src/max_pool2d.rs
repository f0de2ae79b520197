//! Which element of each window is the largest. Pooling then gathers the winners, and its gradient scatters to them.

use crate::geometry::{Axis, ShapeError, checked_len, non_empty};
use crate::matmul::Float;
use rayon::prelude::*;
use std::ops::Range;

/// Options of a pooling, each as (height, width).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2dOptions {
    /// Window size.
    pub kernel_size: (usize, usize),
    /// Distance between windows.
    pub stride: (usize, usize),
    /// Rows and columns outside the input that a window may reach on either side.
    pub padding: (usize, usize),
}

/// The checked shapes of one pooling.
#[derive(Debug, Clone, Copy)]
pub struct Pool2dGeometry {
    planes: usize,
    y: Axis,
    x: Axis,
}

impl Pool2dGeometry {
    /// Checks an input (n, channels, height, width).
    ///
    /// # Errors
    /// [`ShapeError`] if an axis is empty, an option is zero, the padding is not smaller than the window, the window does
    /// not fit, or sizes overflow: a plane's positions are counted in 32 bits.
    pub fn new(input: [usize; 4], options: Pool2dOptions) -> Result<Self, ShapeError> {
        let operation = "pool2d";
        non_empty(operation, &input)?;
        let planes = checked_len(operation, &input)? / (input[2] * input[3]);
        let axis = |input, window, stride, padding| {
            if padding >= window && window > 0 {
                return Err(ShapeError::PaddingTooLarge { operation, padding, window });
            }
            Axis::new(operation, input, window, stride, padding, 1)
        };
        let y = axis(input[2], options.kernel_size.0, options.stride.0, options.padding.0)?;
        let x = axis(input[3], options.kernel_size.1, options.stride.1, options.padding.1)?;
        checked_len(operation, &[planes, y.output, x.output])?;
        if u32::try_from(input[2] * input[3]).is_err() {
            return Err(ShapeError::Overflow { operation });
        }
        Ok(Self { planes, y, x })
    }

    /// Images of one channel: n times channels.
    pub fn planes(&self) -> usize {
        self.planes
    }

    /// The vertical and the horizontal axis.
    pub fn axes(&self) -> (Axis, Axis) {
        (self.y, self.x)
    }

    /// Output (height, width).
    pub fn output_size(&self) -> (usize, usize) {
        (self.y.output, self.x.output)
    }

    /// For output row `oy` and column `ox`, the positions (row * width + column) inside the input that its window
    /// covers, in row-major order.
    pub fn window(&self, oy: usize, ox: usize) -> impl Iterator<Item = usize> + '_ {
        let columns = move |iy| self.x.covered(ox).map(move |ix| iy * self.x.input + ix);
        self.y.covered(oy).flat_map(columns)
    }
}

/// For each window the position (row * width + column) of its largest element: the first in row-major order if
/// several are equal, a NaN before all others; padding never wins. `winners` is (planes, output height * width).
pub fn winners<T: Float>(g: &Pool2dGeometry, input: &[T], winners: &mut [u32]) {
    let plane_len = g.y.input * g.x.input;
    let (oh, ow) = g.output_size();
    assert_eq!((input.len(), winners.len()), (g.planes * plane_len, g.planes * oh * ow), "{g:?}");
    input.par_chunks(plane_len).zip(winners.par_chunks_mut(oh * ow)).for_each(|(plane, winners)| {
        for (oy, winners) in winners.chunks_exact_mut(ow).enumerate() {
            let rows = g.y.covered(oy);
            for (ox, winner) in winners.iter_mut().enumerate() {
                *winner = first_maximum(plane, g.x.input, rows.clone(), g.x.covered(ox)) as u32;
            }
        }
    });
}

/// Padding is smaller than the window, so there is at least one row and one column.
#[inline]
fn first_maximum<T: Float>(plane: &[T], width: usize, rows: Range<usize>, columns: Range<usize>) -> usize {
    let mut best = rows.start * width + columns.start;
    let mut largest = plane[best];
    for row in rows {
        let start = row * width;
        for (column, &value) in columns.clone().zip(&plane[start + columns.start..start + columns.end]) {
            // Not larger, but not less or equal either: one of the two is NaN.
            if value > largest || (value.partial_cmp(&largest).is_none() && !is_nan(largest)) {
                (best, largest) = (start + column, value);
            }
        }
    }
    best
}

pub(crate) fn is_nan<T: Float>(value: T) -> bool {
    value.partial_cmp(&value).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(input: [usize; 4], k: usize, s: usize, p: usize) -> Result<Pool2dGeometry, ShapeError> {
        let options = Pool2dOptions { kernel_size: (k, k), stride: (s, s), padding: (p, p) };
        Pool2dGeometry::new(input, options)
    }

    #[test]
    fn the_first_of_equals_wins_and_padding_never_does() {
        let g = pool([1, 1, 3, 3], 3, 2, 1).unwrap();
        let mut indices = [0; 4];
        winners(&g, &[-1.0, -2.0, -2.0, -3.0, -3.0, -3.0, -5.0, -4.0, -4.0], &mut indices);
        assert_eq!(indices, [0, 1, 3, 4]);
        winners(&g, &[0.0, 1.0, 0.0, f64::NAN, 2.0, 3.0, 0.0, 0.0, 0.0], &mut indices);
        assert_eq!(indices, [3, 5, 3, 5]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_named() {
        assert!(matches!(pool([1, 0, 3, 3], 2, 2, 0), Err(ShapeError::Empty { .. })));
        assert!(matches!(pool([1, 1, 3, 3], 2, 2, 2), Err(ShapeError::PaddingTooLarge { .. })));
        assert!(matches!(pool([1, 1, 3, 3], 4, 1, 0), Err(ShapeError::WindowTooLarge { .. })));
        assert!(matches!(pool([1, 1, 3, 3], 2, 0, 0), Err(ShapeError::Zero { .. })));
    }
}
