//! What a weights file says of the run that made it: all that is needed to use it.

use pg_models::ModelSpec;
use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::settings::Config;

/// Description in the metadata of `best.safetensors` and its like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The network.
    pub model: ModelSpec,
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
    /// The data set it was trained on.
    pub dataset: String,
    /// Whether inputs were normalised by the ImageNet mean and standard deviation.
    pub normalize: bool,
}

impl About {
    /// The description of a run.
    pub fn new(dataset: &Dataset, config: &Config) -> Self {
        Self {
            model: config.model_spec(dataset.classes.len()),
            classes: dataset.classes.clone(),
            dataset: dataset.name.clone(),
            normalize: dataset.normalize,
        }
    }
}
