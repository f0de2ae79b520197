//! A guided step in f64, exact or by finite differences, recorded or computed again, on the CPU and on the first CUDA
//! device, where there is one: its gradients are those of the exact, recorded step on the CPU.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests")]

#[path = "support/devices.rs"]
mod devices;
#[path = "support/separated.rs"]
mod separated;
mod support;

use candle_core::{DType, Device, Result as CandleResult, Tensor, Var};
use devices::devices;
use pg_grad::ops::*;
use pg_grad::*;
use separated::separated;
use support::{numbers, random};

const N: usize = 4;

/// Convolutions with stride, groups and dilation, normalisation with a shortcut, overlapping windows, a transformer's parts.
struct Net {
    weights: Vec<Var>,
}

impl Net {
    fn new(device: &Device) -> Self {
        let shapes: [&[usize]; 9] =
            [&[6, 2, 3, 3], &[6], &[6], &[6, 3, 3, 3], &[6], &[6], &[8, 6 * 16], &[8], &[3, 8]];
        let weights = shapes.iter().enumerate().map(|(i, shape)| {
            let shift = if shape.len() == 1 { 1.5 } else { 0.0 };
            let values = (random(shape, i as u64) + shift).unwrap().to_device(device).unwrap();
            Var::from_tensor(&values).unwrap()
        });
        Self { weights: weights.collect() }
    }

    fn forward(&self, x: &Tensor, why: Forward, checkpointed: bool) -> CandleResult<Tensor> {
        let w = self.weights.clone();
        let body = move |x: &Tensor, _: Forward| -> Result<Tensor> {
            let strided = Conv2dOptions {
                stride: (2, 2),
                padding: (1, 1),
                dilation: (2, 2),
                ..Conv2dOptions::default()
            };
            let grouped = Conv2dOptions { padding: (1, 1), groups: 2, ..Conv2dOptions::default() };
            let pool = Pool2dOptions { kernel_size: (3, 3), stride: (2, 2), padding: (1, 1) };
            let y = batch_norm_relu(&conv2d(x, &w[0], strided)?, &w[1], &w[2], 1e-5, None)?.0;
            let y = batch_norm_relu(&conv2d(&y, &w[3], grouped)?, &w[4], &w[5], 1e-5, Some(&y))?.0;
            max_pool2d(&y, pool)
        };
        let y = if checkpointed { checkpoint(x, why, body)? } else { body(x, why)? };
        let y = gelu(&linear(&y.flatten_from(1)?, &self.weights[6], None)?)?;
        let y = (layer_norm(&y, &self.weights[7], &self.weights[7], 1e-6)? * softmax(&y, 1)?)?;
        Ok(linear(&y, &self.weights[8], None)?)
    }
}

fn gradients(device: &Device, guidance: &Guidance, soft: bool, checkpointed: bool) -> Vec<f64> {
    let net = Net::new(device);
    let to = |t: Tensor| t.to_device(device).unwrap();
    let classes = to(Tensor::new(&[0u32, 2, 1, 1], &Device::Cpu).unwrap());
    let others = to(Tensor::new(&[1u32, 0, 2, 0], &Device::Cpu).unwrap());
    let mask: Vec<f64> = numbers(N * 256, 3).into_iter().map(|v| f64::from(v > 0.0)).collect();
    let mask = to(Tensor::from_vec(mask, (N, 1, 16, 16), &Device::Cpu).unwrap());
    let provenance = if soft {
        Provenance::mixed(&classes, &others, &mask).unwrap()
    } else {
        Provenance::edited(&classes, &mask, &to(Tensor::new(&[1f64, 0.0, 1.0, 1.0], &Device::Cpu).unwrap()))
            .unwrap()
    };
    let x = to((separated(&[N, 2, 16, 16], 99) * 0.1).unwrap());
    let cross_entropy = |z: &Tensor| {
        log_softmax(z, 1)?.gather(&classes.unsqueeze(1)?, 1)?.mean_all()?.neg().map_err(Error::from)
    };
    let forward = |x: &Tensor, why| net.forward(x, why, checkpointed);
    let step = guidance.step(&x, &provenance, Some(&Turn::ALL), forward, cross_entropy).unwrap();
    let of = |var: &Var| {
        let gradient = step.gradients.get(var).expect("every weight has a gradient");
        gradient.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
    };
    [step.loss_cls, step.loss_pg.unwrap()].into_iter().chain(net.weights.iter().flat_map(of)).collect()
}

/// How far a number may be off, as a share of the length of all: by rounding alone.
const EXACT: f64 = 1e-10;
/// And by the difference of two passes, 1e-6 of the input apart: rounding divided by that, and the curvature between them.
const BY_DIFFERENCE: f64 = 1e-5;

#[test]
fn every_step_has_the_gradients_of_the_exact_one_on_the_cpu() {
    let (exact, difference) = (Strategy::Exact, Strategy::FiniteDifference { step: 1e-6 });
    let cases = [Norm::SquaredL2, Norm::Relative].map(|norm| [(norm, false), (norm, true)]).concat();
    for (norm, soft) in cases {
        let found = |device: &Device, strategy: Strategy, checkpointed: bool| {
            let guidance = Guidance { strategy, norm, ..Guidance::new(0.5) };
            gradients(device, &guidance, soft, checkpointed)
        };
        let expected = found(&Device::Cpu, exact, false);
        assert!(expected.iter().any(|v| v.abs() > 1e-3));
        let length = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
        for device in devices() {
            for (strategy, checkpointed) in
                [(exact, false), (exact, true), (difference, false), (difference, true)]
            {
                if device.is_cpu() && (strategy, checkpointed) == (exact, false) {
                    // That is the one they are compared with.
                    continue;
                }
                let tolerance = if strategy == difference { BY_DIFFERENCE } else { EXACT };
                let actual = found(&device, strategy, checkpointed);
                assert_eq!(actual.len(), expected.len());
                for (a, e) in actual.iter().zip(&expected) {
                    assert!(
                        (a - e).abs() < tolerance * length,
                        "{device:?}, {norm:?}, {strategy:?}, soft {soft}, checkpointed {checkpointed}: {a} != {e}"
                    );
                }
            }
        }
    }
}
