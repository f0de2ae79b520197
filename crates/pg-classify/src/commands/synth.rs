//! Writes samples with their provenance as pictures.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::{Args as ClapArgs, ValueEnum};
use image::{GrayImage, Luma, RgbImage};
use pg_classify::dataset::{self, Dataset};
use pg_classify::pictures::spread;
use pg_classify::samples::{Grid, modified_share};
use pg_classify::settings::{DifferenceName, OtsuName, Source};
use pg_classify::unmodified::unmodified;
use pg_cli::output::{make_folder, say, write_table};
use pg_cli::{Configured, Machine, SettingsError, check_image_size, idle, path_as_text};
use pg_embedded::{Embedded, Spec};
use pg_provenance::{BinaryMask, Extractor};
use pg_random::Seed;
use pg_synth::{Batch, CutMix, Masks, Mixup, ResizeMix, SynthError, Synthesiser, Synthetic};
use pg_tasks::sheet::{sheet, tint_non_target, write_png};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Samples of a batch, as --limit-batches counts them.
const BATCH: usize = 8;

#[derive(ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    said: Configured<Said>,
    /// Write the whole embedded set as a folder that `train --data FOLDER --edits FOLDER/edits.csv` reads.
    #[arg(long, conflicts_with_all = [
        "config", "method", "dataset", "data_root", "data", "edits", "image_size", "count", "difference", "otsu",
        "limit_batches",
    ])]
    export: bool,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

#[derive(ClapArgs, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Said {
    /// How samples are made; edits by default.
    #[arg(long, value_enum)]
    method: Option<Method>,
    #[command(flatten)]
    #[serde(flatten)]
    source: Source,
    /// Edited versions of training images (CSV or JSON lines).
    #[arg(long, value_name = "MANIFEST", help_heading = "Data")]
    #[serde(serialize_with = "path_as_text")]
    edits: Option<PathBuf>,
    /// Side of the samples in pixels; by default the data set's network input.
    #[arg(long, value_name = "PIXELS", help_heading = "Data")]
    image_size: Option<u32>,
    /// Samples to draw, evenly spread over the data set; 16 by default, fewer if it has fewer.
    #[arg(long, value_name = "N")]
    count: Option<NonZeroUsize>,
    /// Draw at most this many batches of 8 samples.
    #[arg(long, value_name = "N")]
    limit_batches: Option<NonZeroUsize>,
    /// How an original and its edit are compared; mean by default.
    #[arg(long, value_enum)]
    difference: Option<DifferenceName>,
    /// What Otsu's threshold is computed from; u8 by default.
    #[arg(long, value_enum)]
    otsu: Option<OtsuName>,
    /// Seed of the mixes, and of the set that --export writes; the data set's own images and edits stay the same.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Folder for the pictures; `synth` by default.
    #[arg(long, value_name = "DIR")]
    #[serde(serialize_with = "path_as_text")]
    out: Option<PathBuf>,
}

impl Said {
    fn count(&self) -> usize {
        let most = self.limit_batches.map_or(usize::MAX, |limit| limit.get().saturating_mul(BATCH));
        self.count.map_or(16, NonZeroUsize::get).min(most)
    }

    fn seed(&self) -> Seed {
        Seed(self.seed.unwrap_or(0))
    }

    fn method(&self) -> Method {
        self.method.unwrap_or(Method::Edits)
    }

    fn difference(&self) -> DifferenceName {
        self.difference.unwrap_or(DifferenceName::Mean)
    }

    fn otsu(&self) -> OtsuName {
        self.otsu.unwrap_or(OtsuName::U8)
    }

    /// Refuses what is about edits where samples are mixed. A default is no wish and passes.
    fn check_idle(&self) -> Result<(), SettingsError> {
        let mixes = self.method() != Method::Edits;
        let (when, advice) = ("without --method edits", "leave it out");
        idle(mixes && self.difference() != DifferenceName::Mean, "difference", when, advice)?;
        idle(mixes && self.otsu() != OtsuName::U8, "otsu", when, advice)
    }
}

/// What was drawn.
struct Drawn {
    samples: usize,
    pictures: Vec<RgbImage>,
    table: csv::Writer<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Method {
    /// Pairs of an original and its edit, with the mask that their difference gives.
    Edits,
    /// CutMix: a box of another image.
    Cutmix,
    /// ResizeMix: another image, shrunk.
    Resizemix,
    /// Mixup: a blend, which has no provenance.
    Mixup,
}

pub(crate) fn run(Args { said, export, machine }: Args) -> Result<()> {
    machine.check_cpu()?;
    let said = said.merged()?;
    let out = said.out.clone().unwrap_or_else(|| "synth".into());
    if export {
        return write_embedded(said.seed(), &out, machine.json);
    }
    let (name, root) = said.source.clone().resolve("embedded")?;
    said.image_size.map_or(Ok(()), check_image_size)?;
    said.check_idle()?;
    let options = dataset::Options { edits: said.edits.clone(), ..Default::default() };
    let dataset = dataset::open(&name, root.as_deref(), &options)?;
    let grid = Grid { side: said.image_size.unwrap_or(dataset.side), crop: dataset.crop };
    make_folder(&out)?;
    let (drawn, columns, table) = match said.method() {
        Method::Edits => (edits(&said, &dataset, grid, &out)?, 4, "provenance.csv"),
        method => (mixes(method, &said, &dataset, grid)?, 6, "samples.csv"),
    };
    let Drawn { samples, pictures, table: rows } = drawn;
    write_table(&out.join(table), rows)?;
    let path = out.join("sheet.png");
    write_png(&sheet(&pictures, columns), &path)?;
    if machine.json {
        say(json!({"sheet": path.display().to_string(), "samples": samples, "pictures": pictures.len()}))
    } else {
        say(format_args!("{samples} samples drawn in {}", path.display()))
    }
}

/// Writes the embedded set with its edits, manifest and true masks.
fn write_embedded(seed: Seed, folder: &Path, json: bool) -> Result<()> {
    let set = Embedded::generate(&Spec::default(), seed)?;
    set.write(folder, seed)?;
    if json {
        say(json!({"folder": folder.display().to_string(), "edits": set.edits.len()}))
    } else {
        say(format_args!("embedded set written to {}", folder.display()))
    }
}

/// Original, edit, mask, and the edit with its modified region tinted; the masks also as files of their own.
fn edits(said: &Said, dataset: &Dataset, grid: Grid, folder: &Path) -> Result<Drawn> {
    ensure!(
        !dataset.edits.is_empty(),
        "{}: has no edits; pass --edits MANIFEST, or another --method",
        dataset.name
    );
    let extractor = Extractor {
        difference: said.difference().into(),
        histogram: said.otsu().into(),
        ..Extractor::new(grid.side, grid.side)
    };
    let mut pictures = Vec::new();
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record([
        "mask",
        "label",
        "prompt",
        "threshold",
        "separability",
        "modified_fraction",
        "degenerate",
    ])?;
    for (index, edit) in spread(&dataset.edits, said.count()).enumerate() {
        let original = grid.load(&dataset.train[edit.original].picture)?;
        let edited = grid.load(&edit.picture)?;
        let extraction = unmodified(dataset, edit, grid, &extractor)?;
        let mask = picture(&extraction.target);
        let name = format!("mask-{index:04}.png");
        write_png(&mask, &folder.join(&name))?;
        table.write_record([
            name,
            dataset.class(edit.label).to_owned(),
            edit.prompt.clone(),
            extraction.otsu.threshold.to_string(),
            extraction.otsu.separability.to_string(),
            modified_share(&extraction.target).to_string(),
            extraction.is_degenerate().to_string(),
        ])?;
        let tinted = tint_non_target(&edited, &extraction.target)?;
        pictures.extend([original, edited, mask, tinted]);
    }
    Ok(Drawn { samples: pictures.len() / 4, pictures, table })
}

/// Each sample beside its mask, white on source A.
fn mixes(method: Method, said: &Said, dataset: &Dataset, grid: Grid) -> Result<Drawn> {
    let chosen: Vec<_> = spread(&dataset.train, said.count()).collect();
    let images = chosen.iter().map(|example| grid.load(&example.picture)).collect::<Result<Vec<_>, _>>()?;
    let side = grid.side as usize;
    let pixels = images.iter().flat_map(planes).collect();
    let batch = Batch::new(pixels, 3, side, side, chosen.iter().map(|example| example.label).collect())?;
    let mut rng = said.seed().stream("synth", &[]);
    let mut pictures = Vec::new();
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(["sample", "label_a", "label_b", "lam", "partner"])?;
    match method {
        Method::Mixup => {
            let mixed = Mixup { alpha: 1.0 }.synthesise(&batch, &mut rng)?;
            pictures.extend(mixed.pixels.chunks(3 * side * side).map(|planes| image(planes, side)));
            record(&mut table, &mixed, dataset)?;
        }
        method => {
            let mixed = masked(method, &batch, &mut rng)?;
            for (index, planes) in mixed.pixels.chunks(3 * side * side).enumerate() {
                let mask = mixed.provenance.sample(index).iter().map(|&value| value > 0.5).collect();
                pictures.extend([image(planes, side), picture(&BinaryMask::new(side, side, mask)?)]);
            }
            record(&mut table, &mixed, dataset)?;
        }
    }
    Ok(Drawn { samples: chosen.len(), pictures, table })
}

fn masked(
    method: Method,
    batch: &Batch,
    rng: &mut pg_random::Stream,
) -> Result<Synthetic<Masks>, SynthError> {
    match method {
        Method::Resizemix => ResizeMix::default().synthesise(batch, rng),
        _ => CutMix::default().synthesise(batch, rng),
    }
}

fn record<P>(table: &mut csv::Writer<Vec<u8>>, mixed: &Synthetic<P>, dataset: &Dataset) -> Result<()> {
    let class = |label: u32| dataset.class(label).to_owned();
    for index in 0..mixed.lam.len() {
        table.write_record([
            index.to_string(),
            class(mixed.label_a[index]),
            class(mixed.label_b[index]),
            mixed.lam[index].to_string(),
            mixed.partner[index].to_string(),
        ])?;
    }
    Ok(())
}

/// Red, green and blue planes in [0, 1].
fn planes(image: &RgbImage) -> Vec<f32> {
    (0..3).flat_map(|c| image.pixels().map(move |pixel| f32::from(pixel[c]) / 255.0)).collect()
}

fn image(planes: &[f32], side: usize) -> RgbImage {
    RgbImage::from_fn(side as u32, side as u32, |x, y| {
        let index = y as usize * side + x as usize;
        let level = |c: usize| (planes[c * side * side + index] * 255.0).round().clamp(0.0, 255.0) as u8;
        image::Rgb([level(0), level(1), level(2)])
    })
}

/// White on the target.
fn picture(mask: &BinaryMask) -> RgbImage {
    let grey = GrayImage::from_fn(mask.width() as u32, mask.height() as u32, |x, y| {
        Luma([if mask.get(x as usize, y as usize) { 255 } else { 0 }])
    });
    image::DynamicImage::ImageLuma8(grey).into_rgb8()
}
