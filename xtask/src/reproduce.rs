//! `cargo xtask reproduce`: the experiments over several seeds, and a report on them.
//!
//! [`plan`] says what to run, [`train`] how one run is started and what it answers, [`schedule`] starts them side by
//! side. [`experiment`] turns the answers into rows and [`verdict`]s, [`report`] holds all of it, and [`document`] puts
//! it in an order that [`markdown`] and [`html`] both write.

mod convergence;
mod document;
mod experiment;
mod html;
mod machine;
mod markdown;
mod plan;
mod plot;
mod report;
mod schedule;
mod statistics;
mod train;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use self::plan::{Files, Scale, SetPlan};
use self::report::{Report, Skipped, TakenOver};
use self::schedule::Results;
use self::train::{Finished, Run, Task, Trainer};
use crate::process;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// A few minutes: fewer epochs, points and sets.
    #[arg(long)]
    quick: bool,
    /// One experiment (table, mixes, masks, mask-size, alpha, lazy, convergence) or one image set only.
    #[arg(long)]
    only: Option<String>,
    /// Where the image sets lie that are not drawn by the program itself.
    #[arg(long)]
    data_root: Option<PathBuf>,
    /// Where the report and the runs go.
    #[arg(long, default_value = "reproduce")]
    out: PathBuf,
    /// Runs at once, each on one thread (default: one a core).
    #[arg(long)]
    jobs: Option<usize>,
    /// Take over the runs that an earlier call finished in --out, and train the others.
    #[arg(long)]
    resume: bool,
    /// Print report.json to standard output as well.
    #[arg(long)]
    json: bool,
    /// Arguments for every run, such as `-- --weights resnet50.safetensors`; not those that the plan itself gives.
    #[arg(last = true)]
    train: Vec<String>,
}

/// Trains what the plan asks for and writes the report; the exit code is 1 if a run failed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let started = Instant::now();
    let scale = if options.quick { Scale::Quick } else { Scale::Full };
    let sets = plan::select(scale, options.only.as_deref())?;
    let absolute =
        |path: &PathBuf| std::path::absolute(path).with_context(|| format!("bad path {}", path.display()));
    let data_root = options.data_root.as_ref().map(absolute).transpose()?;
    let (present, files, skipped) = locate(sets, data_root.as_deref());
    if present.is_empty() {
        bail!("nothing to run: {}", skipped.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    }

    let (runs, first) = runs_of(&present);
    refuse_planned(&options.train, !first.is_empty())?;
    let jobs = options.jobs.unwrap_or_else(process::cores).max(1);
    let out = absolute(&options.out)?;
    // Before the runs, during which the checkout may change.
    let (versions, commit) = (machine::versions()?, machine::commit());
    let trainer = Trainer {
        binaries: build(&runs, &options.train, &out)?,
        workspace: process::workspace_root(),
        files,
        extra: options.train.clone(),
        first,
        out: out.clone(),
        commit,
    };
    let (finished, taken_over) = if options.resume { take_over(&trainer, &runs) } else { Default::default() };
    let results = schedule::run_all(&trainer, runs, finished, jobs);

    let report = Report {
        command: own_command(),
        quick: present.iter().any(|set| set.is_quick),
        jobs,
        taken_over,
        seconds: started.elapsed().as_secs_f64(),
        versions,
        machine: machine::describe(),
        sets: present.iter().map(|set| experiment::assemble(set, &results, &trainer)).collect(),
        skipped,
        failures: results.failures(),
    };
    write_report(&report, &out)?;
    eprintln!("report: {}", out.join("report.html").display());
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the plan itself tells the runs.
const PLANNED: [&str; 22] = [
    "--dataset",
    "--data-root",
    "--data",
    "--label-map",
    "--test",
    "--ground-truth",
    "--metadata",
    "--config",
    "--no-edits",
    "--edits",
    "--synth",
    "--alpha",
    "--mask",
    "--norm",
    "--mask-area",
    "--every",
    "--fraction",
    "--epochs",
    "--seed",
    "--threads",
    "--out",
    "--json",
];

/// Not for runs that begin with the weights of others.
const WEIGHTS: [&str; 2] = ["--weights", "--pretrained"];

/// Refuses what the plan says: said twice, it would fail each run.
fn refuse_planned(arguments: &[String], pretrains: bool) -> Result<()> {
    for argument in arguments {
        let flag = argument.split('=').next().unwrap_or_default();
        if PLANNED.contains(&flag) {
            bail!("{flag} after `--` is said by the plan; leave it out (so are {})", PLANNED.join(", "));
        }
        if pretrains && WEIGHTS.contains(&flag) {
            bail!(
                "{flag} after `--`: these runs begin with weights that the plan trains first; leave it out"
            );
        }
    }
    Ok(())
}

/// What is trained for `sets`: the runs of their tables and those that these begin with, which come alone as well.
fn runs_of(sets: &[SetPlan]) -> (BTreeSet<Run>, BTreeSet<Run>) {
    let planned: BTreeSet<Run> = sets.iter().flat_map(SetPlan::runs).collect();
    let first: BTreeSet<Run> = planned.iter().filter_map(Run::first).collect();
    (planned.union(&first).cloned().collect(), first)
}

/// What an earlier call left of `runs`.
fn take_over(trainer: &Trainer, runs: &BTreeSet<Run>) -> (Results, TakenOver) {
    let mut taken_over = TakenOver::default();
    let take = |run: &Run| {
        let Finished { commit, outcome, .. } = trainer.finished(run)?;
        taken_over.runs += 1;
        taken_over.commits.insert(commit.unwrap_or_else(|| "unknown".into()));
        Some((run.clone(), outcome))
    };
    (runs.iter().filter_map(take).collect(), taken_over)
}

/// Builds the programs of `runs` for the device that their further arguments name, and copies them to `bin` in `out`, so that
/// another build does not change them before the last run (recipes are read where they are); returns that folder.
fn build(runs: &BTreeSet<Run>, arguments: &[String], out: &Path) -> Result<PathBuf> {
    let features = process::features_for(process::device_of(arguments).unwrap_or_default());
    let folder = out.join("bin");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for task in Task::ALL.into_iter().filter(|task| runs.iter().any(|run| run.task == *task)) {
        let built = process::build_release(task.program(), features)?;
        let copy = folder.join(built.file_name().unwrap_or_default());
        // Renamed into place: a program that runs cannot be written to.
        let unfinished = folder.join("unfinished");
        std::fs::copy(&built, &unfinished)
            .and_then(|_| std::fs::rename(&unfinished, &copy))
            .with_context(|| format!("cannot copy {} to {}", built.display(), copy.display()))?;
    }
    Ok(folder)
}

/// The sets whose images are there, the files of these, and what is skipped.
type Located = (Vec<SetPlan>, BTreeMap<&'static str, Files>, Vec<Skipped>);

fn locate(sets: Vec<SetPlan>, data_root: Option<&Path>) -> Located {
    let (mut present, mut located, mut skipped) = (Vec::new(), BTreeMap::new(), Vec::new());
    for mut set in sets {
        let name = set.dataset;
        let reason = match set.locate(data_root) {
            Ok(files) => {
                let reason = set.drop_rows_without(&files);
                located.insert(name, files);
                present.push(set);
                reason
            }
            Err(reason) => Some(reason),
        };
        skipped.extend(reason.map(|reason| Skipped { set: name.into(), reason }));
    }
    (present, located, skipped)
}

/// The command that started this report.
fn own_command() -> String {
    let arguments = std::env::args().skip(1).map(|word| process::quoted(&word));
    std::iter::once("cargo xtask".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn write_report(report: &Report, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let document = document::of(report)?;
    write_whole(&out.join("report.json"), &serde_json::to_string_pretty(report)?)?;
    write_whole(&out.join("report.md"), &markdown::render(&document))?;
    write_whole(&out.join("report.html"), &html::render(&document, out))
}

/// Writes beside `path` and renames, so that an interruption leaves the old file or the new one.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, text).with_context(|| format!("cannot write {}", unfinished.display()))?;
    std::fs::rename(&unfinished, path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_plan_says_is_not_said_again() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let said = |said: &[&str]| refuse_planned(&words(said), false);
        let weights = words(&["--weights", "w.pth", "--limit-batches", "1"]);
        assert!(refuse_planned(&weights, false).is_ok());
        let error = refuse_planned(&weights, true).unwrap_err().to_string();
        assert!(error.starts_with("--weights after `--`: these runs begin with weights"), "{error}");
        let error = said(&["--batch", "8", "--epochs=1"]).unwrap_err().to_string();
        assert!(error.starts_with("--epochs after `--` is said by the plan; leave it out"), "{error}");
        for flag in ["--norm", "--data", "--label-map", "--test", "--ground-truth", "--json"] {
            assert!(said(&[flag]).is_err(), "{flag}");
        }
    }

    #[test]
    fn every_flag_that_the_plan_gives_is_known_as_such() {
        let sets = plan::select(Scale::Full, None).unwrap();
        let lists = || Some(PathBuf::from("lists"));
        let files = Files { root: Some("root".into()), edits: lists(), metadata: lists() };
        let trainer = Trainer {
            binaries: "x".into(),
            workspace: "checkout".into(),
            files: sets.iter().map(|set| (set.dataset, files.clone())).collect(),
            extra: vec![],
            first: BTreeSet::new(),
            out: "out".into(),
            commit: None,
        };
        let given: BTreeSet<String> = runs_of(&sets)
            .0
            .iter()
            .flat_map(|run| {
                let command = trainer.command_to_repeat(run);
                command.split(' ').map(str::to_owned).collect::<Vec<_>>()
            })
            .filter(|word| word.starts_with("--"))
            .collect();
        let planned = PLANNED.into_iter().chain(["--weights"]).map(str::to_owned);
        assert_eq!(given, planned.collect());
    }

    #[test]
    fn a_set_without_its_images_is_skipped_by_name() {
        let (present, _, skipped) = locate(plan::select(Scale::Full, None).unwrap(), None);
        assert_eq!(present.iter().map(|set| set.dataset).collect::<Vec<_>>(), ["embedded"]);
        assert!(skipped.iter().any(|skipped| skipped.set == "cub" && skipped.reason.contains("--data-root")));
    }

    #[test]
    fn a_set_is_found_in_its_folder() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("mnist10k")).unwrap();
        std::fs::write(root.path().join("mnist10k/t10k-images-idx3-ubyte.gz"), "").unwrap();
        std::fs::create_dir_all(root.path().join("CUB_200_2011/images")).unwrap();
        std::fs::write(root.path().join("CUB_200_2011/images.txt"), "").unwrap();
        std::fs::create_dir(root.path().join("iwildcam_v2.0")).unwrap();
        let (present, files, skipped) = locate(plan::select(Scale::Full, None).unwrap(), Some(root.path()));
        let folder = Files { root: Some(root.path().join("mnist10k")), ..Files::default() };
        assert_eq!(files["decoy-mnist"], folder);
        assert_eq!(files["embedded"], Files::default(), "a set that is drawn takes no root");
        assert!(
            skipped[1].to_string().starts_with("iwildcam-alia: no train_subset.csv in "),
            "{}",
            skipped[1]
        );
        assert_eq!(
            present.iter().map(|set| set.dataset).collect::<Vec<_>>(),
            ["embedded", "decoy-mnist", "cub"]
        );
    }

    #[test]
    fn rows_with_edits_need_a_manifest() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("images.txt"), "").unwrap();
        let cub = root.path().join("cub");
        std::fs::create_dir(&cub).unwrap();
        std::fs::write(cub.join("images.txt"), "").unwrap();
        let rows = || {
            let (present, files, skipped) =
                locate(plan::select(Scale::Full, Some("cub")).unwrap(), Some(root.path()));
            (present[0].experiments[0].1.len(), files["cub"].edits.clone(), skipped)
        };
        let (count, edits, skipped) = rows();
        assert_eq!((count, edits), (1, None), "the originals alone are left");
        assert!(skipped[0].to_string().starts_with("cub: all rows with edits"), "{}", skipped[0]);

        std::fs::write(cub.join("edits.csv"), "original,edited,label\n").unwrap();
        let (count, edits, skipped) = rows();
        assert_eq!((count, edits, skipped.len()), (3, Some(cub.join("edits.csv")), 0));
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        write_whole(&path, "{}").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
    }
}
