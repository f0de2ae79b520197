//! Stochastic gradient descent with momentum, as `torch.optim.SGD` (dampening 0).

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use super::{Groups, OptimError, Update, namespaced, reject_foreign, slots};

const MOMENTUM: &str = "sgd.momentum.";

/// `torch.optim.SGD`: with d = gradient + weight_decay * w, the buffer is d at the first step and
/// momentum * buffer + d later; w moves by -lr * buffer, or by -lr * (d + momentum * buffer) with Nesterov.
#[derive(Clone, Debug, Default)]
pub struct Sgd {
    /// Momentum, 0 for none.
    pub momentum: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// Weight decay where the group has none of its own.
    pub weight_decay: f64,
    /// Per-group settings and frozen parameters.
    pub groups: Groups,
    buffers: BTreeMap<String, Tensor>,
}

impl Sgd {
    /// An optimiser that has not stepped yet.
    #[must_use]
    pub fn new(momentum: f64, nesterov: bool, weight_decay: f64, groups: Groups) -> Self {
        Self { momentum, nesterov, weight_decay, groups, buffers: BTreeMap::new() }
    }

    pub(super) fn update(&mut self, update: &Update) -> Result<(), OptimError> {
        let &Update { name, param, grad, lr, weight_decay } = update;
        let value = param.as_detached_tensor();
        let mut direction = grad.clone();
        if weight_decay != 0.0 {
            direction = (direction + (&value * weight_decay)?)?;
        }
        if self.momentum != 0.0 {
            let buffer = match self.buffers.get(name) {
                Some(buffer) => ((buffer * self.momentum)? + &direction)?,
                None => direction.clone(),
            };
            direction =
                if self.nesterov { (direction + (&buffer * self.momentum)?)? } else { buffer.clone() };
            self.buffers.insert(name.to_owned(), buffer);
        }
        Ok(param.set(&(value - (direction * lr)?)?)?)
    }

    pub(super) fn state(&self) -> BTreeMap<String, Tensor> {
        namespaced(MOMENTUM, &self.buffers).collect()
    }

    pub(super) fn load_state(
        &mut self,
        state: &BTreeMap<String, Tensor>,
        params: &BTreeMap<String, Var>,
    ) -> Result<(), OptimError> {
        reject_foreign(state, "adamw.", "SGD")?;
        self.buffers = slots(state, MOMENTUM, params)?;
        Ok(())
    }
}
