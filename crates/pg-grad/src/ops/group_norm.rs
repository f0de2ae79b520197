//! Group normalisation.

use super::batch_norm::recorded_standardize;
use super::channels::{channel_affine, channel_center, channel_dot, channel_scale};
use crate::error::{Error, Result};
use candle_core::Tensor;

/// Normalises each of `groups` runs of channels of each sample of `x` (n, channels, ...), then scales by `weight`
/// and adds `bias`, both (channels,), as `torch.nn.functional.group_norm`.
///
/// # Errors
/// [`Error::Shape`] if `groups` does not divide the channels.
pub fn group_norm(x: &Tensor, groups: usize, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let (n, channels) = (x.dim(0)?, x.dim(1)?);
    if groups == 0 || channels % groups != 0 {
        let expected = format!("channels that {groups} groups divide");
        return Err(Error::Shape { what: "group_norm input", actual: x.dims().to_vec(), expected });
    }
    channel_affine(&standardize(x, n * groups, eps)?, weight, bias)
}

/// `x`, cut into `runs` of equal length, each less its mean and divided by its deviation.
pub(super) fn standardize(x: &Tensor, runs: usize, eps: f64) -> Result<Tensor> {
    if let Some(recorded) = recorded_standardize(x, runs, eps) {
        return recorded;
    }
    let length = x.elem_count() / runs.max(1);
    let centered = channel_center(&x.reshape((1, runs, length))?)?;
    let variance = (channel_dot(&centered, &centered)? / length as f64)?;
    let inverse_deviation = (variance + eps)?.sqrt()?.recip()?;
    Ok(channel_scale(&centered, &inverse_deviation)?.reshape(x.shape())?)
}
