//! The files that skeletons come in, one format a module.

mod clip_lines;
mod coco;
mod files;
mod kinetics;
mod npy;
mod npz;
mod ntu;
mod openpose;
mod pyskl;

use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use std::path::Path;

pub use clip_lines::{read_clip_lines, read_clips, write_clips};

use crate::clip::Clip;
use crate::error::FormatError;
use crate::points::Scale;

/// How skeletons are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [`Clip`]s as JSON lines.
    Clip,
    /// COCO's results as JSON, as AlphaPose writes them for the frames of videos; or COCO's annotations.
    Coco,
    /// OpenPose's folder of one JSON file a frame; or a folder of such folders.
    OpenPose,
    /// ST-GCN's Kinetics-skeleton: one JSON file a video.
    Kinetics,
    /// Pickles of PYSKL and MMAction2, with split or without.
    Pyskl,
    /// NTU RGB+D's `.skeleton` text, of which the positions in the colour image are read.
    Ntu,
    /// NumPy's `.npz` with `keypoint` [person, frame, joint, 2 or 3] and perhaps `keypoint_score`, `label`,
    /// `img_shape`, `frame_dir`, `fps`; or that `keypoint` as `.npy`. One file a video.
    Npz,
}

/// What a file does not say of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// Width and height of the images in pixels, where the file has none. Otherwise NTU RGB+D's are 1920 x
    /// 1080, and Kinetics-skeleton's, whose coordinates are shares, 340 x 256.
    pub size: Option<(u32, u32)>,
    /// Number of frames of each video, where the file has none. Otherwise they end with the last that shows
    /// someone.
    pub frames: Option<usize>,
    /// Frames a second, where the file has none.
    pub fps: Option<f64>,
    /// Number of the first frame in names of images and of OpenPose's files.
    pub first_frame: usize,
    /// Names of the classes, where labels are numbers, which otherwise stay numbers.
    pub classes: Vec<String>,
    /// What the coordinates of OpenPose count.
    pub scale: Scale,
    /// The greatest confidence that the file can have, by which all are divided. Otherwise it is 1; in COCO's files
    /// also 2, for visibilities, and 6, for models of AlphaPose, which shows in confidences above 2. Where it is 1,
    /// peaks of heat maps may lie a little above, and are cut.
    pub greatest_confidence: Option<f32>,
    /// Of pickles: the split to read, in place of everything.
    pub split: Option<String>,
    /// Of pickles and `.npz`: what comes first in a size.
    pub size_order: SizeOrder,
}

/// What comes first in `img_shape`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SizeOrder {
    /// The height, as in PYSKL and MMAction2.
    #[default]
    HeightWidth,
    /// The width.
    WidthHeight,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 7] =
        [Self::Clip, Self::Coco, Self::OpenPose, Self::Kinetics, Self::Pyskl, Self::Ntu, Self::Npz];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "clip",
            Self::Coco => "coco",
            Self::OpenPose => "openpose",
            Self::Kinetics => "kinetics",
            Self::Pyskl => "pyskl",
            Self::Ntu => "ntu",
            Self::Npz => "npz",
        }
    }

    /// The format of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// All names, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// The format of a file or folder: by its extension, or for JSON by what it begins with. For a folder, by
    /// the first file in it or below.
    ///
    /// # Errors
    /// [`FormatError::Unknown`], and [`FormatError::Read`].
    pub fn detect(path: &Path) -> Result<Self, FormatError> {
        let unknown = || FormatError::Unknown { path: path.to_owned() };
        if std::fs::metadata(path).map_err(FormatError::read(path))?.is_dir() {
            let files = files::below(path)?;
            let mut formats = files.iter().filter_map(|file| detect_file(file).transpose());
            return formats.next().unwrap_or_else(|| Err(unknown()));
        }
        detect_file(path)?.ok_or_else(unknown)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn detect_file(path: &Path) -> Result<Option<Format>, FormatError> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    Ok(match extension {
        "jsonl" => Some(Format::Clip),
        "pkl" | "pickle" => Some(Format::Pyskl),
        "skeleton" => Some(Format::Ntu),
        "npz" | "npy" => Some(Format::Npz),
        "json" => detect_json(path)?,
        _ => None,
    })
}

/// By the first key that only one format has.
fn detect_json(path: &Path) -> Result<Option<Format>, FormatError> {
    const BEGINNING: u64 = 1 << 16;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(FormatError::read(path))?;
    file.take(BEGINNING).read_to_end(&mut bytes).map_err(FormatError::read(path))?;
    let text = String::from_utf8_lossy(&bytes);
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('[') {
        return Ok(Some(Format::Coco));
    }
    let keys = [
        ("\"people\"", Format::OpenPose),
        ("\"data\"", Format::Kinetics),
        ("\"annotations\"", Format::Coco),
        ("\"images\"", Format::Coco),
        ("\"instances\"", Format::Clip),
    ];
    let places = keys.into_iter().filter_map(|(key, format)| Some((text.find(key)?, format)));
    Ok(places.min_by_key(|&(place, _)| place).map(|(_, format)| format))
}

/// Reads the clips of a file or folder. Those of each frame stay in the file's order; frames rise.
///
/// # Errors
/// [`FormatError`], for the first thing that is wrong; no clip that fails [`Clip::check`] is returned.
pub fn read(format: Format, path: &Path, options: &ReadOptions) -> Result<Vec<Clip>, FormatError> {
    if let Some(greatest) =
        options.greatest_confidence.filter(|greatest| !(greatest.is_finite() && *greatest > 0.0))
    {
        let reason =
            format!("cannot be read with a greatest confidence of {greatest}; give a number above 0");
        return Err(FormatError::file(path, reason));
    }
    let mut clips = match format {
        Format::Clip => return Ok(read_clips(path)?),
        Format::Coco => coco::read(path, options)?,
        Format::OpenPose => openpose::read(path, options)?,
        Format::Kinetics => kinetics::read(path, options)?,
        Format::Pyskl => pyskl::read(path, options)?,
        Format::Ntu => ntu::read(path, options)?,
        Format::Npz => npz::read(path, options)?,
    };
    clips.iter_mut().for_each(|clip| clip.instances.sort_by_key(|instance| instance.frame));
    check_all(path, &clips)?;
    if clips.is_empty() {
        return Err(FormatError::file(path, "has no video; check the path, and the split if one was named"));
    }
    Ok(clips)
}

/// Checks each clip, and that no two have the same name.
fn check_all(path: &Path, clips: &[Clip]) -> Result<(), FormatError> {
    let mut ids = HashSet::new();
    for clip in clips {
        let (path, id) = (path.to_owned(), clip.id.clone());
        if let Err(source) = clip.check() {
            return Err(FormatError::Clip { path, id, source });
        }
        if !ids.insert(&clip.id) {
            return Err(FormatError::Twice { path, id });
        }
    }
    Ok(())
}

/// Writes clips, as far as the format can hold them. COCO, OpenPose and Kinetics-skeleton keep no size, and
/// COCO no label nor frames without people at the end; OpenPose keeps no label nor box, Kinetics-skeleton no
/// box nor track, `.npz` no box nor track. OpenPose, Kinetics-skeleton and `.npz` have one video a file or
/// folder: several clips become a folder. Files are written as [`pg_tubes::write_file`] does, but for OpenPose's.
///
/// # Errors
/// [`FormatError::OnlyRead`] for pickles and NTU RGB+D, [`FormatError::Clip`] for a clip that fails
/// [`Clip::check`], [`FormatError::Twice`], [`FormatError::File`] for OpenPose's folder of a clip that has frames
/// already, and [`FormatError::Write`].
pub fn write(format: Format, path: &Path, clips: &[Clip]) -> Result<(), FormatError> {
    check_all(path, clips)?;
    match format {
        Format::Clip => Ok(write_clips(path, clips)?),
        Format::Coco => coco::write(path, clips),
        Format::OpenPose => openpose::write(path, clips),
        Format::Kinetics => kinetics::write(path, clips),
        Format::Npz => npz::write(path, clips),
        Format::Pyskl | Format::Ntu => Err(FormatError::OnlyRead { path: path.to_owned(), format }),
    }
}

/// The name of a class that a file gives as a number.
fn class_name(number: i64, options: &ReadOptions) -> Result<String, String> {
    if options.classes.is_empty() {
        return Ok(number.to_string());
    }
    let name = usize::try_from(number).ok().and_then(|number| options.classes.get(number));
    let known = options.classes.len();
    name.cloned().ok_or_else(|| format!("label {number} is not one of the {known} classes; name them all"))
}

/// The size of the images that the file does not give.
fn given_size(options: &ReadOptions) -> Result<(u32, u32), String> {
    options
        .size
        .ok_or_else(|| "does not say how large its images are; give their width and height".to_owned())
}
