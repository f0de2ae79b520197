//! Trains a classifier.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use candle_core::{DType, Device, Tensor};
use clap::Args as ClapArgs;
use pg_classify::about::About;
use pg_classify::classifier::{Classifier, normalise};
use pg_classify::dataset::{self, Dataset};
use pg_classify::evaluation::Evaluator;
use pg_classify::pictures::{draw_samples, spread, write_saliencies};
use pg_classify::report;
use pg_classify::samples::Samples;
use pg_classify::settings::{Config, OnCorrupt, OptimizerName, Settings, SettingsError, path_as_text};
use pg_models::{Model, read_weights};
use pg_random::Seed;
use pg_tasks::checkpoint;
use pg_tasks::class_weights::inverse_frequency;
use pg_tasks::interrupt::Interrupt;
use pg_tasks::optim::{AdamW, Groups, Optimizer, ParamGroup, Sgd};
use pg_tasks::progress::Progress;
use pg_tasks::results::Results;
use pg_tasks::run_dir::RunDir;
use pg_tasks::schedule::LrPlan;
use pg_tasks::sheet::write_png;
use pg_tasks::train::{Ending, Outcome, Setup, Task, TrainOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Configured, Machine, make_folder, say};

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
    if config.grad_checkpointing && !device.is_cpu() {
        let (when, advice) = ("on a device other than the CPU", "leave it out");
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
    let mut model = Model::new(spec, Seed(config.seed), DType::F32, &device)?;
    model.set_grad_checkpointing(config.grad_checkpointing)?;
    if resume.is_none() {
        config.check_validation(&dataset)?;
        load_pretrained(&model, &config)?;
        warn_of_random_weights(&config);
    }
    let samples = Arc::new(Samples::prepare(&dataset, &config)?);
    describe(&dataset, &model, &samples, &config);
    let evaluator = Evaluator::new(
        &dataset,
        samples.grid(),
        normalise(dataset.normalize),
        config.on_corrupt,
        config.limit_batches,
        &device,
    );
    let weights = class_weights(&dataset, &samples, &config, &device)?;
    let task =
        Classifier::new(&model, &dataset, Arc::clone(&samples), &config, weights, evaluator.clone(), &device);
    let optimizer = optimizer(&config, &model);
    optimizer.groups().check(model.params().vars())?;
    let pictures = resume.is_none().then(|| draw_samples(&samples, &config, PICTURES)).transpose()?;

    let dir = match &resume {
        Some(path) => RunDir::open(path)?,
        None => RunDir::create(&out.unwrap_or_else(|| "runs".into()), &config.dataset)?,
    };
    let about = About::new(&dataset, &config);
    let progress = Progress::new(!machine.json, config.epochs);
    let options = train_options(&config, task.steps_per_epoch());
    let setup = Setup { task: &task, params: model.params(), optimizer, options, dir: &dir, about, progress };
    let trainer = match pictures {
        None => setup.resume()?,
        Some(pictures) => {
            dir.write_args(&config)?;
            write_png(&pictures, &dir.file("samples.png"))?;
            setup.start()?
        }
    };
    let outcome = trainer.interruptible(interrupt).run()?;
    finish(machine.json, &outcome, &model, &evaluator, &dataset, &config, &dir)
}

/// Large networks learn little from scratch on what is usually at hand.
fn warn_of_random_weights(config: &Config) {
    let large = config.model.starts_with("resnet") || config.model.starts_with("vgg");
    if large && config.weights.is_none() && !config.pretrained {
        tracing::warn!(
            "{} starts from random weights; give --weights, or a small model (--model small-cnn --image-size 32)",
            config.model
        );
    }
}

/// The settings of a run that is resumed; it takes no others, since it must end as if it had never stopped.
fn resumed_config(dir: &Path, settings: &Settings) -> Result<Config> {
    let said = toml::Table::try_from(settings).context("--resume takes no settings; leave them out")?;
    if let Some(flag) = said.keys().next() {
        return Err(SettingsError::Resumed { flag: flag.clone() }.into());
    }
    let path = RunDir::open(dir)?.file("args.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: not a run directory that can be resumed", path.display()))?;
    let config: Config = toml::from_str(&text)
        .map_err(|error| anyhow!("{}: not the settings of a run ({})", path.display(), error.message()))?;
    config.check().with_context(|| path.display().to_string())?;
    Ok(config)
}

fn load_pretrained(model: &Model, config: &Config) -> Result<()> {
    let path = match (&config.weights, config.pretrained) {
        (Some(path), _) => path.clone(),
        (None, true) => download(&config.model)?,
        (None, false) => return Ok(()),
    };
    let tensors = read_weights(&path)?;
    model.params().load_but(&tensors, model.spec().head()).with_context(|| path.display().to_string())
}

#[cfg(feature = "hub")]
fn download(model: &str) -> Result<PathBuf> {
    Ok(pg_models::download(model)?)
}

#[cfg(not(feature = "hub"))]
fn download(_: &str) -> Result<PathBuf> {
    anyhow::bail!(
        "--pretrained: this build cannot reach the Hugging Face hub; build it with --features hub, \
         or download the weights yourself and pass them with --weights"
    )
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
    tracing::info!("{}: {} parameters, alpha {}", config.model, model.params().count(), config.alpha);
    if config.alpha > 0.0 && samples.as_slice().iter().all(|sample| sample.target.is_none()) {
        tracing::warn!(
            "no sample has provenance, so alpha {} does nothing; pass --edits MANIFEST",
            config.alpha
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

fn optimizer(config: &Config, model: &Model) -> Optimizer {
    let head = ParamGroup {
        matches: model.spec().head().iter().map(|prefix| prefix.trim_end_matches('.').to_owned()).collect(),
        lr_scale: config.head_lr_scale,
        weight_decay: None,
    };
    let groups = if config.head_lr_scale == 1.0 { Vec::new() } else { vec![head] };
    let groups = Groups { groups, frozen: config.freeze.clone() };
    match config.optimizer {
        OptimizerName::Sgd => {
            Optimizer::Sgd(Sgd::new(config.momentum, config.nesterov, config.weight_decay, groups))
        }
        OptimizerName::Adamw => Optimizer::AdamW(AdamW::new(config.weight_decay, groups)),
    }
}

fn train_options(config: &Config, batches_per_epoch: usize) -> TrainOptions {
    let steps_per_epoch = batches_per_epoch.div_ceil(config.accumulate);
    TrainOptions {
        epochs: config.epochs,
        lr: config.lr,
        plan: LrPlan {
            schedule: config.schedule(),
            warmup_steps: config.warmup_epochs * steps_per_epoch,
            steps_per_epoch,
            total_steps: config.epochs * steps_per_epoch,
        },
        accumulate: config.accumulate,
        clip_norm: config.clip_norm,
        ema: config.ema,
        patience: config.patience,
        top_k: config.top_k,
    }
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
    let (weights, _) = checkpoint::load::<About>(&dir.file("best.safetensors"))?;
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
        ("alpha", json!(config.alpha)),
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
