//! Settings of a training run: what the user said, on the command line or in a file, and what it comes to.

use std::path::PathBuf;

use clap::Args;
use pg_cli::choices::{OnCorrupt, OptimizerName};
use pg_cli::{
    GuidanceConfig, GuidanceSettings, NetworkConfig, NetworkSettings, OptimisationConfig,
    OptimisationDefaults, OptimisationSettings, SettingsError, check_image_size, choices, ensure, idle,
    known, path_as_text,
};
use pg_models::ModelSpec;
use pg_provenance::{Difference, Histogram};
use serde::{Deserialize, Serialize};

use crate::dataset::{self, Dataset};

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
    /// [`SettingsError::Exclusive`], or [`SettingsError::Idle`] of a root for a set that is drawn.
    pub fn resolve(self, default: &str) -> Result<(String, Option<PathBuf>), SettingsError> {
        match (self.data, self.dataset, self.data_root) {
            (Some(_), Some(_), _) => Err(SettingsError::Exclusive { flag: "data", other: "dataset" }),
            (Some(_), _, Some(_)) => Err(SettingsError::Exclusive { flag: "data", other: "data-root" }),
            (Some(folder), None, None) => Ok(("folder".to_owned(), Some(folder))),
            (None, dataset, root) => {
                let name = dataset.unwrap_or_else(|| default.to_owned());
                let (when, advice) = ("with --dataset embedded", "add --dataset NAME or use --data");
                idle(name == "embedded" && root.is_some(), "data-root", when, advice)?;
                Ok((name, root))
            }
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
    /// The network.
    #[command(flatten)]
    #[serde(flatten)]
    pub network: NetworkSettings,
    /// Guidance.
    #[command(flatten)]
    #[serde(flatten)]
    pub guidance: GuidanceSettings,
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
    /// Optimisation.
    #[command(flatten)]
    #[serde(flatten)]
    pub optimisation: OptimisationSettings,
    /// Weigh classes by the inverse of their frequency (ALIA's rule).
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Optimisation")]
    pub class_weights: Option<bool>,
    /// What selects the best epoch. The test split never does.
    #[arg(long, value_enum, help_heading = "Optimisation")]
    pub select: Option<Select>,
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
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the setting of the same name")]
pub struct Config {
    pub dataset: String,
    pub data_root: Option<PathBuf>,
    pub edits: Option<PathBuf>,
    pub no_edits: bool,
    pub image_size: u32,
    pub augment: Augment,
    pub on_corrupt: OnCorrupt,
    #[serde(flatten)]
    pub network: NetworkConfig,
    #[serde(flatten)]
    pub guidance: GuidanceConfig,
    pub mask_area: f64,
    pub difference: DifferenceName,
    pub otsu: OtsuName,
    pub min_separability: f64,
    pub guide_originals: bool,
    #[serde(flatten)]
    pub optimisation: OptimisationConfig,
    pub class_weights: bool,
    pub select: Select,
}

/// What a data set is usually trained with.
struct Recipe {
    model: &'static str,
    image_size: u32,
    optimisation: OptimisationDefaults,
    class_weights: bool,
    select: Select,
}

impl Recipe {
    /// ALIA's recipe (Dunlap et al. 2023) for the photographs; AdamW and a small network for the small sets.
    fn of(dataset: &str) -> Self {
        let photographs = Self {
            model: "resnet50",
            image_size: 224,
            optimisation: OptimisationDefaults {
                epochs: 100,
                batch: 128,
                optimizer: OptimizerName::Sgd,
                lr: 1e-3,
                weight_decay: 1e-4,
            },
            class_weights: true,
            select: Select::ValTop1,
        };
        let small = Self {
            model: "small-cnn",
            image_size: 32,
            optimisation: OptimisationDefaults {
                epochs: 20,
                batch: 64,
                optimizer: OptimizerName::Adamw,
                lr: 3e-3,
                weight_decay: 0.0,
            },
            class_weights: false,
            // What the set's spurious cue does to a network shows at the end of training, and Decoy-MNIST's validation
            // images carry the decoy: they cannot tell a good epoch from a bad one.
            select: Select::Last,
        };
        match dataset {
            "embedded" => small,
            "decoy-mnist" => Self {
                image_size: 28,
                optimisation: OptimisationDefaults { epochs: 15, lr: 2e-3, ..small.optimisation },
                ..small
            },
            "cub" => Self {
                optimisation: OptimisationDefaults { lr: 1e-2, ..photographs.optimisation },
                ..photographs
            },
            // One's own images, on one's own machine: 128 of 224 pixels take tens of gigabytes in a guided ResNet-50.
            "folder" => Self {
                optimisation: OptimisationDefaults { batch: 16, ..photographs.optimisation },
                ..photographs
            },
            _ => photographs,
        }
    }
}

impl Settings {
    /// The complete description: unsaid settings follow the data set's recipe.
    ///
    /// # Errors
    /// [`SettingsError::Range`], [`SettingsError::Unknown`], [`SettingsError::Exclusive`], [`SettingsError::Idle`] or
    /// [`SettingsError::NotUtf8`].
    pub fn resolve(self) -> Result<Config, SettingsError> {
        let (dataset, data_root) = self.source.resolve("embedded")?;
        let recipe = Recipe::of(&dataset);
        let config = Config {
            dataset,
            data_root,
            edits: self.edits,
            no_edits: self.no_edits.unwrap_or(false),
            image_size: self.image_size.unwrap_or(recipe.image_size),
            augment: self.augment.unwrap_or(Augment::None),
            on_corrupt: self.on_corrupt.unwrap_or(OnCorrupt::Fail),
            network: self.network.resolve(recipe.model),
            guidance: self.guidance.resolve(),
            mask_area: self.mask_area.unwrap_or(1.0),
            difference: self.difference.unwrap_or(DifferenceName::Mean),
            otsu: self.otsu.unwrap_or(OtsuName::U8),
            min_separability: self.min_separability.unwrap_or(0.0),
            guide_originals: self.guide_originals.unwrap_or(false),
            optimisation: self.optimisation.resolve(recipe.optimisation),
            class_weights: self.class_weights.unwrap_or(recipe.class_weights),
            select: self.select.unwrap_or(recipe.select),
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
        for path in [&self.data_root, &self.edits].into_iter().flatten() {
            if path.to_str().is_none() {
                return Err(SettingsError::NotUtf8 { path: path.clone() });
            }
        }
        known("dataset", &self.dataset, &dataset::NAMES)?;
        self.network.check()?;
        self.guidance.check()?;
        self.optimisation.check()?;
        check_image_size(self.image_size)?;
        let positive = self.mask_area > 0.0 && self.mask_area.is_finite();
        ensure(positive, "mask-area", "more than 0", self.mask_area)?;
        let share = (0.0..=1.0).contains(&self.min_separability);
        ensure(share, "min-separability", "between 0 and 1", self.min_separability)?;
        if self.no_edits && self.edits.is_some() {
            return Err(SettingsError::Exclusive { flag: "no-edits", other: "edits" });
        }
        Ok(())
    }

    /// Refuses what would do nothing. A default is no wish and passes: the `args.toml` of a run names them all. What
    /// guides passes at alpha 0 too, for scripts that try several alphas.
    fn check_idle(&self) -> Result<(), SettingsError> {
        let unselected =
            (self.select == Select::Last).then_some(("with --select last", "add --select val-top1"));
        self.optimisation.check_idle(unselected)?;
        self.network.check_idle()
    }

    /// Refuses what would do nothing on a data set without validation images.
    ///
    /// # Errors
    /// [`SettingsError::Idle`].
    pub fn check_validation(&self, dataset: &Dataset) -> Result<(), SettingsError> {
        let (when, advice) = ("with an empty validation split", "leave it out, or add validation images");
        if dataset.val.is_empty() { self.optimisation.check_selection(when, advice) } else { Ok(()) }
    }

    /// Refuses what is about edits where none trains.
    ///
    /// # Errors
    /// [`SettingsError::Idle`].
    pub fn check_edits(&self, dataset: &Dataset) -> Result<(), SettingsError> {
        let (when, advice) = match (self.no_edits, dataset.edits.is_empty()) {
            (true, _) => ("with --no-edits", "leave out one of them"),
            (false, true) => ("on a data set without edits", "leave it out, or add --edits MANIFEST"),
            (false, false) => return Ok(()),
        };
        idle(self.difference != DifferenceName::Mean, "difference", when, advice)?;
        idle(self.otsu != OtsuName::U8, "otsu", when, advice)?;
        idle(self.min_separability > 0.0, "min-separability", when, advice)?;
        idle(self.guide_originals, "guide-originals", when, advice)
    }

    /// The model for a number of classes.
    pub fn model_spec(&self, classes: usize) -> ModelSpec {
        self.network.spec(self.image_size, classes)
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

#[cfg(test)]
mod tests {
    use super::*;
    use pg_cli::choices::{MaskKind, NormName, ScheduleName};
    use pg_cli::over_file;

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
            (embedded.dataset.as_str(), embedded.network.model.as_str(), embedded.image_size),
            ("embedded", "small-cnn", 32)
        );
        let cub = resolve(named("cub")).unwrap();
        assert_eq!(
            (
                cub.network.model.as_str(),
                cub.optimisation.lr,
                cub.optimisation.batch,
                cub.optimisation.epochs
            ),
            ("resnet50", 1e-2, 128, 100)
        );
        let own = resolve(own("x")).unwrap();
        assert_eq!(
            (own.dataset.as_str(), own.optimisation.batch, own.data_root),
            ("folder", 16, Some("x".into()))
        );
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
        assert_eq!(over(&|s| s.network.pretrained = Some(true)).network.weights, None);
        let every = over(&|s| s.guidance.every = Some(2));
        assert_eq!((every.guidance.every, every.guidance.fraction), (2, 1.0));
        // A default that is said excludes nothing.
        assert_eq!(over(&|s| s.no_edits = Some(false)).edits, Some("e.csv".into()));
        assert_eq!(over(&|s| s.network.pretrained = Some(false)).network.weights, Some("w.pth".into()));
        assert_eq!(over(&|s| s.guidance.every = Some(1)).guidance.fraction, 0.5);
    }

    #[test]
    fn flags_override_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, "alpha = 0.5\nepochs = 7\nmask = \"random\"\n").unwrap();
        let flags = Settings {
            optimisation: OptimisationSettings { epochs: Some(3), ..Default::default() },
            ..Settings::default()
        };
        let config = over_file(&flags, &path).unwrap().resolve().unwrap();
        assert_eq!(
            (config.guidance.alpha, config.optimisation.epochs, config.guidance.mask),
            (0.5, 3, MaskKind::Random)
        );
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
        let config = resolve(Settings {
            network: NetworkSettings { freeze: Some(vec!["conv1".into()]), ..Default::default() },
            ..Settings::default()
        })
        .unwrap();
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
        assert_eq!(with(|s| s.optimisation.batch = Some(0)), "--batch must be at least 1, got 0");
        assert_eq!(with(|s| s.guidance.alpha = Some(-1.0)), "--alpha must be 0 or more, got -1");
        assert_eq!(with(|s| s.guidance.alpha = Some(f64::NAN)), "--alpha must be 0 or more, got NaN");
        assert_eq!(with(|s| s.guidance.fraction = Some(0.0)), "--fraction must be in (0, 1], got 0");
        assert_eq!(with(|s| s.network.layer4_stride = Some(3)), "--layer4-stride must be 1 or 2, got 3");
        assert!(
            with(|s| s.source.dataset = Some("birds".into()))
                .starts_with("--dataset: `birds` is unknown; choose")
        );
        assert!(
            with(|s| s.network.model = Some("vgg".into()))
                .starts_with("--model: `vgg` is unknown; choose one of mlp,")
        );
        assert_eq!(with(|s| s.optimisation.ema = Some(1.0)), "--ema must be in [0, 1), got 1");
        assert_eq!(with(|s| s.optimisation.lr = Some(0.0)), "--lr must be more than 0, got 0");
        let both = with(|s| (s.guidance.every, s.guidance.fraction) = (Some(2), Some(0.5)));
        assert_eq!(both, "--every and --fraction exclude each other");
        let both = with(|s| (s.no_edits, s.edits) = (Some(true), Some("e.csv".into())));
        assert_eq!(both, "--no-edits and --edits exclude each other");
        let rooted = |dataset: Option<&str>| {
            let dataset = dataset.map(str::to_owned);
            let source = Source { dataset, data_root: Some("x".into()), ..Source::default() };
            resolve(Settings { source, ..Settings::default() })
        };
        let idle = "--data-root does nothing with --dataset embedded; add --dataset NAME or use --data";
        for embedded in [None, Some("embedded")] {
            assert_eq!(rooted(embedded).unwrap_err(), idle);
        }
        assert_eq!(rooted(Some("cub")).unwrap().data_root, Some("x".into()));
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

        assert_eq!(small(&|s| s.optimisation.patience = Some(3)).unwrap_err(), last("patience"));
        assert_eq!(small(&|s| s.optimisation.top_k = Some(1)).unwrap_err(), last("top-k"));
        let selected = small(&|s| {
            (s.optimisation.patience, s.optimisation.top_k, s.select) =
                (Some(3), Some(1), Some(Select::ValTop1));
        });
        assert!(selected.is_ok() && photographs(&|s| s.optimisation.patience = Some(3)).is_ok());
        assert_eq!(small(&|s| s.optimisation.nesterov = Some(true)).unwrap_err(), adamw("nesterov"));
        assert_eq!(small(&|s| s.optimisation.momentum = Some(0.5)).unwrap_err(), adamw("momentum"));
        assert!(
            photographs(&|s| (s.optimisation.nesterov, s.optimisation.momentum) = (Some(true), Some(0.5)))
                .is_ok()
        );
        assert_eq!(small(&|s| s.optimisation.lr_step_epochs = Some(2)).unwrap_err(), steps("lr-step-epochs"));
        assert_eq!(small(&|s| s.optimisation.lr_gamma = Some(0.5)).unwrap_err(), steps("lr-gamma"));
        let stepped = |s: &mut Settings| {
            (s.optimisation.lr_step_epochs, s.optimisation.lr_gamma, s.optimisation.schedule) =
                (Some(2), Some(0.5), Some(ScheduleName::Step));
        };
        assert!(small(&stepped).is_ok());
        let stride = small(&|s| s.network.layer4_stride = Some(1)).unwrap_err();
        assert!(
            stride.starts_with("--layer4-stride does nothing with a --model that is no ResNet; "),
            "{stride}"
        );
        assert!(photographs(&|s| s.network.layer4_stride = Some(1)).is_ok());
        let guidance = small(&|s| {
            (s.guidance.mask, s.guidance.every, s.guidance.norm) =
                (Some(MaskKind::Random), Some(2), Some(NormName::L1));
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
        let (patient, top, plain) = (
            config(|s| s.optimisation.patience = Some(2)),
            config(|s| s.optimisation.top_k = Some(2)),
            config(|_| ()),
        );
        assert!(patient.check_validation(&set).is_ok() && top.check_validation(&set).is_ok());
        set.val.clear();
        assert!(plain.check_validation(&set).is_ok());
        for (config, flag) in [(patient, "patience"), (top, "top-k")] {
            let error = config.check_validation(&set).unwrap_err().to_string();
            let expected = format!("--{flag} does nothing with an empty validation split; leave it out, ");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn what_is_about_edits_needs_edits() {
        let spec = pg_embedded::Spec { train: 8, val: 4, test: 4, ..pg_embedded::Spec::default() };
        let mut set = dataset::embedded::from_spec(&spec, &dataset::Options::default()).unwrap();
        type Change = fn(&mut Settings);
        let changes: [(&str, Change); 4] = [
            ("difference", |s| s.difference = Some(DifferenceName::Luma)),
            ("otsu", |s| s.otsu = Some(OtsuName::Float)),
            ("min-separability", |s| s.min_separability = Some(0.1)),
            ("guide-originals", |s| s.guide_originals = Some(true)),
        ];
        let config = |no_edits, change: Change| {
            let mut settings = Settings { no_edits: Some(no_edits), ..Settings::default() };
            change(&mut settings);
            resolve(settings).unwrap()
        };
        let error = |config: &Config, set: &Dataset| config.check_edits(set).unwrap_err().to_string();
        for (flag, change) in changes {
            assert!(config(false, change).check_edits(&set).is_ok(), "{flag}");
            let expected = format!("--{flag} does nothing with --no-edits; leave out one of them");
            assert_eq!(error(&config(true, change), &set), expected);
        }
        set.edits.clear();
        for (flag, change) in changes {
            let expected = format!("--{flag} does nothing on a data set without edits; leave it out, ");
            assert!(error(&config(false, change), &set).starts_with(&expected));
        }
        // A default is no wish.
        let defaults: Change = |s| {
            (s.difference, s.otsu) = (Some(DifferenceName::Mean), Some(OtsuName::U8));
            (s.min_separability, s.guide_originals) = (Some(0.0), Some(false));
        };
        assert!(config(true, defaults).check_edits(&set).is_ok());
        assert!(config(false, defaults).check_edits(&set).is_ok());
    }
}
