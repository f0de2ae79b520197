//! Guidance by finite difference agrees with exact guidance through whole networks, where no rectifier changes sign.
#![allow(
    clippy::unwrap_used,
    unsafe_code,
    reason = "a test may panic; the switch is a matter of the process"
)]

use candle_core::{DType, Device, Tensor};
use pg_grad::{Guidance, Provenance, Strategy, Turn};
use pg_models::{Mode, Model, ModelSpec};
use pg_random::Seed;

const SAMPLES: usize = 4;

/// The gradient of L_PG alone by all weights.
fn gradient(name: &str, strategy: Strategy) -> Vec<f64> {
    let (size, device) = (32, &Device::Cpu);
    let spec = ModelSpec { size, ..ModelSpec::new(name, 3) };
    let model = Model::new(spec, Seed(0), DType::F64, device).unwrap();
    let numbers = (0..SAMPLES * 3 * size * size).map(|i| (i * 7919 % 1009) as f64 / 504.5 - 1.0).collect();
    let x = Tensor::from_vec(numbers, (SAMPLES, 3, size, size), device).unwrap();
    let half = |value: f64| Tensor::full(value, (SAMPLES, 1, size, size / 2), device).unwrap();
    let masks = Tensor::cat(&[half(1.0), half(0.0)], 3).unwrap();
    let labels = Tensor::new(&[0u32, 1, 2, 0], device).unwrap();
    let edited = Tensor::ones(SAMPLES, DType::F64, device).unwrap();
    let provenance = Provenance::edited(&labels, &masks, &edited).unwrap();
    let guidance = Guidance { strategy, ..Guidance::new(1.0) };
    let nothing = |logits: &Tensor| logits.sum_all()? * 0.0;
    let forward = |x: &Tensor, why| model.forward(x, Mode::from(why));
    let step = guidance.step(&x, &provenance, Some(&Turn::ALL), forward, nothing).unwrap();
    let of = |var: &candle_core::Var| match step.gradients.get(var) {
        Some(gradient) => gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap(),
        None => vec![0.0; var.elem_count()],
    };
    model.params().vars().values().flat_map(of).collect()
}

#[test]
fn both_strategies_have_one_gradient() {
    // SAFETY: no other thread of this process reads the environment.
    unsafe { pg_grad::second_order::enable() };
    for name in ["mlp", "small-cnn", "resnet18"] {
        let exact = gradient(name, Strategy::Exact);
        let difference = gradient(name, Strategy::FiniteDifference { step: 1e-9 });
        let norm = |of: &dyn Fn(usize) -> f64| (0..exact.len()).map(|i| of(i).powi(2)).sum::<f64>().sqrt();
        let distance = norm(&|i| exact[i] - difference[i]) / norm(&|i| exact[i]);
        assert!(distance < 1e-6, "{name}: {distance}");
    }
}
