//! From a clip to a scene of fixed size: which frames, and which people in each.

use std::ops::Range;

use pg_random::Stream;
use pg_skeleton::{Clip, Instance, Layout};
use pg_synth::{POINT_FEATURES, Scene};
use rand::RngExt;

/// Size of a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Frames of a scene.
    pub frames: usize,
    /// People of a frame; of more, those are kept whose joints are surest.
    pub people: usize,
}

/// A scene, and which instance of the clip each of its slots holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// The points, (frames times people, keypoints).
    pub scene: Scene,
    /// Index into the clip's instances, one a slot.
    pub instances: Vec<Option<usize>>,
}

impl Sampling {
    /// People of a scene.
    pub fn slots(&self) -> usize {
        self.frames * self.people
    }

    /// The frames of a training scene: the clip is divided into equal parts, and of each one frame is drawn.
    pub fn random_frames(&self, clip: &Clip, rng: &mut Stream) -> Vec<usize> {
        let part = |i: usize| i * clip.frames / self.frames;
        (0..self.frames)
            .map(|i| {
                let (start, end) = (part(i), part(i + 1));
                // A short clip has parts without a frame, which repeat the one before.
                if end > start { rng.random_range(start..end) } else { start.min(clip.frames - 1) }
            })
            .collect()
    }

    /// The middle frame of each part.
    pub fn middle_frames(&self, clip: &Clip) -> Vec<usize> {
        (0..self.frames).map(|i| (2 * i + 1) * clip.frames / (2 * self.frames)).collect()
    }

    /// The first frames, as many as a scene has, in which someone has a joint.
    pub fn frames_with_people(&self, clip: &Clip) -> Vec<usize> {
        let seen = |person: &&Instance| person.keypoints.iter().any(|point| point.confidence > SURE);
        let mut frames: Vec<usize> = clip.instances.iter().filter(seen).map(|person| person.frame).collect();
        frames.sort_unstable();
        frames.dedup();
        frames.truncate(self.frames);
        frames
    }

    /// Frames of a window in sets of at most as many as a scene has, each of which spans the window: together they hold
    /// every frame once.
    pub fn cover(&self, window: Range<usize>) -> Vec<Vec<usize>> {
        let passes = window.len().div_ceil(self.frames).max(1);
        (0..passes).map(|pass| window.clone().skip(pass).step_by(passes).collect()).collect()
    }

    /// The scene of some frames of a clip with `keypoints` joints a person. Positions count from the centre of the image,
    /// times from the middle of `window`.
    pub fn scene(&self, clip: &Clip, frames: &[usize], window: &Range<usize>, keypoints: usize) -> Sampled {
        let mut scene = Scene {
            points: vec![[0.0; POINT_FEATURES]; self.slots() * keypoints],
            valid: vec![false; self.slots() * keypoints],
        };
        let mut instances = vec![None; self.slots()];
        for (place, &frame) in frames.iter().enumerate() {
            for (person, index) in people_of(clip, frame, self.people).into_iter().enumerate() {
                let slot = place * self.people + person;
                instances[slot] = Some(index);
                let points = &mut scene.points[slot * keypoints..][..keypoints];
                let valid = &mut scene.valid[slot * keypoints..][..keypoints];
                fill(clip, &clip.instances[index], window, points, valid);
            }
        }
        Sampled { scene, instances }
    }
}

/// Of the people of a frame those, at most `most`, whose joints are surest, in the order of the clip.
fn people_of(clip: &Clip, frame: usize, most: usize) -> Vec<usize> {
    let mut people: Vec<usize> =
        (0..clip.instances.len()).filter(|&index| clip.instances[index].frame == frame).collect();
    if people.len() > most {
        let confidence =
            |index: usize| clip.instances[index].keypoints.iter().map(|point| point.confidence).sum::<f32>();
        people.sort_by(|&a, &b| confidence(b).total_cmp(&confidence(a)));
        people.truncate(most);
        people.sort_unstable();
    }
    people
}

/// Joints below this confidence are not there, as in pyskl.
const SURE: f32 = 0.01;

fn fill(
    clip: &Clip,
    person: &Instance,
    window: &Range<usize>,
    points: &mut [[f32; POINT_FEATURES]],
    valid: &mut [bool],
) {
    let (half_width, half_height) = (clip.width as f32 / 2.0, clip.height as f32 / 2.0);
    let from_start = (person.frame - window.start.min(person.frame)) as f32;
    let time = if window.len() > 1 { 2.0 * from_start / (window.len() - 1) as f32 - 1.0 } else { 0.0 };
    let last = (person.keypoints.len().max(2) - 1) as f32;
    for (joint, keypoint) in person.keypoints.iter().enumerate().take(points.len()) {
        if keypoint.confidence > SURE {
            let (x, y) = (keypoint.x / half_width - 1.0, keypoint.y / half_height - 1.0);
            points[joint] = [x, y, time, keypoint.confidence, joint as f32 / last];
            valid[joint] = true;
        }
    }
}

/// The joint that each becomes in a mirror; empty for a number of joints that no known layout has.
pub fn mirrored(keypoints: usize) -> Vec<usize> {
    Layout::of_count(keypoints).map(|layout| layout.mirrored()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;
    use pg_skeleton::Keypoint;

    fn clip(frames: usize) -> Clip {
        let person = |frame: usize, confidence: f32| Instance {
            frame,
            track: None,
            keypoints: vec![
                Keypoint { x: 0.0, y: 240.0, confidence },
                Keypoint { x: 160.0, y: 120.0, confidence: 0.0 },
            ],
            bounding_box: None,
        };
        Clip {
            id: "v".into(),
            width: 320,
            height: 240,
            fps: None,
            frames,
            label: None,
            instances: (0..frames).flat_map(|frame| [person(frame, 0.3), person(frame, 0.9)]).collect(),
        }
    }

    #[test]
    fn a_scene_holds_the_surest_people_in_normal_coordinates() {
        let sampling = Sampling { frames: 2, people: 1 };
        let sampled = sampling.scene(&clip(3), &[0, 2], &(0..3), 2);
        assert_eq!(sampled.instances, [Some(1), Some(5)]);
        assert_eq!(sampled.scene.points[0], [-1.0, 1.0, -1.0, 0.9, 0.0]);
        assert_eq!(sampled.scene.points[2], [-1.0, 1.0, 1.0, 0.9, 0.0]);
        assert_eq!(sampled.scene.valid, [true, false, true, false]);
        let one = Sampling { frames: 1, people: 3 }.scene(&clip(1), &[0], &(0..1), 2);
        assert_eq!((one.scene.points[0][2], &one.instances[..]), (0.0, &[Some(0), Some(1), None][..]));
    }

    #[test]
    fn frames_are_drawn_part_by_part_and_covered_once() {
        let sampling = Sampling { frames: 4, people: 1 };
        let mut rng = Seed(0).stream("frames", &[]);
        for _ in 0..20 {
            let frames = sampling.random_frames(&clip(10), &mut rng);
            assert!(frames.iter().zip([0..2, 2..5, 5..7, 7..10]).all(|(frame, part)| part.contains(frame)));
        }
        assert_eq!(sampling.middle_frames(&clip(8)), [1, 3, 5, 7]);
        for frames in [1, 2, 3] {
            assert!(sampling.random_frames(&clip(frames), &mut rng).iter().all(|&frame| frame < frames));
            assert!(sampling.middle_frames(&clip(frames)).iter().all(|&frame| frame < frames));
        }
        let cover = sampling.cover(5..15);
        assert_eq!(cover, [vec![5, 8, 11, 14], vec![6, 9, 12], vec![7, 10, 13]]);
    }
}
