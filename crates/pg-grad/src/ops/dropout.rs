//! Dropout from a seeded stream.

use crate::error::{Error, Result};
use candle_core::Tensor;
use pg_random::Stream;
use rand::RngExt;

/// Zeroes each element of `x` with probability `p` in [0, 1) and divides the others by 1 - p. The same stream gives
/// the same elements on every device.
///
/// # Errors
/// [`Error::Option`] if `p` is outside [0, 1).
pub fn dropout(x: &Tensor, p: f64, stream: &mut Stream) -> Result<Tensor> {
    if !(0.0..1.0).contains(&p) {
        return Err(Error::Option { option: "dropout probability", expected: "in [0, 1)", value: p });
    }
    let kept: Vec<f32> =
        (0..x.elem_count()).map(|_| if stream.random::<f64>() < p { 0.0 } else { 1.0 }).collect();
    let kept = Tensor::from_vec(kept, x.shape(), x.device())?.to_dtype(x.dtype())?;
    Ok(((x * kept)? * (1.0 / (1.0 - p)))?)
}
