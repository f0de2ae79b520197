//! The IDX files of MNIST: a big-endian header, then bytes; compressed by gzip or not.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::DatasetError;

/// Side of a digit in pixels.
pub(super) const SIDE: usize = 28;

const IMAGES: u32 = 0x0000_0803;
const LABELS: u32 = 0x0000_0801;
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// Grey digits of 28x28 pixels, row-major, with their labels.
pub(super) type Digits = Vec<(Vec<u8>, u8)>;

/// The digits of the pair of files `<prefix>-images-idx3-ubyte` and `<prefix>-labels-idx1-ubyte` in `folder`,
/// each perhaps with `.gz`; `None` if neither is there.
pub(super) fn read(folder: &Path, prefix: &str) -> Result<Option<Digits>, DatasetError> {
    let names = ["images-idx3", "labels-idx1"].map(|kind| format!("{prefix}-{kind}-ubyte"));
    let (images, labels) = match names.each_ref().map(|name| find(folder, name)) {
        [Some(images), Some(labels)] => (images, labels),
        [None, None] => return Ok(None),
        [Some(_), None] => return Err(missing(folder, &names[1], &names[0])),
        [None, Some(_)] => return Err(missing(folder, &names[0], &names[1])),
    };
    let pixels = read_images(&images)?;
    let digits = read_labels(&labels)?;
    let count = pixels.len() / (SIDE * SIDE);
    if digits.len() != count {
        return Err(DatasetError::IdxCounts { path: labels, labels: digits.len(), images: count });
    }
    Ok(Some(pixels.chunks_exact(SIDE * SIDE).map(<[u8]>::to_vec).zip(digits).collect()))
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    ["", ".gz"].iter().map(|suffix| folder.join(format!("{name}{suffix}"))).find(|path| path.is_file())
}

/// Of a pair of files one is there without the other.
fn missing(folder: &Path, name: &str, other: &str) -> DatasetError {
    let advice = format!("put it (or its .gz) beside {other}, which is of no use alone");
    DatasetError::Missing { path: folder.join(name), advice }
}

fn read_images(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let file = bytes(path)?;
    check_magic(path, &file, IMAGES, "images")?;
    let [_, count, rows, columns] = header(path, &file)?;
    let (height, width) = (rows as usize, columns as usize);
    if (width, height) != (SIDE, SIDE) {
        return Err(DatasetError::IdxSize { path: path.to_owned(), width, height });
    }
    body(path, &file, 16, count as usize * SIDE * SIDE)
}

fn read_labels(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let file = bytes(path)?;
    check_magic(path, &file, LABELS, "labels")?;
    let [_, count] = header(path, &file)?;
    let labels = body(path, &file, 8, count as usize)?;
    match labels.iter().position(|&label| label > 9) {
        Some(index) => Err(DatasetError::IdxLabel { path: path.to_owned(), index, label: labels[index] }),
        None => Ok(labels),
    }
}

/// The file's content, decompressed if it is gzip, whatever its name.
fn bytes(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let io = |source| DatasetError::Io { path: path.to_owned(), source };
    let raw = std::fs::read(path).map_err(io)?;
    if !raw.starts_with(&GZIP) {
        return Ok(raw);
    }
    let mut content = Vec::new();
    GzDecoder::new(raw.as_slice()).read_to_end(&mut content).map_err(io)?;
    Ok(content)
}

/// The first `N` words of the file.
fn header<const N: usize>(path: &Path, file: &[u8]) -> Result<[u32; N], DatasetError> {
    let mut words = [0; N];
    let (chunks, _) = file.as_chunks::<4>();
    if chunks.len() < N {
        return Err(DatasetError::IdxLength { path: path.to_owned(), found: file.len(), expected: 4 * N });
    }
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u32::from_be_bytes(*chunk);
    }
    Ok(words)
}

fn check_magic(path: &Path, file: &[u8], expected: u32, what: &'static str) -> Result<(), DatasetError> {
    let [found] = header(path, file)?;
    if found == expected {
        return Ok(());
    }
    Err(DatasetError::IdxMagic { path: path.to_owned(), found, expected, what })
}

/// What follows the header, of exactly `length` bytes.
fn body(path: &Path, file: &[u8], header: usize, length: usize) -> Result<Vec<u8>, DatasetError> {
    let expected = header + length;
    if file.len() == expected {
        return Ok(file[header..].to_vec());
    }
    Err(DatasetError::IdxLength { path: path.to_owned(), found: file.len(), expected })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    /// Writes `labels.len()` digits whose pixels are all their position.
    pub(in super::super) fn write(folder: &Path, prefix: &str, labels: &[u8]) {
        let (images, classes) = files(labels);
        std::fs::write(folder.join(format!("{prefix}-images-idx3-ubyte")), images).unwrap();
        std::fs::write(folder.join(format!("{prefix}-labels-idx1-ubyte")), classes).unwrap();
    }

    fn files(labels: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let count = u32::try_from(labels.len()).unwrap().to_be_bytes();
        let mut images = [&IMAGES.to_be_bytes()[..], &count, &[0, 0, 0, 28, 0, 0, 0, 28]].concat();
        for position in 0..labels.len() {
            images.extend([(position % 256) as u8; SIDE * SIDE]);
        }
        (images, [&LABELS.to_be_bytes()[..], &count, labels].concat())
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn read_pair(images: &[u8], labels: &[u8]) -> Result<Digits, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t-images-idx3-ubyte.gz"), images).unwrap();
        std::fs::write(folder.path().join("t-labels-idx1-ubyte"), labels).unwrap();
        match read(folder.path(), "t") {
            Ok(digits) => Ok(digits.unwrap()),
            Err(error) => Err(error.to_string().replace(&format!("{}/", folder.path().display()), "")),
        }
    }

    #[test]
    fn plain_and_compressed_files_agree() {
        let (images, labels) = files(&[3, 1, 9]);
        let plain = read_pair(&images, &labels).unwrap();
        assert_eq!(plain, read_pair(&gzip(&images), &labels).unwrap());
        assert_eq!(plain[2], (vec![2; 784], 9));
        assert_eq!(read(tempfile::tempdir().unwrap().path(), "t").unwrap(), None);
    }

    #[test]
    fn one_file_of_a_pair_is_missed_by_its_name() {
        let (images, labels) = files(&[3, 1, 9]);
        for (there, content, missing) in [
            ("t-images-idx3-ubyte", images, "t-labels-idx1-ubyte"),
            ("t-labels-idx1-ubyte", labels, "t-images-idx3-ubyte"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(format!("{there}.gz")), gzip(&content)).unwrap();
            let error = read(folder.path(), "t").unwrap_err().to_string();
            let expected =
                format!("{missing}: not found; put it (or its .gz) beside {there}, which is of no use alone");
            assert!(error.ends_with(&expected), "{error}");
        }
    }

    #[test]
    fn broken_files_are_refused() {
        let (images, labels) = files(&[3, 1, 9]);
        let error = |images: &[u8], labels: &[u8]| read_pair(images, labels).unwrap_err();
        assert_eq!(
            error(&labels, &labels),
            "t-images-idx3-ubyte.gz: magic number 0x00000801, expected 0x00000803; this is no IDX file of images"
        );
        assert_eq!(
            error(&images, &images),
            "t-labels-idx1-ubyte: magic number 0x00000803, expected 0x00000801; this is no IDX file of labels"
        );
        assert_eq!(
            error(&images[..images.len() - 1], &labels),
            "t-images-idx3-ubyte.gz: 2367 bytes, expected 2368; download it again"
        );
        assert_eq!(
            error(&images[..15], &labels),
            "t-images-idx3-ubyte.gz: 15 bytes, expected 16; download it again"
        );
        assert!(error(&[images.clone(), vec![0]].concat(), &labels).contains("2369 bytes"));
        assert_eq!(error(&[], &labels), "t-images-idx3-ubyte.gz: 0 bytes, expected 4; download it again");
        assert_eq!(
            error(&images, &files(&[1, 2]).1),
            "t-labels-idx1-ubyte: 2 labels for 3 images; the two files do not belong together"
        );
        assert_eq!(
            error(&images, &files(&[1, 10, 2]).1),
            "t-labels-idx1-ubyte: label 1 is 10, expected 0 to 9"
        );
        let mut wide = images.clone();
        wide[15] = 32;
        assert_eq!(error(&wide, &labels), "t-images-idx3-ubyte.gz: images of 32x28 pixels, expected 28x28");
        let compressed = gzip(&images);
        let corrupt = error(&compressed[..compressed.len() - 9], &labels);
        assert!(corrupt.starts_with("t-images-idx3-ubyte.gz: ") && !corrupt.contains('\n'), "{corrupt}");
    }
}
