//! PuzzleMix (Kim et al., 2020): a mix that keeps the salient parts of both images, and may move them there.

mod energy;
mod min_cut;
mod transport;

use pg_random::Stream;
use rand::seq::IndexedRandom;
use rand_distr::{Beta, Distribution};
use rayon::prelude::*;

use crate::error::check;
use crate::paste::random_partners;
use crate::{Batch, Masks, SynthError, Synthesiser, Synthetic};
use energy::{Blocks, Weights, energy};

/// A batch and how much each pixel matters to its class: the root mean square over channels of the loss's gradient, say.
#[derive(Clone, Debug, PartialEq)]
pub struct SalientBatch {
    batch: Batch,
    saliency: Vec<f32>,
}

impl SalientBatch {
    /// `saliency` is (sample, row, column), finite and not negative.
    ///
    /// # Errors
    /// [`SynthError::Saliency`] if it is not, or has another length.
    pub fn new(batch: Batch, saliency: Vec<f32>) -> Result<Self, SynthError> {
        let expected = batch.len() * batch.height() * batch.width();
        let fits = saliency.len() == expected;
        match saliency.iter().position(|value| !value.is_finite() || *value < 0.0) {
            None if fits => Ok(Self { batch, saliency }),
            None => Err(SynthError::Saliency {
                reason: format!("{} values for {expected} pixels", saliency.len()),
            }),
            Some(at) => Err(SynthError::Saliency { reason: format!("{} at {at}", saliency[at]) }),
        }
    }

    /// The images and labels.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    fn sample_saliency(&self, index: usize) -> &[f32] {
        let len = self.batch.height() * self.batch.width();
        &self.saliency[index * len..][..len]
    }
}

/// Mixes each sample with another in blocks. A block is of one, of the other, or half of each, so that least saliency is
/// lost and seams join like colours; the labelling is the exact minimum, where the authors' solver comes near it.
#[derive(Clone, Debug, PartialEq)]
pub struct PuzzleMix {
    /// Both parameters of the Beta distribution of the share aimed at, positive; one draw a batch.
    pub mixup_alpha: f64,
    /// Blocks a side, of which one is drawn a batch; from 2 to 32, dividing the side of the (square) images. Work grows with
    /// the fourth power, for an exact transport with the sixth.
    pub blocks: Vec<usize>,
    /// Weight of neighbours that differ.
    pub beta: f64,
    /// Share of that weight which depends on colours, in [0, 1].
    pub gamma: f64,
    /// Weight of the share aimed at.
    pub eta: f64,
    /// Largest side of the cells whose colours are compared, in pixels; the largest that divides a block is taken.
    pub neigh_size: usize,
    /// Whether and how salient blocks move.
    pub transport: Transport,
    /// Price of the way of a block, positive.
    pub t_eps: f64,
    /// Each channel's mean and standard deviation by which the images are normalised: colours are
    /// compared in [0, 1], and cut there.
    pub normalisation: Vec<(f32, f32)>,
}

/// How blocks move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// They stay.
    None,
    /// The authors' loop.
    #[default]
    Heuristic,
    /// At least cost in all, the optimum that the loop comes near.
    Exact,
}

impl Default for PuzzleMix {
    /// The authors' settings; images not normalised.
    fn default() -> Self {
        Self {
            mixup_alpha: 1.0,
            blocks: vec![2, 4, 8, 16],
            beta: 1.2,
            gamma: 0.5,
            eta: 0.2,
            neigh_size: 4,
            transport: Transport::default(),
            t_eps: 0.8,
            normalisation: Vec::new(),
        }
    }
}

impl PuzzleMix {
    fn check(&self, batch: &Batch) -> Result<Beta<f64>, SynthError> {
        let positive = |name, value: f64| {
            check(name, value, "a positive, finite number", value > 0.0 && value.is_finite())
        };
        let not_negative = |name, value: f64| {
            check(name, value, "a finite number, not negative", value >= 0.0 && value.is_finite())
        };
        positive("PuzzleMix mixup_alpha", self.mixup_alpha)?;
        not_negative("PuzzleMix beta", self.beta)?;
        not_negative("PuzzleMix eta", self.eta)?;
        positive("PuzzleMix t_eps", self.t_eps)?;
        check("PuzzleMix gamma", self.gamma, "a number in [0, 1]", (0.0..=1.0).contains(&self.gamma))?;
        check("PuzzleMix neigh_size", self.neigh_size as f64, "at least 1", self.neigh_size > 0)?;
        check(
            "image height",
            batch.height() as f64,
            "images as high as wide",
            batch.height() == batch.width(),
        )?;
        let expected = "one or more numbers from 2 to 32 that divide the size of the images";
        check("PuzzleMix blocks", 0.0, expected, !self.blocks.is_empty())?;
        for &blocks in &self.blocks {
            let fits = (2..=32).contains(&blocks) && batch.width().is_multiple_of(blocks);
            check("PuzzleMix blocks", blocks as f64, expected, fits)?;
        }
        let channels = self.normalisation.len();
        check(
            "PuzzleMix normalisation",
            channels as f64,
            "a pair for each channel, or none",
            channels == 0 || channels == batch.channels(),
        )?;
        for &(mean, std) in &self.normalisation {
            check("PuzzleMix mean", f64::from(mean), "a finite number", mean.is_finite())?;
            positive("PuzzleMix std", f64::from(std))?;
        }
        let refused = |_| SynthError::Parameter {
            name: "PuzzleMix mixup_alpha",
            value: self.mixup_alpha,
            expected: "a positive, finite number",
        };
        Beta::new(self.mixup_alpha, self.mixup_alpha).map_err(refused)
    }

    fn read_blocks(&self, input: &SalientBatch, index: usize, side: usize) -> Blocks {
        let batch = &input.batch;
        let (channels, size) = (batch.channels(), batch.width());
        let block = size / side;
        let cell = (1..=self.neigh_size.min(block)).rev().find(|&n| block.is_multiple_of(n)).unwrap_or(1);
        let mut saliency = means(input.sample_saliency(index), size, block);
        let total: f64 = saliency.iter().sum();
        // Where nothing matters all matters alike.
        let uniform = 1.0 / saliency.len() as f64;
        saliency.iter_mut().for_each(|value| *value = if total > 0.0 { *value / total } else { uniform });
        let colours =
            batch.sample(index).chunks_exact(size * size).enumerate().flat_map(|(channel, plane)| {
                let (mean, std) = self.normalisation.get(channel).copied().unwrap_or((0.0, 1.0));
                // Outside [0, 1] a seam could weigh less than nothing, and the minimum would be none.
                let colour = move |value: f64| (value * f64::from(std) + f64::from(mean)).clamp(0.0, 1.0);
                means(plane, size, cell).into_iter().map(colour)
            });
        Blocks { saliency, colours: colours.collect(), channels, fine: block / cell }
    }

    /// Label 0, 1 or 2 of each block: of the sample, half of each, of its partner.
    fn labels(&self, images: [&Blocks; 2], side: usize, alpha: f64) -> Vec<u8> {
        let weights = Weights { beta: self.beta, gamma: self.gamma, eta: self.eta, alpha };
        energy(images, side, &weights).minimum()
    }

    /// Which block each place takes.
    fn places(&self, blocks: &Blocks, shown: &[bool], side: usize) -> Vec<Option<usize>> {
        match self.transport {
            Transport::None => (0..shown.len()).map(Some).collect(),
            Transport::Heuristic => transport::heuristic(&blocks.saliency, shown, side, self.t_eps),
            Transport::Exact => transport::exact(&blocks.saliency, shown, side, self.t_eps),
        }
    }
}

/// Means of square cells of `cell` pixels a side, of a plane of `size` a side.
fn means(plane: &[f32], size: usize, cell: usize) -> Vec<f64> {
    let cells = size / cell;
    let mut sums = vec![0.0; cells * cells];
    for (y, row) in plane.chunks_exact(size).enumerate() {
        for (sum, values) in sums[y / cell * cells..][..cells].iter_mut().zip(row.chunks_exact(cell)) {
            *sum += values.iter().copied().map(f64::from).sum::<f64>();
        }
    }
    sums.iter().map(|sum| sum / (cell * cell) as f64).collect()
}

impl Synthesiser for PuzzleMix {
    type Input = SalientBatch;
    type Provenance = Masks;

    fn synthesise(&self, input: &SalientBatch, rng: &mut Stream) -> Result<Synthetic<Masks>, SynthError> {
        let batch = &input.batch;
        let beta = self.check(batch)?;
        let alpha = beta.sample(rng);
        let side = *self.blocks.choose(rng).unwrap_or(&2);
        let partner = random_partners(batch.len(), rng);
        let (size, sample_len) = (batch.width(), batch.sample_len());
        let plane = size * size;
        let blocks: Vec<Blocks> =
            (0..batch.len()).into_par_iter().map(|index| self.read_blocks(input, index, side)).collect();
        let mut pixels = vec![0.0; batch.pixels().len()];
        let mut values = vec![0.0; batch.len() * plane];
        pixels.par_chunks_exact_mut(sample_len).zip(values.par_chunks_exact_mut(plane)).enumerate().for_each(
            |(index, (pixels, mask))| {
                let other = partner[index];
                let labels = self.labels([&blocks[index], &blocks[other]], side, alpha);
                let share = |block: usize| 1.0 - f32::from(labels[block]) / 2.0;
                let shown = |of: u8| labels.iter().map(|&label| label != of).collect::<Vec<bool>>();
                let own = self.places(&blocks[index], &shown(2), side);
                let others = self.places(&blocks[other], &shown(0), side);
                let block = size / side;
                for (at, value) in mask.iter_mut().enumerate() {
                    *value = share(at / size / block * side + at % size / block);
                }
                for (place, (own, others)) in own.iter().zip(&others).enumerate() {
                    let share = share(place);
                    add_block(batch.sample(index), *own, share, pixels, (size, block), place);
                    add_block(batch.sample(other), *others, 1.0 - share, pixels, (size, block), place);
                }
            },
        );
        let provenance = Masks { height: size, width: size, values };
        let label_b = partner.iter().map(|&index| batch.labels()[index]).collect();
        Ok(Synthetic {
            pixels,
            lam: provenance.means(),
            provenance,
            label_a: batch.labels().to_vec(),
            label_b,
            partner,
        })
    }
}

/// Adds `share` of a block of an image at a place of another; nothing where there is no block.
fn add_block(
    image: &[f32],
    source: Option<usize>,
    share: f32,
    target: &mut [f32],
    (size, block): (usize, usize),
    place: usize,
) {
    let Some(source) = source.filter(|_| share > 0.0) else { return };
    let side = size / block;
    let start = |of: usize| (of / side * size + of % side) * block;
    let planes = image.chunks_exact(size * size).zip(target.chunks_exact_mut(size * size));
    for (image, target) in planes {
        for row in 0..block {
            let from = &image[start(source) + row * size..][..block];
            let to = &mut target[start(place) + row * size..][..block];
            to.iter_mut().zip(from).for_each(|(to, from)| *to += share * from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;

    /// Six samples of 3 x 16 x 16; each is salient in one corner of its own.
    fn input() -> SalientBatch {
        let (n, size) = (6, 16);
        let pixels = (0..n * 3 * size * size).map(|i| (i * 37 % 101) as f32 / 101.0).collect();
        let batch = Batch::new(pixels, 3, size, size, (10..16).collect()).unwrap();
        let saliency = |sample: usize, at: usize| {
            let corner = (at / size >= size / 2, at % size >= size / 2);
            if corner == (sample.is_multiple_of(2), sample.is_multiple_of(3)) { 1.0 } else { 0.1 }
        };
        let saliency = (0..n * size * size).map(|i| saliency(i / size / size, i % (size * size))).collect();
        SalientBatch::new(batch, saliency).unwrap()
    }

    fn mix(puzzle: &PuzzleMix, counter: u64) -> Synthetic<Masks> {
        puzzle.synthesise(&input(), &mut Seed(3).stream("puzzlemix", &[counter])).unwrap()
    }

    #[test]
    fn without_transport_every_pixel_is_the_blend_that_its_mask_names() {
        let puzzle = PuzzleMix { transport: Transport::None, ..PuzzleMix::default() };
        let input = input();
        let mut kinds = std::collections::BTreeSet::new();
        for counter in 0..20 {
            let mixed = mix(&puzzle, counter);
            assert_eq!(mixed.lam, mixed.provenance.means());
            for n in 0..6 {
                let (a, b) = (input.batch.sample(n), input.batch.sample(mixed.partner[n]));
                let mask = mixed.provenance.sample(n);
                for (i, &pixel) in mixed.pixels[n * a.len()..][..a.len()].iter().enumerate() {
                    let m = mask[i % mask.len()];
                    kinds.insert((2.0 * m) as u8);
                    assert!((pixel - (m * a[i] + (1.0 - m) * b[i])).abs() < 1e-6);
                }
                assert_eq!(mixed.label_b[n], 10 + mixed.partner[n] as u32);
            }
        }
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn transport_moves_whole_blocks_of_the_sources() {
        for transport in [Transport::Heuristic, Transport::Exact] {
            let puzzle = PuzzleMix { transport, blocks: vec![4], ..PuzzleMix::default() };
            let input = input();
            for counter in 0..10 {
                let mixed = mix(&puzzle, counter);
                for n in 0..6 {
                    let block = |image: &[f32], at: usize| -> Vec<u32> {
                        let start = at / 4 * 4 * 16 + at % 4 * 4;
                        (0..4)
                            .flat_map(|row| image[start + row * 16..][..4].iter().map(|v| v.to_bits()))
                            .collect()
                    };
                    let mask = mixed.provenance.sample(n);
                    let pixels = &mixed.pixels[n * 768..][..256];
                    for place in 0..16 {
                        let m = mask[place / 4 * 4 * 16 + place % 4 * 4];
                        let source = if m == 1.0 { n } else { mixed.partner[n] };
                        if m != 0.5 {
                            let shown = block(pixels, place);
                            let image = &input.batch.sample(source)[..256];
                            assert!((0..16).any(|at| block(image, at) == shown), "{transport:?} {place}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn salient_blocks_are_kept() {
        // Image 0 matters in its left half, image 1 in its right: so does their mix.
        let pixels = [vec![0.2; 64], vec![0.8; 64]].concat();
        let batch = Batch::new(pixels, 1, 8, 8, vec![0, 1]).unwrap();
        let saliency = (0..128).map(|i| f32::from(u8::from((i % 8 < 4) == (i < 64)))).collect();
        let input = SalientBatch::new(batch, saliency).unwrap();
        let puzzle = PuzzleMix {
            mixup_alpha: 1e6,
            blocks: vec![2],
            eta: 0.0,
            transport: Transport::None,
            ..PuzzleMix::default()
        };
        let mixed = (0..20)
            .map(|counter| puzzle.synthesise(&input, &mut Seed(0).stream("", &[counter])).unwrap())
            .find(|mixed| mixed.partner[0] == 1)
            .unwrap();
        assert!(mixed.pixels[..64].iter().enumerate().all(|(i, &v)| v == if i % 8 < 4 { 0.2 } else { 0.8 }));
        assert_eq!(mixed.lam, [0.5, 0.5]);
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| mix(&PuzzleMix::default(), 4))
        };
        assert_eq!(on(1), on(4));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let input = input();
        for bad in [
            PuzzleMix { mixup_alpha: 0.0, ..PuzzleMix::default() },
            PuzzleMix { blocks: vec![], ..PuzzleMix::default() },
            PuzzleMix { blocks: vec![1], ..PuzzleMix::default() },
            PuzzleMix { blocks: vec![4, 5], ..PuzzleMix::default() },
            PuzzleMix { beta: -1.0, ..PuzzleMix::default() },
            PuzzleMix { gamma: 1.5, ..PuzzleMix::default() },
            PuzzleMix { eta: f64::NAN, ..PuzzleMix::default() },
            PuzzleMix { t_eps: f64::INFINITY, ..PuzzleMix::default() },
            PuzzleMix { t_eps: 0.0, ..PuzzleMix::default() },
            PuzzleMix { normalisation: vec![(0.5, 0.0); 3], ..PuzzleMix::default() },
            PuzzleMix { neigh_size: 0, ..PuzzleMix::default() },
            PuzzleMix { normalisation: vec![(0.5, 0.2)], ..PuzzleMix::default() },
        ] {
            let refused = bad.synthesise(&input, &mut Seed(0).stream("", &[]));
            assert!(matches!(refused, Err(SynthError::Parameter { .. })), "{bad:?}");
        }
        for bad in [vec![0.0; 5], vec![f32::NAN; 1536], vec![-1.0; 1536]] {
            assert!(matches!(SalientBatch::new(input.batch.clone(), bad), Err(SynthError::Saliency { .. })));
        }
    }
}
