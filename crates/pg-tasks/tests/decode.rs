//! Every kind of image that a dataset folder holds, and every way in which one is broken.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use pg_tasks::decode::{ImageError, read_rgb};
use tempfile::TempDir;

fn scratch(name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    (folder, path)
}

fn gradient() -> RgbImage {
    RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, ((x * y) % 251) as u8]))
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Reads bytes through a file whose name says nothing about their format.
fn read(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    let (_folder, path) = scratch("photo.dat");
    fs::write(&path, bytes).unwrap();
    read_rgb(&path)
}

#[test]
fn lossless_formats_come_back_exactly_whatever_their_name() {
    let image = gradient();
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
        assert_eq!(read(&encode(image.clone(), format)).unwrap(), image, "{format:?}");
    }
    let two_colours = RgbImage::from_fn(9, 7, |x, _| if x < 4 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) });
    assert_eq!(read(&encode(two_colours.clone(), ImageFormat::Gif)).unwrap(), two_colours);
}

#[test]
fn a_jpeg_comes_back_nearly() {
    let flat = RgbImage::from_pixel(24, 24, Rgb([200, 100, 50]));
    let read = read(&encode(flat, ImageFormat::Jpeg)).unwrap();
    assert_eq!(read.dimensions(), (24, 24));
    assert!(read.pixels().all(|p| p.0.iter().zip([200u8, 100, 50]).all(|(a, b)| a.abs_diff(b) <= 3)));
}

#[test]
fn an_image_of_one_pixel_is_an_image() {
    let pixel = RgbImage::from_pixel(1, 1, Rgb([1, 2, 3]));
    assert_eq!(read(&encode(pixel.clone(), ImageFormat::Png)).unwrap(), pixel);
    assert_eq!(read(&encode(pixel, ImageFormat::Jpeg)).unwrap().dimensions(), (1, 1));
}

#[test]
fn grey_is_repeated_and_alpha_is_dropped() {
    let grey = ImageBuffer::from_pixel(2, 2, Luma([77u8]));
    assert_eq!(read(&encode(grey, ImageFormat::Png)).unwrap()[(1, 1)], Rgb([77; 3]));
    let grey_alpha = ImageBuffer::from_pixel(2, 2, LumaA([77u8, 0]));
    assert_eq!(read(&encode(grey_alpha, ImageFormat::Png)).unwrap()[(1, 1)], Rgb([77; 3]));
    let transparent = ImageBuffer::from_pixel(2, 2, Rgba([9u8, 8, 7, 0]));
    assert_eq!(read(&encode(transparent, ImageFormat::Png)).unwrap()[(1, 1)], Rgb([9, 8, 7]));
}

#[test]
fn sixteen_bits_are_scaled_to_eight() {
    for (deep, expected) in [(0u16, 0u8), (257, 1), (0x8080, 0x80), (u16::MAX, 255)] {
        let grey = ImageBuffer::from_pixel(2, 2, Luma([deep]));
        assert_eq!(read(&encode(grey, ImageFormat::Png)).unwrap()[(0, 0)], Rgb([expected; 3]));
        let rgb = ImageBuffer::from_pixel(2, 2, Rgb([deep, 0, u16::MAX]));
        assert_eq!(read(&encode(rgb, ImageFormat::Tiff)).unwrap()[(0, 0)], Rgb([expected, 0, 255]));
    }
}

#[test]
fn a_cmyk_jpeg_has_the_colours_that_pillow_gives_it() {
    let image =
        read_rgb(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cmyk.jpg").as_path()).unwrap();
    assert_eq!(image.dimensions(), (16, 16));
    for (x, expected) in [(2, [255u8, 0, 0]), (13, [0, 204, 204])] {
        let pixel = image[(x, 8)];
        assert!(pixel.0.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 4), "{pixel:?} != {expected:?}");
    }
}

#[test]
fn what_is_no_image_file_is_told_apart() {
    let (folder, path) = scratch("cat.png");
    assert!(matches!(read_rgb(&path), Err(ImageError::Missing { .. })));
    assert!(matches!(read_rgb(folder.path()), Err(ImageError::IsAFolder { .. })));
    fs::write(&path, b"").unwrap();
    assert!(matches!(read_rgb(&path), Err(ImageError::Empty { .. })));
    assert!(matches!(read_rgb(&path.join("below.png")), Err(ImageError::Missing { .. })));
    fs::write(&path, b"<!doctype html><title>404</title>").unwrap();
    let error = read_rgb(&path).unwrap_err();
    assert!(matches!(error, ImageError::UnknownFormat { .. }));
    assert!(error.to_string().starts_with(&format!("{}: not a PNG", path.display())), "{error}");
}

/// A file that is cut is an error, never a partly grey image; cut in the middle of its pixels it is `Truncated`.
#[test]
fn a_truncated_image_is_never_half_read() {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    for format in [Png, Jpeg, Gif, Bmp, Tiff, WebP] {
        let bytes = encode(gradient(), format);
        for percent in [5, 30, 50, 80, 98] {
            let cut = (bytes.len() * percent / 100).max(16);
            let error = read(&bytes[..cut]).expect_err("a cut file was read");
            let is_truncated = matches!(error, ImageError::Truncated { .. });
            assert!(is_truncated || percent != 50, "{format:?} cut at {percent} %: {error:?}");
        }
    }
}

#[test]
fn a_corrupt_image_says_what_is_wrong_on_one_line() {
    let mut png = encode(gradient(), ImageFormat::Png);
    let middle = png.len() / 2;
    png[middle] ^= 0xFF;
    let error = read(&png).unwrap_err();
    assert!(matches!(error, ImageError::Corrupt { .. }), "{error:?}");
    assert!(!error.to_string().contains('\n'), "{error}");

    let mut jpeg = encode(gradient(), ImageFormat::Jpeg);
    jpeg[2] = 0; // the first marker after the signature
    assert!(matches!(read(&jpeg), Err(ImageError::Corrupt { .. } | ImageError::UnknownFormat { .. })));
}

/// A header may claim any size.
#[test]
fn sizes_that_cannot_be_are_refused_before_they_are_allocated() {
    let mut bmp = encode(RgbImage::new(4, 4), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&20_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&20_000u32.to_le_bytes());
    let error = read(&bmp).unwrap_err();
    assert!(matches!(error, ImageError::TooLarge { .. }), "{error:?}");
    assert!(error.to_string().contains("20000 x 20000"), "{error}");

    let mut gif = encode(RgbImage::new(4, 4), ImageFormat::Gif);
    gif[6..8].copy_from_slice(&0u16.to_le_bytes());
    let error = read(&gif).unwrap_err();
    assert!(matches!(error, ImageError::ZeroDimension { width: 0, height: 4, .. }), "{error:?}");
}

#[test]
fn messages_name_the_file_and_what_to_do() {
    let (_folder, path) = scratch("cut.jpg");
    let jpeg = encode(gradient(), ImageFormat::Jpeg);
    fs::write(&path, &jpeg[..jpeg.len() / 2]).unwrap();
    let expected = "truncated JPEG image (the file ends early); copy or download it again, or remove it";
    assert_eq!(read_rgb(&path).unwrap_err().to_string(), format!("{}: {expected}", path.display()));
}
