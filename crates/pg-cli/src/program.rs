//! A program from its start to its exit code.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;
use pg_tasks::error_line::error_line;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::error::SettingsError;

/// Stack of the working thread: candle walks the graph recursively, and a guided ResNet-50 is deep.
const STACK: usize = 256 << 20;

/// Runs `work` with second-order derivatives, logs on standard error, at most `threads` threads and a deep stack. An error
/// becomes one line on standard error and exit code 2 for what the user set wrongly, 1 for all else.
///
/// # Safety
/// Writes the environment: call it at the start of `main`, while no other thread runs.
#[allow(unsafe_code, reason = "what must happen before any other thread runs, only `main` can do")]
pub unsafe fn run(threads: Option<usize>, work: impl FnOnce() -> Result<()> + Send + 'static) -> ExitCode {
    // SAFETY: the caller promises that no other thread runs.
    unsafe {
        pg_grad::second_order::enable();
        pg_grad::keep_freed_memory();
        pg_grad::limit_threads(threads);
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .finish()
        // What the hub's client has to say comes with its error.
        .with(Targets::new().with_default(LevelFilter::INFO).with_target("hf_hub", LevelFilter::OFF))
        .init();
    match std::thread::Builder::new().stack_size(STACK).spawn(work).map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err(error))) => {
            complain(&error_line(error.as_ref()));
            ExitCode::from(if error.is::<SettingsError>() { 2 } else { 1 })
        }
        // The panic has printed itself.
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("cannot start a thread: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A line on standard error; where that is closed, nobody listens.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "error: {line}");
}
