//! The commands, one a file, and what they share.

pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod synth;
pub(crate) mod train;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use clap::{Args as ClapArgs, ValueEnum};
use pg_classify::classifier::normalise;
use pg_classify::dataset::{self, Dataset, Example, Picture};
use pg_classify::evaluation::Evaluator;
use pg_classify::samples::Grid;
use pg_classify::settings::{Config, Source};
use pg_cli::choices::OnCorrupt;
use pg_cli::{About, SettingsError, path_as_text, read_run};
use pg_models::Model;
use pg_random::Seed;
use pg_tasks::normalise::Normalise;
use serde::{Deserialize, Serialize};

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

/// What weights files call this program.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

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
        let (tensors, about) = <About>::load(&checkpoint, PROGRAM)?;
        let model = Model::new(about.model.clone(), Seed(0), DType::F32, device)
            .with_context(|| checkpoint.display().to_string())?;
        model.params().load(&tensors).with_context(|| checkpoint.display().to_string())?;
        let (name, root) = self.source.resolve(&about.dataset)?;
        let root = root.or_else(|| root_of_run(&checkpoint, &name));
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

/// Where the run that a checkpoint belongs to found the files of a data set.
fn root_of_run(checkpoint: &Path, dataset: &str) -> Option<PathBuf> {
    let config: Config = read_run(&checkpoint.with_file_name("args.toml")).ok()?;
    config.data_root.filter(|_| config.dataset == dataset)
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

/// The file of an example, for a table; empty for one that is drawn.
pub(crate) fn file_name(example: &Example) -> String {
    match &example.picture {
        Picture::File(path) => path.display().to_string(),
        Picture::Memory(_) => String::new(),
    }
}
