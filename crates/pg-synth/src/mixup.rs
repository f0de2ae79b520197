//! mixup (Zhang et al., 2018): a blend of two whole samples.

use pg_random::Stream;
use rand_distr::{Beta, Distribution};
use rayon::prelude::*;

use crate::error::check;
use crate::paste::random_partners;
use crate::{Batch, NoProvenance, SynthError, Synthesiser, Synthetic};

/// Blends each sample with a random other one, `lam x_a + (1 - lam) x_b`, with one `lam ~ Beta(alpha, alpha)`
/// a batch. Every pixel belongs to both sources, so there is no provenance to guide by: a baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixup {
    /// Both parameters of the Beta distribution, positive.
    pub alpha: f64,
}

impl Synthesiser for Mixup {
    type Input = Batch;
    type Provenance = NoProvenance;

    fn synthesise(&self, batch: &Batch, rng: &mut Stream) -> Result<Synthetic<NoProvenance>, SynthError> {
        let expected = "a positive, finite number";
        check("mixup alpha", self.alpha, expected, self.alpha > 0.0 && self.alpha.is_finite())?;
        let refused = |_| SynthError::Parameter { name: "mixup alpha", value: self.alpha, expected };
        let lam = Beta::new(self.alpha, self.alpha).map_err(refused)?.sample(rng) as f32;
        let partner = random_partners(batch.len(), rng);

        let mut pixels = batch.pixels().to_vec();
        pixels.par_chunks_mut(batch.sample_len()).zip(&partner).for_each(|(image, &partner)| {
            for (a, b) in image.iter_mut().zip(batch.sample(partner)) {
                *a = lam * *a + (1.0 - lam) * b;
            }
        });
        Ok(Synthetic {
            pixels,
            provenance: NoProvenance,
            label_a: batch.labels().to_vec(),
            label_b: partner.iter().map(|&partner| batch.labels()[partner]).collect(),
            lam: vec![lam; batch.len()],
            partner,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;

    #[test]
    fn blends_by_lam() {
        let batch = Batch::new((0..60).map(|v| (v * v) as f32).collect(), 3, 2, 2, (0..5).collect()).unwrap();
        let mixed = Mixup { alpha: 1.0 }.synthesise(&batch, &mut Seed(2).stream("mixup", &[])).unwrap();
        for n in 0..5 {
            let (lam, partner) = (mixed.lam[n], mixed.partner[n]);
            assert!(lam == mixed.lam[0] && mixed.label_b[n] == partner as u32);
            for i in 0..12 {
                let expected = lam * batch.sample(n)[i] + (1.0 - lam) * batch.sample(partner)[i];
                assert_eq!(mixed.pixels[12 * n + i], expected);
            }
        }
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Mixup { alpha }.synthesise(&batch, &mut Seed(2).stream("mixup", &[])).is_err());
        }
    }
}
