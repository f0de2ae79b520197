//! How a run is guided.

use clap::Args;
use pg_grad::{Guidance, Lazy, Norm, Score, Strategy};
use pg_models::Model;
use serde::{Deserialize, Serialize};

use crate::choices::{MaskKind, NormName, ScoreName, StrategyName};
use crate::error::{SettingsError, ensure, idle};

/// What may be said of guidance.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuidanceSettings {
    /// Strength of guidance; 0 trains without it.
    #[arg(long, value_name = "A", allow_negative_numbers = true, help_heading = "Guidance")]
    pub alpha: Option<f64>,
    /// How the guidance loss is differentiated.
    #[arg(long, value_enum, help_heading = "Guidance")]
    pub strategy: Option<StrategyName>,
    /// Which mask guides: the provenance, a random one of equal area, or everything.
    #[arg(long, value_enum, help_heading = "Guidance")]
    pub mask: Option<MaskKind>,
    /// What is differentiated.
    #[arg(long, value_enum, help_heading = "Guidance")]
    pub score: Option<ScoreName>,
    /// Norm of the gradient outside the target.
    #[arg(long, value_enum, help_heading = "Guidance")]
    pub norm: Option<NormName>,
    /// Guide every K-th step only, K times as strongly.
    #[arg(long, value_name = "K", help_heading = "Guidance")]
    pub every: Option<u64>,
    /// Guide a random share of each batch only, at least two samples.
    #[arg(long, value_name = "P", allow_negative_numbers = true, help_heading = "Guidance")]
    pub fraction: Option<f64>,
    /// Measure the guidance loss although alpha is 0.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Guidance")]
    pub monitor: Option<bool>,
}

/// The guidance of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the setting of the same name")]
pub struct GuidanceConfig {
    pub alpha: f64,
    pub strategy: StrategyName,
    pub mask: MaskKind,
    pub score: ScoreName,
    pub norm: NormName,
    pub every: u64,
    pub fraction: f64,
    pub monitor: bool,
}

impl GuidanceSettings {
    /// The complete description: without a word, no guidance.
    pub fn resolve(self) -> GuidanceConfig {
        GuidanceConfig {
            alpha: self.alpha.unwrap_or(0.0),
            strategy: self.strategy.unwrap_or(StrategyName::Exact),
            mask: self.mask.unwrap_or(MaskKind::True),
            score: self.score.unwrap_or(ScoreName::Logit),
            norm: self.norm.unwrap_or(NormName::SquaredL2),
            every: self.every.unwrap_or(1),
            fraction: self.fraction.unwrap_or(1.0),
            monitor: self.monitor.unwrap_or(false),
        }
    }
}

impl GuidanceConfig {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        ensure(self.alpha >= 0.0 && self.alpha.is_finite(), "alpha", "0 or more", self.alpha)?;
        ensure(self.every >= 1, "every", "at least 1", self.every)?;
        ensure(self.fraction > 0.0 && self.fraction <= 1.0, "fraction", "in (0, 1]", self.fraction)?;
        if self.every > 1 && self.fraction < 1.0 {
            return Err(SettingsError::Exclusive { flag: "every", other: "fraction" });
        }
        let is_constant = self.norm == NormName::Relative && self.mask == MaskKind::Full;
        idle(
            is_constant,
            "mask full",
            "with --norm relative: a share of all is always 1",
            "take another norm",
        )?;
        Ok(())
    }

    /// Whether steps compute the guidance loss at all.
    pub fn is_on(&self) -> bool {
        self.alpha > 0.0 || self.monitor
    }

    /// The guidance of `model`.
    pub fn of(&self, model: &Model) -> Guidance {
        let step = if model.is_piecewise_linear() && self.score == ScoreName::Logit {
            Strategy::PIECEWISE_LINEAR_STEP
        } else {
            Strategy::DEFAULT_STEP
        };
        // Of a divided batch, drop path would draw for the parts alike.
        let independent_samples = !model.mixes_samples() && model.spec().vit.is_none();
        Guidance { independent_samples, ..self.guidance(step) }
    }

    /// The guidance of any network, with the displacement `step` of finite differences.
    pub fn guidance(&self, step: f64) -> Guidance {
        Guidance {
            score: match self.score {
                ScoreName::Logit => Score::Logit,
                ScoreName::LogProbability => Score::LogProbability,
            },
            norm: match self.norm {
                NormName::SquaredL2 => Norm::SquaredL2,
                NormName::L1 => Norm::L1,
                NormName::Relative => Norm::Relative,
            },
            strategy: match self.strategy {
                StrategyName::Exact => Strategy::Exact,
                StrategyName::FiniteDifference => Strategy::FiniteDifference { step },
            },
            lazy: if self.every > 1 {
                Lazy::EverySteps(self.every)
            } else if self.fraction < 1.0 {
                Lazy::Fraction(self.fraction)
            } else {
                Lazy::Always
            },
            ..Guidance::new(self.alpha)
        }
    }
}
