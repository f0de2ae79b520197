//! Pictures to look at: samples with their provenance, and images under their input gradient.

use std::path::Path;

use image::RgbImage;
use pg_cli::choices::OnCorrupt;
use pg_random::Seed;
use pg_tasks::sheet::{overlay, sheet, tint_non_target, write_png};

use crate::error::ClassifyError;
use crate::evaluation::Saliency;
use crate::samples::Samples;
use crate::settings::Config;

/// Pairs in a row of a sheet.
const PAIRS: usize = 4;

/// A sheet of up to `count` training samples as the network sees them, guided ones first, each beside a copy whose
/// non-target region is tinted.
///
/// # Errors
/// If an image cannot be decoded (and may not be skipped).
pub fn draw_samples(samples: &Samples, config: &Config, count: usize) -> Result<RgbImage, ClassifyError> {
    let mut indices: Vec<usize> = (0..samples.as_slice().len()).collect();
    indices.sort_by_key(|&index| samples.as_slice()[index].target.is_none());
    let mut images = Vec::new();
    for &index in spread(&indices, count) {
        let (image, target) = match samples.load(index, 0, config.augment, Seed(config.optimisation.seed)) {
            Ok(sample) => sample,
            // The epoch that meets it says so.
            Err(_) if config.on_corrupt == OnCorrupt::Skip => continue,
            Err(error) => return Err(error),
        };
        let tinted = match &target {
            Some(target) => tint_non_target(&image, target)?,
            None => image.clone(),
        };
        images.extend([image, tinted]);
    }
    Ok(sheet(&images, 2 * PAIRS))
}

/// A sheet of images, each beside its input gradient as a heat map; the true object is left untinted where it is known.
///
/// # Errors
/// If the file cannot be written.
pub fn write_saliencies(saliencies: &[Saliency], path: &Path) -> Result<(), ClassifyError> {
    let mut images = Vec::new();
    for saliency in saliencies {
        let shown = match &saliency.truth {
            Some(truth) => tint_non_target(&saliency.image, truth)?,
            None => saliency.image.clone(),
        };
        images.extend([shown, overlay(&saliency.image, &saliency.heat())?]);
    }
    Ok(write_png(&sheet(&images, 2 * PAIRS), path)?)
}

/// Up to `count` items, one from each of as many stretches of equal length, so that a sheet shows more than the first
/// class. The place within the stretch moves on by one each time: sets often repeat their classes in a fixed rhythm.
pub fn spread<T>(items: &[T], count: usize) -> impl Iterator<Item = &T> {
    let count = count.min(items.len());
    let stretch = items.len().checked_div(count).unwrap_or(1);
    (0..count).map(move |i| &items[i * items.len() / count + i % stretch])
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn items_are_spread_evenly() {
        let items: Vec<usize> = (0..10).collect();
        assert_eq!(spread(&items, 3).copied().collect::<Vec<_>>(), [0, 4, 8]);
        assert_eq!(spread(&items, 10).copied().collect::<Vec<_>>(), items);
        assert_eq!(spread(&items, 20).count(), 10);
        assert_eq!(spread::<u8>(&[], 3).count(), 0);
    }
}
