//! Why a run failed.

use std::error::Error as StdError;
use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::curves::CurvesError;
use crate::optim::{MissingGradient, OptimError};
use crate::results::ResultsError;
use crate::run_dir::RunDirError;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A batch, step or validation failed.
    #[error(transparent)]
    Task(Box<dyn StdError + Send + Sync>),
    /// The loss or a gradient is not a number.
    #[error(
        "epoch {epoch}, batch {batch}: {what} is not finite; lower the learning rate or alpha, or clip the gradient"
    )]
    Diverged {
        /// The epoch, counted from 1.
        epoch: usize,
        /// The batch of that epoch, counted from 1.
        batch: usize,
        /// The loss, or the parameter whose gradient it is.
        what: String,
    },
    /// Every batch of an epoch was skipped.
    #[error("epoch {epoch}: no batch has enough samples that can be used; repair the data set")]
    NoSamples {
        /// The epoch, counted from 1.
        epoch: usize,
    },
    /// The data are not those that the run began with.
    #[error("{}: the data changed since the run began ({change}); restore them, or begin a new run", path.display())]
    DataChanged {
        /// The state that the run would have gone on from.
        path: PathBuf,
        /// What changed.
        change: String,
    },
    /// The loss does not reach some parameters.
    #[error(transparent)]
    Unreached(#[from] MissingGradient),
    /// The optimiser failed.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// The run directory could not be written.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// `results.csv` could not be written or read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The curves could not be drawn.
    #[error(transparent)]
    Curves(#[from] CurvesError),
    /// The saved weights do not fit the model.
    #[error(transparent)]
    Model(#[from] pg_models::Error),
    /// candle failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl TrainError {
    pub(super) fn task<E: StdError + Send + Sync + 'static>(error: E) -> Self {
        Self::Task(Box::new(error))
    }
}
