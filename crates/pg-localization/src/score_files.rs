//! Score maps on disk: a folder of `.npy` files, or one safetensors file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::npy;
use crate::score_map::{ScoreMap, ScoreMapError};

/// Where the score maps of a split are.
///
/// In a folder the map of image `a/b.jpg` is `a/b.jpg.npy` or `a/b.npy`; in a safetensors file the tensor `a/b.jpg`.
/// Maps are (height, width), f32 or f64, in any byte order.
#[derive(Debug)]
pub struct ScoreFiles {
    place: Place,
    /// Whether scores of any range are scaled to 0..=1.
    normalize: bool,
}

#[derive(Debug)]
enum Place {
    Folder {
        path: PathBuf,
        /// Names without extension that several images share: `a.npy` would not tell which.
        shared: HashMap<PathBuf, usize>,
    },
    Archive {
        path: PathBuf,
        header: Metadata,
        /// Where the tensors start.
        data: u64,
    },
}

/// Why a score map cannot be had; the message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreFileError {
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system or the parser says.
        source: std::io::Error,
    },
    /// An image has no map.
    #[error("{}: no score map of image `{id}` ({expected})", path.display())]
    Missing {
        /// The folder or file.
        path: PathBuf,
        /// The image.
        id: String,
        /// What was looked for.
        expected: String,
    },
    /// An image has two maps.
    #[error("{} and {} are both score maps of image `{id}`; remove one", first.display(), second.display())]
    Twice {
        /// The image.
        id: String,
        /// `<id>.npy`.
        first: PathBuf,
        /// The same without the image's extension.
        second: PathBuf,
    },
    /// A map might be of several images.
    #[error("{}: {images} images of the split are called so; name the maps with the extension kept, as {id}.npy", path.display())]
    Ambiguous {
        /// The map.
        path: PathBuf,
        /// The image that it was looked up for.
        id: String,
        /// How many images it fits.
        images: usize,
    },
    /// The scores have another type.
    #[error("{}: scores of type {found}, expected float32 or float64", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// Its type.
        found: String,
    },
    /// The scores are no image.
    #[error("{}: an array of shape {found:?}, expected (height, width)", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// Its shape.
        found: Vec<u64>,
    },
    /// The file ends too early, or too late.
    #[error("{}: {found} bytes of scores, expected {expected}; write it again", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes there.
        found: u64,
        /// Bytes that the header declares.
        expected: u64,
    },
    /// The header of the file cannot be read.
    #[error("{}: {reason}; is this the right file?", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The scores are not those of a map.
    #[error("{}: {source}", path.display())]
    Scores {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ScoreMapError,
    },
}

impl ScoreFiles {
    /// A folder, or a safetensors file, with the maps of the images `ids`. With `normalize`, scores of any range are
    /// scaled as by [`ScoreMap::normalized`]; else they must lie in 0..=1.
    ///
    /// # Errors
    /// If there is neither, or the header cannot be read.
    pub fn open<'a>(
        path: &Path,
        ids: impl IntoIterator<Item = &'a str>,
        normalize: bool,
    ) -> Result<Self, ScoreFileError> {
        let io = |source| ScoreFileError::Io { path: path.to_owned(), source };
        let place = if std::fs::metadata(path).map_err(io)?.is_dir() {
            let mut shared = HashMap::new();
            for id in ids {
                *shared.entry(Path::new(id).with_extension("npy")).or_default() += 1;
            }
            Place::Folder { path: path.to_owned(), shared }
        } else {
            let (header, data) = read_header(path)?;
            Place::Archive { path: path.to_owned(), header, data }
        };
        Ok(Self { place, normalize })
    }

    /// The map of image `id`, and where it was.
    ///
    /// # Errors
    /// [`ScoreFileError`].
    pub fn read(&self, id: &str) -> Result<(ScoreMap, PathBuf), ScoreFileError> {
        let (path, shape, scores) = match &self.place {
            Place::Folder { path, shared } => {
                let file = find(path, id, shared)?;
                let io = |source| ScoreFileError::Io { path: file.clone(), source };
                let npy::Array { shape, numbers } = npy::parse(&file, &std::fs::read(&file).map_err(io)?)?;
                (file, shape, numbers)
            }
            Place::Archive { path, header, data } => {
                let info = header.info(id).ok_or_else(|| ScoreFileError::Missing {
                    path: path.clone(),
                    id: id.to_owned(),
                    expected: "a tensor of that name".to_owned(),
                })?;
                // The tensor's name tells more than the file's.
                let name = path.join(id);
                let (shape, scores) = read_tensor(path, &name, info, *data)?;
                (name, shape, scores)
            }
        };
        let [height, width] = shape[..] else {
            return Err(ScoreFileError::Shape { path, found: shape });
        };
        // What does not fit is no image; the number of scores tells.
        let side = |n: u64| u32::try_from(n).unwrap_or(0);
        let new = if self.normalize { ScoreMap::normalized } else { ScoreMap::new };
        match new(side(width), side(height), scores) {
            Ok(map) => Ok((map, path)),
            Err(source) => Err(ScoreFileError::Scores { path, source }),
        }
    }
}

fn find(folder: &Path, id: &str, shared: &HashMap<PathBuf, usize>) -> Result<PathBuf, ScoreFileError> {
    let (kept, replaced) = (format!("{id}.npy"), Path::new(id).with_extension("npy"));
    let (first, second) = (folder.join(&kept), folder.join(&replaced));
    match (first.is_file(), second.is_file() && first != second) {
        (true, true) if shared.get(&replaced) == Some(&1) => {
            Err(ScoreFileError::Twice { id: id.to_owned(), first, second })
        }
        (true, _) => Ok(first),
        (false, true) => match shared.get(&replaced) {
            Some(&images) if images > 1 => {
                Err(ScoreFileError::Ambiguous { path: second, id: id.to_owned(), images })
            }
            _ => Ok(second),
        },
        (false, false) => Err(ScoreFileError::Missing {
            path: folder.to_owned(),
            id: id.to_owned(),
            expected: format!("{kept} or {}", replaced.display()),
        }),
    }
}

/// The header of a safetensors file, and where the data start; not the data, which may be large.
fn read_header(path: &Path) -> Result<(Metadata, u64), ScoreFileError> {
    /// More than any list of images takes.
    const LONGEST: u64 = 100_000_000;
    let io = |source| ScoreFileError::Io { path: path.to_owned(), source };
    let malformed = |reason: String| ScoreFileError::Header { path: path.to_owned(), reason };
    let mut file = File::open(path).map_err(io)?;
    let size = match file.metadata().map_err(io)? {
        file if file.is_file() => file.len(),
        _ => return Err(malformed("neither a folder nor a file".to_owned())),
    };
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| malformed("too short for a safetensors file".to_owned()))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST.min(size - 8) {
        return Err(malformed(format!("no safetensors file (a header of {length} bytes in {size})")));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(io)?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|error| malformed(format!("no safetensors file ({error})")))?;
    let (found, expected) = (size - 8 - length, header.data_len() as u64);
    if found != expected {
        return Err(ScoreFileError::Length { path: path.to_owned(), found, expected });
    }
    Ok((header, 8 + length))
}

fn read_tensor(
    path: &Path,
    name: &Path,
    info: &TensorInfo,
    data: u64,
) -> Result<(Vec<u64>, Vec<f64>), ScoreFileError> {
    let io = |source| ScoreFileError::Io { path: path.to_owned(), source };
    let (start, end) = info.data_offsets;
    let mut bytes = vec![0; end - start];
    let mut file = File::open(path).map_err(io)?;
    file.seek(SeekFrom::Start(data + start as u64)).map_err(io)?;
    file.read_exact(&mut bytes).map_err(io)?;
    let scores = match info.dtype {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        other => return Err(ScoreFileError::Type { path: name.to_owned(), found: format!("{other:?}") }),
    };
    Ok((info.shape.iter().map(|&n| n as u64).collect(), scores))
}
