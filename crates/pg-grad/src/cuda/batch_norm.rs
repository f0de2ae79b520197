//! Batch normalisation by the moments of the batch, and its two derivatives: sums over each channel, then its elements.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::channels::{center, sum};
    use crate::cuda::with_views;
    use candle_core::{Device, Tensor, WithDType};
    use pg_kernels::{Float, batch_norm as kernels, channels};

    fn numbers<T: Float>(len: usize, salt: usize) -> Vec<T> {
        (0..len).map(|i| T::from_f64(((i * 97 + salt * 31) % 509) as f64 / 254.5 - 1.0)).collect()
    }

    fn assert_close<T: Float>(name: &str, actual: &[T], expected: &[T], tolerance: f64) {
        assert_eq!(actual.len(), expected.len(), "{name}");
        for (&a, &e) in actual.iter().zip(expected) {
            let (a, e): (f64, f64) = (a.into(), e.into());
            assert!((a - e).abs() < tolerance * e.abs().max(1.0), "{name}: {a} != {e}");
        }
    }

    /// Everything that is summed in parts, by pg-kernels and, twice, on the card.
    fn compare<T: Float + WithDType + Element>(device: &Device, tolerance: f64) {
        let g = ChannelGeometry::new(&[3, 5, 1001]).unwrap();
        assert!(Sizes::new(&g).unwrap().parts > 1);
        let [x, dy, v] = [1, 2, 3].map(|salt| numbers::<T>(g.elements(), salt));
        let (w, b) = (numbers::<T>(5, 4), numbers::<T>(5, 5));
        let moments_of = kernels::Moments::new(&g, &x, 1e-5);
        let (summed, centred) = (channels::sum(&g, &x), channels::center(&g, &x));
        let y = kernels::forward_relu(&g, &moments_of, &x, &w, &b, Some(&v));
        let [dx, dw, db] = kernels::input_gradient(&g, &moments_of, [&x, &w, &dy], None);
        let [by_x, by_w, by_dy] = kernels::second(&g, &moments_of, [&x, &w, &dy, &v], [None; 2]);
        let expected = [summed, centred, y, dx, dw, db, by_x, by_w, by_dy];

        let on = |values: &[T]| Tensor::from_slice(values, values.len(), device).unwrap();
        let tensors = [on(&x), on(&w), on(&b), on(&dy), on(&v)];
        let run = || {
            with_views::<T, _, 5>(tensors.each_ref(), |device, [x, w, b, dy, v]| {
                let (m, ..) = moments(device, &g, x, 1e-5)?;
                let [dx, dw, db] = input_gradient(device, &g, &m, [x, w, dy])?;
                let [by_x, by_w, by_dy] = second(device, &g, &m, [x, w, dy, v])?;
                let y = forward(device, &g, &m, [x, w, b], Some(v), true)?;
                let (summed, centred) = (sum(device, &g, x, None)?, center(device, &g, x)?);
                [summed, centred, y, dx, dw, db, by_x, by_w, by_dy]
                    .iter()
                    .map(|slice| device.clone_dtoh(slice))
                    .collect::<Result<Vec<Vec<T>>>>()
            })
            .unwrap()
        };
        let actual = run();
        let names = ["sum", "center", "y", "dx", "dw", "db", "by x", "by weight", "by dy"];
        for ((name, actual), expected) in names.iter().zip(&actual).zip(&expected) {
            assert_close(name, actual, expected, tolerance);
        }
        assert!(run() == actual, "the same bits again");
    }

    #[test]
    fn sums_in_parts_give_what_the_cpu_gives() {
        if candle_core::utils::cuda_is_available() {
            let device = Device::new_cuda(0).unwrap();
            compare::<f64>(&device, 1e-10);
            compare::<f32>(&device, 1e-4);
        }
    }
}
