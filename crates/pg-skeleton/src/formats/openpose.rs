//! OpenPose's folder of one JSON file a frame, `NAME_000000000012_keypoints.json`.
//!
//! Frames without a file show no one. Joints that were not found are 0, 0, 0; coordinates are pixels, or shares
//! of the image, as its `--keypoint_scale` said. Confidences are peaks of heat maps, and are cut to [0, 1].
//! (OpenPose's `doc/02_output.md`.)

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::files::{below, frame_count, frame_index, json, last_number, name_below, place, read_bytes, stem};
use super::{ReadOptions, given_size};
use crate::clip::{Clip, Instance, Keypoint};
use crate::error::FormatError;
use crate::points::{drop_repeated_tracks, is_empty, keypoint, peak, to_pixels};

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
    files.retain(|file| is_json(file));
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
            instances.extend(person.instance(frame, options).map_err(failed)?);
        }
    }
    let last = frames.last_key_value().map(|(&frame, _)| frame);
    let frames = frame_count(options.frames, last).map_err(failed)?;
    let mut clip = Clip { id, width, height, fps: options.fps, frames, label: None, instances };
    to_pixels(&mut clip, options.scale);
    drop_repeated_tracks(&mut clip);
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
    fn instance(&self, frame: usize, options: &ReadOptions) -> Result<Option<Instance>, String> {
        let (points, rest) = self.pose_keypoints_2d.as_chunks::<3>();
        if !rest.is_empty() {
            let found = self.pose_keypoints_2d.len();
            return Err(format!(
                "`pose_keypoints_2d` has {found} numbers; write x, y and confidence of each joint"
            ));
        }
        let confidence = |number: f32| peak(number.into(), options.greatest_confidence);
        let keypoints: Vec<_> =
            points.iter().map(|&[x, y, number]| keypoint(x, y, confidence(number))).collect();
        let track = self.person_id.first().and_then(|&id| u32::try_from(id).ok());
        Ok((!is_empty(&keypoints)).then_some(Instance { frame, track, keypoints, bounding_box: None }))
    }
}

/// Writes every frame, those without people too; none by way of a temporary file, since that would make no video whole.
pub(super) fn write(path: &Path, clips: &[Clip]) -> Result<(), FormatError> {
    let folder = |clip: &Clip| free_folder(path, &clip.id, clips.len() == 1);
    let folders = clips.iter().map(folder).collect::<Result<Vec<_>, _>>()?;
    for (clip, folder) in clips.iter().zip(folders) {
        let name = clip.id.rsplit('/').next().unwrap_or_default();
        let mut people: BTreeMap<usize, Vec<Person>> = BTreeMap::new();
        for person in &clip.instances {
            people.entry(person.frame).or_default().push(Person {
                person_id: vec![person.track.map_or(-1, i64::from)],
                pose_keypoints_2d: person.keypoints.iter().flat_map(coordinates).collect(),
            });
        }
        fs::create_dir_all(&folder).map_err(FormatError::write(&folder))?;
        for frame in 0..clip.frames {
            let file = folder.join(format!("{name}_{frame:012}_keypoints.json"));
            let content = Frame { version: Some(1.3), people: people.remove(&frame).unwrap_or_default() };
            let written = serde_json::to_vec(&content).map_err(io::Error::from);
            written.and_then(|json| fs::write(&file, json)).map_err(FormatError::write(&file))?;
        }
    }
    Ok(())
}

/// The folder of a clip, in which there may be no other clip's frames: they would be read as this one's.
fn free_folder(path: &Path, id: &str, only: bool) -> Result<PathBuf, FormatError> {
    let folder = place(path, id, "", only)?;
    // Where it cannot be read, it is not there, or making it will fail.
    let mut files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    if files.any(|file| is_json(&file)) {
        let reason =
            "has .json files, which would be read as frames of the video; remove it or choose another";
        return Err(FormatError::file(&folder, reason));
    }
    Ok(folder)
}

fn is_json(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "json")
}

fn coordinates(&Keypoint { x, y, confidence }: &Keypoint) -> [f32; 3] {
    [x, y, confidence]
}
