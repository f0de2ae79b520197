//! Measures score maps.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pg_cli::output::say;
use pg_localization::{
    AtThreshold, BoxAccuracy, BoxCounts, Convention, Counts, DELTAS, ImageInfo, Metadata, Object, Protocol,
    Ranked, ScoreFiles, count_boxes, count_pixels,
};
use pg_wsol::predictions::{Predictions, PredictionsError};
use pg_wsol::threshold_curves;
use serde_json::{Map, Value, json};

/// Score maps are (height, width) arrays of float32 or float64 in 0 to 1, all of one size; boxes and masks are brought to it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Score maps of the split: a folder with IMAGE.npy for each image (its extension kept or replaced), or a safetensors
    /// file with a tensor named after each image.
    #[arg(long, value_name = "PATH")]
    scoremaps: PathBuf,
    /// Folder of a data set's metadata as wsolevaluation has it (metadata/CUB, say), with a folder for each split.
    #[arg(long, value_name = "DIR")]
    metadata: PathBuf,
    /// Which split.
    #[arg(long, default_value = "test")]
    split: String,
    /// Folder that the masks of localization.txt are relative to; needed where it lists masks.
    #[arg(long, value_name = "DIR")]
    masks: Option<PathBuf>,
    /// A classifier's guesses, for Top-1 and Top-5 Loc: CSV with the columns image, top1 and, for Top-5, top2 to top5.
    /// With --convention sat they also help to choose the threshold.
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Score maps of the val split: choose thresholds on it, and report what they give on this split, too.
    #[arg(long, value_name = "PATH")]
    val_scoremaps: Option<PathBuf>,
    /// The guesses on the val split, so that thresholds of Top-1 and Top-5 are chosen by them.
    #[arg(long, value_name = "FILE", requires_all = ["val_scoremaps", "predictions"])]
    val_predictions: Option<PathBuf>,
    /// Whose boxes and numbers. Maps are of the whole image, with `sat` of its central crop (224 of 256 pixels a side).
    #[arg(long, default_value = "wsolevaluation", value_parser = parse_convention)]
    convention: Convention,
    /// Distance of the thresholds.
    #[arg(long, value_name = "X", default_value_t = 0.001, value_parser = parse_interval)]
    interval: f64,
    /// These thresholds only, in place of an interval.
    #[arg(long, value_name = "X,...", value_delimiter = ',', conflicts_with = "interval", value_parser = parse_threshold)]
    thresholds: Vec<f64>,
    /// Take scores of any range, and scale each map to 0 to 1; one that is constant or has a NaN becomes zero.
    #[arg(long)]
    normalize: bool,
    /// Draw accuracy against the threshold (with masks: precision over recall) to this SVG file.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Leave out images that cannot be measured, and list them at the end.
    #[arg(long)]
    keep_going: bool,
    /// Threads; all cores by default.
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print one JSON object as the last line of standard output, accuracies in percent; no progress bar.
    #[arg(long)]
    json: bool,
}

fn parse_convention(text: &str) -> Result<Convention, String> {
    Convention::from_name(text)
        .ok_or_else(|| format!("known conventions: {}", Convention::ALL.map(Convention::name).join(", ")))
}

fn parse_interval(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(interval) if (0.0001..=0.5).contains(&interval) => Ok(interval),
        _ => Err("expected a number from 0.0001 to 0.5".to_owned()),
    }
}

fn parse_threshold(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(threshold) if (0.0..1.0).contains(&threshold) => Ok(threshold),
        _ => Err("expected numbers from 0 to below 1".to_owned()),
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = args.metadata.join(&args.split);
    let images = Metadata::read(&folder)?.images;
    let list = folder.join("localization.txt");
    match (&args.masks, has_masks(&images)) {
        (Some(root), true) => pixels(args, &images, root),
        (None, true) => bail!("{}: lists masks; name their folder with --masks", list.display()),
        (Some(_), false) => bail!("{}: lists boxes; --masks is for masks", list.display()),
        (None, false) => boxes(args, &images),
    }
}

fn has_masks(images: &[ImageInfo]) -> bool {
    images.iter().all(|image| matches!(image.object, Object::Masks { .. }))
}

impl Args {
    pub(crate) fn threads(&self) -> Option<usize> {
        self.threads.map(usize::from)
    }

    fn protocol(&self) -> Protocol {
        let thresholds = if self.thresholds.is_empty() {
            Protocol::thresholds(self.interval)
        } else {
            let mut thresholds = self.thresholds.clone();
            thresholds.sort_by(f64::total_cmp);
            thresholds
        };
        Protocol { convention: self.convention, thresholds, keep_going: self.keep_going }
    }

    fn files(&self, path: &Path, images: &[ImageInfo]) -> Result<ScoreFiles> {
        Ok(ScoreFiles::open(path, images.iter().map(|image| image.id.as_str()), self.normalize)?)
    }

    fn bar(&self, images: usize) -> Result<ProgressBar> {
        // Without a terminal nothing is drawn; the work takes seconds.
        let target = if self.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} maps {eta}")?;
        Ok(ProgressBar::with_draw_target(Some(images as u64), target).with_style(style))
    }
}

fn boxes(args: &Args, images: &[ImageInfo]) -> Result<()> {
    let counts = count_split(args, &args.split, images, &args.scoremaps, args.predictions.as_deref())?;
    let val = args.val_scoremaps.as_ref().map(|path| val_counts(args, path)).transpose()?;
    let best = counts.best();
    let honest = val.map(|val| counts.at_best_of(&val));
    if args.json {
        let mut row = Map::from_iter([
            ("split".to_owned(), json!(args.split)),
            ("convention".to_owned(), json!(args.convention.name())),
            ("images".to_owned(), json!(best.images)),
        ]);
        add_json(&mut row, "", &best);
        honest.iter().for_each(|honest| add_json(&mut row, "val_threshold_", honest));
        say(Value::Object(row))?;
    } else {
        let mut text =
            format!("{}: {} images, convention {}\n", args.split, best.images, args.convention.name());
        add_text(&mut text, &best);
        if let Some(honest) = &honest {
            text.push_str("\nat the thresholds that are best on val\n");
            add_text(&mut text, honest);
        }
        say(text.trim_end())?;
    }
    // After the numbers: a picture that cannot be written does not lose them.
    args.plot.iter().try_for_each(|path| Ok(threshold_curves::write(&counts, path)?))
}

fn count_split(
    args: &Args,
    split: &str,
    images: &[ImageInfo],
    scoremaps: &Path,
    predictions: Option<&Path>,
) -> Result<BoxCounts> {
    let predictions = predictions.map(Predictions::read).transpose()?;
    let (known, ranked, unknown) = match &predictions {
        Some(predictions) => with_guesses(images, predictions, args.keep_going)?,
        None => (images.to_vec(), vec![None; images.len()], Vec::new()),
    };
    let bar = args.bar(known.len())?;
    let counted = count_boxes(
        &known,
        &args.files(scoremaps, &known)?,
        &args.protocol(),
        |index| ranked[index],
        || bar.inc(1),
    );
    bar.finish_and_clear();
    let counted = counted?;
    tell(split, images.len(), &unknown, &counted)?;
    Ok(counted.counts)
}

/// Images with guesses, whether each was classified rightly, and why the others are left out.
type Guessed = (Vec<ImageInfo>, Vec<Option<Ranked>>, Vec<PredictionsError>);

/// Those of `images` that have a guess: all, unless told to keep going.
fn with_guesses(images: &[ImageInfo], predictions: &Predictions, keep_going: bool) -> Result<Guessed> {
    let (mut known, mut ranked, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for image in images {
        match predictions.ranked(image) {
            Ok(rank) => {
                known.push(image.clone());
                ranked.push(Some(rank));
            }
            Err(error) if keep_going => unknown.push(error),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((known, ranked, unknown))
}

fn val_counts(args: &Args, scoremaps: &Path) -> Result<BoxCounts> {
    let folder = args.metadata.join("val");
    let images = Metadata::read(&folder)?.images;
    if has_masks(&images) {
        bail!("{}: lists masks; thresholds are chosen by boxes", folder.join("localization.txt").display());
    }
    count_split(args, "val", &images, scoremaps, args.val_predictions.as_deref())
}

fn pixels(args: &Args, images: &[ImageInfo], root: &Path) -> Result<()> {
    for (given, flag) in [
        (!args.thresholds.is_empty(), "thresholds"),
        (args.predictions.is_some(), "predictions"),
        (args.val_scoremaps.is_some(), "val-scoremaps"),
        (args.convention != Convention::WsolEvaluation, "convention"),
    ] {
        if given {
            bail!("--{flag} is for boxes; localization.txt lists masks");
        }
    }
    let bar = args.bar(images.len())?;
    let files = args.files(&args.scoremaps, images)?;
    let counted = count_pixels(images, &files, root, &args.protocol(), || bar.inc(1));
    bar.finish_and_clear();
    let counted = counted?;
    tell(&args.split, images.len(), &[], &counted)?;
    let Counts { counts, measured, .. } = counted;
    let precision =
        counts.average_precision().context("no pixel of any mask is an object; are these the masks?")?;
    if args.json {
        say(json!({ "split": args.split, "images": measured, "pxap": precision }))?;
    } else {
        say(format_args!("{}: {measured} images\nPxAP  {precision:>8.3} %", args.split))?;
    }
    args.plot.iter().try_for_each(|path| Ok(threshold_curves::write_precision(&counts, path)?))
}

/// Maps of fewer pixels a side are a network's cells, not yet an image.
const COARSE: u32 = 32;

/// Says on standard error what was left out, and what may surprise; an error if nothing is left.
fn tell<C>(split: &str, images: usize, unknown: &[PredictionsError], counted: &Counts<C>) -> Result<()> {
    let Counts { measured, blank, size, skipped, .. } = counted;
    unknown.iter().for_each(|error| eprintln!("skipped: {error}"));
    skipped.iter().for_each(|error| eprintln!("skipped: {error}"));
    let left_out = unknown.len() + skipped.len();
    if left_out > 0 {
        eprintln!("{split}: {left_out} of {images} images were left out");
    }
    if *blank > 0 {
        eprintln!("{split}: {blank} of {measured} score maps are all zero, and find nothing");
    }
    if let Some((width, height)) = size
        && (*width).max(*height) < COARSE
    {
        eprintln!(
            "{split}: score maps of {width} x {height} pixels, as if of a network's cells; published numbers are of maps that were \
             resized to its input first (wsolevaluation: bicubic, 224 x 224)"
        );
    }
    if *measured == 0 {
        bail!("{split}: no image could be measured");
    }
    Ok(())
}

/// The numbers with their names, in the order in which they are reported.
fn numbers(accuracy: &BoxAccuracy) -> Vec<(String, String, AtThreshold)> {
    let deltas = DELTAS
        .iter()
        .zip(accuracy.by_delta)
        .map(|(delta, at)| (format!("box_acc_{:.0}", delta * 100.0), format!("  overlap {delta:.1}"), at));
    let named = |key: &str, title: &str, at| (key.to_owned(), title.to_owned(), at);
    let mut numbers: Vec<_> = deltas.collect();
    numbers.push(named("max_box_acc", "MaxBoxAcc (GT-known Loc)", accuracy.max_box_acc));
    numbers.extend(accuracy.top1_loc.map(|at| named("top1_loc", "Top-1 Loc", at)));
    numbers.extend(accuracy.top5_loc.map(|at| named("top5_loc", "Top-5 Loc", at)));
    numbers
}

fn add_json(row: &mut Map<String, Value>, prefix: &str, accuracy: &BoxAccuracy) {
    row.insert(format!("{prefix}max_box_acc_v2"), json!(accuracy.max_box_acc_v2()));
    for (key, _, at) in numbers(accuracy) {
        row.insert(format!("{prefix}{key}"), json!(at.percent));
        row.insert(format!("{prefix}{key}_at"), json!(at.threshold));
    }
}

fn add_text(text: &mut String, accuracy: &BoxAccuracy) {
    text.push_str(&format!("{:<26}{:>8.3} %\n", "MaxBoxAccV2", accuracy.max_box_acc_v2()));
    for (_, title, at) in numbers(accuracy) {
        text.push_str(&format!("{title:<26}{:>8.3} %  at threshold {:.3}\n", at.percent, at.threshold));
    }
}
