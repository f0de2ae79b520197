//! What a program writes.

use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use pg_tasks::run_dir::{RunDirError, write_atomically};

/// Prints to standard output; that it cannot be written (a full disk, a closed pipe) is an error like any other.
///
/// # Errors
/// If it cannot be written.
pub fn say(text: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("standard output: cannot be written")
}

/// Makes a folder for pictures and tables.
///
/// # Errors
/// If it cannot be made.
pub fn make_folder(path: &Path) -> Result<()> {
    Ok(fs::create_dir_all(path).map_err(|source| RunDirError::new(path, source))?)
}

/// Writes a table, whole or not at all; a pipe or a device such as `/dev/stdout` takes it as it comes.
///
/// # Errors
/// If it cannot be written.
pub fn write_table(path: &Path, table: csv::Writer<Vec<u8>>) -> Result<()> {
    let bytes = table.into_inner().with_context(|| path.display().to_string())?;
    match fs::metadata(path) {
        Ok(place) if place.is_dir() => bail!("{}: is a folder; name a file for the table", path.display()),
        Ok(place) if !place.is_file() => {
            let open = fs::OpenOptions::new().write(true).open(path);
            open.and_then(|mut file| file.write_all(&bytes))
                .with_context(|| format!("{}: cannot be written", path.display()))
        }
        _ => Ok(write_atomically(path, |file| file.write_all(&bytes))?),
    }
}
