//! Gaussian error linear unit, erf form.

use crate::error::Result;
use candle_core::Tensor;

/// x * Phi(x) with the Gaussian distribution function Phi, as `torch.nn.functional.gelu`; any shape.
///
/// # Errors
/// If candle fails.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    let distribution = (((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5)?;
    Ok((x * distribution)?)
}
