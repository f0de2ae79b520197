//! Fully connected layer.

use super::channels::feature_shift;
use super::matmul::project;
use crate::error::Result;
use candle_core::Tensor;

/// x weight^T + bias for `x` (..., in), `weight` (out, in) and `bias` (out,), giving (..., out).
///
/// # Errors
/// If the shapes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let y = project(x, weight)?;
    match bias {
        Some(bias) => feature_shift(&y, bias),
        None => Ok(y),
    }
}
