//! Group normalisation.

use super::batch_norm::per_channel;
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
    let grouped = x.reshape((n * groups, x.elem_count() / (n * groups)))?;
    let centered = grouped.broadcast_sub(&grouped.mean_keepdim(1)?)?;
    let deviation = (centered.sqr()?.mean_keepdim(1)? + eps)?.sqrt()?;
    let normalized = centered.broadcast_div(&deviation)?.reshape(x.shape())?;
    Ok(normalized.broadcast_mul(&per_channel(weight, x)?)?.broadcast_add(&per_channel(bias, x)?)?)
}
