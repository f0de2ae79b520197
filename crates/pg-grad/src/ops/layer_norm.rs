//! Layer normalisation over the last axis.

use super::channels::feature_affine;
use super::group_norm::standardize;
use crate::error::Result;
use candle_core::{D, Tensor};

/// Normalises the last axis of `x` (..., features), then scales by `weight` and adds `bias`, both (features,).
///
/// # Errors
/// If the shapes do not fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let rows = x.elem_count() / x.dim(D::Minus1)?.max(1);
    feature_affine(&standardize(x, rows, eps)?, weight, bias)
}
