//! Trains a classifier.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use clap::Args as ClapArgs;
use pg_classify::classifier::{Classifier, normalise};
use pg_classify::dataset::{self, Dataset};
use pg_classify::evaluation::Evaluator;
use pg_classify::pictures::{draw_samples, spread, write_saliencies};
use pg_classify::report;
use pg_classify::samples::Samples;
use pg_classify::settings::{Config, Settings};
use pg_cli::choices::OnCorrupt;
use pg_cli::output::{make_folder, say};
use pg_cli::{About, Configured, Machine, NetworkConfig, SettingsError, check_fit, path_as_text, read_run};
use pg_models::Model;
use pg_random::Seed;
use pg_tasks::class_weights::inverse_frequency;
use pg_tasks::interrupt::Interrupt;
use pg_tasks::progress::Progress;
use pg_tasks::results::Results;
use pg_tasks::run_dir::RunDir;
use pg_tasks::sheet::write_png;
use pg_tasks::train::{Ending, Outcome, Setup, Task};
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
    let options = dataset::Options { edits: config.edits.clone(), ..Default::default() };
    let dataset = dataset::open(&config.dataset, config.data_root.as_deref(), &options)?;
    if config.on_corrupt == OnCorrupt::Fail {
        dataset.check_files()?;
    }
    let spec = config.model_spec(dataset.classes.len());
    let mut model = Model::new(spec, Seed(config.optimisation.seed), DType::F32, &device)?;
    model.set_grad_checkpointing(config.network.grad_checkpointing)?;
    if resume.is_none() {
        config.check_validation(&dataset)?;
        config.check_edits(&dataset)?;
        check_fit(&model, &device)?;
        config.network.load_pretrained(&model)?;
        config.network.warn_of_random_weights("--model small-cnn --image-size 32");
    }
    let samples = Arc::new(Samples::prepare(&dataset, &config)?);
    describe(&dataset, &model, &samples, &config);
    let evaluator = Evaluator::new(
        &dataset,
        samples.grid(),
        normalise(dataset.normalize),
        config.on_corrupt,
        config.optimisation.limit_batches,
        &device,
    );
    let weights = class_weights(&dataset, &samples, &config, &device)?;
    let task =
        Classifier::new(&model, &dataset, Arc::clone(&samples), &config, weights, evaluator.clone(), &device);
    let optimizer =
        config.optimisation.optimizer(model.params(), model.spec().head(), &config.network.freeze);
    optimizer.groups().check(model.params().vars())?;
    let pictures = resume.is_none().then(|| draw_samples(&samples, &config, PICTURES)).transpose()?;

    let dir = match &resume {
        Some(path) => RunDir::open(path)?,
        None => RunDir::create(&out.unwrap_or_else(|| "runs".into()), &config.dataset)?,
    };
    let about = About {
        program: PROGRAM.into(),
        model: config.model_spec(dataset.classes.len()),
        classes: dataset.classes.clone(),
        dataset: dataset.name.clone(),
        normalize: dataset.normalize,
    };
    let progress = Progress::new(!machine.json, config.optimisation.epochs);
    let options = config.optimisation.train_options(task.steps_per_epoch());
    let setup = Setup { task: &task, params: model.params(), optimizer, options, dir: &dir, about, progress };
    let trainer = match pictures {
        None => setup.resume()?,
        Some(pictures) => {
            dir.write_args(&anchored(&config)?)?;
            write_png(&pictures, &dir.file("samples.png"))?;
            setup.start()?
        }
    };
    let outcome = trainer.interruptible(interrupt).run()?;
    finish(machine.json, &outcome, &model, &evaluator, &dataset, &config, &dir)
}

/// The same with paths that hold wherever the run is gone on with.
fn anchored(config: &Config) -> Result<Config> {
    let anchor = |path: &Option<PathBuf>| {
        let absolute = |path: &PathBuf| std::path::absolute(path).with_context(|| path.display().to_string());
        path.as_ref().map(absolute).transpose()
    };
    let network = NetworkConfig { weights: anchor(&config.network.weights)?, ..config.network.clone() };
    let (data_root, edits) = (anchor(&config.data_root)?, anchor(&config.edits)?);
    Ok(Config { data_root, edits, network, ..config.clone() })
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
fn describe(dataset: &Dataset, model: &Model, samples: &Samples, config: &Config) {
    tracing::info!(
        "{}: {} classes; {} training, {} validation, {} test images",
        dataset.name,
        dataset.classes.len(),
        dataset.train.len(),
        dataset.val.len(),
        dataset.test.len(),
    );
    let found = samples.preparation();
    if found.edits + found.dropped > 0 {
        let modified =
            found.modified.map_or_else(String::new, |share| format!(", {:.0} % modified", 100.0 * share));
        let separability =
            found.separability.map_or_else(String::new, |eta| format!(", separability {eta:.2}"));
        tracing::info!(
            "{} edits ({} dropped, {} without a mask){modified}{separability}",
            found.edits,
            found.dropped,
            found.unguided,
        );
    }
    tracing::info!(
        "{}: {} parameters, alpha {}",
        config.network.model,
        model.params().count(),
        config.guidance.alpha
    );
    if config.guidance.alpha > 0.0 && samples.as_slice().iter().all(|sample| sample.target.is_none()) {
        tracing::warn!(
            "no sample has provenance, so alpha {} does nothing; pass --edits MANIFEST",
            config.guidance.alpha
        );
    }
}

fn class_weights(
    dataset: &Dataset,
    samples: &Samples,
    config: &Config,
    device: &Device,
) -> Result<Option<Tensor>> {
    if !config.class_weights {
        return Ok(None);
    }
    let mut counts = vec![0; dataset.classes.len()];
    for sample in samples.as_slice() {
        counts[sample.label as usize] += 1;
    }
    let named: Vec<(&String, usize)> = dataset.classes.iter().zip(counts).collect();
    let weights: Vec<f32> = inverse_frequency(&named)?.into_iter().map(|weight| weight as f32).collect();
    Ok(Some(Tensor::new(weights, device)?))
}

/// Scores the selected weights on the test split, which nothing has looked at before, and reports.
fn finish(
    json: bool,
    outcome: &Outcome,
    model: &Model,
    evaluator: &Evaluator,
    dataset: &Dataset,
    config: &Config,
    dir: &RunDir,
) -> Result<()> {
    if outcome.ending == Ending::Interrupted {
        // The test split is read once, when training is over.
        tracing::warn!("saved; go on with: pg-classify train --resume {}", dir.path().display());
        let run_dir = dir.path().display().to_string();
        let report = json!({"ending": outcome.ending, "epochs": outcome.epochs, "run_dir": run_dir});
        return if json { say(&report) } else { Ok(()) };
    }
    let (weights, _) = <About>::load(&dir.file("best.safetensors"), PROGRAM)?;
    model.params().load(&weights)?;
    let test = evaluator.scores(model, &dataset.test)?;
    let share = evaluator.target_gradient_share(model, &dataset.test)?;
    let mut values = report::flat("test", &test, share, dataset);
    let mut text = report::text("test", &test, share, dataset);
    if !dataset.val.is_empty() {
        let val = evaluator.scores(model, &dataset.val)?;
        text = format!("{}{text}", report::text("val", &val, None, dataset));
        values.extend(report::flat("val", &val, None, dataset));
        values.insert("target_gradient_share".to_owned(), json!(share));
    }
    make_folder(&dir.file("explain"))?;
    let pictured: Vec<_> = spread(&dataset.test, PICTURES).cloned().collect();
    write_saliencies(&evaluator.saliencies(model, &pictured)?, &dir.file("explain/test.png"))?;

    let seconds: f64 =
        Results::read(&dir.file("timings.csv"))?.series("seconds").iter().map(|(_, seconds)| seconds).sum();
    let finite = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
    for (key, value) in [
        ("constant_top1", json!(test.constant.top1)),
        ("loss_cls", finite(outcome.loss_cls)),
        ("loss_pg", finite(outcome.loss_pg)),
        ("alpha", json!(config.guidance.alpha)),
        ("norm", json!(config.guidance.norm)),
        ("epochs", json!(outcome.epochs)),
        ("best_epoch", json!(outcome.best_epoch)),
        ("ending", json!(outcome.ending)),
        ("seconds", json!(seconds)),
        ("parameters", json!(model.params().count())),
        ("run_dir", json!(dir.path().display().to_string())),
    ] {
        values.insert(key.to_owned(), value);
    }
    values.entry("val_top1").or_insert(Value::Null);
    pg_tasks::run_dir::write_atomically(&dir.file("report.json"), |file| {
        serde_json::to_writer_pretty(file, &values).map_err(Into::into)
    })?;
    if json {
        say(Value::Object(values))
    } else {
        say(format_args!("{text}run directory: {}", dir.path().display()))
    }
}
