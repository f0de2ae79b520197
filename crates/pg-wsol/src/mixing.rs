//! Batches of mixes, with the provenance that guides them.

use candle_core::{Device, Tensor};
use pg_grad::{Provenance, Score, saliency};
use pg_models::{Mode, Model};
use pg_random::{Seed, Stream};
use pg_synth::{Batch, CutMix, Masks, Mixup, PuzzleMix, ResizeMix, SalientBatch, Synthesiser, Synthetic};
use pg_tasks::normalise::Normalise;
use rand::RngExt;

use pg_cli::choices::MaskKind;

use crate::error::WsolError;
use crate::settings::{SynthConfig, SynthName};

/// Samples a network trains on.
#[derive(Debug)]
pub struct Mixed {
    /// (n, 3, side, side), normalised.
    pub images: Tensor,
    /// Class of source A, (n,).
    pub label_a: Tensor,
    /// Class of source B, (n,); that of A in a batch that is not mixed.
    pub label_b: Tensor,
    /// Share of A, (n,).
    pub lam: Tensor,
    /// What guides; `None` where every pixel is a blend, or nothing was mixed.
    pub provenance: Option<Provenance>,
}

/// How batches are mixed.
#[derive(Clone, Debug)]
pub struct Mixer {
    config: SynthConfig,
    mask: MaskKind,
    normalise: Normalise,
    seed: Seed,
}

impl Mixer {
    /// A mixer whose draws follow from `seed`; guidance is by masks of the `mask` kind.
    pub fn new(config: SynthConfig, mask: MaskKind, normalise: Normalise, seed: Seed) -> Self {
        Self { config, mask, normalise, seed }
    }

    /// The same mixer, but that it leaves no batch as it is.
    #[must_use]
    pub fn always(&self) -> Self {
        Self { config: SynthConfig { synth_prob: 1.0, ..self.config }, ..self.clone() }
    }

    /// Mixes the batch of a step. PuzzleMix asks `model` where the images are salient.
    ///
    /// # Errors
    /// If the images cannot be mixed, or the network fails.
    pub fn mix(&self, batch: Batch, step: u64, model: &Model, device: &Device) -> Result<Mixed, WsolError> {
        let mut rng = self.seed.stream("mix", &[step]);
        let SynthConfig { synth, synth_prob: prob, cutmix_beta: beta, .. } = self.config;
        let masks = match synth {
            SynthName::None => None,
            SynthName::Mixup if rng.random_bool(prob) => {
                return blend(
                    Mixup { alpha: self.config.mixup_alpha }.synthesise(&batch, &mut rng)?,
                    &batch,
                    device,
                );
            }
            SynthName::Cutmix => {
                Some(CutMix { prob, beta, ..CutMix::default() }.synthesise(&batch, &mut rng)?)
            }
            SynthName::Resizemix => {
                Some(ResizeMix { prob, ..ResizeMix::default() }.synthesise(&batch, &mut rng)?)
            }
            SynthName::Puzzlemix if rng.random_bool(prob) => {
                Some(self.puzzle(&batch, model, &mut rng, device)?)
            }
            SynthName::Mixup | SynthName::Puzzlemix => None,
        };
        match masks {
            Some(mixed) if mixed.lam.iter().any(|&lam| lam < 1.0) => {
                self.with_masks(mixed, &batch, step, device)
            }
            // Nothing to guide, so that the step is a plain one.
            _ => plain(&batch, device),
        }
    }

    fn puzzle(
        &self,
        batch: &Batch,
        model: &Model,
        rng: &mut Stream,
        device: &Device,
    ) -> Result<Synthetic<Masks>, WsolError> {
        let side = batch.width();
        let x = images(batch.pixels(), batch, device)?;
        let labels = Tensor::new(batch.labels(), device)?;
        // Of the cross-entropy, up to a factor that each image's map is freed of.
        let (_, gradient) = saliency(&x, &labels, Score::LogProbability, |x| model.forward(x, Mode::Eval))?;
        let salient = gradient.sqr()?.mean(1)?.sqrt()?.flatten_all()?.to_vec1::<f32>()?;
        if salient.iter().any(|saliency| !saliency.is_finite()) {
            return Err(WsolError::Diverged);
        }
        let puzzle = PuzzleMix {
            blocks: [2, 4, 8, 16].into_iter().filter(|&blocks| side.is_multiple_of(blocks)).collect(),
            normalisation: self.normalise.mean.into_iter().zip(self.normalise.std).collect(),
            ..PuzzleMix::default()
        };
        Ok(puzzle.synthesise(&SalientBatch::new(batch.clone(), salient)?, rng)?)
    }

    fn with_masks(
        &self,
        mixed: Synthetic<Masks>,
        batch: &Batch,
        step: u64,
        device: &Device,
    ) -> Result<Mixed, WsolError> {
        let (n, side) = (batch.len(), batch.width());
        let label_a = Tensor::new(mixed.label_a, device)?;
        let label_b = Tensor::new(mixed.label_b, device)?;
        let mask = |values| Tensor::from_vec(values, (n, 1, side, side), device);
        let provenance = match self.mask {
            MaskKind::True => Provenance::mixed(&label_a, &label_b, &mask(mixed.provenance.values)?)?,
            MaskKind::Random => {
                let mut rng = self.seed.stream("random-mask", &[step]);
                let shifted =
                    (0..n).flat_map(|i| shifted(mixed.provenance.sample(i), side, &mut rng)).collect();
                Provenance::mixed(&label_a, &label_b, &mask(shifted)?)?
            }
            MaskKind::Full => {
                // A pair of one class counts nothing under any mask.
                let same = |i: usize| batch.labels()[i] == batch.labels()[mixed.partner[i]];
                let own = |i: usize| if same(i) { 1.0 } else { 0.0 };
                let nowhere = mask((0..n).flat_map(|i| std::iter::repeat_n(own(i), side * side)).collect())?;
                Provenance::sources(&[(label_a.clone(), nowhere.clone()), (label_b.clone(), nowhere)])?
            }
        };
        Ok(Mixed {
            images: images(&mixed.pixels, batch, device)?,
            lam: Tensor::new(mixed.lam, device)?,
            label_a,
            label_b,
            provenance: Some(provenance),
        })
    }
}

/// The images themselves.
fn plain(batch: &Batch, device: &Device) -> Result<Mixed, WsolError> {
    let labels = Tensor::new(batch.labels(), device)?;
    Ok(Mixed {
        images: images(batch.pixels(), batch, device)?,
        label_b: labels.clone(),
        label_a: labels,
        lam: Tensor::new(vec![1f32; batch.len()], device)?,
        provenance: None,
    })
}

fn blend<P>(mixed: Synthetic<P>, batch: &Batch, device: &Device) -> Result<Mixed, WsolError> {
    Ok(Mixed {
        images: images(&mixed.pixels, batch, device)?,
        label_a: Tensor::new(mixed.label_a, device)?,
        label_b: Tensor::new(mixed.label_b, device)?,
        lam: Tensor::new(mixed.lam, device)?,
        provenance: None,
    })
}

fn images(pixels: &[f32], batch: &Batch, device: &Device) -> Result<Tensor, WsolError> {
    Ok(Tensor::from_slice(pixels, (batch.len(), batch.channels(), batch.height(), batch.width()), device)?)
}

/// A mask of equal area and shape in a random place: shifted, wrapping around at the borders.
fn shifted(mask: &[f32], side: usize, rng: &mut Stream) -> Vec<f32> {
    let (right, down) = (rng.random_range(0..side), rng.random_range(0..side));
    (0..side * side).map(|i| mask[(i / side + down) % side * side + (i % side + right) % side]).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use pg_models::ModelSpec;

    use super::*;

    #[test]
    fn what_is_not_mixed_guides_nothing() {
        let device = Device::Cpu;
        let spec = ModelSpec { size: 8, ..ModelSpec::new("small-vgg-gap", 2) };
        let model = Model::new(spec, Seed(0), DType::F32, &device).unwrap();
        let pixels: Vec<f32> = (0..8 * 3 * 64).map(|i| (i % 7) as f32).collect();
        let batch = Batch::new(pixels.clone(), 3, 8, 8, vec![0, 1, 0, 1, 0, 1, 0, 1]).unwrap();
        for synth in [SynthName::Cutmix, SynthName::Resizemix, SynthName::Puzzlemix] {
            for mask in [MaskKind::True, MaskKind::Random, MaskKind::Full] {
                for synth_prob in [0.0, 1.0] {
                    let config = SynthConfig { synth, synth_prob, cutmix_beta: 1.0, mixup_alpha: 1.0 };
                    let mixer = Mixer::new(config, mask, Normalise::UNIT, Seed(0));
                    let mixed = mixer.mix(batch.clone(), 0, &model, &device).unwrap();
                    assert_eq!(mixed.provenance.is_some(), synth_prob == 1.0, "{synth:?} {mask:?}");
                    let images = mixed.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    assert_eq!(images == pixels, synth_prob == 0.0, "{synth:?} {mask:?}");
                    let always = mixer.always().mix(batch.clone(), 0, &model, &device).unwrap();
                    assert!(always.provenance.is_some(), "{synth:?} {mask:?}");
                }
            }
        }
        for synth_prob in [0.0, 1.0] {
            let config =
                SynthConfig { synth: SynthName::Mixup, synth_prob, cutmix_beta: 1.0, mixup_alpha: 1.0 };
            let mixer = Mixer::new(config, MaskKind::True, Normalise::UNIT, Seed(0));
            let mixed = mixer.mix(batch.clone(), 0, &model, &device).unwrap();
            assert_eq!(
                mixed.images.flatten_all().unwrap().to_vec1::<f32>().unwrap() == pixels,
                synth_prob == 0.0
            );
        }
    }
}
