//! Project tasks: `cargo xtask reproduce | parity | bench | tidy`.
//!
//! The tasks build and start the workspace's binaries as processes and read what those print, so that this crate links
//! no tensor library and builds in seconds.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what a command-line tool does")]

mod bench;
mod parity;
mod process;
mod reproduce;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Project tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the experiments over several seeds and write a report.
    Reproduce(reproduce::Options),
    /// Compare single training steps with a reference implementation's recorded numbers.
    Parity(parity::Options),
    /// Measure the time and the peak memory of a training step.
    Bench(bench::Options),
    /// Check the rules of the project that no compiler checks.
    Tidy,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Reproduce(options) => reproduce::run(&options),
        Task::Parity(options) => parity::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Tidy => tidy::run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
