//! Networks whose every operation has a right second derivative: image classifiers ([`Model`]) with torchvision's parameter
//! names, so that its weights load as they are and ours load in PyTorch, and one for skeletons ([`Skp`]).
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use pg_models::{Mode, Model, ModelSpec};
//! use pg_random::Seed;
//!
//! let spec = ModelSpec { layer4_stride: 1, ..ModelSpec::new("resnet18", 5) };
//! let model = Model::new(spec, Seed(0), DType::F32, &Device::Cpu)?;
//! let images = Tensor::zeros((2, 3, 64, 64), DType::F32, &Device::Cpu)?;
//! assert_eq!(model.forward(&images, Mode::Eval)?.dims(), [2, 5]);
//!
//! // Names are torchvision's.
//! assert!(model.params().vars().contains_key("layer1.0.conv1.weight"));
//! let weights = model.params().tensors();
//! assert_eq!(weights["fc.weight"].dims(), [5, 512]);
//!
//! // Weights of another model are refused with the names that do not fit.
//! let other = Model::new(ModelSpec::new("resnet34", 5), Seed(0), DType::F32, &Device::Cpu)?;
//! assert!(other.params().load(&weights).unwrap_err().to_string().contains("layer1.2.conv1.weight"));
//! # Ok::<(), pg_models::Error>(())
//! ```

mod error;
#[cfg(feature = "hub")]
mod hub;
mod layers;
mod model;
mod networks;
mod params;
mod weights;

pub use error::{Error, Result};
#[cfg(feature = "hub")]
pub use hub::download;
pub use layers::Mode;
pub use model::{MODEL_NAMES, Model, ModelSpec};
pub use networks::skp::{Groups, KEYPOINT_FEATURES, PointLayout, Pooling, Skp, SkpSpec};
pub use networks::{Localized, sat::Vit};
pub use params::Params;
pub use weights::{Mismatch, read_weights};
