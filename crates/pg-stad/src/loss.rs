//! How classes compete: what a network is trained by, and how its logits are read.

use candle_core::{DType, Tensor};
use pg_cli::choices;
use pg_grad::ops::{log_softmax, relu, sigmoid, softmax};

choices!(
    /// How classes compete.
    Loss {
        /// One class a clip: cross-entropy. Scores add up to 1, even those of people who do nothing.
        CrossEntropy,
        /// Each class by itself: binary cross-entropy. Whoever does nothing has only low scores.
        Bce,
    }
);

impl Loss {
    /// The loss (n,) of `logits` (n, classes) for `targets` (n, classes) in [0, 1]; of binary cross-entropies the sum over the
    /// classes.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn of(self, logits: &Tensor, targets: &Tensor) -> pg_grad::Result<Tensor> {
        match self {
            Self::CrossEntropy => Ok((log_softmax(logits, 1)? * targets)?.sum(1)?.neg()?),
            // -y ln s(z) - (1 - y) ln(1 - s(z)) as max(z, 0) + ln(1 + exp(-|z|)) - y z: nothing overflows. |z| is made of the
            // rectifier, so that both parts agree on the side that 0 is on.
            Self::Bce => {
                let positive = relu(logits)?;
                let minus_magnitude = (logits - (&positive * 2.0)?)?;
                let softplus = (positive + (minus_magnitude.exp()? + 1.0)?.log()?)?;
                Ok((softplus - (logits * targets)?)?.sum(1)?)
            }
        }
    }

    /// What a scene of several classes, each with a share, should be: each class by its share, or each class altogether.
    ///
    /// # Errors
    /// If candle fails.
    pub fn targets(self, shares: &Tensor) -> pg_grad::Result<Tensor> {
        match self {
            Self::CrossEntropy => Ok(shares.clone()),
            Self::Bce => Ok(shares.gt(0.0)?.to_dtype(shares.dtype())?),
        }
    }

    /// Scores in [0, 1] of logits (n, classes).
    ///
    /// # Errors
    /// If candle fails.
    pub fn scores(self, logits: &Tensor) -> pg_grad::Result<Tensor> {
        match self {
            Self::CrossEntropy => softmax(logits, 1),
            Self::Bce => sigmoid(logits),
        }
    }
}

/// (n, classes): 1 at each label of (n,).
pub(crate) fn one_hot(labels: &Tensor, classes: usize) -> candle_core::Result<Tensor> {
    let all = Tensor::arange(0, classes as u32, labels.device())?.unsqueeze(0)?;
    labels.unsqueeze(1)?.broadcast_eq(&all)?.to_dtype(DType::F32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn tensor(rows: &[[f64; 3]]) -> Tensor {
        Tensor::from_slice(rows.as_flattened(), (rows.len(), 3), &Device::Cpu).unwrap()
    }

    #[test]
    fn both_losses_are_their_definitions_and_do_not_overflow() {
        let (logits, targets) = ([0.3, -1.2, 2.0], [0.25, 0.0, 0.75]);
        let sum = |term: &dyn Fn(f64, f64) -> f64| {
            logits.iter().zip(targets).map(|(&z, y)| term(z, y)).sum::<f64>()
        };
        let total = sum(&|z, _| z.exp());
        let cross_entropy = sum(&|z, y| -y * (z.exp() / total).ln());
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        let bce = sum(&|z, y| -y * sigmoid(z).ln() - (1.0 - y) * (1.0 - sigmoid(z)).ln());
        for (loss, expected) in [(Loss::CrossEntropy, cross_entropy), (Loss::Bce, bce)] {
            let found = loss.of(&tensor(&[logits]), &tensor(&[targets])).unwrap().to_vec1::<f64>().unwrap();
            assert!((found[0] - expected).abs() < 1e-12, "{loss:?}: {found:?} {expected}");
        }
        let far = Loss::Bce.of(&tensor(&[[900.0, -900.0, 0.0]]), &tensor(&[[1.0, 0.0, 0.0]])).unwrap();
        assert_eq!(far.to_vec1::<f64>().unwrap(), [2.0_f64.ln()]);
    }

    #[test]
    fn the_gradient_of_bce_is_score_minus_target() {
        let logits = Var::from_tensor(&tensor(&[[0.3, -1.2, 0.0]])).unwrap();
        let targets = tensor(&[[1.0, 0.0, 1.0]]);
        let gradients = Loss::Bce.of(&logits, &targets).unwrap().sum_all().unwrap().backward().unwrap();
        let found = gradients.get(&logits).unwrap().to_vec2::<f64>().unwrap();
        let expected = (Loss::Bce.scores(&logits).unwrap() - &targets).unwrap().to_vec2::<f64>().unwrap();
        assert!(
            found[0].iter().zip(&expected[0]).all(|(a, b)| (a - b).abs() < 1e-12),
            "{found:?} {expected:?}"
        );
    }

    #[test]
    fn classes_that_compete_share_and_others_are_there_altogether() {
        let shares = tensor(&[[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]);
        let rows = |loss: Loss| loss.targets(&shares).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(rows(Loss::CrossEntropy), [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]);
        assert_eq!(rows(Loss::Bce), [[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]);

        let nothing = tensor(&[[-9.0; 3]]);
        let most = |loss: Loss| loss.scores(&nothing).unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!((most(Loss::CrossEntropy) - 1.0 / 3.0).abs() < 1e-12 && most(Loss::Bce) < 1e-3);
    }

    #[test]
    fn a_label_is_one_among_noughts() {
        let labels = Tensor::new(&[2u32, 0], &Device::Cpu).unwrap();
        assert_eq!(
            one_hot(&labels, 3).unwrap().to_vec2::<f32>().unwrap(),
            [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
        );
    }
}
