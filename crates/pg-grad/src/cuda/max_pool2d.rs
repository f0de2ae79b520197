//! Max-pooling: the winners, and the way to and from them.

use super::{Axis, Element, as_u32, for_elements, launch, uninitialised};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, PushKernelArg};
use candle_core::cuda_backend::{CudaDevice, WrapErr};
use candle_core::{Result, bail};
use pg_kernels::Pool2dGeometry;

/// The position within its plane of each window's largest element.
pub(crate) fn winners<T: Element>(
    device: &CudaDevice,
    g: &Pool2dGeometry,
    x: &CudaView<T>,
) -> Result<CudaSlice<u32>> {
    let (inputs, outputs) = lengths(g);
    if x.len() != inputs {
        bail!("max_pool2d wants a tensor of {g:?}");
    }
    as_u32(inputs)?;
    let (n, (vertical, horizontal)) = (as_u32(outputs)?, Axis::both(g.axes())?);
    // SAFETY: the kernel writes every element.
    let mut winners = unsafe { device.alloc::<u32>(outputs)? };
    let grid = for_elements(n);
    launch!(device, T, "max_pool2d_winners", grid, &n, &vertical, &horizontal, x, &mut winners);
    Ok(winners)
}

/// The winners' values.
pub(crate) fn gather<T: Element>(
    device: &CudaDevice,
    g: &Pool2dGeometry,
    x: &CudaView<T>,
    winners: &CudaView<u32>,
) -> Result<CudaSlice<T>> {
    let (inputs, outputs) = lengths(g);
    pick(device, "gather", g, (x, inputs), (winners, outputs), outputs)
}

/// What was gathered, put back: to each element the sum of what it won.
pub(crate) fn scatter_add<T: Element>(
    device: &CudaDevice,
    g: &Pool2dGeometry,
    y: &CudaView<T>,
    winners: &CudaView<u32>,
) -> Result<CudaSlice<T>> {
    let (inputs, outputs) = lengths(g);
    pick(device, "scatter_add", g, (y, outputs), (winners, outputs), inputs)
}

fn pick<T: Element>(
    device: &CudaDevice,
    kernel: &str,
    g: &Pool2dGeometry,
    (values, value_count): (&CudaView<T>, usize),
    (winners, winner_count): (&CudaView<u32>, usize),
    len: usize,
) -> Result<CudaSlice<T>> {
    if values.len() != value_count || winners.len() != winner_count {
        bail!("max_pool2d wants tensors of {g:?}");
    }
    as_u32(value_count)?;
    let (n, (vertical, horizontal)) = (as_u32(len)?, Axis::both(g.axes())?);
    let mut result = uninitialised(device, len)?;
    launch!(device, T, kernel, for_elements(n), &n, &vertical, &horizontal, values, winners, &mut result);
    Ok(result)
}

/// Number of elements of the input and of the output.
fn lengths(g: &Pool2dGeometry) -> (usize, usize) {
    let (y, x) = g.axes();
    (g.planes() * y.input * x.input, g.planes() * y.output * x.output)
}
