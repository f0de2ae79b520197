//! RGB images to network input: N C H W, f32, mean and standard deviation of each channel taken out.

use candle_core::{Device, Tensor};
use image::RgbImage;
use rayon::prelude::*;

/// Mean of each channel over ImageNet, of values in [0, 1] (torchvision).
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of each channel over ImageNet, of values in [0, 1] (torchvision).
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Images that make no batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// There is none.
    #[error("a batch needs at least one image")]
    Empty,
    /// They differ in size.
    #[error(
        "image {index} of the batch is {width} x {height}, the first is {first_width} x {first_height}; resize them alike"
    )]
    Size {
        /// Index of the first that differs.
        index: usize,
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// Width of image 0.
        first_width: u32,
        /// Height of image 0.
        first_height: u32,
    },
    /// The tensor could not be made, for example for want of device memory.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// `(value / 255 - mean) / std` for each channel, as torchvision's `ToTensor` and `Normalize`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalise {
    /// Mean of each channel, of values in [0, 1].
    pub mean: [f32; 3],
    /// Standard deviation of each channel, of values in [0, 1]; not 0.
    pub std: [f32; 3],
}

impl Normalise {
    /// With the constants of ImageNet.
    pub const IMAGENET: Self = Self { mean: IMAGENET_MEAN, std: IMAGENET_STD };
    /// Values in [0, 1] as they are.
    pub const UNIT: Self = Self { mean: [0.0; 3], std: [1.0; 3] };

    /// Images of one size as a tensor of shape (N, 3, H, W), f32.
    ///
    /// # Errors
    /// If there is no image, or if they differ in size.
    pub fn batch(&self, images: &[RgbImage], device: &Device) -> Result<Tensor, BatchError> {
        let first = images.first().ok_or(BatchError::Empty)?;
        let (first_width, first_height) = first.dimensions();
        if let Some(index) = images.iter().position(|image| image.dimensions() != first.dimensions()) {
            let (width, height) = images[index].dimensions();
            return Err(BatchError::Size { index, width, height, first_width, first_height });
        }
        let (width, height) = (first_width as usize, first_height as usize);
        let table = self.table();
        let mut values = vec![0.0; images.len() * 3 * height * width];
        values
            .par_chunks_mut(3 * height * width)
            .zip(images)
            .for_each(|(values, image)| write(image, &table, values));
        Ok(Tensor::from_vec(values, (images.len(), 3, height, width), device)?)
    }

    /// The normalised value of each of the 256 bytes, for each channel.
    fn table(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            std::array::from_fn(|byte| (byte as f32 / 255.0 - self.mean[channel]) / self.std[channel])
        })
    }
}

/// Interleaved bytes to planes of values.
fn write(image: &RgbImage, table: &[[f32; 256]; 3], values: &mut [f32]) {
    let plane = values.len() / 3;
    for (position, pixel) in image.pixels().enumerate() {
        for (channel, &byte) in pixel.0.iter().enumerate() {
            values[channel * plane + position] = table[channel][usize::from(byte)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn image(width: u32, height: u32, shift: u32) -> RgbImage {
        RgbImage::from_fn(
            width,
            height,
            |x, y| Rgb([x + shift, 10 * y, 7 * (x + y)].map(|v| (v % 256) as u8)),
        )
    }

    #[test]
    fn each_value_is_that_of_the_formula_at_its_place() {
        let images = [image(5, 3, 0), image(5, 3, 100)];
        let batch = Normalise::IMAGENET.batch(&images, &Device::Cpu).unwrap();
        assert_eq!(batch.dims(), [2, 3, 3, 5]);
        let values = batch.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (n, image) in images.iter().enumerate() {
            for (x, y, pixel) in image.enumerate_pixels() {
                for c in 0..3 {
                    let value = values[((n * 3 + c) * 3 + y as usize) * 5 + x as usize];
                    let mean = [0.485, 0.456, 0.406][c];
                    let std = [0.229, 0.224, 0.225][c];
                    let expected = (f64::from(pixel[c]) / 255.0 - mean) / std;
                    assert!((f64::from(value) - expected).abs() < 1e-6, "{n} {c} {x} {y}");
                }
            }
        }
    }

    #[test]
    fn images_of_two_sizes_make_no_batch() {
        let batch = |images: &[RgbImage]| Normalise::UNIT.batch(images, &Device::Cpu);
        let error = batch(&[image(4, 4, 0), image(4, 4, 1), image(4, 5, 2)]).unwrap_err();
        assert!(matches!(error, BatchError::Size { index: 2, height: 5, first_height: 4, .. }));
        assert!(matches!(batch(&[]), Err(BatchError::Empty)));
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let images: Vec<_> = (0..9).map(|n| image(17, 11, n)).collect();
        let values = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let batch = pool.install(|| Normalise::IMAGENET.batch(&images, &Device::Cpu)).unwrap();
            batch.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(values(1), values(4));
    }
}
