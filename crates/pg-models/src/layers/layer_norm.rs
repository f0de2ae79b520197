//! Layer normalisation over the last axis.

use crate::error::Result;
use crate::params::{Builder, Init};
use candle_core::Tensor;

/// timm's for vision transformers; torch's own default is 1e-5.
const EPS: f64 = 1e-6;

#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    pub(crate) fn new(b: &Builder, features: usize) -> Result<Self> {
        Ok(Self {
            weight: b.param("weight", features, Init::Constant(1.0))?,
            bias: b.param("bias", features, Init::Constant(0.0))?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(pg_grad::ops::layer_norm(x, &self.weight, &self.bias, EPS)?)
    }
}
