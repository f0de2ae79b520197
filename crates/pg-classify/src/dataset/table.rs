//! CSV tables read by the names of their columns.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{DatasetError, Picture};

/// The columns of a CSV file that were asked for.
pub(super) struct Table {
    path: PathBuf,
    columns: Vec<&'static str>,
    /// The rows, in the order of the file.
    pub(super) rows: Vec<Row>,
}

/// One line of a [`Table`].
pub(super) struct Row {
    line: u64,
    values: Vec<String>,
}

impl Table {
    /// Reads `columns`, found by name; others are ignored.
    pub(super) fn read(path: &Path, columns: &[&'static str]) -> Result<Self, DatasetError> {
        let csv_error = |source: csv::Error| DatasetError::Csv { path: path.to_owned(), source };
        let file =
            std::fs::File::open(path).map_err(|source| DatasetError::Io { path: path.to_owned(), source })?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
        let header = reader.headers().map_err(csv_error)?.clone();
        let positions = columns
            .iter()
            .map(|&column| {
                header.iter().position(|name| name == column).ok_or_else(|| DatasetError::MissingColumn {
                    path: path.to_owned(),
                    column: column.to_owned(),
                    found: header.iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", "),
                })
            })
            .collect::<Result<Vec<usize>, _>>()?;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(csv_error)?;
            let line = record.position().map_or(0, csv::Position::line);
            rows.push(Row { line, values: positions.iter().map(|&at| record[at].to_owned()).collect() });
        }
        Ok(Self { path: path.to_owned(), columns: columns.to_vec(), rows })
    }

    /// Refuses two rows with the same value in `column`.
    pub(super) fn check_unique(&self, column: usize) -> Result<(), DatasetError> {
        let mut seen: HashMap<&str, u64> = HashMap::new();
        for row in &self.rows {
            if let Some(first) = seen.insert(row.text(column), row.line) {
                return Err(DatasetError::DuplicateRow {
                    path: self.path.clone(),
                    line: row.line,
                    first,
                    value: row.text(column).to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The field as a number for which `valid` holds; `expected` says so in words.
    pub(super) fn number<T: FromStr>(
        &self,
        row: &Row,
        column: usize,
        expected: &str,
        valid: impl Fn(&T) -> bool,
    ) -> Result<T, DatasetError> {
        row.text(column).parse().ok().filter(valid).ok_or_else(|| self.bad_value(row, column, expected))
    }

    /// The error of a field that cannot be understood.
    pub(super) fn bad_value(&self, row: &Row, column: usize, expected: &str) -> DatasetError {
        DatasetError::Value {
            path: self.path.clone(),
            line: row.line,
            column: self.columns[column].to_owned(),
            value: row.text(column).to_owned(),
            expected: expected.to_owned(),
        }
    }

    /// The error of a row whose class no training row has.
    pub(super) fn unlearned(&self, row: &Row, class: &str) -> DatasetError {
        DatasetError::UnlearnedClass { path: self.path.clone(), line: row.line, class: class.to_owned() }
    }

    /// The image that a row lists, which must exist.
    pub(super) fn picture(&self, row: &Row, image: PathBuf) -> Result<Picture, DatasetError> {
        if image.is_file() {
            Ok(Picture::File(image))
        } else {
            Err(DatasetError::MissingImage { path: self.path.clone(), line: row.line, image })
        }
    }
}

impl Row {
    /// The field of the `column`-th of the columns asked for.
    pub(super) fn text(&self, column: usize) -> &str {
        &self.values[column]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &[u8], columns: &[&'static str]) -> Result<Table, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let root = format!("{}/", folder.path().display());
        Table::read(&path, columns).map_err(|error| error.to_string().replace(&root, ""))
    }

    #[test]
    fn columns_are_found_by_name_and_unnamed_ones_ignored() {
        let table = table(b",y, x\n0,7,a\n1,8,b\n", &["x", "y"]).unwrap();
        assert_eq!(table.rows.len(), 2);
        assert_eq!((table.rows[1].text(0), table.rows[1].text(1), table.rows[1].line), ("b", "8", 3));
    }

    #[test]
    fn broken_tables_are_refused() {
        assert_eq!(
            table(b",y\n0,7\n", &["x"]).err().unwrap(),
            "t.csv: no column `x` (the columns are y); is this the right file?"
        );
        assert!(
            table(b"x,y\n1,2\n3\n", &["x"]).err().unwrap().starts_with("t.csv: CSV error: record 2 (line: 3")
        );
        assert!(table(b"x,y\n1,2\n\xff,2\n", &["x"]).err().unwrap().contains("line 3"));
    }
}
