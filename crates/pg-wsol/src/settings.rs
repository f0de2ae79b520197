//! Settings of a training run: what the user said, on the command line or in a file, and what it comes to.

use std::path::PathBuf;

use clap::Args;
use pg_cli::choices::{OnCorrupt, OptimizerName};
use pg_cli::{
    GuidanceConfig, GuidanceSettings, NetworkConfig, NetworkSettings, OptimisationConfig,
    OptimisationDefaults, OptimisationSettings, SettingsError, check_image_size, choices, ensure, idle,
    path_as_text,
};
use pg_models::ModelSpec;
use serde::{Deserialize, Serialize};

use crate::dataset::Source;

choices!(
    /// How training samples are made.
    SynthName {
        /// The images as they are.
        None,
        /// A box of one image pasted into another.
        Cutmix,
        /// A whole image, shrunk, pasted into another.
        Resizemix,
        /// The salient blocks of two images put together by a minimum cut.
        Puzzlemix,
        /// Every pixel a blend: leaves no provenance, so it cannot be guided.
        Mixup,
    }
);
choices!(
    /// What selects the best epoch.
    Select {
        /// MaxBoxAccV2 on the validation split (of masks PxAP).
        ValV2,
        /// Accuracy on the validation split.
        ValTop1,
        /// The last epoch counts: wsolevaluation's protocol.
        Last,
    }
);
choices!(
    /// What the score maps are made from.
    MapName {
        /// The class activation map, or of a SAT the attention of its spatial token.
        Cam,
        /// The size of the input gradient of the class's logit, in cells of 1/14 of the image.
        Gradient,
    }
);

/// Where the images come from.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SourceSettings {
    /// Folder of the images that --metadata lists; without both, the embedded set.
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    #[serde(serialize_with = "path_as_text")]
    pub data_root: Option<PathBuf>,
    /// Folder with the lists train, val and test of wsolevaluation (metadata/CUB, metadata/ILSVRC, or your own).
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    #[serde(serialize_with = "path_as_text")]
    pub metadata: Option<PathBuf>,
}

impl SourceSettings {
    /// The source that both say.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] if one is missing; [`SettingsError::NotUtf8`].
    pub fn resolve(self) -> Result<Source, SettingsError> {
        for path in [&self.data_root, &self.metadata].into_iter().flatten() {
            if path.to_str().is_none() {
                return Err(SettingsError::NotUtf8 { path: path.clone() });
            }
        }
        match (self.data_root, self.metadata) {
            (None, None) => Ok(Source::Embedded),
            (Some(data_root), Some(metadata)) => Ok(Source::Metadata { data_root, metadata }),
            (None, Some(_)) => Err(SettingsError::Missing { flag: "data-root" }),
            (Some(_), None) => Err(SettingsError::Missing { flag: "metadata" }),
        }
    }
}

/// What the user may say of a training run. A flag overrides the file given with --config.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The data set.
    #[command(flatten)]
    #[serde(flatten)]
    pub source: SourceSettings,
    /// Side of the network's square input in pixels.
    #[arg(long, value_name = "PIXELS", help_heading = "Data")]
    pub image_size: Option<u32>,
    /// What to do with an image or a mask that cannot be decoded.
    #[arg(long, value_enum, help_heading = "Data")]
    pub on_corrupt: Option<OnCorrupt>,
    /// Folder of the masks, where the metadata names masks in place of boxes.
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    #[serde(serialize_with = "path_as_text")]
    pub masks: Option<PathBuf>,

    /// How training samples are made.
    #[arg(long, value_enum, help_heading = "Synthesis")]
    pub synth: Option<SynthName>,
    /// Share of the batches that are mixed; by default all, of the embedded set half.
    #[arg(long, value_name = "P", allow_negative_numbers = true, help_heading = "Synthesis")]
    pub synth_prob: Option<f64>,
    /// Both parameters of CutMix's Beta distribution.
    #[arg(long, value_name = "B", allow_negative_numbers = true, help_heading = "Synthesis")]
    pub cutmix_beta: Option<f64>,
    /// Both parameters of mixup's Beta distribution.
    #[arg(long, value_name = "A", allow_negative_numbers = true, help_heading = "Synthesis")]
    pub mixup_alpha: Option<f64>,

    /// The network.
    #[command(flatten)]
    #[serde(flatten)]
    pub network: NetworkSettings,
    /// SAT: share of an image that its object covers, on average.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = "Model")]
    pub area: Option<f64>,
    /// Guidance.
    #[command(flatten)]
    #[serde(flatten)]
    pub guidance: GuidanceSettings,
    /// Optimisation.
    #[command(flatten)]
    #[serde(flatten)]
    pub optimisation: OptimisationSettings,
    /// What selects the best epoch. The test split never does.
    #[arg(long, value_enum, help_heading = "Optimisation")]
    pub select: Option<Select>,
}

/// How training samples are made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the setting of the same name")]
pub struct SynthConfig {
    pub synth: SynthName,
    pub synth_prob: f64,
    pub cutmix_beta: f64,
    pub mixup_alpha: f64,
}

/// A complete description of a run: what `args.toml` holds, and all that a resumed run needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the setting of the same name")]
pub struct Config {
    pub data_root: Option<PathBuf>,
    pub metadata: Option<PathBuf>,
    pub image_size: u32,
    pub on_corrupt: OnCorrupt,
    pub masks: Option<PathBuf>,
    #[serde(flatten)]
    pub synth: SynthConfig,
    #[serde(flatten)]
    pub network: NetworkConfig,
    pub area: f64,
    #[serde(flatten)]
    pub guidance: GuidanceConfig,
    #[serde(flatten)]
    pub optimisation: OptimisationConfig,
    pub select: Select,
}

/// Of CUB in SAT's paper.
const AREA: f64 = 0.25;
const CUTMIX_BETA: f64 = 1.0;
const MIXUP_ALPHA: f64 = 1.0;
const SYNTH_PROB: f64 = 1.0;
/// A small set whose every batch is mixed takes twice as long to learn anything. The settings that wsolevaluation found for
/// CUB mix a part of the batches, too.
const EMBEDDED_SYNTH_PROB: f64 = 0.5;

fn default_synth_prob(is_embedded: bool) -> f64 {
    if is_embedded { EMBEDDED_SYNTH_PROB } else { SYNTH_PROB }
}

impl Settings {
    /// The complete description: unsaid settings are those of the embedded set, or of photographs.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn resolve(self) -> Result<Config, SettingsError> {
        let SourceSettings { data_root, metadata } = self.source.clone();
        let is_embedded = self.source.resolve()? == Source::Embedded;
        let (model, image_size, defaults) = if is_embedded {
            let adamw = OptimizerName::Adamw;
            let defaults = OptimisationDefaults {
                epochs: 30,
                batch: 32,
                optimizer: adamw,
                lr: 1e-3,
                weight_decay: 1e-4,
            };
            ("small-vgg-gap", 48, defaults)
        } else {
            let defaults = OptimisationDefaults {
                epochs: 50,
                batch: 32,
                optimizer: OptimizerName::Sgd,
                lr: 1e-3,
                weight_decay: 5e-4,
            };
            ("vgg16-gap", 224, defaults)
        };
        let config = Config {
            data_root,
            metadata,
            image_size: self.image_size.unwrap_or(image_size),
            on_corrupt: self.on_corrupt.unwrap_or(OnCorrupt::Fail),
            masks: self.masks,
            synth: SynthConfig {
                synth: self.synth.unwrap_or(SynthName::None),
                synth_prob: self.synth_prob.unwrap_or(default_synth_prob(is_embedded)),
                cutmix_beta: self.cutmix_beta.unwrap_or(CUTMIX_BETA),
                mixup_alpha: self.mixup_alpha.unwrap_or(MIXUP_ALPHA),
            },
            network: self.network.resolve(model),
            area: self.area.unwrap_or(AREA),
            guidance: self.guidance.resolve(),
            optimisation: self.optimisation.resolve(defaults),
            select: self.select.unwrap_or(Select::Last),
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
    /// [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        self.source()?;
        if let Some(path) = &self.masks
            && path.to_str().is_none()
        {
            return Err(SettingsError::NotUtf8 { path: path.clone() });
        }
        self.network.check()?;
        self.guidance.check()?;
        self.optimisation.check()?;
        check_image_size(self.image_size)?;
        if matches!(self.network.model.as_str(), "mlp" | "small-cnn") {
            let flag = "model";
            let expected = "one that says where it sees an object (not mlp, not small-cnn)";
            return Err(SettingsError::Range { flag, expected, value: self.network.model.clone() });
        }
        let SynthConfig { synth, synth_prob, cutmix_beta, mixup_alpha } = self.synth;
        let halves = self.image_size.is_multiple_of(2) || synth != SynthName::Puzzlemix;
        ensure(halves, "image-size", "even with --synth puzzlemix, which mixes blocks", self.image_size)?;
        ensure((0.0..=1.0).contains(&synth_prob), "synth-prob", "between 0 and 1", synth_prob)?;
        for (flag, value) in [("cutmix-beta", cutmix_beta), ("mixup-alpha", mixup_alpha)] {
            ensure(value > 0.0 && value.is_finite(), flag, "more than 0", value)?;
        }
        ensure(self.area > 0.0 && self.area < 1.0, "area", "between 0 and 1", self.area)
    }

    /// Refuses what would do nothing.
    fn check_idle(&self) -> Result<(), SettingsError> {
        let unselected =
            (self.select == Select::Last).then_some(("with --select last", "add --select val-v2"));
        self.optimisation.check_idle(unselected)?;
        self.network.check_idle()?;
        let SynthConfig { synth, synth_prob, cutmix_beta, mixup_alpha } = self.synth;
        let advice = "leave it out, or choose --synth cutmix, resizemix or puzzlemix";
        let unguided = matches!(synth, SynthName::None | SynthName::Mixup);
        idle(
            unguided && self.guidance.alpha > 0.0,
            "alpha",
            "with a --synth that leaves no provenance",
            advice,
        )?;
        idle(
            unguided && self.guidance.monitor,
            "monitor",
            "with a --synth that leaves no provenance",
            advice,
        )?;
        let default = default_synth_prob(self.source()? == Source::Embedded);
        let unmixed = synth == SynthName::None && synth_prob != default;
        idle(unmixed, "synth-prob", "with --synth none", "leave it out, or choose another --synth")?;
        let other = synth != SynthName::Cutmix && cutmix_beta != CUTMIX_BETA;
        idle(other, "cutmix-beta", "without --synth cutmix", "add it")?;
        let other = synth != SynthName::Mixup && mixup_alpha != MIXUP_ALPHA;
        idle(other, "mixup-alpha", "without --synth mixup", "add it")?;
        let other = !self.network.model.starts_with("sat") && self.area != AREA;
        idle(other, "area", "with a --model that is no SAT", "leave it out")
    }

    /// Where the images come from.
    ///
    /// # Errors
    /// As [`SourceSettings::resolve`].
    pub fn source(&self) -> Result<Source, SettingsError> {
        let (data_root, metadata) = (self.data_root.clone(), self.metadata.clone());
        SourceSettings { data_root, metadata }.resolve()
    }

    /// The model for a number of classes.
    pub fn model_spec(&self, classes: usize) -> ModelSpec {
        self.network.spec(self.image_size, classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(change: impl Fn(&mut Settings)) -> Result<Config, String> {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.resolve().map_err(|error| error.to_string())
    }

    #[test]
    fn every_recipe_resolves_with_its_images() {
        let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes/wsol"));
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let is_embedded = path.file_name().unwrap().to_string_lossy().starts_with("embedded");
                let of_photographs =
                    SourceSettings { data_root: Some("images".into()), metadata: Some("lists".into()) };
                let source = if is_embedded { SourceSettings::default() } else { of_photographs };
                let said = Settings { source, ..Settings::default() };
                let config = pg_cli::over_file(&said, &path).unwrap().resolve().unwrap();
                assert_eq!(config.image_size, if is_embedded { 48 } else { 224 }, "{}", path.display());
                count += 1;
            }
        }
        assert_eq!(count, 7);
    }

    #[test]
    fn unsaid_settings_follow_the_source() {
        let embedded = resolve(|_| ()).unwrap();
        assert_eq!((embedded.network.model.as_str(), embedded.image_size), ("small-vgg-gap", 48));
        assert_eq!(embedded.synth.synth_prob, 0.5);
        let photographs =
            resolve(|s| (s.source.data_root, s.source.metadata) = (Some("a".into()), Some("b".into())));
        let photographs = photographs.unwrap();
        assert_eq!((photographs.network.model.as_str(), photographs.image_size), ("vgg16-gap", 224));
        assert_eq!(photographs.synth.synth_prob, 1.0);
        assert_eq!(
            photographs.source().unwrap(),
            Source::Metadata { data_root: "a".into(), metadata: "b".into() }
        );
    }

    #[test]
    fn a_config_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("args.toml");
        let config = resolve(|s| s.synth = Some(SynthName::Puzzlemix)).unwrap();
        std::fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(pg_cli::read_run::<Config>(&path).unwrap(), config);
        std::fs::write(&path, format!("{}\nsynht = 1\n", toml::to_string(&config).unwrap())).unwrap();
        let error = pg_cli::read_run::<Config>(&path).unwrap_err().to_string();
        assert!(error.ends_with("not the settings of a run (unknown field `synht`)"), "{error}");
    }

    #[test]
    fn senseless_settings_name_their_flag() {
        let error = |change: fn(&mut Settings)| resolve(change).unwrap_err();
        assert_eq!(error(|s| s.synth_prob = Some(1.5)), "--synth-prob must be between 0 and 1, got 1.5");
        assert_eq!(error(|s| s.cutmix_beta = Some(0.0)), "--cutmix-beta must be more than 0, got 0");
        assert_eq!(error(|s| s.area = Some(1.0)), "--area must be between 0 and 1, got 1");
        assert_eq!(error(|s| s.image_size = Some(2)), "--image-size must be between 4 and 4096, got 2");
        let metadata = error(|s| s.source.metadata = Some("x".into()));
        assert!(metadata.starts_with("--data-root is missing"), "{metadata}");
        let model = error(|s| s.network.model = Some("small-cnn".into()));
        assert!(model.starts_with("--model must be one that says where it sees an object"), "{model}");
        let idle = error(|s| s.guidance.alpha = Some(0.1));
        assert_eq!(
            idle,
            "--alpha does nothing with a --synth that leaves no provenance; leave it out, or choose --synth cutmix, \
             resizemix or puzzlemix"
        );
        for (flag, idle) in [
            ("synth-prob", error(|s| s.synth_prob = Some(0.7))),
            ("cutmix-beta", error(|s| s.cutmix_beta = Some(0.5))),
            ("mixup-alpha", error(|s| s.mixup_alpha = Some(0.5))),
            ("area", error(|s| s.area = Some(0.5))),
            ("patience", error(|s| s.optimisation.patience = Some(3))),
        ] {
            assert!(idle.starts_with(&format!("--{flag} does nothing ")), "{idle}");
        }
    }
}
