//! Optimisers over named parameters, with torch's update rules and a state that resumes bit-equal.
//!
//! candle's own AdamW keeps its moments private and its SGD has no momentum, so neither can be resumed. These
//! act on `name -> Var`, take [`Gradients`] that were collected, averaged or clipped beforehand, and expose their
//! whole state as `name -> Tensor`.

mod adamw;
mod clip;
mod ema;
mod gradients;
mod groups;
mod sgd;

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

pub use adamw::AdamW;
pub use ema::Ema;
pub use gradients::{Gradients, MissingGradient};
pub use groups::{Groups, ParamGroup};
pub use sgd::Sgd;

/// Why an optimiser could not step, or could not take a state.
#[derive(Debug, thiserror::Error)]
pub enum OptimError {
    /// A parameter that should be trained has no gradient.
    #[error(transparent)]
    MissingGradient(#[from] MissingGradient),
    /// A prefix of a parameter group or of the frozen list names nothing in the model.
    #[error(
        "no parameter is named `{prefix}` or starts with `{prefix}.`; the model has for example {examples}"
    )]
    UnknownPrefix {
        /// The prefix as it was given.
        prefix: String,
        /// A few names of the model.
        examples: String,
    },
    /// The state was written by another optimiser.
    #[error(
        "the saved state holds `{key}`, which is not a state of {expected}; resume with the optimiser of the run"
    )]
    WrongOptimizer {
        /// A key of the saved state.
        key: String,
        /// The optimiser that was to take it.
        expected: &'static str,
    },
    /// The state belongs to a parameter that the model does not have.
    #[error(
        "the saved state holds `{key}`, but the model has no such parameter; resume with the model of the run"
    )]
    UnknownParameter {
        /// A key of the saved state.
        key: String,
    },
    /// The state is incomplete.
    #[error("the saved state lacks `{key}`; the checkpoint is incomplete, resume from an earlier one")]
    MissingState {
        /// The key that is missing.
        key: String,
    },
    /// The state of a parameter has another shape than the parameter.
    #[error(
        "the saved state `{key}` has shape {found:?}, the parameter {expected:?}; resume with the model of the run"
    )]
    WrongShape {
        /// A key of the saved state.
        key: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape of the parameter.
        expected: Vec<usize>,
    },
    /// A tensor operation failed, for example for want of device memory.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// An optimiser. Both kinds leave frozen parameters untouched and draw per-group settings from [`Groups`].
#[derive(Clone, Debug)]
pub enum Optimizer {
    /// `torch.optim.SGD`.
    Sgd(Sgd),
    /// `torch.optim.AdamW`.
    AdamW(AdamW),
}

impl Optimizer {
    /// Updates every parameter of `params` that is not frozen, at learning rate `lr` (before the group's scale).
    ///
    /// # Errors
    /// [`OptimError::MissingGradient`] before anything is changed, if `grads` lacks a trainable parameter.
    pub fn step(
        &mut self,
        params: &BTreeMap<String, Var>,
        grads: &Gradients,
        lr: f64,
    ) -> Result<(), OptimError> {
        let pairs = grads.pair(params, self.groups())?;
        if let Self::AdamW(adamw) = self {
            adamw.begin_step();
        }
        for (name, param, grad) in pairs {
            let (lr_scale, weight_decay) = self.groups().settings(name, self.weight_decay());
            let update = Update { name, param, grad, lr: lr * lr_scale, weight_decay };
            match self {
                Self::Sgd(sgd) => sgd.update(&update)?,
                Self::AdamW(adamw) => adamw.update(&update)?,
            }
        }
        Ok(())
    }

    /// Everything the next step depends on besides the parameters: `sgd.momentum.<name>`, or `adamw.m.<name>`,
    /// `adamw.v.<name>` and `adamw.step`.
    ///
    /// # Errors
    /// If a tensor cannot be made.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>, OptimError> {
        match self {
            Self::Sgd(sgd) => Ok(sgd.state()),
            Self::AdamW(adamw) => adamw.state(),
        }
    }

    /// Replaces the state by what [`state`](Self::state) returned, moved to the device of each parameter. Keys
    /// outside the `sgd.` and `adamw.` name spaces are not ours and are ignored.
    ///
    /// # Errors
    /// If the state is of another optimiser or of another model. The optimiser is unchanged then.
    pub fn load_state(
        &mut self,
        state: &BTreeMap<String, Tensor>,
        params: &BTreeMap<String, Var>,
    ) -> Result<(), OptimError> {
        match self {
            Self::Sgd(sgd) => sgd.load_state(state, params),
            Self::AdamW(adamw) => adamw.load_state(state, params),
        }
    }

    /// The parameter groups and frozen names.
    #[must_use]
    pub fn groups(&self) -> &Groups {
        match self {
            Self::Sgd(sgd) => &sgd.groups,
            Self::AdamW(adamw) => &adamw.groups,
        }
    }

    /// Weight decay where the group has none of its own.
    fn weight_decay(&self) -> f64 {
        match self {
            Self::Sgd(sgd) => sgd.weight_decay,
            Self::AdamW(adamw) => adamw.weight_decay,
        }
    }
}

/// What one parameter is updated with.
struct Update<'a> {
    name: &'a str,
    param: &'a Var,
    grad: &'a Tensor,
    /// Learning rate and weight decay of its group.
    lr: f64,
    weight_decay: f64,
}

/// Rejects a state that was written by the optimiser that owns the name space `foreign`.
fn reject_foreign(
    state: &BTreeMap<String, Tensor>,
    foreign: &str,
    expected: &'static str,
) -> Result<(), OptimError> {
    match state.keys().find(|key| key.starts_with(foreign)) {
        Some(key) => Err(OptimError::WrongOptimizer { key: key.clone(), expected }),
        None => Ok(()),
    }
}

/// The entries `<namespace><name>` of a saved state as `name -> Tensor`, each checked against its parameter and
/// moved beside it.
fn slots(
    state: &BTreeMap<String, Tensor>,
    namespace: &str,
    params: &BTreeMap<String, Var>,
) -> Result<BTreeMap<String, Tensor>, OptimError> {
    let mut slots = BTreeMap::new();
    for (key, tensor) in state {
        let Some(name) = key.strip_prefix(namespace) else { continue };
        let param = params.get(name).ok_or_else(|| OptimError::UnknownParameter { key: key.clone() })?;
        if tensor.dims() != param.dims() {
            return Err(OptimError::WrongShape {
                key: key.clone(),
                found: tensor.dims().to_vec(),
                expected: param.dims().to_vec(),
            });
        }
        let tensor = tensor.to_device(param.device())?.to_dtype(param.dtype())?;
        slots.insert(name.to_owned(), tensor.detach());
    }
    Ok(slots)
}

/// The inverse of [`slots`].
fn namespaced<'a>(
    namespace: &'a str,
    slots: &'a BTreeMap<String, Tensor>,
) -> impl Iterator<Item = (String, Tensor)> + 'a {
    slots.iter().map(move |(name, tensor)| (format!("{namespace}{name}"), tensor.clone()))
}
