//! Files that are written whole, or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// Writes a file beside its place, forces it to the disk and renames it, so that `path` always holds either its old
/// content or all of the new one; a failed attempt leaves nothing behind.
///
/// What a link leads to, and what is no regular file (a pipe, or a device such as `/dev/stdout`), is written in
/// place, since a rename would put a file where the link or the device was. A failed attempt leaves its part there.
///
/// # Errors
/// The error of `content` or of the file system.
pub fn write_file(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let fill = |file: File| {
        let mut file = BufWriter::new(file);
        content(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)
    };
    if fs::symlink_metadata(path).is_ok_and(|place| !place.is_file()) {
        let file = standard_output(path).map_or_else(|| File::create(path), Ok)?;
        return fill(file).map(drop);
    }
    let temporary = beside(path);
    let attempt = || {
        fill(File::create(&temporary)?)?.sync_all()?;
        fs::rename(&temporary, path)
    };
    attempt().inspect_err(|_| {
        // It may not have been made at all, and the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    })
}

/// A name in the same folder, thus on the same file system, that no other process uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// The program's own standard output, if `path` leads there. Where that is a file, one opened anew would start at its
/// beginning, over what the program prints.
#[cfg(unix)]
fn standard_output(path: &Path) -> Option<File> {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    let output = File::from(io::stdout().as_fd().try_clone_to_owned().ok()?);
    let (place, printed) = (fs::metadata(path).ok()?, output.metadata().ok()?);
    ((place.dev(), place.ino()) == (printed.dev(), printed.ino())).then_some(output)
}

#[cfg(not(unix))]
fn standard_output(_: &Path) -> Option<File> {
    None
}
