//! `pg-wsol evaluate` as a user runs it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

/// Metadata of three images, and a score map for each that is 1 in its box.
struct Data {
    folder: TempDir,
}

const SIDE: usize = 32;
/// Boxes in maps of SIDE pixels; the images are twice as large.
const BOXES: [(&str, [usize; 4]); 3] =
    [("a/one.jpg", [4, 4, 12, 12]), ("a/two.jpg", [8, 2, 28, 20]), ("b/three, four.jpg", [0, 10, 31, 31])];

impl Data {
    fn new() -> Self {
        let data = Self { folder: tempfile::tempdir().unwrap() };
        for split in ["test", "val"] {
            let lines = |of: &dyn Fn(&str, [usize; 4]) -> String| BOXES.map(|(id, b)| of(id, b)).join("\n");
            data.metadata(split, "image_ids.txt", &lines(&|id, _| id.to_owned()));
            data.metadata(split, "class_labels.txt", &lines(&|id, _| format!("{id},{}", id.len() % 2)));
            data.metadata(split, "image_sizes.txt", &lines(&|id, _| format!("{id},64,64")));
            data.metadata(
                split,
                "localization.txt",
                &lines(&|id, [x0, y0, x1, y1]| format!("{id},{},{},{},{}", 2 * x0, 2 * y0, 2 * x1, 2 * y1)),
            );
        }
        for (id, b) in BOXES {
            data.map(id, &scores(b));
        }
        data
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn metadata(&self, split: &str, file: &str, text: &str) {
        let folder = self.path("metadata").join(split);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), text).unwrap();
    }

    fn map(&self, id: &str, scores: &[f64]) {
        self.npy(&format!("{id}.npy"), "<f8", &[SIDE, scores.len() / SIDE], &le(scores));
    }

    fn npy(&self, name: &str, kind: &str, shape: &[usize], data: &[u8]) {
        let path = self.path("maps").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let shape: Vec<String> = shape.iter().map(|n| format!("{n},")).collect();
        let header =
            format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}), }}\n", shape.join(" "));
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        fs::write(path, bytes).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("pg-wsol"));
        command.current_dir(self.folder.path()).args(["evaluate", "--metadata", "metadata"]);
        if !arguments.contains(&"--scoremaps") {
            command.args(["--scoremaps", "maps"]);
        }
        command.args(arguments).output().unwrap()
    }

    fn numbers(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// One line on standard error with `text`, and exit code `code`.
    fn assert_fails(&self, arguments: &[&str], code: i32, text: &str) {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(text), "{stderr}");
        assert!(output.stdout.is_empty());
        if code == 1 {
            assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
            assert!(stderr.starts_with("error: "), "{stderr}");
        }
    }
}

fn le(scores: &[f64]) -> Vec<u8> {
    scores.iter().flat_map(|score| score.to_le_bytes()).collect()
}

/// 1 in a box, whose ends wsolevaluation counts out, and 0.1 around.
fn scores([x0, y0, x1, y1]: [usize; 4]) -> Vec<f64> {
    let inside = |i: usize| (x0..x1).contains(&(i % SIDE)) && (y0..y1).contains(&(i / SIDE));
    (0..SIDE * SIDE).map(|i| if inside(i) { 1.0 } else { 0.1 }).collect()
}

#[test]
fn perfect_maps_find_everything() {
    let data = Data::new();
    let row = data.numbers(&[]);
    for key in ["max_box_acc_v2", "max_box_acc", "box_acc_30", "box_acc_50", "box_acc_70"] {
        assert_eq!(row[key], 100.0, "{key}");
    }
    assert_eq!(row["images"], 3);
    let text = String::from_utf8(data.run(&[]).stdout).unwrap();
    assert!(
        text.starts_with("test: 3 images, convention wsolevaluation\nMaxBoxAccV2                100.000 %\n"),
        "{text}"
    );
}

#[test]
fn a_replaced_extension_and_single_precision_are_fine() {
    let data = Data::new();
    let (id, b) = BOXES[0];
    fs::remove_file(data.path("maps").join(format!("{id}.npy"))).unwrap();
    let bytes: Vec<u8> = scores(b).iter().flat_map(|&score| (score as f32).to_le_bytes()).collect();
    data.npy("a/one.npy", "<f4", &[SIDE, SIDE], &bytes);
    assert_eq!(data.numbers(&[])["max_box_acc_v2"], 100.0);
}

#[test]
fn a_safetensors_file_is_as_good_as_a_folder() {
    let data = Data::new();
    let mut header = serde_json::Map::new();
    let mut bytes = Vec::new();
    for (id, b) in BOXES {
        let start = bytes.len();
        bytes.extend(le(&scores(b)));
        let info = serde_json::json!({ "dtype": "F64", "shape": [SIDE, SIDE], "data_offsets": [start, bytes.len()] });
        header.insert(id.to_owned(), info);
    }
    let header = serde_json::Value::Object(header).to_string();
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes].concat();
    fs::write(data.path("maps.safetensors"), &file).unwrap();
    assert_eq!(data.numbers(&["--scoremaps", "maps.safetensors"]), data.numbers(&[]));

    fs::write(data.path("short.safetensors"), &file[..file.len() - 8]).unwrap();
    data.assert_fails(
        &["--scoremaps", "short.safetensors"],
        1,
        "short.safetensors: 24568 bytes of scores, expected 24576",
    );
    fs::write(data.path("bad.safetensors"), &file[8..]).unwrap();
    data.assert_fails(&["--scoremaps", "bad.safetensors"], 1, "bad.safetensors: no safetensors file");
}

#[test]
fn classification_counts_in_top1_and_top5() {
    let data = Data::new();
    let labels = BOXES.map(|(id, _)| id.len() % 2);
    let rows = [
        format!("a/one.jpg,{},8,8,8,8", labels[0]),
        format!("a/two.jpg,8,8,{},8,8", labels[1]),
        "\"b/three, four.jpg\",8,8,8,8,8".to_owned(),
    ];
    fs::write(data.path("guesses.csv"), format!("image,top1,top2,top3,top4,top5\n{}\n", rows.join("\n")))
        .unwrap();
    let row = data.numbers(&["--predictions", "guesses.csv"]);
    assert_eq!((row["top1_loc"].as_f64(), row["top5_loc"].as_f64()), (Some(100.0 / 3.0), Some(200.0 / 3.0)));

    let top1 = BOXES.map(|(id, _)| format!("\"{id}\",0")).join("\n");
    fs::write(data.path("guesses.csv"), format!("image,top1\n{top1}\n")).unwrap();
    assert!(data.numbers(&["--predictions", "guesses.csv"]).get("top5_loc").is_none());
    fs::write(data.path("guesses.csv"), "image,top1\na/one.jpg,0\n").unwrap();
    data.assert_fails(&["--predictions", "guesses.csv"], 1, "guesses.csv: no line for image `a/two.jpg`");
    let output = data.run(&["--predictions", "guesses.csv", "--keep-going", "--json"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("skipped: guesses.csv: no line for image `a/two.jpg`"), "{stderr}");
    assert!(stderr.contains("test: 2 of 3 images were left out"), "{stderr}");
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["images"], 1);
    fs::write(data.path("guesses.csv"), "image,top1\na/one.jpg,-1\n").unwrap();
    data.assert_fails(&["--predictions", "guesses.csv"], 1, "guesses.csv:2: `-1` is not a class");
    fs::write(data.path("guesses.csv"), "image,top1,top2\n").unwrap();
    data.assert_fails(&["--predictions", "guesses.csv"], 1, "no column `top3`");
    fs::write(data.path("guesses.csv"), "name,top1\n").unwrap();
    data.assert_fails(&["--predictions", "guesses.csv"], 1, "no column `image`");
    data.assert_fails(&["--predictions", "nowhere.csv"], 1, "nowhere.csv: ");
}

/// On val the boxes are those of other images: its best threshold is another.
#[test]
fn thresholds_can_be_chosen_on_val() {
    let data = Data::new();
    // In each map a strong box that is the object on test, and a weak one that is it on val.
    let weak = [20, 22, 30, 31];
    for (id, b) in BOXES {
        let both =
            scores(b).into_iter().zip(scores(weak)).map(|(a, w)| if w == 1.0 { 0.5_f64.max(a) } else { a });
        data.map(id, &both.collect::<Vec<_>>());
    }
    let boxes = BOXES.map(|(id, _)| format!("{id},40,44,60,62")).join("\n");
    data.metadata("val", "localization.txt", &boxes);
    let row = data.numbers(&["--val-scoremaps", "maps", "--thresholds", "0.3,0.7"]);
    assert_eq!(row["max_box_acc_at"], 0.7, "alone the strong box is the largest");
    assert_eq!(row["max_box_acc"], 100.0);
    assert_eq!(row["val_threshold_box_acc_70_at"], 0.3, "the weak one is there at 0.3 only");
}

/// With guesses on val the threshold of Top-1 is that of what is found and known there.
#[test]
fn guesses_on_val_choose_the_threshold_of_top1() {
    let data = Data::new();
    // On val the first object is there above 0.5 only, and the two others below it only.
    let faint =
        |b| scores(b).into_iter().map(|score| if score == 1.0 { 0.6 } else { 1.0 }).collect::<Vec<f64>>();
    for (id, b) in BOXES {
        let map = if id == BOXES[0].0 { scores(b) } else { faint(b) };
        data.npy(&format!("../val/{id}.npy"), "<f8", &[SIDE, SIDE], &le(&map));
    }
    let labels = BOXES.map(|(id, _)| id.len() % 2);
    let right = |which: usize| {
        let row = |i: usize| format!("\"{}\",{}", BOXES[i].0, if i == which { labels[i] } else { 7 });
        format!("image,top1\n{}\n{}\n{}\n", row(0), row(1), row(2))
    };
    fs::write(data.path("test.csv"), right(0)).unwrap();
    fs::write(data.path("val.csv"), right(0)).unwrap();
    let said = ["--thresholds", "0.05,0.5", "--predictions", "test.csv", "--val-scoremaps", "val"];
    let at = |more: &[&str]| data.numbers(&[&said[..], more].concat())["val_threshold_top1_loc_at"].as_f64();
    assert_eq!(at(&["--val-predictions", "val.csv"]), Some(0.5));
    data.assert_fails(&["--val-predictions", "val.csv"], 2, "--val-scoremaps");
    data.assert_fails(&["--val-predictions", "val.csv", "--val-scoremaps", "val"], 2, "--predictions");
}

#[test]
fn when_keeping_going_most_maps_tell_the_size_of_all() {
    let data = Data::new();
    data.map("a/one.jpg", &[0.5; SIDE * 8]);
    data.assert_fails(&[], 1, "maps/a/two.jpg.npy: 32 x 32 pixels, expected 8 x 32 as of the first map; all");
    let output = data.run(&["--keep-going", "--json"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("skipped: maps/a/one.jpg.npy: 8 x 32 pixels, expected 32 x 32 as of most maps"),
        "{stderr}"
    );
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["images"], 2);
}

#[test]
fn cells_of_a_network_are_no_map_yet() {
    let data = Data::new();
    assert!(data.run(&[]).stderr.is_empty());
    BOXES
        .iter()
        .for_each(|(id, _)| data.npy(&format!("{id}.npy"), "<f8", &[2, 2], &le(&[0.0, 0.1, 0.2, 1.0])));
    let stderr = String::from_utf8(data.run(&[]).stderr).unwrap();
    assert!(stderr.starts_with("test: score maps of 2 x 2 pixels, as if of a network's cells; "), "{stderr}");
}

#[test]
fn curves_are_drawn() {
    let data = Data::new();
    assert!(data.run(&["--plot", "curves.svg"]).status.success());
    let svg = fs::read_to_string(data.path("curves.svg")).unwrap();
    assert!(svg.contains("MaxBoxAccV2 100.00 %") && svg.contains("overlap 0.7: 100.0 %"));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let data = Data::new();
    let ids: Vec<String> = (0..120).map(|i| format!("{i}.png")).collect();
    let lines = |of: &dyn Fn(usize, &str) -> String| {
        ids.iter().enumerate().map(|(i, id)| of(i, id)).collect::<Vec<_>>().join("\n")
    };
    data.metadata("test", "image_ids.txt", &ids.join("\n"));
    data.metadata("test", "class_labels.txt", &lines(&|i, id| format!("{id},{i}")));
    data.metadata("test", "image_sizes.txt", &lines(&|_, id| format!("{id},32,32")));
    data.metadata("test", "localization.txt", &lines(&|i, id| format!("{id},2,3,{},20", 5 + i % 20)));
    for (i, id) in ids.iter().enumerate() {
        if i % 37 != 30 {
            data.map(id, &scores([2, 3, 12, 5 + i % 16]));
        }
    }
    let run = |threads, more: &[&str]| {
        let output = data.run(&[&["--threads", threads], more].concat());
        (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    for more in [&["--keep-going"][..], &[]] {
        assert_eq!(run("1", more), run("4", more));
    }
    assert!(run("4", &[]).2.contains("no score map of image `30.png`"));
}

#[test]
fn conventions_have_names() {
    let data = Data::new();
    for name in ["wsolevaluation", "da-wsol", "sat", "ts-cam"] {
        assert_eq!(data.numbers(&["--convention", name])["convention"], name);
    }
    // Beside the object something larger that is none.
    let both = scores(BOXES[0].1).into_iter().zip(scores([14, 14, 31, 31])).map(|(a, b)| f64::max(a, b));
    data.map(BOXES[0].0, &both.collect::<Vec<_>>());
    let known = |convention| data.numbers(&["--convention", convention])["max_box_acc"].as_f64();
    assert_eq!([known("wsolevaluation"), known("da-wsol")], [Some(200.0 / 3.0), Some(100.0)]);
    data.assert_fails(
        &["--convention", "other"],
        2,
        "known conventions: wsolevaluation, ts-cam, da-wsol, sat",
    );
}

#[test]
fn maps_that_cannot_be_used_are_named() {
    type Break = fn(&Data);
    let cases: [(Break, &str); 11] = [
        (
            |data| fs::remove_file(data.path("maps/a/two.jpg.npy")).unwrap(),
            "maps: no score map of image `a/two.jpg` (a/two.jpg.npy or a/two.npy)",
        ),
        (
            |data| data.npy("a/two.npy", "<f8", &[SIDE, SIDE], &le(&scores(BOXES[1].1))),
            "maps/a/two.jpg.npy and maps/a/two.npy are both",
        ),
        (
            |data| data.map("a/two.jpg", &[0.5; SIDE * 8]),
            "maps/a/two.jpg.npy: 8 x 32 pixels, expected 32 x 32 as of ",
        ),
        (
            |data| data.npy("a/two.jpg.npy", "<i4", &[SIDE, SIDE], &[0; 4 * SIDE * SIDE]),
            "maps/a/two.jpg.npy: scores of type <i4, expected float32 or float64",
        ),
        (
            |data| data.npy("a/two.jpg.npy", "<f8", &[1, SIDE, SIDE], &[0; 8 * SIDE * SIDE]),
            "maps/a/two.jpg.npy: an array of shape [1, 32, 32], expected (height, width)",
        ),
        (
            |data| data.npy("a/two.jpg.npy", "<f8", &[SIDE, SIDE], &[0; 8]),
            "maps/a/two.jpg.npy: 8 bytes of scores, expected 8192",
        ),
        (
            |data| data.npy("a/two.jpg.npy", "<f8", &[usize::MAX, SIDE], &[0; 8]),
            "maps/a/two.jpg.npy: 8 bytes of scores, expected",
        ),
        (
            |data| fs::write(data.path("maps/a/two.jpg.npy"), b"no array").unwrap(),
            "maps/a/two.jpg.npy: does not start as a .npy file; is this the right file?",
        ),
        (
            |data| data.map("a/two.jpg", &[f64::NAN; SIDE * SIDE]),
            "maps/a/two.jpg.npy: NaN at row 0, column 0",
        ),
        (|data| data.map("a/two.jpg", &[-0.5; SIDE * SIDE]), "maps/a/two.jpg.npy: -0.5 at row 0, column 0"),
        (|data| data.map("a/two.jpg", &[1.5; SIDE * SIDE]), "maps/a/two.jpg.npy: 1.5 at row 0, column 0"),
    ];
    for (break_it, message) in cases {
        let data = Data::new();
        break_it(&data);
        data.assert_fails(&[], 1, message);
        let output = data.run(&["--keep-going", "--json"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains(&format!("skipped: {message}")), "{stderr}");
        assert!(stderr.contains("test: 1 of 3 images were left out"), "{stderr}");
        let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((row["images"].as_u64(), row["max_box_acc_v2"].as_f64()), (Some(2), Some(100.0)));
    }
}

/// As wsolevaluation does: a map that shows nothing is scored, and found wanting.
#[test]
fn a_blank_map_is_scored_and_mentioned() {
    let data = Data::new();
    data.map("a/two.jpg", &[0.0; SIDE * SIDE]);
    let output = data.run(&["--json"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("test: 1 of 3 score maps are all zero"));
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["max_box_acc"].as_f64(), Some(200.0 / 3.0));
    // Scaled, any constant map is blank.
    data.map("a/two.jpg", &[-7.0; SIDE * SIDE]);
    assert_eq!(data.numbers(&["--normalize"])["max_box_acc"].as_f64(), Some(200.0 / 3.0));
}

#[test]
fn metadata_that_cannot_be_used_is_named() {
    let cases: [(&str, &str, &str); 18] = [
        ("image_ids.txt", "", "image_ids.txt: lists no image"),
        (
            "image_ids.txt",
            "a/one.jpg\n../b.jpg",
            "image_ids.txt:2: `../b.jpg` is not `a path relative to the data",
        ),
        ("image_ids.txt", "/a/one.jpg", "image_ids.txt:1: `/a/one.jpg` is not `a path relative to the data"),
        (
            "localization.txt",
            "a/one.jpg,8,8,24,",
            "localization.txt:1: `a/one.jpg,8,8,24,` is not `path,x0,y0,x1,y1`",
        ),
        (
            "localization.txt",
            "image_id,x0,y0,x1,y1",
            "localization.txt:1: `image_id,x0,y0,x1,y1` is not `path,x0,y0,x1,y1`",
        ),
        (
            "localization.txt",
            "a/one.jpg,masks/Smith,3,x.png,",
            "localization.txt: no line for image `a/two.jpg`",
        ),
        (
            "localization.txt",
            "a/none.jpg,mask.png,",
            "localization.txt:1: `a/none.jpg,mask.png,` is not `path,mask",
        ),
        ("image_ids.txt", "a/one.jpg\na/one.jpg", "image_ids.txt:2: image `a/one.jpg` is there twice"),
        ("class_labels.txt", "a/one.jpg,zero", "class_labels.txt:1: `a/one.jpg,zero` is not `path,label`"),
        (
            "class_labels.txt",
            "a/one.jpg,0\n",
            "class_labels.txt: no line for image `a/two.jpg` (image_ids.txt:2)",
        ),
        (
            "class_labels.txt",
            "a/one.jpg,0\na/none.jpg,0",
            "class_labels.txt:2: image `a/none.jpg` is not in image_ids.txt",
        ),
        ("image_sizes.txt", "a/one.jpg,64", "image_sizes.txt:1: `a/one.jpg,64` is not `path,width,height`"),
        (
            "localization.txt",
            "a/one.jpg,1,2,3",
            "localization.txt:1: `a/one.jpg,1,2,3` is not `path,x0,y0,x1,y1`",
        ),
        ("localization.txt", "a/one.jpg,9,2,3,4", "localization.txt:1: box 9,2,3,4 ends before it starts"),
        (
            "localization.txt",
            "a/one.jpg,1,2,65,4",
            "localization.txt:1: box 1,2,65,4 lies outside (the image is 64 x 64)",
        ),
        ("localization.txt", "a/one.jpg,-1,2,5,4", "localization.txt:1: box -1,2,5,4 lies outside"),
        ("localization.txt", "a/one.jpg,1,2,5,4", "localization.txt: no line for image `a/two.jpg`"),
        ("localization.txt", "", "localization.txt: no line for image `a/one.jpg`"),
    ];
    for (file, text, message) in cases {
        let data = Data::new();
        data.metadata("test", file, text);
        data.assert_fails(&[], 1, message);
    }
    let data = Data::new();
    let sizes = BOXES.map(|(id, _)| format!("{id},64,0")).join("\n");
    data.metadata("test", "image_sizes.txt", &sizes);
    data.assert_fails(&[], 1, "image_sizes.txt:1: `a/one.jpg,64,0` is not");
    fs::write(data.path("metadata/test/image_ids.txt"), b"\xff\xfe").unwrap();
    data.assert_fails(&[], 1, "image_ids.txt: is not UTF-8");
    data.assert_fails(&["--split", "none"], 1, "metadata/none/image_ids.txt: ");
    Data::new().assert_fails(&["--scoremaps", "nowhere"], 1, "nowhere: ");
    data.assert_fails(&["--interval", "0"], 2, "expected a number from 0.0001 to 0.5");
    data.assert_fails(&["--thresholds", "0.1,1"], 2, "expected numbers from 0 to below 1");
    data.assert_fails(&["--threads", "0"], 2, "0 is not in 1..");
}

#[test]
fn masks_give_the_precision_of_pixels() {
    let data = Data::new();
    for (id, [x0, y0, x1, y1]) in BOXES {
        let stem = Path::new(id).with_extension("");
        let mask = image::GrayImage::from_fn(2 * SIDE as u32, 2 * SIDE as u32, |x, y| {
            let (x, y) = (x as usize / 2, y as usize / 2);
            image::Luma([255 * u8::from((x0..x1).contains(&x) && (y0..y1).contains(&y))])
        });
        let path = data.path("masks").join(stem.with_extension("png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        mask.save(path).unwrap();
    }
    let lines = BOXES.map(|(id, _)| format!("{id},{},", Path::new(id).with_extension("png").display()));
    data.metadata("test", "localization.txt", &lines.join("\n"));
    let row = data.numbers(&["--masks", "masks", "--plot", "precision.svg"]);
    assert_eq!((row["pxap"].as_f64(), row["images"].as_u64()), (Some(100.0), Some(3)));
    assert!(fs::read_to_string(data.path("precision.svg")).unwrap().contains("PxAP 100.00 %"));

    data.assert_fails(&[], 1, "metadata/test/localization.txt: lists masks; name their folder with --masks");
    data.assert_fails(&["--masks", "masks", "--thresholds", "0.5"], 1, "--thresholds is for boxes");
    data.assert_fails(&["--masks", "masks", "--convention", "sat"], 1, "--convention is for boxes");
    fs::write(data.path("masks/a/two.png"), b"no picture").unwrap();
    data.assert_fails(&["--masks", "masks"], 1, "masks/a/two.png: ");
    assert_eq!(data.numbers(&["--masks", "masks", "--keep-going"])["images"], 2);
    Data::new().assert_fails(&["--masks", "masks"], 1, "--masks is for masks");
}
