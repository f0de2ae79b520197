//! Batch normalisation layer with running statistics: eps 1e-5, momentum 0.1, unbiased running variance, as torch.

use super::Mode;
use crate::error::Result;
use crate::params::{Builder, Init};
use candle_core::{Device, Tensor, Var};
use pg_grad::ops::{BatchMoments, add, batch_norm, batch_norm_relu, batch_norm_with_moments, relu};

const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

#[derive(Debug)]
pub(crate) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Var,
    running_var: Var,
    num_batches_tracked: Var,
}

impl BatchNorm {
    pub(crate) fn new(b: &Builder, channels: usize) -> Result<Self> {
        let zeros = Tensor::zeros(channels, b.dtype(), &Device::Cpu)?;
        Ok(Self {
            weight: b.param("weight", channels, Init::Constant(1.0))?,
            bias: b.param("bias", channels, Init::Constant(0.0))?,
            running_var: b.buffer("running_var", &zeros.ones_like()?)?,
            running_mean: b.buffer("running_mean", &zeros)?,
            num_batches_tracked: b.buffer("num_batches_tracked", &Tensor::new(0i64, &Device::Cpu)?)?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        if mode == Mode::Eval {
            let (mean, variance) =
                (self.running_mean.as_detached_tensor(), self.running_var.as_detached_tensor());
            return Ok(batch_norm_with_moments(x, &mean, &variance, &self.weight, &self.bias, EPS)?);
        }
        let (y, moments) = batch_norm(x, &self.weight, &self.bias, EPS)?;
        if mode == Mode::Train {
            self.track(&moments)?;
        }
        Ok(y)
    }

    /// A rectifier behind the normalisation, and before it the sum with a shortcut, if there is one.
    pub(crate) fn forward_relu(&self, x: &Tensor, shortcut: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        if mode == Mode::Eval {
            let y = self.forward(x, mode)?;
            return Ok(match shortcut {
                Some(shortcut) => relu(&add(&y, shortcut)?)?,
                None => relu(&y)?,
            });
        }
        let (y, moments) = batch_norm_relu(x, &self.weight, &self.bias, EPS, shortcut)?;
        if mode == Mode::Train {
            self.track(&moments)?;
        }
        Ok(y)
    }

    fn track(&self, batch: &BatchMoments) -> Result<()> {
        for (running, batch) in
            [(&self.running_mean, &batch.mean), (&self.running_var, &batch.unbiased_variance)]
        {
            let moved = ((running.as_detached_tensor() * (1.0 - MOMENTUM))? + (batch * MOMENTUM)?)?;
            running.set(&moved)?;
        }
        let count = self.num_batches_tracked.as_detached_tensor();
        self.num_batches_tracked.set(&(&count + count.ones_like()?)?)?;
        Ok(())
    }
}
