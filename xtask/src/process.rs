//! Building and starting the workspace's binaries, and other programs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The folder that holds the workspace's `Cargo.toml`: of the checkout that `cargo xtask` was called in, which may share
/// its build folder with others.
pub(crate) fn workspace_root() -> PathBuf {
    let called = std::env::var_os("CARGO_MANIFEST_DIR");
    let manifest = PathBuf::from(called.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()));
    manifest.parent().unwrap_or(&manifest).to_path_buf()
}

/// `cargo`, the one that started this process where there is one, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(workspace_root());
    command
}

/// The cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The features that a build for a device (`cuda:0`, say) takes.
pub(crate) fn features_for(device: &str) -> &'static [&'static str] {
    match device.split(':').next() {
        Some("cuda") => &["cudnn"],
        Some("metal") => &["metal"],
        _ => &[],
    }
}

/// The value of `--device` among the words of a command.
pub(crate) fn device_of(words: &[impl AsRef<str>]) -> Option<&str> {
    let mut words = words.iter().map(AsRef::as_ref);
    let said = words.find_map(|word| match word.split_once('=') {
        Some(("--device", device)) => Some(Some(device)),
        _ if word == "--device" => Some(None),
        _ => None,
    })?;
    said.or_else(|| words.next())
}

/// Builds `package` with `features` in release mode and returns the path of its binary of the same name.
pub(crate) fn build_release(package: &str, features: &[&str]) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--release", "--quiet", "--package", package]);
    command.args(["--features", &features.join(",")]);
    command.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot start `{}`", shell_line(&command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", shell_line(&command), output.status);
    }
    executable_of(package, &String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("package {package} has no binary named {package}"))
}

/// Finds the path of the binary `name` among cargo's JSON messages.
fn executable_of(name: &str, messages: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        target: Target,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    // Messages of other kinds have no target or no executable, and fall through.
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    artifacts.filter(|artifact| artifact.target.name == name).find_map(|artifact| artifact.executable)
}

/// Runs `command` to its end and returns its standard output; fails with the last lines of its standard error.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", shell_line(command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({}): {}", shell_line(command), output.status, stderr_tail(&output, 5));
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed bytes that are no text", shell_line(command)))
}

/// The last line of `stdout` that is not blank.
pub(crate) fn last_line(stdout: &str) -> &str {
    stdout.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("")
}

/// The last `count` lines of what a process wrote to its standard error, joined by ` | `.
pub(crate) fn stderr_tail(output: &Output, count: usize) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return "nothing on standard error".into();
    }
    lines[lines.len().saturating_sub(count)..].join(" | ")
}

/// The command as one would type it in a shell.
pub(crate) fn shell_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// `word`, in single quotes where a shell would otherwise split or expand it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_is_read_from_a_command() {
        assert_eq!(device_of(&["--batch", "8"]), None);
        assert_eq!(device_of(&["--device", "cuda:1", "--batch", "8"]), Some("cuda:1"));
        assert_eq!(device_of(&["--batch", "8", "--device=metal"]), Some("metal"));
        assert_eq!(device_of(&["--device"]), None);
    }

    #[test]
    fn a_device_is_built_for() {
        assert_eq!(features_for("cpu"), [""; 0]);
        assert_eq!((features_for("cuda"), features_for("cuda:1")), (&["cudnn"][..], &["cudnn"][..]));
        assert_eq!(features_for("metal"), ["metal"]);
    }

    #[test]
    fn finds_the_binary_and_not_the_library_of_the_same_name() {
        let messages = [
            r#"{"reason":"compiler-artifact","target":{"name":"pg-peer"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"build-script"},"executable":"/t/build"}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"pg-peer"},"executable":"/t/release/pg-peer"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ]
        .join("\n");
        assert_eq!(executable_of("pg-peer", &messages), Some(PathBuf::from("/t/release/pg-peer")));
        assert_eq!(executable_of("absent", &messages), None);
    }

    #[test]
    fn a_failing_command_is_reported_with_its_line_and_its_last_words() {
        let error =
            stdout_of(Command::new("sh").args(["-c", "echo first >&2; echo last >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("sh -c 'echo first") && text.contains("3") && text.ends_with("first | last"),
            "{text}"
        );
    }

    #[test]
    fn the_last_line_skips_blank_ones() {
        assert_eq!(last_line("log\n{\"a\":1}\n\n"), "{\"a\":1}");
        assert_eq!(last_line(""), "");
    }

    #[test]
    fn words_with_spaces_or_quotes_are_quoted() {
        assert_eq!(quoted("--alpha=0.1"), "--alpha=0.1");
        assert_eq!(quoted("my data"), "'my data'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
