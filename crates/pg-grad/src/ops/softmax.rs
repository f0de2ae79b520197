//! Soft-max and its logarithm along one axis, shifted by the largest element so that nothing overflows.

use crate::error::Result;
use candle_core::Tensor;
use candle_core::shape::Dim;

/// exp(x) / sum exp(x) along `dim`.
///
/// # Errors
/// If `dim` is out of range.
pub fn softmax(x: &Tensor, dim: impl Dim) -> Result<Tensor> {
    let dim = dim.to_index(x.shape(), "softmax")?;
    let exp = shifted(x, dim)?.exp()?;
    Ok(exp.broadcast_div(&exp.sum_keepdim(dim)?)?)
}

/// x - log sum exp(x) along `dim`.
///
/// # Errors
/// If `dim` is out of range.
pub fn log_softmax(x: &Tensor, dim: impl Dim) -> Result<Tensor> {
    let dim = dim.to_index(x.shape(), "log-softmax")?;
    let shifted = shifted(x, dim)?;
    Ok(shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(dim)?.log()?)?)
}

/// The shift cancels, so it needs no gradient.
fn shifted(x: &Tensor, dim: usize) -> Result<Tensor> {
    Ok(x.broadcast_sub(&x.detach().max_keepdim(dim)?)?)
}
