//! Layers: parameters with one of pg-grad's operations.

mod batch_norm;
mod conv2d;
mod drop_path;
mod layer_norm;
mod linear;

pub(crate) use batch_norm::BatchNorm;
pub(crate) use conv2d::Conv2d;
pub(crate) use drop_path::drop_path;
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::Linear;

use crate::error::Result;
use candle_core::Tensor;
use pg_grad::Forward;

/// How batch normalisation gets its moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Moments of the batch; the running statistics move.
    Train,
    /// Moments of the batch; the running statistics stay: a further pass of the same step.
    Probe,
    /// Running statistics.
    Eval,
}

impl From<Forward> for Mode {
    fn from(forward: Forward) -> Self {
        match forward {
            Forward::Main => Mode::Train,
            Forward::Probe => Mode::Probe,
        }
    }
}

/// `part(x, mode)`. With `checkpointing`, a training step keeps `x` alone and computes the part again for each of its
/// derivatives.
pub(crate) fn run_part(
    x: &Tensor,
    mode: Mode,
    checkpointing: bool,
    part: impl Fn(&Tensor, Mode) -> Result<Tensor> + 'static,
) -> Result<Tensor> {
    if !checkpointing {
        return part(x, mode);
    }
    let again = if mode == Mode::Train { Mode::Probe } else { mode };
    let mode_of = move |forward| if forward == Forward::Main { mode } else { again };
    Ok(pg_grad::checkpoint(x, Forward::Main, move |x, forward| part(x, mode_of(forward)))?)
}
