//! Times what happens to images before a step: loading, mixing, and masks from pairs of original and edit.

use anyhow::{Context, Result};
use candle_core::Device;
use clap::{Args as ClapArgs, ValueEnum};
use image::{Rgb, RgbImage};
use pg_provenance::{Extractor, dilate, resize_rgb};
use pg_random::Seed;
use pg_synth::{Batch, CutMix, PuzzleMix, ResizeMix, SalientBatch, Synthesiser};
use pg_tasks::decode::read_rgb;
use pg_tasks::normalise::Normalise;
use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Width and height of the files, those of a common photograph in ImageNet.
const FILE: (u32, u32) = (500, 375);
const ORIGINAL: &str = "original.jpg";
const EDIT: &str = "edit.jpg";

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// What to do with the images.
    #[arg(long, value_enum)]
    work: Work,
    /// Folder of the two pictures that are read; they are drawn where they are missing.
    #[arg(long)]
    pictures: PathBuf,
    /// Images a batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..))]
    batch: u32,
    /// Side of the network's input in pixels.
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u32).range(4..))]
    size: u32,
    /// Threads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// Timed batches, after one that is not.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
}

impl Args {
    pub(crate) fn threads(&self) -> usize {
        self.threads as usize
    }
}

#[derive(Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Work {
    /// Read and decode a JPEG, resize, normalise.
    Load,
    /// CutMix of a batch of float images.
    Cutmix,
    /// ResizeMix of a batch of float images.
    Resizemix,
    /// PuzzleMix of a batch of float images with smooth saliency, in 16 x 16 blocks.
    Puzzlemix,
    /// Of a decoded pair: resize both, difference, Otsu's threshold, dilation by 3 pixels.
    Mask,
}

#[derive(Serialize)]
struct Row {
    engine: String,
    work: Work,
    batch: u32,
    size: u32,
    threads: u32,
    images_per_second: f64,
}

/// Prints one JSON line: the median of the batches.
pub(crate) fn run(args: &Args) -> Result<bool> {
    draw_missing(&args.pictures)?;
    let mut work = prepare(args)?;
    let mut times = (0..=args.repeats)
        .map(|_| {
            let start = Instant::now();
            work()?;
            Ok(start.elapsed().as_secs_f64())
        })
        .collect::<Result<Vec<f64>>>()?;
    times.remove(0);
    times.sort_by(f64::total_cmp);
    let row = Row {
        engine: format!("provenance-guidance {}", env!("CARGO_PKG_VERSION")),
        work: args.work,
        batch: args.batch,
        size: args.size,
        threads: args.threads,
        images_per_second: f64::from(args.batch) / crate::bench::median(&times),
    };
    println!("{}", serde_json::to_string(&row)?);
    Ok(true)
}

/// One batch of the work.
fn prepare(args: &Args) -> Result<Box<dyn FnMut() -> Result<()>>> {
    let (size, count) = (args.size, args.batch);
    let (original, edit) = (args.pictures.join(ORIGINAL), args.pictures.join(EDIT));
    Ok(match args.work {
        Work::Load => Box::new(move || {
            let images = (0..count)
                .into_par_iter()
                .map(|_| Ok(resize_rgb(&read_rgb(&original)?, size, size)))
                .collect::<Result<Vec<_>>>()?;
            black_box(Normalise::IMAGENET.batch(&images, &Device::Cpu)?);
            Ok(())
        }),
        Work::Cutmix => mixing(CutMix::default(), random_batch(count, size)?),
        Work::Resizemix => mixing(ResizeMix::default(), random_batch(count, size)?),
        Work::Puzzlemix => {
            // The blocks of a picture of 224 pixels have 14 a side.
            let puzzle = PuzzleMix { blocks: vec![16], neigh_size: 2, ..PuzzleMix::default() };
            mixing(puzzle, SalientBatch::new(random_batch(count, size)?, smooth_saliency(count, size))?)
        }
        Work::Mask => {
            let (original, edit) = (read_rgb(&original)?, read_rgb(&edit)?);
            let extractor = Extractor::new(size, size);
            Box::new(move || {
                let masks = (0..count).into_par_iter().map(|_| {
                    let mask = extractor.extract(&original, &edit)?.target;
                    Ok(dilate(&mask, 3.0))
                });
                black_box(masks.collect::<Result<Vec<_>>>()?);
                Ok(())
            })
        }
    })
}

fn mixing<S>(mix: S, input: S::Input) -> Box<dyn FnMut() -> Result<()>>
where
    S: Synthesiser + 'static,
    S::Input: Sized,
{
    let mut step = 0;
    Box::new(move || {
        step += 1;
        black_box(mix.synthesise(&input, &mut Seed(0).stream("bench", &[step]))?);
        Ok(())
    })
}

fn random_batch(count: u32, size: u32) -> Result<Batch> {
    let (n, side) = (count as usize, size as usize);
    let mut rng = Seed(0).stream("pixels", &[]);
    let pixels = (0..n * 3 * side * side).map(|_| rng.random()).collect();
    Ok(Batch::new(pixels, 3, side, side, (0..count).collect())?)
}

/// Hills of random places, one sample after another.
fn smooth_saliency(count: u32, size: u32) -> Vec<f32> {
    let mut rng = Seed(0).stream("saliency", &[]);
    let side = size as f32;
    let mut hill = || [0; 2].map(|_| rng.random_range(0.0..side));
    let hills: Vec<[[f32; 2]; 6]> = (0..count).map(|_| std::array::from_fn(|_| hill())).collect();
    let height = |hills: &[[f32; 2]; 6], at: u32| -> f32 {
        let (x, y) = ((at % size) as f32, (at / size) as f32);
        let distance = |hill: &[f32; 2]| (x - hill[0]).hypot(y - hill[1]) / side;
        hills.iter().map(|hill| (-40.0 * distance(hill).powi(2)).exp()).sum()
    };
    hills.iter().flat_map(|hills| (0..size * size).map(move |at| height(hills, at))).collect()
}

/// A picture of smooth colours and fine texture, and its edit: a disc of another colour, the rest as it was.
fn draw_missing(folder: &Path) -> Result<()> {
    let texture = |x: u32, y: u32, c: u32| {
        let wave = (x as f32 / (17 + 9 * c) as f32).sin() * (y as f32 / (23 + 5 * c) as f32).cos();
        (128.0 + 80.0 * wave) as u8 ^ ((x * 7 + y * 13 + c) % 16) as u8
    };
    let pixel = |x, y| Rgb([0, 1, 2].map(|c| texture(x, y, c)));
    let in_disc = |x: u32, y: u32| x.abs_diff(200).pow(2) + y.abs_diff(180).pow(2) < 100 * 100;
    let edited = |x, y| if in_disc(x, y) { Rgb([220, 40, 60]) } else { pixel(x, y) };
    for (name, picture) in [
        (ORIGINAL, RgbImage::from_fn(FILE.0, FILE.1, pixel)),
        (EDIT, RgbImage::from_fn(FILE.0, FILE.1, edited)),
    ] {
        let path = folder.join(name);
        if !path.exists() {
            picture.save(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
