//! Boxes in an image.

use serde::{Deserialize, Serialize};

/// A box in pixels, half-open: from (`x0`, `y0`) up to, not including, (`x1`, `y1`). A box whose corner pixels
/// both belong to it, as ACT writes them, is this one with 1 added to `x1` and `y1`; both ways of counting then
/// give the same areas.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 4]", into = "[f64; 4]")]
pub struct BoundingBox {
    /// Left.
    pub x0: f64,
    /// Top.
    pub y0: f64,
    /// Right, not below `x0`.
    pub x1: f64,
    /// Bottom, not below `y0`.
    pub y1: f64,
}

impl From<[f64; 4]> for BoundingBox {
    fn from([x0, y0, x1, y1]: [f64; 4]) -> Self {
        Self { x0, y0, x1, y1 }
    }
}

impl From<BoundingBox> for [f64; 4] {
    fn from(b: BoundingBox) -> Self {
        [b.x0, b.y0, b.x1, b.y1]
    }
}

impl BoundingBox {
    /// Its area in square pixels; 0 if it ends before it starts.
    pub fn area(self) -> f64 {
        (self.x1 - self.x0).max(0.0) * (self.y1 - self.y0).max(0.0)
    }

    /// The area that it shares with another box.
    pub fn intersection(self, other: Self) -> f64 {
        let (x0, y0) = (self.x0.max(other.x0), self.y0.max(other.y0));
        let (x1, y1) = (self.x1.min(other.x1), self.y1.min(other.y1));
        Self { x0, y0, x1, y1 }.area()
    }

    /// Intersection over union, in [0, 1]; 0 if both boxes are empty.
    pub fn iou(self, other: Self) -> f64 {
        let intersection = self.intersection(other);
        let union = self.area() + other.area() - intersection;
        // Also false where sides beyond 1e154 have made the union NaN.
        if union > 0.0 { intersection / union } else { 0.0 }
    }

    /// This box with each side moved out by a share of the width or height: 0.1 makes it 1.2 times as wide and as
    /// high.
    #[must_use]
    pub fn enlarged(self, share: f64) -> Self {
        let (dx, dy) = ((self.x1 - self.x0) * share, (self.y1 - self.y0) * share);
        Self { x0: self.x0 - dx, y0: self.y0 - dy, x1: self.x1 + dx, y1: self.y1 + dy }
    }

    /// What of it lies in an image of that size, in pixels: an empty box on the border if nothing does.
    #[must_use]
    pub fn clipped(self, width: u32, height: u32) -> Self {
        let (width, height) = (f64::from(width), f64::from(height));
        Self {
            x0: self.x0.clamp(0.0, width),
            y0: self.y0.clamp(0.0, height),
            x1: self.x1.clamp(0.0, width),
            y1: self.y1.clamp(0.0, height),
        }
    }

    /// The box on the straight way to another, after a share of it in [0, 1].
    pub(crate) fn towards(self, other: Self, share: f64) -> Self {
        let (from, to) = (<[f64; 4]>::from(self), <[f64; 4]>::from(other));
        std::array::from_fn(|i| from[i] + (to[i] - from[i]) * share).into()
    }

    /// What is wrong with it, and what to do.
    pub(crate) fn check(self) -> Result<(), String> {
        let numbers = <[f64; 4]>::from(self);
        let problem = if !numbers.iter().all(|number| number.is_finite()) {
            "has a number that is not finite"
        } else if self.x1 < self.x0 || self.y1 < self.y0 {
            "ends before it starts"
        } else {
            return Ok(());
        };
        Err(format!("box {numbers:?} {problem}; write [x0, y0, x1, y1] in pixels"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(corners: [f64; 4]) -> BoundingBox {
        corners.into()
    }

    #[test]
    fn overlaps_are_those_of_half_open_boxes() {
        // The same numbers with and without the 1 that ACT adds to the ends.
        let act = of([0.0, 0.0, 10.0, 10.0]).iou(of([5.0, 5.0, 15.0, 15.0]));
        assert_eq!(act, 25.0 / 175.0);
        assert!((act - 0.142857).abs() < 1e-6);
        let continuous = of([0.0, 0.0, 9.0, 9.0]).iou(of([5.0, 5.0, 14.0, 14.0]));
        assert_eq!(continuous, 16.0 / 146.0);
        assert!((continuous - 0.109589).abs() < 1e-6);
    }

    #[test]
    fn boxes_that_touch_or_are_empty_overlap_by_nothing() {
        let unit = of([0.0, 0.0, 1.0, 1.0]);
        assert_eq!(unit.iou(of([1.0, 0.0, 2.0, 1.0])), 0.0);
        assert_eq!(unit.intersection(of([3.0, 3.0, 4.0, 4.0])), 0.0, "not the product of two negative sides");
        let empty = of([2.0, 2.0, 2.0, 2.0]);
        assert_eq!(empty.iou(empty), 0.0);
        assert_eq!(of([5.0, 5.0, 1.0, 1.0]).area(), 0.0, "inside out");
        let huge = of([-1e300, -1e300, 1e300, 1e300]);
        assert_eq!(huge.iou(huge), 0.0, "not NaN");
    }

    #[test]
    fn boxes_grow_on_each_side_and_end_at_the_border() {
        let grown = of([10.0, 20.0, 20.0, 40.0]).enlarged(0.1);
        assert_eq!(grown, of([9.0, 18.0, 21.0, 42.0]));
        assert_eq!(of([-3.0, 5.0, 400.0, 50.0]).clipped(320, 40), of([0.0, 5.0, 320.0, 40.0]));
        let outside = of([330.0, 5.0, 350.0, 50.0]).clipped(320, 40);
        assert_eq!((outside, outside.area()), (of([320.0, 5.0, 320.0, 40.0]), 0.0));
    }

    proptest! {
        #[test]
        fn overlap_is_symmetric_and_a_share(a: [f64; 4], b: [f64; 4]) {
            let overlap = of(a).iou(of(b));
            prop_assert!((0.0..=1.0).contains(&overlap), "{overlap}");
            prop_assert_eq!(overlap, of(b).iou(of(a)));
        }
    }
}
