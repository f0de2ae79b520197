//! `results.csv`: one row an epoch, whole after every epoch.

use std::path::{Path, PathBuf};

use crate::run_dir::{RunDirError, write_atomically};

/// Why results could not be written or read back.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] RunDirError),
    /// The file could not be read.
    #[error("{}: cannot be read ({source})", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: csv::Error,
    },
    /// The columns are not those of this run.
    #[error("{}: has the columns {found:?} instead of {expected:?}; resume with the settings of the run", path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// Its columns.
        found: Vec<String>,
        /// The columns of this run.
        expected: Vec<String>,
    },
    /// A field is not a number.
    #[error("{}, line {line}: `{value}` in column `{column}` is not a number; restore or remove the file", path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// Its line, counted from 1.
        line: usize,
        /// The column.
        column: String,
        /// The field.
        value: String,
    },
    /// A row has not one value for each column.
    #[error("{}: a row of {found} values for {expected} columns", path.display())]
    Width {
        /// The file.
        path: PathBuf,
        /// Values of the row.
        found: usize,
        /// Columns without `epoch`.
        expected: usize,
    },
}

/// The table behind `results.csv`: the column `epoch`, counted from 1, and one column a metric. NaN stands for "not
/// measured" and is an empty field.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<(usize, Vec<f64>)>,
}

impl Results {
    /// A new table, written with its header at once.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(path: &Path, columns: &[&str]) -> Result<Self, ResultsError> {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        let results = Self { path: path.to_owned(), columns, rows: Vec::new() };
        results.write()?;
        Ok(results)
    }

    /// The table of an earlier run with these columns, without the epochs after `epoch`.
    ///
    /// # Errors
    /// If the file cannot be read, has other columns, or holds something that is not a number.
    pub fn resume(path: &Path, columns: &[&str], epoch: usize) -> Result<Self, ResultsError> {
        let mut results = Self::read(path)?;
        if results.columns != columns {
            return Err(ResultsError::Columns {
                path: path.to_owned(),
                found: results.columns,
                expected: columns.iter().map(|&column| column.to_owned()).collect(),
            });
        }
        results.rows.retain(|(row, _)| *row <= epoch);
        results.write()?;
        Ok(results)
    }

    /// The table in a file.
    ///
    /// # Errors
    /// If the file cannot be read or holds something that is not a number.
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let unreadable = |source| ResultsError::Read { path: path.to_owned(), source };
        let mut reader = csv::Reader::from_path(path).map_err(unreadable)?;
        let header = reader.headers().map_err(unreadable)?.clone();
        let columns = header.iter().skip(1).map(str::to_owned).collect();
        let mut rows = Vec::new();
        for (index, record) in reader.records().enumerate() {
            let record = record.map_err(unreadable)?;
            let not_a_number = |column: &str, value: &str| ResultsError::NotANumber {
                path: path.to_owned(),
                line: index + 2,
                column: column.to_owned(),
                value: value.to_owned(),
            };
            let mut fields = header.iter().zip(&record);
            let (column, epoch) = fields.next().unwrap_or_default();
            let epoch = epoch.parse().map_err(|_| not_a_number(column, epoch))?;
            let values = fields
                .map(|(column, field)| match field {
                    "" => Ok(f64::NAN),
                    field => field.parse().map_err(|_| not_a_number(column, field)),
                })
                .collect::<Result<_, _>>()?;
            rows.push((epoch, values));
        }
        Ok(Self { path: path.to_owned(), columns, rows })
    }

    /// Adds the row of an epoch.
    ///
    /// # Errors
    /// If there is not one value for each column, or if the file cannot be written.
    pub fn append(&mut self, epoch: usize, values: &[f64]) -> Result<(), ResultsError> {
        if values.len() != self.columns.len() {
            let (found, expected) = (values.len(), self.columns.len());
            return Err(ResultsError::Width { path: self.path.clone(), found, expected });
        }
        self.rows.push((epoch, values.to_vec()));
        Ok(self.write()?)
    }

    /// Names of the metrics.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Epoch and metrics of each row.
    #[must_use]
    pub fn rows(&self) -> &[(usize, Vec<f64>)] {
        &self.rows
    }

    /// Epoch and value of one metric where it was measured.
    #[must_use]
    pub fn series(&self, column: &str) -> Vec<(usize, f64)> {
        let Some(index) = self.columns.iter().position(|c| c == column) else { return Vec::new() };
        let points = self.rows.iter().filter_map(|(epoch, values)| Some((*epoch, *values.get(index)?)));
        points.filter(|(_, value)| !value.is_nan()).collect()
    }

    /// One metric of the last row; NaN if it was not measured there.
    #[must_use]
    pub fn last(&self, column: &str) -> f64 {
        let index = self.columns.iter().position(|c| c == column);
        let value = self.rows.last().zip(index).and_then(|((_, values), index)| values.get(index));
        value.copied().unwrap_or(f64::NAN)
    }

    fn write(&self) -> Result<(), RunDirError> {
        write_atomically(&self.path, |file| {
            let mut writer = csv::Writer::from_writer(file);
            writer.write_record(std::iter::once("epoch").chain(self.columns.iter().map(String::as_str)))?;
            for (epoch, values) in &self.rows {
                writer.write_record(
                    std::iter::once(epoch.to_string()).chain(values.iter().copied().map(shortest)),
                )?;
            }
            writer.flush()
        })
    }
}

/// The shortest text that reads back as the same number.
fn shortest(value: f64) -> String {
    if value.is_nan() { String::new() } else { format!("{value:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const COLUMNS: [&str; 2] = ["train/loss", "val/worst-group accuracy"];

    #[test]
    fn the_file_is_what_a_reader_expects() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.csv");
        let mut results = Results::create(&path, &COLUMNS).unwrap();
        results.append(1, &[0.1 + 0.2, f64::NAN]).unwrap();
        results.append(2, &[1e-9, 1.0]).unwrap();
        let expected = "epoch,train/loss,val/worst-group accuracy\n1,0.30000000000000004,\n2,1e-9,1.0\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(results.series("val/worst-group accuracy"), [(2, 1.0)]);
        assert_eq!((results.last("train/loss"), results.last("val/worst-group accuracy")), (1e-9, 1.0));
        results.append(3, &[0.5, f64::NAN]).unwrap();
        assert!(results.last("val/worst-group accuracy").is_nan(), "of epoch 2");
        assert!(results.last("no such column").is_nan());
    }

    #[test]
    fn resuming_forgets_the_epochs_after_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.csv");
        let mut straight = Results::create(&path, &COLUMNS).unwrap();
        for epoch in 1..=3 {
            straight.append(epoch, &[epoch as f64 / 3.0, 0.5]).unwrap();
        }
        let whole = fs::read(&path).unwrap();
        let mut resumed = Results::resume(&path, &COLUMNS, 2).unwrap();
        assert_eq!(resumed.rows().len(), 2);
        resumed.append(3, &[1.0, 0.5]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.csv");
        assert!(matches!(Results::read(&path), Err(ResultsError::Read { .. })));
        let mut results = Results::create(&path, &COLUMNS).unwrap();
        assert!(matches!(results.append(1, &[0.0]), Err(ResultsError::Width { found: 1, expected: 2, .. })));
        assert!(matches!(Results::resume(&path, &["train/loss"], 1), Err(ResultsError::Columns { .. })));
        fs::write(&path, "epoch,train/loss\n1,0.5\n2,oops\n").unwrap();
        let error = Results::read(&path).unwrap_err().to_string();
        assert!(error.contains("line 3: `oops` in column `train/loss`"), "{error}");
        fs::write(&path, "epoch,train/loss\n1\n").unwrap();
        assert!(matches!(Results::read(&path), Err(ResultsError::Read { .. })));
    }

    proptest! {
        #[test]
        fn every_number_comes_back_bit_equal(bits in prop::collection::vec(any::<u64>(), 2)) {
            let values: Vec<f64> = bits.into_iter().map(f64::from_bits).collect();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("results.csv");
            Results::create(&path, &COLUMNS).unwrap().append(1, &values).unwrap();
            let read = Results::read(&path).unwrap();
            for (read, value) in read.rows()[0].1.iter().zip(values) {
                prop_assert!(read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan()));
            }
        }
    }
}
