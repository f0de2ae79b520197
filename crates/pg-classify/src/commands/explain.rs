//! Draws where a checkpoint looks.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use pg_classify::dataset::{Example, Picture};
use pg_classify::pictures::{spread, write_saliencies};
use pg_tasks::sheet::{overlay, write_png};
use serde_json::json;

use super::{Machine, Subject, make_folder, say};

#[derive(ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// Images to draw, evenly spread over the split.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Folder for the pictures and the table of shares.
    #[arg(long, value_name = "DIR", default_value = "explain")]
    out: PathBuf,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let loaded = args.subject.load(&args.machine.open_device()?)?;
    let examples = args.subject.split.examples(&loaded.dataset);
    let chosen: Vec<Example> = spread(examples, args.count as usize).cloned().collect();
    let saliencies = loaded.evaluator().saliencies(&loaded.model, &chosen)?;
    make_folder(&args.out)?;
    let sheet = args.out.join("sheet.png");
    write_saliencies(&saliencies, &sheet)?;

    let table = args.out.join("shares.csv");
    let mut bytes = Vec::new();
    let mut writer = csv::Writer::from_writer(&mut bytes);
    writer.write_record(["picture", "image", "label", "target_gradient_share"])?;
    let mut shares = Vec::new();
    for (index, saliency) in saliencies.iter().enumerate() {
        let picture = format!("{index:04}.png");
        write_png(&overlay(&saliency.image, &saliency.heat())?, &args.out.join(&picture))?;
        let image = match &saliency.example.picture {
            Picture::File(path) => path.display().to_string(),
            Picture::Memory(_) => String::new(),
        };
        let share = saliency.target_share();
        shares.extend(share);
        let label = loaded.dataset.classes[saliency.example.label as usize].clone();
        writer.write_record([
            picture,
            image,
            label,
            share.map_or_else(String::new, |share| share.to_string()),
        ])?;
    }
    drop(writer);
    pg_tasks::run_dir::write_atomically(&table, |file| std::io::Write::write_all(file, &bytes))
        .context("cannot write the table of shares")?;

    let mean = (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64);
    if args.machine.json {
        say(json!({
            "images": saliencies.len(),
            "target_gradient_share": mean,
            "sheet": sheet.display().to_string(),
            "table": table.display().to_string(),
        }))
    } else {
        say(format_args!("{} images drawn in {}", saliencies.len(), args.out.display()))?;
        match mean {
            Some(mean) => say(format_args!("squared input gradient on the object: {:.1} %", 100.0 * mean)),
            None => say("no true masks, so no share of the gradient on the object"),
        }
    }
}
