//! The commands, one a file, and what they share.

pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod synth;
pub(crate) mod train;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use clap::{Args as ClapArgs, ValueEnum};
use pg_classify::about::About;
use pg_classify::dataset::{self, Dataset, Example};
use pg_classify::evaluation::Evaluator;
use pg_classify::samples::Grid;
use pg_classify::settings::OnCorrupt;
use pg_models::Model;
use pg_random::Seed;
use pg_tasks::checkpoint;
use pg_tasks::normalise::Normalise;
use pg_tasks::run_dir::RunDirError;

/// How to run, whatever the command. None of it changes a result.
#[derive(ClapArgs)]
pub(crate) struct Machine {
    /// Threads; all cores by default.
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Machine")]
    threads: Option<u16>,
    /// Device: cpu, cuda, cuda:N or metal.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = parse_device, help_heading = "Machine")]
    device: DeviceName,
    /// Print one JSON object as the last line of standard output, and no progress.
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
#[derive(Clone, Copy, Debug, ValueEnum)]
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

    pub(crate) fn examples(self, dataset: &Dataset) -> &[Example] {
        match self {
            Split::Train => &dataset.train,
            Split::Val => &dataset.val,
            Split::Test => &dataset.test,
        }
    }
}

/// A checkpoint and the data to use it on.
#[derive(ClapArgs)]
pub(crate) struct Subject {
    /// Weights that `train` wrote: best.safetensors, last.safetensors or epoch-N.safetensors.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Data set; by default the one of the checkpoint.
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    dataset: Option<String>,
    /// Folder that holds the data set's files.
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    data_root: Option<PathBuf>,
    /// Your own images: FOLDER/{train,val,test}/CLASS/*. Short for --dataset folder --data-root.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["dataset", "data_root"], help_heading = "Data")]
    data: Option<PathBuf>,
    /// Which split to look at.
    #[arg(long, value_enum, default_value = "test", help_heading = "Data")]
    pub(crate) split: Split,
    /// What to do with an image that cannot be decoded.
    #[arg(long, value_enum, default_value = "fail", help_heading = "Data")]
    on_corrupt: OnCorrupt,
    /// Stop after this many batches.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Data")]
    limit_batches: Option<u32>,
    /// Seed of what a command draws at random; evaluating draws nothing.
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Data")]
    pub(crate) seed: u64,
}

/// A checkpoint ready to use.
pub(crate) struct Loaded {
    pub(crate) model: Model,
    pub(crate) dataset: Dataset,
    grid: Grid,
    normalise: Normalise,
    on_corrupt: OnCorrupt,
    limit_batches: Option<usize>,
    device: Device,
}

impl Subject {
    pub(crate) fn load(&self, device: &Device) -> Result<Loaded> {
        let (tensors, about) = checkpoint::load::<About>(&self.checkpoint)?;
        let model = Model::new(about.model.clone(), Seed(0), DType::F32, device)
            .with_context(|| self.checkpoint.display().to_string())?;
        model.params().load(&tensors).with_context(|| self.checkpoint.display().to_string())?;
        let (name, root) = match &self.data {
            Some(folder) => ("folder", Some(folder.as_path())),
            None => (self.dataset.as_deref().unwrap_or(&about.dataset), self.data_root.as_deref()),
        };
        let dataset = dataset::open(name, root, &dataset::Options::default())?;
        if dataset.classes != about.classes {
            bail!(
                "{}: trained on the classes {}, but the data has {}; use the data set it was trained on",
                self.checkpoint.display(),
                about.classes.join(", "),
                dataset.classes.join(", "),
            );
        }
        let grid = Grid { side: about.model.size as u32, crop: dataset.crop };
        let normalise = if about.normalize { Normalise::IMAGENET } else { Normalise::UNIT };
        Ok(Loaded {
            model,
            dataset,
            grid,
            normalise,
            on_corrupt: self.on_corrupt,
            limit_batches: self.limit_batches.map(|limit| limit as usize),
            device: device.clone(),
        })
    }
}

impl Loaded {
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
    Ok(std::fs::create_dir_all(path).map_err(|source| RunDirError::new(path, source))?)
}
