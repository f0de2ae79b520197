//! 3x3 convolutions at stride 1 by Winograd's minimal filtering, F(4x4, 3x3): a quarter of the multiplications.
//!
//! An output tile of 4x4 comes from an input tile d of 6x6 and a kernel g of 3x3, for each pair of channels:
//!
//! ```text
//!   forward            y = A' [ (G g G') * (B' d B) ] A        36 products instead of 144
//!   input gradient     the same of the output's gradient, with the kernel turned and its channels exchanged
//!   weight gradient    dg = G' [ (A dy A') * (B' d B) ] G
//! ```
//!
//! The products of one of the 36 points, summed over channels, are a matrix product. With blocks of `LANES` channels
//! (a vector) the data lie as
//!
//! ```text
//!   U (input)     [channel block][point][tile][lane]     one vector holds a tile's point in LANES channels
//!   V (kernel)    [filter panel][channel block][point][channel of block][lane of panel]
//!   M (product)   [point][tile][lane of panel]           one panel at a time: stays in the second-level cache
//!
//!   for a panel, a point and 6 tiles:       M 6 x panel  +=  U 6 x channels   V channels x panel
//!                                           (registers)      (broadcast)      (streams)
//! ```
//!
//! Which comes first, U or V, is a matter of shape (`forward`).
//!
//! A, B and G are Cook and Toom's for the points 0, p, -p, q, -q and infinity (Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", 2016, have p = 1 and q = 2). With p = 3/4 and q = 3/2, exact in binary, the powers
//! stay near 1: over 64 channels of numbers in [-1, 1] the root mean square error is 2 times that of direct f32 sums,
//! where 1 and 2 give 4 times.

mod forward;
mod tiles;
mod transform;
mod weight_gradient;

use super::Conv2dGeometry;
use crate::scratch::with_scratch;
use forward::Forward;
use pulp::{Arch, Simd, bytemuck};
use std::mem::MaybeUninit;
use tiles::Planes;
use weight_gradient::WeightGradient;

/// Points of a tile.
const POINTS: usize = 36;

/// A 3x3 convolution at stride 1, of whatever is its input in this pass.
#[derive(Clone, Copy)]
pub(super) struct Winograd {
    samples: usize,
    channels: usize,
    filters: usize,
    height: usize,
    width: usize,
    pad_y: usize,
    pad_x: usize,
    out_height: usize,
    out_width: usize,
}

impl Winograd {
    /// The forward pass; also describes the weight gradient. None where this algorithm does not apply or does not pay.
    pub(super) fn forward(g: &Conv2dGeometry) -> Option<Self> {
        Self::applying(g).filter(Self::pays)
    }

    fn applying(g: &Conv2dGeometry) -> Option<Self> {
        let applies =
            [g.y, g.x].iter().all(|a| a.window == 3 && a.stride == 1 && a.dilation == 1 && a.padding <= 2);
        let this = Self {
            samples: g.samples,
            channels: g.channels,
            filters: g.out_channels,
            height: g.y.input,
            width: g.x.input,
            pad_y: g.y.padding,
            pad_x: g.x.padding,
            out_height: g.y.output,
            out_width: g.x.output,
        };
        (applies && g.groups == 1).then_some(this)
    }

    /// Not for a few tiles, unless many filters share the work, nor for tiles that are mostly padding, nor for so few
    /// filters that most of a panel is empty.
    fn pays(&self) -> bool {
        let tiles = self.tiles();
        let many = tiles >= 96 || (tiles >= 24 && self.filters >= 256);
        let half_full = 8 * tiles <= self.samples * self.plane_len();
        self.channels >= 16 && self.filters >= 48 && many && half_full
    }

    /// The input gradient as a forward pass over the output's gradient.
    pub(super) fn input_gradient(g: &Conv2dGeometry) -> Option<Self> {
        let turned = |f: Self| Self {
            channels: f.filters,
            filters: f.channels,
            height: f.out_height,
            width: f.out_width,
            pad_y: 2 - f.pad_y,
            pad_x: 2 - f.pad_x,
            out_height: f.height,
            out_width: f.width,
            ..f
        };
        Self::applying(g).map(turned).filter(Self::pays)
    }

    fn tile_rows(&self) -> usize {
        self.out_height.div_ceil(4)
    }

    fn tile_columns(&self) -> usize {
        self.out_width.div_ceil(4)
    }

    /// Tiles of all samples.
    fn tiles(&self) -> usize {
        self.samples * self.tile_rows() * self.tile_columns()
    }

    /// Elements of a sample of the input.
    fn input_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Elements of a filter's part of a sample's output.
    fn plane_len(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Elements of a sample of the output.
    fn output_len(&self) -> usize {
        self.filters * self.plane_len()
    }

    /// Panels of filters.
    fn panels<S: Simd, const PANEL: usize>(&self) -> usize {
        self.filters.div_ceil(PANEL * S::F32_LANES)
    }

    /// Vectors of a panel of V.
    fn panel_len<S: Simd, const PANEL: usize>(&self) -> usize {
        self.channels.div_ceil(S::F32_LANES) * POINTS * S::F32_LANES * PANEL
    }

    /// `kernel(filter, channel)` gives the nine weights.
    pub(super) fn run(
        &self,
        input: &[f32],
        kernel: impl Fn(usize, usize) -> [f32; 9] + Sync,
        output: &mut [MaybeUninit<f32>],
    ) {
        Arch::new().dispatch(Forward { conv: self, input, kernel, output });
    }

    /// `weight_gradient` (filters, channels, 3, 3) of the output's `gradient`.
    pub(super) fn weight_gradient(&self, input: &[f32], gradient: &[f32], weight_gradient: &mut [f32]) {
        Arch::new().dispatch(WeightGradient { conv: self, input, gradient, weight_gradient });
    }

    fn input_planes(&self) -> Planes {
        Planes {
            channels: self.channels,
            height: self.height,
            width: self.width,
            pad_y: self.pad_y,
            pad_x: self.pad_x,
        }
    }

    fn output_planes(&self) -> Planes {
        Planes { channels: self.filters, height: self.out_height, width: self.out_width, pad_y: 0, pad_x: 0 }
    }
}

fn has_few_registers<S: Simd>() -> bool {
    S::REGISTER_COUNT < 32
}

/// Calls `f` with `len` vectors that hold anything.
fn with_vectors<S: Simd, R>(_: S, len: usize, f: impl FnOnce(&mut [S::f32s]) -> R) -> R {
    with_scratch(len * S::F32_LANES, |scratch: &mut [f32]| f(bytemuck::cast_slice_mut(scratch)))
}

#[cfg(test)]
mod tests {
    use super::super::im2col;
    use super::{Forward, WeightGradient, Winograd};
    use crate::conv2d::{Conv2dGeometry, Conv2dOptions, all_passes, forward, weight_gradient};
    use crate::testing::{numbers, on_one_and_four_threads};
    use pulp::{Simd, WithSimd};
    use std::mem::MaybeUninit;

    fn geometry([n, channels, filters, height, width, pad_y, pad_x]: [usize; 7]) -> Conv2dGeometry {
        let options = Conv2dOptions { padding: (pad_y, pad_x), ..Conv2dOptions::default() };
        Conv2dGeometry::new([n, channels, height, width], [filters, channels, 3, 3], options).unwrap()
    }

    /// Largest difference from f64, relative to the root mean square of the result, for each pass.
    fn errors(g: &Conv2dGeometry) -> [f64; 3] {
        let (x, w, dy) = (numbers(g.input_len(), 1), numbers(g.kernel_len(), 2), numbers(g.output_len(), 3));
        let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let (xw, ww, dyw) = (wide(&x), wide(&w), wide(&dy));
        let (narrow, exact) = (all_passes(g, &x, &w, &dy), all_passes(g, &xw, &ww, &dyw));
        std::array::from_fn(|pass| {
            let scale = (exact[pass].iter().map(|v| v * v).sum::<f64>() / exact[pass].len() as f64).sqrt();
            let off = narrow[pass].iter().zip(&exact[pass]).map(|(&a, &b)| (f64::from(a) - b).abs() / scale);
            off.fold(0.0, |worst, off| if off > worst || off.is_nan() { off } else { worst })
        })
    }

    #[test]
    fn all_three_passes_are_right_up_to_rounding() {
        let mut tiled_input_gradients = 0;
        for shape in [
            [3, 20, 70, 25, 31, 1, 1],
            [1, 64, 49, 41, 40, 0, 2],
            [7, 53, 130, 14, 15, 2, 0],
            [8, 16, 64, 13, 13, 1, 1],
            // Several rounds of the weight gradient, the last one shorter.
            [6, 16, 50, 30, 29, 1, 1],
            [9, 33, 64, 28, 28, 1, 1],
            [3, 50, 70, 25, 31, 1, 1],
            // Fewer tasks of samples than panels of filters: in one block of tiles, in two, and in two that cut a sample.
            [8, 40, 260, 7, 7, 1, 1],
            [8, 50, 130, 14, 14, 1, 1],
            [5, 50, 170, 20, 20, 1, 1],
        ] {
            let g = geometry(shape);
            assert!(Winograd::forward(&g).is_some(), "{shape:?}");
            tiled_input_gradients += usize::from(Winograd::input_gradient(&g).is_some());
            for error in errors(&g) {
                assert!(error < 2e-5, "{shape:?}: {error}");
            }
        }
        assert_eq!(tiled_input_gradients, 5, "of few channels im2col makes them");
    }

    #[allow(unsafe_code, reason = "the places were numbers from the beginning")]
    fn written(place: &MaybeUninit<f32>) -> f32 {
        // SAFETY: those of these tests are all filled with NaN.
        unsafe { place.assume_init() }
    }

    /// Output and weight gradient on vectors of one kind.
    fn passes_on<S: Simd>(simd: S, g: &Conv2dGeometry) -> (Vec<f32>, Vec<f32>) {
        let (x, w, dy) = (numbers(g.input_len(), 1), numbers(g.kernel_len(), 2), numbers(g.output_len(), 3));
        let mut dw = w.clone();
        let conv = &Winograd::forward(g).unwrap();
        let kernels = w.as_chunks::<9>().0;
        let kernel = |filter: usize, channel: usize| kernels[filter * g.channels + channel];
        let mut y = vec![MaybeUninit::new(f32::NAN); g.output_len()];
        Forward { conv, input: &x, kernel, output: &mut y }.with_simd(simd);
        let y = y.iter().map(written).collect();
        WeightGradient { conv, input: &x, gradient: &dy, weight_gradient: &mut dw }.with_simd(simd);
        (y, dw)
    }

    /// What other processors run.
    #[test]
    fn narrower_vectors_give_the_same_up_to_rounding() {
        for shape in [[9, 33, 64, 28, 28, 1, 1], [6, 33, 130, 14, 14, 1, 1]] {
            let g = geometry(shape);
            let (y, dw) = passes_on(pulp::Scalar, &g);
            let near =
                |a: &[f32], b: &[f32], scale: f32| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4 * scale);
            let (widest, widest_dw) = {
                let (x, w, dy) =
                    (numbers(g.input_len(), 1), numbers(g.kernel_len(), 2), numbers(g.output_len(), 3));
                (forward(&g, &x, &w), weight_gradient(&g, &x, &dy))
            };
            assert!(near(&y, &widest, 20.0) && near(&dw, &widest_dw, 100.0));
            #[cfg(target_arch = "x86_64")]
            if let Some(simd) = pulp::x86::V3::try_new() {
                let (y, dw) = passes_on(simd, &g);
                assert!(near(&y, &widest, 20.0) && near(&dw, &widest_dw, 100.0));
            }
        }
    }

    /// The claim of this file's head.
    #[test]
    fn the_error_is_about_twice_that_of_direct_sums() {
        let g = geometry([4, 64, 64, 28, 28, 1, 1]);
        let (x, w) = (numbers(g.input_len(), 1), numbers(g.kernel_len(), 2));
        let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let (exact, tiled) = (forward(&g, &wide(&x), &wide(&w)), forward(&g, &x, &w));
        let mut direct = vec![MaybeUninit::new(f32::NAN); g.output_len()];
        im2col::forward(&g, &x, &w, &mut direct);
        let direct: Vec<f32> = direct.iter().map(written).collect();
        let error =
            |of: &[f32]| of.iter().zip(&exact).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum::<f64>().sqrt();
        let ratio = error(&tiled) / error(&direct);
        assert!((1.2..4.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        for shape in [[9, 50, 64, 28, 28, 1, 1], [9, 50, 150, 14, 14, 1, 1]] {
            let g = geometry(shape);
            let (x, w, dy) =
                (numbers::<f32>(g.input_len(), 1), numbers(g.kernel_len(), 2), numbers(g.output_len(), 3));
            let [one, four] = on_one_and_four_threads(|| all_passes(&g, &x, &w, &dy));
            assert!(one == four, "{shape:?}");
        }
    }
}
