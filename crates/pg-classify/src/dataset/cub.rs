//! CUB-200-2011 (Wah et al., 2011) with ALIA's split.
//!
//! The archive lists images in text files of `id value` lines: `images.txt`, `image_class_labels.txt`
//! (classes 1 to 200), `train_test_split.txt` (1 for training) and `classes.txt`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Dataset, DatasetError, Example, Options, Picture, edits, locate};

const FOLDERS: [&str; 2] = ["CUB_200_2011", ""];

/// Training images of each class that ALIA sets aside.
const HELD_OUT: usize = 5;

/// The official training images of each class in the order of their ids, without the last five: 4,994
/// training images, and the official 5,794 test images.
///
/// Those last five, ALIA's "extra" real data, are the 1,000 validation images. ALIA itself selects its model
/// on the test split.
///
/// # Errors
/// [`DatasetError::Missing`] without `images.txt`, and one naming file and line for what is wrong in the
/// lists.
pub fn open(root: &Path, options: &Options) -> Result<Dataset, DatasetError> {
    let folder = locate(root, &FOLDERS, "images.txt", "cub")?;
    let list = |file: &str| Listing::read(folder.join(file));
    let (images, class_of, split_of) =
        (list("images.txt")?, list("image_class_labels.txt")?, list("train_test_split.txt")?);
    let classes = list("classes.txt")?;
    let label_of_class: BTreeMap<u32, u32> = classes.entries.keys().copied().zip(0..).collect();
    let names = classes.entries.values().map(|(_, name)| class_name(name)).collect();
    let mut set = Dataset::empty("cub", names);
    let mut training: Vec<Vec<Example>> = vec![Vec::new(); label_of_class.len()];
    for (&id, (line, file)) in &images.entries {
        let class = class_of.number(id)?;
        let label =
            *label_of_class.get(&class).ok_or_else(|| class_of.bad_value(id, "a class of classes.txt"))?;
        let path = folder.join("images").join(file);
        if !path.is_file() {
            return Err(DatasetError::MissingImage { path: images.path, line: *line, image: path });
        }
        let example = Example::new(Picture::File(path), label, None);
        match split_of.number(id)? {
            0 => set.test.push(example),
            1 => training[label as usize].push(example),
            _ => return Err(split_of.bad_value(id, "0 or 1")),
        }
    }
    for mut class in training {
        let held_out = class.split_off(class.len().saturating_sub(HELD_OUT));
        set.train.extend(class);
        set.val.extend(held_out);
    }
    edits::attach(set, options)?.checked()
}

/// `001.Black_footed_Albatross` as words.
fn class_name(folder: &str) -> String {
    folder.rsplit('.').next().unwrap_or(folder).replace('_', " ")
}

/// A text file of lines `id value`.
struct Listing {
    path: PathBuf,
    /// Line and value of each id.
    entries: BTreeMap<u32, (u64, String)>,
}

impl Listing {
    fn read(path: PathBuf) -> Result<Self, DatasetError> {
        let text = std::fs::read_to_string(&path)
            .map_err(|source| DatasetError::Io { path: path.clone(), source })?;
        let mut entries: BTreeMap<u32, (u64, String)> = BTreeMap::new();
        for (content, line) in text.lines().zip(1..) {
            if content.trim().is_empty() {
                continue;
            }
            let entry = content.trim().split_once(' ');
            let Some((id, value)) = entry.and_then(|(id, value)| Some((id.parse().ok()?, value.trim())))
            else {
                return Err(DatasetError::Value {
                    path,
                    line,
                    column: "the line".into(),
                    value: content.into(),
                    expected: "an id, a space and a value".into(),
                });
            };
            if let Some((first, _)) = entries.insert(id, (line, value.to_owned())) {
                return Err(DatasetError::DuplicateRow { path, line, first, value: id.to_string() });
            }
        }
        Ok(Self { path, entries })
    }

    /// The value of `id`, a number.
    fn number(&self, id: u32) -> Result<u32, DatasetError> {
        let (_, value) =
            self.entries.get(&id).ok_or_else(|| DatasetError::MissingId { path: self.path.clone(), id })?;
        value.parse().map_err(|_| self.bad_value(id, "a number"))
    }

    fn bad_value(&self, id: u32, expected: &str) -> DatasetError {
        let (line, value) = self.entries.get(&id).cloned().unwrap_or_default();
        let column = format!("the value of image {id}");
        DatasetError::Value { path: self.path.clone(), line, column, value, expected: expected.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// Two classes of 7 training and 2 test images each, ids interleaved.
    fn archive() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let (mut images, mut labels, mut split) = (String::new(), String::new(), String::new());
        for id in 1..=18_usize {
            let class = 1 + id % 2;
            let file = format!("{class:03}.Some_Bird/{id}.jpg");
            let path = root.path().join("CUB_200_2011/images").join(&file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, []).unwrap();
            writeln!(images, "{id} {file}").unwrap();
            writeln!(labels, "{id} {class}").unwrap();
            writeln!(split, "{id} {}", u32::from(id <= 14)).unwrap();
        }
        let classes = "1 001.Black_footed_Albatross\n2 002.Crested.Auklet\n".to_owned();
        for (file, text) in [
            ("images.txt", images),
            ("image_class_labels.txt", labels),
            ("train_test_split.txt", split),
            ("classes.txt", classes),
        ] {
            std::fs::write(root.path().join("CUB_200_2011").join(file), text).unwrap();
        }
        root
    }

    fn ids(examples: &[Example]) -> Vec<(u32, String)> {
        examples
            .iter()
            .map(|example| match &example.picture {
                Picture::File(path) => {
                    (example.label, path.file_stem().unwrap().to_str().unwrap().to_owned())
                }
                Picture::Memory(_) => panic!("not a file"),
            })
            .collect()
    }

    /// The error after `from` has become `to` in `file`.
    fn broken(file: &str, from: &str, to: &str) -> String {
        let root = archive();
        let path = root.path().join("CUB_200_2011").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let error = open(root.path(), &Options::default()).unwrap_err().to_string();
        error.replace(&format!("{}/CUB_200_2011/", root.path().display()), "")
    }

    #[test]
    fn the_last_five_training_images_of_a_class_are_held_out() {
        let set = open(archive().path(), &Options::default()).unwrap();
        assert_eq!(set.classes, ["Black footed Albatross", "Auklet"]);
        assert_eq!(
            ids(&set.train),
            [(0, "2"), (0, "4"), (1, "1"), (1, "3")].map(|(y, id)| (y, id.to_owned()))
        );
        let val: Vec<String> = ids(&set.val).into_iter().map(|(_, id)| id).collect();
        assert_eq!(val, ["6", "8", "10", "12", "14", "5", "7", "9", "11", "13"]);
        assert_eq!(set.test.len(), 4);
        assert!(set.groups.is_empty());
    }

    #[test]
    fn broken_lists_are_refused_with_their_line() {
        let (labels, split, images) = ("image_class_labels.txt", "train_test_split.txt", "images.txt");
        for (file, from, to, expected) in [
            (
                labels,
                "\n3 2\n",
                "\n3 7\n",
                ":3: the value of image 3 is `7`, expected a class of classes.txt",
            ),
            (labels, "\n3 2\n", "\n3 two\n", ":3: the value of image 3 is `two`, expected a number"),
            (split, "\n3 1\n", "\n3 2\n", ":3: the value of image 3 is `2`, expected 0 or 1"),
            (split, "\n3 1\n", "\n", ": no line for image 3 of images.txt; unpack the archive again"),
            (images, "\n3 002", "\n2 002", ":3: `2` is listed twice (first on line 2); remove one"),
            (
                images,
                "\n3 002.Some_Bird/3.jpg",
                "\nnonsense",
                ":3: the line is `nonsense`, expected an id, a space and a value",
            ),
            (
                images,
                "/3.jpg",
                "/33.jpg",
                ":3: image images/002.Some_Bird/33.jpg does not exist; unpack the archive again",
            ),
        ] {
            assert_eq!(broken(file, from, to), format!("{file}{expected}"));
        }
        assert_eq!(
            broken("classes.txt", "1 001", "3 003"),
            "image_class_labels.txt:2: the value of image 2 is `1`, expected a class of classes.txt"
        );
    }

    #[test]
    fn a_class_with_five_training_images_leaves_none_to_train_on() {
        let root = archive();
        let path = root.path().join("CUB_200_2011/train_test_split.txt");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\n2 1\n", "\n2 0\n").replace("\n4 1\n", "\n4 0\n")).unwrap();
        let error = open(root.path(), &Options::default()).unwrap_err().to_string();
        assert_eq!(
            error,
            "cub: class `Black footed Albatross` has no training images; add some or drop the class"
        );
    }
}
