//! Who does what, where and when in a video, from skeletons, learnt from one label a video.
//!
//! ```no_run
//! use candle_core::{DType, Device};
//! use pg_models::{Skp, SkpSpec};
//! use pg_random::Seed;
//! use pg_stad::detection::Detector;
//! use pg_stad::loss::Loss;
//! use pg_stad::sampling::Sampling;
//! use pg_tubes::Linking;
//!
//! let clips = pg_skeleton::read_clips("clips.jsonl".as_ref())?;
//! let classes = vec!["wave".to_owned(), "kick".to_owned()];
//! let skp = Skp::new(SkpSpec::new(classes.len()), Seed(0), DType::F32, &Device::Cpu)?;
//! let detector = Detector::new(&skp, &classes, Sampling { frames: 16, people: 4 }, Loss::CrossEntropy);
//! let detections = clips.iter().map(|clip| detector.detect(clip)).collect::<Result<Vec<_>, _>>()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod dataset;
pub mod detection;
mod error;
pub mod evaluation;
pub mod explanation;
pub mod learner;
pub mod linking;
pub mod loss;
pub mod mixing;
pub mod page;
#[cfg(test)]
mod samples;
pub mod sampling;
pub mod settings;

pub use error::{StadError, one_line};
