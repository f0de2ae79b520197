//! The training loop.
//!
//! A [`Task`] makes batches, computes a step's gradients and validates; the loop does the rest: optimiser and schedule,
//! accumulation and clipping, averaging, selection, early stopping, logs and checkpoints.
//!
//! Every file that decides how a run goes on is written before `state.safetensors`, which is written last, at the end
//! of each epoch and at an interruption. A run that is killed at any moment therefore goes on from its last state, and
//! ends with the same bits as if it had never stopped: randomness is a function of seed, epoch and sample, and nothing
//! else is carried over.

mod error;
mod files;
mod setup;
mod state;
mod sums;
mod task;

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::Var;
use serde::{Deserialize, Serialize};

pub use error::TrainError;
pub use setup::Setup;
pub use sums::Sums;
pub use task::{Batches, Task, TaskStep, Validation};

use self::state::State;
use crate::curves::write_curves;
use crate::early_stop::Verdict;
use crate::interrupt::Interrupt;
use crate::optim::{Ema, Gradients};
use crate::results::Results;
use crate::schedule::LrPlan;
use crate::tensorboard::TensorBoard;

/// How to train.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// Epochs in all.
    pub epochs: usize,
    /// Base learning rate.
    pub lr: f64,
    /// Its schedule over optimiser steps.
    pub plan: LrPlan,
    /// Batches that make one optimiser step.
    pub accumulate: usize,
    /// Largest global norm of a gradient.
    pub clip_norm: Option<f64>,
    /// Decay of the average of weights that is validated and kept.
    pub ema: Option<f64>,
    /// Epochs without improvement after which to stop.
    pub patience: Option<usize>,
    /// How many of the best epochs' weights to keep, besides the best and the last.
    pub top_k: usize,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// All epochs ran.
    Completed,
    /// No improvement for as long as patience allows.
    EarlyStopped,
    /// Ctrl-C.
    Interrupted,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Why it ended.
    pub ending: Ending,
    /// Epochs completed, counted from the very start.
    pub epochs: usize,
    /// The epoch (from 1) whose weights are `best.safetensors`.
    pub best_epoch: usize,
    /// L_cls of the last epoch, mean over samples.
    pub loss_cls: f64,
    /// L_PG of the last epoch, mean over the steps that measured it; NaN if none did.
    pub loss_pg: f64,
}

/// A run in its directory: [`Setup::start`] or [`Setup::resume`] makes one.
#[derive(Debug)]
pub struct Trainer<'a, T, A> {
    setup: Setup<'a, T, A>,
    /// The parameters that are not frozen.
    trainable: BTreeMap<String, Var>,
    ema: Option<Ema>,
    state: State,
    results: Results,
    timings: Results,
    tensorboard: TensorBoard,
    interrupt: Option<Interrupt>,
    steps_per_epoch: usize,
}

impl<T: Task, A: Serialize> Trainer<'_, T, A> {
    /// Lets Ctrl-C save and stop.
    #[must_use]
    pub fn interruptible(self, interrupt: Interrupt) -> Self {
        Self { interrupt: Some(interrupt), ..self }
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// [`TrainError`]; the last state stays on the disk and can be resumed.
    pub fn run(mut self) -> Result<Outcome, TrainError> {
        let mut interrupted = false;
        while !self.is_over() && !interrupted {
            let started = Instant::now();
            if self.train_epoch()? {
                self.finish_epoch(started)?;
                interrupted = self.stop_requested() && !self.is_over();
            } else {
                self.state.sums.seconds += started.elapsed().as_secs_f64();
                self.save_state()?;
                interrupted = true;
            }
        }
        self.setup.progress.finish();
        let ending = match (interrupted, self.state.stopped) {
            (true, _) => Ending::Interrupted,
            (false, true) => Ending::EarlyStopped,
            (false, false) => Ending::Completed,
        };
        Ok(Outcome {
            ending,
            epochs: self.state.epoch,
            best_epoch: self.state.best_epoch,
            loss_cls: self.results.last("loss_cls"),
            loss_pg: self.results.last("loss_pg"),
        })
    }

    /// Whether there is nothing left to train.
    fn is_over(&self) -> bool {
        self.state.stopped || self.state.epoch >= self.setup.options.epochs
    }

    /// Runs what is left of the epoch; false if the user interrupted it.
    fn train_epoch(&mut self) -> Result<bool, TrainError> {
        let (epoch, steps) = (self.state.epoch, self.steps_per_epoch);
        self.setup.progress.begin_epoch(epoch + 1, steps, &self.state.sums);
        let mut pending: Option<(Gradients, usize)> = None;
        let batches = self.setup.task.batches(epoch, self.state.sums.batches).map_err(TrainError::task)?;
        for batch in batches {
            match batch.map_err(TrainError::task)? {
                Some(batch) => pending = Some(join(pending, self.gradients(batch)?)?),
                None => tracing::warn!(
                    "epoch {}, batch {}: skipped, since too few samples of it can be used",
                    epoch + 1,
                    self.state.sums.batches + 1
                ),
            }
            self.state.sums.batches += 1;
            self.state.step += 1;
            if self.ends_a_step()
                && let Some((gradients, count)) = pending.take()
            {
                self.optimize(gradients, count)?;
            }
            self.setup.progress.step(&self.state.sums);
            // Between optimiser steps nothing but the state needs saving; at the end of an epoch it is saved anyway.
            if self.stop_requested() && pending.is_none() && self.state.sums.batches < steps {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether an optimiser step comes after the batches so far. Their place in the epoch decides, so that a batch that
    /// was skipped moves no later step.
    fn ends_a_step(&self) -> bool {
        let batches = self.state.sums.batches;
        batches.is_multiple_of(self.setup.options.accumulate.max(1)) || batches == self.steps_per_epoch
    }

    /// The gradients of a batch, whose losses join the sums.
    fn gradients(&mut self, batch: T::Batch) -> Result<Gradients, TrainError> {
        let step = self.setup.task.step(batch, self.state.step).map_err(TrainError::task)?;
        self.check_loss(&step)?;
        self.state.sums.add(&step);
        Ok(Gradients::collect(&self.trainable, &step.gradients)?)
    }

    fn stop_requested(&self) -> bool {
        self.interrupt.is_some_and(Interrupt::requested)
    }

    fn check_loss(&self, step: &TaskStep) -> Result<(), TrainError> {
        let losses = [("L_cls", step.loss_cls), ("L_PG", step.guidance.map_or(0.0, |(loss, _)| loss))];
        match losses.into_iter().find(|(_, loss)| !loss.is_finite()) {
            // The batch is not counted yet.
            Some((name, _)) => Err(self.diverged(self.state.sums.batches + 1, name)),
            None => Ok(()),
        }
    }

    fn diverged(&self, batch: usize, what: &str) -> TrainError {
        TrainError::Diverged { epoch: self.state.epoch + 1, batch, what: what.to_owned() }
    }

    fn optimize(&mut self, mut gradients: Gradients, count: usize) -> Result<(), TrainError> {
        if count > 1 {
            gradients.scale(1.0 / count as f64)?;
        }
        if let Some(name) = gradients.first_non_finite()? {
            return Err(self.diverged(self.state.sums.batches, &format!("the gradient of {name}")));
        }
        if let Some(max) = self.setup.options.clip_norm {
            gradients.clip_norm(max)?;
        }
        let lr = self.lr(self.state.step - 1);
        self.setup.optimizer.step(self.setup.params.vars(), &gradients, lr)?;
        if let Some(ema) = &mut self.ema {
            ema.update()?;
        }
        Ok(())
    }

    /// Learning rate at a batch.
    fn lr(&self, batch: u64) -> f64 {
        let (batch, accumulate) = (batch as usize, self.setup.options.accumulate.max(1));
        let per_epoch = self.steps_per_epoch.max(1);
        let step = batch / per_epoch * per_epoch.div_ceil(accumulate) + batch % per_epoch / accumulate;
        self.setup.options.lr * self.setup.options.plan.multiplier(step)
    }

    /// Validates, logs, and saves weights and state.
    fn finish_epoch(&mut self, started: Instant) -> Result<(), TrainError> {
        if self.steps_per_epoch > 0 && self.state.sums.samples == 0 {
            return Err(TrainError::NoSamples { epoch: self.state.epoch + 1 });
        }
        self.swap_average()?;
        let validation = self.setup.task.validate().map_err(TrainError::task)?;
        self.state.epoch += 1;
        let epoch = self.state.epoch;
        let verdict = match validation.selection {
            Some(value) => self.state.early_stop.observe(value),
            None => Verdict::Improved,
        };
        if verdict == Verdict::Improved {
            self.state.best_epoch = epoch;
            self.save_weights("best.safetensors")?;
        }
        self.save_weights("last.safetensors")?;
        self.keep_top(validation.selection, epoch)?;
        self.swap_average()?;

        self.log(&validation)?;
        self.timings.append(epoch, &[self.state.sums.seconds + started.elapsed().as_secs_f64()])?;
        self.state.sums = Sums::default();
        self.state.stopped = verdict == Verdict::Stop;
        self.save_state()
    }

    fn log(&mut self, validation: &Validation) -> Result<(), TrainError> {
        let epoch = self.state.epoch;
        let lr = self.lr(self.state.step.saturating_sub(1));
        let sums = &self.state.sums;
        let losses = [sums.mean_loss_cls(), sums.mean_loss_pg(), sums.mean_alpha_loss_pg()];
        let trained = [lr].into_iter().chain(losses).chain([sums.top1()]);
        let values: Vec<f64> = trained.chain(validation.values.iter().copied()).collect();
        self.results.append(epoch, &values)?;
        write_curves(&self.results, &self.setup.dir.file("curves.svg"))?;
        let mut summary = Vec::new();
        for (column, &value) in self.results.columns().iter().zip(&values) {
            if value.is_finite() {
                self.tensorboard.scalar(column, epoch as u64, value as f32)?;
                summary.push(format!("{column} {value:.4}"));
            }
        }
        self.setup.progress.end_epoch(&summary[1..].join("  "));
        Ok(())
    }

    /// Exchanges weights and their average, if there is one: once before a validation, once after it.
    fn swap_average(&mut self) -> Result<(), TrainError> {
        match &mut self.ema {
            Some(ema) => Ok(ema.swap()?),
            None => Ok(()),
        }
    }
}

/// The sum of gradients, and how many batches it is of, with those of one more.
fn join(pending: Option<(Gradients, usize)>, gradients: Gradients) -> Result<(Gradients, usize), TrainError> {
    match pending {
        None => Ok((gradients, 1)),
        Some((mut sum, count)) => {
            sum.accumulate(&gradients)?;
            Ok((sum, count + 1))
        }
    }
}
