//! The gradient of a class's score with respect to the input.

use crate::error::{Error, Result};
use crate::ops::log_softmax;
use crate::pass::{self, Pass, backward_to_input};
use crate::provenance::at_least_f32;
use crate::{second_order, tape};
use candle_core::{Tensor, Var};
use std::result::Result as StdResult;

/// What is differentiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Score {
    /// The logit of the class, before soft-max: the paper's choice.
    #[default]
    Logit,
    /// The log-probability of the class. Its gradient vanishes where the network is certain.
    LogProbability,
}

/// Gradient of sum over n of the score of `classes[n]`, with respect to the input `x`, in the shape of `x` and with a
/// graph, so that a loss of it can be differentiated by the weights.
///
/// `logits` (n, classes) must have been computed from `x`; `classes` (n,) holds class indices as u32 or i64. With
/// batch statistics in a normalisation layer the result holds cross-sample terms, as in PyTorch.
///
/// # Errors
/// [`Error::SecondOrderOff`] if the gradient would have no graph; [`Error::NoInputGradient`] if the logits do not
/// depend on `x`; [`Error::Shape`] if logits and classes do not agree.
pub fn input_gradient(logits: &Tensor, x: &Var, classes: &Tensor, score: Score) -> Result<Tensor> {
    second_order::check()?;
    gradient(logits, x, classes, score, true)
}

/// The same without a usable graph: to look at, or as a direction. Needs no switch.
///
/// # Errors
/// As [`input_gradient`], but for the switch.
pub fn input_gradient_detached(logits: &Tensor, x: &Var, classes: &Tensor, score: Score) -> Result<Tensor> {
    Ok(gradient(logits, x, classes, score, false)?.detach())
}

/// The logits (n, classes) of `network` on `x`, and the gradient of sum over n of the score of `classes[n]` with respect
/// to `x`, both to look at: no graph is left, and on the CPU and on CUDA devices no activation is kept.
///
/// # Errors
/// As [`input_gradient_detached`]; anything that `network` reports.
pub fn saliency<E: Into<Error>>(
    x: &Tensor,
    classes: &Tensor,
    score: Score,
    network: impl FnOnce(&Tensor) -> StdResult<Tensor, E>,
) -> Result<(Tensor, Tensor)> {
    let _scope = tape::Scope::new();
    pass::during(Pass::Full, || {
        let x = Var::from_tensor(&x.detach())?;
        let logits = network(&x).map_err(E::into)?;
        let gradient = input_gradient_detached(&logits, &x, classes, score)?;
        Ok((logits.detach(), gradient))
    })
}

fn gradient(logits: &Tensor, x: &Var, classes: &Tensor, score: Score, keeps_graph: bool) -> Result<Tensor> {
    let scores = summed_score(logits, classes, score)?;
    backward_to_input(&scores, x, keeps_graph)?.remove(x).ok_or(Error::NoInputGradient)
}

/// Sum over n of the score of `classes[n]`: a scalar.
pub(crate) fn summed_score(logits: &Tensor, classes: &Tensor, score: Score) -> Result<Tensor> {
    if logits.rank() != 2 || classes.dims() != &logits.dims()[..1] {
        return Err(Error::Shape {
            what: "classes",
            actual: classes.dims().to_vec(),
            expected: format!("one class for each row of the logits {:?}", logits.dims()),
        });
    }
    let scores = match score {
        Score::Logit => logits.clone(),
        Score::LogProbability => log_softmax(logits, 1)?,
    };
    Ok(at_least_f32(&scores)?.gather(&classes.unsqueeze(1)?, 1)?.sum_all()?)
}
