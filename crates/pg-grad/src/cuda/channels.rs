//! Arithmetic with one number a channel.

use super::{Element, blocks, count, for_elements, launch, uninitialised};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, PushKernelArg};
use candle_core::cuda_backend::{CudaDevice, WrapErr};
use candle_core::{Result, bail};
use pg_kernels::ChannelGeometry;

/// `kernel` on all elements `x`, or, with no `x`, on none, and numbers of the channels: as many as it takes.
pub(crate) fn map<T: Element>(
    device: &CudaDevice,
    kernel: &str,
    g: &ChannelGeometry,
    x: Option<&CudaView<T>>,
    numbers: &[&CudaView<T>],
) -> Result<CudaSlice<T>> {
    if x.is_some_and(|x| x.len() != g.elements()) || numbers.iter().any(|n| n.len() != g.channels()) {
        bail!("{kernel} wants tensors of {g:?}");
    }
    let (n, channels, inner) = (count(g.elements())?, count(g.channels())?, count(g.inner())?);
    let mut y = uninitialised(device, g.elements())?;
    let (function, stream) = (super::function::<T>(device, kernel)?, device.cuda_stream());
    let mut arguments = stream.launch_builder(&function);
    arguments.arg(&n).arg(&channels).arg(&inner);
    for &operand in x.iter().chain(numbers) {
        arguments.arg(operand);
    }
    arguments.arg(&mut y);
    // SAFETY: the kernels of this kind take the geometry, x, numbers of the channels, and a result like x.
    unsafe { arguments.launch(for_elements(n)) }.w()?;
    Ok(y)
}

/// Sum over each channel of `x`, or of the products of `x` and `y`.
pub(crate) fn sum<T: Element>(
    device: &CudaDevice,
    g: &ChannelGeometry,
    x: &CudaView<T>,
    y: Option<&CudaView<T>>,
) -> Result<CudaSlice<T>> {
    if x.len() != g.elements() || y.is_some_and(|y| y.len() != g.elements()) {
        bail!("a sum over channels wants tensors of {g:?}");
    }
    let (n, channels, inner) = (count(g.count())?, count(g.channels())?, count(g.inner())?);
    count(g.elements())?;
    let mut sums = uninitialised(device, g.channels())?;
    match y {
        None => launch!(device, T, "channel_sum", blocks(channels), &n, &channels, &inner, x, &mut sums),
        Some(y) => launch!(device, T, "channel_dot", blocks(channels), &n, &channels, &inner, x, y, &mut sums),
    }
    Ok(sums)
}

/// `x` less the mean of each channel.
pub(crate) fn center<T: Element>(
    device: &CudaDevice,
    g: &ChannelGeometry,
    x: &CudaView<T>,
) -> Result<CudaSlice<T>> {
    if x.len() != g.elements() {
        bail!("centring wants a tensor of {g:?}");
    }
    let (n, channels, inner) = (count(g.count())?, count(g.channels())?, count(g.inner())?);
    count(g.elements())?;
    let mut y = uninitialised(device, g.elements())?;
    launch!(device, T, "channel_center", blocks(channels), &n, &channels, &inner, x, &mut y);
    Ok(y)
}
