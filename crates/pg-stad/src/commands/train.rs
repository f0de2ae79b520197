//! Trains a network on clips.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use clap::Args as ClapArgs;
use pg_cli::output::say;
use pg_cli::{About, Configured, Machine, SettingsError, path_as_text, read_run};
use pg_models::{Skp, SkpSpec};
use pg_random::Seed;
use pg_stad::StadError;
use pg_stad::dataset::{Dataset, Example};
use pg_stad::detection::Detector;
use pg_stad::evaluation::{constant_accuracy, everyone_alike, instance_ap, leak_ratio, video_accuracy};
use pg_stad::learner::Learner;
use pg_stad::sampling::mirrored;
use pg_stad::settings::{Config, Settings};
use pg_tasks::interrupt::Interrupt;
use pg_tasks::progress::Progress;
use pg_tasks::results::Results;
use pg_tasks::run_dir::{RunDir, write_atomically};
use pg_tasks::train::{Ending, Outcome, Setup, Task};
use pg_tubes::{Convention, Evaluation, FrameMapOptions, STRICT_THRESHOLDS, write_detections};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{PROGRAM, warn_without_tracks};

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
    let interrupt = Interrupt::install()?;

    let mut dataset = config.source().open()?;
    if let Some(limit) = config.optimisation.limit_batches {
        dataset.limit(64 * limit);
    }
    let spec = config.spec(dataset.classes.len(), dataset.keypoints);
    let skp = Skp::new(spec.clone(), Seed(config.optimisation.seed), DType::F32, &device)?;
    let task = Learner::new(&skp, &dataset, &config, &device);
    let optimizer = config.optimisation.optimizer(skp.params(), &["head."], &[]);
    optimizer.groups().check(skp.params().vars())?;
    describe(&dataset, &skp, &config);

    let dir = match &resume {
        Some(path) => RunDir::open(path)?,
        None => RunDir::create(&out.unwrap_or_else(|| "runs".into()), &dataset.name)?,
    };
    let progress = Progress::new(!machine.json, config.optimisation.epochs);
    let options = config.optimisation.train_options(task.steps_per_epoch());
    let about = About::<SkpSpec> {
        program: PROGRAM.into(),
        model: spec,
        classes: dataset.classes.clone(),
        dataset: dataset.name.clone(),
        normalize: false,
    };
    let setup = Setup { task: &task, params: skp.params(), optimizer, options, dir: &dir, about, progress };
    let trainer = if resume.is_some() {
        setup.resume()?
    } else {
        dir.write_args(&anchored(&config)?)?;
        setup.start()?
    };
    let outcome = trainer.interruptible(interrupt).run()?;
    finish(machine.json, &outcome, &skp, &dataset, &config, &dir, &device)
}

/// The same with paths that hold wherever the run is gone on with.
fn anchored(config: &Config) -> Result<Config> {
    let absolute = |path: &PathBuf| std::path::absolute(path).with_context(|| path.display().to_string());
    let all = |paths: &[PathBuf]| paths.iter().map(absolute).collect::<Result<Vec<_>>>();
    Ok(Config {
        data: all(&config.data)?,
        val: all(&config.val)?,
        test: all(&config.test)?,
        label_map: config.label_map.as_ref().map(absolute).transpose()?,
        ground_truth: config.ground_truth.as_ref().map(absolute).transpose()?,
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
fn describe(dataset: &Dataset, skp: &Skp, config: &Config) {
    tracing::info!(
        "{}: {} classes; {} training, {} validation, {} test clips of people with {} joints",
        dataset.name,
        dataset.classes.len(),
        dataset.train.len(),
        dataset.val.len(),
        dataset.test.len(),
        dataset.keypoints,
    );
    tracing::info!("skp: {} parameters; alpha {}", skp.params().count(), config.guidance.alpha);
    if config.augment && mirrored(dataset.keypoints).is_empty() {
        let keypoints = dataset.keypoints;
        tracing::warn!(
            "which of {keypoints} joints are left and which right is not known: nothing is flipped"
        );
    }
    warn_without_tracks(&config.link, dataset.test.iter().map(|example| &example.clip));
}

/// Measures the selected weights on the test clips, which nothing has looked at before, and reports.
fn finish(
    json: bool,
    outcome: &Outcome,
    skp: &Skp,
    dataset: &Dataset,
    config: &Config,
    dir: &RunDir,
    device: &Device,
) -> Result<()> {
    let run_dir = dir.path().display().to_string();
    if outcome.ending == Ending::Interrupted {
        tracing::warn!("saved; go on with: pg-stad train --resume {run_dir}");
        let report = json!({"ending": outcome.ending, "epochs": outcome.epochs, "run_dir": run_dir});
        return if json { say(&report) } else { Ok(()) };
    }
    let (weights, _) = About::<SkpSpec>::load(&dir.file("best.safetensors"), PROGRAM)?;
    skp.params().load(&weights)?;
    let mut values = Map::new();
    for (name, examples) in [("val", &dataset.val), ("test", &dataset.test)] {
        values.insert(format!("{name}_clips"), json!(examples.len()));
        if !examples.is_empty() {
            let top1 = video_accuracy(skp, examples, config.sampling(), device)?;
            values.insert(format!("{name}_top1"), json!(top1));
        }
    }
    if !dataset.test.is_empty() {
        values.insert("constant_top1".into(), json!(constant_accuracy(&dataset.test)));
        detect_test(skp, dataset, config, dir, device, &mut values)?;
    }
    let seconds: f64 =
        Results::read(&dir.file("timings.csv"))?.series("seconds").iter().map(|(_, seconds)| seconds).sum();
    for (key, value) in [
        ("loss_cls", finite(outcome.loss_cls)),
        ("loss_pg", finite(outcome.loss_pg)),
        ("alpha", json!(config.guidance.alpha)),
        ("norm", json!(config.guidance.norm)),
        ("epochs", json!(outcome.epochs)),
        ("best_epoch", json!(outcome.best_epoch)),
        ("ending", json!(outcome.ending)),
        ("seconds", json!(seconds)),
        ("parameters", json!(skp.params().count())),
        ("run_dir", json!(run_dir)),
    ] {
        values.insert(key.to_owned(), value);
    }
    write_atomically(&dir.file("report.json"), |file| {
        serde_json::to_writer_pretty(file, &values).map_err(Into::into)
    })?;
    if json { say(Value::Object(values)) } else { say(text(&values)) }
}

/// Detections of the test clips, and what they are worth where their tubes are known.
fn detect_test(
    skp: &Skp,
    dataset: &Dataset,
    config: &Config,
    dir: &RunDir,
    device: &Device,
    values: &mut Map<String, Value>,
) -> Result<()> {
    let detector = Detector::new(skp, &dataset.classes, config.sampling(), config.loss).on(device);
    let mut detections = Vec::with_capacity(dataset.test.len());
    for Example { clip, .. } in &dataset.test {
        match detector.detect(clip) {
            Ok(found) => detections.push(found),
            // Its tubes count as missed.
            Err(error @ StadError::Scores { .. }) if config.keep_going => tracing::warn!("skipped: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    config.link.linking().link(&mut detections);
    write_detections(&dir.file("detections.jsonl"), &detections)?;
    values.insert("leak_ratio".into(), json!(leak_ratio(skp, &dataset.test, config.sampling(), device)?));
    if dataset.truth.is_empty() {
        return Ok(());
    }
    let evaluated = |detections: &_| {
        Evaluation::new(&dataset.truth, detections, Convention::Act, FrameMapOptions::default())
    };
    let evaluation = evaluated(&detections)?;
    let mut alike = everyone_alike(&detections);
    config.link.linking().link(&mut alike);
    let alike_map = evaluated(&alike)?.video_map.over(&[0.5]).map(|map| map.by(Convention::Act));
    let over = |thresholds: &[f64]| evaluation.video_map.over(thresholds).map(|map| map.by(Convention::Act));
    for (name, value) in [
        ("video_map_20", over(&[0.2])),
        ("video_map_50", over(&[0.5])),
        ("video_map_75", over(&[0.75])),
        ("video_map_50_95", over(&STRICT_THRESHOLDS)),
        ("frame_map_50", evaluation.frame_map.over(&[0.5]).map(|map| map.by(Convention::Act))),
        ("instance_ap", Some(instance_ap(&detections, &dataset.truth))),
    ] {
        values.insert(format!("test_{name}"), value.map_or(Value::Null, finite));
    }
    values.insert("alike_video_map_50".into(), alike_map.map_or(Value::Null, finite));
    values.insert("alike_instance_ap".into(), finite(instance_ap(&alike, &dataset.truth)));
    Ok(())
}

fn text(values: &Map<String, Value>) -> String {
    let percent = |name: &str| values.get(name).and_then(Value::as_f64).map(|value| 100.0 * value);
    let mut lines = Vec::new();
    for (name, key) in [
        ("validation: videos classified", "val_top1"),
        ("test: videos classified", "test_top1"),
        ("    with always the most frequent class", "constant_top1"),
        ("  video-mAP at overlap 0.2", "test_video_map_20"),
        ("  video-mAP at overlap 0.5", "test_video_map_50"),
        ("    with everyone in a clip alike", "alike_video_map_50"),
        ("  video-mAP at overlap 0.75", "test_video_map_75"),
        ("  video-mAP at overlaps 0.5 to 0.95", "test_video_map_50_95"),
        ("  frame-mAP at overlap 0.5", "test_frame_map_50"),
        ("  average precision of single people", "test_instance_ap"),
        ("    with everyone in a clip alike", "alike_instance_ap"),
    ] {
        lines.extend(percent(key).map(|value| format!("{name:<40}{value:6.2} %")));
    }
    if let Some(leak) = values.get("leak_ratio").and_then(Value::as_f64) {
        lines.push(format!("{:<40}{leak:8.4}", "  leak ratio of mixes of two"));
    }
    let run_dir = values.get("run_dir").and_then(Value::as_str).unwrap_or_default();
    lines.push(format!("run directory: {run_dir}"));
    lines.join("\n")
}

fn finite(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}
