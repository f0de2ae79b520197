//! The weight gradient: G' [ (A dy A') * (B' d B) ] G, summed over all tiles.
//!
//! Many tiles come in rounds: their points are computed in parallel over blocks of channels, then multiplied and added up
//! in parallel over points and blocks of channels. One sum is kept, so memory does not grow with the threads. Of few tiles
//! all points come first; then each task makes the gradients of one block of channels and one panel of filters, whose sums
//! stay in the cache.

use super::tiles::{Grid, points_of_blocks};
use super::transform::{GradientPoints, InputPoints, KernelGradient, transform};
use super::{POINTS, Winograd, has_few_registers, with_vectors};
use pulp::{Simd, WithSimd, bytemuck};
use rayon::prelude::*;

pub(super) struct WeightGradient<'a> {
    pub(super) conv: &'a Winograd,
    pub(super) input: &'a [f32],
    pub(super) gradient: &'a [f32],
    pub(super) weight_gradient: &'a mut [f32],
}

/// Tiles a round of the weight gradient: their transforms are kept until every point has been multiplied.
const ROUND: usize = 256;
/// Channels and vectors of filters that one product of the weight gradient holds in registers.
const LANE_ROWS: usize = 4;

impl WithSimd for WeightGradient<'_> {
    type Output = ();

    fn with_simd<S: Simd>(self, simd: S) {
        if has_few_registers::<S>() { self.run::<S, 2>(simd) } else { self.run::<S, 4>(simd) }
    }
}

impl WeightGradient<'_> {
    fn run<S: Simd, const PANEL: usize>(self, simd: S) {
        if self.conv.tiles() < self.conv.filters {
            self.by_blocks::<S, PANEL>(simd);
        } else {
            self.by_rounds::<S, PANEL>(simd);
        }
    }

    fn by_rounds<S: Simd, const PANEL: usize>(self, simd: S) {
        let Self { conv, input, gradient, weight_gradient } = self;
        let zero = simd.splat_f32s(0.0);
        let columns = conv.tile_columns();
        let rows = conv.samples * conv.tile_rows();
        let rows_a_round = ROUND.div_ceil(columns).min(rows);
        let tiles = rows_a_round * columns;
        let blocks = conv.channels.div_ceil(S::F32_LANES);
        let filter_blocks = conv.filters.div_ceil(S::F32_LANES).next_multiple_of(PANEL);
        let lens = [
            blocks * POINTS * tiles,
            filter_blocks * POINTS * tiles,
            // [point][channel block][lane][filter block]
            POINTS * blocks * S::F32_LANES * filter_blocks,
        ];
        with_vectors(simd, lens.iter().sum(), |scratch| {
            let (u, scratch) = scratch.split_at_mut(lens[0]);
            let (d, sums) = scratch.split_at_mut(lens[1]);
            sums.par_chunks_mut(1 << 14).for_each(|sums| sums.fill(zero));
            for start in (0..rows).step_by(rows_a_round) {
                let grid = Grid {
                    rows: start..(start + rows_a_round).min(rows),
                    a_sample: conv.tile_rows(),
                    columns,
                    tiles,
                };
                let used = grid.rows.len() * columns;
                points::<S>(simd, conv, (input, gradient), &grid, (&mut *u, &mut *d));
                sums.par_chunks_mut(S::F32_LANES * filter_blocks).enumerate().for_each(|(index, sums)| {
                    let (point, block) = (index / blocks, index % blocks);
                    let (u, d) = (&*u, &*d);
                    let u = &u[(block * POINTS + point) * tiles..][..used];
                    simd.vectorize(SumTask::<S, PANEL> { simd, u, d, point, tiles, sums });
                });
            }
            let block_len = S::F32_LANES * conv.channels * 9;
            weight_gradient.par_chunks_mut(block_len).enumerate().for_each(|(block, weight_gradient)| {
                simd.vectorize(KernelGradientTask {
                    simd,
                    conv,
                    sums,
                    filter_blocks,
                    block,
                    weight_gradient,
                });
            });
        });
    }

    fn by_blocks<S: Simd, const PANEL: usize>(self, simd: S) {
        let Self { conv, input, gradient, weight_gradient } = self;
        let blocks = conv.channels.div_ceil(S::F32_LANES);
        let filter_blocks = conv.filters.div_ceil(S::F32_LANES).next_multiple_of(PANEL);
        let (columns, a_sample) = (conv.tile_columns(), conv.tile_rows());
        let tiles = conv.tiles();
        let grid = Grid { rows: 0..conv.samples * a_sample, a_sample, columns, tiles };
        with_vectors(simd, (blocks + filter_blocks) * POINTS * tiles, |scratch| {
            let (u, d) = scratch.split_at_mut(blocks * POINTS * tiles);
            points::<S>(simd, conv, (input, gradient), &grid, (&mut *u, &mut *d));
            let (d, lanes) = (&*d, S::F32_LANES);
            // Of each block of channels its kernels in every filter.
            let mut kernels: Vec<Vec<&mut [f32]>> = Vec::new();
            kernels.resize_with(blocks, || Vec::with_capacity(conv.filters));
            for filter in weight_gradient.chunks_exact_mut(conv.channels * 9) {
                for (block, part) in kernels.iter_mut().zip(filter.chunks_mut(lanes * 9)) {
                    block.push(part);
                }
            }
            kernels.par_iter_mut().zip(u.par_chunks(POINTS * tiles)).for_each(|(kernels, u)| {
                let panels = kernels.par_chunks_mut(PANEL * lanes).zip(d.par_chunks(PANEL * POINTS * tiles));
                panels.for_each(|(kernels, d)| {
                    with_vectors(simd, POINTS * lanes * PANEL, |sums| {
                        simd.vectorize(BlockTask::<S, PANEL> { simd, u, d, tiles, sums, kernels });
                    });
                });
            });
        });
    }
}

/// The points of the tiles of a grid: `u` of the input, `d` of the output's gradient, [channel block][point][tile][lane].
fn points<S: Simd>(
    simd: S,
    conv: &Winograd,
    (input, gradient): (&[f32], &[f32]),
    grid: &Grid,
    (u, d): (&mut [S::f32s], &mut [S::f32s]),
) {
    points_of_blocks::<S, InputPoints, 6>(simd, &conv.input_planes(), input, grid, u);
    points_of_blocks::<S, GradientPoints, 4>(simd, &conv.output_planes(), gradient, grid, d);
}

/// Adds U' D of one point and one block of channels.
struct SumTask<'a, S: Simd, const PANEL: usize> {
    simd: S,
    u: &'a [S::f32s],
    d: &'a [S::f32s],
    point: usize,
    tiles: usize,
    sums: &'a mut [S::f32s],
}

impl<S: Simd, const PANEL: usize> pulp::NullaryFnOnce for SumTask<'_, S, PANEL> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, u, d, point, tiles, sums } = self;
        let filter_blocks = sums.len() / S::F32_LANES;
        for filter in (0..filter_blocks).step_by(PANEL) {
            let d: [&[S::f32s]; PANEL] =
                std::array::from_fn(|i| &d[((filter + i) * POINTS + point) * tiles..][..u.len()]);
            for lane in (0..S::F32_LANES).step_by(LANE_ROWS) {
                let products = lane_products(simd, u, &d, lane);
                for (row, products) in products.iter().enumerate().take(S::F32_LANES - lane) {
                    let sums = &mut sums[(lane + row) * filter_blocks + filter..][..PANEL];
                    for (sum, &product) in sums.iter_mut().zip(products) {
                        *sum = simd.add_f32s(*sum, product);
                    }
                }
            }
        }
    }
}

/// Of `LANE_ROWS` channels from `lane` on: their sums over tiles of the products with a panel of filters.
#[inline(always)]
fn lane_products<S: Simd, const PANEL: usize>(
    simd: S,
    u: &[S::f32s],
    d: &[&[S::f32s]; PANEL],
    lane: usize,
) -> [[S::f32s; PANEL]; LANE_ROWS] {
    let values: &[f32] = bytemuck::cast_slice(u);
    let mut acc = [[simd.splat_f32s(0.0); PANEL]; LANE_ROWS];
    for (tile, values) in values.chunks_exact(S::F32_LANES).enumerate() {
        let columns: [S::f32s; PANEL] = std::array::from_fn(|i| d[i][tile]);
        for (row, acc) in acc.iter_mut().enumerate() {
            let value = simd.splat_f32s(values[(lane + row).min(S::F32_LANES - 1)]);
            for (acc, &column) in acc.iter_mut().zip(&columns) {
                *acc = simd.mul_add_e_f32s(value, column, *acc);
            }
        }
    }
    acc
}

/// The gradients of the kernels of one block of channels and one panel of filters.
struct BlockTask<'a, 'b, S: Simd, const PANEL: usize> {
    simd: S,
    u: &'a [S::f32s],
    d: &'a [S::f32s],
    tiles: usize,
    /// [point][lane][part]
    sums: &'a mut [S::f32s],
    /// Of each filter those of the block.
    kernels: &'a mut [&'b mut [f32]],
}

impl<S: Simd, const PANEL: usize> pulp::NullaryFnOnce for BlockTask<'_, '_, S, PANEL> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, u, d, tiles, sums, kernels } = self;
        let point_len = S::F32_LANES * PANEL;
        for (point, sums) in sums.chunks_exact_mut(point_len).enumerate() {
            let u = &u[point * tiles..][..tiles];
            let d: [&[S::f32s]; PANEL] = std::array::from_fn(|i| &d[(i * POINTS + point) * tiles..][..tiles]);
            for (rows, sums) in sums.chunks_mut(LANE_ROWS * PANEL).enumerate() {
                let products = lane_products(simd, u, &d, rows * LANE_ROWS);
                for (sum, &product) in sums.iter_mut().zip(products.as_flattened()) {
                    *sum = product;
                }
            }
        }
        for (part, kernels) in kernels.chunks_mut(S::F32_LANES).enumerate() {
            let channels = kernels[0].len() / 9;
            for channel in 0..channels {
                let mut points = [simd.splat_f32s(0.0); POINTS];
                for (value, sums) in points.iter_mut().zip(sums.chunks_exact(point_len)) {
                    *value = sums[channel * PANEL + part];
                }
                let taps = transform::<S, KernelGradient, 6, 3>(simd, &points);
                for (lane, kernels) in kernels.iter_mut().enumerate() {
                    write_taps::<S>(&taps, lane, &mut kernels[channel * 9..][..9]);
                }
            }
        }
    }
}

/// One lane of the gradient of a kernel.
#[inline(always)]
fn write_taps<S: Simd>(taps: &[[S::f32s; 3]; 3], lane: usize, kernel: &mut [f32]) {
    let taps: &[f32] = bytemuck::cast_slice(taps.as_flattened());
    for (tap, to) in kernel.iter_mut().enumerate() {
        *to = taps[tap * S::F32_LANES + lane];
    }
}

/// G' s G for a block of filters.
struct KernelGradientTask<'a, S: Simd> {
    simd: S,
    conv: &'a Winograd,
    sums: &'a [S::f32s],
    filter_blocks: usize,
    block: usize,
    weight_gradient: &'a mut [f32],
}

impl<S: Simd> pulp::NullaryFnOnce for KernelGradientTask<'_, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, conv, sums, filter_blocks, block, weight_gradient } = self;
        let a_point = sums.len() / POINTS;
        for channel in 0..conv.channels {
            let mut points = [simd.splat_f32s(0.0); 36];
            for (point, value) in points.iter_mut().enumerate() {
                *value = sums[point * a_point + channel * filter_blocks + block];
            }
            let taps = transform::<S, KernelGradient, 6, 3>(simd, &points);
            for (lane, filter) in weight_gradient.chunks_exact_mut(conv.channels * 9).enumerate() {
                write_taps::<S>(&taps, lane, &mut filter[channel * 9..][..9]);
            }
        }
    }
}
