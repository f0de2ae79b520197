//! 2-d convolution. Convolution, its input gradient and its weight gradient are each other's derivatives:
//!
//! ```text
//! y = conv(x, w)            dx = to_input(dy, w)    dw = to_weight(x, dy)
//! x = to_input(y, w)        dy = conv(dx, w)        dw = to_weight(dx, y)
//! w = to_weight(x, y)       dx = to_input(y, dw)    dy = conv(x, dw)
//! ```
//!
//! so the three operations are closed under differentiation, to any order.

use super::floats::{has_kernels, on_floats};
use super::{Conv2dOptions, ShapeError, dims4};
#[cfg(feature = "cuda")]
use crate::cuda::{conv2d as cuda, on_cuda_floats};
use crate::error::Result;
use crate::{pass, tape};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result as CandleResult, Shape, Tensor, bail};
use pg_kernels::{Conv2dGeometry, conv2d as kernels};

/// Convolution of `x` (n, channels, height, width) with `weight` (out, channels / groups, kernel height, kernel
/// width), giving (n, out, ., .), as `torch.nn.functional.conv2d` without bias. f32 or f64.
///
/// On the CPU the three passes are pg-kernels', on CUDA devices cuDNN's or column matrices with cuBLAS. Elsewhere they are
/// candle's, which serve equal dilation on both axes, and padding that is smaller than the window.
///
/// # Errors
/// [`Error::Window`](crate::Error::Window) if the shapes do not fit; candle's error for what it does not serve, and on CUDA
/// devices for tensors of 2^31 elements or more.
pub fn conv2d(x: &Tensor, weight: &Tensor, options: Conv2dOptions) -> Result<Tensor> {
    let geometry = Conv2dGeometry::new(dims4(x)?, dims4(weight)?, options)?;
    if has_kernels(x) {
        Ok(Conv2dMap { map: Map::Output, geometry, kernel_is_matrix: false }.apply(x, weight)?)
    } else {
        Ok(with_candle(x, weight, options)?)
    }
}

/// The same of candle's operations. Its convolution has one stride and one padding for both axes, and its derivative
/// one rest: the rows at the end that no window reaches count for the columns, too.
fn with_candle(x: &Tensor, weight: &Tensor, options: Conv2dOptions) -> CandleResult<Tensor> {
    let Conv2dOptions { stride, padding, dilation: (dilation, across), groups } = options;
    if dilation != across {
        bail!(
            "conv2d with dilation {dilation} along the height and {across} along the width runs on the CPU and on \
             CUDA only, in f32 or f64"
        );
    }
    for (axis, padding) in [(2, padding.0), (3, padding.1)] {
        let window = dilation * (weight.dim(axis)? - 1) + 1;
        if padding >= window {
            let error = ShapeError::PaddingTooLarge { operation: "conv2d of candle", padding, window };
            return Err(candle_core::Error::wrap(error));
        }
    }
    let common = if stride.0 == stride.1 { stride.0 } else { 1 };
    let rest = |axis: usize, padding: usize| {
        Ok::<_, candle_core::Error>(
            (x.dim(axis)? + 2 * padding - dilation * (weight.dim(axis)? - 1) - 1) % common,
        )
    };
    let rests = (rest(2, padding.0)?, rest(3, padding.1)?);
    let y = if padding.0 == padding.1 && rests.0 == rests.1 {
        x.conv2d(weight, padding.0, common, dilation, groups)?
    } else {
        let x = padded(&padded(x, 2, padding.0, rests.0)?, 3, padding.1, rests.1)?;
        x.conv2d(weight, 0, common, dilation, groups)?
    };
    if stride.0 == stride.1 { Ok(y) } else { every(&every(&y, 2, stride.0)?, 3, stride.1) }
}

/// `padding` zeros on both ends of an axis, less the last `rest` elements.
fn padded(x: &Tensor, axis: usize, padding: usize, rest: usize) -> CandleResult<Tensor> {
    let kept = x.dim(axis)? - rest.saturating_sub(padding);
    x.narrow(axis, 0, kept)?.pad_with_zeros(axis, padding, padding.saturating_sub(rest))
}

/// The first element of each `stride` along an axis.
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

#[derive(Clone, Copy)]
struct Conv2dMap {
    map: Map,
    geometry: Conv2dGeometry,
    /// Whether the kernel, of 1x1, is a matrix (out, in).
    kernel_is_matrix: bool,
}

/// `weight` (out, in) times the channels of `x` (n, in, height, width), for tensors that have kernels.
pub(super) fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (out, input) = weight.dims2()?;
    let geometry = Conv2dGeometry::new(dims4(x)?, [out, input, 1, 1], Conv2dOptions::default())?;
    Ok(Conv2dMap { map: Map::Output, geometry, kernel_is_matrix: true }.apply(x, weight)?)
}

impl Conv2dMap {
    fn apply(self, a: &Tensor, b: &Tensor) -> CandleResult<Tensor> {
        tape::apply2(&a.contiguous()?, &b.contiguous()?, self, [true, true])
    }

    fn result_shape(&self) -> Shape {
        let shape = match self.map {
            Map::Output => self.geometry.output_shape(),
            Map::Input => self.geometry.input_shape(),
            Map::Weight => self.geometry.kernel_shape(),
        };
        let axes = if matches!(self.map, Map::Weight) && self.kernel_is_matrix { 2 } else { 4 };
        Shape::from(&shape[..axes])
    }

    fn run<T: pg_kernels::Float>(&self, a: &[T], b: &[T]) -> Vec<T> {
        match self.map {
            Map::Output => kernels::forward(&self.geometry, a, b),
            Map::Input => kernels::input_gradient(&self.geometry, a, b),
            Map::Weight => kernels::weight_gradient(&self.geometry, a, b),
        }
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
        let result = on_floats!("conv2d", a: la, b: lb => self.run(a, b));
        Ok((result, self.result_shape()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        la: &Layout,
        b: &CudaStorage,
        lb: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        let g = &self.geometry;
        let result = on_cuda_floats!(device, a: la, b: lb => match self.map {
            Map::Output => cuda::forward(&device, g, &a, &b)?,
            Map::Input => cuda::input_gradient(&device, g, &a, &b)?,
            Map::Weight => cuda::weight_gradient(&device, g, &a, &b)?,
        });
        Ok((result, self.result_shape()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let wants_first = pass::wants_input_gradient(a);
        let wants_second = b.track_op() && pass::wants_weight_gradient(b);
        let (a, b, grad) = (pass::operand(a), pass::operand(b), pass::operand(grad));
        let map = |map, a: &Tensor, b: &Tensor| Self { map, ..*self }.apply(a, b);
        let first = |kind, x: &Tensor, y: &Tensor| wants_first.then(|| map(kind, x, y)).transpose();
        let second = |kind, x: &Tensor, y: &Tensor| wants_second.then(|| map(kind, x, y)).transpose();
        Ok(match self.map {
            Map::Output => (first(Map::Input, &grad, &b)?, second(Map::Weight, &a, &grad)?),
            Map::Input => (first(Map::Output, &grad, &b)?, second(Map::Weight, &grad, &a)?),
            Map::Weight => (first(Map::Input, &b, &grad)?, second(Map::Output, &a, &grad)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn var(shape: [usize; 4], salt: usize) -> Var {
        let values: Vec<f64> =
            (0..shape.iter().product()).map(|i| ((i * 97 + salt * 31) % 509) as f64 / 254.5 - 1.0).collect();
        Var::from_vec(values, &shape, &Device::Cpu).unwrap()
    }

    /// The convolution of x and w, the gradients of its square by both, and the gradients of their squares.
    fn passes(x: &Var, w: &Var, conv: impl Fn(&Tensor, &Tensor) -> Tensor) -> [(&'static str, Tensor); 5] {
        let square = |t: &Tensor| t.sqr().unwrap().sum_all().unwrap();
        let gradients = |loss: &Tensor| {
            let gradients = loss.backward().unwrap();
            [x, w].map(|var| gradients.get(var).unwrap().clone())
        };
        let y = conv(x, w);
        let [by_x, by_w] = gradients(&square(&y));
        let [by_x_again, by_w_again] = gradients(&(square(&by_x) + square(&by_w)).unwrap());
        [
            ("output", y),
            ("input gradient", by_x),
            ("weight gradient", by_w),
            ("second input gradient", by_x_again),
            ("second weight gradient", by_w_again),
        ]
    }

    fn assert_agree(x: [usize; 4], w: [usize; 4], options: Conv2dOptions) {
        let (x, w) = (var(x, 1), var(w, 2));
        let kernels = passes(&x, &w, |x, w| conv2d(x, w, options).unwrap());
        let candle = passes(&x, &w, |x, w| with_candle(x, w, options).unwrap());
        for ((name, kernels), (_, candle)) in kernels.iter().zip(&candle) {
            let of = format!("{name} of {:?} and {:?} with {options:?}", x.dims(), w.dims());
            assert_eq!(kernels.dims(), candle.dims(), "{of}");
            let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for (k, c) in values(kernels).into_iter().zip(values(candle)) {
                assert!((k - c).abs() < 1e-9 * c.abs().max(1.0), "{of}: {k} != {c}");
            }
        }
    }

    /// What other devices run is checked on the CPU.
    #[test]
    fn kernels_and_candle_agree() {
        for size in [(8, 8), (8, 9), (9, 8), (7, 12)] {
            for window in [(1, 1), (3, 3), (3, 2)] {
                for stride in [(1, 1), (2, 2), (3, 3), (2, 1), (1, 3)] {
                    for padding in [(0, 0), (1, 1), (0, 1)] {
                        for (dilation, groups) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
                            let extent = |window: usize| dilation * (window - 1) + 1;
                            // A window of padding alone, which only the CPU serves.
                            if padding.0 >= extent(window.0) || padding.1 >= extent(window.1) {
                                continue;
                            }
                            assert_agree(
                                [2, 4, size.0, size.1],
                                [6, 4 / groups, window.0, window.1],
                                Conv2dOptions { stride, padding, dilation: (dilation, dilation), groups },
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn candle_takes_no_two_dilations_and_no_window_of_padding() {
        let options = Conv2dOptions { dilation: (1, 2), ..Default::default() };
        let error = with_candle(&var([1, 1, 8, 8], 1), &var([1, 1, 3, 3], 2), options).unwrap_err();
        assert!(error.to_string().contains("runs on the CPU and on CUDA only"), "{error}");
        let far = Conv2dOptions { padding: (0, 3), ..Default::default() };
        let error = with_candle(&var([1, 1, 8, 8], 1), &var([1, 1, 3, 3], 2), far).unwrap_err();
        assert!(error.to_string().contains("padding 3 must be smaller"), "{error}");
    }
}
