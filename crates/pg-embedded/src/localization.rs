//! A set to find animals in, trained without being told where they are.
//!
//! Animals of any size stand anywhere, among things (a ball, a box, a post, a cone) that go with no class. The class is the
//! animal alone; where it is, only the set's maker knows.

use crate::animal::{Coat, Species};
use crate::cue::Cue;
use crate::ground::PALETTES;
use crate::scene::{DRIFT, GRAIN};
use crate::shape::Placement;
use crate::spec::{self, ImageSpec, SpecError};
use image::RgbImage;
use pg_provenance::BinaryMask;
use pg_random::{Seed, Stream};
use rand::RngExt;
use rayon::prelude::*;
use serde::Deserialize;

/// The specification of a set to localise in. Its default is `datasets/embedded-localization.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalizationSpec {
    /// The animals, in the order of their labels: at least two, each once.
    pub classes: Vec<Species>,
    /// Number of training images. Classes take turns, so they differ by at most one image.
    pub train: usize,
    /// Number of validation images.
    pub val: usize,
    /// Number of test images.
    pub test: usize,
    /// Sizes of the images.
    pub image: ImageSpec,
    /// Least and greatest size of an animal: half its length, roughly, as a share of the image's shorter side, in (0, 0.5).
    pub scale: [f32; 2],
    /// Things beside the animal: as many at most.
    pub things: usize,
}

impl Default for LocalizationSpec {
    fn default() -> Self {
        Self {
            classes: Species::ALL.to_vec(),
            train: 1600,
            val: 400,
            test: 1000,
            image: ImageSpec { width: 56, height: 56, jitter: 8 },
            scale: [0.16, 0.36],
            things: 2,
        }
    }
}

impl LocalizationSpec {
    /// The text of the default specification.
    pub const DEFAULT: &str = include_str!("../../../datasets/embedded-localization.toml");

    /// Checks every value.
    ///
    /// # Errors
    /// The first value that cannot be drawn.
    pub fn check(&self) -> Result<(), SpecError> {
        spec::check_classes(&self.classes)?;
        spec::check_splits(self.train, self.val, self.test)?;
        self.image.check()?;
        let [least, greatest] = self.scale;
        if !(least > 0.0 && least <= greatest && greatest < 0.5) {
            return Err(SpecError::Scale(self.scale));
        }
        Ok(())
    }
}

/// A drawn set to localise in.
#[derive(Clone, Debug)]
pub struct LocalizationSet {
    /// Names of the classes, by label.
    pub classes: Vec<String>,
    /// Training scenes.
    pub train: Vec<LocatedScene>,
    /// Validation scenes.
    pub val: Vec<LocatedScene>,
    /// Test scenes.
    pub test: Vec<LocatedScene>,
}

/// A labelled picture and where its animal is. The mask is for scoring, never for training.
#[derive(Clone, Debug)]
pub struct LocatedScene {
    /// The picture, of its native size.
    pub image: RgbImage,
    /// Index of the class.
    pub label: u32,
    /// 1 where the animal is seen; never empty.
    pub truth: BinaryMask,
}

impl LocalizationSet {
    /// Draws a set. Every image has a random stream of its own, so that the number of threads changes nothing.
    ///
    /// # Errors
    /// [`SpecError`] when the specification asks for what cannot be drawn.
    pub fn generate(spec: &LocalizationSpec, seed: Seed) -> Result<Self, SpecError> {
        spec.check()?;
        let draw_split = |split: u64, count: usize| -> Vec<LocatedScene> {
            let draw_one = |index: usize| {
                draw(spec, index % spec.classes.len(), &mut seed.stream("located", &[split, index as u64]))
            };
            (0..count).into_par_iter().map(draw_one).collect()
        };
        Ok(Self {
            classes: spec.classes.iter().map(|class| class.name().to_owned()).collect(),
            train: draw_split(0, spec.train),
            val: draw_split(1, spec.val),
            test: draw_split(2, spec.test),
        })
    }
}

fn draw(spec: &LocalizationSpec, label: usize, rng: &mut Stream) -> LocatedScene {
    let ImageSpec { width, height, jitter } = spec.image;
    let size = [width, height].map(|side| rng.random_range(side - jitter..=side + jitter));
    let mut layer = PALETTES[rng.random_range(0..PALETTES.len())].paint(size[0], size[1], rng);
    for _ in 0..rng.random_range(0..=spec.things) {
        layer.cover_with(&thing(size, rng));
    }
    let body = spec.classes[label].pose(rng);
    let coat = Coat::new(rng);
    let animal = body.paint(&coat, placement(size, spec.scale, rng), size[0], size[1]);
    layer.cover_with(&animal);
    let truth = animal.mask();
    LocatedScene { image: layer.develop(DRIFT, GRAIN, rng), label: label as u32, truth }
}

/// Anywhere, whole in the picture but for a tail or an ear.
fn placement(size: [u32; 2], [least, greatest]: [f32; 2], rng: &mut Stream) -> Placement {
    let side = size[0].min(size[1]) as f32;
    let scale = side * rng.random_range(least..=greatest);
    let origin = size.map(|length| rng.random_range(scale..=length as f32 - scale));
    Placement { origin, scale, angle: rng.random_range(-0.3..0.3), mirror: rng.random_bool(0.5) }
}

/// One of the things, anywhere.
fn thing(size: [u32; 2], rng: &mut Stream) -> crate::layer::Layer {
    let half = size[0].min(size[1]) as f32 * rng.random_range(0.05..0.11f32);
    let origin = size.map(|length| rng.random_range(0.0..length as f32));
    let kind = rng.random_range(0..Cue::Prop.kinds().len());
    Cue::Prop.paint(kind, Placement::upright(origin, half), false, size, rng)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> LocalizationSpec {
        LocalizationSpec { train: 12, val: 8, test: 8, ..LocalizationSpec::default() }
    }

    #[test]
    fn the_default_is_the_file() {
        let file: LocalizationSpec = toml::from_str(LocalizationSpec::DEFAULT).unwrap();
        assert_eq!(file, LocalizationSpec::default());
    }

    #[test]
    fn animals_of_all_sizes_stand_anywhere() {
        let spec = LocalizationSpec { test: 400, ..small() };
        let set = LocalizationSet::generate(&spec, Seed(0)).unwrap();
        let shares: Vec<f64> =
            set.test.iter().map(|s| s.truth.area() as f64 / s.truth.bits().len() as f64).collect();
        let (least, greatest) = shares.iter().fold((1.0, 0.0), |(l, g): (f64, f64), &s| (l.min(s), g.max(s)));
        assert!(least > 0.005 && least < 0.03 && greatest > 0.15, "{least} {greatest}");
        // Each quarter of the picture holds the middle of about a quarter of the animals.
        let mut quarters = [0; 4];
        for scene in &set.test {
            let (width, height) = (scene.truth.width(), scene.truth.height());
            let inside: Vec<_> = (0..width * height).filter(|i| scene.truth.bits()[*i]).collect();
            let mean =
                |of: &dyn Fn(usize) -> usize| inside.iter().map(|&i| of(i)).sum::<usize>() / inside.len();
            let (x, y) = (mean(&|i| i % width), mean(&|i| i / width));
            quarters[usize::from(2 * x > width) + 2 * usize::from(2 * y > height)] += 1;
        }
        assert!(quarters.iter().all(|&n| (60..140).contains(&n)), "{quarters:?}");
    }

    #[test]
    fn a_seed_gives_the_same_set_and_splits_differ() {
        let drawn = |seed| LocalizationSet::generate(&small(), Seed(seed)).unwrap();
        let (a, b, other) = (drawn(1), drawn(1), drawn(2));
        assert_eq!(a.train[3].image, b.train[3].image);
        assert_ne!(a.train[3].image, other.train[3].image);
        assert_ne!(a.val[0].image, a.test[0].image);
        assert_eq!(a.test.iter().map(|s| s.label).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1, 2, 3]);
    }

    #[test]
    fn nonsense_is_named() {
        for scale in [[0.0, 0.3], [0.3, 0.2], [0.2, 0.5], [f32::NAN, 0.3]] {
            let error = LocalizationSpec { scale, ..small() }.check().unwrap_err();
            assert!(error.to_string().starts_with("`scale` is"), "{error}");
        }
        assert_eq!(LocalizationSpec { val: 0, ..small() }.check(), Err(SpecError::EmptySplit("val")));
    }
}
