//! Kinetics-skeleton, the JSON files of ST-GCN (Yan et al., AAAI 2018): one a video.
//!
//! Frames count from 1, coordinates are shares of the image, joints that were not found are 0, 0, and frames
//! without people may be left out. Scores are peaks of heat maps, and are cut to [0, 1].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{frame_count, json, make_parent, one_a_file, place, read_bytes, write_file};
use super::{ReadOptions, class_name};
use crate::clip::{Clip, Instance};
use crate::error::FormatError;
use crate::points::{Scale, is_empty, keypoint, peak, to_pixels};

/// What ST-GCN scaled the videos to.
const SIZE: (u32, u32) = (340, 256);

#[derive(Serialize, Deserialize)]
struct Video {
    data: Vec<Frame>,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    label_index: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Frame {
    frame_index: usize,
    #[serde(default)]
    skeleton: Vec<Person>,
}

#[derive(Serialize, Deserialize)]
struct Person {
    pose: Vec<f32>,
    score: Vec<f32>,
}

pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Clip>, FormatError> {
    let files = one_a_file(path, &["json"])?;
    files.into_iter().map(|(id, file)| clip(id, &file, options)).collect()
}

fn clip(id: String, path: &Path, options: &ReadOptions) -> Result<Clip, FormatError> {
    let video: Video = json(path, &read_bytes(path)?)?;
    let mut instances = Vec::new();
    let mut last = None;
    for (index, Frame { frame_index, skeleton }) in video.data.iter().enumerate() {
        let failed = |reason: &str| FormatError::record(path, format!("frame {index} of the list"), reason);
        let frame =
            frame_index.checked_sub(1).ok_or_else(|| failed("`frame_index` is 0; count frames from 1"))?;
        last = last.max(Some(frame));
        for person in skeleton {
            let (points, rest) = person.pose.as_chunks::<2>();
            if !rest.is_empty() || points.len() != person.score.len() {
                return Err(failed(
                    "`pose` and `score` do not fit; write x and y, and a score, of each joint",
                ));
            }
            let confidence = |&score: &f32| peak(score.into(), options.greatest_confidence);
            let points = points.iter().zip(person.score.iter().map(confidence));
            let keypoints: Vec<_> = points.map(|(&[x, y], score)| keypoint(x, y, score)).collect();
            if !is_empty(&keypoints) {
                instances.push(Instance { frame, track: None, keypoints, bounding_box: None });
            }
        }
    }
    let frames = frame_count(options.frames, last)
        .map_err(|reason| FormatError::file(path, format!("video {reason}")))?;
    let (width, height) = options.size.unwrap_or(SIZE);
    let number = video.label_index.filter(|&number| number >= 0);
    let label = match (video.label, number) {
        (None, Some(number)) => {
            Some(class_name(number, options).map_err(|reason| FormatError::file(path, reason))?)
        }
        (label, _) => label,
    };
    let mut clip = Clip { id, width, height, fps: options.fps, frames, label, instances };
    to_pixels(&mut clip, Scale::Unit);
    Ok(clip)
}

/// Classes are numbered in the order of their names.
pub(super) fn write(path: &Path, clips: &[Clip]) -> Result<(), FormatError> {
    let classes: BTreeSet<&String> = clips.iter().filter_map(|clip| clip.label.as_ref()).collect();
    for clip in clips {
        let number = classes.iter().position(|&class| Some(class) == clip.label.as_ref());
        let label_index = number.and_then(|number| i64::try_from(number).ok());
        let video = Video { data: frames(clip), label: clip.label.clone(), label_index };
        let file = place(path, &clip.id, ".json", clips.len() == 1)?;
        make_parent(&file)?;
        write_file(&file, |file| Ok(serde_json::to_writer(file, &video)?))?;
    }
    Ok(())
}

/// The frames with people, and the last, which tells the length.
fn frames(clip: &Clip) -> Vec<Frame> {
    let (width, height) = (clip.width as f32, clip.height as f32);
    let mut frames: BTreeMap<usize, Vec<Person>> = BTreeMap::from([(clip.frames - 1, Vec::new())]);
    for person in &clip.instances {
        frames.entry(person.frame).or_default().push(Person {
            pose: person.keypoints.iter().flat_map(|point| [point.x / width, point.y / height]).collect(),
            score: person.keypoints.iter().map(|point| point.confidence).collect(),
        });
    }
    frames.into_iter().map(|(frame, skeleton)| Frame { frame_index: frame + 1, skeleton }).collect()
}
