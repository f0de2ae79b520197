//! MaxBoxAcc, MaxBoxAccV2, and localisation among the images that are classified rightly.

use crate::convention::{Convention, Overlaps};

/// The overlaps that MaxBoxAccV2 is the mean of.
pub const DELTAS: [f64; 3] = [0.3, 0.5, 0.7];
/// Position of one half in [`DELTAS`].
const HALF: usize = 1;

/// Whether an image was classified rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranked {
    /// Its class was the first guess.
    pub top1: bool,
    /// Its class was among the first five guesses, if five are known.
    pub top5: Option<bool>,
}

impl Ranked {
    /// Of the likeliest classes, the likeliest first, for an image of class `label`.
    pub fn of(guesses: &[u32], label: u32) -> Self {
        Self {
            top1: guesses.first() == Some(&label),
            top5: (guesses.len() == 5).then(|| guesses.contains(&label)),
        }
    }
}

/// How many images are localised at each threshold; grows image by image, and is small whatever their number.
#[derive(Debug, Clone, PartialEq)]
pub struct BoxCounts {
    convention: Convention,
    thresholds: Vec<f64>,
    images: u64,
    /// For each of [`DELTAS`] and threshold: by the largest contour, and by any.
    largest: [Vec<u64>; 3],
    any: [Vec<u64>; 3],
    /// For each threshold: at an overlap of one half, and classified rightly.
    top1: Option<Vec<u64>>,
    top5: Option<Vec<u64>>,
}

/// A share of images, and the threshold at which it is reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtThreshold {
    /// In percent.
    pub percent: f64,
    /// The threshold of the scores, in 0..=1.
    pub threshold: f64,
}

/// What the literature reports.
#[derive(Debug, Clone, PartialEq)]
pub struct BoxAccuracy {
    /// Number of images.
    pub images: u64,
    /// Images whose largest contour's box (of DA-WSOL any contour's) overlaps by one half at least: MaxBoxAcc, or GT-known Loc.
    pub max_box_acc: AtThreshold,
    /// Images of which any contour's box overlaps by each of [`DELTAS`].
    pub by_delta: [AtThreshold; 3],
    /// Images that are localised at an overlap of one half and classified rightly: Top-1 Loc.
    pub top1_loc: Option<AtThreshold>,
    /// As `top1_loc`, among five guesses.
    pub top5_loc: Option<AtThreshold>,
}

impl BoxAccuracy {
    /// MaxBoxAccV2, in percent: the mean of [`BoxAccuracy::by_delta`].
    pub fn max_box_acc_v2(&self) -> f64 {
        self.by_delta.iter().map(|at| at.percent).sum::<f64>() / DELTAS.len() as f64
    }
}

impl BoxCounts {
    /// Of no image yet.
    ///
    /// # Panics
    /// Without a threshold.
    pub fn new(convention: Convention, thresholds: &[f64]) -> Self {
        assert!(!thresholds.is_empty(), "no threshold");
        let zeros = || std::array::from_fn(|_| vec![0; thresholds.len()]);
        Self {
            convention,
            thresholds: thresholds.to_vec(),
            images: 0,
            largest: zeros(),
            any: zeros(),
            top1: None,
            top5: None,
        }
    }

    /// Counts an image, with an overlap at each threshold.
    pub fn add(&mut self, overlaps: &Overlaps, ranked: Option<Ranked>) {
        self.images += 1;
        for (delta, (largest, any)) in DELTAS.iter().zip(self.largest.iter_mut().zip(&mut self.any)) {
            count(largest, &overlaps.largest, *delta);
            count(any, &overlaps.any, *delta);
        }
        let localised = if self.convention.any_contour_counts() { &overlaps.any } else { &overlaps.largest };
        let thresholds = self.thresholds.len();
        let count_if = |counts: &mut Option<Vec<u64>>, right: Option<bool>| {
            if let Some(right) = right {
                let counts = counts.get_or_insert_with(|| vec![0; thresholds]);
                if right {
                    count(counts, localised, DELTAS[HALF]);
                }
            }
        };
        count_if(&mut self.top1, ranked.map(|ranked| ranked.top1));
        count_if(&mut self.top5, ranked.and_then(|ranked| ranked.top5));
    }

    /// Counts of both sets of images together.
    ///
    /// # Panics
    /// If their thresholds differ.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        assert_eq!(self.thresholds, other.thresholds);
        let add =
            |to: &mut Vec<u64>, from: Vec<u64>| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        self.images += other.images;
        self.largest.iter_mut().zip(other.largest).for_each(|(to, from)| add(to, from));
        self.any.iter_mut().zip(other.any).for_each(|(to, from)| add(to, from));
        for (to, from) in [(&mut self.top1, other.top1), (&mut self.top5, other.top5)] {
            match (to.as_mut(), from) {
                (Some(to), Some(from)) => add(to, from),
                (None, from) => *to = from,
                (Some(_), None) => {}
            }
        }
        self
    }

    /// For each of [`DELTAS`] the share of images, in percent, that any contour localises at each threshold.
    pub fn curves(&self) -> [Vec<f64>; 3] {
        self.any.each_ref().map(|counts| counts.iter().map(|&count| self.percent(count)).collect())
    }

    /// The thresholds of [`BoxCounts::curves`].
    pub fn thresholds(&self) -> &[f64] {
        &self.thresholds
    }

    /// The numbers at the thresholds that are best for them (for all of them together, where the convention says so).
    #[must_use]
    pub fn best(&self) -> BoxAccuracy {
        self.at_best_of(self)
    }

    /// The numbers at the thresholds that are best for other images, say of a validation split: what can be reached
    /// without a look at these. Where the others' guesses are not known, Top-1 and Top-5 have the threshold of
    /// localisation alone.
    ///
    /// # Panics
    /// If the thresholds of the two differ.
    #[must_use]
    pub fn at_best_of(&self, other: &Self) -> BoxAccuracy {
        assert_eq!(self.thresholds, other.thresholds);
        let one = self.convention.one_threshold().then(|| other.best_of_all());
        let at =
            |counts: &[u64], of_other: &[u64]| self.picked(counts, one.unwrap_or_else(|| greatest(of_other)));
        let guessed = |counts: &Option<Vec<u64>>, of_other: &Option<Vec<u64>>| {
            counts.as_ref().map(|counts| at(counts, of_other.as_deref().unwrap_or(other.localised())))
        };
        BoxAccuracy {
            images: self.images,
            max_box_acc: at(self.localised(), other.localised()),
            by_delta: std::array::from_fn(|delta| at(&self.any[delta], &other.any[delta])),
            top1_loc: guessed(&self.top1, &other.top1),
            top5_loc: guessed(&self.top5, &other.top5),
        }
    }

    /// What MaxBoxAcc counts, and whatever the class Top-1 and Top-5.
    fn localised(&self) -> &[u64] {
        if self.convention.any_contour_counts() { &self.any[HALF] } else { &self.largest[HALF] }
    }

    /// See [`Convention::one_threshold`].
    fn best_of_all(&self) -> usize {
        let both: Vec<u64> = match &self.top1 {
            Some(top1) if self.convention == Convention::Sat => {
                self.largest[HALF].iter().zip(top1).map(|(a, b)| a + b).collect()
            }
            _ => self.largest[HALF].clone(),
        };
        greatest(&both)
    }

    fn picked(&self, counts: &[u64], index: usize) -> AtThreshold {
        AtThreshold { percent: self.percent(counts[index]), threshold: self.thresholds[index] }
    }

    fn percent(&self, count: u64) -> f64 {
        count as f64 * 100.0 / self.images.max(1) as f64
    }
}

fn count(counts: &mut [u64], overlaps: &[f64], delta: f64) {
    counts
        .iter_mut()
        .zip(overlaps)
        .filter(|(_, overlap)| **overlap >= delta)
        .for_each(|(count, _)| *count += 1);
}

/// Where the count is greatest; of several the first.
fn greatest(counts: &[u64]) -> usize {
    (0..counts.len()).rev().max_by_key(|&index| counts[index]).unwrap_or(0)
}
