//! Score maps: how strongly each pixel speaks for a class.

use std::fmt;

use crate::npy;

/// Scores in 0..=1, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreMap {
    width: u32,
    height: u32,
    scores: Vec<f64>,
}

/// Why scores are no score map.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ScoreMapError {
    /// A map has at least one pixel, and as many scores as pixels.
    #[error("{scores} scores for {width} x {height} pixels")]
    Size {
        /// Width given.
        width: u32,
        /// Height given.
        height: u32,
        /// Number of scores.
        scores: usize,
    },
    /// A score is NaN, below 0 or above 1.
    #[error("{score} at row {row}, column {column}, but scores lie in 0 to 1; normalise the map{}", Hint(*score))]
    Range {
        /// The first such score.
        score: f64,
        /// Its row.
        row: u32,
        /// Its column.
        column: u32,
    },
}

struct Hint(f64);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_nan() { f.write_str(" (one with a NaN becomes zero)") } else { Ok(()) }
    }
}

impl ScoreMap {
    /// Of `width * height` scores in 0..=1.
    ///
    /// # Errors
    /// [`ScoreMapError`] if there are more or fewer, or one is NaN or out of range.
    pub fn new(width: u32, height: u32, scores: Vec<f64>) -> Result<Self, ScoreMapError> {
        Self::check_size(width, height, &scores)?;
        if let Some(at) = scores.iter().position(|score| !(0.0..=1.0).contains(score)) {
            let (row, column) = (at as u32 / width, at as u32 % width);
            return Err(ScoreMapError::Range { score: scores[at], row, column });
        }
        Ok(Self { width, height, scores })
    }

    /// Of any scores: scaled so that the least is 0 and the greatest 1. A constant map, and one with a NaN or a range
    /// that is not finite, becomes zero (wsolevaluation, `normalize_scoremap`).
    ///
    /// # Errors
    /// [`ScoreMapError::Size`].
    pub fn normalized(width: u32, height: u32, mut scores: Vec<f64>) -> Result<Self, ScoreMapError> {
        Self::check_size(width, height, &scores)?;
        let has_nan = scores.iter().any(|score| score.is_nan());
        let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
        scores.iter_mut().for_each(|score| *score -= least);
        let greatest = scores.iter().copied().fold(0.0, f64::max);
        if has_nan || greatest == 0.0 || !greatest.is_finite() {
            scores.fill(0.0);
        } else {
            scores.iter_mut().for_each(|score| *score /= greatest);
        }
        Ok(Self { width, height, scores })
    }

    fn check_size(width: u32, height: u32, scores: &[f64]) -> Result<(), ScoreMapError> {
        // Pixels are counted in 32 bits.
        let pixels = width.checked_mul(height).filter(|&pixels| pixels > 0 && pixels < u32::MAX);
        if pixels.map(|pixels| pixels as usize) == Some(scores.len()) {
            Ok(())
        } else {
            Err(ScoreMapError::Size { width, height, scores: scores.len() })
        }
    }

    /// (width, height) in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The scores, row by row.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// The map as a NumPy file: (height, width), float64, row by row.
    pub fn to_npy(&self) -> Vec<u8> {
        npy::write(self.height, self.width, &self.scores)
    }

    /// The scores as bytes: the integer part of 255 times each (wsolevaluation).
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.scores.iter().map(|score| (score * 255.0) as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_out_of_range_are_named() {
        let of = |scores: [f64; 4]| ScoreMap::new(2, 2, scores.to_vec());
        assert!(of([0.0, 0.5, 1.0, 1.0]).is_ok());
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let error = of([0.0, 0.5, bad, 1.0]).unwrap_err();
            assert!(matches!(error, ScoreMapError::Range { row: 1, column: 0, .. }), "{error}");
        }
        assert!(matches!(ScoreMap::new(2, 3, vec![0.0; 4]), Err(ScoreMapError::Size { scores: 4, .. })));
        assert!(matches!(ScoreMap::new(0, 0, Vec::new()), Err(ScoreMapError::Size { .. })));
    }

    #[test]
    fn normalising_spans_the_range() {
        let of =
            |scores: &[f64]| ScoreMap::normalized(scores.len() as u32, 1, scores.to_vec()).unwrap().scores;
        assert_eq!(of(&[-1.0, 0.0, 3.0]), [0.0, 0.25, 1.0]);
        assert_eq!(of(&[2.0, 2.0]), [0.0, 0.0]);
        assert_eq!(of(&[2.0, f64::NAN]), [0.0, 0.0]);
        assert_eq!(of(&[2.0, f64::INFINITY]), [0.0, 0.0]);
    }

    #[test]
    fn bytes_are_truncated() {
        let map = ScoreMap::new(4, 1, vec![0.0, 0.999_999, 1.0, 0.5]).unwrap();
        assert_eq!(map.bytes(), [0, 254, 255, 127]);
    }
}
