//! Measures tubes.

use std::collections::{BTreeSet, HashSet};
use std::error::Error;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use pg_cli::output::say;
use pg_stad::dataset::{is_pickle, named_as, read_each_truth};
use pg_stad::one_line;
use pg_tubes::{
    Convention, Evaluation, FrameMapOptions, STRICT_THRESHOLDS, VideoDetections, VideoTruth, read_each,
};
use serde_json::json;

/// Both files are JSON lines, one video a line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Detections: {"id", "frames", "classes", "instances": [...], "tubes": [{"label", "score", "start", "boxes"}]}.
    #[arg(long, value_name = "FILE")]
    detections: PathBuf,
    /// Annotations: {"id", "tubes": [{"label", "start", "boxes"}]}; or UCF101-24's pyannot.pkl or UCF101v2-GT.pkl, of which
    /// the videos count that the detections name.
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
    /// Go on without lines that cannot be read, and list them at the end: tubes of a video whose detections cannot be read
    /// count as missed, or with UCF101-24's own annotation not at all.
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
    let mut truth = usable(read_each_truth(&args.ground_truth)?, args.keep_going, &mut skipped)?;
    let read = read_each::<VideoDetections>(&args.detections)?;
    let mut detections = usable(read, args.keep_going, &mut skipped)?;
    let named: HashSet<&str> = detections.iter().map(|video| video.id.as_str()).collect();
    if is_pickle(&args.ground_truth) {
        truth = truth.into_iter().filter_map(|video| named_as(&named, &args.ground_truth, video)).collect();
    }
    let absent = truth.iter().filter(|video| !named.contains(video.id.as_str())).count();
    if absent > 0 {
        let path = args.detections.display();
        tracing::warn!("{absent} annotated videos are not in {path}: their tubes count as missed");
    }
    if args.keep_going {
        let known: HashSet<&str> = truth.iter().map(|video| video.id.as_str()).collect();
        detections.retain(|video| {
            let is_known = known.contains(video.id.as_str());
            if !is_known {
                skipped.push(format!(
                    "{}: video `{}` is not annotated",
                    args.detections.display(),
                    one_line(&video.id)
                ));
            }
            is_known
        });
    }
    if detections.is_empty() {
        bail!(
            "{}: no video is left to measure; mend what is wrong with them, or name other files",
            args.detections.display()
        );
    }
    let options =
        FrameMapOptions { annotated_frames_only: args.annotated_frames_only, ..FrameMapOptions::default() };
    let evaluation = Evaluation::new(&truth, &detections, args.convention, options)
        .with_context(|| args.detections.display().to_string())?;
    warn_of_unknown_classes(&truth, &detections);
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
fn usable<T, E: Error>(
    videos: Vec<Result<T, E>>,
    keep_going: bool,
    skipped: &mut Vec<String>,
) -> Result<Vec<T>, E> {
    let mut usable = Vec::new();
    for video in videos {
        match video {
            Ok(video) => usable.push(video),
            Err(error) if keep_going => skipped.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(usable)
}

/// Says which classes cannot be found, since no detector knew them: as likely as not they are spelt differently.
fn warn_of_unknown_classes(truth: &[VideoTruth], detections: &[VideoDetections]) {
    let known: HashSet<&String> = detections.iter().flat_map(|video| &video.classes).collect();
    let annotated: BTreeSet<&String> =
        truth.iter().flat_map(|video| &video.tubes).map(|tube| &tube.label).collect();
    for class in annotated.into_iter().filter(|class| !known.contains(class)) {
        tracing::warn!(
            "class `{}` is annotated, but among no detections; is it spelt differently?",
            one_line(class)
        );
    }
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
