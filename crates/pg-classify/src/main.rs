//! `pg-classify`: see `pg-classify --help`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary speaks to its user")]

mod commands;

use std::process::ExitCode;

use clap::Parser;
use pg_cli::{Machine, program};

/// Classification trained on edited images with provenance guidance.
///
/// A first run, without any data of yours: pg-classify train --alpha 10
#[derive(Parser)]
#[command(version, max_term_width = 100)]
enum Command {
    /// Write samples with their provenance as pictures to look at.
    Synth(commands::synth::Args),
    /// Train a classifier, with or without guidance.
    Train(Box<commands::train::Args>),
    /// Score a checkpoint on a split of a data set.
    Evaluate(commands::evaluate::Args),
    /// Draw where a checkpoint looks, and measure how much of it lies on the object.
    Explain(commands::explain::Args),
}

impl Command {
    fn machine(&self) -> &Machine {
        match self {
            Command::Synth(args) => &args.machine,
            Command::Train(args) => &args.machine,
            Command::Evaluate(args) => &args.machine,
            Command::Explain(args) => &args.machine,
        }
    }
}

#[allow(unsafe_code, reason = "what must happen before any other thread runs, only `main` can do")]
fn main() -> ExitCode {
    let command = Command::parse();
    let threads = command.machine().threads();
    let work = move || match command {
        Command::Synth(args) => commands::synth::run(args),
        Command::Train(args) => commands::train::run(*args),
        Command::Evaluate(args) => commands::evaluate::run(args),
        Command::Explain(args) => commands::explain::run(args),
    };
    // SAFETY: no other thread runs yet.
    unsafe { program::run(threads, work) }
}
