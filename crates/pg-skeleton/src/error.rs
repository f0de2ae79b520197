//! Why a file of skeletons cannot be used.

use std::path::{Path, PathBuf};

use pg_tubes::FileError;

use crate::check::ClipError;
use crate::formats::Format;

/// A text from a file as part of a message: on one line, and not long.
pub(crate) fn one_line(text: &str) -> String {
    const LONG: usize = 80;
    let escaped = text.chars().take(LONG).flat_map(|character| {
        let escape = character.is_control().then(|| character.escape_default());
        let plain = escape.is_none().then_some(character);
        escape.into_iter().flatten().chain(plain)
    });
    escaped.collect()
}

/// Why a file of skeletons cannot be used; the message names the file, and the place in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A file or folder cannot be read.
    #[error("{}: {source}; check the path", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("{}: {source}; check that its folder exists and is writable", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of clips is wrong.
    #[error(transparent)]
    Lines(#[from] FileError),
    /// A line of text is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A record of a file is wrong.
    #[error("{}: {record}: {reason}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Which record.
        record: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file is wrong as a whole.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// What was read makes no clip.
    #[error("{}: video `{}`: {source}", path.display(), one_line(id))]
    Clip {
        /// The file or folder.
        path: PathBuf,
        /// The clip.
        id: String,
        /// What is wrong.
        source: ClipError,
    },
    /// Two videos have one name.
    #[error("{}: video `{}` is there twice; remove or rename one", path.display(), one_line(id))]
    Twice {
        /// The file or folder.
        path: PathBuf,
        /// The name.
        id: String,
    },
    /// A format cannot be told from the file.
    #[error("{}: is in no format that is known; name one of {}", path.display(), Format::names())]
    Unknown {
        /// The file or folder.
        path: PathBuf,
    },
    /// A format is only read.
    #[error("{}: the format `{format}` is only read; write clip, coco, openpose, kinetics or npz", path.display())]
    OnlyRead {
        /// The file or folder.
        path: PathBuf,
        /// The format.
        format: Format,
    },
}

impl FormatError {
    pub(crate) fn read(path: &Path) -> impl Fn(std::io::Error) -> Self + use<'_> {
        |source| Self::Read { path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path) -> impl Fn(std::io::Error) -> Self + use<'_> {
        |source| Self::Write { path: path.to_owned(), source }
    }

    pub(crate) fn file(path: &Path, reason: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn record(path: &Path, record: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Record { path: path.to_owned(), record: record.into(), reason: reason.into() }
    }

    pub(crate) fn line(path: &Path, line: usize, reason: impl Into<String>) -> Self {
        Self::Line { path: path.to_owned(), line, reason: reason.into() }
    }
}
