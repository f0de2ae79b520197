//! Import of edits as ALIA (Dunlap et al., 2023) stores them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::EditRecord;

/// An image of the training set from which the edits were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its file.
    pub path: PathBuf,
    /// Its class, from 0.
    pub label: u32,
}

/// Which of the edits of an original under one prompt to import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AliaEdits {
    /// All of them.
    #[default]
    All,
    /// The first, as ALIA's own loader.
    First,
}

/// Why a folder of ALIA edits cannot be imported.
#[derive(Debug, Error)]
pub enum AliaError {
    /// A folder cannot be listed.
    #[error("{}: {reason}; check the path", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// No edits were found.
    #[error("{}: no images named like 12-0.png below it; pass ALIA's output folder", folder.display())]
    NoEdits {
        /// The folder.
        folder: PathBuf,
    },
    /// A name with a hyphen does not start with two numbers.
    #[error("{}: not named <original>-<edit>.png by two numbers; rename or remove it", file.display())]
    Name {
        /// The edited image.
        file: PathBuf,
    },
    /// There is no such original.
    #[error(
        "{}: edit of original {index}, but only {originals} originals were given; \
         pass the training set of the edits",
        file.display()
    )]
    Index {
        /// The edited image.
        file: PathBuf,
        /// Position of the original that its name gives, from 0.
        index: usize,
        /// Number of originals passed.
        originals: usize,
    },
    /// The edits of one class folder have originals of two classes.
    #[error(
        "{}: its original has label {label}, but that of {} in the same class has {first_label}; \
         pass the originals in the order of the edits",
        file.display(), first.display()
    )]
    Labels {
        /// The edited image.
        file: PathBuf,
        /// Label of its original.
        label: u32,
        /// An earlier image of the same class folder.
        first: PathBuf,
        /// Label of that one's original.
        first_label: u32,
    },
}

/// Imports the edits below `root`, sorted by folder, original and edit.
///
/// ALIA writes `<method>/<data set>/<prompt>/strength-<s>_guidance-<g>/<class>/<i>-<j>.png`: edit `j` of the
/// training image at position `i`. `root` may be any of these folders; method and prompt are taken from their
/// names. The position is all that identifies the original, so `originals` must be the training set in the
/// order in which it was edited: with ALIA's Waterbirds subset it depends on the seed. As a check, the edits
/// of one class folder must have originals of one label. Preview grids (folders `samples` below the root) and
/// names without a hyphen are skipped.
///
/// # Errors
/// [`AliaError`].
pub fn import_alia(
    root: &Path,
    originals: &[Original],
    edits: AliaEdits,
) -> Result<Vec<EditRecord>, AliaError> {
    let mut files = Vec::new();
    list_images(root, &mut files)?;
    let mut found: Vec<Edit> =
        files.into_iter().filter_map(|file| Edit::parse(file).transpose()).collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Err(AliaError::NoEdits { folder: root.to_owned() });
    }
    found.sort_by(|a, b| a.order().cmp(&b.order()));
    if edits == AliaEdits::First {
        found.dedup_by(|next, first| (next.file.parent(), next.index) == (first.file.parent(), first.index));
    }
    let mut classes = HashMap::new();
    found.into_iter().map(|edit| edit.record(originals, &mut classes)).collect()
}

/// The images below `folder`, without those in folders called `samples`.
fn list_images(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), AliaError> {
    let failed = |reason| AliaError::Folder { folder: folder.to_owned(), reason };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            if path.file_name() != Some(OsStr::new("samples")) {
                list_images(&path, files)?;
            }
        } else if is_image(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// An edited image and the two numbers of its name.
struct Edit {
    file: PathBuf,
    index: usize,
    number: usize,
}

impl Edit {
    /// The numbers of `<index>-<number>.<extension>`; nothing for a name without a hyphen.
    fn parse(file: PathBuf) -> Result<Option<Self>, AliaError> {
        let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default();
        if !stem.contains('-') {
            return Ok(None);
        }
        let mut fields = stem.split('-').map(str::parse);
        match (fields.next(), fields.next()) {
            (Some(Ok(index)), Some(Ok(number))) => Ok(Some(Self { file, index, number })),
            _ => Err(AliaError::Name { file }),
        }
    }

    fn order(&self) -> (Option<&Path>, usize, usize) {
        (self.file.parent(), self.index, self.number)
    }

    /// The record of the edit; `classes` holds, for each class folder's name, its first image and label.
    fn record(
        self,
        originals: &[Original],
        classes: &mut HashMap<String, (PathBuf, u32)>,
    ) -> Result<EditRecord, AliaError> {
        let Some(Original { path, label }) = originals.get(self.index) else {
            return Err(AliaError::Index { file: self.file, index: self.index, originals: originals.len() });
        };
        let class = folder_name(&self.file, 1).unwrap_or_default();
        let (first, first_label) = classes.entry(class).or_insert_with(|| (self.file.clone(), *label));
        if first_label != label {
            let (first, first_label) = (first.clone(), *first_label);
            return Err(AliaError::Labels { file: self.file, label: *label, first, first_label });
        }
        let by_layout = |levels| {
            folder_name(&self.file, 2)
                .filter(|name| name.starts_with("strength-"))
                .and_then(|_| folder_name(&self.file, levels))
        };
        Ok(EditRecord {
            original: path.clone(),
            label: *label,
            mask: None,
            prompt: by_layout(3).map(|prompt| prompt.replace('_', " ")),
            method: by_layout(5),
            seed: None,
            edited: self.file.clone(),
        })
    }
}

/// Name of the folder that many levels above a file.
fn folder_name(file: &Path, levels: usize) -> Option<String> {
    file.ancestors().nth(levels)?.file_name()?.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const RUN: &str = "img2img/Cub2011/a_photo_of_a_{}_bird/strength-0.6_guidance-7.5";

    /// ALIA's output inside a folder that is itself called `samples`.
    fn output(files: &[&str]) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("samples");
        for file in files {
            let file = root.join(RUN).join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, b"image").unwrap();
        }
        (folder, root)
    }

    fn originals() -> Vec<Original> {
        (0..12)
            .map(|n| Original { path: format!("train/{n}.jpg").into(), label: u32::from(n >= 2) })
            .collect()
    }

    const FILES: [&str; 8] = [
        "gull/2-0.png",
        "gull/11-1.png",
        "gull/11-0.PNG",
        "gull/notes-1.txt",
        "gull/7.png",
        "gull/samples/3-0.png",
        "wren/1-1.png",
        "wren/0-0.jpg",
    ];

    fn names(records: &[EditRecord]) -> Vec<(String, String, u32)> {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        records.iter().map(|record| (name(&record.original), name(&record.edited), record.label)).collect()
    }

    #[test]
    fn edits_are_matched_by_position() {
        let (_folder, root) = output(&FILES);
        let records = import_alia(&root, &originals(), AliaEdits::All).unwrap();
        let expected = [
            ("2.jpg", "2-0.png", 1),
            ("11.jpg", "11-0.PNG", 1),
            ("11.jpg", "11-1.png", 1),
            ("0.jpg", "0-0.jpg", 0),
            ("1.jpg", "1-1.png", 0),
        ];
        assert_eq!(names(&records), expected.map(|(a, b, label)| (a.to_owned(), b.to_owned(), label)));
        assert!(records.iter().all(|record| record.prompt.as_deref() == Some("a photo of a {} bird")));
        assert!(records.iter().all(|record| record.method.as_deref() == Some("img2img")));

        let first = import_alia(&root.join(RUN), &originals(), AliaEdits::First).unwrap();
        assert_eq!(first, [&records[..2], &records[3..]].concat());
    }

    #[test]
    fn what_cannot_be_matched_is_an_error() {
        let fails = |files: &[&str]| {
            let (_folder, root) = output(files);
            import_alia(&root, &originals(), AliaEdits::All).unwrap_err()
        };
        let error = fails(&["gull/12-0.png"]);
        assert!(matches!(error, AliaError::Index { index: 12, originals: 12, .. }));
        assert!(error.to_string().contains("gull/12-0.png: "), "{error}");
        assert!(matches!(fails(&["gull/a-0.png"]), AliaError::Name { .. }));
        assert!(matches!(fails(&["gull/samples/0-0.png", "gull/0.png"]), AliaError::NoEdits { .. }));
        assert!(matches!(
            fails(&["gull/1-0.png", "gull/2-0.png"]),
            AliaError::Labels { label: 1, first_label: 0, .. }
        ));
        let missing = import_alia(Path::new("no/such"), &[], AliaEdits::All).unwrap_err();
        assert!(missing.to_string().starts_with("no/such: "), "{missing}");
    }
}
