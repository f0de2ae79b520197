//! Where the tests of operations run.

use candle_core::Device;

/// The CPU, and the first CUDA device where there is one.
pub(crate) fn devices() -> Vec<Device> {
    let mut devices = vec![Device::Cpu];
    if candle_core::utils::cuda_is_available() {
        devices.push(Device::new_cuda(0).expect("CUDA is available"));
    }
    devices
}
