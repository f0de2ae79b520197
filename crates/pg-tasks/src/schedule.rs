//! The learning rate as a pure function of the step: nothing to save, nothing to resume.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// A learning-rate schedule, as a multiplier of the base rate (for [`OneCycle`](Self::OneCycle): of the maximal one).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Always 1.
    #[default]
    Constant,
    /// `gamma^floor(epoch / every_epochs)` (torch `StepLR`).
    Step {
        /// Epochs between two drops.
        every_epochs: usize,
        /// Factor of each drop.
        gamma: f64,
    },
    /// Half a cosine from 1 to `min` over all steps (torch `CosineAnnealingLR` with `T_max = total`).
    Cosine {
        /// The multiplier that the schedule ends at.
        min: f64,
    },
    /// Cosine up from `1 / div_factor` to 1 and down to `1 / (div_factor * final_div_factor)` (torch `OneCycleLR`
    /// with cosine annealing; the momentum is not cycled).
    OneCycle {
        /// Share of the steps that go up, torch's default 0.3.
        pct_start: f64,
        /// Maximal rate over initial rate, torch's default 25.
        div_factor: f64,
        /// Initial rate over final rate, torch's default 1e4.
        final_div_factor: f64,
    },
}

/// A schedule laid over the steps of a run, after a linear warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LrPlan {
    /// The schedule after the warm-up.
    pub schedule: Schedule,
    /// Steps of warm-up. They count to `total_steps`; the schedule starts after them and takes the rest, as
    /// torch's `SequentialLR` does.
    pub warmup_steps: usize,
    /// Steps of one epoch. 1 where a "step" of this plan is an epoch, for recipes that step per epoch.
    pub steps_per_epoch: usize,
    /// Steps of the whole run.
    pub total_steps: usize,
}

impl LrPlan {
    /// The multiplier of the base learning rate at `step`, counted from 0. Step k of a warm-up of w has
    /// `(k + 1) / (w + 1)` of the schedule's first value, so the warm-up neither starts at 0 nor repeats its end.
    #[must_use]
    pub fn multiplier(&self, step: usize) -> f64 {
        let total = self.total_steps.saturating_sub(self.warmup_steps);
        match step.checked_sub(self.warmup_steps) {
            Some(step) => self.schedule.multiplier(step, total, self.steps_per_epoch),
            None => {
                let rise = (step + 1) as f64 / (self.warmup_steps + 1) as f64;
                // Its first value in a run of any length: where few steps are left, the first is near the end already.
                rise * self.schedule.multiplier(0, usize::MAX, self.steps_per_epoch)
            }
        }
    }
}

impl Schedule {
    /// The multiplier at `step` of `total` steps. A step past the end has the last value.
    #[must_use]
    pub fn multiplier(&self, step: usize, total: usize, steps_per_epoch: usize) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::Step { every_epochs, gamma } => {
                let epoch = step / steps_per_epoch.max(1);
                gamma.powf((epoch / every_epochs.max(1)) as f64)
            }
            Self::Cosine { min } => anneal(1.0, min, share(step as f64, total as f64)),
            Self::OneCycle { pct_start, div_factor, final_div_factor } => {
                let initial = 1.0 / div_factor;
                let (step, last) = (step as f64, total as f64 - 1.0);
                let peak = pct_start * total as f64 - 1.0;
                if step <= peak {
                    anneal(initial, 1.0, share(step, peak))
                } else {
                    anneal(1.0, initial / final_div_factor, share(step - peak, last - peak))
                }
            }
        }
    }
}

/// How far `step` has come on the way to `end`, in [0, 1]. A way without length has been gone.
fn share(step: f64, end: f64) -> f64 {
    if end > 0.0 { (step / end).clamp(0.0, 1.0) } else { 1.0 }
}

/// Half a cosine from `from` at share 0 to `to` at share 1.
fn anneal(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (PI * share).cos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(ours: f64, expected: f64) {
        assert!((ours - expected).abs() < 1e-9, "{ours} != {expected}");
    }

    #[test]
    fn step_drops_every_few_epochs() {
        let schedule = Schedule::Step { every_epochs: 2, gamma: 0.1 };
        let rates: Vec<f64> = (0..15).map(|step| schedule.multiplier(step, 15, 3)).collect();
        for (step, &rate) in rates.iter().enumerate() {
            close(rate, [1.0, 1.0, 0.1, 0.1, 0.01][step / 3]);
        }
    }

    #[test]
    fn cosine_is_cosine_annealing_lr() {
        let schedule = Schedule::Cosine { min: 0.2 };
        for (step, expected) in
            [(0, 1.0), (2, 0.2 + 0.4 * (1.0 + 0.5f64.sqrt())), (4, 0.6), (8, 0.2), (9, 0.2), (100, 0.2)]
        {
            close(schedule.multiplier(step, 8, 1), expected);
        }
    }

    /// The values that torch documents for OneCycleLR: the closed form, written out for ten steps. The peak lies
    /// at step 0.3 * 10 - 1 = 2, the end at step 9.
    #[test]
    fn one_cycle_is_one_cycle_lr() {
        let schedule = Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 };
        let golden = [
            0.04,
            0.52,
            1.0,
            0.950484632,
            0.811745654,
            0.611262022,
            0.388741978,
            0.188258346,
            0.049519368,
            0.000004,
        ];
        for (step, expected) in golden.into_iter().enumerate() {
            assert!((schedule.multiplier(step, 10, 1) - expected).abs() < 1e-8, "step {step}");
        }
    }

    #[test]
    fn warm_up_rises_in_equal_steps_to_the_schedule() {
        let plan = LrPlan {
            schedule: Schedule::Cosine { min: 0.0 },
            warmup_steps: 3,
            steps_per_epoch: 1,
            total_steps: 11,
        };
        for (step, expected) in [(0, 0.25), (1, 0.5), (2, 0.75), (3, 1.0), (7, 0.5), (11, 0.0)] {
            close(plan.multiplier(step), expected);
        }
    }

    #[test]
    fn a_run_that_is_all_warm_up_rises_to_the_first_value_of_its_schedule() {
        let one_cycle = Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 };
        let step = Schedule::Step { every_epochs: 1, gamma: 0.1 };
        for (schedule, first) in
            [(Schedule::Constant, 1.0), (step, 1.0), (Schedule::Cosine { min: 0.0 }, 1.0), (one_cycle, 0.04)]
        {
            let plan = LrPlan { schedule, warmup_steps: 4, steps_per_epoch: 2, total_steps: 4 };
            for (step, rise) in [0.2, 0.4, 0.6, 0.8].into_iter().enumerate() {
                close(plan.multiplier(step), rise * first);
            }
        }
    }

    proptest! {
        #[test]
        fn a_multiplier_lies_in_0_1_even_for_runs_of_no_length(
            kind in 0usize..4, step in 0usize..40, total in 0usize..30, warmup_steps in 0usize..40, per_epoch in 0usize..4,
        ) {
            let schedule = [
                Schedule::Constant,
                Schedule::Step { every_epochs: per_epoch, gamma: 0.5 },
                Schedule::Cosine { min: 0.0 },
                Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 },
            ][kind];
            let plan = LrPlan { schedule, warmup_steps, steps_per_epoch: per_epoch, total_steps: total };
            let multiplier = plan.multiplier(step);
            prop_assert!((0.0..=1.0).contains(&multiplier), "{multiplier}");
            let rise = (step + 1) as f64 / (warmup_steps + 1) as f64;
            prop_assert!(step >= warmup_steps || multiplier >= 0.04 * rise, "a warm-up that trains nothing");
        }
    }
}
