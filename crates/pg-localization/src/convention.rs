//! From a score map to boxes and how well they meet the object: what published tools do, by name.

use std::cmp::Reverse;

use crate::border::doubled_area;
use crate::bounding_box::BoundingBox;
use crate::regions::{NEVER, Neighbours, Region, STEPS, best_of_each_step};
use crate::score_map::ScoreMap;

/// A published way to turn score maps into boxes, and boxes into numbers. They disagree by points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Convention {
    /// clovaai/wsolevaluation: bytes above the integer part of threshold times maximum; the box of the largest contour,
    /// or of all contours, one pixel too wide; the best threshold for each overlap.
    WsolEvaluation,
    /// zh460045050/DA-WSOL: as wsolevaluation; GT-known Loc, Top-1 and Top-5 with all contours, too.
    DaWsol,
    /// wpy1999/SAT: scores above the threshold, the region of most pixels, the central crop of the image; one threshold
    /// for all numbers.
    Sat,
    /// vasgaowei/TS-CAM: as wsolevaluation with the largest contour, whose box may reach one pixel out of the image; one
    /// threshold for all numbers.
    TsCam,
}

impl Convention {
    /// All, in the order of their age.
    pub const ALL: [Self; 4] = [Self::WsolEvaluation, Self::TsCam, Self::DaWsol, Self::Sat];

    /// The name of the published tool.
    pub fn name(self) -> &'static str {
        match self {
            Self::WsolEvaluation => "wsolevaluation",
            Self::DaWsol => "da-wsol",
            Self::Sat => "sat",
            Self::TsCam => "ts-cam",
        }
    }

    /// The convention of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|convention| convention.name() == name)
    }

    /// Whether one threshold serves all numbers: that of the most images localised at an overlap of one half (SAT adds
    /// those that are also classified rightly, where guesses are known). Else each number has its own best threshold.
    pub fn one_threshold(self) -> bool {
        matches!(self, Self::Sat | Self::TsCam)
    }

    /// Whether GT-known Loc, Top-1 and Top-5 count a match by any contour, not only the largest.
    pub fn any_contour_counts(self) -> bool {
        self == Self::DaWsol
    }

    /// The box of an object of an image of `size` in score maps of `map`; `None` if it lies outside.
    pub fn object(self, object: BoundingBox, size: (u32, u32), map: (u32, u32)) -> Option<BoundingBox> {
        match self {
            Self::WsolEvaluation | Self::DaWsol => Some(object.resized(size, map)),
            Self::TsCam => Some(object.resized(size, map).clamped(map)),
            Self::Sat => object.center_cropped(size, map),
        }
    }
}

/// The greatest overlap with an object at each of several thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct Overlaps {
    /// Of the one box that the convention chooses.
    pub largest: Vec<f64>,
    /// Of any box, one for each contour, those of holes included; as `largest` in conventions that know no other.
    pub any: Vec<f64>,
}

/// How well the boxes of `map` meet any of `objects` (in pixels of the map) at each of `thresholds`, which rise in 0..1.
pub fn overlaps(
    convention: Convention,
    map: &ScoreMap,
    objects: &[BoundingBox],
    thresholds: &[f64],
) -> Overlaps {
    match convention {
        Convention::WsolEvaluation | Convention::DaWsol => {
            let contours = Contours::new(map, objects, Overhang::Clamped);
            Overlaps { largest: contours.largest(thresholds), any: contours.any(thresholds) }
        }
        Convention::TsCam => {
            let largest = Contours::new(map, objects, Overhang::Kept).largest(thresholds);
            Overlaps { any: largest.clone(), largest }
        }
        Convention::Sat => {
            let largest = largest_regions(map, objects, thresholds);
            Overlaps { any: largest.clone(), largest }
        }
    }
}

/// The one box that a convention predicts of a map at `threshold` in 0..1, its right and lower ends one beyond: wsolevaluation's of
/// the largest contour above that part of the greatest score, as far as the map goes, and the origin where nothing is above; SAT's
/// of the region of most pixels above the threshold itself, and the whole map without one.
pub fn largest_box(convention: Convention, map: &ScoreMap, threshold: f64) -> BoundingBox {
    if convention == Convention::Sat {
        return of_largest_regions(map, &[threshold], |predicted| predicted)[0];
    }
    let contours = Contours::new(map, &[], Overhang::Clamped);
    let predicted = contours.of_largest(|region| contours.bounding_box(region, 0));
    let level = (threshold * f64::from(contours.maximum)) as usize;
    predicted[STEPS - 1 - level.min(STEPS - 1)].unwrap_or(BoundingBox::ORIGIN)
}

fn best_overlap(predicted: BoundingBox, objects: &[BoundingBox]) -> f64 {
    objects.iter().map(|&object| object.iou(predicted)).fold(0.0, f64::max)
}

/// What becomes of the first row and column beyond a box, which OpenCV's (x + width, y + height) points to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overhang {
    /// Cut at the border of the image.
    Clamped,
    /// Kept, also outside the image.
    Kept,
}

/// The contours of a map of bytes above integer thresholds, as OpenCV finds them.
struct Contours<'a> {
    bytes: Vec<u8>,
    /// Where each pixel enters a sweep from the highest threshold down: a byte b is above the thresholds below it.
    entry: Vec<u8>,
    size: (u32, u32),
    maximum: u8,
    objects: &'a [BoundingBox],
    overhang: Overhang,
}

impl<'a> Contours<'a> {
    fn new(map: &ScoreMap, objects: &'a [BoundingBox], overhang: Overhang) -> Self {
        let bytes = map.bytes();
        let maximum = bytes.iter().copied().max().unwrap_or(0);
        let entry = bytes.iter().map(|&byte| 255 - byte).collect();
        Self { bytes, entry, size: map.size(), maximum, objects, overhang }
    }

    /// With the contour of the largest area at each threshold; of several, the one that starts last.
    fn largest(&self, thresholds: &[f64]) -> Vec<f64> {
        let best = self.of_largest(|region| self.overlap(region, 0));
        self.at(thresholds, |level| best[STEPS - 1 - level])
    }

    /// What `value` says of the contour of the largest area, at each step; of several, the one that starts last.
    fn of_largest<V: Copy + PartialOrd>(&self, value: impl Fn(&Region) -> V) -> Vec<Option<V>> {
        let (width, height) = self.size;
        let best = best_of_each_step(&self.entry, width as usize, Neighbours::Eight, |step, region| {
            let inside = |x: i64, y: i64| {
                (0..i64::from(width)).contains(&x)
                    && (0..i64::from(height)).contains(&y)
                    && usize::from(self.entry[(y * i64::from(width) + x) as usize]) <= step
            };
            let area = doubled_area(region, width as usize, inside);
            (area, region.first, value(region))
        });
        best.into_iter().map(|best| best.map(|(_, _, value)| value)).collect()
    }

    /// With all contours at each threshold: those of regions, and those of holes, which run through the pixels around.
    fn any(&self, thresholds: &[f64]) -> Vec<f64> {
        let width = self.size.0 as usize;
        let regions =
            best_of_each_step(&self.entry, width, Neighbours::Eight, |_, region| self.overlap(region, 0));
        // A byte is background of its own threshold and all above.
        let holes = best_of_each_step(&self.bytes, width, Neighbours::Four, |_, region| {
            if region.touches_border(self.size) { 0.0 } else { self.overlap(region, 1) }
        });
        self.at(thresholds, |level| {
            regions[STEPS - 1 - level].map(|overlap| overlap.max(holes[level].unwrap_or(0.0)))
        })
    }

    /// Of a region that is dilated by `margin`.
    fn overlap(&self, region: &Region, margin: u32) -> f64 {
        best_overlap(self.bounding_box(region, margin), self.objects)
    }

    fn bounding_box(&self, region: &Region, margin: u32) -> BoundingBox {
        let end = |last: u32, size: u32| match self.overhang {
            Overhang::Clamped => (last + margin + 1).min(size - 1),
            Overhang::Kept => last + margin + 1,
        };
        let (x1, y1) = (end(region.x.1, self.size.0), end(region.y.1, self.size.1));
        BoundingBox { x0: region.x.0 - margin, y0: region.y.0 - margin, x1, y1 }
    }

    /// The overlap at each threshold; of an empty foreground that of a box of its own.
    fn at(&self, thresholds: &[f64], overlap: impl Fn(usize) -> Option<f64>) -> Vec<f64> {
        let empty = match self.overhang {
            Overhang::Clamped => BoundingBox::ORIGIN,
            Overhang::Kept => BoundingBox { x1: 1, y1: 1, ..BoundingBox::ORIGIN },
        };
        let level = |threshold: f64| (threshold * f64::from(self.maximum)) as usize;
        let of = |&threshold: &f64| {
            overlap(level(threshold).min(STEPS - 1)).unwrap_or_else(|| best_overlap(empty, self.objects))
        };
        thresholds.iter().map(of).collect()
    }
}

/// With the region of most pixels above each threshold.
fn largest_regions(map: &ScoreMap, objects: &[BoundingBox], thresholds: &[f64]) -> Vec<f64> {
    of_largest_regions(map, thresholds, |predicted| best_overlap(predicted, objects))
}

/// What `value` says of the box of the region of most pixels above each threshold, the first of several; without one, of the
/// whole image. Ends of boxes are exclusive, but overlap counts them in (SAT, `evaluator.py`).
fn of_largest_regions<V: Copy + PartialOrd>(
    map: &ScoreMap,
    thresholds: &[f64],
    value: impl Fn(BoundingBox) -> V,
) -> Vec<V> {
    let (width, height) = map.size();
    let whole = value(BoundingBox { x0: 0, y0: 0, x1: width, y1: height });
    let of_some = |thresholds: &[f64]| {
        // A sweep starts at the highest threshold: a score above all of them enters first.
        let entry = |score: &f64| match thresholds.partition_point(|threshold| threshold < score) {
            0 => NEVER,
            exceeded => (thresholds.len() - exceeded) as u8,
        };
        let entry: Vec<u8> = map.scores().iter().map(entry).collect();
        let best = best_of_each_step(&entry, width as usize, Neighbours::Eight, |_, region| {
            let predicted =
                BoundingBox { x0: region.x.0, y0: region.y.0, x1: region.x.1 + 1, y1: region.y.1 + 1 };
            (region.pixels, Reverse(region.first), value(predicted))
        });
        let rising = best.into_iter().take(thresholds.len()).rev();
        rising.map(|best| best.map_or(whole, |(_, _, value)| value)).collect::<Vec<V>>()
    };
    thresholds.chunks(STEPS).flat_map(of_some).collect()
}
