//! The guidance loss L_PG: how much the score of a class depends on input that is not its own.

use crate::error::{Error, Result};
use crate::input_gradient::{Score, input_gradient};
use crate::lazy::Lazy;
use crate::provenance::Provenance;
use candle_core::{Tensor, Var};

/// The norm of a weighted input gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Norm {
    /// Sum of squares: the paper's.
    #[default]
    SquaredL2,
    /// Sum of absolute values.
    L1,
    /// The squares of a sample's weighted gradients as a share of those of its whole gradients, in [0, 1]. Not the paper's.
    /// It has no scale: to score flatly does not lessen it, only to look elsewhere does. Of a mask without a target it is
    /// always 1. By finite difference it is less exact where the gradients of a batch differ in size by orders of magnitude.
    Relative,
}

/// How the norms of a batch become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Sum over the elements of a sample, mean over the batch: the scale does not depend on the batch size.
    #[default]
    SumElementsMeanBatch,
    /// Mean over everything: smaller than the default by the number of elements of a sample. Of [`Norm::Relative`], which has
    /// one number a sample, the default.
    Mean,
    /// Sum over everything.
    Sum,
}

/// How the gradient of L_PG by the weights is found.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Strategy {
    /// Reverse over reverse, exact. Needs candle's second-order switch and operations that have a second derivative
    /// (those of this crate have).
    #[default]
    Exact,
    /// Central difference of first-order gradients along the weighted input gradient: works for any module, needs no
    /// switch and, beside the memory of plain training, that of the rectifiers' results. `step` is the displacement of the input, as a share of its
    /// root mean square.
    ///
    /// The rectifiers and max-poolings of [`ops`](crate::ops) keep in the displaced passes the state that they had in the
    /// step's own, so networks of linear and rectifying layers have the exact gradient up to rounding, at any
    /// displacement; batch normalisation in training and smooth activations add an error of its square. Rectifiers that
    /// are not this crate's switch in the displaced passes: in all but small networks the difference then sees bends of
    /// the function, which a second derivative does not.
    FiniteDifference {
        /// Displacement of the input relative to its root mean square: [`Strategy::DEFAULT_STEP`] or
        /// [`Strategy::PIECEWISE_LINEAR_STEP`].
        step: f64,
    },
}

impl Strategy {
    /// For any network. In f32 rounding and the curvature of batch normalisation in training both stay below a thousandth of
    /// the gradient of a ResNet.
    pub const DEFAULT_STEP: f64 = 1e-4;
    /// For networks whose logits are piecewise linear in the input: rectifiers and max-poolings of
    /// [`ops`](crate::ops), no batch statistics. Nothing is lost by a large displacement, and rounding weighs less.
    pub const PIECEWISE_LINEAR_STEP: f64 = 1e-2;
}

/// Provenance guidance: L = L_cls + alpha * L_PG.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guidance {
    /// Strength. With 0 the loss is measured but does not train: a monitor.
    pub alpha: f64,
    /// What is differentiated.
    pub score: Score,
    /// Norm of the weighted gradient.
    pub norm: Norm,
    /// From norms to one number.
    pub reduction: Reduction,
    /// How L_PG is differentiated.
    pub strategy: Strategy,
    /// When it is computed.
    pub lazy: Lazy,
    /// Whether the network computes a sample's logits from that sample alone: no batch statistics. Samples that nothing
    /// guides then take a plain step's passes instead of a guided one's. The exact loss is the same, but for rounding, if
    /// the network draws nothing at random; it runs twice in a step, on the two parts of the batch.
    pub independent_samples: bool,
}

impl Guidance {
    /// The paper's loss at strength `alpha`: squared L2 norm of the logit's gradient, exact, at every step.
    pub fn new(alpha: f64) -> Self {
        Self {
            alpha,
            score: Score::default(),
            norm: Norm::default(),
            reduction: Reduction::default(),
            strategy: Strategy::default(),
            lazy: Lazy::default(),
            independent_samples: false,
        }
    }

    /// Whether the options make sense.
    ///
    /// # Errors
    /// [`Error::Option`] if alpha is negative or not finite, the step is not positive, or the lazy options are off.
    pub fn check(&self) -> Result<()> {
        if !(self.alpha >= 0.0 && self.alpha.is_finite()) {
            return Err(Error::Option { option: "alpha", expected: "0 or more", value: self.alpha });
        }
        if let Strategy::FiniteDifference { step } = self.strategy
            && !(step > 0.0 && step.is_finite())
        {
            let expected = "a positive share of the input's root mean square";
            return Err(Error::Option { option: "finite-difference step", expected, value: step });
        }
        self.lazy.check()
    }

    /// L_PG as a scalar with a graph: add `alpha` times it to a loss and differentiate.
    ///
    /// `logits` (n, classes) must have been computed from `x`.
    ///
    /// # Errors
    /// [`Error::SecondOrderOff`], [`Error::NoInputGradient`], or shapes that do not fit.
    pub fn loss(&self, logits: &Tensor, x: &Var, provenance: &Provenance) -> Result<Tensor> {
        let gradients = provenance
            .as_sources()
            .iter()
            .map(|source| input_gradient(logits, x, &source.classes, self.score))
            .collect::<Result<Vec<_>>>()?;
        self.loss_of_gradients(&gradients, provenance)
    }

    /// L_PG from the input gradients of the sources' scores, one a source in the shape of the input.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn loss_of_gradients(&self, gradients: &[Tensor], provenance: &Provenance) -> Result<Tensor> {
        if self.norm == Norm::Relative {
            return self.relative_loss(gradients, provenance);
        }
        let mut total: Option<Tensor> = None;
        for residual in provenance.residuals(gradients)? {
            let elements = match self.norm {
                // Not candle's abs, whose derivative at 0 is 1.
                Norm::L1 => (&residual * residual.detach().sign()?)?,
                _ => residual.sqr()?,
            };
            let count = match self.reduction {
                Reduction::SumElementsMeanBatch => residual.dim(0)?,
                Reduction::Mean => residual.elem_count(),
                Reduction::Sum => 1,
            };
            let norm = (elements.sum_all()? / count.max(1) as f64)?;
            total = Some(match total {
                Some(total) => (total + norm)?,
                None => norm,
            });
        }
        total.ok_or_else(no_source)
    }

    fn relative_loss(&self, gradients: &[Tensor], provenance: &Provenance) -> Result<Tensor> {
        let elsewhere = squares(&provenance.residuals(gradients)?)?;
        let whole = squares(&provenance.guided_gradients(gradients)?)?;
        let shares = (elsewhere / (whole + LEAST_SQUARES)?)?;
        let count = match self.reduction {
            Reduction::SumElementsMeanBatch | Reduction::Mean => shares.elem_count(),
            Reduction::Sum => 1,
        };
        Ok((shares.sum_all()? / count.max(1) as f64)?)
    }
}

/// Added to a divisor, so that a sample without gradient has a share of 0. The derivative of a division has its square,
/// which f32 still holds.
const LEAST_SQUARES: f64 = 1e-15;

/// The sum of squares over all tensors, sample by sample: (n,).
fn squares(tensors: &[Tensor]) -> Result<Tensor> {
    let mut total: Option<Tensor> = None;
    for tensor in tensors {
        let sums = tensor.sqr()?.flatten_from(1)?.sum(1)?;
        total = Some(match total {
            Some(total) => (total + sums)?,
            None => sums,
        });
    }
    total.ok_or_else(no_source)
}

fn no_source() -> Error {
    Error::Shape { what: "provenance", actual: vec![0], expected: "at least one source".to_string() }
}
