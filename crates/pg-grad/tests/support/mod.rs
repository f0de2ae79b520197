//! Deterministic inputs for the tests of this crate.

use candle_core::{Device, Tensor};

/// Deterministic numbers in [-1, 1).
pub(crate) fn numbers(count: usize, salt: u64) -> Vec<f64> {
    let mix = |i: u64| {
        let z = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 30)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) >> 11
    };
    (0..count as u64).map(|i| mix(i) as f64 / (1u64 << 52) as f64 - 1.0).collect()
}

pub(crate) fn random(shape: &[usize], salt: u64) -> Tensor {
    Tensor::from_vec(numbers(shape.iter().product(), salt), shape, &Device::Cpu).unwrap()
}
