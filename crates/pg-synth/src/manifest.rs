//! The edit manifest: which edited file belongs to which original.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io, path};

use serde_json::{Map, Value};
use thiserror::Error;

/// One edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditRecord {
    /// File of the original.
    pub original: PathBuf,
    /// File of the edit.
    pub edited: PathBuf,
    /// Class of both, from 0.
    pub label: u32,
    /// File of a mask of the edit: white where the edit left the original alone.
    pub mask: Option<PathBuf>,
    /// Text that the editor was given.
    pub prompt: Option<String>,
    /// Editor, such as `img2img`.
    pub method: Option<String>,
    /// The editor's seed.
    pub seed: Option<u64>,
}

/// Why a manifest cannot be used. Every message names the file and, where there is one, the line.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("{}: {reason}; check the path", file.display())]
    Read {
        /// The manifest.
        file: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The file, or a path to be written to it, cannot be written.
    #[error("{}: {reason}; check that its folder exists and is writable", file.display())]
    Write {
        /// The manifest.
        file: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The extension names no known format.
    #[error("{}: unknown manifest format; name it .csv or .jsonl", file.display())]
    Extension {
        /// The manifest.
        file: PathBuf,
    },
    /// The file has no rows.
    #[error("{}: no rows; list at least one edit", file.display())]
    NoRows {
        /// The manifest.
        file: PathBuf,
    },
    /// A line is not UTF-8.
    #[error("{}:{line}: not UTF-8 text; save the manifest as UTF-8", file.display())]
    NotUtf8 {
        /// The manifest.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
    },
    /// A line is not the CSV or JSON that the extension promises.
    #[error("{}:{line}: {reason}; correct the line", file.display())]
    Syntax {
        /// The manifest.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What the parser says.
        reason: String,
    },
    /// The CSV header lacks a column.
    #[error("{}:1: no column `{column}`; the header needs original,edited,label", file.display())]
    MissingColumn {
        /// The manifest.
        file: PathBuf,
        /// The column.
        column: &'static str,
    },
    /// A required field is absent or empty.
    #[error("{}:{line}: `{column}` is missing or empty; fill it in", file.display())]
    MissingField {
        /// The manifest.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// The field.
        column: &'static str,
    },
    /// A field holds a value of another type.
    #[error("{}:{line}: `{column}` is {found}; write {expected}", file.display())]
    WrongType {
        /// The manifest.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// The field.
        column: &'static str,
        /// The value, as JSON.
        found: Value,
        /// What it has to be.
        expected: &'static str,
    },
    /// A row repeats another.
    #[error("{}:{line}: repeats line {first}; remove one of them", file.display())]
    DuplicateRow {
        /// The manifest.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Line of the first of the two.
        first: u64,
    },
    /// Two different rows name one edited file.
    #[error(
        "{}:{line}: `{}` is already the edit of line {first}; keep the true one",
        file.display(), edited.display()
    )]
    EditTwice {
        /// The manifest.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Line of the first of the two.
        first: u64,
        /// The edited file.
        edited: PathBuf,
    },
    /// An original is listed as its own edit.
    #[error("{}:{line}: `{}` is both original and edited; name two files", file.display(), original.display())]
    OwnEdit {
        /// The manifest.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// The image.
        original: PathBuf,
    },
    /// The original does not exist.
    #[error(
        "{}:{line}: no original at `{}`; paths are relative to the manifest's folder",
        file.display(), path.display()
    )]
    OriginalNotFound {
        /// The manifest.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Where it should be.
        path: PathBuf,
    },
    /// The edit does not exist.
    #[error(
        "{}:{line}: no edited image at `{}`; paths are relative to the manifest's folder",
        file.display(), path.display()
    )]
    EditedNotFound {
        /// The manifest.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Where it should be.
        path: PathBuf,
    },
    /// The mask does not exist.
    #[error(
        "{}:{line}: no mask at `{}`; paths are relative to the manifest's folder",
        file.display(), path.display()
    )]
    MaskNotFound {
        /// The manifest.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Where it should be.
        path: PathBuf,
    },
}

/// Reads a manifest and checks that its files exist. The extension names the format: `.csv` with the header
/// `original,edited,label[,mask,prompt,method,seed]` in any order, or `.jsonl` (JSON lines) with one object of the
/// same fields a line. Other columns are ignored. Relative paths start at the manifest's folder.
///
/// # Errors
/// [`ManifestError`], for the first line that is wrong.
pub fn read_manifest(file: &Path) -> Result<Vec<EditRecord>, ManifestError> {
    let bytes = fs::read(file).map_err(|reason| ManifestError::Read { file: file.to_owned(), reason })?;
    let rows = match file.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => csv_rows(file, &bytes)?,
        Some("jsonl") => json_rows(file, &bytes)?,
        _ => return Err(ManifestError::Extension { file: file.to_owned() }),
    };
    if rows.is_empty() {
        return Err(ManifestError::NoRows { file: file.to_owned() });
    }
    let mut seen = HashMap::new();
    let mut records: Vec<EditRecord> = Vec::with_capacity(rows.len());
    for row in rows {
        let record = row.record()?;
        match seen.entry(row.check_files(&record)?) {
            Entry::Vacant(place) => {
                place.insert((records.len(), row.line));
            }
            Entry::Occupied(place) => {
                let (index, first) = *place.get();
                return Err(row.clash(record, &records[index], first));
            }
        }
        records.push(record);
    }
    Ok(records)
}

/// Writes a manifest as CSV, with paths relative to its folder where they lie below it and absolute
/// otherwise. It is written beside its place and renamed, so that an interruption leaves the old manifest or the new one.
///
/// # Errors
/// [`ManifestError::Write`].
pub fn write_manifest(file: &Path, records: &[EditRecord]) -> Result<(), ManifestError> {
    let failed = |reason: String| ManifestError::Write { file: file.to_owned(), reason };
    let folder = path::absolute(file).map_err(|error| failed(error.to_string()))?;
    let folder = folder.parent().unwrap_or(&folder);
    let portable = |image: &Path| {
        let image = path::absolute(image).map_err(|error| failed(error.to_string()))?;
        let image = image.strip_prefix(folder).unwrap_or(&image);
        image.to_str().map(str::to_owned).ok_or_else(|| failed(format!("`{}` is not UTF-8", image.display())))
    };

    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write =
        |row: &[String; COLUMNS.len()]| writer.write_record(row).map_err(|error| failed(error.to_string()));
    write(&COLUMNS.map(str::to_owned))?;
    for record in records {
        let (prompt, method) = (record.prompt.clone(), record.method.clone());
        write(&[
            portable(&record.original)?,
            portable(&record.edited)?,
            record.label.to_string(),
            record.mask.as_deref().map_or_else(|| Ok(String::new()), portable)?,
            prompt.unwrap_or_default(),
            method.unwrap_or_default(),
            record.seed.map(|seed| seed.to_string()).unwrap_or_default(),
        ])?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
    // A link stays one.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let unfinished = beside(file);
    fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, file)).map_err(|error| {
        // It may not have been made at all, and the first error is the one to report.
        let _ = fs::remove_file(&unfinished);
        failed(error.to_string())
    })
}

/// A name in the same folder, thus on the same file system, that no other process uses.
fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    file.with_file_name(name)
}

const COLUMNS: [&str; 7] = ["original", "edited", "label", "mask", "prompt", "method", "seed"];
const REQUIRED: [&str; 3] = ["original", "edited", "label"];

/// A line of either format. Numbers in CSV have become JSON numbers.
struct Row<'a> {
    file: &'a Path,
    line: u64,
    fields: Map<String, Value>,
}

impl Row<'_> {
    fn record(&self) -> Result<EditRecord, ManifestError> {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let missing =
            |column| ManifestError::MissingField { file: self.file.to_owned(), line: self.line, column };
        let file = |column| Ok(self.text(column)?.map(|path| folder.join(path)));
        let image = |column| file(column)?.ok_or_else(|| missing(column));
        Ok(EditRecord {
            original: image("original")?,
            edited: image("edited")?,
            label: self
                .number("label", "a whole number from 0 to 4294967295")?
                .ok_or_else(|| missing("label"))?,
            mask: file("mask")?,
            prompt: self.text("prompt")?,
            method: self.text("method")?,
            seed: self.number("seed", "a whole number of at most 64 bits, or nothing")?,
        })
    }

    /// Text that is not blank.
    fn text(&self, column: &'static str) -> Result<Option<String>, ManifestError> {
        match self.fields.get(column) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Some(other) => Err(self.wrong_type(column, other, "text in quotes")),
        }
    }

    fn number<T: TryFrom<u64>>(
        &self,
        column: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ManifestError> {
        match self.fields.get(column) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(value) => match value.as_u64().and_then(|number| T::try_from(number).ok()) {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong_type(column, value, expected)),
            },
        }
    }

    fn wrong_type(&self, column: &'static str, found: &Value, expected: &'static str) -> ManifestError {
        let (file, found) = (self.file.to_owned(), found.clone());
        ManifestError::WrongType { file, line: self.line, column, found, expected }
    }

    /// Checks that the images and the mask exist, and that original and edit differ; returns what identifies the edit.
    fn check_files(&self, record: &EditRecord) -> Result<PathBuf, ManifestError> {
        let (file, line) = (self.file.to_owned(), self.line);
        let Some(original) = existing(&record.original) else {
            return Err(ManifestError::OriginalNotFound { file, line, path: record.original.clone() });
        };
        let Some(edited) = existing(&record.edited) else {
            return Err(ManifestError::EditedNotFound { file, line, path: record.edited.clone() });
        };
        if let Some(path) = record.mask.clone().filter(|mask| existing(mask).is_none()) {
            return Err(ManifestError::MaskNotFound { file, line, path });
        }
        if original == edited {
            return Err(ManifestError::OwnEdit { file, line, original: record.original.clone() });
        }
        Ok(edited)
    }

    /// The error for a record whose edited file line `first` has already named.
    fn clash(&self, record: EditRecord, earlier: &EditRecord, first: u64) -> ManifestError {
        let (file, line) = (self.file.to_owned(), self.line);
        if record == *earlier {
            ManifestError::DuplicateRow { file, line, first }
        } else {
            ManifestError::EditTwice { file, line, first, edited: record.edited }
        }
    }
}

/// The one name of an existing file, whichever way it was written.
fn existing(image: &Path) -> Option<PathBuf> {
    image.canonicalize().ok().filter(|image| image.is_file())
}

fn csv_rows<'a>(file: &'a Path, bytes: &[u8]) -> Result<Vec<Row<'a>>, ManifestError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let header = reader.headers().map_err(|error| csv_error(file, bytes, &error))?.clone();
    if let Some(column) = REQUIRED.into_iter().find(|column| !header.iter().any(|name| name == *column)) {
        return Err(ManifestError::MissingColumn { file: file.to_owned(), column });
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| csv_error(file, bytes, &error))?;
        let line = record.position().map_or(0, |position| line_of(position, bytes));
        let fields = header.iter().zip(&record).map(|(name, text)| (name.to_owned(), csv_value(name, text)));
        rows.push(Row { file, line, fields: fields.collect() });
    }
    Ok(rows)
}

/// The text of a CSV field as the value that the JSON format would hold.
fn csv_value(column: &str, text: &str) -> Value {
    match text.parse::<u64>() {
        Ok(number) if column == "label" || column == "seed" => Value::from(number),
        _ => Value::from(text),
    }
}

fn csv_error(file: &Path, bytes: &[u8], error: &csv::Error) -> ManifestError {
    let file = file.to_owned();
    let line = error.position().map_or(1, |position| line_of(position, bytes));
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => ManifestError::NotUtf8 { file, line },
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => ManifestError::Syntax {
            file,
            line,
            reason: format!("{len} fields where the header has {expected_len}"),
        },
        _ => ManifestError::Syntax { file, line, reason: error.to_string() },
    }
}

/// Line of the record at `position`, which the reader reports before it skips blank lines.
fn line_of(position: &csv::Position, bytes: &[u8]) -> u64 {
    let rest = bytes.get(position.byte() as usize..).unwrap_or_default();
    let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + blank.filter(|&&byte| byte == b'\n').count() as u64
}

fn json_rows<'a>(file: &'a Path, bytes: &[u8]) -> Result<Vec<Row<'a>>, ManifestError> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut rows = Vec::new();
    for (line, bytes) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let text =
            str::from_utf8(bytes).map_err(|_| ManifestError::NotUtf8 { file: file.to_owned(), line })?;
        if text.trim().is_empty() {
            continue;
        }
        let fields = json_object(text).map_err(|reason| ManifestError::Syntax {
            file: file.to_owned(),
            line,
            reason,
        })?;
        rows.push(Row { file, line, fields });
    }
    Ok(rows)
}

fn json_object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(format!("{other} is not a JSON object")),
        Err(error) => {
            // Its own line number counts from the start of `text`.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            Err(format!("{message} (column {})", error.column()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A folder with the images `a.png`, `b.png`, `edits/a.png` and `edits/b.png`.
    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("edits")).unwrap();
        for image in ["a.png", "b.png", "edits/a.png", "edits/b.png"] {
            fs::write(folder.path().join(image), b"image").unwrap();
        }
        folder
    }

    /// Reads `text` as a manifest of that name; an error comes back as text without the folder.
    fn read(name: &str, text: impl AsRef<[u8]>) -> Result<Vec<EditRecord>, String> {
        let folder = folder();
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let strip = |image: PathBuf| image.strip_prefix(folder.path()).unwrap().to_owned();
        read_manifest(&file)
            .map(|records| {
                let strip = |record: EditRecord| EditRecord {
                    original: strip(record.original),
                    edited: strip(record.edited),
                    mask: record.mask.map(strip),
                    ..record
                };
                records.into_iter().map(strip).collect()
            })
            .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    fn record(name: &str, label: u32) -> EditRecord {
        let (original, edited) = (PathBuf::from(name), Path::new("edits").join(name));
        EditRecord { original, edited, label, mask: None, prompt: None, method: None, seed: None }
    }

    #[test]
    fn both_formats_hold_the_same_records() {
        let full = EditRecord {
            prompt: Some("a bird, \"flying\"".into()),
            method: Some("img2img".into()),
            seed: Some(u64::MAX),
            mask: Some("edits/b.png".into()),
            ..record("a.png", 3)
        };
        let expected = Ok(vec![full, record("b.png", 0)]);
        let csv = "\u{feff}label, original ,seed,edited,method,prompt,extra,mask\r\n\
                   3,a.png,18446744073709551615,edits/a.png,img2img,\"a bird, \"\"flying\"\"\",x,edits/b.png\r\n\r\n\
                   0,b.png,,edits/b.png,, ,,\r\n";
        assert_eq!(read("m.csv", csv), expected);
        let json = "\u{feff}{\"original\": \"a.png\", \"edited\": \"edits/a.png\", \"label\": 3, \
                    \"mask\": \"edits/b.png\", \"prompt\": \"a bird, \\\"flying\\\"\", \"method\": \"img2img\", \"seed\": 18446744073709551615}\r\n\
                    \n{\"original\": \"b.png\", \"edited\": \"edits/b.png\", \"label\": 0, \"prompt\": null, \"x\": []}";
        assert_eq!(read("m.jsonl", json), expected);
        assert_eq!(read("m.csv", "original,edited,label\na.png,edits/a.png,1"), Ok(vec![record("a.png", 1)]));
    }

    #[test]
    fn broken_manifests_are_explained_in_one_line() {
        let header = "original,edited,label,seed\n";
        let csv = |rows: &str| format!("{header}{rows}").into_bytes();
        let cases: [(&str, Vec<u8>, &str); 26] = [
            ("m.txt", csv(""), "m.txt: unknown manifest format; name it .csv or .jsonl"),
            ("m.csv", csv(""), "m.csv: no rows; list at least one edit"),
            ("m.csv", vec![], "m.csv:1: no column `original`; the header needs original,edited,label"),
            ("m.jsonl", b"\n\n".to_vec(), "m.jsonl: no rows; list at least one edit"),
            (
                "m.csv",
                b"original,edited\na.png,edits/a.png\n".to_vec(),
                "m.csv:1: no column `label`; the header needs original,edited,label",
            ),
            (
                "m.csv",
                csv("a.png,edits/a.png,1\n"),
                "m.csv:2: 3 fields where the header has 4; correct the line",
            ),
            ("m.csv", csv("\n\na.png,,1,\n"), "m.csv:4: `edited` is missing or empty; fill it in"),
            ("m.csv", csv(" ,edits/a.png,1,\n"), "m.csv:2: `original` is missing or empty; fill it in"),
            ("m.csv", csv("a.png,edits/a.png,,\n"), "m.csv:2: `label` is missing or empty; fill it in"),
            (
                "m.csv",
                csv("a.png,edits/a.png,cat,\n"),
                "m.csv:2: `label` is \"cat\"; write a whole number from 0 to 4294967295",
            ),
            (
                "m.csv",
                csv("a.png,edits/a.png,-1,\n"),
                "m.csv:2: `label` is \"-1\"; write a whole number from 0 to 4294967295",
            ),
            (
                "m.csv",
                csv("a.png,edits/a.png,4294967296,\n"),
                "m.csv:2: `label` is 4294967296; write a whole number from 0 to 4294967295",
            ),
            (
                "m.csv",
                csv("a.png,edits/a.png,1,x\n"),
                "m.csv:2: `seed` is \"x\"; write a whole number of at most 64 bits, or nothing",
            ),
            (
                "m.csv",
                csv("a.png,edits/a.png,1,\nb.png,edits/b.png,1,\na.png,./edits/a.png,1,\n"),
                "m.csv:4: repeats line 2; remove one of them",
            ),
            (
                "m.csv",
                csv("a.png,edits/a.png,1,\nb.png,edits/a.png,1,\n"),
                "m.csv:3: `edits/a.png` is already the edit of line 2; keep the true one",
            ),
            (
                "m.csv",
                csv("a.png,edits/../a.png,1,\n"),
                "m.csv:2: `a.png` is both original and edited; name two files",
            ),
            (
                "m.csv",
                csv("c.png,edits/a.png,1,\n"),
                "m.csv:2: no original at `c.png`; paths are relative to the manifest's folder",
            ),
            (
                "m.csv",
                csv("a.png,edits,1,\n"),
                "m.csv:2: no edited image at `edits`; paths are relative to the manifest's folder",
            ),
            (
                "m.csv",
                [header.as_bytes(), b"a.png,\xff.png,1,\n"].concat(),
                "m.csv:2: not UTF-8 text; save the manifest as UTF-8",
            ),
            (
                "m.csv",
                b"orig\xffinal,edited,label\n".to_vec(),
                "m.csv:1: not UTF-8 text; save the manifest as UTF-8",
            ),
            (
                "m.jsonl",
                b"\n{\"original\": \"\xff\"}".to_vec(),
                "m.jsonl:2: not UTF-8 text; save the manifest as UTF-8",
            ),
            (
                "m.jsonl",
                b"{\"original\": \"a.png\", \"edited\": \"edits/a.png\"}".to_vec(),
                "m.jsonl:1: `label` is missing or empty; fill it in",
            ),
            (
                "m.jsonl",
                b"\n{\"original\": 5, \"edited\": \"edits/a.png\", \"label\": 1}".to_vec(),
                "m.jsonl:2: `original` is 5; write text in quotes",
            ),
            (
                "m.jsonl",
                b"{\"original\": \"a.png\", \"edited\": \"edits/a.png\", \"label\": \"1\"}".to_vec(),
                "m.jsonl:1: `label` is \"1\"; write a whole number from 0 to 4294967295",
            ),
            ("m.jsonl", b"[1]".to_vec(), "m.jsonl:1: [1] is not a JSON object; correct the line"),
            (
                "m.jsonl",
                b"\n{\"original\" \"a.png\"}".to_vec(),
                "m.jsonl:2: expected `:` (column 13); correct the line",
            ),
        ];
        for (name, text, expected) in cases {
            assert_eq!(read(name, &text), Err(expected.to_owned()), "{}", String::from_utf8_lossy(&text));
        }
        assert_eq!(
            read("m.csv", "original,edited,label,mask\na.png,edits/a.png,1,masks/a.png\n"),
            Err("m.csv:2: no mask at `masks/a.png`; paths are relative to the manifest's folder".to_owned())
        );
        let error = read_manifest(Path::new("no/such.csv")).unwrap_err();
        assert!(error.to_string().starts_with("no/such.csv: "), "{error}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (folder, elsewhere) = (folder(), folder());
        let edit = |folder: &TempDir, name: &str| EditRecord {
            original: folder.path().join(name),
            edited: folder.path().join("edits").join(name),
            label: 2,
            mask: (name == "a.png").then(|| folder.path().join("b.png")),
            prompt: Some("two lines,\n\"quoted\"".into()),
            method: None,
            seed: Some(0),
        };
        let records = [edit(&folder, "a.png"), edit(&elsewhere, "b.png"), edit(&folder, "b.png")];
        let file = folder.path().join("m.csv");
        write_manifest(&file, &records).unwrap();
        assert_eq!(read_manifest(&file).unwrap(), records);
        assert!(
            fs::read_to_string(&file).unwrap().contains("\na.png,edits/a.png,2,b.png,"),
            "relative below the folder"
        );
        let unwritable = write_manifest(&folder.path().join("none/m.csv"), &records).unwrap_err();
        assert!(matches!(unwritable, ManifestError::Write { .. }));
    }

    #[test]
    fn a_manifest_is_replaced_and_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let [file, earlier, place] =
            ["m.csv", "earlier.csv", "folder.csv"].map(|name| folder.path().join(name));
        fs::write(&file, "old").unwrap();
        // A second name of the old file: what is written into it shows there, what takes its place does not.
        fs::hard_link(&file, &earlier).unwrap();
        write_manifest(&file, &[record("a.png", 1)]).unwrap();
        assert_eq!(fs::read_to_string(&earlier).unwrap(), "old");
        assert!(fs::read_to_string(&file).unwrap().starts_with("original,edited,label,"));

        fs::create_dir(&place).unwrap();
        assert!(matches!(write_manifest(&place, &[]), Err(ManifestError::Write { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing unfinished is left");
    }
}
