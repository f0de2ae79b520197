//! Predictions on a split, their scores, and how much of the input gradient lies on the object.

use candle_core::{Device, Tensor};
use image::RgbImage;
use pg_cli::choices::OnCorrupt;
use pg_grad::{Score, saliency, without_graph};
use pg_models::{Mode, Model};
use pg_provenance::BinaryMask;
use pg_tasks::normalise::Normalise;
use rayon::prelude::*;

use crate::dataset::{Dataset, Example};
use crate::error::ClassifyError;
use crate::metrics::{Grouping, Scores, evaluate};
use crate::pictures::spread;
use crate::samples::Grid;
use crate::unmodified::name;

/// Images evaluated at once.
const BATCH: usize = 64;

/// Examples whose input gradient is measured for the share of it that lies on the object.
const EXPLAINED: usize = 256;

/// Evaluates models on examples of one data set.
#[derive(Clone, Debug)]
pub struct Evaluator<'a> {
    dataset: &'a Dataset,
    /// Groups that follow the bias of the training split.
    aligned: Option<Vec<bool>>,
    grid: Grid,
    normalise: Normalise,
    on_corrupt: OnCorrupt,
    /// Batches to look at, of images spread over all that are asked for.
    limit_batches: Option<usize>,
    device: Device,
}

/// What a model says of one example.
#[derive(Clone, Debug)]
pub struct Prediction<'a> {
    /// Its place among the examples that were asked for.
    pub index: usize,
    /// The example.
    pub example: &'a Example,
    /// Its logits.
    pub logits: Vec<f32>,
}

impl Prediction<'_> {
    /// The class with the largest logit.
    pub fn class(&self) -> u32 {
        let best = self.logits.iter().enumerate().max_by(|(i, a), (j, b)| a.total_cmp(b).then(j.cmp(i)));
        best.map_or(0, |(class, _)| class as u32)
    }
}

/// The input gradient of one example.
#[derive(Clone, Debug)]
pub struct Saliency<'a> {
    /// The example.
    pub example: &'a Example,
    /// The image on the grid.
    pub image: RgbImage,
    /// Squared gradient of the label's logit, summed over the channels; row-major (side, side).
    pub energy: Vec<f32>,
    /// The true region of the object on the grid.
    pub truth: Option<BinaryMask>,
}

impl Saliency<'_> {
    /// The share of the squared gradient on the object; `None` without a true mask or where the gradient is 0.
    pub fn target_share(&self) -> Option<f64> {
        let truth = self.truth.as_ref()?;
        let sum = |on: bool| -> f64 {
            self.energy
                .iter()
                .zip(truth.bits())
                .filter(|(_, bit)| **bit == on)
                .map(|(e, _)| f64::from(*e))
                .sum()
        };
        let (inside, outside) = (sum(true), sum(false));
        (inside + outside > 0.0).then(|| inside / (inside + outside))
    }

    /// The gradient's magnitude in [0, 1]: its 98th percentile and above are 1.
    pub fn heat(&self) -> Vec<f32> {
        let magnitude: Vec<f32> = self.energy.iter().map(|energy| energy.sqrt()).collect();
        let mut sorted = magnitude.clone();
        sorted.sort_by(f32::total_cmp);
        let top = sorted.get(sorted.len() * 98 / 100).copied().unwrap_or(0.0);
        if top <= 0.0 {
            return vec![0.0; magnitude.len()];
        }
        magnitude.into_iter().map(|value| (value / top).min(1.0)).collect()
    }
}

impl<'a> Evaluator<'a> {
    /// An evaluator of images on `grid`, normalised as in training.
    pub fn new(
        dataset: &'a Dataset,
        grid: Grid,
        normalise: Normalise,
        on_corrupt: OnCorrupt,
        limit_batches: Option<usize>,
        device: &Device,
    ) -> Self {
        let aligned = dataset.aligned_groups();
        Self { dataset, aligned, grid, normalise, on_corrupt, limit_batches, device: device.clone() }
    }

    /// Logits of each example.
    ///
    /// # Errors
    /// If an image cannot be decoded (and may not be skipped), or the network fails; [`ClassifyError::NotFinite`], since
    /// NaN would pass for the largest logit.
    pub fn predictions<'e>(
        &self,
        model: &Model,
        examples: &'e [Example],
    ) -> Result<Vec<Prediction<'e>>, ClassifyError> {
        let mut predictions = Vec::new();
        for batch in self.batches(examples.len()) {
            let (places, images) = self.load(examples, &batch)?;
            if images.is_empty() {
                continue;
            }
            let x = self.normalise.batch(&images, &self.device)?;
            let logits = without_graph(|| model.forward(&x, Mode::Eval))?.to_vec2::<f32>()?;
            for (index, logits) in places.into_iter().zip(logits) {
                let example = &examples[index];
                if !logits.iter().all(|logit| logit.is_finite()) {
                    return Err(ClassifyError::NotFinite { picture: name(&example.picture) });
                }
                predictions.push(Prediction { index, example, logits });
            }
        }
        Ok(predictions)
    }

    /// Every metric of a model on examples.
    ///
    /// # Errors
    /// As [`Self::predictions`].
    pub fn scores(&self, model: &Model, examples: &[Example]) -> Result<Scores, ClassifyError> {
        self.scores_of(&self.predictions(model, examples)?)
    }

    /// Every metric of predictions.
    ///
    /// # Errors
    /// If there are none.
    pub fn scores_of(&self, predictions: &[Prediction]) -> Result<Scores, ClassifyError> {
        let labels: Vec<u32> = predictions.iter().map(|p| p.example.label).collect();
        let classes: Vec<u32> = predictions.iter().map(Prediction::class).collect();
        let groups: Vec<u32> = predictions.iter().filter_map(|p| p.example.group).collect();
        let grouping = Grouping {
            of: &groups,
            train_counts: &self.dataset.group_counts,
            aligned: self.aligned.as_deref(),
        };
        let grouping = (!self.dataset.groups.is_empty()).then_some(&grouping);
        Ok(evaluate(&classes, &labels, self.dataset.classes.len(), grouping)?)
    }

    /// The input gradient of each example's own class.
    ///
    /// # Errors
    /// As [`Self::predictions`].
    pub fn saliencies<'e>(
        &self,
        model: &Model,
        examples: &'e [Example],
    ) -> Result<Vec<Saliency<'e>>, ClassifyError> {
        let mut saliencies = Vec::new();
        for batch in self.batches(examples.len()) {
            let (places, images) = self.load(examples, &batch)?;
            if images.is_empty() {
                continue;
            }
            let labels: Vec<u32> = places.iter().map(|&index| examples[index].label).collect();
            let labels = Tensor::new(labels, &self.device)?;
            let x = self.normalise.batch(&images, &self.device)?;
            let (_, gradient) = saliency(&x, &labels, Score::Logit, |x| model.forward(x, Mode::Eval))?;
            let energy = gradient.sqr()?.sum(1)?.flatten_from(1)?.to_vec2::<f32>()?;
            for ((index, image), energy) in places.into_iter().zip(images).zip(energy) {
                let example = &examples[index];
                let truth = example.truth.as_ref().map(|mask| self.grid.mask(mask));
                saliencies.push(Saliency { example, image, energy, truth });
            }
        }
        Ok(saliencies)
    }

    /// Mean share of the squared input gradient on the object, over the examples that have a true mask (of up to 256
    /// spread over them all); `None` if none has.
    ///
    /// # Errors
    /// As [`Self::predictions`].
    pub fn target_gradient_share(
        &self,
        model: &Model,
        examples: &[Example],
    ) -> Result<Option<f64>, ClassifyError> {
        let explained: Vec<Example> = spread(examples, EXPLAINED).cloned().collect();
        if explained.iter().all(|example| example.truth.is_none()) {
            return Ok(None);
        }
        Ok(mean_target_share(&self.saliencies(model, &explained)?).map(|(mean, _)| mean))
    }

    /// The places of examples in batches; if these are limited, places spread evenly, since lists are often sorted by class.
    fn batches(&self, examples: usize) -> Vec<Vec<usize>> {
        let places: Vec<usize> = (0..examples).collect();
        let most = self.limit_batches.map_or(examples, |limit| limit.saturating_mul(BATCH));
        let chosen: Vec<usize> = spread(&places, most).copied().collect();
        chosen.chunks(BATCH).map(<[usize]>::to_vec).collect()
    }

    /// The images of a batch on the grid, with their places, without those that are corrupt and may be skipped.
    fn load(
        &self,
        examples: &[Example],
        batch: &[usize],
    ) -> Result<(Vec<usize>, Vec<RgbImage>), ClassifyError> {
        let images: Vec<_> =
            batch.par_iter().map(|&index| self.grid.load(&examples[index].picture)).collect();
        let mut loaded = (Vec::new(), Vec::new());
        for (&index, image) in batch.iter().zip(images) {
            match image {
                Ok(image) => {
                    loaded.0.push(index);
                    loaded.1.push(image);
                }
                Err(error) if self.on_corrupt == OnCorrupt::Skip => tracing::warn!("skipped: {error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(loaded)
    }
}

/// Mean share of the squared input gradient on the object, and over how many: those that have a true mask; `None` if none
/// has.
pub fn mean_target_share(saliencies: &[Saliency]) -> Option<(f64, usize)> {
    let shares: Vec<f64> = saliencies.iter().filter_map(Saliency::target_share).collect();
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    (!shares.is_empty()).then_some((mean, shares.len()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dataset::{Options, Picture, embedded};
    use candle_core::DType;
    use pg_embedded::Spec;
    use pg_models::ModelSpec;
    use pg_random::Seed;

    fn example() -> Example {
        Example::new(Picture::Memory(Arc::new(RgbImage::new(2, 1))), 0, None)
    }

    fn of_energy<'a>(example: &'a Example, energy: &[f32], truth: Option<BinaryMask>) -> Saliency<'a> {
        Saliency { example, image: RgbImage::new(2, 1), energy: energy.to_vec(), truth }
    }

    #[test]
    fn the_share_on_the_object_is_that_of_the_squares_that_lie_on_it() {
        let example = example();
        let left = || Some(BinaryMask::new(2, 1, vec![true, false]).unwrap());
        let share = |energy: [f32; 2], truth| of_energy(&example, &energy, truth).target_share();
        assert_eq!(share([3.0, 1.0], left()), Some(0.75));
        assert_eq!(share([0.0, 2.0], left()), Some(0.0));
        assert_eq!(share([0.0, 0.0], left()), None, "without a gradient");
        assert_eq!(share([3.0, 1.0], None), None, "without a true mask");

        let of = |energy: [f32; 2], truth| of_energy(&example, &energy, truth);
        let saliencies = [of([3.0, 1.0], left()), of([0.0, 1.0], left()), of([0.0, 0.0], left())];
        assert_eq!(mean_target_share(&saliencies), Some((0.375, 2)));
        assert_eq!(mean_target_share(&[of([3.0, 1.0], None)]), None);
    }

    #[test]
    fn heat_is_the_magnitude_as_a_share_of_nearly_the_largest() {
        let example = example();
        let heat = |energy: &[f32]| of_energy(&example, energy, None).heat();
        assert_eq!(heat(&[4.0, 1.0, 0.0, 0.25]), [1.0, 0.5, 0.0, 0.25]);
        assert_eq!(heat(&[0.0; 3]), [0.0; 3]);
        // One pixel of a hundred, however bright, does not darken the others.
        let mut energy = [1.0; 100];
        energy[7] = 1e6;
        assert_eq!(heat(&energy), [1.0; 100]);
    }

    #[test]
    fn logits_that_are_no_numbers_are_no_prediction() {
        let spec = Spec { train: 4, val: 4, test: 4, ..Spec::default() };
        let set = embedded::from_spec(&spec, &Options::default()).unwrap();
        let spec = ModelSpec { size: 8, ..ModelSpec::new("mlp", set.classes.len()) };
        let model = Model::new(spec, Seed(0), DType::F32, &Device::Cpu).unwrap();
        let grid = Grid { side: 8, crop: None };
        let evaluator = Evaluator::new(&set, grid, Normalise::UNIT, OnCorrupt::Fail, None, &Device::Cpu);
        let sound = evaluator.predictions(&model, &set.test).unwrap();
        assert_eq!(sound.iter().map(|p| p.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let bias = &model.params().vars()["fc3.bias"];
        for value in [f32::NAN, f32::INFINITY] {
            bias.set(&Tensor::full(value, bias.shape(), &Device::Cpu).unwrap()).unwrap();
            let error = evaluator.predictions(&model, &set.test).unwrap_err().to_string();
            assert!(error.starts_with("generated image: the network's logits are not finite; "), "{error}");
        }
    }
}
