//! Pasting a rectangle of another sample, which CutMix and ResizeMix share.

use pg_random::Stream;
use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use crate::{Batch, Masks, Synthetic};

/// A half-open rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rect {
    pub(crate) x0: usize,
    pub(crate) y0: usize,
    pub(crate) x1: usize,
    pub(crate) y1: usize,
}

impl Rect {
    const EMPTY: Self = Self { x0: 0, y0: 0, x1: 0, y1: 0 };

    /// A box around a centre that is uniform over the image, `size / 2` (rounded down) to each side and cut
    /// off at the border. Its width is therefore even unless it is cut.
    pub(crate) fn cut_off(image: (usize, usize), size: (usize, usize), rng: &mut Stream) -> Self {
        let mut span = |length: usize, size: usize| {
            let centre = rng.random_range(0..length);
            (centre.saturating_sub(size / 2), (centre + size / 2).min(length))
        };
        let ((x0, x1), (y0, y1)) = (span(image.0, size.0), span(image.1, size.1));
        Self { x0, y0, x1, y1 }
    }

    /// A box of exactly `size` (at most the image's) around a centre that is uniform over the image, shifted
    /// inside where it would cross the border.
    pub(crate) fn shifted_inside(image: (usize, usize), size: (usize, usize), rng: &mut Stream) -> Self {
        let mut span = |length: usize, size: usize| {
            let start = rng.random_range(0..length).saturating_sub(size / 2).min(length - size);
            (start, start + size)
        };
        let ((x0, x1), (y0, y1)) = (span(image.0, size.0), span(image.1, size.1));
        Self { x0, y0, x1, y1 }
    }

    pub(crate) fn area(self) -> usize {
        (self.x1 - self.x0) * (self.y1 - self.y0)
    }
}

/// Which part of the partner appears in the rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sampling {
    /// The same rectangle of it.
    InPlace,
    /// All of it, reduced by taking every `1 / scale`-th pixel (PyTorch's `nearest` with a scale factor).
    NearestByScale(f64),
    /// All of it, squeezed into the rectangle by nearest neighbour (PyTorch's `nearest` with a size).
    NearestToFit,
    /// All of it, squeezed into the rectangle by bilinear interpolation between half-pixel centres, not
    /// anti-aliased (PyTorch's `bilinear`, `align_corners=False`).
    BilinearToFit,
}

/// Two neighbouring source pixels and the weight of the second.
#[derive(Clone, Copy)]
struct Tap {
    low: usize,
    high: usize,
    weight: f32,
}

impl Sampling {
    /// The source pixels of the columns (or rows) `start..end` of an image that is `length` long.
    fn taps(self, start: usize, end: usize, length: usize) -> Vec<Tap> {
        let fit = length as f64 / (end - start).max(1) as f64;
        let exactly = |index: usize| Tap { low: index, high: index, weight: 0.0 };
        let tap = |offset: usize| match self {
            Self::InPlace => exactly(start + offset),
            Self::NearestByScale(scale) => exactly(((offset as f64 / scale) as usize).min(length - 1)),
            Self::NearestToFit => exactly(offset * length / (end - start)),
            Self::BilinearToFit => {
                let position = ((offset as f64 + 0.5) * fit - 0.5).max(0.0);
                let low = (position as usize).min(length - 1);
                Tap { low, high: (low + 1).min(length - 1), weight: (position - low as f64) as f32 }
            }
        };
        (0..end - start).map(tap).collect()
    }
}

/// What is pasted into one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Paste {
    pub(crate) rect: Rect,
    pub(crate) partner: usize,
    pub(crate) sampling: Sampling,
}

impl Paste {
    /// Leaves sample `index` as it is.
    pub(crate) fn nothing(index: usize) -> Self {
        Self { rect: Rect::EMPTY, partner: index, sampling: Sampling::InPlace }
    }

    fn paint(&self, source: &[f32], image: &mut [f32], mask: &mut [f32], width: usize, height: usize) {
        let Rect { x0, y0, x1, y1 } = self.rect;
        let across = self.sampling.taps(x0, x1, width);
        let down = self.sampling.taps(y0, y1, height);
        let planes = image.chunks_mut(width * height).zip(source.chunks(width * height));
        for (image, source) in planes {
            for (y, row) in (y0..y1).zip(&down) {
                for (pixel, column) in image[y * width..][x0..x1].iter_mut().zip(&across) {
                    let at = |y: usize| {
                        lerp(source[y * width + column.low], source[y * width + column.high], column.weight)
                    };
                    *pixel = lerp(at(row.low), at(row.high), row.weight);
                }
            }
        }
        for y in y0..y1 {
            mask[y * width..][x0..x1].fill(0.0);
        }
    }
}

fn lerp(from: f32, to: f32, weight: f32) -> f32 {
    from + weight * (to - from)
}

/// A random order of the samples: entry n is the partner of sample n. Samples may be their own partners.
pub(crate) fn random_partners(samples: usize, rng: &mut Stream) -> Vec<usize> {
    let mut partners: Vec<usize> = (0..samples).collect();
    partners.shuffle(rng);
    partners
}

/// The batch with `pastes[n]` pasted into sample n, in parallel.
pub(crate) fn paste_all(batch: &Batch, pastes: &[Paste]) -> Synthetic<Masks> {
    let (width, height) = (batch.width(), batch.height());
    let mut pixels = batch.pixels().to_vec();
    let mut values = vec![1.0; batch.len() * width * height];
    pixels
        .par_chunks_mut(batch.sample_len())
        .zip(values.par_chunks_mut(width * height))
        .zip(pastes)
        .for_each(|((image, mask), paste)| {
            paste.paint(batch.sample(paste.partner), image, mask, width, height)
        });
    let kept = |paste: &Paste| 1.0 - paste.rect.area() as f64 / (width * height) as f64;
    Synthetic {
        pixels,
        provenance: Masks { height, width, values },
        label_a: batch.labels().to_vec(),
        label_b: pastes.iter().map(|paste| batch.labels()[paste.partner]).collect(),
        lam: pastes.iter().map(|paste| kept(paste) as f32).collect(),
        partner: pastes.iter().map(|paste| paste.partner).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One channel, one row; sample 0 is zeros, sample 1 counts from 1.
    fn row(width: usize) -> Batch {
        let pixels = (0..2 * width).map(|v| if v < width { 0.0 } else { (v - width + 1) as f32 }).collect();
        Batch::new(pixels, 1, 1, width, vec![0, 1]).unwrap()
    }

    fn pasted(width: usize, x0: usize, x1: usize, sampling: Sampling) -> Vec<f32> {
        let rect = Rect { x0, y0: 0, x1, y1: 1 };
        let mixed = paste_all(&row(width), &[Paste { rect, partner: 1, sampling }, Paste::nothing(1)]);
        let share = 1.0 - (x1 - x0) as f32 / width as f32;
        assert_eq!((mixed.lam, mixed.provenance.means()), (vec![share, 1.0], vec![share, 1.0]));
        assert_eq!((mixed.label_b, mixed.partner), (vec![1, 1], vec![1, 1]));
        mixed.pixels[..width].to_vec()
    }

    #[test]
    fn each_sampling_takes_its_own_pixels() {
        assert_eq!(pasted(8, 2, 5, Sampling::InPlace), [0., 0., 3., 4., 5., 0., 0., 0.]);
        // floor(k / 0.4) = 0, 2, 5 where fitting 8 pixels into 3 gives floor(8 k / 3) = 0, 2, 5 as well ...
        assert_eq!(pasted(8, 0, 3, Sampling::NearestByScale(0.4)), [1., 3., 6., 0., 0., 0., 0., 0.]);
        assert_eq!(pasted(8, 0, 3, Sampling::NearestToFit), [1., 3., 6., 0., 0., 0., 0., 0.]);
        // ... but floor(k / 0.49) = 0, 2, 4: the scale, not the rounded size, sets the step.
        assert_eq!(pasted(8, 0, 3, Sampling::NearestByScale(0.49)), [1., 3., 5., 0., 0., 0., 0., 0.]);
        // Half-pixel centres: 8/3 (k + 1/2) - 1/2 = 5/6, 21/6, 37/6.
        let bilinear = pasted(8, 0, 3, Sampling::BilinearToFit);
        for (value, position) in bilinear.iter().zip([5.0 / 6.0, 3.5, 37.0 / 6.0]) {
            assert!((value - (position + 1.0) as f32).abs() < 1e-5, "{bilinear:?}");
        }
        assert_eq!(pasted(2, 0, 2, Sampling::BilinearToFit), [1., 2.]);
    }

    #[test]
    fn rows_and_columns_are_not_swapped() {
        // 2 channels of 3 x 4: value = 100 channel + 10 row + column.
        let value = |index: usize| (100 * (index / 12) + 10 * (index % 12 / 4) + index % 4) as f32;
        let pixels = (0..48).map(|index| if index < 24 { -1.0 } else { value(index - 24) }).collect();
        let batch = Batch::new(pixels, 2, 3, 4, vec![0, 1]).unwrap();
        let rect = Rect { x0: 1, y0: 2, x1: 4, y1: 3 };
        let mixed =
            paste_all(&batch, &[Paste { rect, partner: 1, sampling: Sampling::InPlace }, Paste::nothing(1)]);
        let second_channel = [[-1.0; 4], [-1.0; 4], [-1.0, 121.0, 122.0, 123.0]].concat();
        assert_eq!(mixed.pixels[12..24], second_channel);
        assert_eq!(mixed.provenance.sample(0), [[1.0; 4], [1.0; 4], [1.0, 0.0, 0.0, 0.0]].concat());
    }

    #[test]
    fn boxes_are_cut_off_or_shifted() {
        let mut rng = pg_random::Seed(3).stream("boxes", &[]);
        let mut widths = [false; 8];
        for _ in 0..500 {
            let cut = Rect::cut_off((10, 20), (7, 4), &mut rng);
            assert!(cut.x1 <= 10 && cut.y1 <= 20 && cut.x1 - cut.x0 <= 6 && cut.y1 - cut.y0 <= 4);
            widths[cut.x1 - cut.x0] = true;
            let shifted = Rect::shifted_inside((10, 20), (7, 20), &mut rng);
            assert!((shifted.x1 - shifted.x0, shifted.y0, shifted.y1) == (7, 0, 20) && shifted.x1 <= 10);
        }
        assert_eq!(widths, [false, false, false, true, true, true, true, false]);
    }
}
