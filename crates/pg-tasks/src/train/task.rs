//! What a task adds to the loop.

use std::error::Error as StdError;

use candle_core::backprop::GradStore;

use crate::fingerprint::Fingerprint;
use crate::prefetch::{Prefetch, PrefetchError};

/// The batches of an epoch, made ahead of their use; `None` in the place of one that too few samples are left of.
pub type Batches<B, E> = Result<Prefetch<Option<B>, E>, PrefetchError<E>>;

/// What one task adds to the loop.
pub trait Task {
    /// One batch, made on the prefetch thread.
    type Batch: Send + 'static;
    /// What can go wrong with a batch, a step or a validation.
    type Error: StdError + Send + Sync + 'static;

    /// The data of the run: a run is not resumed on others.
    fn fingerprint(&self) -> Fingerprint;

    /// Batches of an epoch.
    fn steps_per_epoch(&self) -> usize;

    /// The batches of `epoch` (from 0), without the first `skip`.
    ///
    /// # Errors
    /// If the prefetch thread cannot start.
    fn batches(&self, epoch: usize, skip: usize) -> Batches<Self::Batch, Self::Error>;

    /// Losses and gradients of one batch; `step` counts batches over the whole run.
    ///
    /// # Errors
    /// If the network fails.
    fn step(&self, batch: Self::Batch, step: u64) -> Result<TaskStep, Self::Error>;

    /// Names of the columns that [`Task::validate`] fills.
    fn validation_columns(&self) -> Vec<&'static str>;

    /// Validates the present weights.
    ///
    /// # Errors
    /// If an image or the network fails.
    fn validate(&self) -> Result<Validation, Self::Error>;
}

/// What a task found in one batch.
#[derive(Debug)]
pub struct TaskStep {
    /// Samples of the batch.
    pub samples: usize,
    /// Samples that the network classified right.
    pub correct: usize,
    /// L_cls.
    pub loss_cls: f64,
    /// L_PG and alpha * L_PG, if this step measured them.
    pub guidance: Option<(f64, f64)>,
    /// Gradients of the whole loss.
    pub gradients: GradStore,
}

/// What a task found in its validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// One number a column of [`Task::validation_columns`]; NaN where there is none.
    pub values: Vec<f64>,
    /// What selects the best weights, larger is better; `None` where there is nothing to select by, so that the last
    /// epoch counts as the best.
    pub selection: Option<f64>,
}
