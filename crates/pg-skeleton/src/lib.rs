//! Skeletons of people in videos: clips, and the files that pose estimators and data sets keep them in.
//!
//! A [`Clip`] holds the people of a video. [`read`] makes clips of the files of AlphaPose, OpenPose, ST-GCN,
//! PYSKL, MMAction2, NTU RGB+D and NumPy, and [`write()`] writes those of them that are simple enough;
//! [`ucf101`] reads the ground truth of UCF101-24. Broken files give errors of one line that name the file, the
//! place and what to do; no file makes the reader panic or run anything.
//!
//! Memory follows from what a file holds, not from what it says it holds. For people of 17 joints it is up to some
//! five times as much; at the worst, for people of one joint of one byte who are named over and over, it is several
//! hundred times. What an `.npz` holds is what it inflates to: up to a thousand times the file, and at most 4 GiB.
//!
//! ```
//! use pg_skeleton::{Format, ReadOptions, read, write_clips};
//!
//! # let folder = std::env::temp_dir().join(format!("pg-skeleton-example-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! // What AlphaPose writes of a video with one person in its frames 0 and 2.
//! let results = folder.join("wave.json");
//! std::fs::write(&results, r#"[
//!     {"image_id": "0.jpg", "category_id": 1, "keypoints": [10, 20, 0.9, 30, 60, 0.8], "score": 2.1},
//!     {"image_id": "2.jpg", "category_id": 1, "keypoints": [11, 20, 0.9, 31, 60, 0.7], "score": 2.2}
//! ]"#)?;
//!
//! // It says neither how large the images are nor how long the video is.
//! let options = ReadOptions { size: Some((320, 240)), frames: Some(4), ..ReadOptions::default() };
//! let clips = read(Format::detect(&results)?, &results, &options)?;
//! assert_eq!((clips[0].id.as_str(), clips[0].frames), ("wave", 4));
//! assert_eq!(clips[0].instances[1].extent(0.05).unwrap().x1, 31.0);
//! write_clips(&folder.join("clips.jsonl"), &clips)?;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod array;
mod check;
mod clip;
mod error;
mod formats;
mod layout;
mod pickle;
mod points;
pub mod ucf101;

pub use check::{ClipError, MAX_FRAMES};
pub use clip::{Clip, Instance, Keypoint};
pub use error::FormatError;
pub use formats::{Format, ReadOptions, SizeOrder, read, read_clip_lines, read_clips, write, write_clips};
pub use layout::Layout;
pub use points::Scale;
