//! Which part of a synthetic image came from where: masks, difference maps, Otsu, morphology, mask quality.

mod error;
mod mask;
mod resize;

pub use error::ProvenanceError;
pub use mask::{BinaryMask, SoftMask};
pub use resize::resize_rgb;
