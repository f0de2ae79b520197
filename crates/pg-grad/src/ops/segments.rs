//! Maximum and repetition over runs of neighbouring elements: pooling over groups of differing sizes.

use super::floats::{has_kernels, on_floats};
use crate::error::{Error, Result};
use crate::{gates, pass, tape};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result as CandleResult, Shape, Tensor, bail};
use pg_kernels::{Segments, pick};

/// The largest element of each run along the last axis of `x` (..., length), giving (..., count). Its gradient goes to one
/// winner a run: of equal ones, the first, or, on a device for which this crate has no kernels, whichever that picks.
///
/// # Errors
/// [`Error::Shape`] if the last axis is not as long as the segments.
pub fn segment_max(x: &Tensor, segments: &Segments) -> Result<Tensor> {
    expect_last("segment_max input", x, segments.length())?;
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = segments.count();
    }
    let held = gates::next(&Shape::from(shape.as_slice()))?;
    let winners = match held {
        Some(winners) => winners,
        None => winners(x, segments)?,
    };
    gates::note(&winners);
    if x.device().is_cpu() && has_kernels(x) {
        let take = Take { way: Way::Gather, shape: shape.into(), counterpart: x.shape().clone() };
        Ok(take.apply(x, &winners)?)
    } else {
        select(x, &winners, segments)
    }
}

/// The element of each run, repeated for all elements of the run, along the last axis of `x` (..., count), giving
/// (..., length).
///
/// # Errors
/// [`Error::Shape`] if the last axis does not have an element a run.
pub fn segment_repeat(x: &Tensor, segments: &Segments) -> Result<Tensor> {
    expect_last("segment_repeat input", x, segments.count())?;
    let owners = Tensor::new(segments.owners(), x.device())?;
    Ok(x.contiguous()?.index_select(&owners, x.rank() - 1)?)
}

fn expect_last(what: &'static str, x: &Tensor, length: usize) -> Result<()> {
    if x.rank() > 0 && x.dims().last() == Some(&length) && x.elem_count() > 0 {
        return Ok(());
    }
    Err(Error::Shape { what, actual: x.dims().to_vec(), expected: format!("(..., {length})") })
}

/// Places of the largest elements in their rows, (..., count).
fn winners(x: &Tensor, segments: &Segments) -> Result<Tensor> {
    let x = x.detach().contiguous()?;
    if x.device().is_cpu() && has_kernels(&x) {
        return Ok(x.apply_op1_no_bwd(&Winners(segments.clone()))?);
    }
    let mut winners = Vec::with_capacity(segments.count());
    for run in segments.runs() {
        let part = x.narrow(x.rank() - 1, run.start, run.len())?;
        let place = part.argmax_keepdim(x.rank() - 1)?;
        winners.push((place + run.start as f64)?);
    }
    Ok(Tensor::cat(&winners, x.rank() - 1)?)
}

/// The winners of candle's operations, for devices without a kernel: all others are set to 0, and each run is summed.
fn select(x: &Tensor, winners: &Tensor, segments: &Segments) -> Result<Tensor> {
    let places = Tensor::arange(0u32, segments.length() as u32, x.device())?;
    let is_winner = segment_repeat(winners, segments)?.broadcast_eq(&places)?;
    let kept = is_winner.where_cond(x, &x.zeros_like()?)?;
    let sums =
        segments.runs().map(|run| kept.narrow(x.rank() - 1, run.start, run.len())?.sum_keepdim(x.rank() - 1));
    Ok(Tensor::cat(&sums.collect::<CandleResult<Vec<_>>>()?, x.rank() - 1)?)
}

struct Winners(Segments);

impl CustomOp1 for Winners {
    fn name(&self) -> &'static str {
        "pg-segment-winners"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let winners = match x {
            CpuStorage::F32(x) => self.0.winners(super::floats::contiguous(x, layout)?),
            CpuStorage::F64(x) => self.0.winners(super::floats::contiguous(x, layout)?),
            _ => bail!("segment_max wants f32 or f64"),
        };
        let mut shape = layout.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.0.count();
        }
        Ok((CpuStorage::U32(winners), shape.into()))
    }
}

/// Takes the winners from rows, or puts what was taken back. Each is the other's derivative.
#[derive(Clone)]
struct Take {
    way: Way,
    /// Of the result.
    shape: Shape,
    /// Of the result of the other way.
    counterpart: Shape,
}

#[derive(Clone, Copy)]
enum Way {
    Gather,
    ScatterAdd,
}

impl Take {
    fn apply(self, values: &Tensor, winners: &Tensor) -> CandleResult<Tensor> {
        tape::apply2(&values.contiguous()?, winners, self, [false, true])
    }

    fn run<T: pg_kernels::Float>(&self, values: &[T], winners: &[u32], count: usize) -> Vec<T> {
        let mut result = pg_kernels::zeros(self.shape.elem_count());
        let length = |shape: &Shape| shape.dims().last().copied().unwrap_or(1);
        match self.way {
            Way::Gather => pick::gather(values, length(&self.counterpart), winners, count, &mut result),
            Way::ScatterAdd => pick::scatter_add(values, winners, count, length(&self.shape), &mut result),
        }
        result
    }
}

impl CustomOp2 for Take {
    fn name(&self) -> &'static str {
        "pg-segment-take"
    }

    fn cpu_fwd(
        &self,
        v: &CpuStorage,
        lv: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let CpuStorage::U32(winners) = w else { bail!("winners must be u32") };
        let winners = super::floats::contiguous(winners, lw)?;
        let count = lw.dims().last().copied().unwrap_or(1);
        let result = on_floats!("segment_max", v: lv => self.run(v, winners, count));
        Ok((result, self.shape.clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        winners: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let way = match self.way {
            Way::Gather => Way::ScatterAdd,
            Way::ScatterAdd => Way::Gather,
        };
        let other = Self { way, shape: self.counterpart.clone(), counterpart: self.shape.clone() };
        Ok((Some(other.apply(&pass::operand(grad), winners)?), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// What other devices run is checked on the CPU: value, gradient and gradient of the gradient.
    #[test]
    fn both_ways_agree_where_no_two_elements_are_equal() {
        let values: Vec<f64> = (0..3 * 10).map(|i| f64::from(i * 97 % 109)).collect();
        let x = Var::from_vec(values, (3, 10), &Device::Cpu).unwrap();
        let segments = Segments::new([4, 1, 3, 2]).unwrap();
        let derivatives = |y: Tensor| {
            let first = y.sqr().unwrap().backward().unwrap().remove(&x).unwrap();
            let second = first.sqr().unwrap().backward().unwrap().remove(&x).unwrap();
            [y, first, second].map(|t| t.to_vec2::<f64>().unwrap())
        };
        let composed = select(&x, &winners(&x, &segments).unwrap(), &segments).unwrap();
        assert_eq!(derivatives(segment_max(&x, &segments).unwrap()), derivatives(composed));
    }

    #[test]
    fn rows_of_another_length_are_refused() {
        let segments = Segments::new([2, 3]).unwrap();
        let x = Tensor::zeros((2, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(segment_max(&x, &segments), Err(Error::Shape { .. })));
        assert!(matches!(segment_repeat(&x, &segments), Err(Error::Shape { .. })));
    }
}
