//! A perceptron with two hidden layers of 50 and 30, as in "Right for the Right Reasons" (Ross et al. 2017).

use super::Network;
use crate::error::Result;
use crate::layers::{Linear, Mode};
use crate::params::Builder;
use candle_core::Tensor;
use pg_grad::ops::relu;

#[derive(Debug)]
pub(crate) struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    /// For square images of `size` pixels.
    pub(crate) fn new(b: &Builder, size: usize, classes: usize) -> Result<Self> {
        let widths = [3 * size * size, 50, 30, classes];
        let layers = widths
            .windows(2)
            .enumerate()
            .map(|(i, w)| Linear::new(&b.pp(format!("fc{}", i + 1)), w[0], w[1]))
            .collect::<Result<_>>()?;
        Ok(Self { layers })
    }
}

impl Network for Mlp {
    fn forward(&self, x: &Tensor, _: Mode) -> Result<Tensor> {
        let mut x = x.flatten_from(1)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                x = relu(&x)?;
            }
            x = layer.forward(&x)?;
        }
        Ok(x)
    }
}
