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
    /// Device: cpu, cuda, cuda:N or metal; what is compared is built with its features (cuda, cudnn, metal).
    #[arg(long, default_value = "cpu")]
    device: String,
    /// One precision only: f64 or f32.
    #[arg(long)]
    dtype: Option<String>,
}

/// Passes the files to `pg-peer parity` and its exit code on.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let binary = process::build_release("pg-peer", process::features_for(&options.device))?;
    let mut command = Command::new(&binary);
    command.arg("parity").args(&options.files).args(["--device", &options.device]);
    if let Some(dtype) = &options.dtype {
        command.args(["--dtype", dtype]);
    }
    let status = command.status().with_context(|| format!("cannot start {}", binary.display()))?;
    // A process that a signal ended has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
