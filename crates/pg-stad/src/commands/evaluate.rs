//! Measures tubes.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use pg_cli::output::say;
use pg_tubes::{
    Convention, Evaluation, FileError, FrameMapOptions, Record, STRICT_THRESHOLDS, VideoDetections,
    VideoTruth, read_each,
};
use serde_json::json;

/// Both files are JSON lines, one video a line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Detections: {"id", "frames", "classes", "instances": [...], "tubes": [{"label", "score", "start", "boxes"}]}.
    #[arg(long, value_name = "FILE")]
    detections: PathBuf,
    /// Annotations: {"id", "tubes": [{"label", "start", "boxes"}]}; or UCF101-24's pyannot.pkl or UCF101v2-GT.pkl.
    #[arg(long, value_name = "FILE")]
    ground_truth: PathBuf,
    /// Whose matching and whose average precision: act, voc (Singh et al.) or cheron.
    #[arg(long, default_value = "act", value_parser = parse_convention)]
    convention: Convention,
    /// Frame-mAP over frames with annotations only, as YOWO has it.
    #[arg(long)]
    annotated_frames_only: bool,
    /// List every annotated tube that was not found, and why.
    #[arg(long)]
    failures: bool,
    /// Leave out videos that cannot be measured, and list them at the end.
    #[arg(long)]
    keep_going: bool,
    /// Print one JSON object as the last line of standard output.
    #[arg(long)]
    json: bool,
}

fn parse_convention(text: &str) -> Result<Convention, String> {
    Convention::ALL
        .into_iter()
        .find(|convention| convention.name() == text)
        .ok_or_else(|| format!("known conventions: {}", Convention::ALL.map(Convention::name).join(", ")))
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut skipped = Vec::new();
    let truth = if args.ground_truth.extension().is_some_and(|extension| extension == "pkl") {
        pg_skeleton::ucf101::read(&args.ground_truth)?
    } else {
        usable::<VideoTruth>(&args.ground_truth, args.keep_going, &mut skipped)?
    };
    let mut detections = usable::<VideoDetections>(&args.detections, args.keep_going, &mut skipped)?;
    if args.keep_going {
        let known: std::collections::HashSet<&str> = truth.iter().map(|video| video.id.as_str()).collect();
        detections.retain(|video| {
            let is_known = known.contains(video.id.as_str());
            if !is_known {
                skipped.push(format!("video `{}` is not annotated", video.id));
            }
            is_known
        });
    }
    if detections.is_empty() {
        bail!("{}: no video is left to measure", args.detections.display());
    }
    let options =
        FrameMapOptions { annotated_frames_only: args.annotated_frames_only, ..FrameMapOptions::default() };
    let evaluation = Evaluation::new(&truth, &detections, args.convention, options)?;
    if args.json {
        let mut report = evaluation.to_json();
        if let Some(report) = report.as_object_mut() {
            report.insert("skipped".into(), json!(skipped));
        }
        return say(report);
    }
    say(text(&evaluation, args.failures))?;
    for line in &skipped {
        tracing::warn!("skipped: {line}");
    }
    Ok(())
}

/// The videos of a file; with `keep_going` without those that are wrong.
fn usable<T: Record>(path: &Path, keep_going: bool, skipped: &mut Vec<String>) -> Result<Vec<T>, FileError> {
    let mut videos = Vec::new();
    for video in read_each::<T>(path)? {
        match video {
            Ok(video) => videos.push(video),
            Err(error) if keep_going => skipped.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(videos)
}

fn text(evaluation: &Evaluation, lists_failures: bool) -> String {
    let percent = |map: Option<pg_tubes::AveragePrecision>| match map {
        Some(map) => format!("{:7.2} {:9.2}", 100.0 * map.trapezoid, 100.0 * map.envelope),
        None => format!("{:>7} {:>9}", "-", "-"),
    };
    let mut lines = vec![format!(
        "convention {}, in percent{:>20} {:>9}",
        evaluation.convention.name(),
        "trapezoid",
        "envelope"
    )];
    for (name, thresholds) in [
        ("video-mAP at overlap 0.2", &[0.2][..]),
        ("video-mAP at overlap 0.5", &[0.5]),
        ("video-mAP at overlap 0.75", &[0.75]),
        ("video-mAP at overlaps 0.5 to 0.95", &STRICT_THRESHOLDS),
    ] {
        lines.push(format!("{name:<40} {}", percent(evaluation.video_map.over(thresholds))));
    }
    let of_frames = percent(evaluation.frame_map.over(&[0.5]));
    lines.push(format!("{:<40} {of_frames}", "frame-mAP at overlap 0.5"));
    for class in &evaluation.video_map.classes {
        let name = format!("  {} ({} tubes), overlap 0.5", class.label, class.ground_truth);
        lines.push(format!("{name:<40} {}", percent(class.over(&[0.5]))));
    }
    let outcomes = &evaluation.failures.outcomes;
    lines.push(format!(
        "annotated tubes: {} found, {} taken by another, {} of another class, {} boxes off, {} times off, {} missed",
        outcomes.hit, outcomes.taken, outcomes.class, outcomes.bounding_box, outcomes.time, outcomes.missed
    ));
    let wrong = &evaluation.failures.false_positives;
    lines.push(format!(
        "false tubes: {} duplicates, {} of another class, {} off, {} where nothing happens",
        wrong.duplicate, wrong.wrong_class, wrong.poor_overlap, wrong.no_action
    ));
    if lists_failures {
        let missed = evaluation.failures.tubes.iter().filter(|tube| tube.outcome != pg_tubes::Outcome::Hit);
        lines.extend(missed.map(|tube| {
            let nearest = tube.nearest.as_ref().or(tube.nearest_of_others.as_ref());
            let nearest = nearest.map_or("nothing near".to_owned(), |near| {
                format!(
                    "nearest: {} (score {:.3}, overlap in time {:.2}, in space {:.2})",
                    near.label, near.score, near.temporal_iou, near.spatial_iou
                )
            });
            format!("  {} tube {} ({}): {:?}; {nearest}", tube.video, tube.tube, tube.label, tube.outcome)
        }));
    }
    lines.join("\n")
}
