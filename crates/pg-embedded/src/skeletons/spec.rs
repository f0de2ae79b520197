//! What to draw: how many clips, of whom, how long, and how well they are seen.

use super::motion::Motion;
use crate::spec::{self, SpecError};
use serde::Deserialize;
use std::fmt::Debug;

/// Sides of an image, in pixels, from and to.
const SIDES: [u32; 2] = [64, 4096];
/// Frames of a clip, from and to: in fewer, no motion is performed.
const FRAMES: [usize; 2] = [8, 1000];
/// People in a clip, from and to: the actor and the bystander at least.
const PEOPLE: [usize; 2] = [2, 16];
/// The least height of a person, in pixels.
const SMALLEST: f32 = 16.0;
/// The greatest height of a person as a share of the image's shorter side: arms raised high are still inside.
const LARGEST: f32 = 0.75;

/// Share of the frames that the action lasts, from and to.
const ACTION: [f64; 2] = [0.1, 1.0];
/// Standard deviation of a joint's place, as a share of the person's height, from and to.
const JITTER: [f32; 2] = [0.0, 0.2];

/// The specification of a set of clips. Its default is `datasets/embedded-skeletons.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkeletonSpec {
    /// The motions, in the order of their labels: at least two, each once.
    pub classes: Vec<Motion>,
    /// Number of training clips. Classes take turns, so they differ by at most one clip.
    pub train: usize,
    /// Number of validation clips.
    pub val: usize,
    /// Number of test clips.
    pub test: usize,
    /// Width of the images, in pixels, from 64 to 4096.
    pub width: u32,
    /// Height of the images, in pixels, from 64 to 4096.
    pub height: u32,
    /// Least and greatest height of a person, in pixels: from 16 to three quarters of the image's shorter side.
    pub figure: [f32; 2],
    /// Least and greatest number of frames, from 8 to 1000.
    pub frames: [usize; 2],
    /// Least and greatest number of people, from 2 to 16: the actor, the bystander whose posture is the
    /// spurious cue, and others.
    pub people: [usize; 2],
    /// Least and greatest share of the frames that the action lasts, from 0.1 to 1.
    pub action: [f64; 2],
    /// Share of each training class, in [0, 1], whose bystander has the posture of the class. In the others the
    /// postures of the other classes take turns.
    pub agreement: f64,
    /// Standard deviation of a joint's place, as a share of the person's height, from 0 to 0.2.
    pub jitter: f32,
    /// Share of the joints, in [0, 1], that are not found; wrists and ankles three times as often.
    pub missing: f64,
    /// Probability, in [0, 1], that a person is not found in a frame.
    pub lost: f64,
    /// Probability, in [0, 1], that a person who is not there is found in a frame.
    pub false_people: f64,
    /// Whether the instances say who is who over time.
    pub tracks: bool,
}

impl Default for SkeletonSpec {
    fn default() -> Self {
        Self {
            classes: Motion::ALL.to_vec(),
            train: 1440,
            val: 108,
            test: 252,
            width: 320,
            height: 240,
            figure: [60.0, 150.0],
            frames: [32, 48],
            people: [2, 4],
            action: [0.3, 0.7],
            agreement: 0.8,
            jitter: 0.012,
            missing: 0.03,
            lost: 0.02,
            false_people: 0.01,
            tracks: false,
        }
    }
}

impl SkeletonSpec {
    /// The text of the default specification.
    pub const DEFAULT: &str = include_str!("../../../../datasets/embedded-skeletons.toml");

    /// Reads a specification from TOML.
    ///
    /// # Errors
    /// [`SpecError`] when the text is no specification or asks for what cannot be drawn.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let spec: Self = spec::from_toml(text, "datasets/embedded-skeletons.toml")?;
        spec.check()?;
        Ok(spec)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value that cannot be drawn.
    pub fn check(&self) -> Result<(), SpecError> {
        spec::check_names(&self.classes.iter().map(|class| class.name()).collect::<Vec<_>>())?;
        for (field, count) in [("train", self.train), ("val", self.val), ("test", self.test)] {
            if count == 0 {
                return Err(SpecError::Value {
                    field,
                    value: "0".into(),
                    wanted: "at least one clip".into(),
                });
            }
        }
        within("width", self.width, SIDES)?;
        within("height", self.height, SIDES)?;
        rising("figure", self.figure, [SMALLEST, LARGEST * self.width.min(self.height) as f32])?;
        rising("frames", self.frames, FRAMES)?;
        rising("people", self.people, PEOPLE)?;
        rising("action", self.action, ACTION)?;
        within("jitter", self.jitter, JITTER)?;
        spec::check_probabilities([
            ("agreement", self.agreement),
            ("missing", self.missing),
            ("lost", self.lost),
            ("false_people", self.false_people),
        ])
    }
}

fn within<T: PartialOrd + Debug>(field: &'static str, value: T, [from, to]: [T; 2]) -> Result<(), SpecError> {
    if from <= value && value <= to {
        return Ok(());
    }
    let wanted = format!("a number from {from:?} to {to:?}");
    Err(SpecError::Value { field, value: format!("{value:?}"), wanted })
}

fn rising<T: PartialOrd + Debug>(
    field: &'static str,
    value: [T; 2],
    [from, to]: [T; 2],
) -> Result<(), SpecError> {
    let [least, greatest] = &value;
    if from <= *least && least <= greatest && *greatest <= to {
        return Ok(());
    }
    let wanted = format!("two rising numbers from {from:?} to {to:?}");
    Err(SpecError::Value { field, value: format!("{value:?}"), wanted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(change: impl Fn(&mut SkeletonSpec)) -> String {
        let mut spec = SkeletonSpec::default();
        change(&mut spec);
        spec.check().unwrap_err().to_string()
    }

    #[test]
    fn the_default_is_the_file() {
        assert_eq!(SkeletonSpec::parse(SkeletonSpec::DEFAULT), Ok(SkeletonSpec::default()));
    }

    #[test]
    fn every_nonsense_value_is_named() {
        type Change = fn(&mut SkeletonSpec);
        let cases: [(Change, &str); 16] = [
            (|s| s.classes.truncate(1), "`classes` names 1; name at least two"),
            (|s| s.classes[1] = Motion::Wave, "`classes` names `wave` twice; name each once"),
            (|s| s.test = 0, "`test` is 0; give at least one clip"),
            (|s| s.width = 0, "`width` is 0; give a number from 64 to 4096"),
            (|s| s.height = u32::MAX, "`height` is 4294967295; give a number from 64 to 4096"),
            (
                |s| s.figure[1] = 181.0,
                "`figure` is [60.0, 181.0]; give two rising numbers from 16.0 to 180.0",
            ),
            (
                |s| s.figure[0] = f32::NAN,
                "`figure` is [NaN, 150.0]; give two rising numbers from 16.0 to 180.0",
            ),
            (|s| s.frames = [9, 8], "`frames` is [9, 8]; give two rising numbers from 8 to 1000"),
            (|s| s.frames[0] = 0, "`frames` is [0, 48]; give two rising numbers from 8 to 1000"),
            (|s| s.people[0] = 1, "`people` is [1, 4]; give two rising numbers from 2 to 16"),
            (
                |s| s.people[1] = usize::MAX,
                "`people` is [2, 18446744073709551615]; give two rising numbers from 2 to 16",
            ),
            (|s| s.action[0] = 0.0, "`action` is [0.0, 0.7]; give two rising numbers from 0.1 to 1.0"),
            (|s| s.jitter = -0.1, "`jitter` is -0.1; give a number from 0.0 to 0.2"),
            (|s| s.agreement = 1.1, "`agreement` is 1.1; give a number from 0 to 1"),
            (|s| s.lost = f64::NAN, "`lost` is NaN; give a number from 0 to 1"),
            (|s| s.false_people = -1.0, "`false_people` is -1; give a number from 0 to 1"),
        ];
        for (change, expected) in cases {
            assert_eq!(message(change), expected);
        }
    }

    #[test]
    fn a_wrong_text_is_answered_with_its_line() {
        let message =
            |from, to| SkeletonSpec::parse(&SkeletonSpec::DEFAULT.replace(from, to)).unwrap_err().to_string();
        let dance = message("\"bow\"", "\"dance\"");
        assert!(dance.starts_with("line 5: ") && dance.contains("dance"), "{dance}");
        assert!(dance.ends_with("; see datasets/embedded-skeletons.toml for an example"), "{dance}");
        assert!(message("lost =", "lots =").contains("`lots`"));
        assert!(message("people = [2, 4]", "people = [2]").starts_with("line "));
    }

    #[test]
    fn the_extremes_that_pass_can_be_drawn() {
        use crate::SkeletonSet;
        let spec = SkeletonSpec { train: 6, val: 1, test: 1, ..SkeletonSpec::default() };
        let small = SkeletonSpec {
            width: 64,
            height: 64,
            figure: [16.0, 48.0],
            frames: [8, 8],
            people: [16, 16],
            action: [0.1, 0.1],
            missing: 1.0,
            false_people: 1.0,
            ..spec.clone()
        };
        let wide = SkeletonSpec { width: 4096, height: 64, figure: [48.0, 48.0], action: [1.0, 1.0], ..spec };
        for spec in [small, wide] {
            assert_eq!(SkeletonSet::generate(&spec, pg_random::Seed(0)).unwrap().train.len(), 6);
        }
    }
}
