//! The report as data: what `report.json` holds, and what the other two are written from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::convergence::Convergence;
use super::statistics::Estimate;
use super::train::Outcome;
use super::verdict::Verdict;

#[derive(Deserialize, Serialize)]
pub(crate) struct Report {
    /// The command that made the report.
    pub(crate) command: String,
    pub(crate) quick: bool,
    /// Runs at once.
    pub(crate) jobs: usize,
    pub(crate) taken_over: TakenOver,
    /// Wall time of everything.
    pub(crate) seconds: f64,
    pub(crate) versions: Vec<Version>,
    pub(crate) machine: Machine,
    pub(crate) sets: Vec<SetReport>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) failures: Vec<Failure>,
}

/// Runs that an earlier call finished.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct TakenOver {
    pub(crate) runs: usize,
    /// The commits of the programs that trained them.
    pub(crate) commits: BTreeSet<String>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) version: String,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) system: String,
}

/// A set that was not run, or part of one.
#[derive(Deserialize, Serialize)]
pub(crate) struct Skipped {
    pub(crate) set: String,
    pub(crate) reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.set, self.reason)
    }
}

/// A run that failed.
#[derive(Deserialize, Serialize)]
pub(crate) struct Failure {
    pub(crate) run: String,
    /// Its command, and the last lines of its standard error.
    pub(crate) error: String,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct SetReport {
    pub(crate) dataset: String,
    pub(crate) title: String,
    pub(crate) headline: Metric,
    pub(crate) alpha: f64,
    /// What guidance makes small: the flag's value.
    pub(crate) norm: String,
    pub(crate) epochs: usize,
    /// Epochs of the small VGG whose convolutions the networks begin with.
    pub(crate) pretraining: Option<usize>,
    pub(crate) experiments: Vec<ExperimentReport>,
    pub(crate) pictures: Vec<Picture>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct ExperimentReport {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) convergence: Option<Convergence>,
}

/// An example heat map.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Picture {
    pub(crate) caption: String,
    /// Relative to the report.
    pub(crate) path: PathBuf,
}

/// One row of a table: the same run over several seeds.
#[derive(Deserialize, Serialize)]
pub(crate) struct Row {
    pub(crate) label: String,
    /// What the experiment varies, where it is a number.
    pub(crate) x: Option<f64>,
    /// The paper's number, where the set is the paper's.
    pub(crate) paper: Option<f64>,
    pub(crate) alpha: f64,
    /// The command of the run that it begins with, at the first seed.
    pub(crate) first_command: Option<String>,
    /// The command that repeats the first seed.
    pub(crate) command: String,
    /// How many seeds were asked for.
    pub(crate) planned: usize,
    /// The seeds that answered, in order.
    pub(crate) seeds: Vec<u64>,
    /// What they answered.
    pub(crate) outcomes: Vec<Outcome>,
    /// Means and intervals of what all of them answered.
    pub(crate) estimates: BTreeMap<Metric, Estimate>,
}

impl Row {
    pub(crate) fn estimate(&self, metric: Metric) -> Option<&Estimate> {
        self.estimates.get(&metric)
    }

    /// The values of `metric` by seed.
    pub(crate) fn by_seed(&self, metric: Metric) -> BTreeMap<u64, f64> {
        let values = self.outcomes.iter().map(|outcome| metric.of(outcome));
        self.seeds.iter().zip(values).filter_map(|(seed, value)| Some((*seed, value?))).collect()
    }
}

/// The estimates over `outcomes` of every metric that all of them have.
pub(crate) fn estimates(outcomes: &[Outcome]) -> BTreeMap<Metric, Estimate> {
    let estimate = |metric: Metric| {
        let values: Option<Vec<f64>> = outcomes.iter().map(|outcome| metric.of(outcome)).collect();
        Some((metric, Estimate::of(values?)?))
    };
    Metric::ALL.into_iter().filter_map(estimate).collect()
}

/// A number that every run answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    Top1,
    Balanced,
    WorstGroup,
    Adjusted,
    ValTop1,
    LossCls,
    LossPg,
    TargetGradientShare,
    ConstantTop1,
    V2,
    BoxAcc30,
    BoxAcc50,
    BoxAcc70,
    VideoMap20,
    VideoMap50,
    AlikeVideoMap50,
    InstanceAp,
    AlikeInstanceAp,
    LeakRatio,
    Seconds,
}

impl Metric {
    pub(crate) const ALL: [Self; 20] = [
        Self::Top1,
        Self::Balanced,
        Self::WorstGroup,
        Self::Adjusted,
        Self::ValTop1,
        Self::LossCls,
        Self::LossPg,
        Self::TargetGradientShare,
        Self::ConstantTop1,
        Self::V2,
        Self::BoxAcc30,
        Self::BoxAcc50,
        Self::BoxAcc70,
        Self::VideoMap20,
        Self::VideoMap50,
        Self::AlikeVideoMap50,
        Self::InstanceAp,
        Self::AlikeInstanceAp,
        Self::LeakRatio,
        Self::Seconds,
    ];

    /// What a table's head calls it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Top1 => "top-1, %",
            Self::Balanced => "balanced, %",
            Self::WorstGroup => "worst group, %",
            Self::Adjusted => "adjusted, %",
            Self::ValTop1 => "validation top-1, %",
            Self::LossCls => "L_cls",
            Self::LossPg => "L_PG",
            Self::TargetGradientShare => "gradient on the target, %",
            Self::ConstantTop1 => "constant answer, %",
            Self::V2 => "MaxBoxAccV2, %",
            Self::BoxAcc30 => "overlap .3, %",
            Self::BoxAcc50 => "overlap .5, %",
            Self::BoxAcc70 => "overlap .7, %",
            Self::VideoMap20 => "video-mAP .2, %",
            Self::VideoMap50 => "video-mAP .5, %",
            Self::AlikeVideoMap50 => "video-mAP .5 with everyone alike, %",
            Self::InstanceAp => "single people, AP, %",
            Self::AlikeInstanceAp => "single people, AP, with everyone alike, %",
            Self::LeakRatio => "leak ratio",
            Self::Seconds => "seconds a run",
        }
    }

    /// What a sentence calls it.
    pub(crate) fn phrase(self) -> &'static str {
        match self {
            Self::Top1 => "top-1 accuracy",
            Self::Balanced => "class-balanced accuracy",
            Self::WorstGroup => "worst-group accuracy",
            Self::Adjusted => "adjusted accuracy",
            Self::ValTop1 => "validation accuracy",
            Self::V2 => "MaxBoxAccV2",
            Self::VideoMap50 => "video-mAP at overlap .5",
            other => other.title(),
        }
    }

    /// Whether it is a share of 1, shown in percent.
    pub(crate) fn is_share(self) -> bool {
        !matches!(self, Self::LossCls | Self::LossPg | Self::LeakRatio | Self::Seconds)
    }

    pub(crate) fn of(self, outcome: &Outcome) -> Option<f64> {
        match self {
            Self::Top1 => outcome.test_top1,
            Self::Balanced => outcome.test_balanced,
            Self::WorstGroup => outcome.test_worst_group,
            Self::Adjusted => outcome.test_adjusted,
            Self::ValTop1 => outcome.val_top1,
            Self::LossCls => outcome.loss_cls,
            Self::LossPg => outcome.loss_pg,
            Self::TargetGradientShare => outcome.target_gradient_share,
            Self::ConstantTop1 => outcome.constant_top1,
            Self::V2 => outcome.test_v2,
            Self::BoxAcc30 => outcome.test_box_acc_30,
            Self::BoxAcc50 => outcome.test_box_acc_50,
            Self::BoxAcc70 => outcome.test_box_acc_70,
            Self::VideoMap20 => outcome.test_video_map_20,
            Self::VideoMap50 => outcome.test_video_map_50,
            Self::AlikeVideoMap50 => outcome.alike_video_map_50,
            Self::InstanceAp => outcome.test_instance_ap,
            Self::AlikeInstanceAp => outcome.alike_instance_ap,
            Self::LeakRatio => outcome.leak_ratio,
            Self::Seconds => Some(outcome.seconds),
        }
    }
}

/// Made-up reports for tests.
#[cfg(test)]
pub(crate) mod made_up {
    use super::*;
    use crate::reproduce::convergence::{self, Curve, Point};
    use crate::reproduce::verdict::{self, Finding};

    /// A row whose runs answered with these worst-group accuracies.
    pub(crate) fn row(label: &str, worst_group: &[f64]) -> Row {
        let outcomes: Vec<Outcome> = worst_group
            .iter()
            .map(|&value| Outcome {
                test_top1: Some(0.5 + value / 2.0),
                test_balanced: Some(0.49 + value / 2.0),
                test_worst_group: Some(value),
                loss_cls: Some(0.034),
                loss_pg: Some(1.2e-4),
                target_gradient_share: Some(0.6),
                constant_top1: Some(0.5),
                seconds: 41.0,
                ..Outcome::default()
            })
            .collect();
        Row {
            label: label.into(),
            x: None,
            paper: None,
            alpha: 0.05,
            first_command: None,
            command: "target/release/pg-classify train --dataset embedded --seed 0".into(),
            planned: 3,
            seeds: (0..outcomes.len() as u64).collect(),
            estimates: estimates(&outcomes),
            outcomes,
        }
    }

    fn at(x: f64, name: &str, values: &[f64]) -> Row {
        Row { x: Some(x), ..row(&format!("{name} {x}"), values) }
    }

    fn curve(seed: u64, rate: f64) -> Curve {
        let point = |epoch: usize| Point {
            epoch,
            accuracy: 0.9 - 0.4 * (-(epoch as f64) * rate).exp()
                + 0.004 * ((epoch as f64 * 7.0 + seed as f64 * 3.0).sin()),
            seconds: epoch as f64 * (1.3 + rate),
        };
        Curve { seed, points: (1..=12).map(point).collect() }
    }

    pub(crate) fn report() -> Report {
        let table = vec![
            Row { paper: Some(0.622), ..row("originals only", &[0.22, 0.31, 0.25]) },
            Row { paper: Some(0.714), ..row("edits", &[0.58, 0.64, 0.61]) },
            Row { paper: Some(0.807), ..row("edits + guidance", &[0.79, 0.82, 0.80]) },
        ];
        let masks = vec![
            row("no guidance", &[0.58, 0.64, 0.61]),
            row("random mask", &[0.60, 0.62, 0.66]),
            row("full mask", &[0.55, 0.63]),
            row("true mask", &[0.79, 0.82, 0.80]),
        ];
        let sizes = vec![
            at(0.7, "area x", &[0.76, 0.80, 0.78]),
            at(1.0, "area x", &[0.79, 0.82, 0.80]),
            at(1.3, "area x", &[0.77, 0.81, 0.80]),
        ];
        let alphas = vec![
            row("no guidance", &[0.58, 0.64, 0.61]),
            at(0.003, "alpha", &[0.60, 0.64, 0.62]),
            at(0.01, "alpha", &[0.70, 0.74, 0.73]),
            at(0.1, "alpha", &[0.79, 0.82, 0.80]),
            at(1.0, "alpha", &[0.75, 0.70, 0.78]),
            at(10.0, "alpha", &[0.5]),
        ];
        let unguided: Vec<Curve> = (0..3).map(|seed| curve(seed, 0.25)).collect();
        let guided: Vec<Curve> = (0..3).map(|seed| curve(seed, 0.6)).collect();
        let metric = Metric::WorstGroup;
        let experiment = |name: &str, title: &str, rows: Vec<Row>, verdicts: Vec<Verdict>| ExperimentReport {
            name: name.into(),
            title: title.into(),
            rows,
            verdicts,
            convergence: None,
        };
        let table_verdicts = vec![
            verdict::greater(&table[1], &table[0], metric),
            verdict::greater(&table[2], &table[1], metric),
        ];
        let mask_verdicts = vec![
            verdict::greater(&masks[3], &masks[1], metric),
            verdict::greater(&masks[1], &masks[0], metric),
        ];
        let race = convergence::race(unguided, guided);
        let race_verdicts = vec![
            verdict::sooner(&race),
            Verdict {
                expectation: "made up".into(),
                finding: Finding::Contradicted,
                text: "the other way round".into(),
            },
        ];
        Report {
            command: "cargo xtask reproduce --quick".into(),
            quick: true,
            jobs: 2,
            taken_over: TakenOver { runs: 2, commits: BTreeSet::from(["abc".into(), "def".into()]) },
            seconds: 171.0,
            versions: vec![Version { name: "provenance-guidance".into(), version: "0.1.0".into() }],
            machine: Machine { cpu: "Example CPU <1>".into(), cores: 2, system: "linux".into() },
            sets: vec![SetReport {
                dataset: "embedded".into(),
                title: "Embedded set: animals with a spurious cue".into(),
                headline: metric,
                alpha: 0.1,
                norm: "squared-l2".into(),
                epochs: 12,
                pretraining: None,
                experiments: vec![
                    experiment(
                        "table",
                        "Do edits help, and does guidance help beyond them?",
                        table,
                        table_verdicts,
                    ),
                    experiment("masks", "Does the mask matter?", masks, mask_verdicts),
                    experiment("mask-size", "How exact must the mask be?", sizes, vec![]),
                    experiment("alpha", "How strong should the guidance be?", alphas, vec![]),
                    ExperimentReport {
                        convergence: Some(race),
                        ..experiment(
                            "convergence",
                            "How soon is the unguided run's best reached?",
                            vec![],
                            race_verdicts,
                        )
                    },
                ],
                pictures: vec![
                    Picture { caption: "edits: landbird/water".into(), path: "explain/a.png".into() },
                    Picture {
                        caption: "edits + guidance: landbird/water".into(),
                        path: "explain/b.png".into(),
                    },
                ],
            }],
            skipped: vec![Skipped { set: "cub".into(), reason: "no --data-root with a folder cub".into() }],
            failures: vec![Failure {
                run: "embedded-edits-full-seed2".into(),
                error: "`pg-classify train --seed 2` failed: out of <memory>".into(),
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::{document, markdown};

    #[test]
    fn a_metric_that_one_run_lacks_is_not_estimated() {
        let full = Outcome { test_top1: Some(0.5), test_worst_group: Some(0.5), ..Outcome::default() };
        let estimated = estimates(&[full.clone(), Outcome::default()]);
        assert!(estimated.contains_key(&Metric::Seconds) && !estimated.contains_key(&Metric::WorstGroup));
        assert!(estimates(&[full]).contains_key(&Metric::WorstGroup));
    }

    #[test]
    fn the_report_survives_its_file() {
        let report = made_up::report();
        let again: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        let written = |report: &Report| markdown::render(&document::of(report).unwrap());
        assert_eq!(written(&again), written(&report));
    }
}
