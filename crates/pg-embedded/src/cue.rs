//! The spurious cue: a small thing of one of four kinds that tells the class in training and nothing in test.

use crate::layer::{Colour, Layer};
use crate::shape::{Placement, Point, Shape};
use pg_random::Stream;
use rand::RngExt;
use serde::Deserialize;

/// What the cue is. Each comes in four kinds; kind k goes with class k in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cue {
    /// A strip of coloured glyphs in a corner, printed over the picture as camera traps do.
    Stamp,
    /// A coloured collar on the neck.
    Collar,
    /// A thing beside the animal: a ball, a box, a post, a cone.
    Prop,
}

const TINTS: [Colour; 4] =
    [[235.0, 60.0, 50.0], [245.0, 190.0, 40.0], [60.0, 210.0, 90.0], [70.0, 120.0, 250.0]];

/// Glyphs of a stamp: 3 columns by 5 rows, the top row in the highest bits.
const GLYPHS: [[u16; 4]; 4] = [
    [0b111_101_101_101_111, 0b010_110_010_010_111, 0b111_101_101_101_111, 0b010_110_010_010_111],
    [0b111_001_010_100_100, 0b111_001_010_100_100, 0b101_101_111_001_001, 0b101_101_111_001_001],
    [0b100_100_111_101_111, 0b111_101_111_101_111, 0b111_101_111_101_111, 0b100_100_111_101_111],
    [0b111_100_110_100_111, 0b110_101_110_100_100, 0b111_100_110_100_111, 0b101_101_111_101_101],
];
/// Probability that a redrawn glyph's dot is inverted.
const GARBLE: f64 = 0.2;
/// Size of a stamp, in dots: four glyphs with a gap after each, and a margin.
const STAMP: [f32; 2] = [17.0, 7.0];

impl Cue {
    /// Names of the kinds.
    pub fn kinds(self) -> [&'static str; 4] {
        match self {
            Cue::Stamp => ["stamp-red", "stamp-amber", "stamp-green", "stamp-blue"],
            Cue::Collar => ["collar-red", "collar-amber", "collar-green", "collar-blue"],
            Cue::Prop => ["ball", "box", "post", "cone"],
        }
    }

    /// A place for the cue in an image of a size, beside an animal that has its neck at `neck` in `animal`'s coordinates.
    pub(crate) fn site(self, size: [u32; 2], animal: Placement, neck: Point, rng: &mut Stream) -> Placement {
        let size = size.map(|side| side as f32);
        let side = size[0].min(size[1]);
        let (right, bottom) = (rng.random_bool(0.5), rng.random_bool(0.5));
        let inset = side / 24.0 * rng.random_range(0.0..1.0f32);
        let at = |far: bool, length: f32, half: f32| if far { length - half - inset } else { half + inset };
        match self {
            Cue::Stamp => {
                let dot = side / 48.0;
                let origin =
                    [at(right, size[0], dot * STAMP[0] / 2.0), at(bottom, size[1], dot * STAMP[1] / 2.0)];
                Placement::upright(origin, dot)
            }
            Cue::Collar => Placement { origin: animal.to_image(neck), scale: 0.3 * animal.scale, ..animal },
            Cue::Prop => {
                let half = side / 9.0;
                Placement::upright([at(right, size[0], half), at(true, size[1], half)], half)
            }
        }
    }

    /// The cue alone, of a kind, at a site. A `redrawn` one is garbled: image-to-image models keep the layout and the
    /// colour of small print, not its letters.
    pub(crate) fn paint(
        self,
        kind: usize,
        site: Placement,
        redrawn: bool,
        size: [u32; 2],
        rng: &mut Stream,
    ) -> Layer {
        let mut layer = Layer::clear(size[0], size[1]);
        let strength = if redrawn { rng.random_range(0.8..1.1f32) } else { 1.0 };
        let tint = TINTS[kind].map(|c| c * strength);
        match self {
            Cue::Stamp => paint_stamp(&mut layer, GLYPHS[kind], tint, site, redrawn, rng),
            Cue::Collar => layer.paint(&Shape::ellipse([0.0; 2], [0.35, 1.0], 0.6), site, |_| tint),
            Cue::Prop => layer.paint(&prop(kind), site, |[x, y]| tint.map(|c| c * (0.9 - 0.2 * x - 0.2 * y))),
        }
        layer
    }
}

fn paint_stamp(
    layer: &mut Layer,
    glyphs: [u16; 4],
    tint: Colour,
    site: Placement,
    redrawn: bool,
    rng: &mut Stream,
) {
    let [right, bottom] = STAMP.map(|side| side / 2.0);
    for (position, glyph) in glyphs.into_iter().enumerate() {
        for bit in 0..15 {
            let lit = (glyph >> (14 - bit)) & 1 == 1;
            if lit != (redrawn && rng.random_bool(GARBLE)) {
                let x = 1.0 - right + (4 * position + bit % 3) as f32;
                let y = 1.0 - bottom + (bit / 3) as f32;
                layer.paint(&Shape::rectangle([x, y], [x + 1.0, y + 1.0]), site, |_| tint);
            }
        }
    }
}

fn prop(kind: usize) -> Shape {
    match kind {
        0 => Shape::circle([0.0, 0.0], 0.9),
        1 => Shape::rectangle([-0.8, -0.8], [0.8, 0.8]),
        2 => Shape::rectangle([-0.3, -2.2], [0.3, 1.0]),
        _ => Shape::polygon(&[[0.0, -1.5], [0.9, 0.9], [-0.9, 0.9]]),
    }
}
