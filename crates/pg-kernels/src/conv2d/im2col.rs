//! Convolution as im2col and a matrix product.
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
//! Samples run in parallel; of a single one, whose columns are its input, the rows of the product. The weight gradient, which sums over them, runs in parts of the samples, or over filters
//! where the kernel is too large for several sums.

use super::Conv2dGeometry;
use crate::geometry::Axis;
use crate::matmul::{Float, Matrix, matmul};
use crate::scratch::with_scratch;
use rayon::prelude::*;
use std::ops::Range;

/// `output` (n, out, oh, ow) = conv2d(`input`, `weight`).
pub(super) fn forward<T: Float>(g: &Conv2dGeometry, input: &[T], weight: &[T], output: &mut [T]) {
    let (rows, positions) = (g.rows(), g.positions());
    if g.is_one_product() {
        let filters = g.out_channels.div_ceil(PARTS);
        return output.par_chunks_mut(filters * positions).zip(weight.par_chunks(filters * rows)).for_each(
            |(output, weight)| {
                let weight = Matrix::new(weight, weight.len() / rows, rows);
                matmul(output, weight, Matrix::new(input, rows, positions), false);
            },
        );
    }
    output
        .par_chunks_mut(g.out_channels * positions)
        .zip(input.par_chunks(g.channels * g.in_plane()))
        .for_each(|(output, input)| {
            with_scratch(g.columns_len(), |scratch| {
                for_each_group(g, input, scratch, |group, columns| {
                    let weight = group_slice(weight, g.group_out() * rows, group);
                    let output = group_slice_mut(output, g.group_out() * positions, group);
                    let weight = Matrix::new(weight, g.group_out(), rows);
                    matmul(output, weight, Matrix::new(columns, rows, positions), false);
                });
            });
        });
}

/// `input_gradient` (n, channels, h, w) of `gradient` (n, out, oh, ow).
pub(super) fn input_gradient<T: Float>(
    g: &Conv2dGeometry,
    gradient: &[T],
    weight: &[T],
    input_gradient: &mut [T],
) {
    let (rows, positions) = (g.rows(), g.positions());
    if g.is_one_product() {
        let channels = g.channels.div_ceil(PARTS);
        return input_gradient.par_chunks_mut(channels * positions).enumerate().for_each(|(part, target)| {
            let weight = Matrix::new(weight, g.out_channels, rows).transposed();
            let weight = weight.some_rows(part * channels, target.len() / positions);
            matmul(target, weight, Matrix::new(gradient, g.out_channels, positions), false);
        });
    }
    input_gradient
        .par_chunks_mut(g.channels * g.in_plane())
        .zip(gradient.par_chunks(g.out_channels * positions))
        .for_each(|(input_gradient, gradient)| {
            with_scratch(g.columns_len(), |scratch| {
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
            });
        });
}

/// Elements that the weight gradient stacks at a time; so few in tests that they see several rounds.
const STACKED: usize = if cfg!(test) { 400 } else { 1 << 22 };
/// Elements of a kernel that is summed in parts at once: of larger ones, one sum is kept.
const SMALL_KERNEL: usize = if cfg!(test) { 40 } else { 1 << 18 };
/// Parts that the sum over samples is cut into, or the product of a single one.
const PARTS: usize = 8;

/// `weight_gradient` (out, channels / groups, kh, kw) of `gradient` (n, out, oh, ow).
pub(super) fn weight_gradient<T: Float>(
    g: &Conv2dGeometry,
    input: &[T],
    gradient: &[T],
    weight_gradient: &mut [T],
) {
    if g.is_one_product() {
        return sum_samples(g, input, gradient, g.out_channels.div_ceil(PARTS), weight_gradient);
    }
    if g.kernel_len() > SMALL_KERNEL {
        let filters_a_task = g.group_out().div_ceil(4).clamp(16, 128);
        return sum_samples(g, input, gradient, filters_a_task, weight_gradient);
    }
    let samples = g.samples.div_ceil(PARTS);
    let (in_len, out_len) = (g.channels * g.in_plane(), g.out_channels * g.positions());
    let sums: Vec<Vec<T>> = input
        .par_chunks(samples * in_len)
        .zip(gradient.par_chunks(samples * out_len))
        .map(|(input, gradient)| {
            let mut sum = vec![T::default(); g.kernel_len()];
            sum_samples(g, input, gradient, g.group_out(), &mut sum);
            sum
        })
        .collect();
    weight_gradient.fill(T::default());
    for sum in &sums {
        for (total, &value) in weight_gradient.iter_mut().zip(sum) {
            *total += value;
        }
    }
}

/// The weight gradient of some samples. As many as fit stand side by side: K = samples * P columns.
fn sum_samples<T: Float>(
    g: &Conv2dGeometry,
    input: &[T],
    gradient: &[T],
    filters_a_task: usize,
    weight_gradient: &mut [T],
) {
    let (rows, positions) = (g.rows(), g.positions());
    let (in_len, out_len) = (g.channels * g.in_plane(), g.out_channels * positions);
    // No more than there are: a product of lengths must not overflow.
    let samples = (STACKED / ((rows + g.group_out()) * positions)).clamp(1, input.len() / in_len);
    for (group, sum) in weight_gradient.chunks_exact_mut(g.group_out() * rows).enumerate() {
        let rounds = input.chunks(samples * in_len).zip(gradient.chunks(samples * out_len));
        for (round, (input, gradient)) in rounds.enumerate() {
            let k = input.len() / in_len * positions;
            let mut add_product = |gradient: &[T], columns: &[T]| {
                let columns = Matrix::new(columns, rows, k).transposed();
                let parts = sum.par_chunks_mut(filters_a_task * rows);
                parts.zip(gradient.par_chunks(filters_a_task * k)).for_each(|(sum, gradient)| {
                    matmul(sum, Matrix::new(gradient, gradient.len() / k, k), columns, round > 0);
                });
            };
            if input.len() == in_len && g.is_pointwise() {
                let input = group_slice(input, g.group_in() * g.in_plane(), group);
                add_product(group_slice(gradient, g.group_out() * positions, group), input);
            } else {
                with_scratch((g.group_out() + rows) * k, |scratch| {
                    let (gradients, columns) = scratch.split_at_mut(g.group_out() * k);
                    stack(g, group, gradient, gradients);
                    stack_columns(g, group, input, columns);
                    add_product(gradients, columns);
                });
            }
        }
    }
}

/// (samples, out, P) to (out of the group, samples * P).
fn stack<T: Float>(g: &Conv2dGeometry, group: usize, gradient: &[T], stacked: &mut [T]) {
    let positions = g.positions();
    let samples = gradient.len() / (g.out_channels * positions);
    stacked.par_chunks_mut(samples * positions).enumerate().for_each(|(channel, stacked)| {
        for (sample, to) in stacked.chunks_exact_mut(positions).enumerate() {
            let from = (sample * g.out_channels + group * g.group_out() + channel) * positions;
            to.copy_from_slice(&gradient[from..from + positions]);
        }
    });
}

/// im2col of several samples: (samples, channels, h, w) to (R, samples * P).
fn stack_columns<T: Float>(g: &Conv2dGeometry, group: usize, input: &[T], columns: &mut [T]) {
    let samples = input.len() / (g.channels * g.in_plane());
    let taps = g.y.window * g.x.window;
    columns.par_chunks_mut(taps * samples * g.positions()).enumerate().for_each(|(channel, columns)| {
        for (tap, row) in columns.chunks_exact_mut(samples * g.positions()).enumerate() {
            for (sample, row) in row.chunks_exact_mut(g.positions()).enumerate() {
                let plane =
                    group_slice(input, g.in_plane(), sample * g.channels + group * g.group_in() + channel);
                gather_tap(g, plane, tap / g.x.window, tap % g.x.window, row);
            }
        }
    });
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
    let taps = g.y.window * g.x.window;
    for (row, columns) in columns.chunks_exact_mut(g.positions()).enumerate() {
        let plane = group_slice(input, g.in_plane(), row / taps);
        gather_tap(g, plane, row % taps / g.x.window, row % g.x.window, columns);
    }
}

/// One row of the columns.
fn gather_tap<T: Float>(g: &Conv2dGeometry, plane: &[T], ky: usize, kx: usize, row: &mut [T]) {
    let reach = Reach::of(&g.x, kx);
    for (oy, line) in row.chunks_exact_mut(g.x.output).enumerate() {
        match g.y.source(oy, ky) {
            None => line.fill(T::default()),
            Some(iy) => gather_line(&reach, g.x.stride, &plane[iy * g.x.input..][..g.x.input], line),
        }
    }
}

fn gather_line<T: Float>(reach: &Reach, stride: usize, source: &[T], line: &mut [T]) {
    let Reach { outputs, first } = reach.clone();
    line[..outputs.start].fill(T::default());
    line[outputs.end..].fill(T::default());
    if outputs.is_empty() {
        return;
    }
    let line = &mut line[outputs];
    if stride == 1 {
        line.copy_from_slice(&source[first..first + line.len()]);
    } else {
        for (value, &from) in line.iter_mut().zip(source[first..].iter().step_by(stride)) {
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
                let reach = Reach::of(&g.x, kx);
                for (oy, line) in (0..g.y.output).zip(lines.by_ref()) {
                    if let Some(iy) = g.y.source(oy, ky) {
                        add_line(&reach, g.x.stride, line, &mut plane[iy * g.x.input..][..g.x.input]);
                    }
                }
            }
        }
    }
}

fn add_line<T: Float>(reach: &Reach, stride: usize, line: &[T], target: &mut [T]) {
    let Reach { outputs, first } = reach.clone();
    if outputs.is_empty() {
        return;
    }
    let line = &line[outputs];
    if stride == 1 {
        for (to, &value) in target[first..].iter_mut().zip(line) {
            *to += value;
        }
    } else {
        for (to, &value) in target[first..].iter_mut().step_by(stride).zip(line) {
            *to += value;
        }
    }
}

/// What a column of the kernel reads of a line: the outputs for which it lies within the input, and where it is at the
/// first of them.
#[derive(Clone)]
struct Reach {
    outputs: Range<usize>,
    first: usize,
}

impl Reach {
    fn of(x: &Axis, k: usize) -> Self {
        let shift = k * x.dilation;
        let start = x.padding.saturating_sub(shift).div_ceil(x.stride).min(x.output);
        let end = (x.input + x.padding).saturating_sub(shift).div_ceil(x.stride).min(x.output);
        Self { outputs: start..end.max(start), first: (start * x.stride + shift).saturating_sub(x.padding) }
    }
}
