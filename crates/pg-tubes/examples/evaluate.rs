//! Compares two files and prints the report as JSON. It takes the arguments of `pg-stad evaluate`:
//!
//! ```text
//! evaluate --detections detections.jsonl --ground-truth truth.jsonl [--json] [--convention act|voc|cheron]
//! ```

use std::error::Error;
use std::path::Path;

use pg_tubes::{Convention, Evaluation, FrameMapOptions, read_detections, read_ground_truth};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let position = arguments.iter().position(|argument| argument == name)?;
        arguments.get(position + 1).map(String::as_str)
    };
    let path = |name: &str| value(name).map(Path::new).ok_or_else(|| format!("no {name}; give it a file"));
    let name = value("--convention").unwrap_or("act");
    let convention = Convention::ALL.into_iter().find(|convention| convention.name() == name);
    let convention =
        convention.ok_or_else(|| format!("no convention `{name}`; choose act, voc or cheron"))?;

    let truth = read_ground_truth(path("--ground-truth")?)?;
    let detections = read_detections(path("--detections")?)?;
    let evaluation = Evaluation::new(&truth, &detections, convention, FrameMapOptions::default())?;
    serde_json::to_writer(std::io::stdout().lock(), &evaluation.to_json())?;
    Ok(())
}
