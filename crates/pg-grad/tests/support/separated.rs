//! Inputs of piecewise operations.

use crate::support::numbers;
use candle_core::{Device, Tensor};

/// Numbers of which no two are closer than 0.01 and none is closer to 0 than 0.005: a small displacement changes no
/// order and no sign, so that piecewise operations have a derivative.
pub(crate) fn separated(shape: &[usize], salt: u64) -> Tensor {
    let keys = numbers(shape.iter().product(), salt);
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
    let mut values = vec![0.0; keys.len()];
    for (rank, index) in order.into_iter().enumerate() {
        values[index] = (rank as f64 - (keys.len() / 2) as f64 + 0.5) * 0.01;
    }
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}
