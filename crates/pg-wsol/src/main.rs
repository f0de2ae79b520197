//! `pg-wsol`: see `pg-wsol --help`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary speaks to its user")]

mod commands;

use std::process::ExitCode;

use clap::Parser;
use pg_cli::program;

/// Weakly supervised object localisation: networks that are trained to classify, and asked where.
///
/// A first run, without any data of yours: pg-wsol train --synth cutmix --alpha 0.1
#[derive(Parser)]
#[command(version, max_term_width = 100)]
enum Command {
    /// Train a network on mixes of images, with or without guidance, and measure where it looks.
    Train(Box<commands::train::Args>),
    /// Measure how well score maps find the objects of a split, whichever tool wrote them.
    Evaluate(commands::evaluate::Args),
    /// Draw a checkpoint's score maps and boxes, and write its maps for `evaluate`.
    Explain(commands::explain::Args),
}

impl Command {
    fn threads(&self) -> Option<usize> {
        match self {
            Command::Train(args) => args.machine.threads(),
            Command::Evaluate(args) => args.threads(),
            Command::Explain(args) => args.machine.threads(),
        }
    }
}

#[allow(unsafe_code, reason = "what must happen before any other thread runs, only `main` can do")]
fn main() -> ExitCode {
    let command = Command::parse();
    let threads = command.threads();
    let work = move || match command {
        Command::Train(args) => commands::train::run(*args),
        Command::Evaluate(args) => commands::evaluate::run(&args),
        Command::Explain(args) => commands::explain::run(args),
    };
    // SAFETY: no other thread runs yet.
    unsafe { program::run(threads, work) }
}
