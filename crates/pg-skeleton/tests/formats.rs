//! Every format, sound and broken, as a caller sees it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use pg_skeleton::{Clip, Format, Instance, Keypoint, ReadOptions, Scale, SizeOrder, read, write};
use tempfile::TempDir;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn sized() -> ReadOptions {
    ReadOptions { size: Some((320, 240)), ..ReadOptions::default() }
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Reads `name` in a folder with these files; an error comes back as text without the folder.
fn read_in(folder: &TempDir, name: &str, format: Format, options: &ReadOptions) -> Result<Vec<Clip>, String> {
    let shorten = |error: String| error.replace(&format!("{}/", folder.path().display()), "");
    read(format, &folder.path().join(name), options).map_err(|error| shorten(error.to_string()))
}

fn read_text(name: &str, text: &str, format: Format, options: &ReadOptions) -> Result<Vec<Clip>, String> {
    read_in(&folder(&[(name, text)]), name, format, options)
}

/// Checks that each file gives its message.
fn assert_messages(format: Format, name: &str, options: &ReadOptions, cases: &[(&str, &str)]) {
    let found = cases.iter().map(|(text, _)| read_text(name, text, format, options).map(|_| ()).unwrap_err());
    let expected: Vec<_> = cases.iter().map(|&(_, expected)| expected).collect();
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert!(!expected.concat().contains('\n'));
}

fn person(frame: usize, points: &[[f32; 3]]) -> Instance {
    let keypoints = points.iter().copied().map(Keypoint::from).collect();
    Instance { frame, track: None, keypoints, bounding_box: None }
}

fn clip(id: &str, frames: usize, instances: Vec<Instance>) -> Clip {
    Clip { id: id.into(), width: 320, height: 240, fps: None, frames, label: None, instances }
}

mod coco {
    use super::*;

    #[test]
    fn results_are_sorted_into_videos_and_frames() {
        let text = r#"[
            {"image_id": "b/img_002.jpg", "category_id": 1, "keypoints": [1, 2, 0.5], "score": 1.5, "idx": [4.0]},
            {"image_id": "a\\img_000.png", "category_id": 1, "keypoints": [3, 4, 1], "score": 1, "box": [1, 2, 3, 4]},
            {"image_id": "b/img_000.jpg", "category_id": 1, "keypoints": [5, 6, 0], "score": 1, "idx": 3}
        ]"#;
        let mut first = person(0, &[[3.0, 4.0, 1.0]]);
        first.bounding_box = Some([1.0, 2.0, 4.0, 6.0].into());
        let mut second = person(0, &[[5.0, 6.0, 0.0]]);
        second.track = Some(3);
        let mut third = person(2, &[[1.0, 2.0, 0.5]]);
        third.track = Some(4);
        let expected = vec![clip("a", 1, vec![first]), clip("b", 3, vec![second, third])];
        assert_eq!(read_text("r.json", text, Format::Coco, &sized()), Ok(expected));
    }

    #[test]
    fn numbered_images_are_the_frames_of_one_video() {
        let text = r#"[{"image_id": 3, "keypoints": [1, 2, 6, 3, 4, 3]},
            {"image_id": 1, "keypoints": [1, 2, 1.5, 0, 0, 0]}]"#;
        let options = ReadOptions { first_frame: 1, frames: Some(5), ..sized() };
        let expected = vec![
            person(0, &[[1.0, 2.0, 0.25], [0.0; 3]]),
            // AlphaPose's confidences go to 6.
            person(2, &[[1.0, 2.0, 1.0], [3.0, 4.0, 0.5]]),
        ];
        assert_eq!(read_text("v.json", text, Format::Coco, &options), Ok(vec![clip("v", 5, expected)]));
        let empty = read_text("v.json", "[]", Format::Coco, &options);
        assert_eq!(empty, Ok(vec![clip("v", 5, vec![])]), "a video without people");
    }

    #[test]
    fn a_peak_above_1_divides_nothing() {
        let text = r#"[{"image_id": 0, "keypoints": [1, 2, 1.41, 3, 4, 0.5]}]"#;
        let expected = clip("v", 1, vec![person(0, &[[1.0, 2.0, 1.0], [3.0, 4.0, 0.5]])]);
        assert_eq!(read_text("v.json", text, Format::Coco, &sized()), Ok(vec![expected]));
    }

    #[test]
    fn annotations_list_their_images() {
        let text = r#"{"images": [
                {"id": 8, "file_name": "v/0.jpg", "width": 320, "height": 240},
                {"id": 9, "file_name": "v/1.jpg", "width": 320, "height": 240},
                {"id": 7, "file_name": "v/2.jpg", "width": 320, "height": 240}],
            "annotations": [{"image_id": 9, "keypoints": [5, 6, 2, 7, 8, 1, 0, 0, 0], "bbox": [1, 1, 2, 2]}]}"#;
        let mut expected = person(1, &[[5.0, 6.0, 1.0], [7.0, 8.0, 0.5], [0.0; 3]]);
        expected.bounding_box = Some([1.0, 1.0, 3.0, 3.0].into());
        let clips = read_text("c.json", text, Format::Coco, &ReadOptions::default());
        assert_eq!(clips, Ok(vec![clip("v", 3, vec![expected])]));
    }

    #[test]
    fn what_is_broken_is_said_in_one_line() {
        let one = |fields: &str| format!(r#"[{{"image_id": "0.jpg", {fields}}}]"#);
        let cases = [
            (
                one(r#""keypoints": [1, 2, 0.5"#),
                "r.json:1: expected `,` or `]` (column 47); correct the file",
            ),
            (
                one(r#""keypoints": "a""#),
                "r.json:1: invalid type: string \"a\", expected a sequence (column 39); correct the file",
            ),
            (
                one(r#""keypoints": [NaN, 2, 0.5]"#),
                "r.json:1: expected value (column 38); JSON has no NaN, write 0",
            ),
            ("[\n{}]".into(), "r.json:2: missing field `image_id` (column 2); correct the file"),
            (
                one(r#""keypoints": [1, 2]"#),
                "r.json: result 0: `keypoints` has 2 numbers; write x, y and confidence of each joint",
            ),
            (
                one(r#""keypoints": []"#),
                "r.json: result 0: `keypoints` has 0 numbers; write x, y and confidence of each joint",
            ),
            (
                one(r#""keypoints": [1e99, 2, 1]"#),
                "r.json:1: number out of range (column 41); correct the file",
            ),
            (
                one(r#""keypoints": [1, 2, 7.5]"#),
                "r.json: a confidence is 7.5, above 6; say how great they can be",
            ),
            (
                one(r#""keypoints": [1, 2, -1]"#),
                "r.json: video `r`: keypoint 0 of instance 0 has confidence -1; bring it into [0, 1]",
            ),
            (
                one(r#""keypoints": [1, 2, 1], "box": [5, 5, -1, 1]"#),
                "r.json: video `r`: the box of instance 0 is [5, 5, 4, 6]; give x0 <= x1 and y0 <= y1, \
                 in pixels",
            ),
            (
                r#"[{"image_id": "n\no.jpg", "keypoints": [1, 2, 1]}]"#.into(),
                "r.json: result 0: `n\\no.jpg` has no number; name images after their frames",
            ),
            (
                r#"[{"image_id": 99999999999, "keypoints": [1, 2, 1]}]"#.into(),
                "r.json: video `r`: `frames` is 100000000000; cut the video to at most 16777216",
            ),
            ("[]".into(), "r.json: video `r`: shows no one; say how many frames it has"),
            (
                r#"{"images": [], "annotations": [{"image_id": 1, "keypoints": [1, 2, 1]}]}"#.into(),
                "r.json: annotation 0: its image is not listed; add it to `images`",
            ),
            (
                r#"{"images": [{"id": 1, "file_name": "0.jpg", "width": 3, "height": 4},
                    {"id": 2, "file_name": "1.jpg", "width": 4, "height": 4}], "annotations": []}"#
                    .into(),
                "r.json: image 2: is 4 x 4, unlike others of video `r`; put each video into a folder of \
                 its own",
            ),
            (
                r#"{"images": [], "annotations": []}"#.into(),
                "r.json: has no video; check the path, and the split if one was named",
            ),
            (
                r#"[{"image_id": "camA_1.jpg", "keypoints": [1, 2, 1]},
                    {"image_id": "camA_1.jpg", "keypoints": [3, 4, 1]},
                    {"image_id": "camB_01.jpg", "keypoints": [1, 2, 1]}]"#
                    .into(),
                "r.json: result 2: `camB_01.jpg` is frame 1, as `camA_1.jpg` is; put each video into a folder \
                 of its own",
            ),
            (
                r#"{"images": [{"id": 1, "file_name": "v/a_0.jpg", "width": 3, "height": 4},
                    {"id": 2, "file_name": "v/b_0.jpg", "width": 3, "height": 4}], "annotations": []}"#
                    .into(),
                "r.json: image 2: `b_0.jpg` is frame 0, as `a_0.jpg` is; put each video into a folder of its own",
            ),
            (
                r#"{"images": [{"id": 1, "file_name": "v/0.jpg", "width": 3, "height": 4},
                    {"id": 1, "file_name": "v/1.jpg", "width": 3, "height": 4}], "annotations": []}"#
                    .into(),
                "r.json: image 1: is there twice; give each image an `id` of its own",
            ),
        ];
        let cases: Vec<_> = cases.iter().map(|(text, expected)| (text.as_str(), *expected)).collect();
        assert_messages(Format::Coco, "r.json", &sized(), &cases);

        let good = one(r#""keypoints": [1, 2, 1]"#);
        let unsized_images =
            "r.json: video `r`: does not say how large its images are; give their width and height";
        assert_messages(Format::Coco, "r.json", &ReadOptions::default(), &[(&good, unsized_images)]);
        let late = ReadOptions { first_frame: 1, ..sized() };
        let before = "r.json: result 0: frame 0 is before the first, 1; correct the number of the first";
        assert_messages(Format::Coco, "r.json", &late, &[(&good, before)]);
        let zero = ReadOptions { greatest_confidence: Some(0.0), ..sized() };
        let above = "r.json: cannot be read with a greatest confidence of 0; give a number above 0";
        assert_messages(Format::Coco, "r.json", &zero, &[(&good, above)]);
        let few = ReadOptions { frames: Some(2), ..sized() };
        let third = good.replace("0.jpg", "2.jpg");
        let beyond =
            "r.json: video `r`: frame 2 is beyond the 2 frames; correct their number, or that of the first";
        assert_messages(Format::Coco, "r.json", &few, &[(&third, beyond)]);
    }
}

mod openpose {
    use super::*;

    fn frame(points: &str) -> String {
        format!(r#"{{"version": 1.3, "people": [{{"person_id": [-1], "pose_keypoints_2d": [{points}]}}]}}"#)
    }

    #[test]
    fn a_folder_is_a_video_and_missing_frames_are_empty() {
        let nobody = r#"{"version": 1.3, "people": []}"#;
        let folder = folder(&[
            ("v/v_000000000010_keypoints.json", &frame("10, 20, 0.5, 0, 0, 0")),
            ("v/v_000000000002_keypoints.json", &frame("0, 0, 0, 30, 40, 1")),
            ("v/v_000000000004_keypoints.json", &frame("0, 0, 0, 0, 0, 0")),
            ("v/v_000000000011_keypoints.json", nobody),
            ("w/w_000000000000_keypoints.json", nobody),
        ]);
        let people =
            vec![person(2, &[[0.0; 3], [30.0, 40.0, 1.0]]), person(10, &[[10.0, 20.0, 0.5], [0.0; 3]])];
        let v = clip("v", 12, people);
        assert_eq!(read_in(&folder, "v", Format::OpenPose, &sized()), Ok(vec![v.clone()]));
        let both = read(Format::OpenPose, folder.path(), &sized()).unwrap();
        assert_eq!(both, [v, clip("w", 1, vec![])]);
    }

    #[test]
    fn coordinates_may_be_shares() {
        let read = |points: &str, scale| {
            let options = ReadOptions { scale, ..sized() };
            let clips = read_text("0.json", &frame(points), Format::OpenPose, &options).unwrap();
            let point = clips[0].instances[0].keypoints[0];
            (point.x, point.y)
        };
        assert_eq!(read("0.5, 0.5, 1", Scale::Detect), (160.0, 120.0));
        assert_eq!(read("0.5, -0.5, 1", Scale::Detect), (240.0, 60.0));
        assert_eq!(read("0.5, 0.5, 1", Scale::Signed), (240.0, 180.0));
        assert_eq!(read("0.5, 0.5, 1", Scale::Pixels), (0.5, 0.5));
    }

    #[test]
    fn peaks_above_1_are_cut() {
        let read = |greatest_confidence| {
            let options = ReadOptions { greatest_confidence, ..sized() };
            let text = frame("10, 20, 1.26, 30, 40, 0.5");
            read_text("0.json", &text, Format::OpenPose, &options).unwrap().remove(0).instances
        };
        assert_eq!(read(None), [person(0, &[[10.0, 20.0, 1.0], [30.0, 40.0, 0.5]])]);
        assert_eq!(read(Some(2.0)), [person(0, &[[10.0, 20.0, 0.63], [30.0, 40.0, 0.25]])]);
    }

    #[test]
    fn a_folder_keeps_one_clip() {
        let folder = folder(&[("o/readme.txt", ""), ("o/v_2/old_9_keypoints.json", &frame("1, 2, 1"))]);
        let written = folder.path().join("o");
        let error = write(Format::OpenPose, &written, &clips()).unwrap_err().to_string();
        let expected =
            "has .json files, which would be read as frames of the video; remove it or choose another";
        assert_eq!(error, format!("{}: {expected}", written.join("v_2").display()));
        assert!(!written.join("sports").exists(), "refused before anything is written");
        fs::remove_dir_all(written.join("v_2")).unwrap();
        write(Format::OpenPose, &written, &clips()).unwrap();
        assert!(write(Format::OpenPose, &written, &clips()).is_err());
    }

    #[test]
    fn more_people_than_usual_are_all_read() {
        let people =
            (0..40).map(|i| format!(r#"{{"person_id": [{i}], "pose_keypoints_2d": [5, {i}, 0.5]}}"#));
        let text = format!(r#"{{"people": [{}]}}"#, people.collect::<Vec<_>>().join(", "));
        let clips = read_text("0.json", &text, Format::OpenPose, &sized()).unwrap();
        let tracks: Vec<_> = clips[0].instances.iter().map(|person| person.track.unwrap()).collect();
        assert_eq!(tracks, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_broken_is_said_in_one_line() {
        let cases = [
            (
                "{\"people\": [\n{}]}".to_owned(),
                "7.json:2: missing field `pose_keypoints_2d` (column 2); correct the file",
            ),
            (
                frame("1, 2, 0.5")[..60].to_owned(),
                "7.json:1: EOF while parsing a string (column 60); correct the file",
            ),
            (
                frame("1, 2"),
                "7.json: person 0: `pose_keypoints_2d` has 2 numbers; write x, y and confidence of each \
                 joint",
            ),
            (frame("1, NaN, 0"), "7.json:1: expected value (column 74); JSON has no NaN, write 0"),
            (
                frame("5, 6, 1]}, {\"pose_keypoints_2d\": [5, 6, 1, 7, 8, 1"),
                "7.json: video `7`: instance 1 has 2 keypoints, the first has 1; give those not found a \
                 confidence of 0",
            ),
        ];
        let cases: Vec<_> = cases.iter().map(|(text, expected)| (text.as_str(), *expected)).collect();
        assert_messages(Format::OpenPose, "7.json", &sized(), &cases);
        assert_messages(
            Format::OpenPose,
            "x.json",
            &sized(),
            &[(&frame(""), "x.json: has no number in its name; name files after their frames")],
        );
        let twice = folder(&[("v/a_1.json", &frame("")), ("v/b_01.json", &frame(""))]);
        let message = read_in(&twice, "v", Format::OpenPose, &sized()).unwrap_err();
        assert_eq!(message, "v/b_01.json: is frame 1, as v/a_1.json is; remove one");
        let nothing = folder(&[("v/readme.txt", "")]);
        let message = read_in(&nothing, "v", Format::OpenPose, &sized()).unwrap_err();
        assert_eq!(message, "v: has no .json file; check the path");
    }
}

mod kinetics {
    use super::*;

    #[test]
    fn a_file_is_a_video() {
        let text = r#"{"data": [
            {"frame_index": 3, "skeleton": [{"pose": [0.5, 0.25, 0, 0], "score": [0.5, 0]}]},
            {"frame_index": 1, "skeleton": [{"pose": [0, 0, 0, 0], "score": [0, 0]}]},
            {"frame_index": 4, "skeleton": []}], "label": "waving", "label_index": 3}"#;
        let folder = folder(&[("k/v.json", text)]);
        let mut expected = clip("v", 4, vec![person(2, &[[160.0, 60.0, 0.5], [0.0; 3]])]);
        expected.label = Some("waving".into());
        assert_eq!(read_in(&folder, "k", Format::Kinetics, &sized()), Ok(vec![expected]));
        let plain = read_in(&folder, "k/v.json", Format::Kinetics, &ReadOptions::default()).unwrap();
        assert_eq!((plain[0].width, plain[0].height), (340, 256));
        let numbered = text.replace("\"label\": \"waving\", ", "");
        let classes = ["a", "b", "c", "wave"].map(str::to_owned).to_vec();
        let clips =
            read_text("v.json", &numbered, Format::Kinetics, &ReadOptions { classes, ..sized() }).unwrap();
        assert_eq!(clips[0].label.as_deref(), Some("wave"));
    }

    #[test]
    fn peaks_above_1_are_cut() {
        let text = r#"{"data": [
            {"frame_index": 1, "skeleton": [{"pose": [0.5, 0.25, 0.25, 0.5], "score": [1.41, 0.5]}]}]}"#;
        let expected = clip("v", 1, vec![person(0, &[[160.0, 60.0, 1.0], [80.0, 120.0, 0.5]])]);
        assert_eq!(read_text("v.json", text, Format::Kinetics, &sized()), Ok(vec![expected]));
    }

    #[test]
    fn what_is_broken_is_said_in_one_line() {
        assert_messages(
            Format::Kinetics,
            "k.json",
            &sized(),
            &[
                (
                    "[]",
                    "k.json:1: invalid length 0, expected struct Video with 3 elements (column 2); \
                     correct the file",
                ),
                (
                    r#"{"data": [{"frame_index": 1}"#,
                    "k.json:1: EOF while parsing a list (column 28); correct the file",
                ),
                (
                    r#"{"data": [{"frame_index": -1}]}"#,
                    "k.json:1: invalid value: integer `-1`, expected usize (column 28); correct the file",
                ),
                (
                    r#"{"data": [{"frame_index": 0}]}"#,
                    "k.json: frame 0 of the list: `frame_index` is 0; count frames from 1",
                ),
                (
                    r#"{"data": [{"frame_index": 1, "skeleton": [{"pose": [1, 1], "score": [1, 1]}]}]}"#,
                    "k.json: frame 0 of the list: `pose` and `score` do not fit; write x and y, and a \
                     score, of each joint",
                ),
                (r#"{"data": []}"#, "k.json: video shows no one; say how many frames it has"),
            ],
        );
    }
}

mod ntu {
    use super::*;

    fn joint(x: &str, y: &str, state: &str) -> String {
        format!("0.1 0.2 3.0 250 200 {x} {y} 0 0 0 0 {state}\n")
    }

    fn body(id: &str, joints: &[String]) -> String {
        format!("{id} 0 1 1 1 1 0 0.02 -0.3 2\n{}\n{}", joints.len(), joints.concat())
    }

    fn sound() -> String {
        let joints = [joint("960.5", "540", "2"), joint("NaN", "NaN", "2"), joint("5", "6", "1")];
        let body = |id| body(id, &joints);
        format!(
            "3\n1\n{}0\n2\n{}{}",
            body("72057594037931101"),
            body("72057594037931102"),
            body("72057594037931101")
        )
    }

    #[test]
    fn frames_without_bodies_stay_and_ids_are_tracks() {
        let name = "S001C001P001R001A060.skeleton";
        let clips =
            read_text(name, &sound().replace('\n', "\r\n"), Format::Ntu, &ReadOptions::default()).unwrap();
        let at = |frame, track| Instance {
            track: Some(track),
            ..person(frame, &[[960.5, 540.0, 1.0], [0.0; 3], [5.0, 6.0, 0.5]])
        };
        let mut expected = clip("S001C001P001R001A060", 3, vec![at(0, 0), at(2, 1), at(2, 0)]);
        (expected.width, expected.height, expected.label) = (1920, 1080, Some("59".into()));
        assert_eq!(clips, [expected]);
        let classes = (1..=60).map(|number| format!("class {number}")).collect();
        let named = ReadOptions { classes, ..ReadOptions::default() };
        assert_eq!(
            read_text(name, &sound(), Format::Ntu, &named).unwrap()[0].label.as_deref(),
            Some("class 60")
        );
    }

    #[test]
    fn what_is_broken_is_said_in_one_line() {
        let sound = sound();
        let spoil = |from: &str, to: &str| sound.replacen(from, to, 1);
        let cases = [
            (
                String::new(),
                "a.skeleton:1: the file ends where the number of frames should be; copy it again",
            ),
            (
                "99999999999\n0\n".into(),
                "a.skeleton:3: the file ends where a number of bodies should be; copy it again",
            ),
            (
                "1\n99999999999\n".into(),
                "a.skeleton:3: the file ends where a body's id and 9 numbers should be; copy it again",
            ),
            (spoil("1\n", "-1\n"), "a.skeleton:2: `-1` is not a number of bodies; copy the file again"),
            (
                spoil(" -0.3 2", ""),
                "a.skeleton:3: `72057594037931101 0 1 1 1 1 0 0.02` is not a body's id and 9 numbers; \
                 copy the file again",
            ),
            (spoil("960.5", "x"), "a.skeleton:5: `x` is not a number; copy the file again"),
            (
                spoil("540 0", "540"),
                "a.skeleton:5: `0.1 0.2 3.0 250 200 960.5 540 0 0 0 2` is not 12 numbers of a joint; \
                 copy the file again",
            ),
            (
                spoil("0 2\n0.1", "0 3\n0.1"),
                "a.skeleton:5: `3` is not a state of 0, 1 or 2; copy the file again",
            ),
            (spoil("3\n1\n", "1\n1\n"), "a.skeleton: goes on after its 1 frames with `0`; copy it again"),
            (
                spoil("960.5", "inf"),
                "a.skeleton: video `a`: keypoint 0 of instance 0 is at (inf, 540); write 0, 0, 0 for one \
                 not found",
            ),
            ("0\n".into(), "a.skeleton: video `a`: `frames` is 0; count the frames without people too"),
        ];
        let cases: Vec<_> = cases.iter().map(|(text, expected)| (text.as_str(), *expected)).collect();
        assert_messages(Format::Ntu, "a.skeleton", &ReadOptions::default(), &cases);
    }
}

mod pyskl {
    use super::*;

    fn expected() -> Vec<Clip> {
        let first = |frame: usize, x: f32| person(frame, &[[x, 20.0, 0.75], [x + 20.0, 60.5, 0.75]]);
        let other = person(2, &[[100.0, 20.0, 0.75], [130.0, 60.5, 0.75]]);
        let mut one = clip("v_1", 3, vec![first(0, 10.0), first(2, 11.0), other]);
        one.label = Some("1".into());
        let mut two = clip("v_2", 5, vec![first(0, 10.0), first(2, 11.0)]);
        two.label = Some("0".into());
        vec![one, two]
    }

    #[test]
    fn all_protocols_are_read() {
        let files = (0..6).map(|protocol| format!("skeletons_{protocol}.pkl"));
        for name in files.chain(["numpy1.pkl".into(), "list.pkl".into()]) {
            let clips = read(Format::Pyskl, &data(&name), &ReadOptions::default());
            assert_eq!(clips.unwrap(), expected(), "{name}");
        }
    }

    #[test]
    fn splits_and_classes_have_names() {
        let options = ReadOptions {
            split: Some("test".into()),
            classes: vec!["walk".into(), "wave".into()],
            ..ReadOptions::default()
        };
        let clips = read(Format::Pyskl, &data("skeletons_4.pkl"), &options).unwrap();
        assert_eq!(clips.len(), 1);
        assert_eq!((clips[0].id.as_str(), clips[0].label.as_deref()), ("v_2", Some("walk")));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let message = |name: &str, options: &ReadOptions| {
            let error = read(Format::Pyskl, &data(name), options).unwrap_err().to_string();
            error.replace(&format!("{}/", data("").display()), "").replace("//", "/")
        };
        let short = |text: &str| text.rsplit('/').next().unwrap().to_owned();
        let check = |name: &str, options: &ReadOptions, expected: &str| {
            assert_eq!(short(&message(name, options)), expected);
        };
        let plain = ReadOptions::default();
        let split = |name: &str| ReadOptions { split: Some(name.into()), ..ReadOptions::default() };
        check("skeletons_4.pkl", &split("val"), "skeletons_4.pkl: has no split `val`; it has train, test");
        check("list.pkl", &split("val"), "list.pkl: has no splits; leave out `val`");
        let one_class = ReadOptions { classes: vec!["walk".into()], ..ReadOptions::default() };
        check(
            "skeletons_4.pkl",
            &one_class,
            "skeletons_4.pkl: annotation 0 (`v_1`): label 1 is not one of the 1 classes; name them all",
        );
        check(
            "singh_4.pkl",
            &plain,
            "singh_4.pkl: holds a dictionary; a list of annotations, or a dictionary with `annotations`, \
             is expected",
        );
        check(
            "values_0.pkl",
            &plain,
            "values_0.pkl: holds a dictionary; a list of annotations, or a dictionary with \
             `annotations`, is expected",
        );
        check(
            "evil.pkl",
            &plain,
            "evil.pkl: byte 32: calls `builtins.print`, which is not allowed; store plain lists, \
             dictionaries and NumPy arrays",
        );
        check("cycle.pkl", &plain, "cycle.pkl: byte 21: a value contains itself; store a tree");
        // Of a size that fits only if it is turned.
        let turned = ReadOptions { size_order: SizeOrder::WidthHeight, ..ReadOptions::default() };
        assert!(read(Format::Pyskl, &data("skeletons_4.pkl"), &turned).is_ok(), "fits either way");
        check(
            "swapped.pkl",
            &plain,
            "swapped.pkl: annotation 0 (`v`): keypoints reach to (300, 20) in an image of 240 x 320; \
             its height and width seem swapped, say which comes first",
        );
        let clips = read(Format::Pyskl, &data("swapped.pkl"), &turned).unwrap();
        assert_eq!((clips[0].width, clips[0].height), (320, 240));
    }

    #[test]
    fn broken_annotations_are_named() {
        let lines = fs::read_to_string(data("broken.txt")).unwrap();
        let mut count = 0;
        for line in lines.lines() {
            let (name, expected) = line.split_once(": ").unwrap();
            let error = read(Format::Pyskl, &data(name), &ReadOptions::default()).unwrap_err().to_string();
            assert!(error.ends_with(&format!("{name}: {expected}")), "{error}\n{line}");
            count += 1;
        }
        assert_eq!(count, 14);
    }

    #[test]
    fn sound_oddities_are_read() {
        let read = |name: &str, options: &ReadOptions| read(Format::Pyskl, &data(name), options).unwrap();
        // PYSKL's Kinetics: people listed with their frames, confidences with their coordinates, beyond 1.
        let listed = read("listed.pkl", &ReadOptions::default());
        let expected = vec![
            person(1, &[[10.0, 20.0, 1.0]]),
            person(1, &[[11.0, 21.0, 0.5]]),
            person(3, &[[12.0, 22.0, 0.25]]),
        ];
        assert_eq!(listed, [clip("v", 6, expected)]);
        // No one at all, NaN, and no size.
        let outside = read("outside.pkl", &ReadOptions::default());
        assert_eq!(outside, [clip("v", 1, vec![person(0, &[[1000.0, 900.0, 1.0]])])], "outside either way");
        let nobody = read("nobody.pkl", &sized());
        assert_eq!(
            nobody,
            [
                clip("none", 3, vec![]),
                clip("zeros", 3, vec![]),
                clip("nan", 1, vec![person(0, &[[0.0; 3], [1.0, 2.0, 1.0]])])
            ]
        );
    }
}

mod npz {
    use super::*;

    #[test]
    fn archives_and_arrays_are_read() {
        let options = ReadOptions { classes: vec!["walk".into(), "wave".into()], ..sized() };
        let clips = read(Format::Npz, &data("skeletons.npz"), &options).unwrap();
        let pyskl = read(Format::Pyskl, &data("skeletons_4.pkl"), &options).unwrap().remove(0);
        assert_eq!(clips, [Clip { id: "skeletons".into(), ..pyskl.clone() }]);
        let clips = read(Format::Npz, &data("skeletons.npy"), &options).unwrap();
        assert_eq!(clips, [Clip { id: "skeletons".into(), label: None, ..pyskl }]);
    }

    #[test]
    fn what_is_broken_is_said_in_one_line() {
        let sound = fs::read(data("skeletons.npz")).unwrap();
        let error = |bytes: &[u8]| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("a.npz"), bytes).unwrap();
            read_in(&folder, "a.npz", Format::Npz, &sized()).map(|_| ()).unwrap_err()
        };
        for length in [0, 100, sound.len() - 1] {
            let message = error(&sound[..length]);
            assert!(
                message.starts_with("a.npz: ") && message.ends_with("; is it an .npz file? copy it again"),
                "{message}"
            );
        }
        let mut flipped = sound.clone();
        flipped[120] ^= 0x55;
        assert!(error(&flipped).starts_with("a.npz: "));

        let archive = |members: &[(&str, &[u8])]| {
            let mut bytes = std::io::Cursor::new(Vec::new());
            let mut archive = zip::ZipWriter::new(&mut bytes);
            for (name, content) in members {
                archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
                archive.write_all(content).unwrap();
            }
            archive.finish().unwrap();
            bytes.into_inner()
        };
        let typed = |dtype: &str, shape: &str, data: &[u8]| {
            let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n");
            [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
        };
        let array = |shape: &str, data: &[u8]| typed("<f4", shape, data);
        let huge = folder(&[]);
        let keypoint = array("(0, 1, 9223372036854775807, 3)", &[]);
        fs::write(huge.path().join("a.npz"), archive(&[("keypoint.npy", &keypoint)])).unwrap();
        assert_eq!(read_in(&huge, "a.npz", Format::Npz, &sized()), Ok(vec![clip("a", 1, vec![])]));
        let one = array("(1, 1, 1, 2)", &[0; 8]);
        // A size that is not understood is refused, unless the right one is said.
        let odd = archive(&[("keypoint.npy", &one[..]), ("img_shape.npy", &array("(3,)", &[0; 12])[..])]);
        fs::write(huge.path().join("b.npz"), odd).unwrap();
        let read_odd = |options: &ReadOptions| read_in(&huge, "b.npz", Format::Npz, options);
        let refused = read_odd(&ReadOptions::default()).unwrap_err();
        assert_eq!(refused, "b.npz: `img_shape` is no height and width; write two whole numbers");
        assert!(read_odd(&sized()).is_ok());
        for (members, expected) in [
            (
                vec![("pose.npy", vec![])],
                "a.npz: has no `keypoint` but [`pose`]; store the keypoints by that name",
            ),
            (
                vec![("keypoint.npy", b"x".to_vec())],
                "a.npz: `keypoint`: is no complete .npy file; copy it again",
            ),
            (
                vec![("keypoint.npy", array("(9, 9, 9, 2)", &[0; 8]))],
                "a.npz: `keypoint`: an array of 9 x 9 x 9 x 2 elements of 4 bytes has 8 bytes; write the \
                 file again",
            ),
            (
                vec![("keypoint.npy", array("(1, 2)", &[0; 8]))],
                "a.npz: `keypoint` is 1 x 2; store person x frame x joint x 2",
            ),
            (
                vec![("keypoint.npy", array("(0, 9223372036854775807, 1, 2)", &[]))],
                "a.npz: video `a`: `frames` is 9223372036854775807; cut the video to at most 16777216",
            ),
            (
                vec![
                    ("keypoint.npy", array("(1, 1, 1, 2)", &[0; 8])),
                    ("keypoint_score.npy", array("(1, 2, 1)", &[0; 8])),
                ],
                "a.npz: `keypoint_score` does not fit `keypoint`; store a score of each joint",
            ),
            (
                vec![
                    ("keypoint.npy", array("(1, 1, 17, 2)", &[0; 136])),
                    ("keypoint_score.npy", typed("<U0", "(1, 1, 17)", &[])),
                ],
                "a.npz: `keypoint_score` holds text; store numbers",
            ),
            (
                vec![(
                    "keypoint.npy",
                    array("(1, 1, 1, 3)", &[1.0, 2.0, -1.5].map(f32::to_le_bytes).concat()),
                )],
                "a.npz: `keypoint` has a third number of -1.5, which is no confidence; 3-D skeletons are not \
                 supported, use the 2-D file (or say how great confidences can be)",
            ),
            (
                vec![("keypoint.npy", one.clone()), ("label.npy", array("()", &[0; 4]))],
                "a.npz: `label` is not a whole number or a name; write one, or leave it out",
            ),
            (
                vec![("keypoint.npy", one.clone()), ("label.npy", typed("<i8", "(2,)", &[0; 16]))],
                "a.npz: `label` is not a whole number or a name; write one, or leave it out",
            ),
            (
                vec![("keypoint.npy", one.clone()), ("frame_dir.npy", array("()", &[0; 4]))],
                "a.npz: `frame_dir` is not a name; write one, or leave it out",
            ),
            (
                vec![("keypoint.npy", one.clone()), ("fps.npy", typed("<U1", "()", b"2\0\0\0"))],
                "a.npz: `fps` is not a number; write one, or leave it out",
            ),
        ] {
            let members: Vec<_> = members.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
            assert_eq!(error(&archive(&members)), expected);
        }
    }
}

/// Clips that every writable format can hold but for what its documentation says it loses.
fn clips() -> Vec<Clip> {
    let mut first = person(1, &[[16.0, 32.0, 0.5], [0.0; 3]]);
    (first.track, first.bounding_box) = (Some(3), Some([1.0, 2.0, 3.5, 4.0].into()));
    let second = person(1, &[[300.0, 200.0, 1.0], [8.0, 8.0, 0.25]]);
    let third = person(3, &[[0.0; 3], [64.0, 128.0, 0.125]]);
    let mut a = clip("sports/v_1", 6, vec![first, second, third]);
    (a.label, a.fps) = (Some("wave".into()), Some(25.0));
    let mut b = clip("v_2", 2, vec![person(1, &[[1.0, 2.0, 0.5], [3.0, 4.0, 0.5]])]);
    b.label = Some("walk".into());
    vec![a, b]
}

fn without(clips: &[Clip], forget: impl Fn(&mut Clip)) -> Vec<Clip> {
    let mut clips = clips.to_vec();
    clips.iter_mut().for_each(forget);
    clips
}

#[test]
fn what_is_written_is_read_again() {
    let clips = clips();
    let folder = tempfile::tempdir().unwrap();
    let again = |format: Format, name: &str, clips: &[Clip]| {
        let path = folder.path().join(name);
        write(format, &path, clips).unwrap();
        assert_eq!(Format::detect(&path).unwrap(), format);
        read(format, &path, &sized()).unwrap()
    };
    let forget_people = |clip: &mut Clip| {
        clip.instances.iter_mut().for_each(|person| (person.track, person.bounding_box) = (None, None));
    };
    assert_eq!(again(Format::Clip, "c.jsonl", &clips), clips);
    let expected = without(&clips, |clip| {
        (clip.label, clip.fps) = (None, None);
        clip.frames = clip.instances.last().unwrap().frame + 1;
    });
    assert_eq!(again(Format::Coco, "c.json", &clips), expected);
    let expected = without(&clips, |clip| {
        (clip.label, clip.fps) = (None, None);
        clip.instances.iter_mut().for_each(|person| person.bounding_box = None);
    });
    assert_eq!(again(Format::OpenPose, "openpose", &clips), expected);
    let expected = without(&clips, |clip| {
        clip.fps = None;
        forget_people(clip);
    });
    assert_eq!(again(Format::Kinetics, "kinetics", &clips), expected);
    let expected = without(&clips, forget_people);
    assert_eq!(again(Format::Npz, "npz", &clips), expected);

    // One clip is one file, which keeps no folder.
    let only = &expected[1..];
    assert_eq!(again(Format::Npz, "one.npz", only), only);
    let nobody = [Clip { instances: vec![], ..only[0].clone() }];
    assert_eq!(
        read(
            Format::Kinetics,
            &{
                let path = folder.path().join("v_2.json");
                write(Format::Kinetics, &path, &nobody).unwrap();
                path
            },
            &sized()
        )
        .unwrap(),
        nobody
    );
}

#[cfg(unix)]
#[test]
fn links_are_written_through() {
    let folder = folder(&[("file", "old")]);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("file", &link).unwrap();
    for format in [Format::Clip, Format::Coco, Format::Kinetics, Format::Npz] {
        write(format, &link, &clips()[1..]).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("file"), "{format}");
        assert_eq!(read_in(&folder, "link", format, &sized()).unwrap().len(), 1, "{format}");
    }
}

#[test]
fn what_cannot_be_written_is_said() {
    let folder = folder(&[("file", "")]);
    let root = folder.path().join("root");
    let error = |format, path: &str, clips: &[Clip]| {
        let error = write(format, &root.join(path), clips).unwrap_err().to_string();
        error.replace(&format!("{}/", root.display()), "")
    };
    for format in [Format::Pyskl, Format::Ntu] {
        let expected =
            format!("o: the format `{format}` is only read; write clip, coco, openpose, kinetics or npz");
        assert_eq!(error(format, "o", &clips()), expected);
    }
    let outside = without(&clips(), |clip| clip.id.insert_str(0, "../"));
    assert_eq!(
        error(Format::Npz, "o", &outside),
        "o: no file can be named after video `../sports/v_1`; rename it"
    );
    let twice = [clips(), clips()].concat();
    let expected = "o: video `sports/v_1` is there twice; remove or rename one";
    assert_eq!(error(Format::Npz, "o", &twice), expected);
    let broken = without(&clips(), |clip| clip.frames = 0);
    let expected = "o: video `sports/v_1`: `frames` is 0; count the frames without people too";
    assert_eq!(error(Format::Coco, "o", &broken), expected);
    assert!(
        error(Format::Coco, "../file/o", &clips())
            .ends_with("; check that its folder exists and is writable")
    );
}

#[test]
fn formats_are_told_by_their_files() {
    let folder = folder(&[
        ("a.jsonl", ""),
        ("b.pkl", ""),
        ("c.skeleton", ""),
        ("d.npy", ""),
        ("e.json", " [ ]"),
        ("f.json", r#"{"version": 1.3, "people": [{"data": 1}]}"#),
        ("g.json", r#"{"data": []}"#),
        ("h.json", r#"{"id": "v", "instances": []}"#),
        ("i.json", r#"{"info": {}, "images": [], "annotations": []}"#),
        ("j.json", "{}"),
        ("k.txt", ""),
        ("l/m/n.skeleton", ""),
    ]);
    let detect = |name: &str| Format::detect(&folder.path().join(name)).ok();
    let expected = [
        ("a.jsonl", Some(Format::Clip)),
        ("b.pkl", Some(Format::Pyskl)),
        ("c.skeleton", Some(Format::Ntu)),
        ("d.npy", Some(Format::Npz)),
        ("e.json", Some(Format::Coco)),
        ("f.json", Some(Format::OpenPose)),
        ("g.json", Some(Format::Kinetics)),
        ("h.json", Some(Format::Clip)),
        ("i.json", Some(Format::Coco)),
        ("j.json", None),
        ("k.txt", None),
        ("l", Some(Format::Ntu)),
        ("none", None),
    ];
    for (name, format) in expected {
        assert_eq!(detect(name), format, "{name}");
    }
    let error = Format::detect(&folder.path().join("k.txt")).unwrap_err().to_string();
    assert!(error.ends_with(
        "k.txt: is in no format that is known; name one of clip, coco, openpose, kinetics, pyskl, ntu, npz"
    ));
    for format in Format::ALL {
        assert_eq!(Format::by_name(format.name()), Some(format));
    }
}
