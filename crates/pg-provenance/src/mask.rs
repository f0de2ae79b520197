//! Provenance masks: 1 where a pixel belongs to the target, 0 where it does not.

use crate::ProvenanceError;

/// A mask of booleans, row-major, `height` rows of `width`; `true` marks the target.
///
/// The target is the region of source A in a mix of two images, and the *unmodified* region of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryMask {
    width: usize,
    height: usize,
    bits: Vec<bool>,
}

impl BinaryMask {
    /// A mask of the given row-major bits.
    ///
    /// # Errors
    /// [`ProvenanceError::Length`] unless there are `width * height` bits.
    pub fn new(width: usize, height: usize, bits: Vec<bool>) -> Result<Self, ProvenanceError> {
        check_length(width, height, bits.len())?;
        Ok(Self { width, height, bits })
    }

    /// A mask that is `value` everywhere.
    pub fn filled(width: usize, height: usize, value: bool) -> Self {
        Self { width, height, bits: vec![value; width * height] }
    }

    /// The mask whose pixel at column `x` and row `y` is `inside(x, y)`.
    pub fn from_fn(width: usize, height: usize, mut inside: impl FnMut(usize, usize) -> bool) -> Self {
        let mut bits = Vec::with_capacity(width * height);
        for y in 0..height {
            bits.extend((0..width).map(|x| inside(x, y)));
        }
        Self { width, height, bits }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, row-major.
    pub fn bits(&self) -> &[bool] {
        &self.bits
    }

    /// The pixel at column `x` and row `y`.
    ///
    /// # Panics
    /// If the row lies outside the mask, as slice indexing does.
    pub fn get(&self, x: usize, y: usize) -> bool {
        self.bits[y * self.width + x]
    }

    /// Number of target pixels.
    pub fn area(&self) -> usize {
        self.bits.iter().filter(|&&bit| bit).count()
    }

    /// The mask of everything else.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self { bits: self.bits.iter().map(|bit| !bit).collect(), ..*self }
    }

    /// The mask on another grid: each new pixel takes the old pixel under its centre, as Pillow's `NEAREST`.
    /// Growing an empty mask gives a mask without target.
    #[must_use]
    pub fn resize_nearest(&self, width: usize, height: usize) -> Self {
        if self.bits.is_empty() {
            return Self::filled(width, height, false);
        }
        Self::from_fn(width, height, |x, y| {
            self.get(centre(x, self.width, width), centre(y, self.height, height))
        })
    }
}

/// A mask of shares in [0, 1], row-major; 1 is wholly target. `PuzzleMix` blends with such masks.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftMask {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl SoftMask {
    /// A mask of the given row-major shares.
    ///
    /// # Errors
    /// [`ProvenanceError::Length`] unless there are `width * height` values, [`ProvenanceError::Share`] for a
    /// value outside [0, 1] or NaN.
    pub fn new(width: usize, height: usize, values: Vec<f32>) -> Result<Self, ProvenanceError> {
        check_length(width, height, values.len())?;
        match values.iter().position(|value| !(0.0..=1.0).contains(value)) {
            Some(index) => Err(ProvenanceError::Share { index, value: values[index] }),
            None => Ok(Self { width, height, values }),
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The shares, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The shares, row-major, without a copy.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// The share at column `x` and row `y`.
    ///
    /// # Panics
    /// If the row lies outside the mask, as slice indexing does.
    pub fn get(&self, x: usize, y: usize) -> f32 {
        self.values[y * self.width + x]
    }

    /// The target's share of the image, `lam`; 0 for a mask without pixels.
    pub fn mean(&self) -> f32 {
        let sum: f64 = self.values.iter().copied().map(f64::from).sum();
        (sum / self.values.len().max(1) as f64) as f32
    }
}

impl From<&BinaryMask> for SoftMask {
    fn from(mask: &BinaryMask) -> Self {
        let values = mask.bits.iter().map(|&bit| f32::from(u8::from(bit))).collect();
        Self { width: mask.width, height: mask.height, values }
    }
}

fn check_length(width: usize, height: usize, given: usize) -> Result<(), ProvenanceError> {
    if width.checked_mul(height) == Some(given) {
        Ok(())
    } else {
        Err(ProvenanceError::Length { width, height, given })
    }
}

/// Index of the source pixel under the centre of target pixel `index`: `floor((index + 1/2) * from / to)`.
fn centre(index: usize, from: usize, to: usize) -> usize {
    (2 * index + 1) * from / (2 * to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(bits: &[u8]) -> BinaryMask {
        BinaryMask::from_fn(bits.len(), 1, |x, _| bits[x] == 1)
    }

    #[test]
    fn pixels_are_row_major() {
        let mask = BinaryMask::from_fn(3, 2, |x, y| x == 2 && y == 1);
        assert_eq!(mask.bits(), [false, false, false, false, false, true]);
        assert!(mask.get(2, 1));
        assert_eq!((mask.width(), mask.height(), mask.area()), (3, 2, 1));
    }

    #[test]
    fn nearest_takes_the_pixel_under_the_centre() {
        // By hand: floor((x + 1/2) * 5 / n).
        let mask = row(&[0, 1, 0, 1, 1]);
        assert_eq!(mask.resize_nearest(2, 1), row(&[1, 1]));
        assert_eq!(mask.resize_nearest(3, 1), row(&[0, 0, 1]));
        assert_eq!(mask.resize_nearest(7, 1), row(&[0, 1, 1, 0, 1, 1, 1]));
        assert_eq!(mask.resize_nearest(10, 1), row(&[0, 0, 1, 1, 0, 0, 1, 1, 1, 1]));
    }

    #[test]
    fn wrong_lengths_and_shares_are_refused() {
        let length = ProvenanceError::Length { width: 2, height: 2, given: 3 };
        assert_eq!(BinaryMask::new(2, 2, vec![true; 3]), Err(length.clone()));
        assert_eq!(SoftMask::new(2, 2, vec![0.0; 3]), Err(length));
        assert!(BinaryMask::new(usize::MAX, 2, vec![]).is_err());
        assert!(matches!(SoftMask::new(1, 2, vec![0.5, 1.5]), Err(ProvenanceError::Share { index: 1, .. })));
        assert!(matches!(SoftMask::new(1, 1, vec![f32::NAN]), Err(ProvenanceError::Share { index: 0, .. })));
    }

    #[test]
    fn soft_mean_is_the_share_of_the_target() {
        assert_eq!(SoftMask::from(&row(&[1, 0, 0, 0])).mean(), 0.25);
        assert_eq!(SoftMask::new(2, 1, vec![0.5, 0.0]).unwrap().mean(), 0.25);
        assert_eq!(SoftMask::from(&BinaryMask::filled(0, 3, true)).mean(), 0.0);
    }

    proptest! {
        #[test]
        fn enlarging_and_shrinking_back_is_the_identity(
            (width, height, bits) in (1usize..9, 1usize..9)
                .prop_flat_map(|(w, h)| (Just(w), Just(h), prop::collection::vec(any::<bool>(), w * h))),
            times in 1usize..4,
        ) {
            let mask = BinaryMask::new(width, height, bits).unwrap();
            let large = mask.resize_nearest(width * times, height * times);
            prop_assert_eq!(large.area(), mask.area() * times * times);
            prop_assert_eq!(&large.resize_nearest(width, height), &mask);
            prop_assert_eq!(mask.complement().area() + mask.area(), width * height);
        }
    }
}
