//! Pretrained weights from the Hugging Face hub.

use crate::error::{Error, Result};
use hf_hub::HFClientSync;
use std::path::PathBuf;

/// torchvision's ImageNet weights for `model`, as timm hosts them, in the hub's local cache.
///
/// # Errors
/// [`Error::NotPretrained`] if there are none; [`Error::Hub`] if the hub cannot be reached.
pub fn download(model: &str) -> Result<PathBuf> {
    let repository = match model {
        "resnet18" => "resnet18.tv_in1k",
        "resnet34" => "resnet34.tv_in1k",
        "resnet50" => "resnet50.tv_in1k",
        "vgg16-gap" => "vgg16.tv_in1k",
        _ => return Err(Error::NotPretrained { name: model.to_string() }),
    };
    let file = "model.safetensors";
    let get = || HFClientSync::new()?.model("timm", repository).download_file().filename(file).send();
    get().map_err(|error| Error::Hub {
        repository: format!("timm/{repository}"),
        file: file.to_string(),
        reason: error.to_string().lines().next().unwrap_or_default().to_string(),
    })
}
