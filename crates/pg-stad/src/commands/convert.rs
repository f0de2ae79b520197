//! Files of skeletons from one format to another.

use std::path::PathBuf;

use anyhow::Result;
use pg_cli::output::say;
use pg_cli::{SettingsError, ensure, idle};
use pg_skeleton::{Format, ReadOptions, Scale, SizeOrder, read, write};
use pg_stad::dataset::read_labels;
use serde_json::json;

/// Formats: clip (JSON lines, what all other commands read), coco (AlphaPose too), openpose, kinetics, npz; pyskl and ntu
/// are only read.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File or folder to read.
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// File or folder to write.
    #[arg(value_name = "TO")]
    to: PathBuf,
    /// Format of FROM; told from its name and content by default.
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    format: Option<Format>,
    /// Format of TO.
    #[arg(long, value_name = "FORMAT", value_parser = parse_format, default_value = "clip")]
    to_format: Format,
    /// Width and height of the images in pixels, where the file has none.
    #[arg(long, num_args = 2, value_names = ["WIDTH", "HEIGHT"])]
    size: Option<Vec<u32>>,
    /// Frames of each video, where the file has none; otherwise it ends with the last that shows someone.
    #[arg(long, value_name = "N")]
    frames: Option<usize>,
    /// Frames a second, where the file has none.
    #[arg(long, value_name = "FPS", allow_negative_numbers = true)]
    fps: Option<f64>,
    /// Number of the first frame in names of images and of OpenPose's files; 0 by default.
    #[arg(long, value_name = "N")]
    first_frame: Option<usize>,
    /// Names of the classes, one a line, where labels are numbers.
    #[arg(long, value_name = "FILE")]
    label_map: Option<PathBuf>,
    /// Label of all clips, where the file has none.
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// What OpenPose's coordinates count: pixels, unit (0 to 1) or signed (-1 to 1); guessed by default.
    #[arg(long, value_name = "SCALE", value_parser = parse_scale)]
    keypoint_scale: Option<Scale>,
    /// The greatest confidence that the file can have; by default 1, and with COCO's, whose confidences can be sums, guessed.
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    greatest_confidence: Option<f32>,
    /// Of pickles: the split to read.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Of pickles and npz: sizes are (width, height) instead of (height, width).
    #[arg(long)]
    width_first: bool,
    /// Print one JSON object as the last line of standard output.
    #[arg(long)]
    json: bool,
}

fn parse_format(text: &str) -> Result<Format, String> {
    let known = || Format::ALL.map(Format::name).join(", ");
    Format::by_name(text).ok_or_else(|| format!("known formats: {}", known()))
}

fn parse_scale(text: &str) -> Result<Scale, String> {
    match text {
        "pixels" => Ok(Scale::Pixels),
        "unit" => Ok(Scale::Unit),
        "signed" => Ok(Scale::Signed),
        _ => Err("known scales: pixels, unit, signed".into()),
    }
}

impl Args {
    /// Refuses what files of a format have no use for.
    fn check_idle(&self, format: Format) -> Result<(), SettingsError> {
        use Format::{Coco, Kinetics, Npz, Ntu, OpenPose, Pyskl};
        for (is_said, flag, of_use) in [
            (self.size.is_some(), "size", &[Coco, OpenPose, Kinetics, Pyskl, Ntu, Npz][..]),
            (self.frames.is_some(), "frames", &[Coco, OpenPose, Kinetics, Pyskl, Npz]),
            (self.first_frame.is_some(), "first-frame", &[Coco, OpenPose]),
            (self.label_map.is_some(), "label-map", &[Kinetics, Pyskl, Ntu, Npz]),
            (self.keypoint_scale.is_some(), "keypoint-scale", &[OpenPose]),
            (
                self.greatest_confidence.is_some(),
                "greatest-confidence",
                &[Coco, OpenPose, Kinetics, Pyskl, Npz],
            ),
            (self.split.is_some(), "split", &[Pyskl]),
            (self.width_first, "width-first", &[Pyskl, Npz]),
        ] {
            let is_idle = is_said && !of_use.contains(&format);
            idle(is_idle, flag, "with files of this format", "leave it out, or name another --format")?;
        }
        Ok(())
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let fps = args.fps.unwrap_or(1.0);
    ensure(fps > 0.0 && fps.is_finite(), "fps", "more than 0", fps)?;
    let greatest = args.greatest_confidence.unwrap_or(1.0);
    ensure(greatest > 0.0 && greatest.is_finite(), "greatest-confidence", "more than 0", greatest)?;
    let format = match args.format {
        Some(format) => format,
        None => Format::detect(&args.from)?,
    };
    args.check_idle(format)?;
    let options = ReadOptions {
        size: args.size.as_deref().and_then(|size| Some((*size.first()?, *size.get(1)?))),
        frames: args.frames,
        fps: args.fps,
        first_frame: args.first_frame.unwrap_or(0),
        classes: args.label_map.as_deref().map(read_labels).transpose()?.unwrap_or_default(),
        scale: args.keypoint_scale.unwrap_or_default(),
        greatest_confidence: args.greatest_confidence,
        split: args.split.clone(),
        size_order: if args.width_first { SizeOrder::WidthHeight } else { SizeOrder::HeightWidth },
    };
    let mut clips = read(format, &args.from, &options)?;
    for clip in &mut clips {
        clip.label = clip.label.take().or_else(|| args.label.clone());
        clip.fps = clip.fps.or(args.fps);
    }
    write(args.to_format, &args.to, &clips)?;
    let people: usize = clips.iter().map(|clip| clip.instances.len()).sum();
    let frames: usize = clips.iter().map(|clip| clip.frames).sum();
    if args.json {
        return say(json!({
            "clips": clips.len(), "frames": frames, "instances": people, "format": format.name(),
            "out": args.to.display().to_string(),
        }));
    }
    say(format_args!(
        "{} clips, {frames} frames, {people} people in frames: {} as {}",
        clips.len(),
        args.to.display(),
        args.to_format.name()
    ))
}
