//! An image of a data set, in a file or in memory.

use std::path::PathBuf;
use std::sync::Arc;

use image::RgbImage;

use crate::decode::{ImageError, read_rgb};

/// Where an image is.
#[derive(Clone, Debug)]
pub enum Picture {
    /// In a file, decoded when it is needed.
    File(PathBuf),
    /// In memory.
    Memory(Arc<RgbImage>),
}

impl Picture {
    /// Bytes that tell it, with its label, from other pictures of the set: the name of its file, wherever the set lies,
    /// or its pixels.
    pub fn identity(&self, label: u32) -> Vec<u8> {
        let name = match self {
            Self::File(path) => path.file_name().unwrap_or_default().as_encoded_bytes(),
            Self::Memory(image) => image.as_raw(),
        };
        [&label.to_le_bytes(), name].concat()
    }

    /// The decoded image, as RGB of 8 bits a channel; alpha is dropped and grey is repeated.
    ///
    /// # Errors
    /// [`ImageError`] naming the file.
    pub fn load(&self) -> Result<Arc<RgbImage>, ImageError> {
        match self {
            Self::Memory(image) => Ok(Arc::clone(image)),
            Self::File(path) => Ok(Arc::new(read_rgb(path)?)),
        }
    }
}
