//! The outer border of a region, and the area that it encloses.

use crate::regions::Region;

/// The eight directions to a neighbour, clockwise from the right (rows grow downwards).
const DIRECTIONS: [(i64, i64); 8] = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)];

/// Twice the area of the polygon through the centres of a region's outermost pixels: OpenCV's `contourArea` of its outer
/// contour. 0 for lines and single pixels; holes count as filled.
///
/// `inside` tells which pixels (column, row) are foreground; outside the image it must say no. The border is followed
/// clockwise from the region's first pixel, neighbours of eight directions:
///
/// ```text
///   . 1 2 .      the search for the next pixel starts behind the background pixel
///   8 . . 3      that was looked at last, so that the outside stays to the left
///   7 . . 4
///   . 6 5 .
/// ```
pub(crate) fn doubled_area(region: &Region, width: usize, inside: impl Fn(i64, i64) -> bool) -> u64 {
    let start = (i64::from(region.first) % width as i64, i64::from(region.first) / width as i64);
    let next = |(x, y): (i64, i64), from: usize| {
        (from..from + 8).map(|d| d % 8).find(|&d| inside(x + DIRECTIONS[d].0, y + DIRECTIONS[d].1))
    };
    // Above the first pixel and to its left there is nothing of the region.
    let Some(first_direction) = next(start, 0) else { return 0 };
    let (mut at, mut direction, mut doubled) = (start, first_direction, 0);
    loop {
        let to = (at.0 + DIRECTIONS[direction].0, at.1 + DIRECTIONS[direction].1);
        doubled += at.0 * to.1 - to.0 * at.1;
        at = to;
        // The way back is always there.
        direction = next(at, direction + 6).unwrap_or((direction + 4) % 8);
        if at == start && direction == first_direction {
            return doubled.unsigned_abs();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regions::{Neighbours, best_of_each_step};

    fn doubled(rows: &[&str]) -> u64 {
        let width = rows[0].len();
        let pixels: Vec<bool> = rows.iter().flat_map(|row| row.bytes().map(|b| b == b'#')).collect();
        let entry: Vec<u8> = pixels.iter().map(|&inside| if inside { 0 } else { 255 }).collect();
        let inside = |x: i64, y: i64| {
            (0..width as i64).contains(&x)
                && (0..rows.len() as i64).contains(&y)
                && pixels[y as usize * width + x as usize]
        };
        best_of_each_step(&entry, width, Neighbours::Eight, |_, region| doubled_area(region, width, inside))
            [0]
        .unwrap()
    }

    #[test]
    fn the_area_is_that_of_the_polygon_through_the_centres() {
        assert_eq!(doubled(&["#####"; 5]), 32);
        assert_eq!(doubled(&["#"]), 0);
        assert_eq!(doubled(&["..##", "....", "####"]), 0, "lines");
        assert_eq!(doubled(&["#..", ".#.", "..#"]), 0, "a diagonal");
        assert_eq!(doubled(&[".#.", "#.#", ".#."]), 4, "a diamond around a hole");
        assert_eq!(doubled(&["###", "#.#", "###"]), 8, "a ring is filled");
        assert_eq!(doubled(&["##.", "##.", "..#"]), 2, "a tail counts nothing");
        assert_eq!(doubled(&["##.##", ".###.", "##.##"]), 8, "crossings of the start");
    }
}
