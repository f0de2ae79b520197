//! Otsu's threshold, bin for bin as scikit-image's `threshold_otsu`.

use crate::ProvenanceError;

/// scikit-image's number of bins for floating-point images.
pub const OTSU_BINS: usize = 256;

/// A threshold and how far it is to be trusted. Otsu's method always splits, also what has nothing to split:
/// look at `separability` and `modified_fraction` before believing a mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Otsu {
    /// In the unit of the values; a value counts as modified if it is strictly greater.
    pub threshold: f64,
    /// Between-class over total variance of the histogram, in [0, 1]; 0 for constant values.
    pub separability: f64,
    /// Share of the values that are strictly greater than the threshold, in [0, 1].
    pub modified_fraction: f64,
}

/// The threshold of grey levels: one bin for each level between the smallest and the largest. Constant values
/// are their own threshold, so that nothing exceeds it (OpenCV returns 0 there, and everything does).
///
/// # Errors
/// [`ProvenanceError::NoValues`].
pub fn otsu_u8(values: &[u8]) -> Result<Otsu, ProvenanceError> {
    let (Some(&low), Some(&high)) = (values.iter().min(), values.iter().max()) else {
        return Err(ProvenanceError::NoValues);
    };
    let mut counts = vec![0; usize::from(high - low) + 1];
    for &value in values {
        counts[usize::from(value - low)] += 1;
    }
    let split = best_split(&counts);
    let threshold = f64::from(low) + split.bin as f64;
    let modified = values.iter().filter(|&&value| f64::from(value) > threshold).count();
    Ok(Otsu::new(threshold, split, modified, values.len()))
}

/// The threshold of real values: `bins` equal bins between the smallest and the largest value
/// ([`OTSU_BINS`] by custom), and the centre of the winning bin as threshold. Constant values are their own
/// threshold.
///
/// # Errors
/// [`ProvenanceError::NoValues`], [`ProvenanceError::NotFinite`] and, for fewer than two bins,
/// [`ProvenanceError::Bins`].
pub fn otsu_f32(values: &[f32], bins: usize) -> Result<Otsu, ProvenanceError> {
    if bins < 2 {
        return Err(ProvenanceError::Bins { bins });
    }
    if values.is_empty() {
        return Err(ProvenanceError::NoValues);
    }
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(ProvenanceError::NotFinite { index, value: values[index] });
    }
    let low = values.iter().copied().fold(f32::INFINITY, f32::min).into();
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max).into();
    if low == high {
        return Ok(Otsu { threshold: low, separability: 0.0, modified_fraction: 0.0 });
    }
    let bin_width = (high - low) / bins as f64;
    let mut counts = vec![0; bins];
    for &value in values {
        // The last bin is closed: the largest value belongs to it.
        let bin = ((f64::from(value) - low) / (high - low) * bins as f64) as usize;
        counts[bin.min(bins - 1)] += 1;
    }
    let split = best_split(&counts);
    let threshold = low + (split.bin as f64 + 0.5) * bin_width;
    let modified = values.iter().filter(|&&value| f64::from(value) > threshold).count();
    Ok(Otsu::new(threshold, split, modified, values.len()))
}

impl Otsu {
    fn new(threshold: f64, split: Split, modified: usize, total: usize) -> Self {
        let modified_fraction = modified as f64 / total as f64;
        Self { threshold, separability: split.separability, modified_fraction }
    }
}

/// A histogram cut in two after `bin`.
struct Split {
    bin: usize,
    separability: f64,
}

/// The first cut of the largest between-class variance `w (T - w) (m1 - m2)^2 = (s T - w S)^2 / (w (T - w))`,
/// where w of all T values lie up to the cut and their bin indices sum to s of S. Bins are as good as values
/// here: shifting and scaling the values changes neither the best cut nor the separability.
fn best_split(counts: &[u64]) -> Split {
    let moment = |power: u32| -> u128 {
        counts.iter().enumerate().map(|(bin, &count)| u128::from(count) * (bin as u128).pow(power)).sum()
    };
    let [total, sum, sum_of_squares] = [moment(0), moment(1), moment(2)];
    let scatter = (total * sum_of_squares - sum * sum) as f64;

    let (mut weight, mut partial) = (0, 0);
    let mut best = Split { bin: 0, separability: 0.0 };
    for (bin, &count) in counts.iter().enumerate() {
        weight += u128::from(count);
        partial += u128::from(count) * bin as u128;
        if weight == 0 {
            continue;
        }
        if weight == total {
            break;
        }
        // The values below the cut have the smaller mean: s T <= w S.
        let gap = (weight * sum - partial * total) as f64;
        let separability = gap * gap / (weight * (total - weight)) as f64 / scatter;
        if separability > best.separability {
            best = Split { bin, separability };
        }
    }
    best.separability = best.separability.min(1.0);
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn repeat(runs: &[(u8, usize)]) -> Vec<u8> {
        runs.iter().flat_map(|&(value, times)| std::iter::repeat_n(value, times)).collect()
    }

    /// Thresholds that scikit-image 0.26.0 returns for the levels as integers and as floats of the same
    /// values.
    #[test]
    fn agrees_with_scikit_image() {
        let test_image = [0, 0, 1, 3, 5, 0, 1, 4, 3, 4, 1, 2, 5, 4, 1, 2, 4, 5, 2, 1, 4, 5, 1, 0, 0];
        let quadratic: Vec<u8> = (0..4096u32).map(|k| (k * k % 251 * (7919 % 251) % 251) as u8).collect();
        let hashed: Vec<u8> = (0..65536u32)
            .map(|k| (k.wrapping_mul(2_654_435_761) >> 24).pow(2) / 255)
            .map(|value| value as u8)
            .collect();
        let cases = [
            (test_image.to_vec(), 2.0, 2.001953125),
            (repeat(&[(10, 3), (200, 1)]), 10.0, 10.37109375),
            (repeat(&[(0, 50), (255, 50)]), 0.0, 0.498046875),
            (vec![7, 7, 9], 7.0, 7.00390625),
            (vec![1, 2], 1.0, 1.001953125),
            (repeat(&[(20, 1000), (90, 777)]), 20.0, 20.13671875),
            ((0..=255).collect(), 127.0, 127.001953125),
            (repeat(&[(10, 30), (100, 30), (200, 30)]), 100.0, 100.17578125),
            (repeat(&[(0, 60), (40, 30), (120, 10)]), 40.0, 40.078125),
            (vec![5; 9], 5.0, 5.0),
            (vec![0; 9], 0.0, 0.0),
            (quadratic, 120.0, 119.62890625),
            (hashed, 104.0, 104.091796875),
        ];
        for (values, integer, float) in cases {
            assert_eq!(otsu_u8(&values).unwrap().threshold, integer, "{:?}", &values[..values.len().min(9)]);
            let floats: Vec<f32> = values.iter().map(|&value| f32::from(value)).collect();
            assert_eq!(otsu_f32(&floats, OTSU_BINS).unwrap().threshold, float);
        }
    }

    #[test]
    fn the_strict_inequality_separates_two_levels() {
        // The threshold is the lower level itself: `>=` would count every pixel as modified.
        let otsu = otsu_u8(&repeat(&[(10, 3), (200, 1)])).unwrap();
        assert_eq!((otsu.separability, otsu.modified_fraction), (1.0, 0.25));
        let otsu = otsu_f32(&[10.0, 10.0, 10.0, 200.0], OTSU_BINS).unwrap();
        assert_eq!((otsu.separability, otsu.modified_fraction), (1.0, 0.25));
    }

    #[test]
    fn constant_values_are_unmodified() {
        let nothing = |threshold| Otsu { threshold, separability: 0.0, modified_fraction: 0.0 };
        assert_eq!(otsu_u8(&[0; 4]).unwrap(), nothing(0.0)); // an identical pair
        assert_eq!(otsu_u8(&[5; 4]).unwrap(), nothing(5.0));
        assert_eq!(otsu_f32(&[2.5; 4], OTSU_BINS).unwrap(), nothing(2.5));
    }

    #[test]
    fn separability_of_a_ramp_is_three_quarters() {
        // Uniform on [0, 1]: between-class variance 1/16 of a total of 1/12.
        let ramp: Vec<u8> = (0..=255).collect();
        assert!((otsu_u8(&ramp).unwrap().separability - 0.75).abs() < 1e-4);
    }

    #[test]
    fn values_that_have_no_threshold_are_refused() {
        assert_eq!(otsu_u8(&[]), Err(ProvenanceError::NoValues));
        assert_eq!(otsu_f32(&[], OTSU_BINS), Err(ProvenanceError::NoValues));
        assert_eq!(otsu_f32(&[1.0, 2.0], 1), Err(ProvenanceError::Bins { bins: 1 }));
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = otsu_f32(&[0.0, value], OTSU_BINS).unwrap_err();
            assert!(matches!(error, ProvenanceError::NotFinite { index: 1, .. }));
        }
    }

    /// Between-class variance of the values themselves, by its definition.
    fn between_class_variance(values: &[u8], threshold: u8) -> f64 {
        let mean = |class: &[f64]| class.iter().sum::<f64>() / class.len() as f64;
        let (below, above): (Vec<f64>, Vec<f64>) =
            values.iter().map(|&value| f64::from(value)).partition(|&value| value <= f64::from(threshold));
        if below.is_empty() || above.is_empty() {
            return 0.0;
        }
        let n = values.len() as f64;
        below.len() as f64 / n * (above.len() as f64 / n) * (mean(&below) - mean(&above)).powi(2)
    }

    proptest! {
        #[test]
        fn no_other_threshold_separates_better(values in prop::collection::vec(any::<u8>(), 1..60)) {
            let otsu = otsu_u8(&values).unwrap();
            let chosen = between_class_variance(&values, otsu.threshold as u8);
            for other in 0..=255 {
                let variance = between_class_variance(&values, other);
                prop_assert!(variance <= chosen + 1e-9);
                // The first of equals wins, counting from the smallest value.
                let earlier = f64::from(other) < otsu.threshold && other >= *values.iter().min().unwrap();
                prop_assert!(!earlier || variance < chosen + 1e-9 && (chosen == 0.0 || variance != chosen));
            }
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
            let total = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / values.len() as f64;
            let eta = if total == 0.0 { 0.0 } else { chosen / total };
            prop_assert!((otsu.separability - eta).abs() < 1e-9);
        }

        #[test]
        fn float_thresholds_follow_shift_and_scale(
            values in prop::collection::vec(0u8..64, 2..40), shift in -4i8..4, power in -3i32..4,
        ) {
            let scale = 2f32.powi(power); // powers of two and small integers: no rounding
            let plain: Vec<f32> = values.iter().map(|&v| f32::from(v)).collect();
            let moved: Vec<f32> = plain.iter().map(|v| (v + f32::from(shift)) * scale).collect();
            let (plain, moved) = (otsu_f32(&plain, 64).unwrap(), otsu_f32(&moved, 64).unwrap());
            let expected = (plain.threshold + f64::from(shift)) * f64::from(scale);
            prop_assert!((moved.threshold - expected).abs() < 1e-9);
            prop_assert_eq!(moved.modified_fraction, plain.modified_fraction);
        }
    }
}
