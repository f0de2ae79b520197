//! The commands, one a file, and what they share.

pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod synth;
pub(crate) mod train;

use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use clap::{Args as ClapArgs, ValueEnum};
use pg_classify::about::About;
use pg_classify::classifier::normalise;
use pg_classify::dataset::{self, Dataset, Example, Picture};
use pg_classify::evaluation::Evaluator;
use pg_classify::samples::Grid;
use pg_classify::settings::{OnCorrupt, SettingsError, Source, over_file, path_as_text};
use pg_models::Model;
use pg_random::Seed;
use pg_tasks::checkpoint;
use pg_tasks::normalise::Normalise;
use pg_tasks::run_dir::{RunDirError, write_atomically};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a command may be told on the command line or in a file; `T` is a struct of options.
#[derive(ClapArgs)]
pub(crate) struct Configured<T: ClapArgs> {
    #[command(flatten)]
    said: T,
    /// Settings from a TOML file with the flags' names as keys (all but --config, --resume, --export and those under Machine); flags override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl<T: ClapArgs + Serialize + DeserializeOwned> Configured<T> {
    /// The flags over the file.
    pub(crate) fn merged(self) -> Result<T, SettingsError> {
        match &self.config {
            Some(file) => over_file(&self.said, file),
            None => Ok(self.said),
        }
    }
}

/// How to run, whatever the command. The number of threads changes no bit of a result; another device, or a processor
/// of another kind, rounds differently.
#[derive(ClapArgs)]
pub(crate) struct Machine {
    /// Threads; all cores by default.
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Machine")]
    threads: Option<u16>,
    /// Device: cpu, cuda, cuda:N or metal. `synth` knows cpu only.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = parse_device, help_heading = "Machine")]
    device: DeviceName,
    /// Print one JSON object as the last line of standard output; no progress bar.
    #[arg(long, help_heading = "Machine")]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeviceName {
    Cpu,
    Cuda(usize),
    Metal,
}

fn parse_device(text: &str) -> Result<DeviceName, String> {
    match text.split_once(':') {
        None if text == "cpu" => Ok(DeviceName::Cpu),
        None if text == "cuda" => Ok(DeviceName::Cuda(0)),
        None if text == "metal" => Ok(DeviceName::Metal),
        Some(("cuda", index)) => {
            index.parse().map(DeviceName::Cuda).map_err(|_| format!("`{index}` is not a device number"))
        }
        _ => Err("known devices: cpu, cuda, cuda:N, metal".to_owned()),
    }
}

impl Machine {
    pub(crate) fn threads(&self) -> Option<usize> {
        self.threads.map(usize::from)
    }

    /// Refuses any device but the CPU, for a command that uses no other.
    pub(crate) fn check_cpu(&self) -> Result<(), SettingsError> {
        let value = match self.device {
            DeviceName::Cpu => return Ok(()),
            DeviceName::Cuda(index) => format!("cuda:{index}"),
            DeviceName::Metal => "metal".to_owned(),
        };
        Err(SettingsError::Range { flag: "device", expected: "cpu (this command uses no other)", value })
    }

    /// Opens the device.
    pub(crate) fn open_device(&self) -> Result<Device> {
        match self.device {
            DeviceName::Cpu => Ok(Device::Cpu),
            DeviceName::Cuda(_) if !candle_core::utils::cuda_is_available() => {
                bail!("this build has no CUDA; build it with --features cuda, or use --device cpu")
            }
            DeviceName::Metal if !candle_core::utils::metal_is_available() => {
                bail!("this build has no Metal; build it with --features metal, or use --device cpu")
            }
            DeviceName::Cuda(index) => {
                Device::new_cuda(index).with_context(|| format!("cannot open cuda:{index}"))
            }
            DeviceName::Metal => Device::new_metal(0).context("cannot open metal"),
        }
    }
}

/// Which split of a data set to look at.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Split {
    /// Images trained on.
    Train,
    /// Images to select by.
    Val,
    /// Images to report on.
    Test,
}

impl Split {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }

    fn examples(self, dataset: &Dataset) -> &[Example] {
        match self {
            Split::Train => &dataset.train,
            Split::Val => &dataset.val,
            Split::Test => &dataset.test,
        }
    }
}

/// A checkpoint and the data to use it on.
#[derive(ClapArgs, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Subject {
    /// Weights that `train` wrote: best.safetensors, last.safetensors or epoch-N.safetensors; of a run directory the best.
    #[arg(long, value_name = "FILE")]
    #[serde(serialize_with = "path_as_text")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    source: Source,
    /// Which split to look at; test by default.
    #[arg(long, value_enum, help_heading = "Data")]
    split: Option<Split>,
    /// What to do with an image that cannot be decoded; fail by default.
    #[arg(long, value_enum, help_heading = "Data")]
    on_corrupt: Option<OnCorrupt>,
    /// Look at this many batches of 64 images only, evenly spread over the split; in `explain`, over the images
    /// that --count chose.
    #[arg(long, value_name = "N", help_heading = "Data")]
    limit_batches: Option<NonZeroUsize>,
    /// Taken by every command; this one draws nothing at random, so it changes nothing.
    #[arg(long, value_name = "S", help_heading = "Data")]
    seed: Option<u64>,
}

/// A checkpoint ready to use.
pub(crate) struct Loaded {
    pub(crate) model: Model,
    pub(crate) dataset: Dataset,
    pub(crate) split: Split,
    grid: Grid,
    normalise: Normalise,
    on_corrupt: OnCorrupt,
    limit_batches: Option<usize>,
    device: Device,
}

impl Subject {
    pub(crate) fn load(self, device: &Device) -> Result<Loaded> {
        let mut checkpoint = self.checkpoint.ok_or(SettingsError::Missing { flag: "checkpoint" })?;
        if checkpoint.is_dir() {
            checkpoint.push("best.safetensors");
        }
        let (tensors, about) = checkpoint::load::<About>(&checkpoint)?;
        let model = Model::new(about.model.clone(), Seed(0), DType::F32, device)
            .with_context(|| checkpoint.display().to_string())?;
        model.params().load(&tensors).with_context(|| checkpoint.display().to_string())?;
        let (name, root) = self.source.resolve(&about.dataset)?;
        let dataset = dataset::open(&name, root.as_deref(), &dataset::Options::default())?;
        if dataset.classes != about.classes {
            bail!(
                "{}: trained on the classes {}, but the data has {}; use the data set it was trained on",
                checkpoint.display(),
                about.classes.join(", "),
                dataset.classes.join(", "),
            );
        }
        let split = self.split.unwrap_or(Split::Test);
        if split.examples(&dataset).is_empty() {
            bail!("{name}: the {} split has no images; choose another --split", split.name());
        }
        Ok(Loaded {
            model,
            split,
            grid: Grid { side: about.model.size as u32, crop: dataset.crop },
            normalise: normalise(about.normalize),
            on_corrupt: self.on_corrupt.unwrap_or(OnCorrupt::Fail),
            limit_batches: self.limit_batches.map(NonZeroUsize::get),
            device: device.clone(),
            dataset,
        })
    }
}

impl Loaded {
    /// The images of the split, at least one.
    pub(crate) fn examples(&self) -> &[Example] {
        self.split.examples(&self.dataset)
    }

    pub(crate) fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::new(
            &self.dataset,
            self.grid,
            self.normalise,
            self.on_corrupt,
            self.limit_batches,
            &self.device,
        )
    }
}

/// Prints to standard output; that it cannot be written (a full disk, a closed pipe) is an error like any other.
pub(crate) fn say(text: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("standard output: cannot be written")
}

/// Makes a folder for pictures and tables.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    Ok(fs::create_dir_all(path).map_err(|source| RunDirError::new(path, source))?)
}

/// Writes a table, whole or not at all; a pipe or a device such as `/dev/stdout` takes it as it comes.
pub(crate) fn write_table(path: &Path, table: csv::Writer<Vec<u8>>) -> Result<()> {
    let bytes = table.into_inner().with_context(|| path.display().to_string())?;
    match fs::metadata(path) {
        Ok(place) if place.is_dir() => bail!("{}: is a folder; name a file for the table", path.display()),
        Ok(place) if !place.is_file() => {
            let open = fs::OpenOptions::new().write(true).open(path);
            open.and_then(|mut file| file.write_all(&bytes))
                .with_context(|| format!("{}: cannot be written", path.display()))
        }
        _ => Ok(write_atomically(path, |file| file.write_all(&bytes))?),
    }
}

/// The file of an example, for a table; empty for one that is drawn.
pub(crate) fn file_name(example: &Example) -> String {
    match &example.picture {
        Picture::File(path) => path.display().to_string(),
        Picture::Memory(_) => String::new(),
    }
}
