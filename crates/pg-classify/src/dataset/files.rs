//! A look at every image file before the first is needed.

use std::path::Path;

use image::{ImageReader, ImageResult};
use pg_tasks::decode::{ImageError, read_rgb};
use rayon::prelude::*;

use super::{Dataset, DatasetError, Picture};

impl Dataset {
    /// Reads the head of every image file of every split, of the edits and of their masks, so that a file that is missing, empty or no
    /// image is found before training and not after its first epoch. What is damaged behind the head shows only when the
    /// image is decoded.
    ///
    /// # Errors
    /// [`DatasetError::Picture`] for the first such file.
    pub fn check_files(&self) -> Result<(), DatasetError> {
        let examples = self.train.iter().chain(&self.val).chain(&self.test).map(|example| &example.picture);
        let files: Vec<&Path> = examples
            .chain(self.edits.iter().flat_map(|edit| [&edit.picture].into_iter().chain(&edit.mask)))
            .filter_map(|picture| match picture {
                Picture::File(path) => Some(path.as_path()),
                Picture::Memory(_) => None,
            })
            .collect();
        if !files.is_empty() {
            tracing::info!("looking at the heads of {} image files", files.len());
        }
        match files.par_iter().find_map_first(|path| fault(path)) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

/// What is wrong with a file, by its head; told in the words of the decoder, which reads all of it.
fn fault(path: &Path) -> Option<ImageError> {
    let dimensions =
        || -> ImageResult<_> { ImageReader::open(path)?.with_guessed_format()?.into_dimensions() };
    match dimensions() {
        Ok(_) => None,
        Err(_) => read_rgb(path).err(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{EditExample, Example};
    use image::RgbImage;

    #[test]
    fn the_first_bad_file_of_any_split_or_edit_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            RgbImage::new(9, 7).save(&path).unwrap();
            Picture::File(path)
        };
        let example = |name: &str| Example::new(file(name), 0, None);
        let mut set = Dataset::empty("folder", vec!["cat".into(), "dog".into()]);
        set.train = (0..30).map(|n| example(&format!("train-{n}.png"))).collect();
        (set.val, set.test) = (vec![example("val.jpg")], vec![example("test.bmp")]);
        let (prompt, truth) = (String::new(), None);
        let (picture, mask) = (file("edit.webp"), Some(file("mask.png")));
        set.edits = vec![EditExample { original: 0, picture, label: 0, mask, prompt, truth }];
        set.check_files().unwrap();

        let error = || set.check_files().unwrap_err().to_string();
        for (name, content, expected) in [
            ("mask.png", &b""[..], "mask.png: empty file"),
            ("edit.webp", b"RIFF", "edit.webp: not a PNG"),
            ("test.bmp", b"BM", "test.bmp: truncated BMP image"),
            ("val.jpg", b"<!doctype html>", "val.jpg: not a PNG"),
            ("train-28.png", b"", "train-28.png: empty file"),
            ("train-17.png", b"\x89PNG\r\n\x1a\n", "train-17.png: truncated PNG image"),
        ] {
            std::fs::write(folder.path().join(name), content).unwrap();
            assert!(error().contains(expected), "{name}: {}", error());
        }
        std::fs::remove_file(folder.path().join("train-3.png")).unwrap();
        assert!(error().contains("train-3.png: no such file"), "{}", error());
    }
}
