//! Checkpoints: tensors and a JSON description in one `.safetensors` file, written beside its place and renamed.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::run_dir::{RunDirError, write_atomically};

/// Where the description lies in the file's metadata.
const KEY: &str = "provenance-guidance";

/// Why a checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] RunDirError),
    /// The tensors or the description have no form in the file.
    #[error("{}: cannot be written ({reason}); this is a bug, please report it", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What has no form.
        reason: String,
    },
    /// The file could not be read.
    #[error("{}: cannot be read ({source}); check the path", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The file is not a complete safetensors file.
    #[error("{}: truncated or not a checkpoint ({reason}); use an earlier one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file has tensors but not the description that ours have.
    #[error("{}: not a checkpoint of this program ({reason}); pass one that `train` wrote", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A tensor could not be converted.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Writes `tensors` with `about` as JSON in the file's metadata. PyTorch's `safetensors` reads the file.
///
/// # Errors
/// [`CheckpointError::Write`] or [`CheckpointError::Unwritable`], naming the file; an earlier one in its place stays.
pub fn save(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    about: &impl Serialize,
) -> Result<(), CheckpointError> {
    let unwritable = |reason: String| CheckpointError::Unwritable { path: path.to_owned(), reason };
    let about = serde_json::to_string(about).map_err(|error| unwritable(error.to_string()))?;
    let tensors = tensors
        .iter()
        .map(|(name, tensor)| Ok((name.as_str(), tensor.to_device(&Device::Cpu)?.contiguous()?)))
        .collect::<Result<BTreeMap<_, _>, candle_core::Error>>()?;
    let metadata = HashMap::from([(KEY.to_owned(), about)]);
    let bytes =
        safetensors::serialize(tensors, Some(metadata)).map_err(|error| unwritable(error.to_string()))?;
    Ok(write_atomically(path, |file| file.write_all(&bytes))?)
}

/// The tensors and the description of a file that [`save`] wrote, on the CPU.
///
/// # Errors
/// [`CheckpointError::Read`], [`CheckpointError::Damaged`] or [`CheckpointError::NotOurs`], naming the file.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<(BTreeMap<String, Tensor>, T), CheckpointError> {
    let damaged = |reason: String| CheckpointError::Damaged { path: path.to_owned(), reason };
    let not_ours = |reason: String| CheckpointError::NotOurs { path: path.to_owned(), reason };
    let bytes =
        std::fs::read(path).map_err(|source| CheckpointError::Read { path: path.to_owned(), source })?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
    let about = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(KEY))
        .ok_or_else(|| not_ours("it does not say how it was trained".to_owned()))?;
    let about = serde_json::from_str(about).map_err(|error| not_ours(error.to_string()))?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .map_err(|error| damaged(error.to_string()))?;
    Ok((tensors.into_iter().collect(), about))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(folder: &Path) -> PathBuf {
        let path = folder.join("last.safetensors");
        let weight = Tensor::new(&[1f32, -2.5], &Device::Cpu).unwrap();
        save(&path, &BTreeMap::from([("fc.weight".to_owned(), weight)]), &vec!["cat", "dog"]).unwrap();
        path
    }

    #[test]
    fn tensors_and_description_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let (tensors, classes) = load::<Vec<String>>(&saved(folder.path())).unwrap();
        assert_eq!(tensors["fc.weight"].to_vec1::<f32>().unwrap(), [1.0, -2.5]);
        assert_eq!(classes, ["cat", "dog"]);
    }

    #[test]
    fn a_file_cut_anywhere_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = saved(folder.path());
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 4, 20, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = load::<Vec<String>>(&path).unwrap_err();
            assert!(matches!(error, CheckpointError::Damaged { .. }), "{length}: {error}");
            assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn files_of_others_and_missing_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.safetensors");
        let tensor = Tensor::new(&[1f32], &Device::Cpu).unwrap();
        candle_core::safetensors::save(&HashMap::from([("a".to_owned(), tensor)]), &path).unwrap();
        assert!(matches!(load::<String>(&path), Err(CheckpointError::NotOurs { .. })));
        assert!(matches!(load::<Vec<u8>>(&saved(folder.path())), Err(CheckpointError::NotOurs { .. })));
        assert!(matches!(
            load::<String>(&folder.path().join("none.safetensors")),
            Err(CheckpointError::Read { .. })
        ));
    }
}
