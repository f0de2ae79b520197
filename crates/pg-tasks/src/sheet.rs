//! Sample sheets: what the network sees, what is not the target, and where the score comes from.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use image::error::ImageError;
use image::imageops::{self, FilterType};
use image::{ImageFormat, Rgb, RgbImage};
use pg_provenance::BinaryMask;

use crate::run_dir::{RunDirError, write_atomically};

/// Images smaller than this are enlarged on a sheet, in pixels.
const LEGIBLE: u32 = 96;
/// Space between and around the images of a sheet, in pixels.
const MARGIN: u32 = 8;
/// Ground of a sheet.
const PAPER: Rgb<u8> = Rgb([250, 250, 248]);
/// Colour over what is not the target.
const TINT: Rgb<u8> = Rgb([213, 94, 0]);
/// Share of the tint.
const TINT_OPACITY: f32 = 0.55;
/// Share of the heat colour where the heat is 1; it falls to 0 with the heat.
const HEAT_OPACITY: f32 = 0.8;

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// A mask or map does not lie on its image.
    #[error("a map of {found} does not lie on an image of {expected}; resize it to the image")]
    Size {
        /// The size of the mask or map, in words.
        found: String,
        /// The size of the image, in words.
        expected: String,
    },
    /// The picture could not be encoded.
    #[error("{}: the picture could not be encoded ({source})", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        source: ImageError,
    },
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] RunDirError),
}

/// Images row by row in a grid, each in the middle of its cell. If the largest is smaller than 96 pixels, all are
/// enlarged by the same whole factor, with sharp pixels.
#[must_use]
pub fn sheet(images: &[RgbImage], columns: usize) -> RgbImage {
    let columns = columns.clamp(1, images.len().max(1)) as u32;
    let rows = (images.len() as u32).div_ceil(columns).max(1);
    let widest = images.iter().map(RgbImage::width).max().unwrap_or(0).max(1);
    let highest = images.iter().map(RgbImage::height).max().unwrap_or(0).max(1);
    let zoom = LEGIBLE.div_ceil(widest.max(highest));
    let (cell_width, cell_height) = (zoom * widest + MARGIN, zoom * highest + MARGIN);

    let mut sheet = RgbImage::from_pixel(columns * cell_width + MARGIN, rows * cell_height + MARGIN, PAPER);
    for (index, image) in (0u32..).zip(images) {
        let (width, height) = (zoom * image.width(), zoom * image.height());
        let image = imageops::resize(image, width, height, FilterType::Nearest);
        let x = MARGIN + (index % columns) * cell_width + (zoom * widest - width) / 2;
        let y = MARGIN + (index / columns) * cell_height + (zoom * highest - height) / 2;
        imageops::replace(&mut sheet, &image, i64::from(x), i64::from(y));
    }
    sheet
}

/// The image with everything outside the target (where the mask is false) tinted.
///
/// # Errors
/// If the mask has another size than the image.
pub fn tint_non_target(image: &RgbImage, target: &BinaryMask) -> Result<RgbImage, SheetError> {
    let (width, height) = image.dimensions();
    if (target.width(), target.height()) != (width as usize, height as usize) {
        let found = format!("{} x {}", target.width(), target.height());
        return Err(SheetError::Size { found, expected: format!("{width} x {height}") });
    }
    let mut tinted = image.clone();
    for (pixel, &is_target) in tinted.pixels_mut().zip(target.bits()) {
        if !is_target {
            *pixel = blend(*pixel, TINT, TINT_OPACITY);
        }
    }
    Ok(tinted)
}

/// The image under a heat map of the same size, row-major, with values in [0, 1]. Cold places show the image as it
/// is. Values outside the range are clamped; NaN counts as 0.
///
/// # Errors
/// If the map has not one value for each pixel.
pub fn overlay(image: &RgbImage, map: &[f32]) -> Result<RgbImage, SheetError> {
    let (width, height) = image.dimensions();
    if map.len() != width as usize * height as usize {
        return Err(SheetError::Size {
            found: format!("{} values", map.len()),
            expected: format!("{width} x {height}"),
        });
    }
    let mut heated = image.clone();
    for (pixel, &heat) in heated.pixels_mut().zip(map) {
        *pixel = blend(*pixel, heat_colour(heat), HEAT_OPACITY * unit(heat));
    }
    Ok(heated)
}

/// The colour of a value in [0, 1]: nine samples of matplotlib's *inferno*, whose lightness rises evenly, with
/// straight lines between them.
#[must_use]
pub fn heat_colour(heat: f32) -> Rgb<u8> {
    const ANCHORS: [[u8; 3]; 9] = [
        [0x00, 0x00, 0x04],
        [0x21, 0x0C, 0x4A],
        [0x56, 0x10, 0x6E],
        [0x89, 0x22, 0x6A],
        [0xBB, 0x37, 0x54],
        [0xE3, 0x59, 0x32],
        [0xF9, 0x8C, 0x0A],
        [0xF9, 0xC9, 0x32],
        [0xFC, 0xFF, 0xA4],
    ];
    let place = unit(heat) * (ANCHORS.len() - 1) as f32;
    let below = (place as usize).min(ANCHORS.len() - 2);
    blend(Rgb(ANCHORS[below]), Rgb(ANCHORS[below + 1]), place - below as f32)
}

/// Writes a picture as PNG.
///
/// # Errors
/// If the file cannot be written.
pub fn write_png(image: &RgbImage, path: &Path) -> Result<(), SheetError> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|source| SheetError::Encode { path: path.to_owned(), source })?;
    Ok(write_atomically(path, |file| file.write_all(bytes.get_ref()))?)
}

/// The value in [0, 1]; 0 for NaN.
fn unit(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

fn blend(under: Rgb<u8>, over: Rgb<u8>, opacity: f32) -> Rgb<u8> {
    Rgb(std::array::from_fn(|c| {
        (f32::from(under[c]) * (1.0 - opacity) + f32::from(over[c]) * opacity).round() as u8
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::read_rgb;

    const BLUE: Rgb<u8> = Rgb([0, 0, 200]);

    #[test]
    fn small_images_are_enlarged_alike_and_centred() {
        let images = [
            RgbImage::from_pixel(40, 40, BLUE),
            RgbImage::from_pixel(20, 40, Rgb([9, 9, 9])),
            RgbImage::from_pixel(40, 40, BLUE),
        ];
        let sheet = sheet(&images, 2);
        assert_eq!(sheet.dimensions(), (8 + 2 * (120 + 8), 8 + 2 * (120 + 8))); // 3 * 40 = 120 >= 96
        assert_eq!(
            (sheet[(7, 7)], sheet[(8, 8)], sheet[(127, 127)], sheet[(128, 128)]),
            (PAPER, BLUE, BLUE, PAPER)
        );
        let row: Vec<u32> = (136..256).filter(|&x| sheet[(x, 60)] == Rgb([9, 9, 9])).collect();
        assert_eq!((row[0], row.len()), (136 + 30, 60));
        assert_eq!((sheet[(60, 136)], sheet[(200, 200)]), (BLUE, PAPER)); // the last row is not full
    }

    #[test]
    fn legible_images_keep_their_pixels() {
        let image = RgbImage::from_fn(97, 50, |x, y| Rgb([x as u8, y as u8, 0]));
        let sheet = sheet(std::slice::from_ref(&image), 5);
        assert_eq!(sheet.dimensions(), (97 + 16, 50 + 16));
        assert_eq!(imageops::crop_imm(&sheet, 8, 8, 97, 50).to_image(), image);
        assert!(super::sheet(&[], 4).width() > 0);
    }

    #[test]
    fn only_the_non_target_is_tinted() {
        let image = RgbImage::from_pixel(4, 2, BLUE);
        let target = BinaryMask::from_fn(4, 2, |x, y| x == 1 && y == 1);
        let tinted = tint_non_target(&image, &target).unwrap();
        for (x, y, pixel) in tinted.enumerate_pixels() {
            assert_eq!(*pixel == BLUE, (x, y) == (1, 1), "{x} {y}");
        }
        assert!(matches!(
            tint_non_target(&image, &BinaryMask::filled(2, 4, true)),
            Err(SheetError::Size { .. })
        ));
    }

    #[test]
    fn heat_goes_from_the_image_to_a_bright_colour() {
        let image = RgbImage::from_pixel(4, 1, BLUE);
        let heated = overlay(&image, &[0.0, f32::NAN, 1.0, 7.0]).unwrap();
        assert_eq!((heated[(0, 0)], heated[(1, 0)]), (BLUE, BLUE));
        assert_eq!(heated[(2, 0)], heated[(3, 0)]);
        assert!(heated[(2, 0)][0] > 190);
        assert!(matches!(overlay(&image, &[0.0; 3]), Err(SheetError::Size { .. })));
    }

    #[test]
    fn the_lightness_of_heat_rises() {
        let lightness = |heat: f32| {
            let Rgb([r, g, b]) = heat_colour(heat);
            0.2126 * f32::from(r) + 0.7152 * f32::from(g) + 0.0722 * f32::from(b)
        };
        assert!((0..100).all(|i| lightness((i + 1) as f32 / 100.0) >= lightness(i as f32 / 100.0)));
        assert_eq!((heat_colour(0.0), heat_colour(1.0)), (Rgb([0, 0, 4]), Rgb([252, 255, 164])));
    }

    #[test]
    fn a_written_sheet_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.png");
        let image = RgbImage::from_fn(5, 3, |x, y| Rgb([x as u8, y as u8, 200]));
        write_png(&image, &path).unwrap();
        assert_eq!(read_rgb(&path).unwrap(), image);
    }
}
