//! Linear maps of images that act on rows and columns alone (pooling by average, resizing): two matrix products.

use super::{ShapeError, dims4};
use crate::error::Result;
use candle_core::Tensor;

/// A matrix (output, input) that maps the elements of one axis.
pub(super) struct AxisMap {
    pub(super) output: usize,
    pub(super) input: usize,
    /// Row-major weights.
    pub(super) weights: Vec<f64>,
}

impl AxisMap {
    /// An all-zero map, for an operation whose name its error bears.
    pub(super) fn zeros(operation: &'static str, output: usize, input: usize) -> Result<Self> {
        let len = output.checked_mul(input).filter(|&len| len <= isize::MAX as usize / size_of::<f64>());
        let len = len.ok_or(ShapeError::Overflow { operation })?;
        Ok(Self { output, input, weights: vec![0.0; len] })
    }

    /// Adds to the weight of `input` in `output`.
    pub(super) fn add(&mut self, output: usize, input: usize, weight: f64) {
        self.weights[output * self.input + input] += weight;
    }

    /// The transposed matrix, (input, output), beside `like`.
    fn transposed(&self, like: &Tensor) -> Result<Tensor> {
        let matrix = Tensor::from_slice(&self.weights, (self.output, self.input), like.device())?;
        Ok(matrix.t()?.to_dtype(like.dtype())?.contiguous()?)
    }
}

/// `rows` maps the height and `columns` the width of `x` (n, channels, height, width).
pub(super) fn apply(x: &Tensor, rows: &AxisMap, columns: &AxisMap) -> Result<Tensor> {
    let [n, c, h, w] = dims4(x)?;
    let (oh, ow) = (rows.output, columns.output);
    let y = x.reshape((n * c * h, w))?.matmul(&columns.transposed(x)?)?;
    let y = y.reshape((n * c, h, ow))?.transpose(1, 2)?.reshape((n * c * ow, h))?;
    let y = y.matmul(&rows.transposed(x)?)?;
    Ok(y.reshape((n * c, ow, oh))?.transpose(1, 2)?.reshape((n, c, oh, ow))?)
}
