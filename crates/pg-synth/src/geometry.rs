//! Geometric augmentation that an image and its mask share.

use image::{RgbImage, imageops};
use pg_provenance::{BinaryMask, resize_rgb};
use pg_random::Stream;
use rand::RngExt;

/// A rectangle in source pixels. It may reach beyond the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Left edge.
    pub x: i64,
    /// Top edge.
    pub y: i64,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Crop {
    /// The whole image.
    pub fn whole(width: u32, height: u32) -> Self {
        Self { x: 0, y: 0, width, height }
    }
}

/// A crop, then a resize, then perhaps a horizontal flip. Draw one, apply it to the image and to its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Whether left and right are exchanged.
    pub flip: bool,
    /// What is kept.
    pub crop: Crop,
}

impl Geometry {
    /// The image at `width` x `height`, anti-aliased as by [`resize_rgb`]. Beyond the source it is black.
    pub fn apply_image(&self, image: &RgbImage, width: u32, height: u32) -> RgbImage {
        let Crop { x, y, width: crop_width, height: crop_height } = self.crop;
        let mut cropped = RgbImage::new(crop_width, crop_height);
        imageops::replace(&mut cropped, image, -x, -y);
        let mut resized = resize_rgb(&cropped, width, height);
        if self.flip {
            imageops::flip_horizontal_in_place(&mut resized);
        }
        resized
    }

    /// The mask at `width` x `height`, by nearest neighbour. Beyond the source it is target: padding is no
    /// part of an edit, and an original, whose mask is 1 throughout, remains one.
    pub fn apply_mask(&self, mask: &BinaryMask, width: u32, height: u32) -> BinaryMask {
        let Crop { x: left, y: top, width: crop_width, height: crop_height } = self.crop;
        let source = |x: usize, y: usize| {
            let (x, y) = (usize::try_from(left + x as i64).ok()?, usize::try_from(top + y as i64).ok()?);
            (x < mask.width() && y < mask.height()).then(|| mask.get(x, y))
        };
        let cropped = BinaryMask::from_fn(crop_width as usize, crop_height as usize, |x, y| {
            source(x, y).unwrap_or(true)
        });
        let (width, height) = (width as usize, height as usize);
        let resized = cropped.resize_nearest(width, height);
        if self.flip {
            BinaryMask::from_fn(width, height, |x, y| resized.get(width - 1 - x, y))
        } else {
            resized
        }
    }
}

/// `true` with probability `prob` (torchvision's `RandomHorizontalFlip`).
pub fn random_flip(prob: f64, rng: &mut Stream) -> bool {
    rng.random::<f64>() < prob
}

/// A crop of a random share `scale` of the area and a random aspect `ratio` (width over height, log-uniform),
/// as torchvision's `RandomResizedCrop`: ten attempts, then the largest central crop whose ratio is allowed.
/// Its defaults are `(0.08, 1.0)` and `(3/4, 4/3)`.
pub fn random_resized_crop(
    width: u32,
    height: u32,
    scale: (f64, f64),
    ratio: (f64, f64),
    rng: &mut Stream,
) -> Crop {
    let (w, h) = (f64::from(width), f64::from(height));
    for _ in 0..10 {
        let area = w * h * uniform(scale, rng);
        let aspect = uniform((ratio.0.ln(), ratio.1.ln()), rng).exp();
        let size = ((area * aspect).sqrt().round_ties_even(), (area / aspect).sqrt().round_ties_even());
        if size.0 >= 1.0 && size.0 <= w && size.1 >= 1.0 && size.1 <= h {
            let (crop_width, crop_height) = (size.0 as u32, size.1 as u32);
            let y = rng.random_range(0..=height - crop_height);
            let x = rng.random_range(0..=width - crop_width);
            return Crop { x: x.into(), y: y.into(), width: crop_width, height: crop_height };
        }
    }
    let (crop_width, crop_height) = match w / h {
        aspect if aspect < ratio.0 => (width, ((w / ratio.0).round_ties_even() as u32).min(height)),
        aspect if aspect > ratio.1 => (((h * ratio.1).round_ties_even() as u32).min(width), height),
        _ => (width, height),
    };
    let (x, y) = ((width - crop_width) / 2, (height - crop_height) / 2);
    Crop { x: x.into(), y: y.into(), width: crop_width, height: crop_height }
}

/// The image shifted by up to `padding` pixels in each direction (torchvision's `RandomCrop` of the image's
/// own size, after padding).
pub fn random_shift(width: u32, height: u32, padding: u32, rng: &mut Stream) -> Crop {
    let padding = i64::from(padding);
    let y = rng.random_range(-padding..=padding);
    let x = rng.random_range(-padding..=padding);
    Crop { x, y, width, height }
}

fn uniform((low, high): (f64, f64), rng: &mut Stream) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use pg_random::Seed;
    use proptest::prelude::*;

    /// The mask as an image: white on the target.
    fn painted(mask: &BinaryMask) -> RgbImage {
        RgbImage::from_fn(mask.width() as u32, mask.height() as u32, |x, y| {
            Rgb([if mask.get(x as usize, y as usize) { 255 } else { 0 }; 3])
        })
    }

    fn disc() -> BinaryMask {
        BinaryMask::from_fn(40, 30, |x, y| x.abs_diff(13).pow(2) + y.abs_diff(11).pow(2) < 60)
    }

    #[test]
    fn image_and_mask_stay_aligned() {
        let rectangle = BinaryMask::from_fn(40, 30, |x, y| (8..25).contains(&x) && (6..21).contains(&y));
        let mut rng = Seed(4).stream("geometry", &[]);
        for _ in 0..200 {
            let crop = random_resized_crop(40, 30, (0.2, 1.0), (0.75, 4.0 / 3.0), &mut rng);
            let geometry = Geometry { flip: random_flip(0.5, &mut rng), crop };
            // Enlarged three times, bilinear interpolation crosses 1/2 where nearest neighbour changes value,
            // but for the corner pixels themselves (2/3 * 2/3 < 1/2).
            let (width, height) = (3 * crop.width, 3 * crop.height);
            let mask = geometry.apply_mask(&rectangle, width, height);
            let image = geometry.apply_image(&painted(&rectangle), width, height);
            let differs =
                |&(x, y, pixel): &(u32, u32, &Rgb<u8>)| (pixel[0] > 127) != mask.get(x as usize, y as usize);
            let wrong = image.enumerate_pixels().filter(differs).count();
            assert!(wrong <= 4, "{geometry:?}: {wrong} pixels");
        }
    }

    proptest! {
        #[test]
        fn without_a_resize_image_and_mask_agree_to_the_pixel(
            x in -15i64..50, y in -15i64..40, width in 1u32..50, height in 1u32..40, flip: bool,
        ) {
            let geometry = Geometry { flip, crop: Crop { x, y, width, height } };
            // Beyond the source the image is black and the mask is target: compare the complement.
            let mask = geometry.apply_mask(&disc().complement(), width, height).complement();
            let image = geometry.apply_image(&painted(&disc()), width, height);
            prop_assert_eq!(painted(&mask), image);
        }

        #[test]
        fn a_mask_of_ones_stays_one(x in -9i64..9, y in -9i64..9, width in 0u32..9, height in 0u32..9) {
            let geometry = Geometry { flip: true, crop: Crop { x, y, width: width + 1, height: height + 1 } };
            let mask = geometry.apply_mask(&BinaryMask::filled(5, 5, true), width, height);
            prop_assert_eq!(mask, BinaryMask::filled(width as usize, height as usize, true));
        }

        #[test]
        fn resized_crops_lie_inside(
            width in 1u32..80, height in 1u32..80, low in 0.01..1.0f64, counter: u64,
        ) {
            let mut rng = Seed(0).stream("crop", &[counter]);
            let crop = random_resized_crop(width, height, (low, 1.0), (0.75, 4.0 / 3.0), &mut rng);
            prop_assert!(crop.x >= 0 && crop.x + i64::from(crop.width) <= i64::from(width));
            prop_assert!(crop.y >= 0 && crop.y + i64::from(crop.height) <= i64::from(height));
            prop_assert!(crop.width > 0 && crop.height > 0);
        }
    }

    #[test]
    fn resized_crops_follow_scale_and_ratio() {
        let mut rng = Seed(0).stream("crop", &[]);
        let crops: Vec<Crop> = (0..5000)
            .map(|_| random_resized_crop(1000, 1000, (0.08, 0.5), (0.75, 4.0 / 3.0), &mut rng))
            .collect();
        let mean = |value: &dyn Fn(&Crop) -> f64| crops.iter().map(value).sum::<f64>() / 5000.0;
        // The area is uniform (standard deviation .12), the log ratio symmetric around 0 (.17): five standard
        // errors.
        assert!((mean(&|crop| f64::from(crop.width * crop.height) / 1e6) - 0.29).abs() < 0.0086);
        assert!(mean(&|crop| (f64::from(crop.width) / f64::from(crop.height)).ln()).abs() < 0.012);
    }

    #[test]
    fn impossible_scales_fall_back_to_the_centre() {
        let mut rng = Seed(0).stream("crop", &[]);
        let mut central =
            |width, height| random_resized_crop(width, height, (2.0, 3.0), (0.75, 4.0 / 3.0), &mut rng);
        assert_eq!(central(300, 100), Crop { x: 83, y: 0, width: 133, height: 100 });
        assert_eq!(central(30, 100), Crop { x: 0, y: 30, width: 30, height: 40 });
        assert_eq!(central(100, 100), Crop::whole(100, 100));
    }

    #[test]
    fn shifts_cover_the_padding() {
        let mut rng = Seed(0).stream("shift", &[]);
        let mut seen = [[false; 5]; 5];
        for _ in 0..500 {
            let Crop { x, y, width, height } = random_shift(7, 6, 2, &mut rng);
            assert_eq!((width, height), (7, 6));
            seen[(y + 2) as usize][(x + 2) as usize] = true;
        }
        assert_eq!(seen, [[true; 5]; 5]);
        assert_eq!(random_shift(7, 6, 0, &mut rng), Crop::whole(7, 6));
    }
}
