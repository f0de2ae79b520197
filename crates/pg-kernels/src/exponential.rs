//! e^x, where x is not above 0: what soft-max and the Gaussian density need.

use crate::matmul::Float;

/// A type with an exponential function that the compiler makes vectors of.
pub trait Exponential: Float + std::ops::Sub<Output = Self> {
    /// e^x for x <= 0, in f64 to the last digits, in f32 to 3e-7 relative; in f32 0 where that is below the smallest normal
    /// number.
    fn exp_of_negative(self) -> Self;
}

impl Exponential for f64 {
    fn exp_of_negative(self) -> Self {
        self.exp()
    }
}

impl Exponential for f32 {
    #[inline(always)]
    fn exp_of_negative(self) -> Self {
        // Rounds to the nearest integer, which then stands in the low bits.
        const SHIFT: f32 = 12_582_912.0;
        const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
        let shifted = self * std::f32::consts::LOG2_E + SHIFT;
        let integer = shifted - SHIFT;
        let rest = self - integer * LN_2[0] - integer * LN_2[1];
        let series = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
        let value = series.iter().fold(0.0, |sum, &a| sum * rest + a);
        let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
        if self < -87.0 { 0.0 } else { value * power }
    }
}

#[cfg(test)]
mod tests {
    use super::Exponential;

    #[test]
    fn f32_is_accurate_down_to_its_smallest_normal_number() {
        for x in (0..=8700).map(|i| -0.01 * i as f32) {
            let (found, expected) = (f64::from(x.exp_of_negative()), f64::from(x).exp());
            assert!((found - expected).abs() < 3e-7 * expected, "{x}: {found} {expected}");
        }
        assert_eq!((0f32.exp_of_negative(), (-88f32).exp_of_negative()), (1.0, 0.0));
        assert_eq!(f32::NEG_INFINITY.exp_of_negative(), 0.0);
        assert!(f32::NAN.exp_of_negative().is_nan());
    }
}
