//! What a run shows while it runs: a bar on a terminal, plain log lines elsewhere, nothing if asked.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Log lines per epoch where there is no terminal.
const LINES_PER_EPOCH: usize = 10;

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Images of the step.
    pub images: usize,
    /// The whole loss L.
    pub loss: f64,
    /// L_PG and alpha * L_PG, where the run is guided.
    pub guidance: Option<(f64, f64)>,
}

/// The display of a run. Everything goes to stderr or to the log; stdout stays free for results.
#[derive(Debug)]
pub struct Progress {
    display: Display,
    epoch: usize,
    epochs: usize,
    steps: usize,
    started: Instant,
    means: Means,
}

#[derive(Debug)]
enum Display {
    Bar(ProgressBar),
    Lines,
    Hidden,
}

/// Sums over the images of an epoch so far.
#[derive(Clone, Copy, Debug, Default)]
struct Means {
    steps: usize,
    images: usize,
    loss: f64,
    guidance: Option<(f64, f64)>,
}

impl Progress {
    /// A display for a run of `epochs` epochs; hidden, as for `--quiet` and `--json`, if not `shown`.
    #[must_use]
    pub fn new(shown: bool, epochs: usize) -> Self {
        let display = match (shown, io::stderr().is_terminal()) {
            (false, _) => Display::Hidden,
            (true, false) => Display::Lines,
            (true, true) => Display::Bar(bar()),
        };
        Self { display, epoch: 0, epochs, steps: 0, started: Instant::now(), means: Means::default() }
    }

    /// Starts an epoch, counted from 1, of `steps` steps.
    pub fn begin_epoch(&mut self, epoch: usize, steps: usize) {
        (self.epoch, self.steps, self.started, self.means) = (epoch, steps, Instant::now(), Means::default());
        if let Display::Bar(bar) = &self.display {
            bar.reset();
            bar.set_length(steps as u64);
            bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
            bar.set_message("");
        }
    }

    /// Shows a step.
    pub fn step(&mut self, report: &StepReport) {
        self.means.add(report);
        let elapsed = self.started.elapsed();
        match &self.display {
            Display::Bar(bar) => {
                bar.set_position(self.means.steps as u64);
                bar.set_message(self.means.text(elapsed));
            }
            Display::Lines if has_line(self.means.steps, self.steps) => {
                let left = left(self.means.steps, self.steps, elapsed);
                tracing::info!(
                    "epoch {}/{}, step {}/{}: {}, {} left",
                    self.epoch,
                    self.epochs,
                    self.means.steps,
                    self.steps,
                    self.means.text(elapsed),
                    HumanDuration(left)
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

impl Means {
    fn add(&mut self, report: &StepReport) {
        let images = report.images as f64;
        self.steps += 1;
        self.images += report.images;
        self.loss += report.loss * images;
        if let Some((l_pg, alpha_l_pg)) = report.guidance {
            let (sum, alpha_sum) = self.guidance.unwrap_or_default();
            self.guidance = Some((sum + l_pg * images, alpha_sum + alpha_l_pg * images));
        }
    }

    /// The means over all images so far, and how many of them there were in a second.
    fn text(&self, elapsed: Duration) -> String {
        let mean = |sum: f64| sum / self.images.max(1) as f64;
        let rate = self.images as f64 / elapsed.as_secs_f64().max(1e-9);
        let guidance = match self.guidance {
            Some((l_pg, alpha_l_pg)) => {
                format!("  L_PG {:.3e}  alpha*L_PG {:.3e}", mean(l_pg), mean(alpha_l_pg))
            }
            None => String::new(),
        };
        format!("loss {:.4}{guidance}  {rate:.0} images/s", mean(self.loss))
    }
}

/// Whether a step has a log line: the last of each tenth of an epoch.
fn has_line(step: usize, steps: usize) -> bool {
    let tenth = |step: usize| step * LINES_PER_EPOCH / steps.max(1);
    step > 0 && tenth(step) > tenth(step - 1)
}

/// The time that the other steps of the epoch take at the pace so far, in whole seconds.
fn left(step: usize, steps: usize, elapsed: Duration) -> Duration {
    let seconds = elapsed.as_secs_f64() / step.max(1) as f64 * steps.saturating_sub(step) as f64;
    Duration::from_secs(seconds.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_holds_means_over_images() {
        let mut means = Means::default();
        means.add(&StepReport { images: 30, loss: 1.0, guidance: Some((4e-3, 4e-5)) });
        means.add(&StepReport { images: 10, loss: 3.0, guidance: Some((0.0, 0.0)) });
        let expected = "loss 1.5000  L_PG 3.000e-3  alpha*L_PG 3.000e-5  20 images/s";
        assert_eq!(means.text(Duration::from_secs(2)), expected);

        let mut plain = Means::default();
        plain.add(&StepReport { images: 5, loss: 0.25, guidance: None });
        assert_eq!(plain.text(Duration::from_millis(500)), "loss 0.2500  10 images/s");
    }

    #[test]
    fn an_epoch_has_at_most_ten_lines_and_one_at_its_end() {
        for steps in [1, 3, 10, 11, 1000] {
            let lines: Vec<usize> = (1..=steps).filter(|&step| has_line(step, steps)).collect();
            assert_eq!(lines.len(), steps.min(10), "{steps}: {lines:?}");
            assert_eq!(lines.last(), Some(&steps));
        }
        assert_eq!(left(10, 40, Duration::from_secs(5)), Duration::from_secs(15));
    }

    #[test]
    fn a_hidden_display_takes_every_call() {
        let mut progress = Progress::new(false, 2);
        progress.begin_epoch(1, 0);
        progress.step(&StepReport { images: 0, loss: f64::NAN, guidance: None });
        progress.end_epoch("accuracy 0.5");
        progress.finish();
    }
}
