//! `pg-wsol`: see `pg-wsol --help`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary speaks to its user")]

mod commands;

use std::process::ExitCode;

use clap::Parser;
use pg_tasks::error_line::error_line;

/// Weakly supervised object localisation: evaluation of score maps.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
enum Command {
    /// Measure how well score maps find the objects of a split.
    Evaluate(commands::evaluate::Args),
}

fn main() -> ExitCode {
    let Command::Evaluate(args) = Command::parse();
    match commands::evaluate::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
