//! What can be wrong with a guidance request.

use thiserror::Error;

/// Errors of input gradients and guidance.
#[derive(Debug, Error)]
pub enum Error {
    /// candle's second-order switch is off on the calling thread.
    #[error(
        "second-order derivatives are off on this thread; call pg_grad::second_order::enable() at the start of main, \
         before any thread starts, or set CANDLE_GRAD_DO_NOT_DETACH=1, or use Strategy::FiniteDifference"
    )]
    SecondOrderOff,
    /// The logits do not depend on the input through operations that have a derivative.
    #[error(
        "the logits do not depend on the input: forward must use the given tensor, and no operation on the way may \
         cut the graph (detach, candle_nn::layer_norm and softmax_last_dim do)"
    )]
    NoInputGradient,
    /// What leads to a loss of a step was differentiated before, and let go of.
    #[error(
        "a part of this step was differentiated by its last pass before; add the losses and differentiate once"
    )]
    UsedUp,
    /// A checkpointed part of a network reads more than it was given.
    #[error("a checkpointed part may depend on its input and on variables, not on other tensors of the step")]
    CheckpointReads,
    /// A displaced pass came to other rectifiers or poolings than the pass it belongs to.
    #[error(
        "the network took another way through its rectifiers and poolings in a displaced pass; let it run the same \
         operations in every pass of a step, or use Strategy::Exact"
    )]
    OtherGates,
    /// A shape does not fit.
    #[error("{what} has shape {actual:?}, expected {expected}")]
    Shape {
        /// What has the wrong shape.
        what: &'static str,
        /// Its shape.
        actual: Vec<usize>,
        /// What was expected, in words.
        expected: String,
    },
    /// The windows of a convolution, pooling or resize do not fit.
    #[error(transparent)]
    Window(#[from] pg_kernels::ShapeError),
    /// A mask lies outside [0, 1] or is not a number.
    #[error("{what} must lie in [0, 1], found {value}")]
    MaskRange {
        /// Which mask.
        what: &'static str,
        /// A value outside.
        value: f64,
    },
    /// An option has a value that makes no sense.
    #[error("{option} must be {expected}, got {value}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What would be valid.
        expected: &'static str,
        /// The value given.
        value: f64,
    },
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            other => candle_core::Error::wrap(other),
        }
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
