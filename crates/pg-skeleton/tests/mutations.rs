//! Files that were changed at random: an error or clips, and never a panic.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{Cursor, Write};
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
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..5);
    prop::collection::vec(edit, 0..5).prop_map(move |edits| {
        let mut bytes = sound.to_vec();
        for (place, byte, edit) in edits {
            let place = place.index(bytes.len().max(1));
            match edit {
                0 if place < bytes.len() => bytes[place] = byte,
                1 if place < bytes.len() => bytes[place] = bytes[place].wrapping_add(1),
                2 => bytes.truncate(place),
                3 => retype(&mut bytes[place..], byte),
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

/// Makes the next element type text.
fn retype(bytes: &mut [u8], characters: u8) {
    let is_type = |name: &[u8]| matches!(name, [b'f' | b'i' | b'u', b'1' | b'2' | b'4' | b'8']);
    if let Some(place) = bytes.windows(2).position(is_type) {
        bytes[place..place + 2].copy_from_slice(&[b'U', b'0' + characters % 3]);
    }
}

/// Types of elements, and their bytes.
static TYPES: [(&str, usize); 9] = [
    ("<f2", 2),
    ("<f4", 4),
    (">f8", 8),
    ("|u1", 1),
    ("<i4", 4),
    ("|b1", 1),
    ("<U0", 0),
    ("<U1", 4),
    (">U2", 8),
];

/// An array of any type, whose bytes fit its shape.
fn array(shape: Vec<usize>) -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(&TYPES[..]), any::<bool>()).prop_map(move |((dtype, size), fortran)| {
        let axes: String = shape.iter().map(|axis| format!("{axis}, ")).collect();
        let order = if fortran { "True" } else { "False" };
        let header = format!("{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': ({axes}), }}\n");
        let length = shape.iter().product::<usize>() * size;
        let elements: Vec<u8> = (0..length).map(|place| u8::from(place.is_multiple_of(8))).collect();
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), &elements].concat()
    })
}

/// An archive of arrays that fit each other in shape; what belongs to them is anything small, if it is there.
fn archive() -> impl Strategy<Value = Vec<u8>> {
    const NAMES: [&str; 6] = ["keypoint", "keypoint_score", "img_shape", "label", "frame_dir", "fps"];
    let shapes = (prop::collection::vec(0usize..4, 3), 2usize..4);
    let arrays = shapes.prop_flat_map(|(shape, coordinates)| {
        let small = prop::collection::vec(1usize..3, 0..2).prop_flat_map(array);
        let keypoint = array([shape.clone(), vec![coordinates]].concat());
        let rest = prop::collection::vec(prop::option::weighted(0.2, small), 4);
        (keypoint, prop::option::of(array(shape)), rest)
    });
    arrays.prop_map(|(keypoint, score, rest)| {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, array) in NAMES.into_iter().zip([Some(keypoint), score].into_iter().chain(rest)) {
            let Some(array) = array else { continue };
            archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(&array).unwrap();
        }
        archive.finish().unwrap().into_inner()
    })
}

/// What a file gives: sound clips, or an error of one line.
fn survive(format: Format, path: &Path) {
    match read(format, path, &ReadOptions { size: Some((320, 240)), ..ReadOptions::default() }) {
        Ok(clips) => clips.iter().for_each(|clip| assert_eq!(clip.check(), Ok(()))),
        Err(error) => assert_one_line(&error.to_string(), path),
    }
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
        survive(format, &path);
    }

    #[test]
    fn arrays_of_any_type_are_read_or_refused(bytes in archive()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        fs::write(&path, bytes).unwrap();
        survive(Format::Npz, &path);
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
