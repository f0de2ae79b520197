//! Soft-max and its logarithm along one axis, shifted by the largest element so that nothing overflows.

use super::floats::{Element, for_float, has_kernels};
use crate::error::Result;
use crate::pass;
use crate::tape::{self, Computed, with_slices};
use candle_core::shape::Dim;
use candle_core::{DType, Result as CandleResult, Tensor, bail};
use pg_kernels::exponential::Exponential;
use pg_kernels::softmax as kernels;

/// exp(x) / sum exp(x) along `dim`.
///
/// # Errors
/// If `dim` is out of range.
pub fn softmax(x: &Tensor, dim: impl Dim) -> Result<Tensor> {
    let dim = dim.to_index(x.shape(), "softmax")?;
    if tape::is_on() && x.device().is_cpu() && has_kernels(x) && dim + 1 == x.rank() && x.elem_count() > 0 {
        return Ok(recorded(&x.contiguous()?, x.dim(dim)?)?);
    }
    let exp = shifted(x, dim)?.exp()?;
    Ok(exp.broadcast_div(&exp.sum_keepdim(dim)?)?)
}

/// The same of rows of `row` elements while a step is recorded, in one pass over memory for each derivative.
fn recorded(x: &Tensor, row: usize) -> CandleResult<Tensor> {
    let y = for_float!(x, forward(x, row))?;
    let this = x.clone();
    tape::apply(&[x], y, true, move |y, dy, _| Ok(vec![Some(gradient(&this, y, &dy.contiguous()?, row)?)]))
}

fn gradient(x: &Tensor, y: &Tensor, dy: &Tensor, row: usize) -> CandleResult<Tensor> {
    let dx = for_float!(y, first(y, dy, row))?;
    let saved = [y.clone(), dy.detach()];
    tape::apply(&[x, dy], dx, false, move |_, v, _| second(&saved, &v.contiguous()?, row))
}

fn second([y, dy]: &[Tensor; 2], v: &Tensor, row: usize) -> CandleResult<Vec<Option<Tensor>>> {
    if !pass::is_last() {
        bail!("a recorded soft-max has two derivatives, not three");
    }
    let computed = for_float!(y, of_gradient(y, dy, v, row))?;
    computed.into_iter().map(|computed| computed.into_tensor(y.device()).map(Some)).collect()
}

fn forward<T: Element + Exponential>(x: &Tensor, row: usize) -> CandleResult<Computed> {
    with_slices([x], |[x_values]: [&[T]; 1]| {
        Computed::cpu(kernels::forward(row, x_values), x.shape().clone())
    })
}

fn first<T: Element>(y: &Tensor, dy: &Tensor, row: usize) -> CandleResult<Computed> {
    let shape = y.shape().clone();
    with_slices([y, dy], |[y, dy]: [&[T]; 2]| Computed::cpu(kernels::gradient(row, y, dy), shape))
}

fn of_gradient<T: Element>(y: &Tensor, dy: &Tensor, v: &Tensor, row: usize) -> CandleResult<[Computed; 2]> {
    let shape = y.shape().clone();
    with_slices([y, dy, v], |[y, dy, v]: [&[T]; 3]| {
        kernels::second(row, y, dy, v).map(|result| Computed::cpu(result, shape.clone()))
    })
}

/// x - log sum exp(x) along `dim`.
///
/// # Errors
/// If `dim` is out of range.
pub fn log_softmax(x: &Tensor, dim: impl Dim) -> Result<Tensor> {
    let dim = dim.to_index(x.shape(), "log-softmax")?;
    let shifted = shifted(x, dim)?;
    Ok(shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(dim)?.log()?)?)
}

/// The shift cancels, so it needs no gradient.
fn shifted(x: &Tensor, dim: usize) -> Result<Tensor> {
    Ok(x.broadcast_sub(&x.detach().max_keepdim(dim)?)?)
}
