//! What a classifier guessed, read from a CSV file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pg_localization::{ImageInfo, Ranked};

/// Guesses of one image, the likeliest first.
type Guesses = Vec<u32>;

/// The guesses of a classifier: columns `image` and `top1`, and for Top-5 also `top2` to `top5`, classes from 0.
#[derive(Debug)]
pub struct Predictions {
    path: PathBuf,
    guesses: HashMap<String, Guesses>,
}

/// Why guesses cannot be used; the message names the file and its line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictionsError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no CSV table.
    #[error("{}: {source}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// What the parser says, with the line.
        source: csv::Error,
    },
    /// A column is missing.
    #[error("{}: no column `{column}`; expected image,top1 and, for Top-5, top2 to top5", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
    },
    /// A guess is no class.
    #[error("{}:{line}: `{value}` is not a class, counted from 0", path.display())]
    Class {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is there.
        value: String,
    },
    /// An image is there twice.
    #[error("{}:{line}: image `{id}` is there twice; remove one", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The second line, from 1.
        line: u64,
        /// The image.
        id: String,
    },
    /// An image has no guess.
    #[error("{}: no line for image `{id}`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The image.
        id: String,
    },
}

impl Predictions {
    /// Reads a file.
    ///
    /// # Errors
    /// [`PredictionsError`].
    pub fn read(path: &Path) -> Result<Self, PredictionsError> {
        let csv = |source| PredictionsError::Csv { path: path.to_owned(), source };
        let file = std::fs::File::open(path)
            .map_err(|source| PredictionsError::Io { path: path.to_owned(), source })?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
        let header = reader.headers().map_err(csv)?.clone();
        let column = |name: &'static str| {
            let place = header.iter().position(|column| column == name);
            place.ok_or_else(|| PredictionsError::Column { path: path.to_owned(), column: name })
        };
        let (image, top1) = (column("image")?, column("top1")?);
        let mut tops = vec![top1];
        let others = ["top2", "top3", "top4", "top5"];
        if header.iter().any(|column| others.contains(&column)) {
            tops.extend(others.into_iter().map(column).collect::<Result<Vec<usize>, _>>()?);
        }
        let mut guesses = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(csv)?;
            let line = record.position().map_or(0, csv::Position::line);
            let class = |&at: &usize| {
                record[at].parse().map_err(|_| PredictionsError::Class {
                    path: path.to_owned(),
                    line,
                    value: record[at].to_owned(),
                })
            };
            let classes = tops.iter().map(class).collect::<Result<Guesses, _>>()?;
            let id = record[image].to_owned();
            if guesses.insert(id.clone(), classes).is_some() {
                return Err(PredictionsError::Twice { path: path.to_owned(), line, id });
            }
        }
        Ok(Self { path: path.to_owned(), guesses })
    }

    /// Whether an image was classified rightly.
    ///
    /// # Errors
    /// [`PredictionsError::Missing`] if it has no guess.
    pub fn ranked(&self, image: &ImageInfo) -> Result<Ranked, PredictionsError> {
        let missing = || PredictionsError::Missing { path: self.path.clone(), id: image.id.clone() };
        let guesses = self.guesses.get(&image.id).ok_or_else(missing)?;
        Ok(Ranked::of(guesses, image.label))
    }
}
