//! Draws score maps and boxes, and writes maps and guesses for `evaluate`, or for other tools.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use candle_core::DType;
use clap::{Args as ClapArgs, ValueEnum};
use indicatif::ProgressBar;
use pg_cli::choices::OnCorrupt;
use pg_cli::output::{make_folder, say, write_table};
use pg_cli::{About, Configured, Machine, SettingsError, known, path_as_text, read_run};
use pg_localization::Convention;
use pg_models::Model;
use pg_random::Seed;
use pg_tasks::normalise::Normalise;
use pg_tasks::run_dir::write_atomically;
use pg_tasks::sheet::write_png;
use pg_wsol::dataset::{Example, Source};
use pg_wsol::evaluation::{Evaluator, spread};
use pg_wsol::lists;
use pg_wsol::pictures::{draw_located, write_sheet};
use pg_wsol::settings::{Config, MapName, SourceSettings};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::PROGRAM;

#[derive(ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    said: Configured<Said>,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

/// Which split of a data set to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Split {
    /// Images to choose thresholds by.
    Val,
    /// Images to report on.
    Test,
}

#[derive(ClapArgs, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Said {
    /// Weights that `train` wrote, or a run directory: its best.safetensors.
    #[arg(long, value_name = "FILE")]
    #[serde(serialize_with = "path_as_text")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    source: SourceSettings,
    /// Which split to look at; test by default.
    #[arg(long, value_enum, help_heading = "Data")]
    split: Option<Split>,
    /// What to do with an image that cannot be decoded; fail by default.
    #[arg(long, value_enum, help_heading = "Data")]
    on_corrupt: Option<OnCorrupt>,
    /// What the maps are made from; cam by default.
    #[arg(long, value_enum)]
    map: Option<MapName>,
    /// Whose images and boxes, as of `evaluate`; wsolevaluation by default. `sat` looks at the central crop of each image.
    #[arg(long, value_name = "NAME")]
    convention: Option<String>,
    /// Images to draw, evenly spread over the split; 32 by default.
    #[arg(long, value_name = "N")]
    count: Option<NonZeroUsize>,
    /// Threshold of the scores at which the predicted box is drawn; by default the one that is best on the split.
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// Also write the map of every image of the split into this folder, as `<image>.npy`, and the guesses into its
    /// predictions.csv: what `evaluate` takes with the same --convention, and of the embedded set its metadata/ as well.
    #[arg(long, value_name = "DIR")]
    #[serde(serialize_with = "path_as_text")]
    scoremaps: Option<PathBuf>,
    /// Folder for the pictures; `explain` by default.
    #[arg(long, value_name = "DIR")]
    #[serde(serialize_with = "path_as_text")]
    out: Option<PathBuf>,
}

pub(crate) fn run(Args { said, machine }: Args) -> Result<()> {
    let said = said.merged()?;
    if let Some(threshold) = said.threshold
        && !(0.0..1.0).contains(&threshold)
    {
        let (flag, expected) = ("threshold", "at least 0 and less than 1");
        return Err(SettingsError::Range { flag, expected, value: threshold.to_string() }.into());
    }
    let mut path = said.checkpoint.ok_or(SettingsError::Missing { flag: "checkpoint" })?;
    if path.is_dir() {
        path.push("best.safetensors");
    }
    let convention = said.convention.as_deref().unwrap_or(Convention::WsolEvaluation.name());
    known("convention", convention, &Convention::ALL.map(Convention::name))?;
    let convention = Convention::from_name(convention).unwrap_or(Convention::WsolEvaluation);
    let device = machine.open_device()?;
    let (tensors, about) = <About>::load(&path, PROGRAM)?;
    let wrong = |error: pg_models::Error| anyhow::anyhow!("{}: {error}", path.display());
    let model = Model::new(about.model.clone(), Seed(0), DType::F32, &device).map_err(wrong)?;
    model.params().load(&tensors).map_err(wrong)?;
    let source = match said.source.resolve()? {
        Source::Embedded => source_of_run(&path).unwrap_or(Source::Embedded),
        said => said,
    };
    let dataset = source.open()?;
    if dataset.classes != about.classes {
        bail!(
            "{}: trained on {} classes of {}, but {} has {}; name the data it was trained on by --data-root and --metadata",
            path.display(),
            about.classes.len(),
            about.dataset,
            dataset.name,
            dataset.classes.len()
        );
    }
    let examples = if said.split == Some(Split::Val) { &dataset.val } else { &dataset.test };
    let evaluator = Evaluator {
        side: about.model.size as u32,
        convention,
        normalise: if about.normalize { Normalise::IMAGENET } else { Normalise::UNIT },
        map: said.map.unwrap_or(MapName::Cam),
        on_corrupt: said.on_corrupt.unwrap_or(OnCorrupt::Fail),
        masks: None,
        limit_batches: None,
        device,
    };
    if let Some(folder) = &said.scoremaps {
        write_maps(&evaluator, &model, examples, folder, !machine.json)?;
        if source == Source::Embedded {
            for (split, examples) in [("val", &dataset.val), ("test", &dataset.test)] {
                lists::write(examples, &folder.join("metadata").join(split))?;
            }
        }
    }
    let threshold = match said.threshold {
        Some(threshold) => threshold,
        None => {
            evaluator.measure(&model, examples)?.boxes.map_or(0.2, |boxes| boxes.best().max_box_acc.threshold)
        }
    };
    let count = said.count.map_or(32, NonZeroUsize::get);
    let chosen: Vec<Example> = spread(examples, count).cloned().collect();
    let located = evaluator.locate(&model, &chosen)?;
    let out = said.out.unwrap_or_else(|| "explain".into());
    make_folder(&out)?;
    let sheet = out.join("sheet.png");
    write_sheet(&located, threshold, &sheet)?;
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(["picture", "image", "label", "guess"])?;
    for (index, one) in located.iter().enumerate() {
        let picture = format!("{index:04}.png");
        write_png(&draw_located(one, threshold)?, &out.join(&picture))?;
        let label = dataset.class(one.example.label);
        table.write_record([
            &picture,
            &one.example.id,
            label,
            dataset.class(one.guesses.first().copied().unwrap_or(0)),
        ])?;
    }
    write_table(&out.join("images.csv"), table)?;
    if machine.json {
        return say(json!({
            "images": located.len(),
            "threshold": threshold,
            "sheet": sheet.display().to_string(),
            "scoremaps": said.scoremaps.map(|folder| folder.display().to_string()),
        }));
    }
    say(format_args!(
        "{} images drawn in {}, boxes at threshold {threshold:.3}",
        located.len(),
        out.display()
    ))
}

/// Where the run that a checkpoint belongs to found its images.
fn source_of_run(checkpoint: &Path) -> Option<Source> {
    let config: Config = read_run(&checkpoint.with_file_name("args.toml")).ok()?;
    config.source().ok()
}

/// Writes the map of every image, and the network's guesses.
fn write_maps(
    evaluator: &Evaluator,
    model: &Model,
    examples: &[Example],
    folder: &Path,
    shows_progress: bool,
) -> Result<()> {
    make_folder(folder)?;
    let bar = if shows_progress { ProgressBar::new(examples.len() as u64) } else { ProgressBar::hidden() };
    let mut table = csv::Writer::from_writer(Vec::new());
    let columns = ["image", "top1", "top2", "top3", "top4", "top5"];
    table.write_record(if model.spec().classes >= 5 { &columns[..] } else { &columns[..2] })?;
    evaluator.each_batch(model, examples, |located| {
        for one in &located {
            let path = folder.join(format!("{}.npy", one.example.id));
            if let Some(parent) = path.parent() {
                make_folder(parent)?;
            }
            write_atomically(&path, |file| file.write_all(&one.map.to_npy()))?;
            let guesses = one.guesses.iter().map(u32::to_string);
            table.write_record([one.example.id.clone()].into_iter().chain(guesses))?;
            bar.inc(1);
        }
        anyhow::Ok(())
    })?;
    bar.finish_and_clear();
    write_table(&folder.join("predictions.csv"), table)
}
