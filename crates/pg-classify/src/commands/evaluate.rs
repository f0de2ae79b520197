//! Scores a checkpoint.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args as ClapArgs;
use pg_classify::evaluation::Prediction;
use pg_classify::report;
use pg_classify::settings::path_as_text;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Configured, Machine, Subject, file_name, say, write_table};

#[derive(ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    said: Configured<Said>,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

#[derive(ClapArgs, Serialize, Deserialize)]
struct Said {
    #[command(flatten)]
    #[serde(flatten)]
    subject: Subject,
    /// Write each image's class, prediction and logits to this CSV file.
    #[arg(long, value_name = "FILE")]
    #[serde(serialize_with = "path_as_text")]
    predictions: Option<PathBuf>,
}

pub(crate) fn run(Args { said, machine }: Args) -> Result<()> {
    let Said { subject, predictions: table } = said.merged()?;
    let loaded = subject.load(&machine.open_device()?)?;
    let evaluator = loaded.evaluator();
    let predictions = evaluator.predictions(&loaded.model, loaded.examples())?;
    let scores = evaluator.scores_of(&predictions)?;
    let share = evaluator.target_gradient_share(&loaded.model, loaded.examples())?;
    if let Some(path) = &table {
        write_predictions(path, &predictions, &loaded.dataset.classes)?;
    }
    let split = loaded.split.name();
    if machine.json {
        let mut values = report::flat(split, &scores, &loaded.dataset);
        values.insert("target_gradient_share".to_owned(), json!(share));
        say(Value::Object(values))
    } else {
        let mut text = report::text(split, &scores, &loaded.dataset);
        if let Some(share) = share {
            text.push_str(&report::share_line(share));
        }
        say(text.trim_end())
    }
}

fn write_predictions(path: &Path, predictions: &[Prediction], classes: &[String]) -> Result<()> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let header = ["index", "image", "label", "prediction"].map(str::to_owned);
    table.write_record(header.into_iter().chain(classes.iter().map(|class| format!("logit:{class}"))))?;
    for (index, prediction) in predictions.iter().enumerate() {
        let class = |label: u32| classes[label as usize].clone();
        let example = prediction.example;
        let record = [index.to_string(), file_name(example), class(example.label), class(prediction.class())];
        table.write_record(record.into_iter().chain(prediction.logits.iter().map(f32::to_string)))?;
    }
    write_table(path, table)
}
