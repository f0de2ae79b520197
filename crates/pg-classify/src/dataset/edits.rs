//! Edits of a set's training images, listed by a manifest.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::shim::{self as manifest, EditRecord};

use super::{Dataset, DatasetError, EditExample, Example, Options, Picture};

/// Which image of the set a file is.
#[derive(Clone, Copy)]
enum Role {
    Training(usize),
    HeldOut,
}

/// Adds the edits that [`Options::edits`] lists, in the order of the manifest. Originals are recognised by their
/// canonical path, so that links and relative paths do not matter.
pub(super) fn attach(mut set: Dataset, options: &Options) -> Result<Dataset, DatasetError> {
    let Some(path) = &options.edits else { return Ok(set) };
    let roles = roles(&set)?;
    let mut first_row: HashMap<PathBuf, usize> = HashMap::new();
    for (record, row) in manifest::read(path)?.into_iter().zip(1..) {
        let edited = canonical(&record.edited, || format!("{}: row {row} lists it", path.display()))?;
        if roles.contains_key(&edited) {
            return Err(DatasetError::EditInDataset { path: path.clone(), row, edited: record.edited });
        }
        if let Some(first) = first_row.insert(edited, row) {
            return Err(DatasetError::DuplicateEdit {
                path: path.clone(),
                row,
                first,
                edited: record.edited,
            });
        }
        let edit = edit(&set, &roles, record, (path, row))?;
        set.edits.push(edit);
    }
    Ok(set)
}

/// Refuses edits for a set that is not made of files.
pub(super) fn refuse(dataset: &str, options: &Options) -> Result<(), DatasetError> {
    match options.edits {
        Some(_) => Err(DatasetError::EditsUnsupported { dataset: dataset.to_owned() }),
        None => Ok(()),
    }
}

fn edit(
    set: &Dataset,
    roles: &HashMap<PathBuf, Role>,
    record: EditRecord,
    (path, row): (&Path, usize),
) -> Result<EditExample, DatasetError> {
    let original = canonical(&record.original, || format!("{}: row {row} lists it", path.display()))?;
    let Some(&Role::Training(original)) = roles.get(&original) else {
        return Err(DatasetError::NotATrainingImage {
            path: path.to_owned(),
            row,
            original: record.original,
        });
    };
    let label = set.train[original].label;
    let class = &set.classes[label as usize];
    if record.label != *class {
        let (path, class) = (path.to_owned(), class.clone());
        return Err(DatasetError::ManifestLabel { path, row, label: record.label, class });
    }
    Ok(EditExample {
        original,
        picture: Picture::File(record.edited),
        label,
        prompt: record.prompt,
        truth: None,
    })
}

fn roles(set: &Dataset) -> Result<HashMap<PathBuf, Role>, DatasetError> {
    let mut roles = HashMap::new();
    let mut add = |example: &Example, role: Role| -> Result<(), DatasetError> {
        if let Picture::File(path) = &example.picture {
            roles.insert(canonical(path, || "check the data root".to_owned())?, role);
        }
        Ok(())
    };
    for example in set.val.iter().chain(&set.test) {
        add(example, Role::HeldOut)?;
    }
    for (index, example) in set.train.iter().enumerate() {
        add(example, Role::Training(index))?;
    }
    Ok(roles)
}

fn canonical(path: &Path, advice: impl Fn() -> String) -> Result<PathBuf, DatasetError> {
    path.canonicalize().map_err(|_| DatasetError::Missing { path: path.to_owned(), advice: advice() })
}
