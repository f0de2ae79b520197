//! COCO's JSON: results, as AlphaPose writes them for the frames of videos, and annotations.
//!
//! A result names its image by file, whose number is the frame and whose folder is the video: `v_1/000012.jpg`.
//! Images without a folder are the frames of one video, named after the JSON file. AlphaPose has no entry for a
//! frame without people, so that the file does not tell how long a video is; annotations list every image.
//! (<https://cocodataset.org/#format-results>, AlphaPose's `docs/output.md`.)

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use pg_tubes::BoundingBox;
use serde::{Deserialize, Serialize};

use super::files::{frame_count, frame_index, json, last_number, make_parent, read_bytes, stem, write_file};
use super::{ReadOptions, given_size};
use crate::clip::{Clip, Instance, Keypoint};
use crate::error::{FormatError, one_line};
use crate::points::{drop_repeated_tracks, keypoint, to_unit_confidences};

/// A person in an image.
#[derive(Deserialize)]
struct Person {
    image_id: ImageId,
    #[serde(default)]
    keypoints: Vec<f32>,
    /// COCO's name of `box`.
    #[serde(rename = "box", alias = "bbox")]
    corner_and_size: Option<[f64; 4]>,
    #[serde(alias = "track_id")]
    idx: Option<Track>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ImageId {
    Number(u64),
    Name(String),
}

/// Versions of AlphaPose write 3, 3.0 and [3.0].
#[derive(Deserialize)]
#[serde(untagged)]
enum Track {
    One(f64),
    List(Vec<f64>),
}

/// COCO's annotations.
#[derive(Deserialize)]
struct Dataset {
    images: Vec<Image>,
    annotations: Vec<Person>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
    width: u32,
    height: u32,
}

/// The images of a video.
#[derive(Default)]
struct Video {
    size: Option<(u32, u32)>,
    /// Names of the images, by frame.
    images: BTreeMap<usize, String>,
    instances: Vec<Instance>,
}

impl Video {
    /// Notes that an image is a frame.
    ///
    /// # Errors
    /// What is wrong, if another is the same frame: two videos were taken for one.
    fn note(&mut self, frame: usize, image: &str) -> Result<(), String> {
        let known = self.images.entry(frame).or_insert_with(|| image.to_owned());
        if *known == image {
            return Ok(());
        }
        Err(format!(
            "`{}` is frame {frame}, as `{}` is; put each video into a folder of its own",
            one_line(image),
            one_line(known)
        ))
    }
}

/// By name, so that their order does not depend on the file's.
type Videos = BTreeMap<String, Video>;

pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Clip>, FormatError> {
    let bytes = read_bytes(path)?;
    let is_list = bytes.iter().find(|byte| byte.is_ascii_graphic()) == Some(&b'[');
    let videos = if is_list {
        results(path, json(path, &bytes)?, options)?
    } else {
        annotations(path, json(path, &bytes)?, options)?
    };
    let clips = videos.into_iter().map(|(id, video)| clip(path, id, video, options));
    let mut clips = clips.collect::<Result<Vec<Clip>, _>>()?;
    to_unit_confidences(&mut clips, options.greatest_confidence)
        .map_err(|reason| FormatError::file(path, reason))?;
    Ok(clips)
}

fn results(path: &Path, people: Vec<Person>, options: &ReadOptions) -> Result<Videos, FormatError> {
    let mut videos = Videos::new();
    for (index, person) in people.into_iter().enumerate() {
        let failed = |reason| FormatError::record(path, format!("result {index}"), reason);
        let Place { video, image, frame } = match &person.image_id {
            ImageId::Name(name) => Place::of(path, name, options),
            ImageId::Number(number) => Place::numbered(path, *number, options),
        }
        .map_err(failed)?;
        let video = videos.entry(video).or_default();
        video.note(frame, &image).map_err(failed)?;
        video.instances.push(person.instance(frame).map_err(failed)?);
    }
    if videos.is_empty() {
        // A video in which AlphaPose found no one, which may be as long as the options say.
        videos.insert(stem(path), Video::default());
    }
    Ok(videos)
}

fn annotations(path: &Path, dataset: Dataset, options: &ReadOptions) -> Result<Videos, FormatError> {
    let mut videos = Videos::new();
    let mut images = HashMap::new();
    for Image { id, file_name, width, height } in dataset.images {
        let failed = |reason| FormatError::record(path, format!("image {id}"), reason);
        let Place { video: name, image, frame } = Place::of(path, &file_name, options).map_err(failed)?;
        let video = videos.entry(name.clone()).or_default();
        if video.size.is_some_and(|size| size != (width, height)) {
            return Err(failed(format!(
                "is {width} x {height}, unlike others of video `{}`; put each video into a folder of its own",
                one_line(&name)
            )));
        }
        video.size = Some((width, height));
        video.note(frame, &image).map_err(failed)?;
        if images.insert(id, (name, frame)).is_some() {
            return Err(failed("is there twice; give each image an `id` of its own".to_owned()));
        }
    }
    for (index, person) in dataset.annotations.into_iter().enumerate() {
        let failed = |reason: String| FormatError::record(path, format!("annotation {index}"), reason);
        let image = match &person.image_id {
            ImageId::Number(id) => images.get(id),
            ImageId::Name(_) => None,
        };
        let (name, frame) =
            image.ok_or_else(|| failed("its image is not listed; add it to `images`".into()))?;
        if let Some(video) = videos.get_mut(name) {
            video.instances.push(person.instance(*frame).map_err(failed)?);
        }
    }
    Ok(videos)
}

/// Where an image belongs.
struct Place {
    video: String,
    /// The image's name, without folders.
    image: String,
    frame: usize,
}

impl Place {
    /// That of a file.
    fn of(path: &Path, name: &str, options: &ReadOptions) -> Result<Self, String> {
        // AlphaPose under Windows writes its separators.
        let (folder, file) = name.rsplit_once(['/', '\\']).unwrap_or(("", name));
        let number = last_number(file.rsplit_once('.').map_or(file, |(stem, _)| stem));
        let number = number
            .ok_or_else(|| format!("`{}` has no number; name images after their frames", one_line(name)))?;
        let video = if folder.is_empty() { stem(path) } else { folder.replace('\\', "/") };
        Ok(Self { video, image: file.to_owned(), frame: frame_index(number, options.first_frame)? })
    }

    /// That of a frame of the only video.
    fn numbered(path: &Path, number: u64, options: &ReadOptions) -> Result<Self, String> {
        let frame = usize::try_from(number)
            .map_err(|_| format!("image {number} is no frame; number them from 0"))
            .and_then(|number| frame_index(number, options.first_frame))?;
        Ok(Self { video: stem(path), image: number.to_string(), frame })
    }
}

impl Person {
    fn instance(&self, frame: usize) -> Result<Instance, String> {
        let (points, rest) = self.keypoints.as_chunks::<3>();
        if points.is_empty() || !rest.is_empty() {
            let found = self.keypoints.len();
            return Err(format!("`keypoints` has {found} numbers; write x, y and confidence of each joint"));
        }
        let track = self.idx.as_ref().and_then(|track| match track {
            Track::One(number) => Some(*number),
            Track::List(numbers) => numbers.first().copied(),
        });
        let track =
            track.filter(|number| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number));
        let corners = |[x, y, width, height]: [f64; 4]| [x, y, x + width, y + height].into();
        Ok(Instance {
            frame,
            track: track.map(|number| number as u32),
            keypoints: points.iter().map(|&[x, y, confidence]| keypoint(x, y, confidence)).collect(),
            bounding_box: self.corner_and_size.map(corners),
        })
    }
}

fn clip(path: &Path, id: String, video: Video, options: &ReadOptions) -> Result<Clip, FormatError> {
    let failed = |reason: String| FormatError::record(path, format!("video `{}`", one_line(&id)), reason);
    let (width, height) = match video.size {
        Some(size) => size,
        None => given_size(options).map_err(failed)?,
    };
    let last = video.images.last_key_value().map(|(&frame, _)| frame);
    let frames = frame_count(options.frames, last).map_err(failed)?;
    let instances = video.instances;
    let mut clip = Clip { id, width, height, fps: options.fps, frames, label: None, instances };
    drop_repeated_tracks(&mut clip);
    Ok(clip)
}

#[derive(Serialize)]
struct WrittenPerson<'a> {
    image_id: String,
    category_id: u32,
    keypoints: Vec<f32>,
    score: f32,
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    corner_and_size: Option<[f64; 4]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idx: &'a Option<u32>,
}

pub(super) fn write(path: &Path, clips: &[Clip]) -> Result<(), FormatError> {
    make_parent(path)?;
    write_file(path, |file| {
        let people = clips.iter().flat_map(|clip| clip.instances.iter().map(|person| written(clip, person)));
        let mut serializer = serde_json::Serializer::new(file);
        serde::Serializer::collect_seq(&mut serializer, people).map_err(io::Error::from)
    })
}

fn written<'a>(clip: &Clip, person: &'a Instance) -> WrittenPerson<'a> {
    let confidences = person.keypoints.iter().map(|point| point.confidence);
    let size = |BoundingBox { x0, y0, x1, y1 }| [x0, y0, x1 - x0, y1 - y0];
    WrittenPerson {
        image_id: format!("{}/{:06}.jpg", clip.id, person.frame),
        // COCO's person.
        category_id: 1,
        keypoints: person
            .keypoints
            .iter()
            .flat_map(|&Keypoint { x, y, confidence }| [x, y, confidence])
            .collect(),
        score: confidences.sum::<f32>() / person.keypoints.len() as f32,
        corner_and_size: person.bounding_box.map(size),
        idx: &person.track,
    }
}
