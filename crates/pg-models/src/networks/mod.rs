//! The networks, one family a file.

pub(crate) mod mlp;
pub(crate) mod resnet;
pub(crate) mod small_cnn;
pub(crate) mod vgg16_gap;

use crate::error::Result;
use crate::layers::Mode;
use candle_core::Tensor;

/// A network that maps images (n, 3, height, width) to logits (n, classes).
pub(crate) trait Network {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor>;

    /// The switch of gradient checkpointing, if the network has parts for which it pays.
    fn checkpointing(&mut self) -> Option<&mut bool> {
        None
    }
}
