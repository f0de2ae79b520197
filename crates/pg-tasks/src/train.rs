//! The training loop.
//!
//! A [`Task`] makes batches, computes a step's gradients and validates; the loop does the rest: optimiser and schedule,
//! accumulation and clipping, averaging, selection, early stopping, logs and checkpoints.
//!
//! Every file that decides how a run goes on is written before `state.safetensors`, which is written last, at the end
//! of each epoch and at an interruption. A run that is killed at any moment therefore goes on from its last state, and
//! ends with the same bits as if it had never stopped: randomness is a function of seed, epoch and sample, and nothing
//! else is carried over.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::time::Instant;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use pg_models::Params;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, CheckpointError};
use crate::curves::{CurvesError, write_curves};
use crate::early_stop::{Direction, EarlyStop, Verdict};
use crate::interrupt::Interrupt;
use crate::optim::{Ema, Gradients, MissingGradient, OptimError, Optimizer};
use crate::prefetch::{Prefetch, PrefetchError};
use crate::progress::{Progress, StepReport};
use crate::results::{Results, ResultsError};
use crate::run_dir::{RunDir, RunDirError};
use crate::schedule::LrPlan;
use crate::tensorboard::TensorBoard;

/// The columns of `results.csv` that every task has, after `epoch`.
const COLUMNS: [&str; 5] = ["lr", "loss_cls", "loss_pg", "alpha_loss_pg", "train_top1"];

/// The batches of an epoch, made ahead of their use.
pub type Batches<B, E> = Result<Prefetch<B, E>, PrefetchError<E>>;

/// What one task adds to the loop.
pub trait Task {
    /// One batch, made on the prefetch thread.
    type Batch: Send + 'static;
    /// What can go wrong with a batch, a step or a validation.
    type Error: StdError + Send + Sync + 'static;

    /// Batches of an epoch.
    fn steps_per_epoch(&self) -> usize;

    /// The batches of `epoch` (from 0), without the first `skip`.
    ///
    /// # Errors
    /// If the prefetch thread cannot start.
    fn batches(&self, epoch: usize, skip: usize) -> Batches<Self::Batch, Self::Error>;

    /// Losses and gradients of one batch; `step` counts batches over the whole run.
    ///
    /// # Errors
    /// If the network fails.
    fn step(&self, batch: Self::Batch, step: u64) -> Result<TaskStep, Self::Error>;

    /// Names of the columns that [`Task::validate`] fills.
    fn validation_columns(&self) -> Vec<&'static str>;

    /// Validates the present weights.
    ///
    /// # Errors
    /// If an image or the network fails.
    fn validate(&self) -> Result<Validation, Self::Error>;
}

/// What a task found in one batch.
#[derive(Debug)]
pub struct TaskStep {
    /// Samples of the batch.
    pub samples: usize,
    /// Samples that the network classified right.
    pub correct: usize,
    /// L_cls.
    pub loss_cls: f64,
    /// L_PG and alpha * L_PG, if this step measured them.
    pub guidance: Option<(f64, f64)>,
    /// Gradients of the whole loss.
    pub gradients: GradStore,
}

/// What a task found in its validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// One number a column of [`Task::validation_columns`]; NaN where there is none.
    pub values: Vec<f64>,
    /// What selects the best weights, larger is better; `None` where there is nothing to select by, so that the last
    /// epoch counts as the best.
    pub selection: Option<f64>,
}

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

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A batch, step or validation failed.
    #[error(transparent)]
    Task(Box<dyn StdError + Send + Sync>),
    /// The loss or a gradient is not a number.
    #[error("step {step}: {what} is not finite; lower the learning rate or alpha, or clip the gradient")]
    Diverged {
        /// Batches before this one.
        step: u64,
        /// The loss, or the parameter whose gradient it is.
        what: String,
    },
    /// The loss does not reach some parameters.
    #[error(transparent)]
    Unreached(#[from] MissingGradient),
    /// The optimiser failed.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// The run directory could not be written.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// `results.csv` could not be written or read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The curves could not be drawn.
    #[error(transparent)]
    Curves(#[from] CurvesError),
    /// The saved weights do not fit the model.
    #[error(transparent)]
    Model(#[from] pg_models::Error),
    /// candle failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Everything besides tensors that a run goes on from.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    /// Epochs completed.
    epoch: usize,
    /// Batches seen in all.
    step: u64,
    early_stop: EarlyStop,
    /// Whether patience has run out.
    stopped: bool,
    best_epoch: usize,
    /// (selection, epoch) of the weights kept, best first.
    top: Vec<(f64, usize)>,
    /// The epoch under way, if the run was interrupted in it.
    sums: Sums,
}

/// Sums over the part of an epoch that is done.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sums {
    batches: usize,
    samples: usize,
    correct: usize,
    loss_cls: f64,
    guided_samples: usize,
    loss_pg: f64,
    alpha_loss_pg: f64,
}

impl Sums {
    fn add(&mut self, step: &TaskStep) {
        let samples = step.samples as f64;
        self.batches += 1;
        self.samples += step.samples;
        self.correct += step.correct;
        self.loss_cls += step.loss_cls * samples;
        if let Some((loss_pg, alpha_loss_pg)) = step.guidance {
            self.guided_samples += step.samples;
            self.loss_pg += loss_pg * samples;
            self.alpha_loss_pg += alpha_loss_pg * samples;
        }
    }

    /// loss_cls, loss_pg, alpha_loss_pg, train_top1: means, NaN where there is nothing to average.
    fn means(&self) -> [f64; 4] {
        let (samples, guided) = (self.samples as f64, self.guided_samples as f64);
        [
            self.loss_cls / samples,
            self.loss_pg / guided,
            self.alpha_loss_pg / guided,
            self.correct as f64 / samples,
        ]
    }
}

/// A run in its directory.
#[derive(Debug)]
pub struct Trainer<'a, T, A> {
    task: &'a T,
    params: &'a Params,
    options: TrainOptions,
    optimizer: Optimizer,
    ema: Option<Ema>,
    dir: &'a RunDir,
    about: A,
    state: State,
    results: Results,
    timings: Results,
    tensorboard: TensorBoard,
    progress: Progress,
    interrupt: Option<Interrupt>,
    steps_per_epoch: usize,
}

impl<'a, T: Task, A: Serialize> Trainer<'a, T, A> {
    /// A run that begins. `about` is what a weights file says of itself (model, classes, ...).
    ///
    /// # Errors
    /// If the run directory cannot be written, or a parameter group names nothing.
    pub fn start(
        task: &'a T,
        params: &'a Params,
        optimizer: Optimizer,
        options: TrainOptions,
        dir: &'a RunDir,
        about: A,
        progress: Progress,
    ) -> Result<Self, TrainError> {
        let columns: Vec<&str> = COLUMNS.into_iter().chain(task.validation_columns()).collect();
        optimizer.groups().check(params.vars())?;
        let ema = options.ema.map(|decay| Ema::new(decay, params.vars())).transpose()?;
        let state = State {
            epoch: 0,
            step: 0,
            early_stop: EarlyStop::new(Direction::Maximise, options.patience),
            stopped: false,
            best_epoch: 0,
            top: Vec::new(),
            sums: Sums::default(),
        };
        let trainer = Self {
            results: Results::create(&dir.file("results.csv"), &columns)?,
            timings: Results::create(&dir.file("timings.csv"), &["seconds"])?,
            tensorboard: TensorBoard::create(dir.path())?,
            interrupt: None,
            steps_per_epoch: task.steps_per_epoch(),
            task,
            params,
            options,
            optimizer,
            ema,
            dir,
            about,
            state,
            progress,
        };
        // From here on the run can be killed at any moment and resumed.
        trainer.save_state()?;
        Ok(trainer)
    }

    /// The run in `dir`, from its last state.
    ///
    /// # Errors
    /// If there is no state, or it does not fit the model or the optimiser.
    pub fn resume(
        task: &'a T,
        params: &'a Params,
        mut optimizer: Optimizer,
        options: TrainOptions,
        dir: &'a RunDir,
        about: A,
        progress: Progress,
    ) -> Result<Self, TrainError> {
        let columns: Vec<&str> = COLUMNS.into_iter().chain(task.validation_columns()).collect();
        remove_leftovers(dir);
        let (tensors, state) = checkpoint::load::<State>(&dir.file("state.safetensors"))?;
        let weights = tensors
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix("model.")?.to_owned(), tensor.clone())))
            .collect();
        params.load(&weights)?;
        optimizer.load_state(&tensors, params.vars())?;
        let ema = match options.ema {
            None => None,
            Some(decay) => {
                let mut ema = Ema::new(decay, params.vars())?;
                ema.load_state(&tensors, params.vars())?;
                Some(ema)
            }
        };
        Ok(Self {
            results: Results::resume(&dir.file("results.csv"), &columns, state.epoch)?,
            timings: Results::resume(&dir.file("timings.csv"), &["seconds"], state.epoch)?,
            tensorboard: TensorBoard::create(dir.path())?,
            interrupt: None,
            steps_per_epoch: task.steps_per_epoch(),
            task,
            params,
            options,
            optimizer,
            ema,
            dir,
            about,
            state,
            progress,
        })
    }

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
        while self.state.epoch < self.options.epochs && !self.state.stopped && !interrupted {
            let started = Instant::now();
            if self.train_epoch()? {
                self.finish_epoch(started)?;
                interrupted = self.stop_requested() && self.state.epoch < self.options.epochs;
            } else {
                self.save_state()?;
                interrupted = true;
            }
        }
        self.progress.finish();
        let ending = match (interrupted, self.state.stopped) {
            (true, _) => Ending::Interrupted,
            (false, true) => Ending::EarlyStopped,
            (false, false) => Ending::Completed,
        };
        let last = |column: &str| self.results.series(column).last().map_or(f64::NAN, |(_, value)| *value);
        Ok(Outcome {
            ending,
            epochs: self.state.epoch,
            best_epoch: self.state.best_epoch,
            loss_cls: last("loss_cls"),
            loss_pg: last("loss_pg"),
        })
    }

    /// Runs what is left of the epoch; false if the user interrupted it.
    fn train_epoch(&mut self) -> Result<bool, TrainError> {
        let (epoch, steps) = (self.state.epoch, self.steps_per_epoch);
        self.progress.begin_epoch(epoch + 1, steps);
        let mut pending: Option<(Gradients, usize)> = None;
        let batches = self.task.batches(epoch, self.state.sums.batches).map_err(task_error)?;
        for batch in batches {
            let step = self.task.step(batch.map_err(task_error)?, self.state.step).map_err(task_error)?;
            self.check_loss(&step)?;
            let trainable = self.optimizer.groups().trainable(self.params.vars());
            let gradients = Gradients::collect(&trainable, &step.gradients)?;
            pending = Some(match pending.take() {
                None => (gradients, 1),
                Some((mut sum, count)) => {
                    sum.accumulate(&gradients)?;
                    (sum, count + 1)
                }
            });
            self.state.sums.add(&step);
            self.state.step += 1;
            let full = pending.as_ref().is_some_and(|(_, count)| *count == self.options.accumulate);
            if (full || self.state.sums.batches == steps)
                && let Some((gradients, count)) = pending.take()
            {
                self.optimize(gradients, count)?;
            }
            self.progress.step(&StepReport {
                images: step.samples,
                loss: step.loss_cls + step.guidance.map_or(0.0, |(_, alpha_loss_pg)| alpha_loss_pg),
                guidance: step.guidance,
            });
            // Between optimiser steps nothing but the state needs saving; at the end of an epoch it is saved anyway.
            if self.stop_requested() && pending.is_none() && self.state.sums.batches < steps {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn stop_requested(&self) -> bool {
        self.interrupt.is_some_and(Interrupt::requested)
    }

    fn check_loss(&self, step: &TaskStep) -> Result<(), TrainError> {
        let losses = [("L_cls", step.loss_cls), ("L_PG", step.guidance.map_or(0.0, |(loss, _)| loss))];
        match losses.into_iter().find(|(_, loss)| !loss.is_finite()) {
            Some((name, _)) => Err(TrainError::Diverged { step: self.state.step, what: name.to_owned() }),
            None => Ok(()),
        }
    }

    fn optimize(&mut self, mut gradients: Gradients, count: usize) -> Result<(), TrainError> {
        if count > 1 {
            gradients.scale(1.0 / count as f64)?;
        }
        if let Some(name) = gradients.first_non_finite()? {
            let what = format!("the gradient of {name}");
            return Err(TrainError::Diverged { step: self.state.step - 1, what });
        }
        if let Some(max) = self.options.clip_norm {
            gradients.clip_norm(max)?;
        }
        let lr = self.lr(self.state.step - 1);
        self.optimizer.step(self.params.vars(), &gradients, lr)?;
        if let Some(ema) = &mut self.ema {
            ema.update(self.params.vars())?;
        }
        Ok(())
    }

    /// Learning rate at a batch.
    fn lr(&self, batch: u64) -> f64 {
        let (batch, accumulate) = (batch as usize, self.options.accumulate.max(1));
        let per_epoch = self.steps_per_epoch.max(1);
        let step = batch / per_epoch * per_epoch.div_ceil(accumulate) + batch % per_epoch / accumulate;
        self.options.lr * self.options.plan.multiplier(step)
    }

    /// Validates, logs, and saves weights and state.
    fn finish_epoch(&mut self, started: Instant) -> Result<(), TrainError> {
        self.swap_average()?;
        let validation = self.task.validate().map_err(task_error)?;
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
        self.timings.append(epoch, &[started.elapsed().as_secs_f64()])?;
        self.state.sums = Sums::default();
        self.state.stopped = verdict == Verdict::Stop;
        self.save_state()
    }

    fn log(&mut self, validation: &Validation) -> Result<(), TrainError> {
        let epoch = self.state.epoch;
        let lr = self.lr(self.state.step.saturating_sub(1));
        let values: Vec<f64> = [lr]
            .into_iter()
            .chain(self.state.sums.means())
            .chain(validation.values.iter().copied())
            .collect();
        self.results.append(epoch, &values)?;
        write_curves(&self.results, &self.dir.file("curves.svg"))?;
        let mut summary = Vec::new();
        for (column, &value) in self.results.columns().iter().zip(&values) {
            if value.is_finite() {
                self.tensorboard.scalar(column, epoch as u64, value as f32)?;
                summary.push(format!("{column} {value:.4}"));
            }
        }
        self.progress.end_epoch(&summary[1..].join("  "));
        Ok(())
    }

    /// Exchanges weights and their average, if there is one: once before a validation, once after it.
    fn swap_average(&mut self) -> Result<(), TrainError> {
        match &mut self.ema {
            Some(ema) => Ok(ema.swap(self.params.vars())?),
            None => Ok(()),
        }
    }

    fn save_weights(&self, name: &str) -> Result<(), TrainError> {
        Ok(checkpoint::save(&self.dir.file(name), &self.params.tensors(), &self.about)?)
    }

    /// Keeps the weights of the `top_k` best epochs as `epoch-<n>.safetensors`, and removes those that fell out.
    fn keep_top(&mut self, selection: Option<f64>, epoch: usize) -> Result<(), TrainError> {
        let Some(value) = selection.filter(|_| self.options.top_k > 0) else { return Ok(()) };
        let place = self.state.top.iter().position(|(kept, _)| value > *kept).unwrap_or(self.state.top.len());
        if place >= self.options.top_k {
            return Ok(());
        }
        self.save_weights(&top_name(epoch))?;
        self.state.top.insert(place, (value, epoch));
        for (_, fallen) in self.state.top.drain(self.options.top_k.min(self.state.top.len())..) {
            // Its absence does no harm.
            let _ = std::fs::remove_file(self.dir.file(&top_name(fallen)));
        }
        Ok(())
    }

    fn save_state(&self) -> Result<(), TrainError> {
        let mut tensors: BTreeMap<String, Tensor> =
            self.params.tensors().into_iter().map(|(name, t)| (format!("model.{name}"), t)).collect();
        tensors.extend(self.optimizer.state()?);
        if let Some(ema) = &self.ema {
            tensors.extend(ema.state());
        }
        Ok(checkpoint::save(&self.dir.file("state.safetensors"), &tensors, &self.state)?)
    }
}

fn top_name(epoch: usize) -> String {
    format!("epoch-{epoch}.safetensors")
}

/// Removes what a run that was killed had written of a file that it did not come to rename.
fn remove_leftovers(dir: &RunDir) {
    let is_leftover = |name: &str| name.starts_with('.') && name.ends_with(".tmp");
    for entry in std::fs::read_dir(dir.path()).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_leftover) {
            // It does no harm, only takes space.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn task_error<E: StdError + Send + Sync + 'static>(error: E) -> TrainError {
    TrainError::Task(Box::new(error))
}
