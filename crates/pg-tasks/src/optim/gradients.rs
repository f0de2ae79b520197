//! Gradients by parameter name, detached from the graph that made them.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use super::Groups;

/// `name -> gradient`, one entry for each trained parameter, without history.
#[derive(Clone, Debug, Default)]
pub struct Gradients(pub BTreeMap<String, Tensor>);

/// Parameters that were to be trained but that the loss does not reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the loss does not reach {}: freeze them, or look for an operation that cuts the graph", list(names))]
pub struct MissingGradient {
    /// Their names, in order.
    pub names: Vec<String>,
}

/// The first names of a list, and how many more there are.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl Gradients {
    /// The gradients of `params` (the trainable ones: [`Groups::trainable`](super::Groups::trainable)) in `store`.
    ///
    /// # Errors
    /// If one of them has none. A candle operation that cuts the graph shows here and nowhere else.
    pub fn collect(params: &BTreeMap<String, Var>, store: &GradStore) -> Result<Self, MissingGradient> {
        let mut grads = BTreeMap::new();
        let mut names = Vec::new();
        for (name, param) in params {
            match store.get(param) {
                Some(grad) => drop(grads.insert(name.clone(), grad.detach())),
                None => names.push(name.clone()),
            }
        }
        if names.is_empty() { Ok(Self(grads)) } else { Err(MissingGradient { names }) }
    }

    /// The gradient of one parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Every trainable parameter with its gradient.
    pub(super) fn pair<'a>(
        &'a self,
        params: &'a BTreeMap<String, Var>,
        groups: &Groups,
    ) -> Result<Vec<(&'a str, &'a Var, &'a Tensor)>, MissingGradient> {
        let mut pairs = Vec::with_capacity(params.len());
        let mut names = Vec::new();
        for (name, param) in params.iter().filter(|(name, _)| !groups.is_frozen(name)) {
            match self.0.get(name) {
                Some(grad) => pairs.push((name.as_str(), param, grad)),
                None => names.push(name.clone()),
            }
        }
        if names.is_empty() { Ok(pairs) } else { Err(MissingGradient { names }) }
    }

    /// Adds the gradients of another micro-batch. A parameter that only `other` reaches is taken over.
    ///
    /// # Errors
    /// If the shapes of a parameter's two gradients differ.
    pub fn accumulate(&mut self, other: &Self) -> candle_core::Result<()> {
        for (name, grad) in &other.0 {
            let sum = match self.0.get(name) {
                Some(mine) => (mine + grad)?,
                None => grad.clone(),
            };
            self.0.insert(name.clone(), sum);
        }
        Ok(())
    }

    /// Multiplies every gradient by `factor`, for example `1 / micro_batches` after accumulation.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn scale(&mut self, factor: f64) -> candle_core::Result<()> {
        for grad in self.0.values_mut() {
            *grad = (&*grad * factor)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn var(values: &[f32]) -> Var {
        Var::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn a_parameter_that_the_loss_does_not_reach_is_named() {
        let params =
            BTreeMap::from([("a.weight", var(&[1.0])), ("b.weight", var(&[2.0])), ("c.weight", var(&[3.0]))])
                .into_iter()
                .map(|(name, param)| (name.to_owned(), param))
                .collect::<BTreeMap<_, _>>();
        let store = params["b.weight"].sqr().unwrap().backward().unwrap();
        let error = Gradients::collect(&params, &store).unwrap_err();
        assert_eq!(error.names, ["a.weight", "c.weight"]);
        assert!(error.to_string().contains("`a.weight`, `c.weight`"), "{error}");
    }

    #[test]
    fn two_micro_batches_average_to_the_gradient_of_both() {
        let params = BTreeMap::from([("w".to_owned(), var(&[1.0, -2.0]))]);
        let grads_of = |scale: f64| {
            let loss = (params["w"].sqr().unwrap() * scale).unwrap().sum_all().unwrap();
            Gradients::collect(&params, &loss.backward().unwrap()).unwrap()
        };
        let mut sum = grads_of(1.0);
        sum.accumulate(&grads_of(3.0)).unwrap();
        sum.scale(0.5).unwrap();
        // d/dw of (w^2 + 3 w^2) / 2 = 4 w.
        assert_eq!(sum.get("w").unwrap().to_vec1::<f32>().unwrap(), [4.0, -8.0]);
    }
}
