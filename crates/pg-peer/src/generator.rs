//! The integer generator that both sides make weights and inputs from, so that a fixture holds none.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use pg_models::Params;

/// Element i of the numbers called `name`: SplitMix64 of (FNV-1a of the name + seed + i * golden ratio), its upper 53
/// bits as a number in [-1, 1).
pub(crate) fn values(name: &str, count: usize, seed: u64) -> Vec<f64> {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let hash =
        name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    let start = hash.wrapping_add(seed);
    (0..count as u64)
        .map(|i| {
            let z = start.wrapping_add(i.wrapping_mul(GOLDEN)).wrapping_add(GOLDEN);
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 * (2.0 / (1u64 << 53) as f64) - 1.0
        })
        .collect()
}

/// The same as a tensor.
pub(crate) fn tensor(name: &str, shape: &[usize], seed: u64, dtype: DType) -> Result<Tensor> {
    let values = values(name, shape.iter().product(), seed);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?)
}

/// Class indices.
pub(crate) fn labels(name: &str, count: usize, classes: usize, seed: u64) -> Vec<u32> {
    values(name, count, seed).into_iter().map(|u| ((u + 1.0) / 2.0 * classes as f64) as u32).collect()
}

/// Sets every parameter and buffer from its own name: weights of rank 2 and more u * sqrt(gain / fan-in), biases and
/// running means 0.1 u, norm weights and running variances 1 + 0.1 u, tokens and embeddings 0.5 u.
pub(crate) fn fill(params: &Params, seed: u64, gain: f64) -> Result<()> {
    for (name, var) in params.vars().iter().chain(params.buffers()) {
        if name.ends_with("num_batches_tracked") {
            continue;
        }
        let u = tensor(name, var.dims(), seed, DType::F64)?;
        let value = if name.ends_with("token") || name.ends_with("embed") {
            (u * 0.5)?
        } else if var.rank() >= 2 {
            let fan_in: usize = var.dims()[1..].iter().product();
            (u * (gain / fan_in as f64).sqrt())?
        } else if name.ends_with("bias") || name.ends_with("running_mean") {
            (u * 0.1)?
        } else {
            ((u * 0.1)? + 1.0)?
        };
        var.set(&value.to_dtype(var.dtype())?.to_device(var.device())?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_definition() {
        // FNV-1a of "a" is 0xAF63DC4C8601EC8C; one SplitMix64 step of it, by hand.
        let z = 0xAF63_DC4C_8601_EC8Cu64.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let expected = ((z ^ (z >> 31)) >> 11) as f64 / 2f64.powi(52) - 1.0;
        assert_eq!(values("a", 1, 0), [expected]);
        assert_eq!(values("a", 3, 5)[2], values("a", 1, 5u64.wrapping_add(0x9E37_79B9_7F4A_7C15 << 1))[0]);
        assert!(values("b", 1000, 1).iter().all(|v| (-1.0..1.0).contains(v)));
    }
}
