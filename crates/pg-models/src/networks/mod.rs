//! The networks, one family a file, and the parts that families share.

mod conv_stages;
pub(crate) mod mlp;
pub(crate) mod resnet;
pub(crate) mod sat;
pub(crate) mod skp;
pub(crate) mod small_cnn;
pub(crate) mod vgg_gap;

use crate::error::Result;
use crate::layers::Mode;
use candle_core::Tensor;
use pg_random::Seed;

/// Logits, and where the network sees the object.
#[derive(Debug, Clone)]
pub struct Localized {
    /// (n, classes).
    pub logits: Tensor,
    /// Score maps (n, height, width) of the network's own grid. A class activation map is any number, larger on the
    /// object; SAT's is in (0, 1).
    pub maps: Tensor,
}

/// A network that maps images (n, 3, height, width) to logits (n, classes).
pub(crate) trait Network {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor>;

    /// The logits, and the score map of class `classes[n]` (n,); `None` if the network has no such maps.
    fn localize(&self, _x: &Tensor, _classes: &Tensor, _mode: Mode) -> Option<Result<Localized>> {
        None
    }

    /// Says which training step comes, to a network that draws at random.
    fn begin_step(&self, _seed: Seed, _step: u64) {}

    /// The switch of gradient checkpointing, if the network has parts for which it pays.
    fn checkpointing(&mut self) -> Option<&mut bool> {
        None
    }
}

/// Class activation maps (Zhou et al. 2016) of `features` (n, channels, height, width), the input of a global average
/// pooling, by the weights (classes, channels) of the linear layer behind it: the mean over the channels of weight times
/// feature, without the bias, as wsolevaluation has it; (n, height, width).
pub(crate) fn class_activation_maps(features: &Tensor, weights: &Tensor, classes: &Tensor) -> Result<Tensor> {
    let weights = weights.index_select(classes, 0)?;
    let (n, channels) = weights.dims2()?;
    Ok(features.broadcast_mul(&weights.reshape((n, channels, 1, 1))?)?.mean(1)?)
}
