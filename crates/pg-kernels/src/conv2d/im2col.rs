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
//! Samples run in parallel, and of each the columns of a few output lines are gathered at a time. Of a single sample whose
//! columns are its input the rows of the product run in parallel, and so they do of small images, whose columns stand side
//! by side. The weight gradient, which sums over samples, runs in parts of them, or over filters where the kernel is too
//! large for several sums.

use super::Conv2dGeometry;
use crate::collect::zeroed;
use crate::geometry::Axis;
use crate::matmul::{Float, Matrix, matmul, matmul_to, matmul_to_columns};
use crate::scratch::with_scratch;
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// `output` (n, out, oh, ow) = conv2d(`input`, `weight`).
pub(super) fn forward<T: Float>(
    g: &Conv2dGeometry,
    input: &[T],
    weight: &[T],
    output: &mut [MaybeUninit<T>],
) {
    let (rows, positions) = (g.rows(), g.positions());
    if g.is_one_product() {
        let filters = g.out_channels.div_ceil(PARTS);
        return output.par_chunks_mut(filters * positions).zip(weight.par_chunks(filters * rows)).for_each(
            |(output, weight)| {
                let weight = Matrix::new(weight, weight.len() / rows, rows);
                matmul_to(output, weight, Matrix::new(input, rows, positions));
            },
        );
    }
    if g.has_small_planes() {
        let samples = samples_to_stack(g);
        return output
            .chunks_mut(samples * g.out_channels * positions)
            .zip(input.chunks(samples * g.channels * g.in_plane()))
            .for_each(|(output, input)| forward_stacked(g, input, weight, output));
    }
    output
        .par_chunks_mut(g.out_channels * positions)
        .zip(input.par_chunks(g.channels * g.in_plane()))
        .for_each(|(output, input)| {
            for group in 0..g.groups {
                let weight =
                    Matrix::new(group_slice(weight, g.group_out() * rows, group), g.group_out(), rows);
                let input = group_slice(input, g.group_in() * g.in_plane(), group);
                let output = group_slice_mut(output, g.group_out() * positions, group);
                for_each_block(g, input, |block, columns| {
                    matmul_to_columns(output, positions, block.start, weight, columns);
                });
            }
        });
}

/// Some samples side by side: few columns of each would leave most of a product's time to the reading of the weights.
fn forward_stacked<T: Float>(g: &Conv2dGeometry, input: &[T], weight: &[T], output: &mut [MaybeUninit<T>]) {
    let (rows, out_len) = (g.rows(), g.out_channels * g.positions());
    let k = output.len() / g.out_channels;
    with_scratch((rows + g.out_channels) * k, |scratch: &mut [T]| {
        let (columns, stacked) = scratch.split_at_mut(rows * k);
        stack_columns(g, 0, input, columns);
        let columns = Matrix::new(columns, rows, k);
        let filters = rows_a_task(g.out_channels);
        stacked.par_chunks_mut(filters * k).zip(weight.par_chunks(filters * rows)).for_each(
            |(stacked, weight)| {
                matmul(stacked, Matrix::new(weight, weight.len() / rows, rows), columns, false);
            },
        );
        let stacked = &*stacked;
        output.par_chunks_mut(out_len).enumerate().for_each(|(sample, output)| {
            let planes = output.chunks_exact_mut(g.positions());
            for (to, from) in planes.zip(rows_of_sample(g, stacked, k, sample)) {
                to.write_copy_of_slice(from);
            }
        });
    });
}

/// `input_gradient` (n, channels, h, w) of `gradient` (n, out, oh, ow).
pub(super) fn input_gradient<T: Float>(
    g: &Conv2dGeometry,
    gradient: &[T],
    weight: &[T],
    input_gradient: &mut [MaybeUninit<T>],
) {
    let (rows, positions) = (g.rows(), g.positions());
    if g.is_one_product() {
        let channels = g.channels.div_ceil(PARTS);
        return input_gradient.par_chunks_mut(channels * positions).enumerate().for_each(|(part, target)| {
            let weight = Matrix::new(weight, g.out_channels, rows).transposed();
            let weight = weight.some_rows(part * channels, target.len() / positions);
            matmul_to(target, weight, Matrix::new(gradient, g.out_channels, positions));
        });
    }
    if g.has_small_planes() {
        let samples = samples_to_stack(g);
        return input_gradient
            .chunks_mut(samples * g.channels * g.in_plane())
            .zip(gradient.chunks(samples * g.out_channels * positions))
            .for_each(|(target, gradient)| input_gradient_stacked(g, gradient, weight, target));
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
                        matmul_to(target, weight, gradient);
                    } else {
                        matmul(scratch, weight, gradient, false);
                        add_columns(g, scratch.chunks_exact(positions), target);
                    }
                }
            });
        });
}

/// As [`forward_stacked`].
fn input_gradient_stacked<T: Float>(
    g: &Conv2dGeometry,
    gradient: &[T],
    weight: &[T],
    target: &mut [MaybeUninit<T>],
) {
    let (rows, in_len) = (g.rows(), g.channels * g.in_plane());
    let k = gradient.len() / g.out_channels;
    with_scratch((rows + g.out_channels) * k, |scratch: &mut [T]| {
        let (columns, stacked) = scratch.split_at_mut(rows * k);
        stack(g, 0, gradient, stacked);
        let stacked = Matrix::new(stacked, g.out_channels, k);
        let weight = Matrix::new(weight, g.out_channels, rows).transposed();
        let rows_a_task = rows_a_task(rows);
        columns.par_chunks_mut(rows_a_task * k).enumerate().for_each(|(task, columns)| {
            let weight = weight.some_rows(task * rows_a_task, columns.len() / k);
            matmul(columns, weight, stacked, false);
        });
        let columns = &*columns;
        target.par_chunks_mut(in_len).enumerate().for_each(|(sample, target)| {
            add_columns(g, rows_of_sample(g, columns, k, sample), target);
        });
    });
}

/// As many samples as fit, and no more than there are: a product of lengths must not overflow.
fn samples_to_stack(g: &Conv2dGeometry) -> usize {
    (STACKED / ((g.rows() + g.group_out()) * g.positions())).clamp(1, g.samples)
}

/// The rows of one sample in a matrix of samples side by side, of `k` columns.
fn rows_of_sample<'a, T>(
    g: &Conv2dGeometry,
    stacked: &'a [T],
    k: usize,
    sample: usize,
) -> impl Iterator<Item = &'a [T]> {
    let positions = g.positions();
    stacked.chunks_exact(k).map(move |row| &row[sample * positions..][..positions])
}

/// Elements that are stacked at a time; so few in tests that they see several rounds.
const STACKED: usize = if cfg!(test) { 400 } else { 1 << 22 };
/// Elements of a kernel of which one sum is kept; smaller ones are summed in parts at once.
const LARGE_KERNEL: usize = if cfg!(test) { 41 } else { 1 << 18 };
/// Elements of the columns that are gathered at a time: they stay in the cache.
const GATHERED: usize = if cfg!(test) { 100 } else { 1 << 18 };
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
    if g.kernel_len() >= LARGE_KERNEL {
        return sum_samples(g, input, gradient, rows_a_task(g.group_out()), weight_gradient);
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

/// How many of the rows of a product are a task, where its columns are those of several samples.
fn rows_a_task(rows: usize) -> usize {
    let fewest = if cfg!(test) { 3 } else { 16 };
    rows.div_ceil(4).clamp(fewest, 128)
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
    let stands_alone = g.is_pointwise() && !g.has_small_planes();
    let samples = if stands_alone { 1 } else { samples_to_stack(g).min(input.len() / in_len) };
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
            } else if input.len() == in_len && filters_a_task >= g.group_out() {
                let input = group_slice(input, g.group_in() * g.in_plane(), group);
                let gradient = group_slice(gradient, g.group_out() * positions, group);
                let gradient = Matrix::new(gradient, g.group_out(), positions);
                for_each_block(g, input, |block, columns| {
                    let gradient = gradient.some_columns(block.clone());
                    matmul(sum, gradient, columns.transposed(), round > 0 || block.start > 0);
                });
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
                gather_tap(g, plane, tap / g.x.window, tap % g.x.window, 0..g.y.output, row);
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

/// Calls `f(positions, columns)` for some output lines of one sample and group after the other.
fn for_each_block<T: Float>(g: &Conv2dGeometry, input: &[T], mut f: impl FnMut(Range<usize>, Matrix<'_, T>)) {
    let rows = g.rows();
    if g.is_pointwise() {
        return f(0..g.positions(), Matrix::new(input, rows, g.positions()));
    }
    let lines_a_block = (GATHERED / (rows * g.x.output)).clamp(1, g.y.output);
    with_scratch(rows * lines_a_block * g.x.output, |scratch| {
        for start in (0..g.y.output).step_by(lines_a_block) {
            let lines = start..(start + lines_a_block).min(g.y.output);
            let columns = &mut scratch[..rows * lines.len() * g.x.output];
            gather_columns(g, input, lines.clone(), columns);
            let columns = Matrix::new(columns, rows, lines.len() * g.x.output);
            f(lines.start * g.x.output..lines.end * g.x.output, columns);
        }
    });
}

/// im2col of some output lines: row (channel, ky, kx) of `columns` is the input shifted by that window element, 0 in the
/// padding.
fn gather_columns<T: Float>(g: &Conv2dGeometry, input: &[T], lines: Range<usize>, columns: &mut [T]) {
    let taps = g.y.window * g.x.window;
    for (row, columns) in columns.chunks_exact_mut(lines.len() * g.x.output).enumerate() {
        let plane = group_slice(input, g.in_plane(), row / taps);
        gather_tap(g, plane, row % taps / g.x.window, row % g.x.window, lines.clone(), columns);
    }
}

/// One row of the columns.
fn gather_tap<T: Float>(
    g: &Conv2dGeometry,
    plane: &[T],
    ky: usize,
    kx: usize,
    lines: Range<usize>,
    row: &mut [T],
) {
    let reach = Reach::of(&g.x, kx);
    for (oy, line) in lines.zip(row.chunks_exact_mut(g.x.output)) {
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

/// col2im: the transpose of [`gather_columns`], of all lines, each row of the columns in its turn.
fn add_columns<'a, T: Float>(
    g: &Conv2dGeometry,
    mut columns: impl Iterator<Item = &'a [T]>,
    output: &mut [MaybeUninit<T>],
) {
    for plane in output.chunks_exact_mut(g.in_plane()) {
        let plane = zeroed(plane);
        for ky in 0..g.y.window {
            for (kx, row) in (0..g.x.window).zip(columns.by_ref()) {
                let reach = Reach::of(&g.x, kx);
                for (oy, line) in row.chunks_exact(g.x.output).enumerate() {
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
