//! The one way in which images reach the network grid.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use image::imageops;

/// Brings `image` to `width` x `height` by a triangle kernel whose support grows with the reduction (Pillow's
/// and torchvision's anti-aliased `BILINEAR`), rounded to `u8`. The aspect ratio is not kept and nothing is
/// cut off. An image without pixels gives black.
pub fn resize_rgb(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    if image.dimensions() == (width, height) {
        return image.clone();
    }
    // The vector path takes every RGB8 image; the plain one is its equal but for rounding.
    resize_vectorised(image, width, height)
        .unwrap_or_else(|| imageops::resize(image, width, height, imageops::FilterType::Triangle))
}

fn resize_vectorised(image: &RgbImage, width: u32, height: u32) -> Option<RgbImage> {
    let source = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3).ok()?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut target, &options).ok()?;
    RgbImage::from_raw(width, height, target.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use proptest::prelude::*;

    /// The definition, in f64 and without separability tricks: weights `1 - |d| / max(scale, 1)` around the
    /// centre.
    fn weights(from: u32, to: u32, index: u32) -> Vec<f64> {
        let scale = f64::from(from) / f64::from(to);
        let support = scale.max(1.0);
        let centre = (f64::from(index) + 0.5) * scale;
        let raw: Vec<f64> =
            (0..from).map(|s| (1.0 - (f64::from(s) + 0.5 - centre).abs() / support).max(0.0)).collect();
        let total: f64 = raw.iter().sum();
        raw.iter().map(|w| w / total).collect()
    }

    fn by_definition(image: &RgbImage, width: u32, height: u32, x: u32, y: u32, channel: usize) -> f64 {
        let (across, down) = (weights(image.width(), width, x), weights(image.height(), height, y));
        image
            .enumerate_pixels()
            .map(|(i, j, pixel)| across[i as usize] * down[j as usize] * f64::from(pixel[channel]))
            .sum()
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition_to_one_grey_level(
            (width, height, raw) in (1u32..12, 1u32..12).prop_flat_map(|(w, h)| {
                (Just(w), Just(h), prop::collection::vec(any::<u8>(), (w * h * 3) as usize))
            }),
            (to_width, to_height) in (1u32..16, 1u32..16),
        ) {
            let image = RgbImage::from_raw(width, height, raw).unwrap();
            let resized = resize_rgb(&image, to_width, to_height);
            prop_assert_eq!(resized.dimensions(), (to_width, to_height));
            for (x, y, pixel) in resized.enumerate_pixels() {
                for channel in 0..3 {
                    let exact = by_definition(&image, to_width, to_height, x, y, channel);
                    // Two passes, each rounded: half a level and then half a level.
                    prop_assert!((f64::from(pixel[channel]) - exact).abs() <= 1.02, "{pixel:?} against {exact}");
                }
            }
        }
    }

    #[test]
    fn halving_is_anti_aliased() {
        // Weights 1/8 3/8 3/8 1/8 away from the border: a one-pixel line does not vanish.
        let line = RgbImage::from_fn(8, 1, |x, _| Rgb([if x == 3 { 240 } else { 0 }; 3]));
        let half: Vec<u8> = resize_rgb(&line, 4, 1).pixels().map(|pixel| pixel[0]).collect();
        assert_eq!(half, [0, 90, 30, 0]);
    }

    #[test]
    fn sizes_of_zero_are_harmless() {
        assert_eq!(resize_rgb(&RgbImage::new(3, 3), 0, 2).dimensions(), (0, 2));
        assert_eq!(resize_rgb(&RgbImage::new(0, 3), 2, 2), RgbImage::new(2, 2));
    }
}
