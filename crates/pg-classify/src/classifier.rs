//! Classification as a task of the training loop.

use std::sync::Arc;

use candle_core::{D, DType, Device, Tensor};
use image::RgbImage;
use pg_cli::choices::OnCorrupt;
use pg_grad::ops::log_softmax;
use pg_grad::{Guidance, Provenance};
use pg_models::{Mode, Model};
use pg_provenance::BinaryMask;
use pg_random::Seed;
use pg_tasks::fingerprint::Fingerprint;
use pg_tasks::normalise::Normalise;
use pg_tasks::prefetch::Prefetch;
use pg_tasks::train::{Batches, Task, TaskStep, Validation};
use rayon::prelude::*;

use crate::dataset::Dataset;
use crate::error::ClassifyError;
use crate::evaluation::Evaluator;
use crate::samples::Samples;
use crate::settings::{Augment, Config, Select};

/// Batches made ahead of the one that trains.
const PREFETCHED: usize = 4;

/// A model, its training samples and its validation split.
pub struct Classifier<'a> {
    model: &'a Model,
    dataset: &'a Dataset,
    samples: Arc<Samples>,
    guidance: Guidance,
    config: &'a Config,
    /// Weight of each class in the loss, (classes,).
    class_weights: Option<Tensor>,
    evaluator: Evaluator<'a>,
    device: Device,
}

/// One batch on the CPU.
pub struct Batch {
    /// Normalised images, (n, 3, side, side).
    images: Tensor,
    labels: Vec<u32>,
    /// 1 on the target, (n, 1, side, side).
    masks: Tensor,
    /// 1 for a sample that has a non-target region.
    guided: Vec<f32>,
}

impl<'a> Classifier<'a> {
    /// The task of training `model` on `samples` of `dataset`.
    pub fn new(
        model: &'a Model,
        dataset: &'a Dataset,
        samples: Arc<Samples>,
        config: &'a Config,
        class_weights: Option<Tensor>,
        evaluator: Evaluator<'a>,
        device: &Device,
    ) -> Self {
        let guidance = config.guidance.of(model);
        Self { model, dataset, samples, guidance, config, class_weights, evaluator, device: device.clone() }
    }

    /// The sample indices of each batch of an epoch.
    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        self.config.optimisation.epoch_batches(self.samples.as_slice().len(), epoch)
    }

    /// Weighted mean cross-entropy, as torch's with class weights.
    fn loss(&self, logits: &Tensor, labels: &Tensor) -> pg_grad::Result<Tensor> {
        let losses = log_softmax(logits, 1)?.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?.neg()?;
        match &self.class_weights {
            None => Ok(losses.mean_all()?),
            Some(weights) => {
                let weights = weights.index_select(labels, 0)?;
                Ok(((losses * &weights)?.sum_all()? / weights.sum_all()?)?)
            }
        }
    }
}

impl Task for Classifier<'_> {
    type Batch = Batch;
    type Error = ClassifyError;

    fn fingerprint(&self) -> Fingerprint {
        self.dataset.fingerprint()
    }

    fn steps_per_epoch(&self) -> usize {
        self.plan(0).len()
    }

    fn batches(&self, epoch: usize, skip: usize) -> Batches<Batch, ClassifyError> {
        let plan: Vec<Vec<usize>> = self.plan(epoch).into_iter().skip(skip).collect();
        let maker = BatchMaker {
            samples: Arc::clone(&self.samples),
            epoch,
            augment: self.config.augment,
            on_corrupt: self.config.on_corrupt,
            seed: Seed(self.config.optimisation.seed),
            normalise: normalise(self.dataset.normalize),
        };
        Prefetch::new(plan.len(), PREFETCHED, move |index| maker.make(&plan[index]))
    }

    fn step(&self, batch: Batch, step: u64) -> Result<TaskStep, ClassifyError> {
        let samples = batch.labels.len();
        let x = batch.images.to_device(&self.device)?;
        let labels = Tensor::new(batch.labels.as_slice(), &self.device)?;
        let guided = Tensor::new(batch.guided.as_slice(), &self.device)?;
        let provenance = Provenance::edited(&labels, &batch.masks.to_device(&self.device)?, &guided)?;
        let turn = if self.config.guidance.is_on() && batch.guided.contains(&1.0) {
            self.guidance.lazy.turn(step, samples, Seed(self.config.optimisation.seed))
        } else {
            None
        };
        self.model.begin_step(Seed(self.config.optimisation.seed), step);
        let found = self.guidance.step(
            &x,
            &provenance,
            turn.as_ref(),
            |x, why| self.model.forward(x, Mode::from(why)),
            |logits| self.loss(logits, &labels),
        )?;
        let predictions = found.logits.argmax(D::Minus1)?;
        let correct = predictions.eq(&labels)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?;
        Ok(TaskStep {
            samples,
            correct: correct as usize,
            loss_cls: found.loss_cls,
            guidance: found.loss_pg.map(|loss| (loss, self.guidance.alpha * loss)),
            gradients: found.gradients,
        })
    }

    fn validation_columns(&self) -> Vec<&'static str> {
        vec!["val_top1", "val_balanced", "val_worst_group"]
    }

    fn validate(&self) -> Result<Validation, ClassifyError> {
        if self.dataset.val.is_empty() {
            return Ok(Validation { values: vec![f64::NAN; 3], selection: None });
        }
        let scores = self.evaluator.scores(self.model, &self.dataset.val)?;
        let values = vec![scores.top1.value().unwrap_or(f64::NAN), scores.balanced, scores.worst.accuracy()];
        let selection = match self.config.select {
            Select::ValTop1 => Some(values[0]),
            Select::ValBalanced => Some(values[1]),
            Select::ValWorstGroup => Some(values[2]),
            Select::Last => None,
        };
        Ok(Validation { values, selection })
    }
}

/// What the prefetch thread needs.
struct BatchMaker {
    samples: Arc<Samples>,
    epoch: usize,
    augment: Augment,
    on_corrupt: OnCorrupt,
    seed: Seed,
    normalise: Normalise,
}

impl BatchMaker {
    /// The batch of these samples; `None` if skipping left none of them, or of several a single one: batch statistics of
    /// one sample do not exist.
    fn make(&self, indices: &[usize]) -> Result<Option<Batch>, ClassifyError> {
        let loaded: Vec<_> = indices
            .par_iter()
            .map(|&index| (index, self.samples.load(index, self.epoch, self.augment, self.seed)))
            .collect();
        let mut images: Vec<RgbImage> = Vec::new();
        let (mut labels, mut guided, mut masks) = (Vec::new(), Vec::new(), Vec::new());
        for (index, sample) in loaded {
            let (image, target) = match sample {
                Ok(sample) => sample,
                Err(error) if self.on_corrupt == OnCorrupt::Skip => {
                    tracing::warn!("skipped: {error}");
                    continue;
                }
                Err(error) => return Err(error),
            };
            images.push(image);
            labels.push(self.samples.as_slice()[index].label);
            guided.push(if target.is_some() { 1.0 } else { 0.0 });
            append_mask(&mut masks, target.as_ref(), self.samples.grid().side);
        }
        if images.len() < indices.len().min(2) {
            return Ok(None);
        }
        let side = self.samples.grid().side as usize;
        let masks = Tensor::from_vec(masks, (images.len(), 1, side, side), &Device::Cpu)?;
        let images = self.normalise.batch(&images, &Device::Cpu)?;
        Ok(Some(Batch { images, labels, masks, guided }))
    }
}

fn append_mask(masks: &mut Vec<f32>, target: Option<&BinaryMask>, side: u32) {
    match target {
        Some(target) => masks.extend(target.bits().iter().map(|&on| if on { 1.0 } else { 0.0 })),
        None => masks.extend(std::iter::repeat_n(1.0, (side * side) as usize)),
    }
}

/// How images become network input: normalised by the mean and standard deviation of ImageNet, or left in [0, 1].
pub fn normalise(by_imagenet: bool) -> Normalise {
    if by_imagenet { Normalise::IMAGENET } else { Normalise::UNIT }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::dataset::{Options, Picture, embedded};
    use crate::settings::Settings;
    use pg_embedded::Spec;

    /// Samples 0 to 3, of which 2 and 3 cannot be read.
    fn maker() -> BatchMaker {
        let spec = Spec { train: 4, val: 4, test: 4, ..Spec::default() };
        let mut set = embedded::from_spec(&spec, &Options::default()).unwrap();
        for example in &mut set.train[2..] {
            example.picture = Picture::File(PathBuf::from("missing.png"));
        }
        let config = Settings { no_edits: Some(true), ..Settings::default() }.resolve().unwrap();
        BatchMaker {
            samples: Arc::new(Samples::prepare(&set, &config).unwrap()),
            epoch: 0,
            augment: Augment::None,
            on_corrupt: OnCorrupt::Skip,
            seed: Seed(0),
            normalise: Normalise::UNIT,
        }
    }

    #[test]
    fn skipping_leaves_no_batch_of_one() {
        let maker = maker();
        let left = |indices: &[usize]| maker.make(indices).unwrap().map(|batch| batch.labels.len());
        assert_eq!(left(&[0, 1]), Some(2));
        assert_eq!(left(&[0, 2, 1]), Some(2));
        assert_eq!(left(&[0, 2]), None);
        assert_eq!(left(&[3, 0, 2]), None);
        assert_eq!(left(&[2, 3]), None);
        // With --batch 1 single samples are what was asked for.
        assert_eq!(left(&[0]), Some(1));
        assert_eq!(left(&[2]), None);
    }
}
