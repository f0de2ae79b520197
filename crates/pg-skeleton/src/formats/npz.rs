//! NumPy's archives of a video: `keypoint` and what belongs to it, the names of PYSKL; or `keypoint` alone as
//! `.npy`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::files::{make_parent, one_a_file, place, read_bytes, write_file};
use super::npy;
use super::pyskl::{Skeletons, size_of};
use super::{ReadOptions, class_name};
use crate::array::{Array, Scalar};
use crate::clip::{Clip, Instance};
use crate::error::{FormatError, one_line};

pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Clip>, FormatError> {
    let files = one_a_file(path, &["npz", "npy"])?;
    files.into_iter().map(|(id, file)| clip(id, &file, options)).collect()
}

fn clip(id: String, path: &Path, options: &ReadOptions) -> Result<Clip, FormatError> {
    let members = if path.extension().is_some_and(|extension| extension == "npy") {
        BTreeMap::from([("keypoint".to_owned(), read_bytes(path)?)])
    } else {
        members(path)?
    };
    let array = |name: &str| -> Result<Option<Array<'_>>, FormatError> {
        let failed = |reason| FormatError::record(path, format!("`{name}`"), reason);
        members.get(name).map(|bytes| npy::parse(bytes).map_err(failed)).transpose()
    };
    let scalar = |name| Ok::<_, FormatError>(array(name)?.and_then(|array| array.scalar()));
    let failed = |reason| FormatError::file(path, reason);

    let keypoint = array("keypoint")?.ok_or_else(|| {
        let names = members.keys().map(|name| format!("`{}`", one_line(name))).collect::<Vec<_>>().join(", ");
        failed(format!("has no `keypoint` but [{names}]; store the keypoints by that name"))
    })?;
    let shape = array("img_shape")?.and_then(|array| array.numbers());
    let size = shape.and_then(|numbers| size_of(&numbers, options));
    let label = match scalar("label")? {
        Some(Scalar::Int(number)) => Some(class_name(number, options).map_err(failed)?),
        Some(Scalar::Text(name)) => Some(name),
        _ => None,
    };
    let id = match scalar("frame_dir")? {
        Some(Scalar::Text(name)) => name,
        _ => id,
    };
    let fps = match scalar("fps")? {
        Some(Scalar::Float(fps)) => Some(fps),
        Some(Scalar::Int(fps)) => Some(fps as f64),
        _ => options.fps,
    };
    let score = array("keypoint_score")?;
    let skeletons = Skeletons { keypoint, score, size, frames: None, frame_indices: None };
    let clip = skeletons.clip(id, label, options).map_err(failed)?;
    Ok(Clip { fps, ..clip })
}

/// The arrays of an archive. Each is read as far as it goes, whatever length the archive says it has.
fn members(path: &Path) -> Result<BTreeMap<String, Vec<u8>>, FormatError> {
    const NAMES: [&str; 6] = ["keypoint", "keypoint_score", "label", "img_shape", "frame_dir", "fps"];
    let failed =
        |error: ZipError| FormatError::file(path, format!("{error}; is it an .npz file? copy it again"));
    let file = File::open(path).map_err(FormatError::read(path))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(failed)?;
    let mut members = BTreeMap::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(failed)?;
        let name = member.name().map_err(failed)?;
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        let mut bytes = Vec::new();
        // Others are only named.
        if NAMES.contains(&name.as_str()) {
            member.read_to_end(&mut bytes).map_err(|error| failed(error.into()))?;
        }
        members.insert(name, bytes);
    }
    Ok(members)
}

pub(super) fn write(path: &Path, clips: &[Clip]) -> Result<(), FormatError> {
    for clip in clips {
        let file = place(path, &clip.id, ".npz", clips.len() == 1)?;
        make_parent(&file)?;
        write_file(&file, |file| write_clip(file, clip))?;
    }
    Ok(())
}

fn write_clip(file: impl Write + Seek, clip: &Clip) -> io::Result<()> {
    let slots = Slots::new(clip);
    let joints = clip.keypoint_count().unwrap_or(0);
    let mut archive = ZipWriter::new(file);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .large_file(slots.count.saturating_mul(clip.frames).saturating_mul(joints) > (1 << 28));

    archive.start_file("keypoint.npy", options)?;
    npy::write_header(&mut archive, "<f4", &[slots.count, clip.frames, joints, 2])?;
    slots.write(&mut archive, 8 * joints, |person| {
        person.keypoints.iter().flat_map(|point| [point.x, point.y]).flat_map(f32::to_le_bytes).collect()
    })?;
    archive.start_file("keypoint_score.npy", options)?;
    npy::write_header(&mut archive, "<f4", &[slots.count, clip.frames, joints])?;
    slots.write(&mut archive, 4 * joints, |person| {
        person.keypoints.iter().flat_map(|point| point.confidence.to_le_bytes()).collect()
    })?;
    archive.start_file("img_shape.npy", options)?;
    npy::write_header(&mut archive, "<i8", &[2])?;
    for length in [clip.height, clip.width] {
        archive.write_all(&i64::from(length).to_le_bytes())?;
    }
    write_text(&mut archive, options, "frame_dir.npy", &clip.id)?;
    if let Some(label) = &clip.label {
        write_text(&mut archive, options, "label.npy", label)?;
    }
    if let Some(fps) = clip.fps {
        archive.start_file("fps.npy", options)?;
        npy::write_header(&mut archive, "<f8", &[])?;
        archive.write_all(&fps.to_le_bytes())?;
    }
    archive.finish().map(drop).map_err(io::Error::from)
}

fn write_text(
    archive: &mut ZipWriter<impl Write + Seek>,
    options: SimpleFileOptions,
    name: &str,
    text: &str,
) -> io::Result<()> {
    archive.start_file(name, options)?;
    npy::write_header(archive, &format!("<U{}", text.chars().count().max(1)), &[])?;
    let text = if text.is_empty() { "\0" } else { text };
    text.chars().try_for_each(|character| archive.write_all(&u32::from(character).to_le_bytes()))
}

/// The people of a clip, the k-th of each frame in slot k; a slot is no track.
struct Slots<'a> {
    /// By slot, then frame.
    people: BTreeMap<(usize, usize), &'a Instance>,
    count: usize,
    frames: usize,
}

impl<'a> Slots<'a> {
    fn new(clip: &'a Clip) -> Self {
        let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
        let slots = clip.instances.iter().map(|person| {
            let slot = taken.entry(person.frame).or_default();
            *slot += 1;
            ((*slot - 1, person.frame), person)
        });
        let people: BTreeMap<_, _> = slots.collect();
        let count = people.last_key_value().map_or(0, |(&(slot, _), _)| slot + 1);
        Self { people, count, frames: clip.frames }
    }

    /// Writes every slot of every frame, zeros where no one is.
    fn write(
        &self,
        file: &mut impl Write,
        size: usize,
        bytes: impl Fn(&Instance) -> Vec<u8>,
    ) -> io::Result<()> {
        let nobody = vec![0; size];
        for slot in 0..self.count {
            for frame in 0..self.frames {
                match self.people.get(&(slot, frame)) {
                    Some(person) => file.write_all(&bytes(person))?,
                    None => file.write_all(&nobody)?,
                }
            }
        }
        Ok(())
    }
}
