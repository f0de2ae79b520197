//! Batch normalisation. The second axis holds the channels; any further axes and the batch are reduced.

use crate::error::{Error, Result};
use candle_core::Tensor;

/// Moments of one batch, each (channels,), detached: what moves the running statistics.
#[derive(Debug, Clone)]
pub struct BatchMoments {
    /// Mean.
    pub mean: Tensor,
    /// Unbiased variance (divisor count - 1).
    pub unbiased_variance: Tensor,
}

/// Normalises `x` (n, channels, ...) by the moments of the batch (variance with divisor count), then scales by
/// `weight` and adds `bias`, both (channels,). The derivative holds the cross-sample terms.
///
/// # Errors
/// [`Error::Shape`] if a channel has fewer than two elements, as in torch; or the shapes do not fit.
pub fn batch_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<(Tensor, BatchMoments)> {
    let reduced: Vec<usize> = (0..x.rank()).filter(|&axis| axis != 1).collect();
    let channels = x.dim(1)?;
    let count = x.elem_count() / channels.max(1);
    if count < 2 {
        let expected = "more than one value a channel (in training)".to_string();
        return Err(Error::Shape { what: "batch_norm input", actual: x.dims().to_vec(), expected });
    }
    let mean = x.mean_keepdim(reduced.as_slice())?;
    let centered = x.broadcast_sub(&mean)?;
    let variance = centered.sqr()?.mean_keepdim(reduced.as_slice())?;
    let normalized = centered.broadcast_div(&(&variance + eps)?.sqrt()?)?;
    let y = normalized.broadcast_mul(&per_channel(weight, x)?)?.broadcast_add(&per_channel(bias, x)?)?;
    let unbiased = (variance.detach().flatten_all()? * (count as f64 / (count - 1) as f64))?;
    Ok((y, BatchMoments { mean: mean.detach().flatten_all()?, unbiased_variance: unbiased }))
}

/// Normalises `x` (n, channels, ...) by given moments, each (channels,): evaluation mode.
///
/// # Errors
/// If the shapes do not fit.
pub fn batch_norm_with_moments(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    let scale = (weight / (variance + eps)?.sqrt()?)?;
    let shift = (bias - (mean * &scale)?)?;
    Ok(x.broadcast_mul(&per_channel(&scale, x)?)?.broadcast_add(&per_channel(&shift, x)?)?)
}

/// `v` (channels,) in a shape that broadcasts against `x` (n, channels, ...).
pub(super) fn per_channel(v: &Tensor, x: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1; x.rank()];
    shape[1] = v.elem_count();
    Ok(v.reshape(shape)?)
}
