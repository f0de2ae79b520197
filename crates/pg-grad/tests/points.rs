//! A guided step on points, whose operations are recorded and run in kernels of their own, against the same loss
//! differentiated by candle.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result as CandleResult, Tensor, Var};
use pg_grad::ops::*;
use pg_grad::{Guidance, Provenance, Turn};
use support::random;

/// Points of two samples, 5 and 4 of them, in five runs.
fn runs() -> [Segments; 2] {
    [Segments::new([2, 3, 1, 2, 1]).unwrap(), Segments::new([2, 3]).unwrap()]
}

struct Net {
    weights: Vec<Var>,
}

impl Net {
    fn new(dtype: DType) -> Self {
        let shapes: [&[usize]; 8] = [&[6, 3], &[6], &[6], &[6], &[4, 6], &[4], &[3, 8], &[3]];
        let weights = shapes.iter().enumerate().map(|(i, shape)| {
            let shift = if i == 2 { 1.5 } else { 0.0 };
            Var::from_tensor(&(random(shape, i as u64) + shift).unwrap().to_dtype(dtype).unwrap()).unwrap()
        });
        Self { weights: weights.collect() }
    }

    /// `x` (2, 5, 3): of the second sample the last point is not there.
    fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        let (w, [people, samples]) = (&self.weights, runs());
        let places = Tensor::new(&[0u32, 1, 2, 3, 4, 5, 6, 7, 8], x.device())?;
        let x = x.reshape((10, 3))?.index_select(&places, 0)?.t()?.reshape((1, 3, 1, 9))?;
        let x = pointwise(&x, &w[0], Some(&w[1]))?;
        let x = gelu(&batch_norm(&x, &w[2], &w[3], 1e-5)?.0)?;
        let x = segment_max(&pointwise(&x, &w[4], Some(&w[5]))?, &people)?;
        let common = segment_repeat(&segment_max(&x, &samples)?, &samples)?;
        let x = segment_max(&Tensor::cat(&[&x, &common], 1)?, &samples)?;
        Ok(linear(&x.reshape((8, 2))?.t()?.contiguous()?, &w[6], Some(&w[7]))?)
    }
}

fn criterion(logits: &Tensor) -> CandleResult<Tensor> {
    log_softmax(logits, 1)?.narrow(1, 0, 1)?.mean_all()?.neg()
}

#[test]
fn a_recorded_step_on_points_has_the_gradient_that_candle_finds() {
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
        let net = Net::new(dtype);
        let x = random(&[2, 5, 3], 20).to_dtype(dtype).unwrap();
        let classes = |values: [u32; 2]| Tensor::new(&values, &Device::Cpu).unwrap();
        let mask = Tensor::new(&[1f32, 1., 0., 0., 0., 1., 0., 1., 0., 0.], &Device::Cpu).unwrap();
        let mask = mask.reshape((2, 5, 1)).unwrap();
        let provenance = Provenance::mixed(&classes([0, 1]), &classes([2, 0]), &mask).unwrap();
        let guidance = Guidance::new(0.7);
        let step =
            guidance.step(&x, &provenance, Some(&Turn::ALL), |x, _| net.forward(x), criterion).unwrap();

        let x = Var::from_tensor(&x).unwrap();
        let logits = net.forward(&x).unwrap();
        let loss_pg = guidance.loss(&logits, &x, &provenance).unwrap();
        let total = (criterion(&logits).unwrap() + (&loss_pg * 0.7).unwrap()).unwrap();
        let expected = total.backward().unwrap();
        let of = |gradients: &GradStore, weight: &Var| {
            let gradient = gradients.get(weight).unwrap().to_dtype(DType::F64).unwrap();
            gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        // One scale for all: the gradient of a bias before a normalisation is 0 but for rounding.
        let all = net.weights.iter().flat_map(|weight| of(&expected, weight));
        let scale = all.fold(0.0, |most: f64, x| most.max(x.abs()));
        for (index, weight) in net.weights.iter().enumerate() {
            for (a, b) in of(&step.gradients, weight).iter().zip(&of(&expected, weight)) {
                assert!((a - b).abs() < tolerance * scale, "{dtype:?}, weight {index}: {a} != {b}");
            }
        }
    }
}
