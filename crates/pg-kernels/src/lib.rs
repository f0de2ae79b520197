//! CPU kernels of pg-grad's operations, on plain slices: no tensor library, no autograd.
//!
//! A kernel on shapes takes a checked geometry (which rejects those that do not fit) and slices in row-major order;
//! [`elementwise`], [`gelu`], [`softmax`] and [`pick`] take slices alone. All run on rayon's current pool and give the same
//! bits for any number of threads.
//!
//! ```
//! use pg_kernels::{Conv2dGeometry, Conv2dOptions, conv2d};
//!
//! // One 1x3x3 image, one 2x2 kernel of ones: every output is the sum of a 2x2 window.
//! let geometry = Conv2dGeometry::new([1, 1, 3, 3], [1, 1, 2, 2], Conv2dOptions::default())?;
//! let image = [1f32, 2., 3., 4., 5., 6., 7., 8., 9.];
//! assert_eq!(conv2d::forward(&geometry, &image, &[1.; 4]), [12., 16., 24., 28.]);
//!
//! // Its two gradients, for an output gradient of ones.
//! let by_input = conv2d::input_gradient(&geometry, &[1f32; 4], &[1.; 4]);
//! assert_eq!(by_input, [1., 2., 1., 2., 4., 2., 1., 2., 1.]);
//! assert_eq!(conv2d::weight_gradient(&geometry, &image, &[1.; 4]), [12., 16., 24., 28.]);
//! # Ok::<(), pg_kernels::ShapeError>(())
//! ```

pub mod batch_norm;
pub mod channels;
mod collect;
pub mod conv2d;
pub mod elementwise;
pub mod exponential;
pub mod gelu;
mod geometry;
pub mod heads;
mod matmul;
pub mod max_pool2d;
pub mod pick;
pub mod products;
mod scratch;
mod segments;
pub mod softmax;
#[cfg(test)]
mod testing;

pub use channels::ChannelGeometry;
pub use collect::zeros;
pub use conv2d::{Conv2dGeometry, Conv2dOptions};
pub use geometry::{Axis, ShapeError};
pub use heads::HeadGeometry;
pub use matmul::Float;
pub use max_pool2d::{Pool2dGeometry, Pool2dOptions};
pub use products::ProductGeometry;
pub use segments::Segments;
