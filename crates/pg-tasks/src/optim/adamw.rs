//! Adam with decoupled weight decay, as `torch.optim.AdamW` (Loshchilov & Hutter, 2019).

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};

use super::{Groups, OptimError, Update, namespaced, reject_foreign, slots};

const FIRST: &str = "adamw.m.";
const SECOND: &str = "adamw.v.";
const STEP: &str = "adamw.step";

/// `torch.optim.AdamW`: w shrinks by 1 - lr * weight_decay, then moves by
/// -lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).
#[derive(Clone, Debug)]
pub struct AdamW {
    /// Decay of the first moment, 0.9.
    pub beta1: f64,
    /// Decay of the second moment, 0.999.
    pub beta2: f64,
    /// Added to the root of the second moment, 1e-8.
    pub eps: f64,
    /// Weight decay where the group has none of its own.
    pub weight_decay: f64,
    /// Per-group settings and frozen parameters.
    pub groups: Groups,
    step: i64,
    first: BTreeMap<String, Tensor>,
    second: BTreeMap<String, Tensor>,
}

impl AdamW {
    /// An optimiser with torch's default betas (0.9, 0.999) and eps (1e-8) that has not stepped yet.
    #[must_use]
    pub fn new(weight_decay: f64, groups: Groups) -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay,
            groups,
            step: 0,
            first: BTreeMap::new(),
            second: BTreeMap::new(),
        }
    }

    /// Counts a step, before its updates.
    pub(super) fn begin_step(&mut self) {
        self.step += 1;
    }

    pub(super) fn update(&mut self, update: &Update) -> Result<(), OptimError> {
        let &Update { name, param, grad, lr, weight_decay } = update;
        let correction1 = 1.0 - self.beta1.powf(self.step as f64);
        let correction2 = 1.0 - self.beta2.powf(self.step as f64);
        let first = average(self.first.get(name), grad, self.beta1)?;
        let second = average(self.second.get(name), &grad.sqr()?, self.beta2)?;
        let denominator = ((second.sqrt()? / correction2.sqrt())? + self.eps)?;
        let shrunk = (param.as_detached_tensor() * (1.0 - lr * weight_decay))?;
        param.set(&(shrunk - ((&first / denominator)? * (lr / correction1))?)?)?;
        self.first.insert(name.to_owned(), first);
        self.second.insert(name.to_owned(), second);
        Ok(())
    }

    pub(super) fn state(&self) -> Result<BTreeMap<String, Tensor>, OptimError> {
        let mut state: BTreeMap<_, _> =
            namespaced(FIRST, &self.first).chain(namespaced(SECOND, &self.second)).collect();
        state.insert(STEP.to_owned(), Tensor::new(self.step, &Device::Cpu)?);
        Ok(state)
    }

    pub(super) fn load_state(
        &mut self,
        state: &BTreeMap<String, Tensor>,
        params: &BTreeMap<String, Var>,
    ) -> Result<(), OptimError> {
        reject_foreign(state, "sgd.", "AdamW")?;
        let step = state.get(STEP).ok_or_else(|| OptimError::MissingState { key: STEP.to_owned() })?;
        let step = step.to_scalar::<i64>()?;
        let (first, second) = (slots(state, FIRST, params)?, slots(state, SECOND, params)?);
        if let Some(name) = first.keys().find(|&name| !second.contains_key(name)) {
            return Err(OptimError::MissingState { key: format!("{SECOND}{name}") });
        }
        if let Some(name) = second.keys().find(|&name| !first.contains_key(name)) {
            return Err(OptimError::MissingState { key: format!("{FIRST}{name}") });
        }
        (self.step, self.first, self.second) = (step, first, second);
        Ok(())
    }
}

/// beta * old + (1 - beta) * new, where a moment that does not exist yet is 0.
fn average(old: Option<&Tensor>, new: &Tensor, beta: f64) -> candle_core::Result<Tensor> {
    let new = (new * (1.0 - beta))?;
    match old {
        Some(old) => (old * beta)? + new,
        None => Ok(new),
    }
}
