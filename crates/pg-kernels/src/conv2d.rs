//! 2-d convolution (cross-correlation, as in torch) and its two gradients.
//!
//! Two algorithms, chosen by shape and type: Winograd's for large enough 3x3 convolutions at stride 1 in f32, im2col and a
//! matrix product for everything else.

mod im2col;
mod winograd;

use crate::collect::{written, zeros};
use crate::geometry::{Axis, ShapeError, checked_len, non_empty};
use crate::matmul::Float;
use std::mem::MaybeUninit;
use winograd::Winograd;

/// Options of a convolution, each as (height, width).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Distance between windows.
    pub stride: (usize, usize),
    /// Zeros added on either side.
    pub padding: (usize, usize),
    /// Distance between the elements of a window.
    pub dilation: (usize, usize),
    /// Channel groups that do not see each other.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self { stride: (1, 1), padding: (0, 0), dilation: (1, 1), groups: 1 }
    }
}

/// The checked shapes of one convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conv2dGeometry {
    samples: usize,
    channels: usize,
    out_channels: usize,
    groups: usize,
    y: Axis,
    x: Axis,
}

impl Conv2dGeometry {
    /// Checks an input (n, channels, height, width) against a kernel (out, channels / groups, height, width).
    ///
    /// # Errors
    /// [`ShapeError`] if an axis is empty, an option is zero, channels and groups do not agree, the window does not
    /// fit, or a size overflows.
    pub fn new(input: [usize; 4], kernel: [usize; 4], options: Conv2dOptions) -> Result<Self, ShapeError> {
        let operation = "conv2d";
        non_empty(operation, &input)?;
        non_empty(operation, &kernel)?;
        let [samples, channels, height, width] = input;
        let [out_channels, group_channels, kernel_height, kernel_width] = kernel;
        let groups = options.groups;
        if groups == 0 {
            return Err(ShapeError::Zero { operation, option: "groups" });
        }
        if group_channels.checked_mul(groups) != Some(channels) || out_channels % groups != 0 {
            return Err(ShapeError::Groups { channels, kernel, groups });
        }
        let axis = |input, window, stride, padding, dilation| {
            Axis::new(operation, input, window, stride, padding, dilation)
        };
        let y = axis(height, kernel_height, options.stride.0, options.padding.0, options.dilation.0)?;
        let x = axis(width, kernel_width, options.stride.1, options.padding.1, options.dilation.1)?;
        checked_len(operation, &input)?;
        checked_len(operation, &kernel)?;
        checked_len(operation, &[samples, out_channels, y.output, x.output])?;
        checked_len(operation, &[group_channels, kernel_height, kernel_width, y.output, x.output])?;
        Ok(Self { samples, channels, out_channels, groups, y, x })
    }

    /// Shape of the input, (n, channels, height, width).
    pub fn input_shape(&self) -> [usize; 4] {
        [self.samples, self.channels, self.y.input, self.x.input]
    }

    /// Shape of the kernel, (out, channels / groups, height, width).
    pub fn kernel_shape(&self) -> [usize; 4] {
        [self.out_channels, self.channels / self.groups, self.y.window, self.x.window]
    }

    /// Shape of the output, (n, out, height, width).
    pub fn output_shape(&self) -> [usize; 4] {
        [self.samples, self.out_channels, self.y.output, self.x.output]
    }

    /// The vertical and the horizontal axis.
    pub fn axes(&self) -> (Axis, Axis) {
        (self.y, self.x)
    }

    /// Channel groups that do not see each other.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Number of elements of the input.
    pub fn input_len(&self) -> usize {
        self.input_shape().iter().product()
    }

    /// Number of elements of the kernel.
    pub fn kernel_len(&self) -> usize {
        self.kernel_shape().iter().product()
    }

    /// Number of elements of the output.
    pub fn output_len(&self) -> usize {
        self.output_shape().iter().product()
    }

    /// Slices of other lengths are a mistake of the caller; without this they would give part of a result.
    fn check(&self, input: usize, kernel: usize, output: usize) {
        assert_eq!(
            (input, kernel, output),
            (self.input_len(), self.kernel_len(), self.output_len()),
            "{self:?}"
        );
    }

    fn group_in(&self) -> usize {
        self.channels / self.groups
    }

    fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// R: rows of the columns matrix.
    fn rows(&self) -> usize {
        self.group_in() * self.y.window * self.x.window
    }

    /// P: its columns, one for each output position.
    fn positions(&self) -> usize {
        self.y.output * self.x.output
    }

    fn in_plane(&self) -> usize {
        self.y.input * self.x.input
    }

    /// A 1x1 kernel at stride 1 without padding: the columns are the input itself.
    fn is_pointwise(&self) -> bool {
        [self.y, self.x].iter().all(|a| a.window == 1 && a.stride == 1 && a.padding == 0)
    }

    /// One sample with such a kernel, in one group: nothing but a product of two matrices.
    fn is_one_product(&self) -> bool {
        self.samples == 1 && self.groups == 1 && self.is_pointwise()
    }

    /// So few positions that the samples are better multiplied together. Tests see both ways.
    fn has_small_planes(&self) -> bool {
        let small = if cfg!(test) { 16 } else { 128 };
        self.samples > 1 && self.groups == 1 && self.positions() < small
    }

    /// Elements of the columns matrix, where there is need of one.
    fn columns_len(&self) -> usize {
        if self.is_pointwise() { 0 } else { self.rows() * self.positions() }
    }
}

/// Output (n, out, oh, ow) = conv2d(`input`, `weight`).
///
/// # Panics
/// As the gradients, if a slice has not the elements of the geometry.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
pub fn forward<T: Float>(g: &Conv2dGeometry, input: &[T], weight: &[T]) -> Vec<T> {
    g.check(input.len(), weight.len(), g.output_len());
    // SAFETY: either algorithm writes every plane of every sample.
    unsafe { written(g.output_len(), |output| write_output(g, input, weight, output)) }
}

fn write_output<T: Float>(g: &Conv2dGeometry, input: &[T], weight: &[T], output: &mut [MaybeUninit<T>]) {
    if let (Some(winograd), Some(input), Some(weight)) =
        (Winograd::forward(g), T::f32s(input), T::f32s(weight))
        && let Some(output) = T::f32_places(output)
    {
        let kernels = weight.as_chunks::<9>().0;
        return winograd.run(input, |filter, channel| kernels[filter * g.channels + channel], output);
    }
    im2col::forward(g, input, weight, output);
}

/// The gradient by the input (n, channels, h, w), of `gradient` (n, out, oh, ow).
#[allow(unsafe_code, reason = "a vector that is not written twice")]
pub fn input_gradient<T: Float>(g: &Conv2dGeometry, gradient: &[T], weight: &[T]) -> Vec<T> {
    g.check(g.input_len(), weight.len(), gradient.len());
    // SAFETY: either algorithm writes every plane of every sample.
    unsafe { written(g.input_len(), |result| write_input_gradient(g, gradient, weight, result)) }
}

fn write_input_gradient<T: Float>(
    g: &Conv2dGeometry,
    gradient: &[T],
    weight: &[T],
    input_gradient: &mut [MaybeUninit<T>],
) {
    if let (Some(winograd), Some(gradient), Some(weight)) =
        (Winograd::input_gradient(g), T::f32s(gradient), T::f32s(weight))
        && let Some(input_gradient) = T::f32_places(input_gradient)
    {
        let kernels = weight.as_chunks::<9>().0;
        let turned = |filter: usize, channel: usize| {
            let mut taps = kernels[channel * g.channels + filter];
            taps.reverse();
            taps
        };
        return winograd.run(gradient, turned, input_gradient);
    }
    im2col::input_gradient(g, gradient, weight, input_gradient);
}

/// The gradient by the weight (out, channels / groups, kh, kw), of `gradient` (n, out, oh, ow).
pub fn weight_gradient<T: Float>(g: &Conv2dGeometry, input: &[T], gradient: &[T]) -> Vec<T> {
    g.check(input.len(), g.kernel_len(), gradient.len());
    let mut weight_gradient = zeros(g.kernel_len());
    if let (Some(winograd), Some(input), Some(gradient)) =
        (Winograd::forward(g), T::f32s(input), T::f32s(gradient))
        && let Some(weight_gradient) = T::f32s_mut(&mut weight_gradient)
    {
        winograd.weight_gradient(input, gradient, weight_gradient);
    } else {
        im2col::weight_gradient(g, input, gradient, &mut weight_gradient);
    }
    weight_gradient
}

/// The output for `x` and `w`, and both gradients for that of the output, `dy`.
#[cfg(test)]
fn all_passes<T: Float>(g: &Conv2dGeometry, x: &[T], w: &[T], dy: &[T]) -> [Vec<T>; 3] {
    [forward(g, x, w), input_gradient(g, dy, w), weight_gradient(g, x, dy)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers, on_one_and_four_threads};
    use proptest::prelude::*;

    /// The definition, term by term: calls `f(output index, input index, weight index)` for each product.
    fn for_each_product(g: &Conv2dGeometry, mut f: impl FnMut(usize, usize, usize)) {
        let (gi, go) = (g.group_in(), g.group_out());
        for n in 0..g.samples {
            for o in 0..g.out_channels {
                for (oy, ox) in (0..g.y.output).flat_map(|y| (0..g.x.output).map(move |x| (y, x))) {
                    for c in 0..gi {
                        for (ky, kx) in (0..g.y.window).flat_map(|y| (0..g.x.window).map(move |x| (y, x))) {
                            let (Some(iy), Some(ix)) = (g.y.source(oy, ky), g.x.source(ox, kx)) else {
                                continue;
                            };
                            let channel = o / go * gi + c;
                            let output = ((n * g.out_channels + o) * g.y.output + oy) * g.x.output + ox;
                            let input = ((n * g.channels + channel) * g.y.input + iy) * g.x.input + ix;
                            let weight = ((o * gi + c) * g.y.window + ky) * g.x.window + kx;
                            f(output, input, weight);
                        }
                    }
                }
            }
        }
    }

    prop_compose! {
        fn geometries()(
            n in 1usize..10, gi in 1usize..4, go in 1usize..4, groups in 1usize..4,
            (h, w) in (1usize..9, 1usize..9), (kh, kw) in (1usize..4, 1usize..4),
            stride in (1usize..4, 1usize..4), padding in (0usize..4, 0usize..4), dilation in (1usize..3, 1usize..3),
        ) -> Option<Conv2dGeometry> {
            let options = Conv2dOptions { stride, padding, dilation, groups };
            Conv2dGeometry::new([n, gi * groups, h, w], [go * groups, gi, kh, kw], options).ok()
        }
    }

    proptest! {
        #[test]
        fn all_three_passes_equal_their_definition(geometry in geometries()) {
            let Some(g) = geometry else { return Ok(()) };
            let (input, weight) = (numbers(g.input_len(), 1), numbers(g.kernel_len(), 2));
            let gradient = numbers(g.output_len(), 3);
            let mut expected = [vec![0.0; g.output_len()], vec![0.0; g.input_len()], vec![0.0; g.kernel_len()]];
            for_each_product(&g, |o, i, w| {
                expected[0][o] += input[i] * weight[w];
                expected[1][i] += gradient[o] * weight[w];
                expected[2][w] += gradient[o] * input[i];
            });
            let actual = all_passes(&g, &input, &weight, &gradient);
            for (actual, expected) in actual.iter().zip(&expected) {
                assert_close(actual, expected, 1e-12);
            }
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let options = Conv2dOptions { padding: (1, 1), ..Default::default() };
        // Several tasks of filters; parts of the batch, whose sums are added; small planes, side by side and alone.
        for (input, kernel) in [
            ([13, 5, 9, 9], [7, 5, 3, 3]),
            ([13, 2, 9, 9], [2, 2, 3, 3]),
            ([3, 2, 9, 9], [40, 2, 3, 3]),
            ([13, 1, 3, 3], [4, 1, 3, 3]),
            ([13, 5, 3, 3], [7, 5, 3, 3]),
        ] {
            let g = Conv2dGeometry::new(input, kernel, options).unwrap();
            let x: Vec<f32> = numbers(g.input_len(), 4);
            let (dy, w) = (numbers(g.output_len(), 5), numbers(g.kernel_len(), 6));
            let [one, four] = on_one_and_four_threads(|| all_passes(&g, &x, &w, &dy));
            assert!(one == four, "{input:?} {kernel:?}");
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_named() {
        let new = |input, kernel, options| Conv2dGeometry::new(input, kernel, options).unwrap_err();
        let plain = Conv2dOptions::default();
        assert!(matches!(new([0, 1, 3, 3], [1, 1, 3, 3], plain), ShapeError::Empty { .. }));
        assert!(matches!(new([1, 1, 3, 3], [1, 1, 0, 3], plain), ShapeError::Empty { .. }));
        assert!(matches!(new([1, 1, 3, 3], [1, 1, 4, 3], plain), ShapeError::WindowTooLarge { .. }));
        assert!(matches!(new([1, 2, 3, 3], [1, 1, 3, 3], plain), ShapeError::Groups { .. }));
        let grouped = Conv2dOptions { groups: 2, ..plain };
        assert!(matches!(new([1, 2, 3, 3], [3, 1, 3, 3], grouped), ShapeError::Groups { .. }));
        let zero = Conv2dOptions { stride: (1, 0), ..plain };
        assert!(matches!(new([1, 1, 3, 3], [1, 1, 3, 3], zero), ShapeError::Zero { option: "stride", .. }));
        let huge = usize::MAX / 2;
        assert!(matches!(new([huge, 1, 3, 3], [1, 1, 3, 3], plain), ShapeError::Overflow { .. }));
        let far = Conv2dOptions { padding: (usize::MAX, 0), ..plain };
        assert!(matches!(new([1, 1, 3, 3], [1, 1, 3, 3], far), ShapeError::Overflow { .. }));
    }
}
