//! `cargo xtask bench --data`: images a second on the way to a step, with `--peer` beside Pillow, torchvision,
//! scikit-image and OpenCV.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Engine, Options};

const WORKS: [&str; 5] = ["load", "cutmix", "resizemix", "puzzlemix", "mask"];

/// What `pg-peer data` prints.
#[derive(Debug, Deserialize, Serialize)]
struct Row {
    engine: String,
    work: String,
    batch: usize,
    size: usize,
    threads: usize,
    images_per_second: f64,
}

pub(super) fn run(ours: &Engine, peer: Option<&Engine>, options: &Options) -> Result<ExitCode> {
    let pictures = tempfile::tempdir().context("cannot make a folder for the pictures")?;
    if !options.json {
        println!("engine                     work       batch  size  threads   images/s");
    }
    for work in WORKS {
        let (mut our_rows, mut peer_rows) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            our_rows.push(measure(ours, work, pictures.path(), options)?);
            if let Some(peer) = peer {
                peer_rows.push(measure(peer, work, pictures.path(), options)?);
            }
        }
        let ours = print_median(our_rows, options)?;
        if peer.is_some() {
            let ratio = ours / print_median(peer_rows, options)?;
            if options.json {
                println!("{}", json!({ "work": work, "rate_ratio": ratio }));
            } else {
                println!("{:<26} {work:<10} {ratio:>30.1} times as many", "");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(engine: &Engine, work: &str, pictures: &Path, options: &Options) -> Result<Row> {
    let mut command = engine.command("data", "data.py");
    command.args(["--work", work]).arg("--pictures").arg(pictures);
    engine.row(command, options, options.batch.unwrap_or(64), options.threads.unwrap_or(1))
}

/// Prints the median turn and returns its rate.
fn print_median(mut rows: Vec<Row>, options: &Options) -> Result<f64> {
    rows.sort_by(|a, b| a.images_per_second.total_cmp(&b.images_per_second));
    let middle = rows.len() / 2;
    let row = rows.into_iter().nth(middle).context("no turn was measured")?;
    if options.json {
        println!("{}", serde_json::to_string(&row)?);
    } else {
        let Row { engine, work, batch, size, threads, images_per_second } = &row;
        println!("{engine:<26} {work:<10} {batch:>5} {size:>5} {threads:>8} {images_per_second:>10.0}");
    }
    Ok(row.images_per_second)
}
