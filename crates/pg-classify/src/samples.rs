//! Training samples: which image, which class, and which part of it the class may look at.

use std::sync::Arc;

use image::RgbImage;
use pg_cli::choices::{MaskKind, OnCorrupt};
use pg_provenance::{BinaryMask, Defect, Extraction, Extractor, change_area, random_mask_like, resize_rgb};
use pg_random::Seed;
use pg_synth::{Crop as Window, Geometry, random_flip, random_resized_crop};
use rayon::prelude::*;

use crate::dataset::{Crop, Dataset, EditExample, Picture};
use crate::error::ClassifyError;
use crate::settings::{Augment, Config};
use crate::unmodified::unmodified;

/// Brings any picture to the network's square input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Side in pixels.
    pub side: u32,
    /// Crop taken first.
    pub crop: Option<Crop>,
}

impl Grid {
    /// The picture on the grid: decoded, cropped where the data set says so, resized whatever its aspect ratio.
    ///
    /// # Errors
    /// If the file cannot be decoded.
    pub fn load(&self, picture: &Picture) -> Result<RgbImage, ClassifyError> {
        Ok(self.resized(picture.load()?))
    }

    /// A decoded picture on the grid.
    pub fn resized(&self, image: Arc<RgbImage>) -> RgbImage {
        resize_rgb(&self.cropped(image), self.side, self.side)
    }

    /// A decoded picture, cropped where the data set says so and not yet resized.
    pub fn cropped(&self, image: Arc<RgbImage>) -> Arc<RgbImage> {
        match self.crop {
            Some(crop) => Arc::new(crop.apply(&image)),
            None => image,
        }
    }

    /// A mask of a picture, on the grid.
    pub fn mask(&self, mask: &BinaryMask) -> BinaryMask {
        mask.resize_nearest(self.side as usize, self.side as usize)
    }
}

/// One training sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The image.
    pub picture: Picture,
    /// Its class.
    pub label: u32,
    /// What the class may look at, on the grid; `None`: everything, so that guidance has nothing to say.
    pub target: Option<Arc<BinaryMask>>,
}

/// What was found while samples were prepared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Preparation {
    /// Edits that train.
    pub edits: usize,
    /// Edits dropped because they are black or separate too little.
    pub dropped: usize,
    /// Edits that left everything alone, as far as the difference to their original or the mask that came with them shows,
    /// and those of classes without an object: they train without guidance.
    pub unguided: usize,
    /// Mean share of the image that the editor modified, over the edits that train with a mask, whichever mask the run
    /// then puts in its place; `None` without any.
    pub modified: Option<f64>,
    /// Mean separability of the differences, over all edits; `None` without any.
    pub separability: Option<f64>,
}

/// The training samples of a run: originals, then edits.
#[derive(Clone, Debug)]
pub struct Samples {
    grid: Grid,
    samples: Vec<Sample>,
    preparation: Preparation,
}

impl Samples {
    /// Prepares the samples of `dataset`; masks are extracted from the edits in parallel.
    ///
    /// # Errors
    /// If an image cannot be decoded (and `--on-corrupt` says `fail`) or a mask cannot be extracted.
    pub fn prepare(dataset: &Dataset, config: &Config) -> Result<Self, ClassifyError> {
        let grid = Grid { side: config.image_size, crop: dataset.crop };
        let mut samples: Vec<Sample> = dataset
            .train
            .iter()
            .map(|example| Sample {
                picture: example.picture.clone(),
                label: example.label,
                target: example.target.as_ref().map(|mask| Arc::new(grid.mask(mask))),
            })
            .collect();
        let edits: &[EditExample] = if config.no_edits { &[] } else { &dataset.edits };
        let extractions = edits
            .par_iter()
            .map(|edit| extract(dataset, edit, grid, config))
            .collect::<Result<Vec<_>, _>>()?;

        let mut preparation = Preparation::default();
        let (mut modified, mut separability) = (Vec::new(), Vec::new());
        for (edit, extraction) in edits.iter().zip(extractions) {
            let Some(extraction) = extraction else { continue };
            separability.push(extraction.otsu.separability);
            let weak = edit.mask.is_none() && extraction.otsu.separability < config.min_separability;
            if weak || extraction.defect == Some(Defect::BlackEdit) {
                preparation.dropped += 1;
                continue;
            }
            preparation.edits += 1;
            let separates = extraction.target.bits().contains(&false);
            let guided = separates && !dataset.objectless.contains(&edit.label);
            preparation.unguided += usize::from(!guided);
            let target = guided.then(|| Arc::new(extraction.target));
            modified.extend(target.as_deref().map(modified_share));
            if config.guide_originals && samples[edit.original].target.is_none() {
                samples[edit.original].target.clone_from(&target);
            }
            samples.push(Sample { picture: edit.picture.clone(), label: edit.label, target });
        }
        for (index, sample) in samples.iter_mut().enumerate() {
            if let Some(target) = &sample.target {
                sample.target = Some(Arc::new(ablate(target, index, config)?));
            }
        }
        preparation.modified = mean(&modified);
        preparation.separability = mean(&separability);
        Ok(Self { grid, samples, preparation })
    }

    /// What was found while the samples were prepared.
    pub fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    /// The samples.
    pub fn as_slice(&self) -> &[Sample] {
        &self.samples
    }

    /// The grid that images and masks are on.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Image and mask of sample `index` in `epoch`, augmented alike.
    ///
    /// # Errors
    /// If the image cannot be decoded.
    pub fn load(
        &self,
        index: usize,
        epoch: usize,
        augment: Augment,
        seed: Seed,
    ) -> Result<(RgbImage, Option<BinaryMask>), ClassifyError> {
        let sample = &self.samples[index];
        let image = self.grid.load(&sample.picture)?;
        let target = sample.target.as_deref().cloned();
        if augment == Augment::None {
            return Ok((image, target));
        }
        let side = self.grid.side;
        let mut stream = seed.stream("augment", &[epoch as u64, index as u64]);
        let flip = random_flip(0.5, &mut stream);
        let crop = match augment {
            Augment::FlipCrop => {
                random_resized_crop(side, side, (0.7, 1.0), (3.0 / 4.0, 4.0 / 3.0), &mut stream)
            }
            _ => Window::whole(side, side),
        };
        let geometry = Geometry { flip, crop };
        let target = target.map(|target| geometry.apply_mask(&target, side, side));
        Ok((geometry.apply_image(&image, side, side), target))
    }
}

/// The unmodified region of an edit; `None` if one of the images is corrupt and may be skipped.
fn extract(
    dataset: &Dataset,
    edit: &EditExample,
    grid: Grid,
    config: &Config,
) -> Result<Option<Extraction>, ClassifyError> {
    let extractor = Extractor {
        difference: config.difference.into(),
        histogram: config.otsu.into(),
        ..Extractor::new(grid.side, grid.side)
    };
    match unmodified(dataset, edit, grid, &extractor) {
        Err(error @ ClassifyError::Image(_)) if config.on_corrupt == OnCorrupt::Skip => {
            tracing::warn!("skipped: {error}");
            Ok(None)
        }
        extraction => extraction.map(Some),
    }
}

/// The mask that the run asks for in place of the provenance.
fn ablate(target: &BinaryMask, index: usize, config: &Config) -> Result<BinaryMask, ClassifyError> {
    let resized;
    let target = if config.mask_area == 1.0 {
        target
    } else {
        resized = change_area(target, config.mask_area - 1.0)
            .map_err(|source| ClassifyError::Provenance { picture: "--mask-area".into(), source })?;
        &resized
    };
    Ok(match config.guidance.mask {
        MaskKind::True => target.clone(),
        MaskKind::Random => random_mask_like(
            target,
            &mut Seed(config.optimisation.seed).stream("random-mask", &[index as u64]),
        ),
        MaskKind::Full => BinaryMask::filled(target.width(), target.height(), false),
    })
}

/// Share of the image that a mask of the unmodified region leaves out.
pub fn modified_share(mask: &BinaryMask) -> f64 {
    1.0 - mask.area() as f64 / (mask.width() * mask.height()) as f64
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Options, embedded};
    use crate::settings::Settings;
    use pg_embedded::Spec;

    fn preparation(change: impl Fn(&mut Dataset, &mut Settings)) -> Preparation {
        let spec = Spec { train: 12, val: 4, test: 4, ..Spec::default() };
        let mut set = embedded::from_spec(&spec, &Options::default()).unwrap();
        let mut settings = Settings::default();
        change(&mut set, &mut settings);
        *Samples::prepare(&set, &settings.resolve().unwrap()).unwrap().preparation()
    }

    #[test]
    fn what_the_editor_modified_is_told_whichever_mask_guides() {
        let found = preparation(|_, _| ());
        assert!((0.1..0.9).contains(&found.modified.unwrap()), "{found:?}");
        for mask in [MaskKind::Full, MaskKind::Random] {
            assert_eq!(preparation(|_, settings| settings.guidance.mask = Some(mask)), found);
        }
        assert_eq!(preparation(|_, settings| settings.mask_area = Some(0.5)), found);
    }

    #[test]
    fn without_masks_or_edits_there_is_nothing_to_tell() {
        let unguided = preparation(|set, _| {
            for edit in &mut set.edits {
                edit.picture = set.train[edit.original].picture.clone();
            }
        });
        assert_eq!((unguided.edits, unguided.unguided, unguided.modified), (12, 12, None));
        // A third of a grey level in the mean over the channels, which rounds to none.
        let faint = preparation(|set, settings| {
            settings.image_size = Some(set.train[0].picture.load().unwrap().width());
            for edit in &mut set.edits {
                let mut image = RgbImage::clone(&set.train[edit.original].picture.load().unwrap());
                let middle = image.width() / 2;
                for (_, _, pixel) in image.enumerate_pixels_mut().filter(|(x, ..)| *x < middle) {
                    pixel[0] ^= 1;
                }
                edit.picture = Picture::Memory(Arc::new(image));
            }
        });
        assert_eq!((faint.edits, faint.unguided, faint.modified), (12, 12, None));
        let none = preparation(|_, settings| settings.no_edits = Some(true));
        assert_eq!((none.modified, none.separability), (None, None));
    }
}
