//! One guided training step: the losses and the gradient of L_cls + alpha * L_PG by every variable.

use crate::error::{Error, Result};
use crate::gates::{self, Gates};
use crate::guidance::{Guidance, Reduction, Strategy};
use crate::input_gradient::{input_gradient_detached, summed_score};
use crate::lazy::Turn;
use crate::pass::{self, Pass, backward, backward_to_weights};
use crate::provenance::Provenance;
use crate::tape;
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use std::result::Result as StdResult;

/// Why a step runs the network. A network with state (running statistics of batch normalisation) moves it in the main
/// pass only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// The pass whose logits are trained on: once a step for each sample.
    Main,
    /// A further pass of the same step, on some of the samples or on displaced ones.
    Probe,
}

/// What a step found.
#[derive(Debug)]
pub struct Step {
    /// Logits of the main pass, (n, classes), detached.
    pub logits: Tensor,
    /// L_cls.
    pub loss_cls: f64,
    /// L_PG (without alpha), if this step measured it.
    pub loss_pg: Option<f64>,
    /// Gradient of L_cls + alpha * L_PG by every variable that it depends on.
    pub gradients: GradStore,
}

impl Guidance {
    /// One step on `x` (n, ...): `network` maps an input to logits (n, classes), `criterion` maps the logits of `x` to
    /// the scalar L_cls, and `provenance` tells what to guide. `turn` comes from [`crate::Lazy::turn`]; `None` makes
    /// this a plain step.
    ///
    /// A network that draws at random (dropout) must draw the same in every pass of a step: seed its stream by the step.
    /// Where only some samples are guided, they take a second pass through the network, which sees them as a batch;
    /// with [`Guidance::independent_samples`] the batch is divided instead.
    ///
    /// # Errors
    /// [`Error::SecondOrderOff`] for the exact strategy where candle detaches gradients; anything that `network` or
    /// `criterion` reports.
    pub fn step<N: Into<Error>, C: Into<Error>>(
        &self,
        x: &Tensor,
        provenance: &Provenance,
        turn: Option<&Turn>,
        network: impl Fn(&Tensor, Forward) -> StdResult<Tensor, N>,
        criterion: impl Fn(&Tensor) -> StdResult<Tensor, C>,
    ) -> Result<Step> {
        self.check()?;
        let _scope = tape::Scope::new();
        pass::during(Pass::Full, || self.recorded_step(x, provenance, turn, network, criterion))
    }

    fn recorded_step<N: Into<Error>, C: Into<Error>>(
        &self,
        x: &Tensor,
        provenance: &Provenance,
        turn: Option<&Turn>,
        network: impl Fn(&Tensor, Forward) -> StdResult<Tensor, N>,
        criterion: impl Fn(&Tensor) -> StdResult<Tensor, C>,
    ) -> Result<Step> {
        let Some(turn) = turn else { return plain_step(x, network, criterion) };
        let strength = self.alpha * turn.scale;
        if self.independent_samples && strength > 0.0 {
            let asked = turn.samples.as_ref().map_or(x.dim(0)?, Vec::len);
            let guided = provenance.guided(x.dim(0)?, turn.samples.as_deref())?;
            if guided.is_empty() {
                let plain = plain_step(x, network, criterion)?;
                return Ok(Step { loss_pg: Some(0.0), ..plain });
            }
            if guided.len() < x.dim(0)? {
                let split = Split::new(&guided, x)?;
                return self.step_on_split(x, provenance, strength, (&split, asked), network, criterion);
            }
        }
        match &turn.samples {
            None => self.step_on_all(x, provenance, strength, network, criterion),
            Some(samples) => {
                let samples = Tensor::new(samples.as_slice(), x.device())?;
                self.step_on_some(x, provenance, strength, &samples, network, criterion)
            }
        }
    }

    fn step_on_all<N: Into<Error>, C: Into<Error>>(
        &self,
        x: &Tensor,
        provenance: &Provenance,
        strength: f64,
        network: impl Fn(&Tensor, Forward) -> StdResult<Tensor, N>,
        criterion: impl Fn(&Tensor) -> StdResult<Tensor, C>,
    ) -> Result<Step> {
        let x = Var::from_tensor(&x.detach())?;
        let (logits, gates) = self.noted(strength, || network(&x, Forward::Main).map_err(N::into))?;
        let loss_cls = criterion(&logits).map_err(C::into)?;
        let (loss_pg, gradients) =
            self.differentiate(&x, (&logits, &gates), &loss_cls, provenance, strength, network)?;
        Ok(Step { logits: logits.detach(), loss_cls: scalar(&loss_cls)?, loss_pg: Some(loss_pg), gradients })
    }

    /// Of `asked` samples those that have a non-target region go through the network by themselves; the other samples
    /// of the batch, too, and nothing is differentiated by them.
    fn step_on_split<N: Into<Error>, C: Into<Error>>(
        &self,
        x: &Tensor,
        provenance: &Provenance,
        strength: f64,
        (split, asked): (&Split, usize),
        network: impl Fn(&Tensor, Forward) -> StdResult<Tensor, N>,
        criterion: impl Fn(&Tensor) -> StdResult<Tensor, C>,
    ) -> Result<Step> {
        let x = x.detach();
        let guided = Var::from_tensor(&x.index_select(&split.guided, 0)?)?;
        let (logits_of_guided, gates) =
            self.noted(strength, || network(&guided, Forward::Main).map_err(N::into))?;
        let others = x.index_select(&split.others, 0)?;
        let logits_of_others = network(&others, Forward::Main).map_err(N::into)?;
        let logits =
            Tensor::cat(&[&logits_of_guided, &logits_of_others], 0)?.index_select(&split.order, 0)?;
        let loss_cls = criterion(&logits).map_err(C::into)?;
        // The mean runs over all that were asked for; those without a region count 0.
        let share = match self.reduction {
            Reduction::Sum => 1.0,
            _ => split.guided.elem_count() as f64 / asked as f64,
        };
        let provenance = provenance.select(&split.guided)?;
        let (loss_pg, gradients) = self.differentiate(
            &guided,
            (&logits_of_guided, &gates),
            &loss_cls,
            &provenance,
            strength * share,
            network,
        )?;
        Ok(Step {
            logits: logits.detach(),
            loss_cls: scalar(&loss_cls)?,
            loss_pg: Some(loss_pg * share),
            gradients,
        })
    }

    /// Runs a pass; notes its gates if displaced ones will follow.
    fn noted<T>(&self, strength: f64, pass: impl FnOnce() -> Result<T>) -> Result<(T, Gates)> {
        match self.strategy {
            Strategy::FiniteDifference { .. } if strength > 0.0 => gates::noting(pass),
            _ => Ok((pass()?, Gates::default())),
        }
    }

    /// L_PG of `logits`, which came from `x`, and the gradient of `loss_cls` + `strength` * L_PG.
    fn differentiate<N: Into<Error>>(
        &self,
        x: &Var,
        (logits, gates): (&Tensor, &Gates),
        loss_cls: &Tensor,
        provenance: &Provenance,
        strength: f64,
        network: impl Fn(&Tensor, Forward) -> StdResult<Tensor, N>,
    ) -> Result<(f64, GradStore)> {
        if self.strategy == Strategy::Exact && strength > 0.0 {
            // One backward pass serves both losses.
            let loss_pg = self.loss(logits, x, provenance)?;
            let total = (loss_cls + (&loss_pg * strength)?.to_dtype(loss_cls.dtype())?)?;
            return Ok((scalar(&loss_pg)?, backward_to_weights(&total, x)?));
        }
        let (loss_pg, directions) = self.measure(logits, x, provenance)?;
        // First, since it lets go of what the main pass keeps.
        let gradients = backward_to_weights(loss_cls, x)?;
        let guided = self.finite_difference(x, gates, provenance, &directions, strength, network)?;
        Ok((loss_pg, sum(gradients, guided)?))
    }

    fn step_on_some<N: Into<Error>, C: Into<Error>>(
        &self,
        x: &Tensor,
        provenance: &Provenance,
        strength: f64,
        samples: &Tensor,
        network: impl Fn(&Tensor, Forward) -> StdResult<Tensor, N>,
        criterion: impl Fn(&Tensor) -> StdResult<Tensor, C>,
    ) -> Result<Step> {
        let plain = plain_step(x, &network, criterion)?;
        let x = Var::from_tensor(&x.detach().index_select(samples, 0)?)?;
        let provenance = provenance.select(samples)?;
        let (loss_pg, guided) = if self.strategy == Strategy::Exact && strength > 0.0 {
            let logits = network(&x, Forward::Probe).map_err(N::into)?;
            let loss = self.loss(&logits, &x, &provenance)?;
            (scalar(&loss)?, Some(backward_to_weights(&(&loss * strength)?, &x)?))
        } else {
            // With a record of its own, which ends before the next passes begin.
            let ((loss, directions), gates) = tape::nested(|| {
                let (logits, gates) =
                    self.noted(strength, || network(&x, Forward::Probe).map_err(N::into))?;
                Ok((self.measure(&logits, &x, &provenance)?, gates))
            })?;
            (loss, self.finite_difference(&x, &gates, &provenance, &directions, strength, network)?)
        };
        Ok(Step { loss_pg: Some(loss_pg), gradients: sum(plain.gradients, guided)?, ..plain })
    }

    /// L_PG and its derivative by the input gradient of each source, from first-order passes alone.
    fn measure(&self, logits: &Tensor, x: &Var, provenance: &Provenance) -> Result<(f64, Vec<Tensor>)> {
        let gradients = provenance
            .as_sources()
            .iter()
            .map(|s| Ok(Var::from_tensor(&input_gradient_detached(logits, x, &s.classes, self.score)?)?))
            .collect::<Result<Vec<_>>>()?;
        let tensors: Vec<Tensor> = gradients.iter().map(|g| g.as_tensor().clone()).collect();
        let loss = self.loss_of_gradients(&tensors, provenance)?;
        let mut derivatives = backward(&loss)?;
        let directions = gradients
            .iter()
            .map(|g| derivatives.remove(g).ok_or(Error::NoInputGradient))
            .collect::<Result<_>>()?;
        Ok((scalar(&loss)?, directions))
    }

    /// With g_j the input gradient of source j's summed score F_j and v_j = dL_PG/dg_j held fixed,
    /// dL_PG/dw = sum over j of d/de dF_j(x + e v_j)/dw at e = 0, here as a central difference on the linear piece of x.
    /// `None` for a monitor, and if no gradient is to be pushed down.
    fn finite_difference<N: Into<Error>>(
        &self,
        x: &Tensor,
        gates: &Gates,
        provenance: &Provenance,
        directions: &[Tensor],
        strength: f64,
        network: impl Fn(&Tensor, Forward) -> StdResult<Tensor, N>,
    ) -> Result<Option<GradStore>> {
        let Strategy::FiniteDifference { step } = self.strategy else { return Ok(None) };
        if strength == 0.0 {
            return Ok(None);
        }
        let mut total = None;
        for (source, direction) in provenance.as_sources().iter().zip(directions) {
            let length = l2_norm(direction)?;
            if length == 0.0 {
                continue;
            }
            let norm = l2_norm(x)?;
            // An input of zeros has no scale of its own: as if its root mean square were 1.
            let scale = if norm > 0.0 { norm } else { (x.elem_count() as f64).sqrt() };
            let e = step * scale / length;
            if e > f64::from(f32::MAX) {
                // The gradient is smaller than any displacement that f32 can hold.
                continue;
            }
            for e in [e, -e] {
                let displaced = (x.detach() + (direction * e)?.to_dtype(x.dtype())?)?;
                let logits = gates::holding(gates, || network(&displaced, Forward::Probe).map_err(N::into))?;
                let score = summed_score(&logits, &source.classes, self.score)?;
                let gradients = backward(&(score * (strength / (2.0 * e)))?)?;
                total = Some(sum(gradients, total)?);
            }
        }
        Ok(total)
    }
}

/// Which samples of a batch are guided.
struct Split {
    guided: Tensor,
    others: Tensor,
    /// From the guided samples followed by the others to the batch.
    order: Tensor,
}

impl Split {
    fn new(guided: &[u32], x: &Tensor) -> Result<Self> {
        let others: Vec<u32> = (0..x.dim(0)? as u32).filter(|i| guided.binary_search(i).is_err()).collect();
        let mut order = vec![0u32; guided.len() + others.len()];
        for (place, &sample) in guided.iter().chain(&others).enumerate() {
            order[sample as usize] = place as u32;
        }
        let tensor = |indices: &[u32]| Tensor::new(indices, x.device());
        Ok(Self { guided: tensor(guided)?, others: tensor(&others)?, order: tensor(&order)? })
    }
}

fn plain_step<N: Into<Error>, C: Into<Error>>(
    x: &Tensor,
    network: impl Fn(&Tensor, Forward) -> StdResult<Tensor, N>,
    criterion: impl Fn(&Tensor) -> StdResult<Tensor, C>,
) -> Result<Step> {
    let logits = network(&x.detach(), Forward::Main).map_err(N::into)?;
    let loss = criterion(&logits).map_err(C::into)?;
    Ok(Step { logits: logits.detach(), loss_cls: scalar(&loss)?, loss_pg: None, gradients: backward(&loss)? })
}

fn sum(mut gradients: GradStore, more: Option<GradStore>) -> Result<GradStore> {
    if let Some(more) = more {
        gradients.extend(more)?;
    }
    Ok(gradients)
}

fn scalar(loss: &Tensor) -> Result<f64> {
    Ok(loss.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_scalar()?)
}

fn l2_norm(x: &Tensor) -> Result<f64> {
    let x = x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(scalar(&x.sqr()?.sum_all()?)?.sqrt())
}
