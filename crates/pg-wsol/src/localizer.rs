//! Localisation as a task of the training loop: classification that is never told where.

use std::cell::RefCell;
use std::sync::Arc;

use candle_core::{D, DType, Device, Tensor};
use image::RgbImage;
use image::imageops;
use pg_cli::choices::OnCorrupt;
use pg_grad::ops::log_softmax;
use pg_grad::{Guidance, Provenance};
use pg_models::{Mode, Model};
use pg_provenance::resize_rgb;
use pg_random::Seed;
use pg_synth::Batch;
use pg_tasks::fingerprint::Fingerprint;
use pg_tasks::normalise::Normalise;
use pg_tasks::prefetch::Prefetch;
use pg_tasks::train::{Batches, Task, TaskStep, Validation};
use rand::RngExt;
use rayon::prelude::*;

use crate::dataset::{Dataset, Example};
use crate::error::WsolError;
use crate::evaluation::{Evaluator, side_before_crop};
use crate::mixing::{Mixed, Mixer};
use crate::sat_loss::sat_loss;
use crate::settings::{Config, Select};

/// Batches made ahead of the one that trains.
const PREFETCHED: usize = 4;

/// A model, its training images and its validation split.
pub struct Localizer<'a> {
    model: &'a Model,
    dataset: &'a Dataset,
    train: Arc<[Example]>,
    guidance: Guidance,
    config: &'a Config,
    mixer: Mixer,
    evaluator: &'a Evaluator,
}

impl<'a> Localizer<'a> {
    /// The task of training `model` on `dataset`.
    pub fn new(model: &'a Model, dataset: &'a Dataset, config: &'a Config, evaluator: &'a Evaluator) -> Self {
        let seed = Seed(config.optimisation.seed);
        Self {
            model,
            dataset,
            train: dataset.train.clone().into(),
            guidance: config.guidance.of(model),
            config,
            mixer: Mixer::new(config.synth, config.guidance.mask, evaluator.normalise, seed),
            evaluator,
        }
    }

    fn device(&self) -> &Device {
        &self.evaluator.device
    }

    /// Mixes of the images that the first epoch begins with, to look at: of all, whatever share of the batches is mixed.
    ///
    /// # Errors
    /// If an image cannot be decoded or mixed.
    pub fn first_mixes(&self, count: usize) -> Result<Mixed, WsolError> {
        let maker = self.maker(0);
        let indices: Vec<usize> = self.plan(0).into_iter().flatten().take(count).collect();
        let batch =
            maker.make(&indices)?.ok_or(WsolError::Tensor(candle_core::Error::Msg("no image".into())))?;
        self.mixer.always().mix(batch, 0, self.model, self.device())
    }

    fn maker(&self, epoch: usize) -> BatchMaker {
        BatchMaker {
            train: Arc::clone(&self.train),
            side: self.config.image_size,
            epoch,
            on_corrupt: self.config.on_corrupt,
            seed: Seed(self.config.optimisation.seed),
            normalise: self.evaluator.normalise,
        }
    }

    /// The sample indices of each batch of an epoch.
    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        self.config.optimisation.epoch_batches(self.train.len(), epoch)
    }

    /// Mean over n of lam CE(a) + (1 - lam) CE(b); for a SAT also what makes its maps compact.
    fn loss(&self, logits: &Tensor, mixed: &Mixed, maps: &[Tensor]) -> pg_grad::Result<Tensor> {
        let log_probabilities = log_softmax(logits, 1)?;
        let of = |labels: &Tensor| log_probabilities.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1);
        let a = (of(&mixed.label_a)? * &mixed.lam)?;
        let b = (of(&mixed.label_b)? * (1.0 - &mixed.lam)?)?;
        let entropy = (a + b)?.mean_all()?.neg()?;
        if maps.is_empty() {
            return Ok(entropy);
        }
        Ok((entropy + sat_loss(&Tensor::cat(maps, 0)?, self.config.area)?)?)
    }
}

impl Task for Localizer<'_> {
    type Batch = Batch;
    type Error = WsolError;

    fn fingerprint(&self) -> Fingerprint {
        self.dataset.fingerprint()
    }

    fn steps_per_epoch(&self) -> usize {
        self.plan(0).len()
    }

    fn batches(&self, epoch: usize, skip: usize) -> Batches<Batch, WsolError> {
        let plan: Vec<Vec<usize>> = self.plan(epoch).into_iter().skip(skip).collect();
        let maker = self.maker(epoch);
        Prefetch::new(plan.len(), PREFETCHED, move |index| maker.make(&plan[index]))
    }

    fn step(&self, batch: Batch, step: u64) -> Result<TaskStep, WsolError> {
        let samples = batch.len();
        let mixed = self.mixer.mix(batch, step, self.model, self.device())?;
        self.model.begin_step(Seed(self.config.optimisation.seed), step);
        let turn = match &mixed.provenance {
            Some(_) if self.config.guidance.is_on() => {
                self.guidance.lazy.turn(step, samples, Seed(self.config.optimisation.seed))
            }
            _ => None,
        };
        // A SAT is trained by its maps, too, which come from the same pass as the logits.
        let has_maps = self.model.spec().vit.is_some();
        let maps = RefCell::new(Vec::new());
        let found = self.guidance.step(
            &mixed.images,
            mixed.provenance.as_ref().unwrap_or(&unguided(&mixed)?),
            turn.as_ref(),
            |x, why| {
                if !has_maps || why == pg_grad::Forward::Probe {
                    return self.model.forward(x, Mode::from(why));
                }
                let located = self.model.localize(x, &mixed.label_a, Mode::from(why))?;
                maps.borrow_mut().push(located.maps);
                Ok(located.logits)
            },
            |logits| self.loss(logits, &mixed, &maps.borrow()),
        )?;
        let predictions = found.logits.argmax(D::Minus1)?;
        let correct = predictions.eq(&mixed.label_a)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?;
        Ok(TaskStep {
            samples,
            correct: correct as usize,
            loss_cls: found.loss_cls,
            guidance: found.loss_pg.map(|loss| (loss, self.guidance.alpha * loss)),
            gradients: found.gradients,
        })
    }

    fn validation_columns(&self) -> Vec<&'static str> {
        vec![if self.config.masks.is_some() { "val_pxap" } else { "val_v2" }, "val_top1"]
    }

    fn validate(&self) -> Result<Validation, WsolError> {
        let measured = self.evaluator.measure(self.model, &self.dataset.val)?;
        let values = vec![measured.localised(), measured.top1()];
        let selection = match self.config.select {
            Select::ValV2 => Some(values[0]),
            Select::ValTop1 => Some(values[1]),
            Select::Last => None,
        };
        Ok(Validation { values, selection })
    }
}

/// What guides nothing, for a step that takes no turn.
fn unguided(mixed: &Mixed) -> pg_grad::Result<Provenance> {
    let ones = Tensor::ones((mixed.lam.dim(0)?, 1, 1, 1), DType::F32, mixed.lam.device())?;
    Provenance::mixed(&mixed.label_a, &mixed.label_a, &ones)
}

/// What the prefetch thread needs.
struct BatchMaker {
    train: Arc<[Example]>,
    side: u32,
    epoch: usize,
    on_corrupt: OnCorrupt,
    seed: Seed,
    normalise: Normalise,
}

impl BatchMaker {
    /// The batch of these samples; `None` if skipping left none of them, or of several a single one.
    fn make(&self, indices: &[usize]) -> Result<Option<Batch>, WsolError> {
        let loaded: Vec<_> = indices.par_iter().map(|&index| (index, self.load(index))).collect();
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        for (index, image) in loaded {
            match image {
                Ok(image) => {
                    images.push(image);
                    labels.push(self.train[index].label);
                }
                Err(error) if self.on_corrupt == OnCorrupt::Skip => tracing::warn!("skipped: {error}"),
                Err(error) => return Err(error),
            }
        }
        if images.len() < indices.len().min(2) {
            return Ok(None);
        }
        let pixels = self.normalise.batch(&images, &Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        let side = self.side as usize;
        Ok(Some(Batch::new(pixels, 3, side, side, labels)?))
    }

    /// wsolevaluation's transform: squashed to 8/7 of the side (256 of 224), a random crop, a flip with probability 1/2.
    fn load(&self, index: usize) -> Result<RgbImage, WsolError> {
        let picture = self.train[index].picture.load()?;
        let resized = side_before_crop(self.side);
        let image = resize_rgb(&picture, resized, resized);
        let mut rng = self.seed.stream("augment", &[self.epoch as u64, index as u64]);
        let (x, y) = (rng.random_range(0..=resized - self.side), rng.random_range(0..=resized - self.side));
        let cropped = imageops::crop_imm(&image, x, y, self.side, self.side).to_image();
        Ok(if rng.random_bool(0.5) { imageops::flip_horizontal(&cropped) } else { cropped })
    }
}
