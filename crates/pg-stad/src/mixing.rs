//! Batches of mixes, with the provenance that guides them.

use candle_core::{Device, Tensor};
use pg_cli::choices::MaskKind;
use pg_grad::Provenance;
use pg_models::{Groups, KEYPOINT_FEATURES, PointLayout};
use pg_random::Seed;
use pg_synth::{BatchMix, MixedScenes, Scenes};

use crate::error::StadError;
use crate::settings::{GradFeatures, MixConfig, TargetName};

/// Scenes that a network trains on.
#[derive(Debug)]
pub struct Mixed {
    /// (n, slots, keypoints, 5).
    pub points: Tensor,
    /// Which of them are there.
    pub layout: PointLayout,
    /// Rows of instances that are pooled to a row of logits, where each source keeps its own: n times the sources.
    pub groups: Option<Groups>,
    /// Class of each source, (n,) each.
    pub labels: Vec<Tensor>,
    /// Share of each source, (n,) each.
    pub shares: Vec<Tensor>,
    /// What guides; `None` where nothing was mixed.
    pub provenance: Option<Provenance>,
}

/// How batches are mixed.
#[derive(Clone, Copy, Debug)]
pub struct Mixer {
    /// What is mixed, and what for.
    pub config: MixConfig,
    /// Which mask guides.
    pub mask: MaskKind,
    /// Number of classes.
    pub classes: usize,
    /// What random masks are drawn from.
    pub seed: Seed,
}

impl Mixer {
    /// Mixes the batch of a step of `epoch`, from 0.
    ///
    /// # Errors
    /// If the scenes cannot be mixed, or one has nobody in it.
    pub fn mix(&self, batch: &Scenes, epoch: usize, step: u64, device: &Device) -> Result<Mixed, StadError> {
        let mixes = self.config.mixes() && epoch >= self.config.mix_start;
        let sources = if mixes { self.config.sources } else { 1 };
        let mixed = BatchMix { sources }.mix(batch)?;
        let [n, slots, keypoints] = mixed.scenes.shape();
        let points: Vec<f32> = mixed.scenes.points().iter().flatten().copied().collect();
        let layout = PointLayout::new(mixed.scenes.valid(), [n, slots, keypoints])?;
        let groups = if mixes && self.target_is_unmixed() { Some(by_source(&mixed, &layout)?) } else { None };
        let of = |source: usize| move |i: usize| i * sources + source;
        let column = |values: &[f32], source| {
            Tensor::from_iter((0..n).map(of(source)).map(|i| values[i]).collect::<Vec<_>>(), device)
        };
        let labels = (0..sources)
            .map(|source| {
                Tensor::from_iter((0..n).map(of(source)).map(|i| mixed.labels[i]).collect::<Vec<_>>(), device)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let shares =
            (0..sources).map(|source| column(&mixed.shares, source)).collect::<Result<Vec<_>, _>>()?;
        let provenance = if mixes { Some(self.provenance(&mixed, &labels, step, device)?) } else { None };
        let points = Tensor::from_vec(points, (n, slots, keypoints, KEYPOINT_FEATURES), device)?;
        Ok(Mixed { points, layout, groups, labels, shares, provenance })
    }

    fn provenance(
        &self,
        mixed: &MixedScenes,
        labels: &[Tensor],
        step: u64,
        device: &Device,
    ) -> Result<Provenance, StadError> {
        let [n, slots, _] = mixed.scenes.shape();
        let owners = match self.mask {
            MaskKind::Random => mixed.random_owners(&mut self.seed.stream("random-mask", &[step])),
            MaskKind::True | MaskKind::Full => mixed.owners(),
        };
        // A mask of 1 where the gradient is of no concern: on what is the source's own, on features left out, and for a source
        // that is missing and has logits of its own.
        let features: &[bool] = match self.config.grad_features {
            GradFeatures::All => &[true],
            GradFeatures::Xy => &[true, true, false, false, false],
        };
        let of_source = |source: usize| {
            let values = owners.iter().enumerate().flat_map(|(place, &owner)| {
                let mix = place / slots;
                let own = if self.target_is_unmixed() && mixed.shares[mix * mixed.sources + source] == 0.0 {
                    true
                } else if self.mask == MaskKind::Full && !self.is_of_one_class(mixed, mix) {
                    false
                } else {
                    usize::from(owner) == source
                };
                features.iter().map(move |&counts| f32::from(u8::from(own || !counts)))
            });
            Tensor::from_vec(values.collect::<Vec<_>>(), (n, slots, 1, features.len()), device)
        };
        let sources = labels
            .iter()
            .enumerate()
            .map(|(source, labels)| {
                // Where each source has logits of its own, they stand side by side.
                let classes = match self.config.target {
                    TargetName::Unmix => (labels + (source * self.classes) as f64)?,
                    TargetName::Soft => labels.clone(),
                };
                Ok((classes, of_source(source)?))
            })
            .collect::<Result<Vec<_>, StadError>>()?;
        Ok(Provenance::sources(&sources)?)
    }

    fn target_is_unmixed(&self) -> bool {
        self.config.target == TargetName::Unmix
    }

    /// Where the sources share their logits, a mix of one class counts nothing under any mask.
    fn is_of_one_class(&self, mixed: &MixedScenes, mix: usize) -> bool {
        let labels = &mixed.labels[mix * mixed.sources..][..mixed.sources];
        !self.target_is_unmixed() && labels.iter().all(|label| *label == labels[0])
    }
}

/// The instances of each source of each mix. A source that is missing has those of the first, and no share in the loss.
fn by_source(mixed: &MixedScenes, layout: &PointLayout) -> Result<Groups, StadError> {
    let ([n, slots, _], owners) = (mixed.scenes.shape(), mixed.owners());
    let mut groups = vec![Vec::new(); n * mixed.sources];
    for (row, &place) in (0..).zip(layout.instances()) {
        let owner = usize::from(owners[place as usize]);
        groups[place as usize / slots * mixed.sources + owner].push(row);
    }
    for mix in groups.chunks_exact_mut(mixed.sources) {
        let (first, others) = mix.split_at_mut(1);
        for group in others.iter_mut().filter(|group| group.is_empty()) {
            group.clone_from(&first[0]);
        }
    }
    Ok(Groups::new(&groups)?)
}
