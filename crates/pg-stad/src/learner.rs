//! Detection as a task of the training loop: classification of whole videos, that is never told who, where or when.

use std::sync::Arc;

use candle_core::{D, DType, Device, Tensor};
use pg_grad::{Forward, Guidance, Provenance, Strategy};
use pg_models::{Mode, Skp};
use pg_random::Seed;
use pg_synth::{Scenes, SkeletonAugment};
use pg_tasks::fingerprint::Fingerprint;
use pg_tasks::prefetch::Prefetch;
use pg_tasks::train::{Batches, Task, TaskStep, Validation};
use rayon::prelude::*;

use crate::dataset::{Dataset, Example};
use crate::error::StadError;
use crate::evaluation::video_accuracy;
use crate::loss::one_hot;
use crate::mixing::{Mixed, Mixer, Structure};
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
    steps_per_epoch: usize,
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
            steps_per_epoch: config.optimisation.epoch_batches(dataset.train.len(), 0).len(),
            device: device.clone(),
        }
    }

    /// The clips of each batch of an epoch.
    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        self.config.optimisation.epoch_batches(self.train.len(), epoch)
    }

    /// Logits (n, classes), or of each source and then of the whole (n, (sources + 1) times classes).
    fn logits(&self, points: &Tensor, structure: &Structure, why: Forward) -> pg_models::Result<Tensor> {
        let Structure { layout, groups } = structure;
        match groups {
            None => self.skp.forward(points, layout, Mode::from(why)),
            Some(groups) => {
                let rows = self.skp.forward_groups(points, layout, groups, Mode::from(why))?;
                let n = points.dim(0)?;
                Ok(rows.reshape((n, rows.elem_count() / n))?)
            }
        }
    }

    /// Mean over n: of the whole scene, or where each source has logits of its own, of the sum of theirs by share.
    fn loss(&self, logits: &Tensor, mixed: &Mixed) -> pg_grad::Result<Tensor> {
        let (loss, classes) = (self.config.loss, self.dataset.classes.len());
        if mixed.structure.groups.is_none() {
            return Ok(loss.of(logits, &loss.targets(&mixed.shares_of_classes(classes)?)?)?.mean_all()?);
        }
        let mut total = Tensor::zeros(logits.dim(0)?, DType::F32, logits.device())?;
        for (source, (labels, shares)) in mixed.labels.iter().zip(&mixed.shares).enumerate() {
            let own = logits.narrow(1, source * classes, classes)?.contiguous()?;
            total = (total + (loss.of(&own, &one_hot(labels, classes)?)? * shares)?)?;
        }
        Ok(total.mean_all()?)
    }
}

impl Task for Learner<'_> {
    type Batch = Scenes;
    type Error = StadError;

    fn fingerprint(&self) -> Fingerprint {
        self.dataset.fingerprint()
    }

    fn steps_per_epoch(&self) -> usize {
        self.steps_per_epoch
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
        let epoch = step as usize / self.steps_per_epoch.max(1);
        let mixed = self.mixer.mix(&batch, epoch, step, &self.device)?;
        let turn = match &mixed.provenance {
            Some(_) if self.config.guidance.is_on() => {
                self.guidance.lazy.turn(step, mixed.points.dim(0)?, seed)
            }
            _ => None,
        };
        // Where only some mixes are guided, these pass through the network once more by themselves.
        let some = match turn.as_ref().and_then(|turn| turn.samples.as_ref()) {
            Some(samples) => Some(mixed.structure_of(samples)?),
            None => None,
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
            |points, why| match (&some, why) {
                (Some(some), Forward::Probe) => self.logits(points, some, why),
                _ => self.logits(points, &mixed.structure, why),
            },
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
    /// The scenes of these clips. Where the drawn frames show nobody, or augmentation leaves nobody, the scene has the first
    /// frames with someone, as they are.
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
                    augment.apply(&mut scene, self.keypoints, &mirrored, aspect, &mut rng);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Loss;
    use crate::samples::{clip, names, network, person, right_or_left};
    use crate::settings::{Settings, SynthName, TargetName};
    use candle_core::Var;
    use pg_cli::choices::StrategyName;

    /// Clips of class 0 on the right and of class 1 on the left, in turn; someone is in frame 0 alone.
    fn dataset(count: usize) -> Dataset {
        let example = |index: usize| {
            let x = 0.5 - (index % 2) as f32;
            Example {
                clip: clip(&format!("v{index}"), 40, vec![person(0, x, 0.0)]),
                label: (index % 2) as u32,
            }
        };
        let train: Vec<Example> = (0..count).map(example).collect();
        let classes = names(&["right", "left"]);
        Dataset {
            name: "two".into(),
            classes,
            keypoints: 1,
            val: train.clone(),
            train,
            test: vec![],
            truth: vec![],
        }
    }

    fn config(change: impl Fn(&mut Settings)) -> Config {
        let mut settings =
            Settings { frames: Some(2), people: Some(1), augment: Some(false), ..Settings::default() };
        (settings.optimisation.batch, settings.optimisation.epochs) = (Some(4), Some(3));
        change(&mut settings);
        settings.resolve().unwrap()
    }

    fn with_learner<T>(count: usize, config: &Config, work: impl Fn(&Learner) -> T) -> T {
        let (skp, dataset) = (right_or_left(), dataset(count));
        work(&Learner::new(&skp, &dataset, config, &Device::Cpu))
    }

    #[test]
    fn an_epoch_has_every_clip_once_and_no_batch_of_one() {
        for (count, sizes) in [(8, &[4, 4][..]), (9, &[4, 5]), (10, &[4, 4, 2]), (3, &[3]), (1, &[1])] {
            with_learner(count, &config(|_| {}), |learner| {
                let plan = learner.plan(1);
                assert_eq!(plan.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
                let mut clips = plan.concat();
                clips.sort_unstable();
                assert_eq!(clips, (0..count).collect::<Vec<_>>());
                assert_eq!((plan.clone(), plan.len()), (learner.plan(1), learner.steps_per_epoch()));
            });
        }
        with_learner(40, &config(|_| {}), |learner| assert_ne!(learner.plan(0), learner.plan(1)));
        let limited = config(|settings| settings.optimisation.limit_batches = Some(2));
        with_learner(40, &limited, |learner| assert_eq!(learner.plan(0).len(), 2));
        let alone = config(|settings| settings.optimisation.batch = Some(1));
        with_learner(5, &alone, |learner| assert_eq!(learner.plan(0).len(), 5));
    }

    #[test]
    fn an_epoch_goes_on_where_it_stopped() {
        let config = config(|settings| settings.augment = Some(true));
        with_learner(11, &config, |learner| {
            let batches = |skip| {
                learner.batches(2, skip).unwrap().map(|batch| batch.unwrap().unwrap()).collect::<Vec<_>>()
            };
            assert_eq!(batches(0)[1..], batches(1)[..]);
            assert_eq!(batches(0).len(), 3);
            // Whichever frames were drawn, someone is seen.
            let seen = |batch: &Scenes| batch.valid().chunks_exact(2).all(|scene| scene.contains(&true));
            assert!(batches(0).iter().all(seen));
        });
    }

    fn maker(learner: &Learner, config: &Config) -> BatchMaker {
        BatchMaker {
            train: Arc::clone(&learner.train),
            sampling: config.sampling(),
            keypoints: 1,
            augment: None,
            epoch: 0,
            seed: Seed(0),
        }
    }

    /// The loss of the network, whose logits are the greatest x and -x, on a batch of labels 0 and 1 in turn.
    fn loss(config: &Config, labels: &[u32]) -> f64 {
        with_learner(4, config, |learner| {
            let all: Vec<usize> = labels.iter().map(|&label| label as usize).collect();
            let batch = maker(learner, config).make(&all).unwrap().unwrap();
            let mixed = learner.mixer.mix(&batch, 1, 0, &Device::Cpu).unwrap();
            let points = Var::from_tensor(&mixed.points).unwrap();
            let logits = learner.logits(&points, &mixed.structure, Forward::Main).unwrap();
            f64::from(learner.loss(&logits, &mixed).unwrap().to_scalar::<f32>().unwrap())
        })
    }

    fn mixes(settings: &mut Settings, target: TargetName) {
        (settings.synth, settings.target, settings.mix_start) =
            (Some(SynthName::Batchmix), Some(target), Some(0));
    }

    #[test]
    fn the_loss_is_of_the_classes_that_are_there() {
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        let of = |kind: Loss, change: &dyn Fn(&mut Settings)| {
            config(|settings| {
                settings.loss = Some(kind);
                change(settings);
            })
        };
        // Logits 0.5 and -0.5: a class against the other, or both by themselves. Of a mix both logits are 0.5; unmixed, each
        // source has its own.
        let (one, each) = ((1.0 + (-1.0_f64).exp()).ln(), 2.0 * (1.0 + (-0.5_f64).exp()).ln());
        for (kind, alone, soft) in [(Loss::CrossEntropy, one, 2.0_f64.ln()), (Loss::Bce, each, each)] {
            close(loss(&of(kind, &|_| {}), &[0, 1, 0, 1]), alone);
            let mixed = of(kind, &|settings| mixes(settings, TargetName::Soft));
            close(loss(&mixed, &[0, 1]), soft);
            // What is missing in the last mix has no part.
            close(loss(&mixed, &[0, 1, 0]), (soft + alone) / 2.0);
            let unmixed = of(kind, &|settings| mixes(settings, TargetName::Unmix));
            close(loss(&unmixed, &[0, 1]), alone);
            close(loss(&unmixed, &[0, 1, 0]), alone);
        }
    }

    #[test]
    fn a_step_counts_clips_and_guides_mixes_alone() {
        let guided = |target| {
            config(move |settings| {
                mixes(settings, target);
                (settings.mix_start, settings.guidance.alpha) = (Some(1), Some(2.0));
            })
        };
        for target in [TargetName::Soft, TargetName::Unmix] {
            with_learner(8, &guided(target), |learner| {
                let batch = |epoch| learner.batches(epoch, 0).unwrap().next().unwrap().unwrap().unwrap();
                let alone = learner.step(batch(0), 0).unwrap();
                assert_eq!((alone.samples, alone.correct, alone.guidance), (4, 4, None));
                // The second epoch has steps 2 and 3.
                let mixed = learner.step(batch(1), 2).unwrap();
                let (loss, weighted) = mixed.guidance.unwrap();
                // Each class depends on its own people alone, whoever is mixed in.
                assert_eq!((mixed.samples, loss, weighted), (4, 0.0, 0.0));
            });
        }
    }

    #[test]
    fn guidance_sees_what_others_add_to_the_scene_whatever_its_target() {
        // Class 0 is the greatest column and the greatest row, class 1 the least column. Who is of class 1 stands lower.
        let skp = network(&[(0, 1.0), (0, -1.0), (1, 1.0)], &[&[0, 2], &[1]]);
        let mut dataset = dataset(4);
        for example in &mut dataset.train {
            let label = example.label as f32;
            example.clip.instances = vec![person(0, 0.5 - label, 0.25 * label)];
        }
        for target in [TargetName::Soft, TargetName::Unmix] {
            for strategy in [StrategyName::Exact, StrategyName::FiniteDifference] {
                let config = config(|settings| {
                    mixes(settings, target);
                    (settings.guidance.alpha, settings.guidance.strategy) = (Some(1.0), Some(strategy));
                });
                let learner = Learner::new(&skp, &dataset, &config, &Device::Cpu);
                let batch = maker(&learner, &config).make(&[0, 1, 2, 3]).unwrap().unwrap();
                // In both mixes class 0 has its row from the other, with a gradient of 1.
                let (loss, _) = learner.step(batch, 2).unwrap().guidance.unwrap();
                assert!((loss - 1.0).abs() < 1e-6, "{target:?} {strategy:?}: {loss}");
            }
        }
    }

    #[test]
    fn validation_selects_if_asked_to() {
        with_learner(4, &config(|_| {}), |learner| {
            let found = learner.validate().unwrap();
            assert_eq!((found.values, found.selection), (vec![1.0], Some(1.0)));
        });
        with_learner(4, &config(|settings| settings.select = Some(Select::Last)), |learner| {
            assert_eq!(learner.validate().unwrap().selection, None);
        });
    }

    /// In a mix of two classes class 0 has its row from the other, with a gradient of 1; in a mix of one class it has not.
    #[test]
    fn a_share_of_the_mixes_can_be_guided_by_either_strategy() {
        let skp = network(&[(0, 1.0), (0, -1.0), (1, 1.0)], &[&[0, 2], &[1]]);
        let mut dataset = dataset(2);
        for example in &mut dataset.train {
            let label = example.label as f32;
            example.clip.instances = vec![person(0, 0.5 - label, 0.25 * label)];
        }
        for target in [TargetName::Soft, TargetName::Unmix] {
            for strategy in [StrategyName::Exact, StrategyName::FiniteDifference] {
                let config = config(|settings| {
                    mixes(settings, target);
                    settings.guidance.strategy = Some(strategy);
                    (settings.guidance.alpha, settings.guidance.fraction) = (Some(1.0), Some(0.5));
                });
                let learner = Learner::new(&skp, &dataset, &config, &Device::Cpu);
                let batch = maker(&learner, &config).make(&[0, 1, 0, 0, 0, 1, 1, 1]).unwrap().unwrap();
                let losses: Vec<f64> = (0..20)
                    .map(|step| {
                        let seed = Seed(config.optimisation.seed);
                        let turn = learner.guidance.lazy.turn(step, 4, seed).unwrap();
                        let mixes = turn.samples.clone().unwrap();
                        let leaks = mixes.iter().filter(|mix| [0, 2].contains(*mix)).count();
                        let found = learner.step(batch.clone(), step).unwrap();
                        let (loss, expected) = (found.guidance.unwrap().0, leaks as f64 / mixes.len() as f64);
                        assert!((loss - expected).abs() < 1e-6, "{mixes:?} {loss}");
                        loss
                    })
                    .collect();
                assert!(losses.contains(&0.0) && losses.iter().any(|loss| *loss > 0.9), "{losses:?}");
            }
        }
    }
}
