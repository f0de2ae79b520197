//! Generative edits as a synthesis: the edited image, and the region that the edit left alone.

use image::RgbImage;
use pg_provenance::{Extraction, Extractor, SoftMask, resize_rgb};
use pg_random::Stream;
use rayon::prelude::*;

use crate::{Masks, SynthError, Synthesiser, Synthetic};

/// An original, an edit of it that keeps its class, and that class.
#[derive(Clone, Debug, PartialEq)]
pub struct EditPair {
    /// The image before the edit.
    pub original: RgbImage,
    /// The image after it; its size may differ.
    pub edited: RgbImage,
    /// Class of both.
    pub label: u32,
}

/// Turns edit pairs into samples on the extractor's grid. Source A is the original, so the masks are 1 on the
/// unmodified region; both labels are the pair's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Edits {
    /// How the masks are found, and the size of the samples.
    pub extractor: Extractor,
}

/// The masks of edits, and how far to trust them.
#[derive(Clone, Debug, PartialEq)]
pub struct EditProvenance {
    /// 1 on the unmodified region.
    pub masks: Masks,
    /// One a pair: threshold, separability, defect.
    pub extractions: Vec<Extraction>,
}

impl Synthesiser for Edits {
    type Input = [EditPair];
    type Provenance = EditProvenance;

    /// The edited images with pixels in [0, 1], not yet normalised. Nothing is random.
    fn synthesise(
        &self,
        pairs: &[EditPair],
        _: &mut Stream,
    ) -> Result<Synthetic<EditProvenance>, SynthError> {
        if pairs.is_empty() {
            return Err(SynthError::EmptyBatch);
        }
        let extractions = pairs
            .par_iter()
            .map(|pair| self.extractor.extract(&pair.original, &pair.edited))
            .collect::<Vec<_>>() // a parallel collect into Result would report any failure, not the first
            .into_iter()
            .enumerate()
            .map(|(index, extraction)| extraction.map_err(|reason| SynthError::Pair { index, reason }))
            .collect::<Result<Vec<Extraction>, _>>()?;
        let masks = self.masks(&extractions);
        let labels: Vec<u32> = pairs.iter().map(|pair| pair.label).collect();
        Ok(Synthetic {
            pixels: pairs.par_iter().flat_map_iter(|pair| self.planes(&pair.edited)).collect(),
            lam: masks.means(),
            provenance: EditProvenance { masks, extractions },
            label_a: labels.clone(),
            label_b: labels,
            partner: (0..pairs.len()).collect(),
        })
    }
}

impl Edits {
    /// The image on the grid, (channel, row, column), in [0, 1].
    fn planes(&self, image: &RgbImage) -> Vec<f32> {
        let image = resize_rgb(image, self.extractor.width, self.extractor.height);
        (0..3)
            .flat_map(|channel| image.pixels().map(move |pixel| f32::from(pixel[channel]) / 255.0))
            .collect()
    }

    fn masks(&self, extractions: &[Extraction]) -> Masks {
        let soft = extractions.iter().flat_map(|extraction| SoftMask::from(&extraction.target).into_values());
        Masks {
            height: self.extractor.height as usize,
            width: self.extractor.width as usize,
            values: soft.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use pg_provenance::{Defect, ProvenanceError};
    use pg_random::Seed;

    /// An edit of the rows from `start` on.
    fn pair(start: u32, label: u32) -> EditPair {
        let original = RgbImage::from_pixel(6, 4, Rgb([10, 20, 51]));
        let edited =
            RgbImage::from_fn(6, 4, |_, y| Rgb(if y < start { [11, 20, 51] } else { [102, 153, 204] }));
        EditPair { original, edited, label }
    }

    fn synthesise(pairs: &[EditPair]) -> Result<Synthetic<EditProvenance>, SynthError> {
        Edits { extractor: Extractor::new(6, 4) }.synthesise(pairs, &mut Seed(0).stream("edits", &[]))
    }

    #[test]
    fn samples_are_the_edited_images_with_the_unmodified_region_as_target() {
        let synthetic = synthesise(&[pair(1, 7), pair(3, 8)]).unwrap();
        assert_eq!((synthetic.label_a, synthetic.label_b), (vec![7, 8], vec![7, 8]));
        assert_eq!((synthetic.lam, synthetic.partner), (vec![0.25, 0.75], vec![0, 1]));
        for (n, start) in [(0, 6), (1, 18)] {
            let mask = synthetic.provenance.masks.sample(n);
            assert!(mask.iter().enumerate().all(|(i, &value)| value == f32::from(u8::from(i < start))));
            let planes: Vec<f32> = [(11u8, 102u8), (20, 153), (51, 204)]
                .into_iter()
                .flat_map(|(kept, new)| {
                    (0..24).map(move |i| f32::from(if i < start { kept } else { new }) / 255.0)
                })
                .collect();
            assert_eq!(synthetic.pixels[n * 72..][..72], planes);
        }
    }

    #[test]
    fn what_is_wrong_with_a_pair_is_said() {
        assert_eq!(synthesise(&[]), Err(SynthError::EmptyBatch));
        let mut identical = pair(2, 0);
        identical.edited = identical.original.clone();
        let synthetic = synthesise(&[pair(2, 0), identical]).unwrap();
        let defects: Vec<_> =
            synthetic.provenance.extractions.iter().map(|extraction| extraction.defect).collect();
        assert_eq!(defects, [None, Some(Defect::Identical)]);
        assert_eq!(synthetic.lam, [0.5, 1.0]);

        let mut empty = pair(2, 0);
        empty.edited = RgbImage::new(0, 0);
        let reason = ProvenanceError::EmptyImage { role: "edited", width: 0, height: 0 };
        assert_eq!(synthesise(&[pair(2, 0), empty]), Err(SynthError::Pair { index: 1, reason }));
    }
}
