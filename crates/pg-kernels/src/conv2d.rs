//! 2-d convolution (cross-correlation, as in torch) and its two gradients, as im2col and a matrix product.
//!
//! For one sample and one group, with R = (in / groups) * kernel height * kernel width rows and
//! P = output height * output width columns:
//!
//! ```text
//!            input  --im2col-->  columns (R x P)
//!   forward            output (out x P)  =  weight (out x R)   columns (R x P)
//!   input gradient     columns (R x P)   =  weight^T (R x out) gradient (out x P), then added back (col2im)
//!   weight gradient    weight (out x R) +=  gradient (out x P) columns^T (P x R)
//! ```
//!
//! Samples run in parallel. The weight gradient sums over samples: it is cut into a fixed number of parts that does
//! not depend on the number of threads, so that rounding does not either.

use crate::geometry::{Axis, ShapeError, checked_len, non_empty};
use crate::matmul::{Float, Matrix, matmul};
use rayon::prelude::*;

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
#[derive(Debug, Clone, Copy)]
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

    fn scratch<T: Float>(&self) -> Vec<T> {
        if self.is_pointwise() { Vec::new() } else { vec![T::default(); self.rows() * self.positions()] }
    }
}

/// `output` (n, out, oh, ow) = conv2d(`input`, `weight`).
pub fn forward<T: Float>(g: &Conv2dGeometry, input: &[T], weight: &[T], output: &mut [T]) {
    g.check(input.len(), weight.len(), output.len());
    let (rows, positions) = (g.rows(), g.positions());
    output
        .par_chunks_mut(g.out_channels * positions)
        .zip(input.par_chunks(g.channels * g.in_plane()))
        .for_each_init(
            || g.scratch(),
            |scratch, (output, input)| {
                for_each_group(g, input, scratch, |group, columns| {
                    let weight = group_slice(weight, g.group_out() * rows, group);
                    let output = group_slice_mut(output, g.group_out() * positions, group);
                    let weight = Matrix::new(weight, g.group_out(), rows);
                    matmul(output, weight, Matrix::new(columns, rows, positions), false);
                });
            },
        );
}

/// `input_gradient` (n, channels, h, w) of `gradient` (n, out, oh, ow).
pub fn input_gradient<T: Float>(g: &Conv2dGeometry, gradient: &[T], weight: &[T], input_gradient: &mut [T]) {
    g.check(input_gradient.len(), weight.len(), gradient.len());
    let (rows, positions) = (g.rows(), g.positions());
    input_gradient
        .par_chunks_mut(g.channels * g.in_plane())
        .zip(gradient.par_chunks(g.out_channels * positions))
        .for_each_init(
            || g.scratch(),
            |scratch, (input_gradient, gradient)| {
                for group in 0..g.groups {
                    let weight = group_slice(weight, g.group_out() * rows, group);
                    let weight = Matrix::new(weight, g.group_out(), rows).transposed();
                    let gradient = group_slice(gradient, g.group_out() * positions, group);
                    let gradient = Matrix::new(gradient, g.group_out(), positions);
                    let target = group_slice_mut(input_gradient, g.group_in() * g.in_plane(), group);
                    if g.is_pointwise() {
                        matmul(target, weight, gradient, false);
                    } else {
                        matmul(scratch, weight, gradient, false);
                        target.fill(T::default());
                        add_columns(g, scratch, target);
                    }
                }
            },
        );
}

/// Parts that the sum over samples is cut into.
const WEIGHT_GRADIENT_PARTS: usize = 8;

/// `weight_gradient` (out, channels / groups, kh, kw) of `gradient` (n, out, oh, ow).
pub fn weight_gradient<T: Float>(g: &Conv2dGeometry, input: &[T], gradient: &[T], weight_gradient: &mut [T]) {
    g.check(input.len(), weight_gradient.len(), gradient.len());
    let (rows, positions) = (g.rows(), g.positions());
    let (in_len, out_len) = (g.channels * g.in_plane(), g.out_channels * positions);
    let part = g.samples.div_ceil(WEIGHT_GRADIENT_PARTS);
    let partial_sums: Vec<Vec<T>> = input
        .par_chunks(part * in_len)
        .zip(gradient.par_chunks(part * out_len))
        .map(|(inputs, gradients)| {
            let mut sum = vec![T::default(); g.kernel_len()];
            let mut scratch = g.scratch();
            for (input, gradient) in inputs.chunks(in_len).zip(gradients.chunks(out_len)) {
                for_each_group(g, input, &mut scratch, |group, columns| {
                    let gradient = group_slice(gradient, g.group_out() * positions, group);
                    let sum = group_slice_mut(&mut sum, g.group_out() * rows, group);
                    let columns = Matrix::new(columns, rows, positions).transposed();
                    matmul(sum, Matrix::new(gradient, g.group_out(), positions), columns, true);
                });
            }
            sum
        })
        .collect();
    weight_gradient.fill(T::default());
    for partial in &partial_sums {
        for (total, &value) in weight_gradient.iter_mut().zip(partial) {
            *total += value;
        }
    }
}

fn group_slice<T>(data: &[T], len: usize, group: usize) -> &[T] {
    &data[group * len..(group + 1) * len]
}

fn group_slice_mut<T>(data: &mut [T], len: usize, group: usize) -> &mut [T] {
    &mut data[group * len..(group + 1) * len]
}

/// Calls `f(group, columns)` for each group of one sample.
fn for_each_group<T: Float>(
    g: &Conv2dGeometry,
    input: &[T],
    scratch: &mut [T],
    mut f: impl FnMut(usize, &[T]),
) {
    for group in 0..g.groups {
        let input = group_slice(input, g.group_in() * g.in_plane(), group);
        if g.is_pointwise() {
            f(group, input);
        } else {
            gather_columns(g, input, scratch);
            f(group, scratch);
        }
    }
}

/// im2col: row (channel, ky, kx) of `columns` is the input shifted by that window element, 0 in the padding.
fn gather_columns<T: Float>(g: &Conv2dGeometry, input: &[T], columns: &mut [T]) {
    let mut lines = columns.chunks_exact_mut(g.x.output);
    for plane in input.chunks_exact(g.in_plane()) {
        for ky in 0..g.y.window {
            for kx in 0..g.x.window {
                for (oy, line) in (0..g.y.output).zip(lines.by_ref()) {
                    match g.y.source(oy, ky) {
                        None => line.fill(T::default()),
                        Some(iy) => gather_line(&g.x, &plane[iy * g.x.input..][..g.x.input], kx, line),
                    }
                }
            }
        }
    }
}

fn gather_line<T: Float>(x: &Axis, source: &[T], kx: usize, line: &mut [T]) {
    let valid = valid_outputs(x, kx);
    line[..valid.start].fill(T::default());
    line[valid.end..].fill(T::default());
    if valid.is_empty() {
        return;
    }
    let first = valid.start * x.stride + kx * x.dilation - x.padding;
    let line = &mut line[valid];
    if x.stride == 1 {
        line.copy_from_slice(&source[first..first + line.len()]);
    } else {
        for (value, &from) in line.iter_mut().zip(source[first..].iter().step_by(x.stride)) {
            *value = from;
        }
    }
}

/// col2im: the transpose of [`gather_columns`], added to `output`.
fn add_columns<T: Float>(g: &Conv2dGeometry, columns: &[T], output: &mut [T]) {
    let mut lines = columns.chunks_exact(g.x.output);
    for plane in output.chunks_exact_mut(g.in_plane()) {
        for ky in 0..g.y.window {
            for kx in 0..g.x.window {
                for (oy, line) in (0..g.y.output).zip(lines.by_ref()) {
                    if let Some(iy) = g.y.source(oy, ky) {
                        add_line(&g.x, line, kx, &mut plane[iy * g.x.input..][..g.x.input]);
                    }
                }
            }
        }
    }
}

fn add_line<T: Float>(x: &Axis, line: &[T], kx: usize, target: &mut [T]) {
    let valid = valid_outputs(x, kx);
    if valid.is_empty() {
        return;
    }
    let first = valid.start * x.stride + kx * x.dilation - x.padding;
    let line = &line[valid];
    if x.stride == 1 {
        for (to, &value) in target[first..].iter_mut().zip(line) {
            *to += value;
        }
    } else {
        for (to, &value) in target[first..].iter_mut().step_by(x.stride).zip(line) {
            *to += value;
        }
    }
}

/// The outputs whose window element `k` lies inside the input.
fn valid_outputs(x: &Axis, k: usize) -> std::ops::Range<usize> {
    let shift = k * x.dilation;
    let start = x.padding.saturating_sub(shift).div_ceil(x.stride).min(x.output);
    let end = (x.input + x.padding).saturating_sub(shift).div_ceil(x.stride).min(x.output);
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn numbers(n: usize, salt: u64) -> Vec<f64> {
        (0..n as u64).map(|i| ((i * 2_654_435_761 + salt * 40_503) % 1009) as f64 / 504.5 - 1.0).collect()
    }

    fn assert_close(left: &[f64], right: &[f64]) {
        for (l, r) in left.iter().zip(right) {
            assert!((l - r).abs() < 1e-12, "{l} != {r}");
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
            let mut actual = expected.clone().map(|v| vec![f64::NAN; v.len()]);
            forward(&g, &input, &weight, &mut actual[0]);
            input_gradient(&g, &gradient, &weight, &mut actual[1]);
            weight_gradient(&g, &input, &gradient, &mut actual[2]);
            for (actual, expected) in actual.iter().zip(&expected) {
                assert_close(actual, expected);
            }
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let options = Conv2dOptions { padding: (1, 1), ..Default::default() };
        let g = Conv2dGeometry::new([13, 5, 9, 9], [7, 5, 3, 3], options).unwrap();
        let cast = |v: Vec<f64>| v.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
        let (input, gradient) = (cast(numbers(g.input_len(), 4)), cast(numbers(g.output_len(), 5)));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut sum = vec![0f32; g.kernel_len()];
            pool.install(|| weight_gradient(&g, &input, &gradient, &mut sum));
            sum
        };
        assert_eq!(run(1), run(4));
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
