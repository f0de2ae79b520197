//! Settings of a training run: what the user said, on the command line or in a file, and what it comes to.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use pg_grad::{Guidance, Lazy, Norm, Score, Strategy};
use pg_models::{MODEL_NAMES, ModelSpec};
use pg_provenance::{Difference, Histogram};
use pg_tasks::schedule::Schedule;
use serde::{Deserialize, Serialize};

use crate::dataset;

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
    /// A path that `args.toml` cannot hold.
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
    /// A resumed run was given settings.
    #[error("--{flag} cannot change in a run that is resumed; leave it out, or begin a new run")]
    Resumed {
        /// The flag.
        flag: String,
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

/// What the user may say of a training run. A flag overrides the file given with --config; what neither says follows
/// the data set's recipe.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Data set: embedded, decoy-mnist, waterbirds, waterbirds-alia, iwildcam, iwildcam-alia, cub or folder.
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    pub dataset: Option<String>,
    /// Folder that holds the data set's files.
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    pub data_root: Option<PathBuf>,
    /// Your own images: FOLDER/{train,val,test}/CLASS/*, or FOLDER/CLASS/*. Short for --dataset folder --data-root.
    #[arg(long, value_name = "FOLDER", help_heading = "Data")]
    pub data: Option<PathBuf>,
    /// Edited versions of training images: a CSV or JSON-lines file with original, edited, label, prompt, method, seed.
    #[arg(long, value_name = "MANIFEST", help_heading = "Data")]
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
    /// Stride of a ResNet's last layer, 1 or 2.
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub layer4_stride: Option<usize>,
    /// Begin with weights from a .safetensors or .pth file (torchvision's names); the head may differ.
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub weights: Option<PathBuf>,
    /// Begin with torchvision's ImageNet weights, fetched from the Hugging Face hub.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Model")]
    pub pretrained: Option<bool>,
    /// Parameters that stay as they are, by the beginning of their names (conv1, layer1, features.0).
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', help_heading = "Model")]
    pub freeze: Option<Vec<String>>,

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
    /// Momentum of SGD.
    #[arg(long, value_name = "M", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub momentum: Option<f64>,
    /// Nesterov's momentum.
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
    /// Stop after this many epochs without improvement.
    #[arg(long, value_name = "E", help_heading = "Optimisation")]
    pub patience: Option<usize>,
    /// Keep the weights of this many best epochs, besides the best and the last.
    #[arg(long, value_name = "K", help_heading = "Optimisation")]
    pub top_k: Option<usize>,
    /// Stop each epoch after this many batches: a quick look whether everything works.
    #[arg(long, value_name = "N", help_heading = "Optimisation")]
    pub limit_batches: Option<usize>,
    /// Seed of everything random.
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
            _ => photographs,
        }
    }
}

impl Settings {
    /// These settings over those of a TOML file.
    ///
    /// # Errors
    /// [`SettingsError::Unreadable`] or [`SettingsError::Invalid`], naming the file.
    pub fn over_file(self, path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        let invalid =
            |reason: String| SettingsError::Invalid { path: path.to_owned(), reason: one_line(&reason) };
        // Parsed once as settings for its errors, which name line and key.
        let file: Self = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        let table =
            |settings: &Self| toml::Table::try_from(settings).map_err(|error| invalid(error.to_string()));
        let mut merged = table(&file)?;
        merged.extend(table(&self)?);
        merged.try_into().map_err(|error: toml::de::Error| invalid(error.to_string()))
    }

    /// The complete description: unsaid settings follow the data set's recipe.
    ///
    /// # Errors
    /// [`SettingsError::Range`] or [`SettingsError::Exclusive`].
    pub fn resolve(self) -> Result<Config, SettingsError> {
        let (dataset, data_root) = match (self.data, self.dataset, self.data_root) {
            (Some(_), Some(_), _) => return Err(SettingsError::Exclusive { flag: "data", other: "dataset" }),
            (Some(_), _, Some(_)) => {
                return Err(SettingsError::Exclusive { flag: "data", other: "data-root" });
            }
            (Some(folder), None, None) => ("folder".to_owned(), Some(folder)),
            (None, dataset, root) => (dataset.unwrap_or_else(|| "embedded".to_owned()), root),
        };
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
            layer4_stride: self.layer4_stride.unwrap_or(2),
            weights: self.weights,
            pretrained: self.pretrained.unwrap_or(false),
            freeze: self.freeze.unwrap_or_default(),
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
            momentum: self.momentum.unwrap_or(0.9),
            nesterov: self.nesterov.unwrap_or(false),
            weight_decay: self.weight_decay.unwrap_or(recipe.weight_decay),
            schedule: self.schedule.unwrap_or(ScheduleName::Cosine),
            lr_step_epochs: self.lr_step_epochs.unwrap_or(30),
            lr_gamma: self.lr_gamma.unwrap_or(0.1),
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
        Ok(config)
    }
}

impl Config {
    fn check(&self) -> Result<(), SettingsError> {
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
        ensure((4..=4096).contains(&self.image_size), "image-size", "between 4 and 4096", self.image_size)?;
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

    /// The guidance that these settings describe.
    pub fn guidance(&self) -> Guidance {
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
                StrategyName::FiniteDifference => Strategy::FiniteDifference { step: Strategy::DEFAULT_STEP },
            },
            lazy: if self.every > 1 {
                Lazy::EverySteps(self.every)
            } else if self.fraction < 1.0 {
                Lazy::Fraction(self.fraction)
            } else {
                Lazy::Always
            },
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

/// TOML's errors draw the line they mean; the user gets it in one.
fn one_line(text: &str) -> String {
    let parts: Vec<&str> = text
        .lines()
        .map(|line| {
            line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').trim_start_matches('|').trim()
        })
        .filter(|line| !line.is_empty() && !line.starts_with('^'))
        .collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let cub = resolve(Settings { dataset: Some("cub".into()), ..Settings::default() }).unwrap();
        assert_eq!((cub.model.as_str(), cub.lr, cub.batch, cub.epochs), ("resnet50", 1e-2, 128, 100));
        let own = resolve(Settings { data: Some("x".into()), ..Settings::default() }).unwrap();
        assert_eq!((own.dataset.as_str(), own.data_root), ("folder", Some("x".into())));
    }

    #[test]
    fn flags_override_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, "alpha = 0.5\nepochs = 7\nmask = \"random\"\n").unwrap();
        let flags = Settings { epochs: Some(3), ..Settings::default() };
        let config = flags.over_file(&path).unwrap().resolve().unwrap();
        assert_eq!((config.alpha, config.epochs, config.mask), (0.5, 3, MaskKind::Random));
        for (text, word) in
            [("alpa = 1", "alpa"), ("epochs = \"x\"", "epochs"), ("mask = \"all\"", "all"), ("= 1", "1")]
        {
            std::fs::write(&path, text).unwrap();
            let error = Settings::default().over_file(&path).unwrap_err().to_string();
            assert!(error.contains("run.toml") && error.contains(word) && !error.contains('\n'), "{error}");
        }
        let missing = Settings::default().over_file(&folder.path().join("none.toml")).unwrap_err();
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
            with(|s| s.dataset = Some("birds".into())).starts_with("--dataset: `birds` is unknown; choose")
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
}
