//! The weights that a run keeps, and the state that it goes on from.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::Serialize;

use super::{Task, TrainError, Trainer};
use crate::checkpoint;
use crate::run_dir::RunDir;

impl<T: Task, A: Serialize> Trainer<'_, T, A> {
    pub(super) fn save_weights(&self, name: &str) -> Result<(), TrainError> {
        Ok(checkpoint::save(&self.setup.dir.file(name), &self.setup.params.tensors(), &self.setup.about)?)
    }

    /// Keeps the weights of the `top_k` best epochs as `epoch-<n>.safetensors`, and removes those that fell out.
    pub(super) fn keep_top(&mut self, selection: Option<f64>, epoch: usize) -> Result<(), TrainError> {
        let Some(value) = selection.filter(|_| self.setup.options.top_k > 0) else { return Ok(()) };
        let place = self.state.top.iter().position(|(kept, _)| value > *kept).unwrap_or(self.state.top.len());
        if place >= self.setup.options.top_k {
            return Ok(());
        }
        self.save_weights(&top_name(epoch))?;
        self.state.top.insert(place, (value, epoch));
        for (_, fallen) in self.state.top.drain(self.setup.options.top_k.min(self.state.top.len())..) {
            // Its absence does no harm.
            let _ = std::fs::remove_file(self.setup.dir.file(&top_name(fallen)));
        }
        Ok(())
    }

    pub(super) fn save_state(&self) -> Result<(), TrainError> {
        let mut tensors: BTreeMap<String, Tensor> =
            self.setup.params.tensors().into_iter().map(|(name, t)| (format!("model.{name}"), t)).collect();
        tensors.extend(self.setup.optimizer.state()?);
        if let Some(ema) = &self.ema {
            tensors.extend(ema.state());
        }
        Ok(checkpoint::save(&self.setup.dir.file("state.safetensors"), &tensors, &self.state)?)
    }
}

fn top_name(epoch: usize) -> String {
    format!("epoch-{epoch}.safetensors")
}

/// Removes what a run that was killed had written of a file that it did not come to rename.
pub(super) fn remove_leftovers(dir: &RunDir) {
    let is_leftover = |name: &str| name.starts_with('.') && name.ends_with(".tmp");
    for entry in std::fs::read_dir(dir.path()).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_leftover) {
            // It does no harm, only takes space.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
