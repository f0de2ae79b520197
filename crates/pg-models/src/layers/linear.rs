//! Fully connected layer.

use crate::error::Result;
use crate::params::{Builder, Init};
use candle_core::Tensor;

#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(crate) fn new(b: &Builder, input: usize, output: usize) -> Result<Self> {
        let init = Init::torch_default(input);
        Self::with_init(b, input, output, init, init)
    }

    pub(crate) fn with_init(
        b: &Builder,
        input: usize,
        output: usize,
        weight: Init,
        bias: Init,
    ) -> Result<Self> {
        Ok(Self { weight: b.param("weight", (output, input), weight)?, bias: b.param("bias", output, bias)? })
    }

    /// (output, input).
    pub(crate) fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// On the channels of (n, input, height, width), giving (n, output, height, width).
    pub(crate) fn forward_channels(&self, x: &Tensor) -> Result<Tensor> {
        Ok(pg_grad::ops::pointwise(x, &self.weight, Some(&self.bias))?)
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(pg_grad::ops::linear(x, &self.weight, Some(&self.bias))?)
    }
}
