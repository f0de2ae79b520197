//! Settings in TOML files.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args as ClapArgs;
use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use toml::Spanned;

use crate::error::SettingsError;

/// What a command may be told on the command line or in a file; `T` is a struct of options.
#[derive(Debug, ClapArgs)]
pub struct Configured<T: ClapArgs> {
    #[command(flatten)]
    /// The flags.
    pub said: T,
    /// Settings from a TOML file with the flags' names as keys (all but --config, --resume, --export and those under Machine); flags override it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl<T: ClapArgs + Serialize + DeserializeOwned> Configured<T> {
    /// The flags over the file.
    ///
    /// # Errors
    /// What is wrong with the file, or with merging.
    pub fn merged(self) -> Result<T, SettingsError> {
        match &self.config {
            Some(file) => over_file(&self.said, file),
            None => Ok(self.said),
        }
    }
}

/// What was said on the command line over what a TOML file says, whose keys are the flags' names. `T` is a struct of
/// options; keys that it does not have are refused here, since serde cannot refuse them where one struct is flattened
/// into another.
///
/// # Errors
/// [`SettingsError::Unreadable`] or [`SettingsError::Invalid`], naming file, line and key; [`SettingsError::Unmergeable`]
/// for what was said.
pub fn over_file<T: Serialize + DeserializeOwned>(said: &T, path: &Path) -> Result<T, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
    let invalid = |reason: String| SettingsError::Invalid { path: path.to_owned(), reason };
    let line = |span: Range<usize>| 1 + text[..span.start].matches('\n').count();
    let file: BTreeMap<String, Spanned<toml::Value>> = toml::from_str(&text).map_err(|error| {
        let place = error.span().map_or(String::new(), |span| format!("line {}: ", line(span)));
        invalid(format!("{place}{}", one_line(error.message())))
    })?;
    let mut merged = toml::Table::new();
    for (key, value) in file {
        // Each key by itself, so that what is wrong with it can be told apart.
        let line = line(value.span());
        let alone = toml::Table::from_iter([(key.clone(), value.into_inner())]);
        let kept = alone.clone().try_into::<T>().map_err(|error: toml::de::Error| {
            invalid(format!("line {line}: `{key}`: {}", one_line(error.message())))
        })?;
        let kept = toml::Table::try_from(kept).map_err(|error| invalid(one_line(&error.to_string())))?;
        if kept.is_empty() {
            return Err(invalid(format!("line {line}: unknown key `{key}`; --help names the settings")));
        }
        merged.extend(alone);
    }
    let said = toml::Table::try_from(said)
        .map_err(|error| SettingsError::Unmergeable { reason: one_line(&error.to_string()) })?;
    for (flag, others) in EXCLUSIVE {
        if said.get(flag).is_some_and(takes_effect) {
            others.iter().for_each(|other| drop(merged.remove(*other)));
        }
    }
    merged.extend(said);
    merged.try_into().map_err(|error: toml::de::Error| invalid(one_line(error.message())))
}

/// Whether a value of [`EXCLUSIVE`] is more than the wish for a default.
fn takes_effect(value: &toml::Value) -> bool {
    value.as_bool() != Some(false) && value.as_integer() != Some(1) && value.as_float() != Some(1.0)
}

/// Settings that exclude each other: one that is said overrides those of a file.
const EXCLUSIVE: [(&str, &[&str]); 9] = [
    ("data", &["dataset", "data-root"]),
    ("dataset", &["data"]),
    ("data-root", &["data"]),
    ("edits", &["no-edits"]),
    ("no-edits", &["edits"]),
    ("weights", &["pretrained"]),
    ("pretrained", &["weights"]),
    ("every", &["fraction"]),
    ("fraction", &["every"]),
];

/// Serialises a path as text; one that is none is named, which serde's own error does not.
///
/// # Errors
/// With the text of [`SettingsError::NotUtf8`].
pub fn path_as_text<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = |path: &PathBuf| match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(S::Error::custom(SettingsError::NotUtf8 { path: path.clone() })),
    };
    path.as_ref().map(text).transpose()?.serialize(serializer)
}

/// A message of several lines in one.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// The settings of a run from its `args.toml`, whose keys must all be known.
///
/// # Errors
/// If the file cannot be read or does not describe a run.
pub fn read_run<T: Serialize + DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{}: not a run directory that can be resumed", path.display()))?;
    let wrong = |reason: &str| anyhow!("{}: not the settings of a run ({reason})", path.display());
    let table: toml::Table = toml::from_str(&text).map_err(|error| wrong(error.message()))?;
    let config: T = toml::from_str(&text).map_err(|error| wrong(error.message()))?;
    // serde cannot refuse unknown keys where one struct is flattened into another.
    let known = toml::Table::try_from(&config).map_err(|error| wrong(&error.to_string()))?;
    match table.keys().find(|key| !known.contains_key(*key)) {
        Some(key) => Err(wrong(&format!("unknown field `{key}`"))),
        None => Ok(config),
    }
}
