//! Image files to RGB, with errors that name the file and say what to do about it.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::{fs, io};

use image::error::ImageError as DecodeError;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

/// Pixels above which an image is refused as a decompression bomb, as Pillow does (2 * 89,478,485).
pub const MAX_PIXELS: u64 = 178_956_970;

/// Why an image could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is no such file.
    #[error("{}: no such file; check the path, or remove the entry from the list", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The path is a folder.
    #[error("{}: is a folder, not an image", path.display())]
    IsAFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error("{}: empty file (0 bytes); copy or download it again, or remove it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The content is in no format that is read here. The file's name plays no role.
    #[error("{}: not a PNG, JPEG, GIF, BMP, WebP or TIFF image; convert it to PNG or remove it", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A known format with a feature that is not read here.
    #[error("{}: unsupported {format} image ({reason}); convert it to 8-bit PNG", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: String,
        /// What the decoder said.
        reason: String,
    },
    /// The file ends before the image does.
    #[error("{}: truncated {format} image (the file ends early); copy or download it again, or remove it", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: String,
    },
    /// The content contradicts its format.
    #[error("{}: corrupt {format} image ({reason}); re-export or remove it", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: String,
        /// What the decoder said.
        reason: String,
    },
    /// More pixels than [`MAX_PIXELS`], or more memory than the decoder's limit.
    #[error("{}: too large ({size}; at most {MAX_PIXELS} pixels); resize it", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, in words.
        size: String,
    },
    /// Width or height is 0.
    #[error("{}: image without pixels ({width} x {height}); remove it", path.display())]
    ZeroDimension {
        /// The file.
        path: PathBuf,
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// The file system refused.
    #[error("{}: cannot be read ({source}); check its permissions and the disk", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Reads an image of any of the supported formats as 8-bit RGB.
///
/// As Pillow's `Image.open(path).convert("RGB")`: the format is told by content, not by extension; alpha is
/// **dropped**, not composited; grey is repeated; CMYK is converted; of an animation the first frame counts; an EXIF
/// orientation is not applied. 16-bit samples are scaled to 8 (Pillow would clip them).
///
/// # Errors
/// One variant for each thing that can be wrong; all name the file.
pub fn read_rgb(path: &Path) -> Result<RgbImage, ImageError> {
    let bytes = fs::read(path).map_err(|source| unreadable(path, source))?;
    if bytes.is_empty() {
        return Err(ImageError::Empty { path: path.to_owned() });
    }
    let format = image::guess_format(&bytes)
        .ok()
        .filter(ImageFormat::reading_enabled)
        .ok_or_else(|| ImageError::UnknownFormat { path: path.to_owned() })?;
    if is_cut(format, &bytes) {
        return Err(ImageError::Truncated { path: path.to_owned(), format: name(format) });
    }
    let decoder = ImageReader::with_format(Cursor::new(&bytes), format)
        .into_decoder()
        .map_err(|error| undecodable(path, format, error))?;
    check_dimensions(path, decoder.dimensions())?;
    let image = DynamicImage::from_decoder(decoder).map_err(|error| undecodable(path, format, error))?;
    Ok(image.into_rgb8())
}

fn unreadable(path: &Path, source: io::Error) -> ImageError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ImageError::Missing { path },
        io::ErrorKind::IsADirectory => ImageError::IsAFolder { path },
        _ => ImageError::Io { path, source },
    }
}

fn check_dimensions(path: &Path, (width, height): (u32, u32)) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::ZeroDimension { path: path.to_owned(), width, height });
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(ImageError::TooLarge { path: path.to_owned(), size: format!("{width} x {height}") });
    }
    Ok(())
}

fn undecodable(path: &Path, image_format: ImageFormat, error: DecodeError) -> ImageError {
    let (path, format) = (path.to_owned(), name(image_format));
    if ends_early(&error) {
        return ImageError::Truncated { path, format };
    }
    let reason = one_line(&error);
    match error {
        DecodeError::Limits(_) => ImageError::TooLarge { path, size: reason },
        DecodeError::Unsupported(_) => ImageError::Unsupported { path, format, reason },
        _ => ImageError::Corrupt { path, format, reason },
    }
}

/// Whether the decoder ran out of bytes. GIF's says so in words only.
fn ends_early(error: &DecodeError) -> bool {
    match error {
        DecodeError::IoError(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        error => error.to_string().to_lowercase().contains("unexpected end of file"),
    }
}

/// Whether the bytes themselves tell that some are missing, for the formats whose decoders do not.
fn is_cut(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Jpeg => !jpeg_has_an_end(bytes),
        ImageFormat::WebP => riff_length(bytes).is_none_or(|length| length > bytes.len() as u64),
        _ => false,
    }
}

/// The length that a RIFF header, the frame of a WebP, claims for the whole file.
fn riff_length(bytes: &[u8]) -> Option<u64> {
    let body = bytes.get(4..8)?.try_into().ok()?;
    Some(8 + u64::from(u32::from_le_bytes(body)))
}

/// Whether an end-of-image marker follows the first scan. The decoder pads a JPEG that lacks it with grey, without
/// an error. In compressed data 0xFF is always followed by 0, so the marker cannot occur by chance.
fn jpeg_has_an_end(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];
    let mut position = 2;
    loop {
        position += match bytes.get(position..position + 4) {
            Some(&[0xFF, START_OF_SCAN, ..]) => {
                return bytes[position..].windows(2).any(|pair| pair == END_OF_IMAGE);
            }
            // 0xFF may be repeated as padding before a marker.
            Some(&[0xFF, 0xFF, ..]) => 1,
            Some(&[0xFF, _, high, low]) => 2 + usize::from(u16::from_be_bytes([high, low])),
            // Not a marker: corrupt, which the decoder finds out by itself.
            Some(_) => return true,
            None => return false,
        };
    }
}

fn name(format: ImageFormat) -> String {
    format!("{format:?}").to_uppercase()
}

/// A message without line breaks, which some decoders use.
fn one_line(error: &DecodeError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
