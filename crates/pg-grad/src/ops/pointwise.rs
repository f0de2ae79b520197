//! A fully connected layer along the channels: for points that lie beside each other in memory, channel by channel.

use super::channel_shift;
use super::conv2d::product;
use super::floats::has_kernels;
use crate::error::Result;
use candle_core::Tensor;

/// `weight` (out, in) times the channels of `x` (n, in, height, width), plus `bias` (out,), giving
/// (n, out, height, width): a convolution with a kernel of 1x1.
///
/// # Errors
/// [`Error::Window`](crate::Error::Window) if the shapes do not fit.
pub fn pointwise(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let y = if has_kernels(x) {
        product(x, weight)?
    } else {
        let (out, input) = weight.dims2()?;
        super::conv2d(x, &weight.reshape((out, input, 1, 1))?, super::Conv2dOptions::default())?
    };
    match bias {
        Some(bias) => channel_shift(&y, bias),
        None => Ok(y),
    }
}
