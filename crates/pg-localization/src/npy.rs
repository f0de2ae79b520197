//! NumPy's `.npy` arrays of floating-point numbers.
//!
//! Written here because a broken header must be an error: it is the only part of a file that says how large the rest is.

use std::path::Path;

use crate::score_files::ScoreFileError;

/// An array, row by row.
#[derive(Debug)]
pub(crate) struct Array {
    pub(crate) shape: Vec<u64>,
    pub(crate) numbers: Vec<f64>,
}

/// Reads a file of the bytes `bytes`, named `path` in errors.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Array, ScoreFileError> {
    let malformed = |reason| ScoreFileError::Header { path: path.to_owned(), reason };
    let (header, data) = split(bytes).map_err(malformed)?;
    let kind = text(header, "descr").map_err(malformed)?;
    let is_fortran = flag(header, "fortran_order").map_err(malformed)?;
    let shape = shape(header).map_err(malformed)?;
    let numbers: fn(&[u8]) -> Vec<f64> = match kind {
        "<f8" => |data| data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        ">f8" => |data| data.as_chunks().0.iter().map(|&b| f64::from_be_bytes(b)).collect(),
        "<f4" => |data| data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
        ">f4" => |data| data.as_chunks().0.iter().map(|&b| f32::from_be_bytes(b).into()).collect(),
        _ => return Err(ScoreFileError::Type { path: path.to_owned(), found: kind.to_owned() }),
    };
    let size = if kind.ends_with('8') { 8 } else { 4 };
    let (found, expected) = (
        data.len() as u64,
        shape.iter().try_fold(size, |product: u64, &n| product.checked_mul(n)).unwrap_or(u64::MAX),
    );
    if found != expected {
        return Err(ScoreFileError::Length { path: path.to_owned(), found, expected });
    }
    let numbers = numbers(data);
    let numbers = match shape[..] {
        [height, width] if is_fortran => transposed(&numbers, width as usize, height as usize),
        _ => numbers,
    };
    Ok(Array { shape, numbers })
}

/// A file of version 1 with float64 numbers, row by row.
pub(crate) fn write(height: u32, width: u32, numbers: &[f64]) -> Vec<u8> {
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({height}, {width}), }}");
    // Padded with spaces to a multiple of 64, and ended by a line break.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{header:<width$}\n", width = length - 1).bytes());
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

/// A column-major array of two axes row by row.
fn transposed(numbers: &[f64], width: usize, height: usize) -> Vec<f64> {
    (0..height).flat_map(|y| (0..width).map(move |x| numbers[x * height + y])).collect()
}

/// Header and data.
fn split(bytes: &[u8]) -> Result<(&str, &[u8]), String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("does not start as a .npy file")?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or("ends within its header")?;
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk().map(|(n, rest)| (u16::from_le_bytes(*n) as usize, rest)),
        2 | 3 => rest.split_first_chunk().map(|(n, rest)| (u32::from_le_bytes(*n) as usize, rest)),
        other => return Err(format!(".npy version {other} is unknown")),
    }
    .ok_or("ends within its header")?;
    let (header, data) = rest.split_at_checked(length).ok_or("ends within its header")?;
    let header = std::str::from_utf8(header).map_err(|_| "its header is not text")?;
    Ok((header, data))
}

/// What follows a key of the header, which is a Python dictionary such as
/// `{'descr': '<f8', 'fortran_order': False, 'shape': (224, 224), }`.
fn value<'a>(header: &'a str, key: &str) -> Result<&'a str, String> {
    let missing = || format!("its header has no `{key}`");
    let after = header.split_once(&format!("'{key}'")).ok_or_else(missing)?.1;
    Ok(after.trim_start().strip_prefix(':').ok_or_else(missing)?.trim_start())
}

/// A string; of a type that is none (a record's, say) all of it.
fn text<'a>(header: &'a str, key: &str) -> Result<&'a str, String> {
    let value = value(header, key)?;
    Ok(value
        .strip_prefix('\'')
        .and_then(|rest| rest.split_once('\''))
        .map_or(value.trim_end(), |(text, _)| text))
}

fn flag(header: &str, key: &str) -> Result<bool, String> {
    let value = value(header, key)?;
    match (value.starts_with("True"), value.starts_with("False")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(format!("its `{key}` is neither True nor False")),
    }
}

fn shape(header: &str) -> Result<Vec<u64>, String> {
    let malformed = || "its `shape` is no tuple of numbers".to_owned();
    let inner = value(header, "shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let axes = inner.ok_or_else(malformed)?.0.split(',').map(str::trim).filter(|axis| !axis.is_empty());
    axes.map(|axis| axis.parse().map_err(|_| malformed())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let numbers = [0.0, 0.25, 0.5, 0.75, 1.0, 0.1];
        let bytes = write(2, 3, &numbers);
        assert_eq!((bytes.len() - 48) % 64, 0);
        let array = parse(Path::new("x.npy"), &bytes).unwrap();
        assert_eq!((array.shape, array.numbers), (vec![2, 3], numbers.to_vec()));
    }

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    fn parsed(bytes: &[u8]) -> Result<Array, String> {
        parse(Path::new("m.npy"), bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn all_floats_of_either_order_are_read() {
        let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let header = |kind, fortran| {
            format!("{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': (2, 3), }}  \n")
        };
        let all =
            |bytes: &dyn Fn(f64) -> Vec<u8>| numbers.iter().flat_map(|&n| bytes(n)).collect::<Vec<u8>>();
        for (kind, data) in [
            ("<f8", all(&|n| n.to_le_bytes().to_vec())),
            (">f8", all(&|n| n.to_be_bytes().to_vec())),
            ("<f4", all(&|n| (n as f32).to_le_bytes().to_vec())),
            (">f4", all(&|n| (n as f32).to_be_bytes().to_vec())),
        ] {
            let array = parsed(&file(&header(kind, "False"), &data)).unwrap();
            assert_eq!((array.shape, array.numbers), (vec![2, 3], numbers.to_vec()));
            let array = parsed(&file(&header(kind, "True"), &data)).unwrap();
            assert_eq!(array.numbers, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
        }
    }

    #[test]
    fn what_is_broken_is_said() {
        let good = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }";
        for (bytes, message) in [
            (b"P5 1 1".to_vec(), "does not start as a .npy file"),
            (b"\x93NUMPY\x01".to_vec(), "ends within its header"),
            (b"\x93NUMPY\x09\x00\x00\x00".to_vec(), ".npy version 9 is unknown"),
            (file(good, &[0; 8])[..40].to_vec(), "ends within its header"),
            (file("{'descr': '<f8'}", &[]), "its header has no `fortran_order`"),
            (file(&good.replace("False", "0"), &[]), "neither True nor False"),
            (file(&good.replace("(1, 1)", "1"), &[]), "no tuple of numbers"),
            (file(&good.replace("(1, 1)", "(1, -1)"), &[]), "no tuple of numbers"),
            (file(&good.replace("<f8", "|O"), &[]), "scores of type |O, expected float32 or float64"),
            (file(&good.replace("'<f8'", "[('a', '<f8')]"), &[]), "scores of type [("),
            (file(good, &[0; 9]), "9 bytes of scores, expected 8"),
            (
                file(&good.replace("(1, 1)", "(9999999999999999999, 9)"), &[0; 8]),
                "8 bytes of scores, expected 18446744073709551615",
            ),
        ] {
            let error = parsed(&bytes).unwrap_err();
            assert!(error.starts_with("m.npy: ") && error.contains(message), "{error}");
        }
        assert!(parsed(&file(good, &[0; 8])).is_ok());
    }
}
