//! A small CNN for images of 24 to 64 pixels: two 3x3 convolutions of stride 2, then two linear layers that see where
//! a feature is, so that position can gate it.

use super::Network;
use crate::error::Result;
use crate::layers::{Conv2d, Linear, Mode};
use crate::params::Builder;
use candle_core::Tensor;
use pg_grad::ops::relu;

#[derive(Debug)]
pub(crate) struct SmallCnn {
    convolutions: [Conv2d; 2],
    hidden: Linear,
    head: Linear,
}

impl SmallCnn {
    /// For square images of `size` pixels.
    pub(crate) fn new(b: &Builder, size: usize, classes: usize) -> Result<Self> {
        let convolution = |index: usize, input, output| {
            let path = b.pp("features").pp(index);
            Conv2d::new(&path, input, output, 3, 2, 1)?.with_bias(&path)
        };
        let classifier = b.pp("classifier");
        let side = size.div_ceil(2).div_ceil(2);
        Ok(Self {
            convolutions: [convolution(0, 3, 16)?, convolution(2, 16, 32)?],
            hidden: Linear::new(&classifier.pp(0), 32 * side * side, 64)?,
            head: Linear::new(&classifier.pp(2), 64, classes)?,
        })
    }
}

impl Network for SmallCnn {
    fn forward(&self, x: &Tensor, _: Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for conv in &self.convolutions {
            x = relu(&conv.forward(&x)?)?;
        }
        self.head.forward(&relu(&self.hidden.forward(&x.flatten_from(1)?)?)?)
    }
}
