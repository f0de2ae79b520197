//! How a run begins, and how it is taken up again.

use std::collections::BTreeMap;

use candle_core::Tensor;
use pg_models::Params;
use serde::Serialize;

use super::files::remove_leftovers;
use super::state::State;
use super::{Task, TrainError, TrainOptions, Trainer};
use crate::checkpoint;
use crate::optim::{Ema, Optimizer};
use crate::progress::Progress;
use crate::results::Results;
use crate::run_dir::RunDir;
use crate::tensorboard::TensorBoard;

/// The columns of `results.csv` that every task has, after `epoch`.
const COLUMNS: [&str; 5] = ["lr", "loss_cls", "loss_pg", "alpha_loss_pg", "train_top1"];
/// Those of `timings.csv`.
const TIMINGS: [&str; 1] = ["seconds"];

/// Everything that a run is made of.
#[derive(Debug)]
pub struct Setup<'a, T, A> {
    /// What is learnt.
    pub task: &'a T,
    /// Parameters and buffers of the network.
    pub params: &'a Params,
    /// What moves the parameters.
    pub optimizer: Optimizer,
    /// How to train.
    pub options: TrainOptions,
    /// Where the run lies.
    pub dir: &'a RunDir,
    /// What a weights file says of itself (model, classes, ...).
    pub about: A,
    /// What the run shows.
    pub progress: Progress,
}

impl<'a, T: Task, A: Serialize> Setup<'a, T, A> {
    /// A run that begins.
    ///
    /// # Errors
    /// If the run directory cannot be written, or a parameter group names nothing.
    pub fn start(self) -> Result<Trainer<'a, T, A>, TrainError> {
        self.optimizer.groups().check(self.params.vars())?;
        let results = Results::create(&self.dir.file("results.csv"), &self.columns())?;
        let timings = Results::create(&self.dir.file("timings.csv"), &TIMINGS)?;
        let state = State::new(self.task.fingerprint(), self.options.patience);
        let ema = self.ema()?;
        let trainer = self.trainer(state, ema, results, timings)?;
        // From here on the run can be killed at any moment and resumed.
        trainer.save_state()?;
        Ok(trainer)
    }

    /// The run in the directory, from its last state.
    ///
    /// # Errors
    /// If there is no state, or it does not fit the data, the model or the optimiser.
    pub fn resume(mut self) -> Result<Trainer<'a, T, A>, TrainError> {
        let path = self.dir.file("state.safetensors");
        let (tensors, state) = checkpoint::load::<State>(&path)?;
        if let Some(change) = state.data.change(&self.task.fingerprint()) {
            return Err(TrainError::DataChanged { path, change });
        }
        remove_leftovers(self.dir);
        self.params.load(&weights(&tensors))?;
        self.optimizer.load_state(&tensors, self.params.vars())?;
        let mut ema = self.ema()?;
        if let Some(ema) = &mut ema {
            ema.load_state(&tensors)?;
        }
        let results = Results::resume(&self.dir.file("results.csv"), &self.columns(), state.epoch)?;
        let timings = Results::resume(&self.dir.file("timings.csv"), &TIMINGS, state.epoch)?;
        self.trainer(state, ema, results, timings)
    }

    fn columns(&self) -> Vec<&'static str> {
        COLUMNS.into_iter().chain(self.task.validation_columns()).collect()
    }

    /// The average of the present weights.
    fn ema(&self) -> Result<Option<Ema>, TrainError> {
        Ok(self.options.ema.map(|decay| Ema::new(decay, self.params)).transpose()?)
    }

    fn trainer(
        self,
        state: State,
        ema: Option<Ema>,
        results: Results,
        timings: Results,
    ) -> Result<Trainer<'a, T, A>, TrainError> {
        Ok(Trainer {
            trainable: self.optimizer.groups().trainable(self.params.vars()),
            tensorboard: TensorBoard::create(self.dir.path())?,
            steps_per_epoch: self.task.steps_per_epoch(),
            interrupt: None,
            setup: self,
            ema,
            state,
            results,
            timings,
        })
    }
}

/// The model's own tensors in a state.
fn weights(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let named =
        |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix("model.")?.to_owned(), tensor.clone()));
    tensors.iter().filter_map(named).collect()
}
