//! Runs the program as a user would, on images that it draws itself.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use candle_core::{Device, Tensor};
use image::{Rgb, RgbImage};
use serde_json::Value;

/// The smallest training there is.
pub(crate) const QUICK: [&str; 12] = [
    "train",
    "--model",
    "mlp",
    "--image-size",
    "8",
    "--epochs",
    "1",
    "--limit-batches",
    "2",
    "--threads",
    "1",
    "--json",
];

/// Classes of [`photos`].
pub(crate) const CLASSES: [&str; 2] = ["cat", "dog"];

/// The program under test.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_pg-classify")
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

/// An image of `side` pixels that `seed` decides: cats are red, dogs are blue.
pub(crate) fn photo(class: &str, seed: u32, side: u32) -> RgbImage {
    let level = |x: u32, y: u32| ((x * 31 + y * 17 + seed * 53) * 7 % 160) as u8;
    RgbImage::from_fn(side, side, |x, y| {
        let level = level(x, y);
        if class == "cat" { Rgb([level + 80, level, level / 2]) } else { Rgb([level / 2, level, level + 80]) }
    })
}

/// Writes `root/{train,val,test}/{cat,dog}/NN.png` with `train` training images a class, 2 to validate with and 2 to
/// test with.
pub(crate) fn photos(root: &Path, train: u32) {
    for (split, count) in [("train", train), ("val", 2), ("test", 2)] {
        for class in CLASSES {
            let folder = root.join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for seed in 0..count {
                photo(class, seed, 14).save(folder.join(format!("{seed:02}.png"))).unwrap();
            }
        }
    }
}

/// Writes [`photos`] in `root/photos` and an edit of each training image, with its right half painted over by a
/// gradient; returns the manifest.
pub(crate) fn edited_photos(root: &Path, train: u32) -> PathBuf {
    photos(&root.join("photos"), train);
    fs::create_dir_all(root.join("edits")).unwrap();
    let mut manifest = "original,edited,label\n".to_owned();
    for (label, class) in CLASSES.into_iter().enumerate() {
        for seed in 0..train {
            let mut image = photo(class, seed, 14);
            for (x, y, pixel) in image.enumerate_pixels_mut().filter(|(x, ..)| *x >= 7) {
                *pixel = Rgb([(x * 15) as u8, 255 - (y * 13) as u8, (seed * 40 % 200) as u8]);
            }
            let name = format!("edits/{class}-{seed:02}.png");
            image.save(root.join(&name)).unwrap();
            manifest.push_str(&format!("photos/train/{class}/{seed:02}.png,{name},{label}\n"));
        }
    }
    let path = root.join("edits.csv");
    fs::write(&path, manifest).unwrap();
    path
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

/// Names of the files below a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    contents(folder).into_keys().map(|path| path.display().to_string()).collect()
}

/// The tensors of a checkpoint, as bits.
pub(crate) fn weights(path: &Path) -> BTreeMap<String, Vec<u32>> {
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let bits = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    tensors
        .into_iter()
        .map(|(name, tensor)| (name, bits(tensor).into_iter().map(f32::to_bits).collect()))
        .collect()
}

/// A run directory of [`photos`] in `root/photos`, trained as [`QUICK`] does.
pub(crate) fn trained(root: &Path) -> PathBuf {
    photos(&root.join("photos"), 4);
    quick(root, ["--data", "photos"]).json();
    root.join("runs/folder-1")
}
