//! OpenPose's folder of one JSON file a frame, `NAME_000000000012_keypoints.json`.
//!
//! Frames without a file show no one. Joints that were not found are 0, 0, 0; coordinates are pixels, or shares
//! of the image, as its `--keypoint_scale` said. (OpenPose's `doc/02_output.md`.)

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{
    below, frame_count, frame_index, json, last_number, name_below, place, read_bytes, stem, write_file,
};
use super::{ReadOptions, given_size};
use crate::clip::{Clip, Instance, Keypoint};
use crate::error::FormatError;
use crate::points::{drop_repeated_tracks, is_empty, keypoint, to_pixels, to_unit_confidences};

#[derive(Serialize, Deserialize)]
struct Frame {
    version: Option<f64>,
    people: Vec<Person>,
}

#[derive(Serialize, Deserialize)]
struct Person {
    /// -1 without tracking.
    #[serde(default)]
    person_id: Vec<i64>,
    #[serde(alias = "pose_keypoints")]
    pose_keypoints_2d: Vec<f32>,
}

pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Clip>, FormatError> {
    let mut folders: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    let mut files = if path.is_dir() { below(path)? } else { vec![path.to_owned()] };
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    for file in files {
        folders.entry(file.parent().unwrap_or(path).to_owned()).or_default().push(file);
    }
    if folders.is_empty() {
        return Err(FormatError::file(path, "has no .json file; check the path"));
    }
    folders.into_iter().map(|(folder, files)| clip(path, &folder, &files, options)).collect()
}

/// The video whose frames are `files` in `folder`, which is `path` or lies below.
fn clip(path: &Path, folder: &Path, files: &[PathBuf], options: &ReadOptions) -> Result<Clip, FormatError> {
    let name = name_below(path, folder);
    let id = if name.is_empty() || !path.is_dir() { stem(path) } else { name };
    let failed = |reason| FormatError::file(folder, reason);
    let (width, height) = given_size(options).map_err(failed)?;
    let mut instances = Vec::new();
    let mut frames = BTreeMap::new();
    for file in files {
        let failed = |reason| FormatError::file(file, reason);
        let frame = frame_of(file, options).map_err(failed)?;
        if let Some(earlier) = frames.insert(frame, file) {
            let reason = format!("is frame {frame}, as {} is; remove one", earlier.display());
            return Err(failed(reason));
        }
        let content: Frame = json(file, &read_bytes(file)?)?;
        for (index, person) in content.people.iter().enumerate() {
            let failed = |reason| FormatError::record(file, format!("person {index}"), reason);
            instances.extend(person.instance(frame).map_err(failed)?);
        }
    }
    let last = frames.last_key_value().map(|(&frame, _)| frame);
    let frames = frame_count(options.frames, last).map_err(failed)?;
    let mut clip = Clip { id, width, height, fps: options.fps, frames, label: None, instances };
    to_pixels(&mut clip, options.scale);
    drop_repeated_tracks(&mut clip);
    to_unit_confidences(std::slice::from_mut(&mut clip), options.greatest_confidence).map_err(failed)?;
    Ok(clip)
}

fn frame_of(file: &Path, options: &ReadOptions) -> Result<usize, String> {
    let name = stem(file);
    let number = last_number(name.strip_suffix("_keypoints").unwrap_or(&name));
    frame_index(
        number.ok_or("has no number in its name; name files after their frames")?,
        options.first_frame,
    )
}

impl Person {
    /// The person, if any joint was found.
    fn instance(&self, frame: usize) -> Result<Option<Instance>, String> {
        let (points, rest) = self.pose_keypoints_2d.as_chunks::<3>();
        if !rest.is_empty() {
            let found = self.pose_keypoints_2d.len();
            return Err(format!(
                "`pose_keypoints_2d` has {found} numbers; write x, y and confidence of each joint"
            ));
        }
        let keypoints: Vec<_> = points.iter().map(|&[x, y, confidence]| keypoint(x, y, confidence)).collect();
        let track = self.person_id.first().and_then(|&id| u32::try_from(id).ok());
        Ok((!is_empty(&keypoints)).then_some(Instance { frame, track, keypoints, bounding_box: None }))
    }
}

/// Writes every frame, those without people too.
pub(super) fn write(path: &Path, clips: &[Clip]) -> Result<(), FormatError> {
    for clip in clips {
        let folder = place(path, &clip.id, "", clips.len() == 1)?;
        let name = clip.id.rsplit('/').next().unwrap_or_default();
        let mut people: BTreeMap<usize, Vec<Person>> = BTreeMap::new();
        for person in &clip.instances {
            people.entry(person.frame).or_default().push(Person {
                person_id: vec![person.track.map_or(-1, i64::from)],
                pose_keypoints_2d: person.keypoints.iter().flat_map(coordinates).collect(),
            });
        }
        std::fs::create_dir_all(&folder).map_err(FormatError::write(&folder))?;
        for frame in 0..clip.frames {
            let file = folder.join(format!("{name}_{frame:012}_keypoints.json"));
            let content = Frame { version: Some(1.3), people: people.remove(&frame).unwrap_or_default() };
            write_file(&file, |file| Ok(serde_json::to_writer(file, &content)?))?;
        }
    }
    Ok(())
}

fn coordinates(&Keypoint { x, y, confidence }: &Keypoint) -> [f32; 3] {
    [x, y, confidence]
}
