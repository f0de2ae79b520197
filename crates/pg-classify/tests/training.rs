//! Runs that are killed, interrupted, resumed, threaded, or that diverge.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{contents, edited_photos, program, quick, run, trained, weights};
use tempfile::tempdir;

/// A guided run of several seconds, so that a signal finds it under way.
const LONG: [&str; 17] = [
    "train",
    "--data",
    "photos",
    "--edits",
    "edits.csv",
    "--alpha",
    "1",
    "--model",
    "small-cnn",
    "--image-size",
    "40",
    "--batch",
    "4",
    "--epochs",
    "4",
    "--threads",
    "1",
];

/// What must not depend on how a run came to its end: every file but the clock's.
fn outcome(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let clocked =
        |name: &str| name.starts_with("events.out") || ["timings.csv", "report.json"].contains(&name);
    let files = contents(dir).into_iter().map(|(path, bytes)| (path.display().to_string(), bytes));
    files.filter(|(name, _)| !clocked(name)).collect()
}

fn assert_same(resumed: &Path, straight: &Path) {
    let (resumed, straight) = (outcome(resumed), outcome(straight));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&resumed), names(&straight));
    for ((name, resumed), (_, straight)) in resumed.iter().zip(&straight) {
        assert!(resumed == straight, "{name} differs");
    }
}

fn start(folder: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(program());
    command.args(args).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    hears_interrupts(&mut command);
    command.spawn().unwrap()
}

/// Whoever runs the tests may ignore the signal, and a process inherits that.
#[cfg(unix)]
#[allow(unsafe_code, reason = "what happens between fork and exec")]
fn hears_interrupts(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: `signal` may be called between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
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

fn epochs(dir: &Path) -> usize {
    fs::read_to_string(dir.join("results.csv")).unwrap().lines().count() - 1
}

/// The description in a checkpoint: JSON in the header, whose length the first eight bytes say.
fn description(path: &Path) -> serde_json::Value {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    serde_json::from_str(header["__metadata__"]["provenance-guidance"].as_str().unwrap()).unwrap()
}

#[test]
fn a_run_that_was_killed_ends_as_if_it_had_not() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    edited_photos(root, 12);
    run(root, LONG.iter().chain(&["--out", "straight"])).succeeded();

    let dir = root.join("killed/folder-1");
    let args: Vec<&str> = LONG.iter().chain(&["--out", "killed"]).copied().collect();
    let mut child = start(root, &args);
    await_epoch(&dir, 2, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(epochs(&dir) < 4, "killed too late to show anything");
    // As if it had been killed while it wrote its weights.
    fs::write(dir.join(format!(".best.safetensors.{}.tmp", child.id())), "half").unwrap();

    let report = run(root, ["train", "--resume", "killed/folder-1", "--json"]).json();
    assert_eq!((report["epochs"].as_u64(), report["ending"].as_str()), (Some(4), Some("completed")));
    assert_same(&dir, &root.join("straight/folder-1"));
}

/// An interrupted run has saved its state and says so: exit code 0 and `"ending": "interrupted"`.
#[cfg(unix)]
#[test]
fn a_run_that_was_interrupted_ends_as_if_it_had_not() {
    let settings =
        ["--ema", "0.9", "--accumulate", "2", "--optimizer", "sgd", "--top-k", "2", "--lr", "0.05"];
    let folder = tempdir().unwrap();
    let root = folder.path();
    edited_photos(root, 12);
    let run_in = |out| LONG.iter().chain(&settings).copied().chain(["--json", "--out", out]);
    run(root, run_in("straight")).json();

    let dir = root.join("interrupted/folder-1");
    let mut child = start(root, &run_in("interrupted").collect::<Vec<_>>());
    await_epoch(&dir, 1, &mut child);
    interrupt(&child);
    let stopped = support::Run::from(child.wait_with_output().unwrap());
    assert!(stopped.stderr.contains("stopping as soon as what is done is saved"), "{stopped:?}");
    let report = stopped.json();
    assert_eq!(report["ending"], "interrupted");
    let state = description(&dir.join("state.safetensors"));
    let batches = state["sums"]["batches"].as_u64().unwrap();
    assert!(batches.is_multiple_of(2), "not between two steps of the optimiser: {state}");

    run(root, ["train", "--resume", "interrupted/folder-1", "--json"]).json();
    assert_same(&dir, &root.join("straight/folder-1"));
    let kept: Vec<_> = outcome(&dir).into_iter().filter(|(name, _)| name.starts_with("epoch-")).collect();
    assert_eq!(kept.len(), 2);
}

#[cfg(unix)]
#[test]
fn a_second_interrupt_stops_at_once() {
    use std::io::{BufRead, BufReader};
    let folder = tempdir().unwrap();
    // A step of 800 samples takes a second or more: both signals come before its end.
    let args = ["train", "--batch", "800", "--alpha", "1", "--threads", "1"];
    let mut child = start(folder.path(), &args);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("parameters")));
    interrupt(&child);
    assert!(lines.any(|line| line.contains("press Ctrl-C again")));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// A limit on the size of files stands for a full disk: the epoch's weights do not fit.
#[cfg(unix)]
#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_previous_one() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    edited_photos(root, 12);
    run(root, LONG.iter().chain(&["--out", "straight"])).succeeded();

    let dir = root.join("full/folder-1");
    let args: Vec<&str> = LONG.iter().chain(&["--out", "full"]).copied().collect();
    let mut child = start(root, &args);
    await_epoch(&dir, 2, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let tensors = |files: &[(String, Vec<u8>)]| -> Vec<(String, Vec<u8>)> {
        files.iter().filter(|(name, _)| name.ends_with(".safetensors")).cloned().collect()
    };
    let before = tensors(&outcome(&dir));
    let limited = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 128; exec \"$0\" train --resume full/folder-1 --json",
            program(),
        ])
        .current_dir(root)
        .output()
        .unwrap();
    let limited = support::Run::from(limited);
    let error = limited.error(1);
    assert!(
        error.starts_with("full/folder-1/") && error.contains(".safetensors: cannot be written"),
        "{error}"
    );
    assert_eq!(before.len(), 3);
    assert!(tensors(&outcome(&dir)) == before, "a checkpoint changed");
    assert!(support::names(&dir).iter().all(|name| !name.ends_with(".tmp")));

    run(root, ["train", "--resume", "full/folder-1", "--json"]).json();
    assert_same(&dir, &root.join("straight/folder-1"));
}

#[test]
fn threads_change_no_bit() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    edited_photos(root, 6);
    let args = "train --data photos --edits edits.csv --alpha 1 --model small-cnn --image-size 16 --batch 8 \
                --epochs 2 --augment flip-crop --guide-originals --json";
    for threads in ["1", "2", "5"] {
        run(root, args.split_whitespace().chain(["--threads", threads, "--out", threads])).json();
    }
    assert_same(&root.join("2/folder-1"), &root.join("1/folder-1"));
    assert_same(&root.join("5/folder-1"), &root.join("1/folder-1"));
}

#[test]
fn another_seed_gives_another_run_and_the_same_seed_the_same() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    edited_photos(root, 4);
    for (out, seed) in [("a", "7"), ("b", "7"), ("c", "8")] {
        quick(
            root,
            ["--data", "photos", "--edits", "edits.csv", "--alpha", "1", "--seed", seed, "--out", out],
        )
        .json();
    }
    assert_same(&root.join("b/folder-1"), &root.join("a/folder-1"));
    let last = |out: &str| weights(&root.join(out).join("folder-1/last.safetensors"));
    assert_ne!(last("c"), last("a"));
}

#[test]
fn divergence_names_the_batch_and_the_loss() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    edited_photos(root, 4);
    let data = ["--data", "photos", "--edits", "edits.csv", "--batch", "4", "--epochs", "3"];
    let settings = ["train", "--model", "mlp", "--image-size", "8", "--threads", "1", "--json"];
    for more in [&["--lr", "1e30"][..], &["--lr", "1e30", "--optimizer", "sgd", "--alpha", "1"]] {
        let run = run(root, settings.iter().chain(&data).chain(more));
        let error = run.error(1);
        let what = error.strip_prefix("epoch 1, batch 2").unwrap();
        assert!(
            [": L_cls is", ": L_PG is", ": the gradient of fc"].iter().any(|start| what.starts_with(start)),
            "{error}"
        );
        assert!(
            error.ends_with("is not finite; lower the learning rate or alpha, or clip the gradient"),
            "{error}"
        );
    }
}

#[test]
fn a_finished_run_can_be_resumed_and_stays_as_it_is() {
    let folder = tempdir().unwrap();
    let dir = trained(folder.path());
    let before = outcome(&dir);
    let again = run(folder.path(), ["train", "--resume", "runs/folder-1", "--json"]).json();
    assert_eq!((again["epochs"].as_u64(), again["ending"].as_str()), (Some(1), Some("completed")));
    assert!(outcome(&dir) == before);
}

/// Training is over, so that no training image is needed any more.
#[test]
fn resuming_draws_no_samples() {
    let folder = tempdir().unwrap();
    trained(folder.path());
    let image = folder.path().join("photos/train/cat/00.png");
    let bytes = fs::read(&image).unwrap();
    fs::write(&image, &bytes[..bytes.len() / 2]).unwrap();
    run(folder.path(), ["train", "--resume", "runs/folder-1", "--json"]).json();
}

#[test]
fn a_run_is_not_resumed_on_edits_of_other_originals() {
    let folder = tempdir().unwrap();
    let manifest = edited_photos(folder.path(), 4);
    quick(folder.path(), ["--data", "photos", "--edits", "edits.csv"]).json();
    let [first, second] = ["photos/train/cat/00.png", "photos/train/cat/01.png"];
    let text = fs::read_to_string(&manifest).unwrap();
    let swapped = text.replace(first, "?").replace(second, first).replace('?', second);
    assert_ne!(swapped, text);
    fs::write(&manifest, swapped).unwrap();
    let error = run(folder.path(), ["train", "--resume", "runs/folder-1", "--json"]);
    let expected = "the data changed since the run began (other edited samples, or another order of them)";
    assert!(error.error(1).contains(expected), "{error:?}");
}

#[test]
fn a_run_is_not_resumed_on_other_data() {
    let folder = tempdir().unwrap();
    let dir = trained(folder.path());
    let before = outcome(&dir);
    fs::remove_file(folder.path().join("photos/train/cat/03.png")).unwrap();
    let error = run(folder.path(), ["train", "--resume", "runs/folder-1", "--json"]);
    assert!(
        error.error(1).contains("the data changed since the run began (training samples: 7 instead of 8)"),
        "{error:?}"
    );
    assert!(outcome(&dir) == before);
}

#[test]
fn a_run_that_stopped_early_does_not_go_on_when_resumed() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    edited_photos(root, 4);
    // A learning rate that changes nothing: no epoch improves on the first.
    let settings = ["--data", "photos", "--lr", "1e-12", "--schedule", "constant", "--patience", "2"];
    let args = ["train", "--model", "mlp", "--image-size", "8", "--epochs", "9", "--threads", "1", "--json"];
    let report = run(root, args.iter().chain(&settings)).json();
    assert_eq!((report["epochs"].as_u64(), report["best_epoch"].as_u64()), (Some(3), Some(1)));
    assert_eq!(report["ending"], "early-stopped");
    let before = outcome(&root.join("runs/folder-1"));
    let again = run(root, ["train", "--resume", "runs/folder-1", "--json"]).json();
    assert_eq!((again["epochs"].as_u64(), again["ending"].as_str()), (Some(3), Some("early-stopped")));
    assert!(outcome(&root.join("runs/folder-1")) == before);
}

#[test]
fn the_report_is_the_last_line_and_its_accuracies_are_shares() {
    let folder = tempdir().unwrap();
    let report = quick(folder.path(), ["--alpha", "0.3"]).json();
    let report = report.as_object().unwrap();
    let shares = [
        "top1",
        "balanced",
        "worst_group",
        "macro_f1",
        "adjusted",
        "group_mean",
        "id",
        "ood",
        "constant_top1",
    ];
    for split in ["val", "test"] {
        for name in shares {
            let value = report[&format!("{split}_{name}")].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&value), "{split}_{name} is {value}");
        }
    }
    for (key, range) in
        [("loss_cls", 0.1..10.0), ("loss_pg", 1e-9..10.0), ("seconds", 0.0..100.0), ("epochs", 1.0..1.5)]
    {
        let value = report[key].as_f64().unwrap();
        assert!(range.contains(&value), "{key} is {value}");
    }
    assert_eq!((&report["alpha"], &report["run_dir"]), (&0.3.into(), &"runs/embedded-1".into()));

    let file = fs::read_to_string(folder.path().join("runs/embedded-1/report.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&file).unwrap().as_object(), Some(report));
    let table = fs::read_to_string(folder.path().join("runs/embedded-1/results.csv")).unwrap();
    assert_eq!(
        table.lines().next(),
        Some("epoch,lr,loss_cls,loss_pg,alpha_loss_pg,train_top1,val_top1,val_balanced,val_worst_group")
    );
    for file in [
        "args.toml",
        "best.safetensors",
        "last.safetensors",
        "state.safetensors",
        "timings.csv",
        "curves.svg",
        "samples.png",
        "explain/test.png",
    ] {
        assert!(folder.path().join("runs/embedded-1").join(file).is_file(), "{file}");
    }
}
