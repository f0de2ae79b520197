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
        Ok(Self { weight: b.param("weight", (output, input), init)?, bias: b.param("bias", output, init)? })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(pg_grad::ops::linear(x, &self.weight, Some(&self.bias))?)
    }
}
