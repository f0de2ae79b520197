//! What can be wrong with a model request or a file of weights.

use crate::weights::Mismatch;
use std::path::PathBuf;
use thiserror::Error;

/// Errors of this crate.
#[derive(Debug, Error)]
pub enum Error {
    /// No model has this name.
    #[error("unknown model `{name}`; known: {}", crate::model::MODEL_NAMES.join(", "))]
    UnknownModel {
        /// The name asked for.
        name: String,
    },
    /// The network is not divided into parts.
    #[error("{name} has no parts to checkpoint; leave gradient checkpointing off")]
    NoParts {
        /// The network.
        name: String,
    },
    /// The network has no score maps.
    #[error(
        "{name} does not say where it sees an object; choose a ResNet, vgg16-gap, small-vgg-gap, or one of SAT's"
    )]
    NoScoreMaps {
        /// The network.
        name: String,
    },
    /// An option of the model has a value that makes no sense.
    #[error("{option} must be {expected}, got {value}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What would be valid.
        expected: &'static str,
        /// The value given.
        value: usize,
    },
    /// A sample of skeletons has no point.
    #[error("sample {sample} of the batch has no valid keypoint; leave it out")]
    EmptySample {
        /// Its place in the batch.
        sample: usize,
    },
    /// A file of weights cannot be read.
    #[error("{}: cannot read weights: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file of weights has an extension that no reader claims.
    #[error("{}: weights must be .safetensors, .pth or .pt", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// Tensors are missing, left over, or of another shape.
    #[error("weights do not fit the model: {0}")]
    Mismatch(Mismatch),
    /// A tensor holds NaN or infinity in the model's type.
    #[error("weight `{name}` holds NaN or infinity; the file is damaged or comes from a run that diverged")]
    NotFinite {
        /// Name of the tensor.
        name: String,
    },
    /// The hub has no weights for the model.
    #[error("no pretrained weights for `{name}`; there are for resnet18, resnet34, resnet50 and vgg16-gap")]
    NotPretrained {
        /// The model asked for.
        name: String,
    },
    /// The hub did not give the weights.
    #[error(
        "cannot get pretrained weights {repository}/{file}: {reason}; download the file by hand and pass its path"
    )]
    Hub {
        /// Repository on the hub.
        repository: String,
        /// File in it.
        file: String,
        /// Why.
        reason: String,
    },
    /// An operation failed.
    #[error(transparent)]
    Grad(#[from] pg_grad::Error),
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<Error> for pg_grad::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Grad(error) => error,
            Error::Candle(error) => error.into(),
            other => candle_core::Error::wrap(other).into(),
        }
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
