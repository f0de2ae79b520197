//! How a run is optimised.

use clap::Args;
use pg_models::Params;
use pg_random::Seed;
use pg_tasks::optim::{AdamW, Groups, Optimizer, ParamGroup, Sgd};
use pg_tasks::schedule::{LrPlan, Schedule};
use pg_tasks::train::TrainOptions;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::choices::{OptimizerName, ScheduleName};
use crate::error::{SettingsError, ensure, idle};

const MOMENTUM: f64 = 0.9;
const LR_STEP_EPOCHS: usize = 30;
const LR_GAMMA: f64 = 0.1;

/// What may be said of optimisation.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OptimisationSettings {
    /// Epochs.
    #[arg(long, value_name = "E", help_heading = "Optimisation")]
    pub epochs: Option<usize>,
    /// Samples a batch.
    #[arg(long, value_name = "N", help_heading = "Optimisation")]
    pub batch: Option<usize>,
    /// Optimiser.
    #[arg(long, value_enum, help_heading = "Optimisation")]
    pub optimizer: Option<OptimizerName>,
    /// Learning rate.
    #[arg(long, value_name = "LR", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub lr: Option<f64>,
    /// Factor on the learning rate of the classification head.
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub head_lr_scale: Option<f64>,
    /// Momentum; of SGD only.
    #[arg(long, value_name = "M", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub momentum: Option<f64>,
    /// Nesterov's momentum; of SGD only.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Optimisation")]
    pub nesterov: Option<bool>,
    /// Weight decay.
    #[arg(long, value_name = "WD", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub weight_decay: Option<f64>,
    /// Learning-rate schedule.
    #[arg(long, value_enum, help_heading = "Optimisation")]
    pub schedule: Option<ScheduleName>,
    /// Epochs between two drops of the step schedule.
    #[arg(long, value_name = "E", help_heading = "Optimisation")]
    pub lr_step_epochs: Option<usize>,
    /// Factor of each drop of the step schedule.
    #[arg(long, value_name = "G", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub lr_gamma: Option<f64>,
    /// Epochs of linear warm-up.
    #[arg(long, value_name = "E", help_heading = "Optimisation")]
    pub warmup_epochs: Option<usize>,
    /// Batches that make one optimiser step.
    #[arg(long, value_name = "N", help_heading = "Optimisation")]
    pub accumulate: Option<usize>,
    /// Largest global norm of the gradient.
    #[arg(long, value_name = "NORM", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub clip_norm: Option<f64>,
    /// Validate and keep an exponential moving average of the weights with this decay.
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true, help_heading = "Optimisation")]
    pub ema: Option<f64>,
    /// Stop after this many epochs without improvement of what --select names.
    #[arg(long, value_name = "E", help_heading = "Optimisation")]
    pub patience: Option<usize>,
    /// Keep the weights of this many best epochs by --select, besides the best and the last.
    #[arg(long, value_name = "K", help_heading = "Optimisation")]
    pub top_k: Option<usize>,
    /// Stop each epoch after this many batches, and score as many of 64 images: a quick look whether everything works.
    #[arg(long, value_name = "N", help_heading = "Optimisation")]
    pub limit_batches: Option<usize>,
    /// Seed of all that a run draws at random: initial weights, order, augmentation, synthesis, random masks, --fraction. Images
    /// that are drawn for a set stay the same.
    #[arg(long, value_name = "S", help_heading = "Optimisation")]
    pub seed: Option<u64>,
}

/// The optimisation of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the setting of the same name")]
pub struct OptimisationConfig {
    pub epochs: usize,
    pub batch: usize,
    pub optimizer: OptimizerName,
    pub lr: f64,
    pub head_lr_scale: f64,
    pub momentum: f64,
    pub nesterov: bool,
    pub weight_decay: f64,
    pub schedule: ScheduleName,
    pub lr_step_epochs: usize,
    pub lr_gamma: f64,
    pub warmup_epochs: usize,
    pub accumulate: usize,
    pub clip_norm: Option<f64>,
    pub ema: Option<f64>,
    pub patience: Option<usize>,
    pub top_k: usize,
    pub limit_batches: Option<usize>,
    pub seed: u64,
}

/// What a task does where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "each field is the setting of the same name")]
pub struct OptimisationDefaults {
    pub epochs: usize,
    pub batch: usize,
    pub optimizer: OptimizerName,
    pub lr: f64,
    pub weight_decay: f64,
}

impl OptimisationSettings {
    /// The complete description.
    pub fn resolve(self, defaults: OptimisationDefaults) -> OptimisationConfig {
        OptimisationConfig {
            epochs: self.epochs.unwrap_or(defaults.epochs),
            batch: self.batch.unwrap_or(defaults.batch),
            optimizer: self.optimizer.unwrap_or(defaults.optimizer),
            lr: self.lr.unwrap_or(defaults.lr),
            head_lr_scale: self.head_lr_scale.unwrap_or(1.0),
            momentum: self.momentum.unwrap_or(MOMENTUM),
            nesterov: self.nesterov.unwrap_or(false),
            weight_decay: self.weight_decay.unwrap_or(defaults.weight_decay),
            schedule: self.schedule.unwrap_or(ScheduleName::Cosine),
            lr_step_epochs: self.lr_step_epochs.unwrap_or(LR_STEP_EPOCHS),
            lr_gamma: self.lr_gamma.unwrap_or(LR_GAMMA),
            warmup_epochs: self.warmup_epochs.unwrap_or(0),
            accumulate: self.accumulate.unwrap_or(1),
            clip_norm: self.clip_norm,
            ema: self.ema,
            patience: self.patience,
            top_k: self.top_k.unwrap_or(0),
            limit_batches: self.limit_batches,
            seed: self.seed.unwrap_or(0),
        }
    }
}

impl OptimisationConfig {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// [`SettingsError::Range`].
    pub fn check(&self) -> Result<(), SettingsError> {
        let at_least_1 = |flag, value: usize| ensure(value >= 1, flag, "at least 1", value);
        let non_negative =
            |flag, value: f64| ensure(value >= 0.0 && value.is_finite(), flag, "0 or more", value);
        let positive =
            |flag, value: f64| ensure(value > 0.0 && value.is_finite(), flag, "more than 0", value);
        at_least_1("epochs", self.epochs)?;
        at_least_1("batch", self.batch)?;
        at_least_1("accumulate", self.accumulate)?;
        at_least_1("lr-step-epochs", self.lr_step_epochs)?;
        at_least_1("patience", self.patience.unwrap_or(1))?;
        at_least_1("limit-batches", self.limit_batches.unwrap_or(1))?;
        ensure(self.warmup_epochs <= self.epochs, "warmup-epochs", "at most the epochs", self.warmup_epochs)?;
        non_negative("weight-decay", self.weight_decay)?;
        non_negative("head-lr-scale", self.head_lr_scale)?;
        positive("lr", self.lr)?;
        positive("lr-gamma", self.lr_gamma)?;
        positive("clip-norm", self.clip_norm.unwrap_or(1.0))?;
        for (flag, value) in [("momentum", self.momentum), ("ema", self.ema.unwrap_or(0.0))] {
            ensure((0.0..1.0).contains(&value), flag, "in [0, 1)", value)?;
        }
        Ok(())
    }

    /// Refuses what would do nothing. A default is no wish and passes: the `args.toml` of a run names them all.
    /// `unselected` says when and what to do where the last epoch counts as the best.
    ///
    /// # Errors
    /// [`SettingsError::Idle`].
    pub fn check_idle(&self, unselected: Option<(&'static str, &'static str)>) -> Result<(), SettingsError> {
        if let Some((when, advice)) = unselected {
            self.check_selection(when, advice)?;
        }
        let adamw = self.optimizer == OptimizerName::Adamw;
        let (when, advice) = ("with --optimizer adamw", "add --optimizer sgd");
        idle(adamw && self.nesterov, "nesterov", when, advice)?;
        idle(adamw && self.momentum != MOMENTUM, "momentum", when, advice)?;
        let no_steps = self.schedule != ScheduleName::Step;
        let (when, advice) = ("without --schedule step", "add it");
        idle(no_steps && self.lr_step_epochs != LR_STEP_EPOCHS, "lr-step-epochs", when, advice)?;
        idle(no_steps && self.lr_gamma != LR_GAMMA, "lr-gamma", when, advice)
    }

    /// Refuses what needs a selection, where there is none.
    ///
    /// # Errors
    /// [`SettingsError::Idle`].
    pub fn check_selection(&self, when: &'static str, advice: &'static str) -> Result<(), SettingsError> {
        idle(self.patience.is_some(), "patience", when, advice)?;
        idle(self.top_k > 0, "top-k", when, advice)
    }

    /// The optimiser of `params`, of which those that begin with a prefix of the `head` may have a rate of their own and
    /// some stay as they are.
    pub fn optimizer(&self, params: &Params, head: &[&str], freeze: &[String]) -> Optimizer {
        // Of the head's names only those that this model has: others are of weights that it may begin with.
        let is_ours = |prefix: &&str| params.vars().keys().any(|name| name.starts_with(*prefix));
        let head = ParamGroup {
            matches: head
                .iter()
                .copied()
                .filter(is_ours)
                .map(|prefix| prefix.trim_end_matches('.').to_owned())
                .collect(),
            lr_scale: self.head_lr_scale,
            weight_decay: None,
        };
        let groups = if self.head_lr_scale == 1.0 { Vec::new() } else { vec![head] };
        let groups = Groups { groups, frozen: freeze.to_vec() };
        match self.optimizer {
            OptimizerName::Sgd => {
                Optimizer::Sgd(Sgd::new(self.momentum, self.nesterov, self.weight_decay, groups))
            }
            OptimizerName::Adamw => Optimizer::AdamW(AdamW::new(self.weight_decay, groups)),
        }
    }

    /// The samples of each batch of an epoch, from 0, of `samples` in all: shuffled anew in each epoch. A last batch of one
    /// sample joins the one before it, since batch statistics of one sample do not exist.
    pub fn epoch_batches(&self, samples: usize, epoch: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..samples).collect();
        order.shuffle(&mut Seed(self.seed).stream("shuffle", &[epoch as u64]));
        let mut batches: Vec<Vec<usize>> = order.chunks(self.batch).map(<[usize]>::to_vec).collect();
        if self.batch > 1
            && let [.., previous, last] = &mut batches[..]
            && last.len() == 1
        {
            previous.append(last);
            batches.pop();
        }
        batches.truncate(self.limit_batches.unwrap_or(usize::MAX));
        batches
    }

    /// How to train with so many batches an epoch.
    pub fn train_options(&self, batches_per_epoch: usize) -> TrainOptions {
        let steps_per_epoch = batches_per_epoch.div_ceil(self.accumulate);
        TrainOptions {
            epochs: self.epochs,
            lr: self.lr,
            plan: LrPlan {
                schedule: self.schedule(),
                warmup_steps: self.warmup_epochs * steps_per_epoch,
                steps_per_epoch,
                total_steps: self.epochs * steps_per_epoch,
            },
            accumulate: self.accumulate,
            clip_norm: self.clip_norm,
            ema: self.ema,
            patience: self.patience,
            top_k: self.top_k,
        }
    }

    fn schedule(&self) -> Schedule {
        match self.schedule {
            ScheduleName::Constant => Schedule::Constant,
            ScheduleName::Step => Schedule::Step { every_epochs: self.lr_step_epochs, gamma: self.lr_gamma },
            ScheduleName::Cosine => Schedule::Cosine { min: 0.0 },
            ScheduleName::OneCycle => {
                Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use pg_models::{MODEL_NAMES, Model, ModelSpec};

    const DEFAULTS: OptimisationDefaults = OptimisationDefaults {
        epochs: 1,
        batch: 1,
        optimizer: OptimizerName::Sgd,
        lr: 0.1,
        weight_decay: 0.0,
    };

    #[test]
    fn an_epoch_shows_every_sample_once_and_no_batch_has_one_alone() {
        let config = |batch, limit_batches| {
            let settings = OptimisationSettings { batch: Some(batch), limit_batches, ..Default::default() };
            settings.resolve(DEFAULTS)
        };
        let sizes = |samples, batch, limit| {
            config(batch, limit).epoch_batches(samples, 3).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(10, 4, None), [4, 4, 2]);
        assert_eq!(sizes(9, 4, None), [4, 5]);
        assert_eq!(sizes(1, 4, None), [1]);
        assert_eq!(sizes(3, 1, None), [1, 1, 1]);
        assert_eq!(sizes(10, 4, Some(1)), [4]);
        let of = |epoch| config(4, None).epoch_batches(10, epoch);
        let mut all = of(0).concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_ne!(of(0), of(1));
    }

    #[test]
    fn every_models_head_may_have_a_rate_of_its_own() {
        let settings = OptimisationSettings { head_lr_scale: Some(10.0), ..Default::default() };
        let config = settings.resolve(DEFAULTS);
        for name in MODEL_NAMES {
            let model =
                Model::new(ModelSpec::new(name, 3), Seed(0), DType::F32, &Device::Cpu).expect("a model");
            let optimizer = config.optimizer(model.params(), model.spec().head(), &[]);
            assert!(optimizer.groups().check(model.params().vars()).is_ok(), "{name}");
        }
    }
}
