//! The manifest of edits, until pg-synth reads it.

use std::path::{Path, PathBuf};

use super::DatasetError;

pub(super) struct EditRecord {
    pub(super) original: PathBuf,
    pub(super) edited: PathBuf,
    pub(super) label: String,
    pub(super) prompt: String,
}

pub(super) fn read(_: &Path) -> Result<Vec<EditRecord>, DatasetError> {
    Err(DatasetError::EditsUnsupported { dataset: "this version".into() })
}
