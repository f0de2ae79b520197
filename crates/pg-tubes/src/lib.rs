//! Spatio-temporal action detection, measured: from the people in each frame, with a score for each class, to
//! tubes, and from tubes to video-mAP, frame-mAP and the reasons of failure. The conventions are those of ACT
//! (Kalogeiton et al., ICCV 2017), of Singh et al. (ICCV 2017) and of Cheron et al. (NeurIPS 2018). No tensor
//! library is needed.
//!
//! A video's annotations are a [`VideoTruth`], what a model says of it [`VideoDetections`]; both are read from
//! JSON lines that any tool can write. [`Linking`] makes tubes of instances, and [`Evaluation`] compares tubes
//! with the ground truth.
//!
//! ```
//! use pg_tubes::{
//!     ActOptions, BoundingBox, Convention, Evaluation, FrameMapOptions, InstanceScores, LabelledTube, Linking,
//!     Outcome, Tube, VideoDetections, VideoTruth,
//! };
//!
//! // In one video someone waves from frame 10 to 39; in the other nobody does.
//! let place = BoundingBox { x0: 40.0, y0: 20.0, x1: 80.0, y1: 140.0 };
//! let wave = LabelledTube { label: "wave".into(), tube: Tube { start: 10, boxes: vec![place; 30] } };
//! let truth = [
//!     VideoTruth { id: "greeting".into(), tubes: vec![wave] },
//!     VideoTruth { id: "waiting".into(), tubes: vec![] },
//! ];
//!
//! // A model sees both people in every frame, and is surer of the first from frame 12 on.
//! let seen = |id: &str, score: fn(usize) -> f32| VideoDetections {
//!     id: id.into(),
//!     frames: 60,
//!     classes: vec!["wave".into()],
//!     instances: (0..60)
//!         .map(|frame| InstanceScores { frame, track: None, bounding_box: place, scores: vec![score(frame)] })
//!         .collect(),
//!     tubes: vec![],
//! };
//! let mut detections = [
//!     seen("greeting", |frame| if (12..40).contains(&frame) { 0.9 } else { 0.05 }),
//!     seen("waiting", |_| 0.2),
//! ];
//!
//! // ACT's linking joins all frames, which is too long.
//! Linking::default().link(&mut detections);
//! let whole = Evaluation::new(&truth, &detections, Convention::Act, FrameMapOptions::default())?;
//! assert_eq!(whole.video_map.over(&[0.5]).unwrap().by(Convention::Act), 1.0, "30 of 60 frames");
//! assert_eq!(whole.video_map.over(&[0.75]).unwrap().by(Convention::Act), 0.0);
//!
//! // Cut in time where the score falls, the tube is good.
//! let options = ActOptions { trimming: Some(Default::default()), ..Default::default() };
//! Linking::Act(options).link(&mut detections);
//! assert_eq!(detections[0].tubes[0].tube.end(), 40);
//! let cut = Evaluation::new(&truth, &detections, Convention::Act, FrameMapOptions::default())?;
//! assert_eq!(cut.video_map.over(&[0.75]).unwrap().by(Convention::Act), 1.0);
//! assert_eq!(cut.failures.tubes[0].outcome, Outcome::Hit);
//! assert_eq!(cut.failures.false_positives.no_action, 1, "the one who waits");
//! # Ok::<(), pg_tubes::EvaluationError>(())
//! ```

mod average_precision;
mod bounding_box;
mod convention;
mod detections;
mod evaluation;
mod failures;
mod frame_map;
mod ground_truth;
mod json_lines;
mod linking;
mod matching;
mod mean_average_precision;
mod nms;
mod ranking;
#[cfg(test)]
mod samples;
mod tube;
mod video_map;
mod writing;

pub use average_precision::{AveragePrecision, envelope, trapezoid};
pub use bounding_box::BoundingBox;
pub use convention::Convention;
pub use detections::{DetectedTube, InstanceScores, VideoDetections, read_detections, write_detections};
pub use evaluation::Evaluation;
pub use failures::{Failures, FalsePositives, Nearest, Outcome, OutcomeCounts, TubeOutcome, failures};
pub use frame_map::{FrameMapOptions, frame_map};
pub use ground_truth::{LabelledTube, VideoTruth, read_ground_truth, write_ground_truth};
pub use json_lines::{FileError, Record, read_checked, read_each, read_lines, write_lines};
pub use linking::{
    ActOptions, Linking, OnlineOptions, ScoredPath, Smoothing, TrackOptions, Trimming, link_act, link_online,
    link_tracks,
};
pub use matching::EvaluationError;
pub use mean_average_precision::{ClassPrecision, MeanAveragePrecision, STRICT_THRESHOLDS, THRESHOLDS};
pub use nms::{nms_boxes, nms_tubes};
pub use tube::Tube;
pub use video_map::video_map;
pub use writing::write_file;
