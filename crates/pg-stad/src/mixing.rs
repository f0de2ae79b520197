//! Batches of mixes, with the provenance that guides them.

use candle_core::{Device, Tensor, WithDType};
use pg_cli::choices::MaskKind;
use pg_grad::{Provenance, Source};
use pg_models::{Groups, PointLayout};
use pg_random::Seed;
use pg_synth::{BatchMix, MixedScenes, Scenes};

use crate::detection::batch;
use crate::error::StadError;
use crate::loss::one_hot;
use crate::settings::{GradFeatures, MixConfig, TargetName};

/// Scenes that a network trains on.
#[derive(Debug)]
pub struct Mixed {
    /// (n, slots, keypoints, 5).
    pub points: Tensor,
    /// What the points are.
    pub structure: Structure,
    /// Class of each source, (n,) each.
    pub labels: Vec<Tensor>,
    /// Share of each source, (n,) each.
    pub shares: Vec<Tensor>,
    /// What guides; `None` where nothing was mixed.
    pub provenance: Option<Provenance>,
    /// Which points are there, row by row.
    valid: Vec<bool>,
    /// Sources that keep logits of their own.
    unmixed: Option<usize>,
}

/// What the points of some scenes are.
#[derive(Debug)]
pub struct Structure {
    /// Which of them are there.
    pub layout: PointLayout,
    /// Rows of instances that are pooled to a row of logits, where each source keeps its own: of each mix its sources, then
    /// all of it.
    pub groups: Option<Groups>,
}

impl Structure {
    fn new(layout: PointLayout, unmixed: Option<usize>) -> Result<Self, StadError> {
        let groups = unmixed.map(|sources| groups(&layout, sources)).transpose()?;
        Ok(Self { layout, groups })
    }
}

impl Mixed {
    /// Share of each class (n, classes).
    ///
    /// # Errors
    /// If candle fails.
    pub fn shares_of_classes(&self, classes: usize) -> candle_core::Result<Tensor> {
        let of_sources = self
            .labels
            .iter()
            .zip(&self.shares)
            .map(|(labels, shares)| one_hot(labels, classes)?.broadcast_mul(&shares.unsqueeze(1)?));
        Tensor::stack(&of_sources.collect::<candle_core::Result<Vec<_>>>()?, 0)?.sum(0)
    }

    /// What the points of some of the mixes are, by their rows.
    ///
    /// # Errors
    /// If there are none.
    pub fn structure_of(&self, mixes: &[u32]) -> Result<Structure, StadError> {
        let [_, slots, keypoints] = self.structure.layout.shape();
        let valid: Vec<&[bool]> = self.valid.chunks_exact(slots * keypoints).collect();
        let valid: Vec<&[bool]> = mixes.iter().filter_map(|&mix| valid.get(mix as usize).copied()).collect();
        Structure::new(PointLayout::new(&valid.concat(), [valid.len(), slots, keypoints])?, self.unmixed)
    }
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
    pub fn mix(&self, scenes: &Scenes, epoch: usize, step: u64, device: &Device) -> Result<Mixed, StadError> {
        let mixes = self.config.mixes() && epoch >= self.config.mix_start;
        let sources = if mixes { self.config.sources } else { 1 };
        let mixed = BatchMix { sources }.mix(scenes)?;
        let (points, layout) = batch(&mixed.scenes, device)?;
        let unmixed = (mixes && self.config.target == TargetName::Unmix).then_some(sources);
        let structure = Structure::new(layout, unmixed)?;
        let labels = by_source(&mixed.labels, sources, device)?;
        let shares = by_source(&mixed.shares, sources, device)?;
        let provenance = if mixes { Some(self.provenance(&mixed, &labels, step, device)?) } else { None };
        let valid = mixed.scenes.valid().to_vec();
        Ok(Mixed { points, structure, labels, shares, provenance, valid, unmixed })
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
        let features: &[bool] = match self.config.grad_features {
            GradFeatures::All => &[true],
            GradFeatures::Xy => &[true, true, false, false, false],
        };
        // The gradient of a source's class counts on the people of other classes; of a source that is missing, nowhere.
        let elsewhere = |source: usize| {
            let weights = owners.iter().enumerate().flat_map(|(place, &owner)| {
                let of = |source: usize| place / slots * mixed.sources + source;
                let counts = mixed.shares[of(source)] > 0.0
                    && match self.mask {
                        MaskKind::Full => !is_of_one_class(mixed, place / slots),
                        _ => mixed.labels[of(owner.into())] != mixed.labels[of(source)],
                    };
                features.iter().map(move |&is_asked| f32::from(u8::from(counts && is_asked)))
            });
            Tensor::from_vec(weights.collect::<Vec<_>>(), (n, slots, 1, features.len()), device)
        };
        // The logits of the whole scene come after those that sources have of their own.
        let first = match self.config.target {
            TargetName::Unmix => mixed.sources * self.classes,
            TargetName::Soft => 0,
        };
        let sources = labels.iter().enumerate().map(|(source, labels)| {
            Ok(Source { classes: (labels + first as f64)?, elsewhere: elsewhere(source)? })
        });
        Ok(Provenance::weighted(sources.collect::<Result<_, StadError>>()?)?)
    }
}

/// What each source has in each mix, (n,) each.
fn by_source<T: WithDType>(
    values: &[T],
    sources: usize,
    device: &Device,
) -> candle_core::Result<Vec<Tensor>> {
    let of = |source: usize| values.iter().skip(source).step_by(sources).copied().collect::<Vec<_>>();
    (0..sources).map(|source| Tensor::new(of(source), device)).collect()
}

fn is_of_one_class(mixed: &MixedScenes, mix: usize) -> bool {
    let labels = &mixed.labels[mix * mixed.sources..][..mixed.sources];
    labels.iter().all(|label| *label == labels[0])
}

/// The instances of each source of each mix, and then all of the mix. A source that is missing has those of all, and no
/// share in the loss.
fn groups(layout: &PointLayout, sources: usize) -> Result<Groups, StadError> {
    let [n, slots, _] = layout.shape();
    let mut groups = vec![Vec::new(); n * (sources + 1)];
    for (row, &place) in (0..).zip(layout.instances()) {
        let (mix, slot) = (place as usize / slots, place as usize % slots);
        groups[mix * (sources + 1) + slot / (slots / sources)].push(row);
    }
    for mix in groups.chunks_exact_mut(sources + 1) {
        let everyone = mix.concat();
        for group in mix.iter_mut().filter(|group| group.is_empty()) {
            group.clone_from(&everyone);
        }
    }
    Ok(Groups::new(&groups)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::network;
    use crate::settings::SynthName;
    use pg_models::Mode;
    use pg_synth::Scene;

    /// Scenes of two people of one joint; in every other one the second is not there. Their columns count up.
    fn batch(labels: &[u32]) -> Scenes {
        let scene = |index: usize| {
            let x = index as f32;
            let valid = vec![true, index.is_multiple_of(2)];
            Scene { points: vec![[x, 0.0, 0.0, 1.0, 0.0], [x + 0.5, 0.0, 0.0, 1.0, 0.0]], valid }
        };
        Scenes::new(&(0..labels.len()).map(scene).collect::<Vec<_>>(), (2, 1), labels.to_vec()).unwrap()
    }

    fn mixer(target: TargetName, mask: MaskKind, sources: usize) -> Mixer {
        let synth = SynthName::Batchmix;
        let config = MixConfig { synth, sources, target, mix_start: 1, grad_features: GradFeatures::All };
        Mixer { config, mask, classes: 3, seed: Seed(7) }
    }

    fn mix(mixer: &Mixer, labels: &[u32]) -> Mixed {
        mixer.mix(&batch(labels), 1, 5, &Device::Cpu).unwrap()
    }

    /// Of each source its classes, and where its gradient counts.
    fn counts(mixed: &Mixed) -> Vec<(Vec<u32>, Vec<Vec<f32>>)> {
        let of = |source: &pg_grad::Source| {
            let elsewhere = source.elsewhere.flatten_from(1).unwrap().to_vec2().unwrap();
            (source.classes.to_vec1().unwrap(), elsewhere)
        };
        mixed.provenance.as_ref().unwrap().as_sources().iter().map(of).collect()
    }

    #[test]
    fn nothing_is_mixed_before_its_time() {
        let mixed =
            mixer(TargetName::Unmix, MaskKind::True, 2).mix(&batch(&[0, 1]), 0, 0, &Device::Cpu).unwrap();
        assert!(mixed.provenance.is_none() && mixed.structure.groups.is_none());
        assert_eq!((mixed.points.dims(), mixed.labels.len()), (&[2, 2, 1, 5][..], 1));
        assert_eq!(mixed.shares[0].to_vec1::<f32>().unwrap(), [1.0, 1.0]);
    }

    #[test]
    fn the_true_mask_is_what_others_brought() {
        let mixed = mix(&mixer(TargetName::Soft, MaskKind::True, 2), &[0, 1, 2, 2]);
        assert_eq!(mixed.points.dims(), [2, 4, 1, 5]);
        let columns = mixed.points.narrow(3, 0, 1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(columns, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]);
        let shares: Vec<Vec<f32>> = mixed.shares.iter().map(|shares| shares.to_vec1().unwrap()).collect();
        assert_eq!(shares, [[0.5, 0.5], [0.5, 0.5]]);
        // The second mix is of one class, whose people are all its own.
        assert_eq!(
            counts(&mixed),
            [
                (vec![0, 2], vec![vec![0.0, 0.0, 1.0, 1.0], vec![0.0; 4]]),
                (vec![1, 2], vec![vec![1.0, 1.0, 0.0, 0.0], vec![0.0; 4]]),
            ]
        );
    }

    #[test]
    fn three_sources_keep_from_each_other_and_share_a_class() {
        let mixed = mix(&mixer(TargetName::Soft, MaskKind::True, 3), &[1, 0, 1]);
        assert_eq!(
            counts(&mixed),
            [
                (vec![1], vec![vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.0]]),
                (vec![0], vec![vec![1.0, 1.0, 0.0, 0.0, 1.0, 1.0]]),
                (vec![1], vec![vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.0]]),
            ]
        );
    }

    #[test]
    fn only_the_place_counts_if_asked_for() {
        let mut mixer = mixer(TargetName::Soft, MaskKind::True, 2);
        mixer.config.grad_features = GradFeatures::Xy;
        let mixed = mix(&mixer, &[0, 1]);
        let elsewhere = &mixed.provenance.as_ref().unwrap().as_sources()[0].elsewhere;
        assert_eq!(elsewhere.dims(), [1, 4, 1, 5]);
        let (own, other) = ([0.0; 5], [1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(counts(&mixed)[0].1, [[own, own, other, other].concat()]);
    }

    #[test]
    fn the_full_mask_counts_everything_but_mixes_of_one_class() {
        for target in [TargetName::Soft, TargetName::Unmix] {
            let full = counts(&mix(&mixer(target, MaskKind::Full, 2), &[0, 1, 2, 2]));
            assert!(full.iter().all(|(_, counts)| *counts == [[1.0; 4], [0.0; 4]]), "{full:?}");
        }
    }

    #[test]
    fn the_random_mask_is_drawn_step_by_step_and_as_large_as_the_true_one() {
        let mixer = mixer(TargetName::Unmix, MaskKind::Random, 2);
        let labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2];
        let at = |step| counts(&mixer.mix(&batch(&labels), 1, step, &Device::Cpu).unwrap());
        assert_eq!(at(3), at(3));
        assert_ne!(at(3), at(4));
        let truth = counts(&mix(&Mixer { mask: MaskKind::True, ..mixer }, &labels));
        assert_ne!(at(3), truth);
        for ((_, random), (_, truth)) in at(3).iter().zip(&truth) {
            for (random, truth) in random.iter().zip(truth) {
                // The last place is of nobody, and stays.
                assert_eq!((random.iter().sum::<f32>(), random[3]), (truth.iter().sum::<f32>(), truth[3]));
            }
        }
    }

    #[test]
    fn unmixed_sources_have_logits_of_their_own() {
        let mixed = mix(&mixer(TargetName::Unmix, MaskKind::True, 2), &[0, 1, 2, 2]);
        // What guides are the three logits of the whole scene, behind those of both sources.
        assert_eq!(
            counts(&mixed),
            [
                (vec![6, 6 + 2], vec![vec![0.0, 0.0, 1.0, 1.0], vec![0.0; 4]]),
                (vec![6 + 1, 6 + 2], vec![vec![1.0, 1.0, 0.0, 0.0], vec![0.0; 4]]),
            ]
        );
        // A logit that is the greatest column of a group: of each source that of its own people, and then of all.
        let skp = network(&[(0, 1.0)], &[&[0]]);
        let Structure { layout, groups } = &mixed.structure;
        let rows = skp.forward_groups(&mixed.points, layout, groups.as_ref().unwrap(), Mode::Eval).unwrap();
        assert_eq!(rows.to_vec2::<f32>().unwrap(), [[0.5], [1.0], [1.0], [2.5], [3.0], [3.0]]);
    }

    #[test]
    fn a_source_that_is_missing_has_no_share_and_guides_nothing() {
        // Of three sources, the second mix lacks one, which stands under the class of the first.
        let rest = counts(&mix(&mixer(TargetName::Soft, MaskKind::True, 3), &[0, 1, 2, 0, 1]));
        let of_second: Vec<&[f32]> = rest.iter().map(|(_, counts)| &counts[1][..4]).collect();
        assert_eq!(of_second, [[0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0], [0.0; 4]]);
        let mixed = mix(&mixer(TargetName::Unmix, MaskKind::True, 2), &[0, 1, 2]);
        let shares: Vec<Vec<f32>> = mixed.shares.iter().map(|shares| shares.to_vec1().unwrap()).collect();
        assert_eq!(shares, [[0.5, 1.0], [0.5, 0.0]]);
        assert_eq!(counts(&mixed)[1], (vec![6 + 1, 6 + 2], vec![vec![1.0, 1.0, 0.0, 0.0], vec![0.0; 4]]));
        let skp = network(&[(0, 1.0)], &[&[0]]);
        let Structure { layout, groups } = &mixed.structure;
        let rows = skp.forward_groups(&mixed.points, layout, groups.as_ref().unwrap(), Mode::Eval).unwrap();
        assert_eq!(rows.to_vec2::<f32>().unwrap(), [[0.5], [1.0], [1.0], [2.5], [2.5], [2.5]]);
        let soft = mix(&mixer(TargetName::Soft, MaskKind::Full, 2), &[0, 1, 2]);
        assert!(counts(&soft).iter().all(|(_, counts)| counts[1] == [0.0; 4]), "alone, it is of one class");
    }

    #[test]
    fn some_mixes_are_what_they_were_among_all() {
        let mixed = mix(&mixer(TargetName::Unmix, MaskKind::True, 2), &[0, 1, 2, 2, 1, 0, 1]);
        let skp = network(&[(0, 1.0), (0, -1.0)], &[&[0], &[1]]);
        let logits = |points: &Tensor, Structure { layout, groups }: &Structure| {
            let rows = skp.forward_groups(points, layout, groups.as_ref().unwrap(), Mode::Eval).unwrap();
            rows.to_vec2::<f32>().unwrap()
        };
        let all = logits(&mixed.points, &mixed.structure);
        let rows = Tensor::new(&[1_u32, 3], &Device::Cpu).unwrap();
        let some = mixed.points.index_select(&rows, 0).unwrap();
        let some = logits(&some, &mixed.structure_of(&[1, 3]).unwrap());
        assert_eq!(some, [&all[3..6], &all[9..]].concat());
        assert!(mixed.structure_of(&[]).is_err());
    }
}
