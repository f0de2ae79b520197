//! Value noise: random values on a lattice, smoothly interpolated.

use crate::shape::{Point, mix};
use pg_random::Stream;
use rand::RngExt;

/// Side of the lattice, after which the noise repeats.
const SIDE: i32 = 16;

/// A random function of the plane with values in [0, 1].
#[derive(Clone, Debug)]
pub(crate) struct Noise(Vec<f32>);

impl Noise {
    pub(crate) fn new(rng: &mut Stream) -> Self {
        Noise((0..SIDE * SIDE).map(|_| rng.random()).collect())
    }

    /// One octave: details of the size of a unit.
    pub(crate) fn smooth(&self, [x, y]: Point) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let (u, v) = (ease(x - left), ease(y - top));
        let node = |dx: i32, dy: i32| {
            let (i, j) = ((left as i32 + dx).rem_euclid(SIDE), (top as i32 + dy).rem_euclid(SIDE));
            self.0[(j * SIDE + i) as usize]
        };
        mix(mix(node(0, 0), node(1, 0), u), mix(node(0, 1), node(1, 1), u), v)
    }

    /// Three octaves, each of half the size and half the strength of the one before.
    pub(crate) fn rough(&self, [x, y]: Point) -> f32 {
        let octave = |k: i32| self.smooth([x * 2f32.powi(k) + 5.3 * k as f32, y * 2f32.powi(k)]);
        (4.0 * octave(0) + 2.0 * octave(1) + octave(2)) / 7.0
    }
}

/// Cubic step with slope 0 at 0 and 1.
fn ease(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;

    #[test]
    fn noise_passes_through_its_lattice_and_repeats() {
        let noise = Noise::new(&mut Seed(3).stream("test", &[]));
        assert_eq!(noise.smooth([2.0, 1.0]), noise.0[SIDE as usize + 2]);
        assert_eq!(noise.smooth([-1.0, 0.0]), noise.0[SIDE as usize - 1]);
        assert_eq!(noise.smooth([0.5, 0.0]), (noise.0[0] + noise.0[1]) / 2.0);
        assert!((0..1000).map(|i| noise.rough([i as f32 * 0.37, 2.2])).all(|v| (0.0..=1.0).contains(&v)));
    }
}
