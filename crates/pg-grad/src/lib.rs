//! Provenance-based input gradient guidance on candle: twice-differentiable operations, input gradients and losses.
//!
//! A synthetic sample knows which part of it came from where. Guidance punishes a class's score for depending on
//! parts that are not its own: L = L_cls + alpha * L_PG with L_PG = ||(1-M) grad f_A + M grad f_B||^2 for a mix of A
//! and B (M is 1 where the sample comes from A), or ||(1-M) grad f_y||^2 for an edited sample (M is 1 where it was not
//! modified). The gradient of that by the weights is a second derivative; this crate computes it exactly, or by a
//! finite difference that works for any module.
//!
//! # Guiding a model that is not ours
//!
//! ```
//! use candle_core::{DType, Device, Tensor, Var};
//! use candle_nn::{Linear, Module, VarBuilder, VarMap, linear, loss::cross_entropy};
//! use pg_grad::{Guidance, Provenance, Strategy, Turn};
//!
//! // A plain candle model: 8x8 grey images, three classes.
//! let device = Device::Cpu;
//! let weights = VarMap::new();
//! let vb = VarBuilder::from_varmap(&weights, DType::F32, &device);
//! let (hidden, head): (Linear, Linear) = (linear(64, 16, vb.pp("hidden"))?, linear(16, 3, vb.pp("head"))?);
//! let network = |x: &Tensor| head.forward(&hidden.forward(&x.flatten_from(1)?)?.tanh()?);
//!
//! // Two edited samples; their right half was redrawn by the editor, so it must not matter.
//! let x = Tensor::ones((2, 1, 8, 8), DType::F32, &device)?;
//! let labels = Tensor::new(&[0u32, 2], &device)?;
//! let left = Tensor::cat(&[Tensor::ones((2, 1, 8, 4), DType::F32, &device)?, Tensor::zeros((2, 1, 8, 4), DType::F32, &device)?], 3)?;
//! let provenance = Provenance::edited(&labels, &left, &Tensor::ones(2, DType::F32, &device)?)?;
//!
//! let strategy = Strategy::FiniteDifference { step: Strategy::DEFAULT_STEP };
//! let guidance = Guidance { strategy, ..Guidance::new(0.1) };
//! let step = guidance.step(&x, &provenance, Some(&Turn::ALL), |x, _| network(x), |z| cross_entropy(z, &labels))?;
//! for var in weights.all_vars() {
//!     let gradient = step.gradients.get(&var).expect("every weight has a gradient");
//!     var.set(&(var.as_tensor() - (gradient * 0.1)?)?)?;
//! }
//! assert!(step.loss_pg.is_some_and(|l| l > 0.0));
//! # Ok::<(), pg_grad::Error>(())
//! ```
//!
//! [`Strategy::Exact`] is cheaper and is the default; it needs candle's second-order switch ([`second_order`]) and
//! operations whose second derivative is right, which [`ops`] are: each is tested against central differences.

mod allocator;
mod checkpoint;
#[cfg(feature = "cuda")]
mod cuda;
mod device_memory;
mod error;
mod gates;
mod guidance;
mod input_gradient;
mod lazy;
pub mod ops;
mod pass;
mod provenance;
pub mod second_order;
mod step;
mod tape;
mod threads;

pub use allocator::keep_freed_memory;
pub use checkpoint::checkpoint;
pub use device_memory::{keep_freed_device_memory, peak_device_memory};
pub use error::{Error, Result};
pub use guidance::{Guidance, Norm, Reduction, Strategy};
pub use input_gradient::{Score, input_gradient, input_gradient_detached, saliency};
pub use lazy::{Lazy, Turn};
pub use pass::{backward, without_graph};
pub use provenance::{Provenance, Source};
pub use step::{Forward, Step};
pub use threads::limit_threads;
