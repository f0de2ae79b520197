//! Fully connected layer.

use crate::error::Result;
use candle_core::Tensor;

/// x weight^T + bias for `x` (..., in), `weight` (out, in) and `bias` (out,), giving (..., out).
///
/// # Errors
/// If the shapes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (out, input) = weight.dims2()?;
    let mut shape = x.dims().to_vec();
    let rows = x.elem_count() / input.max(1);
    let y = x.reshape((rows, input))?.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    if let Some(last) = shape.last_mut() {
        *last = out;
    }
    Ok(y.reshape(shape)?)
}
