//! Stochastic depth (Huang et al. 2016), as timm's `DropPath`: in training a residual branch is left out for some samples.

use crate::error::Result;
use candle_core::Tensor;
use pg_grad::ops::dropout;
use pg_random::Stream;

/// `x` (n, ...) with each sample zeroed with probability `p` in [0, 1), and the others divided by 1 - p.
pub(crate) fn drop_path(x: &Tensor, p: f64, stream: &mut Stream) -> Result<Tensor> {
    if p == 0.0 {
        return Ok(x.clone());
    }
    let mut shape = vec![1; x.rank()];
    shape[0] = x.dim(0)?;
    let factors = dropout(&Tensor::ones(shape, x.dtype(), x.device())?, p, stream)?;
    Ok(x.broadcast_mul(&factors)?)
}
