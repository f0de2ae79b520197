//! From a clip to a score of every person in every frame.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use pg_grad::without_graph;
use pg_models::{KEYPOINT_FEATURES, Mode, PointLayout, Skp};
use pg_skeleton::{Clip, Instance};
use pg_synth::Scenes;
use pg_tubes::{BoundingBox, InstanceScores, VideoDetections};

use crate::error::StadError;
use crate::loss::Loss;
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
    loss: Loss,
    window: usize,
    device: Device,
}

impl<'a> Detector<'a> {
    /// Most frames that are looked at together, if nothing else is said: a long video is not one action.
    pub const WINDOW: usize = 300;

    /// A detector on the CPU, for a network trained on scenes of this size with this loss. It looks at everybody in a frame.
    pub fn new(skp: &'a Skp, classes: &'a [String], sampling: Sampling, loss: Loss) -> Self {
        Self { skp, classes, sampling, loss, window: Self::WINDOW, device: Device::Cpu }
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

    /// Scores of everyone who has a joint; no tubes yet.
    ///
    /// # Errors
    /// If the network fails.
    pub fn detect(&self, clip: &Clip) -> Result<VideoDetections, StadError> {
        let (mut instances, cast) = (Vec::new(), Cast::new(clip));
        // Of equal length, so that none is too short to be anything like a training clip.
        let windows = clip.frames.div_ceil(self.window);
        let start = |window: usize| (window as u128 * clip.frames as u128 / windows as u128) as usize;
        for window in 0..windows {
            instances.extend(self.window_scores(&cast, &(start(window)..start(window + 1)))?);
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
        window: &Range<usize>,
    ) -> Result<Vec<(usize, InstanceScores)>, StadError> {
        let (mut found, clip) = (Vec::new(), cast.clip);
        look_through(cast, window, (self.sampling, &self.device), |points, layout, instances| {
            let logits = without_graph(|| self.skp.forward_instances(points, layout, Mode::Eval))?;
            if !is_finite(&logits)? {
                return Err(StadError::Scores { id: clip.id.clone() });
            }
            let scores = self.loss.scores(&logits)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
            for (&place, scores) in layout.instances().iter().zip(scores) {
                if let Some(index) = instances[place as usize]
                    && let Some(bounding_box) = box_of(clip, &clip.instances[index])
                {
                    let Instance { frame, track, .. } = clip.instances[index];
                    found.push((index, InstanceScores { frame, track, bounding_box, scores }));
                }
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// Whether all logits are: infinite ones can have finite scores.
fn is_finite(logits: &Tensor) -> candle_core::Result<bool> {
    let logits = logits.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(logits.abs()?.sum_all()?.to_scalar::<f64>()?.is_finite())
}

/// Points that go through the network together, if a scene has no more: memory depends on them, not on the clip.
const POINTS_AT_ONCE: usize = 1 << 16;

/// Shows `look` scenes that together hold everyone in each frame of a window, some at a time: their points (n, slots,
/// keypoints, 5), and of each slot of each scene its instance of the clip.
pub(crate) fn look_through(
    cast: &Cast,
    window: &Range<usize>,
    (sampling, device): (Sampling, &Device),
    mut look: impl FnMut(&Tensor, &PointLayout, &[Option<usize>]) -> Result<(), StadError>,
) -> Result<(), StadError> {
    let Some(keypoints) = cast.clip.keypoint_count() else { return Ok(()) };
    let sampling = sampling.for_everyone(cast, window);
    let at_once = (POINTS_AT_ONCE / (sampling.slots() * keypoints).max(1)).max(1);
    let mut passes = sampling.passes(cast, window, keypoints);
    loop {
        let (scenes, instances): (Vec<_>, Vec<_>) =
            passes.by_ref().take(at_once).map(|sampled| (sampled.scene, sampled.instances)).unzip();
        if scenes.is_empty() {
            return Ok(());
        }
        let labels = vec![0; scenes.len()];
        let (points, layout) = batch(&Scenes::new(&scenes, (sampling.slots(), keypoints), labels)?, device)?;
        look(&points, &layout, &instances.concat())?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{clip, names, network, person, right_or_left};
    use pg_models::SkpSpec;
    use pg_random::Seed;
    use pg_skeleton::Keypoint;

    const SAMPLING: Sampling = Sampling { frames: 3, people: 1 };

    /// Ten frames with no, one, two and three people in turn, the last of each frame first.
    fn crowd() -> Clip {
        let people = |frame: usize| {
            (0..frame % 4).rev().map(move |i| person(frame, 0.3 * i as f32 - 0.4, 0.07 * frame as f32 - 0.3))
        };
        clip("v", 10, (0..10).flat_map(people).collect())
    }

    fn trained() -> Skp {
        let spec = SkpSpec { dim: 8, ..SkpSpec::new(2) };
        Skp::new(spec, Seed(3), DType::F32, &Device::Cpu).unwrap()
    }

    fn detect(skp: &Skp, clip: &Clip, window: usize) -> Vec<InstanceScores> {
        let classes = names(&["a", "b"]);
        Detector::new(skp, &classes, SAMPLING, Loss::CrossEntropy)
            .with_window(window)
            .detect(clip)
            .unwrap()
            .instances
    }

    #[test]
    fn everyone_is_scored_once_whatever_the_window() {
        let (skp, clip) = (trained(), crowd());
        for window in [0, 1, 2, 3, 4, 7, 9, 10, 11, usize::MAX] {
            let found = detect(&skp, &clip, window);
            assert_eq!(found.len(), clip.instances.len(), "window {window}");
            for (found, person) in found.iter().zip(&clip.instances) {
                assert_eq!((found.frame, Some(found.bounding_box)), (person.frame, person.bounding_box));
                assert!((found.scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            }
        }
        assert_eq!(detect(&skp, &clip, 10), detect(&skp, &clip, usize::MAX));
    }

    #[test]
    fn scores_are_those_of_the_person() {
        let people = vec![person(0, 0.5, 0.0), person(0, -0.5, 0.0), person(1, 0.0, 0.0)];
        let found = detect(&right_or_left(), &clip("v", 2, people), 300);
        // The logits are x and -x.
        let sigmoid = |x: f32| 1.0 / (1.0 + (-2.0 * x).exp());
        for (found, x) in found.iter().zip([0.5, -0.5, 0.0]) {
            assert!((found.scores[0] - sigmoid(x)).abs() < 1e-6, "{found:?}");
        }
    }

    #[test]
    fn scores_do_not_depend_on_the_order_of_people() {
        let (skp, clip) = (trained(), crowd());
        let mut turned = clip.clone();
        turned.instances.reverse();
        turned.instances.swap(2, 7);
        let scores = |found: &[InstanceScores], clip: &Clip| -> Vec<(usize, String, Vec<f32>)> {
            let mut scores: Vec<_> = found
                .iter()
                .zip(&clip.instances)
                .map(|(found, person)| {
                    (person.frame, format!("{:?}", person.keypoints), found.scores.clone())
                })
                .collect();
            scores.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
            scores
        };
        let straight = scores(&detect(&skp, &clip, 4), &clip);
        for (a, b) in straight.iter().zip(scores(&detect(&skp, &turned, 4), &turned)) {
            assert_eq!((a.0, &a.1), (b.0, &b.1));
            assert!(a.2.iter().zip(&b.2).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
        }
        assert!(straight.iter().any(|(_, _, scores)| (scores[0] - straight[0].2[0]).abs() > 1e-4));
    }

    #[test]
    fn those_without_a_joint_have_no_scores() {
        let mut clip = clip("v", 3, vec![person(0, 0.5, 0.0), person(2, 0.1, 0.0)]);
        clip.instances[0].keypoints[0].confidence = 0.0;
        let found = detect(&trained(), &clip, 300);
        assert_eq!(found.iter().map(|found| found.frame).collect::<Vec<_>>(), [2]);
        clip.instances.clear();
        assert!(detect(&trained(), &clip, 300).is_empty());
    }

    #[test]
    fn scores_that_are_no_numbers_are_an_error() {
        let (skp, classes) = (network(&[(0, 1e30), (1, 1.0)], &[&[0], &[1]]), names(&["a", "b"]));
        let clip = clip("v", 1, vec![person(0, 1e30, 0.0)]);
        for loss in [Loss::CrossEntropy, Loss::Bce] {
            let error = Detector::new(&skp, &classes, SAMPLING, loss).detect(&clip).unwrap_err();
            assert!(error.to_string().starts_with("clip `v`: its scores are no numbers; "), "{error}");
        }
    }

    #[test]
    fn a_box_is_the_given_one_or_around_the_joints() {
        let at = |x: f32, y: f32, confidence: f32| Keypoint { x, y, confidence };
        let keypoints = vec![at(5.0, 5.0, 0.5), at(10.0, 15.0, 0.5), at(19.0, 19.0, 0.04), at(0.0, 0.0, 0.0)];
        let mut person = Instance { frame: 0, track: None, keypoints, bounding_box: None };
        let clip = clip("v", 1, vec![]);
        let corners = |person: &Instance| box_of(&clip, person).map(<[f64; 4]>::from);
        assert_eq!(corners(&person), Some([4.5, 4.0, 10.5, 16.0]));
        // Where no joint is sure, the others have to do; the image ends at 20.
        person.keypoints.drain(..2);
        assert_eq!(corners(&person), Some([19.0; 4]));
        person.keypoints[0] = at(30.0, 8.0, 0.5);
        assert_eq!(corners(&person), Some([20.0, 8.0, 20.0, 8.0]));
        person.keypoints.remove(0);
        assert_eq!(corners(&person), None);
        person.bounding_box = Some([1.0, 2.0, 30.0, 4.0].into());
        assert_eq!(corners(&person), Some([1.0, 2.0, 30.0, 4.0]));
    }
}
