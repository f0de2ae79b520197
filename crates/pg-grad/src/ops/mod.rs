//! The twice-differentiable operations, one a file.

mod add;
mod avg_pool;
mod batch_norm;
mod batch_norm_kernels;
mod channels;
mod conv2d;
mod dropout;
mod floats;
mod gelu;
mod group_norm;
mod heads;
mod layer_norm;
mod linear;
mod matmul;
mod max_pool;
mod pointwise;
mod relu;
mod resize;
mod segments;
mod separable;
mod sigmoid;
mod softmax;

pub use add::add;
pub use avg_pool::{avg_pool2d, global_avg_pool2d};
pub use batch_norm::{BatchMoments, batch_norm, batch_norm_relu, batch_norm_with_moments};
pub use channels::{
    channel_affine, channel_center, channel_dot, channel_fill, channel_scale, channel_shift, channel_sum,
};
pub use conv2d::conv2d;
pub use dropout::dropout;
pub(crate) use floats::{contiguous, is_on_device_with_kernels};
pub use gelu::gelu;
pub use group_norm::group_norm;
pub use heads::{merge_heads, split_heads};
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use matmul::{matmul, matmul_t};
pub use max_pool::max_pool2d;
pub use pg_kernels::{Conv2dOptions, Pool2dOptions, Segments, ShapeError};
pub use pointwise::pointwise;
pub use relu::relu;
pub use resize::{resize_bicubic, resize_bilinear};
pub use segments::{segment_max, segment_repeat};
pub use sigmoid::sigmoid;
pub use softmax::{log_softmax, softmax};

use crate::error::Result;
use candle_core::Tensor;

/// The shape of a rank-4 tensor as an array.
fn dims4(tensor: &Tensor) -> Result<[usize; 4]> {
    let (n, c, h, w) = tensor.dims4()?;
    Ok([n, c, h, w])
}
