//! `pg-classify`: see `pg-classify --help`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary speaks to its user")]

mod commands;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use pg_classify::settings::SettingsError;
use pg_tasks::error_line::error_line;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// Stack of the working thread: candle walks the graph recursively, and a guided ResNet-50 is deep.
const STACK: usize = 256 << 20;

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
    fn machine(&self) -> &commands::Machine {
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
    // SAFETY: no other thread runs yet.
    unsafe {
        pg_grad::second_order::enable();
        pg_grad::keep_freed_memory();
        pg_grad::limit_threads(command.machine().threads());
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
    let work = move || match command {
        Command::Synth(args) => commands::synth::run(args),
        Command::Train(args) => commands::train::run(*args),
        Command::Evaluate(args) => commands::evaluate::run(args),
        Command::Explain(args) => commands::explain::run(args),
    };
    match std::thread::Builder::new().stack_size(STACK).spawn(work).map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err(error))) => {
            eprintln!("error: {}", error_line(error.as_ref()));
            ExitCode::from(if error.is::<SettingsError>() { 2 } else { 1 })
        }
        // The panic has printed itself.
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: cannot start a thread: {error}");
            ExitCode::FAILURE
        }
    }
}
