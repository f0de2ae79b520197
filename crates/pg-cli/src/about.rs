//! What a weights file says of the run that made it: all that is needed to use it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use candle_core::Tensor;
use pg_models::ModelSpec;
use pg_tasks::checkpoint::{self, CheckpointError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Description in the metadata of `best.safetensors` and its like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About<M = ModelSpec> {
    /// The program that trained it.
    pub program: String,
    /// The network.
    pub model: M,
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
    /// The data set it was trained on.
    pub dataset: String,
    /// Whether inputs were normalised by the ImageNet mean and standard deviation.
    pub normalize: bool,
}

impl<M: DeserializeOwned> About<M> {
    /// The weights in a file, and their description.
    ///
    /// # Errors
    /// If the file cannot be read, or is of a run of another program than `program`.
    pub fn load(path: &Path, program: &str) -> Result<(BTreeMap<String, Tensor>, Self)> {
        let (tensors, about) = checkpoint::load::<Value>(path)?;
        // Of another program's network nothing else may be known here.
        match about.get("program").and_then(Value::as_str) {
            Some(other) if other != program => {
                bail!("{}: weights of a run of {other}; use that program with them", path.display())
            }
            _ => {}
        }
        let about = serde_json::from_value(about).map_err(|reason| CheckpointError::NotOurs {
            path: path.to_owned(),
            reason: reason.to_string(),
        })?;
        Ok((tensors, about))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_description_from_before_convolutions_had_a_say_has_none() {
        let without = r#"{"name":"sat-mini","classes":3,"size":48,"layer4_stride":2,"vit":{"patch_size":4,"embed_dim":64,
            "depth":6,"num_heads":4,"drop_path_percent":0}}"#;
        let spec: ModelSpec = serde_json::from_str(without).unwrap();
        assert!(!spec.vit.unwrap().conv_stem);
    }

    #[test]
    fn weights_of_another_program_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("best.safetensors");
        let about = About {
            program: "pg-wsol".into(),
            model: ModelSpec::new("small-vgg-gap", 2),
            classes: vec!["cat".into(), "dog".into()],
            dataset: "embedded".into(),
            normalize: false,
        };
        let weight = Tensor::new(&[1f32], &Device::Cpu).unwrap();
        checkpoint::save(&path, &BTreeMap::from([("fc.weight".to_owned(), weight)]), &about).unwrap();
        assert_eq!(<About>::load(&path, "pg-wsol").unwrap().1, about);
        let error = <About>::load(&path, "pg-classify").unwrap_err().to_string();
        assert!(error.ends_with("best.safetensors: weights of a run of pg-wsol; use that program with them"));
    }
}
