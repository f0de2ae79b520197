//! The set as a folder.

use pg_embedded::{Embedded, Spec, WriteError};
use pg_random::Seed;
use std::fs;

#[test]
fn a_written_set_reads_back() {
    let mut spec = Spec { train: 8, val: 4, test: 4, ..Spec::default() };
    spec.edits.per_image = 2;
    let set = Embedded::generate(&spec, Seed(5)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    set.write(folder.path(), Seed(5)).unwrap();

    let table = |name: &str| -> Vec<Vec<String>> {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).from_path(folder.path().join(name)).unwrap();
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    };
    let metadata = table("metadata.csv");
    assert_eq!(metadata[0], ["file", "split", "class", "cue"]);
    assert_eq!(metadata[1], ["train/cat/00000.png", "train", "cat", "stamp-red"]);
    assert_eq!(metadata.len(), 1 + 8 + 4 + 4);
    for (row, scene) in metadata[1..].iter().zip(set.train.iter().chain(&set.val).chain(&set.test)) {
        assert_eq!(image::open(folder.path().join(&row[0])).unwrap().into_rgb8(), scene.image);
        let mask = image::open(folder.path().join("masks").join(&row[0])).unwrap().into_luma8();
        assert!(mask.iter().zip(scene.truth.bits()).all(|(&v, &b)| v == if b { 255 } else { 0 }));
    }

    let manifest = table("edits.csv");
    assert_eq!(manifest[0], ["original", "edited", "label", "prompt", "method", "seed"]);
    assert_eq!(manifest.len(), 1 + 16);
    assert_eq!(manifest[4][..3], ["train/bird/00001.png", "edits/bird/00001-1.png", "0"]);
    let labels: Vec<&str> = manifest[1..].iter().step_by(2).map(|row| row[2].as_str()).collect();
    // Cat, bird, fish, rabbit, whose folders are listed as bird, cat, fish, rabbit.
    assert_eq!(labels, ["1", "0", "2", "3", "1", "0", "2", "3"]);
    for (row, edit) in manifest[1..].iter().zip(&set.edits) {
        assert_eq!(image::open(folder.path().join(&row[1])).unwrap().into_rgb8(), edit.image);
        assert!(folder.path().join("masks").join(&row[1]).exists() && folder.path().join(&row[0]).exists());
        assert_eq!(row[3..], [edit.prompt.clone(), "procedural".to_owned(), "5".to_owned()]);
    }

    let again = set.write(folder.path(), Seed(5)).unwrap_err();
    assert!(matches!(again, WriteError::NotEmpty(_)), "{again}");
}

#[test]
fn a_file_in_the_way_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set");
    fs::write(&path, "").unwrap();
    let set = Embedded::generate(&Spec { train: 4, val: 4, test: 4, ..Spec::default() }, Seed(0)).unwrap();
    let message = set.write(&path, Seed(0)).unwrap_err().to_string();
    assert!(message.contains(&path.display().to_string()), "{message}");
}
