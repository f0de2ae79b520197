//! Measures of a network on a split: where its maps find objects, what it classifies, and how much of a mix's gradient
//! leaks into the wrong part.

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use image::{RgbImage, imageops};
use pg_cli::choices::OnCorrupt;
use pg_grad::ops::resize_bicubic;
use pg_grad::{Score, saliency, without_graph};
use pg_localization::{
    BoundingBox, BoxCounts, Convention, Object, PixelCounts, Protocol, Ranked, ScoreMap, overlaps, pixels,
};
use pg_models::{Mode, Model};
use pg_provenance::resize_rgb;
use pg_random::Seed;
use pg_synth::{Batch, CutMix, Synthesiser};
use pg_tasks::normalise::Normalise;
use rayon::prelude::*;

use crate::dataset::Example;
use crate::error::WsolError;
use crate::settings::MapName;

/// Images measured at once.
const BATCH: usize = 64;
/// Cells a side that the input gradient is averaged in.
const CELLS: usize = 14;
/// Mixed images that the leak is measured on, at most.
const LEAK_IMAGES: usize = 512;
/// wsolevaluation's step between thresholds.
const INTERVAL: f64 = 0.001;

/// Measures networks on images of one size.
#[derive(Clone, Debug)]
pub struct Evaluator {
    /// Side of the network's input.
    pub side: u32,
    /// Whose images and boxes: SAT looks at the central crop of an image, the others at all of it.
    pub convention: Convention,
    /// How images become input.
    pub normalise: Normalise,
    /// What maps are made from.
    pub map: MapName,
    /// What to do with an image or a mask that cannot be decoded.
    pub on_corrupt: OnCorrupt,
    /// Folder of the masks, where examples have masks.
    pub masks: Option<PathBuf>,
    /// Batches of 64 images to look at, evenly spread; all if `None`.
    pub limit_batches: Option<usize>,
    /// Where the network is.
    pub device: Device,
}

/// What a network says of one image.
#[derive(Clone, Debug)]
pub struct Located<'a> {
    /// The image.
    pub example: &'a Example,
    /// It, as the network sees it.
    pub image: RgbImage,
    /// Whose boxes.
    pub convention: Convention,
    /// The object's boxes in pixels of the map; none where it has masks, or lies outside.
    pub objects: Vec<BoundingBox>,
    /// Scores of its own class's map.
    pub map: ScoreMap,
    /// The likeliest classes, the likeliest first: five, or of fewer classes one.
    pub guesses: Vec<u32>,
}

/// What was counted on a split.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Images.
    pub images: usize,
    /// Images classified rightly.
    pub correct: usize,
    /// Over images with boxes.
    pub boxes: Option<BoxCounts>,
    /// Over images with masks.
    pub pixels: Option<PixelCounts>,
}

impl Located<'_> {
    /// Whether its class is the first guess, and among five.
    pub fn ranked(&self) -> Ranked {
        Ranked::of(&self.guesses, self.example.label)
    }
}

impl Measured {
    /// Share of images classified rightly, in [0, 1].
    pub fn top1(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }

    /// What maps are judged by, in [0, 1]: MaxBoxAccV2, or without boxes PxAP.
    pub fn localised(&self) -> f64 {
        if self.boxes.is_some() { self.v2() } else { self.pxap() }
    }

    /// MaxBoxAccV2 in [0, 1]; NaN without boxes.
    pub fn v2(&self) -> f64 {
        self.boxes.as_ref().map_or(f64::NAN, |boxes| boxes.best().max_box_acc_v2() / 100.0)
    }

    /// PxAP in [0, 1]; NaN without masks.
    pub fn pxap(&self) -> f64 {
        let percent = self.pixels.as_ref().and_then(PixelCounts::average_precision);
        percent.map_or(f64::NAN, |percent| percent / 100.0)
    }
}

impl Evaluator {
    /// Everything that is measured on images whose objects are known.
    ///
    /// # Errors
    /// If an image or a mask cannot be read (and may not be skipped), or the network fails; [`WsolError::NotFinite`],
    /// since NaN would pass for the largest logit.
    pub fn measure(&self, model: &Model, examples: &[Example]) -> Result<Measured, WsolError> {
        let thresholds = Protocol::thresholds(INTERVAL);
        let mut measured = Measured { images: 0, correct: 0, boxes: None, pixels: None };
        self.each_batch(model, examples, |located| {
            measured.images += located.len();
            measured.correct += located.iter().filter(|one| one.ranked().top1).count();
            let boxes = located
                .par_iter()
                .filter_map(|one| count_boxes(one, &thresholds))
                .reduce_with(BoxCounts::merged);
            measured.boxes = joined(measured.boxes.take(), boxes, BoxCounts::merged);
            for one in &located {
                if let (Some(Object::Masks { masks, ignore }), Some(root)) =
                    (&one.example.object, &self.masks)
                {
                    let truth = match pixels(root, masks, ignore.as_deref(), one.map.size()) {
                        Err(error) if self.on_corrupt == OnCorrupt::Skip => {
                            tracing::warn!("skipped: {error}");
                            continue;
                        }
                        truth => truth?,
                    };
                    measured
                        .pixels
                        .get_or_insert_with(|| PixelCounts::new(&thresholds))
                        .add(one.map.scores(), &truth);
                }
            }
            Ok::<(), WsolError>(())
        })?;
        Ok(measured)
    }

    /// Each image with its map.
    ///
    /// # Errors
    /// As [`Self::measure`].
    pub fn locate<'e>(&self, model: &Model, examples: &'e [Example]) -> Result<Vec<Located<'e>>, WsolError> {
        let mut all = Vec::new();
        self.each_batch(model, examples, |located| {
            all.extend(located);
            Ok::<(), WsolError>(())
        })?;
        Ok(all)
    }

    /// Hands the images of a split to `f`, batch by batch, so that memory does not grow with the split.
    ///
    /// # Errors
    /// As [`Self::measure`]; what `f` returns.
    pub fn each_batch<'e, E: From<WsolError>>(
        &self,
        model: &Model,
        examples: &'e [Example],
        mut f: impl FnMut(Vec<Located<'e>>) -> Result<(), E>,
    ) -> Result<(), E> {
        for batch in self.batches(examples) {
            let (examples, images) = self.load(&batch)?;
            if !examples.is_empty() {
                f(self.located(model, examples, images)?)?;
            }
        }
        Ok(())
    }

    fn located<'e>(
        &self,
        model: &Model,
        examples: Vec<&'e Example>,
        images: Vec<RgbImage>,
    ) -> Result<Vec<Located<'e>>, WsolError> {
        let x = self.normalise.batch(&images, &self.device)?;
        let labels: Vec<u32> = examples.iter().map(|example| example.label).collect();
        let classes = Tensor::new(labels.as_slice(), &self.device)?;
        let (logits, maps) = match self.map {
            MapName::Cam => {
                let found = without_graph(|| model.localize(&x, &classes, Mode::Eval))?;
                (found.logits, found.maps)
            }
            MapName::Gradient => {
                let (logits, gradient) =
                    saliency(&x, &classes, Score::Logit, |x| model.forward(x, Mode::Eval))?;
                (logits, cells(&gradient)?)
            }
        };
        let side = self.side as usize;
        let maps = maps.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.unsqueeze(1)?;
        let maps = resize_bicubic(&maps, side, side)?.flatten_from(1)?.to_vec2::<f64>()?;
        let logits = logits.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let each = examples.into_iter().zip(images).zip(maps.into_iter().zip(logits));
        each.map(|((example, image), (map, logits))| {
            if !logits.iter().all(|logit| logit.is_finite()) {
                return Err(WsolError::NotFinite { id: example.id.clone() });
            }
            let wrong = |source| WsolError::ScoreMap { id: example.id.clone(), source };
            let map = ScoreMap::normalized(self.side, self.side, map).map_err(wrong)?;
            let objects = match &example.object {
                Some(Object::Boxes { size, boxes }) => boxes
                    .iter()
                    .filter_map(|&object| self.convention.object(object, *size, map.size()))
                    .collect(),
                _ => Vec::new(),
            };
            let (convention, guesses) = (self.convention, guesses(&logits));
            Ok(Located { example, image, convention, objects, map, guesses })
        })
        .collect()
    }

    /// The leak ratio of `model` over CutMix's mixes of images: the squared gradient of each class's logit on the other
    /// class's part, over that on its own part. 0 where each logit depends on its own part alone; `None` if no two classes
    /// were mixed.
    ///
    /// # Errors
    /// As [`Self::measure`].
    pub fn leak_ratio(&self, model: &Model, examples: &[Example]) -> Result<Option<f64>, WsolError> {
        let (mut own, mut other) = (0.0, 0.0);
        let mut rng = Seed(0).stream("leak", &[]);
        // Lists are often sorted by class: spread, then every other batch-th, so that a batch has many classes.
        let most =
            self.limit_batches.map_or(LEAK_IMAGES, |limit| LEAK_IMAGES.min(limit.saturating_mul(BATCH)));
        let chosen: Vec<&Example> = spread(examples, most).collect();
        let batches = chosen.len().div_ceil(BATCH).max(1);
        for first in 0..batches {
            let batch: Vec<&Example> = chosen.iter().copied().skip(first).step_by(batches).collect();
            let (examples, images) = self.load(&batch)?;
            if examples.is_empty() {
                continue;
            }
            let side = self.side as usize;
            let pixels = self.normalise.batch(&images, &Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            let labels = examples.iter().map(|example| example.label).collect();
            let mixed =
                CutMix::default().synthesise(&Batch::new(pixels, 3, side, side, labels)?, &mut rng)?;
            let n = examples.len();
            let x = Tensor::from_vec(mixed.pixels, (n, 3, side, side), &self.device)?;
            for (classes, is_a) in [(&mixed.label_a, true), (&mixed.label_b, false)] {
                let classes = Tensor::new(classes.as_slice(), &self.device)?;
                let (_, gradient) = saliency(&x, &classes, Score::Logit, |x| model.forward(x, Mode::Eval))?;
                let energy =
                    gradient.sqr()?.sum(1)?.flatten_from(1)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
                for (i, energy) in energy.iter().enumerate() {
                    if mixed.label_a[i] == mixed.label_b[i] {
                        continue;
                    }
                    for (&energy, &mask) in energy.iter().zip(mixed.provenance.sample(i)) {
                        let is_own = (mask == 1.0) == is_a;
                        *(if is_own { &mut own } else { &mut other }) += f64::from(energy);
                    }
                }
            }
        }
        Ok((own > 0.0).then(|| other / own))
    }

    fn batches<'e>(&self, examples: &'e [Example]) -> Vec<Vec<&'e Example>> {
        let most = self.limit_batches.map_or(examples.len(), |limit| limit.saturating_mul(BATCH));
        let chosen: Vec<&Example> = spread(examples, most).collect();
        chosen.chunks(BATCH).map(<[&Example]>::to_vec).collect()
    }

    /// The images of a batch as the convention has them, without those that are corrupt and may be skipped.
    fn load<'e>(&self, batch: &[&'e Example]) -> Result<(Vec<&'e Example>, Vec<RgbImage>), WsolError> {
        let read = |example: &&Example| Ok(self.input(&*example.picture.load()?));
        let images: Vec<Result<RgbImage, WsolError>> = batch.par_iter().map(read).collect();
        let mut loaded = (Vec::new(), Vec::new());
        for (&example, image) in batch.iter().zip(images) {
            match image {
                Ok(image) => {
                    loaded.0.push(example);
                    loaded.1.push(image);
                }
                Err(error) if self.on_corrupt == OnCorrupt::Skip => tracing::warn!("skipped: {error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(loaded)
    }

    /// The image squashed to the input's square; of SAT its centre, 224 of 256 pixels.
    fn input(&self, image: &RgbImage) -> RgbImage {
        if self.convention != Convention::Sat {
            return resize_rgb(image, self.side, self.side);
        }
        let resized = side_before_crop(self.side);
        let margin = (resized - self.side) / 2;
        let image = resize_rgb(image, resized, resized);
        imageops::crop_imm(&image, margin, margin, self.side, self.side).to_image()
    }
}

/// Side of the square that an image is squashed to before a square of `side` pixels is cut out of it: 256 for 224.
pub(crate) fn side_before_crop(side: u32) -> u32 {
    (f64::from(side) * 256.0 / 224.0).round() as u32
}

/// Up to `count` of `all`, evenly spread.
pub fn spread<T>(all: &[T], count: usize) -> impl Iterator<Item = &T> {
    let count = count.min(all.len());
    (0..count).map(move |i| &all[i * all.len() / count])
}

fn joined<T>(a: Option<T>, b: Option<T>, merged: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(merged(a, b)),
        (a, b) => a.or(b),
    }
}

/// The counts of one image; `None` if it has no box.
fn count_boxes(one: &Located, thresholds: &[f64]) -> Option<BoxCounts> {
    let Some(Object::Boxes { .. }) = one.example.object else { return None };
    let mut counts = BoxCounts::new(one.convention, thresholds);
    counts.add(&overlaps(one.convention, &one.map, &one.objects, thresholds), Some(one.ranked()));
    Some(counts)
}

/// The five classes of the largest logits, or of fewer classes the one; of equal logits the first class first.
fn guesses(logits: &[f32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    order.sort_by(|&i, &j| logits[j as usize].total_cmp(&logits[i as usize]).then(i.cmp(&j)));
    order.truncate(if logits.len() >= 5 { 5 } else { 1 });
    order
}

/// The size of a gradient (n, channels, side, side), averaged over cells of the image; (n, 14, 14), or the side if smaller.
fn cells(gradient: &Tensor) -> Result<Tensor, WsolError> {
    let size = gradient.sqr()?.sum(1)?.sqrt()?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let (n, _, side) = size.dims3()?;
    let count = CELLS.min(side);
    // Of each axis: the share of a pixel in a cell.
    let shares: Vec<f64> = (0..count * side)
        .map(|i| {
            let (cell, pixel) = ((i / side) as f64, (i % side) as f64);
            let scale = count as f64 / side as f64;
            ((cell + 1.0).min((pixel + 1.0) * scale) - cell.max(pixel * scale)).max(0.0)
        })
        .collect();
    let shares = Tensor::from_vec(shares, (count, side), &Device::Cpu)?;
    let rows = shares.broadcast_left(n)?.contiguous()?.matmul(&size)?;
    Ok(rows.matmul(&shares.t()?.broadcast_left(n)?.contiguous()?)?)
}

#[cfg(test)]
mod tests {
    use pg_embedded::LocalizationSpec;
    use pg_models::ModelSpec;

    use super::*;
    use crate::dataset::Dataset;

    #[test]
    fn logits_that_are_no_numbers_are_no_guess() {
        let spec = LocalizationSpec { train: 4, val: 4, test: 4, ..LocalizationSpec::default() };
        let set = Dataset::embedded(&spec).unwrap();
        let spec = ModelSpec { size: 32, ..ModelSpec::new("small-vgg-gap", set.classes.len()) };
        let model = Model::new(spec, Seed(0), DType::F32, &Device::Cpu).unwrap();
        let head = model.params().vars()["fc.bias"].clone();
        for map in [MapName::Cam, MapName::Gradient] {
            let evaluator = Evaluator {
                side: 32,
                convention: Convention::WsolEvaluation,
                normalise: Normalise::UNIT,
                map,
                on_corrupt: OnCorrupt::Fail,
                masks: None,
                limit_batches: None,
                device: Device::Cpu,
            };
            assert_eq!(evaluator.measure(&model, &set.test).unwrap().images, 4);
            let sound = head.as_tensor().copy().unwrap();
            for value in [f32::NAN, f32::INFINITY] {
                head.set(&Tensor::full(value, head.shape(), &Device::Cpu).unwrap()).unwrap();
                let error = evaluator.measure(&model, &set.test).unwrap_err().to_string();
                assert!(error.contains(": the network's logits are not finite; "), "{error}");
            }
            head.set(&sound).unwrap();
        }
    }

    #[test]
    fn cells_average_what_lies_in_them() {
        let values: Vec<f64> =
            (0..28 * 28).map(|i| if i / 28 < 2 && i % 28 < 2 { 3.0 } else { 0.0 }).collect();
        let gradient = Tensor::from_vec(values, (1, 1, 28, 28), &Device::Cpu).unwrap();
        let cells = cells(&gradient).unwrap().to_vec3::<f64>().unwrap();
        assert_eq!((cells[0].len(), cells[0][0].len()), (14, 14));
        assert!((cells[0][0][0] - 3.0).abs() < 1e-12 && cells[0][0][1].abs() < 1e-12);
        let constant = Tensor::ones((2, 1, 30, 30), DType::F64, &Device::Cpu).unwrap();
        let mean = super::cells(&constant).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert!(mean.iter().all(|&value| (value - 1.0).abs() < 1e-12));
    }

    #[test]
    fn guesses_are_ranked() {
        assert_eq!(guesses(&[0.1, 0.9, 0.9, -1.0, 0.2, 0.0]), [1, 2, 4, 0, 5]);
        assert_eq!(guesses(&[0.0, 1.0]), [1]);
    }

    #[test]
    fn a_few_are_evenly_spread() {
        let all: Vec<usize> = (0..10).collect();
        assert_eq!(spread(&all, 5).copied().collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
        assert_eq!(spread(&all, 99).count(), 10);
        assert_eq!(spread::<usize>(&[], 3).count(), 0);
    }
}
