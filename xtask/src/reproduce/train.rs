//! One training run: its arguments, and what it answers.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::plan::Files;
use crate::process;

/// Where the guidance takes its masks from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mask {
    /// The region that the edit left alone.
    True,
    /// A random region of the same area.
    Random,
    /// Nothing is target: the plain input-gradient penalty.
    Full,
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mask::True => "true",
            Mask::Random => "random",
            Mask::Full => "full",
        })
    }
}

/// What guidance makes small of the gradient outside the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Norm {
    /// Its sum of squares: the paper's.
    SquaredL2,
    /// That as a share of the sum over all of the input.
    Relative,
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Norm::SquaredL2 => "squared-l2",
            Norm::Relative => "relative",
        })
    }
}

/// Which steps or samples are guided; as strongly in all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lazy {
    /// All.
    Never,
    /// Every so many steps.
    EverySteps(u64),
    /// A share of each batch.
    Fraction(f64),
}

impl fmt::Display for Lazy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lazy::Never => f.write_str("every step"),
            Lazy::EverySteps(steps) => write!(f, "every {steps} steps"),
            Lazy::Fraction(share) => write!(f, "{share} of a batch"),
        }
    }
}

/// The program that trains, and what it is asked to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    Classification,
    Localization,
    Detection,
}

impl Task {
    pub(crate) const ALL: [Self; 3] = [Self::Classification, Self::Localization, Self::Detection];

    /// The package and its binary.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Classification => "pg-classify",
            Self::Localization => "pg-wsol",
            Self::Detection => "pg-stad",
        }
    }

    /// What is measured on the validation split after each epoch, in `results.csv`.
    pub(crate) fn validated(self) -> &'static str {
        match self {
            Self::Classification | Self::Detection => "val_top1",
            Self::Localization => "val_v2",
        }
    }
}

/// What a run is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Samples {
    Originals,
    /// Originals and their edits.
    Edits,
    Mixes(Synth),
}

/// How samples are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Synth {
    Cut,
    Resize,
    Puzzle,
    /// Of skeletons.
    Batch,
}

impl Synth {
    pub(crate) const OF_IMAGES: [Self; 3] = [Self::Cut, Self::Resize, Self::Puzzle];
}

impl fmt::Display for Synth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Synth::Cut => "cutmix",
            Synth::Resize => "resizemix",
            Synth::Puzzle => "puzzlemix",
            Synth::Batch => "batchmix",
        })
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Samples::Originals => f.write_str("originals"),
            Samples::Edits => f.write_str("edits"),
            Samples::Mixes(synth) => synth.fmt(f),
        }
    }
}

/// The arguments of a run. Equal runs are trained once, whichever experiments ask for them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) dataset: &'static str,
    pub(crate) task: Task,
    /// A file of settings, in the workspace; what the run itself says goes over it.
    pub(crate) recipe: Option<&'static str>,
    /// Epochs of the run whose convolutions this one begins with.
    pub(crate) pretraining: Option<usize>,
    pub(crate) samples: Samples,
    /// Strength of the guidance; 0 trains without.
    pub(crate) alpha: f64,
    pub(crate) norm: Norm,
    pub(crate) mask: Mask,
    /// Area of the target region, as a multiple of the extracted one's.
    pub(crate) mask_area: f64,
    pub(crate) lazy: Lazy,
    pub(crate) epochs: usize,
    pub(crate) seed: u64,
}

impl Run {
    /// A classifier trained on originals only.
    pub(crate) fn baseline(dataset: &'static str, epochs: usize, seed: u64) -> Self {
        Self {
            dataset,
            task: Task::Classification,
            recipe: None,
            pretraining: None,
            samples: Samples::Originals,
            alpha: 0.0,
            norm: Norm::SquaredL2,
            mask: Mask::True,
            mask_area: 1.0,
            lazy: Lazy::Never,
            epochs,
            seed,
        }
    }

    /// On originals and edits, without guidance.
    pub(crate) fn edits(dataset: &'static str, epochs: usize, seed: u64) -> Self {
        Self { samples: Samples::Edits, ..Self::baseline(dataset, epochs, seed) }
    }

    /// On originals and edits, guided by the true masks.
    pub(crate) fn guided(dataset: &'static str, alpha: f64, epochs: usize, seed: u64) -> Self {
        Self { alpha, ..Self::edits(dataset, epochs, seed) }
    }

    /// A network that has to find objects, or who acts, trained on mixes, guided if `alpha` is above 0.
    pub(crate) fn mixes(dataset: &'static str, synth: Synth, alpha: f64, epochs: usize, seed: u64) -> Self {
        let task = if synth == Synth::Batch { Task::Detection } else { Task::Localization };
        let samples = Samples::Mixes(synth);
        Self { task, samples, alpha, ..Self::baseline(dataset, epochs, seed) }
    }

    /// The run that has to come first, since this one begins with its convolutions: a small VGG on the same images alone.
    pub(crate) fn first(&self) -> Option<Self> {
        let alone = Self::baseline("localization", self.pretraining?, self.seed);
        Some(Self { task: Task::Localization, ..alone })
    }

    /// The norm, if it is not the default.
    fn said_norm(&self) -> Option<Norm> {
        (self.norm != Norm::SquaredL2).then_some(self.norm)
    }

    /// A name that no other run has, fit for a folder.
    pub(crate) fn name(&self) -> String {
        let Self {
            dataset,
            task: _,
            recipe,
            pretraining,
            samples,
            alpha,
            norm: _,
            mask,
            mask_area,
            lazy,
            epochs,
            seed,
        } = self;
        let recipe = recipe.and_then(|path| Path::new(path).file_stem());
        let recipe = recipe.map(|stem| format!("-{}", stem.display())).unwrap_or_default();
        let pretraining = pretraining.map(|epochs| format!("-pretrained{epochs}")).unwrap_or_default();
        let norm = self.said_norm().map(|norm| format!("-{norm}")).unwrap_or_default();
        let lazy = match lazy {
            Lazy::Never => String::new(),
            Lazy::EverySteps(steps) => format!("-every{steps}"),
            Lazy::Fraction(share) => format!("-fraction{share}"),
        };
        format!(
            "{dataset}{recipe}{pretraining}-{samples}-alpha{alpha}{norm}-{mask}-area{mask_area}{lazy}-epochs{epochs}-seed{seed}"
        )
    }
}

impl Eq for Run {}

impl PartialOrd for Run {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Seed by seed, so that an early look at the runs finds every experiment begun.
impl Ord for Run {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = |run: &Self| {
            let Self { dataset, recipe, pretraining, samples, mask, epochs, norm, seed, .. } = *run;
            (seed, dataset, recipe, pretraining, samples, mask, epochs, norm)
        };
        order(self)
            .cmp(&order(other))
            .then(self.alpha.total_cmp(&other.alpha))
            .then(self.mask_area.total_cmp(&other.mask_area))
            .then_with(|| self.lazy.to_string().cmp(&other.lazy.to_string()))
    }
}

/// What a run answers: the last line of its standard output. Accuracies are shares of 1; those that do not exist, such
/// as a validation accuracy without a validation split, are null.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) test_top1: Option<f64>,
    pub(crate) test_balanced: Option<f64>,
    pub(crate) test_worst_group: Option<f64>,
    pub(crate) test_adjusted: Option<f64>,
    pub(crate) val_top1: Option<f64>,
    pub(crate) loss_cls: Option<f64>,
    pub(crate) loss_pg: Option<f64>,
    pub(crate) epochs: usize,
    pub(crate) seconds: f64,
    pub(crate) constant_top1: Option<f64>,
    pub(crate) target_gradient_share: Option<f64>,
    pub(crate) test_v2: Option<f64>,
    pub(crate) test_box_acc_30: Option<f64>,
    pub(crate) test_box_acc_50: Option<f64>,
    pub(crate) test_box_acc_70: Option<f64>,
    pub(crate) test_video_map_20: Option<f64>,
    pub(crate) test_video_map_50: Option<f64>,
    pub(crate) alike_video_map_50: Option<f64>,
    pub(crate) test_instance_ap: Option<f64>,
    pub(crate) alike_instance_ap: Option<f64>,
    pub(crate) leak_ratio: Option<f64>,
    pub(crate) run_dir: PathBuf,
}

/// What a run that was trained to its end leaves in its folder.
#[derive(Deserialize, Serialize)]
pub(crate) struct Finished {
    /// As [`Trainer::command_to_repeat`] has it.
    command: String,
    /// Name of the directory of the run that it began with.
    first: Option<String>,
    /// Of the program.
    pub(crate) commit: Option<String>,
    pub(crate) outcome: Outcome,
}

/// The files of a set of clips.
pub(crate) const CLIPS: [(&str, &str); 4] = [
    ("--data", "train.jsonl"),
    ("--label-map", "labels.txt"),
    ("--test", "test.jsonl"),
    ("--ground-truth", "truth-test.jsonl"),
];

/// Starts runs.
pub(crate) struct Trainer {
    /// The folder of the binaries.
    pub(crate) binaries: PathBuf,
    /// The folder that the paths of recipes start from.
    pub(crate) workspace: PathBuf,
    /// Where the files of each set lie.
    pub(crate) files: BTreeMap<&'static str, Files>,
    /// Further arguments of every run.
    pub(crate) extra: Vec<String>,
    /// The runs that others begin with.
    pub(crate) first: BTreeSet<Run>,
    /// The report's folder; runs go to `runs/` in it.
    pub(crate) out: PathBuf,
    /// The commit that the binaries were built from.
    pub(crate) commit: Option<String>,
}

impl Trainer {
    /// The command of `run`, on one thread; `first` is the directory of the run that it begins with.
    fn command(&self, run: &Run, first: Option<&Path>) -> Command {
        let mut command = Command::new(self.binaries.join(run.task.program()));
        command.arg("train");
        let files = self.files.get(run.dataset);
        if run.task == Task::Classification {
            command.args(["--dataset", run.dataset]);
        }
        match files.and_then(|files| files.root.as_ref()) {
            Some(root) if run.task == Task::Detection => {
                for (flag, file) in CLIPS {
                    command.arg(flag).arg(root.join(file));
                }
            }
            Some(root) => {
                command.arg("--data-root").arg(root);
            }
            None => {}
        }
        if let Some(metadata) = files.and_then(|files| files.metadata.as_ref()) {
            command.arg("--metadata").arg(metadata);
        }
        if let Some(recipe) = run.recipe {
            command.arg("--config").arg(self.workspace.join(recipe));
        }
        if let Some(first) = first {
            command.arg("--weights").arg(first.join("best.safetensors"));
        }
        match run.samples {
            Samples::Originals => {
                command.args((run.task == Task::Classification).then_some("--no-edits"));
            }
            Samples::Edits => {
                if let Some(manifest) = files.and_then(|files| files.edits.as_ref()) {
                    command.arg("--edits").arg(manifest);
                }
            }
            Samples::Mixes(synth) => {
                command.args(["--synth", &synth.to_string()]);
            }
        }
        command.args(["--alpha", &run.alpha.to_string(), "--mask", &run.mask.to_string()]);
        if let Some(norm) = run.said_norm() {
            command.args(["--norm", &norm.to_string()]);
        }
        if run.mask_area != 1.0 {
            command.args(["--mask-area", &run.mask_area.to_string()]);
        }
        match run.lazy {
            Lazy::Never => {}
            Lazy::EverySteps(steps) => {
                command.args(["--every", &steps.to_string()]);
            }
            Lazy::Fraction(share) => {
                command.args(["--fraction", &share.to_string()]);
            }
        }
        command.args([
            "--epochs",
            &run.epochs.to_string(),
            "--seed",
            &run.seed.to_string(),
            "--threads",
            "1",
        ]);
        command.args(self.extra_of(run));
        command.arg("--out").arg(self.folder_of(run)).arg("--json");
        command
    }

    /// The further arguments, without those that the run would refuse.
    fn extra_of(&self, run: &Run) -> Vec<&String> {
        let mut fits_flag = true;
        let mut fits = |word: &str| {
            // What follows a flag is its value.
            if word.starts_with("--") {
                fits_flag = self.fits(run, word.split('=').next().unwrap_or_default());
            }
            fits_flag
        };
        self.extra.iter().filter(|word| fits(word)).collect()
    }

    /// Whether a flag means something to a run. There are no edits among originals alone and mixes, and those of Decoy-MNIST are
    /// drawn; nothing is mixed of originals alone; and the run that a SAT begins with is none.
    fn fits(&self, run: &Run, flag: &str) -> bool {
        match flag {
            "--difference" | "--otsu" | "--min-separability" | "--guide-originals" => {
                run.samples == Samples::Edits && run.dataset != "decoy-mnist"
            }
            "--synth-prob" | "--monitor" if run.task == Task::Localization => {
                run.samples != Samples::Originals
            }
            "--cutmix-beta" if run.task == Task::Localization => run.samples == Samples::Mixes(Synth::Cut),
            "--area" | "--freeze" => !self.first.contains(run),
            _ => true,
        }
    }

    /// The command that repeats `run` in the workspace's root, wherever the report went.
    pub(crate) fn command_to_repeat(&self, run: &Run) -> String {
        let portable = Self {
            binaries: "target/release".into(),
            workspace: PathBuf::new(),
            files: self.files.clone(),
            extra: self.extra.clone(),
            first: self.first.clone(),
            out: "reproduce".into(),
            commit: None,
        };
        // Where it is trained for the first time.
        let first = run.first().map(|first| portable.folder_of(&first).join("embedded-1"));
        process::shell_line(&portable.command(run, first.as_deref()))
    }

    /// Trains to the end, and leaves the answer in the run's folder.
    pub(crate) fn train(&self, run: &Run) -> Result<Outcome> {
        let first = self.dir_of_first(run)?;
        let mut command = self.command(run, first.as_deref());
        let stdout = process::stdout_of(&mut command)?;
        let line = process::last_line(&stdout);
        let outcome: Outcome = serde_json::from_str(line).with_context(|| {
            format!("`{}` ended with no result but with: {line}", process::shell_line(&command))
        })?;
        let finished = Finished {
            command: self.command_to_repeat(run),
            first: first.as_deref().and_then(last_name),
            commit: self.commit.clone(),
            outcome,
        };
        let path = self.finished_path(run);
        std::fs::create_dir_all(path.parent().unwrap_or(&self.out))
            .with_context(|| format!("cannot create the folder of {}", path.display()))?;
        super::write_whole(&path, &serde_json::to_string(&finished)?)?;
        Ok(finished.outcome)
    }

    /// The directory of the run that `run` begins with.
    fn dir_of_first(&self, run: &Run) -> Result<Option<PathBuf>> {
        let Some(first) = run.first() else { return Ok(None) };
        let missing = || {
            format!("{} begins with the weights of {}, which has not ended well", run.name(), first.name())
        };
        Ok(Some(self.finished(&first).with_context(missing)?.outcome.run_dir))
    }

    /// What an earlier call left of the run, if it had the same arguments and began with the same weights.
    pub(crate) fn finished(&self, run: &Run) -> Option<Finished> {
        let text = std::fs::read_to_string(self.finished_path(run)).ok()?;
        let mut finished: Finished = serde_json::from_str(&text).ok()?;
        let first = self.dir_of_first(run).ok()?;
        if finished.command != self.command_to_repeat(run)
            || finished.first != first.as_deref().and_then(last_name)
        {
            return None;
        }
        // The folder may have been moved since.
        if let Some(name) = last_name(&finished.outcome.run_dir) {
            finished.outcome.run_dir = self.folder_of(run).join(name);
        }
        Some(finished)
    }

    /// Removes what [`Self::finished`] would find.
    pub(crate) fn forget(&self, run: &Run) {
        // What is not there need not be removed.
        let _ = std::fs::remove_file(self.finished_path(run));
    }

    fn finished_path(&self, run: &Run) -> PathBuf {
        self.folder_of(run).join("outcome.json")
    }

    fn folder_of(&self, run: &Run) -> PathBuf {
        self.out.join("runs").join(run.name())
    }
}

fn last_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trainer(binaries: &str) -> Trainer {
        let files = |root: &str| Files { root: Some(root.into()), ..Files::default() };
        Trainer {
            binaries: binaries.into(),
            workspace: "checkout".into(),
            files: BTreeMap::from([
                ("decoy-mnist", files("my data")),
                ("waterbirds-alia", Files { edits: Some("birds/edits.csv".into()), ..files("birds") }),
                ("cub-localization", Files { metadata: Some("cub/metadata".into()), ..files("cub/images") }),
            ]),
            extra: vec!["--batch".into(), "32".into()],
            first: BTreeSet::new(),
            out: "out".into(),
            commit: None,
        }
    }

    #[test]
    fn arguments_follow_the_run() {
        let run = Run { mask: Mask::Random, mask_area: 0.7, ..Run::guided("decoy-mnist", 0.05, 12, 3) };
        assert_eq!(
            trainer("x").command_to_repeat(&run),
            "target/release/pg-classify train --dataset decoy-mnist --data-root 'my data' --alpha 0.05 --mask random \
             --mask-area 0.7 --epochs 12 --seed 3 --threads 1 --batch 32 \
             --out reproduce/runs/decoy-mnist-edits-alpha0.05-random-area0.7-epochs12-seed3 --json"
        );
        for (lazy, flag) in [(Lazy::EverySteps(2), "--every 2 "), (Lazy::Fraction(0.5), "--fraction 0.5 ")] {
            let line = process::shell_line(&trainer("x").command(&Run { lazy, ..run.clone() }, None));
            assert!(line.contains(flag), "{line}");
        }
        let baseline = process::shell_line(&trainer("x").command(&Run::baseline("cub", 1, 0), None));
        assert!(
            baseline.contains("--no-edits --alpha 0 ")
                && !baseline.contains("--mask-area")
                && !baseline.contains("--data-root"),
            "{baseline}"
        );
    }

    #[test]
    fn mixes_are_made_by_the_other_program() {
        let run = Run::mixes("cub-localization", Synth::Cut, 0.05, 15, 1);
        assert_eq!(
            trainer("x").command_to_repeat(&run),
            "target/release/pg-wsol train --data-root cub/images --metadata cub/metadata \
             --synth cutmix --alpha 0.05 --mask true --epochs 15 --seed 1 --threads 1 --batch 32 \
             --out reproduce/runs/cub-localization-cutmix-alpha0.05-true-area1-epochs15-seed1 --json"
        );
        let relative = Run { norm: Norm::Relative, ..run.clone() };
        let line = trainer("x").command_to_repeat(&relative);
        assert!(
            line.contains("--mask true --norm relative --epochs") && line.contains("alpha0.05-relative-true")
        );
        let alone = Run { samples: Samples::Originals, recipe: Some("recipes/wsol/cub.toml"), ..run };
        let line = process::shell_line(&trainer("x").command(&alone, None));
        assert!(line.contains("--config checkout/recipes/wsol/cub.toml"), "{line}");
        assert!(!line.contains("--synth") && !line.contains("--no-edits"), "{line}");
    }

    #[test]
    fn a_manifest_goes_to_the_runs_with_edits_alone() {
        let line = |run: &Run| process::shell_line(&trainer("x").command(run, None));
        let edits = line(&Run::edits("waterbirds-alia", 1, 0));
        assert!(edits.contains("--data-root birds --edits birds/edits.csv --alpha 0 "), "{edits}");
        let originals = line(&Run::baseline("waterbirds-alia", 1, 0));
        assert!(originals.contains("--data-root birds --no-edits --alpha 0 "), "{originals}");
    }

    #[test]
    fn settings_of_edits_go_to_the_runs_with_edits_alone() {
        let words =
            ["--difference", "luma", "--batch", "8", "--otsu=float", "--guide-originals", "--lr", "1"];
        let extra = words.map(str::to_owned).to_vec();
        let trainer = Trainer { extra, ..trainer("x") };
        let line = |run: &Run| process::shell_line(&trainer.command(run, None));
        let edits = line(&Run::edits("cub", 1, 0));
        assert!(edits.contains(&format!("--threads 1 {} --out", words.join(" "))), "{edits}");
        let originals = line(&Run::baseline("cub", 1, 0));
        assert!(originals.contains("--threads 1 --batch 8 --lr 1 --out"), "{originals}");
    }

    #[test]
    fn a_run_gets_what_means_something_to_it() {
        let extra =
            ["--area", "0.2", "--batch", "8", "--freeze=a,b", "--synth-prob", "1", "--cutmix-beta", "2"];
        let extra = extra.map(str::to_owned).to_vec();
        let sat = Run { pretraining: Some(3), ..Run::mixes("localization-sat", Synth::Cut, 0.0, 1, 2) };
        let first = sat.first().unwrap();
        let trainer = Trainer { extra, first: BTreeSet::from([first.clone()]), ..trainer("x") };
        let line = |run: &Run| trainer.command_to_repeat(run);
        assert!(line(&first).contains("--threads 1 --batch 8 --out"), "{}", line(&first));
        let all = "--area 0.2 --batch 8 --freeze=a,b --synth-prob 1 --cutmix-beta 2 --out";
        assert!(line(&sat).contains(all), "{}", line(&sat));
        let resized = line(&Run { samples: Samples::Mixes(Synth::Resize), ..sat.clone() });
        assert!(resized.contains("--freeze=a,b --synth-prob 1 --out"), "{resized}");
        let alone = line(&Run { samples: Samples::Originals, ..sat.clone() });
        assert!(alone.contains("--area 0.2 --batch 8 --freeze=a,b --out"), "{alone}");
        let weights =
            "--weights reproduce/runs/localization-originals-alpha0-true-area1-epochs3-seed2/embedded-1/best";
        assert!(line(&sat).contains(weights), "{}", line(&sat));
    }

    #[test]
    fn a_process_that_answers_something_else_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/bin/echo", folder.path().join("pg-classify")).unwrap();
        let error = trainer(&folder.path().to_string_lossy()).train(&Run::baseline("cub", 1, 0)).unwrap_err();
        assert!(format!("{error:#}").contains("pg-classify train --dataset cub"), "{error:#}");
    }

    #[test]
    fn names_tell_runs_apart() {
        let run = Run::guided("embedded", 0.05, 12, 3);
        let others = [
            Run { seed: 4, ..run.clone() },
            Run { alpha: 0.5, ..run.clone() },
            Run { norm: Norm::Relative, ..run.clone() },
            Run { recipe: Some("recipes/stad/a.toml"), ..run.clone() },
            Run { pretraining: Some(30), ..run.clone() },
            Run { mask: Mask::Full, ..run.clone() },
            Run { mask_area: 0.9, ..run.clone() },
            Run { lazy: Lazy::EverySteps(2), ..run.clone() },
            Run { lazy: Lazy::Fraction(0.5), ..run.clone() },
            Run { epochs: 13, ..run.clone() },
            Run { samples: Samples::Originals, ..run.clone() },
            Run { samples: Samples::Mixes(Synth::Cut), ..run.clone() },
            Run { samples: Samples::Mixes(Synth::Puzzle), ..run.clone() },
        ];
        for other in others {
            assert_ne!(run.name(), other.name());
            assert_ne!(run.cmp(&other), Ordering::Equal);
        }
    }
}
