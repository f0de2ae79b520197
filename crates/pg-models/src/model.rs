//! A model by name.

use crate::error::{Error, Result};
use crate::layers::Mode;
use crate::networks::{
    Localized, Network, mlp::Mlp, resnet::Block, resnet::ResNet, sat::Sat, sat::Vit, small_cnn::SmallCnn,
    vgg_gap::VggGap, vgg_gap::Widths,
};
use crate::params::{Builder, Params};
use candle_core::{DType, Device, Tensor};
use pg_random::Seed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The names that [`Model::new`] knows.
pub const MODEL_NAMES: [&str; 10] = [
    "mlp",
    "small-cnn",
    "small-vgg-gap",
    "resnet18",
    "resnet34",
    "resnet50",
    "vgg16-gap",
    "sat-mini",
    "sat-tiny",
    "sat",
];

/// What the names of a VGG's convolutions begin with, and those of the same before a SAT's tokens.
const VGG_TRUNK: &str = "features.";
const BACKBONE: &str = "patch_embed.backbone.";

/// Everything that determines a model's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// One of [`MODEL_NAMES`].
    pub name: String,
    /// Number of classes.
    pub classes: usize,
    /// Side of the square input in pixels. `mlp`, `small-cnn` and SAT's are built for it; the others take any size.
    pub size: usize,
    /// Stride of a ResNet's last layer: 2, or 1 for a feature map twice as large.
    pub layer4_stride: usize,
    /// Shape of a transformer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vit: Option<Vit>,
}

impl ModelSpec {
    /// A model for 224-pixel images, or 32 for the small ones.
    pub fn new(name: &str, classes: usize) -> Self {
        let (size, vit) = match name {
            "mlp" | "small-cnn" => (32, None),
            "small-vgg-gap" => (48, None),
            "sat-mini" => (48, Some(Vit::MINI)),
            "sat-tiny" => (224, Some(Vit::TINY)),
            "sat" => (224, Some(Vit::SMALL)),
            _ => (224, None),
        };
        Self { name: name.to_string(), classes, size, layer4_stride: 2, vit }
    }

    /// Prefixes of the parameters behind the backbone: what a pretrained one lacks or has for other classes.
    pub fn head(&self) -> &'static [&'static str] {
        match self.name.as_str() {
            "mlp" => &["fc3."],
            "small-cnn" => &["classifier."],
            // torchvision's VGG16 has a `classifier` in place of conv6 and fc, timm's `pre_logits` and `head`.
            "vgg16-gap" | "small-vgg-gap" => &["conv6.", "fc.", "classifier.", "pre_logits.", "head."],
            // A DeiT has neither the spatial token nor a convolution for a head.
            "sat" | "sat-tiny" | "sat-mini" => &["head.", "loc_token", "loc_embed"],
            _ => &["fc."],
        }
    }
}

/// A network with its parameters.
pub struct Model {
    spec: ModelSpec,
    network: Box<dyn Network>,
    params: Params,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("spec", &self.spec).field("parameters", &self.params.count()).finish()
    }
}

impl Model {
    /// A freshly initialised model.
    ///
    /// # Errors
    /// [`Error::UnknownModel`]; [`Error::Option`] for sizes, classes or strides that no network has.
    pub fn new(spec: ModelSpec, seed: Seed, dtype: DType, device: &Device) -> Result<Self> {
        check(&spec)?;
        let b = Builder::new(seed, dtype, device);
        let resnet = |block, depths| ResNet::new(&b, block, depths, spec.layer4_stride, spec.classes);
        let network: Box<dyn Network> = match spec.name.as_str() {
            "mlp" => Box::new(Mlp::new(&b, spec.size, spec.classes)?),
            "small-cnn" => Box::new(SmallCnn::new(&b, spec.size, spec.classes)?),
            "resnet18" => Box::new(resnet(Block::Basic, [2, 2, 2, 2])?),
            "resnet34" => Box::new(resnet(Block::Basic, [3, 4, 6, 3])?),
            "resnet50" => Box::new(resnet(Block::Bottleneck, [3, 4, 6, 3])?),
            "vgg16-gap" => Box::new(VggGap::new(&b, Widths::VGG16, spec.classes)?),
            "small-vgg-gap" => Box::new(VggGap::new(&b, Widths::SMALL, spec.classes)?),
            name @ ("sat" | "sat-tiny" | "sat-mini") => {
                let vit = spec.vit.ok_or_else(|| Error::UnknownModel { name: name.to_string() })?;
                vit.check(spec.size)?;
                Box::new(Sat::new(&b, vit, spec.size, spec.classes)?)
            }
            name => return Err(Error::UnknownModel { name: name.to_string() }),
        };
        let params = b.params();
        Ok(Self { spec, network, params })
    }

    /// Logits (n, classes) of images (n, 3, height, width).
    ///
    /// # Errors
    /// If the images are too small for the network, or not of the size it was built for.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        self.check_images(images)?;
        self.network.forward(images, mode)
    }

    /// Logits, and the score map of class `classes[n]` (n, as u32 or i64) in each image: its class activation map, or of
    /// a SAT the map of whatever object there is. Both with a graph.
    ///
    /// # Errors
    /// [`Error::NoScoreMaps`] for `mlp` and `small-cnn`; otherwise as [`Self::forward`].
    pub fn localize(&self, images: &Tensor, classes: &Tensor, mode: Mode) -> Result<Localized> {
        self.check_images(images)?;
        let none = || Err(Error::NoScoreMaps { name: self.spec.name.clone() });
        self.network.localize(images, classes, mode).unwrap_or_else(none)
    }

    /// Says which training step comes: what a network draws at random in it follows from the seed and the step, and is
    /// the same in all its passes.
    pub fn begin_step(&self, seed: Seed, step: u64) {
        self.network.begin_step(seed, step);
    }

    fn check_images(&self, images: &Tensor) -> Result<()> {
        let (_, channels, height, width) = images.dims4()?;
        let size = self.spec.size;
        let fixed = matches!(self.spec.name.as_str(), "mlp" | "small-cnn") || self.spec.vit.is_some();
        if channels != 3 || (fixed && (height, width) != (size, size)) {
            let expected =
                if fixed { format!("(n, 3, {size}, {size})") } else { "(n, 3, height, width)".into() };
            return Err(
                pg_grad::Error::Shape { what: "images", actual: images.dims().to_vec(), expected }.into()
            );
        }
        Ok(())
    }

    /// Takes over pretrained weights: those of the same network, or for a SAT with convolutions before its tokens those of a VGG
    /// with the same convolutions (of `small-vgg-gap` for `sat-mini`). The head, which may be of other classes, stays as it is, as
    /// do a spatial token that the weights lack, and all of a SAT behind a VGG's convolutions.
    ///
    /// # Errors
    /// As [`Params::load`].
    pub fn load_pretrained(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let trunk = |(name, tensor): (&String, &Tensor)| {
            Some((format!("{BACKBONE}{}", name.strip_prefix(VGG_TRUNK)?), tensor.clone()))
        };
        let is_vgg = tensors.keys().any(|name| name.starts_with(VGG_TRUNK));
        if is_vgg && self.spec.vit.is_some_and(|vit| vit.conv_stem) {
            let backbone = tensors.iter().filter_map(trunk).collect();
            let loaded = self.params.load_where(&backbone, |name| name.starts_with(BACKBONE));
            return loaded.map_err(|error| match error {
                Error::Mismatch(mismatch) => Error::Mismatch(mismatch.renamed(BACKBONE, VGG_TRUNK)),
                Error::NotFinite { name } => Error::NotFinite { name: name.replacen(BACKBONE, VGG_TRUNK, 1) },
                error => error,
            });
        }
        // A DeiT has no spatial token, but another SAT's is worth as much as its blocks.
        let is_kept = |part: &&str| !(part.starts_with("loc_") && tensors.contains_key(*part));
        let keep: Vec<&str> = self.spec.head().iter().copied().filter(is_kept).collect();
        self.params.load_but(tensors, &keep)
    }

    /// Whether a training step computes a ResNet's blocks again for each of their derivatives instead of keeping their
    /// activations: less memory, more time, the same result. On the CPU and on CUDA.
    ///
    /// # Errors
    /// [`Error::NoParts`] for other networks: the small ones need little memory, and most of VGG's is in its first stage,
    /// which has to be there once in any case.
    pub fn set_grad_checkpointing(&mut self, on: bool) -> Result<()> {
        match self.network.checkpointing() {
            Some(checkpointing) => *checkpointing = on,
            None if on => return Err(Error::NoParts { name: self.spec.name.clone() }),
            None => {}
        }
        Ok(())
    }

    /// Whether in training the logits of a sample depend on the batch it is in: with batch normalisation.
    pub fn mixes_samples(&self) -> bool {
        self.params.buffers().keys().any(|name| name.ends_with("running_mean"))
    }

    /// Whether in training the logits are a piecewise linear function of the images: all is linear but rectifiers and
    /// max-poolings.
    pub fn is_piecewise_linear(&self) -> bool {
        !self.mixes_samples() && self.spec.vit.is_none()
    }

    /// What determines the model's shape.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Parameters and buffers by name.
    pub fn params(&self) -> &Params {
        &self.params
    }
}

fn check(spec: &ModelSpec) -> Result<()> {
    let fail = |option, expected, value| Err(Error::Option { option, expected, value });
    match spec {
        ModelSpec { classes: c @ (0 | 100_001..), .. } => fail("classes", "from 1 to 100000", *c),
        ModelSpec { size: size @ (..4 | 4097..), .. } => fail("image size", "from 4 to 4096", *size),
        ModelSpec { layer4_stride: s @ (0 | 3..), .. } => fail("layer4 stride", "1 or 2", *s),
        _ => Ok(()),
    }
}
