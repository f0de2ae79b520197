//! NumPy arrays as files hold them: bytes, and what to make of them.

use std::borrow::Cow;

/// An array whose number of bytes fits its shape.
#[derive(Debug)]
pub(crate) struct Array<'a> {
    dtype: DType,
    shape: Vec<usize>,
    order: Order,
    bytes: Cow<'a, [u8]>,
}

/// How the elements of an array follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The last axis runs fastest.
    RowMajor,
    /// The first axis runs fastest.
    ColumnMajor,
    /// These axes, the fastest first; each is there once.
    Axes(Vec<usize>),
}

/// What an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DType {
    kind: Kind,
    /// Bytes of an element.
    size: usize,
    big_endian: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Float,
    Signed,
    Unsigned,
    Bool,
    /// UTF-32, filled up with zeros.
    Text,
}

/// A number, or text.
#[derive(Debug, PartialEq)]
pub(crate) enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl DType {
    /// What NumPy writes as `f2`, `<i8`, `|u1` or `U23`.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (big_endian, name) = match name.strip_prefix(['<', '|', '=']) {
            Some(rest) => (false, rest),
            None => name.strip_prefix('>').map_or((false, name), |rest| (true, rest)),
        };
        let mut letters = name.chars();
        let kind = letters.next()?;
        let size: usize = letters.as_str().parse().ok()?;
        let (kind, size) = match (kind, size) {
            ('f', 2 | 4 | 8) => (Kind::Float, size),
            ('i', 1 | 2 | 4 | 8) => (Kind::Signed, size),
            ('u', 1 | 2 | 4 | 8) => (Kind::Unsigned, size),
            ('b', 1) => (Kind::Bool, size),
            ('U', _) => (Kind::Text, size.checked_mul(4)?),
            _ => return None,
        };
        Some(Self { kind, size, big_endian })
    }

    /// The same, of this order of bytes.
    pub(crate) fn with_order(self, big_endian: bool) -> Self {
        Self { big_endian, ..self }
    }

    /// The element of these bytes; `None` if they are too few or no text.
    pub(crate) fn scalar(self, bytes: &[u8]) -> Option<Scalar> {
        let bytes = bytes.get(..self.size)?;
        Some(match self.kind {
            Kind::Bool => Scalar::Bool(bytes != [0]),
            Kind::Float => Scalar::Float(self.float(bytes)),
            Kind::Signed => {
                let bits = self.bits(bytes);
                let unused = 64 - 8 * self.size as u32;
                Scalar::Int((bits << unused).cast_signed() >> unused)
            }
            Kind::Unsigned => Scalar::Int(i64::try_from(self.bits(bytes)).ok()?),
            Kind::Text => Scalar::Text(self.text(bytes)?),
        })
    }

    /// Up to eight bytes as a number.
    fn bits(self, bytes: &[u8]) -> u64 {
        let shift = |bits: u64, &byte: &u8| bits << 8 | u64::from(byte);
        if self.big_endian { bytes.iter().fold(0, shift) } else { bytes.iter().rev().fold(0, shift) }
    }

    fn float(self, bytes: &[u8]) -> f64 {
        let bits = self.bits(bytes);
        match self.size {
            2 => half(bits as u16),
            4 => f32::from_bits(bits as u32).into(),
            _ => f64::from_bits(bits),
        }
    }

    fn text(self, bytes: &[u8]) -> Option<String> {
        let characters = bytes.chunks_exact(4).map(|bytes| char::from_u32(self.bits(bytes) as u32));
        let text: String = characters.collect::<Option<_>>()?;
        Some(text.trim_end_matches('\0').to_owned())
    }
}

/// A number of IEEE 754's binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

impl<'a> Array<'a> {
    /// An array.
    ///
    /// # Errors
    /// What is wrong, if the shape asks for another number of bytes.
    pub(crate) fn new(
        dtype: DType,
        shape: Vec<usize>,
        order: Order,
        bytes: Cow<'a, [u8]>,
    ) -> Result<Self, String> {
        check_length(dtype, &shape, bytes.len())?;
        Ok(Self { dtype, shape, order, bytes })
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of bytes of the elements.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The elements with the last axis running fastest; `None` if they are text.
    pub(crate) fn numbers(&self) -> Option<Vec<f64>> {
        // Also where there is no element to see it by. All others have bytes.
        if self.dtype.kind == Kind::Text {
            return None;
        }
        let number = |bytes: &[u8]| match self.dtype.kind {
            Kind::Float => Some(self.dtype.float(bytes)),
            // Beyond i64, which `scalar` does not give.
            Kind::Unsigned => Some(self.dtype.bits(bytes) as f64),
            _ => match self.dtype.scalar(bytes)? {
                Scalar::Int(number) => Some(number as f64),
                other => Some(f64::from(u8::from(other == Scalar::Bool(true)))),
            },
        };
        let stored: Vec<f64> = self.bytes.chunks_exact(self.dtype.size).map(number).collect::<Option<_>>()?;
        let long_axes = self.shape.iter().filter(|&&length| length > 1).count();
        Some(match &self.order {
            _ if long_axes < 2 || stored.is_empty() => stored,
            Order::RowMajor => stored,
            Order::ColumnMajor => row_major(&stored, &self.shape, 0..self.shape.len()),
            Order::Axes(axes) => row_major(&stored, &self.shape, axes.iter().copied()),
        })
    }

    /// Its only element.
    pub(crate) fn scalar(&self) -> Option<Scalar> {
        if self.shape.iter().all(|&length| length == 1) { self.dtype.scalar(&self.bytes) } else { None }
    }
}

/// Checks that `shape` elements take `bytes` bytes.
pub(crate) fn check_length(dtype: DType, shape: &[usize], bytes: usize) -> Result<(), String> {
    let expected = shape.iter().try_fold(dtype.size, |product, &length| product.checked_mul(length));
    if expected == Some(bytes) {
        return Ok(());
    }
    let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
    Err(format!(
        "an array of {shape} elements of {} bytes has {bytes} bytes; write the file again",
        dtype.size
    ))
}

/// Numbers in row-major order that are stored in another: the axes, the fastest first.
fn row_major(stored: &[f64], shape: &[usize], fastest_first: impl Iterator<Item = usize>) -> Vec<f64> {
    let mut strides = vec![0; shape.len()];
    let mut stride = 1;
    for axis in fastest_first {
        strides[axis] = stride;
        stride *= shape[axis];
    }
    let position = |mut index: usize| {
        shape.iter().zip(&strides).rev().fold(0, |position, (&length, &stride)| {
            let along = index % length;
            index /= length;
            position + along * stride
        })
    };
    (0..stored.len()).map(|index| stored[position(index)]).collect()
}

/// How much may still be made of a file's arrays. A pickle can name one array a million times.
pub(crate) struct Allowance(usize);

impl Allowance {
    /// For a file of `bytes` bytes; a few of its arrays may well be named more than once.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(bytes.saturating_mul(4).saturating_add(1 << 16))
    }

    /// Takes `bytes` of it.
    ///
    /// # Errors
    /// What is wrong, if there is not so much left.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.0 = self
            .0
            .checked_sub(bytes)
            .ok_or("repeats what is stored once, over and over; store it where it is used")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(dtype: &str, shape: &[usize], order: Order, bytes: &[u8]) -> Result<Array<'static>, String> {
        Array::new(DType::parse(dtype).unwrap(), shape.to_vec(), order, bytes.to_vec().into())
    }

    #[test]
    fn halves_are_those_of_ieee_754() {
        for (bits, expected) in [
            (0x0000, 0.0),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x03ff, 6.097_555_160_522_461e-5),
            (0x0400, 6.103_515_625e-5),
            (0x3555, 0.333_251_953_125),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), expected, "{bits:#x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn numbers_of_every_type_and_order_are_read() {
        for (dtype, bytes, expected) in [
            ("f2", &[0x00, 0x3c][..], 1.0),
            (">f2", &[0x3c, 0x00], 1.0),
            ("<f4", &[0, 0, 0x80, 0x3f], 1.0),
            (">f8", &[0x3f, 0xf0, 0, 0, 0, 0, 0, 0], 1.0),
            ("|i1", &[0xff], -1.0),
            ("|u1", &[0xff], 255.0),
            ("<i2", &[0xfe, 0xff], -2.0),
            (">u2", &[0x01, 0x02], 258.0),
            ("<i4", &[0xff; 4], -1.0),
            ("<u4", &[0xff; 4], 4_294_967_295.0),
            (">i8", &[0, 0, 0, 0, 0, 0, 0, 7], 7.0),
            ("<u8", &[0xff; 8], 18_446_744_073_709_551_615.0),
            ("|b1", &[1], 1.0),
        ] {
            let array = array(dtype, &[1], Order::RowMajor, bytes).unwrap();
            assert_eq!(array.numbers(), Some(vec![expected]), "{dtype}");
        }
        for dtype in ["f3", "O8", "M8", "V4", "S3", "f", "", "U18446744073709551615"] {
            assert_eq!(DType::parse(dtype), None, "{dtype}");
        }
    }

    #[test]
    fn every_order_is_undone_on_any_number_of_axes() {
        use Order::{Axes, ColumnMajor, RowMajor};
        let numbers =
            |order, shape: &[usize], bytes: &[u8]| array("u1", shape, order, bytes).unwrap().numbers();
        let six = [1, 2, 3, 4, 5, 6];
        assert_eq!(numbers(ColumnMajor, &[2, 3], &six), Some(vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0]));
        assert_eq!(numbers(RowMajor, &[2, 3], &six), Some(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        // numpy.arange(8).reshape(2, 2, 2).ravel(order="F")
        let cube = numbers(ColumnMajor, &[2, 2, 2], &[0, 4, 2, 6, 1, 5, 3, 7]);
        assert_eq!(cube, Some((0..8).map(f64::from).collect()));
        // numpy.arange(12).reshape(2, 3, 2).transpose(1, 2, 0)
        let turned = [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11].map(f64::from);
        let stored: Vec<u8> = (0..12).collect();
        assert_eq!(numbers(Axes(vec![1, 0, 2]), &[3, 2, 2], &stored), Some(turned.to_vec()));
        for order in [ColumnMajor, Axes(vec![1, 0, 2])] {
            assert_eq!(numbers(order, &[0, usize::MAX, usize::MAX], &[]), Some(Vec::new()));
        }
    }

    #[test]
    fn shapes_must_fit_the_bytes() {
        let error = |shape: &[usize]| array("f4", shape, Order::RowMajor, &[0; 8]).unwrap_err();
        assert_eq!(error(&[3]), "an array of 3 elements of 4 bytes has 8 bytes; write the file again");
        assert_eq!(
            error(&[usize::MAX, 9]),
            "an array of 18446744073709551615 x 9 elements of 4 bytes has 8 bytes; write the file again"
        );
        assert!(array("f4", &[0, usize::MAX], Order::RowMajor, &[]).is_ok());
    }

    #[test]
    fn text_is_read_without_its_padding() {
        let bytes: Vec<u8> = "ré\0".chars().flat_map(|c| (c as u32).to_be_bytes()).collect();
        let array =
            |dtype: &str, shape: &[usize], bytes: &[u8]| array(dtype, shape, Order::RowMajor, bytes).unwrap();
        assert_eq!(array(">U3", &[], &bytes).scalar(), Some(Scalar::Text("ré".into())));
        assert_eq!(array("U1", &[], &[0xff; 4]).scalar(), None);
        assert_eq!(array("U1", &[1], &[0; 4]).numbers(), None);
        assert_eq!(array("U0", &[1, 17], &[]).numbers(), None, "17 empty texts take no bytes");
        assert_eq!(array("U1", &[0], &[]).numbers(), None);
    }

    #[test]
    fn what_is_repeated_is_limited() {
        let mut allowance = Allowance::new(1 << 20);
        assert_eq!((0..9).filter(|_| allowance.take(1 << 20).is_ok()).count(), 4);
    }
}
