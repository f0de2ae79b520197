//! Pickles of PYSKL (Duan et al. 2022) and MMAction2: a list of annotations, alone or with the splits that name
//! them.
//!
//! An annotation has `keypoint` [person, frame, joint, 2] and `keypoint_score` [person, frame, joint], often of
//! 16 bits. Slot j of a frame is the j-th person detected there and no track, and an empty one is all zeros.
//! `img_shape` is height, width; some files have it the other way round, which shows in keypoints outside the
//! image. PYSKL's Kinetics files have `keypoint` [person, joint, 3] with `frame_inds`; where the keypoints lie
//! in files of their own, those are not read. Scores are peaks of heat maps, and are cut to [0, 1]. PYSKL's 3-D
//! skeletons (x, y and depth of each joint) are refused.

use std::collections::HashSet;
use std::path::Path;

use super::files::{frame_count, read_bytes};
use super::{ReadOptions, SizeOrder, class_name, given_size};
use crate::array::{Allowance, Array};
use crate::clip::{Clip, Instance, Keypoint};
use crate::error::{FormatError, one_line};
use crate::pickle::{Item, Pickle};
use crate::points::{is_empty, keypoint, peak};

pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Clip>, FormatError> {
    let bytes = read_bytes(path)?;
    let failed = |reason: String| FormatError::file(path, reason);
    let pickle = Pickle::read(&bytes).map_err(|error| failed(error.to_string()))?;
    let root = pickle.root();
    let mut allowance = Allowance::new(bytes.len());
    let wanted = wanted(root, &mut allowance, options).map_err(failed)?;
    let annotations = root.get("annotations").unwrap_or(root).items();
    let annotations = annotations.ok_or_else(|| {
        failed(format!(
            "holds {}; a list of annotations, or a dictionary with `annotations`, is expected",
            root.kind()
        ))
    })?;
    let mut ids = HashSet::new();
    let mut clips = Vec::new();
    for (index, annotation) in annotations.enumerate() {
        let failed = |reason: String| FormatError::record(path, format!("annotation {index}"), reason);
        allowance.take(annotation.size()).map_err(failed)?;
        let id = annotation.get("frame_dir").or_else(|| annotation.get("filename"));
        let id = id.map(|id| text(id, &mut allowance)).transpose().map_err(failed)?.flatten();
        let record = match id {
            Some(id) => format!("annotation {index} (`{}`)", one_line(id)),
            None => format!("annotation {index}"),
        };
        let failed = |reason: String| FormatError::record(path, &record, reason);
        let id = id.ok_or_else(|| failed("has no `frame_dir`; name the video".to_owned()))?;
        if wanted.as_ref().is_some_and(|wanted| !wanted.contains(id)) {
            continue;
        }
        if !ids.insert(id) {
            return Err(FormatError::Twice { path: path.to_owned(), id: id.to_owned() });
        }
        clips.push(clip(id, annotation, &mut allowance, options).map_err(failed)?);
    }
    Ok(clips)
}

/// A string, if it is one, that may be there many times.
fn text<'p>(item: Item<'p, '_>, allowance: &mut Allowance) -> Result<Option<&'p str>, String> {
    allowance.take(item.size())?;
    Ok(item.text())
}

/// The videos of the split that the options name.
fn wanted<'p>(
    root: Item<'p, '_>,
    allowance: &mut Allowance,
    options: &ReadOptions,
) -> Result<Option<HashSet<&'p str>>, String> {
    /// How many splits a message names.
    const SHOWN: usize = 20;
    let Some(name) = &options.split else { return Ok(None) };
    let splits = root.get("split").ok_or_else(|| format!("has no splits; leave out `{name}`"))?;
    let videos = splits.get(name).and_then(Item::items).ok_or_else(|| {
        let names = splits.entries().into_iter().flatten().take(SHOWN).filter_map(|(name, _)| name.text());
        format!("has no split `{name}`; it has {}", names.map(one_line).collect::<Vec<_>>().join(", "))
    })?;
    videos.filter_map(|video| text(video, allowance).transpose()).collect::<Result<_, _>>().map(Some)
}

fn clip(
    id: &str,
    annotation: Item<'_, '_>,
    allowance: &mut Allowance,
    options: &ReadOptions,
) -> Result<Clip, String> {
    let array = |name: &str| -> Result<Option<Array<'_>>, String> {
        let Some(item) = annotation.get(name).filter(|item| !item.is_none()) else { return Ok(None) };
        item.array().map(Some).ok_or_else(|| format!("`{name}` is {}; store a NumPy array", item.kind()))
    };
    let keypoint = array("keypoint")?.ok_or(
        "has no `keypoint`; keypoints in files of their own (kpfiles) are not read, store them here",
    )?;
    allowance.take(keypoint.len())?;
    let frames = match annotation.get("total_frames").filter(|frames| !frames.is_none()) {
        Some(item) => Some(
            item.int()
                .and_then(|frames| usize::try_from(frames).ok())
                .ok_or("`total_frames` is no number of frames; correct it")?,
        ),
        None => None,
    };
    let size = match annotation.get("img_shape").filter(|shape| !shape.is_none()) {
        Some(shape) => {
            let numbers = match shape.array() {
                Some(array) => numbers_of(&array),
                None => shape.items().and_then(|numbers| numbers.take(3).map(Item::number).collect()),
            };
            Some(size_of(numbers, options).or_else(|reason| options.size.ok_or(reason))?)
        }
        None => None,
    };
    let label = match annotation.get("label").filter(|label| !label.is_none()) {
        Some(label) => Some(label_of(label, allowance, options)?),
        None => None,
    };
    let skeletons = Skeletons {
        keypoint,
        score: array("keypoint_score")?,
        size,
        frames,
        frame_indices: array("frame_inds")?,
    };
    skeletons.clip(id.to_owned(), label, options)
}

fn label_of(label: Item<'_, '_>, allowance: &mut Allowance, options: &ReadOptions) -> Result<String, String> {
    if let Some(number) = label.int() {
        return class_name(number, options);
    }
    let name = text(label, allowance)?;
    let name = name.ok_or_else(|| format!("`label` is {}; write a number or a name", label.kind()))?;
    Ok(name.to_owned())
}

/// The two numbers of `img_shape`. An array of another shape may be large, and is not looked at.
pub(super) fn numbers_of(shape: &Array<'_>) -> Option<Vec<f64>> {
    let is_pair = shape.shape().iter().filter(|&&length| length != 1).eq(&[2]);
    if is_pair { shape.numbers() } else { None }
}

/// Width and height from the numbers of `img_shape`, whose order the options say.
///
/// # Errors
/// What is wrong, if they are not two whole numbers.
pub(super) fn size_of(numbers: Option<Vec<f64>>, options: &ReadOptions) -> Result<(u32, u32), String> {
    let whole = |number: f64| {
        (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u32)
    };
    let numbers = numbers.and_then(|numbers| numbers.into_iter().map(whole).collect::<Option<Vec<_>>>());
    match (numbers.as_deref(), options.size_order) {
        (Some(&[height, width]), SizeOrder::HeightWidth) => Ok((width, height)),
        (Some(&[width, height]), SizeOrder::WidthHeight) => Ok((width, height)),
        _ => Err("`img_shape` is no height and width; write two whole numbers".to_owned()),
    }
}

/// The arrays of a video, with PYSKL's names and axes.
pub(super) struct Skeletons<'a> {
    pub(super) keypoint: Array<'a>,
    pub(super) score: Option<Array<'a>>,
    pub(super) size: Option<(u32, u32)>,
    pub(super) frames: Option<usize>,
    /// The frame of each person, if they are not sorted into frames.
    pub(super) frame_indices: Option<Array<'a>>,
}

impl Skeletons<'_> {
    /// The clip of these arrays.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn clip(
        &self,
        id: String,
        label: Option<String>,
        options: &ReadOptions,
    ) -> Result<Clip, String> {
        let (width, height) = match self.size {
            Some(size) => size,
            None => given_size(options)?,
        };
        let (instances, length) = self.instances(options)?;
        let given = self.frames.or(options.frames);
        let frames = frame_count(given, length.checked_sub(1))?;
        let clip = Clip { id, width, height, fps: options.fps, frames, label, instances };
        check_size(&clip)?;
        Ok(clip)
    }

    /// The people, and the number of frames that the arrays have.
    fn instances(&self, options: &ReadOptions) -> Result<(Vec<Instance>, usize), String> {
        let (frames, joints, coordinates) = self.axes()?;
        let people = Points::new(self, joints, coordinates, options.greatest_confidence)?;
        let frame_of = |index: usize| match &frames {
            Frames::Sorted(frames) => Some(index % frames),
            Frames::Listed(list) => list.get(index).copied(),
        };
        let mut instances = Vec::new();
        for index in 0..people.count() {
            let keypoints = people.person(index);
            if !is_empty(&keypoints) {
                let frame =
                    frame_of(index).ok_or("`frame_inds` is shorter than `keypoint`; write the file again")?;
                instances.push(Instance { frame, track: None, keypoints, bounding_box: None });
            }
        }
        let length = match &frames {
            Frames::Sorted(frames) => *frames,
            Frames::Listed(list) => list.iter().max().map_or(0, |last| last.saturating_add(1)),
        };
        Ok((instances, length))
    }

    /// The frames, and numbers of joints and of coordinates.
    fn axes(&self) -> Result<(Frames, usize, usize), String> {
        let shape = self.keypoint.shape();
        match (shape, &self.frame_indices) {
            (&[_, frames, joints, coordinates @ (2 | 3)], None) if joints > 0 => {
                if coordinates == 3 && self.score.is_some() {
                    return Err("`keypoint` has 3 coordinates and a score; store 2-D keypoints".to_owned());
                }
                Ok((Frames::Sorted(frames), joints, coordinates))
            }
            (&[people, joints, coordinates @ (2 | 3)], Some(frames)) if joints > 0 => {
                let frames = frames.numbers().unwrap_or_default();
                // A negative or broken number would be a huge one, and is refused as such.
                let frames: Vec<usize> = frames
                    .iter()
                    .map(|&n| if n >= 0.0 && n.fract() == 0.0 { n as usize } else { usize::MAX })
                    .collect();
                if frames.len() != people {
                    return Err("`frame_inds` is not as long as `keypoint`; write the file again".to_owned());
                }
                Ok((Frames::Listed(frames), joints, coordinates))
            }
            _ => {
                let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
                Err(format!("`keypoint` is {shape}; store person x frame x joint x 2"))
            }
        }
    }
}

enum Frames {
    /// Each slot has this many, one after the other.
    Sorted(usize),
    /// Of each person.
    Listed(Vec<usize>),
}

/// The numbers of all people.
struct Points {
    numbers: Vec<f64>,
    scores: Option<Vec<f64>>,
    joints: usize,
    coordinates: usize,
    greatest: Option<f32>,
}

impl Points {
    fn new(
        skeletons: &Skeletons<'_>,
        joints: usize,
        coordinates: usize,
        greatest: Option<f32>,
    ) -> Result<Self, String> {
        let text = |name: &str| format!("`{name}` holds text; store numbers");
        if let Some(score) = &skeletons.score {
            let shape = skeletons.keypoint.shape();
            if !shape.starts_with(score.shape()) || score.shape().len() + 1 != shape.len() {
                return Err(
                    "`keypoint_score` does not fit `keypoint`; store a score of each joint".to_owned()
                );
            }
        }
        let numbers = skeletons.keypoint.numbers().ok_or_else(|| text("keypoint"))?;
        if coordinates == 3 && skeletons.frame_indices.is_none() && greatest.is_none() {
            check_confidences(&numbers)?;
        }
        let scores = match &skeletons.score {
            Some(score) => Some(score.numbers().ok_or_else(|| text("keypoint_score"))?),
            None => None,
        };
        Ok(Self { numbers, scores, joints, coordinates, greatest })
    }

    fn count(&self) -> usize {
        // Without people, the number of joints is anything.
        self.numbers.len() / self.joints.saturating_mul(self.coordinates)
    }

    fn person(&self, index: usize) -> Vec<Keypoint> {
        let numbers =
            &self.numbers[index * self.joints * self.coordinates..][..self.joints * self.coordinates];
        let points = numbers.chunks_exact(self.coordinates).enumerate();
        points
            .map(|(joint, point)| {
                let (x, y) = (point[0], point[1]);
                let score = match (&self.scores, point.get(2)) {
                    (Some(scores), _) => scores[index * self.joints + joint],
                    (None, Some(&score)) => score,
                    // Without scores, what is not at the origin was found.
                    (None, None) => f64::from(u8::from(x != 0.0 || y != 0.0)),
                };
                keypoint(x as f32, y as f32, peak(score, self.greatest))
            })
            .collect()
    }
}

/// Refuses 3-D skeletons, whose third numbers are depths in metres and would be read as confidences.
fn check_confidences(numbers: &[f64]) -> Result<(), String> {
    /// Above peaks of heat maps, and below where people stand.
    const GREATEST: f64 = 1.5;
    /// Some estimators write -1 for what they did not find.
    const LEAST: f64 = -1.0;
    let (points, _) = numbers.as_chunks::<3>();
    match points.iter().find(|[_, _, third]| *third < LEAST || *third > GREATEST) {
        Some([_, _, third]) => Err(format!(
            "`keypoint` has a third number of {third}, which is no confidence; 3-D skeletons are not supported, \
             use the 2-D file (or say how great confidences can be)"
        )),
        None => Ok(()),
    }
}

/// Refuses a size whose height and width are swapped: keypoints lie far outside, and would not if it were turned.
fn check_size(clip: &Clip) -> Result<(), String> {
    /// Pose estimators guess joints beyond the border.
    const MARGIN: f32 = 1.1;
    let points =
        clip.instances.iter().flat_map(|person| &person.keypoints).filter(|point| point.confidence > 0.0);
    let (x, y) = points.fold((0f32, 0f32), |(x, y), point| (x.max(point.x), y.max(point.y)));
    let (width, height) = (clip.width as f32 * MARGIN, clip.height as f32 * MARGIN);
    if (x > width || y > height) && x <= height && y <= width {
        return Err(format!(
            "keypoints reach to ({x}, {y}) in an image of {} x {}; its height and width seem swapped, \
             say which comes first",
            clip.width, clip.height
        ));
    }
    Ok(())
}
