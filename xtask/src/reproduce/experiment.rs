//! From what the runs answered to the rows and verdicts of a set.

use std::path::Path;

use super::convergence::{self, Curve};
use super::plan::{Experiment, RowPlan, SetPlan, label};
use super::report::{ExperimentReport, Metric, Picture, Row, SetReport, estimates};
use super::schedule::Results;
use super::train::{Outcome, Run, Task, Trainer};
use super::verdict::{self, Verdict};

/// Example heat maps shown of each row.
const PICTURES_A_ROW: usize = 4;

/// The report of one set.
pub(crate) fn assemble(set: &SetPlan, results: &Results, trainer: &Trainer) -> SetReport {
    let experiments = set.experiments.iter().map(|(experiment, plans)| {
        let rows: Vec<Row> = plans.iter().map(|plan| row(plan, results, trainer)).collect();
        let convergence = (*experiment == Experiment::Convergence).then(|| {
            let labelled = |label: &str| {
                let plans = plans.iter().filter(|plan| plan.label == label);
                plans.flat_map(|plan| curves(plan, set.task, results)).collect()
            };
            convergence::race(labelled(label::UNGUIDED), labelled(label::TRUE))
        });
        let verdicts = match &convergence {
            Some(convergence) => vec![verdict::sooner(convergence)],
            None => verdicts(*experiment, &rows, set),
        };
        ExperimentReport {
            name: experiment.name().into(),
            title: experiment.title().into(),
            rows,
            verdicts,
            convergence,
        }
    });
    SetReport {
        dataset: set.dataset.into(),
        title: set.title.into(),
        headline: set.headline,
        alpha: set.alpha,
        norm: set.norm.to_string(),
        epochs: set.epochs,
        pretraining: set.pretraining,
        experiments: experiments.collect(),
        pictures: pictures(set, results, &trainer.out),
    }
}

fn row(plan: &RowPlan, results: &Results, trainer: &Trainer) -> Row {
    let runs: Vec<Run> = plan.runs().collect();
    let finished = runs.iter().filter_map(|run| Some((run.seed, results.outcome(run)?.clone())));
    let (seeds, outcomes): (Vec<u64>, Vec<Outcome>) = finished.unzip();
    let run = runs.first();
    Row {
        label: plan.label.clone(),
        x: plan.x,
        paper: plan.paper,
        alpha: run.map_or(0.0, |run| run.alpha),
        first_command: run.and_then(Run::first).map(|first| trainer.command_to_repeat(&first)),
        command: run.map(|run| trainer.command_to_repeat(run)).unwrap_or_default(),
        planned: runs.len(),
        seeds,
        estimates: estimates(&outcomes),
        outcomes,
    }
}

/// What each experiment is expected to show.
fn verdicts(experiment: Experiment, rows: &[Row], set: &SetPlan) -> Vec<Verdict> {
    let metric = set.headline;
    let expected: &[(&str, &str)] = match experiment {
        Experiment::Table => &[(label::EDITS, label::BASELINE), (label::GUIDED, label::EDITS)],
        Experiment::Masks if set.wrong_masks_help => &[
            (label::TRUE, label::UNGUIDED),
            (label::TRUE, label::RANDOM),
            (label::TRUE, label::FULL),
            (label::RANDOM, label::UNGUIDED),
            (label::FULL, label::UNGUIDED),
        ],
        Experiment::Masks => {
            &[(label::TRUE, label::UNGUIDED), (label::TRUE, label::RANDOM), (label::TRUE, label::FULL)]
        }
        Experiment::Mixes => return guided_and_not(rows, metric),
        Experiment::MaskSize => return vec![verdict::size_uncritical(rows, metric)],
        Experiment::Alpha => return vec![verdict::strength_uncritical(rows, metric)],
        Experiment::Lazy => {
            let Some((always, lazy)) = rows.split_first() else { return vec![] };
            return lazy.iter().map(|row| verdict::no_worse(row, always, metric)).collect();
        }
        Experiment::Convergence => return vec![],
    };
    let named = |label: &str| rows.iter().find(|row| row.label == label);
    let mut verdicts: Vec<Verdict> = expected
        .iter()
        .filter_map(|(high, low)| Some(verdict::greater(named(high)?, named(low)?, metric)))
        .collect();
    verdicts.extend(named(label::GUIDED).map(verdict::above_constant));
    verdicts
}

/// Each guided row against the same without guidance: it localises better, and its gradient leaks half as much.
fn guided_and_not(rows: &[Row], metric: Metric) -> Vec<Verdict> {
    let partner = |row: &Row| rows.iter().find(|other| other.label == label::with_guidance(&row.label));
    let pairs = rows.iter().filter_map(|row| Some((row, partner(row)?)));
    pairs
        .flat_map(|(row, guided)| [verdict::greater(guided, row, metric), verdict::leak_halved(guided, row)])
        .collect()
}

/// The curves of a row's runs; a run without readable curves has none.
fn curves(plan: &RowPlan, task: Task, results: &Results) -> Vec<Curve> {
    let finished = plan.runs().filter_map(|run| Some((run.seed, results.outcome(&run)?.run_dir.clone())));
    let read = finished.filter_map(|(seed, folder)| {
        match convergence::read_curve(&folder, task.validated(), seed) {
            Ok(curve) => Some(curve),
            Err(error) => {
                eprintln!("warning: {error:#}");
                None
            }
        }
    });
    read.collect()
}

/// Heat maps of the first experiment's rows at the first seed.
fn pictures(set: &SetPlan, results: &Results, out: &Path) -> Vec<Picture> {
    let Some((_, rows)) = set.experiments.first() else { return vec![] };
    let of_row = |row: &RowPlan| {
        let folder = row.runs().next().and_then(|run| Some(results.outcome(&run)?.run_dir.join("explain")));
        let files = folder.map(|folder| png_files(&folder)).unwrap_or_default();
        let picture = |name: String, path: &Path| Picture {
            caption: format!("{}: {name}", row.label),
            path: path.strip_prefix(out).unwrap_or(path).to_path_buf(),
        };
        let pictures = files.into_iter().take(PICTURES_A_ROW).filter_map(|path| {
            let name = path.file_stem()?.to_string_lossy().into_owned();
            Some(picture(name, &path))
        });
        pictures.collect::<Vec<_>>()
    };
    rows.iter().flat_map(of_row).collect()
}

/// The PNG files in `folder`, by name; none if there is no such folder.
fn png_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::reproduce::plan::{self, Scale};
    use crate::reproduce::train::{Mask, Samples};
    use crate::reproduce::verdict::Finding;

    /// Everything that a set's plan asks for, answered by `answer`.
    fn answered(set: &str, folder: &Path, answer: impl Fn(&Run) -> Option<f64>) -> SetReport {
        let set = plan::select(Scale::Full, Some(set)).unwrap().swap_remove(0);
        let outcome = |run: &Run| {
            let run_dir = folder.join(run.name());
            std::fs::create_dir_all(run_dir.join("explain")).unwrap();
            std::fs::write(run_dir.join("explain/b.png"), "").unwrap();
            std::fs::write(run_dir.join("explain/notes.txt"), "").unwrap();
            let first = if run.alpha > 0.0 { 0.9 } else { 0.1 };
            std::fs::write(run_dir.join("results.csv"), format!("epoch,val_top1\n0,{first}\n1,0.8\n"))
                .unwrap();
            std::fs::write(run_dir.join("timings.csv"), "epoch,seconds\n0,1\n1,1\n").unwrap();
            let accuracy = answer(run).ok_or("out of memory")?;
            Ok(Outcome {
                test_top1: Some(accuracy),
                test_worst_group: Some(accuracy),
                constant_top1: Some(0.5),
                run_dir,
                ..Outcome::default()
            })
        };
        let results =
            Results::made_up(set.runs().map(|run| (run.clone(), outcome(&run))).collect::<BTreeMap<_, _>>());
        let trainer = Trainer {
            binaries: "x".into(),
            workspace: "".into(),
            files: BTreeMap::new(),
            extra: vec![],
            first: BTreeSet::new(),
            out: folder.into(),
            commit: None,
        };
        assemble(&set, &results, &trainer)
    }

    #[test]
    fn runs_find_their_rows_and_the_expectations_their_verdicts() {
        let folder = tempfile::tempdir().unwrap();
        let report = answered("embedded", folder.path(), |run| {
            let noise = 0.001 * run.seed as f64;
            let gain = if run.mask == Mask::True && run.alpha > 0.0 { 0.2 } else { 0.0 };
            Some(if run.samples == Samples::Edits { 0.6 + gain + noise } else { 0.3 + noise })
        });
        let findings = |name: &str| {
            let experiment = report.experiments.iter().find(|experiment| experiment.name == name).unwrap();
            experiment.verdicts.iter().map(|verdict| verdict.finding).collect::<Vec<_>>()
        };
        for name in ["table", "masks", "mask-size", "alpha", "lazy", "convergence"] {
            assert!(!findings(name).is_empty());
            assert!(
                findings(name).iter().all(|finding| *finding == Finding::Shown || name == "convergence"),
                "{name}"
            );
        }
        let table = &report.experiments[0];
        assert_eq!(table.rows[2].label, label::GUIDED);
        assert!((table.rows[2].estimate(Metric::WorstGroup).unwrap().mean - 0.803).abs() < 1e-9);
        let race = report.experiments[5].convergence.as_ref().unwrap().by_seed[0];
        assert_eq!((race.unguided.epochs, race.guided.unwrap().epochs), (2, 1));
        assert_eq!(report.pictures.len(), 3, "one picture a row of the table; text files are none");
        assert!(report.pictures[0].path.is_relative() && report.pictures[0].caption == "originals only: b");
    }

    #[test]
    fn wrong_masks_are_expected_between_none_and_the_true_one() {
        let findings = |random: f64| {
            let folder = tempfile::tempdir().unwrap();
            let report = answered("decoy-mnist", folder.path(), |run| {
                let accuracy = match run.mask {
                    _ if run.alpha == 0.0 => 0.6,
                    Mask::Random => random,
                    Mask::Full => 0.8,
                    Mask::True => 0.9,
                };
                Some(accuracy + 0.001 * run.seed as f64)
            });
            let masks = &report.experiments[0].verdicts;
            masks.iter().map(|verdict| (verdict.expectation.clone(), verdict.finding)).collect::<Vec<_>>()
        };
        assert!(findings(0.8).len() == 5 && findings(0.8).iter().all(|(_, f)| *f == Finding::Shown));
        let against = |random: f64, finding: Finding| {
            let mut found = findings(random).into_iter().filter(|(_, other)| *other == finding);
            (found.next().map(|(expectation, _)| expectation), found.next())
        };
        let below = ("random mask above no guidance in top-1 accuracy".to_owned(), None);
        assert_eq!(against(0.5, Finding::Contradicted), (Some(below.0), below.1));
        let above = "true mask above random mask in top-1 accuracy".to_owned();
        assert_eq!(against(0.95, Finding::Contradicted), (Some(above), None));
    }

    #[test]
    fn guidance_has_to_find_objects_better_and_to_halve_the_leak() {
        let folder = tempfile::tempdir().unwrap();
        let set = plan::select(Scale::Full, Some("localization")).unwrap().swap_remove(0);
        let outcome = |run: &Run| {
            let noise = 0.001 * run.seed as f64;
            let (v2, leak) = if run.alpha > 0.0 { (0.6, 0.3) } else { (0.5, 0.8) };
            let run_dir = folder.path().join(run.name());
            std::fs::create_dir_all(&run_dir).unwrap();
            std::fs::write(run_dir.join("results.csv"), "epoch,val_v2,val_top1\n1,0.4,0.9\n2,0.5,0.9\n")
                .unwrap();
            std::fs::write(run_dir.join("timings.csv"), "epoch,seconds\n1,1\n2,1\n").unwrap();
            Ok(Outcome {
                test_v2: Some(v2 + noise),
                leak_ratio: Some(leak + noise),
                run_dir,
                ..Outcome::default()
            })
        };
        let results =
            Results::made_up(set.runs().map(|run| (run.clone(), outcome(&run))).collect::<BTreeMap<_, _>>());
        let (binaries, workspace) = ("x".into(), "".into());
        let trainer = Trainer {
            binaries,
            workspace,
            files: BTreeMap::new(),
            extra: vec![],
            first: BTreeSet::new(),
            out: folder.path().into(),
            commit: None,
        };
        let report = assemble(&set, &results, &trainer);
        let verdicts = &report.experiments[0].verdicts;
        assert_eq!(verdicts.len(), 3 * 2);
        assert!(verdicts.iter().all(|verdict| verdict.finding == Finding::Shown));
        assert_eq!(verdicts[1].expectation, "cutmix + guidance leaks at most half as much as cutmix");
        assert!(verdicts[1].text.starts_with("shown (37.6"), "{}", verdicts[1].text);
        let race = report.experiments[2].convergence.as_ref().unwrap().by_seed[0];
        assert_eq!((race.best, race.unguided.epochs), (0.5, 2), "MaxBoxAccV2 is raced for, not the accuracy");
    }

    #[test]
    fn a_failed_run_leaves_the_other_seeds() {
        let folder = tempfile::tempdir().unwrap();
        let report = answered("embedded", folder.path(), |run| {
            (run.samples == Samples::Edits || run.seed != 1).then_some(0.5)
        });
        let baseline = &report.experiments[0].rows[0];
        assert_eq!(baseline.seeds, [0, 2, 3, 4, 5, 6]);
        assert_eq!(baseline.planned, 7);
        assert_eq!(report.experiments[0].verdicts[0].finding, Finding::NotShown);
    }
}
