//! NumPy's `.npy` (its `numpy.lib.format`): a Python dictionary that tells the element type and the shape, then
//! the elements.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::array::{Array, DType, Order};
use crate::error::one_line;

/// Reads a file.
///
/// # Errors
/// What is wrong.
pub(super) fn parse(bytes: &[u8]) -> Result<Array<'_>, String> {
    let (header, data) = split(bytes).ok_or("is no complete .npy file; copy it again")?;
    let dtype = value(header, "descr").ok_or("its header has no `descr`; write it with NumPy")?;
    // Of records, the type is a list.
    let name = match dtype.strip_prefix('\'').and_then(|rest| rest.split_once('\'')) {
        Some((name, _)) => name,
        None => dtype.split("'fortran_order'").next().unwrap_or(dtype).trim_end_matches([',', ' ']),
    };
    let dtype = DType::parse(name).ok_or_else(|| {
        format!("its elements are of type `{}`; store numbers of 1 to 8 bytes", one_line(name))
    })?;
    let fortran =
        value(header, "fortran_order").ok_or("its header has no `fortran_order`; write it with NumPy")?;
    let shape =
        value(header, "shape").and_then(shape).ok_or("its header has no `shape`; write it with NumPy")?;
    let order = if fortran.starts_with("True") { Order::ColumnMajor } else { Order::RowMajor };
    Array::new(dtype, shape, order, Cow::Borrowed(data))
}

/// Header and data.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (&[major, _], rest) = rest.split_first_chunk()?;
    let (length, rest) = match major {
        1 => rest.split_first_chunk().map(|(&length, rest)| (u16::from_le_bytes(length).into(), rest))?,
        2 | 3 => rest.split_first_chunk().map(|(&length, rest)| (u32::from_le_bytes(length), rest))?,
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// What follows a key.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let after = header.split_once(&format!("'{key}'"))?.1;
    Some(after.trim_start().strip_prefix(':')?.trim())
}

fn shape(value: &str) -> Option<Vec<usize>> {
    let axes = value.strip_prefix('(')?.split_once(')')?.0.split(',');
    axes.map(str::trim).filter(|axis| !axis.is_empty()).map(|axis| axis.parse().ok()).collect()
}

/// Writes what comes before the elements, row by row.
pub(super) fn write_header(file: &mut impl Write, dtype: &str, shape: &[usize]) -> io::Result<()> {
    let axes: String = shape.iter().map(|axis| format!("{axis}, ")).collect();
    let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({axes}), }}");
    // Padded with spaces to a multiple of 64, and ended by a line break.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(length as u16).to_le_bytes())?;
    writeln!(file, "{header:<width$}", width = length - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut bytes = Vec::new();
        write_header(&mut bytes, "<f4", &[2, 1]).unwrap();
        assert_eq!(bytes.len() % 64, 0);
        bytes.extend([1.0f32, 2.0].iter().flat_map(|number| number.to_le_bytes()));
        let array = parse(&bytes).unwrap();
        assert_eq!((array.shape(), array.numbers()), (&[2, 1][..], Some(vec![1.0, 2.0])));
    }

    #[test]
    fn what_is_broken_is_said() {
        let good = "{'descr': '<u1', 'fortran_order': False, 'shape': (1, 2), }";
        assert!(parse(&file(good, &[0; 2])).is_ok());
        for (bytes, message) in [
            (b"P5".to_vec(), "is no complete .npy file; copy it again"),
            (file(good, &[])[..40].to_vec(), "is no complete .npy file; copy it again"),
            (file(good, &[0]), "an array of 1 x 2 elements of 1 bytes has 1 bytes; write the file again"),
            (file("{}", &[]), "its header has no `descr`; write it with NumPy"),
            (file("{'descr': '<u1'}", &[]), "its header has no `fortran_order`; write it with NumPy"),
            (file(&good.replace("(1, 2)", "(1, -2)"), &[]), "its header has no `shape`; write it with NumPy"),
            (
                file(&good.replace("<u1", "|O"), &[]),
                "its elements are of type `|O`; store numbers of 1 to 8 bytes",
            ),
            (
                file(&good.replace("'<u1'", "[('a', '<f8')]"), &[]),
                "its elements are of type `[('a', '<f8')]`; store numbers of 1 to 8 bytes",
            ),
        ] {
            assert_eq!(parse(&bytes).unwrap_err(), message);
        }
    }
}
