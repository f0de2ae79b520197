//! Sum of two tensors, as of a residual branch and its shortcut.

use super::floats::{has_kernels, on_floats};
#[cfg(feature = "cuda")]
use crate::cuda::{self, on_cuda_floats};
use crate::error::Result;
use crate::{pass, tape};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result as CandleResult, Shape, Tensor};
use pg_kernels::{Float, elementwise};

/// `x + y`, of one shape. candle's own sum does as well; this one is recorded in a guided step, and on the CPU
/// runs on all threads.
///
/// # Errors
/// If the shapes differ.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if x.shape() == y.shape() && has_kernels(x) {
        Ok(tape::apply2(&x.contiguous()?, &y.contiguous()?, Add, [false, false])?)
    } else {
        Ok((x + y)?)
    }
}

struct Add;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "pg-add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        y: &CpuStorage,
        ly: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        fn sum<T: Float>(x: &[T], y: &[T]) -> Vec<T> {
            elementwise::map2(x, y, |x, y| x + y)
        }
        let result = on_floats!("add", x: lx, y: ly => sum(x, y));
        Ok((result, lx.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        y: &CudaStorage,
        ly: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        let result = on_cuda_floats!(device, x: lx, y: ly => cuda::ADD.of(&device, [&x, &y])?);
        Ok((result, lx.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let grad = pass::operand(grad);
        Ok((Some(grad.clone()), Some(grad)))
    }
}
