//! What the report was made with.

use std::process::Command;

use anyhow::{Context, Result};

use super::report::{Machine, Version};
use crate::process;

pub(crate) fn describe() -> Machine {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_model(&cpuinfo).unwrap_or(std::env::consts::ARCH).to_owned();
    Machine { cpu: model, cores: process::cores(), system: std::env::consts::OS.into() }
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let (_, model) = cpuinfo.lines().find(|line| line.starts_with("model name"))?.split_once(':')?;
    Some(model.trim())
}

/// The versions of this project, of its tensor library and of the compiler.
pub(crate) fn versions() -> Result<Vec<Version>> {
    let root = process::workspace_root();
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let known = [
        ("provenance-guidance", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("commit", commit()),
        ("candle-core", locked_version(&lock, "candle-core")),
        (
            "rustc",
            process::stdout_of(Command::new("rustc").arg("--version"))
                .ok()
                .map(|text| text.trim().to_owned()),
        ),
    ];
    let present = known
        .into_iter()
        .filter_map(|(name, version)| Some(Version { name: name.into(), version: version? }));
    Ok(present.collect())
}

/// The commit that is checked out, and whether files differ from it; none outside git.
pub(crate) fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        process::stdout_of(Command::new("git").current_dir(process::workspace_root()).args(arguments)).ok()
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let suffix = if changed.is_empty() { "" } else { " with changes" };
    Some(format!("{}{suffix}", commit.trim()))
}

fn locked_version(lock: &str, name: &str) -> Option<String> {
    let lock: toml::Table = lock.parse().ok()?;
    let packages = lock.get("package")?.as_array()?;
    let package =
        packages.iter().find(|package| package.get("name").and_then(toml::Value::as_str) == Some(name))?;
    Some(package.get("version")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.2.3\"\n[[package]]\nname = \"b\"\nversion = \"2.0.0\"\n";
        assert_eq!(locked_version(lock, "b").as_deref(), Some("2.0.0"));
        assert_eq!(locked_version(lock, "c"), None);
    }

    #[test]
    fn the_model_of_the_processor_is_read() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: AMD EPYC\n"), Some("AMD EPYC"));
        assert_eq!(cpu_model(""), None);
    }
}
