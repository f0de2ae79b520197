//! Ground truth of UCF101-24, in both files that it comes in.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use pg_skeleton::ucf101::{self, CLASSES, Counts};
use pg_tubes::{LabelledTube, Tube, VideoTruth};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn tube(label: &str, start: usize, boxes: &[[f64; 4]]) -> LabelledTube {
    let boxes = boxes.iter().map(|&corners| corners.into()).collect();
    LabelledTube { label: label.into(), tube: Tube { start, boxes } }
}

fn expected() -> Vec<VideoTruth> {
    let basketball = vec![
        // 1-based x, y, width, height of bytes, of which 250 + 70 overflows one.
        tube("Basketball", 2, &[[0.0, 0.0, 10.0, 20.0], [249.0, 199.0, 319.0, 239.0]]),
        tube("Basketball", 0, &[[299.0, 0.0, 319.0, 240.0]]),
    ];
    let biking = vec![tube("Biking", 0, &[[4.0, 5.0, 11.0, 13.0]; 3])];
    vec![
        VideoTruth { id: "Basketball/v_Basketball_g01_c01".into(), tubes: basketball },
        VideoTruth { id: "Biking/v_Biking_g01_c01".into(), tubes: biking },
    ]
}

#[test]
fn both_files_hold_the_same_tubes() {
    for protocol in 0..6 {
        let name = format!("singh_{protocol}.pkl");
        assert_eq!(ucf101::read(&data(&name)).unwrap(), expected(), "{name}");
    }
    assert_eq!(ucf101::read(&data("act.pkl")).unwrap(), expected());
}

#[test]
fn tubes_are_counted() {
    let counts = Counts::of(&expected());
    assert_eq!((counts.videos, counts.tubes, counts.boxes), (2, 3, 6));
    assert_eq!(counts.tubes_by_class, [("Basketball".into(), 2), ("Biking".into(), 1)].into());
    assert_eq!(Counts::of(&[]), Counts::default());
}

#[test]
fn classes_are_sorted_by_name() {
    assert!(CLASSES.is_sorted());
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let messages = fs::read_to_string(data("ucf101.txt")).unwrap();
    let (found, expected): (Vec<_>, Vec<_>) = messages
        .lines()
        .map(|line| {
            let name = line.split(": ").next().unwrap();
            let error = ucf101::read(&data(name)).unwrap_err().to_string();
            (error.replace(&format!("{}/", data("").display().to_string().trim_end_matches('/')), ""), line)
        })
        .unzip();
    assert_eq!(found, expected);
    assert_eq!(found.len(), 15);
}

/// The true file, whose path a developer gives in `PG_UCF101_ANNOTATION`: it may not be distributed.
#[test]
fn the_true_file_has_its_published_size() {
    let Some(path) = std::env::var_os("PG_UCF101_ANNOTATION") else { return };
    let counts = Counts::of(&ucf101::read(Path::new(&path)).unwrap());
    assert_eq!((counts.videos, counts.tubes), (3194, 4458));
    assert!(counts.tubes_by_class.keys().eq(CLASSES.iter()));
}
