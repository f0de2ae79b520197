//! What is run: sets, strengths, epochs, seeds and experiments, as data.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::report::Metric;
use super::train::{Lazy, Mask, Norm, Run, Samples, Synth, Task};

/// The image sets, in the order of the report.
const SETS: [Set; 10] = [
    Set {
        dataset: "embedded",
        task: Task::Classification,
        title: "Embedded set: animals with a spurious cue",
        images: Images::Drawn,
        headline: Metric::WorstGroup,
        alpha: 10.0,
        norm: Norm::SquaredL2,
        full: Budget { epochs: 16, seeds: 7, sweep_seeds: 3 },
        quick: Some(Budget { epochs: 12, seeds: 3, sweep_seeds: 3 }),
        by_name: false,
        experiments: &Experiment::OF_EDITS,
        wrong_masks_help: false,
        pretraining: None,
        paper: None,
    },
    Set {
        dataset: "decoy-mnist",
        task: Task::Classification,
        title: "Decoy-MNIST: digits with a grey patch that gives the class away in training",
        images: Images::Files {
            folders: &["", "mnist", "mnist10k", "MNIST/raw"],
            marker: "t10k-images-idx3-ubyte",
            beside: None,
        },
        headline: Metric::Top1,
        alpha: 1.0,
        norm: Norm::SquaredL2,
        full: Budget { epochs: 15, seeds: 3, sweep_seeds: 3 },
        quick: None,
        by_name: false,
        experiments: &[Experiment::Masks, Experiment::Lazy],
        wrong_masks_help: true,
        pretraining: None,
        paper: None,
    },
    Set {
        dataset: "waterbirds-alia",
        task: Task::Classification,
        title: "Waterbirds with ALIA's edits",
        images: Images::Files {
            folders: &["waterbirds-alia", "waterbirds_v1.0", "waterbird_complete95_forest2water2"],
            marker: "metadata.csv",
            beside: Some(Beside::Edits),
        },
        headline: Metric::Balanced,
        alpha: 0.05,
        norm: Norm::SquaredL2,
        full: Budget { epochs: 30, seeds: 3, sweep_seeds: 3 },
        quick: None,
        by_name: false,
        experiments: &[Experiment::Table],
        wrong_masks_help: false,
        pretraining: None,
        paper: Some([0.622, 0.714, 0.807]),
    },
    Set {
        dataset: "iwildcam-alia",
        task: Task::Classification,
        title: "iWildCam with ALIA's edits",
        images: Images::Files {
            folders: &["iwildcam-alia", "iwildcam_v2.0"],
            marker: "train_subset.csv",
            beside: Some(Beside::Edits),
        },
        headline: Metric::Top1,
        alpha: 0.05,
        norm: Norm::SquaredL2,
        full: Budget { epochs: 30, seeds: 3, sweep_seeds: 3 },
        quick: None,
        by_name: false,
        experiments: &[Experiment::Table],
        wrong_masks_help: false,
        pretraining: None,
        paper: Some([0.750, 0.835, 0.844]),
    },
    Set {
        dataset: "cub",
        task: Task::Classification,
        title: "CUB-200-2011 with ALIA's edits",
        images: Images::Files {
            folders: &["cub", "CUB_200_2011"],
            marker: "images.txt",
            beside: Some(Beside::Edits),
        },
        headline: Metric::Top1,
        alpha: 0.05,
        norm: Norm::SquaredL2,
        full: Budget { epochs: 30, seeds: 3, sweep_seeds: 3 },
        quick: None,
        by_name: false,
        experiments: &[Experiment::Table],
        wrong_masks_help: false,
        pretraining: None,
        paper: Some([0.708, 0.717, 0.720]),
    },
    Set {
        dataset: "localization",
        task: Task::Localization,
        title: "Embedded localisation set: animals anywhere, to be found without boxes",
        images: Images::Drawn,
        headline: Metric::V2,
        alpha: 2.0,
        norm: Norm::Relative,
        full: Budget { epochs: 30, seeds: 3, sweep_seeds: 3 },
        quick: None,
        by_name: true,
        experiments: &[Experiment::Mixes, Experiment::Masks, Experiment::Convergence],
        wrong_masks_help: false,
        pretraining: None,
        paper: None,
    },
    Set {
        dataset: "localization-sat",
        task: Task::Localization,
        title: "Embedded localisation set, localised by a small SAT behind pretrained convolutions",
        images: Images::Drawn,
        headline: Metric::V2,
        alpha: 2.0,
        norm: Norm::Relative,
        full: Budget { epochs: 10, seeds: 3, sweep_seeds: 3 },
        quick: None,
        by_name: true,
        experiments: &[Experiment::Mixes],
        wrong_masks_help: false,
        pretraining: Some(30),
        paper: None,
    },
    Set {
        dataset: "cub-localization",
        task: Task::Localization,
        title: "CUB-200-2011, localised by VGG16 without boxes",
        images: Images::Files {
            folders: &["cub", "CUB_200_2011"],
            marker: "images",
            beside: Some(Beside::Metadata),
        },
        headline: Metric::V2,
        alpha: 0.05,
        norm: Norm::SquaredL2,
        full: Budget { epochs: 50, seeds: 3, sweep_seeds: 3 },
        quick: None,
        by_name: true,
        experiments: &[Experiment::Mixes, Experiment::Masks],
        wrong_masks_help: false,
        pretraining: None,
        paper: None,
    },
    Set {
        dataset: "skeletons",
        task: Task::Detection,
        title: "Embedded skeletons: who acts, where and when, learnt from one label a clip",
        images: Images::Drawn,
        headline: Metric::VideoMap50,
        alpha: 0.3,
        norm: Norm::Relative,
        full: Budget { epochs: 60, seeds: 3, sweep_seeds: 3 },
        quick: None,
        by_name: true,
        experiments: &[Experiment::Mixes, Experiment::Masks],
        wrong_masks_help: false,
        pretraining: None,
        paper: None,
    },
    Set {
        dataset: "ucf101-24",
        task: Task::Detection,
        title: "UCF101-24 from skeletons, learnt from one label a video",
        images: Images::Files { folders: &["ucf101-24", "UCF101-24"], marker: "train.jsonl", beside: None },
        headline: Metric::VideoMap50,
        alpha: 0.05,
        norm: Norm::SquaredL2,
        full: Budget { epochs: 40, seeds: 3, sweep_seeds: 3 },
        quick: None,
        by_name: true,
        experiments: &[Experiment::Mixes, Experiment::Masks],
        wrong_masks_help: false,
        pretraining: None,
        paper: None,
    },
];

/// The range in which the paper calls the strength uncritical.
pub(crate) const STABLE_ALPHAS: (f64, f64) = (0.01, 0.09);
const ALPHAS: [f64; 9] = [0.01, 0.03, 0.05, 0.07, 0.09, 0.3, 1.0, 10.0, 100.0];
const QUICK_ALPHAS: [f64; 3] = [0.09, 1.0, 10.0];
/// Of the squared norm of all of the gradient, on the sets that are else guided by its share elsewhere.
const FULL_MASK_ALPHA: f64 = 0.001;
const MASK_AREAS: [f64; 5] = [0.7, 0.9, 1.0, 1.1, 1.3];
const LAZY: [Lazy; 5] =
    [Lazy::Never, Lazy::EverySteps(2), Lazy::EverySteps(4), Lazy::Fraction(0.5), Lazy::Fraction(0.25)];
const QUICK_LAZY: [Lazy; 2] = [Lazy::Never, Lazy::EverySteps(4)];
const QUICK_MASK_AREAS: [f64; 3] = [0.7, 1.0, 1.3];

/// An image set as the table above has it.
struct Set {
    dataset: &'static str,
    task: Task,
    title: &'static str,
    images: Images,
    /// What the experiments are judged by.
    headline: Metric,
    alpha: f64,
    /// The relative one where the paper's, made strong, flattens the scores rather than moving what they depend on.
    norm: Norm,
    full: Budget,
    /// None: left out of `--quick`, unless asked for by name.
    quick: Option<Budget>,
    /// Left out of everything that does not ask for it by name: it takes longer than all others.
    by_name: bool,
    experiments: &'static [Experiment],
    /// Whether a random and a full mask are expected between no guidance and the true mask, not only below the latter:
    /// so where the spurious cue is concentrated in a small region, which any penalty on the gradient weakens.
    wrong_masks_help: bool,
    /// Epochs of a small VGG on images alone, with whose convolutions a SAT begins; other networks have none.
    pretraining: Option<usize>,
    /// The paper's accuracies without edits, with edits, and with guidance.
    paper: Option<[f64; 3]>,
}

#[derive(Clone, Copy)]
struct Budget {
    epochs: usize,
    /// Seeds of an experiment that compares a few rows.
    seeds: u64,
    /// Seeds of an experiment that sweeps a number over many rows: the first ones of the others, whose runs it shares.
    sweep_seeds: u64,
}

impl Budget {
    fn seeds_of(self, experiment: Experiment) -> u64 {
        match experiment {
            Experiment::MaskSize | Experiment::Alpha => self.sweep_seeds,
            _ => self.seeds,
        }
    }
}

/// Where a set's images come from.
#[derive(Clone, Copy)]
enum Images {
    /// The program draws them.
    Drawn,
    /// Files, in the first of these folders of the data root that holds one whose name starts with `marker`.
    Files { folders: &'static [&'static str], marker: &'static str, beside: Option<Beside> },
}

/// What else a set's folder holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// A [`MANIFEST`] of edits, which are files, too.
    Edits,
    /// [`METADATA`]: the lists of wsolevaluation; the images are in [`IMAGES`].
    Metadata,
}

/// The manifest of a set's edits.
const MANIFEST: &str = "edits.csv";
/// The folder of wsolevaluation's lists.
const METADATA: &str = "metadata";
/// The folder of the images that they list.
const IMAGES: &str = "images";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Experiment {
    Table,
    Mixes,
    Masks,
    MaskSize,
    Alpha,
    Lazy,
    Convergence,
}

impl Experiment {
    const ALL: [Self; 7] =
        [Self::Table, Self::Mixes, Self::Masks, Self::MaskSize, Self::Alpha, Self::Lazy, Self::Convergence];
    /// Those of a classifier that is trained on edits.
    const OF_EDITS: [Self; 6] =
        [Self::Table, Self::Masks, Self::MaskSize, Self::Alpha, Self::Lazy, Self::Convergence];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Mixes => "mixes",
            Self::Masks => "masks",
            Self::MaskSize => "mask-size",
            Self::Alpha => "alpha",
            Self::Lazy => "lazy",
            Self::Convergence => "convergence",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Table => "Do edits help, and does guidance help beyond them?",
            Self::Mixes => "Does guidance by the mix localise better?",
            Self::Masks => "Does the mask matter?",
            Self::MaskSize => "How exact must the mask be?",
            Self::Alpha => "How strong should the guidance be?",
            Self::Lazy => "Can guidance be had for less?",
            Self::Convergence => "How soon is the unguided run's best reached?",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Full,
    Quick,
}

/// Where the files of a set lie; nowhere if the program draws it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Files {
    /// The folder of its images.
    pub(crate) root: Option<PathBuf>,
    /// The manifest of its edits.
    pub(crate) edits: Option<PathBuf>,
    /// The folder of its lists of images and boxes.
    pub(crate) metadata: Option<PathBuf>,
}

/// What is run on one image set.
pub(crate) struct SetPlan {
    pub(crate) dataset: &'static str,
    pub(crate) task: Task,
    pub(crate) title: &'static str,
    pub(crate) headline: Metric,
    pub(crate) alpha: f64,
    pub(crate) norm: Norm,
    pub(crate) epochs: usize,
    /// Epochs of the runs that these begin with.
    pub(crate) pretraining: Option<usize>,
    /// Whether its budget is that of a quick look.
    pub(crate) is_quick: bool,
    /// Whether the masks experiment expects wrong masks above no guidance.
    pub(crate) wrong_masks_help: bool,
    pub(crate) experiments: Vec<(Experiment, Vec<RowPlan>)>,
    images: Images,
    left_out: bool,
}

/// One row of an experiment's table: the same run over all seeds.
pub(crate) struct RowPlan {
    pub(crate) label: String,
    /// What the experiment varies, where it is a number.
    pub(crate) x: Option<f64>,
    /// The paper's number for this row.
    pub(crate) paper: Option<f64>,
    /// The run at seed 0.
    run: Run,
    seeds: u64,
}

impl RowPlan {
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> {
        (0..self.seeds).map(|seed| Run { seed, ..self.run.clone() })
    }
}

/// The plans at `scale`, of all or of those sets and experiments that `only` names.
pub(crate) fn select(scale: Scale, only: Option<&str>) -> anyhow::Result<Vec<SetPlan>> {
    let left_out = |set: &Set| set.by_name || (scale == Scale::Quick && set.quick.is_none());
    let Some(name) = only else {
        return Ok(SETS.iter().map(|set| set.plan(scale, set.experiments, left_out(set))).collect());
    };
    if let Some(set) = SETS.iter().find(|set| set.dataset == name) {
        return Ok(vec![set.plan(scale, set.experiments, false)]);
    }
    let Some(experiment) = Experiment::ALL.into_iter().find(|experiment| experiment.name() == name) else {
        let names =
            Experiment::ALL.map(Experiment::name).into_iter().chain(SETS.iter().map(|set| set.dataset));
        bail!("--only {name}: no such experiment or set; there are {}", names.collect::<Vec<_>>().join(", "));
    };
    let having: Vec<&Set> = SETS.iter().filter(|set| set.experiments.contains(&experiment)).collect();
    // An experiment that is made on such sets alone has been asked for by name, too; but that is no quick look.
    let all_left_out = scale == Scale::Full && having.iter().all(|set| left_out(set));
    Ok(having.iter().map(|set| set.plan(scale, &[experiment], left_out(set) && !all_left_out)).collect())
}

impl Set {
    fn plan(&self, scale: Scale, experiments: &[Experiment], left_out: bool) -> SetPlan {
        let (scale, budget) = match (scale, self.quick) {
            (Scale::Quick, Some(quick)) => (Scale::Quick, quick),
            _ => (Scale::Full, self.full),
        };
        SetPlan {
            dataset: self.dataset,
            task: self.task,
            title: self.title,
            headline: self.headline,
            alpha: self.alpha,
            norm: self.norm,
            epochs: budget.epochs,
            pretraining: self.pretraining,
            is_quick: scale == Scale::Quick,
            wrong_masks_help: self.wrong_masks_help,
            experiments: experiments.iter().map(|&e| (e, self.rows(e, scale, budget))).collect(),
            images: self.images,
            left_out,
        }
    }

    fn rows(&self, experiment: Experiment, scale: Scale, budget: Budget) -> Vec<RowPlan> {
        let (epochs, seeds) = (budget.epochs, budget.seeds_of(experiment));
        let row = |label: &str, run: Run| RowPlan { label: label.into(), x: None, paper: None, run, seeds };
        // Where images are mixed, CutMix stands for all ways.
        let guided = |alpha: f64| match self.task {
            Task::Classification => self.normed(Run::guided(self.dataset, alpha, epochs, 0)),
            Task::Localization => self.mixed(Synth::Cut, alpha, epochs),
            Task::Detection => self.mixed(Synth::Batch, alpha, epochs),
        };
        let unguided = || guided(0.0);
        match experiment {
            Experiment::Table => {
                let mut rows = [
                    row(label::BASELINE, Run::baseline(self.dataset, epochs, 0)),
                    row(label::EDITS, unguided()),
                    row(label::GUIDED, guided(self.alpha)),
                ];
                for (index, row) in rows.iter_mut().enumerate() {
                    row.paper = self.paper.map(|paper| paper[index]);
                }
                rows.into()
            }
            Experiment::Mixes => self.mixes(epochs, seeds),
            Experiment::Masks => {
                let masked = |mask| Run { mask, ..guided(self.alpha) };
                let full = match self.norm {
                    Norm::SquaredL2 => masked(Mask::Full),
                    // Nothing is target: a share of all is always 1, and only the norm itself can be made small.
                    Norm::Relative => {
                        Run { alpha: FULL_MASK_ALPHA, norm: Norm::SquaredL2, ..masked(Mask::Full) }
                    }
                };
                vec![
                    row(label::UNGUIDED, unguided()),
                    row(label::RANDOM, masked(Mask::Random)),
                    row(label::FULL, full),
                    row(label::TRUE, masked(Mask::True)),
                ]
            }
            Experiment::MaskSize => {
                let areas = if scale == Scale::Quick { &QUICK_MASK_AREAS[..] } else { &MASK_AREAS };
                let sized = |&area: &f64| {
                    let run = Run { mask_area: area, ..guided(self.alpha) };
                    RowPlan { x: Some(area), ..row(&format!("area x {area}"), run) }
                };
                areas.iter().map(sized).collect()
            }
            Experiment::Alpha => {
                let alphas = if scale == Scale::Quick { &QUICK_ALPHAS[..] } else { &ALPHAS };
                let strong = |&alpha: &f64| RowPlan {
                    x: Some(alpha),
                    ..row(&format!("alpha {alpha}"), guided(alpha))
                };
                std::iter::once(row(label::UNGUIDED, unguided())).chain(alphas.iter().map(strong)).collect()
            }
            Experiment::Lazy => {
                let ways = if scale == Scale::Quick { &QUICK_LAZY[..] } else { &LAZY };
                let lazy = |&lazy: &Lazy| row(&lazy.to_string(), Run { lazy, ..guided(self.alpha) });
                ways.iter().map(lazy).collect()
            }
            Experiment::Convergence => {
                vec![row(label::UNGUIDED, unguided()), row(label::TRUE, guided(self.alpha))]
            }
        }
    }
}

impl Set {
    /// Samples alone, and each way to mix them without and with guidance.
    fn mixes(&self, epochs: usize, seeds: u64) -> Vec<RowPlan> {
        let row = |label: &str, paper, run| RowPlan { label: label.into(), x: None, paper, run, seeds };
        let (ways, alone, of_paper) = match self.task {
            Task::Detection => (&[Synth::Batch][..], label::CLIPS_ALONE, self.paper_of_clips_alone()),
            _ => (&Synth::OF_IMAGES[..], label::ALONE, None),
        };
        let unmixed = Run { samples: Samples::Originals, ..self.mixed(ways[0], 0.0, epochs) };
        let mut rows = vec![row(alone, of_paper, Run { recipe: self.recipe(None), ..unmixed })];
        for &synth in ways {
            let (without, with) = self.paper_of_mixes(synth).unzip();
            let name = synth.to_string();
            rows.push(row(&name, without, self.mixed(synth, 0.0, epochs)));
            rows.push(row(&label::with_guidance(&name), with, self.mixed(synth, self.alpha, epochs)));
        }
        if self.task == Task::Detection && matches!(self.images, Images::Drawn) {
            let of_logits = Run { recipe: None, ..self.mixed(Synth::Batch, 0.0, epochs) };
            rows.push(row(label::OF_LOGITS, None, of_logits));
        }
        rows
    }

    fn mixed(&self, synth: Synth, alpha: f64, epochs: usize) -> Run {
        let run = Run::mixes(self.dataset, synth, alpha, epochs, 0);
        self.normed(Run { recipe: self.recipe(Some(synth)), pretraining: self.pretraining, ..run })
    }

    /// What guides nothing has no norm of its own, so that equal runs are equal.
    fn normed(&self, run: Run) -> Run {
        if run.alpha > 0.0 { Run { norm: self.norm, ..run } } else { run }
    }

    /// Published settings for photographs and for videos, the published network for skeletons that are drawn, and of the set
    /// that a SAT localises the network. Those of CutMix are its own.
    fn recipe(&self, synth: Option<Synth>) -> Option<&'static str> {
        match (self.task, self.images, synth) {
            (Task::Detection, Images::Drawn, _) => Some("recipes/stad/embedded-features.toml"),
            (Task::Localization, Images::Drawn, _) if self.pretraining.is_some() => {
                Some("recipes/wsol/embedded-sat.toml")
            }
            (Task::Classification, ..) | (_, Images::Drawn, _) => None,
            (Task::Localization, _, Some(Synth::Cut)) => Some("recipes/wsol/cub-vgg16-cutmix.toml"),
            (Task::Localization, ..) => Some("recipes/wsol/cub-vgg16-cam.toml"),
            (Task::Detection, _, Some(_)) => Some("recipes/stad/ucf101-24-batchmix.toml"),
            (Task::Detection, _, None) => Some("recipes/stad/ucf101-24.toml"),
        }
    }

    /// The paper's MaxBoxAccV2 of VGG16 on CUB, and its video-mAP on UCF101-24, without and with guidance.
    fn paper_of_mixes(&self, synth: Synth) -> Option<(f64, f64)> {
        match (self.dataset, synth) {
            ("cub-localization", Synth::Cut) => Some((0.623, 0.651)),
            ("ucf101-24", Synth::Batch) => Some((0.380, 0.397)),
            _ => None,
        }
    }

    /// The paper's video-mAP of the network without mixing.
    fn paper_of_clips_alone(&self) -> Option<f64> {
        (self.dataset == "ucf101-24").then_some(0.374)
    }
}

/// What the rows are called.
pub(crate) mod label {
    pub(crate) const ALONE: &str = "images alone";
    pub(crate) const CLIPS_ALONE: &str = "clips alone";
    pub(crate) const OF_LOGITS: &str = "batchmix, maxima of logits";

    /// A row beside the row `unguided`.
    pub(crate) fn with_guidance(unguided: &str) -> String {
        format!("{unguided} + guidance")
    }

    pub(crate) const BASELINE: &str = "originals only";
    pub(crate) const EDITS: &str = "edits";
    pub(crate) const GUIDED: &str = "edits + guidance";
    pub(crate) const UNGUIDED: &str = "no guidance";
    pub(crate) const RANDOM: &str = "random mask";
    pub(crate) const FULL: &str = "full mask";
    pub(crate) const TRUE: &str = "true mask";
}

impl SetPlan {
    /// All runs of all experiments; equal ones come more than once.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> {
        self.experiments.iter().flat_map(|(_, rows)| rows.iter().flat_map(RowPlan::runs))
    }

    /// Where the set's files lie; or why it cannot be run.
    pub(crate) fn locate(&self, data_root: Option<&Path>) -> Result<Files, String> {
        if self.left_out {
            return Err(format!("left out, since it takes long (ask for it with --only {})", self.dataset));
        }
        let Images::Files { folders, marker, beside } = self.images else { return Ok(Files::default()) };
        let data_root = data_root.ok_or("needs --data-root")?;
        let found = folders.iter().map(|folder| data_root.join(folder)).find(|folder| holds(folder, marker));
        let root = found.ok_or_else(|| {
            let looked: Vec<String> =
                folders.iter().map(|folder| data_root.join(folder).display().to_string()).collect();
            format!("no {marker} in {}", looked.join(", "))
        })?;
        match beside {
            None => Ok(Files { root: Some(root), ..Files::default() }),
            Some(Beside::Edits) => {
                let edits = Some(root.join(MANIFEST)).filter(|manifest| manifest.is_file());
                Ok(Files { root: Some(root), edits, metadata: None })
            }
            Some(Beside::Metadata) => {
                let metadata = root.join(METADATA);
                if !metadata.is_dir() {
                    return Err(format!(
                        "no folder {METADATA} (the lists of wsolevaluation) in {}",
                        root.display()
                    ));
                }
                Ok(Files { root: Some(root.join(IMAGES)), edits: None, metadata: Some(metadata) })
            }
        }
    }

    /// Drops the rows that need edits where no manifest lists any, and says so.
    pub(crate) fn drop_rows_without(&mut self, files: &Files) -> Option<String> {
        let (Images::Files { beside: Some(Beside::Edits), .. }, None) = (self.images, &files.edits) else {
            return None;
        };
        for (_, rows) in &mut self.experiments {
            rows.retain(|row| row.run.samples != Samples::Edits);
        }
        let folder = files.root.as_deref().unwrap_or(Path::new("")).display();
        Some(format!(
            "all rows with edits, since {folder} has no {MANIFEST} (columns original, edited, label)"
        ))
    }
}

/// Whether the name of a file in `folder` starts with `marker`.
fn holds(folder: &Path, marker: &str) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(marker))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn labels(plan: &SetPlan) -> BTreeSet<(&'static str, String)> {
        let rows = plan.experiments.iter();
        rows.flat_map(|(experiment, rows)| rows.iter().map(|row| (experiment.name(), row.label.clone())))
            .collect()
    }

    #[test]
    fn quick_is_a_smaller_part_of_the_full_plan() {
        let full = select(Scale::Full, None).unwrap();
        let quick = select(Scale::Quick, None).unwrap();
        for (full, quick) in full.iter().zip(&quick) {
            assert!(labels(quick).is_subset(&labels(full)), "{}", full.dataset);
            assert!(quick.epochs <= full.epochs && quick.runs().count() <= full.runs().count());
        }
        assert!(quick[0].runs().count() < full[0].runs().count());
        assert_eq!(quick.iter().filter(|plan| !plan.left_out).count(), 1);
    }

    #[test]
    fn every_row_has_at_least_three_seeds() {
        for scale in [Scale::Full, Scale::Quick] {
            for plan in select(scale, None).unwrap() {
                for (_, rows) in &plan.experiments {
                    assert!(rows.iter().all(|row| row.runs().count() >= 3), "{} {scale:?}", plan.dataset);
                }
            }
        }
    }

    #[test]
    fn sweeps_rest_on_fewer_seeds_than_comparisons() {
        let plan = &select(Scale::Full, Some("embedded")).unwrap()[0];
        for (experiment, rows) in &plan.experiments {
            let seeds = if [Experiment::MaskSize, Experiment::Alpha].contains(experiment) { 3 } else { 7 };
            for row in rows {
                let of_row: Vec<u64> = row.runs().map(|run| run.seed).collect();
                assert_eq!(of_row, (0..seeds).collect::<Vec<_>>(), "{} {}", experiment.name(), row.label);
            }
        }
    }

    #[test]
    fn experiments_share_their_runs() {
        let plan = &select(Scale::Full, None).unwrap()[0];
        let unique: BTreeSet<Run> = plan.runs().collect();
        // Over all seeds: originals, edits, the set's strength, two wrong masks, the lazy ways. Over those of the sweeps:
        // every other strength, and every area but 1.
        let others = |values: &[f64], shared: f64| values.iter().filter(|value| **value != shared).count();
        let swept = others(&ALPHAS, plan.alpha) + others(&MASK_AREAS, 1.0);
        assert_eq!(unique.len(), (5 + LAZY.len() - 1) * 7 + swept * 3);
    }

    #[test]
    fn every_way_to_mix_runs_without_and_with_guidance() {
        let plan = &select(Scale::Full, Some("localization")).unwrap()[0];
        assert!(!plan.left_out, "asked for by name");
        assert!(
            select(Scale::Full, None).unwrap().iter().any(|set| set.dataset == plan.dataset && set.left_out)
        );
        let (experiment, rows) = &plan.experiments[0];
        assert_eq!((*experiment, rows.len()), (Experiment::Mixes, 7));
        for row in rows.iter().filter(|row| row.run.samples != Samples::Originals && row.run.alpha == 0.0) {
            let guided = rows.iter().find(|other| other.label == label::with_guidance(&row.label)).unwrap();
            assert_eq!(Run { alpha: 0.0, norm: row.run.norm, ..guided.run.clone() }, row.run);
            assert_eq!((guided.run.alpha, guided.run.norm), (plan.alpha, plan.norm));
        }
        assert!(plan.runs().all(|run| run.task == Task::Localization && run.recipe.is_none()));
    }

    #[test]
    fn a_sat_localises_the_same_images() {
        let plan = &select(Scale::Full, Some("localization-sat")).unwrap()[0];
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        for run in plan.runs() {
            assert!(Path::new(root).join(run.recipe.unwrap()).is_file(), "{run:?}");
            assert_eq!(plan.locate(None).unwrap(), Files::default());
        }
        assert_eq!(plan.experiments[0].1.len(), 7);
        let first: BTreeSet<Run> = plan.runs().filter_map(|run| run.first()).collect();
        let alone =
            select(Scale::Full, Some("localization")).unwrap()[0].experiments[0].1[0].runs().collect();
        assert_eq!(first, alone, "the convolutions are those that the other set is localised by");
    }

    #[test]
    fn photographs_and_videos_are_trained_on_with_published_settings() {
        let cub = [("cutmix", 0.623), ("cutmix + guidance", 0.651)];
        let ucf = [(label::CLIPS_ALONE, 0.374), ("batchmix", 0.380), ("batchmix + guidance", 0.397)];
        for (dataset, expected) in [("cub-localization", &cub[..]), ("ucf101-24", &ucf)] {
            let plan = &select(Scale::Full, Some(dataset)).unwrap()[0];
            let rows = &plan.experiments[0].1;
            let papers: Vec<(&str, f64)> =
                rows.iter().filter_map(|row| Some((row.label.as_str(), row.paper?))).collect();
            assert_eq!(papers, expected);
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
            for run in plan.runs() {
                let recipe = run.recipe.unwrap();
                assert!(Path::new(root).join(recipe).is_file(), "{run:?}");
                // No flag says of clips alone that they are not mixed.
                let mixes = run.samples != Samples::Originals;
                assert!(run.task != Task::Detection || recipe.contains("batchmix") == mixes, "{run:?}");
            }
        }
    }

    #[test]
    fn images_and_their_lists_lie_in_one_folder() {
        let root = tempfile::tempdir().unwrap();
        let plan = &select(Scale::Full, Some("cub-localization")).unwrap()[0];
        let cub = root.path().join("CUB_200_2011");
        std::fs::create_dir_all(cub.join("images")).unwrap();
        let reason = plan.locate(Some(root.path())).unwrap_err();
        assert!(reason.starts_with("no folder metadata (the lists of wsolevaluation) in "), "{reason}");
        std::fs::create_dir(cub.join("metadata")).unwrap();
        let files = plan.locate(Some(root.path())).unwrap();
        assert_eq!((files.root, files.metadata), (Some(cub.join("images")), Some(cub.join("metadata"))));
    }

    #[test]
    fn the_strength_of_the_table_is_one_of_the_curve() {
        assert!(ALPHAS.contains(&SETS[0].alpha) && QUICK_ALPHAS.contains(&SETS[0].alpha));
    }

    #[test]
    fn only_names_a_set_or_an_experiment() {
        let set = select(Scale::Quick, Some("decoy-mnist")).unwrap();
        assert!(set.len() == 1 && !set[0].left_out, "asked for by name");
        let experiment = select(Scale::Full, Some("mask-size")).unwrap();
        assert!(experiment.len() == 1 && experiment[0].experiments[0].0 == Experiment::MaskSize);
        assert!(
            !set[0].is_quick
                && set[0].runs().count()
                    == select(Scale::Full, Some("decoy-mnist")).unwrap()[0].runs().count()
        );
        assert!(select(Scale::Quick, Some("embedded")).unwrap()[0].is_quick);
        assert!(select(Scale::Quick, Some("mixes")).unwrap().iter().all(|set| set.left_out));
        let mixes = select(Scale::Full, Some("mixes")).unwrap();
        assert!(mixes.len() > 1 && mixes.iter().all(|set| !set.left_out), "on no other sets");
        let error = select(Scale::Full, Some("tabel")).err().unwrap().to_string();
        assert!(error.contains("tabel") && error.contains("mask-size") && error.contains("cub"), "{error}");
    }

    #[test]
    fn papers_numbers_stand_only_beside_the_papers_sets() {
        for plan in select(Scale::Full, None).unwrap() {
            let theirs = matches!(plan.dataset, "waterbirds-alia" | "iwildcam-alia" | "cub");
            let theirs = theirs || plan.dataset == "ucf101-24";
            assert_eq!(plan.experiments[0].1[0].paper.is_some(), theirs, "{}", plan.dataset);
        }
    }
}
