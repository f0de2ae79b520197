//! Batch normalisation. The second axis holds the channels; any further axes and the batch are reduced.

use super::add::add;
use super::channels::{channel_affine, channel_center, channel_dot, channel_sum, expect_shape};
use super::relu::{relu, where_positive};
use crate::error::{Error, Result};
use crate::{gates, pass, tape};
use candle_core::{DType, Device, Result as CandleResult, Tensor, WithDType, bail};
use pg_kernels::batch_norm::{self as kernels, Moments};
use pg_kernels::{ChannelGeometry, Float};
use std::rc::Rc;

/// Moments of one batch, each (channels,), detached: what moves the running statistics.
#[derive(Debug, Clone)]
pub struct BatchMoments {
    /// Mean.
    pub mean: Tensor,
    /// Unbiased variance (divisor count - 1).
    pub unbiased_variance: Tensor,
}

/// Normalises `x` (n, channels, ...) by the moments of the batch (variance with divisor count), then scales by
/// `weight` and adds `bias`, both (channels,). The derivative holds the cross-sample terms.
///
/// # Errors
/// [`Error::Shape`] if a channel has fewer than two elements, as in torch; or the shapes do not fit.
pub fn batch_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<(Tensor, BatchMoments)> {
    let count = check(x, weight, bias)?;
    if let Some(recorded) = recorded(x, weight, bias, eps, false, None) {
        return recorded;
    }
    let centered = channel_center(x)?;
    let variance = (channel_dot(&centered, &centered)? / count as f64)?;
    let scale = (weight / (&variance + eps)?.sqrt()?)?;
    let y = channel_affine(&centered, &scale, bias)?;
    let mean = (channel_sum(&x.detach())? / count as f64)?;
    let unbiased_variance = (variance.detach() * (count as f64 / (count - 1) as f64))?;
    Ok((y, BatchMoments { mean, unbiased_variance }))
}

/// `relu(batch_norm(x) + shortcut)`, or without a shortcut `relu(batch_norm(x))`; in a step on the CPU in fewer passes
/// over memory.
///
/// # Errors
/// Those of [`batch_norm`]; if the shortcut has not the shape of `x`.
pub fn batch_norm_relu(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    shortcut: Option<&Tensor>,
) -> Result<(Tensor, BatchMoments)> {
    check(x, weight, bias)?;
    if let Some(shortcut) = shortcut {
        expect_shape("shortcut", shortcut, x.dims())?;
    }
    // Held gates are the rectifier's own matter.
    if !gates::are_held()
        && let Some(recorded) = recorded(x, weight, bias, eps, true, shortcut)
    {
        return recorded.inspect(|(y, _)| gates::note(y));
    }
    let (y, moments) = batch_norm(x, weight, bias, eps)?;
    let y = if let Some(shortcut) = shortcut { add(&y, shortcut)? } else { y };
    Ok((relu(&y)?, moments))
}

/// The number of elements of a channel.
fn check(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<usize> {
    let channels = x.dim(1)?;
    let count = x.elem_count() / channels.max(1);
    if count < 2 {
        let expected = "more than one value a channel (in training)".to_string();
        return Err(Error::Shape { what: "batch_norm input", actual: x.dims().to_vec(), expected });
    }
    expect_shape("batch_norm weight", weight, &[channels])?;
    expect_shape("batch_norm bias", bias, &[channels])?;
    Ok(count)
}

/// The same while a step is recorded, in kernels of its own: its passes are at most two.
fn recorded(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    rectifies: bool,
    shortcut: Option<&Tensor>,
) -> Option<Result<(Tensor, BatchMoments)>> {
    // Weight and bias get no gradient in the pass to the input: they must not be computed from it.
    let plain = |t: &Tensor| t.is_variable() || !t.track_op();
    let fits = tape::is_on() && x.device().is_cpu() && plain(weight) && plain(bias);
    match x.dtype() {
        DType::F32 if fits => Some(recorded_as::<f32>(x, weight, bias, eps, rectifies, shortcut)),
        DType::F64 if fits => Some(recorded_as::<f64>(x, weight, bias, eps, rectifies, shortcut)),
        _ => None,
    }
}

fn recorded_as<T: Float + WithDType>(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    rectifies: bool,
    shortcut: Option<&Tensor>,
) -> Result<(Tensor, BatchMoments)> {
    let g = ChannelGeometry::new(x.dims())?;
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let moments = tape::with_slices([&x], |[x]: [&[T]; 1]| Moments::new(&g, x, eps))?;
    let unbiased = g.count() as f64 / (g.count() - 1) as f64;
    let numbers = |values: &[f64], factor: f64| {
        let values: Vec<T> = values.iter().map(|value| <T as Float>::from_f64(value * factor)).collect();
        Tensor::from_vec(values, g.channels(), x.device())
    };
    let batch = BatchMoments {
        mean: numbers(&moments.mean, 1.0)?,
        unbiased_variance: numbers(&moments.variance, unbiased)?,
    };
    let adds = shortcut.is_some();
    let shortcut = shortcut.unwrap_or(&x).contiguous()?;
    let y = tape::with_slices([&x, &weight, &bias, &shortcut], |[x, w, b, shortcut]: [&[T]; 4]| {
        let mut y = pg_kernels::zeros(x.len());
        if rectifies {
            kernels::forward_relu(&g, &moments, x, w, b, adds.then_some(shortcut), &mut y);
        } else {
            kernels::forward(&g, &moments, x, w, b, &mut y);
        }
        y
    })?;
    let arguments = [&x, &weight, &bias, &shortcut];
    let arguments = if adds { &arguments[..] } else { &arguments[..3] };
    let this = Recorded { g, moments: Rc::new(moments), x: x.clone(), weight: weight.clone() };
    let y = tape::apply(arguments, x.shape(), y, rectifies, move |y, dy| {
        if !rectifies {
            return this.gradients::<T>(dy);
        }
        let dy = where_positive(&pass::operand(dy), y)?;
        let mut gradients = this.gradients::<T>(&dy)?;
        gradients.extend(adds.then_some(Some(dy)));
        Ok(gradients)
    })?;
    Ok((y, batch))
}

/// What the derivatives of one normalisation read.
#[derive(Clone)]
struct Recorded {
    g: ChannelGeometry,
    moments: Rc<Moments>,
    x: Tensor,
    weight: Tensor,
}

impl Recorded {
    /// Of x, weight and bias. Unless this is the last pass, that of x alone, and it is recorded.
    fn gradients<T: Float + WithDType>(&self, dy: &Tensor) -> CandleResult<Vec<Option<Tensor>>> {
        let dy = dy.contiguous()?;
        let (dx, dw, db) = tape::with_slices([&self.x, &self.weight, &dy], |slices: [&[T]; 3]| {
            let mut dx = pg_kernels::zeros(slices[0].len());
            let (dw, db) = kernels::input_gradient(&self.g, &self.moments, slices, &mut dx);
            (dx, dw, db)
        })?;
        let shape = self.x.shape();
        if pass::is_last() {
            let vector = |values| Tensor::from_vec(values, self.g.channels(), &Device::Cpu);
            return Ok(vec![
                Some(Tensor::from_vec(dx, shape, &Device::Cpu)?),
                Some(vector(dw)?),
                Some(vector(db)?),
            ]);
        }
        let (this, first) = (self.clone(), dy.clone());
        let second = move |_: &Tensor, v: &Tensor| this.second_gradients::<T>(&first, v);
        let dx = tape::apply(&[&self.x, &self.weight, &dy], shape, dx, false, second)?;
        Ok(vec![Some(dx), None, None])
    }

    /// Of x, weight and dy.
    fn second_gradients<T: Float + WithDType>(
        &self,
        dy: &Tensor,
        v: &Tensor,
    ) -> CandleResult<Vec<Option<Tensor>>> {
        if !pass::is_last() {
            bail!("a recorded batch normalisation has two derivatives, not three");
        }
        let v = v.contiguous()?;
        let slices = [&self.x, &self.weight, dy, &v];
        let (by_x, by_weight, by_dy) = tape::with_slices(slices, |slices: [&[T]; 4]| {
            let [mut by_x, mut by_dy] = [(); 2].map(|()| pg_kernels::zeros(slices[0].len()));
            let by_weight = kernels::second(&self.g, &self.moments, slices, &mut by_x, &mut by_dy);
            (by_x, by_weight, by_dy)
        })?;
        let like_x = |values| Tensor::from_vec(values, self.x.shape(), &Device::Cpu);
        let by_weight = Tensor::from_vec(by_weight, self.g.channels(), &Device::Cpu)?;
        Ok(vec![Some(like_x(by_x)?), Some(by_weight), Some(like_x(by_dy)?)])
    }
}

/// Normalises `x` (n, channels, ...) by given moments, each (channels,): evaluation mode.
///
/// # Errors
/// If the shapes do not fit.
pub fn batch_norm_with_moments(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    let scale = (weight / (variance + eps)?.sqrt()?)?;
    // Where the mean is large against the deviation this cancels, by no more than the rounding of `x` itself.
    let shift = (bias - (mean * &scale)?)?;
    channel_affine(x, &scale, &shift)
}
