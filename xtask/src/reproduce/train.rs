//! One training run: its arguments, and what it answers.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
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

/// The arguments of a run. Equal runs are trained once, whichever experiments ask for them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) dataset: &'static str,
    pub(crate) edits: bool,
    /// Strength of the guidance; 0 trains without.
    pub(crate) alpha: f64,
    pub(crate) mask: Mask,
    /// Area of the target region, as a multiple of the extracted one's.
    pub(crate) mask_area: f64,
    pub(crate) lazy: Lazy,
    pub(crate) epochs: usize,
    pub(crate) seed: u64,
}

impl Run {
    /// Originals only.
    pub(crate) fn baseline(dataset: &'static str, epochs: usize, seed: u64) -> Self {
        let (mask, mask_area, lazy) = (Mask::True, 1.0, Lazy::Never);
        Self { dataset, edits: false, alpha: 0.0, mask, mask_area, lazy, epochs, seed }
    }

    /// Originals and edits, without guidance.
    pub(crate) fn edits(dataset: &'static str, epochs: usize, seed: u64) -> Self {
        Self { edits: true, ..Self::baseline(dataset, epochs, seed) }
    }

    /// Originals and edits, guided by the true masks.
    pub(crate) fn guided(dataset: &'static str, alpha: f64, epochs: usize, seed: u64) -> Self {
        Self { alpha, ..Self::edits(dataset, epochs, seed) }
    }

    /// A name that no other run has, fit for a folder.
    pub(crate) fn name(&self) -> String {
        let Self { dataset, edits, alpha, mask, mask_area, lazy, epochs, seed } = self;
        let edits = if *edits { "edits" } else { "originals" };
        let lazy = match lazy {
            Lazy::Never => String::new(),
            Lazy::EverySteps(steps) => format!("-every{steps}"),
            Lazy::Fraction(share) => format!("-fraction{share}"),
        };
        format!("{dataset}-{edits}-alpha{alpha}-{mask}-area{mask_area}{lazy}-epochs{epochs}-seed{seed}")
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
        (self.seed, self.dataset, self.edits, self.mask, self.epochs)
            .cmp(&(other.seed, other.dataset, other.edits, other.mask, other.epochs))
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
    pub(crate) run_dir: PathBuf,
}

/// Starts runs of one binary.
pub(crate) struct Trainer {
    pub(crate) binary: PathBuf,
    /// Where the files of each set lie.
    pub(crate) files: BTreeMap<&'static str, Files>,
    /// Further arguments of every run.
    pub(crate) extra: Vec<String>,
    /// The report's folder; runs go to `runs/` in it.
    pub(crate) out: PathBuf,
}

impl Trainer {
    /// The command of `run`, on one thread.
    pub(crate) fn command(&self, run: &Run) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["train", "--dataset", run.dataset]);
        let files = self.files.get(run.dataset);
        if let Some(root) = files.and_then(|files| files.root.as_ref()) {
            command.arg("--data-root").arg(root);
        }
        if !run.edits {
            command.arg("--no-edits");
        } else if let Some(manifest) = files.and_then(|files| files.edits.as_ref()) {
            command.arg("--edits").arg(manifest);
        }
        command.args(["--alpha", &run.alpha.to_string(), "--mask", &run.mask.to_string()]);
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
        command.args(&self.extra);
        command.arg("--out").arg(self.out.join("runs").join(run.name())).arg("--json");
        command
    }

    /// The command that repeats `run` in the workspace's root, wherever the report went.
    pub(crate) fn command_to_repeat(&self, run: &Run) -> String {
        let portable = Self {
            binary: "target/release/pg-classify".into(),
            files: self.files.clone(),
            extra: self.extra.clone(),
            out: "reproduce".into(),
        };
        process::shell_line(&portable.command(run))
    }

    /// Trains to the end.
    pub(crate) fn train(&self, run: &Run) -> Result<Outcome> {
        let stdout = process::stdout_of(&mut self.command(run))?;
        let line = process::last_line(&stdout);
        serde_json::from_str(line).with_context(|| {
            format!("`{}` ended with no result but with: {line}", process::shell_line(&self.command(run)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trainer(binary: &str) -> Trainer {
        Trainer {
            binary: binary.into(),
            files: BTreeMap::from([
                ("decoy-mnist", Files { root: Some("my data".into()), edits: None }),
                (
                    "waterbirds-alia",
                    Files { root: Some("birds".into()), edits: Some("birds/edits.csv".into()) },
                ),
            ]),
            extra: vec!["--batch".into(), "32".into()],
            out: "out".into(),
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
            let line = process::shell_line(&trainer("x").command(&Run { lazy, ..run.clone() }));
            assert!(line.contains(flag), "{line}");
        }
        let baseline = process::shell_line(&trainer("x").command(&Run::baseline("cub", 1, 0)));
        assert!(
            baseline.contains("--no-edits --alpha 0 ")
                && !baseline.contains("--mask-area")
                && !baseline.contains("--data-root"),
            "{baseline}"
        );
    }

    #[test]
    fn a_manifest_goes_to_the_runs_with_edits_alone() {
        let line = |run: &Run| process::shell_line(&trainer("x").command(run));
        let edits = line(&Run::edits("waterbirds-alia", 1, 0));
        assert!(edits.contains("--data-root birds --edits birds/edits.csv --alpha 0 "), "{edits}");
        let originals = line(&Run::baseline("waterbirds-alia", 1, 0));
        assert!(originals.contains("--data-root birds --no-edits --alpha 0 "), "{originals}");
    }

    #[test]
    fn a_process_that_answers_something_else_is_an_error() {
        let error = trainer("echo").train(&Run::baseline("cub", 1, 0)).unwrap_err();
        assert!(format!("{error:#}").contains("echo train --dataset cub"), "{error:#}");
    }

    #[test]
    fn names_tell_runs_apart() {
        let run = Run::guided("embedded", 0.05, 12, 3);
        let others = [
            Run { seed: 4, ..run.clone() },
            Run { alpha: 0.5, ..run.clone() },
            Run { mask: Mask::Full, ..run.clone() },
            Run { mask_area: 0.9, ..run.clone() },
            Run { lazy: Lazy::EverySteps(2), ..run.clone() },
            Run { lazy: Lazy::Fraction(0.5), ..run.clone() },
            Run { epochs: 13, ..run.clone() },
            Run { edits: false, ..run.clone() },
        ];
        for other in others {
            assert_ne!(run.name(), other.name());
            assert_ne!(run.cmp(&other), Ordering::Equal);
        }
    }
}
