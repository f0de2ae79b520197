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
    if let Device::Cuda(device) = device {
        pool::keep_all(device)?;
    }
    let _ = device;
    Ok(())
}

/// The most bytes that tensors on `device` took at one time so far; `None` for other devices than CUDA's.
///
/// # Errors
/// If the driver does not tell.
pub fn peak_device_memory(device: &Device) -> Result<Option<u64>> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        return Ok(Some(pool::peak(device)?));
    }
    let _ = device;
    Ok(None)
}

#[cfg(feature = "cuda")]
#[allow(unsafe_code, reason = "cudarc has no safe door to the attributes of a memory pool")]
mod pool {
    use candle_core::Result;
    use candle_core::cuda_backend::cudarc::driver::result::{device, mem_pool};
    use candle_core::cuda_backend::cudarc::driver::sys::{CUmemPool_attribute, CUmemoryPool};
    use candle_core::cuda_backend::{CudaDevice, WrapErr};

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
