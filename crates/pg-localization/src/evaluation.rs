//! A whole split: score maps against metadata, image by image, on all threads.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::box_accuracy::{BoxCounts, Ranked};
use crate::convention::{Convention, overlaps};
use crate::masks::{MaskError, pixels};
use crate::metadata::{ImageInfo, Object};
use crate::pixel_precision::PixelCounts;
use crate::score_files::{ScoreFileError, ScoreFiles};
use crate::score_map::ScoreMap;

/// How a split is measured.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// Whose boxes and numbers.
    pub convention: Convention,
    /// Thresholds of the scores, rising, in 0..1.
    pub thresholds: Vec<f64>,
    /// What to do with an image that cannot be measured.
    pub keep_going: bool,
}

impl Protocol {
    /// The thresholds 0, `interval`, 2 `interval`, ... below 1, as NumPy's `arange` has them.
    ///
    /// # Panics
    /// If `interval` is not in 1e-6..=1.
    pub fn thresholds(interval: f64) -> Vec<f64> {
        assert!((1e-6..=1.0).contains(&interval), "interval {interval}");
        let count = (1.0 / interval).ceil() as u32;
        (0..count).map(|i| f64::from(i) * interval).collect()
    }
}

/// Why an image cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// Its score map cannot be had.
    #[error(transparent)]
    Scores(#[from] ScoreFileError),
    /// Its mask cannot be read.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// Its map is not as large as the others.
    #[error("{}: {} x {} pixels, expected {} x {} as of {}; all have to be of one size", path.display(),
        found.0, found.1, expected.0, expected.1, if *by_most { "most maps" } else { "the first map" })]
    Size {
        /// The map.
        path: PathBuf,
        /// Its (width, height).
        found: (u32, u32),
        /// What it should have.
        expected: (u32, u32),
        /// Whether that is the size of most maps, or of the first.
        by_most: bool,
    },
}

/// What was counted.
#[derive(Debug)]
pub struct Counts<C> {
    /// Over all images that could be measured.
    pub counts: C,
    /// Number of images that could be measured.
    pub measured: usize,
    /// How many of them have no score above zero (of a map that was constant, say), and so show nothing.
    pub blank: usize,
    /// (width, height) of the maps, if there is one.
    pub size: Option<(u32, u32)>,
    /// Why the others could not be, in the order of the images; empty unless told to keep going.
    pub skipped: Vec<EvaluationError>,
}

/// Counts of boxes over those of `images` that have boxes. `ranked` gives for the image at a position whether it was
/// classified rightly. `tick` is called after each image.
///
/// # Errors
/// [`EvaluationError`] of the first image that cannot be measured, unless told to keep going.
pub fn count_boxes(
    images: &[ImageInfo],
    files: &ScoreFiles,
    protocol: &Protocol,
    ranked: impl Fn(usize) -> Option<Ranked> + Sync,
    tick: impl Fn() + Sync,
) -> Result<Counts<BoxCounts>, EvaluationError> {
    let Protocol { convention, thresholds, .. } = protocol;
    let empty = || BoxCounts::new(*convention, thresholds);
    let add = |counts: &mut BoxCounts, index: usize, map: &ScoreMap| {
        if let Object::Boxes { size, boxes } = &images[index].object {
            let objects: Vec<_> =
                boxes.iter().filter_map(|&object| convention.object(object, *size, map.size())).collect();
            counts.add(&overlaps(*convention, map, &objects, thresholds), ranked(index));
        }
        Ok(())
    };
    count(images, files, protocol.keep_going, tick, empty, add, BoxCounts::merged)
}

/// Counts of pixels over those of `images` that have masks, which lie under `root`.
///
/// # Errors
/// As [`count_boxes`].
pub fn count_pixels(
    images: &[ImageInfo],
    files: &ScoreFiles,
    root: &Path,
    protocol: &Protocol,
    tick: impl Fn() + Sync,
) -> Result<Counts<PixelCounts>, EvaluationError> {
    let empty = || PixelCounts::new(&protocol.thresholds);
    let add = |counts: &mut PixelCounts, index: usize, map: &ScoreMap| {
        if let Object::Masks { masks, ignore } = &images[index].object {
            counts.add(map.scores(), &pixels(root, masks, ignore.as_deref(), map.size())?);
        }
        Ok(())
    };
    count(images, files, protocol.keep_going, tick, empty, add, PixelCounts::merged)
}

/// Images that are counted before their counts are merged with those of others.
const TASK: usize = 16;

fn count<C: Send>(
    images: &[ImageInfo],
    files: &ScoreFiles,
    keep_going: bool,
    tick: impl Fn() + Sync,
    empty: impl Fn() -> C + Sync,
    add: impl Fn(&mut C, usize, &ScoreMap) -> Result<(), EvaluationError> + Sync,
    merged: impl Fn(C, C) -> C + Sync,
) -> Result<Counts<C>, EvaluationError> {
    let expected = expected_size(images, files, keep_going)?;
    let none = || Counts { counts: empty(), measured: 0, blank: 0, size: expected, skipped: Vec::new() };
    let measure = |counts: &mut C, index: usize| {
        let (map, path) = files.read(&images[index].id)?;
        match expected {
            Some(expected) if map.size() != expected => {
                let found = map.size();
                return Err(EvaluationError::Size { path, found, expected, by_most: keep_going });
            }
            _ => add(counts, index, &map)?,
        }
        Ok(map.scores().iter().all(|&score| score == 0.0))
    };
    // Of several errors the first in the order of the images is told, whichever thread was faster: what comes after one
    // need not be looked at, what comes before has to.
    let failed = AtomicUsize::new(usize::MAX);
    let one = |mut all: Counts<C>, index: usize| {
        if index > failed.load(Ordering::Relaxed) {
            return Ok(all);
        }
        let measured = measure(&mut all.counts, index);
        tick();
        match measured {
            Ok(blank) => (all.measured, all.blank) = (all.measured + 1, all.blank + usize::from(blank)),
            Err(error) if keep_going => all.skipped.push(error),
            Err(error) => {
                failed.fetch_min(index, Ordering::Relaxed);
                return Err((index, error));
            }
        }
        Ok(all)
    };
    let join = |a: Result<Counts<C>, Failure>, b: Result<Counts<C>, Failure>| match (a, b) {
        (Ok(a), Ok(mut b)) => {
            let mut skipped = a.skipped;
            skipped.append(&mut b.skipped);
            let (measured, blank) = (a.measured + b.measured, a.blank + b.blank);
            Ok(Counts { counts: merged(a.counts, b.counts), measured, blank, size: expected, skipped })
        }
        (Err(a), Err(b)) => Err(if a.0 < b.0 { a } else { b }),
        (Err(failure), _) | (_, Err(failure)) => Err(failure),
    };
    let tasks = (0..images.len()).into_par_iter().with_min_len(TASK);
    let counts = tasks.fold(|| Ok(none()), |all, index| one(all?, index)).reduce(|| Ok(none()), join);
    counts.map_err(|(_, error)| error)
}

/// An image's position and what is wrong with it.
type Failure = (usize, EvaluationError);

/// Maps whose sizes tell that of all.
const SIZED: usize = 15;

/// How large all maps have to be: as the first, or when keeping going as most of the first that can be read.
fn expected_size(
    images: &[ImageInfo],
    files: &ScoreFiles,
    keep_going: bool,
) -> Result<Option<(u32, u32)>, EvaluationError> {
    let mut maps = images.iter().map(|image| files.read(&image.id));
    if !keep_going {
        return Ok(maps.next().transpose()?.map(|(map, _)| map.size()));
    }
    let sizes: Vec<(u32, u32)> = maps.flatten().take(SIZED).map(|(map, _)| map.size()).collect();
    let shared = |size: &(u32, u32)| sizes.iter().filter(|other| *other == size).count();
    // Of equally many the first.
    Ok(sizes.iter().rev().max_by_key(|size| shared(size)).copied())
}
