//! Convolution layer.

use crate::error::Result;
use crate::params::{Builder, Init};
use candle_core::Tensor;
use pg_grad::ops::{Conv2dOptions, channel_shift, conv2d};

#[derive(Debug)]
pub(crate) struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    options: Conv2dOptions,
}

impl Conv2d {
    /// A square kernel without bias, He-initialised.
    pub(crate) fn new(
        b: &Builder,
        input: usize,
        output: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let shape = [output, input, kernel, kernel];
        Self::with_init(b, shape, Init::kaiming_normal_fan_out(shape), stride, padding)
    }

    /// A kernel (output, input, height, width) without bias.
    pub(crate) fn with_init(
        b: &Builder,
        shape: [usize; 4],
        init: Init,
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let weight = b.param("weight", shape.to_vec(), init)?;
        let options =
            Conv2dOptions { stride: (stride, stride), padding: (padding, padding), ..Default::default() };
        Ok(Self { weight, bias: None, options })
    }

    /// A kernel (output, input, height, width) and a bias, both with torch's default initialisation.
    pub(crate) fn with_torch_default(
        b: &Builder,
        shape: [usize; 4],
        (stride, padding): (usize, usize),
    ) -> Result<Self> {
        let init = Init::torch_default(shape[1..].iter().product());
        let bias = Some(b.param("bias", shape[0], init)?);
        Ok(Self { bias, ..Self::with_init(b, shape, init, stride, padding)? })
    }

    /// The same, at the same path, with a bias that begins at 0.
    pub(crate) fn with_bias(self, b: &Builder) -> Result<Self> {
        let bias = b.param("bias", self.weight.dim(0)?, Init::Constant(0.0))?;
        Ok(Self { bias: Some(bias), ..self })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = conv2d(x, &self.weight, self.options)?;
        Ok(match &self.bias {
            Some(bias) => channel_shift(&y, bias)?,
            None => y,
        })
    }
}
