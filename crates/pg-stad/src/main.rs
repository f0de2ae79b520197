//! `pg-stad`: see `pg-stad --help`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary speaks to its user")]

mod commands;

use std::process::ExitCode;

use clap::Parser;
use pg_cli::program;

/// Who does what, where and when in a video: networks on skeletons that are trained with one label a video.
///
/// A first run, without any data of yours: pg-stad train --synth batchmix --alpha 0.01
#[derive(Parser)]
#[command(version, max_term_width = 100)]
enum Command {
    /// Write the embedded set as files, to look at or to start from.
    Synth(commands::synth::Args),
    /// Train a network on labelled clips, with or without mixing and guidance.
    Train(Box<commands::train::Args>),
    /// Score every person in every frame, and link them to tubes, as the run did where no flag says otherwise.
    Detect(commands::detect::Args),
    /// Measure tubes, whichever tool made them, against annotated ones.
    Evaluate(commands::evaluate::Args),
    /// Turn the files of pose estimators and data sets into clips, or clips into those.
    Convert(commands::convert::Args),
    /// Draw skeletons coloured by how much a class depends on them, as a page to look at.
    Explain(commands::explain::Args),
}

impl Command {
    fn threads(&self) -> Option<usize> {
        match self {
            Command::Train(args) => args.machine.threads(),
            Command::Detect(args) => args.machine.threads(),
            Command::Explain(args) => args.machine.threads(),
            Command::Synth(_) | Command::Evaluate(_) | Command::Convert(_) => None,
        }
    }
}

#[allow(unsafe_code, reason = "what must happen before any other thread runs, only `main` can do")]
fn main() -> ExitCode {
    let command = Command::parse();
    let threads = command.threads();
    let work = move || match command {
        Command::Synth(args) => commands::synth::run(&args),
        Command::Train(args) => commands::train::run(*args),
        Command::Detect(args) => commands::detect::run(&args),
        Command::Evaluate(args) => commands::evaluate::run(&args),
        Command::Convert(args) => commands::convert::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
    };
    // SAFETY: no other thread runs yet.
    unsafe { program::run(threads, work) }
}
