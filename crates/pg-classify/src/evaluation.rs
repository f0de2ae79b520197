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
    /// If an image cannot be decoded (and may not be skipped), or the network fails.
    pub fn predictions<'e>(
        &self,
        model: &Model,
        examples: &'e [Example],
    ) -> Result<Vec<Prediction<'e>>, ClassifyError> {
        let mut predictions = Vec::new();
        for batch in self.batches(examples) {
            let (examples, images) = self.load(&batch)?;
            if images.is_empty() {
                continue;
            }
            let x = self.normalise.batch(&images, &self.device)?;
            let logits = without_graph(|| model.forward(&x, Mode::Eval))?.to_vec2::<f32>()?;
            predictions.extend(
                examples.into_iter().zip(logits).map(|(example, logits)| Prediction { example, logits }),
            );
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
        for batch in self.batches(examples) {
            let (examples, images) = self.load(&batch)?;
            if images.is_empty() {
                continue;
            }
            let labels: Vec<u32> = examples.iter().map(|example| example.label).collect();
            let labels = Tensor::new(labels, &self.device)?;
            let x = self.normalise.batch(&images, &self.device)?;
            let (_, gradient) = saliency(&x, &labels, Score::Logit, |x| model.forward(x, Mode::Eval))?;
            let energy = gradient.sqr()?.sum(1)?.flatten_from(1)?.to_vec2::<f32>()?;
            for ((example, image), energy) in examples.into_iter().zip(images).zip(energy) {
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

    /// The examples in batches; if these are limited, of examples spread evenly, since lists are often sorted by class.
    fn batches<'e>(&self, examples: &'e [Example]) -> Vec<Vec<&'e Example>> {
        let most = self.limit_batches.map_or(examples.len(), |limit| limit.saturating_mul(BATCH));
        let chosen: Vec<&Example> = spread(examples, most).collect();
        chosen.chunks(BATCH).map(<[&Example]>::to_vec).collect()
    }

    /// The images of a batch on the grid, without those that are corrupt and may be skipped.
    fn load<'e>(&self, batch: &[&'e Example]) -> Result<(Vec<&'e Example>, Vec<RgbImage>), ClassifyError> {
        let images: Vec<_> = batch.par_iter().map(|example| self.grid.load(&example.picture)).collect();
        let mut loaded = (Vec::new(), Vec::new());
        for (&example, image) in batch.iter().zip(images) {
            match image {
                Ok(image) => {
                    loaded.0.push(example);
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
