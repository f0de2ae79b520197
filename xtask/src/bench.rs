//! `cargo xtask bench`: the time and the peak memory of a training step.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::process;

/// What is measured when no `--model` is given.
const MODELS: [&str; 2] = ["vgg16-gap", "resnet50"];
const MODES: [&str; 3] = ["plain", "hard", "soft"];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// One model only.
    #[arg(long)]
    model: Option<String>,
    /// One loss only: without guidance, with hard or with soft labels.
    #[arg(long, value_parser = MODES)]
    mode: Option<String>,
    /// Images in a batch.
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Height and width of an image, in pixels.
    #[arg(long, default_value_t = 224)]
    size: usize,
    /// CPU threads (default: one a core).
    #[arg(long)]
    threads: Option<usize>,
    /// Steps measured, after one that is not.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Print one JSON object a row instead of a table.
    #[arg(long)]
    json: bool,
}

/// What `pg-peer bench` prints: a step's seconds (median, least, most) and the process's peak memory.
#[derive(Debug, Deserialize, Serialize)]
struct Row {
    engine: String,
    model: String,
    mode: String,
    batch: usize,
    size: usize,
    threads: usize,
    seconds: f64,
    min: f64,
    max: f64,
    peak_mib: f64,
}

/// Measures every (model, mode) in a process of its own, so that the peak memory is that row's.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let binary = process::build_release("pg-peer")?;
    let models = options.model.as_deref().map_or(MODELS.to_vec(), |model| vec![model]);
    let modes = options.mode.as_deref().map_or(MODES.to_vec(), |mode| vec![mode]);
    if !options.json {
        println!("{HEADER}");
    }
    for model in models {
        for mode in &modes {
            let row = measure(&binary, model, mode, options)?;
            println!("{}", if options.json { serde_json::to_string(&row)? } else { table_line(&row) });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(binary: &Path, model: &str, mode: &str, options: &Options) -> Result<Row> {
    let mut command = Command::new(binary);
    command.args(["bench", "--model", model, "--mode", mode]);
    command.args(["--batch", &options.batch.to_string(), "--size", &options.size.to_string()]);
    let threads = options.threads.unwrap_or_else(process::cores);
    command.args(["--repeats", &options.repeats.to_string(), "--threads", &threads.to_string()]);
    let stdout = process::stdout_of(&mut command)?;
    let line = process::last_line(&stdout);
    serde_json::from_str(line)
        .with_context(|| format!("`{}` printed no bench row: {line}", process::shell_line(&command)))
}

const HEADER: &str = "engine                     model        mode   batch  size  threads   seconds (    min ..     max)  peak MiB";

fn table_line(row: &Row) -> String {
    let Row { engine, model, mode, batch, size, threads, seconds, min, max, peak_mib } = row;
    format!(
        "{engine:<26} {model:<12} {mode:<6} {batch:>5} {size:>5} {threads:>8} {seconds:>9.3} ({min:>7.3} .. {max:>7.3}) {peak_mib:>9.0}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_with_its_header() {
        let row = r#"{"engine":"provenance-guidance 0.1.0","model":"resnet50","mode":"soft","batch":8,"size":224,"threads":2,
            "seconds":12.5,"min":12.25,"max":13.0,"peak_mib":2048.4}"#;
        let line = table_line(&serde_json::from_str(row).unwrap());
        assert_eq!(line.len(), HEADER.len());
        assert_eq!(line.find('('), HEADER.find('('));
        assert!(line.ends_with(" 2048"), "{line}");
    }

    #[test]
    fn a_row_without_its_peak_memory_is_refused() {
        assert!(serde_json::from_str::<Row>(r#"{"engine":"e","model":"m","mode":"soft"}"#).is_err());
    }
}
