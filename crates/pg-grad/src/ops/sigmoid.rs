//! Logistic function.

use crate::error::Result;
use candle_core::Tensor;

/// 1 / (1 + exp(-x)) for any shape; through tanh, so that no exponential overflows and no derivative is NaN.
///
/// # Errors
/// If candle fails.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok((((x * 0.5)?.tanh()? + 1.0)? * 0.5)?)
}
