//! An exponential moving average of the parameters.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use super::{OptimError, namespaced, slots};

const SHADOW: &str = "ema.";

/// `average = decay * average + (1 - decay) * parameter` after each step, started at the parameters themselves
/// (timm `ModelEmaV2`).
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    shadow: BTreeMap<String, Tensor>,
}

impl Ema {
    /// An average that starts at `params`. `decay` lies in [0, 1).
    ///
    /// # Errors
    /// If a tensor cannot be copied.
    pub fn new(decay: f64, params: &BTreeMap<String, Var>) -> Result<Self, OptimError> {
        let shadow = params
            .iter()
            .map(|(name, param)| Ok((name.clone(), param.as_detached_tensor().copy()?)))
            .collect::<candle_core::Result<_>>()?;
        Ok(Self { decay, shadow })
    }

    /// Moves the average toward the current parameters.
    ///
    /// # Errors
    /// [`OptimError::MissingState`] if `params` has a name that the average was not started with.
    pub fn update(&mut self, params: &BTreeMap<String, Var>) -> Result<(), OptimError> {
        for (name, param) in params {
            let average = self.shadow.get_mut(name).ok_or_else(|| missing(name))?;
            *average = ((&*average * self.decay)? + (param.as_detached_tensor() * (1.0 - self.decay))?)?;
        }
        Ok(())
    }

    /// Exchanges the parameters and their averages: once before an evaluation, once after it.
    ///
    /// # Errors
    /// [`OptimError::MissingState`] if `params` has a name that the average was not started with; nothing is
    /// exchanged then.
    pub fn swap(&mut self, params: &BTreeMap<String, Var>) -> Result<(), OptimError> {
        if let Some(name) = params.keys().find(|&name| !self.shadow.contains_key(name)) {
            return Err(missing(name));
        }
        for (name, param) in params {
            let current = param.as_detached_tensor().copy()?;
            if let Some(average) = self.shadow.insert(name.clone(), current) {
                param.set(&average)?;
            }
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
    pub fn load_state(
        &mut self,
        state: &BTreeMap<String, Tensor>,
        params: &BTreeMap<String, Var>,
    ) -> Result<(), OptimError> {
        let shadow = slots(state, SHADOW, params)?;
        if let Some(name) = params.keys().find(|&name| !shadow.contains_key(name)) {
            return Err(missing(name));
        }
        self.shadow = shadow;
        Ok(())
    }
}

fn missing(name: &str) -> OptimError {
    OptimError::MissingState { key: format!("{SHADOW}{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn params(value: f64) -> BTreeMap<String, Var> {
        BTreeMap::from([("w".to_owned(), Var::new(&[value, -value], &Device::Cpu).unwrap())])
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        tensor.to_vec1().unwrap()
    }

    #[test]
    fn the_average_follows_its_recurrence() {
        let params = params(1.0);
        let mut ema = Ema::new(0.75, &params).unwrap();
        for step in [2.0, 3.0] {
            params["w"].set(&Tensor::new(&[step, -step], &Device::Cpu).unwrap()).unwrap();
            ema.update(&params).unwrap();
        }
        // 0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 3
        assert_eq!(values(&ema.state()["ema.w"]), [1.6875, -1.6875]);
    }

    #[test]
    fn swapping_twice_changes_nothing() {
        let params = params(1.0);
        let mut ema = Ema::new(0.5, &params).unwrap();
        params["w"].set(&Tensor::new(&[5.0, 7.0], &Device::Cpu).unwrap()).unwrap();
        ema.swap(&params).unwrap();
        assert_eq!(values(&params["w"]), [1.0, -1.0]);
        ema.swap(&params).unwrap();
        assert_eq!(values(&params["w"]), [5.0, 7.0]);
        assert_eq!(values(&ema.state()["ema.w"]), [1.0, -1.0]);
    }

    #[test]
    fn a_state_comes_back_bit_equal_and_an_incomplete_one_is_refused() {
        let (start, later) = (params(0.1), params(0.7));
        let mut ema = Ema::new(0.9, &start).unwrap();
        ema.update(&later).unwrap();
        let mut resumed = Ema::new(0.9, &later).unwrap();
        resumed.load_state(&ema.state(), &later).unwrap();
        assert_eq!(values(&resumed.state()["ema.w"]), values(&ema.state()["ema.w"]));
        let error = resumed.load_state(&BTreeMap::new(), &later).unwrap_err();
        assert!(matches!(error, OptimError::MissingState { key } if key == "ema.w"));
    }
}
