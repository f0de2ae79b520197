//! Resizing of feature and score maps: half-pixel centres, no anti-aliasing, border pixels repeated, as
//! `torch.nn.functional.interpolate(align_corners=False)` and OpenCV's `INTER_LINEAR` / `INTER_CUBIC`.

use super::separable::{self, AxisMap};
use super::{ShapeError, dims4};
use crate::error::Result;
use candle_core::Tensor;

/// Bilinear resize of `x` (n, channels, height, width) to (`height`, `width`).
///
/// # Errors
/// [`Error::Window`](crate::Error::Window) if an axis is empty or sizes overflow.
pub fn resize_bilinear(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    resize(x, height, width, |t| (0, vec![1.0 - t, t]))
}

/// Bicubic resize (Keys' kernel, a = -0.75) of `x` (n, channels, height, width) to (`height`, `width`).
/// May overshoot the range of `x`.
///
/// # Errors
/// [`Error::Window`](crate::Error::Window) if an axis is empty or sizes overflow.
pub fn resize_bicubic(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    resize(x, height, width, |t| (-1, [t + 1.0, t, 1.0 - t, 2.0 - t].map(keys).to_vec()))
}

/// Keys' cubic convolution kernel at distance `d` >= 0.
fn keys(d: f64) -> f64 {
    const A: f64 = -0.75;
    if d <= 1.0 {
        ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A
    } else {
        0.0
    }
}

/// `taps(t)` gives, for a position a fraction t behind a pixel, the first tap relative to that pixel and the weights.
fn resize(x: &Tensor, height: usize, width: usize, taps: fn(f64) -> (isize, Vec<f64>)) -> Result<Tensor> {
    let [n, c, h, w] = dims4(x)?;
    let shape = [n, c, h, w, height, width];
    if shape.contains(&0) {
        return Err(ShapeError::Empty { operation: "resize", shape: shape.to_vec() }.into());
    }
    separable::apply(x, &interpolation(height, h, taps)?, &interpolation(width, w, taps)?)
}

fn interpolation(output: usize, input: usize, taps: fn(f64) -> (isize, Vec<f64>)) -> Result<AxisMap> {
    let mut map = AxisMap::zeros("resize", output, input)?;
    for o in 0..output {
        let source = (o as f64 + 0.5) * input as f64 / output as f64 - 0.5;
        let (first, weights) = taps(source - source.floor());
        for (k, weight) in weights.into_iter().enumerate() {
            let tap = source.floor() as isize + first + k as isize;
            map.add(o, tap.clamp(0, input as isize - 1) as usize, weight);
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn line(values: &[f64]) -> Tensor {
        Tensor::from_slice(values, (1, 1, 1, values.len()), &Device::Cpu).unwrap()
    }

    #[test]
    fn known_weights() {
        let flat = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(flat(resize_bilinear(&line(&[0.0, 1.0]), 1, 4).unwrap()), [0.0, 0.25, 0.75, 1.0]);
        // Keys at t = 1/2 is (-3, 19, 19, -3) / 32; the first tap lies outside and repeats the border.
        let middle = flat(resize_bicubic(&line(&[32.0, 0.0, 0.0, 0.0]), 1, 2).unwrap());
        assert_eq!(middle, [19.0 - 3.0, 0.0]);
        let constant = flat(resize_bicubic(&line(&[1.0, 1.0, 1.0]), 1, 7).unwrap());
        assert!(constant.iter().all(|v| (v - 1.0).abs() < 1e-15), "{constant:?}");
    }

    #[test]
    fn an_empty_size_is_an_error() {
        assert!(resize_bilinear(&line(&[1.0]), 0, 4).is_err());
    }
}
