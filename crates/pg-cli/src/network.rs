//! Which network, and what it begins with.

use std::path::PathBuf;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use clap::Args;
use pg_grad::without_graph;
use pg_models::{MODEL_NAMES, Mode, Model, ModelSpec, read_weights};
use serde::{Deserialize, Serialize};

use crate::error::{SettingsError, ensure, idle, known};
use crate::file::path_as_text;

const LAYER4_STRIDE: usize = 2;

/// What may be said of the network.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NetworkSettings {
    /// Model: small-cnn, mlp, small-vgg-gap, resnet18, resnet34, resnet50, vgg16-gap, or with a spatial-aware token sat-mini,
    /// sat-tiny or sat.
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub model: Option<String>,
    /// Stride of the last layer, 1 or 2; of ResNets only.
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub layer4_stride: Option<usize>,
    /// Begin with weights from a .safetensors or .pth file (torchvision's names); the head may differ, and sat-mini takes the
    /// convolutions of a small-vgg-gap.
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    #[serde(serialize_with = "path_as_text")]
    pub weights: Option<PathBuf>,
    /// Begin with torchvision's ImageNet weights, fetched from the Hugging Face hub.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Model")]
    pub pretrained: Option<bool>,
    /// Parameters that stay as they are, by the beginning of their names (conv1, layer1, features.0).
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', help_heading = "Model")]
    pub freeze: Option<Vec<String>>,
    /// Compute activations again instead of keeping them: about 60 % of the memory, 1.8 times the time, the same result;
    /// of ResNets, not on Metal.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Model")]
    pub grad_checkpointing: Option<bool>,
}

/// The network of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the setting of the same name")]
pub struct NetworkConfig {
    pub model: String,
    pub layer4_stride: usize,
    pub weights: Option<PathBuf>,
    pub pretrained: bool,
    pub freeze: Vec<String>,
    pub grad_checkpointing: bool,
}

impl NetworkSettings {
    /// The complete description; `model` is the default.
    pub fn resolve(self, model: &str) -> NetworkConfig {
        NetworkConfig {
            model: self.model.unwrap_or_else(|| model.to_owned()),
            layer4_stride: self.layer4_stride.unwrap_or(LAYER4_STRIDE),
            weights: self.weights,
            pretrained: self.pretrained.unwrap_or(false),
            freeze: self.freeze.unwrap_or_default(),
            grad_checkpointing: self.grad_checkpointing.unwrap_or(false),
        }
    }
}

impl NetworkConfig {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        if let Some(path) = &self.weights
            && path.to_str().is_none()
        {
            return Err(SettingsError::NotUtf8 { path: path.clone() });
        }
        known("model", &self.model, &MODEL_NAMES)?;
        ensure((1..=2).contains(&self.layer4_stride), "layer4-stride", "1 or 2", self.layer4_stride)?;
        if self.pretrained && self.weights.is_some() {
            return Err(SettingsError::Exclusive { flag: "pretrained", other: "weights" });
        }
        Ok(())
    }

    /// Refuses what would do nothing.
    ///
    /// # Errors
    /// [`SettingsError::Idle`].
    pub fn check_idle(&self) -> Result<(), SettingsError> {
        let no_resnet = !self.model.starts_with("resnet");
        let (when, advice) = (
            "with a --model that is no ResNet",
            "leave it out, or choose --model resnet18, resnet34 or resnet50",
        );
        idle(no_resnet && self.layer4_stride != LAYER4_STRIDE, "layer4-stride", when, advice)?;
        idle(no_resnet && self.grad_checkpointing, "grad-checkpointing", when, advice)
    }

    /// The model for square images of a side in pixels.
    pub fn spec(&self, image_size: u32, classes: usize) -> ModelSpec {
        let named = ModelSpec::new(&self.model, classes);
        ModelSpec { size: image_size as usize, layer4_stride: self.layer4_stride, ..named }
    }

    /// Sets the weights that a new run begins with, where others than random ones are asked for.
    ///
    /// # Errors
    /// If they cannot be fetched or read, or do not fit.
    pub fn load_pretrained(&self, model: &Model) -> Result<()> {
        let path = match (&self.weights, self.pretrained) {
            (Some(path), _) => path.clone(),
            (None, true) => download(&self.model)?,
            (None, false) => return Ok(()),
        };
        let tensors = read_weights(&path)?;
        model.load_pretrained(&tensors).with_context(|| path.display().to_string())
    }

    /// Large networks and transformers learn little from scratch on what is usually at hand: says so, and which to take instead.
    pub fn warn_of_random_weights(&self, small: &str) {
        let large = ["resnet", "vgg", "sat"].iter().any(|family| self.model.starts_with(family));
        if large && self.weights.is_none() && !self.pretrained {
            tracing::warn!(
                "{} starts from random weights; give --weights, or a small model ({small})",
                self.model
            );
        }
    }
}

/// Refuses images that are too small for the network, which only a pass through it shows.
///
/// # Errors
/// [`SettingsError::Range`] of `--image-size`, with what the pass failed of.
pub fn check_fit(model: &Model, device: &Device) -> Result<()> {
    let side = model.spec().size;
    let blank = Tensor::zeros((1, 3, side, side), DType::F32, device)?;
    let pass = without_graph(|| model.forward(&blank, Mode::Eval)).map(drop);
    // On other devices a pass can fail for want of memory.
    if !device.is_cpu() {
        return Ok(pass?);
    }
    let (flag, expected) = ("image-size", "large enough for the --model");
    pass.with_context(|| SettingsError::Range { flag, expected, value: side.to_string() })
}

#[cfg(feature = "hub")]
fn download(model: &str) -> Result<PathBuf> {
    Ok(pg_models::download(model)?)
}

#[cfg(not(feature = "hub"))]
fn download(_: &str) -> Result<PathBuf> {
    anyhow::bail!(
        "--pretrained: this build cannot reach the Hugging Face hub; build it with --features hub, \
         or download the weights yourself and pass them with --weights"
    )
}
