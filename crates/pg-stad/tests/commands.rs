//! Every command and every setting, on sets so small that all of them run.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{
    CLASSES, DATA, changed, clip, clips, clips_of, contents, lines, program, quick, run, run_line, sample,
    trained, truth, weights, write_lines,
};
use tempfile::tempdir;

#[test]
fn train_reports_what_it_measured_and_evaluate_repeats_it() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    clips(root);
    let report = quick(
        root,
        DATA.iter().chain(&["--ground-truth", "truth.jsonl", "--min-length", "2", "--trim", "false"]),
    )
    .json();
    for key in [
        "val_top1",
        "test_top1",
        "test_video_map_20",
        "test_video_map_50",
        "test_video_map_75",
        "test_video_map_50_95",
        "test_frame_map_50",
        "test_instance_ap",
        "constant_top1",
        "alike_video_map_50",
        "alike_instance_ap",
    ] {
        let value = report[key].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&value), "{key}: {value}");
    }
    assert!(report["test_video_map_20"].as_f64().unwrap() > 0.0, "who acts is among those found: {report}");
    assert!(report["leak_ratio"].as_f64().unwrap() >= 0.0);
    assert!(report["loss_cls"].as_f64().unwrap() > 0.0 && report["seconds"].as_f64().unwrap() > 0.0);
    for (key, value) in [
        ("val_clips", json!(3)),
        ("test_clips", json!(6)),
        ("alpha", json!(0.0)),
        ("epochs", json!(1)),
        ("best_epoch", json!(1)),
        ("ending", json!("completed")),
        ("loss_pg", Value::Null),
        ("run_dir", json!("runs/train-1")),
    ] {
        assert_eq!(report[key], value, "{key}");
    }
    assert!(report["parameters"].as_u64().unwrap() > 100);
    let dir = root.join("runs/train-1");
    let written: Value = serde_json::from_slice(&fs::read(dir.join("report.json")).unwrap()).unwrap();
    assert_eq!(written, report);

    // What the run wrote of its test clips is worth what it says, to whoever measures.
    let evaluate = "evaluate --detections runs/train-1/detections.jsonl --ground-truth truth.jsonl --json";
    let measured = run_line(root, evaluate).json();
    for (threshold, key) in [("0.2", "20"), ("0.5", "50"), ("0.75", "75"), ("0.5:0.95", "50_95")] {
        let expected = &report[format!("test_video_map_{key}")];
        assert_eq!(&measured["video_map"][threshold]["trapezoid"], expected, "{threshold}");
    }
    assert_eq!(measured["frame_map"]["trapezoid"], report["test_frame_map_50"]);
    // And `detect` finds the same again: it links as the run did.
    let detect = "detect --data test.jsonl --checkpoint runs/train-1 --out again.jsonl";
    run_line(root, detect).succeeded();
    assert_eq!(fs::read(root.join("again.jsonl")).unwrap(), fs::read(dir.join("detections.jsonl")).unwrap());
    run_line(root, &format!("{detect} --min-length 11")).succeeded();
    assert_ne!(fs::read(root.join("again.jsonl")).unwrap(), fs::read(dir.join("detections.jsonl")).unwrap());

    let text = run_line(
        root,
        "train --data train.jsonl --label-map labels.txt --epochs 1 --dim 8 --test test.jsonl",
    );
    text.succeeded();
    assert!(
        text.stdout.contains("test: videos classified") && text.stdout.contains("leak ratio"),
        "{text:?}"
    );
    assert!(text.stdout.ends_with("run directory: runs/train-2\n"), "{text:?}");
    assert!(
        text.stderr
            .contains("train: 3 classes; 7 training, 0 validation, 6 test clips of people with 17 joints")
    );
}

#[test]
fn the_embedded_set_needs_no_files() {
    let folder = tempdir().unwrap();
    let report = quick(folder.path(), ["--synth", "batchmix", "--alpha", "0.01"]).json();
    assert!(report["loss_pg"].as_f64().unwrap() > 0.0);
    assert!(report["test_video_map_50"].is_number());
    assert_eq!((&report["val_clips"], &report["test_clips"]), (&64.into(), &64.into()), "one batch");
    let args = "explain --checkpoint runs/embedded-1 --count 2 --class kick --json";
    assert_eq!(run_line(folder.path(), args).json()["clips"], 2);
}

#[test]
fn the_embedded_set_is_written_as_files_that_train_alike() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let written = run_line(root, "synth --out set --json").json();
    assert_eq!(
        (&written["folder"], &written["val"]),
        (&"set".into(), &lines(&root.join("set/val.jsonl")).len().into())
    );
    let files = "--data set/train.jsonl --label-map set/labels.txt --val set/val.jsonl --test set/test.jsonl \
                 --ground-truth set/truth-test.jsonl --select val-top1 --batch 32 --lr 3e-3 --people 4";
    let (drawn, read) = (quick(root, [""; 0]).json(), quick(root, files.split_whitespace()).json());
    for key in ["loss_cls", "val_top1", "test_top1", "test_video_map_50", "leak_ratio"] {
        assert_eq!(drawn[key], read[key], "{key}");
    }
    let text = run_line(root, "synth --out other --seed 1");
    assert!(text.stdout.ends_with(" test clips written to other\n"), "{text:?}");
    let of = |folder: &str| fs::read(root.join(folder).join("val.jsonl")).unwrap();
    assert_ne!(of("set"), of("other"));
    let again = run_line(root, "synth --out set");
    assert!(again.error(1).starts_with("set: "), "{again:?}");
}

/// Training of several epochs with everything that draws at random.
const LONG: &str = "train --data train.jsonl --label-map labels.txt --val val.jsonl --test test.jsonl --ground-truth \
                    truth.jsonl --synth batchmix --alpha 0.1 --mix-start 1 --mask random --joint-drop 0.1 --frames 16 \
                    --dim 32 --batch 4 --epochs 4 --threads 1 --json";

/// What must not depend on how a run came to its end: every file but the clock's.
fn outcome(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let clocked =
        |name: &str| name.starts_with("events.out") || ["timings.csv", "report.json"].contains(&name);
    let files = contents(dir).into_iter().map(|(path, bytes)| (path.display().to_string(), bytes));
    files.filter(|(name, _)| !clocked(name)).collect()
}

fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (outcome(one), outcome(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, bytes) in &one {
        assert!(*bytes == other[name], "{name} differs");
    }
}

fn start(folder: &Path, args: &str) -> Child {
    let mut command = Command::new(program());
    command.args(args.split_whitespace()).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Waits until `epoch` is in the run's table.
fn await_epoch(dir: &Path, epoch: usize, child: &mut Child) {
    let started = Instant::now();
    let row = format!("\n{epoch},");
    while !fs::read_to_string(dir.join("results.csv")).is_ok_and(|table| table.contains(&row)) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before epoch {epoch}");
        assert!(started.elapsed() < Duration::from_secs(120), "no epoch {epoch}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_run_that_was_killed_ends_as_if_it_had_not() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    clips(root);
    write_lines(&root.join("train.jsonl"), &clips_of("a", 30));
    let straight = run_line(root, &format!("{LONG} --out straight")).json();

    let dir = root.join("killed/train-1");
    let mut child = start(root, &format!("{LONG} --out killed"));
    await_epoch(&dir, 2, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let epochs = fs::read_to_string(dir.join("results.csv")).unwrap().lines().count() - 1;
    assert!(epochs < 4, "killed too late to show anything");
    // From another folder: the run knows where its clips are.
    fs::create_dir(root.join("elsewhere")).unwrap();
    let resumed =
        run_line(&root.join("elsewhere"), "train --resume ../killed/train-1 --threads 1 --json").json();
    assert_eq!((&resumed["epochs"], &resumed["ending"]), (&4.into(), &"completed".into()));
    for (key, value) in straight.as_object().unwrap() {
        let differs = ["seconds", "run_dir"].contains(&key.as_str());
        assert!(differs || resumed[key] == *value, "{key}: {} {value}", resumed[key]);
    }
    assert_same(&dir, &root.join("straight/train-1"));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    clips(root);
    for threads in ["1", "2"] {
        let args = LONG.replace("--threads 1", "--threads").replace("--epochs 4", "--epochs 2");
        let args = args.replace("--json", &format!("{threads} --json --out {threads}"));
        run_line(root, &args).json();
        let detect =
            format!("detect --data test.jsonl train.jsonl --checkpoint 1/train-1 --out {threads}.jsonl");
        run_line(root, &format!("{detect} --threads {threads} --window 3")).succeeded();
        let explain = format!("explain --data test.jsonl --checkpoint 1/train-1 --out {threads}.html");
        run_line(root, &format!("{explain} --threads {threads}")).succeeded();
    }
    assert_same(&root.join("1/train-1"), &root.join("2/train-1"));
    for kind in ["jsonl", "html"] {
        let of = |threads: u32| fs::read(root.join(format!("{threads}.{kind}"))).unwrap();
        assert_eq!(of(1), of(2), "{kind}");
    }
}

/// The last weights and the tubes of a run of the settings, whose `args.toml` must hold this key with this value.
fn results(
    root: &Path,
    args: &[&str],
    kept: Option<(&str, &toml::Value)>,
) -> (BTreeMap<String, Vec<u64>>, Vec<Value>) {
    let base = "train --data train.jsonl --label-map labels.txt --val val.jsonl --test test.jsonl --batch 5 --threads 1 --json --out settings";
    let said = |flag: &str| args.contains(&flag);
    // A network that has hardly been trained is sure of nothing.
    let threshold = if said("--trim") || said("online") { "0.5" } else { "0.3" };
    let rest = [
        ("--synth", "batchmix"),
        ("--alpha", "1"),
        ("--epochs", "2"),
        ("--frames", "4"),
        ("--dim", "8"),
        ("--min-length", "3"),
        ("--trim-threshold", threshold),
    ];
    let mixes = if said("none") || said("--mix-start") { None } else { Some(("--mix-start", "0")) };
    let rest =
        rest.into_iter().chain(mixes).filter(|(flag, _)| !said(flag)).flat_map(|(flag, value)| [flag, value]);
    let report = run(root, base.split_whitespace().chain(rest).chain(args.iter().copied())).json();
    let dir = root.join(report["run_dir"].as_str().unwrap());
    let settings: toml::Table = fs::read_to_string(dir.join("args.toml")).unwrap().parse().unwrap();
    if let Some((key, value)) = kept {
        assert_eq!(&settings[key], value, "{args:?}");
    }
    let tubes = lines(&dir.join("detections.jsonl")).into_iter().map(|mut video| video["tubes"].take());
    (weights(&dir.join("last.safetensors")), tubes.collect())
}

/// What a setting does to a run with default settings.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Effect {
    /// To its weights.
    Weights,
    /// To its tubes alone.
    Tubes,
    Nothing,
}

#[test]
fn every_setting_is_kept_and_has_its_effect() {
    use Effect::{Nothing, Tubes, Weights};
    let folder = tempdir().unwrap();
    let root = folder.path();
    clips(root);
    // In half of each test clip the first person is gone, so that tubes have ends; two have a track.
    let tests = (0..4).map(|index| {
        changed(&format!("c{index}"), |clip| {
            let instances = clip["instances"].as_array_mut().unwrap();
            instances
                .retain(|person| person["keypoints"][0][0] != 30 || person["frame"].as_u64().unwrap() < 5);
            for (index, person) in instances.iter_mut().enumerate() {
                person["track"] = json!(index % 2);
            }
        })
    });
    write_lines(&root.join("test.jsonl"), &tests.collect::<Vec<_>>());
    let text = |value: &str| toml::Value::from(value);
    let (default, tubes) = results(root, &[], Some(("seed", &0.into())));
    let cases: &[(&[&str], &str, toml::Value, Effect)] = &[
        (&["--seed", "1"], "seed", 1.into(), Weights),
        (&["--frames", "3"], "frames", 3.into(), Weights),
        (&["--people", "1"], "people", 1.into(), Weights),
        (&["--augment", "false"], "augment", false.into(), Weights),
        (&["--joint-drop", "0.3"], "joint-drop", 0.3.into(), Weights),
        (&["--person-drop", "0.5"], "person-drop", 0.5.into(), Weights),
        (&["--keep-going"], "keep-going", true.into(), Nothing),
        (&["--synth", "none", "--alpha", "0"], "synth", text("none"), Weights),
        (&["--sources", "3"], "sources", 3.into(), Weights),
        (&["--target", "unmix"], "target", text("unmix"), Nothing),
        (&["--target", "soft"], "target", text("soft"), Weights),
        (&["--mix-start", "1"], "mix-start", 1.into(), Weights),
        (&["--loss", "bce"], "loss", text("bce"), Nothing),
        (&["--loss", "cross-entropy"], "loss", text("cross-entropy"), Weights),
        (&["--loss", "cross-entropy", "--target", "soft"], "target", text("soft"), Weights),
        (&["--pooling", "instance"], "pooling", text("instance"), Nothing),
        (&["--pooling", "embedding"], "pooling", text("embedding"), Weights),
        (&["--dim", "4"], "dim", 4.into(), Weights),
        (&["--repeats", "0", "2", "1"], "repeats", vec![0, 2, 1].into(), Weights),
        (&["--alpha", "0"], "alpha", 0.0.into(), Weights),
        (&["--alpha", "0.5"], "alpha", 0.5.into(), Weights),
        (&["--strategy", "finite-difference"], "strategy", text("finite-difference"), Weights),
        (&["--mask", "random"], "mask", text("random"), Weights),
        (&["--mask", "full"], "mask", text("full"), Weights),
        (
            &["--loss", "cross-entropy", "--target", "soft", "--score", "log-probability"],
            "score",
            text("log-probability"),
            Weights,
        ),
        (&["--norm", "l1"], "norm", text("l1"), Weights),
        (&["--every", "2"], "every", 2.into(), Weights),
        (&["--fraction", "0.5"], "fraction", 0.5.into(), Weights),
        (&["--target", "soft", "--fraction", "0.5"], "fraction", 0.5.into(), Weights),
        (&["--strategy", "finite-difference", "--fraction", "0.4"], "fraction", 0.4.into(), Weights),
        (&["--monitor"], "monitor", true.into(), Nothing),
        (&["--grad-features", "xy"], "grad-features", text("xy"), Weights),
        (&["--optimizer", "sgd"], "optimizer", text("sgd"), Weights),
        (&["--optimizer", "sgd", "--momentum", "0.5"], "momentum", 0.5.into(), Weights),
        (&["--optimizer", "sgd", "--nesterov"], "nesterov", true.into(), Weights),
        (&["--lr", "0.01"], "lr", 0.01.into(), Weights),
        (&["--head-lr-scale", "10"], "head-lr-scale", 10.0.into(), Weights),
        (&["--weight-decay", "0.1"], "weight-decay", 0.1.into(), Weights),
        (&["--schedule", "constant"], "schedule", text("constant"), Weights),
        (&["--schedule", "step", "--lr-step-epochs", "1"], "lr-step-epochs", 1.into(), Weights),
        (
            &["--schedule", "step", "--lr-step-epochs", "1", "--lr-gamma", "0.5"],
            "lr-gamma",
            0.5.into(),
            Weights,
        ),
        (&["--warmup-epochs", "1"], "warmup-epochs", 1.into(), Weights),
        (&["--accumulate", "2"], "accumulate", 2.into(), Weights),
        (&["--clip-norm", "0.01"], "clip-norm", 0.01.into(), Weights),
        (&["--ema", "0.5"], "ema", 0.5.into(), Weights),
        (&["--patience", "2"], "patience", 2.into(), Nothing),
        (&["--top-k", "1"], "top-k", 1.into(), Nothing),
        (&["--limit-batches", "1"], "limit-batches", 1.into(), Weights),
        (&["--linking", "act"], "linking", text("act"), Nothing),
        (&["--linking", "online"], "linking", text("online"), Tubes),
        (&["--linking", "tracks"], "linking", text("tracks"), Tubes),
        (&["--trim", "false"], "trim", false.into(), Tubes),
        (&["--trim-threshold", "0.9"], "trim-threshold", 0.9.into(), Tubes),
        (&["--trim-window", "3"], "trim-window", 3.into(), Tubes),
        (&["--trim-smoothing", "median"], "trim-smoothing", text("median"), Tubes),
        (&["--min-length", "6"], "min-length", 6.into(), Tubes),
    ];
    let mut surprises = Vec::new();
    for (args, key, value, effect) in cases {
        let (found, found_tubes) = results(root, args, Some((key, value)));
        // What stands before the flag goes without it, too.
        let (without, tubes_without) = match args.iter().position(|arg| *arg == format!("--{key}")) {
            Some(place @ 1..) => results(root, &args[..place], None),
            _ => (default.clone(), tubes.clone()),
        };
        let found = match found == without {
            false => Weights,
            true if found_tubes == tubes_without => Nothing,
            true => Tubes,
        };
        if found != *effect {
            surprises.push((args, found));
        }
    }
    assert!(surprises.is_empty(), "{surprises:?}");
    let last = run_line(
        root,
        "train --data train.jsonl --label-map labels.txt --epochs 2 --dim 4 --select last --json",
    );
    assert_eq!(last.json()["best_epoch"], 2);
    let best =
        run_line(root, &format!("train {} --epochs 2 --dim 4 --select val-top1 --json", DATA.join(" ")));
    assert!(best.json()["best_epoch"].is_number());
}

#[test]
fn flags_override_the_file_of_settings() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    clips(root);
    let settings = "data = [\"train.jsonl\"]\nlabel-map = \"labels.txt\"\nsynth = \"batchmix\"\nalpha = 0.25\n\
                    mix-start = 0\ngrad-features = \"xy\"\nlinking = \"online\"\nrepeats = [1, 0, 1]\nseed = 3\n";
    fs::write(root.join("settings.toml"), settings).unwrap();
    let report = quick(root, ["--config", "settings.toml", "--seed", "5", "--linking", "act"]).json();
    assert_eq!(report["alpha"], 0.25);
    let args: toml::Table = fs::read_to_string(root.join("runs/train-1/args.toml")).unwrap().parse().unwrap();
    for (key, value) in [
        ("seed", toml::Value::Integer(5)),
        ("linking", "act".into()),
        ("grad-features", "xy".into()),
        ("repeats", vec![1, 0, 1].into()),
        ("data", vec![root.join("train.jsonl").display().to_string()].into()),
    ] {
        assert_eq!(args[key], value, "{key}");
    }
    // What a run wrote of itself is a file of settings.
    let again = run_line(root, "train --config runs/train-1/args.toml --threads 1 --json").json();
    assert_eq!(again["run_dir"], "runs/train-2");
    let last = |number| weights(&root.join(format!("runs/train-{number}/last.safetensors")));
    assert_eq!(last(1), last(2));
    fs::write(root.join("wrong.toml"), "alpha = 1\nlinkage = \"act\"\n").unwrap();
    let wrong = run_line(root, "train --config wrong.toml");
    assert!(wrong.error(2).starts_with("wrong.toml: line 2: unknown key `linkage`"), "{wrong:?}");
}

/// Guidance that sees nothing to guide must not touch the run.
#[test]
fn guidance_begins_with_the_mixes() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    clips(root);
    let train = |more: &str| {
        let base = "train --data train.jsonl --label-map labels.txt --synth batchmix --epochs 2 --mix-start 1 --dim 8 \
                    --frames 4 --batch 4 --limit-batches 1 --threads 1 --json";
        let report = run_line(root, &format!("{base} {more}")).json();
        fs::read_to_string(root.join(report["run_dir"].as_str().unwrap()).join("results.csv")).unwrap()
    };
    let (plain, guided) = (train("--alpha 0"), train("--alpha 10"));
    let column = |table: &str, name: &str| -> Vec<String> {
        let place = table.lines().next().unwrap().split(',').position(|column| column == name).unwrap();
        table.lines().skip(1).map(|row| row.split(',').nth(place).unwrap().to_owned()).collect()
    };
    let (plain_loss, guided_loss) = (column(&plain, "loss_cls"), column(&guided, "loss_cls"));
    assert_eq!(plain_loss, guided_loss, "each epoch has one step, taken before its guidance counts");
    let guidance = column(&guided, "loss_pg");
    assert!(guidance[0].is_empty() && guidance[1].parse::<f64>().unwrap() > 0.0, "{guided}");
}

#[test]
fn windows_cover_everyone_once_and_change_what_is_seen_together() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    let detect = |window: &str| {
        let args =
            format!("detect --data test.jsonl --checkpoint runs/train-1 --out w.jsonl --window {window}");
        let text = run_line(root, &args);
        text.succeeded();
        let words: Vec<&str> = text.stdout.split_whitespace().collect();
        assert!(text.stdout.starts_with("6 clips, 60 frames, "), "{text:?}");
        assert!(text.stdout.ends_with(" ms a second of video\n"), "{text:?}");
        assert!(words.contains(&"w.jsonl;"), "{text:?}");
        lines(&root.join("w.jsonl"))
    };
    let whole = detect("10");
    assert_eq!(whole, detect("4000000000"));
    for window in ["1", "4", "9"] {
        let cut = detect(window);
        assert_ne!(cut, whole, "{window}");
        for (video, clip) in cut.iter().zip(clips_of("c", 6)) {
            let places = |list: &Value| -> Vec<Value> {
                list.as_array().unwrap().iter().map(|person| person["frame"].clone()).collect()
            };
            assert_eq!(places(&video["instances"]), places(&clip["instances"]), "in the clip's order");
            for instance in video["instances"].as_array().unwrap() {
                let scores =
                    instance["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap());
                // Classes that do not compete do not add up.
                assert!((scores.sum::<f64>() - 1.0).abs() > 1e-3);
            }
        }
    }
    let report = run_line(
        root,
        "detect --data test.jsonl --checkpoint runs/train-1/last.safetensors --trim false --json",
    )
    .json();
    let (seconds, per_second) = (&report["seconds"], &report["seconds_per_second_of_video"]);
    // Six clips of 10 frames at 25 a second.
    assert!((seconds.as_f64().unwrap() / 2.4 - per_second.as_f64().unwrap()).abs() < 1e-9, "{report}");
    assert_eq!(report["out"], "detections.jsonl");
    assert!(report["tubes"].as_u64().unwrap() > 0 && root.join("detections.jsonl").exists());
    // Without its rate a clip does not tell how long it is.
    write_lines(&root.join("test.jsonl"), &[changed("c", |clip| clip["fps"] = Value::Null)]);
    let detect = "detect --data test.jsonl --checkpoint runs/train-1";
    assert!(run_line(root, detect).stdout.ends_with(" ms a frame\n"));
    assert!(run_line(root, &format!("{detect} --json")).json()["seconds_per_second_of_video"].is_null());
}

#[test]
fn detect_links_in_every_way() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    let linked = |args: &str| {
        let detect = format!(
            "detect --data test.jsonl --checkpoint runs/train-1 --json --device cpu --threads 1 {args}"
        );
        let run = run_line(root, &detect);
        assert_eq!(run.json()["clips"], 6, "{args}");
        let evaluate = "evaluate --detections detections.jsonl --ground-truth truth.jsonl --json";
        run_line(root, evaluate).json();
        let tubes: Vec<Value> =
            lines(&root.join("detections.jsonl")).into_iter().map(|video| video["tubes"].clone()).collect();
        (tubes, run.stderr)
    };
    let lengths = |tubes: &[Value]| -> Vec<usize> {
        let tubes = tubes.iter().flat_map(|video| video.as_array().unwrap());
        tubes.map(|tube| tube["boxes"].as_array().unwrap().len()).collect()
    };
    let whole = linked("--linking act --trim false --min-length 3").0;
    assert!(!whole.is_empty() && lengths(&whole).iter().all(|&length| length == 10), "{whole:?}");
    assert!(lengths(&linked("--linking act --trim false --min-length 11").0).is_empty());
    assert!(lengths(&linked("--linking act --trim --trim-threshold 1.1").0).is_empty());
    assert_eq!(
        lengths(&linked("--linking act --trim --trim-threshold -1 --trim-window 3").0),
        lengths(&whole)
    );
    let online = linked("--linking online --min-length 2").0;
    assert_ne!(online, whole);
    for smoothing in ["median", "closing"] {
        linked(&format!("--linking act --trim-smoothing {smoothing} --trim-window 5 --trim-threshold 0.1"));
    }
    // Those who have no track make no tubes, which is said.
    let (tubes, said) = linked("--linking tracks --trim-threshold -1");
    assert!(lengths(&tubes).is_empty() && said.contains("nobody in the clips has a `track`"), "{said}");
    let tracked = |clip: &mut Value| {
        let instances = clip["instances"].as_array_mut().unwrap();
        instances.iter_mut().enumerate().for_each(|(place, person)| person["track"] = (place % 2).into());
    };
    write_lines(
        &root.join("test.jsonl"),
        &["c0", "c1", "c2", "c3", "c4", "c5"].map(|id| changed(id, tracked)),
    );
    let (tubes, said) = linked("--linking tracks --trim-threshold -1");
    assert!(!lengths(&tubes).is_empty() && !said.contains("track"), "{said}");
}

#[test]
fn evaluate_measures_by_each_convention_and_lists_failures() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    // Of c0 the tube is found; of c1 it is of another class; of c2 nothing was detected.
    let found = |id: &str, label: &str| {
        json!({"id": id, "frames": 10, "classes": CLASSES,
               "instances": [{"frame": 0, "box": [28, 36, 42, 82], "scores": [0.75, 0.25, 0.25]},
                             {"frame": 1, "box": [28, 36, 42, 82], "scores": [0.5, 0.25, 0.25]}],
               "tubes": [{"label": label, "score": 0.5, "start": 1, "boxes": vec![[28, 36, 42, 82]; 9]}]})
    };
    write_lines(&root.join("found.jsonl"), &[found("c0", "wave"), found("c1", "wave")]);
    // The first frame is not annotated.
    let late = |id: &str, class: &str| {
        let mut truth = truth(id, class);
        truth["tubes"][0]["start"] = 1.into();
        truth["tubes"][0]["boxes"].as_array_mut().unwrap().pop();
        truth
    };
    write_lines(&root.join("truth.jsonl"), &[late("c0", "wave"), late("c1", "kick"), late("c2", "kick")]);
    let base = "evaluate --detections found.jsonl --ground-truth truth.jsonl --failures";
    // Of `wave` the first of two is right, or of two of equal score; of `kick` nothing; `jump` counts for voc.
    for (convention, expected) in [("act", 0.5), ("voc", 1.0 / 3.0), ("cheron", 0.5)] {
        let report = run_line(root, &format!("{base} --convention {convention} --json")).json();
        assert_eq!(report["convention"], convention);
        let area = if convention == "act" { "trapezoid" } else { "envelope" };
        let map = report["video_map"]["0.5"][area].as_f64().unwrap();
        assert!((map - expected).abs() < 1e-12, "{convention}: {map}");
        let outcomes: Vec<&Value> =
            report["failures"]["tubes"].as_array().unwrap().iter().map(|tube| &tube["outcome"]).collect();
        assert_eq!(outcomes, ["hit", "class", "missed"], "{convention}");
        assert_eq!(report["skipped"], json!([]));

        let text = run_line(root, &format!("{base} --convention {convention}"));
        text.succeeded();
        for words in [
            &format!("convention {convention}, in percent")[..],
            "annotated tubes: 1 found, 0 taken by another, 1 of another class, 0 boxes off, 0 times off, 1 missed\n",
            "  c1 tube 0 (kick): Class; nearest: wave (score 0.500, overlap in time 1.00, in space 1.00)\n",
            "  c2 tube 0 (kick): Missed; nothing near",
        ] {
            assert!(text.stdout.contains(words), "{words}: {}", text.stdout);
        }
        assert!(!text.stdout.contains("c0 tube"), "{}", text.stdout);
    }
    let frames = |more: &str| {
        let report = run_line(root, &format!("{base} --json {more}")).json();
        report["frame_map"]["trapezoid"].as_f64().unwrap()
    };
    // 1 of 9 boxes of `wave` is found, and of those of `kick` nearly none; before them are boxes in frames that nothing is
    // annotated in.
    assert!(frames("") < frames("--annotated-frames-only"));
    let missing = run_line(root, base);
    let warning = " WARN 1 annotated videos are not in found.jsonl: their tubes count as missed\n";
    assert!(missing.stderr.ends_with(warning), "{missing:?}");
    let without = run_line(root, &base.replace(" --failures", ""));
    assert!(without.stdout.contains("annotated tubes") && !without.stdout.contains("c2 tube"), "{without:?}");
}

#[test]
fn evaluate_and_train_know_the_annotation_of_ucf101() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let boxes = vec![[0, 0, 10, 20]; 2];
    let video = json!({"id": "Basketball/v_Basketball_g01_c01", "frames": 9, "classes": ["Basketball"],
                       "tubes": [{"label": "Basketball", "score": 0.5, "start": 2, "boxes": boxes}]});
    write_lines(&root.join("found.jsonl"), &[video]);
    for name in ["singh_2.pkl", "act.pkl"] {
        fs::copy(sample(name), root.join(name)).unwrap();
        let args = format!("evaluate --detections found.jsonl --ground-truth {name} --json");
        let report = run_line(root, &args).json();
        assert_eq!(report["classes"]["Basketball"]["ground_truth"], 2, "{report}");
        assert!(report["classes"].get("Biking").is_none(), "a video that was not asked about: {report}");
    }
    clips(root);
    fs::write(root.join("labels.txt"), "wave\nkick\njump\nBasketball\n").unwrap();
    // PYSKL's files have names without the class.
    for id in ["Basketball/v_Basketball_g01_c01", "v_Basketball_g01_c01"] {
        write_lines(&root.join("test.jsonl"), &[clip(id, "Basketball")]);
        let report = quick(root, DATA.iter().chain(&["--ground-truth", "singh_2.pkl"])).json();
        // The other video of the file has a class that nobody knows here, and is not tested.
        assert!(report["test_video_map_50"].is_number(), "{report}");
    }
}

#[test]
fn explain_writes_one_page_that_loads_nothing() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    write_lines(&root.join("odd.jsonl"), &[clip("<b>&\"odd\"", "wave"), clip("c1", "kick")]);
    let args = [
        "explain",
        "--checkpoint",
        "runs/train-1",
        "--data",
        "odd.jsonl",
        "--clip",
        "<b>&\"odd\"",
        "--class",
        "kick",
    ];
    let report = run(root, args.iter().chain(&["--out", "odd.html", "--json"])).json();
    assert_eq!((&report["clips"], &report["out"]), (&1.into(), &"odd.html".into()));
    let page = fs::read_to_string(root.join("odd.html")).unwrap();
    for word in ["http", "src=", "href=", "url(", "@import", "<b>&\"odd", "NaN", "inf"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(
        page.contains("<h2>&lt;b&gt;&amp;\"odd\", labelled wave</h2><p>Asked about: <b>kick</b>."),
        "{page}"
    );
    assert_eq!(page.matches("class=\"frame\"").count(), 10);
    assert!(!page.contains("stroke-dasharray"), "nothing is annotated");
    // 20 people of 17 joints.
    assert_eq!(page.matches("<circle").count(), 340);

    let args = "explain --checkpoint runs/train-1 --data test.jsonl --ground-truth truth.jsonl --count 3";
    let text = run_line(root, args);
    assert_eq!(text.stdout, "3 clips drawn in explain.html\n", "{text:?}");
    let page = fs::read_to_string(root.join("explain.html")).unwrap();
    assert_eq!(page.matches("<section>").count(), 3);
    for id in ["c0", "c1", "c2"] {
        assert!(page.contains(&format!("<h2>{id}, labelled")), "{id}");
    }
    // Tubes are drawn of the class that is asked about.
    let asked = args.replace("--count 3", "--clip c1 --class kick");
    run_line(root, &asked).succeeded();
    let page = fs::read_to_string(root.join("explain.html")).unwrap();
    assert_eq!(page.matches("stroke-dasharray").count(), 10);
    run_line(root, &asked.replace("kick", "jump")).succeeded();
    assert!(!fs::read_to_string(root.join("explain.html")).unwrap().contains("stroke-dasharray"));
}

#[test]
fn convert_reads_every_format() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let convert = |from: &Path, more: &str| {
        let from =
            [Path::new("convert"), from, Path::new("out.jsonl")].map(|word| word.display().to_string());
        let report = run(root, from.iter().map(String::as_str).chain(more.split_whitespace())).json();
        let clips = lines(&root.join("out.jsonl"));
        assert_eq!(report["clips"], clips.len());
        let people: usize = clips.iter().map(|clip| clip["instances"].as_array().unwrap().len()).sum();
        assert_eq!(report["instances"], people);
        (report["format"].as_str().unwrap().to_owned(), clips)
    };
    fs::write(root.join("names.txt"), "first\nsecond\n").unwrap();
    for protocol in 0..6 {
        let (format, clips) =
            convert(&sample(&format!("skeletons_{protocol}.pkl")), "--json --label-map names.txt");
        assert_eq!((format.as_str(), clips.len()), ("pyskl", 2));
        assert_eq!(
            (&clips[0]["id"], &clips[0]["label"], &clips[0]["frames"]),
            (&"v_1".into(), &"second".into(), &3.into())
        );
        assert_eq!((&clips[0]["width"], &clips[0]["height"]), (&320.into(), &240.into()));
    }
    let (_, split) = convert(&sample("skeletons_4.pkl"), "--json --split test --fps 30");
    assert_eq!((split.len(), &split[0]["id"], &split[0]["fps"]), (1, &"v_2".into(), &30.0.into()));
    for name in ["numpy1.pkl", "list.pkl", "listed.pkl"] {
        assert!(!convert(&sample(name), "--json --format pyskl").1.is_empty(), "{name}");
    }
    let (_, nobody) = convert(&sample("nobody.pkl"), "--json --size 320 240 --label idle");
    let people: Vec<usize> = nobody.iter().map(|clip| clip["instances"].as_array().unwrap().len()).collect();
    assert_eq!(people, [0, 0, 1], "of the last, one joint is NaN and one was found");
    assert!(nobody.iter().all(|clip| clip["label"] == "idle"), "{nobody:?}");
    for name in ["skeletons.npz", "skeletons.npy"] {
        let (format, clips) = convert(&sample(name), "--json --size 320 240");
        assert_eq!((format.as_str(), clips[0]["instances"].as_array().unwrap().len()), ("npz", 3), "{name}");
    }
    let joint = |x: &str, y: &str| format!("0.1 0.2 3.0 250 200 {x} {y} 0 0 0 0 2\n");
    let body = format!("7205 0 1 1 1 1 0 0.02 -0.3 2\n2\n{}{}", joint("960.5", "540"), joint("5", "6"));
    let name = "S001C001P001R001A060.skeleton";
    fs::write(root.join(name), format!("2\n1\n{body}0\n")).unwrap();
    let (format, clips) = convert(Path::new(name), "--json");
    assert_eq!((format.as_str(), &clips[0]["frames"], &clips[0]["width"]), ("ntu", &2.into(), &1920.into()));

    let people =
        |x: f64| json!({"people": [{"person_id": [-1], "pose_keypoints_2d": [x, 0.25, 5, 0, 0, 0]}]});
    fs::create_dir(root.join("v")).unwrap();
    for (frame, x) in [(3, 0.5), (4, 0.75)] {
        let path = root.join(format!("v/v_{frame:012}_keypoints.json"));
        fs::write(path, people(x).to_string()).unwrap();
    }
    let more =
        "--json --size 320 240 --first-frame 3 --frames 5 --keypoint-scale unit --greatest-confidence 10";
    let (format, clips) = convert(Path::new("v"), more);
    assert_eq!((format.as_str(), &clips[0]["frames"]), ("openpose", &5.into()));
    assert_eq!(clips[0]["instances"][0]["frame"], 0);
    assert_eq!(clips[0]["instances"][0]["keypoints"][0], json!([160.0, 60.0, 0.5]));
}

#[test]
fn convert_writes_what_it_reads_again() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    write_lines(&root.join("clips.jsonl"), &clips_of("a", 2));
    for (format, to, more) in [
        ("clip", "copy.jsonl", ""),
        ("coco", "results.json", "--size 160 120 --frames 10"),
        ("openpose", "frames", "--size 160 120 --frames 10 --keypoint-scale pixels"),
        ("kinetics", "videos", "--size 160 120 --frames 10"),
        ("npz", "arrays", "--size 160 120"),
    ] {
        let text = run_line(root, &format!("convert clips.jsonl {to} --to-format {format}"));
        assert_eq!(text.stdout, format!("2 clips, 20 frames, 40 people in frames: {to} as {format}\n"));
        run_line(root, &format!("convert {to} back.jsonl {more} --format {format}")).succeeded();
        let back = lines(&root.join("back.jsonl"));
        assert_eq!(back.len(), 2, "{format}");
        for (back, clip) in back.iter().zip(clips_of("a", 2)) {
            assert_eq!((&back["id"], &back["frames"]), (&clip["id"], &clip["frames"]), "{format}");
            let pairs =
                back["instances"].as_array().unwrap().iter().zip(clip["instances"].as_array().unwrap());
            for (back, person) in pairs {
                assert_eq!(back["frame"], person["frame"], "{format}");
                let numbers = |person: &Value| -> Vec<f64> {
                    let joints = person["keypoints"].as_array().unwrap();
                    joints
                        .iter()
                        .flat_map(|joint| joint.as_array().unwrap())
                        .map(|n| n.as_f64().unwrap())
                        .collect()
                };
                for (back, number) in numbers(back).into_iter().zip(numbers(person)) {
                    // Kinetics-skeleton keeps shares of the image, to three digits.
                    assert!((back - number).abs() < 0.1, "{format}: {back} {number}");
                }
            }
        }
    }
    // A converted file trains.
    fs::write(root.join("labels.txt"), CLASSES.join("\n")).unwrap();
    let npz = run_line(root, "convert arrays trained.jsonl --label wave --json");
    assert_eq!(npz.json()["format"], "npz");
    quick(root, ["--data", "trained.jsonl", "--label-map", "labels.txt"]).json();
}

#[test]
fn files_may_begin_with_a_byte_order_mark() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    clips(root);
    for name in ["train.jsonl", "labels.txt", "truth.jsonl"] {
        let text = fs::read_to_string(root.join(name)).unwrap();
        fs::write(root.join(name), format!("\u{feff}{text}")).unwrap();
    }
    let report = quick(root, DATA.iter().chain(&["--ground-truth", "truth.jsonl"])).json();
    assert_eq!(report["test_clips"], 6);
}

#[cfg(unix)]
#[test]
fn what_is_written_goes_to_pipes_and_devices_too() {
    use std::os::unix::fs::FileTypeExt;
    let folder = tempdir().unwrap();
    let root = folder.path();
    trained(root);
    // A link, so that only the link would be lost if the file were renamed over it.
    std::os::unix::fs::symlink("/dev/null", root.join("null")).unwrap();
    for command in
        ["detect --data test.jsonl --checkpoint runs/train-1", "explain --checkpoint runs/train-1 --count 1"]
    {
        run_line(root, &format!("{command} --out null")).succeeded();
        assert!(fs::metadata(root.join("null")).unwrap().file_type().is_char_device(), "{command}");
    }
    let found = run_line(root, "detect --data test.jsonl --checkpoint runs/train-1 --out /dev/stdout");
    assert!(found.stdout.starts_with("{\"id\":\"c0\","), "{found:?}");
    assert_eq!(found.stdout.lines().count(), 7, "six videos, and what it came to");
    for format in ["clip", "coco"] {
        run_line(root, &format!("convert test.jsonl null --to-format {format}")).succeeded();
        assert!(fs::metadata(root.join("null")).unwrap().file_type().is_char_device(), "{format}");
    }
}
