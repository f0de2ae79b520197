//! Writes samples with their provenance as pictures.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args as ClapArgs, ValueEnum};
use image::{GrayImage, Luma, RgbImage};
use pg_classify::dataset::{self, Dataset};
use pg_classify::pictures::spread;
use pg_classify::samples::Grid;
use pg_classify::settings::{DifferenceName, OtsuName};
use pg_embedded::{Embedded, Spec};
use pg_provenance::{BinaryMask, Extractor};
use pg_random::Seed;
use pg_synth::{Batch, CutMix, Masks, Mixup, ResizeMix, SynthError, Synthesiser, Synthetic};
use pg_tasks::sheet::{sheet, tint_non_target, write_png};
use serde_json::json;

use super::{Machine, make_folder, say};

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// How samples are made.
    #[arg(long, value_enum, default_value = "edits")]
    method: Method,
    /// Data set.
    #[arg(long, value_name = "NAME", default_value = "embedded", help_heading = "Data")]
    dataset: String,
    /// Folder that holds the data set's files.
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    data_root: Option<PathBuf>,
    /// Your own images: FOLDER/{train,val,test}/CLASS/*. Short for --dataset folder --data-root.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["dataset", "data_root"], help_heading = "Data")]
    data: Option<PathBuf>,
    /// Edited versions of training images (CSV or JSON lines).
    #[arg(long, value_name = "MANIFEST", help_heading = "Data")]
    edits: Option<PathBuf>,
    /// Side of the samples in pixels; by default the data set's network input.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(4..=4096), help_heading = "Data")]
    image_size: Option<u32>,
    /// Samples to write.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// How an original and its edit are compared.
    #[arg(long, value_enum, default_value = "mean")]
    difference: DifferenceName,
    /// What Otsu's threshold is computed from.
    #[arg(long, value_enum, default_value = "u8")]
    otsu: OtsuName,
    /// Write the whole embedded set as a folder that `train --data FOLDER --edits FOLDER/edits.csv` reads.
    #[arg(long)]
    export: bool,
    /// Seed of everything random.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Folder for the pictures.
    #[arg(long, value_name = "DIR", default_value = "synth")]
    out: PathBuf,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.export {
        return export(args);
    }
    let (name, root) = match &args.data {
        Some(folder) => ("folder", Some(folder.as_path())),
        None => (args.dataset.as_str(), args.data_root.as_deref()),
    };
    let options = dataset::Options { edits: args.edits.clone(), ..Default::default() };
    let dataset = dataset::open(name, root, &options)?;
    let grid = Grid { side: args.image_size.unwrap_or(dataset.side), crop: dataset.crop };
    make_folder(&args.out)?;
    let (pictures, columns) = match args.method {
        Method::Edits => (edits(args, &dataset, grid)?, 4),
        _ => (mixes(args, &dataset, grid)?, 6),
    };
    let path = args.out.join("sheet.png");
    write_png(&sheet(&pictures, columns), &path)?;
    if args.machine.json {
        say(json!({"sheet": path.display().to_string(), "pictures": pictures.len()}))
    } else {
        say(format_args!("{} samples drawn in {}", args.count, path.display()))
    }
}

/// Writes the embedded set with its edits, manifest and true masks.
fn export(args: &Args) -> Result<()> {
    let set = Embedded::generate(&Spec::default(), Seed(args.seed))?;
    set.write(&args.out, Seed(args.seed))?;
    number_labels(&args.out.join("edits.csv"), set.classes)?;
    if args.machine.json {
        say(json!({"folder": args.out.display().to_string(), "edits": set.edits.len()}))
    } else {
        say(format_args!("embedded set written to {}", args.out.display()))
    }
}

/// Replaces the class names in a manifest of edits by what `train --data` takes for labels: the classes' places in
/// alphabetical order, as torchvision's `ImageFolder` numbers them.
fn number_labels(manifest: &Path, mut classes: Vec<String>) -> Result<()> {
    classes.sort();
    let mut reader = csv::Reader::from_path(manifest)?;
    let header = reader.headers()?.clone();
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(&header)?;
    for row in reader.records() {
        let row = row?;
        let fields = header.iter().zip(&row).map(|(column, text)| {
            match classes.binary_search_by(|c| c.as_str().cmp(text)) {
                Ok(label) if column == "label" => label.to_string(),
                _ => text.to_owned(),
            }
        });
        table.write_record(fields)?;
    }
    write_table(manifest, table)
}

/// Original, edit, mask, and the edit with its modified region tinted; the masks also as files of their own.
fn edits(args: &Args, dataset: &Dataset, grid: Grid) -> Result<Vec<RgbImage>> {
    ensure!(
        !dataset.edits.is_empty(),
        "{}: has no edits; pass --edits MANIFEST, or another --method",
        dataset.name
    );
    let extractor = Extractor {
        difference: args.difference.into(),
        histogram: args.otsu.into(),
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
    for (index, edit) in spread(&dataset.edits, args.count as usize).enumerate() {
        let original = grid.load(&dataset.train[edit.original].picture)?;
        let edited = grid.load(&edit.picture)?;
        let extraction = extractor.extract(&original, &edited)?;
        let mask = picture(&extraction.target);
        let name = format!("mask-{index:04}.png");
        write_png(&mask, &args.out.join(&name))?;
        table.write_record([
            name,
            dataset.classes[edit.label as usize].clone(),
            edit.prompt.clone(),
            extraction.otsu.threshold.to_string(),
            extraction.otsu.separability.to_string(),
            extraction.otsu.modified_fraction.to_string(),
            extraction.is_degenerate().to_string(),
        ])?;
        let tinted = tint_non_target(&edited, &extraction.target)?;
        pictures.extend([original, edited, mask, tinted]);
    }
    write_table(&args.out.join("provenance.csv"), table)?;
    Ok(pictures)
}

/// Each sample beside its mask, white on source A.
fn mixes(args: &Args, dataset: &Dataset, grid: Grid) -> Result<Vec<RgbImage>> {
    let chosen: Vec<_> = spread(&dataset.train, args.count as usize).collect();
    let images = chosen.iter().map(|example| grid.load(&example.picture)).collect::<Result<Vec<_>, _>>()?;
    let side = grid.side as usize;
    let pixels = images.iter().flat_map(planes).collect();
    let batch = Batch::new(pixels, 3, side, side, chosen.iter().map(|example| example.label).collect())?;
    let mut rng = Seed(args.seed).stream("synth", &[]);
    let mut pictures = Vec::new();
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(["sample", "label_a", "label_b", "lam", "partner"])?;
    match args.method {
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
    write_table(&args.out.join("samples.csv"), table)?;
    Ok(pictures)
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
    let class = |label: u32| dataset.classes[label as usize].clone();
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

fn write_table(path: &Path, table: csv::Writer<Vec<u8>>) -> Result<()> {
    let bytes = table.into_inner().with_context(|| path.display().to_string())?;
    Ok(pg_tasks::run_dir::write_atomically(path, |file| std::io::Write::write_all(file, &bytes))?)
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
