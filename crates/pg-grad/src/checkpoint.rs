//! Gradient checkpointing: what a part of a network computed is not kept for its derivatives but computed again.
//!
//! With F the part and dx the gradient that one backward pass sends through it:
//!
//! ```text
//!   forward               y  = F(x)                      keeps x
//!   input gradient        dx = dF(x)^T dy                computes F again; keeps x and dy
//!   its own derivative    of sum(v dx) by x, dy, weights computes F and dx again
//! ```

use crate::error::{Error, Result};
use crate::gates;
use crate::ops::is_on_device_with_kernels;
use crate::pass::{self, Pass};
use crate::step::Forward;
use crate::tape;
use candle_core::backprop::GradStore;
use candle_core::{Result as CandleResult, Tensor, TensorId, Var};
use std::rc::Rc;
use std::result::Result as StdResult;

/// `part(x, forward)`, of which a step keeps `x` alone; the part is computed again, as [`Forward::Probe`], for each of
/// its derivatives. Within [`Guidance::step`](crate::Guidance::step) on devices that this crate has kernels for; elsewhere,
/// and without a graph, it is `part` itself.
///
/// The part must give the same each time, and depend on `x` and on variables other than the step's input only.
///
/// # Errors
/// [`Error::CheckpointReads`] if the part depends on another tensor of the step; anything that it reports.
pub fn checkpoint<E: Into<Error>>(
    x: &Tensor,
    forward: Forward,
    part: impl Fn(&Tensor, Forward) -> StdResult<Tensor, E> + 'static,
) -> Result<Tensor> {
    if !tape::is_on() || !pass::keeps_graph() || !is_on_device_with_kernels(x) {
        return part(x, forward).map_err(E::into);
    }
    let mut part = Part {
        run: Rc::new(move |x, forward| part(x, forward).map_err(E::into)),
        x: x.clone(),
        variables: Rc::default(),
        gates: gates::mark(),
    };
    let (y, variables) = tape::nested(|| {
        let input = part.input()?;
        let y = (part.run)(&input, forward)?;
        let mut leaves = tape::leaves(&y)?;
        leaves.retain(|&id| id != input.id());
        Ok((y.detach(), leaves))
    })?;
    if variables.iter().any(|&id| tape::holds(id)) {
        return Err(Error::CheckpointReads);
    }
    part.variables = variables.into();
    let variables = part.variables.clone();
    Ok(tape::apply_part(&[x], &variables, &y, move |dy| part.gradients(dy))?)
}

type Run = dyn Fn(&Tensor, Forward) -> Result<Tensor>;

/// A part of a network and what it was given.
#[derive(Clone)]
struct Part {
    run: Rc<Run>,
    x: Tensor,
    variables: Rc<[TensorId]>,
    /// As they were when the part ran first.
    gates: gates::Mode,
}

impl Part {
    /// x, out of the step's record.
    fn input(&self) -> Result<Tensor> {
        let x = self.x.detach();
        Ok(if self.x.track_op() { Var::from_tensor(&x)?.into_inner() } else { x })
    }

    fn again(&self, x: &Tensor) -> Result<Tensor> {
        gates::resume(&self.gates, || pass::during(Pass::Full, || (self.run)(x, Forward::Probe)))
    }

    /// Of x and the variables. Unless this is the last pass, that of x alone, and it is recorded.
    fn gradients(&self, dy: &Tensor) -> CandleResult<Vec<Option<Tensor>>> {
        if let Pass::InputOnly { input, .. } = pass::current()
            && self.variables.contains(&input)
        {
            return Err(Error::CheckpointReads.into());
        }
        if pass::is_last() {
            return Ok(tape::nested(|| {
                let x = self.input()?;
                let store = tape::backward_from(&self.again(&x)?, dy)?;
                Ok(self.pick(store, &[&x]))
            })?);
        }
        let dx = tape::nested(|| {
            let x = self.input()?;
            Ok(input_gradient(&x, &self.again(&x)?, &dy.detach(), false)?.detach())
        })?;
        if !pass::keeps_graph() {
            return Ok(vec![Some(dx)]);
        }
        let (this, first) = (self.clone(), dy.detach());
        let second = move |v: &Tensor| this.second_gradients(&first, v);
        Ok(vec![Some(tape::apply_part(&[&self.x, dy], &self.variables, &dx, second)?)])
    }

    /// Of x, dy and the variables.
    fn second_gradients(&self, dy: &Tensor, v: &Tensor) -> CandleResult<Vec<Option<Tensor>>> {
        Ok(tape::nested(|| {
            let (x, dy) = (self.input()?, Var::from_tensor(dy)?.into_inner());
            let dx = input_gradient(&x, &self.again(&x)?, &dy, true)?;
            let store = tape::backward_from(&dx, v)?;
            Ok(self.pick(store, &[&x, &dy]))
        })?)
    }

    fn pick(&self, store: GradStore, first: &[&Tensor]) -> Vec<Option<Tensor>> {
        let ids = first.iter().map(|t| t.id()).chain(self.variables.iter().copied());
        ids.map(|id| store.get_id(id).map(Tensor::detach)).collect()
    }
}

fn input_gradient(x: &Tensor, y: &Tensor, dy: &Tensor, keeps_graph: bool) -> Result<Tensor> {
    let pass = Pass::InputOnly { input: x.id(), keeps_graph };
    let mut store = pass::during(pass, || tape::backward_from(y, dy))?;
    store.remove(x).ok_or(Error::NoInputGradient)
}
