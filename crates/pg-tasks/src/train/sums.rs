//! Sums over the part of an epoch that is done.

use serde::{Deserialize, Serialize};

use super::TaskStep;

/// What an epoch came to so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Batches, those that were skipped among them.
    pub batches: usize,
    /// Samples that were trained on.
    pub samples: usize,
    /// Samples that the network classified right.
    pub correct: usize,
    /// L_cls, summed over samples.
    pub loss_cls: f64,
    /// Samples of the steps that measured L_PG.
    pub guided_samples: usize,
    /// L_PG, summed over these.
    pub loss_pg: f64,
    /// alpha * L_PG, summed over these.
    pub alpha_loss_pg: f64,
    /// Seconds that earlier processes spent, before they were interrupted.
    pub seconds: f64,
}

impl Sums {
    pub(super) fn add(&mut self, step: &TaskStep) {
        let samples = step.samples as f64;
        self.samples += step.samples;
        self.correct += step.correct;
        self.loss_cls += step.loss_cls * samples;
        if let Some((loss_pg, alpha_loss_pg)) = step.guidance {
            self.guided_samples += step.samples;
            self.loss_pg += loss_pg * samples;
            self.alpha_loss_pg += alpha_loss_pg * samples;
        }
    }

    /// Mean L_cls over samples; NaN, as the other means, where there is nothing to average.
    #[must_use]
    pub fn mean_loss_cls(&self) -> f64 {
        self.loss_cls / self.samples as f64
    }

    /// Mean L_PG over the samples of the steps that measured it.
    #[must_use]
    pub fn mean_loss_pg(&self) -> f64 {
        self.loss_pg / self.guided_samples as f64
    }

    /// Mean alpha * L_PG over the same.
    #[must_use]
    pub fn mean_alpha_loss_pg(&self) -> f64 {
        self.alpha_loss_pg / self.guided_samples as f64
    }

    /// Mean over samples of L_cls and of alpha * L_PG where it was measured: where guidance is lazy, its factor K left out.
    #[must_use]
    pub fn mean_loss(&self) -> f64 {
        (self.loss_cls + self.alpha_loss_pg) / self.samples as f64
    }

    /// Share of the samples that the network classified right.
    #[must_use]
    pub fn top1(&self) -> f64 {
        self.correct as f64 / self.samples as f64
    }
}
