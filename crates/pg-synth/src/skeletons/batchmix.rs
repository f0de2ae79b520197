//! BatchMix: the point clouds of several videos in one scene (Hachiuma et al., CVPR 2023; as Nagano et al. 2026 restate it,
//! the batch is only given another shape). Nothing is cut: every point stays and is known to be of its video.

use super::Scenes;
use crate::SynthError;
use pg_random::Stream;
use rand::seq::SliceRandom;

/// Lays neighbouring scenes of a batch over each other. The batch should be shuffled; a rest that is too short for a mix
/// becomes one of fewer sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMix {
    /// Videos in a mix; 1 mixes nothing.
    pub sources: usize,
}

impl Default for BatchMix {
    fn default() -> Self {
        Self { sources: 2 }
    }
}

/// Mixes, and what is known of them.
#[derive(Clone, Debug, PartialEq)]
pub struct MixedScenes {
    /// The mixes; slot s of a mix is of source s / (slots / sources).
    pub scenes: Scenes,
    /// Videos in a mix.
    pub sources: usize,
    /// Class of each source, (mixes, sources); a source that is missing in the last mix has the class of the first.
    pub labels: Vec<u32>,
    /// Share of each source in its mix, (mixes, sources): all alike, or 0 for one that is missing.
    pub shares: Vec<f32>,
}

impl BatchMix {
    /// Mixes a batch. Nothing is random.
    ///
    /// # Errors
    /// [`SynthError::Parameter`] without sources, or with more than 255.
    pub fn mix(&self, batch: &Scenes) -> Result<MixedScenes, SynthError> {
        let sources = self.sources;
        if !(1..=255).contains(&sources) {
            let (name, expected) = ("sources", "from 1 to 255");
            return Err(SynthError::Parameter { name, value: sources as f64, expected });
        }
        let (mut labels, mut shares) = (Vec::new(), Vec::new());
        for of_mix in batch.labels().chunks(sources) {
            let share = 1.0 / of_mix.len() as f32;
            labels.extend((0..sources).map(|source| of_mix.get(source).copied().unwrap_or(of_mix[0])));
            shares.extend((0..sources).map(|source| if source < of_mix.len() { share } else { 0.0 }));
        }
        Ok(MixedScenes { scenes: batch.stacked(sources), sources, labels, shares })
    }
}

impl MixedScenes {
    /// The source of each slot of each mix, (mixes, slots): its provenance.
    pub fn owners(&self) -> Vec<u8> {
        let [mixes, slots, _] = self.scenes.shape();
        (0..mixes * slots).map(|i| (i % slots / (slots / self.sources)) as u8).collect()
    }

    /// Owners at random, as many slots of each source as there are, among the people of each mix: for an ablation.
    pub fn random_owners(&self, rng: &mut Stream) -> Vec<u8> {
        let [_, slots, keypoints] = self.scenes.shape();
        let mut owners = self.owners();
        let people = self.scenes.valid().chunks_exact(keypoints).map(|points| points.contains(&true));
        let people: Vec<bool> = people.collect();
        for (owners, people) in owners.chunks_exact_mut(slots).zip(people.chunks_exact(slots)) {
            let places: Vec<usize> = (0..slots).filter(|&slot| people[slot]).collect();
            let mut drawn: Vec<u8> = places.iter().map(|&slot| owners[slot]).collect();
            drawn.shuffle(rng);
            for (place, owner) in places.into_iter().zip(drawn) {
                owners[place] = owner;
            }
        }
        owners
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scene;
    use super::*;
    use pg_random::Seed;

    /// `n` scenes of 3 people with 2 joints, all of which carry the scene's number; the last person is not there.
    fn batch(n: usize) -> Scenes {
        let scene = |i: usize| Scene {
            points: vec![[i as f32; 5]; 6],
            valid: vec![true, true, true, false, false, false],
        };
        let scenes: Vec<Scene> = (0..n).map(scene).collect();
        Scenes::new(&scenes, (3, 2), (0..n as u32).map(|i| 10 + i).collect()).unwrap()
    }

    #[test]
    fn mixes_lay_neighbours_over_each_other() {
        let mixed = BatchMix::default().mix(&batch(5)).unwrap();
        assert_eq!(mixed.scenes.shape(), [3, 6, 2]);
        assert_eq!(mixed.labels, [10, 11, 12, 13, 14, 14]);
        assert_eq!(mixed.shares, [0.5, 0.5, 0.5, 0.5, 1.0, 0.0]);
        assert_eq!(mixed.owners()[..6], [0, 0, 0, 1, 1, 1]);
        let first: Vec<f32> = mixed.scenes.points()[..12].iter().map(|point| point[0]).collect();
        assert_eq!(first, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert!(mixed.scenes.valid()[24 + 6..].iter().all(|&valid| !valid), "the rest is empty");
    }

    #[test]
    fn one_source_is_the_batch_itself() {
        let mixed = BatchMix { sources: 1 }.mix(&batch(3)).unwrap();
        assert_eq!((mixed.scenes, mixed.shares), (batch(3), vec![1.0; 3]));
        assert!(matches!(BatchMix { sources: 0 }.mix(&batch(3)), Err(SynthError::Parameter { .. })));
    }

    #[test]
    fn random_owners_keep_their_number_among_those_who_are_there() {
        let mixed = BatchMix { sources: 4 }.mix(&batch(8)).unwrap();
        let (truth, drawn) = (mixed.owners(), mixed.random_owners(&mut Seed(0).stream("owners", &[])));
        assert_ne!(truth, drawn);
        let people: Vec<usize> = (0..24).filter(|i| i % 3 < 2).collect();
        for source in 0..4u8 {
            let count = |owners: &[u8]| people.iter().filter(|&&i| i < 12 && owners[i] == source).count();
            assert_eq!((count(&truth), count(&drawn)), (2, 2));
        }
        assert!((0..24).filter(|i| i % 3 == 2).all(|i| truth[i] == drawn[i]));
    }
}
