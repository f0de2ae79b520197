//! `cargo xtask bench`: the time and the peak memory of a training step, with `--peer` beside PyTorch's.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::process;

mod data;

/// What is measured when no `--model` is given.
const MODELS: [&str; 4] = ["vgg16-gap", "resnet50", "sat", "skp"];
const MODES: [&str; 3] = ["plain", "hard", "soft"];
/// The Python that `peer/setup.sh` makes.
const PYTHON: &str = "peer/.venv/bin/python";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Measure what happens to images before a step (loading, CutMix, ResizeMix, PuzzleMix, masks), a thread each, in place of it.
    #[arg(long, conflicts_with_all = ["model", "mode"])]
    data: bool,
    /// One model only.
    #[arg(long)]
    model: Option<String>,
    /// One loss only: without guidance, with hard or with soft labels.
    #[arg(long, value_parser = MODES)]
    mode: Option<String>,
    /// Images in a batch (default: 8; with --data 64).
    #[arg(long)]
    batch: Option<usize>,
    /// Height and width of an image, in pixels.
    #[arg(long, default_value_t = 224)]
    size: usize,
    /// CPU threads (default: one a core; with --data 1).
    #[arg(long)]
    threads: Option<usize>,
    /// Steps measured, after one that is not.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Device: cpu, cuda, cuda:N or metal; ours is built with its features (cuda, cudnn, metal).
    #[arg(long, default_value = "cpu", conflicts_with = "data")]
    device: String,
    /// Let products of f32 be computed in TF32, on a CUDA device.
    #[arg(long, conflicts_with = "data")]
    tf32: bool,
    /// Measure the PyTorch step too, turn by turn, and compare (needs `peer/setup.sh` once).
    #[arg(long)]
    peer: bool,
    /// A Python with PyTorch, in place of the one that `peer/setup.sh` makes.
    #[arg(long, value_name = "PROGRAM", requires = "peer")]
    python: Option<PathBuf>,
    /// Turns, of which the median is reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Print one JSON object a row instead of a table.
    #[arg(long)]
    json: bool,
}

/// What `pg-peer bench` prints: a step's seconds (median, least, most) and the process's peak memory.
#[derive(Debug, Clone, Deserialize, Serialize)]
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
    if options.tf32 && !options.device.starts_with("cuda") {
        bail!("--tf32 is for CUDA devices; add --device cuda");
    }
    let ours = Engine::Ours(process::build_release("pg-peer", process::features_for(&options.device))?);
    let peer = options.peer.then(|| python(options)).transpose()?;
    if options.data {
        return data::run(&ours, peer.as_ref(), options);
    }
    let models = options.model.as_deref().map_or(MODELS.to_vec(), |model| vec![model]);
    let modes = options.mode.as_deref().map_or(MODES.to_vec(), |mode| vec![mode]);
    if !options.json {
        println!("{HEADER}");
    }
    for model in models {
        bench_model(&ours, peer.as_ref(), model, &modes, options)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures all that is to be compared turn by turn, so that a machine that slows down slows everything, and prints the
/// median turn of each.
fn bench_model(
    ours: &Engine,
    peer: Option<&Engine>,
    model: &str,
    modes: &[&str],
    options: &Options,
) -> Result<()> {
    let mut turns = vec![(Vec::new(), Vec::new()); modes.len()];
    for round in 1..=options.rounds {
        for (mode, (our_rows, peer_rows)) in modes.iter().zip(&mut turns) {
            eprintln!("turn {round} of {}: {model}, {mode}", options.rounds);
            our_rows.push(ours.measure(model, mode, options)?);
            peer_rows.extend(peer.map(|peer| peer.measure(model, mode, options)).transpose()?);
        }
    }
    let mut plain = None;
    for (our_rows, peer_rows) in turns {
        let row = median_turn(our_rows).context("no turn was measured")?;
        let peer_row = median_turn(peer_rows);
        print(&row, options.json)?;
        peer_row.iter().try_for_each(|peer_row| print(peer_row, options.json))?;
        if row.mode == "plain" {
            plain = Some(row.seconds);
        }
        print_ratios(&row, peer_row.as_ref(), plain, options.json);
    }
    Ok(())
}

fn print(row: &Row, as_json: bool) -> Result<()> {
    println!("{}", if as_json { serde_json::to_string(row)? } else { table_line(row) });
    Ok(())
}

/// What a row is of the peer's, and of our own plain step.
fn print_ratios(row: &Row, peer: Option<&Row>, plain: Option<f64>, as_json: bool) {
    let Row { model, mode, .. } = row;
    let time = peer.map(|peer| row.seconds / peer.seconds);
    // 0 where the system does not tell.
    let memory = peer
        .filter(|peer| row.peak_mib > 0.0 && peer.peak_mib > 0.0)
        .map(|peer| row.peak_mib / peer.peak_mib);
    let guided = plain.filter(|_| mode != "plain").map(|plain| row.seconds / plain);
    if as_json {
        let ratios = json!({ "model": model, "mode": mode, "time_ratio": time, "memory_ratio": memory, "of_plain": guided });
        println!("{ratios}");
        return;
    }
    let ratios = [(time, "of the time"), (memory, "of the memory"), (guided, "plain steps")];
    let ratios: Vec<String> =
        ratios.iter().filter_map(|(ratio, of)| ratio.map(|ratio| format!("{ratio:.2} {of}"))).collect();
    if !ratios.is_empty() {
        println!("{:<26} {model:<12} {mode:<6} {:>31}{}", "", "", ratios.join(", "));
    }
}

fn median_turn(mut rows: Vec<Row>) -> Option<Row> {
    rows.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let middle = rows.len() / 2;
    rows.into_iter().nth(middle)
}

/// What a row is measured with.
enum Engine {
    /// `pg-peer`.
    Ours(PathBuf),
    /// A Python with PyTorch.
    Peer(PathBuf),
}

fn python(options: &Options) -> Result<Engine> {
    let python = options.python.clone().unwrap_or_else(|| process::workspace_root().join(PYTHON));
    // A name without a folder is looked up by the system.
    if python.components().count() > 1 && !python.is_file() {
        bail!("{}: no such program; run peer/setup.sh, or name one with --python", python.display());
    }
    Ok(Engine::Peer(python))
}

impl Engine {
    fn measure(&self, model: &str, mode: &str, options: &Options) -> Result<Row> {
        let mut command = self.command("bench", "step.py");
        command.args(["--model", model, "--mode", mode, "--device", &options.device]);
        if options.tf32 {
            command.arg("--tf32");
        }
        let threads = options.threads.unwrap_or_else(process::cores);
        self.row(command, options, options.batch.unwrap_or(8), threads)
    }

    /// A command of `pg-peer`, or a script of the same face.
    fn command(&self, ours: &str, script: &str) -> Command {
        match self {
            Self::Ours(binary) => {
                let mut command = Command::new(binary);
                command.arg(ours);
                command
            }
            Self::Peer(python) => {
                let mut command = Command::new(python);
                command.arg(process::workspace_root().join("peer").join(script));
                command
            }
        }
    }

    /// Runs a command with the options that all have, and reads the row that it prints.
    fn row<R: DeserializeOwned>(
        &self,
        mut command: Command,
        options: &Options,
        batch: usize,
        threads: usize,
    ) -> Result<R> {
        command.args(["--batch", &batch.to_string(), "--size", &options.size.to_string()]);
        command.args(["--repeats", &options.repeats.to_string(), "--threads", &threads.to_string()]);
        row_of(&process::stdout_of(&mut command)?)
            .with_context(|| format!("`{}` printed no bench row", process::shell_line(&command)))
    }
}

fn row_of<R: DeserializeOwned>(stdout: &str) -> Result<R> {
    let line = process::last_line(stdout);
    serde_json::from_str(line).with_context(|| line.to_owned())
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

    fn row(seconds: f64) -> Row {
        let (engine, model, mode) = ("e".into(), "m".into(), "soft".into());
        Row { engine, model, mode, batch: 1, size: 8, threads: 1, seconds, min: 1.0, max: 2.0, peak_mib: 3.0 }
    }

    #[test]
    fn the_median_turn_is_reported() {
        assert_eq!(median_turn(vec![row(3.0), row(1.0), row(2.0)]).unwrap().seconds, 2.0);
        assert!(median_turn(Vec::new()).is_none());
    }

    #[test]
    fn the_row_is_the_last_line() {
        let line = serde_json::to_string(&row(1.5)).unwrap();
        assert_eq!(row_of::<Row>(&format!("a warning\n{line}\n")).unwrap().seconds, 1.5);
        assert!(format!("{:#}", row_of::<Row>("Traceback").unwrap_err()).contains("Traceback"));
    }

    #[test]
    fn a_row_without_its_peak_memory_is_refused() {
        assert!(serde_json::from_str::<Row>(r#"{"engine":"e","model":"m","mode":"soft"}"#).is_err());
    }
}
