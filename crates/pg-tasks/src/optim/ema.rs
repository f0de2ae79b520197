//! An exponential moving average of a model.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use pg_models::Params;

use super::{OptimError, namespaced, slots};

const SHADOW: &str = "ema.";

/// `average = decay * average + (1 - decay) * value` after each step, started at the values themselves, for every
/// parameter and every buffer of floating-point numbers: weights that are averaged need the running statistics that
/// belong to them (timm `ModelEmaV2`). Buffers of integers, which only count, stay the model's own.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    vars: BTreeMap<String, Var>,
    /// The averages, or, while exchanged, the values.
    shadow: BTreeMap<String, Tensor>,
}

impl Ema {
    /// An average that starts at `params`. `decay` lies in [0, 1).
    ///
    /// # Errors
    /// If a tensor cannot be copied.
    pub fn new(decay: f64, params: &Params) -> Result<Self, OptimError> {
        let floats = params.buffers().iter().filter(|(_, buffer)| buffer.dtype().is_float());
        let vars: BTreeMap<String, Var> =
            params.vars().iter().chain(floats).map(|(name, var)| (name.clone(), var.clone())).collect();
        let shadow = vars
            .iter()
            .map(|(name, var)| Ok((name.clone(), var.as_detached_tensor().copy()?)))
            .collect::<candle_core::Result<_>>()?;
        Ok(Self { decay, vars, shadow })
    }

    /// Moves the averages toward the current values.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn update(&mut self) -> Result<(), OptimError> {
        for (var, average) in self.vars.values().zip(self.shadow.values_mut()) {
            *average = ((&*average * self.decay)? + (var.as_detached_tensor() * (1.0 - self.decay))?)?;
        }
        Ok(())
    }

    /// Exchanges the values and their averages: once before an evaluation, once after it.
    ///
    /// # Errors
    /// If a tensor cannot be copied.
    pub fn swap(&mut self) -> Result<(), OptimError> {
        for (var, average) in self.vars.values().zip(self.shadow.values_mut()) {
            let current = var.as_detached_tensor().copy()?;
            var.set(average)?;
            *average = current;
        }
        Ok(())
    }

    /// The averages, `ema.<name>`.
    #[must_use]
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        namespaced(SHADOW, &self.shadow).collect()
    }

    /// Replaces the averages by what [`state`](Self::state) returned. Keys outside `ema.` are ignored.
    ///
    /// # Errors
    /// If the state is incomplete or of another model. The averages are unchanged then.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), OptimError> {
        let shadow = slots(state, SHADOW, &self.vars)?;
        if let Some(name) = self.vars.keys().find(|&name| !shadow.contains_key(name)) {
            return Err(OptimError::MissingState { key: format!("{SHADOW}{name}") });
        }
        self.shadow = shadow;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// A parameter, its running mean and a count.
    fn params(value: f64) -> Params {
        let pair = |value: f64| Var::new(&[value, -value], &Device::Cpu).unwrap();
        let count = Var::new(&[value as i64], &Device::Cpu).unwrap();
        let buffers = [("mean".to_owned(), pair(10.0 * value)), ("count".to_owned(), count)];
        Params::new([("w".to_owned(), pair(value))].into(), buffers.into())
    }

    fn set(params: &Params, value: f64) {
        let pair = |value: f64| Tensor::new(&[value, -value], &Device::Cpu).unwrap();
        params.vars()["w"].set(&pair(value)).unwrap();
        params.buffers()["mean"].set(&pair(10.0 * value)).unwrap();
        params.buffers()["count"].set(&Tensor::new(&[value as i64], &Device::Cpu).unwrap()).unwrap();
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        tensor.to_vec1().unwrap()
    }

    fn count(params: &Params) -> Vec<i64> {
        params.buffers()["count"].to_vec1().unwrap()
    }

    #[test]
    fn the_averages_follow_their_recurrence() {
        let params = params(1.0);
        let mut ema = Ema::new(0.75, &params).unwrap();
        for step in [2.0, 3.0] {
            set(&params, step);
            ema.update().unwrap();
        }
        // 0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 3
        assert_eq!(values(&ema.state()["ema.w"]), [1.6875, -1.6875]);
        assert_eq!(values(&ema.state()["ema.mean"]), [16.875, -16.875]);
        assert!(!ema.state().contains_key("ema.count"));
    }

    #[test]
    fn swapping_twice_changes_nothing() {
        let params = params(1.0);
        let mut ema = Ema::new(0.5, &params).unwrap();
        set(&params, 5.0);
        ema.swap().unwrap();
        assert_eq!(values(&params.vars()["w"]), [1.0, -1.0]);
        assert_eq!(values(&params.buffers()["mean"]), [10.0, -10.0]);
        assert_eq!(count(&params), [5], "a count is not averaged");
        ema.swap().unwrap();
        assert_eq!(values(&params.vars()["w"]), [5.0, -5.0]);
        assert_eq!(values(&params.buffers()["mean"]), [50.0, -50.0]);
        assert_eq!(values(&ema.state()["ema.w"]), [1.0, -1.0]);
    }

    #[test]
    fn a_state_comes_back_bit_equal_and_an_incomplete_one_is_refused() {
        let (params, later) = (params(0.1), params(0.7));
        let mut ema = Ema::new(0.9, &params).unwrap();
        set(&params, 0.7);
        ema.update().unwrap();
        let mut resumed = Ema::new(0.9, &later).unwrap();
        resumed.load_state(&ema.state()).unwrap();
        for key in ["ema.w", "ema.mean"] {
            assert_eq!(values(&resumed.state()[key]), values(&ema.state()[key]), "{key}");
        }
        let mut state = ema.state();
        state.remove("ema.mean");
        let error = resumed.load_state(&state).unwrap_err();
        assert!(matches!(error, OptimError::MissingState { key } if key == "ema.mean"));
    }
}
