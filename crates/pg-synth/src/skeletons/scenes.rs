//! Keypoints of all people in all frames of a video, padded to a common number of people and joints.

use crate::SynthError;

/// Numbers of a keypoint: x and y (from -1 to 1 over the image), time (from -1 to 1 over the video), confidence in [0, 1],
/// and which joint it is (from 0 to 1).
pub const POINT_FEATURES: usize = 5;

/// One scene: `slots` people, of any frames, with `keypoints` joints each.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// (slots, keypoints); zeros where nothing is.
    pub points: Vec<[f32; POINT_FEATURES]>,
    /// Which points are there.
    pub valid: Vec<bool>,
}

/// Scenes of one shape, with their classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenes {
    points: Vec<[f32; POINT_FEATURES]>,
    valid: Vec<bool>,
    slots: usize,
    keypoints: usize,
    labels: Vec<u32>,
}

impl Scenes {
    /// A batch of scenes of `slots` people with `keypoints` joints, one label each.
    ///
    /// # Errors
    /// [`SynthError::EmptyBatch`] without scenes, [`SynthError::SceneLabels`] for more or fewer labels than scenes,
    /// [`SynthError::SceneLength`] for a scene that is not of this shape.
    pub fn new(
        scenes: &[Scene],
        (slots, keypoints): (usize, usize),
        labels: Vec<u32>,
    ) -> Result<Self, SynthError> {
        if scenes.is_empty() {
            return Err(SynthError::EmptyBatch);
        }
        if scenes.len() != labels.len() {
            return Err(SynthError::SceneLabels { scenes: scenes.len(), labels: labels.len() });
        }
        for (index, scene) in scenes.iter().enumerate() {
            for given in [scene.points.len(), scene.valid.len()] {
                if given != slots * keypoints || given == 0 {
                    return Err(SynthError::SceneLength { index, slots, keypoints, given });
                }
            }
        }
        let points = scenes.iter().flat_map(|scene| scene.points.iter().copied()).collect();
        let valid = scenes.iter().flat_map(|scene| scene.valid.iter().copied()).collect();
        Ok(Self { points, valid, slots, keypoints, labels })
    }

    /// Number of scenes.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never: a batch has at least one scene.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// (n, slots, keypoints).
    pub fn shape(&self) -> [usize; 3] {
        [self.len(), self.slots, self.keypoints]
    }

    /// The points, row by row, (n, slots, keypoints).
    pub fn points(&self) -> &[[f32; POINT_FEATURES]] {
        &self.points
    }

    /// Which points are there, (n, slots, keypoints).
    pub fn valid(&self) -> &[bool] {
        &self.valid
    }

    /// Classes, (n,).
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// As many slots from `sources` scenes each, laid over each other; what is missing in the last is empty.
    pub(super) fn stacked(&self, sources: usize) -> Self {
        let size = sources * self.slots * self.keypoints;
        let mixes = self.len().div_ceil(sources);
        let (mut points, mut valid) = (self.points.clone(), self.valid.clone());
        points.resize(mixes * size, [0.0; POINT_FEATURES]);
        valid.resize(mixes * size, false);
        let labels = self.labels.iter().step_by(sources).copied().collect();
        Self { points, valid, slots: sources * self.slots, keypoints: self.keypoints, labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_of_another_shape_are_named() {
        let scene = |count: usize| Scene { points: vec![[0.5; 5]; count], valid: vec![true; count] };
        let batch = Scenes::new(&[scene(6), scene(6)], (3, 2), vec![1, 0]).unwrap();
        assert_eq!((batch.shape(), batch.points().len()), ([2, 3, 2], 12));
        assert_eq!(Scenes::new(&[], (3, 2), vec![]), Err(SynthError::EmptyBatch));
        assert_eq!(
            Scenes::new(&[scene(6), scene(6)], (3, 2), vec![1]),
            Err(SynthError::SceneLabels { scenes: 2, labels: 1 })
        );
        assert_eq!(
            Scenes::new(&[scene(6), scene(5)], (3, 2), vec![1, 0]),
            Err(SynthError::SceneLength { index: 1, slots: 3, keypoints: 2, given: 5 })
        );
    }
}
