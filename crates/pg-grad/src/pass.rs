//! What a backward pass is for. It decides which work the operations of this crate may skip.

use crate::error::{Error, Result};
use crate::tape;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, TensorId, Var};
use std::cell::Cell;
use std::result::Result as StdResult;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pass {
    /// Everything, with a graph: what candle's own `backward` means.
    Full,
    /// The gradient of one input only: gradients of weights are not computed.
    InputOnly { input: TensorId, keeps_graph: bool },
    /// The last pass of a step: no graph is kept for a further derivative. The gradient of the step's own input, if it
    /// is named, is of no use.
    Last { input: Option<TensorId> },
}

thread_local! {
    static PASS: Cell<Pass> = const { Cell::new(Pass::Full) };
}

/// What the backward pass that runs on this thread is for.
pub(crate) fn current() -> Pass {
    PASS.get()
}

pub(crate) fn is_last() -> bool {
    matches!(PASS.get(), Pass::Last { .. })
}

/// Whether the gradients that it finds will be differentiated themselves.
pub(crate) fn keeps_graph() -> bool {
    matches!(PASS.get(), Pass::Full | Pass::InputOnly { keeps_graph: true, .. })
}

pub(crate) fn during<T>(pass: Pass, f: impl FnOnce() -> T) -> T {
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
/// Whatever an operation's backward pass reports. Within [`Guidance::step`](crate::Guidance::step) a tensor can be
/// differentiated so only once.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    backward_last(loss, None)
}

/// The same, without the gradient of the step's input.
pub(crate) fn backward_to_weights(loss: &Tensor, input: &Var) -> Result<GradStore> {
    backward_last(loss, Some(input.id()))
}

fn backward_last(loss: &Tensor, input: Option<TensorId>) -> Result<GradStore> {
    let mut gradients = during(Pass::Last { input }, || differentiate(loss))?;
    let ids: Vec<_> = gradients.get_ids().copied().collect();
    for id in ids {
        if let Some(gradient) = gradients.get_id(id).map(Tensor::detach) {
            gradients.insert_id(id, gradient);
        }
    }
    Ok(gradients)
}

/// Runs `f` without a graph, on the CPU and on CUDA devices: what the operations of this crate that have kernels there compute in
/// it (convolutions, products, poolings, normalisations, rectifiers, ...) cannot be differentiated, and keeps no memory. What
/// is candle's still builds its graph.
///
/// # Errors
/// What `f` returns.
pub fn without_graph<T, E: From<Error>>(f: impl FnOnce() -> StdResult<T, E>) -> StdResult<T, E> {
    let _scope = tape::Scope::new();
    during(Pass::Last { input: None }, f)
}

/// A backward pass in which no weight needs its gradient.
pub(crate) fn backward_to_input(score: &Tensor, x: &Var, keeps_graph: bool) -> Result<GradStore> {
    during(Pass::InputOnly { input: x.id(), keeps_graph }, || differentiate(score))
}

fn differentiate(loss: &Tensor) -> Result<GradStore> {
    if tape::is_on() { tape::backward(loss) } else { Ok(loss.backward()?) }
}

/// What an operation's backward pass should work on: `tensor`, without its graph if none is to be kept.
pub(crate) fn operand(tensor: &Tensor) -> Tensor {
    if keeps_graph() { tensor.clone() } else { tensor.detach() }
}

/// Whether the gradient of `weight` is wanted. A weight that is computed from others is always wanted: candle has
/// to pass its gradient on.
pub(crate) fn wants_weight_gradient(weight: &Tensor) -> bool {
    !matches!(PASS.get(), Pass::InputOnly { input, .. } if weight.is_variable() && weight.id() != input)
}

/// Whether the gradient of the input `x` of a layer is wanted: not that of plain images, nor, in the last pass, that
/// of the step's own input.
pub(crate) fn wants_input_gradient(x: &Tensor) -> bool {
    x.track_op() && !matches!(PASS.get(), Pass::Last { input: Some(input) } if input == x.id())
}
