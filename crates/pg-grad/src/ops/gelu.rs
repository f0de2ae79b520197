//! Gaussian error linear unit, erf form.

use super::floats::{Element, for_float, has_kernels};
use crate::error::Result;
use crate::pass;
use crate::tape::{self, Computed, with_slices};
use candle_core::{DType, Result as CandleResult, Tensor, bail};
use pg_kernels::gelu as kernels;

/// x * Phi(x) with the Gaussian distribution function Phi, as `torch.nn.functional.gelu`; any shape.
///
/// # Errors
/// If candle fails.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if tape::is_on() && x.device().is_cpu() && has_kernels(x) {
        return Ok(recorded(&x.contiguous()?)?);
    }
    let distribution = (((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5)?;
    Ok((x * distribution)?)
}

/// The same while a step is recorded, in one pass over memory for each derivative.
fn recorded(x: &Tensor) -> CandleResult<Tensor> {
    let y = for_float!(x, forward(x))?;
    let this = x.clone();
    tape::apply(&[x], y, false, move |_, dy, _| Ok(vec![Some(gradient(&this, &dy.contiguous()?)?)]))
}

fn gradient(x: &Tensor, dy: &Tensor) -> CandleResult<Tensor> {
    let dx = for_float!(x, first(x, dy))?;
    let saved = [x.clone(), dy.clone()];
    tape::apply(&[x, dy], dx, false, move |_, v, _| second(&saved, &v.contiguous()?))
}

fn second([x, dy]: &[Tensor; 2], v: &Tensor) -> CandleResult<Vec<Option<Tensor>>> {
    if !pass::is_last() {
        bail!("a recorded GELU has two derivatives, not three");
    }
    let computed = for_float!(x, of_gradient(x, dy, v))?;
    computed.into_iter().map(|computed| computed.into_tensor(x.device()).map(Some)).collect()
}

fn forward<T: Element + kernels::Gaussian>(x: &Tensor) -> CandleResult<Computed> {
    with_slices([x], |[values]: [&[T]; 1]| Computed::cpu(kernels::forward(values), x.shape().clone()))
}

fn first<T: Element + kernels::Gaussian>(x: &Tensor, dy: &Tensor) -> CandleResult<Computed> {
    with_slices([x, dy], |[values, dy]: [&[T]; 2]| {
        Computed::cpu(kernels::gradient(values, dy), x.shape().clone())
    })
}

fn of_gradient<T: Element + kernels::Gaussian>(
    x: &Tensor,
    dy: &Tensor,
    v: &Tensor,
) -> CandleResult<[Computed; 2]> {
    with_slices([x, dy, v], |[values, dy, v]: [&[T]; 3]| {
        kernels::second(values, dy, v).map(|result| Computed::cpu(result, x.shape().clone()))
    })
}
