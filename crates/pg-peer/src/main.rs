//! One training step beside a PyTorch peer's. `cargo xtask parity` and `cargo xtask bench` start it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary speaks to its user")]

mod bench;
mod data;
mod fixture;
mod generator;
mod network;
mod parity;

use clap::Parser;
use std::process::ExitCode;

/// Stack for the thread that trains: candle walks the graph recursively, and a guided ResNet-50 is deep.
const STACK: usize = 256 << 20;

/// One training step beside a PyTorch peer's.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Compare losses, logits and gradients of a guided step with fixtures, in f64 and in f32.
    Parity(parity::Args),
    /// Time plain and guided steps.
    Bench(bench::Args),
    /// Time loading, mixing and masks.
    Data(data::Args),
}

#[allow(unsafe_code, reason = "what must happen before any other thread runs, only `main` can do")]
fn main() -> ExitCode {
    let command = Command::parse();
    let threads = match &command {
        Command::Parity(_) => None,
        Command::Bench(args) => Some(args.threads()),
        Command::Data(args) => Some(args.threads()),
    };
    // SAFETY: no other thread runs yet.
    unsafe {
        pg_grad::second_order::enable();
        pg_grad::keep_freed_memory();
        pg_grad::limit_threads(threads);
    }
    let run = move || match command {
        Command::Parity(args) => parity::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Data(args) => data::run(&args),
    };
    let outcome = std::thread::Builder::new().stack_size(STACK).spawn(run).map(std::thread::JoinHandle::join);
    match outcome {
        Ok(Ok(Ok(true))) => ExitCode::SUCCESS,
        Ok(Ok(Ok(false))) | Ok(Err(_)) => ExitCode::FAILURE,
        Ok(Ok(Err(error))) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: cannot start a thread: {error}");
            ExitCode::FAILURE
        }
    }
}
