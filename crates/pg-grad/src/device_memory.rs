//! The memory of a CUDA device: what happens to freed blocks, and how much was in use at most.

use crate::error::Result;
use candle_core::Device;

/// Has the driver keep the blocks that tensors free on `device` for what comes next. By default it hands them back at each
/// point at which the host waits for the device, twice a guided step, and maps them anew. On other devices nothing
/// happens. Memory is given back when the process ends.
///
/// # Errors
/// If the driver refuses.
pub fn keep_freed_device_memory(device: &Device) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let Some(device) = pool::of_cards_with_pools(device) {
        pool::keep_all(device)?;
    }
    let _ = device;
    Ok(())
}

/// The most bytes of `device` that this process has used at one time, by tensors and what operations work in; `None` for
/// other devices than CUDA's, and for cards without memory pools.
///
/// # Errors
/// If the driver does not tell.
pub fn peak_device_memory(device: &Device) -> Result<Option<u64>> {
    #[cfg(feature = "cuda")]
    if let Some(device) = pool::of_cards_with_pools(device) {
        return Ok(Some(pool::peak(device)?));
    }
    let _ = device;
    Ok(None)
}

#[cfg(feature = "cuda")]
#[allow(unsafe_code, reason = "cudarc has no safe door to the attributes of a memory pool")]
mod pool {
    use candle_core::cuda_backend::cudarc::driver::result::{device, mem_pool};
    use candle_core::cuda_backend::cudarc::driver::sys::{CUmemPool_attribute, CUmemoryPool};
    use candle_core::cuda_backend::{CudaDevice, WrapErr};
    use candle_core::{Device, Result};

    /// Some virtual cards have no pools: there nothing is kept.
    pub(super) fn of_cards_with_pools(device: &Device) -> Option<&CudaDevice> {
        match device {
            Device::Cuda(device) if device.cuda_stream().context().has_async_alloc() => Some(device),
            _ => None,
        }
    }

    fn of(cuda: &CudaDevice) -> Result<CUmemoryPool> {
        // SAFETY: the device is that of a live context.
        unsafe { device::get_default_mem_pool(cuda.cuda_stream().context().cu_device()) }.w()
    }

    pub(super) fn keep_all(device: &CudaDevice) -> Result<()> {
        let mut threshold = u64::MAX;
        let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // SAFETY: the attribute is a 64-bit number of bytes.
        unsafe { mem_pool::set_attribute(of(device)?, attribute, (&raw mut threshold).cast()) }.w()
    }

    pub(super) fn peak(device: &CudaDevice) -> Result<u64> {
        let mut bytes = 0u64;
        let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
        // SAFETY: as above.
        unsafe { mem_pool::get_attribute(of(device)?, attribute, (&raw mut bytes).cast()) }.w()?;
        Ok(bytes)
    }
}
