//! Runs side by side, with progress on standard error.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
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
struct Pool {
    state: Mutex<State>,
    /// A run has ended, for which others may have waited.
    freed: Condvar,
    /// Runs to train.
    total: usize,
    started: Instant,
}

struct State {
    waiting: Vec<Run>,
    running: Vec<Run>,
    /// Results that were there before.
    taken_over: usize,
    results: Results,
}

impl State {
    /// Takes the next run that has not to wait for another.
    fn take_ready(&mut self) -> Option<Run> {
        let pending = |run: &Run| self.waiting.contains(run) || self.running.contains(run);
        let ready = |run: &Run| !run.first().is_some_and(|first| pending(&first));
        let index = self.waiting.iter().position(ready)?;
        Some(self.waiting.remove(index))
    }
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
    let pool = Pool {
        state: Mutex::new(State { waiting, running: Vec::new(), taken_over, results: finished }),
        freed: Condvar::new(),
        total,
        started,
    };
    let work = || {
        while let Some(run) = pool.next() {
            let result = trainer.train(&run).map_err(|error| format!("{error:#}"));
            pool.finish(run, result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(total) {
            scope.spawn(work);
        }
    });
    eprintln!("{total}/{total} runs in {}", clock(started.elapsed()));
    pool.state.into_inner().unwrap_or_else(PoisonError::into_inner).results
}

impl Pool {
    /// The next run to train, as soon as there is one; `None` once none is left.
    fn next(&self) -> Option<Run> {
        let mut state = self.lock();
        let run = loop {
            match state.take_ready() {
                Some(run) => break run,
                None if state.waiting.is_empty() => return None,
                None => state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        state.running.push(run.clone());
        let done = state.results.count() - state.taken_over;
        let running: Vec<String> = state.running.iter().map(Run::name).collect();
        eprintln!(
            "{done}/{} runs, {} left; running {}",
            self.total,
            left(done, self.total, self.started.elapsed()),
            running.join(", ")
        );
        Some(run)
    }

    fn finish(&self, run: Run, result: Result<Outcome, String>) {
        if let Err(error) = &result {
            eprintln!("failed: {error}");
        }
        let mut state = self.lock();
        state.running.retain(|running| *running != run);
        state.results.finished.insert(run, result);
        drop(state);
        self.freed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    use super::super::train::Synth;
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
        let (files, extra, first) = (BTreeMap::new(), vec![], BTreeSet::new());
        Trainer { binaries, workspace, files, extra, first, out: folder.into(), commit }
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

    #[cfg(unix)]
    #[test]
    fn what_begins_with_the_weights_of_another_run_comes_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let trainer = stand_in(folder.path());
        // The first runs take a while, and that of seed 3 fails.
        let script = r#"#!/bin/sh
SEED=$(echo "$*" | sed 's/.*--seed \([0-9]*\).*/\1/')
case "$*" in
*--weights*seed$SEED/moved/best.safetensors*) answer='"test_v2":0.5' ;;
*--weights*) echo "other weights: $*" >&2; exit 1 ;;
*"--seed 3 "*) echo "no memory" >&2; exit 1 ;;
*) sleep 0.2; answer='"test_v2":0.25' ;;
esac
echo "{$answer,\"epochs\":1,\"seconds\":1,\"run_dir\":\"moved\"}"
"#;
        std::fs::write(folder.path().join("pg-classify"), script).unwrap();
        std::fs::rename(folder.path().join("pg-classify"), folder.path().join("pg-wsol")).unwrap();
        let of =
            |seed| Run { pretraining: Some(3), ..Run::mixes("localization-sat", Synth::Cut, 0.0, 1, seed) };
        let first = |seed| of(seed).first().unwrap();
        let runs: BTreeSet<Run> = (1..=3).flat_map(|seed| [first(seed), of(seed)]).collect();
        let results = run_all(&trainer, runs, Results::default(), 4);
        for seed in [1, 2] {
            let v2 = |run: &Run| results.outcome(run).and_then(|outcome| outcome.test_v2);
            assert_eq!((v2(&first(seed)), v2(&of(seed))), (Some(0.25), Some(0.5)));
        }
        let failures = results.failures();
        assert_eq!(failures.len(), 2);
        let after = failures.iter().find(|failure| failure.run == of(3).name()).unwrap();
        assert!(after.error.contains("which has not ended well"), "{}", after.error);

        // What began with weights that are gone is trained again.
        assert!(trainer.finished(&of(1)).is_some());
        let path = folder.path().join("runs").join(first(1).name()).join("outcome.json");
        let outcome = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, outcome.replace("moved", "anew")).unwrap();
        assert!(trainer.finished(&first(1)).is_some());
        assert!(trainer.finished(&of(1)).is_none());
    }

    #[test]
    fn the_time_left_is_in_proportion() {
        assert_eq!(left(0, 10, Duration::from_secs(5)), "time unknown");
        assert_eq!(left(2, 10, Duration::from_secs(60)), "4:00");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
    }
}
