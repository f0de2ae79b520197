//! A transparent picture on which figures are painted, and the film it ends up on.

use crate::noise::Noise;
use crate::shape::{Placement, Point, Shape};
use image::RgbImage;
use pg_provenance::BinaryMask;
use pg_random::Stream;
use rand_distr::{Distribution, StandardNormal};

/// A colour, each channel in 0..=255.
pub(crate) type Colour = [f32; 3];

/// Points a pixel, per axis, at which a figure is probed.
const PROBES: i32 = 3;

/// A picture with transparency: colours are multiplied by the opacity.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    width: u32,
    height: u32,
    pixels: Vec<(Colour, f32)>,
}

impl Layer {
    /// A layer that shows nothing.
    pub(crate) fn clear(width: u32, height: u32) -> Self {
        Layer { width, height, pixels: vec![([0.0; 3], 0.0); (width * height) as usize] }
    }

    /// An opaque layer; `colour` is asked at the centre of each pixel.
    pub(crate) fn opaque(width: u32, height: u32, colour: impl Fn(Point) -> Colour) -> Self {
        let at = |i: u32| [(i % width) as f32 + 0.5, (i / width) as f32 + 0.5];
        Layer { width, height, pixels: (0..width * height).map(|i| (colour(at(i)), 1.0)).collect() }
    }

    /// Paints a figure; `colour` is asked in the figure's coordinates.
    pub(crate) fn paint(&mut self, shape: &Shape, place: Placement, colour: impl Fn(Point) -> Colour) {
        let (centre, radius) = shape.bounds();
        let [x, y] = place.to_image(centre);
        let reach = radius * place.scale + 1.0;
        let range = |at: f32, side: u32| {
            (at - reach).clamp(0.0, side as f32) as u32..(at + reach).clamp(0.0, side as f32).ceil() as u32
        };
        for row in range(y, self.height) {
            for column in range(x, self.width) {
                let cover = coverage(shape, place, column, row);
                if cover > 0.0 {
                    let colour = colour(place.to_local([column as f32 + 0.5, row as f32 + 0.5]));
                    let pixel = &mut self.pixels[(row * self.width + column) as usize];
                    *pixel = over((colour.map(|c| c * cover), cover), *pixel);
                }
            }
        }
    }

    /// Lays another layer of the same size on top.
    pub(crate) fn cover_with(&mut self, top: &Layer) {
        for (pixel, &above) in self.pixels.iter_mut().zip(&top.pixels) {
            *pixel = over(above, *pixel);
        }
    }

    /// Lays an image of the same size on top, with an opacity in [0, 1] for each pixel.
    pub(crate) fn cover_with_image(&mut self, image: &RgbImage, opacity: &[f32]) {
        for ((pixel, above), &opacity) in self.pixels.iter_mut().zip(image.pixels()).zip(opacity) {
            *pixel = over((above.0.map(|c| f32::from(c) * opacity), opacity), *pixel);
        }
    }

    /// Where the layer is at least half opaque.
    pub(crate) fn mask(&self) -> BinaryMask {
        let (width, height) = (self.width as usize, self.height as usize);
        BinaryMask::from_fn(width, height, |x, y| self.pixels[y * width + x].1 >= 0.5)
    }

    /// The image, after a smooth colour drift of at most `drift` levels and pixel noise of standard deviation
    /// `grain` levels: what a lens and a sensor add to a photograph, or an auto-encoder to an edit.
    pub(crate) fn develop(&self, drift: f32, grain: f32, rng: &mut Stream) -> RgbImage {
        let fields = [(); 3].map(|()| Noise::new(rng));
        let side = self.width.max(self.height) as f32;
        RgbImage::from_fn(self.width, self.height, |x, y| {
            let (colour, _) = self.pixels[(y * self.width + x) as usize];
            let at = [x as f32 / side * 2.0, y as f32 / side * 2.0];
            image::Rgb(std::array::from_fn(|channel| {
                let grain: f32 = grain * <StandardNormal as Distribution<f32>>::sample(&StandardNormal, rng);
                let drift = drift * (2.0 * fields[channel].smooth(at) - 1.0);
                (colour[channel] + drift + grain).round().clamp(0.0, 255.0) as u8
            }))
        })
    }
}

/// Share of a pixel that a figure covers.
fn coverage(shape: &Shape, place: Placement, column: u32, row: u32) -> f32 {
    let at = |pixel: u32, probe: i32| pixel as f32 + (probe as f32 + 0.5) / PROBES as f32;
    let probes = (0..PROBES * PROBES).map(|i| [at(column, i % PROBES), at(row, i / PROBES)]);
    probes.filter(|&p| shape.contains(place.to_local(p))).count() as f32 / (PROBES * PROBES) as f32
}

/// Porter and Duff's "over" on premultiplied colours.
fn over(above: (Colour, f32), below: (Colour, f32)) -> (Colour, f32) {
    let through = 1.0 - above.1;
    (std::array::from_fn(|c| above.0[c] + below.0[c] * through), above.1 + below.1 * through)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;

    #[test]
    fn a_rectangle_covers_its_pixels_and_shares_its_border() {
        let mut layer = Layer::clear(6, 4);
        let rectangle = Shape::rectangle([1.0, 1.0], [3.0 + 1.0 / 3.0, 3.0]);
        layer.paint(&rectangle, Placement::upright([0.0; 2], 1.0), |_| [90.0, 0.0, 0.0]);
        assert_eq!(layer.mask().area(), 4);
        assert_eq!(layer.pixels[6 + 1], ([90.0, 0.0, 0.0], 1.0));
        let (colour, opacity) = layer.pixels[6 + 3];
        assert!((colour[0] - 30.0).abs() < 1e-3 && (opacity - 1.0 / 3.0).abs() < 1e-5);

        let mut ground = Layer::opaque(6, 4, |_| [30.0, 60.0, 0.0]);
        ground.cover_with(&layer);
        let image = ground.develop(0.0, 0.0, &mut Seed(0).stream("test", &[]));
        assert_eq!(image.get_pixel(3, 1).0, [50, 40, 0]); // a third of 90 over two thirds of 30
        assert_eq!(image.get_pixel(0, 0).0, [30, 60, 0]);
    }

    #[test]
    fn developing_adds_the_grain_it_is_asked_for() {
        let layer = Layer::opaque(100, 100, |_| [128.0; 3]);
        let image = layer.develop(0.0, 5.0, &mut Seed(1).stream("test", &[]));
        let variance = image.iter().map(|&v| (f64::from(v) - 128.0).powi(2)).sum::<f64>() / 30_000.0;
        assert!((variance.sqrt() - 5.0).abs() < 0.1, "{}", variance.sqrt());
    }
}
