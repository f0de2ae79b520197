//! How well a mask agrees with the true one.

use crate::{BinaryMask, ProvenanceError};

/// Agreement of a mask with the true mask; every ratio lies in [0, 1] and is 1 where nothing could go wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Intersection over union; 1 if both masks are empty.
    pub iou: f64,
    /// Share of the mask that is true; 1 if the mask is empty.
    pub precision: f64,
    /// Share of the truth that is in the mask; 1 if the truth is empty.
    pub recall: f64,
}

impl Quality {
    /// Compares `mask` with `truth`.
    ///
    /// # Errors
    /// [`ProvenanceError::Sizes`] if they differ in size.
    pub fn of(mask: &BinaryMask, truth: &BinaryMask) -> Result<Self, ProvenanceError> {
        let sizes = [mask, truth].map(|mask| (mask.width(), mask.height()));
        if sizes[0] != sizes[1] {
            return Err(ProvenanceError::Sizes { mask: sizes[0], truth: sizes[1] });
        }
        let both = mask.bits().iter().zip(truth.bits()).filter(|(mask, truth)| **mask && **truth).count();
        let (mask, truth) = (mask.area(), truth.area());
        Ok(Self {
            iou: share(both, mask + truth - both),
            precision: share(both, mask),
            recall: share(both, truth),
        })
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_of_overlapping_masks() {
        let mask = BinaryMask::from_fn(10, 1, |x, _| x < 6);
        let truth = BinaryMask::from_fn(10, 1, |x, _| (4..8).contains(&x));
        let quality = Quality::of(&mask, &truth).unwrap();
        assert_eq!(quality, Quality { iou: 0.25, precision: 2.0 / 6.0, recall: 0.5 });
        assert_eq!(
            Quality::of(&truth, &mask).unwrap(),
            Quality { iou: 0.25, precision: 0.5, recall: 2.0 / 6.0 }
        );
    }

    #[test]
    fn empty_masks() {
        let (none, all) = (BinaryMask::filled(2, 2, false), BinaryMask::filled(2, 2, true));
        let quality = |mask, truth| {
            let Quality { iou, precision, recall } = Quality::of(mask, truth).unwrap();
            [iou, precision, recall]
        };
        assert_eq!(quality(&none, &none), [1.0, 1.0, 1.0]);
        assert_eq!(quality(&none, &all), [0.0, 1.0, 0.0]);
        assert_eq!(quality(&all, &none), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn sizes_must_agree() {
        let (wide, high) = (BinaryMask::filled(4, 2, true), BinaryMask::filled(2, 4, true));
        assert_eq!(Quality::of(&wide, &high), Err(ProvenanceError::Sizes { mask: (4, 2), truth: (2, 4) }));
    }
}
