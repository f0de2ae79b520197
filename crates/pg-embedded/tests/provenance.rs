//! Provenance extracted from an edit, against what the editor kept.

use pg_embedded::{Embedded, Spec};
use pg_provenance::{BinaryMask, Extractor, Quality};
use pg_random::Seed;

#[test]
fn extraction_finds_what_the_editor_kept() {
    let set = Embedded::generate(&Spec { train: 64, val: 1, test: 1, ..Spec::default() }, Seed(3)).unwrap();
    let extractor = Extractor::new(32, 32);
    let (mut quality, mut trivial) = (0.0, 0.0);
    for edit in &set.edits {
        let extraction = extractor.extract(&set.train[edit.original].image, &edit.image).unwrap();
        assert!(!extraction.is_degenerate());
        let kept = edit.kept.resize_nearest(32, 32);
        quality += Quality::of(&extraction.target, &kept).unwrap().iou / set.edits.len() as f64;
        let all = BinaryMask::filled(32, 32, true);
        trivial += Quality::of(&all, &kept).unwrap().iou / set.edits.len() as f64;
    }
    // What is lost: stamps redrawn in their old colour, grounds that resemble each other, blended seams.
    assert!(quality > 0.5, "mean intersection over union {quality}");
    assert!(trivial < 0.25, "a mask of ones has {trivial}");
}
