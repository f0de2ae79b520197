//! Arithmetic with one number a channel, for x (n, channels, ...), and within this crate for x (..., channels): the parts of
//! normalisation and of a bias.
//!
//! ```text
//! y = scale(x, s) = x s       dx = scale(dy, s)    ds = dot(x, dy)
//! y = shift(x, b) = x + b     dx = dy              db = sum(dy)
//! y = affine(x, s, b)         dx = scale(dy, s)    ds = dot(x, dy)    db = sum(dy)
//! s = dot(x, y)               dx = scale(y, ds)    dy = scale(x, ds)
//! s = sum(x)                  dx = fill(ds)
//! y = fill(s)                 ds = sum(dy)
//! y = center(x) = x - mean    dx = center(dy)
//! ```
//!
//! so they are closed under differentiation, to any order. Where this crate has kernels every sum is accumulated in f64.

use super::floats::{has_kernels, on_floats};
#[cfg(feature = "cuda")]
use crate::cuda::{channels as cuda, on_cuda_floats};
use crate::error::{Error, Result};
use crate::{pass, tape};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result as CandleResult, Shape, Tensor,
};
use pg_kernels::{ChannelGeometry, Float, channels as kernels};

/// `x` (n, channels, ...) times `scale` (channels,).
///
/// # Errors
/// [`Error::Window`] if `x` has no channels or no elements; [`Error::Shape`] if the other operand does not fit it.
pub fn channel_scale(x: &Tensor, scale: &Tensor) -> Result<Tensor> {
    Pair::Scale.apply(Axis::Second, x, scale)
}

/// `x` (n, channels, ...) plus `shift` (channels,): a bias.
///
/// # Errors
/// As [`channel_scale`].
pub fn channel_shift(x: &Tensor, shift: &Tensor) -> Result<Tensor> {
    Pair::Shift.apply(Axis::Second, x, shift)
}

/// `x` (..., features) plus `shift` (features,): the bias of a linear layer.
pub(super) fn feature_shift(x: &Tensor, shift: &Tensor) -> Result<Tensor> {
    Pair::Shift.apply(Axis::Last, x, shift)
}

/// `x` (n, channels, ...) times `scale` plus `shift`, both (channels,), in one pass over memory.
///
/// # Errors
/// As [`channel_scale`].
pub fn channel_affine(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    affine(Axis::Second, x, scale, shift)
}

/// `x` (..., features) times `scale` plus `shift`, both (features,).
pub(super) fn feature_affine(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    affine(Axis::Last, x, scale, shift)
}

fn affine(axis: Axis, x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let channels = [axis.geometry(x.dims())?.channels()];
    expect_shape("scale", scale, &channels)?;
    expect_shape("shift", shift, &channels)?;
    if has_kernels(x) {
        Ok(tape::apply3(
            &x.contiguous()?,
            &scale.contiguous()?,
            &shift.contiguous()?,
            Affine(axis),
            // x is read for the gradient of the scale alone.
            [scale.track_op(), true, true],
        )?)
    } else {
        Pair::Shift.apply(axis, &Pair::Scale.apply(axis, x, scale)?, shift)
    }
}

/// Sum of the products of `x` and `y`, both (n, channels, ...), over each channel, giving (channels,).
///
/// # Errors
/// As [`channel_scale`].
pub fn channel_dot(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    Pair::Dot.apply(Axis::Second, x, y)
}

/// Sum of `x` (n, channels, ...) over each channel, giving (channels,).
///
/// # Errors
/// [`Error::Window`] if `x` has no channels or no elements.
pub fn channel_sum(x: &Tensor) -> Result<Tensor> {
    Single::Sum.apply(Axis::Second, x, x.shape())
}

/// A tensor of `shape` (n, channels, ...) that holds `value` (channels,) in each channel.
///
/// # Errors
/// As [`channel_scale`].
pub fn channel_fill(value: &Tensor, shape: &Shape) -> Result<Tensor> {
    let channels = [ChannelGeometry::new(shape.dims())?.channels()];
    expect_shape("value", value, &channels)?;
    Single::Fill(shape.clone()).apply(Axis::Second, value, shape)
}

/// `x` (n, channels, ...) less the mean of each channel.
///
/// # Errors
/// As [`channel_sum`].
pub fn channel_center(x: &Tensor) -> Result<Tensor> {
    Single::Center.apply(Axis::Second, x, x.shape())
}

/// Which axis holds the channels.
#[derive(Debug, Clone, Copy)]
enum Axis {
    /// (n, channels, ...).
    Second,
    /// (..., channels).
    Last,
}

impl Axis {
    fn geometry(self, shape: &[usize]) -> Result<ChannelGeometry> {
        Ok(match (self, shape) {
            (Axis::Last, [.., channels]) => {
                let rows = shape.iter().product::<usize>() / (*channels).max(1);
                ChannelGeometry::new(&[rows, *channels])?
            }
            _ => ChannelGeometry::new(shape)?,
        })
    }

    fn place(self, rank: usize) -> usize {
        match self {
            Axis::Second => 1,
            Axis::Last => rank.saturating_sub(1),
        }
    }

    /// `v` (channels,) in a shape that broadcasts against a tensor of `rank` axes.
    fn broadcastable(self, v: &Tensor, rank: usize) -> CandleResult<Tensor> {
        let mut shape = vec![1; rank];
        shape[self.place(rank)] = v.elem_count();
        v.reshape(shape)
    }

    fn others(self, x: &Tensor) -> Vec<usize> {
        (0..x.rank()).filter(|&axis| axis != self.place(x.rank())).collect()
    }
}

pub(super) fn expect_shape(what: &'static str, tensor: &Tensor, expected: &[usize]) -> Result<()> {
    if tensor.dims() == expected {
        return Ok(());
    }
    Err(Error::Shape { what, actual: tensor.dims().to_vec(), expected: format!("{expected:?}") })
}

/// Operations on one tensor.
#[derive(Clone)]
enum Single {
    Sum,
    Center,
    Fill(Shape),
}

impl Single {
    /// `full` is the shape of the larger of argument and result.
    fn apply(self, axis: Axis, x: &Tensor, full: &Shape) -> Result<Tensor> {
        let geometry = axis.geometry(full.dims())?;
        if has_kernels(x) {
            Ok(tape::apply1(&x.contiguous()?, SingleMap { geometry, axis, map: self }, [false], false)?)
        } else {
            Ok(self.with_candle(axis, x)?)
        }
    }

    fn with_candle(&self, axis: Axis, x: &Tensor) -> CandleResult<Tensor> {
        match self {
            Single::Sum => x.sum(axis.others(x)),
            Single::Center => x.broadcast_sub(&x.mean_keepdim(axis.others(x))?),
            Single::Fill(shape) => axis.broadcastable(x, shape.rank())?.broadcast_as(shape)?.contiguous(),
        }
    }
}

struct SingleMap {
    map: Single,
    axis: Axis,
    geometry: ChannelGeometry,
}

impl SingleMap {
    fn run<T: Float>(&self, x: &[T]) -> Vec<T> {
        let g = &self.geometry;
        match self.map {
            Single::Sum => kernels::sum(g, x),
            Single::Center => kernels::center(g, x),
            Single::Fill(_) => kernels::fill(g, x),
        }
    }

    fn result_shape(&self, argument: &Layout) -> Shape {
        match &self.map {
            Single::Sum => Shape::from(self.geometry.channels()),
            Single::Center => argument.shape().clone(),
            Single::Fill(shape) => shape.clone(),
        }
    }
}

impl CustomOp1 for SingleMap {
    fn name(&self) -> &'static str {
        "pg-channels-1"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let result = on_floats!("per-channel arithmetic", x: layout => self.run(x));
        Ok((result, self.result_shape(layout)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        let g = &self.geometry;
        let result = on_cuda_floats!(device, x: layout => match self.map {
            Single::Sum => cuda::sum(&device, g, &x, None)?,
            Single::Center => cuda::center(&device, g, &x)?,
            Single::Fill(_) => cuda::Map::Fill([&x]).run(&device, g)?,
        });
        Ok((result, self.result_shape(layout)))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        let grad = pass::operand(grad);
        let (map, full) = match self.map {
            Single::Sum => (Single::Fill(x.shape().clone()), x.shape()),
            Single::Center => (Single::Center, grad.shape()),
            Single::Fill(_) => (Single::Sum, grad.shape()),
        };
        Ok(Some(map.apply(self.axis, &grad, full)?))
    }
}

/// Operations on a tensor and the numbers of its channels, or on two tensors.
#[derive(Clone, Copy)]
enum Pair {
    Scale,
    Shift,
    Dot,
}

impl Pair {
    fn apply(self, axis: Axis, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let geometry = axis.geometry(x.dims())?;
        match self {
            Pair::Scale => expect_shape("scale", y, &[geometry.channels()])?,
            Pair::Shift => expect_shape("shift", y, &[geometry.channels()])?,
            Pair::Dot => expect_shape("second factor", y, x.dims())?,
        }
        if has_kernels(x) {
            Ok(tape::apply2(
                &x.contiguous()?,
                &y.contiguous()?,
                PairMap { geometry, axis, map: self },
                self.reads(y),
            )?)
        } else {
            Ok(self.with_candle(axis, x, y)?)
        }
    }

    /// Which of x and y the derivative reads.
    fn reads(self, y: &Tensor) -> tape::Reads<2> {
        match self {
            Pair::Scale => [y.track_op(), true],
            Pair::Shift => [false, true],
            Pair::Dot => [true, true],
        }
    }

    fn with_candle(self, axis: Axis, x: &Tensor, y: &Tensor) -> CandleResult<Tensor> {
        match self {
            Pair::Scale => x.broadcast_mul(&axis.broadcastable(y, x.rank())?),
            Pair::Shift => x.broadcast_add(&axis.broadcastable(y, x.rank())?),
            Pair::Dot => (x * y)?.sum(axis.others(x)),
        }
    }
}

struct PairMap {
    map: Pair,
    axis: Axis,
    geometry: ChannelGeometry,
}

impl PairMap {
    fn run<T: Float>(&self, x: &[T], y: &[T]) -> Vec<T> {
        let g = &self.geometry;
        match self.map {
            Pair::Scale => kernels::scale(g, x, y),
            Pair::Shift => kernels::shift(g, x, y),
            Pair::Dot => kernels::dot(g, x, y),
        }
    }

    fn result_shape(&self, x: &Layout) -> Shape {
        match self.map {
            Pair::Scale | Pair::Shift => x.shape().clone(),
            Pair::Dot => Shape::from(self.geometry.channels()),
        }
    }
}

impl CustomOp2 for PairMap {
    fn name(&self) -> &'static str {
        "pg-channels-2"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        y: &CpuStorage,
        ly: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let result = on_floats!("per-channel arithmetic", x: lx, y: ly => self.run(x, y));
        Ok((result, self.result_shape(lx)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        y: &CudaStorage,
        ly: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        let g = &self.geometry;
        let result = on_cuda_floats!(device, x: lx, y: ly => match self.map {
            Pair::Scale => cuda::Map::Scale([&x, &y]).run(&device, g)?,
            Pair::Shift => cuda::Map::Shift([&x, &y]).run(&device, g)?,
            Pair::Dot => cuda::sum(&device, g, &x, Some(&y))?,
        });
        Ok((result, self.result_shape(lx)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let (square, wanted, axis) = (x.id() == y.id(), is_wanted(y), self.axis);
        let (x, y, grad) = (pass::operand(x), pass::operand(y), pass::operand(grad));
        let scale = |x: &Tensor, scale: &Tensor| Pair::Scale.apply(axis, x, scale);
        Ok(match self.map {
            Pair::Scale => (Some(scale(&grad, &y)?), axis.scale_gradient(wanted, &x, &grad)?),
            Pair::Shift => (Some(grad.clone()), axis.shift_gradient(wanted, &grad)?),
            // One gradient for both: a pass over memory less.
            Pair::Dot if square => (Some(scale(&x, &(grad * 2.0)?)?), None),
            Pair::Dot => (Some(scale(&y, &grad)?), Some(scale(&x, &grad)?)),
        })
    }
}

/// Whether the gradient of a scale or a shift is wanted.
fn is_wanted(per_channel: &Tensor) -> bool {
    per_channel.track_op() && pass::wants_weight_gradient(per_channel)
}

impl Axis {
    fn scale_gradient(self, wanted: bool, x: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        wanted.then(|| Pair::Dot.apply(self, x, grad)).transpose()
    }

    fn shift_gradient(self, wanted: bool, grad: &Tensor) -> Result<Option<Tensor>> {
        wanted.then(|| Single::Sum.apply(self, grad, grad.shape())).transpose()
    }
}

struct Affine(Axis);

impl Affine {
    fn run<T: Float>(&self, shape: &Shape, x: &[T], scale: &[T], shift: &[T]) -> Result<Vec<T>> {
        let g = self.0.geometry(shape.dims())?;
        Ok(kernels::affine(&g, x, scale, shift))
    }
}

impl CustomOp3 for Affine {
    fn name(&self) -> &'static str {
        "pg-channels-affine"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        scale: &CpuStorage,
        ls: &Layout,
        shift: &CpuStorage,
        lb: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let shape = lx.shape();
        let result = on_floats!("per-channel arithmetic", x: lx, scale: ls, shift: lb =>
            self.run(shape, x, scale, shift)?);
        Ok((result, shape.clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        scale: &CudaStorage,
        ls: &Layout,
        shift: &CudaStorage,
        lb: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        let g = self.0.geometry(lx.dims())?;
        let result = on_cuda_floats!(device, x: lx, scale: ls, shift: lb =>
            cuda::Map::Affine([&x, &scale, &shift]).run(&device, &g)?);
        Ok((result, lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let wanted = (is_wanted(scale), is_wanted(shift));
        let (x, scale, grad) = (pass::operand(x), pass::operand(scale), pass::operand(grad));
        let (axis, by_x) = (self.0, Pair::Scale.apply(self.0, &grad, &scale)?);
        Ok((Some(by_x), axis.scale_gradient(wanted.0, &x, &grad)?, axis.shift_gradient(wanted.1, &grad)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn var(shape: &[usize], salt: usize) -> Var {
        let values: Vec<f64> =
            (0..shape.iter().product()).map(|i| ((i * 97 + salt * 31) % 509) as f64 / 254.5 - 1.0).collect();
        Var::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// `f` of x, y (2, 3, 5) and v (3,): its value and the first and second derivatives of its square.
    fn derivatives(f: impl Fn(&Tensor, &Tensor, &Tensor) -> Tensor) -> Vec<f64> {
        let (x, y, v) = (var(&[2, 3, 5], 1), var(&[2, 3, 5], 2), var(&[3], 3));
        let result = f(&x, &y, &v);
        let first = result.sqr().unwrap().backward().unwrap();
        let first: Vec<Tensor> = [&x, &y, &v].iter().filter_map(|v| first.get(v)).cloned().collect();
        let squares = first.iter().map(|g| g.sqr().unwrap().sum_all().unwrap());
        let second = squares.reduce(|a, b| (a + b).unwrap()).unwrap().backward().unwrap();
        let second = [&x, &y, &v].into_iter().filter_map(|v| second.get(v)).cloned();
        let all = [result].into_iter().chain(first).chain(second.collect::<Vec<_>>());
        all.flat_map(|t| t.flatten_all().unwrap().to_vec1::<f64>().unwrap()).collect()
    }

    fn assert_agree(name: &str, kernels: Vec<f64>, candle: Vec<f64>) {
        assert_eq!(kernels.len(), candle.len(), "{name}");
        for (k, c) in kernels.iter().zip(&candle) {
            assert!((k - c).abs() < 1e-9 * c.abs().max(1.0), "{name}: {k} != {c}");
        }
    }

    #[test]
    fn an_input_without_channels_is_called_that() {
        let error = channel_sum(&var(&[3], 1)).unwrap_err().to_string();
        assert_eq!(error, "per-channel arithmetic: shape [3] has too few axes; expected (n, channels, ...)");
        let error = channel_sum(&Tensor::zeros((2, 0), candle_core::DType::F64, &Device::Cpu).unwrap());
        assert!(error.unwrap_err().to_string().ends_with("shape [2, 0] has an empty axis"));
    }

    /// What other devices run is checked on the CPU.
    #[test]
    fn kernels_and_candle_agree() {
        for axis in [Axis::Second, Axis::Last] {
            agree_along(axis);
        }
    }

    /// Channels are three: of the second axis, or of the last after the tensors are turned.
    fn agree_along(axis: Axis) {
        let turned = |t: &Tensor| match axis {
            Axis::Second => t.clone(),
            Axis::Last => t.transpose(1, 2).unwrap().contiguous().unwrap(),
        };
        let derivatives = |f: &dyn Fn(&Tensor, &Tensor, &Tensor) -> Tensor| {
            derivatives(|x, y, v| f(&turned(x), &turned(y), v))
        };
        for (name, map) in [("scale", Pair::Scale), ("shift", Pair::Shift), ("dot", Pair::Dot)] {
            let other = |y: &Tensor, v: &Tensor| if matches!(map, Pair::Dot) { y.clone() } else { v.clone() };
            let kernels = derivatives(&|x, y, v| map.apply(axis, x, &other(y, v)).unwrap());
            let candle = derivatives(&|x, y, v| map.with_candle(axis, x, &other(y, v)).unwrap());
            assert_agree(name, kernels, candle);
        }
        let square = derivatives(&|x, _, _| Pair::Dot.apply(axis, x, x).unwrap());
        assert_agree("square", square, derivatives(&|x, _, _| Pair::Dot.with_candle(axis, x, x).unwrap()));
        let kernels = derivatives(&|x, _, v| affine(axis, x, v, v).unwrap());
        let candle = derivatives(&|x, _, v| {
            Pair::Shift.with_candle(axis, &Pair::Scale.with_candle(axis, x, v).unwrap(), v).unwrap()
        });
        assert_agree("affine", kernels, candle);
        let full = match axis {
            Axis::Second => Shape::from((2, 3, 5)),
            Axis::Last => Shape::from((2, 5, 3)),
        };
        for (name, map) in
            [("sum", Single::Sum), ("center", Single::Center), ("fill", Single::Fill(full.clone()))]
        {
            let of =
                |x: &Tensor, v: &Tensor| if matches!(map, Single::Fill(_)) { v.clone() } else { x.clone() };
            let kernels = derivatives(&|x, _, v| map.clone().apply(axis, &of(x, v), &full).unwrap());
            assert_agree(name, kernels, derivatives(&|x, _, v| map.with_candle(axis, &of(x, v)).unwrap()));
        }
    }
}
