//! Runs side by side, with progress on standard error.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::report::Failure;
use super::train::{Outcome, Run, Trainer};

/// What every run answered.
#[derive(Default)]
pub(crate) struct Results {
    finished: BTreeMap<Run, Result<Outcome, String>>,
}

impl FromIterator<(Run, Outcome)> for Results {
    fn from_iter<I: IntoIterator<Item = (Run, Outcome)>>(outcomes: I) -> Self {
        Self { finished: outcomes.into_iter().map(|(run, outcome)| (run, Ok(outcome))).collect() }
    }
}

impl Results {
    /// How many runs they are of.
    pub(crate) fn count(&self) -> usize {
        self.finished.len()
    }

    /// What `run` answered, unless it failed.
    pub(crate) fn outcome(&self, run: &Run) -> Option<&Outcome> {
        self.finished.get(run)?.as_ref().ok()
    }

    /// The runs that failed, and why.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        let failed = self.finished.iter().filter_map(|(run, result)| Some((run, result.as_ref().err()?)));
        failed.map(|(run, error)| Failure { run: run.name(), error: error.clone() }).collect()
    }

    #[cfg(test)]
    pub(crate) fn made_up(finished: BTreeMap<Run, Result<Outcome, String>>) -> Self {
        Self { finished }
    }
}

/// What the workers share.
struct State {
    waiting: std::vec::IntoIter<Run>,
    running: Vec<Run>,
    /// Results that were there before.
    taken_over: usize,
    results: Results,
}

/// Trains those of `runs` that are not `finished`, `jobs` at once.
pub(crate) fn run_all(trainer: &Trainer, runs: BTreeSet<Run>, finished: Results, jobs: usize) -> Results {
    let waiting: Vec<Run> = runs.into_iter().filter(|run| !finished.finished.contains_key(run)).collect();
    let (taken_over, total) = (finished.count(), waiting.len());
    if taken_over > 0 {
        eprintln!("{taken_over} runs of an earlier call, {total} to train");
    }
    // What is trained now is not to be taken for finished if this call is interrupted.
    waiting.iter().for_each(|run| trainer.forget(run));
    let started = Instant::now();
    let state = Mutex::new(State {
        waiting: waiting.into_iter(),
        running: Vec::new(),
        taken_over,
        results: finished,
    });
    let work = || {
        while let Some(run) = next(&state, total, started) {
            let result = trainer.train(&run).map_err(|error| format!("{error:#}"));
            finish(&state, run, result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(total) {
            scope.spawn(work);
        }
    });
    eprintln!("{total}/{total} runs in {}", clock(started.elapsed()));
    state.into_inner().unwrap_or_else(PoisonError::into_inner).results
}

fn next(state: &Mutex<State>, total: usize, started: Instant) -> Option<Run> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let run = state.waiting.next()?;
    state.running.push(run.clone());
    let done = state.results.count() - state.taken_over;
    let running: Vec<String> = state.running.iter().map(Run::name).collect();
    eprintln!(
        "{done}/{total} runs, {} left; running {}",
        left(done, total, started.elapsed()),
        running.join(", ")
    );
    Some(run)
}

fn finish(state: &Mutex<State>, run: Run, result: Result<Outcome, String>) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.running.retain(|running| *running != run);
    if let Err(error) = &result {
        eprintln!("failed: {error}");
    }
    state.results.finished.insert(run, result);
}

/// How long the rest takes if it goes on as it went.
fn left(done: usize, total: usize, elapsed: Duration) -> String {
    if done == 0 {
        return "time unknown".into();
    }
    clock(elapsed.mul_f64((total - done) as f64 / done as f64))
}

/// `1:02:03`, or `2:03` below an hour.
pub(crate) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for the trainer: it answers with the seed it was given, and fails at seed 2.
    #[cfg(unix)]
    fn stand_in(folder: &std::path::Path) -> Trainer {
        use std::os::unix::fs::PermissionsExt;
        let script = r#"#!/bin/sh
while [ "$1" != --seed ]; do shift; done
if [ "$2" = 2 ]; then echo "cannot read images" >&2; exit 1; fi
echo "a log line"
echo "{\"test_top1\":0.$2,\"epochs\":1,\"seconds\":1,\"run_dir\":\"x\"}"
"#;
        let binary = folder.join("pg-classify");
        std::fs::write(&binary, script).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (binaries, workspace) = (folder.into(), folder.into());
        let commit = Some("abc".into());
        Trainer { binaries, workspace, files: BTreeMap::new(), extra: vec![], out: folder.into(), commit }
    }

    #[cfg(unix)]
    #[test]
    fn a_failing_run_is_reported_and_the_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let runs: BTreeSet<Run> = (1..=4).map(|seed| Run::baseline("embedded", 1, seed)).collect();
        let results = run_all(&stand_in(folder.path()), runs.clone(), Results::default(), 3);
        let top1: Vec<Option<f64>> = runs.iter().map(|run| results.outcome(run)?.test_top1).collect();
        assert_eq!(top1, [Some(0.1), None, Some(0.3), Some(0.4)]);
        let failures = results.failures();
        assert_eq!(failures.len(), 1);
        assert!(
            failures[0].error.contains("--seed 2") && failures[0].error.contains("cannot read images"),
            "{}",
            failures[0].error
        );
    }

    #[cfg(unix)]
    #[test]
    fn finished_runs_are_not_trained_again() {
        let folder = tempfile::tempdir().unwrap();
        let trainer = stand_in(folder.path());
        let run = |seed| Run::baseline("embedded", 1, seed);
        run_all(&trainer, BTreeSet::from([run(1), run(2)]), Results::default(), 1);
        let finished = trainer.finished(&run(1)).unwrap();
        assert_eq!((finished.outcome.test_top1, finished.commit.as_deref()), (Some(0.1), Some("abc")));
        assert!(trainer.finished(&run(2)).is_none(), "it failed");
        assert!(trainer.finished(&run(3)).is_none());
        let other = Trainer { extra: vec!["--lr".into(), "1".into()], ..stand_in(folder.path()) };
        assert!(other.finished(&run(1)).is_none(), "of other arguments");

        // Without the program nothing can be trained.
        std::fs::remove_file(folder.path().join("pg-classify")).unwrap();
        let results = Results::from_iter([(run(1), finished.outcome)]);
        let results = run_all(&trainer, BTreeSet::from([run(1), run(3)]), results, 1);
        assert_eq!(results.outcome(&run(1)).unwrap().test_top1, Some(0.1));
        assert_eq!(results.failures().len(), 1);

        assert!(trainer.finished(&run(1)).is_some());
        run_all(&trainer, BTreeSet::from([run(1)]), Results::default(), 1);
        assert!(trainer.finished(&run(1)).is_none(), "trained anew, and failed");
    }

    #[test]
    fn the_time_left_is_in_proportion() {
        assert_eq!(left(0, 10, Duration::from_secs(5)), "time unknown");
        assert_eq!(left(2, 10, Duration::from_secs(60)), "4:00");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
    }
}
