//! Whatever is wrong with the input: one line that names it and says what to do, and nothing half-written.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use candle_core::{Device, Tensor};
use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbaImage};
use pg_cli::About;
use pg_tasks::checkpoint;
use support::{contents, edited_photos, names, photo, photos, program, quick, run, trained};
use tempfile::tempdir;

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn settings_without_sense_are_usage_errors_that_name_their_flag() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("unknown.toml"), "alpha = 1\nalpa = 2\n").unwrap();
    fs::write(folder.path().join("type.toml"), "epochs = \"ten\"\n").unwrap();
    fs::write(folder.path().join("range.toml"), "batch = 0\n").unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["--batch", "0"], &["--batch must be at least 1, got 0"]),
        (&["--alpha", "-1"], &["--alpha must be 0 or more, got -1"]),
        (&["--alpha", "nan"], &["--alpha", "NaN"]),
        (&["--alpha", "much"], &["--alpha <A>", "much"]),
        (&["--fraction", "0"], &["--fraction must be in (0, 1], got 0"]),
        (&["--fraction", "0.5", "--every", "2"], &["--every and --fraction exclude each other"]),
        (&["--lr", "inf"], &["--lr must be more than 0, got inf"]),
        (&["--seed", "-1"], &["-1"]),
        (&["--image-size", "2"], &["--image-size must be between 4 and 4096, got 2"]),
        (&["--layer4-stride", "3"], &["--layer4-stride must be 1 or 2, got 3"]),
        (&["--warmup-epochs", "2", "--epochs", "1"], &["--warmup-epochs"]),
        (&["--threads", "0"], &["--threads", "0"]),
        (&["--dataset", "birds"], &["--dataset: `birds` is unknown", "waterbirds", "embedded"]),
        (&["--model", "vgg99"], &["--model: `vgg99` is unknown", "vgg16-gap"]),
        (&["--device", "tpu"], &["--device", "tpu", "cuda:N"]),
        (&["--mask", "none"], &["--mask", "none"]),
        (&["--data", "a", "--dataset", "cub"], &["--data and --dataset exclude each other"]),
        (&["--data", "a", "--data-root", "b"], &["--data and --data-root exclude each other"]),
        (&["--data-root", "a"], &["--data-root does nothing with --dataset embedded; add --dataset NAME"]),
        (
            &["--dataset", "embedded", "--data-root", "a"],
            &["--data-root does nothing with --dataset embedded"],
        ),
        (&["--no-edits", "--edits", "e.csv"], &["--no-edits and --edits exclude each other"]),
        (&["--pretrained", "--weights", "w.pth"], &["--pretrained and --weights exclude each other"]),
        (&["--config", "unknown.toml"], &["unknown.toml", "line 2", "alpa"]),
        (&["--config", "type.toml"], &["type.toml", "epochs"]),
        (&["--config", "range.toml"], &["--batch must be at least 1, got 0"]),
        (&["--config", "none.toml"], &["none.toml", "check the path"]),
        (&["--bogus"], &["--bogus"]),
        (&["--patience", "3"], &["--patience does nothing with --select last; add --select val-top1"]),
        (&["--momentum", "0.5"], &["--momentum does nothing with --optimizer adamw; add --optimizer sgd"]),
        (
            &["--no-edits", "--guide-originals"],
            &["--guide-originals does nothing with --no-edits; leave out"],
        ),
        (&["--model", "vgg16-gap", "--image-size", "8"], &["--image-size must be large enough", "got 8: "]),
    ];
    for (args, words) in cases {
        let run = run(folder.path(), ["train"].iter().chain(*args));
        let error = run.error(2);
        assert!(words.iter().all(|word| error.contains(word)), "{args:?}: {error}");
    }
    assert_eq!(names(folder.path()), ["range.toml", "type.toml", "unknown.toml"]);
}

#[test]
fn what_is_not_there_is_named() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("empty")).unwrap();
    fs::create_dir(root.join("mnist")).unwrap();
    fs::write(root.join("mnist/t10k-images-idx3-ubyte"), "").unwrap();
    photos(&root.join("photos"), 2);
    let before = contents(root);
    let cases: &[(&[&str], &[&str])] = &[
        (&["--data", "none"], &["none: not found; pass the folder of your images"]),
        (&["--data", "empty"], &["empty: no class folders; expected one folder"]),
        (&["--dataset", "cub"], &["cub: no data root", "CUB_200_2011", "--data-root"]),
        (&["--dataset", "cub", "--data-root", "empty"], &["empty", "not found", "CUB_200_2011"]),
        (&["--dataset", "waterbirds"], &["waterbirds: no data root"]),
        (
            &["--dataset", "decoy-mnist", "--data-root", "mnist"],
            &["t10k-labels-idx1-ubyte: not found; put it"],
        ),
        (&["--data", "photos", "--edits", "none.csv"], &["none.csv", "check the path"]),
        (&["--edits", "none.csv"], &["embedded: takes no edits from files"]),
        (&["--data", "photos", "--weights", "none.pth"], &["none.pth", "no such file"]),
        (&["--data", "photos", "--weights", "photos"], &["photos"]),
        (&["--data", "photos", "--device", "metal"], &["--features metal", "--device cpu"]),
        (&["--data", "photos", "--freeze", "layer9"], &["layer9", "fc1"]),
        (&["--data", "photos", "--pretrained"], &["--pretrained", "--weights"]),
    ];
    for (args, words) in cases {
        let is_built = [("--pretrained", cfg!(feature = "hub")), ("metal", cfg!(feature = "metal"))];
        if is_built.iter().any(|(arg, built)| *built && args.contains(arg)) {
            continue;
        }
        let run = quick(root, *args);
        let error = run.error(1);
        assert!(words.iter().all(|word| error.contains(word)), "{args:?}: {error}");
    }
    assert_eq!(contents(root), before);
}

#[test]
fn what_a_command_cannot_use_is_a_usage_error() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    for (args, words) in [
        ("evaluate", &["--checkpoint is missing", "--config"][..]),
        ("explain --count 0", &["--count", "0"]),
        ("evaluate --checkpoint x --limit-batches 0", &["--limit-batches", "0"]),
        ("synth --device cuda", &["--device must be cpu (this command uses no other), got cuda:0"]),
        ("synth --image-size 2", &["--image-size must be between 4 and 4096, got 2"]),
        ("synth --data a --dataset cub", &["--data and --dataset exclude each other"]),
        ("synth --data-root a", &["--data-root does nothing with --dataset embedded; add --dataset NAME"]),
        ("synth --method cutmix --difference max", &["--difference does nothing without --method edits"]),
        ("synth --method mixup --otsu float", &["--otsu does nothing without --method edits; leave it out"]),
        ("synth --export --data photos", &["--export", "--data"]),
        ("synth --export --count 3", &["--export", "--count"]),
        ("synth --export --config x.toml", &["--export", "--config"]),
    ] {
        let run = run(root, args.split_whitespace());
        let error = run.error(2);
        assert!(words.iter().all(|word| error.contains(word)), "{args}: {error}");
    }
    assert!(names(root).is_empty());
}

#[test]
fn what_is_about_edits_is_refused_where_there_are_none() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    photos(&root.join("photos"), 2);
    for said in [
        &["--guide-originals"][..],
        &["--min-separability", "0.5"],
        &["--difference", "max"],
        &["--otsu", "float"],
    ] {
        let run = quick(root, ["--data", "photos"].iter().chain(said));
        let expected = format!("{} does nothing on a data set without edits; leave it out, or add", said[0]);
        assert!(run.error(2).starts_with(&expected), "{run:?}");
    }
    assert!(!root.join("runs").exists());
}

#[test]
fn an_empty_validation_split_is_told_where_it_matters() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    photos(&root.join("photos"), 4);
    fs::remove_dir_all(root.join("photos/val")).unwrap();
    let patient = quick(root, ["--data", "photos", "--patience", "2"]);
    let expected = "--patience does nothing with an empty validation split; ";
    assert!(patient.error(2).starts_with(expected), "{patient:?}");
    assert!(!root.join("runs").exists());

    quick(root, ["--data", "photos"]).json();
    for command in ["evaluate", "explain"] {
        let args = "--data photos --checkpoint runs/folder-1/best.safetensors --split val";
        let run = run(root, [command].into_iter().chain(args.split_whitespace()));
        assert_eq!(run.error(1), "folder: the val split has no images; choose another --split");
    }
    assert!(!root.join("explain").exists());
}

/// Nothing listens on port 1: the hub cannot be reached.
#[cfg(feature = "hub")]
#[test]
fn mnist_that_cannot_be_fetched_is_asked_for_as_files() {
    let folder = tempdir().unwrap();
    let output = std::process::Command::new(program())
        .args(["train", "--dataset", "decoy-mnist"])
        .current_dir(folder.path())
        .env("HF_ENDPOINT", "http://127.0.0.1:1")
        .env("HF_HOME", folder.path())
        .output()
        .unwrap();
    let run = support::Run::from(output);
    let error = run.error(1);
    assert!(error.starts_with("decoy-mnist: cannot be fetched from the Hugging Face hub ("), "{error}");
    assert!(error.ends_with("and pass its folder as --data-root"), "{error}");
}

/// Makes a folder of photographs unfit.
type Spoil = fn(&Path);

#[test]
fn folders_that_do_not_fit_together_are_refused() {
    let cases: [(&str, Spoil, &str); 5] = [
        (
            "an unknown class",
            |root| photos_in(root, "val/cow"),
            "val/cow: class `cow` has no folder in the training split",
        ),
        (
            "a class without images",
            |root| fs::create_dir(root.join("train/cow")).unwrap(),
            "train/cow: no images directly inside",
        ),
        (
            "one class",
            |root| {
                for split in ["train", "val", "test"] {
                    fs::remove_dir_all(root.join(split).join("dog")).unwrap();
                }
            },
            "folder: 1 class found; classification needs at least 2",
        ),
        (
            "no test split",
            |root| fs::remove_dir_all(root.join("test")).unwrap(),
            "test: not found; with splits in folders, `test` is needed",
        ),
        (
            "no training split",
            |root| fs::remove_dir_all(root.join("train")).unwrap(),
            "train: not found; with splits in folders, `train` is needed",
        ),
    ];
    for (what, spoil, expected) in cases {
        let folder = tempdir().unwrap();
        photos(&folder.path().join("photos"), 2);
        spoil(&folder.path().join("photos"));
        let run = quick(folder.path(), ["--data", "photos"]);
        let error = run.error(1);
        assert!(error.contains(expected), "{what}: {error}");
        assert!(!folder.path().join("runs").exists(), "{what}");
    }
}

fn photos_in(root: &Path, class: &str) {
    fs::create_dir_all(root.join(class)).unwrap();
    photo("cow", 0, 12).save(root.join(class).join("0.png")).unwrap();
}

#[test]
fn a_class_with_a_single_image_can_be_trained() {
    let folder = tempdir().unwrap();
    photos(&folder.path().join("photos"), 4);
    for name in ["01", "02", "03"] {
        fs::remove_file(folder.path().join(format!("photos/train/dog/{name}.png"))).unwrap();
    }
    let report = quick(folder.path(), ["--data", "photos", "--batch", "2", "--class-weights"]).json();
    assert_eq!(report["epochs"], 1);
}

#[test]
fn images_of_every_kind_train() {
    let folder = tempdir().unwrap();
    let train = folder.path().join("photos/train/cat");
    photos(&folder.path().join("photos"), 2);
    let cmyk = concat!(env!("CARGO_MANIFEST_DIR"), "/../pg-tasks/tests/data/cmyk.jpg");
    fs::copy(cmyk, train.join("cmyk.jpg")).unwrap();
    let deep = ImageBuffer::from_fn(13, 12, |x, y| Rgb([x as u16 * 5000, y as u16 * 5000, 40_000]));
    let deep_grey = ImageBuffer::from_fn(12, 12, |x, _| Luma([x as u16 * 5000]));
    for (name, bytes) in [
        ("deep.png", png(deep)),
        ("deep-grey.png", png(deep_grey)),
        ("grey.png", png(GrayImage::from_pixel(12, 16, Luma([90])))),
        ("grey-alpha.png", png(GrayAlphaImage::new(12, 12))),
        ("alpha.png", png(RgbaImage::new(15, 12))),
        ("pixel.png", png(photo("cat", 0, 1))),
        ("jpeg-by-content.png", fs::read(cmyk).unwrap()),
    ] {
        fs::write(train.join(name), bytes).unwrap();
    }
    let run = quick(folder.path(), ["--data", "photos", "--batch", "16"]);
    assert_eq!(run.json()["epochs"], 1);
    assert!(run.stderr.contains("12 training"), "{run:?}");
    assert!(!run.stderr.contains("skipped"), "{run:?}");
}

/// What can be wrong with an image file, and how the message begins after the file's name.
fn broken_images() -> [(&'static str, Vec<u8>, &'static str); 4] {
    let whole = png(photo("cat", 0, 16));
    let mut corrupt = whole.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle] ^= 0xFF;
    [
        ("corrupt", corrupt, "corrupt PNG image"),
        ("truncated", whole[..whole.len() / 2].to_vec(), "truncated PNG image"),
        ("empty", Vec::new(), "empty file (0 bytes)"),
        ("text", b"<!doctype html>".to_vec(), "not a PNG, JPEG"),
    ]
}

#[test]
fn a_broken_image_stops_the_run_or_is_skipped_by_name() {
    for (what, bytes, expected) in broken_images() {
        for place in ["train", "val", "test"] {
            let folder = tempdir().unwrap();
            photos(&folder.path().join("photos"), 3);
            let image = format!("photos/{place}/dog/01.png");
            fs::write(folder.path().join(&image), &bytes).unwrap();

            let strict = quick(folder.path(), ["--data", "photos"]);
            let error = strict.error(1);
            assert!(error.starts_with(&format!("{image}: {expected}")), "{what} in {place}: {error}");
            assert!(error.contains("; "), "{what} in {place} says not what to do: {error}");
            // Only decoding shows a fault behind the head of the file, and held-out images are decoded last.
            let is_found_early = place == "train" || ["empty", "text"].contains(&what);
            assert_eq!(folder.path().join("runs").exists(), !is_found_early, "{what} in {place}");
            assert!(names(folder.path()).iter().all(|name| !name.ends_with(".tmp")), "{what} in {place}");

            let lenient = quick(folder.path(), ["--data", "photos", "--on-corrupt", "skip"]);
            assert_eq!(lenient.json()["epochs"], 1, "{what} in {place}");
            let warning = format!(" WARN skipped: {image}: {expected}");
            assert!(lenient.stderr.contains(&warning), "{what} in {place}: {}", lenient.stderr);
        }
    }
}

#[test]
fn a_batch_of_nothing_but_broken_images_is_passed_over() {
    let folder = tempdir().unwrap();
    photos(&folder.path().join("photos"), 3);
    fs::write(folder.path().join("photos/train/dog/01.png"), "").unwrap();
    let args = "train --model mlp --image-size 8 --epochs 2 --threads 1 --json --data photos --batch 1 --on-corrupt skip";
    let lenient = support::run(folder.path(), args.split_whitespace());
    assert_eq!(lenient.json()["epochs"], 2);
    let skipped = lenient
        .stderr
        .lines()
        .filter(|line| line.contains("skipped, since too few samples of it can be used"));
    assert_eq!(skipped.count(), 2, "once an epoch: {}", lenient.stderr);
}

/// The sheet of samples shows 16; an image that it does not show is met in the first epoch.
#[test]
fn an_image_that_breaks_in_mid_epoch_leaves_only_whole_files() {
    let folder = tempdir().unwrap();
    photos(&folder.path().join("photos"), 12);
    let path = folder.path().join("photos/train/cat/02.png");
    fs::write(&path, "").unwrap();
    let early = quick(folder.path(), ["--data", "photos", "--batch", "32"]);
    assert!(early.error(1).starts_with("photos/train/cat/02.png: empty file"));
    assert!(!folder.path().join("runs").exists());

    // The head of this one is sound.
    let [(_, corrupt, expected), ..] = broken_images();
    fs::write(&path, corrupt).unwrap();
    let expected = format!("photos/train/cat/02.png: {expected}");
    let run = quick(folder.path(), ["--data", "photos", "--batch", "32"]);
    assert!(run.error(1).starts_with(&expected));
    let left: Vec<String> = names(&folder.path().join("runs/folder-1"));
    assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
    let weights: Vec<&String> = left.iter().filter(|name| name.ends_with(".safetensors")).collect();
    assert_eq!(weights, ["state.safetensors"]);
    let resumed = support::run(folder.path(), ["train", "--resume", "runs/folder-1"]);
    // By then the run knows the whole path.
    assert!(resumed.error(1).contains(&expected));
}

#[test]
fn manifests_that_do_not_fit_are_refused_with_their_line() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    edited_photos(root, 3);
    fs::write(root.join("edits/cut.png"), &png(photo("cat", 1, 14))[..80]).unwrap();
    let sound = "photos/train/cat/00.png,edits/cat-00.png,0\n";
    let rows: &[(&str, &str)] = &[
        ("photos/train/cat/77.png,edits/cat-00.png,0\n", "m.csv:2: no original at `photos/train/cat/77.png`"),
        ("photos/train/cat/00.png,edits/none.png,0\n", "m.csv:2: no edited image at `edits/none.png`"),
        (
            "photos/test/cat/00.png,edits/cat-00.png,0\n",
            "m.csv: original photos/test/cat/00.png is not a training image",
        ),
        (
            "photos/train/cat/00.png,photos/train/cat/01.png,0\n",
            "photos/train/cat/01.png is itself an image of the data set",
        ),
        (
            "photos/train/cat/00.png,photos/train/cat/00.png,0\n",
            "m.csv:2: `photos/train/cat/00.png` is both original and edited",
        ),
        ("photos/train/cat/00.png,edits/cat-00.png,1\n", "label 1, but its original is a `cat` (label 0)"),
        ("photos/train/cat/00.png,edits/cat-00.png,7\n", "label 7, but its original is a `cat` (label 0)"),
        ("photos/train/cat/00.png,edits/cat-00.png,-1\n", "m.csv:2: `label` is"),
        ("photos/train/cat/00.png,edits/cat-00.png,cow\n", "m.csv:2: `label` is"),
        ("photos/train/cat/00.png,edits/cat-00.png,\n", "m.csv:2: `label` is missing or empty"),
        ("photos/train/cat/00.png,edits/cat-00.png\n", "m.csv:2: 2 fields where the header has 3"),
        ("photos/train/cat/00.png,edits/cut.png,0\n", "edits/cut.png: truncated PNG image"),
        ("", "m.csv: no rows; list at least one edit"),
    ];
    let mut cases: Vec<(String, &str)> =
        rows.iter().map(|(rows, error)| ((*rows).to_owned(), *error)).collect();
    cases.push((format!("{sound}{sound}"), "m.csv:3: repeats line 2; remove one of them"));
    let other_original = sound.replace("cat/00", "cat/01");
    cases.push((
        format!("{sound}{other_original}"),
        "m.csv:3: `edits/cat-00.png` is already the edit of line 2",
    ));
    for (rows, expected) in cases {
        fs::write(root.join("m.csv"), format!("original,edited,label\n{rows}")).unwrap();
        let run = quick(root, ["--data", "photos", "--edits", "m.csv", "--alpha", "1"]);
        let error = run.error(1);
        assert!(error.contains(expected), "{rows:?}: {error}");
        assert!(!root.join("runs").exists(), "{rows:?}");
    }
    for (name, bytes, expected) in [
        ("m.csv", &b"original,edited\n"[..], "m.csv:1: no column `label`"),
        ("m.csv", &b"original,edited,label\n\xff,b,0\n"[..], "m.csv:2: not UTF-8 text"),
        ("m.xls", &b""[..], "m.xls: unknown manifest format; name it .csv or .jsonl"),
        ("m.jsonl", &b"{\"original\": 1}\n"[..], "m.jsonl:1: `original` is 1; write text"),
        ("m.jsonl", &b"{\n"[..], "m.jsonl:1: "),
    ] {
        fs::write(root.join(name), bytes).unwrap();
        let run = quick(root, ["--data", "photos", "--edits", name]);
        assert!(run.error(1).contains(expected), "{run:?}");
    }
    assert!(!root.join("runs").exists());
}

#[test]
fn a_mask_that_does_not_fit_its_edit_is_refused() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    edited_photos(root, 3);
    fs::create_dir(root.join("masks")).unwrap();
    GrayImage::new(14, 13).save(root.join("masks/flat.png")).unwrap();
    fs::write(root.join("masks/cut.png"), &png(photo("cat", 1, 14))[..80]).unwrap();
    fs::write(root.join("masks/none.png"), b"").unwrap();
    for (mask, expected) in [
        (
            "masks/flat.png",
            "masks/flat.png: is 14x13, but its edit edits/cat-00.png is 14x14; save the mask at the size of the edit",
        ),
        ("masks/cut.png", "masks/cut.png: truncated PNG image"),
        ("masks/none.png", "masks/none.png: empty file (0 bytes)"),
        (
            "masks/lost.png",
            "m.csv:2: no mask at `masks/lost.png`; paths are relative to the manifest's folder",
        ),
    ] {
        let row = format!("photos/train/cat/00.png,edits/cat-00.png,0,{mask}");
        fs::write(root.join("m.csv"), format!("original,edited,label,mask\n{row}\n")).unwrap();
        let source = ["--data", "photos", "--edits", "m.csv"];
        let trained = quick(root, source.into_iter().chain(["--alpha", "1"]));
        assert!(trained.error(1).starts_with(expected), "{trained:?}");
        assert!(!root.join("runs").exists());
        let drawn = run(root, ["synth"].into_iter().chain(source));
        assert!(drawn.error(1).starts_with(expected), "{drawn:?}");
    }
}

#[test]
fn an_edit_of_another_size_is_compared_on_the_common_grid() {
    let folder = tempdir().unwrap();
    edited_photos(folder.path(), 3);
    photo("dog", 9, 31).save(folder.path().join("edits/cat-00.png")).unwrap();
    photo("cat", 9, 1).save(folder.path().join("edits/cat-01.png")).unwrap();
    let report = quick(folder.path(), ["--data", "photos", "--edits", "edits.csv", "--alpha", "1"]).json();
    assert!(report["loss_pg"].as_f64().unwrap() > 0.0);
}

#[cfg(unix)]
#[test]
fn paths_that_are_not_utf8_are_errors_or_work() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempdir().unwrap();
    let root = folder.path();
    let odd = |name: &'static [u8]| OsStr::from_bytes(name);
    photos(&root.join("photos"), 2);
    photos(&root.join(odd(b"photos\xff")), 2);

    let run = quick(root, [OsStr::new("--data"), odd(b"photos\xff")]);
    assert!(run.error(2).contains("the path is not UTF-8; rename it"));
    let run =
        quick(root, [OsStr::new("--data"), OsStr::new("photos"), OsStr::new("--edits"), odd(b"\xff.csv")]);
    assert!(run.error(2).contains("the path is not UTF-8; rename it"));
    fs::write(root.join("sound.toml"), "seed = 1\n").unwrap();
    let config = [OsStr::new("--config"), OsStr::new("sound.toml")];
    for flag in ["--data", "--edits", "--out"] {
        let run = quick(root, config.into_iter().chain([OsStr::new(flag), odd(b"photos\xff")]));
        assert_eq!(run.error(2), "photos\u{fffd}: the path is not UTF-8; rename it", "{flag}");
    }
    assert!(!root.join("runs").exists());

    let out =
        quick(root, [OsStr::new("--data"), OsStr::new("photos"), OsStr::new("--out"), odd(b"runs\xff")]);
    assert_eq!(out.json()["epochs"], 1);
    assert!(root.join(odd(b"runs\xff")).join("folder-1/best.safetensors").exists());
    let checkpoint = root.join(odd(b"runs\xff")).join("folder-1/best.safetensors");
    let explain = support::run(
        root,
        [
            OsStr::new("explain"),
            OsStr::new("--checkpoint"),
            checkpoint.as_os_str(),
            OsStr::new("--data"),
            odd(b"photos\xff"),
            OsStr::new("--out"),
            odd(b"explain\xff"),
            OsStr::new("--json"),
        ],
    );
    assert_eq!(explain.json()["images"], 4);

    fs::copy(root.join("photos/train/cat/00.png"), root.join("photos/train/cat").join(odd(b"\xff.png")))
        .unwrap();
    let run = quick(root, ["--data", "photos"]);
    let error = run.error(1);
    assert!(
        error.starts_with("photos/train/cat/") && error.ends_with("the path is not UTF-8; rename it"),
        "{error}"
    );
}

#[test]
fn weights_that_hold_no_numbers_or_do_not_fit_are_refused() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let best = trained(root).join("best.safetensors");
    let (mut tensors, about) = checkpoint::load::<About>(&best).unwrap();
    let runs = contents(&root.join("runs"));
    let spoil = |tensor: &Tensor, value: f32| {
        let mut values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        *values.last_mut().unwrap() = value;
        Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap()
    };
    let sound = tensors["fc1.weight"].clone();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        tensors.insert("fc1.weight".to_owned(), spoil(&sound, value));
        checkpoint::save(&root.join("bad.safetensors"), &tensors, &about).unwrap();
        let train = quick(root, ["--data", "photos", "--weights", "bad.safetensors"]);
        let evaluate = run(root, ["evaluate", "--data", "photos", "--checkpoint", "bad.safetensors"]);
        for error in [train.error(1), evaluate.error(1)] {
            assert!(error.starts_with("bad.safetensors: "), "{error}");
            assert!(error.contains("`fc1.weight` holds NaN or infinity; the file is damaged"), "{error}");
        }
    }
    let narrow = ["--data", "photos", "--weights", "runs/folder-1/best.safetensors", "--image-size", "12"];
    let run = run(root, ["train", "--model", "mlp"].iter().chain(&narrow));
    let error = run.error(1);
    assert!(
        error.contains("best.safetensors: weights do not fit") && error.contains("fc1.weight"),
        "{error}"
    );
    assert_eq!(contents(&root.join("runs")), runs);
}

#[test]
fn a_truncated_checkpoint_is_refused_by_every_command_that_reads_one() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let dir = trained(root);
    for file in ["best.safetensors", "state.safetensors"] {
        let whole = fs::read(dir.join(file)).unwrap();
        for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
            fs::write(dir.join(file), &whole[..length]).unwrap();
            let path = format!("runs/folder-1/{file}");
            let runs = match file {
                "best.safetensors" => vec![
                    run(root, ["evaluate", "--data", "photos", "--checkpoint", &path]),
                    run(root, ["explain", "--data", "photos", "--checkpoint", &path]),
                ],
                _ => vec![run(root, ["train", "--resume", "runs/folder-1"])],
            };
            for run in runs {
                let error = run.error(1);
                let expected = format!("{path}: truncated or not a checkpoint");
                assert!(error.starts_with(&expected) && error.contains("; use an earlier one"), "{error}");
            }
        }
        fs::write(dir.join(file), whole).unwrap();
    }
    assert!(!root.join("explain").exists());
    let other =
        run(root, ["evaluate", "--data", "photos", "--checkpoint", "runs/folder-1/state.safetensors"]);
    assert!(other.error(1).contains("not a checkpoint of this program"));
    let missing = run(root, ["evaluate", "--checkpoint", "none.safetensors"]);
    assert!(missing.error(1).starts_with("none.safetensors: "));
}

#[test]
fn a_checkpoint_meets_only_the_classes_that_it_was_trained_on() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    let checkpoint = ["--checkpoint", "runs/folder-1/best.safetensors"];
    let run_with = |args: &[&str]| run(root, ["evaluate"].iter().chain(&checkpoint).chain(args));
    // The run says where its images are; elsewhere they have to be named.
    assert!(run_with(&[]).stdout.contains("top-1"));
    let moved = root.join("moved");
    fs::create_dir(&moved).unwrap();
    fs::copy(root.join(checkpoint[1]), moved.join("best.safetensors")).unwrap();
    let alone = run(root, ["evaluate", "--checkpoint", "moved"]);
    assert!(alone.error(1).contains("folder: no data root; pass the folder of your images"));
    let rooted = run_with(&["--dataset", "embedded", "--data-root", "photos"]);
    assert!(rooted.error(2).starts_with("--data-root does nothing with --dataset embedded; "), "{rooted:?}");
    let embedded = run_with(&["--dataset", "embedded"]);
    let error = embedded.error(1);
    assert!(error.contains("best.safetensors: trained on the classes cat, dog, but the data has"), "{error}");
    photos_in(&root.join("photos"), "train/ant");
    assert!(run_with(&["--data", "photos"]).error(1).contains("ant, cat, dog"));
}

#[test]
fn resuming_asks_for_a_run_and_takes_no_settings() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let dir = trained(root);
    let before = contents(&dir);
    for (args, code, words) in [
        (&["--resume", "none"][..], 1, &["none: no such run directory; check the path"][..]),
        (&["--resume", "photos"], 1, &["photos/args.toml: not a run directory that can be resumed"]),
        (&["--resume", "runs/folder-1", "--epochs", "3"], 2, &["--epochs cannot change", "begin a new run"]),
        (&["--resume", "runs/folder-1", "--alpha", "0.1"], 2, &["--alpha cannot change"]),
        (&["--resume", "runs/folder-1", "--out", "x"], 2, &["--out", "--resume"]),
        (&["--resume", "runs/folder-1", "--config", "x"], 2, &["--config", "--resume"]),
    ] {
        let run = run(root, ["train"].iter().chain(args));
        let error = run.error(code);
        assert!(words.iter().all(|word| error.contains(word)), "{args:?}: {error}");
    }
    let settings = String::from_utf8(before[Path::new("args.toml")].clone()).unwrap();
    for (text, word) in [
        (format!("alpa = 1\n{settings}"), "unknown field `alpa`"),
        ("dataset = \"folder\"\n".to_owned(), "missing field"),
        ("epochs = 1\n= 2\n".to_owned(), ""),
    ] {
        fs::write(dir.join("args.toml"), text).unwrap();
        let spoilt = run(root, ["train", "--resume", "runs/folder-1"]);
        let error = spoilt.error(1);
        assert!(error.starts_with("runs/folder-1/args.toml: not the settings of a run"), "{error}");
        assert!(error.contains(word), "{error}");
    }
    for (key, value) in [("batch", "0"), ("accumulate", "0"), ("alpha", "-1.0")] {
        let line = settings.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        fs::write(dir.join("args.toml"), settings.replace(line, &format!("{key} = {value}"))).unwrap();
        let error = run(root, ["train", "--resume", "runs/folder-1"]);
        let error = error.error(1);
        assert!(error.starts_with(&format!("runs/folder-1/args.toml: --{key} must be")), "{error}");
    }
    fs::write(dir.join("args.toml"), &before[Path::new("args.toml")]).unwrap();
    assert_eq!(contents(&dir), before);
}

/// As root no permission binds, but nothing can be made below a regular file.
#[test]
fn places_that_cannot_be_written_are_named() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    fs::write(root.join("file"), "keep").unwrap();
    let before = contents(root);
    let checkpoint = "runs/folder-1/best.safetensors";
    for out in ["file", "file/below"] {
        let train = quick(root, ["--data", "photos", "--out", out]);
        let explain = ["explain", "--data", "photos", "--checkpoint", checkpoint, "--out", out];
        let synth = ["synth", "--data", "photos", "--method", "cutmix", "--out", out];
        let export = ["synth", "--export", "--out", out];
        for run in [train, run(root, explain), run(root, synth), run(root, export)] {
            let error = run.error(1);
            assert!(error.starts_with(&format!("{out}: ")) && error.contains("; "), "{error}");
        }
    }
    let predictions =
        ["evaluate", "--data", "photos", "--checkpoint", checkpoint, "--predictions", "file/p.csv"];
    assert!(run(root, predictions).error(1).starts_with("file/p.csv: "));
    let export = run(root, ["synth", "--export", "--out", "photos"]);
    assert!(export.error(1).starts_with("photos: not empty; choose a new folder"));
    assert_eq!(contents(root), before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let folder = tempdir().unwrap();
    trained(folder.path());
    let output = std::process::Command::new(program())
        .args(["evaluate", "--json", "--data", "photos", "--checkpoint", "runs/folder-1/best.safetensors"])
        .current_dir(folder.path())
        .stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    assert!(support::Run::from(output).error(1).starts_with("standard output: cannot be written"));
}
