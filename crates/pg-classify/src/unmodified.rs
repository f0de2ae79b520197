//! The region that an edit left alone: where it hardly differs from its original, or where the mask says that came with
//! it.

use std::path::PathBuf;

use image::RgbImage;
use image::imageops::grayscale;
use pg_provenance::{BinaryMask, Extraction, Extractor};

use crate::dataset::{Dataset, EditExample, Picture};
use crate::error::ClassifyError;
use crate::samples::Grid;

/// Grey level from which on a mask counts as white.
const WHITE: u8 = 128;

/// The region of an edit of `dataset` that the editor left alone, on the grid, and what the difference to its original
/// looks like. A mask that came with the edit stands in for the region that the difference shows.
///
/// # Errors
/// If one of the images cannot be decoded, the mask is not as large as the edit, or the extraction fails.
pub fn unmodified(
    dataset: &Dataset,
    edit: &EditExample,
    grid: Grid,
    extractor: &Extractor,
) -> Result<Extraction, ClassifyError> {
    let original = grid.cropped(dataset.train[edit.original].picture.load()?);
    let edited = edit.picture.load()?;
    let given = match &edit.mask {
        Some(mask) => Some(given(mask, &edited, edit, grid)?),
        None => None,
    };
    let extraction = extractor
        .extract(&original, &grid.cropped(edited))
        .map_err(|source| ClassifyError::Provenance { picture: name(&edit.picture), source })?;
    Ok(match given {
        Some(target) => Extraction { target, ..extraction },
        None => extraction,
    })
}

/// The white part of a mask, brought to the grid as its edit is.
fn given(
    mask: &Picture,
    edited: &RgbImage,
    edit: &EditExample,
    grid: Grid,
) -> Result<BinaryMask, ClassifyError> {
    let image = mask.load()?;
    let (found, expected) = (image.dimensions(), edited.dimensions());
    if found != expected {
        let (mask, edited) = (name(mask), name(&edit.picture));
        return Err(ClassifyError::MaskSize { mask, edited, found, expected });
    }
    let grey = grayscale(&grid.resized(image));
    Ok(BinaryMask::from_fn(grey.width() as usize, grey.height() as usize, |x, y| {
        grey.get_pixel(x as u32, y as u32).0[0] >= WHITE
    }))
}

/// What to call a picture in an error.
pub(crate) fn name(picture: &Picture) -> PathBuf {
    match picture {
        Picture::File(path) => path.clone(),
        Picture::Memory(_) => "generated image".into(),
    }
}
