//! Files and folders, and what their names say.

use std::fs;
use std::io::{self, BufWriter};
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::error::{FormatError, one_line};

/// The files in a folder and below, by name. Links to folders are not followed.
pub(super) fn below(folder: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = FormatError::read(&folder);
        for entry in fs::read_dir(&folder).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            if entry.file_type().map_err(&failed)?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The videos of a format that keeps one in a file: `path` itself, or the files below it, named by their paths
/// from there.
///
/// # Errors
/// [`FormatError`], also if there is none.
pub(super) fn one_a_file(path: &Path, extensions: &[&str]) -> Result<Vec<(String, PathBuf)>, FormatError> {
    if !fs::metadata(path).map_err(FormatError::read(path))?.is_dir() {
        return Ok(vec![(stem(path), path.to_owned())]);
    }
    let mut files = below(path)?;
    files.retain(|file| file.extension().is_some_and(|found| extensions.iter().any(|name| found == *name)));
    if files.is_empty() {
        return Err(FormatError::file(
            path,
            format!("has no .{} file; check the path", extensions.join(" or .")),
        ));
    }
    let named = files.into_iter().map(|file| (name_below(path, &file.with_extension("")), file));
    Ok(named.collect())
}

/// The path of a file from a folder, as the name of a video.
pub(super) fn name_below(folder: &Path, file: &Path) -> String {
    file.strip_prefix(folder).unwrap_or(file).to_string_lossy().into_owned()
}

/// The name of a file without its extension, or of a folder.
pub(super) fn stem(path: &Path) -> String {
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    name.unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The number at the end of a name, such as 12 in `frame_0012`.
pub(super) fn last_number(name: &str) -> Option<usize> {
    let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
    let before = name[..end].trim_end_matches(|c: char| c.is_ascii_digit());
    name[before.len()..end].parse().ok()
}

/// The number of frames: as given, or up to the last that is used.
///
/// # Errors
/// What is wrong, if more are used than given.
pub(super) fn frame_count(given: Option<usize>, last: Option<usize>) -> Result<usize, String> {
    let used = last.map_or(0, |last| last.saturating_add(1));
    match given {
        Some(given) if given < used => Err(format!(
            "frame {} is beyond the {given} frames; correct their number, or that of the first",
            used - 1
        )),
        None if used == 0 => Err("shows no one; say how many frames it has".to_owned()),
        given => Ok(given.unwrap_or(used)),
    }
}

/// A frame by its number in a name, counted from 0.
///
/// # Errors
/// What is wrong, if it lies before the first.
pub(super) fn frame_index(number: usize, first: usize) -> Result<usize, String> {
    number.checked_sub(first).ok_or_else(|| {
        format!("frame {number} is before the first, {first}; correct the number of the first")
    })
}

pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, FormatError> {
    fs::read(path).map_err(FormatError::read(path))
}

/// A JSON file.
pub(super) fn json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, FormatError> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        // Python writes it, against the standard.
        let has_nan = error.is_syntax() && bytes.windows(3).any(|word| word == b"NaN");
        let advice = if has_nan { "JSON has no NaN, write 0" } else { "correct the file" };
        FormatError::line(path, error.line(), format!("{message} (column {}); {advice}", error.column()))
    })
}

/// Where the file or folder of a video goes: `path` if it is the only one, or else below.
///
/// # Errors
/// [`FormatError::File`], for a name that would lead elsewhere.
pub(super) fn place(path: &Path, id: &str, extension: &str, only: bool) -> Result<PathBuf, FormatError> {
    if only {
        return Ok(path.to_owned());
    }
    if id.is_empty() || !Path::new(id).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(FormatError::file(
            path,
            format!("no file can be named after video `{}`; rename it", one_line(id)),
        ));
    }
    Ok(path.join(format!("{id}{extension}")))
}

/// Makes the folder that a file is to lie in.
pub(super) fn make_parent(path: &Path) -> Result<(), FormatError> {
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(FormatError::write(path)),
        None => Ok(()),
    }
}

/// Writes a file as [`pg_tubes::write_file`] does.
pub(super) fn write_file(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<fs::File>) -> io::Result<()>,
) -> Result<(), FormatError> {
    pg_tubes::write_file(path, content).map_err(FormatError::write(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_off_names() {
        for (name, expected) in [
            ("0", Some(0)),
            ("frame_0012", Some(12)),
            ("v2_7_keypoints", Some(7)),
            ("none", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(last_number(name), expected, "{name}");
        }
    }

    #[test]
    fn frames_are_counted() {
        assert_eq!(frame_count(None, Some(4)), Ok(5));
        assert_eq!(frame_count(Some(9), Some(4)), Ok(9));
        assert_eq!(frame_count(Some(9), None), Ok(9));
        assert_eq!(frame_count(None, None), Err("shows no one; say how many frames it has".to_owned()));
        let beyond = "frame 4 is beyond the 4 frames; correct their number, or that of the first";
        assert_eq!(frame_count(Some(4), Some(4)), Err(beyond.to_owned()));
        let before = "frame 0 is before the first, 1; correct the number of the first";
        assert_eq!(frame_index(0, 1), Err(before.to_owned()));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let place = |id| place(Path::new("out"), id, ".json", false).map_err(|error| error.to_string());
        assert_eq!(place("a/b"), Ok(PathBuf::from("out/a/b.json")));
        for id in ["../b", "/b", ""] {
            assert_eq!(place(id), Err(format!("out: no file can be named after video `{id}`; rename it")));
        }
    }
}
