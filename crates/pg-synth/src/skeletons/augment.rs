//! Augmentation of skeletons: the geometry of a scene, and joints that go missing (as Nagano et al. 2026, table 4).

use super::Scene;
use pg_random::Stream;
use rand::RngExt;

/// What is done to a whole scene at random, to all people alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SkeletonAugment {
    /// Least and greatest factor of size.
    pub scale: (f32, f32),
    /// Greatest shift along each axis, as a share of the image.
    pub shift: f32,
    /// Greatest rotation, in degrees.
    pub rotation: f32,
    /// Probability of a flip from left to right.
    pub flip: f64,
    /// Probability that a joint goes missing.
    pub drop: f64,
    /// Greatest probability that a person in a frame goes missing: each scene draws its own below it, so that people are
    /// seen in crowds and nearly alone. Someone stays.
    pub drop_people: f64,
}

impl Default for SkeletonAugment {
    fn default() -> Self {
        Self { scale: (0.8, 1.2), shift: 0.2, rotation: 5.0, flip: 0.5, drop: 0.0, drop_people: 0.0 }
    }
}

impl SkeletonAugment {
    /// Augments a scene of people with `keypoints` joints. `mirrored` is the joint that each becomes in a mirror; empty if
    /// that is not known, and nothing is flipped then. `aspect` is the image's width over its height, so that a
    /// rotation keeps shapes.
    ///
    /// # Panics
    /// If a range is none: `scale` falls, `shift` or `rotation` is negative, or a number is not finite. If
    /// `keypoints` is 0, or `mirrored` names a joint beyond its own length.
    pub fn apply(
        &self,
        scene: &mut Scene,
        keypoints: usize,
        mirrored: &[usize],
        aspect: f32,
        rng: &mut Stream,
    ) {
        let scale = rng.random_range(self.scale.0..=self.scale.1);
        let (dx, dy) = (2.0 * self.draw(self.shift, rng), 2.0 * self.draw(self.shift, rng));
        let (sin, cos) = self.draw(self.rotation, rng).to_radians().sin_cos();
        // Both are drawn in any case: what is drawn later must not depend on the layout.
        let flips = rng.random_bool(self.flip.clamp(0.0, 1.0)) && !mirrored.is_empty();
        for point in scene.points.iter_mut().zip(&scene.valid).filter_map(|(p, valid)| valid.then_some(p)) {
            let (x, y) = (if flips { -point[0] } else { point[0] } * aspect, point[1]);
            point[0] = scale * (cos * x - sin * y) / aspect + dx;
            point[1] = scale * (sin * x + cos * y) + dy;
        }
        if flips {
            self.mirror(scene, mirrored);
        }
        self.drop_people(scene, keypoints, rng);
        for (valid, point) in scene.valid.iter_mut().zip(&mut scene.points) {
            if rng.random_bool(self.drop.clamp(0.0, 1.0)) && *valid {
                (*valid, *point) = (false, [0.0; 5]);
            }
        }
    }

    fn drop_people(&self, scene: &mut Scene, keypoints: usize, rng: &mut Stream) {
        let rate = rng.random_range(0.0..=self.drop_people.clamp(0.0, 1.0));
        let is_there = |valid: &[bool]| valid.contains(&true);
        let mut left = scene.valid.chunks_exact(keypoints).filter(|valid| is_there(valid)).count();
        let people = scene.valid.chunks_exact_mut(keypoints).zip(scene.points.chunks_exact_mut(keypoints));
        for (valid, points) in people.filter(|(valid, _)| is_there(valid)) {
            if rng.random_bool(rate) && left > 1 {
                valid.fill(false);
                points.fill([0.0; 5]);
                left -= 1;
            }
        }
    }

    fn draw(&self, greatest: f32, rng: &mut Stream) -> f32 {
        rng.random_range(-greatest..=greatest)
    }

    /// Left becomes right. The number of the joint belongs to the place and stays.
    fn mirror(&self, scene: &mut Scene, mirrored: &[usize]) {
        let people = scene.points.chunks_exact_mut(mirrored.len());
        for (points, valid) in people.zip(scene.valid.chunks_exact_mut(mirrored.len())) {
            let before: Vec<_> = points.iter().copied().zip(valid.iter().copied()).collect();
            let last = (mirrored.len() - 1).max(1) as f32;
            for (place, &from) in mirrored.iter().enumerate() {
                (points[place], valid[place]) = before[from];
                points[place][4] = if valid[place] { place as f32 / last } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;

    const STILL: SkeletonAugment = SkeletonAugment {
        scale: (1.0, 1.0),
        shift: 0.0,
        rotation: 0.0,
        flip: 0.0,
        drop: 0.0,
        drop_people: 0.0,
    };

    /// Two people with three joints: one in the middle, a left and a right one. The second person lacks the left one.
    fn scene() -> Scene {
        let person =
            |x: f32| [[x, 0.0, 0.5, 1.0, 0.0], [x - 0.2, 0.1, 0.5, 0.9, 0.5], [x + 0.3, 0.2, 0.5, 0.8, 1.0]];
        let mut points = [person(0.0), person(0.4)].concat();
        points[4] = [0.0; 5];
        Scene { points, valid: vec![true, true, true, true, false, true] }
    }

    fn augmented(augment: SkeletonAugment, seed: u64) -> Scene {
        let mut scene = scene();
        augment.apply(&mut scene, 3, &[0, 2, 1], 4.0 / 3.0, &mut Seed(seed).stream("augment", &[]));
        scene
    }

    #[test]
    fn a_mirror_swaps_left_and_right() {
        assert_eq!(augmented(STILL, 0), scene());
        let flipped = augmented(SkeletonAugment { flip: 1.0, ..STILL }, 0);
        assert_eq!(
            flipped.points[1],
            [-0.3, 0.2, 0.5, 0.8, 0.5],
            "the right joint is the left one in the mirror"
        );
        assert_eq!(flipped.points[2], [0.2, 0.1, 0.5, 0.9, 1.0]);
        assert_eq!(
            flipped.valid,
            [true, true, true, true, true, false],
            "and what was missing is so on the other side"
        );
        let twice = {
            let mut scene = flipped;
            let flip = SkeletonAugment { flip: 1.0, ..STILL };
            flip.apply(&mut scene, 3, &[0, 2, 1], 4.0 / 3.0, &mut Seed(1).stream("augment", &[]));
            scene
        };
        assert_eq!(twice.valid, scene().valid);
    }

    #[test]
    fn a_rotation_keeps_distances_in_the_image() {
        let distance = |scene: &Scene| {
            let [a, b] = [scene.points[0], scene.points[2]];
            ((a[0] - b[0]) * 4.0 / 3.0).hypot(a[1] - b[1])
        };
        let turned = augmented(SkeletonAugment { rotation: 40.0, ..STILL }, 3);
        assert_ne!(turned, scene());
        assert!((distance(&turned) - distance(&scene())).abs() < 1e-6);
        let larger = augmented(SkeletonAugment { scale: (1.5, 1.5), ..STILL }, 3);
        assert!((distance(&larger) / distance(&scene()) - 1.5).abs() < 1e-5);
    }

    #[test]
    fn people_go_missing_but_for_one() {
        let mut counts = [0; 3];
        for seed in 0..200 {
            let scene = augmented(SkeletonAugment { drop_people: 1.0, ..STILL }, seed);
            counts[scene.valid.chunks(3).filter(|valid| valid.contains(&true)).count()] += 1;
        }
        assert_eq!(counts[0], 0);
        // Of two people, at a rate drawn from 0 to 1, both stay in a third of the scenes.
        assert!((50..85).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn joints_go_missing_at_the_rate_asked_for_and_nothing_comes_up() {
        let none = augmented(SkeletonAugment { drop: 1.0, ..STILL }, 0);
        assert!(none.valid.iter().all(|valid| !valid) && none.points.iter().flatten().all(|&x| x == 0.0));
        for seed in 0..20 {
            let scene = augmented(SkeletonAugment::default(), seed);
            assert_eq!(scene.valid.iter().filter(|&&valid| valid).count(), 5);
        }
    }
}
