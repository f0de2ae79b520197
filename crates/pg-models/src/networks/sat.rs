//! SAT (Wu et al., "Spatial-Aware Token for Weakly Supervised Object Localization", ICCV 2023): a DeiT with one more
//! token, whose attention says where the object is. Parameters have timm's names; convolutions before the tokens, where there
//! are some, torchvision's.
//!
//! ```text
//!   tokens   [class, patches ..., spatial]
//!   A        = Q K^T / sqrt(d)                                     of each head
//!   gate     = sigmoid(mean over heads of A[spatial, :])           one number a token
//!   block    = softmax(A), in the last three blocks times the gate of each key; not normalised again
//!   map      = mean over the last three blocks of the patches' gates
//!   logits   = global average of a 3x3 convolution over the patches
//! ```

use super::conv_stages::ConvStages;
use super::{Localized, Network};
use crate::error::{Error, Result};
use crate::layers::{Conv2d, LayerNorm, Linear, Mode, drop_path};
use crate::params::{Builder, Init};
use candle_core::{D, Tensor};
use pg_grad::ops::{
    add, gelu, global_avg_pool2d, matmul, matmul_t, merge_heads, sigmoid, softmax, split_heads,
};
use pg_random::Seed;
use serde::{Deserialize, Serialize};
use std::cell::Cell;

/// Blocks, the last of all, in which the gate weighs the attention.
const SPATIAL_BLOCKS: usize = 3;
/// Filters of a stem's first convolutions; each further stage has twice as many.
const STEM_WIDTH: usize = 16;
/// Deviation of the weights, tokens and embeddings at the start, as in DeiT.
const INIT: Init = Init::Normal { std: 0.02 };

/// The shape of a vision transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vit {
    /// Side of a patch in pixels; the image's must be a multiple.
    pub patch_size: usize,
    /// Numbers a token.
    pub embed_dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Heads of each block; they divide `embed_dim`.
    pub num_heads: usize,
    /// Probability, in per cent, with which training leaves out a branch of the last block; it grows linearly from 0.
    pub drop_path_percent: usize,
    /// Whether a small VGG makes one pixel of each patch, whose side is then a power of 2: a transformer that starts from random
    /// weights learns far sooner so.
    #[serde(default)]
    pub conv_stem: bool,
}

impl Vit {
    /// DeiT-S/16.
    pub const SMALL: Vit = Vit {
        patch_size: 16,
        embed_dim: 384,
        depth: 12,
        num_heads: 6,
        drop_path_percent: 10,
        conv_stem: false,
    };
    /// DeiT-Ti/16.
    pub const TINY: Vit = Vit { embed_dim: 192, num_heads: 3, ..Vit::SMALL };
    /// For images of 48 to 64 pixels; on the convolutions of a trained `small-vgg-gap` it finds objects soon.
    pub const MINI: Vit =
        Vit { patch_size: 4, embed_dim: 64, depth: 3, num_heads: 4, drop_path_percent: 0, conv_stem: true };

    /// Refuses what is no transformer for images of `size` pixels.
    pub(crate) fn check(&self, size: usize) -> Result<()> {
        let positive =
            [("patch size", self.patch_size), ("embed dim", self.embed_dim), ("heads", self.num_heads)];
        if let Some((option, value)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(Error::Option { option, expected: "at least 1", value });
        }
        if !size.is_multiple_of(self.patch_size) {
            let expected = "a multiple of the patch size";
            return Err(Error::Option { option: "image size", expected, value: size });
        }
        if self.conv_stem && !self.patch_size.is_power_of_two() {
            let (option, expected) = ("patch size", "a power of 2 behind convolutions");
            return Err(Error::Option { option, expected, value: self.patch_size });
        }
        if !self.embed_dim.is_multiple_of(self.num_heads) {
            let expected = "a multiple of the heads";
            return Err(Error::Option { option: "embed dim", expected, value: self.embed_dim });
        }
        if self.depth < SPATIAL_BLOCKS {
            return Err(Error::Option { option: "depth", expected: "at least 3", value: self.depth });
        }
        if self.drop_path_percent >= 100 {
            let (option, expected) = ("drop path", "less than 100 per cent");
            return Err(Error::Option { option, expected, value: self.drop_path_percent });
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Sat {
    patch_embed: PatchEmbed,
    cls_token: Tensor,
    loc_token: Tensor,
    pos_embed: Tensor,
    loc_embed: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Conv2d,
    /// Seed and number of the training step, which draw the branches to leave out.
    step: Cell<(Seed, u64)>,
}

impl Sat {
    /// For square images of `size` pixels.
    pub(crate) fn new(b: &Builder, vit: Vit, size: usize, classes: usize) -> Result<Self> {
        let (dim, patches) = (vit.embed_dim, (size / vit.patch_size).pow(2));
        let head = b.pp("head");
        let blocks = (0..vit.depth)
            .map(|index| {
                // From 0 to the rate of the last block.
                let share = index as f64 / (vit.depth - 1).max(1) as f64;
                let drop_path = vit.drop_path_percent as f64 / 100.0 * share;
                let is_spatial = index + SPATIAL_BLOCKS >= vit.depth;
                Block::new(&b.pp("blocks").pp(index), dim, vit.num_heads, is_spatial, drop_path)
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            patch_embed: PatchEmbed::new(&b.pp("patch_embed"), vit)?,
            cls_token: b.param("cls_token", (1, 1, dim), INIT)?,
            loc_token: b.param("loc_token", (1, 1, dim), INIT)?,
            pos_embed: b.param("pos_embed", (1, patches + 1, dim), INIT)?,
            loc_embed: b.param("loc_embed", (1, 1, dim), INIT)?,
            blocks,
            norm: LayerNorm::new(&b.pp("norm"), dim)?,
            head: Conv2d::with_torch_default(&head, [classes, dim, 3, 3], (1, 1))?,
            step: Cell::new((Seed(0), 0)),
        })
    }

    /// The tokens (n, patches + 2, dim) of images, and how many patches there are down and across.
    fn tokens(&self, images: &Tensor) -> Result<(Tensor, (usize, usize))> {
        let patches = self.patch_embed.forward(images)?;
        let (n, dim, height, width) = patches.dims4()?;
        let patches = patches.flatten_from(2)?.transpose(1, 2)?;
        let class = self.cls_token.broadcast_as((n, 1, dim))?;
        let spatial = (&self.loc_token + &self.loc_embed)?.broadcast_as((n, 1, dim))?;
        let tokens = Tensor::cat(&[class, patches], 1)?.broadcast_add(&self.pos_embed)?;
        Ok((Tensor::cat(&[tokens, spatial], 1)?, (height, width)))
    }

    fn run(&self, images: &Tensor, mode: Mode) -> Result<Localized> {
        let (mut x, (height, width)) = self.tokens(images)?;
        let (n, tokens, dim) = x.dims3()?;
        let mut gates = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            let (seed, step) = self.step.get();
            let draws = (mode != Mode::Eval).then(|| seed.stream("drop-path", &[step, index as u64]));
            let gate;
            (x, gate) = block.forward(&x, draws)?;
            if block.is_spatial {
                gates.push(gate.narrow(1, 1, tokens - 2)?);
            }
        }
        let patches = self.norm.forward(&x)?.narrow(1, 1, tokens - 2)?.transpose(1, 2)?;
        let features = patches.contiguous()?.reshape((n, dim, height, width))?;
        let maps = Tensor::stack(&gates, 0)?.mean(0)?.reshape((n, height, width))?;
        Ok(Localized { logits: global_avg_pool2d(&self.head.forward(&features)?)?, maps })
    }
}

impl Network for Sat {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        Ok(self.run(x, mode)?.logits)
    }

    fn localize(&self, x: &Tensor, _: &Tensor, mode: Mode) -> Option<Result<Localized>> {
        Some(self.run(x, mode))
    }

    fn begin_step(&self, seed: Seed, step: u64) {
        self.step.set((seed, step));
    }
}

/// From images to the tokens of their patches, (n, dim, patches down, patches across).
#[derive(Debug)]
struct PatchEmbed {
    /// What makes one pixel of each patch; else the projection does.
    backbone: Option<ConvStages>,
    proj: Conv2d,
}

impl PatchEmbed {
    fn new(b: &Builder, vit: Vit) -> Result<Self> {
        let (dim, patch, proj) = (vit.embed_dim, vit.patch_size, b.pp("proj"));
        if !vit.conv_stem {
            let proj = Conv2d::with_torch_default(&proj, [dim, 3, patch, patch], (patch, 0))?;
            return Ok(Self { backbone: None, proj });
        }
        let widths: Vec<[usize; 2]> = (0..=patch.ilog2()).map(|stage| [STEM_WIDTH << stage; 2]).collect();
        let stages: Vec<&[usize]> = widths.iter().map(|stage| &stage[..]).collect();
        let backbone = ConvStages::new(&b.pp("backbone"), &stages, Init::kaiming_normal_fan_in)?;
        let proj = Conv2d::with_torch_default(&proj, [dim, backbone.channels(), 1, 1], (1, 0))?;
        Ok(Self { backbone: Some(backbone), proj })
    }

    fn forward(&self, images: &Tensor) -> Result<Tensor> {
        match &self.backbone {
            Some(backbone) => self.proj.forward(&backbone.forward(images)?),
            None => self.proj.forward(images),
        }
    }
}

/// A pre-norm transformer block.
#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    is_spatial: bool,
    drop_path: f64,
}

impl Block {
    fn new(b: &Builder, dim: usize, heads: usize, is_spatial: bool, drop_path: f64) -> Result<Self> {
        let linear = |part: &str, name: &str, input, output| {
            Linear::with_init(&b.pp(part).pp(name), input, output, INIT, Init::Constant(0.0))
        };
        Ok(Self {
            norm1: LayerNorm::new(&b.pp("norm1"), dim)?,
            qkv: linear("attn", "qkv", dim, 3 * dim)?,
            proj: linear("attn", "proj", dim, dim)?,
            norm2: LayerNorm::new(&b.pp("norm2"), dim)?,
            fc1: linear("mlp", "fc1", dim, 4 * dim)?,
            fc2: linear("mlp", "fc2", 4 * dim, dim)?,
            heads,
            is_spatial,
            drop_path,
        })
    }

    /// The next tokens and the gate (n, tokens). Without `draws` nothing is left out.
    fn forward(&self, x: &Tensor, mut draws: Option<pg_random::Stream>) -> Result<(Tensor, Tensor)> {
        let mut branch = |y: Tensor| match &mut draws {
            Some(stream) => drop_path(&y, self.drop_path, stream),
            None => Ok(y),
        };
        let (attended, gate) = self.attention(&self.norm1.forward(x)?)?;
        let x = add(x, &branch(attended)?)?;
        let hidden = gelu(&self.fc1.forward(&self.norm2.forward(&x)?)?)?;
        Ok((add(&x, &branch(self.fc2.forward(&hidden)?)?)?, gate))
    }

    fn attention(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let (n, tokens, dim) = x.dims3()?;
        let qkv = self.qkv.forward(x)?;
        let part = |index, factor| split_heads(&qkv, (index, 3), self.heads, factor);
        let scale = ((dim / self.heads) as f64).powf(-0.5);
        let (queries, keys, values) = (part(0, scale)?, part(1, 1.0)?, part(2, 1.0)?);
        let scores = matmul_t(&queries, &keys)?;
        let gate = sigmoid(&scores.narrow(2, tokens - 1, 1)?.mean(1)?.squeeze(1)?)?;
        // The weights times the gate of each key, but of fewer numbers.
        let values =
            if self.is_spatial { values.broadcast_mul(&gate.reshape((n, 1, tokens, 1))?)? } else { values };
        let attended = merge_heads(&matmul(&softmax(&scores, D::Minus1)?, &values)?)?;
        Ok((self.proj.forward(&attended)?, gate))
    }
}
