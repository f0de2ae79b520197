//! Draws where a checkpoint looks.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args as ClapArgs;
use pg_classify::dataset::{Dataset, Example};
use pg_classify::evaluation::{Saliency, mean_target_share};
use pg_classify::pictures::{spread, write_saliencies};
use pg_cli::output::{make_folder, say, write_table};
use pg_cli::{Configured, Machine, path_as_text};
use pg_tasks::sheet::{overlay, write_png};
use serde::{Deserialize, Serialize};
use serde_json::json;

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
    /// Images to draw, evenly spread over the split; 16 by default.
    #[arg(long, value_name = "N")]
    count: Option<NonZeroUsize>,
    /// Folder for the pictures and the table of shares; `explain` by default.
    #[arg(long, value_name = "DIR")]
    #[serde(serialize_with = "path_as_text")]
    out: Option<PathBuf>,
}

pub(crate) fn run(Args { said, machine }: Args) -> Result<()> {
    let Said { subject, count, out } = said.merged()?;
    let out = out.unwrap_or_else(|| "explain".into());
    let loaded = subject.load(&machine.open_device()?)?;
    let count = count.map_or(16, NonZeroUsize::get);
    let chosen: Vec<Example> = spread(loaded.examples(), count).cloned().collect();
    let saliencies = loaded.evaluator().saliencies(&loaded.model, &chosen)?;
    make_folder(&out)?;
    let (sheet, table) = (out.join("sheet.png"), out.join("shares.csv"));
    write_saliencies(&saliencies, &sheet)?;
    write_shares(&table, &saliencies, &loaded.dataset, &out)?;

    let share = mean_target_share(&saliencies);
    if machine.json {
        say(json!({
            "images": saliencies.len(),
            "target_gradient_share": share.map(|(mean, _)| mean),
            "sheet": sheet.display().to_string(),
            "table": table.display().to_string(),
        }))
    } else {
        say(format_args!("{} images drawn in {}", saliencies.len(), out.display()))?;
        match share {
            Some((mean, count)) => say(format_args!(
                "squared input gradient on the object: {:.1} % (mean of these {count})",
                100.0 * mean,
            )),
            None => say("no true masks, so no share of the gradient on the object"),
        }
    }
}

/// Draws each image in `folder` under its gradient, and lists it with the share of the gradient that lies on the object.
fn write_shares(path: &Path, saliencies: &[Saliency], dataset: &Dataset, folder: &Path) -> Result<()> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(["picture", "image", "label", "target_gradient_share"])?;
    for (index, saliency) in saliencies.iter().enumerate() {
        let picture = format!("{index:04}.png");
        write_png(&overlay(&saliency.image, &saliency.heat())?, &folder.join(&picture))?;
        let label = dataset.class(saliency.example.label).to_owned();
        let share = saliency.target_share().map_or_else(String::new, |share| share.to_string());
        table.write_record([picture, file_name(saliency.example), label, share])?;
    }
    write_table(path, table)
}
