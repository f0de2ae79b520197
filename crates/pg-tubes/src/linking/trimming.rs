//! The cut in time of Cheron et al.: smooth the scores along a path and keep the runs where they are high. Smoothed by their
//! median, or by closing the gaps between a motion's repetitions.

use std::ops::Range;

use crate::ranking::mean_of_greatest;
use crate::tube::Tube;

use super::path::ScoredPath;

/// How many scores at either end stand for what lies beyond it.
const END: usize = 10;

/// How the scores along a path are smoothed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Smoothing {
    /// The median of the window (Cheron et al.). Beyond either end of the path the median of the outermost ten scores
    /// (of the window if it is shorter) is assumed.
    Median,
    /// The morphological closing of the median of three: gaps that are shorter than the window have the lower of the
    /// scores on either side, and so have gaps of half a window at either end of the path. For motions that repeat
    /// themselves and look like nothing in between.
    Closing,
}

/// How a path is cut in time; the default is that of the experiments of Cheron et al. (NeurIPS 2018).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trimming {
    /// What is done to the scores first.
    pub smoothing: Smoothing,
    /// Frames that smoothing looks at together: an odd number (an even one counts as the next), up to 1 for none.
    pub window: usize,
    /// The least score of the frames that are kept.
    pub threshold: f64,
    /// The least number of frames of a tube.
    pub min_length: usize,
    /// The score of a tube is the mean of so many of its greatest (smoothed) scores.
    pub top: usize,
}

impl Default for Trimming {
    fn default() -> Self {
        Self { smoothing: Smoothing::Median, window: 25, threshold: 0.1, min_length: 22, top: 40 }
    }
}

impl Trimming {
    /// The tubes that are left of a path, in order of time, each with its score.
    pub fn trim(&self, path: &ScoredPath) -> Vec<(Tube, f64)> {
        let scores = match self.smoothing {
            Smoothing::Median => median_filtered(&path.scores, self.window),
            Smoothing::Closing => closed(&median_filtered(&path.scores, self.window.min(3)), self.window),
        };
        let runs = runs(&scores, |score| *score >= self.threshold).into_iter();
        let long = runs.filter(|run| run.len() >= self.min_length);
        long.filter_map(|run| Some((path.part(&run)?, mean_of_greatest(&scores[run], self.top)))).collect()
    }
}

/// The longest ranges whose values all pass.
pub(crate) fn runs<T>(values: &[T], passes: impl Fn(&T) -> bool) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for chunk in values.chunk_by(|a, b| passes(a) == passes(b)) {
        let run = start..start + chunk.len();
        start = run.end;
        if chunk.first().is_some_and(&passes) {
            runs.push(run);
        }
    }
    runs
}

/// The median of the `window` values around each one.
fn median_filtered(values: &[f64], window: usize) -> Vec<f64> {
    if window <= 1 || values.is_empty() {
        return values.to_vec();
    }
    let window = window | 1;
    let end = window.min(END).min(values.len());
    let (before, after) = (median(&values[..end]), median(&values[values.len() - end..]));
    // A window beyond twice the path sees nothing new.
    let reach = (window / 2).min(values.len());
    let padded = [vec![before; reach], values.to_vec(), vec![after; reach]].concat();
    padded.windows(2 * reach + 1).map(median).collect()
}

/// The least of the greatest of the values around each one. Half a window that has only one side fills as well.
fn closed(values: &[f64], window: usize) -> Vec<f64> {
    let reach = window.min(2 * values.len()) / 2;
    let slid = |values: &[f64], combine: fn(f64, f64) -> f64| -> Vec<f64> {
        let near =
            |i: usize| values[i.saturating_sub(reach)..values.len().min(i + reach + 1)].iter().copied();
        (0..values.len()).filter_map(|i| near(i).reduce(combine)).collect()
    };
    slid(&slid(values, f64::max), f64::min)
}

/// The median; of an even number of values the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    low + (high - low) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(scores: &[f64]) -> ScoredPath {
        let boxes = vec![[0.0, 0.0, 10.0, 10.0].into(); scores.len()];
        ScoredPath { tube: Tube { start: 100, boxes }, scores: scores.to_vec() }
    }

    #[test]
    fn runs_of_high_scores_are_kept() {
        let trimming = Trimming { window: 1, threshold: 0.5, min_length: 2, top: 2, ..Trimming::default() };
        let tubes = trimming.trim(&path(&[0.9, 0.5, 0.75, 0.1, 0.8, 0.4, 0.6, 0.6]));
        let found: Vec<_> = tubes.iter().map(|(tube, score)| (tube.start, tube.end(), *score)).collect();
        assert_eq!(found, [(100, 103, 0.825), (106, 108, 0.6)]);
        assert_eq!(trimming.trim(&path(&[0.1; 9])), []);
        assert_eq!(trimming.trim(&path(&[])), []);
    }

    #[test]
    fn a_median_closes_short_gaps_and_drops_short_peaks() {
        let filtered = median_filtered(&[0.9, 0.9, 0.0, 0.9, 0.9, 0.1, 0.1, 0.8, 0.1, 0.1], 3);
        // The ends see the medians of the three outermost: 0.9 and 0.1.
        assert_eq!(filtered, [0.9, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1]);
        assert_eq!(median_filtered(&[0.2, 0.6, 0.4], 2), median_filtered(&[0.2, 0.6, 0.4], 3));
        assert_eq!(median_filtered(&[0.3, 0.7], usize::MAX), [0.5, 0.5]);
    }

    #[test]
    fn closing_fills_gaps_up_to_the_window_and_ends_up_to_its_half() {
        let (on, off) = (0.9, 0.1);
        let scores =
            [off, off, off, off, on, on, off, off, off, 0.8, 0.8, 0.8, off, off, off, off, off, on, off, off];
        let mut filled = scores;
        filled[6..9].fill(0.8);
        filled[18..].fill(on);
        assert_eq!((closed(&scores, 4), closed(&scores, 5)), (filled.to_vec(), filled.to_vec()));
        filled[12..17].fill(0.8);
        assert_eq!(closed(&scores, 7), filled);
        assert_eq!((closed(&scores, 1), closed(&[], 5)), (scores.to_vec(), vec![]));
        assert_eq!(closed(&[off, on, off], usize::MAX), [on; 3]);

        let trimming = Trimming {
            smoothing: Smoothing::Closing,
            window: 5,
            threshold: 0.5,
            min_length: 2,
            ..Trimming::default()
        };
        // A frame that stands out alone is no action.
        let scores =
            [off, on, off, off, off, off, on, on, off, off, off, on, on, on, off, off, off, off, off, off];
        let tubes = trimming.trim(&path(&scores));
        let found: Vec<_> = tubes.iter().map(|(tube, _)| (tube.start, tube.end())).collect();
        assert_eq!(found, [(106, 114)]);
    }

    #[test]
    fn the_published_constants_cut_a_long_path() {
        let scores: Vec<f64> =
            (0..200).map(|frame| if (60..120).contains(&frame) { 0.8 } else { 0.05 }).collect();
        let tubes = Trimming::default().trim(&path(&scores));
        assert_eq!(tubes.len(), 1);
        assert_eq!((tubes[0].0.start, tubes[0].0.end()), (160, 220));
        assert!((tubes[0].1 - 0.8).abs() < 1e-12);
        let short: Vec<f64> =
            (0..200).map(|frame| if (60..81).contains(&frame) { 0.8 } else { 0.05 }).collect();
        assert_eq!(Trimming::default().trim(&path(&short)), [], "21 frames");
    }
}
