//! Guidance by finite difference has the gradient of exact guidance through whole networks, in single precision.
#![allow(
    clippy::unwrap_used,
    unsafe_code,
    reason = "a test may panic; the switch is a matter of the process"
)]

use candle_core::{DType, Device, Tensor};
use pg_grad::{Forward, Guidance, Provenance, Strategy, Turn};
use pg_models::{Mode, Model, ModelSpec};
use pg_random::Seed;
use rand::RngExt;

const SAMPLES: usize = 8;
const SIZE: usize = 64;
const LABELS: [u32; SAMPLES] = [0, 1, 2, 0, 1, 2, 0, 1];

fn input() -> Tensor {
    let mut rng = Seed(1).stream("input", &[]);
    let numbers: Vec<f32> = (0..SAMPLES * 3 * SIZE * SIZE).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(numbers, (SAMPLES, 3, SIZE, SIZE), &Device::Cpu).unwrap()
}

/// Edits and mixes whose left half is the target, or of source A.
fn provenances() -> [Provenance; 2] {
    let half = |value: f32| Tensor::full(value, (SAMPLES, 1, SIZE, SIZE / 2), &Device::Cpu).unwrap();
    let masks = Tensor::cat(&[half(1.0), half(0.0)], 3).unwrap();
    let labels = Tensor::new(&LABELS, &Device::Cpu).unwrap();
    let others = Tensor::new(&[1u32, 2, 0, 0, 2, 1, 0, 2], &Device::Cpu).unwrap();
    let edited = Tensor::new(&[1f32, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0], &Device::Cpu).unwrap();
    [
        Provenance::edited(&labels, &masks, &edited).unwrap(),
        Provenance::mixed(&labels, &others, &masks).unwrap(),
    ]
}

/// The gradient of L_PG alone by all weights.
fn gradient(
    model: &Model,
    strategy: Strategy,
    provenance: &Provenance,
    mode: fn(Forward) -> Mode,
) -> Vec<f64> {
    let guidance = Guidance { strategy, ..Guidance::new(1.0) };
    let nothing = |logits: &Tensor| logits.sum_all()? * 0.0;
    let network = |x: &Tensor, why| model.forward(x, mode(why));
    let step = guidance.step(&input(), provenance, Some(&Turn::ALL), network, nothing).unwrap();
    let of = |var: &candle_core::Var| match step.gradients.get(var) {
        Some(g) => g.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap(),
        None => vec![0.0; var.elem_count()],
    };
    model.params().vars().values().flat_map(of).collect()
}

#[test]
fn both_strategies_have_one_gradient() {
    // SAFETY: no other thread of this process reads the environment.
    unsafe { pg_grad::second_order::enable() };
    let training: fn(Forward) -> Mode = Mode::from;
    let evaluation: fn(Forward) -> Mode = |_| Mode::Eval;
    let (bent, linear) = (Strategy::DEFAULT_STEP, Strategy::PIECEWISE_LINEAR_STEP);
    for (name, mode, step, allowed) in [
        ("mlp", training, linear, 1e-4),
        ("small-cnn", training, linear, 1e-4),
        ("small-cnn", training, bent, 1e-3),
        ("vgg16-gap", training, linear, 1e-4),
        ("resnet18", evaluation, linear, 1e-4),
        ("resnet18", training, bent, 1e-3),
    ] {
        for provenance in provenances() {
            let spec = ModelSpec { size: SIZE, ..ModelSpec::new(name, 3) };
            let model = Model::new(spec, Seed(0), DType::F32, &Device::Cpu).unwrap();
            let exact = gradient(&model, Strategy::Exact, &provenance, mode);
            let difference = gradient(&model, Strategy::FiniteDifference { step }, &provenance, mode);
            let norm =
                |of: &dyn Fn(usize) -> f64| (0..exact.len()).map(|i| of(i).powi(2)).sum::<f64>().sqrt();
            let distance = norm(&|i| exact[i] - difference[i]) / norm(&|i| exact[i]);
            assert!(distance < allowed, "{name}, displacement {step}: {distance}");
        }
    }
}
