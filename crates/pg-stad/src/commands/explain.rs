//! Draws what a class depends on.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use pg_cli::Machine;
use pg_cli::output::say;
use pg_models::SkpSpec;
use pg_skeleton::Clip;
use pg_stad::dataset::{Source, has_people, named_as, read_each_clip_for, read_each_truth};
use pg_stad::detection::Detector;
use pg_stad::explanation::explain;
use pg_stad::page::page;
use pg_tubes::VideoTruth;
use serde_json::json;

use super::{Checkpoint, check_folder};

/// Without --data, of the embedded set's test clips.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run directory of the network, for its selected weights; or a file of weights in it.
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// Clips (JSON lines).
    #[arg(long, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Tubes of the clips (JSON lines, or UCF101-24's pickles), drawn dashed.
    #[arg(long, value_name = "FILE", requires = "data")]
    ground_truth: Option<PathBuf>,
    /// The clip with this name only.
    #[arg(long, value_name = "ID")]
    clip: Option<String>,
    /// Clips to draw.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,
    /// The class to ask about; by default the likeliest of each clip.
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// File for the page.
    #[arg(long, value_name = "FILE", default_value = "explain.html")]
    out: PathBuf,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let device = args.machine.open_device()?;
    let Checkpoint { skp, about, config } = Checkpoint::open(&args.checkpoint, &device)?;
    let class = match &args.class {
        None => None,
        Some(name) => Some(about.classes.iter().position(|class| class == name).with_context(|| {
            format!("no class `{name}`; the checkpoint knows {}", about.classes.join(", "))
        })?),
    };
    let (clips, truth) = clips(args, skp.spec())?;
    check_folder(&args.out)?;
    let chosen: Vec<&Clip> = clips
        .iter()
        .filter(|clip| args.clip.as_ref().is_none_or(|id| *id == clip.id))
        .filter(|clip| has_people(clip))
        .take(args.count.into())
        .collect();
    if chosen.is_empty() {
        match &args.clip {
            Some(id) if !clips.iter().any(|clip| clip.id == *id) => {
                bail!("no clip `{id}`; the first is `{}`", clips.first().map_or("", |clip| &clip.id))
            }
            Some(id) => bail!("clip `{id}` shows nobody; choose another"),
            None => bail!("no clip shows anyone; choose other --data"),
        }
    }
    let detector = Detector::new(&skp, &about.classes, config.sampling(), config.loss).on(&device);
    let detections = chosen.iter().map(|clip| detector.detect(clip)).collect::<Result<Vec<_>, _>>()?;
    let mut explained = Vec::new();
    for (clip, detections) in chosen.iter().zip(&detections) {
        let tubes = truth.iter().filter(|video| video.id == clip.id).flat_map(|video| &video.tubes);
        explained.push(explain(
            &skp,
            (config.sampling(), config.loss),
            clip,
            detections,
            class,
            tubes.cloned(),
            &device,
        )?);
    }
    let html = page(&explained);
    pg_tubes::write_file(&args.out, |file| file.write_all(html.as_bytes())).with_context(|| {
        format!("{}: cannot be written; check that its folder exists and is writable", args.out.display())
    })?;
    if args.machine.json {
        return say(json!({"clips": explained.len(), "out": args.out.display().to_string()}));
    }
    say(format_args!("{} clips drawn in {}", explained.len(), args.out.display()))
}

fn clips(args: &Args, spec: &SkpSpec) -> Result<(Vec<Clip>, Vec<VideoTruth>)> {
    if args.data.is_empty() {
        let set = Source::Embedded.open()?;
        if let Some(expected) = spec.keypoints
            && expected != set.keypoints
        {
            let drawn = set.keypoints;
            bail!(
                "the embedded set has {drawn} joints a person, the network was trained on {expected}; add --data"
            );
        }
        return Ok((set.test.into_iter().map(|example| example.clip).collect(), set.truth));
    }
    let clips: Vec<Clip> = read_each_clip_for(spec, &args.data)?.into_iter().collect::<Result<_, _>>()?;
    let named: HashSet<&str> = clips.iter().map(|clip| clip.id.as_str()).collect();
    let Some(path) = &args.ground_truth else { return Ok((clips, Vec::new())) };
    let truth: Vec<VideoTruth> = read_each_truth(path)?.into_iter().collect::<Result<_, _>>()?;
    let truth = truth.into_iter().filter_map(|video| named_as(&named, path, video)).collect();
    Ok((clips, truth))
}
