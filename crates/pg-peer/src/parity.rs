//! Compares a guided step with fixtures of the PyTorch peer.

use crate::fixture::{Fixture, Mode, Norm, Spec, Summary};
use crate::generator::{fill, labels, tensor, values};
use crate::network::Network;
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor, Var};
use clap::Args as ClapArgs;
use pg_cli::DeviceName;
use pg_grad::ops::log_softmax;
use pg_grad::{Guidance, Provenance, Score, Turn, input_gradient_detached};
use pg_models::{KEYPOINT_FEATURES, Model, ModelSpec, PointLayout, Skp, SkpSpec, Vit};
use pg_random::Seed;
use std::path::PathBuf;

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Fixtures (JSON).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Device: cpu, cuda, cuda:N or metal.
    #[arg(long, default_value = "cpu")]
    device: DeviceName,
    /// One precision only: f64 or f32.
    #[arg(long, value_parser = parse_dtype)]
    dtype: Option<DType>,
}

fn parse_dtype(text: &str) -> Result<DType, &'static str> {
    match text {
        "f64" => Ok(DType::F64),
        "f32" => Ok(DType::F32),
        _ => Err("known precisions: f64, f32"),
    }
}

/// How far a precision may be off, relative.
struct Tolerance {
    loss: f64,
    norm: f64,
    element: f64,
}

/// A gradient this small, relative to the largest of the step, is rounding in float64.
const ROUNDING: f64 = 1e-13;

fn tolerance(dtype: DType, norm: Norm) -> Tolerance {
    match (dtype, norm) {
        (DType::F64, _) => Tolerance { loss: 1e-8, norm: 1e-8, element: 1e-8 },
        (_, Norm::Eval) => Tolerance { loss: 1e-4, norm: 5e-3, element: 5e-3 },
        (_, Norm::Train) => Tolerance { loss: 1e-4, norm: 2e-2, element: 5e-3 },
    }
}

/// Prints one line a file and precision; false if any number is outside its tolerance.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let device = args.device.open()?;
    let dtypes = args.dtype.map_or_else(|| vec![DType::F64, DType::F32], |dtype| vec![dtype]);
    let mut all_fit = true;
    for path in &args.files {
        let fixture = Fixture::read(path)?;
        for &dtype in &dtypes {
            let worst = compare(&fixture, dtype, &device).with_context(|| path.display().to_string())?;
            let fits = worst.ratio <= 1.0;
            all_fit &= fits;
            println!(
                "{} {} {}: worst deviation {:.2e} of {:.0e} allowed, in {}",
                if fits { "ok  " } else { "FAIL" },
                path.display(),
                dtype.as_str(),
                worst.deviation,
                worst.deviation / worst.ratio,
                worst.name,
            );
        }
    }
    Ok(all_fit)
}

/// The number that is closest to, or furthest beyond, its tolerance.
struct Worst {
    ratio: f64,
    deviation: f64,
    name: String,
}

impl Worst {
    fn see(&mut self, name: &str, deviation: f64, allowed: f64) {
        // A NaN must not look like a fit.
        let ratio = if deviation.is_nan() { f64::INFINITY } else { deviation / allowed };
        if ratio > self.ratio || self.name.is_empty() {
            *self = Self { ratio, deviation, name: name.to_string() };
        }
    }
}

fn compare(fixture: &Fixture, dtype: DType, device: &Device) -> Result<Worst> {
    let spec = &fixture.spec;
    let model = network(spec, dtype, device)?;
    fill(model.params(), spec.seed, spec.gain)?;
    let batch = Batch::new(spec, dtype, device)?;
    let mode = match spec.bn {
        Norm::Train => pg_models::Mode::Probe,
        Norm::Eval => pg_models::Mode::Eval,
    };
    let step = Guidance::new(spec.alpha).step(
        &batch.input,
        &batch.provenance,
        Some(&Turn::ALL),
        |x, _| model.forward(x, mode),
        |logits| batch.loss(logits),
    )?;
    let loss_pg = step.loss_pg.context("the step measured no guidance loss")?;

    let allowed = tolerance(dtype, spec.bn);
    let mut worst = Worst { ratio: 0.0, deviation: 0.0, name: String::new() };
    let losses = [
        ("loss_cls", step.loss_cls, fixture.loss_cls),
        ("loss_pg", loss_pg, fixture.loss_pg),
        ("loss_total", step.loss_cls + spec.alpha * loss_pg, fixture.loss_total),
    ];
    for (name, actual, expected) in losses {
        worst.see(name, ((actual - expected) / expected).abs(), allowed.loss);
    }
    let logits = step.logits.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    ensure!(logits.len() == fixture.logits.len(), "the fixture has another batch size");
    let largest = fixture.logits.iter().flatten().fold(0f64, |m, v| m.max(v.abs()));
    for (actual, expected) in logits.iter().flatten().zip(fixture.logits.iter().flatten()) {
        worst.see("logits", (actual - expected).abs() / largest, allowed.loss);
    }
    let x = Var::from_tensor(&batch.input)?;
    let gradient = input_gradient_detached(&model.forward(&x, mode)?, &x, &batch.label_a, Score::Logit)?;
    let scale = fixture.input_gradient_a.norm;
    see_tensor(&mut worst, ("input_gradient_a", &gradient), &fixture.input_gradient_a, scale, &allowed)?;
    let largest = fixture.gradients.values().fold(0f64, |largest, gradient| largest.max(gradient.norm));
    for (name, expected) in &fixture.gradients {
        let var = model.params().vars().get(name).with_context(|| format!("the model has no {name}"))?;
        let gradient = match step.gradients.get(var) {
            Some(gradient) => gradient.clone(),
            None => var.zeros_like()?,
        };
        // What is 0 but for rounding, as for a bias before a normalisation, has no scale of its own.
        let scale = if expected.norm > ROUNDING * largest { expected.norm } else { largest };
        see_tensor(&mut worst, (name, &gradient), expected, scale, &allowed)?;
    }
    let missing = model.params().vars().keys().find(|name| !fixture.gradients.contains_key(*name));
    ensure!(missing.is_none(), "the fixture has no gradient of {missing:?}");
    Ok(worst)
}

fn see_tensor(
    worst: &mut Worst,
    (name, tensor): (&str, &Tensor),
    expected: &Summary,
    scale: f64,
    allowed: &Tolerance,
) -> Result<()> {
    ensure!(
        tensor.dims() == expected.shape,
        "{name} has shape {:?}, expected {:?}",
        tensor.dims(),
        expected.shape
    );
    let values = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    worst.see(&format!("norm of {name}"), (norm - expected.norm).abs() / scale, allowed.norm);
    for (&index, &element) in &expected.at {
        let actual = values.get(index).with_context(|| format!("{name} has no element {index}"))?;
        worst.see(&format!("{name}[{index}]"), (actual - element).abs() / scale, allowed.element);
    }
    Ok(())
}

fn network(spec: &Spec, dtype: DType, device: &Device) -> Result<Network> {
    if !spec.is_of_skeletons() {
        return Ok(Network::Images(Model::new(model_spec(spec), Seed(0), dtype, device)?));
    }
    let [_, slots, keypoints] = spec.points();
    let named = SkpSpec::new(spec.classes);
    let (dim, repeats) = (spec.dim.unwrap_or(named.dim), spec.repeats.unwrap_or(named.repeats));
    let skp = Skp::new(SkpSpec { dim, repeats, ..named }, Seed(0), dtype, device)?;
    Ok(Network::Points(skp, PointLayout::new(&valid_points(spec), [spec.batch, slots, keypoints])?))
}

/// Which points are there; the last slot has none.
fn valid_points(spec: &Spec) -> Vec<bool> {
    let [n, slots, keypoints] = spec.points();
    let numbers = values("valid", n * slots * keypoints, spec.seed).into_iter().enumerate();
    numbers.map(|(i, u)| u > -0.7 && i / keypoints % slots != slots - 1).collect()
}

fn model_spec(spec: &Spec) -> ModelSpec {
    let named = ModelSpec::new(&spec.model, spec.classes);
    let vit = named.vit.map(|vit| Vit {
        embed_dim: spec.dim.unwrap_or(vit.embed_dim),
        depth: spec.depth.unwrap_or(vit.depth),
        num_heads: spec.heads.unwrap_or(vit.num_heads),
        ..vit
    });
    ModelSpec { size: spec.size.max(4), layer4_stride: spec.layer4_stride, vit, ..named }
}

/// The inputs of a fixture, from the generator.
struct Batch {
    input: Tensor,
    label_a: Tensor,
    label_b: Tensor,
    /// (n,): share of A, or 1 with a hard label.
    lam: Tensor,
    provenance: Provenance,
}

impl Batch {
    fn new(spec: &Spec, dtype: DType, device: &Device) -> Result<Self> {
        let (n, size, cpu) = (spec.batch, spec.size, &Device::Cpu);
        // Made on the CPU: Metal has no f64.
        let moved = |t: Tensor| t.to_dtype(dtype)?.to_device(device);
        let label = |name| Tensor::new(labels(name, n, spec.classes, spec.seed), device);
        let (label_a, label_b) = (label("label_a")?, label("label_b")?);
        let mask = if spec.is_of_skeletons() {
            let [n, slots, _] = spec.points();
            let of_first = (0..n * slots).map(|i| f64::from(u8::from(i % slots < slots / 2))).collect();
            Tensor::from_vec(of_first, (n, slots, 1, 1), cpu)?
        } else {
            Tensor::from_vec(box_masks(n, size, spec.seed), (n, 1, size, size), cpu)?
        };
        let lam = moved(match spec.mode {
            Mode::Soft => mask.mean((1, 2, 3))?,
            Mode::Hard => Tensor::ones(n, DType::F64, cpu)?,
        })?;
        let mask = moved(mask)?;
        let provenance = match spec.mode {
            Mode::Soft => Provenance::mixed(&label_a, &label_b, &mask)?,
            Mode::Hard => {
                let edited: Vec<f64> = (0..n).map(|i| f64::from(i % 3 != 2)).collect();
                Provenance::edited(&label_a, &mask, &moved(Tensor::new(edited, cpu)?)?)?
            }
        };
        let input = if spec.is_of_skeletons() {
            let [n, slots, keypoints] = spec.points();
            let input = tensor("input", &[n, slots, keypoints, KEYPOINT_FEATURES], spec.seed, DType::F64)?;
            let is_valid = valid_points(spec).into_iter().map(|valid| f64::from(u8::from(valid))).collect();
            input.broadcast_mul(&Tensor::from_vec(is_valid, (n, slots, keypoints, 1), cpu)?)?
        } else {
            tensor("input", &[n, 3, size, size], spec.seed, DType::F64)?
        };
        let input = moved(input)?;
        Ok(Self { input, label_a, label_b, lam, provenance })
    }

    /// mean over n of lam CE(a) + (1 - lam) CE(b).
    fn loss(&self, logits: &Tensor) -> pg_grad::Result<Tensor> {
        let log_probabilities = log_softmax(logits, 1)?;
        let of = |labels: &Tensor| log_probabilities.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1);
        let a = (of(&self.label_a)? * &self.lam)?;
        let b = (of(&self.label_b)? * (1.0 - &self.lam)?)?;
        Ok((a + b)?.mean_all()?.neg()?)
    }
}

/// 1 in a box a sample, rows y0..y1 and columns x0..x1.
fn box_masks(n: usize, size: usize, seed: u64) -> Vec<f64> {
    let corners = values("box", 4 * n, seed);
    let mut masks = vec![0.0; n * size * size];
    for (mask, corners) in masks.chunks_exact_mut(size * size).zip(corners.chunks_exact(4)) {
        let [y0, x0, dy, dx] = [0, 1, 2, 3].map(|i| ((corners[i] + 1.0) / 2.0 * size as f64 / 2.0) as usize);
        for y in y0..=y0 + dy {
            mask[y * size + x0..=y * size + x0 + dx].fill(1.0);
        }
    }
    masks
}
