//! Edits of a set's training images, listed by a manifest.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pg_synth::{EditRecord, read_manifest};

use super::{Dataset, DatasetError, EditExample, Options, Picture};

/// Which image of the set a file is.
#[derive(Clone, Copy)]
enum Role {
    Training(usize),
    HeldOut,
}

/// Adds the edits that [`Options::edits`] lists, in the order of the manifest. Originals are recognised by
/// their canonical path, so that links and relative paths do not matter.
pub(super) fn attach(mut set: Dataset, options: &Options) -> Result<Dataset, DatasetError> {
    if let Some(manifest) = &options.edits {
        let records = read_manifest(manifest)?;
        let roles = roles(&set)?;
        set.edits = records
            .into_iter()
            .map(|record| edit(&set, &roles, record, manifest))
            .collect::<Result<_, _>>()?;
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
    manifest: &Path,
) -> Result<EditExample, DatasetError> {
    let path = manifest.to_owned();
    let EditRecord { original, edited, label, mask, prompt, .. } = record;
    if roles.contains_key(&canonical(&edited)?) {
        return Err(DatasetError::EditInDataset { path, edited });
    }
    let Some(&Role::Training(index)) = roles.get(&canonical(&original)?) else {
        return Err(DatasetError::NotATrainingImage { path, original });
    };
    let expected = set.train[index].label;
    if label != expected {
        let class = set.class(expected).to_owned();
        return Err(DatasetError::ManifestLabel { path, edited, label, class, expected });
    }
    let (picture, prompt) = (Picture::File(edited), prompt.unwrap_or_default());
    Ok(EditExample { original: index, picture, label, mask: mask.map(Picture::File), prompt, truth: None })
}

/// The images of the set by their canonical path. A file that is listed for training and held out counts as
/// held out.
fn roles(set: &Dataset) -> Result<HashMap<PathBuf, Role>, DatasetError> {
    let training = set.train.iter().enumerate().map(|(index, example)| (example, Role::Training(index)));
    let held_out = set.val.iter().chain(&set.test).map(|example| (example, Role::HeldOut));
    let mut roles = HashMap::new();
    for (example, role) in training.chain(held_out) {
        if let Picture::File(path) = &example.picture {
            roles.insert(canonical(path)?, role);
        }
    }
    Ok(roles)
}

fn canonical(path: &Path) -> Result<PathBuf, DatasetError> {
    path.canonicalize().map_err(|source| DatasetError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::folder;

    /// Two cats and a dog to train on, a cat to test with, and three edits.
    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in ["train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "test/cat/3.png"] {
            write(root.path(), &format!("photos/{file}"));
        }
        for file in ["a.png", "b.png", "c.png"] {
            write(root.path(), &format!("edits/{file}"));
        }
        root
    }

    fn write(root: &Path, file: &str) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, []).unwrap();
    }

    /// Opens the photos with a manifest of `rows`, whose paths lie below the root.
    fn open(root: &tempfile::TempDir, rows: &str) -> Result<Dataset, String> {
        let manifest = root.path().join("edits.csv");
        std::fs::write(&manifest, format!("original,edited,label,prompt\n{rows}")).unwrap();
        let options = Options { edits: Some(manifest), ..Options::default() };
        folder::open(&root.path().join("photos"), &options)
            .map_err(|error| error.to_string().replace(&format!("{}/", root.path().display()), ""))
    }

    fn error(rows: &str) -> String {
        open(&tree(), rows).unwrap_err()
    }

    #[test]
    fn originals_are_found_by_their_canonical_path() {
        let rows = "photos/train/dog/1.png,edits/a.png,1,in the snow
photos/../photos/train/cat/2.png,edits/b.png,0,
photos/train/cat/2.png,edits/c.png,0,
";
        let set = open(&tree(), rows).unwrap();
        let found: Vec<_> =
            set.edits.iter().map(|edit| (edit.original, edit.label, edit.prompt.as_str())).collect();
        assert_eq!(found, [(2, 1, "in the snow"), (1, 0, ""), (1, 0, "")]);
    }

    #[cfg(unix)]
    #[test]
    fn links_do_not_matter() {
        let root = tree();
        std::os::unix::fs::symlink(root.path().join("photos"), root.path().join("link")).unwrap();
        assert_eq!(open(&root, "link/train/dog/1.png,edits/a.png,1,\n").unwrap().edits[0].original, 2);
    }

    #[test]
    fn edits_that_do_not_belong_are_refused() {
        assert_eq!(
            error("photos/test/cat/3.png,edits/b.png,0,\n"),
            "edits.csv: original photos/test/cat/3.png is not a training image; remove its edits, \
             since those of other images would leak them"
        );
        assert!(
            error("edits/c.png,edits/b.png,0,\n")
                .starts_with("edits.csv: original edits/c.png is not a training image; ")
        );
        assert_eq!(
            error("photos/train/cat/2.png,photos/test/cat/3.png,0,\n"),
            "edits.csv: edited image photos/test/cat/3.png is itself an image of the data set; keep edits apart"
        );
        for label in [1, 7] {
            assert_eq!(
                error(&format!("photos/train/cat/2.png,edits/a.png,{label},\n")),
                format!(
                    "edits.csv: edits/a.png has label {label}, but its original is a `cat` (label 0); \
                     an edit keeps its class"
                )
            );
        }
    }

    #[test]
    fn broken_manifests_are_refused_with_their_line() {
        let sound = "photos/train/cat/1.png,edits/a.png,0,\n";
        assert_eq!(
            error(&format!("{sound}photos/train/cat/2.png,edits/a.png,0,\n")),
            "edits.csv:3: `edits/a.png` is already the edit of line 2; keep the true one"
        );
        assert_eq!(error(&format!("{sound}{sound}")), "edits.csv:3: repeats line 2; remove one of them");
        assert!(
            error("photos/train/cat/1.png,edits/z.png,0,\n").starts_with("edits.csv:2: no edited image at ")
        );
    }
}
