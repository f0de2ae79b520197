//! A person followed over time.

use std::ops::Range;

use crate::bounding_box::BoundingBox;
use crate::tube::Tube;

use super::chains::Found;

/// A person in consecutive frames, with the score of one class in each.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredPath {
    /// Where the person is.
    pub tube: Tube,
    /// A score for each of its boxes.
    pub scores: Vec<f64>,
}

impl ScoredPath {
    /// A path through what was found in frames that rise; in the frames between, box and score change evenly.
    pub(crate) fn interpolated(found: &[Found]) -> Self {
        let start = found.first().map_or(0, |first| first.frame);
        let mut path = Self { tube: Tube { start, boxes: Vec::new() }, scores: Vec::new() };
        for pair in found.windows(2) {
            let steps = pair[1].frame.saturating_sub(pair[0].frame);
            for step in 0..steps {
                let share = step as f64 / steps as f64;
                path.tube.boxes.push(pair[0].bounding_box.towards(pair[1].bounding_box, share));
                path.scores.push(pair[0].score + (pair[1].score - pair[0].score) * share);
            }
        }
        path.extend(found.last().map(|last| (last.bounding_box, last.score)));
        path
    }

    /// The boxes of a range of its positions as a tube.
    pub(crate) fn part(&self, positions: &Range<usize>) -> Option<Tube> {
        let first = self.tube.start.checked_add(positions.start)?;
        self.tube.slice(first..first.saturating_add(positions.len()))
    }

    fn extend(&mut self, last: Option<(BoundingBox, f64)>) {
        let (boxes, scores): (Vec<_>, Vec<_>) = last.into_iter().unzip();
        self.tube.boxes.extend(boxes);
        self.scores.extend(scores);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(frame: usize, x: f64, score: f64) -> Found {
        Found { frame, instance: 0, bounding_box: [x, 0.0, x + 10.0, 10.0].into(), score }
    }

    #[test]
    fn gaps_are_filled_evenly() {
        let path = ScoredPath::interpolated(&[found(3, 0.0, 0.2), found(4, 1.0, 0.6), found(8, 9.0, 1.0)]);
        assert_eq!((path.tube.start, path.tube.end()), (3, 9));
        let left: Vec<f64> = path.tube.boxes.iter().map(|bounding_box| bounding_box.x0).collect();
        assert_eq!(left, [0.0, 1.0, 3.0, 5.0, 7.0, 9.0]);
        assert_eq!(path.scores, [0.2, 0.6, 0.7, 0.8, 0.9, 1.0]);
        assert_eq!(path.part(&(4..6)).unwrap().start, 7);
        assert_eq!(path.part(&(6..7)), None);
        assert_eq!(ScoredPath::interpolated(&[]).scores, [0.0; 0]);
    }
}
