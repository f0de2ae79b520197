//! One picture: ground, animal, cue, and what the camera adds.

use crate::animal::{Coat, Species};
use crate::cue::Cue;
use crate::ground::PALETTES;
use crate::shape::Placement;
use crate::spec::ImageSpec;
use image::RgbImage;
use pg_provenance::BinaryMask;
use pg_random::Stream;
use rand::RngExt;

/// Standard deviation of the pixel noise of photographs and of edits, in levels. One value for both, so that noise
/// does not tell them apart.
pub(crate) const GRAIN: f32 = 4.0;
/// Largest smooth colour drift of photographs and of edits, in levels.
pub(crate) const DRIFT: f32 = 8.0;

/// A labelled picture and what only its maker knows. The masks are for scoring, never for training.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The picture, of its native size.
    pub image: RgbImage,
    /// Index of the class.
    pub label: u32,
    /// Index of the kind of cue.
    pub cue: usize,
    /// 1 where the animal is seen.
    pub truth: BinaryMask,
    /// 1 where the cue is seen.
    pub cue_region: BinaryMask,
    /// Where the cue is, for the editor.
    pub(crate) site: Placement,
    /// The ground it stands on, for the editor.
    pub(crate) palette: usize,
}

/// Draws a picture of a species with a cue of a kind.
pub(crate) fn draw(
    species: Species,
    label: u32,
    (family, kind): (Cue, usize),
    image: &ImageSpec,
    rng: &mut Stream,
) -> Scene {
    let size =
        [image.width, image.height].map(|side| rng.random_range(side - image.jitter..=side + image.jitter));
    let [width, height] = size;
    let palette = rng.random_range(0..PALETTES.len());
    let mut layer = PALETTES[palette].paint(width, height, rng);

    let body = species.pose(rng);
    let coat = Coat::new(rng);
    let place = placement(size, rng);
    let animal = body.paint(&coat, place, width, height);
    layer.cover_with(&animal);

    let site = family.site(size, place, body.neck, rng);
    let mark = family.paint(kind, site, false, size, rng);
    layer.cover_with(&mark);

    let (animal, cue_region) = (animal.mask(), mark.mask());
    let truth = without(&animal, &cue_region);
    let image = layer.develop(DRIFT, GRAIN, rng);
    Scene { image, label, cue: kind, truth, cue_region, site, palette }
}

/// Where an animal stands: near the middle, of varied size, turned a little, facing either side.
fn placement([width, height]: [u32; 2], rng: &mut Stream) -> Placement {
    let side = width.min(height) as f32;
    let mut near_half = |length: u32| length as f32 * rng.random_range(0.42..0.58f32);
    let origin = [near_half(width), near_half(height)];
    Placement {
        origin,
        scale: side * rng.random_range(0.28..0.40f32),
        angle: rng.random_range(-0.3..0.3),
        mirror: rng.random_bool(0.5),
    }
}

/// 1 where `mask` is and `hidden` is not. Both of one size.
pub(crate) fn without(mask: &BinaryMask, hidden: &BinaryMask) -> BinaryMask {
    BinaryMask::from_fn(mask.width(), mask.height(), |x, y| mask.get(x, y) && !hidden.get(x, y))
}
