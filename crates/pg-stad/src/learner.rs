//! Detection as a task of the training loop: classification of whole videos, that is never told who, where or when.

use std::sync::Arc;

use candle_core::{D, DType, Device, Tensor};
use pg_grad::ops::log_softmax;
use pg_grad::{Forward, Guidance, Provenance, Strategy};
use pg_models::{Mode, Skp};
use pg_random::Seed;
use pg_synth::{Scenes, SkeletonAugment};
use pg_tasks::fingerprint::Fingerprint;
use pg_tasks::prefetch::Prefetch;
use pg_tasks::train::{Batches, Task, TaskStep, Validation};
use rand::seq::SliceRandom;
use rayon::prelude::*;

use crate::dataset::{Dataset, Example};
use crate::error::StadError;
use crate::evaluation::video_accuracy;
use crate::mixing::{Mixed, Mixer};
use crate::sampling::{Cast, Sampling, mirrored};
use crate::settings::{Config, Select};

/// Batches made ahead of the one that trains.
const PREFETCHED: usize = 4;

/// A network, its training clips and its validation split.
pub struct Learner<'a> {
    skp: &'a Skp,
    dataset: &'a Dataset,
    train: Arc<[Example]>,
    guidance: Guidance,
    config: &'a Config,
    mixer: Mixer,
    device: Device,
}

impl<'a> Learner<'a> {
    /// The task of training `skp` on `dataset`.
    pub fn new(skp: &'a Skp, dataset: &'a Dataset, config: &'a Config, device: &Device) -> Self {
        Self {
            skp,
            dataset,
            train: dataset.train.clone().into(),
            guidance: config.guidance.guidance(Strategy::DEFAULT_STEP),
            config,
            mixer: config.mixer(dataset.classes.len()),
            device: device.clone(),
        }
    }

    /// The clips of each batch of an epoch. A last batch of one clip joins the one before it.
    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        let optimisation = &self.config.optimisation;
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        order.shuffle(&mut Seed(optimisation.seed).stream("shuffle", &[epoch as u64]));
        let mut batches: Vec<Vec<usize>> = order.chunks(optimisation.batch).map(<[usize]>::to_vec).collect();
        if optimisation.batch > 1
            && let [.., previous, last] = &mut batches[..]
            && last.len() == 1
        {
            previous.append(last);
            batches.pop();
        }
        batches.truncate(optimisation.limit_batches.unwrap_or(usize::MAX));
        batches
    }

    /// Logits (n, classes), or of each source (n, sources times classes).
    fn logits(&self, points: &Tensor, mixed: &Mixed, why: Forward) -> pg_models::Result<Tensor> {
        let mode = Mode::from(why);
        match &mixed.groups {
            None => self.skp.forward(points, &mixed.layout, mode),
            Some(groups) => {
                let rows = self.skp.forward_groups(points, &mixed.layout, groups, mode)?;
                let n = points.dim(0)?;
                Ok(rows.reshape((n, rows.elem_count() / n))?)
            }
        }
    }

    /// Mean over n of the sum over sources of share times cross-entropy.
    fn loss(&self, logits: &Tensor, mixed: &Mixed) -> pg_grad::Result<Tensor> {
        let classes = self.dataset.classes.len();
        let mut total: Option<Tensor> = None;
        for (source, (labels, shares)) in mixed.labels.iter().zip(&mixed.shares).enumerate() {
            let start = if mixed.groups.is_some() { source * classes } else { 0 };
            let log_probabilities = log_softmax(&logits.narrow(1, start, classes)?.contiguous()?, 1)?;
            let of_label = log_probabilities.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?;
            let term = (of_label * shares)?;
            total = Some(match total {
                Some(total) => (total + term)?,
                None => term,
            });
        }
        let total = total.ok_or(candle_core::Error::Msg("a mix of no sources".into()))?;
        Ok(total.mean_all()?.neg()?)
    }
}

impl Task for Learner<'_> {
    type Batch = Scenes;
    type Error = StadError;

    fn fingerprint(&self) -> Fingerprint {
        self.dataset.fingerprint()
    }

    fn steps_per_epoch(&self) -> usize {
        self.plan(0).len()
    }

    fn batches(&self, epoch: usize, skip: usize) -> Batches<Scenes, StadError> {
        let plan: Vec<Vec<usize>> = self.plan(epoch).into_iter().skip(skip).collect();
        let maker = BatchMaker {
            train: Arc::clone(&self.train),
            sampling: self.config.sampling(),
            keypoints: self.dataset.keypoints,
            augment: self.config.augment(),
            epoch,
            seed: Seed(self.config.optimisation.seed),
        };
        Prefetch::new(plan.len(), PREFETCHED, move |index| maker.make(&plan[index]))
    }

    fn step(&self, batch: Scenes, step: u64) -> Result<TaskStep, StadError> {
        let (samples, seed) = (batch.len(), Seed(self.config.optimisation.seed));
        let epoch = step as usize / self.steps_per_epoch().max(1);
        let mixed = self.mixer.mix(&batch, epoch, step, &self.device)?;
        let turn = match &mixed.provenance {
            Some(_) if self.config.guidance.is_on() => {
                self.guidance.lazy.turn(step, mixed.points.dim(0)?, seed)
            }
            _ => None,
        };
        let nothing;
        let provenance = match &mixed.provenance {
            Some(provenance) => provenance,
            None => {
                nothing = unguided(&mixed)?;
                &nothing
            }
        };
        let found = self.guidance.step(
            &mixed.points,
            provenance,
            turn.as_ref(),
            |points, why| self.logits(points, &mixed, why),
            |logits| self.loss(logits, &mixed),
        )?;
        let first = found.logits.narrow(1, 0, self.dataset.classes.len())?.contiguous()?;
        let right = first.argmax(D::Minus1)?.eq(&mixed.labels[0])?.to_dtype(DType::F32)?;
        let right = right.sum_all()?.to_scalar::<f32>()?;
        // Of a mix of several only the first source is asked for.
        let correct = f64::from(right) * samples as f64 / mixed.points.dim(0)? as f64;
        Ok(TaskStep {
            samples,
            correct: correct.round() as usize,
            loss_cls: found.loss_cls,
            guidance: found.loss_pg.map(|loss| (loss, self.guidance.alpha * loss)),
            gradients: found.gradients,
        })
    }

    fn validation_columns(&self) -> Vec<&'static str> {
        vec!["val_top1"]
    }

    fn validate(&self) -> Result<Validation, StadError> {
        let top1 = video_accuracy(self.skp, &self.dataset.val, self.config.sampling(), &self.device)?;
        let selection = match self.config.select {
            Select::ValTop1 => Some(top1),
            Select::Last => None,
        };
        Ok(Validation { values: vec![top1], selection })
    }
}

/// What guides nothing, for a step that takes no turn.
fn unguided(mixed: &Mixed) -> pg_grad::Result<Provenance> {
    let ones = Tensor::ones((mixed.points.dim(0)?, 1, 1, 1), DType::F32, mixed.points.device())?;
    Provenance::sources(&[(mixed.labels[0].clone(), ones)])
}

/// What the prefetch thread needs.
struct BatchMaker {
    train: Arc<[Example]>,
    sampling: Sampling,
    keypoints: usize,
    augment: Option<SkeletonAugment>,
    epoch: usize,
    seed: Seed,
}

impl BatchMaker {
    /// The scenes of these clips. A clip of which the drawn frames show nobody shows its first frame with someone.
    fn make(&self, indices: &[usize]) -> Result<Option<Scenes>, StadError> {
        let mirrored = mirrored(self.keypoints);
        let scenes: Vec<_> = indices
            .par_iter()
            .map(|&index| {
                let clip = &self.train[index].clip;
                let cast = Cast::new(clip);
                let mut rng = self.seed.stream("augment", &[self.epoch as u64, index as u64]);
                let frames = self.sampling.random_frames(clip, &mut rng);
                let all = 0..clip.frames;
                let mut scene = self.sampling.scene(&cast, &frames, &all, self.keypoints).scene;
                if let Some(augment) = &self.augment {
                    let aspect = clip.width as f32 / clip.height as f32;
                    augment.apply(&mut scene, &mirrored, aspect, &mut rng);
                }
                if !scene.valid.contains(&true) {
                    let someone = self.sampling.frames_with_people(&cast);
                    scene = self.sampling.scene(&cast, &someone, &all, self.keypoints).scene;
                }
                scene
            })
            .collect();
        let labels = indices.iter().map(|&index| self.train[index].label).collect();
        Ok(Some(Scenes::new(&scenes, (self.sampling.slots(), self.keypoints), labels)?))
    }
}
