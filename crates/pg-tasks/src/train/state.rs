//! Everything besides tensors that a run goes on from.

use serde::{Deserialize, Serialize};

use super::Sums;
use crate::early_stop::EarlyStop;
use crate::fingerprint::Fingerprint;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// What the run trains on.
    pub(super) data: Fingerprint,
    /// Epochs completed.
    pub(super) epoch: usize,
    /// Batches seen in all.
    pub(super) step: u64,
    pub(super) early_stop: EarlyStop,
    /// Whether patience has run out.
    pub(super) stopped: bool,
    pub(super) best_epoch: usize,
    /// (selection, epoch) of the weights kept, best first.
    pub(super) top: Vec<(f64, usize)>,
    /// The epoch under way, if the run was interrupted in it.
    pub(super) sums: Sums,
}

impl State {
    /// That of a run that begins.
    pub(super) fn new(data: Fingerprint, patience: Option<usize>) -> Self {
        Self {
            data,
            epoch: 0,
            step: 0,
            early_stop: EarlyStop::new(patience),
            stopped: false,
            best_epoch: 0,
            top: Vec::new(),
            sums: Sums::default(),
        }
    }
}
