//! First and second derivatives against central differences, in f64, on every device at hand.

use crate::devices::devices;
use crate::support::random;
use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

/// Checks the first derivative of `f` and the derivative of a weighted square of that derivative, along a random
/// direction of all inputs.
pub(crate) fn check(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    for device in devices() {
        let inputs: Vec<Tensor> = inputs.iter().map(|t| t.to_device(&device).unwrap()).collect();
        check_on(&inputs, &f).unwrap();
    }
}

fn check_on(inputs: &[Tensor], f: &impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    let directions: Vec<Tensor> = like(inputs, 11);
    let (first, second) = (Objective::new(inputs, f, 1)?, Objective::new(inputs, f, 2)?);
    for (order, objective) in [(1, &first), (2, &second)] {
        let exact = objective.slope(inputs, &directions)?;
        let h = 1e-5;
        let displaced = |h: f64| -> Result<f64> {
            let moved: Vec<Tensor> =
                inputs.iter().zip(&directions).map(|(x, d)| x + (d * h)?).collect::<Result<_>>()?;
            objective.value(&moved)
        };
        let numeric = (displaced(h)? - displaced(-h)?) / (2.0 * h);
        let scale = 1.0 + exact.abs().max(numeric.abs()) + objective.value(inputs)?.abs();
        assert!(
            (exact - numeric).abs() < 1e-6 * scale,
            "derivative {order}: exact {exact}, central difference {numeric}, shapes {:?}",
            inputs.iter().map(|t| t.dims().to_vec()).collect::<Vec<_>>(),
        );
    }
    Ok(())
}

/// Order 1: sum c f(x). Order 2: sum over inputs of sum r (d order 1 / d input)^2.
struct Objective<'a, F> {
    f: &'a F,
    order: u8,
    cotangent: Tensor,
    weights: Vec<Tensor>,
}

impl<'a, F: Fn(&[Tensor]) -> Result<Tensor>> Objective<'a, F> {
    fn new(inputs: &[Tensor], f: &'a F, order: u8) -> Result<Self> {
        let cotangent = like(&[f(inputs)?], 5).remove(0);
        Ok(Self { f, order, cotangent, weights: like(inputs, 7) })
    }

    fn compute(&self, inputs: &[Tensor]) -> Result<(Vec<Var>, Tensor)> {
        let vars: Vec<Var> = inputs.iter().map(Var::from_tensor).collect::<Result<_>>()?;
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let score = ((self.f)(&tensors)? * &self.cotangent)?.sum_all()?;
        if self.order == 1 {
            return Ok((vars, score));
        }
        let gradients = score.backward()?;
        let mut total = Tensor::zeros((), score.dtype(), score.device())?;
        for (var, weight) in vars.iter().zip(&self.weights) {
            let gradient = gradients.get(var).expect("every input of an operation has a gradient");
            total = (total + (gradient.sqr()? * weight)?.sum_all()?)?;
        }
        Ok((vars, total))
    }

    fn value(&self, inputs: &[Tensor]) -> Result<f64> {
        self.compute(inputs)?.1.to_scalar()
    }

    fn slope(&self, inputs: &[Tensor], directions: &[Tensor]) -> Result<f64> {
        let (vars, value) = self.compute(inputs)?;
        let gradients: GradStore = value.backward()?;
        let mut slope = 0.0;
        for (var, direction) in vars.iter().zip(directions) {
            if let Some(gradient) = gradients.get(var) {
                slope += (gradient * direction)?.sum_all()?.to_scalar::<f64>()?;
            }
        }
        Ok(slope)
    }
}

fn like(tensors: &[Tensor], salt: u64) -> Vec<Tensor> {
    let like = |(i, t): (usize, &Tensor)| random(t.dims(), salt + i as u64).to_device(t.device()).unwrap();
    tensors.iter().enumerate().map(like).collect()
}
