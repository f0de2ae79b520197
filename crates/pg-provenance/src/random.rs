//! Masks that know nothing: the control for an ablation.

use pg_random::Stream;
use rand::RngExt;

use crate::BinaryMask;

/// A mask of the same area and shape in a random place: `mask` shifted by an offset that is uniform over the
/// image, wrapping around at the borders. Only *where* the target lies is lost, so a difference in accuracy
/// between the two masks is due to provenance, not to the amount or raggedness of the penalised region.
#[must_use]
pub fn random_mask_like(mask: &BinaryMask, rng: &mut Stream) -> BinaryMask {
    let (width, height) = (mask.width(), mask.height());
    if mask.bits().is_empty() {
        return mask.clone();
    }
    let (right, down) = (rng.random_range(0..width), rng.random_range(0..height));
    BinaryMask::from_fn(width, height, |x, y| mask.get((x + right) % width, (y + down) % height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;

    #[test]
    fn area_is_kept_and_every_place_is_equally_likely() {
        let corner = BinaryMask::from_fn(5, 4, |x, y| x < 2 && y < 2);
        let mut rng = Seed(1).stream("random mask", &[]);
        let draws = 20_000;
        let mut hits = vec![0u32; 20];
        for _ in 0..draws {
            let random = random_mask_like(&corner, &mut rng);
            assert_eq!(random.area(), corner.area());
            for (hits, &bit) in hits.iter_mut().zip(random.bits()) {
                *hits += u32::from(bit);
            }
        }
        // Each pixel is covered with probability 4 / 20; five standard deviations are 0.014.
        for hits in hits {
            assert!((f64::from(hits) / f64::from(draws) - 0.2).abs() < 0.0142);
        }
    }

    #[test]
    fn a_stream_repeats_its_mask() {
        let mask = BinaryMask::from_fn(50, 40, |x, y| x * y % 7 == 0);
        let draw = |counter| random_mask_like(&mask, &mut Seed(1).stream("random mask", &[counter]));
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert_eq!(random_mask_like(&BinaryMask::filled(0, 0, true), &mut Seed(1).stream("", &[])).area(), 0);
    }
}
