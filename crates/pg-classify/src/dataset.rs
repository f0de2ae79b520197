//! Data sets for classification: one shape, [`Dataset`], that every reader yields, and [`open`] to choose a
//! reader.
//!
//! A reader finds the files, names classes and groups, and checks everything that can be checked without
//! decoding images, so that a run fails in its first second and not in its last epoch. Whatever a reader
//! draws at random (a subset, a decoy, a scene) depends on [`Options::seed`] alone, not on the seed of the
//! training run: runs that differ in their seed train and test on the same data.

pub mod cub;
mod edits;
pub mod embedded;
mod error;
mod files;
pub mod folder;
mod idx;
pub mod iwildcam;
pub mod manifest;
pub mod mnist;
mod table;
pub mod waterbirds;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use image::RgbImage;
use pg_provenance::{BinaryMask, resize_rgb};
use pg_random::Seed;
use pg_tasks::fingerprint::Fingerprint;

pub use error::DatasetError;
pub use manifest::Manifest;
pub use pg_tasks::picture::Picture;

/// A labelled data set with its splits and the edits of its training images.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The name that [`open`] knows it by.
    pub name: String,
    /// Class names; a label is an index into them.
    pub classes: Vec<String>,
    /// Group names such as `landbird/water`; empty when the set has no groups.
    pub groups: Vec<String>,
    /// Images of each group in the *official* training split: the weights of the adjusted average accuracy. A
    /// subset keeps the counts of the whole, so that its results compare with published ones.
    pub group_counts: Vec<usize>,
    /// Classes that show no object, such as a camera trap's `background`: the unmodified region of their
    /// edits is no target, so these train without guidance.
    pub objectless: Vec<u32>,
    /// Training images, never empty.
    pub train: Vec<Example>,
    /// Images to select a model with. May be empty; then there is nothing to select by but the last epoch.
    pub val: Vec<Example>,
    /// Images to report on, never empty.
    pub test: Vec<Example>,
    /// Edited versions of training images.
    pub edits: Vec<EditExample>,
    /// A crop that every image, edits included, takes before it is resized to the network's input.
    pub crop: Option<Crop>,
    /// Side of the square that images are resized to for the network, unless a run asks for another.
    pub side: u32,
    /// Whether the network's input is normalised by the `ImageNet` mean and standard deviation.
    pub normalize: bool,
}

/// One image with what is known about it.
#[derive(Clone, Debug)]
pub struct Example {
    /// The image.
    pub picture: Picture,
    /// Index into [`Dataset::classes`].
    pub label: u32,
    /// Index into [`Dataset::groups`]; `None` when the set has no groups.
    pub group: Option<u32>,
    /// Provenance that is known exactly: 1 on the target, 0 where the input must not matter. Guides the
    /// training.
    pub target: Option<BinaryMask>,
    /// The true region of the object. Scores saliency and estimated provenance, never trains.
    pub truth: Option<BinaryMask>,
}

/// An edited version of a training image, which keeps the original's class.
#[derive(Clone, Debug)]
pub struct EditExample {
    /// Index of the original in [`Dataset::train`].
    pub original: usize,
    /// The edited image; its size may differ from the original's.
    pub picture: Picture,
    /// Index into [`Dataset::classes`].
    pub label: u32,
    /// A picture of the region that the edit left alone, white on it and as large as the edit. Guides the training in
    /// place of the region that the difference shows.
    pub mask: Option<Picture>,
    /// What the editor was asked for; empty when unknown.
    pub prompt: String,
    /// The true unmodified region, on the edit's grid. Scores estimated provenance, never trains.
    pub truth: Option<BinaryMask>,
}

/// A squash to `resize` (width, height), of which the box at (`left`, `top`) of `width` x `height` pixels is
/// kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Width and height that the image is first resized to, whatever its aspect ratio.
    pub resize: (u32, u32),
    /// First column kept.
    pub left: u32,
    /// First row kept.
    pub top: u32,
    /// Columns kept.
    pub width: u32,
    /// Rows kept.
    pub height: u32,
}

/// What a reader may be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Manifest of edits (see [`pg_synth::read_manifest`]) whose originals are training images of a set read
    /// from files.
    pub edits: Option<PathBuf>,
    /// Seed of everything that the reader itself draws. The default, 0, is part of the published protocol.
    pub seed: Seed,
}

impl Default for Options {
    fn default() -> Self {
        Self { edits: None, seed: Seed(0) }
    }
}

/// Names that [`open`] accepts.
pub const NAMES: [&str; 8] = [
    "cub",
    "decoy-mnist",
    "embedded",
    "folder",
    "iwildcam",
    "iwildcam-alia",
    "waterbirds",
    "waterbirds-alia",
];

/// Opens the data set `name`, whose files lie under `data_root`. `embedded` is generated and needs no root; with the
/// feature `hub`, `decoy-mnist` is fetched if it has none.
///
/// # Errors
/// [`DatasetError::Unknown`] for another name, [`DatasetError::NoRoot`] without a root, and whatever the
/// reader finds wrong with the files.
pub fn open(name: &str, data_root: Option<&Path>, options: &Options) -> Result<Dataset, DatasetError> {
    let root = || {
        data_root
            .ok_or_else(|| DatasetError::NoRoot { dataset: name.to_owned(), advice: manifest::advice(name) })
    };
    match name {
        "cub" => cub::open(root()?, options),
        #[cfg(feature = "hub")]
        "decoy-mnist" if data_root.is_none() => mnist::fetch_decoy(options),
        "decoy-mnist" => mnist::open_decoy(root()?, options),
        "embedded" => embedded::open(options),
        "folder" => folder::open(root()?, options),
        "iwildcam" => iwildcam::open(root()?, options),
        "iwildcam-alia" => iwildcam::open_alia(root()?, options),
        "waterbirds" => waterbirds::open(root()?, options),
        "waterbirds-alia" => waterbirds::open_alia(root()?, options),
        _ => Err(DatasetError::Unknown { name: name.to_owned(), known: NAMES.join(", ") }),
    }
}

impl Dataset {
    /// The name of the class of a label of this set.
    pub fn class(&self, label: u32) -> &str {
        &self.classes[label as usize]
    }

    /// Its classes, and of each split and of the edits the names (or, of pictures in memory, the pixels) and labels; of
    /// an edit also its original and its mask.
    pub fn fingerprint(&self) -> Fingerprint {
        let edits = self.edits.iter().map(|edit| {
            let original = (edit.original as u64).to_le_bytes();
            let mask = edit.mask.as_ref().map(|mask| mask.identity(edit.label)).unwrap_or_default();
            [&original[..], &edit.picture.identity(edit.label), &mask].concat()
        });
        Fingerprint::new(&self.classes)
            .with("training", identities(&self.train))
            .with("validation", identities(&self.val))
            .with("test", identities(&self.test))
            .with("edited", edits)
    }
}

impl Example {
    /// An example of which only the image, the class and perhaps the group are known.
    pub fn new(picture: Picture, label: u32, group: Option<u32>) -> Self {
        Self { picture, label, group, target: None, truth: None }
    }
}

impl Crop {
    /// The squashed and cropped image.
    pub fn apply(self, image: &RgbImage) -> RgbImage {
        let (width, height) = self.resize;
        let squashed = resize_rgb(image, width, height);
        image::imageops::crop_imm(&squashed, self.left, self.top, self.width, self.height).to_image()
    }
}

impl Dataset {
    /// A set of nothing but names, for a reader to fill.
    fn empty(name: &str, classes: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            classes,
            groups: Vec::new(),
            group_counts: Vec::new(),
            objectless: Vec::new(),
            train: Vec::new(),
            val: Vec::new(),
            test: Vec::new(),
            edits: Vec::new(),
            crop: None,
            side: 224,
            normalize: true,
        }
    }

    /// Which groups follow the training set's bias: of the groups of one class, the one with most training
    /// images.
    ///
    /// `None` unless every group belongs to one class and every class has at least two groups and a clear
    /// majority. Accuracy over these groups is ALIA's "ID", over the others its "OOD".
    pub fn aligned_groups(&self) -> Option<Vec<bool>> {
        let owner = self.group_owners()?;
        let mut aligned = vec![false; self.groups.len()];
        for class in (0..).take(self.classes.len()) {
            let mut rivals: Vec<usize> =
                (0..self.groups.len()).filter(|&group| owner[group] == Some(class)).collect();
            rivals.sort_by_key(|&group| std::cmp::Reverse(self.group_counts[group]));
            match rivals[..] {
                [first, second, ..] if self.group_counts[first] > self.group_counts[second] => {
                    aligned[first] = true;
                }
                _ => return None,
            }
        }
        Some(aligned)
    }

    /// The one class of each group; `None` if a group has several, or the set no groups.
    fn group_owners(&self) -> Option<Vec<Option<u32>>> {
        let mut owner = vec![None; self.groups.len()];
        for example in self.train.iter().chain(&self.val).chain(&self.test) {
            let class = owner.get_mut(example.group? as usize)?.get_or_insert(example.label);
            if *class != example.label {
                return None;
            }
        }
        Some(owner)
    }

    /// Images of each group in the training split as it was read.
    fn count_groups(&self) -> Vec<usize> {
        let mut counts = vec![0; self.groups.len()];
        for group in self.train.iter().filter_map(|example| example.group) {
            if let Some(count) = counts.get_mut(group as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// The set itself, if it can be trained on and tested with.
    ///
    /// # Errors
    /// [`DatasetError::EmptySplit`], [`DatasetError::DuplicateClass`], [`DatasetError::TooFewClasses`],
    /// [`DatasetError::Label`], [`DatasetError::Group`], [`DatasetError::MaskSize`],
    /// [`DatasetError::ClassWithoutImages`], [`DatasetError::EditOriginal`] or [`DatasetError::EditLabel`].
    pub fn checked(self) -> Result<Self, DatasetError> {
        self.check_names()?;
        for (split, examples) in [("training", &self.train), ("test", &self.test)] {
            if examples.is_empty() {
                return Err(DatasetError::EmptySplit { dataset: self.name.clone(), split });
            }
        }
        for (split, examples) in [("training", &self.train), ("validation", &self.val), ("test", &self.test)]
        {
            for (index, example) in examples.iter().enumerate() {
                self.check_example(split, index, example)?;
                self.check_masks(split, index, &example.picture, [&example.target, &example.truth])?;
            }
        }
        self.check_classes()?;
        for (index, edit) in self.edits.iter().enumerate() {
            self.check_edit(index, edit)?;
            self.check_masks("edited", index, &edit.picture, [&edit.truth, &None])?;
        }
        Ok(self)
    }

    fn check_names(&self) -> Result<(), DatasetError> {
        if self.classes.len() < 2 {
            return Err(DatasetError::TooFewClasses {
                dataset: self.name.clone(),
                found: self.classes.len(),
            });
        }
        let mut seen = HashSet::new();
        match self.classes.iter().find(|name| !seen.insert(name.as_str())) {
            Some(class) => {
                Err(DatasetError::DuplicateClass { dataset: self.name.clone(), class: class.clone() })
            }
            None => Ok(()),
        }
    }

    fn check_example(
        &self,
        split: &'static str,
        index: usize,
        example: &Example,
    ) -> Result<(), DatasetError> {
        let dataset = || self.name.clone();
        let classes = self.classes.len();
        if example.label as usize >= classes {
            return Err(DatasetError::Label {
                dataset: dataset(),
                split,
                index,
                label: example.label,
                classes,
            });
        }
        let groups = self.groups.len();
        let grouped = example.group.map_or(groups == 0, |group| (group as usize) < groups);
        if grouped {
            return Ok(());
        }
        Err(DatasetError::Group { dataset: dataset(), split, index, group: example.group, groups })
    }

    /// Masks must lie on the grid of their image, as far as that is known without decoding it.
    fn check_masks(
        &self,
        split: &'static str,
        index: usize,
        picture: &Picture,
        masks: [&Option<BinaryMask>; 2],
    ) -> Result<(), DatasetError> {
        let Picture::Memory(image) = picture else { return Ok(()) };
        let image = (image.width() as usize, image.height() as usize);
        for mask in masks.into_iter().flatten() {
            let mask = (mask.width(), mask.height());
            if mask != image {
                return Err(DatasetError::MaskSize { dataset: self.name.clone(), split, index, mask, image });
            }
        }
        Ok(())
    }

    fn check_classes(&self) -> Result<(), DatasetError> {
        let mut present = vec![false; self.classes.len()];
        for example in &self.train {
            present[example.label as usize] = true;
        }
        match present.iter().position(|present| !present) {
            Some(label) => Err(DatasetError::ClassWithoutImages {
                dataset: self.name.clone(),
                class: self.classes[label].clone(),
            }),
            None => Ok(()),
        }
    }

    fn check_edit(&self, index: usize, edit: &EditExample) -> Result<(), DatasetError> {
        let dataset = || self.name.clone();
        let images = self.train.len();
        let original = self.train.get(edit.original).ok_or_else(|| DatasetError::EditOriginal {
            dataset: dataset(),
            index,
            original: edit.original,
            images,
        })?;
        if edit.label == original.label {
            return Ok(());
        }
        Err(DatasetError::EditLabel {
            dataset: dataset(),
            index,
            label: edit.label,
            class: self.class(original.label).to_owned(),
        })
    }
}

fn identities(examples: &[Example]) -> impl Iterator<Item = Vec<u8>> {
    examples.iter().map(|example| example.picture.identity(example.label))
}

/// The first of `candidates` below `root` that holds `marker`; sets are unpacked with and without their top
/// folder.
fn locate(root: &Path, candidates: &[&str], marker: &str, dataset: &str) -> Result<PathBuf, DatasetError> {
    candidates
        .iter()
        .map(|candidate| root.join(candidate))
        .find(|folder| folder.join(marker).exists())
        .ok_or_else(|| DatasetError::Missing { path: root.join(marker), advice: manifest::advice(dataset) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn example(label: u32, group: Option<u32>) -> Example {
        Example::new(Picture::Memory(Arc::new(RgbImage::new(2, 2))), label, group)
    }

    fn edit(original: usize, label: u32) -> EditExample {
        let picture = Picture::Memory(Arc::new(RgbImage::new(2, 2)));
        EditExample { original, picture, label, mask: None, prompt: String::new(), truth: None }
    }

    /// Two classes on two grounds, 3 : 1 and 1 : 2 in training, both opposed groups only in the test.
    fn grouped() -> Dataset {
        let mut set = Dataset::empty("toy", vec!["cat".into(), "dog".into()]);
        set.groups = ["cat/sofa", "cat/lawn", "dog/sofa", "dog/lawn"].map(String::from).to_vec();
        set.group_counts = vec![3, 1, 1, 2];
        set.train = vec![example(0, Some(0)), example(1, Some(3))];
        set.test = vec![example(0, Some(0)), example(0, Some(1)), example(1, Some(2)), example(1, Some(3))];
        set
    }

    fn plain() -> Dataset {
        let mut set = Dataset::empty("toy", vec!["cat".into(), "dog".into()]);
        set.train = vec![example(0, None), example(1, None)];
        set.test = vec![example(0, None)];
        set
    }

    fn message(set: Dataset) -> String {
        set.checked().unwrap_err().to_string()
    }

    #[test]
    fn sound_sets_pass() {
        assert!(plain().checked().is_ok());
        assert!(grouped().checked().is_ok());
    }

    #[test]
    fn unsound_sets_are_refused_with_their_reason() {
        let mut set = plain();
        set.train.clear();
        assert_eq!(message(set), "toy: no training images; check the split");
        let mut set = plain();
        set.test.clear();
        assert_eq!(message(set), "toy: no test images; check the split");
        let mut set = plain();
        set.test[0].label = 2;
        assert_eq!(message(set), "toy: test image 0 has label 2, but there are 2 classes");
        let mut set = plain();
        set.train.pop();
        assert_eq!(message(set), "toy: class `dog` has no training images; add some or drop the class");
        let mut set = plain();
        set.classes.truncate(1);
        assert_eq!(message(set), "toy: 1 class found; classification needs at least 2");
        let mut set = plain();
        set.classes[1] = "cat".into();
        assert_eq!(message(set), "toy: two classes are named `cat`; rename one");
        let mut set = plain();
        set.train[1].group = Some(0);
        assert_eq!(message(set), "toy: training image 1 has group 0, but there are 0 groups");
        let mut set = grouped();
        set.test[2].group = None;
        assert_eq!(message(set), "toy: test image 2 has no group, but there are 4 groups");
        let mut set = plain();
        set.train[1].target = Some(BinaryMask::filled(2, 3, true));
        assert_eq!(message(set), "toy: training image 1 is 2x2 pixels but its mask is 2x3");
        let mut set = plain();
        set.edits = vec![edit(1, 1), edit(2, 0)];
        assert_eq!(message(set), "toy: edit 1 names training image 2 as its original, but there are 2");
        let mut set = plain();
        set.edits = vec![edit(1, 0)];
        assert_eq!(
            message(set),
            "toy: edit 0 has label 0, but its original is a `dog`; an edit keeps its class"
        );
    }

    #[test]
    fn aligned_groups_are_the_training_majority_of_their_class() {
        assert_eq!(grouped().aligned_groups(), Some(vec![true, false, false, true]));
    }

    #[test]
    fn without_bias_or_with_shared_groups_nothing_is_aligned() {
        assert_eq!(plain().aligned_groups(), None);
        let mut tie = grouped();
        tie.group_counts = vec![3, 1, 2, 2];
        assert_eq!(tie.aligned_groups(), None);
        let mut shared = grouped();
        shared.test[0].label = 1;
        assert_eq!(shared.aligned_groups(), None);
    }

    #[test]
    fn a_fingerprint_knows_the_original_of_each_edit() {
        let mut set = plain();
        set.train.push(example(0, None));
        set.edits = vec![edit(0, 0), edit(2, 0)];
        let before = set.fingerprint();
        assert_eq!(before.change(&set.fingerprint()), None);
        (set.edits[0].original, set.edits[1].original) = (2, 0);
        let change = before.change(&set.fingerprint());
        assert_eq!(change.as_deref(), Some("other edited samples, or another order of them"));
    }

    #[test]
    fn unknown_names_list_the_known_and_missing_roots_say_where_to_look() {
        let error = open("birds", None, &Options::default()).unwrap_err().to_string();
        assert!(
            error.starts_with("unknown data set `birds`; choose one of cub, decoy-mnist, embedded,"),
            "{error}"
        );
        for name in NAMES.into_iter().filter(|&name| name != "embedded") {
            let error = open(name, None, &Options::default()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}: no data root; ")), "{error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn a_crop_keeps_its_box() {
        let mut image = RgbImage::new(4, 4);
        image.put_pixel(1, 2, image::Rgb([9, 8, 7]));
        let crop = Crop { resize: (4, 4), left: 1, top: 2, width: 3, height: 2 };
        let cropped = crop.apply(&image);
        assert_eq!(cropped.dimensions(), (3, 2));
        assert_eq!(cropped.get_pixel(0, 0).0, [9, 8, 7]);
        assert_eq!(cropped.get_pixel(1, 0).0, [0, 0, 0]);
    }

    #[test]
    fn a_broken_picture_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cat.png");
        std::fs::write(&path, b"\x89PNG\r\n\x1a\nnot really").unwrap();
        let error = Picture::File(path.clone()).load().unwrap_err().to_string();
        assert!(
            error.starts_with(path.to_str().unwrap()) && error.ends_with("re-export or remove it"),
            "{error}"
        );
    }
}
