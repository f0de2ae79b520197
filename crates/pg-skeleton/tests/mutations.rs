//! Files that were changed at random: an error or clips, and never a panic.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use pg_skeleton::{Format, ReadOptions, read, ucf101};
use proptest::prelude::*;

const NTU: &[u8] = b"2\n1\n7 0 1 1 1 1 0 0.02 -0.3 2\n2\n0 0 3 250 200 960 540 0 0 0 0 2\n\
    0 0 3 250 200 960 540 0 0 0 0 1\n1\n7 0 1 1 1 1 0 0.02 -0.3 2\n2\n0 0 3 250 200 NaN NaN 0 0 0 0 0\n\
    0 0 3 250 200 960 540 0 0 0 0 1\n";

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("data/", $name)).as_slice()
    };
}

/// Sound files, by name.
const FILES: [(&str, Format, &[u8]); 10] = [
    (
        "a.jsonl",
        Format::Clip,
        br#"{"id": "v", "width": 4, "height": 3, "frames": 2, "instances": [{"frame": 1, "keypoints": [[1, 2, 1]]}]}"#,
    ),
    ("a.json", Format::Coco, br#"[{"image_id": "0.jpg", "keypoints": [1, 2, 0.5], "box": [1, 2, 3, 4], "idx": [1.0]}]"#),
    (
        "a_0.json",
        Format::OpenPose,
        br#"{"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": [1, 2, 0.5]}]}"#,
    ),
    (
        "a.json",
        Format::Kinetics,
        br#"{"data": [{"frame_index": 1, "skeleton": [{"pose": [0.1, 0.2], "score": [1]}]}], "label": "a"}"#,
    ),
    ("a.pkl", Format::Pyskl, data!("skeletons_2.pkl")),
    ("a.pkl", Format::Pyskl, data!("skeletons_5.pkl")),
    ("a.pkl", Format::Pyskl, data!("listed.pkl")),
    ("a.skeleton", Format::Ntu, NTU),
    ("a.npz", Format::Npz, data!("skeletons.npz")),
    ("a.npy", Format::Npz, data!("skeletons.npy")),
];

/// Bytes with a few changes.
fn mutated(sound: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..4);
    prop::collection::vec(edit, 0..5).prop_map(move |edits| {
        let mut bytes = sound.to_vec();
        for (place, byte, edit) in edits {
            let place = place.index(bytes.len().max(1));
            match edit {
                0 if place < bytes.len() => bytes[place] = byte,
                1 if place < bytes.len() => bytes[place] = bytes[place].wrapping_add(1),
                2 => bytes.truncate(place),
                // As much again of what lies there.
                _ => {
                    let part = bytes[place..bytes.len().min(place + usize::from(byte))].to_vec();
                    bytes.splice(place..place, part);
                }
            }
        }
        bytes
    })
}

fn assert_one_line(message: &str, path: &Path) {
    assert!(message.starts_with(&path.display().to_string()), "{message}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn skeletons_are_read_or_refused(
        (name, format, bytes) in (0..FILES.len()).prop_flat_map(|index| {
            let (name, format, sound) = FILES[index];
            mutated(sound).prop_map(move |bytes| (name, format, bytes))
        }),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        match read(format, &path, &ReadOptions { size: Some((320, 240)), ..ReadOptions::default() }) {
            Ok(clips) => clips.iter().for_each(|clip| assert_eq!(clip.check(), Ok(()))),
            Err(error) => assert_one_line(&error.to_string(), &path),
        }
    }

    #[test]
    fn ground_truth_is_read_or_refused(
        bytes in prop_oneof![mutated(data!("singh_3.pkl")), mutated(data!("act.pkl"))],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pkl");
        fs::write(&path, bytes).unwrap();
        match ucf101::read(&path) {
            Ok(videos) => videos.iter().flat_map(|video| &video.tubes).for_each(|tube| {
                assert!(!tube.tube.boxes.is_empty());
            }),
            Err(error) => assert_one_line(&error.to_string(), &path),
        }
    }
}
