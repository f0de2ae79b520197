//! The set as a whole: reproducible, balanced, and with masks that are true.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pg_embedded::{Cue, Embedded, Spec};
use pg_random::Seed;

fn small() -> Spec {
    Spec { train: 40, val: 32, test: 64, ..Spec::default() }
}

fn draw(spec: &Spec) -> Embedded {
    Embedded::generate(spec, Seed(7)).unwrap()
}

/// Everything that users see of a set, as bytes.
fn bytes(set: &Embedded) -> Vec<u8> {
    let scenes = set.train.iter().chain(&set.val).chain(&set.test);
    let scenes = scenes
        .flat_map(|s| [s.image.as_raw().clone(), s.truth.bits().iter().map(|&b| u8::from(b)).collect()]);
    let edits = set.edits.iter().flat_map(|e| [e.image.as_raw().clone(), e.prompt.clone().into_bytes()]);
    scenes.chain(edits).flatten().collect()
}

#[test]
fn threads_change_nothing_and_the_seed_everything() {
    let with_threads = |count: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
        pool.install(|| bytes(&draw(&small())))
    };
    let one = with_threads(1);
    assert!(one == with_threads(3));
    assert!(one != bytes(&Embedded::generate(&small(), Seed(8)).unwrap()));
}

#[test]
fn a_longer_split_starts_with_the_shorter_one() {
    let (short, long) = (draw(&small()), draw(&Spec { train: 60, ..small() }));
    assert!(short.train.iter().zip(&long.train).all(|(a, b)| a.image == b.image));
    assert!(short.test.iter().zip(&long.test).all(|(a, b)| a.image == b.image));
}

#[test]
fn splits_differ() {
    let set = draw(&Spec { train: 16, val: 16, test: 16, ..Spec::default() });
    for (val, test) in set.val.iter().zip(&set.test) {
        assert_ne!(val.image, test.image);
    }
}

#[test]
fn the_cue_tells_the_class_in_training_only() {
    let set = draw(&Spec { train: 400, test: 320, ..Spec::default() });
    assert!(set.train.iter().all(|scene| scene.cue == scene.label as usize));
    let mut counts = vec![0; set.groups.len()];
    set.test.iter().for_each(|scene| counts[set.group(scene.label, scene.cue)] += 1);
    assert_eq!(counts, [20; 16]);

    // An edit's cue is that of its class with probability 0.6 + 0.4 / 4. Four standard deviations are 0.09.
    let agree = set.edits.iter().filter(|edit| edit.cue == edit.label as usize).count() as f64 / 400.0;
    assert!((agree - 0.7).abs() < 0.09, "{agree}");
}

#[test]
fn groups_are_named_in_the_order_of_their_index() {
    let set = draw(&small());
    assert_eq!(set.groups[set.group(2, 1)], "fish/stamp-amber");
}

#[test]
fn animals_are_of_a_fair_size_and_mostly_inside() {
    let set = draw(&Spec { train: 200, ..small() });
    for scene in &set.train {
        let (width, height) = (scene.truth.width(), scene.truth.height());
        assert_eq!((width as u32, height as u32), scene.image.dimensions());
        let share = scene.truth.area() as f64 / (width * height) as f64;
        assert!((0.06..0.45).contains(&share), "{share}");
        let border = |x: usize, y: usize| x == 0 || y == 0 || x + 1 == width || y + 1 == height;
        let cells = (0..width * height).map(|i| (i % width, i / width));
        let at_border = cells.filter(|&(x, y)| border(x, y) && scene.truth.get(x, y)).count();
        assert!(at_border * 15 < scene.truth.area(), "{at_border} of {}", scene.truth.area());
    }
}

#[test]
fn every_cue_is_small_seen_and_not_the_animal() {
    for family in [Cue::Stamp, Cue::Collar, Cue::Prop] {
        let mut spec = small();
        spec.cue.family = family;
        for scene in &draw(&spec).train {
            let pixels = scene.truth.bits().len();
            let area = scene.cue_region.area();
            assert!(area * 200 > pixels && area * 12 < pixels, "{family:?}: {area} of {pixels}");
            assert!(scene.truth.bits().iter().zip(scene.cue_region.bits()).all(|(a, c)| !(a & c)));
        }
    }
}

/// Mean absolute difference, over pixels where `at` says so, of an edit and its original on the grid of the edit.
fn difference(set: &Embedded, index: usize, at: impl Fn(bool) -> bool) -> f64 {
    let edit = &set.edits[index];
    let (width, height) = edit.image.dimensions();
    let original = pg_provenance::resize_rgb(&set.train[edit.original].image, width, height);
    let pixels = original.pixels().zip(edit.image.pixels()).zip(edit.kept.bits());
    let apart = |a: &image::Rgb<u8>, b: &image::Rgb<u8>| {
        (0..3).map(|c| f64::from(a[c].abs_diff(b[c]))).sum::<f64>() / 3.0
    };
    let apart: Vec<f64> = pixels.filter(|(_, kept)| at(**kept)).map(|((a, b), _)| apart(a, b)).collect();
    apart.iter().sum::<f64>() / apart.len() as f64
}

#[test]
fn edits_keep_the_animal_and_redraw_the_rest() {
    let set = draw(&small());
    let mut total = 0.0;
    for index in 0..set.edits.len() {
        let (kept, redrawn) = (difference(&set, index, |kept| kept), difference(&set, index, |kept| !kept));
        assert!(redrawn > 2.0 * kept, "edit {index}: {kept} and {redrawn}");
        total += kept;
    }
    // Grain and drift of two pictures leave about 7 levels, soft seams of thin limbs as much again.
    let mean = total / set.edits.len() as f64;
    assert!((4.0..15.0).contains(&mean), "{mean}");
}

#[test]
fn edits_come_in_the_order_of_their_originals_and_in_multiples_of_eight() {
    let mut spec = small();
    spec.edits.per_image = 2;
    let set = draw(&spec);
    assert_eq!(set.edits.len(), 80);
    for (index, edit) in set.edits.iter().enumerate() {
        let original = &set.train[edit.original];
        assert_eq!((edit.original, edit.label), (index / 2, original.label));
        let (native, sides) = (original.image.dimensions(), edit.image.dimensions());
        assert_eq!(sides, (native.0 / 8 * 8, native.1 / 8 * 8));
        assert_eq!((edit.kept.width() as u32, edit.kept.height() as u32), sides);
    }
    assert_ne!(set.edits[0].image, set.edits[1].image);
    spec.edits.per_image = 0;
    assert!(draw(&spec).edits.is_empty());
}
