//! The ground an animal stands on: textured, of one of several palettes, whatever the class.

use crate::layer::{Colour, Layer};
use crate::noise::Noise;
use crate::shape::mix;
use pg_random::Stream;
use rand::RngExt;

/// A kind of ground.
#[derive(Debug)]
pub(crate) struct Palette {
    /// How a caption says it.
    pub(crate) place: &'static str,
    /// Colours of low, middle and high noise. All of middling brightness, so that an animal stands out on any of them.
    colours: [Colour; 3],
    /// Size of the texture in shares of the image, horizontally and vertically.
    grain: [f32; 2],
}

/// All kinds of ground.
pub(crate) const PALETTES: [Palette; 8] = [
    palette("in a green meadow", [[62, 104, 44], [92, 140, 62], [142, 172, 84]], [0.06, 0.22]),
    palette("in a snowy forest", [[112, 126, 148], [150, 164, 184], [176, 186, 198]], [0.20, 0.20]),
    palette("on a sandy beach", [[164, 138, 98], [184, 158, 114], [200, 178, 136]], [0.30, 0.07]),
    palette("in an autumn wood", [[120, 62, 30], [166, 92, 40], [196, 138, 52]], [0.12, 0.12]),
    palette("by a blue lake", [[52, 96, 142], [78, 130, 172], [124, 168, 196]], [0.40, 0.06]),
    palette("among grey rocks", [[84, 82, 84], [122, 120, 118], [158, 154, 148]], [0.22, 0.16]),
    palette("on red earth", [[124, 64, 52], [152, 86, 68], [178, 114, 90]], [0.28, 0.10]),
    palette("in purple heather", [[94, 76, 112], [126, 98, 142], [150, 136, 110]], [0.10, 0.10]),
];

const fn palette(place: &'static str, levels: [[u8; 3]; 3], grain: [f32; 2]) -> Palette {
    let mut colours = [[0.0; 3]; 3];
    let mut i = 0;
    while i < 9 {
        colours[i / 3][i % 3] = levels[i / 3][i % 3] as f32;
        i += 1;
    }
    Palette { place, colours, grain }
}

impl Palette {
    /// A patch of this ground, lit from one side.
    pub(crate) fn paint(&self, width: u32, height: u32, rng: &mut Stream) -> Layer {
        let noise = Noise::new(rng);
        let offset: [f32; 2] = [rng.random_range(0.0..16.0), rng.random_range(0.0..16.0)];
        let light: [f32; 2] = [rng.random_range(-0.1..0.1), rng.random_range(-0.1..0.1)];
        Layer::opaque(width, height, |[x, y]| {
            let (u, v) = (x / width as f32, y / height as f32);
            // Rough noise seldom leaves the middle half of its range: spread it over all three colours.
            let level = noise.rough([u / self.grain[0] + offset[0], v / self.grain[1] + offset[1]]);
            let level = ((level - 0.2) / 0.6).clamp(0.0, 1.0) * 2.0;
            let (from, to, t) = if level < 1.0 { (0, 1, level) } else { (1, 2, level - 1.0) };
            let lit = 1.0 + light[0] * (2.0 * u - 1.0) + light[1] * (2.0 * v - 1.0);
            std::array::from_fn(|c| lit * mix(self.colours[from][c], self.colours[to][c], t))
        })
    }
}
