//! A body: bones of fixed lengths, turned by the angles of a pose, seen from the front without perspective.
//!
//! The body stands in a space of its own, in which x points to its left, y up and z forward, and the unit is
//! its height. A bone's angles are *swing*, forward from hanging down, and *lift*, then outward to its side, in
//! radians; they do not add up along a limb. (0, 0) hangs down, (pi/2, 0) points forward, (0, pi/2) outward and
//! (0, pi) up.

use pg_random::Stream;
use rand::RngExt;
use std::array;

/// Number of joints, in the order of COCO.
pub(super) const JOINTS: usize = 17;
/// Left, then right.
const SIDES: [f32; 2] = [1.0, -1.0];

/// Swing and lift of a bone.
pub(super) type Angles = [f32; 2];
/// The upper and the lower bone of an arm or a leg.
pub(super) type Limb = [Angles; 2];
/// A point or a direction of the body's space.
type Vector = [f32; 3];

/// What a body does at a moment. Angles in radians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pose {
    /// Bend of the torso forward, and lean to the body's left.
    pub(super) torso: Angles,
    /// Turn of the head to the body's left, and nod.
    pub(super) head: Angles,
    /// The left arm, the right arm.
    pub(super) arms: [Limb; 2],
    /// The left leg, the right leg.
    pub(super) legs: [Limb; 2],
    /// Height of the lower foot above the ground, in body heights.
    pub(super) rise: f32,
}

impl Pose {
    /// Standing about, arms down.
    pub(super) const REST: Self = Self {
        torso: [0.0, 0.0],
        head: [0.0, 0.0],
        arms: [[[0.05, 0.13], [0.25, 0.06]]; 2],
        legs: [[[0.0, 0.06], [0.0, 0.04]]; 2],
        rise: 0.0,
    };

    /// Combines the numbers of two poses.
    pub(super) fn zip(self, other: Self, mut combine: impl FnMut(f32, f32) -> f32) -> Self {
        let mut pair = |a: Angles, b: Angles| array::from_fn(|i| combine(a[i], b[i]));
        let mut limbs = |a: [Limb; 2], b: [Limb; 2]| {
            array::from_fn(|side: usize| array::from_fn(|bone: usize| pair(a[side][bone], b[side][bone])))
        };
        let (arms, legs) = (limbs(self.arms, other.arms), limbs(self.legs, other.legs));
        let (torso, head) = (pair(self.torso, other.torso), pair(self.head, other.head));
        Self { torso, head, arms, legs, rise: combine(self.rise, other.rise) }
    }

    /// `share` of the way to another pose; 0 is this one, 1 the other.
    pub(super) fn towards(self, other: Self, share: f32) -> Self {
        self.zip(other, |a, b| a + (b - a) * share)
    }

    /// What is left in place of right.
    pub(super) fn mirrored(self) -> Self {
        let ([left_arm, right_arm], [left_leg, right_leg]) = (self.arms, self.legs);
        let ([bend, lean], [turn, nod]) = (self.torso, self.head);
        Self {
            torso: [bend, -lean],
            head: [-turn, nod],
            arms: [right_arm, left_arm],
            legs: [right_leg, left_leg],
            rise: self.rise,
        }
    }
}

/// Lengths, in body heights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Body {
    ankle: f32,
    /// The bones of a leg.
    leg: [f32; 2],
    /// The bones of an arm, to the wrist.
    arm: [f32; 2],
    torso: f32,
    /// From the middle of the shoulders to that of the head.
    neck: f32,
    /// Radius of the head.
    head: f32,
    /// Half the distance between the hips.
    hips: f32,
    /// Half the distance between the shoulders.
    shoulders: f32,
}

impl Body {
    /// The build of an average adult.
    pub(super) const AVERAGE: Self = Self {
        ankle: 0.04,
        leg: [0.245, 0.245],
        arm: [0.175, 0.15],
        torso: 0.29,
        neck: 0.115,
        head: 0.055,
        hips: 0.06,
        shoulders: 0.11,
    };

    /// Anybody's.
    pub(super) fn new(rng: &mut Stream) -> Self {
        let mut vary = |length: f32| length * rng.random_range(0.9..1.1);
        let Self { ankle, leg, arm, torso, neck, head, hips, shoulders } = Self::AVERAGE;
        Self {
            ankle,
            leg: leg.map(&mut vary),
            arm: arm.map(&mut vary),
            torso: vary(torso),
            neck: vary(neck),
            head: vary(head),
            hips: vary(hips),
            shoulders: vary(shoulders),
        }
    }

    /// The joints in the body's space; the ground is at y = 0, and the middle of the hips at x = z = 0.
    fn joints(&self, pose: &Pose) -> [Vector; JOINTS] {
        let [bend, lean] = pose.torso;
        let up = [-lean.sin(), lean.cos() * bend.cos(), lean.cos() * bend.sin()];
        let across = [lean.cos(), lean.sin(), 0.0];
        let chest = along([0.0; 3], up, self.torso);
        let shoulders = SIDES.map(|side| along(chest, across, side * self.shoulders));
        let hips = SIDES.map(|side| [side * self.hips, 0.0, 0.0]);
        let [left_arm, right_arm] = array::from_fn(|i| limb(shoulders[i], pose.arms[i], self.arm, SIDES[i]));
        let [left_leg, right_leg] = array::from_fn(|i| limb(hips[i], pose.legs[i], self.leg, SIDES[i]));
        let [nose, left_eye, right_eye, left_ear, right_ear] =
            self.face(along(chest, up, self.neck), pose.head, bend);
        let joints = [
            nose,
            left_eye,
            right_eye,
            left_ear,
            right_ear,
            shoulders[0],
            shoulders[1],
            left_arm[0],
            right_arm[0],
            left_arm[1],
            right_arm[1],
            hips[0],
            hips[1],
            left_leg[0],
            right_leg[0],
            left_leg[1],
            right_leg[1],
        ];
        let lower_ankle = left_leg[1][1].min(right_leg[1][1]);
        joints.map(|[x, y, z]| [x, y - lower_ankle + self.ankle + pose.rise, z])
    }

    /// Nose, eyes and ears of a head that follows half of the torso's bend.
    fn face(&self, centre: Vector, [turn, nod]: Angles, bend: f32) -> [Vector; 5] {
        let nod = nod + bend / 2.0;
        let forward = [turn.sin() * nod.cos(), -nod.sin(), turn.cos() * nod.cos()];
        let up = [turn.sin() * nod.sin(), nod.cos(), turn.cos() * nod.sin()];
        let left = [turn.cos(), 0.0, -turn.sin()];
        let at = |sideways: f32, upward: f32, ahead: f32| {
            let point = along(along(centre, left, sideways * self.head), up, upward * self.head);
            along(point, forward, ahead * self.head)
        };
        [at(0.0, 0.0, 1.1), at(0.4, 0.4, 0.9), at(-0.4, 0.4, 0.9), at(0.85, 0.2, 0.0), at(-0.85, 0.2, 0.0)]
    }
}

/// A body in an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct View {
    /// Where the middle of the hips is above the ground, in pixels: column, and row of the ground.
    pub(super) ground: [f32; 2],
    /// The body's height, in pixels.
    pub(super) height: f32,
    /// Radians from facing the camera; pi/2 faces the right of the image.
    pub(super) yaw: f32,
}

impl View {
    /// The joints of a body, in pixels.
    pub(super) fn project(&self, body: &Body, pose: &Pose) -> [[f32; 2]; JOINTS] {
        let (sin, cos) = self.yaw.sin_cos();
        body.joints(pose).map(|[x, y, z]| {
            [self.ground[0] + self.height * (x * cos + z * sin), self.ground[1] - self.height * y]
        })
    }
}

/// The far ends of both bones.
fn limb(from: Vector, angles: Limb, lengths: [f32; 2], side: f32) -> [Vector; 2] {
    let [upper, lower] =
        angles.map(|[swing, lift]| [side * lift.sin(), -lift.cos() * swing.cos(), lift.cos() * swing.sin()]);
    let middle = along(from, upper, lengths[0]);
    [middle, along(middle, lower, lengths[1])]
}

fn along(from: Vector, direction: Vector, length: f32) -> Vector {
    array::from_fn(|i| from[i] + direction[i] * length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;

    const FRONT: View = View { ground: [100.0, 200.0], height: 100.0, yaw: 0.0 };
    const NOSE: usize = 0;
    const LEFT_SHOULDER: usize = 5;
    const RIGHT_SHOULDER: usize = 6;
    const LEFT_WRIST: usize = 9;
    const LEFT_HIP: usize = 11;
    const LEFT_KNEE: usize = 13;
    const LEFT_ANKLE: usize = 15;
    const RIGHT_ANKLE: usize = 16;

    #[test]
    fn a_body_at_rest_stands_upright_and_is_as_high_as_asked() {
        let joints = FRONT.project(&Body::AVERAGE, &Pose::REST);
        // Whoever faces the camera has the left on the right of the image.
        assert!(joints[LEFT_SHOULDER][0] > 100.0 && joints[RIGHT_SHOULDER][0] < 100.0);
        let rows = [NOSE, LEFT_SHOULDER, LEFT_WRIST, LEFT_KNEE, LEFT_ANKLE].map(|joint| joints[joint][1]);
        assert!(rows.is_sorted(), "{rows:?}");
        assert!((joints[LEFT_ANKLE][1] - 196.0).abs() < 1e-3);
        // The crown is another 6 % above the nose.
        assert!((104.0..110.0).contains(&joints[NOSE][1]), "{}", joints[NOSE][1]);
    }

    #[test]
    fn angles_point_where_they_say() {
        use std::f32::consts::{FRAC_PI_2, PI};
        let wrist = |angles: Angles, yaw| {
            let pose = Pose { arms: [[angles; 2]; 2], ..Pose::REST };
            let joints = View { yaw, ..FRONT }.project(&Body::AVERAGE, &pose);
            [LEFT_WRIST, LEFT_SHOULDER].map(|joint| joints[joint])
        };
        let close = |[a, b]: [[f32; 2]; 2], expected: [f32; 2]| {
            let offset = [a[0] - b[0], a[1] - b[1]];
            assert!((0..2).all(|i| (offset[i] - expected[i]).abs() < 1e-3), "{offset:?} is not {expected:?}");
        };
        close(wrist([0.0, 0.0], 0.0), [0.0, 32.5]);
        close(wrist([0.0, FRAC_PI_2], 0.0), [32.5, 0.0]);
        close(wrist([0.0, PI], 0.0), [0.0, -32.5]);
        close(wrist([FRAC_PI_2, 0.0], 0.0), [0.0, 0.0]);
        close(wrist([FRAC_PI_2, 0.0], FRAC_PI_2), [32.5, 0.0]);
        close(wrist([FRAC_PI_2, 0.0], -FRAC_PI_2), [-32.5, 0.0]);
    }

    #[test]
    fn the_lower_foot_is_on_the_ground_and_low_hips_are_low() {
        let mut kick = Pose::REST;
        kick.legs[1] = [[1.5, 0.0], [1.5, 0.0]];
        let joints = FRONT.project(&Body::AVERAGE, &kick);
        assert!((joints[LEFT_ANKLE][1] - 196.0).abs() < 1e-3 && joints[RIGHT_ANKLE][1] < 160.0);
        let squat = Pose { legs: [[[1.4, 0.0], [-0.5, 0.0]]; 2], ..Pose::REST };
        let hip = |pose| FRONT.project(&Body::AVERAGE, pose)[LEFT_HIP][1];
        assert!(hip(&squat) > hip(&Pose::REST) + 20.0);
        let jump = Pose { rise: 0.1, ..Pose::REST };
        assert!((hip(&Pose::REST) - hip(&jump) - 10.0).abs() < 1e-3);
    }

    #[test]
    fn a_mirrored_pose_is_the_picture_mirrored() {
        let pose = Pose {
            torso: [0.4, 0.3],
            head: [0.5, 0.1],
            arms: [[[0.3, 1.0], [0.2, 2.0]], Pose::REST.arms[1]],
            ..Pose::REST
        };
        let joints = FRONT.project(&Body::AVERAGE, &pose);
        let mirrored = FRONT.project(&Body::AVERAGE, &pose.mirrored());
        let partners = pg_skeleton::Layout::by_name("coco-17").unwrap().mirrored();
        for (joint, partner) in partners.into_iter().enumerate() {
            let ([x, y], [u, v]) = (joints[joint], mirrored[partner]);
            assert!((x - 100.0 + u - 100.0).abs() < 1e-3 && (y - v).abs() < 1e-3, "joint {joint}");
        }
    }

    #[test]
    fn nobody_is_quite_like_another() {
        let bodies = [0, 1].map(|index| Body::new(&mut Seed(0).stream("body", &[index])));
        assert_ne!(bodies[0], bodies[1]);
        assert!((0.26..0.32).contains(&bodies[0].torso));
    }
}
