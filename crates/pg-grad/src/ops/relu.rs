//! Rectifier, with derivative 0 at 0 as in torch (candle's own has 1).

use super::floats::{has_kernels, on_floats};
#[cfg(feature = "cuda")]
use crate::cuda::{self, on_cuda_floats};
use crate::error::Result;
use crate::{gates, pass, tape};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result as CandleResult, Shape, Tensor};
use pg_kernels::{Float, elementwise};

/// max(x, 0), any shape.
///
/// # Errors
/// If candle fails.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if let Some(gate) = gates::next(x.shape())? {
        return where_open(x, &gate);
    }
    let y = if has_kernels(x) {
        tape::apply1(&x.contiguous()?, Relu, [false], true)?
    } else {
        x.le(0f64)?.where_cond(&x.zeros_like()?, x)?
    };
    gates::note(&y);
    Ok(y)
}

/// `x` where the result `y` of another pass was positive, else 0.
fn where_open(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    Ok(if has_kernels(x) { where_positive(x, y)? } else { y.le(0f64)?.where_cond(&x.zeros_like()?, x)? })
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "pg-relu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let result = on_floats!("relu", storage: layout => elementwise::map(storage, rectify));
        Ok((result, layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        let result = on_cuda_floats!(device, x: layout => cuda::RELU.of(&device, [&x])?);
        Ok((result, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        Ok(Some(where_positive(&pass::operand(grad), &y.detach())?))
    }
}

/// Not `max`: NaN must stay NaN, so that a broken run shows.
fn rectify<T: Float>(x: T) -> T {
    if x <= T::default() { T::default() } else { x }
}

/// `grad` where `y` > 0, else 0. Linear in `grad`; its derivative by `y` is 0 wherever there is one.
pub(super) fn where_positive(grad: &Tensor, y: &Tensor) -> CandleResult<Tensor> {
    tape::apply2(&grad.contiguous()?, y, WherePositive, [false, true])
}

struct WherePositive;

impl CustomOp2 for WherePositive {
    fn name(&self) -> &'static str {
        "pg-where-positive"
    }

    fn cpu_fwd(
        &self,
        g: &CpuStorage,
        lg: &Layout,
        y: &CpuStorage,
        ly: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        fn select<T: Float>(grad: &[T], y: &[T]) -> Vec<T> {
            elementwise::map2(grad, y, |g, y| if y > T::default() { g } else { T::default() })
        }
        let result = on_floats!("relu", g: lg, y: ly => select(g, y));
        Ok((result, lg.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        g: &CudaStorage,
        lg: &Layout,
        y: &CudaStorage,
        ly: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        let result = on_cuda_floats!(device, g: lg, y: ly =>
            cuda::WHERE_POSITIVE.of(&device, [&g, &y])?);
        Ok((result, lg.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        y: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        // `y` came in detached, so nothing waits for its gradient.
        Ok((Some(where_positive(&pass::operand(grad), y)?), None))
    }
}
