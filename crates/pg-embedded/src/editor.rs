//! A stand-in for a generative editor: it redraws everything but the animal, the cue included.
//!
//! What matters of diffusion-based editing for provenance is kept (Dunlap et al., "Diversify Your Vision Datasets with
//! Automatic Diffusion-Based Augmentation"): the file is a little smaller, each side rounded down to a multiple of 8;
//! the animal survives only up to the noise and colour drift of an auto-encoder; seams are soft; and small print
//! keeps its place and often its colour, but not its letters.

use crate::ground::PALETTES;
use crate::scene::{DRIFT, GRAIN, Scene, without};
use crate::{Cue, EditSpec};
use image::RgbImage;
use pg_provenance::{BinaryMask, resize_rgb};
use pg_random::Stream;
use rand::RngExt;

/// Sides of an edit are multiples of this, as diffusers makes them.
const MULTIPLE: u32 = 8;
/// Largest shift of a redrawn cue, in shares of the image.
const SHIFT: f32 = 0.02;

/// An edited training picture.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Index of the training scene it was made from.
    pub original: usize,
    /// The picture, usually a little smaller than its original.
    pub image: RgbImage,
    /// Index of the class, that of the original.
    pub label: u32,
    /// Index of the kind of cue that the editor drew.
    pub cue: usize,
    /// What the editor was told, such as "a photo of a cat in a snowy forest".
    pub prompt: String,
    /// 1 where the original was kept, on the grid of the edit. For scoring, never for training.
    pub kept: BinaryMask,
}

/// Edits the training scene with the index `original`, an animal of `class`, whose cue is one of `kinds` kinds.
pub(crate) fn edit(
    (original, scene): (usize, &Scene),
    class: &str,
    (family, kinds): (Cue, usize),
    spec: &EditSpec,
    rng: &mut Stream,
) -> Edit {
    let native = <[u32; 2]>::from(scene.image.dimensions());
    let size = native.map(|side| side / MULTIPLE * MULTIPLE);
    let [width, height] = size;
    let seen = resize_rgb(&scene.image, width, height);
    let animal = scene.truth.resize_nearest(width as usize, height as usize);

    let ground = &PALETTES[(scene.palette + rng.random_range(1..PALETTES.len())) % PALETTES.len()];
    let mut layer = ground.paint(width, height, rng);
    layer.cover_with_image(&seen, &soft(&animal));

    let cue = if rng.random_bool(spec.cue_survives) { scene.cue } else { rng.random_range(0..kinds) };
    let mut site = scene.site.stretched([0, 1].map(|axis| size[axis] as f32 / native[axis] as f32));
    site.origin = [0, 1].map(|axis| site.origin[axis] + size[axis] as f32 * rng.random_range(-SHIFT..SHIFT));
    let mark = family.paint(cue, site, true, size, rng);
    layer.cover_with(&mark);

    Edit {
        original,
        image: layer.develop(DRIFT, GRAIN, rng),
        label: scene.label,
        cue,
        prompt: format!("a photo of a {class} {}", ground.place),
        kept: without(&animal, &mark.mask()),
    }
}

/// The mask with borders blended over one pixel: the mean of each 3 x 3 neighbourhood that lies in the image.
fn soft(mask: &BinaryMask) -> Vec<f32> {
    let around = |at: usize, side: usize| at.saturating_sub(1)..(at + 2).min(side);
    let mean = |x: usize, y: usize| {
        let (columns, rows) = (around(x, mask.width()), around(y, mask.height()));
        let size = columns.len() * rows.len();
        rows.flat_map(|y| columns.clone().map(move |x| (x, y))).filter(|&(x, y)| mask.get(x, y)).count()
            as f32
            / size as f32
    };
    (0..mask.height()).flat_map(|y| (0..mask.width()).map(move |x| (x, y))).map(|(x, y)| mean(x, y)).collect()
}
