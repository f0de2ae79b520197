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
use super::pyskl::{Skeletons, numbers_of, size_of};
use super::{ReadOptions, class_name};
use crate::array::{Array, Scalar};
use crate::clip::{Clip, Instance};
use crate::error::{FormatError, one_line};

/// What the arrays of an archive may inflate to together, in bytes: hours of a crowd. DEFLATE makes up to a
/// thousand bytes of one.
const LIMIT: u64 = 4 << 30;

pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Clip>, FormatError> {
    let files = one_a_file(path, &["npz", "npy"])?;
    files.into_iter().map(|(id, file)| clip(id, &file, options)).collect()
}

fn clip(id: String, path: &Path, options: &ReadOptions) -> Result<Clip, FormatError> {
    let members = if path.extension().is_some_and(|extension| extension == "npy") {
        BTreeMap::from([("keypoint".to_owned(), read_bytes(path)?)])
    } else {
        members(path, LIMIT)?
    };
    let array = |name: &str| -> Result<Option<Array<'_>>, FormatError> {
        let failed = |reason| FormatError::record(path, format!("`{name}`"), reason);
        members.get(name).map(|bytes| npy::parse(bytes).map_err(failed)).transpose()
    };
    // What is there has to be understood; `Some(None)` is an array of several.
    let scalar = |name| Ok::<_, FormatError>(array(name)?.map(|array| array.scalar()));
    let failed = |reason| FormatError::file(path, reason);
    let unlike = |name: &str, expected: &str| {
        failed(format!("`{name}` is not {expected}; write one, or leave it out"))
    };

    let keypoint = array("keypoint")?.ok_or_else(|| {
        let names = members.keys().map(|name| format!("`{}`", one_line(name))).collect::<Vec<_>>().join(", ");
        failed(format!("has no `keypoint` but [{names}]; store the keypoints by that name"))
    })?;
    let size = array("img_shape")?.map(|shape| size_of(numbers_of(&shape), options));
    let size = size.map(|size| size.or_else(|reason| options.size.ok_or(reason)));
    let size = size.transpose().map_err(failed)?;
    let label = match scalar("label")? {
        None => None,
        Some(Some(Scalar::Int(number))) => Some(class_name(number, options).map_err(failed)?),
        Some(Some(Scalar::Text(name))) => Some(name),
        Some(_) => return Err(unlike("label", "a whole number or a name")),
    };
    let id = match scalar("frame_dir")? {
        None => id,
        Some(Some(Scalar::Text(name))) => name,
        Some(_) => return Err(unlike("frame_dir", "a name")),
    };
    let fps = match scalar("fps")? {
        None => options.fps,
        Some(Some(Scalar::Float(fps))) => Some(fps),
        Some(Some(Scalar::Int(fps))) => Some(fps as f64),
        Some(_) => return Err(unlike("fps", "a number")),
    };
    let score = array("keypoint_score")?;
    let skeletons = Skeletons { keypoint, score, size, frames: None, frame_indices: None };
    let clip = skeletons.clip(id, label, options).map_err(failed)?;
    Ok(Clip { fps, ..clip })
}

/// The arrays of an archive. Each is read as far as it goes, whatever length the archive says it has.
fn members(path: &Path, limit: u64) -> Result<BTreeMap<String, Vec<u8>>, FormatError> {
    const NAMES: [&str; 6] = ["keypoint", "keypoint_score", "label", "img_shape", "frame_dir", "fps"];
    let failed =
        |error: ZipError| FormatError::file(path, format!("{error}; is it an .npz file? copy it again"));
    let file = File::open(path).map_err(FormatError::read(path))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(failed)?;
    let mut members = BTreeMap::new();
    let mut left = limit;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(failed)?;
        let name = member.name().map_err(failed)?;
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        let mut bytes = Vec::new();
        // Others are only named.
        if NAMES.contains(&name.as_str()) {
            // The byte beyond tells an end from a cut.
            let mut within = member.by_ref().take(left.saturating_add(1));
            let read = within.read_to_end(&mut bytes).map_err(|error| failed(error.into()))?;
            left = left.checked_sub(read as u64).ok_or_else(|| {
                let reason = format!("inflates to more than {limit} bytes; cut the video into several");
                FormatError::file(path, reason)
            })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_archives_inflate_to_is_limited() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let mut archive = ZipWriter::new(File::create(&path).unwrap());
        for name in ["keypoint.npy", "other.npy", "keypoint_score.npy"] {
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(&[0; 5000]).unwrap();
        }
        archive.finish().unwrap();
        assert_eq!(members(&path, 10_000).unwrap().len(), 3, "others are not inflated");
        for limit in [0, 4999, 9999] {
            let expected = format!(
                "{}: inflates to more than {limit} bytes; cut the video into several",
                path.display()
            );
            assert_eq!(members(&path, limit).unwrap_err().to_string(), expected);
        }
    }
}
