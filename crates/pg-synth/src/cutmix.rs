//! CutMix (Yun et al., 2019): a box of another sample in place of the sample's own.

use pg_random::Stream;
use rand::RngExt;
use rand_distr::{Beta, Distribution};

use crate::error::{check, check_probability};
use crate::paste::{Paste, Rect, Sampling, paste_all, random_partners};
use crate::{Batch, Masks, SynthError, Synthesiser, Synthetic};

/// Cuts a box whose sides are `sqrt(1 - lam)` of the image's, `lam ~ Beta(beta, beta)`, around a uniform
/// centre, and fills it from a random other sample. The box is cut off at the border, so `lam` is recomputed
/// from it: its mean for `beta = 1` is not 1/2 but .682.
#[derive(Clone, Debug, PartialEq)]
pub struct CutMix {
    /// Probability that anything is mixed, in [0, 1].
    pub prob: f64,
    /// Both parameters of the Beta distribution, positive. At 1 it is uniform.
    pub beta: f64,
    /// Which implementation to follow.
    pub variant: CutMixVariant,
}

/// The implementations of CutMix in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CutMixVariant {
    /// The authors' code (clovaai/CutMix-PyTorch): one decision, one `lam` and one box a batch.
    #[default]
    Authors,
    /// timm's `mode="elem"`: each sample decides and draws for itself.
    PerSample,
    /// timm's `correct_lam=False`: as the authors, but `lam` stays as drawn, whatever the border cut off. It
    /// then differs from the mean of the mask.
    UncorrectedLam,
}

impl Default for CutMix {
    /// Always, uniformly, as the authors.
    fn default() -> Self {
        Self { prob: 1.0, beta: 1.0, variant: CutMixVariant::Authors }
    }
}

/// A `lam` as drawn and the box that follows from it.
struct Cut {
    lam: f64,
    rect: Rect,
}

impl Cut {
    fn draw(beta: &Beta<f64>, image: (usize, usize), rng: &mut Stream) -> Self {
        let lam = beta.sample(rng);
        let ratio = (1.0 - lam).sqrt();
        let size = ((image.0 as f64 * ratio) as usize, (image.1 as f64 * ratio) as usize);
        Self { lam, rect: Rect::cut_off(image, size, rng) }
    }

    fn paste(&self, partner: usize) -> Paste {
        Paste { rect: self.rect, partner, sampling: Sampling::InPlace }
    }
}

impl CutMix {
    fn distribution(&self) -> Result<Beta<f64>, SynthError> {
        check_probability("CutMix prob", self.prob)?;
        let expected = "a positive, finite number";
        check("CutMix beta", self.beta, expected, self.beta > 0.0 && self.beta.is_finite())?;
        let refused = |_| SynthError::Parameter { name: "CutMix beta", value: self.beta, expected };
        Beta::new(self.beta, self.beta).map_err(refused)
    }
}

impl Synthesiser for CutMix {
    type Input = Batch;
    type Provenance = Masks;

    fn synthesise(&self, batch: &Batch, rng: &mut Stream) -> Result<Synthetic<Masks>, SynthError> {
        let beta = self.distribution()?;
        let image = (batch.width(), batch.height());
        let unmixed = || (0..batch.len()).map(Paste::nothing).collect::<Vec<_>>();

        if self.variant == CutMixVariant::PerSample {
            let mut pastes = unmixed();
            for (paste, partner) in pastes.iter_mut().zip(random_partners(batch.len(), rng)) {
                if rng.random_bool(self.prob) {
                    *paste = Cut::draw(&beta, image, rng).paste(partner);
                }
            }
            return Ok(paste_all(batch, &pastes));
        }
        if !rng.random_bool(self.prob) {
            return Ok(paste_all(batch, &unmixed()));
        }
        let cut = Cut::draw(&beta, image, rng);
        let partners = random_partners(batch.len(), rng);
        let pastes: Vec<Paste> = partners.into_iter().map(|partner| cut.paste(partner)).collect();
        let mut mixed = paste_all(batch, &pastes);
        if self.variant == CutMixVariant::UncorrectedLam {
            mixed.lam.fill(cut.lam as f32);
        }
        Ok(mixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;

    const VARIANTS: [CutMixVariant; 3] =
        [CutMixVariant::Authors, CutMixVariant::PerSample, CutMixVariant::UncorrectedLam];

    /// Eight samples of 3 x 9 x 14 in which every value is unlike every other.
    fn batch() -> Batch {
        let len = 8 * 3 * 9 * 14;
        Batch::new((0..len).map(|v| v as f32).collect(), 3, 9, 14, (10..18).collect()).unwrap()
    }

    fn mix(variant: CutMixVariant, prob: f64, counter: u64) -> Synthetic<Masks> {
        let mut rng = Seed(5).stream("cutmix", &[counter]);
        CutMix { prob, variant, ..CutMix::default() }.synthesise(&batch(), &mut rng).unwrap()
    }

    #[test]
    fn every_pixel_comes_from_the_source_that_its_mask_names() {
        let batch = batch();
        for (variant, counter) in VARIANTS.into_iter().flat_map(|variant| (0..20).map(move |n| (variant, n)))
        {
            let mixed = mix(variant, 1.0, counter);
            for n in 0..batch.len() {
                let (a, b) = (batch.sample(n), batch.sample(mixed.partner[n]));
                let mask = mixed.provenance.sample(n);
                let pixels = &mixed.pixels[n * a.len()..][..a.len()];
                for (i, &pixel) in pixels.iter().enumerate() {
                    assert_eq!(pixel, if mask[i % mask.len()] == 1.0 { a[i] } else { b[i] });
                }
                assert_eq!(mixed.label_b[n], batch.labels()[mixed.partner[n]]);
            }
            assert_eq!(mixed.label_a, batch.labels());
            let mut partners = mixed.partner.clone();
            partners.sort_unstable();
            assert_eq!(partners, (0..8).collect::<Vec<_>>());
        }
    }

    #[test]
    fn lam_is_the_mean_of_the_mask_unless_left_uncorrected() {
        let differs = |variant| {
            (0..50).any(|counter| {
                let mixed = mix(variant, 1.0, counter);
                mixed.lam.iter().zip(mixed.provenance.means()).any(|(lam, mean)| (lam - mean).abs() > 1e-6)
            })
        };
        assert_eq!(VARIANTS.map(differs), [false, false, true]);
    }

    #[test]
    fn only_the_per_sample_variant_draws_a_box_for_each_sample() {
        let same = |variant| {
            (0..10).all(|counter| {
                let masks = mix(variant, 1.0, counter).provenance;
                (1..8).all(|n| masks.sample(n) == masks.sample(0))
            })
        };
        assert_eq!(VARIANTS.map(same), [true, false, true]);
    }

    #[test]
    fn an_unmixed_batch_is_itself() {
        for variant in VARIANTS {
            let mixed = mix(variant, 0.0, 0);
            assert_eq!(mixed.pixels, batch().pixels());
            assert_eq!((mixed.label_b, mixed.partner), (mixed.label_a, (0..8).collect()));
            assert!(mixed.lam.iter().chain(&mixed.provenance.values).all(|&value| value == 1.0));
        }
        let mixed_batches =
            (0..1000).filter(|&counter| mix(CutMixVariant::Authors, 0.3, counter).lam[0] < 1.0);
        assert!((240..=360).contains(&mixed_batches.count())); // four standard deviations are 58
    }

    #[test]
    fn mean_lam_at_224_is_that_of_the_published_code() {
        let (draws, beta) = (40_000, Beta::new(1.0, 1.0).unwrap());
        let mut rng = Seed(0).stream("cutmix lam", &[]);
        let cuts: Vec<Cut> = (0..draws).map(|_| Cut::draw(&beta, (224, 224), &mut rng)).collect();
        let mean = |value: &dyn Fn(&Cut) -> f64| cuts.iter().map(value).sum::<f64>() / f64::from(draws);
        // Standard deviations below .3: five standard errors are .0075.
        assert!((mean(&|cut| cut.lam) - 0.5).abs() < 0.0075);
        assert!((mean(&|cut| 1.0 - cut.rect.area() as f64 / 224.0 / 224.0) - 0.682).abs() < 0.0075);
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        let mut rng = Seed(0).stream("", &[]);
        for (prob, beta) in [(1.1, 1.0), (-0.1, 1.0), (f64::NAN, 1.0), (1.0, 0.0), (1.0, f64::INFINITY)] {
            let cutmix = CutMix { prob, beta, ..CutMix::default() };
            assert!(matches!(cutmix.synthesise(&batch(), &mut rng), Err(SynthError::Parameter { .. })));
        }
    }
}
