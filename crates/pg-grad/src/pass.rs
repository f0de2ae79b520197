//! What a backward pass is for. It decides which work the operations of this crate may skip.

use crate::error::Result;
use crate::tape;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, TensorId, Var};
use std::cell::Cell;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pass {
    /// Everything, with a graph: what candle's own `backward` means.
    Full,
    /// The gradient of one input only, with a graph: gradients of weights are not computed.
    InputOnly(TensorId),
    /// The last pass of a step: no graph is kept for a further derivative.
    Last,
}

thread_local! {
    static PASS: Cell<Pass> = const { Cell::new(Pass::Full) };
}

/// What the backward pass that runs on this thread is for.
pub(crate) fn current() -> Pass {
    PASS.get()
}

fn during<T>(pass: Pass, f: impl FnOnce() -> T) -> T {
    struct Restore(Pass);
    impl Drop for Restore {
        fn drop(&mut self) {
            PASS.set(self.0);
        }
    }
    let _restore = Restore(PASS.replace(pass));
    f()
}

/// The last backward pass of a step: candle's `backward`, but without keeping a graph of the gradients, so that
/// memory is freed earlier when the second-order switch is on. The gradients are detached.
///
/// # Errors
/// Whatever an operation's backward pass reports.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    let mut gradients = during(Pass::Last, || differentiate(loss))?;
    let ids: Vec<_> = gradients.get_ids().copied().collect();
    for id in ids {
        if let Some(gradient) = gradients.get_id(id).map(Tensor::detach) {
            gradients.insert_id(id, gradient);
        }
    }
    Ok(gradients)
}

/// A backward pass with a graph in which no weight needs its gradient.
pub(crate) fn backward_to_input(score: &Tensor, x: &Var) -> Result<GradStore> {
    during(Pass::InputOnly(x.id()), || differentiate(score))
}

fn differentiate(loss: &Tensor) -> Result<GradStore> {
    if tape::is_on() { tape::backward(loss) } else { Ok(loss.backward()?) }
}

/// What an operation's backward pass should work on: `tensor`, without its graph if this is the last pass.
pub(crate) fn operand(tensor: &Tensor) -> Tensor {
    if PASS.get() == Pass::Last { tensor.detach() } else { tensor.clone() }
}

/// Whether the gradient of `weight` is wanted. A weight that is computed from others is always wanted: candle has
/// to pass its gradient on.
pub(crate) fn wants_weight_gradient(weight: &Tensor) -> bool {
    !matches!(PASS.get(), Pass::InputOnly(input) if weight.is_variable() && weight.id() != input)
}
