//! Growing and shrinking a mask by Euclidean distance. What lies beyond the image border is neither target
//! nor background: a mask is never eroded from the border inwards (scikit-image's `isotropic_dilation` and
//! `isotropic_erosion` agree, SciPy's `binary_erosion` does not).

use crate::{BinaryMask, ProvenanceError};

/// The mask and everything within `radius` pixels of it. A negative or NaN radius counts as 0.
#[must_use]
pub fn dilate(mask: &BinaryMask, radius: f64) -> BinaryMask {
    let distances = squared_distances(mask);
    BinaryMask::from_fn(mask.width(), mask.height(), |x, y| within(distances[y * mask.width() + x], radius))
}

/// The part of the mask that is further than `radius` pixels from everything else. A negative or NaN radius
/// counts as 0.
#[must_use]
pub fn erode(mask: &BinaryMask, radius: f64) -> BinaryMask {
    dilate(&mask.complement(), radius).complement()
}

/// The mask grown or shrunk until its area is `1 + change` of what it was, to the pixel: 0.1 grows it by 10
/// %, -0.3 shrinks it by 30 %.
///
/// Pixels join in the order of their distance to the mask, or leave in the order of their distance to the
/// background, equal distances in row-major order. A larger change therefore always contains a smaller one.
/// Growth ends at the whole image. A mask that is empty or fills the image has no boundary to move and
/// stays as it is.
///
/// # Errors
/// [`ProvenanceError::AreaChange`] for a change below -1 or not finite.
pub fn change_area(mask: &BinaryMask, change: f64) -> Result<BinaryMask, ProvenanceError> {
    if !change.is_finite() || change < -1.0 {
        return Err(ProvenanceError::AreaChange { change });
    }
    let area = mask.area();
    if area == 0 || area == mask.bits().len() {
        return Ok(mask.clone());
    }
    let wanted = (area as f64 * (1.0 + change)).round() as usize;
    Ok(if wanted >= area {
        add_nearest(mask, wanted - area)
    } else {
        add_nearest(&mask.complement(), area - wanted).complement()
    })
}

/// The mask and the `count` pixels nearest to it.
fn add_nearest(mask: &BinaryMask, count: usize) -> BinaryMask {
    let distances = squared_distances(mask);
    let mut outside: Vec<usize> = (0..distances.len()).filter(|&index| !mask.bits()[index]).collect();
    outside.sort_by_key(|&index| distances[index]); // stable: ties stay row-major
    let mut joins = mask.bits().to_vec();
    for &index in outside.iter().take(count) {
        joins[index] = true;
    }
    BinaryMask::from_fn(mask.width(), mask.height(), |x, y| joins[y * mask.width() + x])
}

/// Distance to a mask that has no pixels.
const NOWHERE: u64 = u64::MAX;

fn within(squared_distance: u64, radius: f64) -> bool {
    squared_distance != NOWHERE && (squared_distance as f64).sqrt() <= radius.max(0.0)
}

/// Exact squared Euclidean distance of every pixel to the nearest pixel of the mask, row-major, in linear
/// time: distances down the columns, then the lower envelope of one parabola per column along each row
/// (Felzenszwalb and Huttenlocher, *Distance Transforms of Sampled Functions*), all in integers.
fn squared_distances(mask: &BinaryMask) -> Vec<u64> {
    let columns = column_distances(mask);
    let mut squared = Vec::with_capacity(columns.len());
    for row in columns.chunks(mask.width().max(1)) {
        lower_envelope(row, &mut squared);
    }
    squared
}

/// Distance of every pixel to the nearest pixel of the mask in its own column.
fn column_distances(mask: &BinaryMask) -> Vec<Option<i64>> {
    let (width, height) = (mask.width(), mask.height());
    let mut distances: Vec<Option<i64>> = mask.bits().iter().map(|&bit| bit.then_some(0)).collect();
    let mut relax = |from: usize, to: usize| {
        let through = distances[from].map(|distance| distance + 1);
        distances[to] = [distances[to], through].into_iter().flatten().min();
    };
    for index in width..width * height {
        relax(index - width, index);
    }
    for index in (width..width * height).rev() {
        relax(index, index - width);
    }
    distances
}

/// A column's parabola `(x - centre)^2 + height`, lowest of all from column `from` on.
struct Parabola {
    centre: i64,
    height: i64,
    from: i64,
}

impl Parabola {
    fn at(&self, x: i64) -> i64 {
        (x - self.centre).pow(2) + self.height
    }

    /// First column at which a parabola further right is lower than this one.
    fn overtaken_by(&self, centre: i64, height: i64) -> i64 {
        let crossing = centre.pow(2) - self.centre.pow(2) + height - self.height;
        crossing.div_euclid(2 * (centre - self.centre)) + 1
    }
}

/// Appends `min over c of (x - c)^2 + columns[c]^2` for every x of a row.
fn lower_envelope(columns: &[Option<i64>], squared: &mut Vec<u64>) {
    let mut envelope: Vec<Parabola> = Vec::new();
    for (centre, distance) in columns.iter().enumerate() {
        let Some(distance) = distance else { continue };
        let (centre, height) = (centre as i64, distance.pow(2));
        let mut from = 0;
        while let Some(last) = envelope.last() {
            from = last.overtaken_by(centre, height).max(0);
            if from > last.from {
                break;
            }
            envelope.pop();
            from = 0;
        }
        envelope.push(Parabola { centre, height, from });
    }
    let mut lowest = 0;
    for x in 0..columns.len() as i64 {
        while envelope.get(lowest + 1).is_some_and(|next| next.from <= x) {
            lowest += 1;
        }
        squared.push(envelope.get(lowest).map_or(NOWHERE, |parabola| parabola.at(x) as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masks() -> impl Strategy<Value = BinaryMask> {
        (1usize..14, 1usize..14, 0.0..1.0).prop_flat_map(|(width, height, density)| {
            prop::collection::vec(prop::bool::weighted(density), width * height)
                .prop_map(move |bits| BinaryMask::new(width, height, bits).unwrap())
        })
    }

    fn squared_distance(mask: &BinaryMask, x: usize, y: usize) -> u64 {
        (0..mask.bits().len())
            .filter(|&index| mask.bits()[index])
            .map(|index| {
                (index % mask.width()).abs_diff(x).pow(2) + (index / mask.width()).abs_diff(y).pow(2)
            })
            .min()
            .map_or(NOWHERE, |distance| distance as u64)
    }

    fn contains(large: &BinaryMask, small: &BinaryMask) -> bool {
        large.bits().iter().zip(small.bits()).all(|(&large, &small)| large || !small)
    }

    proptest! {
        #[test]
        fn distances_are_exact(mask in masks()) {
            let fast = squared_distances(&mask);
            for y in 0..mask.height() {
                for x in 0..mask.width() {
                    prop_assert_eq!(fast[y * mask.width() + x], squared_distance(&mask, x, y), "at {} {}", x, y);
                }
            }
        }

        #[test]
        fn dilation_and_erosion_are_unions_and_intersections_of_discs(mask in masks(), radius in 0.0..6.0f64) {
            let (dilated, eroded) = (dilate(&mask, radius), erode(&mask, radius));
            let background = mask.complement();
            let reaches = |mask: &BinaryMask, x, y| {
                let squared = squared_distance(mask, x, y);
                squared != NOWHERE && squared as f64 <= radius * radius
            };
            for y in 0..mask.height() {
                for x in 0..mask.width() {
                    prop_assert_eq!(dilated.get(x, y), reaches(&mask, x, y));
                    prop_assert_eq!(eroded.get(x, y), !reaches(&background, x, y));
                }
            }
        }

        #[test]
        fn areas_are_exact_and_nested(mask in masks(), small in -1.0..1.0f64, large in -1.0..1.0f64) {
            let (small, large) = (small.min(large), small.max(large));
            let (less, more) = (change_area(&mask, small).unwrap(), change_area(&mask, large).unwrap());
            prop_assert!(contains(&more, &less));
            let (area, all) = (mask.area(), mask.bits().len());
            if area > 0 && area < all {
                let wanted = (area as f64 * (1.0 + large)).round() as usize;
                prop_assert_eq!(more.area(), wanted.min(all));
            }
        }

        #[test]
        fn pixels_join_nearest_first(mask in masks(), change in 0.0..1.0f64) {
            let grown = change_area(&mask, change).unwrap();
            let joined = |index: usize| grown.bits()[index] && !mask.bits()[index];
            let key = |index: usize| (squared_distance(&mask, index % mask.width(), index / mask.width()), index);
            let last = (0..mask.bits().len()).filter(|&index| joined(index)).map(key).max();
            let first_left_out = (0..mask.bits().len()).filter(|&index| !grown.bits()[index]).map(key).min();
            if let (Some(last), Some(left_out)) = (last, first_left_out) {
                prop_assert!(last < left_out);
            }
        }
    }

    #[test]
    fn radii_count_as_in_isotropic_dilation() {
        let dot = BinaryMask::from_fn(9, 9, |x, y| (x, y) == (4, 4));
        // scikit-image: isotropic_dilation(dot, r).sum()
        for (radius, area) in [(0.0, 1), (0.99, 1), (1.0, 5), (2f64.sqrt(), 9), (2.0, 13), (13f64.sqrt(), 45)]
        {
            assert_eq!(dilate(&dot, radius).area(), area, "radius {radius}");
        }
        assert_eq!(dilate(&dot, f64::NAN), dot);
        assert_eq!(dilate(&dot, -3.0), dot);
    }

    #[test]
    fn the_image_border_is_not_background() {
        let left_half = BinaryMask::from_fn(8, 4, |x, _| x < 4);
        assert_eq!(erode(&left_half, 1.0), BinaryMask::from_fn(8, 4, |x, _| x < 3));
        assert_eq!(dilate(&left_half, 1.5), BinaryMask::from_fn(8, 4, |x, _| x < 5));
    }

    #[test]
    fn masks_without_a_boundary_stay() {
        for value in [true, false] {
            let mask = BinaryMask::filled(3, 3, value);
            assert_eq!(erode(&mask, 2.0), mask);
            assert_eq!(dilate(&mask, 2.0), mask);
            assert_eq!(change_area(&mask, -0.3).unwrap(), mask);
            assert_eq!(change_area(&mask, 0.3).unwrap(), mask);
        }
        assert_eq!(dilate(&BinaryMask::filled(0, 5, true), 1.0).area(), 0);
    }

    #[test]
    fn impossible_changes_are_refused() {
        let mask = BinaryMask::filled(2, 2, true);
        for change in [-1.01, f64::NAN, f64::INFINITY] {
            assert!(matches!(change_area(&mask, change), Err(ProvenanceError::AreaChange { .. })));
        }
    }
}
