//! Class weights of the cross-entropy for unbalanced sets.

/// A class cannot be weighted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClassWeightError {
    /// A class has no training image, so its weight would be infinite.
    #[error("class `{class}` has no training image; add some, or remove the class")]
    EmptyClass {
        /// The first such class.
        class: String,
    },
}

/// Weight of each class, `w_c = (1 / n_c) / max_c (1 / n_c)` in (0, 1], as in ALIA (Dunlap et al., 2023). The rarest
/// class has weight 1. Use with a *weighted mean*, as torch's `CrossEntropyLoss(weight)`.
///
/// # Errors
/// If a class has no image.
pub fn inverse_frequency<S: AsRef<str>>(classes: &[(S, usize)]) -> Result<Vec<f64>, ClassWeightError> {
    if let Some((class, _)) = classes.iter().find(|(_, count)| *count == 0) {
        return Err(ClassWeightError::EmptyClass { class: class.as_ref().to_owned() });
    }
    let rarest = classes.iter().map(|(_, count)| *count).min().unwrap_or_default();
    Ok(classes.iter().map(|(_, count)| rarest as f64 / *count as f64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class counts of the training subset of iWildCam in the ALIA repository.
    #[test]
    fn weights_of_iwildcam_mini() {
        let counts = [
            ("background", 2210, 0.1656),
            ("cattle", 801, 0.4569),
            ("elephants", 366, 1.0),
            ("impalas", 981, 0.3731),
            ("zebras", 720, 0.5083),
            ("giraffes", 460, 0.7957),
            ("dik-diks", 514, 0.7121),
        ];
        let weights = inverse_frequency(&counts.map(|(class, count, _)| (class, count))).unwrap();
        for ((class, _, expected), weight) in counts.iter().zip(weights) {
            assert!((weight - expected).abs() < 5e-5, "{class}: {weight} != {expected}");
        }
    }

    #[test]
    fn a_class_without_images_is_named() {
        let error = inverse_frequency(&[("landbird", 3), ("waterbird", 0)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "class `waterbird` has no training image; add some, or remove the class"
        );
        assert_eq!(inverse_frequency::<&str>(&[]).unwrap(), Vec::<f64>::new());
    }
}
