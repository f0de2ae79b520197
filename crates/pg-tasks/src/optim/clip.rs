//! The size of all gradients together: clipping, and finding what is not finite.

use candle_core::{DType, Device, Tensor};

use super::Gradients;

impl Gradients {
    /// The Euclidean norm of all gradients as one vector.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn global_norm(&self) -> candle_core::Result<f64> {
        Ok(self.per_tensor(|grad| grad.sqr()?.sum_all())?.iter().sum::<f64>().sqrt())
    }

    /// Scales all gradients by `max / (norm + 1e-6)` where their global norm exceeds `max`, as
    /// `torch.nn.utils.clip_grad_norm_`. Returns the norm before clipping. Gradients that are not finite stay
    /// as they are: ask [`first_non_finite`](Self::first_non_finite).
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn clip_norm(&mut self, max: f64) -> candle_core::Result<f64> {
        let norm = self.global_norm()?;
        let factor = max / (norm + 1e-6);
        if norm.is_finite() && factor < 1.0 {
            self.scale(factor)?;
        }
        Ok(norm)
    }

    /// The first parameter, by name, whose gradient holds an infinity or a NaN.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn first_non_finite(&self) -> candle_core::Result<Option<&str>> {
        // 0 * x is 0 exactly where x is finite, and NaN elsewhere.
        let zeros = self.per_tensor(|grad| (grad * 0.0)?.sum_all())?;
        Ok(self.0.keys().zip(zeros).find(|(_, zero)| zero.is_nan()).map(|(name, _)| name.as_str()))
    }

    /// A scalar of each gradient, in order of name, with one transfer from the device for all of them.
    fn per_tensor(
        &self,
        scalar: impl Fn(&Tensor) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Vec<f64>> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let scalars: Vec<_> = self.0.values().map(scalar).collect::<Result<_, _>>()?;
        Tensor::stack(&scalars, 0)?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn grads(entries: &[(&str, &[f32])]) -> Gradients {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        Gradients(entries.iter().map(|(name, values)| ((*name).to_owned(), tensor(values))).collect())
    }

    #[test]
    fn the_norm_is_over_all_parameters_and_clipping_keeps_the_direction() {
        let mut grads = grads(&[("a", &[3.0, 0.0]), ("b", &[0.0, -4.0, 12.0])]);
        assert_eq!(grads.global_norm().unwrap(), 13.0);
        assert_eq!(grads.clip_norm(20.0).unwrap(), 13.0);
        assert_eq!(grads.global_norm().unwrap(), 13.0);
        assert_eq!(grads.clip_norm(6.5).unwrap(), 13.0);
        assert!((grads.global_norm().unwrap() - 6.5).abs() < 1e-5);
        let b = grads.get("b").unwrap().to_vec1::<f32>().unwrap();
        assert!((b[1] + 2.0).abs() < 1e-5 && (b[2] - 6.0).abs() < 1e-5, "{b:?}");
    }

    #[test]
    fn what_is_not_finite_is_named_and_not_clipped() {
        let all_finite = [("a", &[f32::MAX, f32::MAX, -0.0][..]), ("b", &[f32::MIN_POSITIVE])];
        assert_eq!(grads(&all_finite).first_non_finite().unwrap(), None);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut grads = grads(&[("a", &[1.0]), ("b", &[1.0, bad]), ("c", &[bad])]);
            assert_eq!(grads.first_non_finite().unwrap(), Some("b"));
            assert!(!grads.clip_norm(1.0).unwrap().is_finite());
            assert_eq!(grads.get("a").unwrap().to_vec1::<f32>().unwrap(), [1.0]);
        }
        assert_eq!(Gradients(BTreeMap::new()).global_norm().unwrap(), 0.0);
    }
}
