//! One clip: who is in it, what they do, and what is seen of them.

use super::body::{Body, JOINTS, Pose, View};
use super::detector;
use super::motion::Performance;
use super::posture::Posture;
use super::{SkeletonScene, SkeletonSpec};
use pg_random::Stream;
use pg_skeleton::{Clip, Instance};
use pg_tubes::{BoundingBox, LabelledTube, Tube, VideoTruth};
use rand::RngExt;
use rand::seq::SliceRandom;
use std::array;
use std::f32::consts::{FRAC_PI_2, TAU};
use std::ops::Range;

/// Frames a second: a repetition of a motion then takes about a second.
const FPS: f64 = 12.0;
/// How much a box is larger than the joints in it, on each side: they lie inside of the body.
const MARGIN: f64 = 0.1;
/// Standard deviation, in radians, of a person's angles from those of others.
const HABIT: f32 = 0.05;

/// Draws a clip of a class with a posture.
pub(super) fn draw(
    spec: &SkeletonSpec,
    id: String,
    (label, posture): (usize, usize),
    rng: &mut Stream,
) -> SkeletonScene {
    let [least, greatest] = spec.frames;
    let frames = rng.random_range(least..=greatest);
    let action = action(spec.action, frames, rng);
    let motion = spec.classes[label];
    let performance = Performance::new(motion, action.len(), rng);
    let people = people(spec, frames, (action.clone(), performance), Posture::ALL[posture], rng);

    let in_action = |frame| people[ACTOR].joints(frame);
    let boxes = action.clone().map(|frame| surround(&in_action(frame)).clipped(spec.width, spec.height));
    let tube = Tube { start: action.start, boxes: boxes.collect() };
    let label = motion.name().to_owned();
    let truth = VideoTruth { id: id.clone(), tubes: vec![LabelledTube { label: label.clone(), tube }] };

    let (mut instances, mut actor) = (Vec::new(), Vec::new());
    for frame in 0..frames {
        for (person, instance) in seen(spec, frame, &people, rng) {
            instances.push(instance);
            actor.push(person == Some(ACTOR) && action.contains(&frame));
        }
    }
    let (width, height) = (spec.width, spec.height);
    let clip = Clip { id, width, height, fps: Some(FPS), frames, label: Some(label), instances };
    SkeletonScene { clip, truth, actor, bystander: posture }
}

/// The frames of the action.
fn action([least, greatest]: [f64; 2], frames: usize, rng: &mut Stream) -> Range<usize> {
    let length = (rng.random_range(least..=greatest) * frames as f64).round() as usize;
    let length = length.clamp(1, frames);
    let start = rng.random_range(0..=frames - length);
    start..start + length
}

/// Index of the actor among the people.
const ACTOR: usize = 0;

/// The actor, the bystander with the posture, and others, next to each other in any order.
fn people(
    spec: &SkeletonSpec,
    frames: usize,
    (action, performance): (Range<usize>, Performance),
    posture: Posture,
    rng: &mut Stream,
) -> Vec<Person> {
    let [least, greatest] = spec.people;
    let count = rng.random_range(least..=greatest);
    let mut places: Vec<usize> = (0..count).collect();
    places.shuffle(rng);
    let column = |place: usize, rng: &mut Stream| {
        spec.width as f32 * (place as f32 + rng.random_range(0.25..0.75)) / count as f32
    };
    let mut roles = vec![Role::Act(action, performance), Role::Hold(posture)];
    roles.extend((roles.len()..count).map(|_| Role::ordinary(frames, rng)));
    let person = |(role, place)| {
        let column = column(place, rng);
        Person::new(spec, role, (place, column), rng)
    };
    roles.into_iter().zip(places).map(person).collect()
}

/// What somebody does throughout a clip.
#[derive(Clone, Debug)]
enum Role {
    /// Stands about but in the frames of the action.
    Act(Range<usize>, Performance),
    Hold(Posture),
    Stand,
    /// Turns the head, with so many radians a frame of the swing.
    LookAround(f32),
    Walk(Walk),
}

impl Role {
    /// What goes on in clips of any class.
    fn ordinary(frames: usize, rng: &mut Stream) -> Self {
        match rng.random_range(0..3) {
            0 => Self::Stand,
            1 => Self::LookAround(TAU / rng.random_range(16.0..40.0)),
            _ => Self::Walk(Walk::new(frames, rng)),
        }
    }
}

/// A walk across the image, in its middle halfway through the clip.
#[derive(Clone, Copy, Debug)]
struct Walk {
    /// The frame of that, as a count.
    halfway: f32,
    /// Repetitions of two steps, a frame.
    tempo: f32,
    /// Body heights, a frame; negative to the left.
    speed: f32,
}

impl Walk {
    /// Body heights that two steps cover.
    const TWO_STEPS: f32 = 0.8;

    fn new(frames: usize, rng: &mut Stream) -> Self {
        let tempo = 1.0 / rng.random_range(10.0..16.0);
        let direction = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
        Self { halfway: frames as f32 / 2.0, tempo, speed: direction * tempo * Self::TWO_STEPS }
    }

    fn pose(self, frame: f32) -> Pose {
        let leg = |phase: f32| {
            let (swing, lifted) = (0.42 * phase.sin(), phase.cos().max(0.0));
            [[swing, 0.03], [swing - 0.1 - 0.7 * lifted, 0.02]]
        };
        let arm = |phase: f32| [[0.4 * phase.sin(), 0.12], [0.4 * phase.sin() + 0.35, 0.05]];
        let phase = TAU * self.tempo * frame;
        let opposite = phase + TAU / 2.0;
        Pose {
            torso: [0.06, 0.0],
            arms: [arm(opposite), arm(phase)],
            legs: [leg(phase), leg(opposite)],
            ..Pose::REST
        }
    }
}

/// Somebody in a clip.
#[derive(Clone, Debug)]
struct Person {
    role: Role,
    body: Body,
    view: View,
    /// Added to every pose.
    habit: Pose,
    sway: Sway,
    /// Who it is, if the instances say so.
    track: u32,
}

/// Small movements of anybody.
#[derive(Clone, Copy, Debug)]
struct Sway {
    /// Radians a frame.
    tempo: f32,
    /// Phases of torso, head, and either arm, in radians.
    phases: [f32; 4],
}

impl Sway {
    fn new(rng: &mut Stream) -> Self {
        Self {
            tempo: TAU / rng.random_range(15.0..40.0),
            phases: array::from_fn(|_| rng.random_range(0.0..TAU)),
        }
    }

    /// A number in [-1, 1] for each phase.
    fn at(self, frame: f32) -> [f32; 4] {
        self.phases.map(|phase| (self.tempo * frame + phase).sin())
    }
}

impl Person {
    fn new(spec: &SkeletonSpec, role: Role, (place, column): (usize, f32), rng: &mut Stream) -> Self {
        let [least, greatest] = spec.figure;
        let height = rng.random_range(least..=greatest);
        let (width, bottom) = (spec.width as f32, spec.height as f32);
        let column = column.clamp(0.3 * height, width - 0.3 * height);
        let row = rng.random_range(1.08 * height..0.99 * bottom);
        let yaw = match &role {
            Role::Walk(walk) => walk.speed.signum() * rng.random_range(1.1..FRAC_PI_2),
            _ => rng.random_range(-1.1..1.1),
        };
        let habit = Pose { rise: 0.0, ..Pose::REST.zip(Pose::REST, |_, _| HABIT * detector::normal(rng)) };
        let view = View { ground: [column, row], height, yaw };
        Self { role, body: Body::new(rng), view, habit, sway: Sway::new(rng), track: place as u32 }
    }

    /// Where the joints truly are in a frame, in pixels.
    fn joints(&self, frame: usize) -> [[f32; 2]; JOINTS] {
        let mut view = self.view;
        if let Role::Walk(walk) = self.role {
            view.ground[0] += view.height * walk.speed * (frame as f32 - walk.halfway);
        }
        view.project(&self.body, &self.pose(frame))
    }

    fn pose(&self, frame: usize) -> Pose {
        let time = frame as f32;
        let [torso, head, left, right] = self.sway.at(time);
        let mut pose = match &self.role {
            Role::Act(action, performance) if action.contains(&frame) => {
                performance.pose(frame - action.start)
            }
            Role::Act(..) | Role::Stand | Role::LookAround(_) => Pose::REST,
            Role::Hold(posture) => posture.pose(),
            Role::Walk(walk) => walk.pose(time),
        };
        if let Role::LookAround(tempo) = self.role {
            pose.head[0] += 1.1 * (tempo * time + self.sway.phases[1]).sin();
        }
        pose.torso[1] += 0.03 * torso;
        pose.head[0] += 0.15 * head;
        for (arm, sway) in pose.arms.iter_mut().zip([left, right]) {
            arm[0][0] += 0.04 * sway;
            arm[1][0] += 0.08 * sway;
        }
        pose.zip(self.habit, |angle, habit| angle + habit)
    }
}

/// What the pose estimator makes of a frame, in any order, and who it is: `None` for nobody.
fn seen(
    spec: &SkeletonSpec,
    frame: usize,
    people: &[Person],
    rng: &mut Stream,
) -> Vec<(Option<usize>, Instance)> {
    let instance = |track, keypoints| Instance {
        frame,
        track: spec.tracks.then_some(track),
        keypoints,
        bounding_box: None,
    };
    let mut seen = Vec::new();
    for (index, person) in people.iter().enumerate() {
        if let Some(keypoints) = detector::see(spec, &person.joints(frame), person.view.height, rng) {
            seen.push((Some(index), instance(person.track, keypoints)));
        }
    }
    if rng.random_bool(spec.false_people) {
        let track = people.len() + frame;
        seen.push((None, instance(track as u32, detector::imagine(spec, rng))));
    }
    seen.shuffle(rng);
    seen
}

/// The box of a person of whom these are the joints.
fn surround(joints: &[[f32; 2]]) -> BoundingBox {
    let nothing = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    let extent = joints
        .iter()
        .map(|joint| joint.map(f64::from))
        .fold(nothing, |[x0, y0, x1, y1], [x, y]| [x0.min(x), y0.min(y), x1.max(x), y1.max(y)]);
    BoundingBox::from(extent).enlarged(MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;

    #[test]
    fn a_box_is_the_extent_of_the_joints_and_a_tenth_on_each_side() {
        let around = surround(&[[10.0, 50.0], [30.0, 20.0], [20.0, 120.0]]);
        assert_eq!(<[f64; 4]>::from(around), [8.0, 10.0, 32.0, 130.0]);
    }

    #[test]
    fn actions_are_as_long_as_asked_and_anywhere() {
        let rng = &mut Seed(0).stream("action", &[]);
        let actions: Vec<_> = (0..500).map(|_| action([0.3, 0.7], 40, rng)).collect();
        let (lengths, ends) = (|r: &Range<usize>| r.len(), |r: &Range<usize>| r.end);
        assert_eq!(actions.iter().map(lengths).min().zip(actions.iter().map(lengths).max()), Some((12, 28)));
        assert_eq!(actions.iter().map(|r| r.start).min().zip(actions.iter().map(ends).max()), Some((0, 40)));
        assert_eq!(action([0.1, 0.1], 1, rng), 0..1);
    }

    #[test]
    fn a_walker_crosses_the_image_facing_the_way() {
        for index in 0..50 {
            let rng = &mut Seed(0).stream("walk", &[index]);
            let role = Role::Walk(Walk::new(40, rng));
            let walker = Person::new(&SkeletonSpec::default(), role, (0, 160.0), rng);
            let column = |frame, joint: usize| walker.joints(frame)[joint][0];
            let way = column(40, 11) - column(0, 11);
            assert!(way.abs() > 1.2 * walker.view.height, "{way}");
            // The nose is before the ears.
            assert!((column(20, 0) - column(20, 3)) * way > 0.0);
            // Each foot is in front for part of the time.
            let ahead = (0..40).filter(|&frame| (column(frame, 15) - column(frame, 16)) * way > 0.0).count();
            assert!((10..=30).contains(&ahead), "{ahead}");
        }
    }

    #[test]
    fn the_actor_rests_before_and_after_and_the_posture_is_held() {
        let rng = &mut Seed(0).stream("actor", &[]);
        let performance = Performance::new(crate::Motion::Squat, 12, rng);
        let spec = SkeletonSpec::default();
        let actor = Person::new(&spec, Role::Act(10..22, performance), (0, 160.0), rng);
        let hips = |frame| actor.joints(frame)[11][1];
        assert!((hips(0) - hips(9)).abs() < 0.02 * actor.view.height);
        assert!((hips(0) - hips(22)).abs() < 0.02 * actor.view.height);
        assert!(hips(16) - hips(0) > 0.1 * actor.view.height, "lower");

        let holder = Person::new(&spec, Role::Hold(Posture::Sitting), (0, 160.0), rng);
        let (first, height) = (holder.joints(0), holder.view.height);
        for joints in (0..40).map(|frame| holder.joints(frame)) {
            let moved = first.iter().zip(&joints).map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]));
            assert!(moved.fold(0.0, f32::max) < 0.12 * height);
        }
    }
}
