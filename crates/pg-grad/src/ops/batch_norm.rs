//! Batch normalisation. The second axis holds the channels; any further axes and the batch are reduced.

use super::channels::{channel_affine, channel_center, channel_dot, channel_sum};
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
    let channels = x.dim(1)?;
    let count = x.elem_count() / channels.max(1);
    if count < 2 {
        let expected = "more than one value a channel (in training)".to_string();
        return Err(Error::Shape { what: "batch_norm input", actual: x.dims().to_vec(), expected });
    }
    let centered = channel_center(x)?;
    let variance = (channel_dot(&centered, &centered)? / count as f64)?;
    let scale = (weight / (&variance + eps)?.sqrt()?)?;
    let y = channel_affine(&centered, &scale, bias)?;
    let mean = (channel_sum(&x.detach())? / count as f64)?;
    let unbiased_variance = (variance.detach() * (count as f64 / (count - 1) as f64))?;
    Ok((y, BatchMoments { mean, unbiased_variance }))
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
    // Where the mean is large against the deviation this cancels, by no more than the rounding of `x` itself.
    let shift = (bias - (mean * &scale)?)?;
    channel_affine(x, &scale, &shift)
}
