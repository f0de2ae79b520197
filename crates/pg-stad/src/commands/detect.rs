//! Scores every person in every frame.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pg_cli::Machine;
use pg_cli::output::say;
use pg_models::SkpSpec;
use pg_skeleton::Clip;
use pg_stad::StadError;
use pg_stad::dataset::read_each_clip_for;
use pg_stad::detection::Detector;
use pg_stad::linking::LinkSettings;
use pg_tubes::write_detections;
use rayon::prelude::*;
use serde_json::json;

use super::{Checkpoint, check_folder, warn_without_tracks};

/// Clips are JSON lines; `pg-stad convert` makes them of other files.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Clips, with or without labels.
    #[arg(long, num_args = 1.., required = true, value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Run directory of the network, for its selected weights; or a file of weights in it.
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// File for the detections (JSON lines).
    #[arg(long, value_name = "FILE", default_value = "detections.jsonl")]
    out: PathBuf,
    /// Frames that are looked at together: longer videos are cut into windows.
    #[arg(long, value_name = "F", default_value_t = Detector::WINDOW as u32, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Name clips that cannot be used, and go on without them.
    #[arg(long)]
    keep_going: bool,
    #[command(flatten)]
    link: LinkSettings,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.link.clone().resolve().check()?;
    let device = args.machine.open_device()?;
    let Checkpoint { skp, about, config } = Checkpoint::open(&args.checkpoint, &device)?;
    let link = args.link.clone().over(config.link);
    link.check()?;
    let (mut clips, mut skipped) = clips(args, skp.spec())?;
    check_folder(&args.out)?;
    warn_without_tracks(&link, &clips);
    let detector = Detector::new(&skp, &about.classes, config.sampling(), config.loss)
        .on(&device)
        .with_window(args.window as usize);
    let target = if args.machine.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(clips.len() as u64), target)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} clips {eta}")?);
    let started = Instant::now();
    let mut detections = Vec::with_capacity(clips.len());
    let mut failed = HashSet::new();
    for (place, clip) in clips.iter().enumerate() {
        match detector.detect(clip) {
            Ok(found) => detections.push(found),
            Err(error @ StadError::Scores { .. }) if args.keep_going => {
                bar.suspend(|| tracing::warn!("skipped: {error}"));
                skipped.push(error.to_string());
                failed.insert(place);
            }
            Err(error) => return Err(error.into()),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let mut places = 0..;
    clips.retain(|_| places.next().is_none_or(|place| !failed.contains(&place)));
    let linking = link.linking();
    detections.par_iter_mut().for_each(|video| video.tubes = linking.tubes(video));
    let seconds = started.elapsed().as_secs_f64();
    write_detections(&args.out, &detections)?;

    let frames: usize = clips.iter().map(|clip| clip.frames).sum();
    // Where a clip does not tell its rate, nothing can be said of its seconds.
    let of_video: Option<f64> = clips.iter().map(|clip| Some(clip.frames as f64 / clip.fps?)).sum();
    let per_second = of_video.filter(|seconds| *seconds > 0.0).map(|of_video| seconds / of_video);
    let tubes: usize = detections.iter().map(|video| video.tubes.len()).sum();
    if args.machine.json {
        return say(json!({
            "clips": clips.len(), "frames": frames, "tubes": tubes, "seconds": seconds,
            "seconds_per_second_of_video": per_second, "skipped": skipped, "out": args.out.display().to_string(),
        }));
    }
    say(format_args!(
        "{} clips, {frames} frames, {tubes} tubes in {}; {:.2} ms a frame{}{}",
        clips.len(),
        args.out.display(),
        1e3 * seconds / frames.max(1) as f64,
        per_second.map_or(String::new(), |seconds| format!(", {:.1} ms a second of video", 1e3 * seconds)),
        if skipped.is_empty() { String::new() } else { format!("; {} clips skipped", skipped.len()) },
    ))
}

/// The clips that can be used, and what was wrong with the others.
fn clips(args: &Args, spec: &SkpSpec) -> Result<(Vec<Clip>, Vec<String>)> {
    let (mut clips, mut skipped) = (Vec::new(), Vec::new());
    for clip in read_each_clip_for(spec, &args.data)? {
        match clip {
            Ok(clip) => clips.push(clip),
            Err(error) if args.keep_going => {
                tracing::warn!("skipped: {error}");
                skipped.push(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    match args.data.first() {
        Some(path) if clips.is_empty() => {
            Err(StadError::NoClips { path: path.clone(), purpose: "detection" }.into())
        }
        _ => Ok((clips, skipped)),
    }
}
