//! The animals: silhouettes of a class, coats of any.

use crate::layer::{Colour, Layer};
use crate::noise::Noise;
use crate::shape::{Placement, Point, Shape};
use pg_random::Stream;
use rand::RngExt;
use serde::Deserialize;

/// What can be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Species {
    /// Pointed ears, four legs, a long raised tail.
    Cat,
    /// A beak, a wing, a fanned tail, two thin legs.
    Bird,
    /// Fins and a forked tail, no legs.
    Fish,
    /// Long ears, a round body, a tuft of a tail.
    Rabbit,
}

impl Species {
    /// Every species.
    pub const ALL: [Species; 4] = [Species::Cat, Species::Bird, Species::Fish, Species::Rabbit];

    /// Name of the class.
    pub fn name(self) -> &'static str {
        match self {
            Species::Cat => "cat",
            Species::Bird => "bird",
            Species::Fish => "fish",
            Species::Rabbit => "rabbit",
        }
    }

    /// A pose of the species, facing right, within about one unit of the origin.
    pub(crate) fn pose(self, rng: &mut Stream) -> Body {
        match self {
            Species::Cat => cat(rng),
            Species::Bird => bird(rng),
            Species::Fish => fish(rng),
            Species::Rabbit => rabbit(rng),
        }
    }
}

/// A posed animal: parts from back to front, each with a tone that its coat is multiplied by.
#[derive(Debug)]
pub(crate) struct Body {
    parts: Vec<(Shape, f32)>,
    /// Where a collar sits.
    pub(crate) neck: Point,
}

impl Body {
    /// The animal alone.
    pub(crate) fn paint(&self, coat: &Coat, place: Placement, width: u32, height: u32) -> Layer {
        let mut layer = Layer::clear(width, height);
        for (shape, tone) in &self.parts {
            layer.paint(shape, place, |p| coat.colour(p).map(|c| c * tone));
        }
        layer
    }
}

/// Colour and pattern, the same lottery for every species.
#[derive(Debug)]
pub(crate) struct Coat {
    base: Colour,
    pattern: Pattern,
    /// Brightness of the pattern relative to the base.
    contrast: f32,
    noise: Noise,
}

#[derive(Clone, Copy, Debug)]
enum Pattern {
    Plain,
    Stripes,
    Patches,
}

impl Coat {
    pub(crate) fn new(rng: &mut Stream) -> Self {
        let bright = rng.random_bool(0.5);
        let level = if bright { rng.random_range(200.0..235.0) } else { rng.random_range(25.0..60.0) };
        let base = std::array::from_fn(|_| level * rng.random_range(0.75..1.15f32));
        let pattern = [Pattern::Plain, Pattern::Stripes, Pattern::Patches][rng.random_range(0..3)];
        let contrast = if bright { 0.75 } else { 1.6 };
        Coat { base, pattern, contrast, noise: Noise::new(rng) }
    }

    /// Colour at a point of the body, lit from above.
    fn colour(&self, [x, y]: Point) -> Colour {
        let wave = self.noise.rough([3.0 * x, 3.0 * y]);
        let marked = match self.pattern {
            Pattern::Plain => false,
            Pattern::Stripes => (9.0 * x + 4.0 * wave).rem_euclid(2.0) < 0.8,
            Pattern::Patches => wave > 0.56,
        };
        let light = 1.0 - 0.15 * y + 0.3 * (wave - 0.5);
        self.base.map(|c| c * light * if marked { self.contrast } else { 1.0 })
    }
}

/// A number in [-1, 1].
fn vary(rng: &mut Stream) -> f32 {
    rng.random_range(-1.0..=1.0)
}

fn cat(rng: &mut Stream) -> Body {
    let (stride, far_stride) = (0.16 * vary(rng), 0.16 * vary(rng));
    let head = [0.62 + 0.06 * vary(rng), -0.34 + 0.14 * vary(rng)];
    let (wag, tip) = (0.14 * vary(rng), 0.25 * vary(rng));
    let leg = |x: f32, swing: f32| Shape::limb([x, 0.2], [x + swing, 0.78], [0.12, 0.08]);
    let tail = [[-0.5, 0.0], [-0.8, -0.2 + wag], [-0.78 + tip, -0.78 + wag]];
    let ear = |x: f32| {
        Shape::polygon(&[
            [head[0] + x - 0.11, head[1] - 0.12],
            [head[0] + x, head[1] - 0.46],
            [head[0] + x + 0.12, head[1] - 0.12],
        ])
    };
    let parts = vec![
        (leg(-0.34, far_stride), 0.75),
        (leg(0.44, -far_stride), 0.75),
        (Shape::limb(tail[0], tail[1], [0.1, 0.08]), 0.9),
        (Shape::limb(tail[1], tail[2], [0.08, 0.06]), 0.9),
        (leg(-0.46, stride), 0.95),
        (leg(0.32, -stride), 0.95),
        (Shape::ellipse([-0.05, 0.08], [0.58, 0.27], 0.0), 1.0),
        (Shape::limb([0.38, -0.02], head, [0.2, 0.18]), 1.0),
        (ear(-0.13), 0.9),
        (ear(0.13), 0.9),
        (Shape::ellipse(head, [0.27, 0.23], 0.0), 1.05),
        (Shape::circle([head[0] + 0.1, head[1] - 0.03], 0.045), 0.2),
    ];
    Body { parts, neck: [0.46, -0.08] }
}

fn bird(rng: &mut Stream) -> Body {
    let head = [0.5 + 0.06 * vary(rng), -0.42 + 0.12 * vary(rng)];
    let (gap, lift, fan) = (0.08 * vary(rng), vary(rng), 0.1 * vary(rng));
    let wing_tip = [-0.62, -0.25 - 0.6 * lift];
    let leg = |x: f32| Shape::limb([x, 0.25], [x + 0.06, 0.8], [0.045, 0.035]);
    let foot = |x: f32| Shape::limb([x + 0.06, 0.8], [x + 0.2, 0.82], [0.04, 0.03]);
    let parts = vec![
        (Shape::polygon(&[[-0.4, -0.05], [-1.0, -0.02 + fan], [-0.95, 0.3 + fan], [-0.35, 0.22]]), 0.8),
        (leg(-0.08 - gap), 0.7),
        (foot(-0.08 - gap), 0.7),
        (leg(0.12 + gap), 0.7),
        (foot(0.12 + gap), 0.7),
        (Shape::ellipse([0.0, 0.0], [0.52, 0.34], -0.3), 1.0),
        (Shape::limb([0.3, -0.16], head, [0.22, 0.16]), 1.0),
        (
            Shape::polygon(&[
                [head[0] + 0.14, head[1] - 0.1],
                [head[0] + 0.48, head[1] + 0.04],
                [head[0] + 0.12, head[1] + 0.12],
            ]),
            0.65,
        ),
        (Shape::circle(head, 0.2), 1.05),
        (Shape::circle([head[0] + 0.07, head[1] - 0.04], 0.045), 0.2),
        (Shape::polygon(&[[0.25, -0.12], wing_tip, [-0.25, 0.2], [0.1, 0.16]]), 0.75),
    ];
    Body { parts, neck: [0.38, -0.26] }
}

fn fish(rng: &mut Stream) -> Body {
    let (bend, depth) = (0.14 * vary(rng), 0.36 + 0.06 * vary(rng));
    let (fin, sweep) = (0.1 * vary(rng), 0.1 * vary(rng));
    let tail = [-0.58, bend];
    let parts = vec![
        (
            Shape::polygon(&[
                [tail[0] + 0.18, tail[1] - 0.08],
                [-1.0, bend * 2.0 - 0.44],
                [-0.84, bend * 1.6],
                [-1.0, bend * 2.0 + 0.44],
                [tail[0] + 0.18, tail[1] + 0.08],
            ]),
            0.8,
        ),
        (Shape::polygon(&[[-0.25, -0.2], [-0.2 + sweep, -0.68 - fin], [0.3, -0.25]]), 0.8),
        (Shape::polygon(&[[-0.15, 0.2], [-0.2 + sweep, 0.6 + fin], [0.15, 0.25]]), 0.8),
        (Shape::limb([0.1, 0.0], tail, [depth * 0.85, 0.1]), 1.0),
        (Shape::ellipse([0.2, 0.0], [0.66, depth], 0.0), 1.0),
        (Shape::polygon(&[[0.22, 0.02], [-0.1, 0.16 + fin], [0.18, 0.2]]), 0.7),
        (Shape::circle([0.6, -0.08], 0.06), 0.2),
    ];
    Body { parts, neck: [0.38, 0.0] }
}

fn rabbit(rng: &mut Stream) -> Body {
    let head = [0.42 + 0.06 * vary(rng), -0.12 + 0.1 * vary(rng)];
    let (tilt, spread) = (0.35 * vary(rng), 0.14 * vary(rng));
    let (crouch, reach) = (0.05 * vary(rng), 0.1 * vary(rng));
    let ear = |x: f32, angle: f32| {
        let tip = [head[0] + x + 0.68 * angle.sin(), head[1] - 0.14 - 0.68 * angle.cos()];
        Shape::limb([head[0] + x, head[1] - 0.14], tip, [0.09, 0.075])
    };
    let parts = vec![
        (Shape::circle([-0.74, 0.3 + crouch], 0.16), 1.2),
        (ear(0.06, tilt - 0.3 + 0.25 + spread), 0.8),
        (Shape::limb([0.25, 0.35], [0.42 + reach, 0.74], [0.13, 0.09]), 0.85),
        (Shape::ellipse([-0.18, 0.26 + crouch], [0.56, 0.45], -0.15), 1.0),
        (Shape::ellipse([-0.3, 0.45], [0.34, 0.3], 0.0), 0.92),
        (Shape::ellipse([-0.1, 0.74], [0.34, 0.09], 0.0), 0.85),
        (ear(-0.06, tilt - 0.3 - 0.25 + spread), 0.95),
        (Shape::ellipse(head, [0.29, 0.24], 0.2), 1.05),
        (Shape::circle([head[0] + 0.1, head[1] - 0.05], 0.05), 0.2),
    ];
    Body { parts, neck: [0.24, 0.06] }
}
