//! A task of one number, small enough to be followed by hand.
#![allow(dead_code, reason = "each test file uses a part")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::process::Command;
use std::thread;

use candle_core::{Device, Tensor, Var};
use pg_models::Params;
use pg_tasks::fingerprint::Fingerprint;
use pg_tasks::interrupt::Interrupt;
use pg_tasks::optim::{Groups, Optimizer, Sgd};
use pg_tasks::prefetch::Prefetch;
use pg_tasks::progress::Progress;
use pg_tasks::run_dir::RunDir;
use pg_tasks::schedule::{LrPlan, Schedule};
use pg_tasks::train::{Batches, Setup, Task, TaskStep, TrainOptions, Validation};

pub(crate) const BATCHES: usize = 5;
pub(crate) const LR: f64 = 0.1;

/// A weight w, a running mean of its slopes and their count. The loss of a batch is slope * w + w^2 / 2.
pub(crate) struct Toy {
    pub(crate) params: Params,
    /// (epoch, batch) of those without samples.
    pub(crate) skipped: Vec<(usize, usize)>,
    pub(crate) samples: Vec<&'static str>,
    /// What is to happen within a step, given its number.
    pub(crate) during: Box<dyn Fn(u64)>,
    /// The step whose loss is finite, but not its gradient.
    pub(crate) overflows_at: Option<u64>,
    /// The step from which on none measures L_PG.
    pub(crate) guided_until: u64,
    /// What each validation reports to select by.
    pub(crate) selection: Option<f64>,
    /// w and the mean at each validation.
    pub(crate) validated: RefCell<Vec<(f64, f64)>>,
}

impl Toy {
    pub(crate) fn new(skipped: &[(usize, usize)]) -> Self {
        let number = |value: f64| Var::new(&[value], &Device::Cpu).unwrap();
        let count = Var::new(&[0i64], &Device::Cpu).unwrap();
        let buffers = [("mean".to_owned(), number(0.0)), ("count".to_owned(), count)];
        Self {
            params: Params::new([("w".to_owned(), number(1.0))].into(), buffers.into()),
            skipped: skipped.to_vec(),
            samples: vec!["a", "b"],
            during: Box::new(|_| ()),
            overflows_at: None,
            guided_until: 0,
            selection: None,
            validated: RefCell::default(),
        }
    }

    pub(crate) fn w(&self) -> f64 {
        number(self.params.vars()["w"].as_tensor())
    }

    pub(crate) fn mean(&self) -> f64 {
        number(self.params.buffers()["mean"].as_tensor())
    }

    /// A run of two epochs in `dir`.
    pub(crate) fn setup<'a>(
        &'a self,
        dir: &'a RunDir,
        accumulate: usize,
        ema: Option<f64>,
    ) -> Setup<'a, Self, &'static str> {
        let steps_per_epoch = BATCHES.div_ceil(accumulate);
        Setup {
            task: self,
            params: &self.params,
            optimizer: Optimizer::Sgd(Sgd::new(0.0, false, 0.0, Groups::default())),
            options: TrainOptions {
                epochs: 2,
                lr: LR,
                plan: plan(steps_per_epoch),
                accumulate,
                clip_norm: None,
                ema,
                patience: None,
                top_k: 0,
            },
            dir,
            about: "toy",
            progress: Progress::new(false, 2),
        }
    }
}

/// Half a cosine over two epochs.
pub(crate) fn plan(steps_per_epoch: usize) -> LrPlan {
    let schedule = Schedule::Cosine { min: 0.0 };
    LrPlan { schedule, warmup_steps: 0, steps_per_epoch, total_steps: 2 * steps_per_epoch }
}

pub(crate) fn slope(epoch: usize, batch: usize) -> f64 {
    ((BATCHES * epoch + batch) as f64 * 1.7 + 0.3).sin()
}

pub(crate) fn number(tensor: &Tensor) -> f64 {
    tensor.to_vec1::<f64>().unwrap()[0]
}

/// Catches Ctrl-C in this process, whether or not whoever started it ignores the signal.
#[allow(unsafe_code, reason = "nothing else resets a signal")]
pub(crate) fn hear_ctrl_c() -> Interrupt {
    // SAFETY: no handler of this process is in place yet.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    Interrupt::install().unwrap()
}

/// Asks this process to stop, once, and waits until it knows.
pub(crate) fn press_ctrl_c(interrupt: Interrupt) {
    let pid = std::process::id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    while !interrupt.requested() {
        thread::yield_now();
    }
}

pub(crate) fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    pg_tasks::checkpoint::load::<serde_json::Value>(path).unwrap().0
}

impl Task for Toy {
    type Batch = f64;
    type Error = Infallible;

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(&["toy".to_owned()]).with("training", &self.samples)
    }

    fn steps_per_epoch(&self) -> usize {
        BATCHES
    }

    fn batches(&self, epoch: usize, skip: usize) -> Batches<f64, Infallible> {
        let skipped = self.skipped.clone();
        Prefetch::new(BATCHES - skip, 1, move |index| {
            let batch = skip + index;
            Ok((!skipped.contains(&(epoch, batch))).then(|| slope(epoch, batch)))
        })
    }

    fn step(&self, slope: f64, step: u64) -> Result<TaskStep, Infallible> {
        (self.during)(step);
        let w = self.params.vars()["w"].as_tensor();
        let mut loss = ((w * slope).unwrap() + (w.sqr().unwrap() * 0.5).unwrap()).unwrap().sum_all().unwrap();
        if self.overflows_at == Some(step) {
            // The square root of 0 has an infinite slope.
            let root = (w - w.detach()).unwrap().sqrt().unwrap().sum_all().unwrap();
            loss = (loss + root).unwrap();
        }
        let [mean, count] = ["mean", "count"].map(|name| &self.params.buffers()[name]);
        let moved = 0.9 * number(mean.as_tensor()) + 0.1 * slope;
        mean.set(&Tensor::new(&[moved], &Device::Cpu).unwrap()).unwrap();
        let counted = count.as_detached_tensor();
        count.set(&(&counted + counted.ones_like().unwrap()).unwrap()).unwrap();
        Ok(TaskStep {
            samples: 2,
            correct: 1,
            loss_cls: loss.to_scalar().unwrap(),
            guidance: (step < self.guided_until).then_some((0.5, 0.05)),
            gradients: loss.backward().unwrap(),
        })
    }

    fn validation_columns(&self) -> Vec<&'static str> {
        vec!["val"]
    }

    fn validate(&self) -> Result<Validation, Infallible> {
        self.validated.borrow_mut().push((self.w(), self.mean()));
        Ok(Validation { values: vec![self.w()], selection: self.selection })
    }
}
