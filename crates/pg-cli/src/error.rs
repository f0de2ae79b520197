//! What can be wrong with settings.

use std::path::PathBuf;

/// A setting that makes no sense: the user's to mend, exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value outside its range.
    #[error("--{flag} must be {expected}, got {value}")]
    Range {
        /// The flag.
        flag: &'static str,
        /// What would be valid.
        expected: &'static str,
        /// The value given.
        value: String,
    },
    /// A name that nothing has.
    #[error("--{flag}: `{name}` is unknown; choose one of {known}")]
    Unknown {
        /// The flag.
        flag: &'static str,
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A path that neither `args.toml` nor what flags and a file are merged by can hold.
    #[error("{}: the path is not UTF-8; rename it", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// Two settings that exclude each other.
    #[error("--{flag} and --{other} exclude each other")]
    Exclusive {
        /// One flag.
        flag: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A setting that would do nothing.
    #[error("--{flag} does nothing {when}; {advice}")]
    Idle {
        /// The flag.
        flag: &'static str,
        /// What keeps it from doing anything.
        when: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A setting without which nothing can be done.
    #[error("--{flag} is missing; say it on the command line or in the file of --config")]
    Missing {
        /// The flag.
        flag: &'static str,
    },
    /// A resumed run was given settings.
    #[error("--{flag} cannot change in a run that is resumed; leave it out, or begin a new run")]
    Resumed {
        /// The flag.
        flag: String,
    },
    /// A flag has a value that cannot be merged with a file.
    #[error("{reason}")]
    Unmergeable {
        /// What is wrong with it.
        reason: String,
    },
    /// The file of settings cannot be read.
    #[error("{}: cannot be read ({source}); check the path", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The file of settings is not valid.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        reason: String,
    },
}

/// Refuses a value outside its range.
///
/// # Errors
/// [`SettingsError::Range`].
pub fn ensure(
    holds: bool,
    flag: &'static str,
    expected: &'static str,
    value: impl std::fmt::Display,
) -> Result<(), SettingsError> {
    if holds { Ok(()) } else { Err(SettingsError::Range { flag, expected, value: value.to_string() }) }
}

/// Refuses a name that is not among `names`.
///
/// # Errors
/// [`SettingsError::Unknown`].
pub fn known(flag: &'static str, name: &str, names: &[&str]) -> Result<(), SettingsError> {
    if names.contains(&name) {
        return Ok(());
    }
    Err(SettingsError::Unknown { flag, name: name.to_owned(), known: names.join(", ") })
}

/// Refuses a setting that would do nothing.
///
/// # Errors
/// [`SettingsError::Idle`].
pub fn idle(
    idle: bool,
    flag: &'static str,
    when: &'static str,
    advice: &'static str,
) -> Result<(), SettingsError> {
    if idle { Err(SettingsError::Idle { flag, when, advice }) } else { Ok(()) }
}

/// Refuses a side of images, in pixels, that no network here can have.
///
/// # Errors
/// [`SettingsError::Range`].
pub fn check_image_size(side: u32) -> Result<(), SettingsError> {
    ensure((4..=4096).contains(&side), "image-size", "between 4 and 4096", side)
}
