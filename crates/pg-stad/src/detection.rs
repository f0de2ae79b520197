//! From a clip to a score of every person in every frame.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use pg_grad::ops::softmax;
use pg_grad::without_graph;
use pg_models::{KEYPOINT_FEATURES, Mode, PointLayout, Skp};
use pg_skeleton::{Clip, Instance};
use pg_synth::Scenes;
use pg_tubes::{BoundingBox, InstanceScores, VideoDetections};

use crate::error::StadError;
use crate::sampling::{Cast, Sampling};

/// Joints surer than this make a person's box, where the clip brings none.
const SURE: f32 = 0.05;
/// What such a box is enlarged by on each side, as a share of its size: joints end before hands, feet and hair do.
const ENLARGED: f64 = 0.1;

/// Scores people by a network that was trained on whole clips.
#[derive(Debug)]
pub struct Detector<'a> {
    skp: &'a Skp,
    classes: &'a [String],
    sampling: Sampling,
    window: usize,
    device: Device,
}

impl<'a> Detector<'a> {
    /// Frames that are looked at together, if nothing else is said: what memory a long video takes does not grow with it.
    pub const WINDOW: usize = 300;

    /// A detector for scenes of as many frames as the network was trained on, on the CPU. It looks at everybody in a frame.
    pub fn new(skp: &'a Skp, classes: &'a [String], sampling: Sampling) -> Self {
        Self { skp, classes, sampling, window: Self::WINDOW, device: Device::Cpu }
    }

    /// The same on another device.
    #[must_use]
    pub fn on(self, device: &Device) -> Self {
        Self { device: device.clone(), ..self }
    }

    /// The same, with clips cut into windows of at most so many frames: a long video is not one action.
    #[must_use]
    pub fn with_window(self, window: usize) -> Self {
        Self { window: window.max(1), ..self }
    }

    /// Scores, softmax over the classes, of everyone who has a joint; no tubes yet.
    ///
    /// # Errors
    /// If the network fails.
    pub fn detect(&self, clip: &Clip) -> Result<VideoDetections, StadError> {
        let (mut instances, cast) = (Vec::new(), Cast::new(clip));
        for start in (0..clip.frames).step_by(self.window.min(clip.frames.max(1))) {
            let window = start..clip.frames.min(start.saturating_add(self.window));
            instances.extend(self.window_scores(&cast, window)?);
        }
        instances.sort_by_key(|(index, _)| *index);
        Ok(VideoDetections {
            id: clip.id.clone(),
            frames: clip.frames,
            classes: self.classes.to_vec(),
            instances: instances.into_iter().map(|(_, scores)| scores).collect(),
            tubes: Vec::new(),
        })
    }

    /// Of the instances of a window, by their index in the clip.
    fn window_scores(
        &self,
        cast: &Cast,
        window: Range<usize>,
    ) -> Result<Vec<(usize, InstanceScores)>, StadError> {
        let Some(keypoints) = cast.clip.keypoint_count() else { return Ok(Vec::new()) };
        let sampling = self.sampling.for_everyone(cast, &window);
        let sampled = sampling.passes(cast, &window, keypoints);
        if sampled.is_empty() {
            return Ok(Vec::new());
        }
        let scenes: Vec<_> = sampled.iter().map(|sampled| sampled.scene.clone()).collect();
        let scenes = Scenes::new(&scenes, (sampling.slots(), keypoints), vec![0; sampled.len()])?;
        let (points, layout) = batch(&scenes, &self.device)?;
        let logits = without_graph(|| self.skp.forward_instances(&points, &layout, Mode::Eval))?;
        let scores = softmax(&logits, 1)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let (mut found, clip) = (Vec::new(), cast.clip);
        for (&place, scores) in layout.instances().iter().zip(scores) {
            if !scores.iter().all(|score| score.is_finite()) {
                return Err(StadError::Scores { id: clip.id.clone() });
            }
            let (pass, slot) = (place as usize / sampling.slots(), place as usize % sampling.slots());
            if let Some(index) = sampled[pass].instances[slot]
                && let Some(bounding_box) = box_of(clip, &clip.instances[index])
            {
                let Instance { frame, track, .. } = clip.instances[index];
                found.push((index, InstanceScores { frame, track, bounding_box, scores }));
            }
        }
        Ok(found)
    }
}

/// The box that the clip brings, or one around the joints.
pub fn box_of(clip: &Clip, person: &Instance) -> Option<BoundingBox> {
    person.bounding_box.or_else(|| {
        let extent = person.extent(SURE).or_else(|| person.extent(0.0))?;
        Some(extent.enlarged(ENLARGED).clipped(clip.width, clip.height))
    })
}

/// Scenes as the network takes them.
///
/// # Errors
/// If a scene has nobody in it.
pub(crate) fn batch(scenes: &Scenes, device: &Device) -> Result<(Tensor, PointLayout), StadError> {
    let [n, slots, keypoints] = scenes.shape();
    let points: Vec<f32> = scenes.points().iter().flatten().copied().collect();
    let points = Tensor::from_vec(points, (n, slots, keypoints, KEYPOINT_FEATURES), device)?;
    Ok((points, PointLayout::new(scenes.valid(), scenes.shape())?))
}
