//! Batch normalisation. The second axis holds the channels; any further axes and the batch are reduced.

use super::add::add;
use super::batch_norm_kernels::Normalization;
use super::channels::{channel_affine, channel_center, channel_dot, channel_sum, expect_shape};
use super::floats::has_kernels;
use super::relu::{relu, where_positive};
use crate::error::{Error, Result};
use crate::tape::Computed;
use crate::{gates, pass, tape};
use candle_core::{Result as CandleResult, Tensor, bail};
use pg_kernels::ChannelGeometry;
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

/// `relu(batch_norm(x) + shortcut)`, or without a shortcut `relu(batch_norm(x))`; in a step, where this crate has kernels,
/// in fewer passes over memory.
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
    let fits = tape::is_on() && has_kernels(x) && plain(weight) && plain(bias);
    fits.then(|| {
        let g = ChannelGeometry::new(x.dims())?;
        recorded_with_kernels(g, x, [weight, bias], eps, rectifies, shortcut)
    })
}

/// `x`, cut into `runs` of equal length, each less its mean and divided by its deviation: a batch normalisation with a channel
/// a run, while a step is recorded.
pub(super) fn recorded_standardize(x: &Tensor, runs: usize, eps: f64) -> Option<Result<Tensor>> {
    (tape::is_on() && has_kernels(x)).then(|| {
        let g = ChannelGeometry::new(&[1, runs, x.elem_count() / runs.max(1)])?;
        let one = Tensor::ones(runs, x.dtype(), x.device())?;
        Ok(recorded_with_kernels(g, x, [&one, &one.zeros_like()?], eps, false, None)?.0)
    })
}

fn recorded_with_kernels(
    g: ChannelGeometry,
    x: &Tensor,
    [weight, bias]: [&Tensor; 2],
    eps: f64,
    rectifies: bool,
    shortcut: Option<&Tensor>,
) -> Result<(Tensor, BatchMoments)> {
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let shortcut = shortcut.map(Tensor::contiguous).transpose()?;
    let (normalization, [mean, unbiased_variance]) = Normalization::new(&x, g, eps)?;
    let y = normalization.forward([&x, &weight, &bias], shortcut.as_ref(), rectifies)?;
    let mut arguments = vec![&x, &weight, &bias];
    arguments.extend(&shortcut);
    let adds = shortcut.is_some();
    let this = Recorded { normalization: Rc::new(normalization), x: x.clone(), weight: weight.clone() };
    let y = tape::apply(&arguments, y, rectifies, move |y, dy, so_far| {
        if !rectifies {
            return this.gradients(dy, so_far);
        }
        let dy = where_positive(&pass::operand(dy), y)?;
        let mut gradients = this.gradients(&dy, so_far)?;
        gradients.extend(adds.then_some(Some(dy)));
        Ok(gradients)
    })?;
    Ok((y, BatchMoments { mean, unbiased_variance }))
}

const TOO_FEW_ARGUMENTS: &str =
    "a recorded batch normalisation has three arguments or four, and its gradient three";

/// What the derivatives of one normalisation read.
#[derive(Clone)]
struct Recorded {
    normalization: Rc<Normalization>,
    x: Tensor,
    weight: Tensor,
}

impl Recorded {
    /// Of x, weight and bias. Unless this is the last pass, that of x alone, and it is recorded.
    fn gradients(&self, dy: &Tensor, so_far: &mut [Option<Tensor>]) -> CandleResult<Vec<Option<Tensor>>> {
        let dy = dy.contiguous()?;
        let [by_x, ..] = so_far else { bail!("{TOO_FEW_ARGUMENTS}") };
        let [dx, dw, db] = self.normalization.input_gradient([&self.x, &self.weight, &dy], by_x)?;
        if pass::is_last() {
            return self.tensors([dx, dw, db]);
        }
        let (this, first) = (self.clone(), dy.clone());
        let dx = tape::apply(&[&self.x, &self.weight, &dy], dx, false, move |_, v, so_far| {
            this.second(&first, v, so_far)
        })?;
        Ok(vec![Some(dx), None, None])
    }

    /// Of x, weight and dy.
    fn second(
        &self,
        dy: &Tensor,
        v: &Tensor,
        so_far: &mut [Option<Tensor>],
    ) -> CandleResult<Vec<Option<Tensor>>> {
        if !pass::is_last() {
            bail!("a recorded batch normalisation has two derivatives, not three");
        }
        let [by_x, _, by_dy] = so_far else { bail!("{TOO_FEW_ARGUMENTS}") };
        let operands = [&self.x, &self.weight, dy, &v.contiguous()?];
        self.tensors(self.normalization.second(operands, [by_x, by_dy])?)
    }

    fn tensors(&self, computed: [Computed; 3]) -> CandleResult<Vec<Option<Tensor>>> {
        computed.into_iter().map(|computed| computed.into_tensor(self.x.device()).map(Some)).collect()
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
