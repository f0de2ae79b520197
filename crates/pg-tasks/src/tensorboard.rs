//! Scalars for TensorBoard, written without TensorFlow.
//!
//! An event file is a sequence of TFRecords (length, its checksum, data, its checksum; all little-endian), each
//! holding one `Event` message (tensorflow/core/util/event.proto) in protobuf's wire format.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::run_dir::RunDirError;

/// Writes one event file. Each event goes to the system at once, so that TensorBoard follows a run.
#[derive(Debug)]
pub struct TensorBoard {
    path: PathBuf,
    file: File,
}

impl TensorBoard {
    /// Starts a new file `events.out.tfevents.<seconds>.<host>.<n>` in a folder, with the first n = 0, 1, ... that is
    /// free.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(folder: &Path) -> Result<Self, RunDirError> {
        let now = wall_time();
        let (path, file) = create_new(folder, now as u64)?;
        let mut board = Self { path, file };
        board.write(&version_event(now))?;
        Ok(board)
    }

    /// Adds a point to the curve `tag`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f32) -> Result<(), RunDirError> {
        self.write(&scalar_event(wall_time(), step, tag, value))
    }

    /// The event file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, event: &[u8]) -> Result<(), RunDirError> {
        self.file.write_all(&record(event)).map_err(|error: io::Error| RunDirError::new(&self.path, error))
    }
}

/// A file that no other run, or start of this one, writes to.
fn create_new(folder: &Path, seconds: u64) -> Result<(PathBuf, File), RunDirError> {
    let host = host();
    let mut number = 0u64;
    loop {
        let path = folder.join(format!("events.out.tfevents.{seconds:010}.{host}.{number}"));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(RunDirError::new(&path, error)),
        }
    }
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The name of this machine where the system tells it in a file.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String =
        name.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// Field numbers and wire types of the messages below, as protobuf keys `number << 3 | type`.
mod key {
    const VARINT: u8 = 0;
    const FIXED64: u8 = 1;
    const BYTES: u8 = 2;
    const FIXED32: u8 = 5;

    pub(super) const EVENT_WALL_TIME: u8 = 1 << 3 | FIXED64;
    pub(super) const EVENT_STEP: u8 = 2 << 3 | VARINT;
    pub(super) const EVENT_FILE_VERSION: u8 = 3 << 3 | BYTES;
    pub(super) const EVENT_SUMMARY: u8 = 5 << 3 | BYTES;
    pub(super) const SUMMARY_VALUE: u8 = 1 << 3 | BYTES;
    pub(super) const VALUE_TAG: u8 = 1 << 3 | BYTES;
    pub(super) const VALUE_SIMPLE_VALUE: u8 = 2 << 3 | FIXED32;
}

fn version_event(wall_time: f64) -> Vec<u8> {
    let mut event = vec![key::EVENT_WALL_TIME];
    event.extend(wall_time.to_le_bytes());
    push_bytes(&mut event, key::EVENT_FILE_VERSION, b"brain.Event:2");
    event
}

fn scalar_event(wall_time: f64, step: u64, tag: &str, value: f32) -> Vec<u8> {
    let mut summary_value = Vec::new();
    push_bytes(&mut summary_value, key::VALUE_TAG, tag.as_bytes());
    summary_value.push(key::VALUE_SIMPLE_VALUE);
    summary_value.extend(value.to_le_bytes());

    let mut summary = Vec::new();
    push_bytes(&mut summary, key::SUMMARY_VALUE, &summary_value);

    let mut event = vec![key::EVENT_WALL_TIME];
    event.extend(wall_time.to_le_bytes());
    event.push(key::EVENT_STEP);
    push_varint(&mut event, step);
    push_bytes(&mut event, key::EVENT_SUMMARY, &summary);
    event
}

/// A length-delimited field.
fn push_bytes(message: &mut Vec<u8>, key: u8, bytes: &[u8]) {
    message.push(key);
    push_varint(message, bytes.len() as u64);
    message.extend(bytes);
}

/// Seven bits a byte, lowest first; the high bit says that more follow.
fn push_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// One TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked_crc32c(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc32c(data).to_le_bytes());
    record
}

/// The checksum of a TFRecord: rotated and offset, so that data which holds checksums has an unlike one.
fn masked_crc32c(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// CRC-32C (Castagnoli), not the CRC-32 of zip and PNG.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, &byte| (crc >> 8) ^ CRC32C[((crc ^ u32::from(byte)) & 0xFF) as usize])
}

/// What each byte adds to the remainder by the reversed polynomial.
const CRC32C: [u32; 256] = {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A field of a protobuf message: its number, and its value as the wire type has it.
    #[derive(Debug, PartialEq)]
    enum Field<'a> {
        Varint(u64, u64),
        Fixed64(u64, u64),
        Bytes(u64, &'a [u8]),
        Fixed32(u64, u32),
    }

    fn take<'a>(data: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (head, tail) = data.split_at(count);
        *data = tail;
        head
    }

    fn varint(data: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = take(data, 1)[0];
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    /// Any protobuf message, by the wire format alone.
    fn fields(mut data: &[u8]) -> Vec<Field<'_>> {
        let mut fields = Vec::new();
        while !data.is_empty() {
            let key = varint(&mut data);
            let number = key >> 3;
            fields.push(match key & 7 {
                0 => Field::Varint(number, varint(&mut data)),
                1 => Field::Fixed64(number, u64::from_le_bytes(take(&mut data, 8).try_into().unwrap())),
                2 => {
                    let length = varint(&mut data) as usize;
                    Field::Bytes(number, take(&mut data, length))
                }
                5 => Field::Fixed32(number, u32::from_le_bytes(take(&mut data, 4).try_into().unwrap())),
                other => panic!("wire type {other}"),
            });
        }
        fields
    }

    /// CRC-32C bit by bit, with the mask as TensorFlow's `crc32c::Mask` writes it.
    fn masked(data: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for &byte in data {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
            }
        }
        let crc = !crc;
        crc.rotate_left(17).wrapping_add(0xA282_EAD8)
    }

    fn records(mut data: &[u8]) -> Vec<&[u8]> {
        let mut records = Vec::new();
        while !data.is_empty() {
            let length = take(&mut data, 8);
            assert_eq!(take(&mut data, 4), masked(length).to_le_bytes());
            let record = take(&mut data, u64::from_le_bytes(length.try_into().unwrap()) as usize);
            assert_eq!(take(&mut data, 4), masked(record).to_le_bytes());
            records.push(record);
        }
        records
    }

    #[test]
    fn crc32c_has_its_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA); // RFC 3720, B.4
    }

    #[test]
    fn a_reader_finds_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::create(folder.path()).unwrap();
        let points = [("train/loss", 0, 2.5), ("val/accuracy", 127, f32::NAN), ("L_PG · α", 70_000, -1e-30)];
        for (tag, step, value) in points {
            board.scalar(tag, step, value).unwrap();
        }
        let name = board.path().file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("events.out.tfevents.1") && name.split('.').count() >= 5, "{name}");

        let data = fs::read(board.path()).unwrap();
        let records = records(&data);
        assert_eq!(records.len(), 1 + points.len());
        let [Field::Fixed64(1, _), Field::Bytes(3, b"brain.Event:2")] = fields(records[0])[..] else {
            panic!("no version event");
        };
        for ((tag, step, value), record) in points.into_iter().zip(&records[1..]) {
            let [Field::Fixed64(1, time), Field::Varint(2, read_step), Field::Bytes(5, summary)] =
                fields(record)[..]
            else {
                panic!("no scalar event: {:?}", fields(record));
            };
            assert!(f64::from_bits(time) > 1.6e9);
            assert_eq!(read_step, step);
            let [Field::Bytes(1, summary_value)] = fields(summary)[..] else { panic!("no value") };
            assert_eq!(
                fields(summary_value),
                [Field::Bytes(1, tag.as_bytes()), Field::Fixed32(2, value.to_bits())]
            );
        }
    }

    #[test]
    fn starts_within_a_second_have_files_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            (0..3).map(|_| create_new(folder.path(), 1_700_000_000).unwrap().0).collect();
        for (number, path) in paths.iter().enumerate() {
            assert!(path.to_str().unwrap().ends_with(&format!(".{number}")), "{path:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    proptest! {
        #[test]
        fn any_number_is_a_varint(value in any::<u64>()) {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, value);
            prop_assert_eq!(varint(&mut bytes.as_slice()), value);
        }
    }
}
