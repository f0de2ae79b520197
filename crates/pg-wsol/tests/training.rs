//! `pg-wsol train` and `explain` as a user runs them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

/// The smallest training there is.
const QUICK: [&str; 9] = ["train", "--epochs", "1", "--limit-batches", "1", "--batch", "4", "--threads", "1"];

fn run(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("pg-wsol").unwrap();
    let output = command.args(args).current_dir(folder).timeout(Duration::from_secs(300)).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    output
}

fn quick(folder: &Path, args: &[&str]) -> Output {
    run(folder, &[&QUICK, args].concat())
}

/// The JSON object at the end of standard output.
fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// The one line that says what was wrong.
fn error(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_log = |line: &&str| [" INFO ", " WARN "].iter().any(|level| line.starts_with(level));
    let said: Vec<&str> = text.lines().filter(|line| !is_log(line)).collect();
    assert!(said.len() == 1 && said[0].starts_with("error: "), "{text}");
    said[0].to_owned()
}

/// Six images of two classes, a bright square of 16 pixels on the left or right of 40, with wsolevaluation's lists.
struct Photos(TempDir);

impl Photos {
    fn new() -> Self {
        let photos = Self(tempfile::tempdir().unwrap());
        for split in ["train", "val", "test"] {
            let ids: Vec<String> = (0..6).map(|i| format!("{split}/class, {}/{i}.png", i % 2)).collect();
            for (i, id) in ids.iter().enumerate() {
                let left = 20 * (i as u32 % 2) + 2;
                let image = RgbImage::from_fn(40, 40, |x, y| {
                    let inside = (left..left + 16).contains(&x) && (10..26).contains(&y);
                    if inside { Rgb([240, 200, 40]) } else { Rgb([(x * 3) as u8, 60, (y * 3) as u8]) }
                });
                let path = photos.0.path().join("images").join(id);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                image.save(path).unwrap();
            }
            let lines = |of: &dyn Fn(usize, &str) -> String| {
                ids.iter().enumerate().map(|(i, id)| of(i, id)).collect::<Vec<_>>().join("\n")
            };
            photos.list(split, "image_ids.txt", &lines(&|_, id| id.to_owned()));
            photos.list(split, "class_labels.txt", &lines(&|i, id| format!("{id},{}", i % 2)));
            photos.list(split, "image_sizes.txt", &lines(&|_, id| format!("{id},40,40")));
            let boxes = lines(&|i, id| format!("{id},{},10,{},26", 20 * (i % 2) + 2, 20 * (i % 2) + 18));
            photos.list(split, "localization.txt", if split == "train" { "" } else { &boxes });
        }
        photos
    }

    fn list(&self, split: &str, file: &str, text: &str) {
        let folder = self.0.path().join("metadata").join(split);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), text).unwrap();
    }

    /// Masks in place of boxes, as OpenImages has them.
    fn with_masks() -> Self {
        let photos = Self::new();
        let folder = photos.0.path().join("masks");
        fs::create_dir_all(&folder).unwrap();
        for i in 0..2u32 {
            let inside = |x: u32, y: u32| (20 * i + 2..20 * i + 18).contains(&x) && (10..26).contains(&y);
            let mask = image::GrayImage::from_fn(40, 40, |x, y| image::Luma([255 * u8::from(inside(x, y))]));
            mask.save(folder.join(format!("{i}.png"))).unwrap();
        }
        for split in ["val", "test"] {
            let line = |i: usize| format!("{split}/class, {}/{i}.png,{}.png,", i % 2, i % 2);
            photos.list(split, "localization.txt", &(0..6).map(line).collect::<Vec<_>>().join("\n"));
        }
        photos
    }

    fn train(&self, args: &[&str]) -> Output {
        let source = ["--data-root", "images", "--metadata", "metadata"];
        let small = [("--model", "small-vgg-gap"), ("--image-size", "32")];
        let unsaid = small.into_iter().filter(|(flag, _)| !args.contains(flag));
        let small: Vec<&str> = unsaid.flat_map(|(flag, value)| [flag, value]).collect();
        quick(self.0.path(), &[&source, &small[..], args].concat())
    }
}

#[test]
fn every_synthesis_trains_every_kind_of_network() {
    let folder = tempfile::tempdir().unwrap();
    for (synth, model, alpha) in [
        ("none", "small-vgg-gap", "0"),
        ("mixup", "small-vgg-gap", "0"),
        ("cutmix", "small-vgg-gap", "0.1"),
        ("resizemix", "sat-mini", "0.1"),
        ("puzzlemix", "sat-mini", "0.1"),
        ("cutmix", "resnet18", "0.1"),
    ] {
        let args = ["--synth", synth, "--model", model, "--alpha", alpha, "--out", model, "--json"];
        let args = [&args[..], &["--image-size", "32"]].concat();
        let report = answer(&quick(folder.path(), &args));
        let number =
            |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{synth} {model}: {key} {report}"));
        for key in
            ["test_v2", "test_box_acc_30", "test_box_acc_70", "test_max_box_acc", "test_top1", "val_v2"]
        {
            assert!((0.0..=1.0).contains(&number(key)), "{synth} {model}: {key}");
        }
        assert!(number("leak_ratio") > 0.0 && number("test_v2_gradient") >= 0.0);
        assert_eq!(report["loss_pg"].is_null(), alpha == "0", "{report}");
        let run = folder.path().join(report["run_dir"].as_str().unwrap());
        for file in [
            "args.toml",
            "best.safetensors",
            "curves.svg",
            "thresholds.svg",
            "samples.png",
            "explain/test.png",
        ] {
            assert!(run.join(file).metadata().unwrap().len() > 0, "{file}");
        }
    }
}

#[test]
fn wrong_masks_and_both_strategies_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let loss = |args: &[&str]| {
        let args = [&["--synth", "cutmix", "--synth-prob", "1", "--alpha", "0.1", "--json"], args].concat();
        answer(&quick(folder.path(), &args))["loss_pg"].as_f64().unwrap()
    };
    let (plain, random, full) = (loss(&[]), loss(&["--mask", "random"]), loss(&["--mask", "full"]));
    assert!(full > plain && random != plain, "{plain} {random} {full}");
    let difference = loss(&["--strategy", "finite-difference"]);
    assert!((difference / plain - 1.0).abs() < 1e-2, "{plain} {difference}");
}

#[test]
fn a_folder_with_metadata_is_trained_on_and_its_maps_are_evaluated() {
    let photos = Photos::new();
    let report = answer(&photos.train(&["--synth", "cutmix", "--alpha", "0.1", "--json"]));
    let run_dir = report["run_dir"].as_str().unwrap();
    let args = ["explain", "--checkpoint", run_dir, "--data-root", "images", "--metadata", "metadata"];
    let args = [&args[..], &["--scoremaps", "maps", "--count", "3", "--threads", "1", "--json"]].concat();
    let drawn = answer(&run(photos.0.path(), &args));
    assert_eq!(drawn["images"], 3);
    for file in ["sheet.png", "0002.png", "images.csv"] {
        assert!(photos.0.path().join("explain").join(file).is_file(), "{file}");
    }
    let args = ["evaluate", "--scoremaps", "maps", "--metadata", "metadata", "--json"];
    let args = [&args[..], &["--predictions", "maps/predictions.csv"]].concat();
    let evaluated = answer(&run(photos.0.path(), &args));
    let percent = |value: &Value| value.as_f64().unwrap();
    assert_eq!(percent(&evaluated["max_box_acc_v2"]), 100.0 * percent(&report["test_v2"]));
    assert_eq!(percent(&evaluated["top1_loc"]), 100.0 * percent(&report["test_top1_loc"]));
    // Each convention's maps are its own: SAT's are of the central crop.
    for convention in ["wsolevaluation", "ts-cam", "da-wsol", "sat"] {
        let args = ["explain", "--checkpoint", run_dir, "--data-root", "images", "--metadata", "metadata"];
        let more = ["--convention", convention, "--scoremaps", convention, "--count", "1", "--json"];
        let drawn = answer(&run(photos.0.path(), &[&args[..], &more].concat()));
        let args = ["evaluate", "--metadata", "metadata", "--scoremaps", convention, "--json"];
        let guesses = format!("{convention}/predictions.csv");
        let more = ["--convention", convention, "--predictions", &guesses];
        let evaluated = answer(&run(photos.0.path(), &[&args[..], &more].concat()));
        assert_eq!(evaluated["images"], 6);
        assert_eq!(drawn["threshold"], evaluated["max_box_acc_at"], "{convention}");
    }
    let map = |folder: &str| fs::read(photos.0.path().join(folder).join("test/class, 0/0.png.npy")).unwrap();
    assert!(map("ts-cam") == map("wsolevaluation") && map("sat") != map("wsolevaluation"));
    // The input gradient as another kind of map.
    let args = ["explain", "--checkpoint", run_dir, "--data-root", "images", "--metadata", "metadata"];
    let args = [&args[..], &["--map", "gradient", "--threshold", "0.5", "--out", "by-gradient"]].concat();
    let drawn = run(photos.0.path(), &args);
    assert!(
        String::from_utf8_lossy(&drawn.stdout)
            .starts_with("6 images drawn in by-gradient, boxes at threshold 0.500")
    );
}

#[test]
fn maps_are_judged_by_masks_where_there_are_no_boxes() {
    let photos = Photos::with_masks();
    let report = answer(&photos.train(&["--masks", "masks", "--synth", "cutmix", "--json"]));
    for key in ["test_pxap", "val_pxap", "test_pxap_gradient"] {
        assert!((0.0..=1.0).contains(&report[key].as_f64().unwrap()), "{key} {report}");
    }
    assert!(report.get("test_v2").is_none() && report.get("test_v2_at_val").is_none(), "{report}");
    let run_dir = photos.0.path().join(report["run_dir"].as_str().unwrap());
    assert!(fs::read_to_string(run_dir.join("results.csv")).unwrap().contains("val_pxap,val_top1"));
    assert!(fs::read_to_string(run_dir.join("precision.svg")).unwrap().contains("PxAP"));
    let text = photos.train(&["--masks", "masks"]);
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.contains("input gradient as map: PxAP ") && !text.contains("NaN"), "{text}");

    fs::write(photos.0.path().join("masks/1.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    assert!(error(&photos.train(&["--masks", "masks"]), 1).contains("masks/1.png: "));
    let skipped = answer(&photos.train(&["--masks", "masks", "--on-corrupt", "skip", "--json"]));
    assert!(skipped["test_pxap"].as_f64().unwrap() > 0.0 && skipped["test_images"] == 6);
}

#[test]
fn maps_of_the_embedded_set_are_evaluated_as_any_others() {
    let folder = tempfile::tempdir().unwrap();
    // Few steps, but all images measured.
    let args = ["train", "--epochs", "1", "--batch", "256", "--threads", "1", "--json"];
    let report = answer(&run(folder.path(), &args));
    let checkpoint = report["run_dir"].as_str().unwrap();
    answer(&run(folder.path(), &["explain", "--checkpoint", checkpoint, "--scoremaps", "maps", "--json"]));
    let args = ["evaluate", "--scoremaps", "maps", "--metadata", "maps/metadata", "--json"];
    let evaluated =
        answer(&run(folder.path(), &[&args[..], &["--predictions", "maps/predictions.csv"]].concat()));
    assert_eq!(evaluated["images"], 1000);
    let on_val = ["explain", "--checkpoint", checkpoint, "--split", "val", "--scoremaps", "val", "--json"];
    answer(&run(folder.path(), &on_val));
    let by_val = ["--predictions", "maps/predictions.csv", "--val-scoremaps", "val"];
    let by_val = [&args[..], &by_val, &["--val-predictions", "val/predictions.csv"]].concat();
    let by_val = answer(&run(folder.path(), &by_val));
    for (ours, theirs) in [("v2", "max_box_acc_v2"), ("max_box_acc", "max_box_acc"), ("top1_loc", "top1_loc")]
    {
        let ours = 100.0 * report[format!("test_{ours}_at_val")].as_f64().unwrap();
        let theirs = by_val[format!("val_threshold_{theirs}")].as_f64().unwrap();
        assert!((ours - theirs).abs() < 1e-9, "{ours} {theirs}");
    }
    assert!(evaluated["max_box_acc_v2"].as_f64().unwrap() > 0.0 && evaluated.get("top1_loc").is_some());
}

/// What is wrong, the exit code, how it comes about, and words of the error.
type Case<'a> = (&'a str, i32, &'a dyn Fn(&Photos) -> Output, &'a [&'a str]);

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let cases: &[Case] = &[
        (
            "a listed image is not there",
            1,
            &|photos| {
                fs::remove_file(photos.0.path().join("images/val/class, 1/3.png")).unwrap();
                photos.train(&[])
            },
            &["images/val/class, 1/3.png: no such file", "metadata/val/image_ids.txt"],
        ),
        (
            "a class without an image",
            1,
            &|photos| {
                let ids = "train/class, 0/0.png\ntrain/class, 1/1.png";
                photos.list("train", "image_ids.txt", ids);
                photos.list("train", "class_labels.txt", "train/class, 0/0.png,0\ntrain/class, 1/1.png,2");
                photos.train(&[])
            },
            &["metadata/train/class_labels.txt: class 1 has no image"],
        ),
        (
            "a class that training does not know",
            1,
            &|photos| {
                let path = photos.0.path().join("metadata/test/class_labels.txt");
                let text = fs::read_to_string(&path).unwrap().replace("5.png,1", "5.png,7");
                fs::write(path, text).unwrap();
                photos.train(&[])
            },
            &["metadata/test/class_labels.txt: class 7, but the training images have the classes 0 to 1"],
        ),
        (
            "an empty training split",
            1,
            &|photos| {
                photos.list("train", "image_ids.txt", "");
                photos.train(&[])
            },
            &["metadata/train/image_ids.txt: lists no image"],
        ),
        (
            "no metadata",
            1,
            &|photos| {
                fs::remove_dir_all(photos.0.path().join("metadata")).unwrap();
                photos.train(&[])
            },
            &["metadata/train/image_ids.txt"],
        ),
        (
            "a broken image",
            1,
            &|photos| {
                fs::write(photos.0.path().join("images/test/class, 0/0.png"), b"\x89PNG\r\n\x1a\n").unwrap();
                photos.train(&[])
            },
            &["images/test/class, 0/0.png"],
        ),
        (
            "masks for boxes",
            2,
            &|photos| photos.train(&["--masks", "images"]),
            &["--masks does nothing with metadata that names boxes"],
        ),
        (
            "a mask that is not there",
            1,
            &|_| {
                let photos = Photos::with_masks();
                fs::remove_file(photos.0.path().join("masks/1.png")).unwrap();
                photos.train(&["--masks", "masks"])
            },
            &["masks/1.png: no such file", "metadata/val/localization.txt lists it; check --masks"],
        ),
        (
            "an odd size that has no blocks",
            2,
            &|photos| photos.train(&["--synth", "puzzlemix", "--image-size", "33"]),
            &["--image-size must be even with --synth puzzlemix, which mixes blocks, got 33"],
        ),
        (
            "guidance of nothing",
            2,
            &|photos| photos.train(&["--alpha", "1"]),
            &["--alpha does nothing with a --synth"],
        ),
        (
            "a network without maps",
            2,
            &|photos| photos.train(&["--model", "mlp"]),
            &["--model must be one that says where"],
        ),
        (
            "no step",
            2,
            &|photos| photos.train(&["--accumulate", "0"]),
            &["--accumulate must be at least 1, got 0"],
        ),
        (
            "one half of a source",
            2,
            &|photos| quick(photos.0.path(), &["--metadata", "metadata"]),
            &["--data-root is missing"],
        ),
        (
            "a size that no transformer has",
            1,
            &|photos| photos.train(&["--model", "sat-mini", "--image-size", "30"]),
            &["image size must be a multiple of the patch size, got 30"],
        ),
        (
            "a size too small for the network",
            2,
            &|photos| photos.train(&["--model", "vgg16-gap", "--image-size", "8"]),
            &["--image-size must be large enough for the --model, got 8"],
        ),
        (
            "an unknown key",
            2,
            &|photos| {
                fs::write(photos.0.path().join("run.toml"), "epochs = 1\nsinth = \"cutmix\"\n").unwrap();
                photos.train(&["--config", "run.toml"])
            },
            &["run.toml: line 2: unknown key `sinth`"],
        ),
        (
            "a checkpoint of other classes",
            1,
            &|photos| {
                let report = answer(&quick(photos.0.path(), &["--json"]));
                let args = [
                    "explain",
                    "--checkpoint",
                    report["run_dir"].as_str().unwrap(),
                    "--data-root",
                    "images",
                    "--metadata",
                    "metadata",
                ];
                run(photos.0.path(), &args)
            },
            &["trained on 4 classes of embedded, but metadata has 2"],
        ),
        (
            "no checkpoint",
            1,
            &|photos| run(photos.0.path(), &["explain", "--checkpoint", "none.safetensors"]),
            &["none.safetensors"],
        ),
        (
            "another convention",
            2,
            &|photos| run(photos.0.path(), &["explain", "--checkpoint", "x", "--convention", "other"]),
            &["--convention: `other` is unknown; choose one of wsolevaluation, ts-cam, da-wsol, sat"],
        ),
        (
            "a threshold beyond",
            2,
            &|photos| run(photos.0.path(), &["explain", "--checkpoint", "x", "--threshold", "1"]),
            &["--threshold must be at least 0 and less than 1, got 1"],
        ),
    ];
    for (name, code, broken, words) in cases {
        let photos = Photos::new();
        let line = error(&broken(&photos), *code);
        for word in *words {
            assert!(line.contains(word), "{name}: {line}");
        }
        let is_made = photos.0.path().join("runs/metadata-1").exists();
        assert!(!is_made || *name == "a broken image", "{name}: a run directory was left");
    }
}

#[test]
fn what_a_run_wrote_of_itself_holds_anywhere_and_is_no_flag() {
    let photos = Photos::new();
    let folder = photos.0.path();
    let first = answer(&photos.train(&["--json"]));
    let weights = format!("{}/best.safetensors", first["run_dir"].as_str().unwrap());
    let second = answer(&photos.train(&["--weights", &weights, "--json"]));
    let run_dir = second["run_dir"].as_str().unwrap();
    let path = folder.join(run_dir).join("args.toml");
    let text = fs::read_to_string(&path).unwrap();
    let settings: toml::Table = text.parse().unwrap();
    assert_eq!(settings["weights"].as_str(), folder.join(&weights).to_str());

    fs::write(&path, text.replace("batch = 4", "batch = 0")).unwrap();
    let line = error(&run(folder, &["train", "--resume", run_dir]), 1);
    assert_eq!(line, format!("error: {run_dir}/args.toml: --batch must be at least 1, got 0"));
}

#[test]
fn a_corrupt_image_may_be_skipped() {
    let photos = Photos::new();
    fs::write(photos.0.path().join("images/test/class, 0/0.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    let report = answer(&photos.train(&["--on-corrupt", "skip", "--json"]));
    assert_eq!(report["test_images"], 5);
}

fn start(folder: &Path, args: &[&str]) -> Child {
    std::process::Command::new(env!("CARGO_BIN_EXE_pg-wsol"))
        .args(args)
        .current_dir(folder)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_run_ends_as_one_that_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let args = |out: &'static str| {
        let said = ["--synth", "puzzlemix", "--alpha", "0.1", "--epochs", "3", "--limit-batches", "2"];
        [&["train", "--batch", "4", "--threads", "1", "--out", out, "--json"][..], &said].concat()
    };
    answer(&run(folder.path(), &args("whole")));
    let mut child = start(folder.path(), &args("killed"));
    let run_dir = folder.path().join("killed/embedded-1");
    let begun = Instant::now();
    while !fs::read_to_string(run_dir.join("results.csv")).is_ok_and(|text| text.lines().count() > 1) {
        assert!(begun.elapsed() < Duration::from_secs(120), "no epoch ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    answer(&run(folder.path(), &["train", "--resume", "killed/embedded-1", "--threads", "1", "--json"]));
    let whole: PathBuf = folder.path().join("whole/embedded-1");
    for file in ["last.safetensors", "results.csv", "state.safetensors"] {
        assert!(fs::read(whole.join(file)).unwrap() == fs::read(run_dir.join(file)).unwrap(), "{file}");
    }
}
