//! Pictures to look at: mixes with their provenance, and score maps with boxes.

use std::path::Path;

use candle_core::{DType, Device};
use image::{Rgb, RgbImage};
use pg_localization::{BoundingBox, largest_box};
use pg_provenance::BinaryMask;
use pg_tasks::normalise::Normalise;
use pg_tasks::sheet::{overlay, sheet, tint_non_target, write_png};

use crate::error::WsolError;
use crate::evaluation::Located;
use crate::mixing::Mixed;

/// Pictures in a row of a sheet.
const COLUMNS: usize = 8;
/// Of the object's box, and of the one that the map predicts.
const TRUTH: Rgb<u8> = Rgb([60, 220, 90]);
const PREDICTION: Rgb<u8> = Rgb([255, 70, 60]);

/// Mixed samples, each beside a copy whose part of source B is tinted, where its provenance is known.
///
/// # Errors
/// If candle fails.
pub fn draw_mixes(mixed: &Mixed, normalise: Normalise) -> Result<RgbImage, WsolError> {
    let images = mixed.images.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let (n, _, height, width) = images.dims4()?;
    let masks = match mixed.provenance.as_ref().and_then(|p| p.as_sources().first()) {
        // A weight of 0 is where the input comes from source A.
        Some(source) => {
            let elsewhere = source.elsewhere.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
            Some(elsewhere.broadcast_as((n, 1, height, width))?.flatten_from(1)?.to_vec2::<f32>()?)
        }
        None => None,
    };
    let mut pictures = Vec::new();
    for index in 0..n {
        let pixels = images.get(index)?.to_vec3::<f32>()?;
        let image = RgbImage::from_fn(width as u32, height as u32, |x, y| {
            Rgb(std::array::from_fn(|c| {
                let value = pixels[c][y as usize][x as usize] * normalise.std[c] + normalise.mean[c];
                (value * 255.0).round().clamp(0.0, 255.0) as u8
            }))
        });
        let tinted = masks.as_ref().map(|masks| {
            let of_a = BinaryMask::from_fn(width, height, |x, y| masks[index][y * width + x] < 0.5);
            tint_non_target(&image, &of_a)
        });
        pictures.push(image);
        pictures.extend(tinted.transpose()?);
    }
    Ok(sheet(&pictures, COLUMNS))
}

/// An image under its score map, with the object's boxes (green) and the one that the map predicts at `threshold` (red).
///
/// # Errors
/// If the map has not the size of the image.
pub fn draw_located(one: &Located, threshold: f64) -> Result<RgbImage, WsolError> {
    let scores: Vec<f32> = one.map.scores().iter().map(|&score| score as f32).collect();
    let mut picture = overlay(&one.image, &scores)?;
    outline(&mut picture, largest_box(one.convention, &one.map, threshold), PREDICTION);
    one.objects.iter().for_each(|&object| outline(&mut picture, object, TRUTH));
    Ok(picture)
}

/// A sheet of pairs: each image, and it with its map and boxes.
///
/// # Errors
/// If it cannot be drawn or written.
pub fn write_sheet(located: &[Located], threshold: f64, path: &Path) -> Result<(), WsolError> {
    let mut pictures = Vec::new();
    for one in located {
        pictures.push(one.image.clone());
        pictures.push(draw_located(one, threshold)?);
    }
    Ok(write_png(&sheet(&pictures, COLUMNS), path)?)
}

/// Draws a box one pixel wide, as far as it lies in the picture.
fn outline(picture: &mut RgbImage, object: BoundingBox, colour: Rgb<u8>) {
    let (width, height) = picture.dimensions();
    let (x1, y1) = (object.x1.min(width - 1), object.y1.min(height - 1));
    for x in object.x0.min(x1)..=x1 {
        picture.put_pixel(x, object.y0.min(y1), colour);
        picture.put_pixel(x, y1, colour);
    }
    for y in object.y0.min(y1)..=y1 {
        picture.put_pixel(object.x0.min(x1), y, colour);
        picture.put_pixel(x1, y, colour);
    }
}
