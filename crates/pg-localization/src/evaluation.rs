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
    /// The thresholds 0, `interval`, 2 `interval`, ... below 1, as NumPy's `arange` has them; `interval` is above 0.
    pub fn thresholds(interval: f64) -> Vec<f64> {
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
    #[error("{}: {} x {} pixels, but the maps before have {} x {}", path.display(), found.0, found.1, expected.0, expected.1)]
    Size {
        /// The map.
        path: PathBuf,
        /// Its (width, height).
        found: (u32, u32),
        /// Those of the first map.
        expected: (u32, u32),
    },
}

/// What was counted.
#[derive(Debug)]
pub struct Counts<C> {
    /// Over all images that could be measured.
    pub counts: C,
    /// Images whose scores are all zero (of a map that was constant, say), and so show nothing.
    pub blank: usize,
    /// Why the others could not be, in the order of the images; empty unless told to keep going.
    pub skipped: Vec<EvaluationError>,
}

/// Counts of boxes over `images`, all of which have boxes; images without are left out. `ranked` gives for the image at a
/// position whether it was classified rightly. `tick` is called after each image.
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
    let add = |mut counts: BoxCounts, index: usize, map: &ScoreMap| {
        if let Object::Boxes { size, boxes } = &images[index].object {
            let objects: Vec<_> =
                boxes.iter().filter_map(|&object| convention.object(object, *size, map.size())).collect();
            counts.add(&overlaps(*convention, map, &objects, thresholds), ranked(index));
        }
        Ok(counts)
    };
    count(images, files, protocol.keep_going, tick, empty, add, BoxCounts::merged)
}

/// Counts of pixels over `images`, all of which have masks under `root`; images without are left out.
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
    let add = |mut counts: PixelCounts, index: usize, map: &ScoreMap| {
        if let Object::Masks { masks, ignore } = &images[index].object {
            counts.add(map.scores(), &pixels(root, masks, ignore.as_deref(), map.size())?);
        }
        Ok(counts)
    };
    count(images, files, protocol.keep_going, tick, empty, add, PixelCounts::merged)
}

/// Images that one task reads one after another.
const TASK: usize = 16;

fn count<C: Send>(
    images: &[ImageInfo],
    files: &ScoreFiles,
    keep_going: bool,
    tick: impl Fn() + Sync,
    empty: impl Fn() -> C + Sync,
    add: impl Fn(C, usize, &ScoreMap) -> Result<C, EvaluationError> + Sync,
    merged: impl Fn(C, C) -> C + Sync,
) -> Result<Counts<C>, EvaluationError> {
    // The first map that can be read says how large all have to be.
    let expected = images.iter().find_map(|image| files.read(&image.id).ok()).map(|(map, _)| map.size());
    let none = || Counts { counts: empty(), blank: 0, skipped: Vec::new() };
    let one = |mut all: Counts<C>, index: usize| {
        let map =
            files.read(&images[index].id).map_err(EvaluationError::from).and_then(
                |(map, path)| match expected {
                    Some(expected) if map.size() != expected => {
                        Err(EvaluationError::Size { path, found: map.size(), expected })
                    }
                    _ => Ok(map),
                },
            );
        let counted = match map {
            Ok(map) => {
                all.blank += usize::from(map.scores().iter().all(|&score| score == 0.0));
                add(empty(), index, &map)
            }
            Err(error) => Err(error),
        };
        tick();
        match counted {
            Ok(counts) => all.counts = merged(all.counts, counts),
            Err(error) if keep_going => all.skipped.push(error),
            Err(error) => return Err(error),
        }
        Ok(all)
    };
    // Of several errors the first in the order of the images is told, whichever thread was faster.
    let failed = AtomicUsize::new(usize::MAX);
    let part = |(task, indices): (usize, Vec<usize>)| {
        if task > failed.load(Ordering::Relaxed) {
            return Ok(none());
        }
        let part = indices.into_iter().try_fold(none(), one);
        if part.is_err() {
            failed.fetch_min(task, Ordering::Relaxed);
        }
        part
    };
    let tasks = (0..images.len()).into_par_iter().chunks(TASK).enumerate();
    let parts: Vec<Result<Counts<C>, EvaluationError>> = tasks.map(part).collect();
    parts.into_iter().try_fold(none(), |all, part| {
        let part = part?;
        let mut skipped = all.skipped;
        skipped.extend(part.skipped);
        Ok(Counts { counts: merged(all.counts, part.counts), blank: all.blank + part.blank, skipped })
    })
}
