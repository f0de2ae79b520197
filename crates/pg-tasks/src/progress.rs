//! What a run shows while it runs: a bar on a terminal, plain log lines elsewhere, nothing if asked.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::train::Sums;

/// Log lines per epoch where there is no terminal.
const LINES_PER_EPOCH: usize = 10;

/// The display of a run. Everything goes to stderr or to the log; stdout stays free for results.
#[derive(Debug)]
pub struct Progress {
    display: Display,
    epoch: usize,
    epochs: usize,
    steps: usize,
    pace: Pace,
}

/// Where the epoch stood when this process took it up: time and rates count from there.
#[derive(Clone, Copy, Debug)]
struct Pace {
    started: Instant,
    batches: usize,
    samples: usize,
}

#[derive(Debug)]
enum Display {
    Bar(ProgressBar),
    Lines,
    Hidden,
}

impl Progress {
    /// A display for a run of `epochs` epochs; hidden, as for `--json`, if not `shown`.
    #[must_use]
    pub fn new(shown: bool, epochs: usize) -> Self {
        let display = match (shown, io::stderr().is_terminal()) {
            (false, _) => Display::Hidden,
            (true, false) => Display::Lines,
            (true, true) => Display::Bar(bar()),
        };
        Self { display, epoch: 0, epochs, steps: 0, pace: Pace::from(&Sums::default()) }
    }

    /// Starts an epoch, counted from 1, of `steps` steps, or takes it up where `done` says.
    pub fn begin_epoch(&mut self, epoch: usize, steps: usize, done: &Sums) {
        (self.epoch, self.steps, self.pace) = (epoch, steps, Pace::from(done));
        if let Display::Bar(bar) = &self.display {
            bar.reset();
            bar.set_length(steps as u64);
            bar.set_position(done.batches as u64);
            // What an earlier process did says nothing of the time that is left.
            bar.reset_eta();
            bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
            bar.set_message("");
        }
    }

    /// Shows what the epoch came to with one more step.
    pub fn step(&mut self, sums: &Sums) {
        let elapsed = self.pace.started.elapsed();
        match &self.display {
            Display::Bar(bar) => {
                bar.set_position(sums.batches as u64);
                bar.set_message(self.pace.text(sums, elapsed));
            }
            Display::Lines if has_line(sums.batches, self.steps) => {
                tracing::info!(
                    "epoch {}/{}, step {}/{}: {}, {} left",
                    self.epoch,
                    self.epochs,
                    sums.batches,
                    self.steps,
                    self.pace.text(sums, elapsed),
                    HumanDuration(self.pace.left(sums.batches, self.steps, elapsed))
                );
            }
            Display::Lines | Display::Hidden => {}
        }
    }

    /// Ends an epoch: the bar makes room for a line, which `summary` says (metrics of the epoch).
    pub fn end_epoch(&mut self, summary: &str) {
        match &self.display {
            Display::Bar(bar) => bar.println(format!("epoch {}/{}: {summary}", self.epoch, self.epochs)),
            Display::Lines => tracing::info!("epoch {}/{}: {summary}", self.epoch, self.epochs),
            Display::Hidden => {}
        }
    }

    /// Takes the bar away, at the end of the run.
    pub fn finish(&self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = "{prefix} {bar:24} {pos}/{len}  {msg}  {eta} left";
    // The template is ours and valid; if indicatif ever disagrees, its own style still shows the position.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("━╸ ")),
        Err(_) => bar,
    }
}

impl Pace {
    /// That of a process that begins with `done`.
    fn from(done: &Sums) -> Self {
        Self { started: Instant::now(), batches: done.batches, samples: done.samples }
    }

    /// The means of the epoch so far, and how many images this process trained on in a second.
    fn text(self, sums: &Sums, elapsed: Duration) -> String {
        let images = sums.samples.saturating_sub(self.samples);
        let rate = images as f64 / elapsed.as_secs_f64().max(1e-9);
        let loss = if sums.samples > 0 { format!("loss {:.4}  ", sums.mean_loss()) } else { String::new() };
        let guidance = if sums.guided_samples > 0 {
            let (l_pg, alpha_l_pg) = (sums.mean_loss_pg(), sums.mean_alpha_loss_pg());
            format!("L_PG {l_pg:.3e}  alpha*L_PG {alpha_l_pg:.3e}  ")
        } else {
            String::new()
        };
        format!("{loss}{guidance}{rate:.0} images/s")
    }

    /// The time that the other steps of the epoch take at the pace of this process, in whole seconds.
    fn left(self, step: usize, steps: usize, elapsed: Duration) -> Duration {
        let done = step.saturating_sub(self.batches).max(1);
        let seconds = elapsed.as_secs_f64() / done as f64 * steps.saturating_sub(step) as f64;
        Duration::from_secs(seconds.round() as u64)
    }
}

/// Whether a step has a log line: the last of each tenth of an epoch.
fn has_line(step: usize, steps: usize) -> bool {
    let tenth = |step: usize| step * LINES_PER_EPOCH / steps.max(1);
    step > 0 && tenth(step) > tenth(step - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_means_over_the_samples_that_measured_them() {
        // 40 images, of which a step of 10 measured L_PG: 3e-3 each.
        let sums = Sums {
            batches: 4,
            samples: 40,
            loss_cls: 60.0,
            guided_samples: 10,
            loss_pg: 0.03,
            alpha_loss_pg: 0.3,
            ..Sums::default()
        };
        let text = |done: &Sums, sums: &Sums| Pace::from(done).text(sums, Duration::from_secs(2));
        let expected = "loss 1.5075  L_PG 3.000e-3  alpha*L_PG 3.000e-2  20 images/s";
        assert_eq!(text(&Sums::default(), &sums), expected);

        let unguided = Sums { samples: 5, loss_cls: 1.25, ..Sums::default() };
        assert_eq!(text(&Sums::default(), &unguided), "loss 0.2500  2 images/s");
        assert_eq!(text(&Sums::default(), &Sums::default()), "0 images/s", "nothing but skipped batches");
    }

    #[test]
    fn an_epoch_taken_up_goes_on_at_the_pace_of_this_process() {
        let done = Sums { batches: 30, samples: 300, loss_cls: 300.0, ..Sums::default() };
        let now = Sums { batches: 40, samples: 400, loss_cls: 500.0, ..Sums::default() };
        let pace = Pace::from(&done);
        assert_eq!(pace.text(&now, Duration::from_secs(5)), "loss 1.2500  20 images/s");
        assert_eq!(pace.left(40, 60, Duration::from_secs(5)), Duration::from_secs(10));

        let mut bar = Progress::new(false, 1);
        bar.display = Display::Bar(ProgressBar::hidden());
        bar.begin_epoch(1, 60, &done);
        let position = |progress: &Progress| match &progress.display {
            Display::Bar(bar) => Some((bar.position(), bar.length())),
            _ => None,
        };
        assert_eq!(position(&bar), Some((30, Some(60))));
        bar.step(&now);
        assert_eq!(position(&bar), Some((40, Some(60))));
    }

    #[test]
    fn an_epoch_has_at_most_ten_lines_and_one_at_its_end() {
        for steps in [1, 3, 10, 11, 1000] {
            let lines: Vec<usize> = (1..=steps).filter(|&step| has_line(step, steps)).collect();
            assert_eq!(lines.len(), steps.min(10), "{steps}: {lines:?}");
            assert_eq!(lines.last(), Some(&steps));
        }
    }

    #[test]
    fn a_hidden_display_takes_every_call() {
        let mut progress = Progress::new(false, 2);
        progress.begin_epoch(1, 0, &Sums::default());
        progress.step(&Sums { loss_cls: f64::NAN, ..Sums::default() });
        progress.end_epoch("accuracy 0.5");
        progress.finish();
    }
}
