//! Which input element came from which source, as the loss needs it: one weight a source.

use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};

/// One source of every sample of a batch.
#[derive(Debug, Clone)]
pub struct Source {
    /// Class whose score this source explains, (n,), u32 or i64.
    pub classes: Tensor,
    /// Weight on that score's input gradient, in [0, 1] and broadcastable to the input: 0 where the input comes from
    /// this source, 1 where it does not.
    pub elsewhere: Tensor,
}

/// The sources of a batch, and how their penalties combine.
#[derive(Debug, Clone)]
pub struct Provenance {
    sources: Vec<Source>,
    joint: bool,
}

impl Provenance {
    /// Edited samples (hard label): `mask` (n, 1, h, w) is 1 on the unmodified region, the target. A sample whose
    /// `edited` (n,) is 0 has no non-target region and counts 0.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::MaskRange`].
    pub fn edited(classes: &Tensor, mask: &Tensor, edited: &Tensor) -> Result<Self> {
        check_batch("edited", edited, classes)?;
        let mask = &checked_mask(mask, classes)?;
        let elsewhere = (1.0 - mask)?.broadcast_mul(&per_sample(&edited.to_dtype(mask.dtype())?, mask)?)?;
        Ok(Self { sources: vec![Source { classes: classes.clone(), elsewhere }], joint: false })
    }

    /// Mixes of two sources (soft label): `mask` (n, 1, h, w) is 1 where the input comes from source A, of class `a`,
    /// and 0 where it comes from B, of class `b`; fractions between. A pair of one class counts 0. The two weighted
    /// gradients are added before the norm is taken, as in the paper.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::MaskRange`].
    pub fn mixed(a: &Tensor, b: &Tensor, mask: &Tensor) -> Result<Self> {
        let mask = checked_mask(mask, a)?;
        let masks = [(a.clone(), mask.clone()), (b.clone(), (1.0 - &mask)?)];
        Ok(Self { joint: true, ..Self::sources(&masks)? })
    }

    /// Any number of sources, each with its classes (n,) and its mask (1 on its own region): the penalties of the
    /// sources are added. Sources of one class share their regions: a class may look at all of its sources.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::MaskRange`].
    pub fn sources(masks: &[(Tensor, Tensor)]) -> Result<Self> {
        let masks = masks
            .iter()
            .map(|(classes, mask)| {
                check_batch("classes", classes, &masks[0].0)?;
                Ok((classes.clone(), checked_mask(mask, classes)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let sources = masks
            .iter()
            .map(|(classes, _)| {
                Ok(Source { classes: classes.clone(), elsewhere: elsewhere(classes, &masks)? })
            })
            .collect::<Result<_>>()?;
        Ok(Self { sources, joint: false })
    }

    /// Sources with weights of any kind: the penalties of the sources are added.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::MaskRange`].
    pub fn weighted(sources: Vec<Source>) -> Result<Self> {
        for source in &sources {
            check_batch("classes", &source.classes, &sources[0].classes)?;
            check_mask(&source.elsewhere, &source.classes)?;
        }
        Ok(Self { sources, joint: false })
    }

    /// The sources.
    pub fn as_sources(&self) -> &[Source] {
        &self.sources
    }

    /// The weighted gradients whose norms make the loss: one for all sources if they are joint, else one a source.
    pub(crate) fn residuals(&self, gradients: &[Tensor]) -> Result<Vec<Tensor>> {
        let weighted: Vec<Tensor> = self
            .sources
            .iter()
            .zip(gradients)
            .map(|(source, g)| {
                let (g, elsewhere) = (at_least_f32(g)?, &source.elsewhere);
                check_broadcast(elsewhere, &g)?;
                Ok(g.broadcast_mul(&elsewhere.to_dtype(g.dtype())?)?)
            })
            .collect::<Result<_>>()?;
        if !self.joint || weighted.is_empty() {
            return Ok(weighted);
        }
        let sum = weighted[1..].iter().try_fold(weighted[0].clone(), |sum, w| sum + w)?;
        Ok(vec![sum])
    }

    /// The whole gradients of those sources of each sample that have a region elsewhere; 0 for the others.
    pub(crate) fn guided_gradients(&self, gradients: &[Tensor]) -> Result<Vec<Tensor>> {
        let sources = self.sources.iter().zip(gradients);
        let guided = sources.map(|(source, g)| {
            let (g, elsewhere) = (at_least_f32(g)?, source.elsewhere.flatten_from(1)?);
            let is_guided = elsewhere.sum(1)?.gt(0f64)?.to_dtype(g.dtype())?;
            Ok(g.broadcast_mul(&per_sample(&is_guided, &g)?)?)
        });
        guided.collect()
    }

    /// Of `samples` of a batch of `n`, or of all, those that have a non-target region, in ascending order.
    pub(crate) fn guided(&self, n: usize, samples: Option<&[u32]>) -> Result<Vec<u32>> {
        for source in &self.sources {
            let shape = source.elsewhere.dims();
            if shape.first() != Some(&n) {
                let expected = format!("({n}, ...), one mask a sample");
                return Err(Error::Shape { what: "mask", actual: shape.to_vec(), expected });
            }
        }
        if let Some(samples) = samples
            && !(samples.is_sorted_by(|a, b| a < b) && samples.last().is_none_or(|&last| (last as usize) < n))
        {
            let actual = samples.iter().map(|&sample| sample as usize).collect();
            let expected = format!("indices below {n}, in ascending order");
            return Err(Error::Shape { what: "guided samples", actual, expected });
        }
        let mut sums: Option<Tensor> = None;
        for source in &self.sources {
            let regions = source.elsewhere.flatten_from(1)?.sum(1)?;
            sums = Some(sums.map_or(Ok(regions.clone()), |sums| sums + &regions)?);
        }
        let Some(sums) = sums else {
            let expected = "at least one source".to_string();
            return Err(Error::Shape { what: "provenance", actual: vec![0], expected });
        };
        let sums = sums.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let has_region = |&i: &u32| sums.get(i as usize).is_some_and(|sum| *sum > 0.0);
        Ok(match samples {
            Some(samples) => samples.iter().copied().filter(has_region).collect(),
            None => (0..sums.len() as u32).filter(has_region).collect(),
        })
    }

    /// The provenance of some samples of the batch, by index (m,).
    pub(crate) fn select(&self, samples: &Tensor) -> Result<Self> {
        let sources = self
            .sources
            .iter()
            .map(|s| {
                Ok(Source {
                    classes: s.classes.index_select(samples, 0)?,
                    elsewhere: s.elsewhere.index_select(samples, 0)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { sources, joint: self.joint })
    }
}

/// 1 minus the union of the regions of all sources that share `classes`, sample by sample.
fn elsewhere(classes: &Tensor, masks: &[(Tensor, Tensor)]) -> Result<Tensor> {
    let mut elsewhere = masks[0].1.ones_like()?;
    for (other, mask) in masks {
        let same = classes.eq(other)?.to_dtype(mask.dtype())?;
        elsewhere = (elsewhere - mask.broadcast_mul(&per_sample(&same, mask)?)?)?;
    }
    // Rounding and overlapping regions must not give a negative weight.
    Ok(elsewhere.clamp(0f64, 1f64)?)
}

/// `v` (n,) in a shape that broadcasts against `like` (n, ...).
fn per_sample(v: &Tensor, like: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1; like.rank()];
    shape[0] = v.elem_count();
    Ok(v.reshape(shape)?)
}

fn check_batch(what: &'static str, v: &Tensor, classes: &Tensor) -> Result<()> {
    if v.rank() != 1 || v.dims() != classes.dims() {
        let expected = format!("({},), one value a sample", classes.elem_count());
        return Err(Error::Shape { what, actual: v.dims().to_vec(), expected });
    }
    Ok(())
}

fn check_mask(mask: &Tensor, classes: &Tensor) -> Result<()> {
    if mask.rank() < 2 || mask.dim(0)? != classes.elem_count() {
        let expected = format!("({}, ...), one mask a sample", classes.elem_count());
        return Err(Error::Shape { what: "mask", actual: mask.dims().to_vec(), expected });
    }
    let values = mask.flatten_all()?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let [min, max, sum] = [values.min(0)?, values.max(0)?, values.sum_all()?].map(|t| t.to_scalar::<f64>());
    let (min, max, sum) = (min?, max?, sum?);
    let within = |value: f64| (0.0..=1.0).contains(&value);
    // Minimum and maximum may pass over NaN; a sum does not.
    for (value, sound) in [(sum, !sum.is_nan()), (min, within(min)), (max, within(max))] {
        if !sound {
            return Err(Error::MaskRange { what: "mask", value });
        }
    }
    Ok(())
}

/// The mask as floats: integers cannot hold 1 - M or its fractions.
fn checked_mask(mask: &Tensor, classes: &Tensor) -> Result<Tensor> {
    check_mask(mask, classes)?;
    at_least_f32(mask)
}

/// A mask that broadcasts along another axis than the sample's, or enlarges the gradient, is a mistake.
fn check_broadcast(mask: &Tensor, gradient: &Tensor) -> Result<()> {
    let fits = mask.rank() == gradient.rank()
        && mask.dims().iter().zip(gradient.dims()).all(|(&mask, &input)| mask == 1 || mask == input);
    if fits {
        return Ok(());
    }
    let expected = format!("the input's {:?}, or 1 on an axis", gradient.dims());
    Err(Error::Shape { what: "mask", actual: mask.dims().to_vec(), expected })
}

/// `t` in f32 or f64, whichever it has; anything else in f32: L_PG is never computed in less.
pub(crate) fn at_least_f32(t: &Tensor) -> Result<Tensor> {
    Ok(if matches!(t.dtype(), DType::F32 | DType::F64) { t.clone() } else { t.to_dtype(DType::F32)? })
}
