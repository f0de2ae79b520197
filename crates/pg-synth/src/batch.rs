//! Batches before and after synthesis.

use crate::SynthError;

/// Labelled images of one size, not empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pixels: Vec<f32>,
    channels: usize,
    height: usize,
    width: usize,
    labels: Vec<u32>,
}

impl Batch {
    /// A batch of `labels.len()` samples whose `pixels` are in (sample, channel, row, column) order.
    ///
    /// # Errors
    /// [`SynthError::EmptyBatch`], [`SynthError::EmptySample`] and [`SynthError::Length`].
    pub fn new(
        pixels: Vec<f32>,
        channels: usize,
        height: usize,
        width: usize,
        labels: Vec<u32>,
    ) -> Result<Self, SynthError> {
        let (samples, given) = (labels.len(), pixels.len());
        if samples == 0 {
            return Err(SynthError::EmptyBatch);
        }
        if channels == 0 || height == 0 || width == 0 {
            return Err(SynthError::EmptySample { channels, height, width });
        }
        let product =
            [channels, height, width].iter().try_fold(samples, |product, &size| product.checked_mul(size));
        if product != Some(given) {
            return Err(SynthError::Length { samples, channels, height, width, given });
        }
        Ok(Self { pixels, channels, height, width, labels })
    }

    /// Number of samples, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// All pixels, (sample, channel, row, column).
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// The pixels of one sample, (channel, row, column).
    ///
    /// # Panics
    /// If there is no such sample, as slice indexing does.
    pub fn sample(&self, index: usize) -> &[f32] {
        &self.pixels[index * self.sample_len()..][..self.sample_len()]
    }

    /// Number of values of one sample.
    pub fn sample_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// One class a sample.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }
}

/// A synthesised batch with its provenance `P`: each sample is made of source A, the sample of the same
/// index, and source B, its partner.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthetic<P> {
    /// The samples, of the same shape as the input: (sample, channel, row, column).
    pub pixels: Vec<f32>,
    /// Where each part of the samples came from.
    pub provenance: P,
    /// Class of source A.
    pub label_a: Vec<u32>,
    /// Class of source B, even where a draw left nothing of it; that of A in a batch that is not mixed.
    pub label_b: Vec<u32>,
    /// Share of source A in [0, 1]; the mean of the sample's mask unless a variant says otherwise.
    pub lam: Vec<f32>,
    /// Index of source B in the batch; the sample's own in a batch that is not mixed.
    pub partner: Vec<usize>,
}

/// One mask a sample: 1 where the pixel comes from source A (or, for an edit, from the unmodified region).
#[derive(Clone, Debug, PartialEq)]
pub struct Masks {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Shares of source A in [0, 1], (sample, row, column).
    pub values: Vec<f32>,
}

impl Masks {
    /// The mask of one sample, row-major.
    ///
    /// # Panics
    /// If there is no such sample, as slice indexing does.
    pub fn sample(&self, index: usize) -> &[f32] {
        let len = self.height * self.width;
        &self.values[index * len..][..len]
    }

    /// The mean of each mask, `lam`.
    pub fn means(&self) -> Vec<f32> {
        let len = (self.height * self.width).max(1);
        let mean = |mask: &[f32]| mask.iter().copied().map(f64::from).sum::<f64>() / mask.len() as f64;
        self.values.chunks(len).map(|mask| mean(mask) as f32).collect()
    }
}

/// The provenance of a synthesis that leaves none: every pixel is a blend of both sources, so that the input
/// gradient has no region to be kept out of. Guidance asks for [`Masks`] and does not accept this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoProvenance;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_must_fit() {
        let batch = |len, channels, height, width, samples| {
            Batch::new(vec![0.0; len], channels, height, width, vec![0; samples]).map(|batch| batch.len())
        };
        assert_eq!(batch(24, 3, 2, 2, 2), Ok(2));
        assert_eq!(batch(0, 3, 2, 2, 0), Err(SynthError::EmptyBatch));
        assert_eq!(batch(0, 3, 0, 2, 1), Err(SynthError::EmptySample { channels: 3, height: 0, width: 2 }));
        let length = SynthError::Length { samples: 2, channels: 3, height: 2, width: 2, given: 23 };
        assert_eq!(batch(23, 3, 2, 2, 2), Err(length));
        assert!(batch(0, usize::MAX, 2, 2, 1).is_err());
    }

    #[test]
    fn samples_are_contiguous() {
        let batch = Batch::new((0..12).map(|v| v as f32).collect(), 1, 2, 3, vec![7, 8]).unwrap();
        assert_eq!(batch.sample(1), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        let masks = Masks { height: 1, width: 2, values: vec![1.0, 0.0, 0.5, 0.0] };
        assert_eq!(masks.sample(1), [0.5, 0.0]);
        assert_eq!(masks.means(), [0.5, 0.25]);
    }
}
