//! The forward pass, and with the kernel turned the input gradient.
//!
//! Of many samples V comes first, and each task transforms and multiplies the tiles of some samples, a block of tiles at a
//! time. Where that would be fewer tasks than there are panels of filters, U comes first, and each task makes one panel of V
//! and multiplies it: a panel that is used at once is still in the cache.

use super::tiles::{Grid, points_of_blocks, tile_points};
use super::transform::{InputPoints, KernelPoints, Outputs, transform};
use super::{POINTS, Winograd, has_few_registers, with_vectors};
use pulp::{Simd, WithSimd, bytemuck};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Tiles that one panel of the product holds in registers, for each of its PANEL vectors of filters: PANEL is 4 where
/// there are 32 registers, 2 on AVX2, which has 16.
const ROWS: usize = 6;
/// About how many tiles are worked on together: what a panel of kernels is read for.
const BLOCK: usize = 84;

pub(super) struct Forward<'a, K> {
    pub(super) conv: &'a Winograd,
    pub(super) input: &'a [f32],
    pub(super) kernel: K,
    pub(super) output: &'a mut [MaybeUninit<f32>],
}

impl<K: Fn(usize, usize) -> [f32; 9] + Sync> WithSimd for Forward<'_, K> {
    type Output = ();

    fn with_simd<S: Simd>(self, simd: S) {
        if has_few_registers::<S>() { self.run::<S, 2>(simd) } else { self.run::<S, 4>(simd) }
    }
}

impl<K: Fn(usize, usize) -> [f32; 9] + Sync> Forward<'_, K> {
    fn run<S: Simd, const PANEL: usize>(self, simd: S) {
        let tasks = self.conv.samples.div_ceil(samples_a_task(self.conv));
        // Of many tiles U takes more memory than V.
        if tasks < self.conv.panels::<S, PANEL>() && self.conv.tiles() <= 4 * self.conv.filters {
            self.by_panels::<S, PANEL>(simd);
        } else {
            self.by_samples::<S, PANEL>(simd);
        }
    }

    fn by_samples<S: Simd, const PANEL: usize>(self, simd: S) {
        let Self { conv, input, kernel, output } = self;
        let panel_len = conv.panel_len::<S, PANEL>();
        with_vectors(simd, conv.panels::<S, PANEL>() * panel_len, |kernels| {
            kernels.par_chunks_mut(panel_len).enumerate().for_each(|(panel, kernels)| {
                let first = panel * PANEL * S::F32_LANES;
                simd.vectorize(KernelTask::<S, K, PANEL> { simd, conv, kernel: &kernel, first, kernels });
            });
            let kernels = &*kernels;
            let samples_a_task = samples_a_task(conv);
            output
                .par_chunks_mut(samples_a_task * conv.output_len())
                .zip(input.par_chunks(samples_a_task * conv.input_len()))
                .for_each(|(output, input)| {
                    let samples = input.len() / conv.input_len();
                    let room = Room::new::<S, PANEL>(conv, samples);
                    with_vectors(simd, room.u + room.m + room.lines, |scratch| {
                        simd.vectorize(SamplesTask::<S, PANEL> {
                            simd,
                            conv,
                            input,
                            kernels,
                            room,
                            scratch,
                            output,
                        });
                    });
                });
        });
    }

    fn by_panels<S: Simd, const PANEL: usize>(self, simd: S) {
        let Self { conv, input, kernel, output } = self;
        let room = Room::new::<S, PANEL>(conv, conv.samples);
        let (grids, panel_len) = (room.grids(conv), conv.panel_len::<S, PANEL>());
        with_vectors(simd, grids.len() * room.u, |u| {
            for (grid, u) in grids.iter().zip(u.chunks_exact_mut(room.u)) {
                points_of_blocks::<S, InputPoints, 6>(simd, &conv.input_planes(), input, grid, u);
            }
            let u = &*u;
            let filters = PANEL * S::F32_LANES;
            in_panels(output, conv, filters).into_par_iter().enumerate().for_each(|(panel, output)| {
                with_vectors(simd, panel_len + room.m + room.lines, |scratch| {
                    simd.vectorize(PanelTask::<S, K, PANEL> {
                        simd,
                        conv,
                        kernel: &kernel,
                        first: panel * filters,
                        u,
                        grids: &grids,
                        room,
                        scratch,
                        output,
                    });
                });
            });
        });
    }
}

/// As many samples as make a block of tiles, for which each panel of kernels is read once; about as many in every task.
fn samples_a_task(conv: &Winograd) -> usize {
    let of_a_block = (BLOCK / (conv.tile_rows() * conv.tile_columns())).max(1);
    conv.samples.div_ceil(conv.samples.div_ceil(of_a_block))
}

/// For each panel of `filters` their planes in every sample.
fn in_panels<'a>(
    output: &'a mut [MaybeUninit<f32>],
    conv: &Winograd,
    filters: usize,
) -> Vec<Vec<&'a mut [MaybeUninit<f32>]>> {
    let mut panels: Vec<Vec<&mut [MaybeUninit<f32>]>> = Vec::new();
    panels.resize_with(conv.filters.div_ceil(filters), || Vec::with_capacity(conv.samples));
    for sample in output.chunks_exact_mut(conv.output_len()) {
        for (panel, planes) in panels.iter_mut().zip(sample.chunks_mut(filters * conv.plane_len())) {
            panel.push(planes);
        }
    }
    panels
}

/// One panel of V.
struct KernelTask<'a, S: Simd, K, const PANEL: usize> {
    simd: S,
    conv: &'a Winograd,
    kernel: &'a K,
    /// First filter of the panel.
    first: usize,
    kernels: &'a mut [S::f32s],
}

impl<S: Simd, K: Fn(usize, usize) -> [f32; 9], const PANEL: usize> pulp::NullaryFnOnce
    for KernelTask<'_, S, K, PANEL>
{
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, conv, kernel, first, kernels } = self;
        // [channel][tap][lane]
        let mut taps = vec![simd.splat_f32s(0.0); S::F32_LANES * 9];
        for (block, kernels) in kernels.chunks_exact_mut(POINTS * S::F32_LANES * PANEL).enumerate() {
            let channels = block * S::F32_LANES..(block + 1) * S::F32_LANES;
            for part in 0..PANEL {
                let values: &mut [f32] = bytemuck::cast_slice_mut(&mut taps);
                for lane in 0..S::F32_LANES {
                    let filter = first + part * S::F32_LANES + lane;
                    for (channel, values) in channels.clone().zip(values.chunks_exact_mut(9 * S::F32_LANES)) {
                        let exists = filter < conv.filters && channel < conv.channels;
                        let nine = if exists { kernel(filter, channel) } else { [0.0; 9] };
                        for (value, tap) in values.chunks_exact_mut(S::F32_LANES).zip(nine) {
                            value[lane] = tap;
                        }
                    }
                }
                for (channel, taps) in taps.chunks_exact(9).enumerate() {
                    let points = transform::<S, KernelPoints, 3, 6>(simd, taps);
                    for (point, &value) in points.as_flattened().iter().enumerate() {
                        kernels[(point * S::F32_LANES + channel) * PANEL + part] = value;
                    }
                }
            }
        }
    }
}

/// The convolution of some whole samples, on one thread.
struct SamplesTask<'a, S: Simd, const PANEL: usize> {
    simd: S,
    conv: &'a Winograd,
    input: &'a [f32],
    kernels: &'a [S::f32s],
    room: Room,
    scratch: &'a mut [S::f32s],
    output: &'a mut [MaybeUninit<f32>],
}

/// What a task works on at a time, and the vectors that this takes.
#[derive(Clone, Copy)]
struct Room {
    /// Rows of tiles in all.
    rows: usize,
    rows_a_block: usize,
    /// Tiles of a block, rounded up to what a product takes.
    tiles: usize,
    u: usize,
    m: usize,
    lines: usize,
}

impl Room {
    fn new<S: Simd, const PANEL: usize>(conv: &Winograd, samples: usize) -> Self {
        let columns = conv.tile_columns();
        let rows = samples * conv.tile_rows();
        // Equal blocks: the kernels are read once for each.
        let rows_a_block = rows.div_ceil((rows * columns).div_ceil(BLOCK));
        let tiles = (rows_a_block * columns).next_multiple_of(ROWS);
        Self {
            rows,
            rows_a_block,
            tiles,
            u: conv.channels.div_ceil(S::F32_LANES) * POINTS * tiles,
            m: POINTS * tiles * PANEL,
            lines: conv.input_planes().lines_len(6, columns),
        }
    }

    /// The blocks of tiles.
    fn grids(&self, conv: &Winograd) -> Vec<Grid> {
        (0..self.rows)
            .step_by(self.rows_a_block)
            .map(|start| Grid {
                rows: start..(start + self.rows_a_block).min(self.rows),
                a_sample: conv.tile_rows(),
                columns: conv.tile_columns(),
                tiles: self.tiles,
            })
            .collect()
    }
}

impl<S: Simd, const PANEL: usize> pulp::NullaryFnOnce for SamplesTask<'_, S, PANEL> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, conv, input, kernels, room, scratch, output } = self;
        let (u, scratch) = scratch.split_at_mut(room.u);
        let (m, lines) = scratch.split_at_mut(room.m);
        let planes = conv.input_planes();
        let panel_planes = PANEL * S::F32_LANES * conv.plane_len();
        for grid in &room.grids(conv) {
            for (block, u) in u.chunks_exact_mut(POINTS * room.tiles).enumerate() {
                tile_points::<S, InputPoints, 6>(simd, &planes, input, block, grid, lines, u);
            }
            for (panel, kernels) in kernels.chunks_exact(conv.panel_len::<S, PANEL>()).enumerate() {
                products::<S, PANEL>(simd, u, room.tiles, kernels, m);
                for index in 0..grid.rows.len() {
                    let sample = &mut output[grid.sample(index) * conv.output_len()..][..conv.output_len()];
                    let planes = &mut sample[panel * panel_planes..];
                    output_row::<S, PANEL>(simd, conv, m, grid, index, lines, planes);
                }
            }
        }
    }
}

/// The convolution of all samples for one panel of filters, on one thread.
struct PanelTask<'a, S: Simd, K, const PANEL: usize> {
    simd: S,
    conv: &'a Winograd,
    kernel: &'a K,
    /// First filter of the panel.
    first: usize,
    /// Of one grid after the other.
    u: &'a [S::f32s],
    grids: &'a [Grid],
    room: Room,
    scratch: &'a mut [S::f32s],
    /// The planes of the panel's filters in each sample.
    output: Vec<&'a mut [MaybeUninit<f32>]>,
}

impl<S: Simd, K: Fn(usize, usize) -> [f32; 9], const PANEL: usize> pulp::NullaryFnOnce
    for PanelTask<'_, S, K, PANEL>
{
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, conv, kernel, first, u, grids, room, scratch, mut output } = self;
        let (kernels, scratch) = scratch.split_at_mut(conv.panel_len::<S, PANEL>());
        let (m, lines) = scratch.split_at_mut(room.m);
        KernelTask::<S, K, PANEL> { simd, conv, kernel, first, kernels: &mut *kernels }.call();
        for (grid, u) in grids.iter().zip(u.chunks_exact(room.u)) {
            products::<S, PANEL>(simd, u, room.tiles, kernels, m);
            for index in 0..grid.rows.len() {
                output_row::<S, PANEL>(simd, conv, m, grid, index, lines, output[grid.sample(index)]);
            }
        }
    }
}

/// `m` of all points from those of a block of tiles and of a panel of kernels.
#[inline(always)]
fn products<S: Simd, const PANEL: usize>(
    simd: S,
    u: &[S::f32s],
    tiles: usize,
    kernels: &[S::f32s],
    m: &mut [S::f32s],
) {
    for (point, m) in m.chunks_exact_mut(tiles * PANEL).enumerate() {
        product::<S, PANEL>(simd, u, point, tiles, kernels, m);
    }
}

/// `m` (tiles x panel) = `u` at a point (tiles x channels) times `kernels` (channels x panel).
#[inline(always)]
fn product<S: Simd, const PANEL: usize>(
    simd: S,
    u: &[S::f32s],
    point: usize,
    tiles: usize,
    kernels: &[S::f32s],
    m: &mut [S::f32s],
) {
    for (index, m) in m.chunks_exact_mut(ROWS * PANEL).enumerate() {
        let mut sums = [[simd.splat_f32s(0.0); PANEL]; ROWS];
        let point_len = S::F32_LANES * PANEL;
        for (u, kernels) in u.chunks_exact(POINTS * tiles).zip(kernels.chunks_exact(POINTS * point_len)) {
            let kernels = &kernels[point * point_len..][..point_len];
            let u: &[f32] = bytemuck::cast_slice(&u[point * tiles + index * ROWS..][..ROWS]);
            for (lane, kernels) in kernels.chunks_exact(PANEL).enumerate() {
                for (row, sums) in sums.iter_mut().enumerate() {
                    let value = simd.splat_f32s(u[row * S::F32_LANES + lane]);
                    for (sum, &kernel) in sums.iter_mut().zip(kernels) {
                        *sum = simd.mul_add_e_f32s(value, kernel, *sum);
                    }
                }
            }
        }
        for (m, sum) in m.iter_mut().zip(sums.as_flattened()) {
            *m = *sum;
        }
    }
}

/// Writes A' m A of row `index` of the grid to the planes of one panel's filters, in the sample of that row.
#[inline(always)]
fn output_row<S: Simd, const PANEL: usize>(
    simd: S,
    conv: &Winograd,
    m: &[S::f32s],
    grid: &Grid,
    index: usize,
    lines: &mut [S::f32s],
    planes: &mut [MaybeUninit<f32>],
) {
    let columns = grid.columns;
    let line_len = 4 * columns;
    let y = (grid.rows.start + index) % grid.a_sample * 4;
    let parts = planes.chunks_mut(S::F32_LANES * conv.plane_len());
    for (part, planes) in parts.enumerate().take(PANEL) {
        for column in 0..columns {
            let mut points = [simd.splat_f32s(0.0); 36];
            for (point, value) in points.iter_mut().enumerate() {
                *value = m[(point * grid.tiles + index * columns + column) * PANEL + part];
            }
            let tile = transform::<S, Outputs, 6, 4>(simd, &points);
            for (line, tile) in lines.chunks_exact_mut(line_len).zip(&tile) {
                line[4 * column..][..4].copy_from_slice(tile);
            }
        }
        let lines: &[f32] = bytemuck::cast_slice(&lines[..4 * line_len]);
        for (lane, plane) in planes.chunks_exact_mut(conv.plane_len()).enumerate() {
            let rows = plane[y * conv.out_width..].chunks_exact_mut(conv.out_width);
            for (row, line) in rows.zip(lines.chunks_exact(line_len * S::F32_LANES)) {
                for (to, from) in row.iter_mut().zip(line.chunks_exact(S::F32_LANES)) {
                    to.write(from[lane]);
                }
            }
        }
    }
}
