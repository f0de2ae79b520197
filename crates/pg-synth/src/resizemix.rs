//! ResizeMix (Qin et al., 2020): another sample, whole but smaller, on top of the sample.

use pg_random::Stream;
use rand::RngExt;

use crate::error::{check, check_probability};
use crate::paste::{Paste, Rect, Sampling, paste_all, random_partners};
use crate::{Batch, Masks, SynthError, Synthesiser, Synthetic};

/// Pastes a reduced copy of a random other sample.
#[derive(Clone, Debug, PartialEq)]
pub struct ResizeMix {
    /// Probability that anything is mixed, in [0, 1].
    pub prob: f64,
    /// Smallest and largest value of the uniform draw, within [0, 1]: the side of the copy relative to the
    /// image's (for [`ResizeMixVariant::MmPretrain`] the share of the image that is *kept*).
    pub scope: (f64, f64),
    /// Which implementation to follow.
    pub variant: ResizeMixVariant,
}

/// Three implementations that share a name and little else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResizeMixVariant {
    /// The authors' code: one scale a batch, nearest neighbour; each sample places the copy for itself and
    /// shifts it wholly inside. Covers .241 of a 224 x 224 image on average.
    #[default]
    Authors,
    /// `OpenMixup`: one scale and one place a batch; the box is cut off at the border and the whole copy
    /// squeezed into what remains, by nearest neighbour. Covers .174.
    OpenMixup,
    /// `MMPretrain`: as `OpenMixup`, but bilinear, and the scope bounds `lam`, so that the side is `sqrt(1 -
    /// lam)`. Covers .354.
    MmPretrain,
}

impl Default for ResizeMix {
    /// Always, with scales from 0.1 to 0.8, as the authors.
    fn default() -> Self {
        Self { prob: 1.0, scope: (0.1, 0.8), variant: ResizeMixVariant::Authors }
    }
}

impl ResizeMix {
    fn check(&self) -> Result<(), SynthError> {
        check_probability("ResizeMix prob", self.prob)?;
        let (low, high) = self.scope;
        check("ResizeMix scope.0", low, "a positive scale up to 1", low > 0.0 && low <= 1.0)?;
        check("ResizeMix scope.1", high, "a scale from scope.0 to 1", high >= low && high <= 1.0)
    }

    /// Where the copies go, one for each of `samples`, and how they are reduced.
    fn draw(&self, image: (usize, usize), samples: usize, rng: &mut Stream) -> (Vec<Rect>, Sampling) {
        let (low, high) = self.scope;
        let drawn = low + (high - low) * rng.random::<f64>();
        let sized = |scale: f64| ((image.0 as f64 * scale) as usize, (image.1 as f64 * scale) as usize);
        match self.variant {
            ResizeMixVariant::Authors => {
                let (width, height) = sized(drawn);
                let size = (width.max(1), height.max(1));
                let places = (0..samples).map(|_| Rect::shifted_inside(image, size, rng)).collect();
                (places, Sampling::NearestByScale(drawn))
            }
            ResizeMixVariant::OpenMixup => {
                (vec![Rect::cut_off(image, sized(drawn), rng); samples], Sampling::NearestToFit)
            }
            ResizeMixVariant::MmPretrain => {
                let size = sized((1.0 - drawn).sqrt());
                (vec![Rect::cut_off(image, size, rng); samples], Sampling::BilinearToFit)
            }
        }
    }
}

impl Synthesiser for ResizeMix {
    type Input = Batch;
    type Provenance = Masks;

    fn synthesise(&self, batch: &Batch, rng: &mut Stream) -> Result<Synthetic<Masks>, SynthError> {
        self.check()?;
        if !rng.random_bool(self.prob) {
            return Ok(paste_all(batch, &(0..batch.len()).map(Paste::nothing).collect::<Vec<_>>()));
        }
        let partners = random_partners(batch.len(), rng);
        let (places, sampling) = self.draw((batch.width(), batch.height()), batch.len(), rng);
        let pastes: Vec<Paste> = partners
            .into_iter()
            .zip(places)
            .map(|(partner, rect)| Paste { rect, partner, sampling })
            .collect();
        Ok(paste_all(batch, &pastes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;

    const VARIANTS: [ResizeMixVariant; 3] =
        [ResizeMixVariant::Authors, ResizeMixVariant::OpenMixup, ResizeMixVariant::MmPretrain];

    fn resizemix(variant: ResizeMixVariant) -> ResizeMix {
        ResizeMix { variant, ..ResizeMix::default() }
    }

    /// Six samples of 2 x 20 x 30; sample n holds values in [n, n + 1), different at each pixel.
    fn batch() -> Batch {
        let pixels = (0..6 * 1200).map(|v| (v / 1200) as f32 + (v % 1200) as f32 / 1201.0).collect();
        Batch::new(pixels, 2, 20, 30, (0..6).collect()).unwrap()
    }

    #[test]
    fn mean_pasted_areas_at_224_are_those_of_the_published_codes() {
        for (variant, expected) in VARIANTS.into_iter().zip([0.241, 0.174, 0.354]) {
            let mut rng = Seed(0).stream("resizemix area", &[]);
            let draws = 40_000;
            let area =
                |_| resizemix(variant).draw((224, 224), 1, &mut rng).0[0].area() as f64 / 224.0 / 224.0;
            let mean = (0..draws).map(area).sum::<f64>() / f64::from(draws);
            // Standard deviations below .2: five standard errors are .005.
            assert!((mean - expected).abs() < 0.005, "{variant:?}: {mean}");
        }
    }

    #[test]
    fn every_pixel_comes_from_the_source_that_its_mask_names() {
        for (variant, counter) in VARIANTS.into_iter().flat_map(|variant| (0..20).map(move |n| (variant, n)))
        {
            let mixed = resizemix(variant)
                .synthesise(&batch(), &mut Seed(1).stream("resizemix", &[counter]))
                .unwrap();
            for n in 0..6 {
                let mask = mixed.provenance.sample(n);
                for (i, pixel) in mixed.pixels[n * 1200..][..1200].iter().enumerate() {
                    let kept = mask[i % 600] == 1.0;
                    let source = if kept { n } else { mixed.partner[n] };
                    assert_eq!(pixel.floor() as usize, source, "{variant:?}");
                    assert!(!kept || *pixel == batch().sample(n)[i]);
                }
            }
            for (lam, mean) in mixed.lam.iter().zip(mixed.provenance.means()) {
                assert!((lam - mean).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn only_the_authors_place_each_copy_for_itself() {
        let same = |variant: ResizeMixVariant| {
            let mixed = resizemix(variant).synthesise(&batch(), &mut Seed(1).stream("place", &[])).unwrap();
            assert!(mixed.lam.iter().all(|&lam| lam == mixed.lam[0]), "one scale a batch");
            (1..6).all(|n| mixed.provenance.sample(n) == mixed.provenance.sample(0))
        };
        assert_eq!(VARIANTS.map(same), [false, true, true]);
    }

    #[test]
    fn tiny_images_and_full_scales_work() {
        let tiny = Batch::new(vec![1.0, 2.0], 1, 1, 1, vec![0, 1]).unwrap();
        for (variant, counter) in VARIANTS.into_iter().flat_map(|variant| (0..20).map(move |n| (variant, n)))
        {
            let mut rng = Seed(1).stream("tiny", &[counter]);
            resizemix(variant).synthesise(&tiny, &mut rng).unwrap();
            let full = ResizeMix { scope: (1.0, 1.0), ..resizemix(variant) };
            let mixed = full.synthesise(&batch(), &mut rng).unwrap();
            if variant == ResizeMixVariant::Authors {
                assert!(mixed.lam.iter().all(|&lam| lam == 0.0));
                assert_eq!(mixed.pixels[..1200], *batch().sample(mixed.partner[0]));
            }
        }
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        let default = ResizeMix::default();
        for (prob, scope) in [(2.0, default.scope), (1.0, (0.0, 0.5)), (1.0, (0.5, 0.4)), (1.0, (0.5, 1.1))] {
            let resizemix = ResizeMix { prob, scope, ..default.clone() };
            let error = resizemix.synthesise(&batch(), &mut Seed(0).stream("", &[])).unwrap_err();
            assert!(matches!(error, SynthError::Parameter { .. }));
        }
    }
}
