//! What can go wrong between clips and tubes.

use std::path::PathBuf;

/// Errors of preparing clips, of a training step and of detection.
#[derive(Debug, thiserror::Error)]
pub enum StadError {
    /// A file of clips or of tubes cannot be used.
    #[error(transparent)]
    File(#[from] pg_tubes::FileError),
    /// A file of another kind cannot be used.
    #[error(transparent)]
    Format(#[from] pg_skeleton::FormatError),
    /// A file of labels cannot be read.
    #[error("{}: {source}; check the path", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of labels has a line that is none.
    #[error("{}:{line}: {reason}", path.display())]
    LabelLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A clip cannot be used.
    #[error("{}: clip `{}` {reason}", path.display(), one_line(id))]
    Clip {
        /// The file.
        path: PathBuf,
        /// The clip.
        id: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The network says nothing of a clip.
    #[error(
        "clip `{}`: its scores are no numbers; correct joints far outside of the image, or train again",
        one_line(id)
    )]
    Scores {
        /// The clip.
        id: String,
    },
    /// Nobody is in a clip.
    #[error("clip `{}` shows nobody; leave it out", one_line(id))]
    Nobody {
        /// The clip.
        id: String,
    },
    /// A class that there is not.
    #[error("class {class} of {known}; count classes from 0")]
    Class {
        /// Its index.
        class: usize,
        /// How many there are.
        known: usize,
    },
    /// There is nothing to train or to test with.
    #[error("{}: no clip can be used for {purpose}; mend the clips named above, or name another file", path.display())]
    NoClips {
        /// The file.
        path: PathBuf,
        /// What it is for.
        purpose: &'static str,
    },
    /// The embedded set cannot be drawn.
    #[error(transparent)]
    Embedded(#[from] pg_embedded::SpecError),
    /// Scenes do not fit together.
    #[error(transparent)]
    Scenes(#[from] pg_synth::SynthError),
    /// Tubes cannot be compared.
    #[error(transparent)]
    Evaluation(#[from] pg_tubes::EvaluationError),
    /// The network or its gradient failed.
    #[error(transparent)]
    Guidance(#[from] pg_grad::Error),
    /// The model does not fit.
    #[error(transparent)]
    Model(#[from] pg_models::Error),
    /// candle failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// A name from a file as part of a message: on one line.
pub fn one_line(name: &str) -> String {
    let escaped = |character: char| match character {
        _ if character.is_control() => character.escape_default().to_string(),
        _ => character.to_string(),
    };
    name.chars().map(escaped).collect()
}
