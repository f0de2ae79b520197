//! A set as a folder of PNG files and CSV tables.

use crate::{Embedded, Scene};
use image::{GrayImage, ImageError, Luma};
use pg_provenance::BinaryMask;
use pg_random::Seed;
use rayon::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

/// Why a set could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The folder holds something already.
    #[error("{}: not empty; choose a new folder, so that two sets do not mix", .0.display())]
    NotEmpty(PathBuf),
    /// A folder or a table could not be written.
    #[error("{}: {source}; check the permissions and the space left", .path.display())]
    File {
        /// What was to be written.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// An image could not be written.
    #[error("{}: {source}; check the permissions and the space left", .path.display())]
    Image {
        /// What was to be written.
        path: PathBuf,
        /// What the encoder says.
        source: ImageError,
    },
    /// A file of JSON lines could not be written.
    #[error(transparent)]
    Lines(#[from] pg_tubes::FileError),
}

impl Embedded {
    /// Writes the set, drawn from `seed`, into a new or empty folder:
    ///
    /// ```text
    /// train/<class>/<id>.png        val/..., test/...
    /// edits/<class>/<id>-<n>.png    edit n of the training image <id>
    /// masks/<path of an image>      white where the animal is seen, or for an edit where the original was kept
    /// metadata.csv                  file,split,class,cue
    /// edits.csv                     original,edited,label,prompt,method,seed
    /// ```
    ///
    /// Paths in the tables are relative to the folder. A label in `edits.csv` is the class's place in alphabetical order,
    /// from 0, as torchvision's `ImageFolder` numbers the folders of the classes.
    ///
    /// # Errors
    /// [`WriteError`] when the folder is not empty or a file cannot be written.
    pub fn write(&self, folder: &Path, seed: Seed) -> Result<(), WriteError> {
        self.make_folders(folder)?;
        let mut metadata = vec![["file", "split", "class", "cue"].map(str::to_owned)];
        for (split, scenes) in [("train", &self.train), ("val", &self.val), ("test", &self.test)] {
            let rows = scenes.par_iter().enumerate().map(|(id, scene)| {
                let file = self.file(split, id, scene);
                write_image(folder, &file, &scene.image, &scene.truth)?;
                let class = self.classes[scene.label as usize].clone();
                Ok([file, split.to_owned(), class, self.cues[scene.cue].clone()])
            });
            metadata.extend(rows.collect::<Result<Vec<_>, WriteError>>()?);
        }
        write_table(&folder.join("metadata.csv"), &metadata)?;

        let mut manifest =
            vec![["original", "edited", "label", "prompt", "method", "seed"].map(str::to_owned)];
        let labels = self.alphabetical();
        let copies = self.edits.len() / self.train.len().max(1);
        let rows = self.edits.par_iter().enumerate().map(|(i, edit)| {
            let class = &self.classes[edit.label as usize];
            let edited = format!("edits/{class}/{:05}-{}.png", edit.original, i % copies);
            write_image(folder, &edited, &edit.image, &edit.kept)?;
            let original = self.file("train", edit.original, &self.train[edit.original]);
            Ok([
                original,
                edited,
                labels[edit.label as usize].to_string(),
                edit.prompt.clone(),
                "procedural".to_owned(),
                seed.0.to_string(),
            ])
        });
        manifest.extend(rows.collect::<Result<Vec<_>, WriteError>>()?);
        write_table(&folder.join("edits.csv"), &manifest)
    }

    /// The place of each class in alphabetical order.
    fn alphabetical(&self) -> Vec<usize> {
        let place = |class| self.classes.iter().filter(|other| *other < class).count();
        self.classes.iter().map(place).collect()
    }

    /// Path of a scene, relative to the folder of the set.
    fn file(&self, split: &str, id: usize, scene: &Scene) -> String {
        format!("{split}/{}/{id:05}.png", self.classes[scene.label as usize])
    }

    fn make_folders(&self, folder: &Path) -> Result<(), WriteError> {
        new_folder(folder)?;
        for part in ["train", "val", "test", "edits"] {
            for class in &self.classes {
                for path in [folder.join(part).join(class), folder.join("masks").join(part).join(class)] {
                    fs::create_dir_all(&path).map_err(|source| WriteError::File { path, source })?;
                }
            }
        }
        Ok(())
    }
}

/// Makes a folder, or finds it empty.
pub(crate) fn new_folder(folder: &Path) -> Result<(), WriteError> {
    let failed = |source| WriteError::File { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    match fs::read_dir(folder).map_err(failed)?.next() {
        Some(_) => Err(WriteError::NotEmpty(folder.to_owned())),
        None => Ok(()),
    }
}

/// Writes an image and, under `masks`, its mask.
fn write_image(
    folder: &Path,
    file: &str,
    image: &image::RgbImage,
    mask: &BinaryMask,
) -> Result<(), WriteError> {
    let path = folder.join(file);
    image.save(&path).map_err(|source| WriteError::Image { path, source })?;
    let path = folder.join("masks").join(file);
    gray(mask).save(&path).map_err(|source| WriteError::Image { path, source })
}

fn gray(mask: &BinaryMask) -> GrayImage {
    GrayImage::from_fn(mask.width() as u32, mask.height() as u32, |x, y| {
        Luma([if mask.get(x as usize, y as usize) { 255 } else { 0 }])
    })
}

fn write_table<const COLUMNS: usize>(path: &Path, rows: &[[String; COLUMNS]]) -> Result<(), WriteError> {
    let write = || -> Result<(), csv::Error> {
        let mut table = csv::Writer::from_path(path)?;
        rows.iter().try_for_each(|row| table.write_record(row))?;
        Ok(table.flush()?)
    };
    write().map_err(|error| WriteError::File { path: path.to_owned(), source: error.into() })
}
