//! Average-pooling, over windows and over everything.

use super::separable::{self, AxisMap};
use super::{Pool2dOptions, ShapeError, dims4};
use crate::error::Result;
use candle_core::Tensor;
use pg_kernels::Pool2dGeometry;

/// Mean of each window of `x` (n, channels, height, width), giving (n, channels, ., .), as
/// `torch.nn.functional.avg_pool2d`. With `count_include_pad` (torch's default) the zeros of the padding count.
///
/// # Errors
/// [`Error::Window`](crate::Error::Window) if the shapes do not fit.
pub fn avg_pool2d(x: &Tensor, options: Pool2dOptions, count_include_pad: bool) -> Result<Tensor> {
    let [_, _, h, w] = dims4(x)?;
    let geometry = Pool2dGeometry::new(dims4(x)?, options)?;
    let (oh, ow) = geometry.output_size();
    let Pool2dOptions { kernel_size, stride, padding } = options;
    let rows = averages(h, oh, kernel_size.0, stride.0, padding.0, count_include_pad)?;
    let columns = averages(w, ow, kernel_size.1, stride.1, padding.1, count_include_pad)?;
    separable::apply(x, &rows, &columns)
}

fn averages(
    input: usize,
    output: usize,
    k: usize,
    stride: usize,
    padding: usize,
    count_pad: bool,
) -> Result<AxisMap> {
    let mut map = AxisMap::zeros("avg_pool2d", output, input)?;
    for o in 0..output {
        let start = (o * stride).saturating_sub(padding);
        let end = (o * stride + k - padding).min(input);
        let count = if count_pad { k } else { end - start };
        for i in start..end {
            map.add(o, i, 1.0 / count as f64);
        }
    }
    Ok(map)
}

/// Mean over height and width of `x` (n, channels, height, width), giving (n, channels).
///
/// # Errors
/// [`Error::Window`](crate::Error::Window) if an axis is empty; if `x` is not of rank 4.
pub fn global_avg_pool2d(x: &Tensor) -> Result<Tensor> {
    let shape = dims4(x)?;
    if shape.contains(&0) {
        return Err(ShapeError::Empty { operation: "global_avg_pool2d", shape: shape.to_vec() }.into());
    }
    Ok(x.mean((2, 3))?)
}
