//! What every training task shares: data loading, optimisers, schedules, the loop, checkpoints, logs, reports.
//!
//! | a run needs | module |
//! |---|---|
//! | images from files, made ahead of their use | [`decode`], [`picture`], [`normalise`], [`prefetch`] |
//! | a step | [`optim`], [`schedule`], [`class_weights`] |
//! | to end, and to go on | [`early_stop`], [`interrupt`], [`fingerprint`] |
//! | a place, whole at any time | [`run_dir`] |
//! | to be followed | [`progress`], [`results`], [`tensorboard`], [`curves`], [`sheet`] |
//!
//! Nothing here is drawn at random and nothing depends on the number of threads. All state can be saved and comes
//! back bit-equal.
//!
//! ```
//! use std::collections::BTreeMap;
//! use candle_core::{Device, Var};
//! use pg_tasks::optim::{Gradients, Groups, Optimizer, Sgd};
//! use pg_tasks::schedule::{LrPlan, Schedule};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let params = BTreeMap::from([("fc.bias".to_owned(), Var::new(&[0f32, 0.0], &Device::Cpu)?)]);
//! let target = candle_core::Tensor::new(&[3f32, -1.0], &Device::Cpu)?;
//! let mut optimizer = Optimizer::Sgd(Sgd::new(0.9, true, 0.0, Groups::default()));
//! optimizer.groups().check(&params)?;
//! let schedule = Schedule::Cosine { min: 0.0 };
//! let plan = LrPlan { schedule, warmup_steps: 5, steps_per_epoch: 10, total_steps: 100 };
//! for step in 0..plan.total_steps {
//!     let loss = (params["fc.bias"].as_tensor() - &target)?.sqr()?.sum_all()?;
//!     let mut grads = Gradients::collect(&params, &loss.backward()?)?;
//!     grads.clip_norm(5.0)?;
//!     optimizer.step(&params, &grads, 0.05 * plan.multiplier(step))?;
//! }
//! let error = (params["fc.bias"].as_tensor() - &target)?.abs()?.max(0)?.to_scalar::<f32>()?;
//! assert!(error < 1e-2, "{error}");
//! # Ok(())
//! # }
//! ```

pub mod checkpoint;
pub mod class_weights;
pub mod curves;
pub mod decode;
pub mod early_stop;
pub mod error_line;
pub mod fingerprint;
pub mod interrupt;
pub mod normalise;
pub mod optim;
pub mod picture;
pub mod prefetch;
pub mod progress;
pub mod results;
pub mod run_dir;
pub mod schedule;
pub mod sheet;
pub mod tensorboard;
pub mod train;
