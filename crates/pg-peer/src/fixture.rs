//! What a fixture says.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A guided step's expected numbers.
#[derive(Deserialize)]
pub(crate) struct Fixture {
    pub(crate) spec: Spec,
    pub(crate) loss_cls: f64,
    pub(crate) loss_pg: f64,
    pub(crate) loss_total: f64,
    pub(crate) logits: Vec<Vec<f64>>,
    pub(crate) input_gradient_a: Summary,
    pub(crate) gradients: BTreeMap<String, Summary>,
}

/// What to run.
#[derive(Deserialize)]
pub(crate) struct Spec {
    pub(crate) model: String,
    pub(crate) classes: usize,
    /// Side of the square images; skeleton models have none.
    #[serde(default)]
    pub(crate) size: usize,
    pub(crate) batch: usize,
    pub(crate) mode: Mode,
    pub(crate) bn: Norm,
    pub(crate) alpha: f64,
    pub(crate) gain: f64,
    pub(crate) seed: u64,
    #[serde(default = "default_stride")]
    pub(crate) layer4_stride: usize,
    /// Numbers a token, blocks and heads of a transformer.
    pub(crate) dim: Option<usize>,
    pub(crate) depth: Option<usize>,
    pub(crate) heads: Option<usize>,
    /// People of each of the two scenes of a sample, joints of each, and blocks in each stage of a skeleton model.
    pub(crate) instances: Option<usize>,
    pub(crate) keypoints: Option<usize>,
    pub(crate) repeats: Option<[usize; 3]>,
}

fn default_stride() -> usize {
    2
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Soft,
    Hard,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Norm {
    Train,
    Eval,
}

/// A tensor in a few numbers; `at` maps flat indices to elements.
#[derive(Deserialize)]
pub(crate) struct Summary {
    pub(crate) shape: Vec<usize>,
    pub(crate) norm: f64,
    pub(crate) at: BTreeMap<usize, f64>,
}

impl Spec {
    pub(crate) fn is_of_skeletons(&self) -> bool {
        self.model == "skp"
    }

    /// (n, instances, keypoints): the people of both scenes of a sample.
    pub(crate) fn points(&self) -> [usize; 3] {
        [self.batch, 2 * self.instances.unwrap_or(1), self.keypoints.unwrap_or(1)]
    }
}

impl Fixture {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| format!("{}: not a parity fixture", path.display()))
    }
}
