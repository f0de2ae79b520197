//! `cargo xtask parity`: single training steps against a reference implementation's recorded numbers.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::process;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Recorded steps (JSON).
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Passes the files to `pg-peer parity` and its exit code on.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let binary = process::build_release("pg-peer")?;
    let status = Command::new(&binary)
        .arg("parity")
        .args(&options.files)
        .status()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    // A process that a signal ended has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
