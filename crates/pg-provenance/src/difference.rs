//! How much an edit changed each pixel.

use image::{Rgb, RgbImage};

use crate::{ProvenanceError, resize_rgb};

/// The difference of two RGB pixels as one number in [0, 255].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Difference {
    /// Mean of the absolute channel differences.
    #[default]
    Mean,
    /// Largest absolute channel difference.
    Max,
    /// Euclidean length over its largest value, times 255: the root mean square of the channel differences.
    L2,
    /// Absolute difference in luma (ITU-R BT.601: .299, .587, .114). Blind to a change of hue alone.
    Luma,
}

impl Difference {
    fn of(self, a: Rgb<u8>, b: Rgb<u8>) -> f32 {
        let [r, g, b] = std::array::from_fn(|channel| f32::from(a[channel]) - f32::from(b[channel]));
        match self {
            Self::Mean => (r.abs() + g.abs() + b.abs()) / 3.0,
            Self::Max => r.abs().max(g.abs()).max(b.abs()),
            Self::L2 => ((r * r + g * g + b * b) / 3.0).sqrt(),
            Self::Luma => (0.299 * r + 0.587 * g + 0.114 * b).abs().min(255.0),
        }
    }
}

/// Per-pixel difference between an original and its edit.
#[derive(Clone, Debug, PartialEq)]
pub struct DifferenceMap {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Differences in grey levels, in [0, 255], row-major.
    pub values: Vec<f32>,
}

impl DifferenceMap {
    /// The differences rounded to whole grey levels.
    pub fn to_u8(&self) -> Vec<u8> {
        self.values.iter().map(|value| value.round() as u8).collect()
    }
}

/// The difference between `original` and `edited` on the network grid. Editors change the image size
/// (diffusion models round it to a multiple of 8), so both images are first brought to `width` x `height` by
/// [`resize_rgb`], never by a crop: a crop would shift the content and the shift would count as a change.
///
/// # Errors
/// [`ProvenanceError::EmptyImage`] and [`ProvenanceError::EmptyGrid`].
pub fn difference_map(
    original: &RgbImage,
    edited: &RgbImage,
    width: u32,
    height: u32,
    difference: Difference,
) -> Result<DifferenceMap, ProvenanceError> {
    check_image("original", original)?;
    check_image("edited", edited)?;
    if width == 0 || height == 0 {
        return Err(ProvenanceError::EmptyGrid { width, height });
    }
    let original = resize_rgb(original, width, height);
    let edited = resize_rgb(edited, width, height);
    let values = original.pixels().zip(edited.pixels()).map(|(&a, &b)| difference.of(a, b)).collect();
    Ok(DifferenceMap { width: width as usize, height: height as usize, values })
}

fn check_image(role: &'static str, image: &RgbImage) -> Result<(), ProvenanceError> {
    match image.dimensions() {
        (width, height) if width == 0 || height == 0 => {
            Err(ProvenanceError::EmptyImage { role, width, height })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Difference; 4] = [Difference::Mean, Difference::Max, Difference::L2, Difference::Luma];

    fn one_pixel(a: [u8; 3], b: [u8; 3], kind: Difference) -> f32 {
        let [a, b] = [a, b].map(|rgb| RgbImage::from_pixel(1, 1, Rgb(rgb)));
        difference_map(&a, &b, 1, 1, kind).unwrap().values[0]
    }

    #[test]
    fn each_kind_reduces_the_channels_its_own_way() {
        let (a, b) = ([10, 200, 30], [13, 196, 42]); // differences -3, 4, -12
        let expected = [19.0 / 3.0, 12.0, 169.0_f32.sqrt() / 3.0_f32.sqrt(), 0.083];
        for (kind, expected) in KINDS.into_iter().zip(expected) {
            assert!((one_pixel(a, b, kind) - expected).abs() < 1e-4, "{kind:?}");
            assert_eq!(one_pixel(a, b, kind), one_pixel(b, a, kind), "{kind:?} is symmetric");
        }
    }

    #[test]
    fn every_kind_spans_0_to_255() {
        for kind in KINDS {
            assert_eq!(one_pixel([7; 3], [7; 3], kind), 0.0, "{kind:?}");
            assert!((one_pixel([0; 3], [255; 3], kind) - 255.0).abs() < 1e-3, "{kind:?}");
            assert!(one_pixel([0; 3], [255; 3], kind) <= 255.0, "{kind:?}");
        }
    }

    #[test]
    fn sizes_may_differ_and_content_does_not_shift() {
        // A horizontal ramp at two sizes: the same picture. A crop to a common aspect ratio would move it.
        let ramp = |width: u32, height: u32| {
            RgbImage::from_fn(width, height, |x, _| {
                Rgb([((f64::from(x) + 0.5) / f64::from(width) * 255.0) as u8; 3])
            })
        };
        let map = difference_map(&ramp(500, 375), &ramp(480, 352), 32, 24, Difference::Max).unwrap();
        assert_eq!((map.width, map.height, map.values.len()), (32, 24, 768));
        assert!(map.values.iter().all(|&d| d <= 2.0), "{:?}", map.values);
    }

    #[test]
    fn rounding_is_to_the_nearest_level() {
        let map = DifferenceMap { width: 4, height: 1, values: vec![0.4, 0.5, 254.6, 255.0] };
        assert_eq!(map.to_u8(), [0, 1, 255, 255]);
    }

    #[test]
    fn images_and_grids_without_pixels_are_refused() {
        let (some, none) = (RgbImage::new(2, 2), RgbImage::new(0, 2));
        let map = |a, b, w, h| difference_map(a, b, w, h, Difference::Mean).unwrap_err();
        assert_eq!(
            map(&none, &some, 2, 2),
            ProvenanceError::EmptyImage { role: "original", width: 0, height: 2 }
        );
        assert_eq!(
            map(&some, &none, 2, 2),
            ProvenanceError::EmptyImage { role: "edited", width: 0, height: 2 }
        );
        assert_eq!(map(&some, &some, 0, 2), ProvenanceError::EmptyGrid { width: 0, height: 2 });
    }
}
