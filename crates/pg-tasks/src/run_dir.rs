//! Numbered run directories, and files that are either whole or not there.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Why something could not be written to a run directory.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// The name of the run cannot be a file name.
    #[error("run name {name:?} cannot name a folder; use letters, digits, `-`, `_` and `.`")]
    BadName {
        /// The name.
        name: String,
    },
    /// A run to be resumed is not there.
    #[error("{}: no such run directory; check the path that is to be resumed", path.display())]
    NoRun {
        /// The directory.
        path: PathBuf,
    },
    /// The file system cannot be written to at all.
    #[error("{}: the file system is read-only; choose another place", path.display())]
    ReadOnly {
        /// The file or folder.
        path: PathBuf,
    },
    /// This user may not write there.
    #[error("{}: permission denied; change its permissions or choose another place", path.display())]
    PermissionDenied {
        /// The file or folder.
        path: PathBuf,
    },
    /// No space is left, on the disk or of the user's quota.
    #[error("{}: no space left on the disk or in the quota; free some and try again, or resume the run", path.display())]
    DiskFull {
        /// The file or folder.
        path: PathBuf,
    },
    /// Part of the path is a file.
    #[error("{}: part of this path is a file, not a folder; choose another place", path.display())]
    NotAFolder {
        /// The file or folder.
        path: PathBuf,
    },
    /// The arguments have no TOML form.
    #[error("{}: the arguments cannot be written as TOML ({source}); this is a bug, please report it", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What cannot be written.
        source: toml::ser::Error,
    },
    /// Anything else that the file system says.
    #[error("{}: cannot be written ({source}); check the disk or choose another place", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl RunDirError {
    /// The variant that an error of the file system at `path` stands for.
    #[must_use]
    pub fn new(path: &Path, source: io::Error) -> Self {
        use io::ErrorKind;
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            ErrorKind::PermissionDenied => Self::PermissionDenied { path },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull { path },
            ErrorKind::NotADirectory => Self::NotAFolder { path },
            // `create_dir_all` says this of a file in the place of the folder.
            ErrorKind::AlreadyExists => Self::NotAFolder { path },
            _ => Self::Io { path, source },
        }
    }
}

/// The directory of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes `parent/<name>-<n>` with the first number n = 1, 2, ... that is free. Runs that start at the same time
    /// get different directories.
    ///
    /// # Errors
    /// If the name is not a file name, or if the directory cannot be made.
    pub fn create(parent: &Path, name: &str) -> Result<Self, RunDirError> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(RunDirError::BadName { name: name.to_owned() });
        }
        fs::create_dir_all(parent).map_err(|source| RunDirError::new(parent, source))?;
        let mut number = 1u64;
        loop {
            let path = parent.join(format!("{name}-{number}"));
            // `create_dir` either makes the directory or fails: two runs cannot both have made it.
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(RunDirError::new(&path, error)),
            }
        }
    }

    /// The directory of an earlier run, to be resumed.
    ///
    /// # Errors
    /// [`RunDirError::NoRun`] if it is not there.
    pub fn open(path: &Path) -> Result<Self, RunDirError> {
        if !path.is_dir() {
            return Err(RunDirError::NoRun { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned() })
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes the arguments of the run to `args.toml`.
    ///
    /// # Errors
    /// If they have no TOML form or the file cannot be written.
    pub fn write_args(&self, args: &impl Serialize) -> Result<(), RunDirError> {
        let path = self.file("args.toml");
        let text = toml::to_string_pretty(args)
            .map_err(|source| RunDirError::Toml { path: path.clone(), source })?;
        write_atomically(&path, |file| file.write_all(text.as_bytes()))
    }
}

/// Writes a file beside its place, forces it to the disk and renames it, so that `path` always holds either its
/// old content or all of the new one. A failed attempt leaves nothing behind.
///
/// # Errors
/// The error of `write` or of the file system, with the name of the file.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), RunDirError> {
    let temporary = beside(path);
    let attempt = || {
        let mut file = File::create(&temporary)?;
        write(&mut file)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, path)
    };
    attempt().map_err(|source| {
        // It may not have been made at all, and the first error is the one to report.
        let _ = fs::remove_file(&temporary);
        RunDirError::new(path, source)
    })
}

/// A name in the same folder, thus on the same file system, that no other process uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::thread;

    fn names(folder: &Path) -> BTreeSet<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn runs_that_start_together_get_different_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let parent = folder.path().join("runs");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..4).for_each(|_| drop(RunDir::create(&parent, "birds").unwrap())));
            }
        });
        assert_eq!(names(&parent), (1..=32).map(|n| format!("birds-{n}")).collect());
        assert_eq!(RunDir::open(&parent.join("birds-7")).unwrap().path(), parent.join("birds-7"));
        assert!(matches!(RunDir::open(&parent.join("birds-33")), Err(RunDirError::NoRun { .. })));
    }

    #[test]
    fn a_name_that_would_lead_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "..", "a/b", "a\\b", ".hidden"] {
            assert!(
                matches!(RunDir::create(folder.path(), name), Err(RunDirError::BadName { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        write_atomically(&path, |file| file.write_all(b"epoch 1")).unwrap();
        let error = write_atomically(&path, |file| {
            file.write_all(b"epo")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(matches!(error, Err(RunDirError::DiskFull { path: named }) if named == path));
        assert_eq!(fs::read(&path).unwrap(), b"epoch 1");
        assert_eq!(names(folder.path()).len(), 1);
    }

    #[test]
    fn errors_say_what_the_file_system_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(RunDir::create(&file, "a"), Err(RunDirError::NotAFolder { .. })));
        assert!(matches!(RunDir::create(&file.join("runs"), "a"), Err(RunDirError::NotAFolder { .. })));
        let error = RunDirError::new(&file, io::ErrorKind::ReadOnlyFilesystem.into());
        assert!(error.to_string().ends_with("file: the file system is read-only; choose another place"));
    }

    #[test]
    fn arguments_come_back_from_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path(), "a").unwrap();
        let args = toml::toml! { seed = 7
        alpha = 0.03 };
        run.write_args(&args).unwrap();
        let text = fs::read_to_string(run.file("args.toml")).unwrap();
        assert_eq!(toml::from_str::<toml::Table>(&text).unwrap(), args);
    }
}
