//! Arithmetic with one number a channel.

use super::{Element, as_u32, blocks, for_elements, launch, uninitialised};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, PushKernelArg};
use candle_core::cuda_backend::{CudaDevice, WrapErr};
use candle_core::{Result, bail};
use pg_kernels::ChannelGeometry;

/// A geometry as the kernels take it.
pub(super) struct Sizes {
    pub(super) elements: u32,
    pub(super) channels: u32,
    /// Elements of a channel that lie together.
    pub(super) inner: u32,
    /// Elements of a channel.
    pub(super) count: u32,
    /// Parts in which a channel is summed.
    pub(super) parts: u32,
}

impl Sizes {
    pub(super) fn new(g: &ChannelGeometry) -> Result<Self> {
        /// Enough to keep a large card busy.
        const BLOCKS: u32 = 1024;
        /// Elements that are worth a block.
        const PART: u32 = 2048;
        /// Sums of a part: those of the second derivative of a normalisation.
        const MOST_SUMS: usize = 5;
        let (channels, count) = (as_u32(g.channels())?, as_u32(g.count())?);
        let parts = BLOCKS.div_ceil(channels).min(count.div_ceil(PART)).max(1);
        // So that no product of theirs wraps around.
        as_u32(MOST_SUMS * channels as usize * parts as usize)?;
        Ok(Self { elements: as_u32(g.elements())?, channels, inner: as_u32(g.inner())?, count, parts })
    }

    pub(super) fn expect<T>(&self, elements: &[&CudaView<T>], numbers: &[&CudaView<T>]) -> Result<()> {
        let (elements_fit, numbers_fit) = (
            elements.iter().all(|x| x.len() == self.elements as usize),
            numbers.iter().all(|x| x.len() == self.channels as usize),
        );
        if elements_fit && numbers_fit {
            Ok(())
        } else {
            bail!("per-channel arithmetic on tensors of other shapes")
        }
    }
}

/// A kernel on elements and numbers of their channels.
#[derive(Clone, Copy)]
pub(crate) enum Map<'a, T> {
    /// x, scale.
    Scale([&'a CudaView<'a, T>; 2]),
    /// x, shift.
    Shift([&'a CudaView<'a, T>; 2]),
    /// x, scale, shift.
    Affine([&'a CudaView<'a, T>; 3]),
    /// The numbers alone.
    Fill([&'a CudaView<'a, T>; 1]),
}

impl<T: Element> Map<'_, T> {
    /// The result, of all elements.
    pub(crate) fn run(self, device: &CudaDevice, g: &ChannelGeometry) -> Result<CudaSlice<T>> {
        let (kernel, x, numbers) = match &self {
            Map::Scale([x, numbers @ ..]) => ("channel_scale", Some(*x), &numbers[..]),
            Map::Shift([x, numbers @ ..]) => ("channel_shift", Some(*x), &numbers[..]),
            Map::Affine([x, numbers @ ..]) => ("channel_affine", Some(*x), &numbers[..]),
            Map::Fill(numbers) => ("channel_fill", None, &numbers[..]),
        };
        let s = Sizes::new(g)?;
        s.expect(x.as_slice(), numbers)?;
        let mut y = uninitialised(device, g.elements())?;
        let (function, stream) = (super::function::<T>(device, kernel)?, device.cuda_stream());
        let mut arguments = stream.launch_builder(&function);
        arguments.arg(&s.elements).arg(&s.channels).arg(&s.inner);
        for &operand in x.iter().chain(numbers) {
            arguments.arg(operand);
        }
        arguments.arg(&mut y);
        // SAFETY: the kernels take the geometry, x but for the last, their numbers of the channels, and a result like x.
        unsafe { arguments.launch(for_elements(s.elements)) }.w()?;
        Ok(y)
    }
}

/// Sum over each channel of `x`, or of the products of `x` and `y`.
pub(crate) fn sum<T: Element>(
    device: &CudaDevice,
    g: &ChannelGeometry,
    x: &CudaView<T>,
    y: Option<&CudaView<T>>,
) -> Result<CudaSlice<T>> {
    let s = Sizes::new(g)?;
    let sums = sums_of_parts(device, &s, x, y)?;
    let mut totals = uninitialised(device, g.channels())?;
    let grid = for_elements(s.channels);
    launch!(device, T, "channel_total", grid, &s.channels, &s.parts, &sums, &mut totals);
    Ok(totals)
}

fn sums_of_parts<T: Element>(
    device: &CudaDevice,
    s: &Sizes,
    x: &CudaView<T>,
    y: Option<&CudaView<T>>,
) -> Result<CudaSlice<f64>> {
    s.expect(&[x, y.unwrap_or(x)], &[])?;
    let Sizes { channels, inner, count, parts, .. } = s;
    let mut sums = uninitialised::<f64>(device, (channels * parts) as usize)?;
    let grid = blocks(channels * parts);
    match y {
        None => launch!(device, T, "channel_sum", grid, count, channels, inner, parts, x, &mut sums),
        Some(y) => launch!(device, T, "channel_dot", grid, count, channels, inner, parts, x, y, &mut sums),
    }
    Ok(sums)
}

/// The `k` sums of each channel, (channels, k), of those of its parts.
pub(super) fn totals<T: Element>(
    device: &CudaDevice,
    s: &Sizes,
    k: u32,
    sums: &CudaSlice<f64>,
) -> Result<CudaSlice<f64>> {
    let n = s.channels * k;
    let mut totals = uninitialised::<f64>(device, n as usize)?;
    launch!(device, T, "channel_totals", for_elements(n), &n, &k, &s.parts, sums, &mut totals);
    Ok(totals)
}

/// `x` less the mean of each channel.
pub(crate) fn center<T: Element>(
    device: &CudaDevice,
    g: &ChannelGeometry,
    x: &CudaView<T>,
) -> Result<CudaSlice<T>> {
    let s = Sizes::new(g)?;
    let totals = totals::<T>(device, &s, 1, &sums_of_parts(device, &s, x, None)?)?;
    let mut y = uninitialised(device, g.elements())?;
    let Sizes { elements, channels, inner, count, .. } = &s;
    let grid = for_elements(*elements);
    launch!(device, T, "channel_center", grid, elements, channels, inner, count, x, &totals, &mut y);
    Ok(y)
}
