//! Trains a network to localise.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use clap::Args as ClapArgs;
use pg_cli::output::{make_folder, say};
use pg_cli::{About, Configured, Machine, NetworkConfig, SettingsError, check_fit, path_as_text, read_run};
use pg_localization::{Convention, Object};
use pg_models::Model;
use pg_random::Seed;
use pg_tasks::interrupt::Interrupt;
use pg_tasks::normalise::Normalise;
use pg_tasks::progress::Progress;
use pg_tasks::results::Results;
use pg_tasks::run_dir::{RunDir, write_atomically};
use pg_tasks::sheet::write_png;
use pg_tasks::train::{Ending, Outcome, Setup, Task};
use pg_wsol::dataset::{Dataset, Example};
use pg_wsol::evaluation::{Evaluator, Measured, spread};
use pg_wsol::localizer::Localizer;
use pg_wsol::pictures::{draw_mixes, write_sheet};
use pg_wsol::settings::{Config, MapName, Select, Settings};
use pg_wsol::{report, threshold_curves};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::PROGRAM;

/// Pictures on a sheet.
const PICTURES: usize = 16;

#[derive(ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    said: Configured<Said>,
    /// Go on with the run in this directory, with the settings that it began with.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "out"])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

#[derive(ClapArgs, Serialize, Deserialize)]
struct Said {
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
    /// Folder for run directories, which are numbered; `runs` by default.
    #[arg(long, value_name = "DIR")]
    #[serde(serialize_with = "path_as_text")]
    out: Option<PathBuf>,
}

pub(crate) fn run(Args { said, resume, machine }: Args) -> Result<()> {
    let Said { settings, out } = said.merged()?;
    let config = match &resume {
        Some(dir) => resumed_config(dir, &settings)?,
        None => settings.resolve()?,
    };
    let device = machine.open_device()?;
    if config.network.grad_checkpointing && device.is_metal() {
        let (when, advice) = ("on Metal", "leave it out");
        return Err(SettingsError::Idle { flag: "grad-checkpointing", when, advice }.into());
    }
    let interrupt = Interrupt::install()?;

    // What can be checked without decoding every image comes before the run directory is made.
    let dataset = config.source()?.open()?;
    check_masks(&dataset, &config)?;
    let seed = Seed(config.optimisation.seed);
    let mut model = Model::new(config.model_spec(dataset.classes.len()), seed, DType::F32, &device)?;
    model.set_grad_checkpointing(config.network.grad_checkpointing)?;
    if resume.is_none() {
        check_fit(&model, &device)?;
        config.network.load_pretrained(&model)?;
        config.network.warn_of_random_weights("--model small-vgg-gap --image-size 48");
    }
    let evaluator = evaluator(&dataset, &config, &device);
    let task = Localizer::new(&model, &dataset, &config, &evaluator);
    let optimizer =
        config.optimisation.optimizer(model.params(), model.spec().head(), &config.network.freeze);
    optimizer.groups().check(model.params().vars())?;
    describe(&dataset, &model, &config);
    let mixes = resume.is_none().then(|| task.first_mixes(PICTURES)).transpose()?;

    let dir = match &resume {
        Some(path) => RunDir::open(path)?,
        None => RunDir::create(&out.unwrap_or_else(|| "runs".into()), &dataset.name)?,
    };
    let progress = Progress::new(!machine.json, config.optimisation.epochs);
    let options = config.optimisation.train_options(task.steps_per_epoch());
    let about = About {
        program: PROGRAM.into(),
        model: config.model_spec(dataset.classes.len()),
        classes: dataset.classes.clone(),
        dataset: dataset.name.clone(),
        normalize: dataset.normalize,
    };
    let setup = Setup { task: &task, params: model.params(), optimizer, options, dir: &dir, about, progress };
    let trainer = match mixes {
        None => setup.resume()?,
        Some(mixes) => {
            dir.write_args(&anchored(&config)?)?;
            write_png(&draw_mixes(&mixes, evaluator.normalise)?, &dir.file("samples.png"))?;
            setup.start()?
        }
    };
    let outcome = trainer.interruptible(interrupt).run()?;
    finish(machine.json, &outcome, &model, &evaluator, &dataset, &config, &dir)
}

fn evaluator(dataset: &Dataset, config: &Config, device: &Device) -> Evaluator {
    Evaluator {
        side: config.image_size,
        convention: Convention::WsolEvaluation,
        normalise: if dataset.normalize { Normalise::IMAGENET } else { Normalise::UNIT },
        map: MapName::Cam,
        on_corrupt: config.on_corrupt,
        masks: config.masks.clone(),
        limit_batches: config.optimisation.limit_batches,
        device: device.clone(),
    }
}

/// Metadata that names masks needs the folder they are in, with all of them, and boxes are no use for it.
fn check_masks(dataset: &Dataset, config: &Config) -> Result<()> {
    let has_masks = |example: &Example| matches!(example.object, Some(Object::Masks { .. }));
    let named = dataset.val.iter().chain(&dataset.test).any(has_masks);
    match (&config.masks, named) {
        (None, true) => Err(SettingsError::Missing { flag: "masks" }.into()),
        (Some(_), false) => {
            let (when, advice) = ("with metadata that names boxes", "leave it out");
            Err(SettingsError::Idle { flag: "masks", when, advice }.into())
        }
        (Some(folder), true) if !folder.is_dir() => {
            bail!("{}: no such folder; check --masks", folder.display())
        }
        (Some(folder), true) => {
            let lists = config.metadata.as_deref().unwrap_or(Path::new(""));
            Ok(dataset.check_masks(folder, lists)?)
        }
        (None, false) => Ok(()),
    }
}

/// The same with paths that hold wherever the run is gone on with.
fn anchored(config: &Config) -> Result<Config> {
    let anchor = |path: &Option<PathBuf>| {
        let absolute = |path: &PathBuf| std::path::absolute(path).with_context(|| path.display().to_string());
        path.as_ref().map(absolute).transpose()
    };
    let network = NetworkConfig { weights: anchor(&config.network.weights)?, ..config.network.clone() };
    Ok(Config {
        data_root: anchor(&config.data_root)?,
        metadata: anchor(&config.metadata)?,
        masks: anchor(&config.masks)?,
        network,
        ..config.clone()
    })
}

/// The settings of a run that is resumed; it takes no others, since it must end as if it had never stopped.
fn resumed_config(dir: &Path, settings: &Settings) -> Result<Config> {
    let said = toml::Table::try_from(settings).context("--resume takes no settings; leave them out")?;
    if let Some(flag) = said.keys().next() {
        return Err(SettingsError::Resumed { flag: flag.clone() }.into());
    }
    let path = RunDir::open(dir)?.file("args.toml");
    let config: Config = read_run(&path)?;
    match config.check() {
        Ok(()) => Ok(config),
        // No fault of the flags.
        Err(error) => bail!("{}: {error}", path.display()),
    }
}

/// Says what is about to be trained.
fn describe(dataset: &Dataset, model: &Model, config: &Config) {
    tracing::info!(
        "{}: {} classes; {} training, {} validation, {} test images",
        dataset.name,
        dataset.classes.len(),
        dataset.train.len(),
        dataset.val.len(),
        dataset.test.len(),
    );
    let synth = clap::ValueEnum::to_possible_value(&config.synth.synth);
    tracing::info!(
        "{}: {} parameters; synth {}, alpha {}",
        config.network.model,
        model.params().count(),
        synth.as_ref().map_or("?", |synth| synth.get_name()),
        config.guidance.alpha
    );
}

/// Measures the selected weights on the test split, which nothing has looked at before, and reports.
fn finish(
    json: bool,
    outcome: &Outcome,
    model: &Model,
    evaluator: &Evaluator,
    dataset: &Dataset,
    config: &Config,
    dir: &RunDir,
) -> Result<()> {
    let run_dir = dir.path().display().to_string();
    if outcome.ending == Ending::Interrupted {
        tracing::warn!("saved; go on with: pg-wsol train --resume {run_dir}");
        let report = json!({"ending": outcome.ending, "epochs": outcome.epochs, "run_dir": run_dir});
        return if json { say(&report) } else { Ok(()) };
    }
    let (weights, _) = <About>::load(&dir.file("best.safetensors"), PROGRAM)?;
    model.params().load(&weights)?;
    let (val, test) = (evaluator.measure(model, &dataset.val)?, evaluator.measure(model, &dataset.test)?);
    let leak = evaluator.leak_ratio(model, &dataset.test)?;
    let mut values = report::flat("test", &test);
    values.extend(report::flat("val", &val));
    values.extend(report::flat_at_val(&val, &test));
    let gradient = Evaluator { map: MapName::Gradient, ..evaluator.clone() };
    let by_gradient = gradient.measure(model, &dataset.test)?;
    let (metric, title) = if test.boxes.is_some() { ("v2", "MaxBoxAccV2") } else { ("pxap", "PxAP") };
    values.insert(format!("test_{metric}_gradient"), finite(by_gradient.localised()));
    let seconds: f64 =
        Results::read(&dir.file("timings.csv"))?.series("seconds").iter().map(|(_, seconds)| seconds).sum();
    for (key, value) in [
        ("leak_ratio", json!(leak)),
        ("loss_cls", finite(outcome.loss_cls)),
        ("loss_pg", finite(outcome.loss_pg)),
        ("alpha", json!(config.guidance.alpha)),
        ("norm", json!(config.guidance.norm)),
        ("epochs", json!(outcome.epochs)),
        ("best_epoch", json!(outcome.best_epoch)),
        ("ending", json!(outcome.ending)),
        ("seconds", json!(seconds)),
        ("parameters", json!(model.params().count())),
        ("run_dir", json!(run_dir)),
    ] {
        values.insert(key.to_owned(), value);
    }
    write_atomically(&dir.file("report.json"), |file| {
        serde_json::to_writer_pretty(file, &values).map_err(Into::into)
    })?;
    if json {
        say(Value::Object(values))?;
        return draw(&test, model, evaluator, dataset, dir);
    }
    let leak = leak.map_or("unknown".to_owned(), |leak| format!("{leak:.3}"));
    let note = if config.select == Select::Last { "last" } else { "selected" };
    say(format_args!(
        "{}{}{}  with the input gradient as map: {title} {:.2} %\n  leak ratio of CutMix's mixes: {leak}\n\
         weights of the {note} epoch ({}) in {run_dir}",
        report::text("val", &val),
        report::text("test", &test),
        report::text_at_val(&val, &test),
        100.0 * by_gradient.localised(),
        outcome.best_epoch,
    ))?;
    // After the numbers: a picture that cannot be written does not lose them.
    draw(&test, model, evaluator, dataset, dir)
}

/// How well each threshold does, and some maps.
fn draw(
    test: &Measured,
    model: &Model,
    evaluator: &Evaluator,
    dataset: &Dataset,
    dir: &RunDir,
) -> Result<()> {
    if let Some(boxes) = &test.boxes {
        threshold_curves::write(boxes, &dir.file("thresholds.svg"))?;
    }
    if let Some(pixels) = &test.pixels {
        threshold_curves::write_precision(pixels, &dir.file("precision.svg"))?;
    }
    let threshold = test.boxes.as_ref().map_or(0.2, |boxes| boxes.best().max_box_acc.threshold);
    make_folder(&dir.file("explain"))?;
    let pictured: Vec<_> = spread(&dataset.test, PICTURES).cloned().collect();
    Ok(write_sheet(&evaluator.locate(model, &pictured)?, threshold, &dir.file("explain/test.png"))?)
}

fn finite(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}
