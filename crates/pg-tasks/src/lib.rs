//! What every training task shares: data loading, optimisers, schedules, the loop, checkpoints, logs, reports.

pub mod class_weights;
pub mod decode;
pub mod early_stop;
pub mod normalise;
pub mod optim;
pub mod prefetch;
pub mod schedule;
