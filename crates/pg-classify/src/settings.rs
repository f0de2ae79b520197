//! Settings of a training run: what the user said, on the command line or in a file, and what it comes to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use pg_grad::{Guidance, Lazy, Norm, Score, Strategy};
use pg_models::{MODEL_NAMES, Model, ModelSpec};
use pg_provenance::{Difference, Histogram};
use pg_tasks::schedule::Schedule;
use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use toml::Spanned;

use crate::dataset::{self, Dataset};

/// A setting that makes no sense: the user's to mend, exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value outside its range.
    #[error("--{flag} must be {expected}, got {value}")]
    Range {
        /// The flag.
        flag: &'static str,
        /// What would be valid.
        expected: &'static str,
        /// The value given.
        value: String,
    },
    /// A name that nothing has.
    #[error("--{flag}: `{name}` is unknown; choose one of {known}")]
    Unknown {
        /// The flag.
        flag: &'static str,
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A path that neither `args.toml` nor what flags and a file are merged by can hold.
    #[error("{}: the path is not UTF-8; rename it", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// Two settings that exclude each other.
    #[error("--{flag} and --{other} exclude each other")]
    Exclusive {
        /// One flag.
        flag: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A setting that would do nothing.
    #[error("--{flag} does nothing {when}; {advice}")]
    Idle {
        /// The flag.
        flag: &'static str,
        /// What keeps it from doing anything.
        when: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A setting without which nothing can be done.
    #[error("--{flag} is missing; say it on the command line or in the file of --config")]
    Missing {
        /// The flag.
        flag: &'static str,
    },
    /// A resumed run was given settings.
    #[error("--{flag} cannot change in a run that is resumed; leave it out, or begin a new run")]
    Resumed {
        /// The flag.
        flag: String,
    },
    /// A flag has a value that cannot be merged with a file.
    #[error("{reason}")]
    Unmergeable {
        /// What is wrong with it.
        reason: String,
    },
    /// The file of settings cannot be read.
    #[error("{}: cannot be read ({source}); check the path", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The file of settings is not valid.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        reason: String,
    },
}

/// Which data set a command works on.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Source {
    /// Data set: embedded, decoy-mnist, waterbirds, waterbirds-alia, iwildcam, iwildcam-alia, cub or folder; by default
    /// that of the checkpoint, or embedded.
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    pub dataset: Option<String>,
    /// Folder that holds the data set's files.
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    #[serde(serialize_with = "path_as_text")]
    pub data_root: Option<PathBuf>,
    /// Your own images: FOLDER/{train,val,test}/CLASS/*, or FOLDER/CLASS/*. Short for --dataset folder --data-root.
    #[arg(long, value_name = "FOLDER", help_heading = "Data")]
    #[serde(serialize_with = "path_as_text")]
    pub data: Option<PathBuf>,
}

impl Source {
    /// Name and root of the data set; `default` is the name if nothing is said of it.
    ///
    /// # Errors
    /// [`SettingsError::Exclusive`].
    pub fn resolve(self, default: &str) -> Result<(String, Option<PathBuf>), SettingsError> {
        match (self.data, self.dataset, self.data_root) {
            (Some(_), Some(_), _) => Err(SettingsError::Exclusive { flag: "data", other: "dataset" }),
            (Some(_), _, Some(_)) => Err(SettingsError::Exclusive { flag: "data", other: "data-root" }),
            (Some(folder), None, None) => Ok(("folder".to_owned(), Some(folder))),
            (None, dataset, root) => Ok((dataset.unwrap_or_else(|| default.to_owned()), root)),
        }
    }
}

/// What the user may say of a training run. A flag overrides the file given with --config; what neither says follows
/// the data set's recipe.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The data set.
    #[command(flatten)]
    #[serde(flatten)]
    pub source: Source,
    /// Edited versions of training images: a CSV or JSON-lines file with original, edited, label, prompt, method, seed.
    #[arg(long, value_name = "MANIFEST", help_heading = "Data")]
    #[serde(serialize_with = "path_as_text")]
    pub edits: Option<PathBuf>,
    /// Train on the originals alone, also where the data set brings edits.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Data")]
    pub no_edits: Option<bool>,
    /// Side of the network's square input in pixels.
    #[arg(long, value_name = "PIXELS", help_heading = "Data")]
    pub image_size: Option<u32>,
    /// Random augmentation of training images; masks follow.
    #[arg(long, value_enum, help_heading = "Data")]
    pub augment: Option<Augment>,
    /// What to do with an image that cannot be decoded.
    #[arg(long, value_enum, help_heading = "Data")]
    pub on_corrupt: Option<OnCorrupt>,

    /// Model: small-cnn, mlp, resnet18, resnet34, resnet50 or vgg16-gap.
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub model: Option<String>,
    /// Stride of the last layer, 1 or 2; of ResNets only.
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub layer4_stride: Option<usize>,
    /// Begin with weights from a .safetensors or .pth file (torchvision's names); the head may differ.
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    #[serde(serialize_with = "path_as_text")]
    pub weights: Option<PathBuf>,
    /// Begin with torchvision's ImageNet weights, fetched from the Hugging Face hub.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Model")]
    pub pretrained: Option<bool>,
    /// Parameters that stay as they are, by the beginning of their names (conv1, layer1, features.0).
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', help_heading = "Model")]
    pub freeze: Option<Vec<String>>,
    /// Compute activations again instead of keeping them: about 60 % of the memory, 1.8 times the time, the same result;
    /// of ResNets on the CPU.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Model")]
    pub grad_checkpointing: Option<bool>,

    /// Strength of guidance; 0 trains without it.
    #[arg(long, value_name = "A", allow_negative_numbers = true, help_heading = "Guidance")]
    pub alpha: Option<f64>,
    /// How the guidance loss is differentiated.
    #[arg(long, value_enum, help_heading = "Guidance")]
    pub strategy: Option<StrategyName>,
    /// Which mask guides: the provenance, a random one of equal area, or everything.
    #[arg(long, value_enum, help_heading = "Guidance")]
    pub mask: Option<MaskKind>,
    /// Grow or shrink the target region to this share of its area (0.7, 0.9, 1.1, 1.3).
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = "Guidance")]
    pub mask_area: Option<f64>,
    /// How an original and its edit are compared.
    #[arg(long, value_enum, help_heading = "Guidance")]
    pub difference: Option<DifferenceName>,
    /// What Otsu's threshold is computed from.
    #[arg(long, value_enum, help_heading = "Guidance")]
    pub otsu: Option<OtsuName>,
    /// Drop edits whose difference separates less than this (0: none, 1: two flat levels).
    #[arg(long, value_name = "ETA", allow_negative_numbers = true, help_heading = "Guidance")]
    pub min_separability: Option<f64>,
    /// Guide each original by the mask of its (first) edit, too.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Guidance")]
    pub guide_originals: Option<bool>,
    /// What is differentiated.
    #[arg(long, value_enum, help_heading = "Guidance")]
    pub score: Option<ScoreName>,
    /// Norm of the gradient outside the target.
    #[arg(long, value_enum, help_heading = "Guidance")]
    pub norm: Option<NormName>,
    /// Guide every K-th step only, K times as strongly.
    #[arg(long, value_name = "K", help_heading = "Guidance")]
    pub every: Option<u64>,
    /// Guide a random share of each batch only.
    #[arg(long, value_name = "P", allow_negative_numbers = true, help_heading = "Guidance")]
    pub fraction: Option<f64>,
    /// Measure the guidance loss although alpha is 0.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Guidance")]
    pub monitor: Option<bool>,

    /// Epochs.
    #[arg(long, value_name = "E", help_heading = "Optimisation")]
    pub epochs: Option<usize>,
    /// Samples a batch.
    #[arg(long, value_name = "N", help_heading = "Optimisation")]
    pub batch: Option<usize>,
    /// Optimiser.
    #[arg(long, value_enum, help_heading = "Optimisation")]
    pub optimizer: Option<OptimizerName>,
    /// Learning rate.
    #[arg(long, value_name = "LR", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub lr: Option<f64>,
    /// Factor on the learning rate of the classification head.
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub head_lr_scale: Option<f64>,
    /// Momentum; of SGD only.
    #[arg(long, value_name = "M", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub momentum: Option<f64>,
    /// Nesterov's momentum; of SGD only.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Optimisation")]
    pub nesterov: Option<bool>,
    /// Weight decay.
    #[arg(long, value_name = "WD", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub weight_decay: Option<f64>,
    /// Learning-rate schedule.
    #[arg(long, value_enum, help_heading = "Optimisation")]
    pub schedule: Option<ScheduleName>,
    /// Epochs between two drops of the step schedule.
    #[arg(long, value_name = "E", help_heading = "Optimisation")]
    pub lr_step_epochs: Option<usize>,
    /// Factor of each drop of the step schedule.
    #[arg(long, value_name = "G", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub lr_gamma: Option<f64>,
    /// Epochs of linear warm-up.
    #[arg(long, value_name = "E", help_heading = "Optimisation")]
    pub warmup_epochs: Option<usize>,
    /// Weigh classes by the inverse of their frequency (ALIA's rule).
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Optimisation")]
    pub class_weights: Option<bool>,
    /// Batches that make one optimiser step.
    #[arg(long, value_name = "N", help_heading = "Optimisation")]
    pub accumulate: Option<usize>,
    /// Largest global norm of the gradient.
    #[arg(long, value_name = "NORM", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub clip_norm: Option<f64>,
    /// Validate and keep an exponential moving average of the weights with this decay.
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub ema: Option<f64>,
    /// What selects the best epoch. The test split never does.
    #[arg(long, value_enum, help_heading = "Optimisation")]
    pub select: Option<Select>,
    /// Stop after this many epochs without improvement of what --select names.
    #[arg(long, value_name = "E", help_heading = "Optimisation")]
    pub patience: Option<usize>,
    /// Keep the weights of this many best epochs by --select, besides the best and the last.
    #[arg(long, value_name = "K", help_heading = "Optimisation")]
    pub top_k: Option<usize>,
    /// Stop each epoch after this many batches, and score as many of 64 images: a quick look whether everything works.
    #[arg(long, value_name = "N", help_heading = "Optimisation")]
    pub limit_batches: Option<usize>,
    /// Seed of initial weights, order, augmentation, random masks and --fraction; the data set's own images stay the same.
    #[arg(long, value_name = "S", help_heading = "Optimisation")]
    pub seed: Option<u64>,
}

/// Declares an enumeration of flag values with the library's value of each.
macro_rules! choices {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$doc])* $variant),+ }
    };
}

choices!(
    /// Random augmentation.
    Augment {
        /// None: ALIA's recipe.
        None,
        /// Horizontal flip with probability 1/2.
        Flip,
        /// Flip, and a random crop of 70 to 100 % of the area.
        FlipCrop,
    }
);
choices!(
    /// What to do with an image that cannot be decoded.
    OnCorrupt {
        /// Stop and name it.
        Fail,
        /// Name it and go on without it.
        Skip,
    }
);
choices!(
    /// How the guidance loss is differentiated.
    StrategyName {
        /// Reverse over reverse.
        Exact,
        /// Central difference of first-order gradients: less memory.
        FiniteDifference,
    }
);
choices!(
    /// Which mask guides.
    MaskKind {
        /// The provenance: known, or extracted from the edit.
        True,
        /// A mask of equal area and shape in a random place.
        Random,
        /// No target: the gradient is suppressed everywhere.
        Full,
    }
);
choices!(
    /// How an original and its edit are compared.
    DifferenceName {
        /// Mean over the channels.
        Mean,
        /// Largest channel.
        Max,
        /// Root mean square over the channels.
        L2,
        /// Difference of the luma.
        Luma,
    }
);
choices!(
    /// What Otsu's threshold is computed from.
    OtsuName {
        /// Whole grey levels.
        U8,
        /// 256 bins over the range of the differences.
        Float,
    }
);
choices!(
    /// What is differentiated.
    ScoreName {
        /// The logit of the class.
        Logit,
        /// Its log-probability.
        LogProbability,
    }
);
choices!(
    /// Norm of the gradient outside the target.
    NormName {
        /// Sum of squares.
        SquaredL2,
        /// Sum of absolute values.
        L1,
    }
);
choices!(
    /// Optimiser.
    OptimizerName {
        /// SGD with momentum.
        Sgd,
        /// Adam with decoupled weight decay.
        Adamw,
    }
);
choices!(
    /// Learning-rate schedule.
    ScheduleName {
        /// Always the same.
        Constant,
        /// Drops every few epochs.
        Step,
        /// Half a cosine to 0.
        Cosine,
        /// Up and down along cosines.
        OneCycle,
    }
);
choices!(
    /// What selects the best epoch.
    Select {
        /// Accuracy on the validation split.
        ValTop1,
        /// Mean of the classes' recalls on the validation split.
        ValBalanced,
        /// Accuracy of the worst group (or class) of the validation split.
        ValWorstGroup,
        /// The last epoch counts.
        Last,
    }
);

/// A complete description of a run: what `args.toml` holds, and all that a resumed run needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is the setting of the same name")]
pub struct Config {
    pub dataset: String,
    pub data_root: Option<PathBuf>,
    pub edits: Option<PathBuf>,
    pub no_edits: bool,
    pub image_size: u32,
    pub augment: Augment,
    pub on_corrupt: OnCorrupt,
    pub model: String,
    pub layer4_stride: usize,
    pub weights: Option<PathBuf>,
    pub pretrained: bool,
    pub freeze: Vec<String>,
    pub grad_checkpointing: bool,
    pub alpha: f64,
    pub strategy: StrategyName,
    pub mask: MaskKind,
    pub mask_area: f64,
    pub difference: DifferenceName,
    pub otsu: OtsuName,
    pub min_separability: f64,
    pub guide_originals: bool,
    pub score: ScoreName,
    pub norm: NormName,
    pub every: u64,
    pub fraction: f64,
    pub monitor: bool,
    pub epochs: usize,
    pub batch: usize,
    pub optimizer: OptimizerName,
    pub lr: f64,
    pub head_lr_scale: f64,
    pub momentum: f64,
    pub nesterov: bool,
    pub weight_decay: f64,
    pub schedule: ScheduleName,
    pub lr_step_epochs: usize,
    pub lr_gamma: f64,
    pub warmup_epochs: usize,
    pub class_weights: bool,
    pub accumulate: usize,
    pub clip_norm: Option<f64>,
    pub ema: Option<f64>,
    pub select: Select,
    pub patience: Option<usize>,
    pub top_k: usize,
    pub limit_batches: Option<usize>,
    pub seed: u64,
}

/// What a data set is usually trained with.
struct Recipe {
    model: &'static str,
    image_size: u32,
    epochs: usize,
    batch: usize,
    optimizer: OptimizerName,
    lr: f64,
    weight_decay: f64,
    class_weights: bool,
    select: Select,
}

impl Recipe {
    /// ALIA's recipe (Dunlap et al. 2023) for the photographs; AdamW and a small network for the small sets.
    fn of(dataset: &str) -> Self {
        let photographs = Self {
            model: "resnet50",
            image_size: 224,
            epochs: 100,
            batch: 128,
            optimizer: OptimizerName::Sgd,
            lr: 1e-3,
            weight_decay: 1e-4,
            class_weights: true,
            select: Select::ValTop1,
        };
        let small = Self {
            model: "small-cnn",
            image_size: 32,
            epochs: 20,
            batch: 64,
            optimizer: OptimizerName::Adamw,
            lr: 3e-3,
            weight_decay: 0.0,
            class_weights: false,
            // What the set's spurious cue does to a network shows at the end of training, and Decoy-MNIST's validation
            // images carry the decoy: they cannot tell a good epoch from a bad one.
            select: Select::Last,
        };
        match dataset {
            "embedded" => small,
            "decoy-mnist" => Self { image_size: 28, epochs: 15, lr: 2e-3, ..small },
            "cub" => Self { lr: 1e-2, ..photographs },
            // One's own images, on one's own machine: 128 of 224 pixels take tens of gigabytes in a guided ResNet-50.
            "folder" => Self { batch: 16, ..photographs },
            _ => photographs,
        }
    }
}

/// What was said on the command line over what a TOML file says, whose keys are the flags' names. `T` is a struct of
/// options; keys that it does not have are refused here, since serde cannot refuse them where one struct is flattened
/// into another.
///
/// # Errors
/// [`SettingsError::Unreadable`] or [`SettingsError::Invalid`], naming file, line and key; [`SettingsError::Unmergeable`]
/// for what was said.
pub fn over_file<T: Serialize + DeserializeOwned>(said: &T, path: &Path) -> Result<T, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
    let invalid = |reason: String| SettingsError::Invalid { path: path.to_owned(), reason };
    let line = |span: Range<usize>| 1 + text[..span.start].matches('\n').count();
    let file: BTreeMap<String, Spanned<toml::Value>> = toml::from_str(&text).map_err(|error| {
        let place = error.span().map_or(String::new(), |span| format!("line {}: ", line(span)));
        invalid(format!("{place}{}", one_line(error.message())))
    })?;
    let mut merged = toml::Table::new();
    for (key, value) in file {
        // Each key by itself, so that what is wrong with it can be told apart.
        let line = line(value.span());
        let alone = toml::Table::from_iter([(key.clone(), value.into_inner())]);
        let kept = alone.clone().try_into::<T>().map_err(|error: toml::de::Error| {
            invalid(format!("line {line}: `{key}`: {}", one_line(error.message())))
        })?;
        let kept = toml::Table::try_from(kept).map_err(|error| invalid(one_line(&error.to_string())))?;
        if kept.is_empty() {
            return Err(invalid(format!("line {line}: unknown key `{key}`; --help names the settings")));
        }
        merged.extend(alone);
    }
    let said = toml::Table::try_from(said)
        .map_err(|error| SettingsError::Unmergeable { reason: one_line(&error.to_string()) })?;
    for (flag, others) in EXCLUSIVE {
        if said.get(flag).is_some_and(takes_effect) {
            others.iter().for_each(|other| drop(merged.remove(*other)));
        }
    }
    merged.extend(said);
    merged.try_into().map_err(|error: toml::de::Error| invalid(one_line(error.message())))
}

/// Whether a value of [`EXCLUSIVE`] is more than the wish for a default.
fn takes_effect(value: &toml::Value) -> bool {
    value.as_bool() != Some(false) && value.as_integer() != Some(1) && value.as_float() != Some(1.0)
}

/// Settings that exclude each other: one that is said overrides those of a file.
const EXCLUSIVE: [(&str, &[&str]); 9] = [
    ("data", &["dataset", "data-root"]),
    ("dataset", &["data"]),
    ("data-root", &["data"]),
    ("edits", &["no-edits"]),
    ("no-edits", &["edits"]),
    ("weights", &["pretrained"]),
    ("pretrained", &["weights"]),
    ("every", &["fraction"]),
    ("fraction", &["every"]),
];

/// Serialises a path as text; one that is none is named, which serde's own error does not.
///
/// # Errors
/// With the text of [`SettingsError::NotUtf8`].
pub fn path_as_text<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = |path: &PathBuf| match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(S::Error::custom(SettingsError::NotUtf8 { path: path.clone() })),
    };
    path.as_ref().map(text).transpose()?.serialize(serializer)
}

/// Defaults of settings that some others make idle.
const LAYER4_STRIDE: usize = 2;
const MOMENTUM: f64 = 0.9;
const LR_STEP_EPOCHS: usize = 30;
const LR_GAMMA: f64 = 0.1;

impl Settings {
    /// The complete description: unsaid settings follow the data set's recipe.
    ///
    /// # Errors
    /// [`SettingsError::Range`], [`SettingsError::Unknown`], [`SettingsError::Exclusive`], [`SettingsError::Idle`] or
    /// [`SettingsError::NotUtf8`].
    pub fn resolve(self) -> Result<Config, SettingsError> {
        let (dataset, data_root) = self.source.resolve("embedded")?;
        let recipe = Recipe::of(&dataset);
        let model = self.model.unwrap_or_else(|| recipe.model.to_owned());
        let config = Config {
            dataset,
            data_root,
            edits: self.edits,
            no_edits: self.no_edits.unwrap_or(false),
            image_size: self.image_size.unwrap_or(recipe.image_size),
            augment: self.augment.unwrap_or(Augment::None),
            on_corrupt: self.on_corrupt.unwrap_or(OnCorrupt::Fail),
            model,
            layer4_stride: self.layer4_stride.unwrap_or(LAYER4_STRIDE),
            weights: self.weights,
            pretrained: self.pretrained.unwrap_or(false),
            freeze: self.freeze.unwrap_or_default(),
            grad_checkpointing: self.grad_checkpointing.unwrap_or(false),
            alpha: self.alpha.unwrap_or(0.0),
            strategy: self.strategy.unwrap_or(StrategyName::Exact),
            mask: self.mask.unwrap_or(MaskKind::True),
            mask_area: self.mask_area.unwrap_or(1.0),
            difference: self.difference.unwrap_or(DifferenceName::Mean),
            otsu: self.otsu.unwrap_or(OtsuName::U8),
            min_separability: self.min_separability.unwrap_or(0.0),
            guide_originals: self.guide_originals.unwrap_or(false),
            score: self.score.unwrap_or(ScoreName::Logit),
            norm: self.norm.unwrap_or(NormName::SquaredL2),
            every: self.every.unwrap_or(1),
            fraction: self.fraction.unwrap_or(1.0),
            monitor: self.monitor.unwrap_or(false),
            epochs: self.epochs.unwrap_or(recipe.epochs),
            batch: self.batch.unwrap_or(recipe.batch),
            optimizer: self.optimizer.unwrap_or(recipe.optimizer),
            lr: self.lr.unwrap_or(recipe.lr),
            head_lr_scale: self.head_lr_scale.unwrap_or(1.0),
            momentum: self.momentum.unwrap_or(MOMENTUM),
            nesterov: self.nesterov.unwrap_or(false),
            weight_decay: self.weight_decay.unwrap_or(recipe.weight_decay),
            schedule: self.schedule.unwrap_or(ScheduleName::Cosine),
            lr_step_epochs: self.lr_step_epochs.unwrap_or(LR_STEP_EPOCHS),
            lr_gamma: self.lr_gamma.unwrap_or(LR_GAMMA),
            warmup_epochs: self.warmup_epochs.unwrap_or(0),
            class_weights: self.class_weights.unwrap_or(recipe.class_weights),
            accumulate: self.accumulate.unwrap_or(1),
            clip_norm: self.clip_norm,
            ema: self.ema,
            select: self.select.unwrap_or(recipe.select),
            patience: self.patience,
            top_k: self.top_k.unwrap_or(0),
            limit_batches: self.limit_batches,
            seed: self.seed.unwrap_or(0),
        };
        config.check()?;
        config.check_idle()?;
        Ok(config)
    }
}

impl Config {
    /// Whether the values make sense, of settings that were read from a file.
    ///
    /// # Errors
    /// [`SettingsError::Range`], [`SettingsError::Unknown`], [`SettingsError::Exclusive`] or [`SettingsError::NotUtf8`].
    pub fn check(&self) -> Result<(), SettingsError> {
        for path in [&self.data_root, &self.edits, &self.weights].into_iter().flatten() {
            if path.to_str().is_none() {
                return Err(SettingsError::NotUtf8 { path: path.clone() });
            }
        }
        known("dataset", &self.dataset, &dataset::NAMES)?;
        known("model", &self.model, &MODEL_NAMES)?;
        ensure((1..=2).contains(&self.layer4_stride), "layer4-stride", "1 or 2", self.layer4_stride)?;
        let at_least_1 = |flag, value: usize| ensure(value >= 1, flag, "at least 1", value);
        let non_negative =
            |flag, value: f64| ensure(value >= 0.0 && value.is_finite(), flag, "0 or more", value);
        let positive =
            |flag, value: f64| ensure(value > 0.0 && value.is_finite(), flag, "more than 0", value);
        at_least_1("epochs", self.epochs)?;
        at_least_1("batch", self.batch)?;
        at_least_1("accumulate", self.accumulate)?;
        at_least_1("lr-step-epochs", self.lr_step_epochs)?;
        at_least_1("patience", self.patience.unwrap_or(1))?;
        at_least_1("limit-batches", self.limit_batches.unwrap_or(1))?;
        check_image_size(self.image_size)?;
        ensure(self.every >= 1, "every", "at least 1", self.every)?;
        ensure(self.warmup_epochs <= self.epochs, "warmup-epochs", "at most the epochs", self.warmup_epochs)?;
        non_negative("alpha", self.alpha)?;
        non_negative("weight-decay", self.weight_decay)?;
        non_negative("head-lr-scale", self.head_lr_scale)?;
        positive("lr", self.lr)?;
        positive("lr-gamma", self.lr_gamma)?;
        positive("mask-area", self.mask_area)?;
        positive("clip-norm", self.clip_norm.unwrap_or(1.0))?;
        let share = |flag, value: f64| ensure((0.0..=1.0).contains(&value), flag, "between 0 and 1", value);
        share("min-separability", self.min_separability)?;
        ensure(self.fraction > 0.0 && self.fraction <= 1.0, "fraction", "in (0, 1]", self.fraction)?;
        for (flag, value) in [("momentum", self.momentum), ("ema", self.ema.unwrap_or(0.0))] {
            ensure((0.0..1.0).contains(&value), flag, "in [0, 1)", value)?;
        }
        if self.every > 1 && self.fraction < 1.0 {
            return Err(SettingsError::Exclusive { flag: "every", other: "fraction" });
        }
        if self.pretrained && self.weights.is_some() {
            return Err(SettingsError::Exclusive { flag: "pretrained", other: "weights" });
        }
        if self.no_edits && self.edits.is_some() {
            return Err(SettingsError::Exclusive { flag: "no-edits", other: "edits" });
        }
        Ok(())
    }

    /// Refuses what would do nothing. A default is no wish and passes: the `args.toml` of a run names them all. What
    /// guides passes at alpha 0 too, for scripts that try several alphas.
    fn check_idle(&self) -> Result<(), SettingsError> {
        let last = self.select == Select::Last;
        let adamw = self.optimizer == OptimizerName::Adamw;
        let no_steps = self.schedule != ScheduleName::Step;
        let no_resnet = !self.model.starts_with("resnet");
        idle(last && self.patience.is_some(), "patience", "with --select last", "add --select val-top1")?;
        idle(last && self.top_k > 0, "top-k", "with --select last", "add --select val-top1")?;
        idle(adamw && self.nesterov, "nesterov", "with --optimizer adamw", "add --optimizer sgd")?;
        idle(
            adamw && self.momentum != MOMENTUM,
            "momentum",
            "with --optimizer adamw",
            "add --optimizer sgd",
        )?;
        idle(
            no_steps && self.lr_step_epochs != LR_STEP_EPOCHS,
            "lr-step-epochs",
            "without --schedule step",
            "add it",
        )?;
        idle(no_steps && self.lr_gamma != LR_GAMMA, "lr-gamma", "without --schedule step", "add it")?;
        let advice = "leave it out, or choose --model resnet18, resnet34 or resnet50";
        idle(
            no_resnet && self.layer4_stride != LAYER4_STRIDE,
            "layer4-stride",
            "with a --model that is no ResNet",
            advice,
        )?;
        idle(
            no_resnet && self.grad_checkpointing,
            "grad-checkpointing",
            "with a --model that is no ResNet",
            advice,
        )
    }

    /// Refuses what would do nothing on a data set without validation images.
    ///
    /// # Errors
    /// [`SettingsError::Idle`].
    pub fn check_validation(&self, dataset: &Dataset) -> Result<(), SettingsError> {
        let none = dataset.val.is_empty();
        let (when, advice) = ("with an empty validation split", "leave it out, or add validation images");
        idle(none && self.patience.is_some(), "patience", when, advice)?;
        idle(none && self.top_k > 0, "top-k", when, advice)
    }

    /// The guidance of `model` that these settings describe.
    pub fn guidance(&self, model: &Model) -> Guidance {
        let step = if model.is_piecewise_linear() {
            Strategy::PIECEWISE_LINEAR_STEP
        } else {
            Strategy::DEFAULT_STEP
        };
        Guidance {
            score: match self.score {
                ScoreName::Logit => Score::Logit,
                ScoreName::LogProbability => Score::LogProbability,
            },
            norm: match self.norm {
                NormName::SquaredL2 => Norm::SquaredL2,
                NormName::L1 => Norm::L1,
            },
            strategy: match self.strategy {
                StrategyName::Exact => Strategy::Exact,
                StrategyName::FiniteDifference => Strategy::FiniteDifference { step },
            },
            lazy: if self.every > 1 {
                Lazy::EverySteps(self.every)
            } else if self.fraction < 1.0 {
                Lazy::Fraction(self.fraction)
            } else {
                Lazy::Always
            },
            independent_samples: !model.mixes_samples(),
            ..Guidance::new(self.alpha)
        }
    }

    /// Whether steps compute the guidance loss at all.
    pub fn is_guided(&self) -> bool {
        self.alpha > 0.0 || self.monitor
    }

    /// The model for a number of classes.
    pub fn model_spec(&self, classes: usize) -> ModelSpec {
        ModelSpec {
            size: self.image_size as usize,
            layer4_stride: self.layer4_stride,
            ..ModelSpec::new(&self.model, classes)
        }
    }

    /// The learning-rate schedule.
    pub fn schedule(&self) -> Schedule {
        match self.schedule {
            ScheduleName::Constant => Schedule::Constant,
            ScheduleName::Step => Schedule::Step { every_epochs: self.lr_step_epochs, gamma: self.lr_gamma },
            ScheduleName::Cosine => Schedule::Cosine { min: 0.0 },
            ScheduleName::OneCycle => {
                Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 }
            }
        }
    }
}

impl From<DifferenceName> for Difference {
    fn from(name: DifferenceName) -> Self {
        match name {
            DifferenceName::Mean => Self::Mean,
            DifferenceName::Max => Self::Max,
            DifferenceName::L2 => Self::L2,
            DifferenceName::Luma => Self::Luma,
        }
    }
}

impl From<OtsuName> for Histogram {
    fn from(name: OtsuName) -> Self {
        match name {
            OtsuName::U8 => Self::U8,
            OtsuName::Float => Self::Float,
        }
    }
}

fn ensure(
    holds: bool,
    flag: &'static str,
    expected: &'static str,
    value: impl std::fmt::Display,
) -> Result<(), SettingsError> {
    if holds { Ok(()) } else { Err(SettingsError::Range { flag, expected, value: value.to_string() }) }
}

fn known(flag: &'static str, name: &str, names: &[&str]) -> Result<(), SettingsError> {
    if names.contains(&name) {
        return Ok(());
    }
    Err(SettingsError::Unknown { flag, name: name.to_owned(), known: names.join(", ") })
}

fn idle(
    idle: bool,
    flag: &'static str,
    when: &'static str,
    advice: &'static str,
) -> Result<(), SettingsError> {
    if idle { Err(SettingsError::Idle { flag, when, advice }) } else { Ok(()) }
}

/// Refuses a side of images, in pixels, that no network here can have.
///
/// # Errors
/// [`SettingsError::Range`].
pub fn check_image_size(side: u32) -> Result<(), SettingsError> {
    ensure((4..=4096).contains(&side), "image-size", "between 4 and 4096", side)
}

/// A message of several lines in one.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(dataset: &str) -> Settings {
        let source = Source { dataset: Some(dataset.into()), ..Source::default() };
        Settings { source, ..Settings::default() }
    }

    fn own(folder: &str) -> Settings {
        let source = Source { data: Some(folder.into()), ..Source::default() };
        Settings { source, ..Settings::default() }
    }

    fn resolve(settings: Settings) -> Result<Config, String> {
        settings.resolve().map_err(|error| error.to_string())
    }

    #[test]
    fn unsaid_settings_follow_the_recipe_of_the_data_set() {
        let embedded = resolve(Settings::default()).unwrap();
        assert_eq!(
            (embedded.dataset.as_str(), embedded.model.as_str(), embedded.image_size),
            ("embedded", "small-cnn", 32)
        );
        let cub = resolve(named("cub")).unwrap();
        assert_eq!((cub.model.as_str(), cub.lr, cub.batch, cub.epochs), ("resnet50", 1e-2, 128, 100));
        let own = resolve(own("x")).unwrap();
        assert_eq!((own.dataset.as_str(), own.batch, own.data_root), ("folder", 16, Some("x".into())));
    }

    #[test]
    fn what_is_said_overrides_what_excludes_it_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        let text = "dataset = \"folder\"\ndata-root = \"a\"\nedits = \"e.csv\"\nweights = \"w.pth\"\nfraction = 0.5\n";
        std::fs::write(&path, text).unwrap();
        let over = |change: &dyn Fn(&mut Settings)| {
            let mut said = Settings::default();
            change(&mut said);
            over_file(&said, &path).unwrap().resolve().unwrap()
        };
        let data = over(&|s| s.source.data = Some("b".into()));
        assert_eq!((data.dataset.as_str(), data.data_root), ("folder", Some("b".into())));
        assert_eq!(over(&|s| s.no_edits = Some(true)).edits, None);
        assert_eq!(over(&|s| s.pretrained = Some(true)).weights, None);
        let every = over(&|s| s.every = Some(2));
        assert_eq!((every.every, every.fraction), (2, 1.0));
        // A default that is said excludes nothing.
        assert_eq!(over(&|s| s.no_edits = Some(false)).edits, Some("e.csv".into()));
        assert_eq!(over(&|s| s.pretrained = Some(false)).weights, Some("w.pth".into()));
        assert_eq!(over(&|s| s.every = Some(1)).fraction, 0.5);
    }

    #[test]
    fn flags_override_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, "alpha = 0.5\nepochs = 7\nmask = \"random\"\n").unwrap();
        let flags = Settings { epochs: Some(3), ..Settings::default() };
        let config = over_file(&flags, &path).unwrap().resolve().unwrap();
        assert_eq!((config.alpha, config.epochs, config.mask), (0.5, 3, MaskKind::Random));
        for (text, reason) in [
            ("seed = 1\nalpa = 1", "line 2: unknown key `alpa`; --help names the settings"),
            ("seed = 1\n\nepochs = \"x\"", "line 3: `epochs`: invalid type: string \"x\", expected usize"),
            ("data = 1", "line 1: `data`: invalid type: integer `1`, expected path string"),
            (
                "mask = \"all\"",
                "line 1: `mask`: unknown variant `all`, expected one of `true`, `random`, `full`",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = over_file(&Settings::default(), &path).unwrap_err().to_string();
            assert_eq!(error, format!("{}: {reason}", path.display()));
        }
        std::fs::write(&path, "seed = 1\n= 1").unwrap();
        let error = over_file(&Settings::default(), &path).unwrap_err().to_string();
        assert!(error.contains("run.toml: line 2: ") && !error.contains('\n'), "{error}");
        let missing = over_file(&Settings::default(), &folder.path().join("none.toml")).unwrap_err();
        assert!(missing.to_string().contains("none.toml"));
    }

    #[test]
    fn a_config_comes_back_from_its_file() {
        let config = resolve(Settings { freeze: Some(vec!["conv1".into()]), ..Settings::default() }).unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn values_out_of_range_name_their_flag() {
        let with = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            resolve(settings).unwrap_err()
        };
        assert_eq!(with(|s| s.batch = Some(0)), "--batch must be at least 1, got 0");
        assert_eq!(with(|s| s.alpha = Some(-1.0)), "--alpha must be 0 or more, got -1");
        assert_eq!(with(|s| s.alpha = Some(f64::NAN)), "--alpha must be 0 or more, got NaN");
        assert_eq!(with(|s| s.fraction = Some(0.0)), "--fraction must be in (0, 1], got 0");
        assert_eq!(with(|s| s.layer4_stride = Some(3)), "--layer4-stride must be 1 or 2, got 3");
        assert!(
            with(|s| s.source.dataset = Some("birds".into()))
                .starts_with("--dataset: `birds` is unknown; choose")
        );
        assert!(
            with(|s| s.model = Some("vgg".into()))
                .starts_with("--model: `vgg` is unknown; choose one of mlp,")
        );
        assert_eq!(with(|s| s.ema = Some(1.0)), "--ema must be in [0, 1), got 1");
        assert_eq!(with(|s| s.lr = Some(0.0)), "--lr must be more than 0, got 0");
        let both = with(|s| (s.every, s.fraction) = (Some(2), Some(0.5)));
        assert_eq!(both, "--every and --fraction exclude each other");
        let both = with(|s| (s.no_edits, s.edits) = (Some(true), Some("e.csv".into())));
        assert_eq!(both, "--no-edits and --edits exclude each other");
    }

    #[test]
    fn settings_that_would_do_nothing_are_refused_with_what_keeps_them_from_it() {
        let said = |base: &Settings, change: &dyn Fn(&mut Settings)| {
            let mut settings = base.clone();
            change(&mut settings);
            resolve(settings)
        };
        // The small sets are trained by AdamW to the last epoch, photographs by SGD and selected by validation.
        let (small, photographs) = (Settings::default(), own("x"));
        let small = |change: &dyn Fn(&mut Settings)| said(&small, change);
        let photographs = |change: &dyn Fn(&mut Settings)| said(&photographs, change);
        let last = |flag| format!("--{flag} does nothing with --select last; add --select val-top1");
        let adamw = |flag| format!("--{flag} does nothing with --optimizer adamw; add --optimizer sgd");
        let steps = |flag| format!("--{flag} does nothing without --schedule step; add it");

        assert_eq!(small(&|s| s.patience = Some(3)).unwrap_err(), last("patience"));
        assert_eq!(small(&|s| s.top_k = Some(1)).unwrap_err(), last("top-k"));
        let selected = small(&|s| {
            (s.patience, s.top_k, s.select) = (Some(3), Some(1), Some(Select::ValTop1));
        });
        assert!(selected.is_ok() && photographs(&|s| s.patience = Some(3)).is_ok());
        assert_eq!(small(&|s| s.nesterov = Some(true)).unwrap_err(), adamw("nesterov"));
        assert_eq!(small(&|s| s.momentum = Some(0.5)).unwrap_err(), adamw("momentum"));
        assert!(photographs(&|s| (s.nesterov, s.momentum) = (Some(true), Some(0.5))).is_ok());
        assert_eq!(small(&|s| s.lr_step_epochs = Some(2)).unwrap_err(), steps("lr-step-epochs"));
        assert_eq!(small(&|s| s.lr_gamma = Some(0.5)).unwrap_err(), steps("lr-gamma"));
        let stepped = |s: &mut Settings| {
            (s.lr_step_epochs, s.lr_gamma, s.schedule) = (Some(2), Some(0.5), Some(ScheduleName::Step));
        };
        assert!(small(&stepped).is_ok());
        let stride = small(&|s| s.layer4_stride = Some(1)).unwrap_err();
        assert!(
            stride.starts_with("--layer4-stride does nothing with a --model that is no ResNet; "),
            "{stride}"
        );
        assert!(photographs(&|s| s.layer4_stride = Some(1)).is_ok());
        let guidance = small(&|s| {
            (s.mask, s.every, s.norm) = (Some(MaskKind::Random), Some(2), Some(NormName::L1));
        });
        assert!(guidance.is_ok(), "at alpha 0 it waits for another alpha");
    }

    #[test]
    fn the_whole_config_of_a_run_is_a_file_of_settings() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("args.toml");
        let config = resolve(Settings::default()).unwrap();
        std::fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(over_file(&Settings::default(), &path).unwrap().resolve().unwrap(), config);
    }

    #[test]
    fn selection_needs_validation_images() {
        let spec = pg_embedded::Spec { train: 8, val: 4, test: 4, ..pg_embedded::Spec::default() };
        let mut set = dataset::embedded::from_spec(&spec, &dataset::Options::default()).unwrap();
        let config = |change: fn(&mut Settings)| {
            let mut settings = own("x");
            change(&mut settings);
            resolve(settings).unwrap()
        };
        let (patient, top, plain) =
            (config(|s| s.patience = Some(2)), config(|s| s.top_k = Some(2)), config(|_| ()));
        assert!(patient.check_validation(&set).is_ok() && top.check_validation(&set).is_ok());
        set.val.clear();
        assert!(plain.check_validation(&set).is_ok());
        for (config, flag) in [(patient, "patience"), (top, "top-k")] {
            let error = config.check_validation(&set).unwrap_err().to_string();
            let expected = format!("--{flag} does nothing with an empty validation split; leave it out, ");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
}
