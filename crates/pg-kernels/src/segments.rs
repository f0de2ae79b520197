//! Runs of neighbouring elements, and which of each run is the largest.

use crate::geometry::ShapeError;
use crate::matmul::Float;
use crate::max_pool2d::is_nan;
use rayon::prelude::*;
use std::ops::Range;

/// Runs, without gaps, that a row of elements is cut into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments {
    ends: Vec<u32>,
}

impl Segments {
    /// Runs of these lengths.
    ///
    /// # Errors
    /// [`ShapeError`] if there is none, one is empty, or the row has 2^32 elements or more.
    pub fn new(lengths: impl IntoIterator<Item = usize>) -> Result<Self, ShapeError> {
        let operation = "segments";
        let mut end = 0u32;
        let mut ends = Vec::new();
        for length in lengths {
            if length == 0 {
                return Err(ShapeError::Empty { operation, shape: vec![0] });
            }
            let longer = u32::try_from(length).ok().and_then(|length| end.checked_add(length));
            end = longer.ok_or(ShapeError::Overflow { operation })?;
            ends.push(end);
        }
        if ends.is_empty() { Err(ShapeError::Empty { operation, shape: vec![0] }) } else { Ok(Self { ends }) }
    }

    /// Number of runs.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Length of the row.
    pub fn length(&self) -> usize {
        self.ends.last().map_or(0, |&end| end as usize)
    }

    /// The places of each run in the row.
    pub fn runs(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&end| end as usize));
        starts.zip(&self.ends).map(|(start, &end)| start..end as usize)
    }

    /// For each element of the row the run that it is in.
    pub fn owners(&self) -> Vec<u32> {
        (0..).zip(self.runs()).flat_map(|(owner, run)| std::iter::repeat_n(owner, run.len())).collect()
    }

    /// For each run of each of `rows` the place of its largest element: the first if several are equal, a NaN before all
    /// others.
    ///
    /// # Panics
    /// If the rows are not of this length.
    pub fn winners<T: Float>(&self, rows: &[T]) -> Vec<u32> {
        assert_eq!(rows.len() % self.length(), 0, "rows of {}", self.length());
        let mut winners = vec![0; rows.len() / self.length() * self.count()];
        winners.par_chunks_mut(self.count()).zip(rows.par_chunks(self.length())).for_each(
            |(winners, row)| {
                for (winner, run) in winners.iter_mut().zip(self.runs()) {
                    *winner = first_maximum(&row[run.clone()]) + run.start as u32;
                }
            },
        );
        winners
    }
}

fn first_maximum<T: Float>(run: &[T]) -> u32 {
    let (mut best, mut largest) = (0, run[0]);
    for (place, &value) in (0..).zip(run) {
        // Not larger, but not less or equal either: one of the two is NaN.
        if value > largest || (is_nan(value) && !is_nan(largest)) {
            (best, largest) = (place, value);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_wins_in_each_run() {
        let segments = Segments::new([2, 3, 1]).unwrap();
        assert_eq!((segments.count(), segments.length()), (3, 6));
        assert_eq!(segments.owners(), [0, 0, 1, 1, 1, 2]);
        let rows = [1.0, 1.0, -3.0, -2.0, -2.0, 9.0, 5.0, f64::NAN, 1.0, f64::NAN, f64::NAN, 0.0];
        assert_eq!(segments.winners(&rows), [0, 3, 5, 1, 3, 5]);
    }

    #[test]
    fn runs_that_are_none_are_refused() {
        assert!(matches!(Segments::new([]), Err(ShapeError::Empty { .. })));
        assert!(matches!(Segments::new([2, 0]), Err(ShapeError::Empty { .. })));
        assert!(matches!(Segments::new([usize::MAX]), Err(ShapeError::Overflow { .. })));
        assert!(matches!(Segments::new([1 << 31, 1 << 31]), Err(ShapeError::Overflow { .. })));
    }
}
