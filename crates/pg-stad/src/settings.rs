//! Settings of a training run: what the user said, on the command line or in a file, and what it comes to.

use std::path::PathBuf;

use clap::Args;
use pg_cli::choices::{NormName, OptimizerName, ScoreName};
use pg_cli::{
    GuidanceConfig, GuidanceSettings, OptimisationConfig, OptimisationDefaults, OptimisationSettings,
    SettingsError, choices, ensure, idle,
};
use pg_models::{Pooling, SkpSpec};
use pg_random::Seed;
use pg_synth::SkeletonAugment;
use serde::{Deserialize, Serialize};

use crate::dataset::{Files, Source};
use crate::linking::{LinkConfig, LinkSettings};
use crate::loss::Loss;
use crate::mixing::Mixer;
use crate::sampling::Sampling;

choices!(
    /// How training scenes are made.
    SynthName {
        /// The clips as they are.
        None,
        /// The people of several clips in one scene.
        Batchmix,
    }
);
choices!(
    /// What a mix is trained to say.
    TargetName {
        /// All its classes: by their shares, or with --loss bce each altogether.
        Soft,
        /// Of each clip's own people its class: pooled by clip, they meet in the global maxima alone.
        Unmix,
    }
);
choices!(
    /// Which numbers of a keypoint guidance looks at.
    GradFeatures {
        /// All five.
        All,
        /// Its place in the image.
        Xy,
    }
);
choices!(
    /// What the maximum over people is taken of.
    PoolingName {
        /// Features, as published: people can have scores that the clip has not.
        Embedding,
        /// Logits, class by class: a clip has the greatest scores of its people.
        Instance,
    }
);
choices!(
    /// What selects the best epoch.
    Select {
        /// Accuracy on the validation clips.
        ValTop1,
        /// The last epoch counts.
        Last,
    }
);

/// Where the clips come from.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SourceSettings {
    /// Clips to train with (JSON lines; `pg-stad convert` makes them), each with a label; without any, the embedded set.
    #[arg(long, num_args = 1.., value_name = "FILE", help_heading = "Data")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<PathBuf>,
    /// Names of the classes, one a line.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub label_map: Option<PathBuf>,
    /// Clips to select the best epoch with.
    #[arg(long, num_args = 1.., value_name = "FILE", help_heading = "Data")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub val: Vec<PathBuf>,
    /// Clips to report on.
    #[arg(long, num_args = 1.., value_name = "FILE", help_heading = "Data")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<PathBuf>,
    /// Tubes of the test clips (JSON lines, or UCF101-24's pickles): the report then has video-mAP.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub ground_truth: Option<PathBuf>,
    /// Name clips that cannot be used, and go on without them.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Data")]
    pub keep_going: Option<bool>,
}

/// What the user may say of a training run. A flag overrides the file given with --config.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The clips.
    #[command(flatten)]
    #[serde(flatten)]
    pub source: SourceSettings,
    /// Frames of a training scene, spread over the clip.
    #[arg(long, value_name = "F", help_heading = "Data")]
    pub frames: Option<usize>,
    /// People of a frame in training; of more, those whose joints are surest.
    #[arg(long, value_name = "P", help_heading = "Data")]
    pub people: Option<usize>,
    /// Scale, shift, turn and flip training scenes at random.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Data")]
    pub augment: Option<bool>,
    /// Probability that a joint goes missing in training, if scenes are augmented.
    #[arg(long, value_name = "P", allow_negative_numbers = true, help_heading = "Data")]
    pub joint_drop: Option<f64>,
    /// Greatest probability that a person in a frame goes missing in training, if scenes are augmented: each scene draws its
    /// own below it.
    #[arg(long, value_name = "P", allow_negative_numbers = true, help_heading = "Data")]
    pub person_drop: Option<f64>,

    /// How training scenes are made.
    #[arg(long, value_enum, help_heading = "Synthesis")]
    pub synth: Option<SynthName>,
    /// Clips in a mix.
    #[arg(long, value_name = "M", help_heading = "Synthesis")]
    pub sources: Option<usize>,
    /// What a mix is trained to say.
    #[arg(long, value_enum, help_heading = "Synthesis")]
    pub target: Option<TargetName>,
    /// The first epoch that mixes, from 0; by default after half of the epochs, on the embedded set after a twelfth.
    #[arg(long, value_name = "E", help_heading = "Synthesis")]
    pub mix_start: Option<usize>,

    /// How classes compete.
    #[arg(long, value_enum, help_heading = "Optimisation")]
    pub loss: Option<Loss>,
    /// Width of a point's embedding.
    #[arg(long, value_name = "D", help_heading = "Model")]
    pub dim: Option<usize>,
    /// What the maximum over people is taken of.
    #[arg(long, value_enum, help_heading = "Model")]
    pub pooling: Option<PoolingName>,
    /// Blocks in each of the three stages.
    #[arg(long, num_args = 3, value_name = "R", help_heading = "Model")]
    pub repeats: Option<Vec<usize>>,
    /// Guidance.
    #[command(flatten)]
    #[serde(flatten)]
    pub guidance: GuidanceSettings,
    /// Which numbers of a keypoint guidance looks at.
    #[arg(long, value_enum, help_heading = "Guidance")]
    pub grad_features: Option<GradFeatures>,
    /// Optimisation.
    #[command(flatten)]
    #[serde(flatten)]
    pub optimisation: OptimisationSettings,
    /// How tubes are made of the test clips' people.
    #[command(flatten)]
    #[serde(flatten)]
    pub link: LinkSettings,
    /// What selects the best epoch. The test clips never do.
    #[arg(long, value_enum, help_heading = "Optimisation")]
    pub select: Option<Select>,
}

/// How training scenes are made, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the setting of the same name")]
pub struct MixConfig {
    pub synth: SynthName,
    pub sources: usize,
    pub target: TargetName,
    pub mix_start: usize,
    pub grad_features: GradFeatures,
}

impl MixConfig {
    /// Whether clips are mixed at all.
    pub fn mixes(&self) -> bool {
        self.synth == SynthName::Batchmix
    }
}

/// A complete description of a run: what `args.toml` holds, and all that a resumed run needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the setting of the same name")]
pub struct Config {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<PathBuf>,
    pub label_map: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub val: Vec<PathBuf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<PathBuf>,
    pub ground_truth: Option<PathBuf>,
    pub keep_going: bool,
    pub frames: usize,
    pub people: usize,
    pub augment: bool,
    pub joint_drop: f64,
    pub person_drop: f64,
    #[serde(flatten)]
    pub mix: MixConfig,
    pub loss: Loss,
    pub dim: usize,
    pub repeats: [usize; 3],
    pub pooling: PoolingName,
    #[serde(flatten)]
    pub guidance: GuidanceConfig,
    #[serde(flatten)]
    pub optimisation: OptimisationConfig,
    #[serde(flatten)]
    pub link: LinkConfig,
    pub select: Select,
}

impl Settings {
    /// The complete description.
    ///
    /// # Errors
    /// [`SettingsError`] naming the flag.
    pub fn resolve(self) -> Result<Config, SettingsError> {
        let is_embedded = self.source.data.is_empty();
        let defaults = OptimisationDefaults {
            epochs: if is_embedded { 60 } else { 40 },
            batch: 32,
            optimizer: OptimizerName::Adamw,
            lr: if is_embedded { 3e-3 } else { 1e-3 },
            weight_decay: 1e-4,
        };
        let optimisation = self.optimisation.resolve(defaults);
        let named = SkpSpec::new(2);
        let synth = self.synth.unwrap_or(SynthName::None);
        let said = (self.sources.is_some(), self.target.is_some(), self.mix_start.is_some());
        for (is_said, flag) in [(said.0, "sources"), (said.1, "target"), (said.2, "mix-start")] {
            idle(is_said && synth == SynthName::None, flag, "without --synth batchmix", "add it")?;
        }
        let joint_drop = self.joint_drop.unwrap_or(0.0);
        let repeats = match self.repeats.as_deref() {
            None => named.repeats,
            Some([a, b, c]) => [*a, *b, *c],
            Some(other) => {
                return Err(SettingsError::Range {
                    flag: "repeats",
                    expected: "three numbers",
                    value: format!("{}", other.len()),
                });
            }
        };
        let config = Config {
            select: self.select.unwrap_or(if is_embedded || !self.source.val.is_empty() {
                Select::ValTop1
            } else {
                Select::Last
            }),
            data: self.source.data,
            label_map: self.source.label_map,
            val: self.source.val,
            test: self.source.test,
            ground_truth: self.source.ground_truth,
            keep_going: self.source.keep_going.unwrap_or(false),
            frames: self.frames.unwrap_or(16),
            people: self.people.unwrap_or(if is_embedded { 4 } else { 8 }),
            augment: self.augment.unwrap_or(true),
            joint_drop,
            person_drop: self.person_drop.unwrap_or(0.0),
            mix: MixConfig {
                synth,
                sources: self.sources.unwrap_or(2),
                target: self.target.unwrap_or(TargetName::Unmix),
                mix_start: self.mix_start.unwrap_or(optimisation.epochs / if is_embedded { 12 } else { 2 }),
                grad_features: self.grad_features.unwrap_or(GradFeatures::All),
            },
            loss: self.loss.unwrap_or(Loss::Bce),
            dim: self.dim.unwrap_or(if is_embedded { 48 } else { named.dim }),
            repeats,
            pooling: self.pooling.unwrap_or(PoolingName::Instance),
            guidance: self.guidance.resolve(),
            optimisation,
            link: self.link.resolve(),
        };
        config.check()?;
        let batch = config.optimisation.batch;
        let enough = !config.mix.mixes() || batch >= config.mix.sources;
        ensure(enough, "batch", "at least the --sources", batch)?;
        Ok(config)
    }
}

impl Config {
    /// Whether the values make sense together.
    ///
    /// # Errors
    /// [`SettingsError`] naming the flag.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.guidance.check()?;
        self.optimisation.check()?;
        self.link.check()?;
        ensure((1..=4096).contains(&self.frames), "frames", "from 1 to 4096", self.frames)?;
        ensure((1..=256).contains(&self.people), "people", "from 1 to 256", self.people)?;
        ensure((0.0..1.0).contains(&self.joint_drop), "joint-drop", "in [0, 1)", self.joint_drop)?;
        ensure((1..=4096).contains(&self.dim), "dim", "from 1 to 4096", self.dim)?;
        ensure((2..=16).contains(&self.mix.sources), "sources", "from 2 to 16", self.mix.sources)?;
        let starts = !self.mix.mixes() || self.mix.mix_start < self.optimisation.epochs;
        ensure(starts, "mix-start", "less than the epochs", self.mix.mix_start)?;
        ensure(
            self.repeats.iter().all(|repeats| *repeats <= 64),
            "repeats",
            "at most 64 each",
            self.repeats.iter().max().unwrap_or(&0),
        )?;
        ensure((0.0..1.0).contains(&self.person_drop), "person-drop", "in [0, 1)", self.person_drop)?;
        idle(self.person_drop > 0.0 && !self.augment, "person-drop", "without --augment", "add it")?;
        idle(self.joint_drop > 0.0 && !self.augment, "joint-drop", "without --augment", "add it")?;
        let guides = self.guidance.is_on();
        if guides && self.guidance.score == ScoreName::LogProbability {
            // Logits of several sources are no distribution, and neither are those of classes that do not compete.
            for (is_said, other) in
                [(self.loss == Loss::Bce, "loss bce"), (self.mix.target == TargetName::Unmix, "target unmix")]
            {
                if is_said {
                    return Err(SettingsError::Exclusive { flag: "score log-probability", other });
                }
            }
        }
        if self.guidance.norm == NormName::Relative && self.mix.grad_features != GradFeatures::All {
            return Err(SettingsError::Exclusive { flag: "norm relative", other: "grad-features xy" });
        }
        let (when, advice) =
            ("without --synth batchmix: clips that are not mixed have no provenance", "add it");
        let flag = if self.guidance.alpha > 0.0 { "alpha" } else { "monitor" };
        idle(guides && !self.mix.mixes(), flag, when, advice)?;
        let asks = self.mix.grad_features != GradFeatures::All;
        idle(asks && !self.mix.mixes(), "grad-features", when, advice)?;
        if self.data.is_empty() {
            for (is_said, flag) in [
                (self.label_map.is_some(), "label-map"),
                (!self.val.is_empty(), "val"),
                (!self.test.is_empty(), "test"),
                (self.ground_truth.is_some(), "ground-truth"),
                (self.keep_going, "keep-going"),
            ] {
                idle(is_said, flag, "without --data", "add it")?;
            }
        } else if self.label_map.is_none() {
            return Err(SettingsError::Missing { flag: "label-map" });
        }
        if !self.data.is_empty() {
            let (when, advice) = ("without --test", "add it");
            idle(self.ground_truth.is_some() && self.test.is_empty(), "ground-truth", when, advice)?;
            let selects = self.select == Select::ValTop1 && self.val.is_empty();
            idle(selects, "select val-top1", "without --val", "add it")?;
        }
        let last = (self.select == Select::Last).then_some(("with --select last", "choose another --select"));
        self.optimisation.check_idle(last)
    }

    /// Where the clips come from.
    pub fn source(&self) -> Source {
        match &self.label_map {
            None => Source::Embedded,
            Some(label_map) => Source::Files(Files {
                label_map: label_map.clone(),
                train: self.data.clone(),
                val: self.val.clone(),
                test: self.test.clone(),
                ground_truth: self.ground_truth.clone(),
                keep_going: self.keep_going,
            }),
        }
    }

    /// Size of a scene.
    pub fn sampling(&self) -> Sampling {
        Sampling { frames: self.frames, people: self.people }
    }

    /// What is done to training scenes at random.
    pub fn augment(&self) -> Option<SkeletonAugment> {
        self.augment.then(|| SkeletonAugment {
            drop: self.joint_drop,
            drop_people: self.person_drop,
            ..SkeletonAugment::default()
        })
    }

    /// How batches are mixed.
    pub fn mixer(&self, classes: usize) -> Mixer {
        Mixer { config: self.mix, mask: self.guidance.mask, classes, seed: Seed(self.optimisation.seed) }
    }

    /// The network for a number of classes, and of joints.
    pub fn spec(&self, classes: usize, keypoints: usize) -> SkpSpec {
        let pooling = match self.pooling {
            PoolingName::Embedding => Pooling::Embedding,
            PoolingName::Instance => Pooling::Instance,
        };
        SkpSpec { classes, dim: self.dim, repeats: self.repeats, pooling, keypoints: Some(keypoints) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linking::{LinkingName, TrimSmoothing};
    use pg_cli::choices::MaskKind;

    fn resolve(change: impl Fn(&mut Settings)) -> Result<Config, String> {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.resolve().map_err(|error| error.to_string())
    }

    #[test]
    fn the_recipes_are_the_published_settings() {
        let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes/stad"));
        let config = |name: &str| {
            let source = SourceSettings {
                data: vec!["train.jsonl".into()],
                label_map: Some("labels.txt".into()),
                ..SourceSettings::default()
            };
            let said = Settings { source, ..Settings::default() };
            pg_cli::over_file(&said, &folder.join(name)).unwrap().resolve().unwrap()
        };
        let (alone, mixed) = (config("ucf101-24.toml"), config("ucf101-24-batchmix.toml"));
        let count = std::fs::read_dir(folder).unwrap().count();
        assert_eq!(count, 4, "three recipes and what is said of them");
        let features = folder.join("embedded-features.toml");
        let drawn = pg_cli::over_file(&Settings::default(), &features).unwrap().resolve().unwrap();
        let pooling = PoolingName::Embedding;
        assert_eq!(drawn, Config { pooling, ..Settings::default().resolve().unwrap() });

        let published = (Loss::CrossEntropy, PoolingName::Embedding, 40);
        assert_eq!((alone.loss, alone.pooling, alone.optimisation.epochs), published);
        let link = LinkConfig {
            linking: LinkingName::Act,
            trim: true,
            trim_threshold: 0.1,
            trim_smoothing: TrimSmoothing::Median,
            trim_window: 25,
            min_length: 22,
        };
        assert_eq!(alone.link, link);
        assert_eq!(alone.mix.synth, SynthName::None);
        let mix = MixConfig {
            synth: SynthName::Batchmix,
            sources: 2,
            target: TargetName::Soft,
            mix_start: 20,
            grad_features: GradFeatures::All,
        };
        assert_eq!(mixed, Config { mix, ..alone });
    }

    #[test]
    fn a_config_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("args.toml");
        let config = resolve(|s| {
            s.source.data = vec!["a.jsonl".into(), "b.jsonl".into()];
            s.source.label_map = Some("labels.txt".into());
            (s.synth, s.guidance.alpha) = (Some(SynthName::Batchmix), Some(0.1));
        })
        .unwrap();
        assert_eq!((config.select, config.mix.mix_start), (Select::Last, 20));
        std::fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(pg_cli::read_run::<Config>(&path).unwrap(), config);
    }

    #[test]
    fn senseless_settings_name_their_flag() {
        let error = |change: fn(&mut Settings)| resolve(change).unwrap_err();
        assert_eq!(error(|s| s.frames = Some(0)), "--frames must be from 1 to 4096, got 0");
        assert_eq!(error(|s| s.people = Some(0)), "--people must be from 1 to 256, got 0");
        assert_eq!(error(|s| s.dim = Some(0)), "--dim must be from 1 to 4096, got 0");
        assert_eq!(error(|s| s.joint_drop = Some(1.0)), "--joint-drop must be in [0, 1), got 1");
        let alone = error(|s| (s.synth, s.optimisation.batch) = (Some(SynthName::Batchmix), Some(1)));
        assert_eq!(alone, "--batch must be at least the --sources, got 1");
        for (flag, idle) in [
            ("sources", error(|s| s.sources = Some(3))),
            ("target", error(|s| s.target = Some(TargetName::Unmix))),
            ("mix-start", error(|s| s.mix_start = Some(3))),
            ("alpha", error(|s| s.guidance.alpha = Some(0.1))),
            ("monitor", error(|s| s.guidance.monitor = Some(true))),
            ("grad-features", error(|s| s.grad_features = Some(GradFeatures::Xy))),
            ("test", error(|s| s.source.test = vec!["a".into()])),
            ("ground-truth", error(|s| s.source.ground_truth = Some("a".into()))),
        ] {
            assert!(idle.starts_with(&format!("--{flag} does nothing ")), "{idle}");
        }
        let log_probability = |s: &mut Settings| {
            (s.synth, s.guidance.alpha) = (Some(SynthName::Batchmix), Some(0.1));
            s.guidance.score = Some(ScoreName::LogProbability);
        };
        let exclusive = resolve(log_probability).unwrap_err();
        assert!(
            exclusive.contains("--score log-probability") && exclusive.contains("--loss bce"),
            "{exclusive}"
        );
        let exclusive = resolve(|s| {
            log_probability(s);
            s.loss = Some(Loss::CrossEntropy);
        });
        assert!(exclusive.unwrap_err().contains("--target unmix"));
        let relative = |change: fn(&mut Settings)| {
            let settings = resolve(|s| {
                (s.synth, s.guidance.alpha) = (Some(SynthName::Batchmix), Some(0.1));
                s.guidance.norm = Some(NormName::Relative);
                change(s);
            });
            settings.unwrap_err()
        };
        let full = relative(|s| s.guidance.mask = Some(MaskKind::Full));
        assert!(full.starts_with("--mask full does nothing with --norm relative"), "{full}");
        let xy = relative(|s| s.grad_features = Some(GradFeatures::Xy));
        assert_eq!(xy, "--norm relative and --grad-features xy exclude each other");
        let missing = error(|s| s.source.data = vec!["a".into()]);
        assert!(missing.starts_with("--label-map is missing"), "{missing}");
    }
}
