//! Scores a checkpoint.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args as ClapArgs;
use pg_classify::dataset::Dataset;
use pg_classify::evaluation::Prediction;
use pg_classify::report;
use pg_cli::output::{say, write_table};
use pg_cli::{Configured, Machine, path_as_text};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Subject, file_name};

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
        write_predictions(path, &predictions, &loaded.dataset)?;
    }
    let split = loaded.split.name();
    if machine.json {
        say(Value::Object(report::flat(split, &scores, share, &loaded.dataset)))
    } else {
        say(report::text(split, &scores, share, &loaded.dataset).trim_end())
    }
}

fn write_predictions(path: &Path, predictions: &[Prediction], dataset: &Dataset) -> Result<()> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let header = ["index", "image", "label", "prediction"].map(str::to_owned);
    table.write_record(
        header.into_iter().chain(dataset.classes.iter().map(|class| format!("logit:{class}"))),
    )?;
    for prediction in predictions {
        let (place, example) = (prediction.index.to_string(), prediction.example);
        let classes = [example.label, prediction.class()].map(|label| dataset.class(label).to_owned());
        let record = [place, file_name(example)].into_iter().chain(classes);
        table.write_record(record.chain(prediction.logits.iter().map(f32::to_string)))?;
    }
    write_table(path, table)
}
