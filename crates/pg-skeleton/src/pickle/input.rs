//! The bytes of a pickle, taken one value at a time.

use std::borrow::Cow;

use super::Problem;

pub(super) struct Input<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let end = self.at.checked_add(length).ok_or(Problem::Truncated)?;
        let bytes = self.bytes.get(self.at..end).ok_or(Problem::Truncated)?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        self.take(N)?.try_into().map_err(|_| Problem::Truncated)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Problem> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Problem> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Problem> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Problem> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Problem> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn f64_be(&mut self) -> Result<f64, Problem> {
        self.array().map(f64::from_be_bytes)
    }

    /// Bytes up to a line break, which is skipped.
    pub(super) fn line(&mut self) -> Result<&'a [u8], Problem> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or(Problem::Truncated)?;
        self.at += length + 1;
        let line = &rest[..length];
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    pub(super) fn text_line(&mut self) -> Result<&'a str, Problem> {
        std::str::from_utf8(self.line()?).map_err(|_| Problem::Malformed("a name is not text"))
    }

    pub(super) fn bytes_of(&mut self, length: impl TryInto<usize>) -> Result<&'a [u8], Problem> {
        self.take(length.try_into().map_err(|_| Problem::Truncated)?)
    }

    pub(super) fn text_of(&mut self, length: impl TryInto<usize>) -> Result<Cow<'a, str>, Problem> {
        let text = std::str::from_utf8(self.bytes_of(length)?);
        text.map(Cow::Borrowed).map_err(|_| Problem::Malformed("a string is not UTF-8"))
    }
}

/// A number in two's complement, the last byte first in weight.
pub(super) fn long(bytes: &[u8]) -> Result<i64, Problem> {
    if bytes.len() > 8 {
        return Err(Problem::Malformed("an integer has more than 64 bits"));
    }
    let fill = if bytes.last().is_some_and(|&last| last >= 0x80) { 0xff } else { 0 };
    let mut number = [fill; 8];
    number[..bytes.len()].copy_from_slice(bytes);
    Ok(i64::from_le_bytes(number))
}

/// A string as Python 2 prints it, in quotes.
pub(super) fn quoted(line: &[u8]) -> Result<Vec<u8>, Problem> {
    const MALFORMED: Problem = Problem::Malformed("a quoted string is malformed");
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return Err(MALFORMED),
    };
    let mut bytes = Vec::new();
    let mut rest = inner.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().ok_or(MALFORMED)? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => hex(&mut rest, 2).and_then(|code| u8::try_from(code).ok()).ok_or(MALFORMED)?,
            same @ (b'\\' | b'\'' | b'"') => same,
            _ => return Err(MALFORMED),
        });
    }
    Ok(bytes)
}

/// Text in Python's `raw-unicode-escape`: Latin-1 with `\u0000` and `\U00000000`.
pub(super) fn raw_unicode(line: &[u8]) -> Result<String, Problem> {
    const MALFORMED: Problem = Problem::Malformed("an escape in a string is malformed");
    let mut text = String::new();
    let mut rest = line.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        let digits = match (byte, rest.peek()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                text.push(char::from(byte));
                continue;
            }
        };
        rest.next();
        text.push(hex(&mut rest, digits).and_then(char::from_u32).ok_or(MALFORMED)?);
    }
    Ok(text)
}

fn hex(bytes: &mut impl Iterator<Item = u8>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0, |number: u32, _| Some(number << 4 | char::from(bytes.next()?).to_digit(16)?))
}
