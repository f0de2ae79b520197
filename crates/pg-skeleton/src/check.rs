//! What a clip must be before anything is computed from it.
//!
//! A clip without a person, and a person of whom no joint was found, are sound: pose estimators give both.

use crate::clip::{Clip, Instance};

/// The most frames that a clip may have: 77 hours at 60 frames a second. A number beyond it is a mistake, and
/// would only cost memory.
pub const MAX_FRAMES: usize = 1 << 24;

/// Why a clip cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClipError {
    /// It has no name.
    #[error("`id` is empty; name the video")]
    NoId,
    /// Its image has no area.
    #[error("the image is {width} x {height}; give its size in pixels")]
    NoSize {
        /// Width of the image.
        width: u32,
        /// Height of the image.
        height: u32,
    },
    /// It has no frames.
    #[error("`frames` is 0; count the frames without people too")]
    NoFrames,
    /// It has more frames than a video has.
    #[error("`frames` is {frames}; cut the video to at most {MAX_FRAMES}")]
    TooManyFrames {
        /// Number of frames.
        frames: usize,
    },
    /// Its rate is no rate.
    #[error("`fps` is {fps}; give a number above 0, or leave it out")]
    FramesPerSecond {
        /// Frames a second.
        fps: f64,
    },
    /// A person is in a frame that the clip does not have.
    #[error(
        "instance {instance} is in frame {frame} of {frames}; frames count from 0, correct `frame` or `frames`"
    )]
    Frame {
        /// The instance, from 0.
        instance: usize,
        /// Its frame.
        frame: usize,
        /// Number of frames.
        frames: usize,
    },
    /// A person without joints.
    #[error("instance {instance} has no keypoints; remove it, or give those not found a confidence of 0")]
    NoKeypoints {
        /// The instance, from 0.
        instance: usize,
    },
    /// Two people have different numbers of joints.
    #[error(
        "instance {instance} has {found} keypoints, the first has {expected}; \
         give those not found a confidence of 0"
    )]
    KeypointCount {
        /// The instance, from 0.
        instance: usize,
        /// Number of its keypoints.
        found: usize,
        /// Number of keypoints of the first instance.
        expected: usize,
    },
    /// A joint is nowhere.
    #[error("keypoint {keypoint} of instance {instance} is at ({x}, {y}); write 0, 0, 0 for one not found")]
    NotFinite {
        /// The instance, from 0.
        instance: usize,
        /// The keypoint, from 0.
        keypoint: usize,
        /// Column.
        x: f32,
        /// Row.
        y: f32,
    },
    /// A confidence is none.
    #[error("keypoint {keypoint} of instance {instance} has confidence {confidence}; bring it into [0, 1]")]
    Confidence {
        /// The instance, from 0.
        instance: usize,
        /// The keypoint, from 0.
        keypoint: usize,
        /// What it has.
        confidence: f32,
    },
    /// A box ends before it starts, or nowhere.
    #[error(
        "the box of instance {instance} is [{}, {}, {}, {}]; give x0 <= x1 and y0 <= y1, in pixels",
        corners[0], corners[1], corners[2], corners[3]
    )]
    Box {
        /// The instance, from 0.
        instance: usize,
        /// Left, top, right and bottom.
        corners: [f64; 4],
    },
}

impl Clip {
    /// Checks all that the types leave open.
    ///
    /// # Errors
    /// [`ClipError`], for the first thing that is wrong.
    pub fn check(&self) -> Result<(), ClipError> {
        let &Self { width, height, fps, frames, .. } = self;
        if self.id.is_empty() {
            return Err(ClipError::NoId);
        }
        if width == 0 || height == 0 {
            return Err(ClipError::NoSize { width, height });
        }
        if frames == 0 {
            return Err(ClipError::NoFrames);
        }
        if frames > MAX_FRAMES {
            return Err(ClipError::TooManyFrames { frames });
        }
        if let Some(fps) = fps.filter(|fps| !(fps.is_finite() && *fps > 0.0)) {
            return Err(ClipError::FramesPerSecond { fps });
        }
        let keypoints = self.keypoint_count().unwrap_or(0);
        self.instances
            .iter()
            .enumerate()
            .try_for_each(|(index, instance)| check_instance(index, instance, frames, keypoints))
    }

    /// Number of keypoints of every person; `None` without a person.
    pub fn keypoint_count(&self) -> Option<usize> {
        self.instances.first().map(|instance| instance.keypoints.len())
    }
}

fn check_instance(
    instance: usize,
    person: &Instance,
    frames: usize,
    expected: usize,
) -> Result<(), ClipError> {
    let (frame, found) = (person.frame, person.keypoints.len());
    if frame >= frames {
        return Err(ClipError::Frame { instance, frame, frames });
    }
    if found == 0 {
        return Err(ClipError::NoKeypoints { instance });
    }
    if found != expected {
        return Err(ClipError::KeypointCount { instance, found, expected });
    }
    for (keypoint, point) in person.keypoints.iter().enumerate() {
        let (x, y, confidence) = (point.x, point.y, point.confidence);
        if !(x.is_finite() && y.is_finite()) {
            return Err(ClipError::NotFinite { instance, keypoint, x, y });
        }
        if !(0.0..=1.0).contains(&confidence) {
            return Err(ClipError::Confidence { instance, keypoint, confidence });
        }
    }
    match person.bounding_box.map(<[f64; 4]>::from) {
        // A comparison with NaN is false.
        Some(corners @ [x0, y0, x1, y1])
            if !(x0 <= x1 && y0 <= y1 && corners.iter().all(|corner| corner.is_finite())) =>
        {
            Err(ClipError::Box { instance, corners })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::Keypoint;
    use pg_tubes::BoundingBox;

    type Spoil = fn(&mut Clip);

    fn clip() -> Clip {
        let point = Keypoint { x: 10.0, y: 20.0, confidence: 0.5 };
        let bounding_box = Some(BoundingBox { x0: 1.0, y0: 2.0, x1: 1.0, y1: 2.0 });
        let person = Instance { frame: 1, track: None, keypoints: vec![point; 2], bounding_box };
        Clip {
            id: "v".into(),
            width: 320,
            height: 240,
            fps: Some(25.0),
            frames: 2,
            label: None,
            instances: vec![person.clone(), person],
        }
    }

    #[test]
    fn clips_without_people_or_joints_are_sound() {
        assert_eq!(clip().check(), Ok(()));
        assert_eq!(Clip { instances: Vec::new(), ..clip() }.check(), Ok(()));
        let mut zeros = clip();
        zeros.instances[1].keypoints.fill(Keypoint { x: 0.0, y: 0.0, confidence: 0.0 });
        assert_eq!(zeros.check(), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let cases: [(Spoil, &str); 17] = [
            (|c| c.id.clear(), "`id` is empty; name the video"),
            (|c| c.width = 0, "the image is 0 x 240; give its size in pixels"),
            (|c| c.height = 0, "the image is 320 x 0; give its size in pixels"),
            (|c| c.frames = 0, "`frames` is 0; count the frames without people too"),
            (
                |c| c.frames = usize::MAX,
                "`frames` is 18446744073709551615; cut the video to at most 16777216",
            ),
            (|c| c.fps = Some(0.0), "`fps` is 0; give a number above 0, or leave it out"),
            (|c| c.fps = Some(f64::NAN), "`fps` is NaN; give a number above 0, or leave it out"),
            (
                |c| c.frames = 1,
                "instance 0 is in frame 1 of 1; frames count from 0, correct `frame` or `frames`",
            ),
            (
                |c| c.instances[0].keypoints.clear(),
                "instance 0 has no keypoints; remove it, or give those not found a confidence of 0",
            ),
            (
                |c| c.instances[1].keypoints.truncate(1),
                "instance 1 has 1 keypoints, the first has 2; give those not found a confidence of 0",
            ),
            (
                |c| c.instances[1].keypoints[1].x = f32::NAN,
                "keypoint 1 of instance 1 is at (NaN, 20); write 0, 0, 0 for one not found",
            ),
            (
                |c| c.instances[0].keypoints[1].y = f32::INFINITY,
                "keypoint 1 of instance 0 is at (10, inf); write 0, 0, 0 for one not found",
            ),
            (
                |c| c.instances[0].keypoints[0].confidence = 1.5,
                "keypoint 0 of instance 0 has confidence 1.5; bring it into [0, 1]",
            ),
            (
                |c| c.instances[0].keypoints[0].confidence = -0.5,
                "keypoint 0 of instance 0 has confidence -0.5; bring it into [0, 1]",
            ),
            (
                |c| c.instances[0].keypoints[0].confidence = f32::NAN,
                "keypoint 0 of instance 0 has confidence NaN; bring it into [0, 1]",
            ),
            (
                |c| c.instances[1].bounding_box = Some([5.0, 2.0, 4.0, 3.0].into()),
                "the box of instance 1 is [5, 2, 4, 3]; give x0 <= x1 and y0 <= y1, in pixels",
            ),
            (
                |c| c.instances[1].bounding_box = Some([5.0, 2.0, f64::INFINITY, 3.0].into()),
                "the box of instance 1 is [5, 2, inf, 3]; give x0 <= x1 and y0 <= y1, in pixels",
            ),
        ];
        for (spoil, expected) in cases {
            let mut clip = clip();
            spoil(&mut clip);
            assert_eq!(clip.check().unwrap_err().to_string(), expected);
        }
    }
}
