//! Files of one JSON value a line.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::writing::write_file;

/// Why a file of JSON lines cannot be used; the message names the file and the line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("{}: {source}; check the path", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{}: {source}; check that its folder exists and is writable", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The file has no lines.
    #[error("{}: is empty; one JSON object a line is expected", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// What a file tells of one video, in one line.
pub trait Record: DeserializeOwned {
    /// The video's name, which no other line of the file has.
    fn id(&self) -> &str;

    /// Whether the values make sense.
    ///
    /// # Errors
    /// What is wrong, and what to do, in one line.
    fn check(&self) -> Result<(), String>;
}

/// Reads and checks a file line by line, so that the caller can leave out the lines that are wrong.
///
/// # Errors
/// [`FileError::Read`] and [`FileError::Empty`] for the file; [`FileError::Line`] within, for a line.
pub fn read_each<T: Record>(path: &Path) -> Result<Vec<Result<T, FileError>>, FileError> {
    let mut seen = HashMap::new();
    let checked = |Line { number, value }: Line<T>| {
        let value = value.and_then(|value| {
            value.check()?;
            let first = *seen.entry(value.id().to_owned()).or_insert(number);
            if first == number { Ok(value) } else { Err(twice(value.id(), first)) }
        });
        Line { number, value }.located(path)
    };
    Ok(parse_each(path)?.into_iter().map(checked).collect())
}

/// Reads and checks a file of one JSON value a line; blank lines are skipped.
///
/// # Errors
/// [`FileError`], for the first line that is wrong.
pub fn read_checked<T: Record>(path: &Path) -> Result<Vec<T>, FileError> {
    read_each(path)?.into_iter().collect()
}

/// Reads a file of one JSON value a line, unchecked; blank lines are skipped.
///
/// # Errors
/// [`FileError`], for the first line that is wrong.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, FileError> {
    parse_each(path)?.into_iter().map(|line: Line<T>| line.located(path)).collect()
}

fn twice(id: &str, first: usize) -> String {
    // A message is one line, whatever the name.
    let id = id.replace(char::is_control, " ");
    format!("video `{id}` is on line {first} too; remove one of them")
}

/// A line, and its value or what is wrong with it.
struct Line<T> {
    /// From 1.
    number: usize,
    value: Result<T, String>,
}

impl<T> Line<T> {
    fn located(self, path: &Path) -> Result<T, FileError> {
        self.value.map_err(|reason| FileError::Line { path: path.to_owned(), line: self.number, reason })
    }
}

/// The lines that are not blank; at least one.
fn parse_each<T: DeserializeOwned>(path: &Path) -> Result<Vec<Line<T>>, FileError> {
    let bytes = fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let lines = (1..).zip(bytes.split(|&byte| byte == b'\n'));
    let lines = lines.filter(|(_, text)| !text.trim_ascii().is_empty());
    let lines: Vec<_> = lines.map(|(number, text)| Line { number, value: parse(text) }).collect();
    if lines.is_empty() { Err(FileError::Empty { path: path.to_owned() }) } else { Ok(lines) }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8 text; save the file as UTF-8")?;
    serde_json::from_str(text).map_err(|error| {
        // Its own line number counts from the start of `text`.
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        format!("{reason} (column {}); correct the line", error.column())
    })
}

/// Writes one JSON value a line, as [`write_file`] writes.
///
/// # Errors
/// [`FileError::Write`].
pub fn write_lines<T: Serialize>(path: &Path, values: &[T]) -> Result<(), FileError> {
    write_file(path, |file| {
        for value in values {
            serde_json::to_writer(&mut *file, value)?;
            file.write_all(b"\n")?;
        }
        Ok(())
    })
    .map_err(|source| FileError::Write { path: path.to_owned(), source })
}
