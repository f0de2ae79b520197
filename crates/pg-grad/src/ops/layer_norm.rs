//! Layer normalisation over the last axis.

use crate::error::Result;
use candle_core::{D, Tensor};

/// Normalises the last axis of `x` (..., features), then scales by `weight` and adds `bias`, both (features,).
///
/// # Errors
/// If the shapes do not fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centered.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    Ok(centered.broadcast_div(&deviation)?.broadcast_mul(weight)?.broadcast_add(bias)?)
}
