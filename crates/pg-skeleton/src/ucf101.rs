//! Ground truth of UCF101-24: who does what, where and when, in 3,194 videos of 24 of UCF101's classes.
//!
//! Two files are read. `pyannot.pkl` is the corrected annotation of Singh et al. (ICCV 2017): boxes x, y,
//! width, height that count from 1, in frames from `sf` (from 0) up to `ef`, not included. `UCF101v2-GT.pkl` is
//! the same as ACT (Kalogeiton et al., ICCV 2017) distributes it: frames that count from 1, and corners that
//! count from 0 and belong to the box. Here boxes are half-open and everything counts from 0.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use pg_tubes::{BoundingBox, LabelledTube, Tube, VideoTruth};

use crate::array::{Allowance, Array};
use crate::check::MAX_FRAMES;
use crate::error::{FormatError, one_line};
use crate::pickle::{Item, Pickle};

/// The classes, in the official order.
pub const CLASSES: [&str; 24] = [
    "Basketball",
    "BasketballDunk",
    "Biking",
    "CliffDiving",
    "CricketBowling",
    "Diving",
    "Fencing",
    "FloorGymnastics",
    "GolfSwing",
    "HorseRiding",
    "IceDancing",
    "LongJump",
    "PoleVault",
    "RopeClimbing",
    "SalsaSpin",
    "SkateBoarding",
    "Skiing",
    "Skijet",
    "SoccerJuggling",
    "Surfing",
    "TennisSwing",
    "TrampolineJumping",
    "VolleyballSpiking",
    "WalkingWithDog",
];

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of videos.
    pub videos: usize,
    /// Number of tubes.
    pub tubes: usize,
    /// Number of boxes.
    pub boxes: usize,
    /// Number of tubes of each class.
    pub tubes_by_class: BTreeMap<String, usize>,
}

impl Counts {
    /// Counts.
    pub fn of(videos: &[VideoTruth]) -> Self {
        let mut counts = Self { videos: videos.len(), ..Self::default() };
        for tube in videos.iter().flat_map(|video| &video.tubes) {
            counts.tubes += 1;
            counts.boxes += tube.tube.boxes.len();
            *counts.tubes_by_class.entry(tube.label.clone()).or_default() += 1;
        }
        counts
    }
}

/// Reads `pyannot.pkl`, `pyannot_with_class_names.pkl` or `UCF101v2-GT.pkl`; the videos by name, such as
/// `Basketball/v_Basketball_g01_c01`, with the tubes in the order of the file.
///
/// # Errors
/// [`FormatError`], for the first thing that is wrong.
pub fn read(path: &Path) -> Result<Vec<VideoTruth>, FormatError> {
    let bytes = std::fs::read(path).map_err(FormatError::read(path))?;
    let failed = |reason: String| FormatError::file(path, reason);
    let pickle = Pickle::read(&bytes).map_err(|error| failed(error.to_string()))?;
    let root = pickle.root();
    let act = root.get("gttubes");
    let names = act.and(root.get("labels"));
    let videos = act.or_else(|| root.get("db")).unwrap_or(root);
    let entries = videos.entries().ok_or_else(|| {
        failed(format!("holds {}; the annotation of UCF101-24 is a dictionary of videos", videos.kind()))
    })?;
    let mut allowance = Allowance::new(bytes.len());
    let classes = Classes::new(names, &mut allowance).map_err(failed)?;
    let mut ids = HashSet::new();
    let mut truth = Vec::new();
    for (id, video) in entries {
        let id =
            id.text().ok_or_else(|| failed(format!("a video is named by {}; use its name", id.kind())))?;
        if !ids.insert(id) {
            return Err(FormatError::Twice { path: path.to_owned(), id: id.to_owned() });
        }
        allowance.take(video.size()).map_err(failed)?;
        let read = if act.is_some() { act_tubes } else { singh_tubes };
        let tubes = read(video, &classes, &mut allowance)
            .map_err(|reason| FormatError::record(path, format!("video `{}`", one_line(id)), reason))?;
        truth.push(VideoTruth { id: id.to_owned(), tubes });
    }
    truth.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(truth)
}

/// Names of the classes by their numbers.
struct Classes<'a>(Vec<&'a str>);

impl<'a> Classes<'a> {
    /// Those of the file, or the official ones.
    fn new(names: Option<Item<'a, '_>>, allowance: &mut Allowance) -> Result<Self, String> {
        let Some(names) = names else { return Ok(Self(CLASSES.to_vec())) };
        allowance.take(names.items().into_iter().flatten().map(Item::size).sum())?;
        let names = names.items().and_then(|names| names.map(Item::text).collect::<Option<_>>());
        names
            .map(Self)
            .ok_or_else(|| "`labels` is no list of names; use the file as ACT distributes it".to_owned())
    }

    fn name(&self, number: i64, allowance: &mut Allowance) -> Result<String, String> {
        let name = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        let name =
            name.ok_or_else(|| format!("class {number} is not one of {}; correct it", self.0.len()))?;
        allowance.take(name.len())?;
        Ok((*name).to_owned())
    }
}

/// `{"label", "numf", "annotations": [{"label", "sf", "ef", "boxes": [n, 4]}]}`.
fn singh_tubes(
    video: Item<'_, '_>,
    classes: &Classes<'_>,
    allowance: &mut Allowance,
) -> Result<Vec<LabelledTube>, String> {
    let annotations = video.get("annotations").and_then(Item::items);
    let annotations =
        annotations.ok_or("has no list `annotations`; use the file as its authors distribute it")?;
    let mut tubes = Vec::new();
    for (index, annotation) in annotations.enumerate() {
        allowance.take(annotation.size())?;
        let number = |name: &str| {
            let number = annotation.get(name).and_then(Item::int);
            number.ok_or_else(|| format!("tube {index} has no number `{name}`; correct it"))
        };
        let (label, start, end) = (number("label")?, number("sf")?, number("ef")?);
        let boxes = annotation.get("boxes").and_then(Item::array);
        let boxes = boxes.ok_or_else(|| format!("tube {index} has no array `boxes`; correct it"))?;
        allowance.take(boxes.len())?;
        let boxes: Vec<BoundingBox> = rows(&boxes)
            .ok_or_else(|| format!("tube {index}: `boxes` is not frames x 4; correct it"))?
            .into_iter()
            .map(|[x, y, width, height]| [x - 1.0, y - 1.0, x - 1.0 + width, y - 1.0 + height].into())
            .collect();
        if usize::try_from(end.saturating_sub(start)) != Ok(boxes.len()) {
            let found = boxes.len();
            return Err(format!(
                "tube {index} goes from frame {start} to {end} but has {found} boxes; correct it"
            ));
        }
        let label = classes.name(label, allowance).map_err(|reason| format!("tube {index}: {reason}"))?;
        tubes.push(tube(label, start, boxes).map_err(|reason| format!("tube {index} {reason}"))?);
    }
    Ok(tubes)
}

/// `{label: [[n, 5]]}`, each row frame, x0, y0, x1, y1.
fn act_tubes(
    video: Item<'_, '_>,
    classes: &Classes<'_>,
    allowance: &mut Allowance,
) -> Result<Vec<LabelledTube>, String> {
    let labels = video.entries().ok_or("is no dictionary of classes; use the file as ACT distributes it")?;
    let mut tubes = Vec::new();
    for (label, arrays) in labels {
        let label = label.int().ok_or("a class is no number; use the file as ACT distributes it")?;
        let arrays =
            arrays.items().ok_or_else(|| format!("class {label} has no list of tubes; correct it"))?;
        for (index, array) in arrays.enumerate() {
            let failed = |reason: &str| format!("tube {index} of class {label} {reason}");
            let array = array.array().ok_or_else(|| failed("is no array; correct it"))?;
            allowance.take(array.len())?;
            let rows: Vec<[f64; 5]> = rows(&array).ok_or_else(|| failed("is not frames x 5; correct it"))?;
            let first = rows.first().map_or(1.0, |row| row[0]);
            if first.fract() != 0.0 {
                return Err(failed("starts in a frame that is no whole number; correct it"));
            }
            if !rows.windows(2).all(|pair| pair[1][0] == pair[0][0] + 1.0) {
                return Err(failed("skips a frame; fill the gap"));
            }
            let boxes = rows.iter().map(|&[_, x0, y0, x1, y1]| [x0, y0, x1 + 1.0, y1 + 1.0].into());
            let boxes = boxes.collect();
            let name = classes.name(label, allowance)?;
            tubes
                .push(tube(name, (first as i64).saturating_sub(1), boxes).map_err(|reason| failed(&reason))?);
        }
    }
    Ok(tubes)
}

fn rows<const N: usize>(array: &Array<'_>) -> Option<Vec<[f64; N]>> {
    match *array.shape() {
        [_, columns] if columns == N => Some(array.numbers()?.as_chunks().0.to_vec()),
        _ => None,
    }
}

fn tube(label: String, start: i64, boxes: Vec<BoundingBox>) -> Result<LabelledTube, String> {
    let start = usize::try_from(start).map_err(|_| "starts before the video; correct it".to_owned())?;
    if boxes.is_empty() {
        return Err("has no boxes; remove it".to_owned());
    }
    if start.saturating_add(boxes.len()) > MAX_FRAMES {
        return Err(format!("goes beyond frame {MAX_FRAMES}; correct it"));
    }
    let is_sound = |b: &BoundingBox| {
        <[f64; 4]>::from(*b).iter().all(|corner| corner.is_finite()) && b.x0 <= b.x1 && b.y0 <= b.y1
    };
    match boxes.iter().position(|b| !is_sound(b)) {
        Some(index) => Err(format!(
            "has a box that ends before it starts, in frame {}; correct it",
            start.saturating_add(index)
        )),
        None => Ok(LabelledTube { label, tube: Tube { start, boxes } }),
    }
}
