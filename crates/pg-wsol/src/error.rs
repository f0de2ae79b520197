//! What can go wrong between a data set and a trained network.

use std::path::PathBuf;

/// Errors of reading a data set, of a training step and of a measurement.
#[derive(Debug, thiserror::Error)]
pub enum WsolError {
    /// The list of a split cannot be used.
    #[error(transparent)]
    Metadata(#[from] pg_localization::MetadataError),
    /// The embedded set cannot be drawn.
    #[error("embedded set: {0}")]
    Spec(#[from] pg_embedded::SpecError),
    /// An image of another split has a class that no training image has.
    #[error("{}: class {label}, but the training images have the classes 0 to {greatest}; check class_labels.txt", path.display())]
    UnknownClass {
        /// The list.
        path: PathBuf,
        /// The class.
        label: u32,
        /// The greatest class of the training images.
        greatest: u32,
    },
    /// A class without a training image.
    #[error("{}: class {label} has no image; classes are counted from 0 without a gap", path.display())]
    EmptyClass {
        /// The list.
        path: PathBuf,
        /// The class.
        label: u32,
    },
    /// A listed image is not there.
    #[error("{}: no such file, but {} lists it; check --data-root", path.display(), list.display())]
    NoImage {
        /// The image.
        path: PathBuf,
        /// The list.
        list: PathBuf,
    },
    /// A listed mask is not there.
    #[error("{}: no such file, but {} lists it; check --masks", path.display(), list.display())]
    NoMask {
        /// The mask.
        path: PathBuf,
        /// The list.
        list: PathBuf,
    },
    /// A mask cannot be read.
    #[error(transparent)]
    Mask(#[from] pg_localization::MaskError),
    /// A map of the network is no score map.
    #[error("score map of {id}: {source}")]
    ScoreMap {
        /// The image.
        id: String,
        /// What is wrong.
        source: pg_localization::ScoreMapError,
    },
    /// The network has no answer.
    #[error(
        "{id}: the network's logits are not finite; train with a lower learning rate or alpha, or clip the gradient"
    )]
    NotFinite {
        /// The image.
        id: String,
    },
    /// The network's gradient, which PuzzleMix asks for, is no number.
    #[error(
        "the network's input gradient is not finite; train with a lower learning rate or alpha, or clip the gradient"
    )]
    Diverged,
    /// An image cannot be decoded.
    #[error(transparent)]
    Image(#[from] pg_tasks::decode::ImageError),
    /// Images of a batch do not fit together.
    #[error(transparent)]
    Batch(#[from] pg_tasks::normalise::BatchError),
    /// Samples cannot be mixed.
    #[error(transparent)]
    Synthesis(#[from] pg_synth::SynthError),
    /// The network or its gradient failed.
    #[error(transparent)]
    Guidance(#[from] pg_grad::Error),
    /// The model does not fit.
    #[error(transparent)]
    Model(#[from] pg_models::Error),
    /// A picture cannot be drawn or written.
    #[error(transparent)]
    Sheet(#[from] pg_tasks::sheet::SheetError),
    /// candle failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
