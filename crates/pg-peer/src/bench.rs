//! Times a training step: forward, loss, backward to every parameter; no optimiser and no data loading.

use crate::network::Network;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use clap::{Args as ClapArgs, ValueEnum};
use pg_cli::DeviceName;
use pg_grad::ops::log_softmax;
use pg_grad::{Guidance, Provenance, Turn, peak_device_memory};
use pg_models::{KEYPOINT_FEATURES, Mode, Model, ModelSpec, PointLayout, Skp, SkpSpec, Vit};
use pg_random::Seed;
use rand_distr::{Distribution, StandardNormal, StandardUniform};
use serde::Serialize;
use std::time::Instant;

const CLASSES: u32 = 200;
/// Of skeletons: 60 people of each of two mixed scenes, with 17 joints.
const SCENES: [usize; 2] = [2 * 60, 17];

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Model to time.
    #[arg(long, default_value = "resnet50")]
    model: String,
    /// What a step computes.
    #[arg(long, value_enum, default_value = "soft")]
    mode: StepMode,
    /// Samples a step.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Side of the images in pixels.
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u32).range(4..))]
    size: u32,
    /// Threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// Timed steps, after one that is not.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// Compute activations again instead of keeping them.
    #[arg(long)]
    grad_checkpointing: bool,
    /// Device: cpu, cuda, cuda:N or metal.
    #[arg(long, default_value = "cpu")]
    device: DeviceName,
    /// Let products of f32 be computed in TF32.
    #[cfg(feature = "cuda")]
    #[arg(long)]
    tf32: bool,
}

impl Args {
    pub(crate) fn threads(&self) -> usize {
        self.threads as usize
    }
}

#[derive(Clone, Copy, ValueEnum, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum StepMode {
    /// Cross-entropy alone.
    Plain,
    /// Guidance of edited samples: one input gradient.
    Hard,
    /// Guidance of mixes of two: two input gradients.
    Soft,
}

#[derive(Serialize)]
struct Row<'a> {
    engine: String,
    model: &'a str,
    mode: StepMode,
    batch: u32,
    size: u32,
    threads: u32,
    seconds: f64,
    min: f64,
    max: f64,
    peak_mib: u64,
}

/// Prints one JSON line.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let device = args.device.open()?;
    #[cfg(feature = "cuda")]
    anyhow::ensure!(device.is_cuda() || !args.tf32, "--tf32 is for CUDA devices");
    #[cfg(feature = "cuda")]
    candle_core::cuda_backend::set_gemm_reduced_precision_f32(args.tf32);
    let (model, batch) = match args.model.as_str() {
        "skp" => skeletons(args, &device)?,
        _ => (Network::Images(image_model(args, &device)?), Batch::of_images(args, &device)?),
    };
    batch.step(&model)?;
    device.synchronize()?;
    let mut times = (0..args.repeats)
        .map(|_| {
            let start = Instant::now();
            batch.step(&model)?;
            device.synchronize()?;
            Ok(start.elapsed().as_secs_f64())
        })
        .collect::<Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    let row = Row {
        engine: format!("provenance-guidance {}", env!("CARGO_PKG_VERSION")),
        model: &args.model,
        mode: args.mode,
        batch: args.batch,
        size: args.size,
        threads: args.threads,
        seconds: median(&times),
        min: times[0],
        max: times[times.len() - 1],
        peak_mib: peak_mib(&device)?.context("cannot read the process's peak memory")?,
    };
    println!("{}", serde_json::to_string(&row)?);
    Ok(true)
}

fn image_model(args: &Args, device: &Device) -> Result<Model> {
    let named = ModelSpec::new(&args.model, CLASSES as usize);
    // Drop path would leave out a part of the work.
    let vit = named.vit.map(|vit| Vit { drop_path_percent: 0, ..vit });
    let spec = ModelSpec { size: args.size as usize, vit, ..named };
    let mut model = Model::new(spec, Seed(0), DType::F32, device)?;
    model.set_grad_checkpointing(args.grad_checkpointing)?;
    Ok(model)
}

/// Points all over the image, of which one in ten is missing; the people of the first scene are source A.
fn skeletons(args: &Args, device: &Device) -> Result<(Network, Batch)> {
    let ([slots, keypoints], n, cpu) = (SCENES, args.batch as usize, &Device::Cpu);
    let count = n * slots * keypoints;
    let uniform = |name| StandardUniform.sample_iter(Seed(0).stream(name, &[]));
    let points: Vec<f32> =
        uniform("points").map(|u: f32| 2.0 * u - 1.0).take(count * KEYPOINT_FEATURES).collect();
    let valid: Vec<bool> = uniform("valid").map(|u: f32| u > 0.1).take(count).collect();
    let mask: Vec<f32> = (0..n * slots).map(|i| f32::from(u8::from(i % slots < slots / 2))).collect();
    let mask = Tensor::from_vec(mask, (n, slots, 1, 1), cpu)?.to_device(device)?;
    let input = Tensor::from_vec(points, (n, slots, keypoints, KEYPOINT_FEATURES), cpu)?.to_device(device)?;
    let skp = Skp::new(SkpSpec::new(CLASSES as usize), Seed(0), DType::F32, device)?;
    let network = Network::Points(skp, PointLayout::new(&valid, [n, slots, keypoints])?);
    Ok((network, Batch::new(args, input, &mask)?))
}

struct Batch {
    mode: StepMode,
    input: Tensor,
    label_a: Tensor,
    label_b: Tensor,
    provenance: Provenance,
}

impl Batch {
    /// Gaussian images, a central square of half the side as source A.
    fn of_images(args: &Args, device: &Device) -> Result<Self> {
        let (n, size, cpu) = (args.batch as usize, args.size as usize, &Device::Cpu);
        let numbers: Vec<f32> =
            StandardNormal.sample_iter(Seed(0).stream("bench", &[])).take(n * 3 * size * size).collect();
        let inside = |i: usize| (size / 4..3 * size / 4).contains(&i);
        let mask: Vec<f32> = (0..n * size * size)
            .map(|i| f32::from(u8::from(inside(i % size) && inside(i / size % size))))
            .collect();
        let mask = Tensor::from_vec(mask, (n, 1, size, size), cpu)?.to_device(device)?;
        let input = Tensor::from_vec(numbers, (n, 3, size, size), cpu)?.to_device(device)?;
        Self::new(args, input, &mask)
    }

    /// Class b = a + 1.
    fn new(args: &Args, input: Tensor, mask: &Tensor) -> Result<Self> {
        let (n, device) = (args.batch as usize, input.device());
        let a: Vec<u32> = (0..n as u32).map(|i| i * 37 % CLASSES).collect();
        let b: Vec<u32> = a.iter().map(|a| (a + 1) % CLASSES).collect();
        let (label_a, label_b) = (Tensor::new(a, device)?, Tensor::new(b, device)?);
        let provenance = match args.mode {
            StepMode::Hard => Provenance::edited(&label_a, mask, &Tensor::ones(n, DType::F32, device)?)?,
            _ => Provenance::mixed(&label_a, &label_b, mask)?,
        };
        Ok(Self { mode: args.mode, input, label_a, label_b, provenance })
    }

    fn step(&self, model: &Network) -> Result<()> {
        let turn = (self.mode != StepMode::Plain).then_some(Turn::ALL);
        let step = Guidance::new(0.05).step(
            &self.input,
            &self.provenance,
            turn.as_ref(),
            |x, why| model.forward(x, Mode::from(why)),
            |logits| self.loss(logits),
        )?;
        std::hint::black_box(step.gradients);
        Ok(())
    }

    fn loss(&self, logits: &Tensor) -> pg_grad::Result<Tensor> {
        let log_probabilities = log_softmax(logits, 1)?;
        let of = |labels: &Tensor| log_probabilities.gather(&labels.unsqueeze(1)?, 1);
        let loss = match self.mode {
            StepMode::Hard => of(&self.label_a)?,
            _ => ((of(&self.label_a)? + of(&self.label_b)?)? * 0.5)?,
        };
        Ok(loss.mean_all()?.neg()?)
    }
}

pub(crate) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// Peak memory of tensors on a CUDA device, else the peak resident memory of this process; 0 where the system does not tell.
fn peak_mib(device: &Device) -> Result<Option<u64>> {
    if let Some(bytes) = peak_device_memory(device)? {
        return Ok(Some(bytes >> 20));
    }
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return Ok(Some(0)) };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.map(|kib| kib / 1024))
}
