//! 2-d convolution. Convolution, its input gradient and its weight gradient are each other's derivatives:
//!
//! ```text
//! y = conv(x, w)            dx = to_input(dy, w)    dw = to_weight(x, dy)
//! x = to_input(y, w)        dy = conv(dx, w)        dw = to_weight(dx, y)
//! w = to_weight(x, y)       dx = to_input(y, dw)    dy = conv(x, dw)
//! ```
//!
//! so the three operations are closed under differentiation, to any order.

use super::{Conv2dOptions, dims4};
use crate::error::Result;
use crate::pass;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result as CandleResult, Shape, Tensor, bail};
use pg_kernels::{Conv2dGeometry, conv2d as kernels};

/// Convolution of `x` (n, channels, height, width) with `weight` (out, channels / groups, kernel height, kernel
/// width), giving (n, out, ., .), as `torch.nn.functional.conv2d` without bias. f32 or f64.
///
/// On the CPU the three passes are pg-kernels'. Elsewhere they are candle's, which serve equal padding and dilation
/// on both axes.
///
/// # Errors
/// [`Error::Window`](crate::Error::Window) if the shapes do not fit.
pub fn conv2d(x: &Tensor, weight: &Tensor, options: Conv2dOptions) -> Result<Tensor> {
    let geometry = Conv2dGeometry::new(dims4(x)?, dims4(weight)?, options)?;
    if x.device().is_cpu() {
        Ok(apply(Map::Output, geometry, x, weight)?)
    } else {
        Ok(with_candle(x, weight, options)?)
    }
}

fn with_candle(x: &Tensor, weight: &Tensor, options: Conv2dOptions) -> CandleResult<Tensor> {
    let Conv2dOptions { stride, padding, dilation, groups } = options;
    if padding.0 != padding.1 || dilation.0 != dilation.1 {
        bail!("conv2d with padding {padding:?} and dilation {dilation:?} runs on the CPU only");
    }
    if stride.0 == stride.1 {
        return x.conv2d(weight, padding.0, stride.0, dilation.0, groups);
    }
    let y = x.conv2d(weight, padding.0, 1, dilation.0, groups)?;
    every(&every(&y, 2, stride.0)?, 3, stride.1)
}

fn every(x: &Tensor, axis: usize, stride: usize) -> CandleResult<Tensor> {
    let indices: Vec<u32> = (0..x.dim(axis)? as u32).step_by(stride).collect();
    x.index_select(&Tensor::new(indices, x.device())?, axis)
}

/// The result of one of the three bilinear maps.
#[derive(Clone, Copy, Debug)]
enum Map {
    /// (x, w) to y.
    Output,
    /// (y, w) to x.
    Input,
    /// (x, y) to w.
    Weight,
}

struct Conv2dMap {
    map: Map,
    geometry: Conv2dGeometry,
}

fn apply(map: Map, geometry: Conv2dGeometry, a: &Tensor, b: &Tensor) -> CandleResult<Tensor> {
    a.contiguous()?.apply_op2(&b.contiguous()?, Conv2dMap { map, geometry })
}

impl Conv2dMap {
    fn result_shape(&self) -> [usize; 4] {
        match self.map {
            Map::Output => self.geometry.output_shape(),
            Map::Input => self.geometry.input_shape(),
            Map::Weight => self.geometry.kernel_shape(),
        }
    }

    fn run<T: pg_kernels::Float>(&self, a: &[T], b: &[T]) -> Vec<T> {
        let mut result = vec![T::default(); self.result_shape().iter().product()];
        match self.map {
            Map::Output => kernels::forward(&self.geometry, a, b, &mut result),
            Map::Input => kernels::input_gradient(&self.geometry, a, b, &mut result),
            Map::Weight => kernels::weight_gradient(&self.geometry, a, b, &mut result),
        }
        result
    }
}

impl CustomOp2 for Conv2dMap {
    fn name(&self) -> &'static str {
        "pg-conv2d"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        la: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let result = match (a, b) {
            (CpuStorage::F32(a), CpuStorage::F32(b)) => {
                CpuStorage::F32(self.run(contiguous(a, la)?, contiguous(b, lb)?))
            }
            (CpuStorage::F64(a), CpuStorage::F64(b)) => {
                CpuStorage::F64(self.run(contiguous(a, la)?, contiguous(b, lb)?))
            }
            _ => bail!("conv2d wants two f32 or two f64 tensors"),
        };
        Ok((result, Shape::from(&self.result_shape()[..])))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let (a, b, grad) = (pass::operand(a), pass::operand(b), pass::operand(grad));
        let map = |map, a: &Tensor, b: &Tensor| apply(map, self.geometry, a, b);
        let weight_gradient = |x: &Tensor, y: &Tensor| {
            pass::wants_weight_gradient(&b).then(|| map(Map::Weight, x, y)).transpose()
        };
        Ok(match self.map {
            Map::Output => (Some(map(Map::Input, &grad, &b)?), weight_gradient(&a, &grad)?),
            Map::Input => (Some(map(Map::Output, &grad, &b)?), weight_gradient(&grad, &a)?),
            Map::Weight => (Some(map(Map::Input, &b, &grad)?), Some(map(Map::Output, &a, &grad)?)),
        })
    }
}

/// The elements of a contiguous layout.
pub(super) fn contiguous<'a, T>(data: &'a [T], layout: &Layout) -> CandleResult<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => Err(candle_core::Error::RequiresContiguous { op: "pg-grad" }),
    }
}

/// Whether an operation has CPU kernels for the type.
pub(super) fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}
