//! Layers: parameters with one of pg-grad's operations.

mod batch_norm;
mod conv2d;
mod linear;

pub(crate) use batch_norm::BatchNorm;
pub(crate) use conv2d::Conv2d;
pub(crate) use linear::Linear;

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

impl From<pg_grad::Forward> for Mode {
    fn from(forward: pg_grad::Forward) -> Self {
        match forward {
            pg_grad::Forward::Main => Mode::Train,
            pg_grad::Forward::Probe => Mode::Probe,
        }
    }
}
