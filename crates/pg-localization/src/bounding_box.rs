//! Axis-aligned boxes of pixels and how much two of them overlap.

/// A box whose corner pixels both belong to it: (0, 0, 0, 0) is one pixel. Published lists, whose ends are exclusive at
/// times, have boxes that reach one pixel out of their image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BoundingBox {
    /// Left column.
    pub x0: u32,
    /// Top row.
    pub y0: u32,
    /// Right column, at least `x0`.
    pub x1: u32,
    /// Bottom row, at least `y0`.
    pub y1: u32,
}

impl BoundingBox {
    /// The one pixel at the origin: what wsolevaluation predicts where nothing exceeds the threshold.
    pub const ORIGIN: Self = Self { x0: 0, y0: 0, x1: 0, y1: 0 };

    /// Intersection over union in 0..=1, counted in pixels; 0 for a box that ends before it starts.
    pub fn iou(self, other: Self) -> f64 {
        let side = |start: u32, end: u32| (f64::from(end) - f64::from(start) + 1.0).max(0.0);
        let width = side(self.x0.max(other.x0), self.x1.min(other.x1));
        let height = side(self.y0.max(other.y0), self.y1.min(other.y1));
        let area = |b: Self| side(b.x0, b.x1) * side(b.y0, b.y1);
        let intersection = width * height;
        let union = area(self) + area(other) - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }

    /// The box in an image that was resized `from` (width, height) `to` another, each coordinate truncated
    /// (wsolevaluation, `resize_bbox`). Both sizes of `from` are at least 1.
    pub fn resized(self, from: (u32, u32), to: (u32, u32)) -> Self {
        let scale = |v: u32, from: u32, to: u32| (f64::from(v) * f64::from(to) / f64::from(from)) as u32;
        Self {
            x0: scale(self.x0, from.0, to.0),
            y0: scale(self.y0, from.1, to.1),
            x1: scale(self.x1, from.0, to.0),
            y1: scale(self.y1, from.1, to.1),
        }
    }

    /// The box cut at the borders of an image of (width, height).
    pub(crate) fn clamped(self, (width, height): (u32, u32)) -> Self {
        Self { x1: self.x1.min(width - 1), y1: self.y1.min(height - 1), ..self }
    }

    /// The box in the central crop of `to` (width, height) after a resize to 8/7 of it (224 of 256), truncated; `None`
    /// if nothing of it is left (SAT's test images).
    pub fn center_cropped(self, from: (u32, u32), to: (u32, u32)) -> Option<Self> {
        let axis = |(start, end): (u32, u32), from: u32, to: u32| {
            let resized = (f64::from(to) * 256.0 / 224.0).round();
            let shift = (resized - f64::from(to)) / 2.0;
            let place = |v: u32| f64::from(v) / f64::from(from) * resized - shift;
            let (start, end) = (place(start).max(0.0) as u32, place(end).min(f64::from(to) - 1.0));
            (end >= f64::from(start)).then_some((start, end as u32))
        };
        let (x0, x1) = axis((self.x0, self.x1), from.0, to.0)?;
        let (y0, y1) = axis((self.y0, self.y1), from.1, to.1)?;
        Some(Self { x0, y0, x1, y1 })
    }
}

#[cfg(test)]
mod tests {
    use super::BoundingBox;

    fn of([x0, y0, x1, y1]: [u32; 4]) -> BoundingBox {
        BoundingBox { x0, y0, x1, y1 }
    }

    #[test]
    fn overlap_counts_pixels() {
        assert_eq!(of([1, 2, 5, 6]).iou(of([3, 1, 4, 5])), 8.0 / 27.0);
        assert_eq!(BoundingBox::ORIGIN.iou(BoundingBox::ORIGIN), 1.0);
        assert_eq!(of([0, 0, 3, 3]).iou(of([4, 0, 9, 3])), 0.0);
        assert_eq!(of([0, 0, 1, 1]).iou(of([5, 5, 6, 6])), 0.0);
    }

    #[test]
    fn a_resized_box_is_truncated() {
        assert_eq!(of([1, 2, 4, 3]).resized((10, 20), (35, 10)), of([3, 1, 14, 1]));
    }

    #[test]
    fn the_central_crop_moves_and_cuts() {
        let full = |b| of(b).center_cropped((256, 256), (224, 224));
        assert_eq!(full([20, 40, 120, 140]), Some(of([4, 24, 104, 124])));
        assert_eq!(full([0, 0, 255, 255]), Some(of([0, 0, 223, 223])));
        assert_eq!(full([0, 0, 10, 255]), None);
    }
}
