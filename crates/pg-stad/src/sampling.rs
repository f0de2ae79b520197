//! From a clip to a scene of fixed size: which frames, and which people in each.

use std::ops::Range;

use pg_random::Stream;
use pg_skeleton::{Clip, Instance, Keypoint, Layout};
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

/// A clip whose people are found by frame.
#[derive(Clone, Debug)]
pub struct Cast<'a> {
    /// The clip.
    pub clip: &'a Clip,
    /// Indices of its instances, frame by frame, those of a frame in the order of the clip.
    order: Vec<usize>,
}

impl<'a> Cast<'a> {
    /// Of a clip.
    pub fn new(clip: &'a Clip) -> Self {
        let mut order: Vec<usize> = (0..clip.instances.len()).collect();
        order.sort_by_key(|&index| clip.instances[index].frame);
        Self { clip, order }
    }

    /// Indices of the instances in some frames.
    fn within(&self, frames: &Range<usize>) -> &[usize] {
        let before =
            |frame: usize| self.order.partition_point(|&index| self.clip.instances[index].frame < frame);
        let start = before(frames.start);
        &self.order[start..before(frames.end).max(start)]
    }

    /// Of the people of a frame those, at most `most`, whose joints are surest, in the order of the clip.
    fn surest(&self, frame: usize, most: usize) -> Vec<usize> {
        let mut people = self.within(&(frame..frame.saturating_add(1))).to_vec();
        if people.len() > most {
            // What is not there counts nothing: else many such joints would outdo one that is.
            let confidence = |index: usize| -> f32 {
                let joints = self.clip.instances[index].keypoints.iter();
                joints.filter(|joint| is_there(joint)).map(|joint| joint.confidence).sum()
            };
            people.sort_by(|&a, &b| confidence(b).total_cmp(&confidence(a)));
            people.truncate(most);
            people.sort_unstable();
        }
        people
    }

    /// The greatest number of people in one of the frames.
    fn crowd(&self, frames: &Range<usize>) -> usize {
        let same = |a: &usize, b: &usize| self.clip.instances[*a].frame == self.clip.instances[*b].frame;
        self.within(frames).chunk_by(same).map(<[usize]>::len).max().unwrap_or(0)
    }
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
                // A short clip has parts without a frame, which take the next one.
                if end > start {
                    rng.random_range(start..end)
                } else {
                    start.min(clip.frames.saturating_sub(1))
                }
            })
            .collect()
    }

    /// The middle frame of each part.
    pub fn middle_frames(&self, clip: &Clip) -> Vec<usize> {
        (0..self.frames).map(|i| (2 * i + 1) * clip.frames / (2 * self.frames)).collect()
    }

    /// The first frames, as many as a scene has, in which someone has a joint.
    pub fn frames_with_people(&self, cast: &Cast) -> Vec<usize> {
        let people = cast.order.iter().map(|&index| &cast.clip.instances[index]);
        let mut frames: Vec<usize> =
            people.filter(|person| is_seen(person)).map(|person| person.frame).collect();
        frames.dedup();
        frames.truncate(self.frames);
        frames
    }

    /// Frames of a window in sets of at most as many as a scene has, each of which spans the window: together they hold
    /// every frame once.
    pub fn cover(&self, window: Range<usize>) -> impl Iterator<Item = Vec<usize>> + use<> {
        let passes = window.len().div_ceil(self.frames.max(1)).max(1);
        (0..passes).map(move |pass| window.clone().skip(pass).step_by(passes).collect())
    }

    /// The same, with room for everyone in each frame of a window.
    #[must_use]
    pub fn for_everyone(self, cast: &Cast, window: &Range<usize>) -> Self {
        Self { people: cast.crowd(window).max(1), ..self }
    }

    /// Scenes that together show every frame of a window once, those without anyone left out.
    pub fn passes(
        self,
        cast: &Cast,
        window: &Range<usize>,
        keypoints: usize,
    ) -> impl Iterator<Item = Sampled> {
        self.cover(window.clone())
            .map(move |frames| self.scene(cast, &frames, window, keypoints))
            .filter(|sampled| sampled.scene.valid.contains(&true))
    }

    /// The scene of some frames of a clip with `keypoints` joints a person. Positions count from the centre of the image,
    /// times from the middle of `window`.
    pub fn scene(&self, cast: &Cast, frames: &[usize], window: &Range<usize>, keypoints: usize) -> Sampled {
        let mut scene = Scene {
            points: vec![[0.0; POINT_FEATURES]; self.slots() * keypoints],
            valid: vec![false; self.slots() * keypoints],
        };
        let mut instances = vec![None; self.slots()];
        for (place, &frame) in frames.iter().enumerate() {
            for (person, index) in cast.surest(frame, self.people).into_iter().enumerate() {
                let slot = place * self.people + person;
                instances[slot] = Some(index);
                let points = &mut scene.points[slot * keypoints..][..keypoints];
                let valid = &mut scene.valid[slot * keypoints..][..keypoints];
                fill(cast.clip, &cast.clip.instances[index], window, points, valid);
            }
        }
        Sampled { scene, instances }
    }
}

/// Joints below this confidence are not there, as in pyskl.
const SURE: f32 = 0.01;

/// Whether a joint is there.
fn is_there(joint: &Keypoint) -> bool {
    joint.confidence > SURE
}

/// Whether a person has a joint at all.
pub fn is_seen(person: &Instance) -> bool {
    person.keypoints.iter().any(is_there)
}

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
        if is_there(keypoint) {
            let (x, y) = (keypoint.x / half_width - 1.0, keypoint.y / half_height - 1.0);
            points[joint] = [x, y, time, keypoint.confidence, joint as f32 / last];
            valid[joint] = true;
        }
    }
}

/// The joint that each becomes in a mirror; empty where the number of joints does not tell: no known layout has it, or
/// several have, as with 25.
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
        let sampled = sampling.scene(&Cast::new(&clip(3)), &[0, 2], &(0..3), 2);
        assert_eq!(sampled.instances, [Some(1), Some(5)]);
        assert_eq!(sampled.scene.points[0], [-1.0, 1.0, -1.0, 0.9, 0.0]);
        assert_eq!(sampled.scene.points[2], [-1.0, 1.0, 1.0, 0.9, 0.0]);
        assert_eq!(sampled.scene.valid, [true, false, true, false]);
        let one = Sampling { frames: 1, people: 3 }.scene(&Cast::new(&clip(1)), &[0], &(0..1), 2);
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
        let cover = |sampling: Sampling| sampling.cover(5..15).collect::<Vec<_>>();
        assert_eq!(cover(sampling), [vec![5, 8, 11, 14], vec![6, 9, 12], vec![7, 10, 13]]);
        assert_eq!(cover(Sampling { frames: 0, people: 1 }).concat(), Vec::from_iter(5..15));
    }

    #[test]
    fn joints_that_are_not_there_do_not_make_a_person_surer() {
        let mut clip = clip(1);
        clip.instances[0].keypoints = vec![Keypoint { x: 1.0, y: 1.0, confidence: 0.009 }; 20];
        clip.instances[1].keypoints = vec![Keypoint { x: 1.0, y: 1.0, confidence: 0.02 }; 20];
        clip.instances[1].keypoints[1..].fill(Keypoint { x: 0.0, y: 0.0, confidence: 0.0 });
        let sampled = Sampling { frames: 1, people: 1 }.scene(&Cast::new(&clip), &[0], &(0..1), 20);
        assert_eq!(sampled.instances, [Some(1)]);
        assert!(sampled.scene.valid.contains(&true));
    }

    #[test]
    fn people_are_found_in_whatever_order_a_clip_has_them() {
        let mut clip = clip(4);
        clip.instances.swap(0, 7);
        clip.instances.remove(3);
        let cast = Cast::new(&clip);
        assert_eq!(
            (cast.surest(0, 9), cast.surest(3, 9), cast.surest(9, 9)),
            (vec![1, 6], vec![0, 5], vec![])
        );
        assert_eq!((cast.crowd(&(0..4)), cast.crowd(&(1..2)), cast.crowd(&(4..9))), (2, 1, 0));
        let everyone = Sampling { frames: 3, people: 1 }.for_everyone(&cast, &(0..4));
        let passes = everyone.passes(&cast, &(0..4), 2);
        let mut shown: Vec<usize> = passes.flat_map(|pass| pass.instances).flatten().collect();
        shown.sort_unstable();
        assert_eq!(shown, [0, 1, 2, 3, 4, 5, 6], "each once");
    }
}
