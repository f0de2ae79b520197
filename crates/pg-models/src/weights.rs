//! Reading weights of other tools, and saying what does not fit.

use crate::error::{Error, Result};
use candle_core::pickle::{self, PthTensors};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What does not fit between a file of weights and a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Names that the model has and the file lacks.
    pub missing: Vec<String>,
    /// Names that the file has and the model lacks.
    pub unexpected: Vec<String>,
    /// Names with the shape in the file and the shape in the model.
    pub shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Mismatch {
    /// The same of names whose prefix `from` is called `to`.
    pub(crate) fn renamed(mut self, from: &str, to: &str) -> Self {
        let names = self.missing.iter_mut().chain(&mut self.unexpected);
        for name in names.chain(self.shapes.iter_mut().map(|(name, ..)| name)) {
            if let Some(rest) = name.strip_prefix(from) {
                *name = format!("{to}{rest}");
            }
        }
        self
    }

    /// Whether everything fits.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.shapes.is_empty()
    }
}

/// Names printed of each kind.
const LISTED: usize = 8;

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| match names.len().checked_sub(LISTED) {
            None | Some(0) => names.join(", "),
            Some(more) => format!("{} and {more} more", names[..LISTED].join(", ")),
        };
        let shapes: Vec<String> = self
            .shapes
            .iter()
            .map(|(name, file, model)| format!("{name} (file {file:?}, model {model:?})"))
            .collect();
        let parts: Vec<String> =
            [("missing", &self.missing), ("unexpected", &self.unexpected), ("shape", &shapes)]
                .into_iter()
                .filter(|(_, names)| !names.is_empty())
                .map(|(kind, names)| format!("{kind}: {}", list(names)))
                .collect();
        f.write_str(&parts.join("; "))
    }
}

/// Reads `.safetensors`, or a `.pth` / `.pt` that `torch.save` (torch 1.6 or later) wrote of a `state_dict` (bare, or
/// under the key `state_dict` or `model`). Only tensors are read; nothing in a file is executed. A `module.` prefix, which
/// DataParallel leaves, is dropped.
///
/// # Errors
/// [`Error::Unreadable`] if the file is missing, truncated or of another kind; [`Error::UnknownFormat`].
pub fn read_weights(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let unreadable = |reason: String| Error::Unreadable { path: path.to_path_buf(), reason };
    if path.is_dir() {
        return Err(unreadable("it is a folder; pass a file in it".to_string()));
    }
    if !path.exists() {
        return Err(unreadable("no such file".to_string()));
    }
    let tensors: Vec<(String, Tensor)> = match path.extension().and_then(|e| e.to_str()) {
        Some("safetensors") => candle_core::safetensors::load(path, &Device::Cpu)
            .map_err(|e| unreadable(one_line(&e)))?
            .into_iter()
            .collect(),
        Some("pth" | "pt") => read_pickle(path).map_err(|e| unreadable(one_line(&e)))?,
        _ => return Err(Error::UnknownFormat { path: path.to_path_buf() }),
    };
    if tensors.is_empty() {
        return Err(unreadable("it holds no tensors".to_string()));
    }
    Ok(tensors.into_iter().map(|(name, t)| (strip_module(&name), t)).collect())
}

/// What a zip archive begins with. Older versions of `torch.save` wrote bare pickles.
const ZIP: [u8; 4] = *b"PK\x03\x04";

fn read_pickle(path: &Path) -> candle_core::Result<Vec<(String, Tensor)>> {
    let mut start = Vec::new();
    File::open(path)?.take(ZIP.len() as u64).read_to_end(&mut start)?;
    if start != ZIP {
        candle_core::bail!("not in the format of torch 1.6 and later; load it in torch and save it again");
    }
    // The nested dictionary first: next to it a checkpoint may hold tensors of its own, such as its best accuracy.
    for key in ["state_dict", "model"] {
        if let Ok(nested) = PthTensors::new(path, Some(key))
            && !nested.tensor_infos().is_empty()
        {
            return pickle::read_all_with_key(path, Some(key));
        }
    }
    pickle::read_all(path)
}

fn strip_module(name: &str) -> String {
    name.strip_prefix("module.").unwrap_or(name).to_string()
}

/// candle's messages may carry a backtrace over many lines.
fn one_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_string()
}

/// Whether every element is a finite number. Integers always are.
pub(crate) fn is_finite(tensor: &Tensor) -> Result<bool> {
    if tensor.dtype().is_int() || tensor.elem_count() == 0 {
        return Ok(true);
    }
    let values = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?;
    // 0 x is 0 for a finite x and NaN otherwise, and NaN survives a sum.
    Ok((values * 0.0)?.sum_all()?.to_scalar::<f64>()? == 0.0)
}
