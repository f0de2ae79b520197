//! The greedy step of ACT's and of Singh et al.'s linking: frame by frame, each chain takes the surest free box
//! near its end.

use crate::bounding_box::BoundingBox;
use crate::detections::VideoDetections;
use crate::ranking::{falling, mean, ranking};

/// An instance, seen as one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) frame: usize,
    /// Its position in the video.
    pub(crate) instance: usize,
    pub(crate) bounding_box: BoundingBox,
    pub(crate) score: f64,
}

impl Found {
    /// `None` if the instance has no score for the class.
    pub(crate) fn new(video: &VideoDetections, instance: usize, class: usize) -> Option<Self> {
        let scored = &video.instances[instance];
        let score = f64::from(*scored.scores.get(class)?);
        Some(Self { frame: scored.frame, instance, bounding_box: scored.bounding_box, score })
    }
}

/// When a box continues a chain, and which chain may choose first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The least overlap with the last box of the chain.
    pub(crate) min_iou: f64,
    /// How many frames the box may come after it.
    pub(crate) gap: usize,
    pub(crate) precedence: Precedence,
}

/// Chains choose in the order of this number, the greatest first, and of equal ones the oldest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Precedence {
    /// The mean score.
    Mean,
    /// The mean of so many of the greatest scores.
    MeanOfGreatest(usize),
}

/// A chain as it grows.
struct Chain {
    found: Vec<Found>,
    total: f64,
    /// As many of the greatest scores as the precedence asks for.
    greatest: Vec<f64>,
}

impl Chain {
    fn new(first: Found, precedence: Precedence) -> Self {
        let mut chain = Self { found: Vec::new(), total: 0.0, greatest: Vec::new() };
        chain.push(first, precedence);
        chain
    }

    fn push(&mut self, found: Found, precedence: Precedence) {
        self.found.push(found);
        self.total += found.score;
        if let Precedence::MeanOfGreatest(count) = precedence {
            let place = self.greatest.partition_point(|&score| falling(score, found.score).is_le());
            self.greatest.insert(place, found.score);
            self.greatest.truncate(count);
        }
    }

    fn precedence(&self, by: Precedence) -> f64 {
        match by {
            Precedence::Mean => self.total / self.found.len() as f64,
            Precedence::MeanOfGreatest(_) => mean(&self.greatest),
        }
    }

    /// The position of the surest box that continues it.
    fn choice(&self, frame: &[Option<Found>], rules: Rules) -> Option<usize> {
        let last = self.found.last()?;
        let near = frame.iter().enumerate().filter_map(|(position, found)| Some((position, found.as_ref()?)));
        let near = near.filter(|(_, found)| last.bounding_box.iou(found.bounding_box) >= rules.min_iou);
        near.min_by(|(_, a), (_, b)| falling(a.score, b.score)).map(|(position, _)| position)
    }

    fn is_in_reach(&self, frame: usize, gap: usize) -> bool {
        self.found.last().is_some_and(|last| frame - last.frame <= gap)
    }
}

/// Links what was found in frames that rise (each of the lists is of one frame, and not empty). The chains are in
/// the order of their first frames.
pub(crate) fn chains(frames: Vec<Vec<Found>>, rules: Rules) -> Vec<Vec<Found>> {
    let mut chains: Vec<Chain> = Vec::new();
    // Positions of those that may still grow.
    let mut live: Vec<usize> = Vec::new();
    for found in frames {
        let Some(frame) = found.first().map(|found| found.frame) else { continue };
        live.retain(|&chain| chains[chain].is_in_reach(frame, rules.gap));
        let precedence: Vec<f64> =
            live.iter().map(|&chain| chains[chain].precedence(rules.precedence)).collect();
        let mut free: Vec<Option<Found>> = found.into_iter().map(Some).collect();
        for position in ranking(&precedence) {
            let chain = &mut chains[live[position]];
            let choice = chain.choice(&free, rules);
            if let Some(found) = choice.and_then(|choice| free[choice].take()) {
                chain.push(found, rules.precedence);
            }
        }
        for first in free.into_iter().flatten() {
            live.push(chains.len());
            chains.push(Chain::new(first, rules.precedence));
        }
    }
    chains.into_iter().map(|chain| chain.found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACT: Rules = Rules { min_iou: 0.2, gap: 5, precedence: Precedence::Mean };

    fn link(found: &[(usize, f64, f64)], rules: Rules) -> Vec<Vec<usize>> {
        let mut frames: Vec<Vec<Found>> = Vec::new();
        for (instance, &(frame, x, score)) in found.iter().enumerate() {
            let found = Found { frame, instance, bounding_box: [x, 0.0, x + 10.0, 10.0].into(), score };
            match frames.last_mut() {
                Some(last) if last[0].frame == frame => last.push(found),
                _ => frames.push(vec![found]),
            }
        }
        let instances = |chain: Vec<Found>| chain.iter().map(|found| found.instance).collect();
        chains(frames, rules).into_iter().map(instances).collect()
    }

    #[test]
    fn the_surest_near_box_is_taken_not_the_nearest() {
        let found = [(0, 0.0, 0.5), (1, 0.0, 0.5), (1, 5.0, 0.6), (1, 50.0, 0.9)];
        assert_eq!(link(&found, ACT), [vec![0, 2], vec![1], vec![3]]);
    }

    #[test]
    fn the_chain_of_the_greatest_mean_chooses_first() {
        // Both chains reach both boxes.
        let found = [(0, 0.0, 0.5), (0, 4.0, 0.6), (1, 2.0, 0.5), (1, 3.0, 0.7)];
        assert_eq!(link(&found, ACT), [vec![0, 2], vec![1, 3]]);
        let equal = [(0, 0.0, 0.5), (0, 4.0, 0.5), (1, 2.0, 0.5), (1, 3.0, 0.7)];
        assert_eq!(link(&equal, ACT), [vec![0, 3], vec![1, 2]], "the oldest of equals");
    }

    #[test]
    fn the_mean_of_the_greatest_forgets_the_rest() {
        // Means 0.5 and 0.6; means of the greatest two 0.65 and 0.6.
        let found =
            [(0, 0.0, 0.7), (0, 12.0, 0.6), (1, 0.0, 0.2), (1, 12.0, 0.6), (2, 0.0, 0.6), (2, 12.0, 0.6)];
        let within_reach_of_both = [(3, 6.0, 0.5), (3, 6.0, 0.9)];
        let found = [&found[..], &within_reach_of_both].concat();
        let rules = Rules { precedence: Precedence::MeanOfGreatest(2), ..ACT };
        assert_eq!(link(&found, rules), [[0, 2, 4, 7], [1, 3, 5, 6]]);
        assert_eq!(link(&found, ACT), [[0, 2, 4, 6], [1, 3, 5, 7]]);
    }

    #[test]
    fn a_chain_ends_after_the_gap() {
        assert_eq!(link(&[(0, 0.0, 0.5), (5, 0.0, 0.5)], ACT), [[0, 1]]);
        assert_eq!(link(&[(0, 0.0, 0.5), (6, 0.0, 0.5)], ACT), [[0], [1]]);
        assert_eq!(link(&[(0, 0.0, 0.5), (1, 7.0, 0.5)], ACT), [[0], [1]], "an overlap of 3 / 17");
        let exactly = Rules { min_iou: 3.0 / 17.0, ..ACT };
        assert_eq!(link(&[(0, 0.0, 0.5), (1, 7.0, 0.5)], exactly), [[0, 1]]);
    }
}
