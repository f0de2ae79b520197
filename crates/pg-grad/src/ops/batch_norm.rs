//! Batch normalisation. The second axis holds the channels; any further axes and the batch are reduced.

use super::channels::{channel_affine, channel_center, channel_dot, channel_sum};
use crate::error::{Error, Result};
use crate::pass;
use crate::tape;
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
    let channels = x.dim(1)?;
    let count = x.elem_count() / channels.max(1);
    if count < 2 {
        let expected = "more than one value a channel (in training)".to_string();
        return Err(Error::Shape { what: "batch_norm input", actual: x.dims().to_vec(), expected });
    }
    if tape::is_on() && x.device().is_cpu() {
        match x.dtype() {
            DType::F32 => return recorded::<f32>(x, weight, bias, eps),
            DType::F64 => return recorded::<f64>(x, weight, bias, eps),
            _ => {}
        }
    }
    let centered = channel_center(x)?;
    let variance = (channel_dot(&centered, &centered)? / count as f64)?;
    let scale = (weight / (&variance + eps)?.sqrt()?)?;
    let y = channel_affine(&centered, &scale, bias)?;
    let mean = (channel_sum(&x.detach())? / count as f64)?;
    let unbiased_variance = (variance.detach() * (count as f64 / (count - 1) as f64))?;
    Ok((y, BatchMoments { mean, unbiased_variance }))
}

/// The same while a step is recorded, in kernels of its own: its passes are at most two.
fn recorded<T: Float + WithDType>(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<(Tensor, BatchMoments)> {
    let g = ChannelGeometry::new(x.dims())?;
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let moments = tape::with_slices([&x], |[x]: [&[T]; 1]| Moments::new(&g, x, eps))?;
    let y = tape::with_slices([&x, &weight, &bias], |[x, w, b]: [&[T]; 3]| {
        let mut y = vec![T::default(); x.len()];
        kernels::forward(&g, &moments, x, w, b, &mut y);
        y
    })?;
    let unbiased = g.count() as f64 / (g.count() - 1) as f64;
    let numbers = |values: &[f64], factor: f64| {
        let values: Vec<T> = values.iter().map(|value| <T as Float>::from_f64(value * factor)).collect();
        Tensor::from_vec(values, g.channels(), x.device())
    };
    let batch = BatchMoments {
        mean: numbers(&moments.mean, 1.0)?,
        unbiased_variance: numbers(&moments.variance, unbiased)?,
    };
    let forward = Recorded { g, moments: Rc::new(moments), x: x.clone(), weight: weight.clone() };
    let y = tape::apply(&[&x, &weight, &bias], x.shape(), y, move |dy| forward.gradients::<T>(dy))?;
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
        let (dx, dw, db) = tape::with_slices([&self.x, &self.weight, &dy], |[x, w, dy]: [&[T]; 3]| {
            let mut dx = vec![T::default(); x.len()];
            let (dw, db) = kernels::input_gradient(&self.g, &self.moments, x, w, dy, &mut dx);
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
        let arguments = [&self.x, &self.weight, &dy];
        let dx = tape::apply(&arguments, shape, dx, move |v| this.second_gradients::<T>(&first, v))?;
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
        let (by_x, by_weight, by_dy) =
            tape::with_slices([&self.x, &self.weight, dy, &v], |[x, w, dy, v]: [&[T]; 4]| {
                let (mut by_x, mut by_dy) = (vec![T::default(); x.len()], vec![T::default(); x.len()]);
                let by_weight = kernels::second(&self.g, &self.moments, [x, w, dy, v], &mut by_x, &mut by_dy);
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
