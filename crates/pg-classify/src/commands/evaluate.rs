//! Scores a checkpoint.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args as ClapArgs;
use pg_classify::evaluation::Prediction;
use pg_classify::pictures::spread;
use pg_classify::report;
use serde_json::{Value, json};

use super::{Machine, Subject, say};

/// Examples whose input gradient is measured.
const EXPLAINED: usize = 256;

#[derive(ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// Write each image's class, prediction and logits to this CSV file.
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let loaded = args.subject.load(&args.machine.open_device()?)?;
    let evaluator = loaded.evaluator();
    let split = args.subject.split;
    let examples = split.examples(&loaded.dataset);
    let predictions = evaluator.predictions(&loaded.model, examples)?;
    let scores = evaluator.scores_of(&predictions)?;
    let explained: Vec<_> = spread(examples, EXPLAINED).cloned().collect();
    let share = evaluator.target_gradient_share(&loaded.model, &explained)?;
    if let Some(path) = &args.predictions {
        write_predictions(path, &predictions, &loaded.dataset.classes)?;
    }
    if args.machine.json {
        let mut values = report::flat(split.name(), &scores, &loaded.dataset);
        values.insert("target_gradient_share".to_owned(), json!(share));
        say(Value::Object(values))
    } else {
        let mut text = report::text(split.name(), &scores, &loaded.dataset);
        if let Some(share) = share {
            text.push_str(&format!("  squared input gradient on the object {:.1} %\n", 100.0 * share));
        }
        say(text.trim_end())
    }
}

fn write_predictions(path: &Path, predictions: &[Prediction], classes: &[String]) -> Result<()> {
    let mut bytes = Vec::new();
    let mut writer = csv::Writer::from_writer(&mut bytes);
    let header = ["index", "image", "label", "prediction"].map(str::to_owned);
    writer.write_record(header.into_iter().chain(classes.iter().map(|class| format!("logit:{class}"))))?;
    for (index, prediction) in predictions.iter().enumerate() {
        let image = match &prediction.example.picture {
            pg_classify::dataset::Picture::File(path) => path.display().to_string(),
            pg_classify::dataset::Picture::Memory(_) => String::new(),
        };
        let class = |label: u32| classes[label as usize].clone();
        let record = [index.to_string(), image, class(prediction.example.label), class(prediction.class())];
        writer.write_record(record.into_iter().chain(prediction.logits.iter().map(f32::to_string)))?;
    }
    drop(writer);
    pg_tasks::run_dir::write_atomically(path, |file| std::io::Write::write_all(file, &bytes))?;
    Ok(())
}
