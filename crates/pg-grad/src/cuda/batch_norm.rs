//! Batch normalisation by the moments of the batch, and its two derivatives, in two passes over memory each.

use super::channels::{Sizes, totals};
use super::{Element, blocks, for_elements, launch, uninitialised};
use candle_core::Result;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, PushKernelArg};
use candle_core::cuda_backend::{CudaDevice, WrapErr};
use pg_kernels::ChannelGeometry;

/// Mean and inverse deviation of each channel, (channels, 2).
pub(crate) struct Moments(CudaSlice<f64>);

/// The moments of `x`, and its mean and unbiased variance, each (channels,).
pub(crate) fn moments<T: Element>(
    device: &CudaDevice,
    g: &ChannelGeometry,
    x: &CudaView<T>,
    eps: f64,
) -> Result<(Moments, CudaSlice<T>, CudaSlice<T>)> {
    let s = Sizes::new(g)?;
    s.expect(&[x], &[])?;
    let Sizes { channels, inner, count, parts, .. } = &s;
    let mut sums = uninitialised::<f64>(device, (2 * channels * parts) as usize)?;
    let grid = blocks(channels * parts);
    launch!(device, T, "moments_of_parts", grid, count, channels, inner, parts, x, &mut sums);
    let mut moments = uninitialised::<f64>(device, 2 * g.channels())?;
    let (mut mean, mut variance) =
        (uninitialised(device, g.channels())?, uninitialised(device, g.channels())?);
    let grid = for_elements(*channels);
    launch!(
        device,
        T,
        "batch_moments",
        grid,
        channels,
        count,
        parts,
        &eps,
        &sums,
        &mut moments,
        &mut mean,
        &mut variance
    );
    Ok((Moments(moments), mean, variance))
}

/// w z + b, plus the shortcut if there is one, and rectified if it `rectifies`.
pub(crate) fn forward<T: Element>(
    device: &CudaDevice,
    g: &ChannelGeometry,
    moments: &Moments,
    [x, weight, bias]: [&CudaView<T>; 3],
    shortcut: Option<&CudaView<T>>,
    rectifies: bool,
) -> Result<CudaSlice<T>> {
    let s = Sizes::new(g)?;
    let (adds, rectifies) = (u32::from(shortcut.is_some()), u32::from(rectifies));
    let shortcut = shortcut.unwrap_or(x);
    s.expect(&[x, shortcut], &[weight, bias])?;
    let mut y = uninitialised(device, g.elements())?;
    let Sizes { elements, channels, inner, .. } = &s;
    let grid = for_elements(*elements);
    launch!(
        device,
        T,
        "batch_norm",
        grid,
        elements,
        channels,
        inner,
        &adds,
        &rectifies,
        &moments.0,
        x,
        weight,
        bias,
        shortcut,
        &mut y
    );
    Ok(y)
}

/// The gradients by x, weight and bias of that by y.
pub(crate) fn input_gradient<T: Element>(
    device: &CudaDevice,
    g: &ChannelGeometry,
    moments: &Moments,
    [x, weight, dy]: [&CudaView<T>; 3],
) -> Result<[CudaSlice<T>; 3]> {
    let s = Sizes::new(g)?;
    s.expect(&[x, dy], &[weight])?;
    let Sizes { elements, channels, inner, count, parts } = &s;
    let mut sums = uninitialised::<f64>(device, (2 * channels * parts) as usize)?;
    let grid = blocks(channels * parts);
    launch!(device, T, "batch_norm_sums", grid, count, channels, inner, parts, &moments.0, x, dy, &mut sums);
    let totals = totals::<T>(device, &s, 2, &sums)?;
    let mut dx = uninitialised(device, g.elements())?;
    let grid = for_elements(*elements);
    launch!(
        device,
        T,
        "batch_norm_input_gradient",
        grid,
        elements,
        channels,
        inner,
        count,
        &moments.0,
        &totals,
        x,
        weight,
        dy,
        &mut dx
    );
    let (mut dw, mut db) = (uninitialised(device, g.channels())?, uninitialised(device, g.channels())?);
    let grid = for_elements(*channels);
    launch!(device, T, "batch_norm_weight_gradients", grid, channels, &moments.0, &totals, &mut dw, &mut db);
    Ok([dx, dw, db])
}

/// Of the sum of `v` times the gradient by x, the gradients by x, weight and `dy`.
pub(crate) fn second<T: Element>(
    device: &CudaDevice,
    g: &ChannelGeometry,
    moments: &Moments,
    [x, weight, dy, v]: [&CudaView<T>; 4],
) -> Result<[CudaSlice<T>; 3]> {
    let s = Sizes::new(g)?;
    s.expect(&[x, dy, v], &[weight])?;
    let Sizes { elements, channels, inner, count, parts } = &s;
    let mut sums = uninitialised::<f64>(device, (5 * channels * parts) as usize)?;
    let grid = blocks(channels * parts);
    launch!(
        device,
        T,
        "batch_norm_second_sums",
        grid,
        count,
        channels,
        inner,
        parts,
        &moments.0,
        x,
        dy,
        v,
        &mut sums
    );
    let totals = totals::<T>(device, &s, 5, &sums)?;
    let (mut by_x, mut by_dy) = (uninitialised(device, g.elements())?, uninitialised(device, g.elements())?);
    let grid = for_elements(*elements);
    launch!(
        device,
        T,
        "batch_norm_second",
        grid,
        elements,
        channels,
        inner,
        count,
        &moments.0,
        &totals,
        x,
        weight,
        dy,
        v,
        &mut by_x,
        &mut by_dy
    );
    let mut by_weight = uninitialised(device, g.channels())?;
    let grid = for_elements(*channels);
    launch!(
        device,
        T,
        "batch_norm_second_weight",
        grid,
        channels,
        count,
        &moments.0,
        &totals,
        &mut by_weight
    );
    Ok([by_x, by_weight, by_dy])
}
