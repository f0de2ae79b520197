//! Which pixels of an image are an object, from mask files.

use std::path::{Path, PathBuf};

use image::ImageReader;

use crate::pixel_precision::Pixel;

/// A mask that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct MaskError {
    path: PathBuf,
    reason: String,
}

/// The pixels of a map of `size`: those of any of `masks` are an object, those of `ignore` alone are not counted. Files
/// lie under `root`, are images (inside where they are not black) and are resized to the nearest pixel (wsolevaluation,
/// `get_mask`).
///
/// # Errors
/// If a file is no image.
pub fn pixels(
    root: &Path,
    masks: &[PathBuf],
    ignore: Option<&Path>,
    size: (u32, u32),
) -> Result<Vec<Pixel>, MaskError> {
    let mut pixels = vec![Pixel::Background; size.0 as usize * size.1 as usize];
    let mut mark = |file: &Path, as_what: Pixel| {
        let inside = read(&root.join(file), size)?;
        pixels.iter_mut().zip(inside).filter(|(_, inside)| *inside).for_each(|(pixel, _)| *pixel = as_what);
        Ok(())
    };
    ignore.map(|ignore| mark(ignore, Pixel::Ignored)).transpose()?;
    masks.iter().try_for_each(|mask| mark(mask, Pixel::Object))?;
    Ok(pixels)
}

fn read(path: &Path, (width, height): (u32, u32)) -> Result<Vec<bool>, MaskError> {
    // Decoders' messages may have several lines.
    let malformed = |reason: String| MaskError {
        path: path.to_owned(),
        reason: reason.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    let image = reader.map_err(|error| malformed(error.to_string()))?.decode();
    let image = image.map_err(|error| malformed(error.to_string()))?.into_luma8();
    if image.is_empty() {
        return Err(malformed("an image without a pixel".to_owned()));
    }
    let from = |at: u32, of: u32, size: u32| {
        ((f64::from(at) * f64::from(size) / f64::from(of)) as u32).min(size - 1)
    };
    let rows = (0..height).map(|y| from(y, height, image.height()));
    Ok(rows
        .flat_map(|y| {
            let image = &image;
            (0..width).map(move |x| image.get_pixel(from(x, width, image.width()), y)[0] > 0)
        })
        .collect())
}
