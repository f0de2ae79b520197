//! What the reference evaluators give, number for number.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pg_localization::{
    BoundingBox, BoxCounts, Convention, Metadata, Object, Protocol, Ranked, ScoreMap, largest_box, overlaps,
};
use rayon::prelude::*;

/// The tests' maps come with the boxes that are predicted, which overlap themselves wholly.
fn assert_boxes(rows: &[&[f64]], thresholds: &[f64], expected: &[[u32; 4]]) {
    let (height, width) = (rows.len() as u32, rows[0].len() as u32);
    let map = ScoreMap::new(width, height, rows.concat()).unwrap();
    for (&threshold, &[x0, y0, x1, y1]) in thresholds.iter().zip(expected) {
        let expected = BoundingBox { x0, y0, x1, y1 };
        let overlaps = overlaps(Convention::WsolEvaluation, &map, &[expected], &[threshold]);
        assert_eq!(overlaps.largest, [1.0], "{expected:?} at {threshold}");
    }
}

/// numpy.arange(0, 1, 0.2).
fn fifths() -> Vec<f64> {
    Protocol::thresholds(0.2)
}

#[test]
fn an_empty_map_has_the_box_of_the_origin() {
    assert_boxes(&[&[0.0; 3][..]; 3], &fifths(), &[[0, 0, 0, 0]; 5]);
}

#[test]
fn one_peak() {
    let rows: [&[f64]; 4] =
        [&[0.0; 5], &[0.0, 0.4, 0.4, 0.4, 0.6], &[0.0, 0.4, 1.0, 0.8, 0.6], &[0.0, 0.4, 0.4, 0.4, 0.6]];
    let expected = [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]];
    assert_boxes(&rows, &fifths(), &expected);
}

#[test]
fn several_peaks_by_area_and_then_the_last() {
    let rows: [&[f64]; 4] = [
        &[0.4, 0.0, 0.2, 0.2, 0.2],
        &[0.4, 0.4, 0.0, 0.4, 0.0],
        &[0.0, 0.0, 0.0, 0.4, 0.0],
        &[1.0, 0.6, 0.8, 0.2, 0.2],
    ];
    let expected = [[0, 0, 4, 3], [0, 0, 2, 2], [0, 3, 3, 3], [2, 3, 3, 3], [0, 3, 1, 3]];
    assert_boxes(&rows, &fifths(), &expected);
}

/// The contours of a drawing: each expected box is met, and nothing else is.
fn assert_contours(rows: &[&str], expected: &[[u32; 4]]) {
    let (height, width) = (rows.len() as u32, rows[0].len() as u32);
    let scores = rows.iter().flat_map(|row| row.bytes().map(|b| f64::from(u8::from(b == b'#')))).collect();
    let map = ScoreMap::new(width, height, scores).unwrap();
    let met =
        |object: BoundingBox| overlaps(Convention::WsolEvaluation, &map, &[object], &[0.5]).any == [1.0];
    let clamped = |[x, y, w, h]: [u32; 4]| [x, y, (x + w).min(width - 1), (y + h).min(height - 1)];
    let expected: Vec<[u32; 4]> = expected.iter().map(|&rect| clamped(rect)).collect();
    for (x0, y0) in (0..width).flat_map(|x| (0..height).map(move |y| (x, y))) {
        for (x1, y1) in (x0..width).flat_map(|x| (y0..height).map(move |y| (x, y))) {
            let object = BoundingBox { x0, y0, x1, y1 };
            assert_eq!(met(object), expected.contains(&[x0, y0, x1, y1]), "{object:?}");
        }
    }
}

#[test]
fn holes_have_contours_too() {
    let ring = [
        ".........",
        ".#######.",
        ".#######.",
        ".##...##.",
        ".##...##.",
        ".##...##.",
        ".#######.",
        ".#######.",
        ".........",
    ];
    assert_contours(&ring, &[[1, 1, 7, 7], [2, 2, 5, 5]]);
    let mut island = ring;
    island[4] = ".##.#.##.";
    assert_contours(&island, &[[1, 1, 7, 7], [2, 2, 5, 5], [4, 4, 1, 1]]);
    let one = ["#######", "#######", "#######", "###.###", "#######", "#######", "#######"];
    assert_contours(&one, &[[0, 0, 7, 7], [2, 2, 3, 3]]);
    let diagonal_holes = ["#####", "#.###", "##.##", "#####"];
    assert_contours(&diagonal_holes, &[[0, 0, 5, 4], [0, 0, 3, 3], [1, 1, 3, 3]]);
    let notch = ["##.##", "##.##", "#####"];
    assert_contours(&notch, &[[0, 0, 5, 3]]);
    let diagonal = ["#...", ".#..", "..#."];
    assert_contours(&diagonal, &[[0, 0, 3, 3]]);
}

/// The level of a threshold is the integer part of a product in f64.
#[test]
fn thresholds_are_truncated_to_levels() {
    // Bytes 153 and 255: 0.6 * 255 is 153 exactly, and 153 is not above it.
    let map = ScoreMap::new(4, 1, vec![0.6, 0.6, 1.0, 0.0]).unwrap();
    let object = BoundingBox { x0: 0, y0: 0, x1: 3, y1: 0 };
    let at = |threshold| overlaps(Convention::WsolEvaluation, &map, &[object], &[threshold]).any[0];
    assert_eq!((at(0.59), at(0.6), at(3.0 * 0.2)), (1.0, 0.5, 0.5));
}

#[test]
fn conventions_disagree_as_their_sources_do() {
    let blank = ScoreMap::new(8, 8, vec![0.0; 64]).unwrap();
    let whole = BoundingBox { x0: 0, y0: 0, x1: 7, y1: 7 };
    let of_blank = |convention| overlaps(convention, &blank, &[whole], &[0.5]).largest[0];
    assert_eq!(of_blank(Convention::WsolEvaluation), 1.0 / 64.0);
    assert_eq!(of_blank(Convention::TsCam), 4.0 / 64.0);
    assert_eq!(of_blank(Convention::Sat), 64.0 / 81.0);

    // A thick block of 8 pixels and a thin line of 9: area against number of pixels.
    let rows = ["####.....", "####.....", ".........", "#########"];
    let scores: Vec<f64> =
        rows.iter().flat_map(|row| row.bytes().map(|b| f64::from(u8::from(b == b'#')))).collect();
    let map = ScoreMap::new(9, 4, scores).unwrap();
    let block = BoundingBox { x0: 0, y0: 0, x1: 4, y1: 2 };
    let line = BoundingBox { x0: 0, y0: 3, x1: 9, y1: 4 };
    let of = |convention, object| overlaps(convention, &map, &[object], &[0.5]).largest[0];
    assert_eq!(of(Convention::WsolEvaluation, block), 1.0);
    assert_eq!(of(Convention::TsCam, block), 1.0);
    assert_eq!(of(Convention::Sat, line), 1.0);
    assert_eq!(largest_box(Convention::WsolEvaluation, &map, 0.5), block);
    assert_eq!(largest_box(Convention::Sat, &map, 0.5), line);
    let whole = BoundingBox { x0: 0, y0: 0, x1: 8, y1: 8 };
    assert_eq!(largest_box(Convention::Sat, &blank, 0.5), whole);
}

/// Two images; of the first the largest contour misses at the lower threshold, and it alone is classified rightly.
#[test]
fn conventions_choose_thresholds_as_their_sources_do() {
    let numbers = |convention| {
        let mut counts = BoxCounts::new(convention, &[0.2, 0.6]);
        for (largest, any, top1) in [([0.4, 0.6], [0.6, 0.6], true), ([0.6, 0.2], [0.6, 0.2], false)] {
            let overlaps = pg_localization::Overlaps { largest: largest.to_vec(), any: any.to_vec() };
            counts.add(&overlaps, Some(Ranked { top1, top5: None }));
        }
        let best = counts.best();
        [best.max_box_acc, best.top1_loc.unwrap()].map(|at| (at.percent, at.threshold))
    };
    assert_eq!(numbers(Convention::WsolEvaluation), [(50.0, 0.2), (50.0, 0.6)]);
    assert_eq!(numbers(Convention::DaWsol), [(100.0, 0.2), (50.0, 0.2)]);
    assert_eq!(numbers(Convention::TsCam), [(50.0, 0.2), (0.0, 0.2)]);
    assert_eq!(numbers(Convention::Sat), [(50.0, 0.6), (50.0, 0.6)]);
}

#[test]
fn the_best_threshold_is_chosen_for_all_images_together() {
    let thresholds = [0.0, 0.5];
    let mut counts = BoxCounts::new(Convention::WsolEvaluation, &thresholds);
    let other =
        |largest: [f64; 2]| pg_localization::Overlaps { largest: largest.to_vec(), any: largest.to_vec() };
    for (low, high) in [(0.3, 0.29), (0.31, 0.7), (0.1, 0.5)] {
        counts.add(&other([low, high]), None);
    }
    let accuracy = counts.best();
    let third = 100.0 / 3.0;
    assert_eq!(accuracy.by_delta.map(|at| at.percent), [2.0 * third, 2.0 * third, third]);
    assert_eq!(accuracy.by_delta.map(|at| at.threshold), [0.0, 0.5, 0.5]);
    assert!((accuracy.max_box_acc_v2() - 5.0 / 3.0 * third).abs() < 1e-12);
}

#[test]
fn a_threshold_means_the_same_alone_and_among_a_thousand() {
    let scores = (0..144u32).map(|i| f64::from(i * 7919 % 1009) / 1008.0).collect();
    let map = ScoreMap::new(12, 12, scores).unwrap();
    let object = BoundingBox { x0: 3, y0: 2, x1: 9, y1: 8 };
    let thresholds = Protocol::thresholds(0.001);
    for convention in Convention::ALL {
        let all = overlaps(convention, &map, &[object], &thresholds);
        for (at, &threshold) in thresholds.iter().enumerate().step_by(37) {
            let alone = overlaps(convention, &map, &[object], &[threshold]);
            assert_eq!((alone.largest[0], alone.any[0]), (all.largest[at], all.any[at]), "{threshold}");
        }
    }
}

/// The percentages at the three overlaps of one map for all images, and their mean.
fn of_one_map(metadata: &Metadata, score: impl Fn(f64, f64) -> f64) -> [String; 4] {
    const CONVENTION: Convention = Convention::WsolEvaluation;
    let pixels = (0..224 * 224).map(|i| score(f64::from(i % 224), f64::from(i / 224)));
    let map = ScoreMap::normalized(224, 224, pixels.collect()).unwrap();
    let thresholds = Protocol::thresholds(0.001);
    let counts = metadata.images.par_iter().filter_map(|image| {
        let Object::Boxes { size, boxes } = &image.object else { return None };
        let objects: Vec<_> =
            boxes.iter().filter_map(|&object| CONVENTION.object(object, *size, map.size())).collect();
        let mut counts = BoxCounts::new(CONVENTION, &thresholds);
        counts.add(&overlaps(CONVENTION, &map, &objects, &thresholds), None);
        Some(counts)
    });
    let best = counts.reduce_with(BoxCounts::merged).unwrap().best();
    let [a, b, c] = best.by_delta.map(|at| format!("{:.3}", at.percent));
    [a, b, c, format!("{:.3}", best.max_box_acc_v2())]
}

/// Birds are in the middle of photographs. A developer gives wsolevaluation's folder `metadata/CUB/test` in `PG_CUB_TEST`: it
/// is not this project's.
#[test]
fn the_middle_of_an_image_is_a_baseline() {
    let Some(folder) = std::env::var_os("PG_CUB_TEST") else { return };
    let metadata = Metadata::read(folder.as_ref()).unwrap();
    assert_eq!(metadata.images.len(), 5794);
    let gaussian =
        |centre: f64| move |x: f64, y: f64| (-((x - centre).powi(2) + (y - centre).powi(2)) / 7200.0).exp();
    assert_eq!(of_one_map(&metadata, gaussian(112.0)), ["93.856", "59.717", "17.328", "56.967"]);
    assert_eq!(of_one_map(&metadata, gaussian(111.5)), ["93.907", "59.596", "17.000", "56.835"]);
    // Rounded boxes, or such that are not, would have other numbers at the second overlap.
    let square = |x: f64, y: f64| {
        let is_inside = |at: f64| (40.0..184.0).contains(&at);
        f64::from(u8::from(is_inside(x) && is_inside(y)))
    };
    assert_eq!(of_one_map(&metadata, square)[..3], ["90.041", "59.562", "12.962"]);
}
