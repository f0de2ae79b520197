//! Every command and every setting, on sets so small that all of them run.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use image::{GrayImage, Luma};
use serde_json::Value;
use support::{edited_photos, names, photos, quick, run, trained, weights};
use tempfile::tempdir;

/// A table as one map a row.
fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_path(path).unwrap().deserialize().map(Result::unwrap).collect()
}

fn close(a: &Value, b: f64) -> bool {
    (a.as_f64().unwrap() - b).abs() < 1e-12
}

#[test]
fn evaluate_repeats_the_accuracies_of_training_and_writes_what_they_come_from() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let trained = quick(root, ["--alpha", "0.3"]).json();
    let args = "evaluate --checkpoint runs/embedded-1 --limit-batches 2 --threads 1 --json";
    for split in ["test", "val"] {
        let more = ["--split", split, "--predictions", "predictions.csv"];
        let report = run(root, args.split_whitespace().chain(more)).json();
        for (key, value) in report.as_object().unwrap() {
            if key.starts_with(split) {
                assert_eq!(value, &trained[key], "{key}");
            }
        }

        let rows = table(&root.join("predictions.csv"));
        assert_eq!(rows.len() as u64, report[&format!("{split}_images")].as_u64().unwrap());
        let classes = ["cat", "bird", "fish", "rabbit"];
        let mut recalls = Vec::new();
        for class in classes {
            let of_class: Vec<_> = rows.iter().filter(|row| row["label"] == class).collect();
            let right = of_class.iter().filter(|row| row["prediction"] == class).count();
            recalls.push(right as f64 / of_class.len() as f64);
            assert!(
                close(&report[&format!("{split}_classes")][class], recalls[recalls.len() - 1]),
                "{class}"
            );
        }
        let right = rows.iter().filter(|row| row["label"] == row["prediction"]).count();
        assert!(close(&report[&format!("{split}_top1")], right as f64 / rows.len() as f64));
        assert!(close(&report[&format!("{split}_balanced")], recalls.iter().sum::<f64>() / 4.0));
        for row in &rows {
            let logit = |class: &str| row[&format!("logit:{class}")].parse::<f32>().unwrap();
            let best = classes.into_iter().max_by(|a, b| logit(a).total_cmp(&logit(b))).unwrap();
            assert_eq!(row["prediction"], best);
        }
    }
}

#[test]
fn explain_draws_each_image_and_lists_its_share() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let trained = quick(root, ["--no-edits"]);
    trained.succeeded();
    assert!(!trained.stderr.contains("edits"), "{trained:?}");
    let args = "explain --checkpoint runs/embedded-1/best.safetensors --count 5 --threads 1 --json";
    let report = run(root, args.split_whitespace()).json();
    let rows = table(&root.join("explain/shares.csv"));
    assert_eq!((report["images"].as_u64(), rows.len()), (Some(5), 5));
    let shares: Vec<f64> = rows.iter().map(|row| row["target_gradient_share"].parse().unwrap()).collect();
    assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
    assert!(close(&report["target_gradient_share"], shares.iter().sum::<f64>() / 5.0));
    let sheet = image::open(root.join("explain/sheet.png")).unwrap();
    assert!(sheet.width() >= 8 * 8, "{} pixels", sheet.width());
    for row in &rows {
        assert_eq!(image::open(root.join("explain").join(&row["picture"])).unwrap().width(), 8);
    }
}

#[test]
fn images_without_a_true_mask_are_drawn_without_a_share() {
    let folder = tempdir().unwrap();
    trained(folder.path());
    let args = "explain --data photos --split val --checkpoint runs/folder-1/last.safetensors --json";
    let report = run(folder.path(), args.split_whitespace()).json();
    assert_eq!((&report["images"], &report["target_gradient_share"]), (&4.into(), &Value::Null));
    let rows = table(&folder.path().join("explain/shares.csv"));
    assert!(rows.iter().all(|row| row["target_gradient_share"].is_empty()));
    assert!(rows.iter().any(|row| row["image"] == "photos/val/dog/01.png"));
}

#[test]
fn synth_draws_samples_of_each_method() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    for (method, pictures) in [("edits", 12), ("cutmix", 6), ("resizemix", 6), ("mixup", 3)] {
        let args =
            ["synth", "--method", method, "--count", "3", "--image-size", "16", "--out", method, "--json"];
        let report = run(root, args).json();
        assert_eq!((&report["samples"], &report["pictures"]), (&3.into(), &pictures.into()), "{method}");
        let sheet = image::open(root.join(method).join("sheet.png")).unwrap();
        assert!(sheet.width() >= 3 * 16, "{method}");
    }
    assert_eq!(table(&root.join("edits/provenance.csv")).len(), 3);
    for row in table(&root.join("cutmix/samples.csv")) {
        assert!((0.0..=1.0).contains(&row["lam"].parse::<f64>().unwrap()), "{row:?}");
    }
    for name in ["mask-0000.png", "mask-0001.png", "mask-0002.png"] {
        assert_eq!(image::open(root.join("edits").join(name)).unwrap().width(), 16);
    }

    edited_photos(root, 2);
    let own = ["synth", "--data", "photos", "--edits", "edits.csv", "--out", "own", "--image-size", "16"];
    run(root, own).succeeded();
    let mask = image::open(root.join("own/mask-0000.png")).unwrap().into_luma8();
    assert_eq!(
        (mask.get_pixel(2, 8)[0], mask.get_pixel(13, 8)[0]),
        (255, 0),
        "white where the original was kept"
    );
    let none = run(root, ["synth", "--data", "photos", "--out", "none"]);
    assert!(none.error(1).contains("edits"), "{none:?}");
}

#[test]
fn synth_says_how_many_samples_it_drew() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    edited_photos(root, 2);
    for (method, drawn) in [("edits", 4), ("cutmix", 4), ("mixup", 4)] {
        let args = ["--method", method, "--data", "photos", "--edits", "edits.csv", "--image-size", "16"];
        let run = run(root, ["synth", "--count", "99"].iter().chain(&args));
        run.succeeded();
        assert_eq!(run.stdout, format!("{drawn} samples drawn in synth/sheet.png\n"), "{method}");
    }
    let limited = ["synth", "--count", "30", "--limit-batches", "2", "--image-size", "16", "--json"];
    assert_eq!(run(root, limited).json()["samples"], 16, "two batches of 8");
}

#[test]
fn every_command_takes_its_settings_from_a_file_too_and_flags_override_it() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    edited_photos(root, 3);

    let file = "data = \"photos\"\nedits = \"edits.csv\"\ncount = 5\nimage-size = 12\nout = \"drawn\"\n";
    fs::write(root.join("synth.toml"), format!("{file}method = \"edits\"\n")).unwrap();
    let drawn = run(root, ["synth", "--config", "synth.toml", "--difference", "max", "--json"]).json();
    assert_eq!((&drawn["samples"], &drawn["sheet"]), (&5.into(), &"drawn/sheet.png".into()));
    let args = ["synth", "--config", "synth.toml", "--count", "2", "--method", "cutmix", "--json"];
    assert_eq!(run(root, args).json()["samples"], 2);
    assert_eq!(table(&root.join("drawn/samples.csv")).len(), 2);

    let checkpoint = "checkpoint = \"runs/folder-1/last.safetensors\"\ndata = \"photos\"\nsplit = \"val\"\n";
    fs::write(root.join("evaluate.toml"), format!("{checkpoint}predictions = \"file.csv\"\n")).unwrap();
    let evaluate = ["evaluate", "--config", "evaluate.toml", "--json"];
    assert_eq!(run(root, evaluate).json()["val_images"], 4);
    let flags = ["--split", "train", "--predictions", "flag.csv"];
    assert_eq!(run(root, evaluate.iter().chain(&flags)).json()["train_images"], 8);
    assert_eq!((table(&root.join("file.csv")).len(), table(&root.join("flag.csv")).len()), (4, 8));

    fs::write(root.join("explain.toml"), format!("{checkpoint}count = 3\nseed = 1\n")).unwrap();
    let explain = ["explain", "--config", "explain.toml", "--json"];
    assert_eq!(run(root, explain).json()["images"], 3);
    assert_eq!(run(root, explain.iter().chain(&["--count", "2"])).json()["images"], 2);

    fs::write(root.join("train.toml"), "data = \"photos\"\nout = \"elsewhere\"\nepochs = 9\n").unwrap();
    assert_eq!(quick(root, ["--config", "train.toml"]).json()["run_dir"], "elsewhere/folder-1");

    for command in ["synth", "train", "evaluate", "explain"] {
        for (line, words) in [
            ("sede = 2", "line 2: unknown key `sede`"),
            ("seed = \"x\"", "line 2: `seed`: invalid type: string \"x\", expected u64"),
            ("threads = 2", "line 2: unknown key `threads`"),
        ] {
            fs::write(root.join("wrong.toml"), format!("data = \"photos\"\n{line}\n")).unwrap();
            let wrong = run(root, [command, "--config", "wrong.toml"]);
            assert!(wrong.error(2).starts_with(&format!("wrong.toml: {words}")), "{command}: {wrong:?}");
        }
    }
}

#[test]
fn a_limit_on_batches_leaves_images_of_every_class() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    // 70 images a class, listed one class after the other: a batch of 64 from the top would show cats alone.
    for class in support::CLASSES {
        for seed in 2..70 {
            let path = root.join(format!("photos/test/{class}/{seed:02}.png"));
            support::photo(class, seed, 14).save(path).unwrap();
        }
    }
    let args = "evaluate --data photos --checkpoint runs/folder-1/last.safetensors --limit-batches 1 --json \
                --predictions p.csv";
    let labels = || -> Vec<String> {
        assert_eq!(run(root, args.split_whitespace()).json()["test_images"], 64);
        let rows = table(&root.join("p.csv"));
        for row in &rows {
            let place: usize = row["index"].parse().unwrap();
            let class = support::CLASSES[place / 70];
            assert_eq!(row["image"], format!("photos/test/{class}/{:02}.png", place % 70));
        }
        rows.into_iter().map(|row| row["label"].clone()).collect()
    };
    let first = labels();
    assert_eq!(first.iter().filter(|label| *label == "cat").count(), 32);
    assert_eq!(labels(), first);
}

#[cfg(unix)]
#[test]
fn predictions_go_to_pipes_and_devices_too() {
    use std::os::unix::fs::FileTypeExt;
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    let args = "evaluate --data photos --checkpoint runs/folder-1/last.safetensors --predictions";
    let write = |place: &str| run(root, args.split_whitespace().chain([place]));
    // A link, so that only the link would be lost if the table were renamed over it.
    std::os::unix::fs::symlink("/dev/null", root.join("null")).unwrap();
    write("null").succeeded();
    assert!(fs::metadata(root.join("null")).unwrap().file_type().is_char_device());
    assert!(write("/dev/stdout").stdout.starts_with("index,image,label,prediction,logit:cat,logit:dog\n0,"));
    let error = write("photos");
    assert_eq!(error.error(1), "photos: is a folder; name a file for the table");
}

#[test]
fn the_exported_set_trains_as_a_folder() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let exported = run(root, ["synth", "--export", "--out", "set", "--json"]).json();
    let spec = pg_embedded::Spec::default();
    assert_eq!(exported["edits"], spec.train * spec.edits.per_image);
    let run = quick(root, ["--data", "set", "--edits", "set/edits.csv", "--alpha", "1"]);
    assert!(run.json()["loss_pg"].as_f64().unwrap() > 0.0);
    let images = format!("{} training, {} validation, {} test images", spec.train, spec.val, spec.test);
    assert!(run.stderr.contains(&format!("4 classes; {images}")), "{run:?}");
    assert!(run.stderr.contains(&format!(" {} edits (0 dropped", exported["edits"])), "{run:?}");
}

#[test]
fn flags_override_the_file_of_settings() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    edited_photos(root, 2);
    let settings = "data = \"photos\"\nedits = \"edits.csv\"\nalpha = 0.25\nseed = 3\nfreeze = [\"fc1\"]\n\
                    class-weights = true\n";
    fs::write(root.join("settings.toml"), settings).unwrap();
    let flags = ["--config", "settings.toml", "--seed", "5", "--class-weights", "false"];
    assert_eq!(quick(root, flags).json()["alpha"], 0.25);
    let args: toml::Table =
        fs::read_to_string(root.join("runs/folder-1/args.toml")).unwrap().parse().unwrap();
    for (key, value) in [
        ("seed", toml::Value::Integer(5)),
        ("class-weights", false.into()),
        ("data-root", root.join("photos").display().to_string().into()),
        ("freeze", vec!["fc1"].into()),
        ("model", "mlp".into()),
    ] {
        assert_eq!(args[key], value, "{key}");
    }

    // What a run wrote of itself is a file of settings.
    let again = ["train", "--config", "runs/folder-1/args.toml", "--threads", "1", "--json"];
    assert_eq!(run(root, again).json()["run_dir"], "runs/folder-2");
    let last = |number| weights(&root.join(format!("runs/folder-{number}/last.safetensors")));
    assert_eq!(last(1), last(2));
}

#[test]
fn weights_of_a_run_begin_another() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let dir = trained(root);
    fs::copy(dir.join("best.safetensors"), root.join("best.safetensors")).unwrap();
    let frozen = ["--data", "photos", "--weights", "best.safetensors", "--freeze", "fc1,fc2"];
    quick(root, frozen).json();
    let settings: toml::Table =
        fs::read_to_string(root.join("runs/folder-2/args.toml")).unwrap().parse().unwrap();
    assert_eq!(
        settings["weights"].as_str(),
        root.join("best.safetensors").to_str(),
        "from wherever it is read"
    );
    let (first, second) =
        (weights(&root.join("best.safetensors")), weights(&root.join("runs/folder-2/last.safetensors")));
    for (name, values) in &first {
        assert_eq!(*values == second[name], !name.starts_with("fc3"), "{name}");
    }
}

/// The last weights of a run of the settings, whose `args.toml` must hold `key = value`.
fn last_weights(root: &Path, args: &[&str], key: &str, value: &toml::Value) -> BTreeMap<String, Vec<u32>> {
    let base = "train --data photos --edits edits.csv --model small-cnn --image-size 12 --batch 6 --threads 1 \
                --json --out settings";
    let said = |flag: &str| args.contains(&flag);
    let rest = [("--alpha", "1"), ("--epochs", "2")].into_iter().filter(|(flag, _)| !said(flag));
    let rest = rest.flat_map(|(flag, value)| [flag, value]);
    let report = run(root, base.split_whitespace().chain(rest).chain(args.iter().copied())).json();
    let dir = root.join(report["run_dir"].as_str().unwrap());
    let settings: toml::Table = fs::read_to_string(dir.join("args.toml")).unwrap().parse().unwrap();
    assert_eq!(&settings[key], value, "{args:?}");
    weights(&dir.join("last.safetensors"))
}

/// What a setting does to the last weights of a run with default settings, which are those of photographs.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Effect {
    Other,
    Same,
}

#[test]
fn every_setting_is_kept_and_has_its_effect() {
    use Effect::{Other, Same};
    let folder = tempdir().unwrap();
    edited_photos(folder.path(), 6);
    let text = |value: &str| toml::Value::from(value);
    let default = last_weights(folder.path(), &[], "seed", &0.into());
    let cases: &[(&[&str], &str, toml::Value, Effect)] = &[
        (&["--seed", "1"], "seed", 1.into(), Other),
        (&["--alpha", "0"], "alpha", 0.0.into(), Other),
        (&["--alpha", "0.5"], "alpha", 0.5.into(), Other),
        (&["--strategy", "finite-difference"], "strategy", text("finite-difference"), Other),
        (&["--mask", "random"], "mask", text("random"), Other),
        (&["--mask", "full"], "mask", text("full"), Other),
        (&["--mask-area", "1.3"], "mask-area", 1.3.into(), Other),
        (&["--mask-area", "0.7"], "mask-area", 0.7.into(), Other),
        (&["--difference", "max"], "difference", text("max"), Other),
        (&["--difference", "l2"], "difference", text("l2"), Other),
        (&["--difference", "luma"], "difference", text("luma"), Other),
        (&["--otsu", "float"], "otsu", text("float"), Other),
        (&["--min-separability", "1"], "min-separability", 1.0.into(), Other),
        (&["--guide-originals"], "guide-originals", true.into(), Other),
        (&["--score", "log-probability"], "score", text("log-probability"), Other),
        (&["--norm", "l1"], "norm", text("l1"), Other),
        (&["--every", "2"], "every", 2.into(), Other),
        (&["--fraction", "0.5"], "fraction", 0.5.into(), Other),
        (&["--monitor"], "monitor", true.into(), Same),
        (&["--augment", "flip"], "augment", text("flip"), Other),
        (&["--augment", "flip-crop"], "augment", text("flip-crop"), Other),
        (&["--on-corrupt", "skip"], "on-corrupt", text("skip"), Same),
        (&["--freeze", "features.0"], "freeze", vec!["features.0"].into(), Other),
        (&["--optimizer", "sgd"], "optimizer", text("sgd"), Same),
        (&["--optimizer", "adamw"], "optimizer", text("adamw"), Other),
        (&["--lr", "0.01"], "lr", 0.01.into(), Other),
        (&["--head-lr-scale", "10"], "head-lr-scale", 10.0.into(), Other),
        (&["--momentum", "0.5"], "momentum", 0.5.into(), Other),
        (&["--nesterov"], "nesterov", true.into(), Other),
        (&["--weight-decay", "0.1"], "weight-decay", 0.1.into(), Other),
        (&["--schedule", "constant"], "schedule", text("constant"), Other),
        (&["--schedule", "step"], "schedule", text("step"), Other),
        (&["--schedule", "step", "--lr-step-epochs", "1"], "lr-step-epochs", 1.into(), Other),
        (&["--schedule", "step", "--lr-gamma", "0.5"], "lr-gamma", 0.5.into(), Other),
        (&["--schedule", "cosine"], "schedule", text("cosine"), Same),
        (&["--schedule", "one-cycle"], "schedule", text("one-cycle"), Other),
        (&["--warmup-epochs", "1"], "warmup-epochs", 1.into(), Other),
        (&["--accumulate", "2"], "accumulate", 2.into(), Other),
        (&["--clip-norm", "0.01"], "clip-norm", 0.01.into(), Other),
        (&["--ema", "0.5"], "ema", 0.5.into(), Other),
        (&["--select", "last"], "select", text("last"), Same),
        (&["--select", "val-worst-group"], "select", text("val-worst-group"), Same),
        (&["--patience", "2"], "patience", 2.into(), Same),
        (&["--top-k", "1"], "top-k", 1.into(), Same),
        (&["--limit-batches", "1"], "limit-batches", 1.into(), Other),
    ];
    let mut surprises = Vec::new();
    for (args, key, value, effect) in cases {
        let found = last_weights(folder.path(), args, key, value);
        let found = if found == default { Same } else { Other };
        if found != *effect {
            surprises.push((args, found));
        }
    }
    assert!(surprises.is_empty(), "{surprises:?}");
}

#[test]
fn checkpointing_trains_the_same_network() {
    let folder = tempdir().unwrap();
    edited_photos(folder.path(), 3);
    let train = |more: &[&str]| {
        let base = "train --data photos --edits edits.csv --alpha 1 --model resnet18 --image-size 16 --epochs 1 \
                    --batch 6 --json";
        let report = run(folder.path(), base.split_whitespace().chain(more.iter().copied())).json();
        ["loss_cls", "loss_pg"].map(|key| report[key].as_f64().unwrap())
    };
    let (kept, again) = (train(&[]), train(&["--grad-checkpointing"]));
    for (kept, again) in kept.iter().zip(&again) {
        assert!((again / kept - 1.0).abs() < 1e-3, "{again} {kept}");
    }
    let settings = fs::read_to_string(folder.path().join("runs/folder-2/args.toml")).unwrap();
    assert!(settings.contains("grad-checkpointing = true"));
}

#[test]
fn class_weights_count_where_classes_are_not_balanced() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    photos(&root.join("photos"), 4);
    fs::remove_file(root.join("photos/train/cat/00.png")).unwrap();
    let last = |flag: &str, out: &str| {
        quick(root, ["--data", "photos", "--class-weights", flag, "--out", out]).json();
        weights(&root.join(out).join("folder-1/last.safetensors"))
    };
    assert_ne!(last("true", "weighted"), last("false", "plain"));
}

#[test]
fn without_guidance_the_loss_is_measured_only_on_request() {
    let folder = tempdir().unwrap();
    edited_photos(folder.path(), 3);
    let report = |more: &[&str]| {
        quick(folder.path(), ["--data", "photos", "--edits", "edits.csv"].iter().chain(more)).json()
    };
    let (plain, monitored) = (report(&[]), report(&["--monitor"]));
    assert_eq!(plain["loss_pg"], Value::Null);
    assert!(monitored["loss_pg"].as_f64().unwrap() > 0.0);
    assert_eq!(plain["loss_cls"], monitored["loss_cls"]);
    let last = |n: u32| weights(&folder.path().join(format!("runs/folder-{n}/last.safetensors")));
    assert_eq!(last(1), last(2));
}

#[test]
fn a_run_says_what_it_does_and_warns_of_guidance_without_provenance() {
    let folder = tempdir().unwrap();
    photos(&folder.path().join("photos"), 2);
    let guided = quick(folder.path(), ["--data", "photos", "--alpha", "1"]);
    assert_eq!(guided.json()["loss_pg"], Value::Null);
    assert!(guided.stderr.contains("WARN no sample has provenance, so alpha 1 does nothing"), "{guided:?}");
    let text = run(
        folder.path(),
        ["train", "--data", "photos", "--model", "mlp", "--image-size", "8", "--epochs", "1"],
    );
    text.succeeded();
    assert!(
        text.stdout.contains("top-1") && text.stdout.ends_with("run directory: runs/folder-2\n"),
        "{text:?}"
    );
}

#[test]
fn top_k_keeps_the_best_epochs() {
    let folder = tempdir().unwrap();
    photos(&folder.path().join("photos"), 3);
    let args = "train --data photos --model mlp --image-size 8 --epochs 5 --threads 1 --json --top-k 2";
    run(folder.path(), args.split_whitespace()).json();
    let dir = folder.path().join("runs/folder-1");
    let mut ranked: Vec<(f64, usize)> = table(&dir.join("results.csv"))
        .iter()
        .map(|row| (row["val_top1"].parse().unwrap(), row["epoch"].parse().unwrap()))
        .collect();
    ranked.sort_by(|(a, m), (b, n)| b.total_cmp(a).then(m.cmp(n)));
    let mut expected: Vec<String> =
        ranked[..2].iter().map(|(_, n)| format!("epoch-{n}.safetensors")).collect();
    expected.sort();
    let kept: Vec<String> = names(&dir).into_iter().filter(|name| name.starts_with("epoch-")).collect();
    assert_eq!(kept, expected);
    let best = weights(&dir.join("best.safetensors"));
    assert_eq!(best, weights(&dir.join(format!("epoch-{}.safetensors", ranked[0].1))));
}

/// The edits are painted over on their right half; the masks say that it was the upper one.
#[test]
fn a_mask_that_came_with_an_edit_stands_in_for_the_difference() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let edits = edited_photos(root, 3);
    GrayImage::from_fn(14, 14, |_, y| Luma([if y < 7 { 0 } else { 255 }]))
        .save(root.join("lower.png"))
        .unwrap();
    GrayImage::from_pixel(14, 14, Luma([255])).save(root.join("white.png")).unwrap();
    for mask in ["lower", "white"] {
        let rows = fs::read_to_string(&edits).unwrap();
        let (header, rows) = rows.split_once('\n').unwrap();
        let rows: String = rows.lines().map(|row| format!("{row},{mask}.png\n")).collect();
        fs::write(root.join(format!("{mask}.csv")), format!("{header},mask\n{rows}")).unwrap();
    }

    let args = "synth --data photos --edits lower.csv --image-size 14 --count 2 --out drawn";
    run(root, args.split_whitespace()).succeeded();
    let drawn = image::open(root.join("drawn/mask-0001.png")).unwrap().into_luma8();
    assert_eq!(drawn, image::open(root.join("lower.png")).unwrap().into_luma8());
    assert!(table(&root.join("drawn/provenance.csv")).iter().all(|row| row["modified_fraction"] == "0.5"));

    let loss = |edits| {
        let report = quick(root, ["--data", "photos", "--edits", edits, "--alpha", "1"]).json();
        report["loss_pg"].as_f64()
    };
    assert!(loss("lower.csv").unwrap() > 0.0);
    assert_ne!(loss("lower.csv"), loss("edits.csv"));
    assert_eq!(loss("white.csv"), None, "an edit that left everything alone has nothing to be guided by");
}
