//! The people of a video. As JSON:
//!
//! ```text
//! {"id": "v_1", "width": 320, "height": 240, "fps": 25, "frames": 120, "label": "wave",
//!  "instances": [{"frame": 0, "track": 2, "keypoints": [[10, 20, 0.9], [30, 60, 0.8]], "box": [8, 18, 32, 62]}]}
//! ```

use pg_tubes::BoundingBox;
use serde::{Deserialize, Serialize};

/// A video, as far as its people go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// Name of the video.
    pub id: String,
    /// Width of the image, in pixels.
    pub width: u32,
    /// Height of the image, in pixels.
    pub height: u32,
    /// Frames a second, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Number of frames, those without people included.
    pub frames: usize,
    /// Name of the class, one for the whole video; `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Every person in every frame, in any order.
    pub instances: Vec<Instance>,
}

/// A person in a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The frame, from 0.
    pub frame: usize,
    /// Who it is over time, if the input says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<u32>,
    /// The joints, in an order that is the same everywhere.
    pub keypoints: Vec<Keypoint>,
    /// The detector's box, if there is one.
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    pub bounding_box: Option<BoundingBox>,
}

/// A joint in an image. One that was not found has confidence 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f32; 3]", into = "[f32; 3]")]
pub struct Keypoint {
    /// Column, in pixels.
    pub x: f32,
    /// Row, in pixels.
    pub y: f32,
    /// How sure the pose estimator is, in [0, 1].
    pub confidence: f32,
}

impl From<[f32; 3]> for Keypoint {
    fn from([x, y, confidence]: [f32; 3]) -> Self {
        Self { x, y, confidence }
    }
}

impl From<Keypoint> for [f32; 3] {
    fn from(point: Keypoint) -> Self {
        [point.x, point.y, point.confidence]
    }
}

impl Instance {
    /// The smallest box around the keypoints surer than `confidence`; `None` without any.
    pub fn extent(&self, confidence: f32) -> Option<BoundingBox> {
        let sure = self.keypoints.iter().filter(|point| point.confidence > confidence);
        sure.map(|point| (f64::from(point.x), f64::from(point.y))).fold(None, |extent, (x, y)| {
            let BoundingBox { x0, y0, x1, y1 } = extent.unwrap_or(BoundingBox { x0: x, y0: y, x1: x, y1: y });
            Some(BoundingBox { x0: x0.min(x), y0: y0.min(y), x1: x1.max(x), y1: y1.max(y) })
        })
    }
}
