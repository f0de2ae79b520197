//! What an actor does: a few poses, one after the other, from rest to rest.

use super::body::Pose;
use pg_random::Stream;
use rand::RngExt;
use serde::Deserialize;
use std::f32::consts::PI;
use std::ops::Range;

/// A motion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Motion {
    /// A raised hand swings from side to side.
    Wave,
    /// Both hands meet in front of the chest, again and again.
    Clap,
    /// A leg swings back, then forward and up.
    Kick,
    /// The knees bend until the hips are low, the arms forward.
    Squat,
    /// A jumping jack: legs apart, hands overhead.
    Jump,
    /// The torso bends until the hands are near the feet, as if to pick something up.
    Bow,
}

impl Motion {
    /// Every motion.
    pub const ALL: [Self; 6] = [Self::Wave, Self::Clap, Self::Kick, Self::Squat, Self::Jump, Self::Bow];

    /// Its name, as in a specification.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wave => "wave",
            Self::Clap => "clap",
            Self::Kick => "kick",
            Self::Squat => "squat",
            Self::Jump => "jump",
            Self::Bow => "bow",
        }
    }

    /// How long it takes, in frames.
    fn period(self) -> Range<f32> {
        match self {
            Self::Wave => 14.0..24.0,
            Self::Clap => 12.0..20.0,
            Self::Kick => 9.0..14.0,
            Self::Squat => 11.0..18.0,
            Self::Jump => 8.0..12.0,
            Self::Bow => 13.0..22.0,
        }
    }

    /// Poses and when they are reached, as shares of its period; rest is at 0 and 1.
    fn keys(self) -> Vec<(f32, Pose)> {
        let rest = Pose::REST;
        let with_arms = |left, right| Pose { arms: [left, right], ..rest };
        match self {
            Self::Wave => {
                let raised = |lift| with_arms([[0.2, 2.0], [0.1, PI + lift]], rest.arms[1]);
                let (outward, inward) = (raised(-0.5), raised(0.65));
                let swings = [0.15, 0.29, 0.43, 0.57, 0.71, 0.85].into_iter();
                swings.zip([outward, inward].into_iter().cycle()).collect()
            }
            Self::Clap => {
                let hands =
                    |upper, lower| with_arms([[0.8, upper], [1.8, lower]], [[0.8, upper], [1.8, lower]]);
                let (apart, together) = (hands(0.7, 0.6), hands(0.1, -0.95));
                let claps = [0.12, 0.25, 0.38, 0.5, 0.62, 0.75, 0.88].into_iter();
                claps.zip([apart, together].into_iter().cycle()).collect()
            }
            Self::Kick => {
                let leg = |upper, lower| [[upper, 0.2], [lower, 0.25]];
                let arms = |swing: f32| [[swing, 0.25], [swing + 0.3, 0.15]];
                let back = Pose {
                    torso: [0.1, 0.0],
                    legs: [leg(-0.45, -1.1), rest.legs[1]],
                    ..with_arms(arms(0.5), arms(-0.5))
                };
                let up = Pose {
                    torso: [-0.15, 0.0],
                    legs: [leg(1.5, 1.35), rest.legs[1]],
                    ..with_arms(arms(-0.6), arms(0.7))
                };
                vec![(0.27, back), (0.52, up), (0.66, up)]
            }
            Self::Squat => {
                let low = Pose {
                    torso: [0.5, 0.0],
                    legs: [[[1.45, 0.35], [-0.55, 0.1]]; 2],
                    ..with_arms([[1.45, 0.0], [1.5, 0.0]], [[1.45, 0.0], [1.5, 0.0]])
                };
                vec![(0.4, low), (0.6, low)]
            }
            Self::Jump => {
                let arm = [[0.0, 2.5], [0.0, 2.9]];
                let star = Pose { legs: [[[0.0, 0.5], [0.0, 0.48]]; 2], rise: 0.06, ..with_arms(arm, arm) };
                vec![(0.45, star), (0.58, star)]
            }
            Self::Bow => {
                let arm = [[0.35, 0.05], [0.25, 0.0]];
                let low = Pose {
                    torso: [1.75, 0.0],
                    head: [0.0, 0.3],
                    legs: [[[0.3, 0.08], [0.0, 0.04]]; 2],
                    ..with_arms(arm, arm)
                };
                vec![(0.4, low), (0.62, low)]
            }
        }
    }
}

/// A motion as somebody performs it.
#[derive(Clone, Debug)]
pub(super) struct Performance {
    /// Poses and when they are reached, in repetitions from 0 to 1.
    keys: Vec<(f32, Pose)>,
    frames: usize,
    repetitions: f32,
}

impl Performance {
    /// Fits whole repetitions into so many frames.
    pub(super) fn new(motion: Motion, frames: usize, rng: &mut Stream) -> Self {
        let repetitions = (frames as f32 / rng.random_range(motion.period())).round().max(1.0);
        let (reach, left_handed) = (rng.random_range(0.8..1.05), rng.random_bool(0.5));
        let personal = |(time, pose): (f32, Pose)| {
            let pose = Pose::REST.towards(pose, reach);
            let pose = if left_handed { pose } else { pose.mirrored() };
            (time, pose)
        };
        let ends = [0.0, 1.0].map(|time| (time, Pose::REST));
        let mut keys: Vec<_> = motion.keys().into_iter().map(personal).chain(ends).collect();
        keys.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { keys, frames, repetitions }
    }

    /// The pose in a frame, from 0, of the action.
    pub(super) fn pose(&self, frame: usize) -> Pose {
        let time = ((frame as f32 + 0.5) / self.frames as f32 * self.repetitions).fract();
        let Some(pair) = self.keys.windows(2).find(|pair| time < pair[1].0) else { return Pose::REST };
        let ((from, before), (to, after)) = (pair[0], pair[1]);
        before.towards(after, ease((time - from) / (to - from)))
    }
}

/// From 0 to 1, slow at both ends.
fn ease(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;

    /// The greatest difference of an angle, in radians.
    fn distance(a: Pose, b: Pose) -> f32 {
        let mut greatest = 0.0f32;
        a.zip(b, |a, b| {
            greatest = greatest.max((a - b).abs());
            0.0
        });
        greatest
    }

    #[test]
    fn keys_rise_between_rest_and_rest() {
        for motion in Motion::ALL {
            let times: Vec<f32> = motion.keys().iter().map(|key| key.0).collect();
            assert!(times.iter().all(|time| (0.05..0.95).contains(time)), "{motion:?}: {times:?}");
            assert!(times.is_sorted(), "{motion:?}: {times:?}");
        }
    }

    #[test]
    fn most_frames_show_the_motion_and_some_only_rest() {
        for motion in Motion::ALL {
            let (mut frames, mut shown) = (0, 0);
            for index in 0..200 {
                let rng = &mut Seed(0).stream("performance", &[index]);
                let length = 10 + index as usize % 24;
                let performance = Performance::new(motion, length, rng);
                frames += length;
                shown += (0..length).filter(|&i| distance(performance.pose(i), Pose::REST) > 0.5).count();
                // It starts and ends near rest.
                let ends = [0, length - 1].map(|i| distance(performance.pose(i), Pose::REST));
                assert!(ends.iter().all(|&end| end < 1.3), "{motion:?}, {length} frames: {ends:?}");
            }
            let share = shown as f32 / frames as f32;
            assert!((0.55..0.97).contains(&share), "{motion:?}: {share}");
        }
    }

    #[test]
    fn a_motion_fits_one_frame_and_repeats_in_many() {
        let rng = &mut Seed(0).stream("performance", &[]);
        let once = Performance::new(Motion::Bow, 1, rng);
        assert_eq!((once.repetitions, once.pose(0).torso[0] > 1.0), (1.0, true));
        let often = Performance::new(Motion::Jump, 100, rng);
        assert!((8.0..=13.0).contains(&often.repetitions), "{}", often.repetitions);
    }

    #[test]
    fn extremes_of_motions_and_postures_are_far_apart() {
        let mut poses: Vec<Pose> = Motion::ALL.iter().map(|motion| motion.keys()[1].1).collect();
        poses.extend(super::super::posture::Posture::ALL.iter().map(|posture| posture.pose()));
        poses.push(Pose::REST);
        for (i, a) in poses.iter().enumerate() {
            assert!(poses[..i].iter().all(|b| distance(*a, *b) > 0.45), "pose {i}");
        }
    }
}
