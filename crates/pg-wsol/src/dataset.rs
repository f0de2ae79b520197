//! Image sets to localise in: the embedded one, and any that comes with wsolevaluation's metadata.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pg_embedded::{LocalizationSet, LocalizationSpec, LocatedScene};
use pg_localization::{BoundingBox, Metadata, Object};
use pg_provenance::BinaryMask;
use pg_random::Seed;
use pg_tasks::fingerprint::Fingerprint;
use pg_tasks::picture::Picture;

use crate::error::WsolError;

/// A labelled set with its splits.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// `embedded`, or the name of the folder of the metadata.
    pub name: String,
    /// Class names, or numbers where there are none.
    pub classes: Vec<String>,
    /// Training images: nothing is known of where their objects are.
    pub train: Vec<Example>,
    /// Images to choose thresholds and weights by; with objects.
    pub val: Vec<Example>,
    /// Images to report on; with objects.
    pub test: Vec<Example>,
    /// Whether the network's input is normalised by the ImageNet mean and standard deviation.
    pub normalize: bool,
}

/// One image with what is known of it.
#[derive(Clone, Debug)]
pub struct Example {
    /// Path relative to the data root, or what takes its place.
    pub id: String,
    /// The image.
    pub picture: Picture,
    /// Index into [`Dataset::classes`].
    pub label: u32,
    /// Where the object is, in pixels of the image; scores maps, never trains.
    pub object: Option<Object>,
}

impl Dataset {
    /// The embedded set of a specification; what it draws does not depend on the seed of a run.
    ///
    /// # Errors
    /// If the specification asks for what cannot be drawn.
    pub fn embedded(spec: &LocalizationSpec) -> Result<Self, WsolError> {
        let drawn = LocalizationSet::generate(spec, Seed(0))?;
        let examples = |split: &str, scenes: Vec<LocatedScene>| {
            scenes.into_iter().enumerate().map(|(index, scene)| drawn_example(split, index, scene)).collect()
        };
        Ok(Self {
            name: "embedded".to_owned(),
            classes: drawn.classes,
            train: examples("train", drawn.train),
            val: examples("val", drawn.val),
            test: examples("test", drawn.test),
            normalize: true,
        })
    }

    /// The set whose images lie under `data_root` and whose lists in `metadata`/{train,val,test}: CUB-200-2011 with CUBV2
    /// as val, ImageNet, OpenImages, or one's own in the same form. Of the training split only `image_ids.txt` and
    /// `class_labels.txt` are read.
    ///
    /// # Errors
    /// [`WsolError`], naming the list and its line, or the image.
    pub fn with_metadata(data_root: &Path, metadata: &Path) -> Result<Self, WsolError> {
        let listed = |split: &str| -> Result<Vec<Example>, WsolError> {
            let images = Metadata::read(&metadata.join(split))?.images;
            let example = |image: pg_localization::ImageInfo| Example {
                picture: Picture::File(data_root.join(&image.id)),
                id: image.id,
                label: image.label,
                object: Some(image.object),
            };
            Ok(images.into_iter().map(example).collect())
        };
        let train_list = metadata.join("train");
        let train: Vec<Example> = Metadata::read_labels(&train_list)?
            .into_iter()
            .map(|(id, label)| Example {
                picture: Picture::File(data_root.join(&id)),
                id,
                label,
                object: None,
            })
            .collect();
        let greatest = train.iter().map(|example| example.label).max().unwrap_or(0);
        let labels_of = |split: &str| metadata.join(split).join("class_labels.txt");
        let mut seen = vec![false; train.len()];
        for example in &train {
            // A class beyond the number of images leaves a gap below it.
            if let Some(seen) = seen.get_mut(example.label as usize) {
                *seen = true;
            }
        }
        if let Some(label) = (0..=greatest).find(|&label| !seen.get(label as usize).copied().unwrap_or(false))
        {
            return Err(WsolError::EmptyClass { path: labels_of("train"), label });
        }
        let (val, test) = (listed("val")?, listed("test")?);
        for (split, examples) in [("val", &val), ("test", &test)] {
            if let Some(label) = examples.iter().map(|e| e.label).find(|&label| label > greatest) {
                return Err(WsolError::UnknownClass { path: labels_of(split), label, greatest });
            }
        }
        let name = metadata.file_name().map_or("wsol".into(), |name| name.to_string_lossy().into_owned());
        let classes = (0..=greatest).map(|label| label.to_string()).collect();
        let set = Self { name, classes, train, val, test, normalize: true };
        set.check_files(metadata)?;
        Ok(set)
    }

    /// Whether every image is there.
    fn check_files(&self, metadata: &Path) -> Result<(), WsolError> {
        for (split, examples) in [("train", &self.train), ("val", &self.val), ("test", &self.test)] {
            for example in examples {
                if let Picture::File(path) = &example.picture
                    && !path.is_file()
                {
                    let list = metadata.join(split).join("image_ids.txt");
                    return Err(WsolError::NoImage { path: path.clone(), list });
                }
            }
        }
        Ok(())
    }

    /// Whether every mask under `root` is there that the lists in `metadata` name.
    ///
    /// # Errors
    /// [`WsolError::NoMask`].
    pub fn check_masks(&self, root: &Path, metadata: &Path) -> Result<(), WsolError> {
        for (split, examples) in [("val", &self.val), ("test", &self.test)] {
            for example in examples {
                let Some(Object::Masks { masks, ignore }) = &example.object else { continue };
                if let Some(missing) = masks.iter().chain(ignore).find(|mask| !root.join(mask).is_file()) {
                    let list = metadata.join(split).join("localization.txt");
                    return Err(WsolError::NoMask { path: root.join(missing), list });
                }
            }
        }
        Ok(())
    }

    /// What a run is not resumed without.
    pub fn fingerprint(&self) -> Fingerprint {
        let of = |examples: &[Example]| -> Vec<Vec<u8>> {
            examples.iter().map(|example| example.picture.identity(example.label)).collect()
        };
        Fingerprint::new(&self.classes)
            .with("train", of(&self.train))
            .with("val", of(&self.val))
            .with("test", of(&self.test))
    }

    /// The name of a class.
    pub fn class(&self, label: u32) -> &str {
        self.classes.get(label as usize).map_or("?", String::as_str)
    }
}

fn drawn_example(split: &str, index: usize, scene: LocatedScene) -> Example {
    let size = scene.image.dimensions();
    Example {
        id: format!("{split}/{index:05}.png"),
        object: bounding_box(&scene.truth).map(|object| Object::Boxes { size, boxes: vec![object] }),
        picture: Picture::Memory(Arc::new(scene.image)),
        label: scene.label,
    }
}

/// The box of a mask, its right and lower ends one beyond, as far as the image goes: as CUB's boxes are, and as
/// wsolevaluation predicts them. None of an empty mask.
fn bounding_box(mask: &BinaryMask) -> Option<BoundingBox> {
    let (width, height) = (mask.width(), mask.height());
    let columns = |x: usize| (0..height).any(|y| mask.get(x, y));
    let rows = |y: usize| (0..width).any(|x| mask.get(x, y));
    let ends = |length: usize, on: &dyn Fn(usize) -> bool| {
        let first = (0..length).find(|&i| on(i))?;
        let last = (0..length).rev().find(|&i| on(i))?;
        Some((first as u32, (last + 1).min(length - 1) as u32))
    };
    let ((x0, x1), (y0, y1)) = (ends(width, &columns)?, ends(height, &rows)?);
    Some(BoundingBox { x0, y0, x1, y1 })
}

/// Where a run's images come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Drawn.
    Embedded,
    /// Files and their lists.
    Metadata {
        /// Folder of the images.
        data_root: PathBuf,
        /// Folder of the lists.
        metadata: PathBuf,
    },
}

impl Source {
    /// Reads or draws the set.
    ///
    /// # Errors
    /// As [`Dataset::with_metadata`].
    pub fn open(&self) -> Result<Dataset, WsolError> {
        match self {
            Source::Embedded => Dataset::embedded(&LocalizationSpec::default()),
            Source::Metadata { data_root, metadata } => Dataset::with_metadata(data_root, metadata),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_ends_one_beyond_its_mask_but_in_the_image() {
        let mask =
            |x0, x1| BinaryMask::from_fn(8, 6, move |x, y| (x0..=x1).contains(&x) && (1..=3).contains(&y));
        assert_eq!(bounding_box(&mask(2, 4)), Some(BoundingBox { x0: 2, y0: 1, x1: 5, y1: 4 }));
        assert_eq!(bounding_box(&mask(2, 7)), Some(BoundingBox { x0: 2, y0: 1, x1: 7, y1: 4 }));
        assert_eq!(bounding_box(&BinaryMask::filled(8, 6, false)), None);
    }
}
