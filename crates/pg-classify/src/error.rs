//! What can go wrong between a data set and a trained model.

use std::path::PathBuf;

use crate::dataset::DatasetError;
use crate::metrics::MetricError;

/// Errors of preparing samples, of a training step and of an evaluation.
#[derive(Debug, thiserror::Error)]
pub enum ClassifyError {
    /// The data set cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// An image cannot be decoded.
    #[error(transparent)]
    Image(#[from] pg_tasks::decode::ImageError),
    /// Images of a batch do not fit together.
    #[error(transparent)]
    Batch(#[from] pg_tasks::normalise::BatchError),
    /// A mask cannot be extracted from an edit.
    #[error("{}: {source}", picture.display())]
    Provenance {
        /// The edited image.
        picture: PathBuf,
        /// What is wrong.
        source: pg_provenance::ProvenanceError,
    },
    /// The mask that came with an edit is of another size.
    #[error(
        "{}: is {}x{}, but its edit {} is {}x{}; save the mask at the size of the edit",
        mask.display(), found.0, found.1, edited.display(), expected.0, expected.1
    )]
    MaskSize {
        /// The mask.
        mask: PathBuf,
        /// The edited image.
        edited: PathBuf,
        /// Width and height of the mask, in pixels.
        found: (u32, u32),
        /// Width and height of the edited image, in pixels.
        expected: (u32, u32),
    },
    /// The network has no answer.
    #[error(
        "{}: the network's logits are not finite; train with a lower learning rate or alpha, or clip the gradient",
        picture.display()
    )]
    NotFinite {
        /// The image.
        picture: PathBuf,
    },
    /// The network or its gradient failed.
    #[error(transparent)]
    Guidance(#[from] pg_grad::Error),
    /// The model does not fit.
    #[error(transparent)]
    Model(#[from] pg_models::Error),
    /// Predictions and labels do not fit.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A picture cannot be drawn or written.
    #[error(transparent)]
    Sheet(#[from] pg_tasks::sheet::SheetError),
    /// candle failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
