//! Runs the program as a user would, on clips that it draws itself.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};

/// The smallest training there is.
pub(crate) const QUICK: [&str; 12] = [
    "train",
    "--epochs",
    "1",
    "--limit-batches",
    "1",
    "--frames",
    "4",
    "--dim",
    "8",
    "--threads",
    "1",
    "--json",
];

/// The files of [`clips`] as flags.
pub(crate) const DATA: [&str; 8] =
    ["--data", "train.jsonl", "--label-map", "labels.txt", "--test", "test.jsonl", "--val", "val.jsonl"];

/// Classes of [`clips`].
pub(crate) const CLASSES: [&str; 3] = ["wave", "kick", "jump"];

/// Joints of everybody, as COCO has them.
const JOINTS: usize = 17;

/// The program under test.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_pg-stad")
}

/// A file of pg-skeleton's tests.
pub(crate) fn sample(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../pg-skeleton/tests/data")).join(name)
}

/// Runs the program in `folder` to its end.
pub(crate) fn run<A: AsRef<OsStr>>(folder: &Path, args: impl IntoIterator<Item = A>) -> Run {
    let output = assert_cmd::Command::new(program())
        .args(args)
        .current_dir(folder)
        .timeout(Duration::from_secs(120))
        .output()
        .unwrap();
    Run::from(output)
}

/// The same, with the arguments in one text.
pub(crate) fn run_line(folder: &Path, args: &str) -> Run {
    run(folder, args.split_whitespace())
}

/// [`QUICK`] with more settings.
pub(crate) fn quick<A: AsRef<OsStr>>(folder: &Path, args: impl IntoIterator<Item = A>) -> Run {
    let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
    run(folder, QUICK.iter().map(Into::into).chain(args))
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let run =
            Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) };
        for word in ["panicked", "stack backtrace"] {
            assert!(!run.stderr.contains(word), "{run:?}");
        }
        run
    }
}

impl Run {
    /// The one line that says what was wrong.
    pub(crate) fn error(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let mut errors = self.stderr.lines().filter_map(|line| line.strip_prefix("error: "));
        let error = errors.next().unwrap_or_else(|| panic!("no error: {self:?}"));
        assert_eq!(errors.next(), None, "{self:?}");
        let logs =
            self.stderr.lines().filter(|line| line.starts_with(" INFO ") || line.starts_with(" WARN "));
        // What is neither the error nor a log line is clap's advice on usage.
        let others = self.stderr.lines().count() - 1 - logs.count();
        assert!(others == 0 || (code == 2 && self.stderr.contains("try '--help'")), "{self:?}");
        error
    }

    /// Asserts that nothing was wrong.
    pub(crate) fn succeeded(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(!self.stderr.lines().any(|line| line.starts_with("error")), "{self:?}");
    }

    /// The report, the last line of standard output.
    pub(crate) fn json(&self) -> Value {
        self.succeeded();
        serde_json::from_str(self.stdout.lines().last().unwrap()).unwrap()
    }
}

/// A person 40 pixels high at column `x`. Of a moving one the limbs of the class go up and down.
fn person(frame: usize, x: usize, moving: Option<&str>) -> Value {
    let swing = if frame.is_multiple_of(2) { 8 } else { 0 };
    let moves = |joint: usize| match moving {
        Some("wave") => (7..11).contains(&joint),
        Some("kick") => joint >= 13,
        Some("jump") => true,
        _ => false,
    };
    let point = |joint: usize| {
        let y = 40 + joint * 40 / JOINTS - if moves(joint) { swing } else { 0 };
        json!([x + 4 * (joint % 3), y, 0.9])
    };
    json!({"frame": frame, "keypoints": (0..JOINTS).map(point).collect::<Vec<_>>()})
}

/// A clip of 10 frames with one who does something, at column 30, and one who does not, at 110.
pub(crate) fn clip(id: &str, class: &str) -> Value {
    let instances: Vec<Value> =
        (0..10).flat_map(|frame| [person(frame, 30, Some(class)), person(frame, 110, None)]).collect();
    json!({"id": id, "width": 160, "height": 120, "frames": 10, "fps": 25, "label": class, "instances": instances})
}

/// The same with a change.
pub(crate) fn changed(id: &str, change: impl Fn(&mut Value)) -> Value {
    let mut clip = clip(id, "wave");
    change(&mut clip);
    clip
}

/// One JSON value a line.
pub(crate) fn write_lines(path: &Path, values: &[Value]) {
    let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
    fs::write(path, lines).unwrap();
}

/// Clips of the classes in turn.
pub(crate) fn clips_of(prefix: &str, count: usize) -> Vec<Value> {
    (0..count).map(|index| clip(&format!("{prefix}{index}"), CLASSES[index % CLASSES.len()])).collect()
}

/// Who does what in a clip of [`clip`].
pub(crate) fn truth(id: &str, class: &str) -> Value {
    let boxes = vec![json!([28, 36, 42, 82]); 10];
    json!({"id": id, "tubes": [{"label": class, "start": 0, "boxes": boxes}]})
}

/// Writes the files that [`DATA`] names, and `truth.jsonl` of the test clips.
pub(crate) fn clips(root: &Path) {
    write_lines(&root.join("train.jsonl"), &clips_of("a", 7));
    write_lines(&root.join("val.jsonl"), &clips_of("b", 3));
    write_lines(&root.join("test.jsonl"), &clips_of("c", 6));
    let truths: Vec<Value> = (0..6).map(|index| truth(&format!("c{index}"), CLASSES[index % 3])).collect();
    write_lines(&root.join("truth.jsonl"), &truths);
    fs::write(root.join("labels.txt"), CLASSES.join("\n")).unwrap();
}

/// A run directory of [`clips`] in `root`, trained as [`QUICK`] does.
pub(crate) fn trained(root: &Path) -> PathBuf {
    clips(root);
    quick(root, DATA).json();
    root.join("runs/train-1")
}

/// The values of a file of JSON lines.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every file below a folder with its content, by its path relative to the folder; empty if there is no such folder.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// The tensors of a checkpoint, as bits.
pub(crate) fn weights(path: &Path) -> BTreeMap<String, Vec<u64>> {
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    // Counters are whole numbers; as doubles all of them are what they were.
    let numbers = |tensor: Tensor| {
        tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap()
    };
    tensors
        .into_iter()
        .map(|(name, tensor)| (name, numbers(tensor).into_iter().map(f64::to_bits).collect()))
        .collect()
}
