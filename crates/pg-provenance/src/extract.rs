//! From a pair (original, edited) to the mask of what the edit left alone.

use image::RgbImage;
use rayon::prelude::*;

use crate::{
    BinaryMask, Difference, DifferenceMap, OTSU_BINS, Otsu, ProvenanceError, difference_map, otsu_f32,
    otsu_u8,
};

/// What Otsu's method sees of the differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Histogram {
    /// Differences rounded to whole grey levels, one bin a level.
    #[default]
    U8,
    /// Differences as they are, 256 equal bins between the smallest and the largest. The threshold is the
    /// centre of a bin, so that the upper half of that bin counts as modified.
    Float,
}

/// Finds the unmodified region of an edit: difference, Otsu's threshold, and target where the difference does
/// not exceed it. An edit that passes through an auto-encoder changes every pixel a little, hence a
/// threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Extractor {
    /// Width of the network grid, on which pairs are compared.
    pub width: u32,
    /// Height of the network grid.
    pub height: u32,
    /// How the channels of a pixel are reduced to one difference.
    pub difference: Difference,
    /// What the threshold is computed from.
    pub histogram: Histogram,
}

impl Extractor {
    /// The defaults on a grid of `width` x `height`: mean difference, whole grey levels.
    pub fn new(width: u32, height: u32) -> Self {
        let (difference, histogram) = (Difference::default(), Histogram::default());
        Self { width, height, difference, histogram }
    }

    /// The unmodified region of one pair. The images may differ in size.
    ///
    /// # Errors
    /// [`ProvenanceError::EmptyImage`] and [`ProvenanceError::EmptyGrid`].
    pub fn extract(&self, original: &RgbImage, edited: &RgbImage) -> Result<Extraction, ProvenanceError> {
        let map = difference_map(original, edited, self.width, self.height, self.difference)?;
        let defect = Defect::find(&map, edited);
        let (target, otsu) = self.threshold(map)?;
        Ok(Extraction { target, otsu, defect })
    }

    /// The unmodified regions of many pairs, in their order, computed in parallel.
    ///
    /// # Errors
    /// Those of [`Extractor::extract`] for the first pair that fails.
    pub fn extract_batch(
        &self,
        pairs: &[(&RgbImage, &RgbImage)],
    ) -> Result<Vec<Extraction>, ProvenanceError> {
        let extractions: Vec<_> =
            pairs.par_iter().map(|(original, edited)| self.extract(original, edited)).collect();
        extractions.into_iter().collect()
    }

    fn threshold(&self, map: DifferenceMap) -> Result<(BinaryMask, Otsu), ProvenanceError> {
        let (otsu, levels) = match self.histogram {
            Histogram::U8 => {
                let levels = map.to_u8();
                (otsu_u8(&levels)?, levels.into_iter().map(f32::from).collect())
            }
            Histogram::Float => (otsu_f32(&map.values, OTSU_BINS)?, map.values),
        };
        let unmodified = levels.iter().map(|&level| f64::from(level) <= otsu.threshold).collect();
        Ok((BinaryMask::new(map.width, map.height, unmodified)?, otsu))
    }
}

/// The unmodified region of an edit, and how it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Extraction {
    /// `true` where the edit left the original alone, on the network grid.
    pub target: BinaryMask,
    /// The threshold on the differences.
    pub otsu: Otsu,
    /// Why the pair teaches nothing about the target, if so.
    pub defect: Option<Defect>,
}

impl Extraction {
    /// Whether the mask teaches nothing: the pair has a [`Defect`], or differs by so little that all counts as unmodified.
    /// A weak [`Otsu::separability`] is a matter of degree and left to the caller.
    pub fn is_degenerate(&self) -> bool {
        self.defect.is_some() || !self.target.bits().contains(&false)
    }
}

/// Why a pair has no meaningful mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Both images are equal on the grid; all counts as unmodified.
    Identical,
    /// The edit is black, as diffusion pipelines return it when their safety checker objects.
    BlackEdit,
    /// Every pixel changed equally; all counts as unmodified.
    ConstantDifference,
}

impl Defect {
    fn find(map: &DifferenceMap, edited: &RgbImage) -> Option<Self> {
        let first = map.values.first()?;
        if map.values.iter().any(|value| value != first) {
            edited.iter().all(|&level| level == 0).then_some(Self::BlackEdit)
        } else if *first == 0.0 {
            Some(Self::Identical)
        } else {
            Some(Self::ConstantDifference)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    /// A grey picture with some texture; `change(x, y)` is added to every channel.
    fn picture(change: impl Fn(u32, u32) -> u8) -> RgbImage {
        RgbImage::from_fn(16, 12, |x, y| Rgb([(100 + (x * 7 + y * 5) % 13) as u8 + change(x, y); 3]))
    }

    /// An edit of the right half (+80) that also disturbs the rest a little, as an auto-encoder does.
    fn pair() -> (RgbImage, RgbImage) {
        (picture(|_, _| 0), picture(|x, y| if x >= 8 { 80 } else { ((x + y) % 3) as u8 }))
    }

    #[test]
    fn finds_the_region_that_the_edit_left_alone() {
        let (original, edited) = pair();
        let left_half = BinaryMask::from_fn(16, 12, |x, _| x < 8);
        for difference in [Difference::Mean, Difference::Max, Difference::L2, Difference::Luma] {
            for histogram in [Histogram::U8, Histogram::Float] {
                let extractor = Extractor { difference, histogram, ..Extractor::new(16, 12) };
                let extraction = extractor.extract(&original, &edited).unwrap();
                assert_eq!(extraction.target, left_half, "{difference:?} {histogram:?}");
                assert_eq!(extraction.otsu.modified_fraction, 0.5);
                assert!(extraction.otsu.separability > 0.99);
                assert!(!extraction.is_degenerate());
            }
        }
    }

    #[test]
    fn pairs_without_a_meaningful_mask_say_so() {
        let (original, _) = pair();
        let extract = |edited: &RgbImage| Extractor::new(16, 12).extract(&original, edited).unwrap();
        let everything = BinaryMask::filled(16, 12, true);

        let identical = extract(&original);
        assert_eq!((identical.defect, &identical.target), (Some(Defect::Identical), &everything));
        let brighter = extract(&picture(|_, _| 40));
        assert_eq!((brighter.defect, &brighter.target), (Some(Defect::ConstantDifference), &everything));
        let black = extract(&RgbImage::new(16, 12));
        assert_eq!(black.defect, Some(Defect::BlackEdit));
        assert!(black.is_degenerate());

        // A third of a grey level in the mean over the channels, which rounds to none.
        let mut faint = original.clone();
        for (_, _, pixel) in faint.enumerate_pixels_mut().filter(|(x, ..)| *x < 8) {
            pixel[0] += 1;
        }
        let faint = extract(&faint);
        assert_eq!((faint.defect, &faint.target), (None, &everything));
        assert!(faint.is_degenerate());
    }

    #[test]
    fn a_batch_keeps_its_order_for_any_number_of_threads() {
        let edits: Vec<RgbImage> = (0..16).map(|n| picture(|x, _| if x < n { 80 } else { 0 })).collect();
        let original = picture(|_, _| 0);
        let pairs: Vec<_> = edits.iter().map(|edited| (&original, edited)).collect();
        let extractor = Extractor::new(16, 12);
        let alone: Vec<_> =
            edits.iter().map(|edited| extractor.extract(&original, edited).unwrap()).collect();
        for threads in [1, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| extractor.extract_batch(&pairs)).unwrap(), alone);
        }
        assert_eq!(alone[5].target, BinaryMask::from_fn(16, 12, |x, _| x >= 5));
    }

    #[test]
    fn the_first_broken_pair_of_a_batch_is_reported() {
        let (some, none) = (picture(|_, _| 0), RgbImage::new(3, 0));
        let error = Extractor::new(4, 4).extract_batch(&[(&some, &some), (&none, &some), (&some, &none)]);
        assert_eq!(error, Err(ProvenanceError::EmptyImage { role: "original", width: 3, height: 0 }));
    }
}
