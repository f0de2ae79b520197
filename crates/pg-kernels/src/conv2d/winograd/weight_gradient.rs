//! The weight gradient: G' [ (A dy A') * (B' d B) ] G, summed over all tiles.
//!
//! Rounds of tiles: their points are computed in parallel over blocks of channels, then multiplied and added up in
//! parallel over points and blocks of channels. One sum is kept, so memory does not grow with the threads.

use super::transform::{GradientPoints, InputPoints, KernelGradient, Line, transform};
use super::{Grid, POINTS, Planes, Winograd, has_few_registers, tile_points, with_vectors};
use pulp::{Simd, WithSimd, bytemuck};
use rayon::prelude::*;
use std::marker::PhantomData;

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
            let planes = conv.input_planes();
            let gradients = Planes {
                channels: conv.filters,
                height: conv.out_height,
                width: conv.out_width,
                pad_y: 0,
                pad_x: 0,
            };
            for start in (0..rows).step_by(rows_a_round) {
                let grid = Grid {
                    rows: start..(start + rows_a_round).min(rows),
                    a_sample: conv.tile_rows(),
                    columns,
                    tiles,
                };
                let used = grid.rows.len() * columns;
                u.par_chunks_mut(POINTS * tiles).enumerate().for_each(|(block, u)| {
                    let (planes, grid, line) = (&planes, &grid, PhantomData::<InputPoints>);
                    simd.vectorize(PointsTask::<S, _, 6> {
                        simd,
                        planes,
                        images: input,
                        block,
                        grid,
                        points: u,
                        line,
                    });
                });
                d.par_chunks_mut(POINTS * tiles).enumerate().for_each(|(block, d)| {
                    if block * S::F32_LANES < conv.filters {
                        let (planes, grid, line) = (&gradients, &grid, PhantomData::<GradientPoints>);
                        simd.vectorize(PointsTask::<S, _, 4> {
                            simd,
                            planes,
                            images: gradient,
                            block,
                            grid,
                            points: d,
                            line,
                        });
                    } else {
                        d.fill(zero);
                    }
                });
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
}

/// The points of the tiles of a block of channels.
struct PointsTask<'a, S: Simd, L, const SIDE: usize> {
    simd: S,
    planes: &'a Planes,
    images: &'a [f32],
    block: usize,
    grid: &'a Grid,
    points: &'a mut [S::f32s],
    line: PhantomData<L>,
}

impl<S: Simd, L: Line<SIDE, 6>, const SIDE: usize> pulp::NullaryFnOnce for PointsTask<'_, S, L, SIDE> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, planes, images, block, grid, points, .. } = self;
        let mut lines = vec![simd.splat_f32s(0.0); planes.lines_len(SIDE, grid.columns)];
        tile_points::<S, L, SIDE>(simd, planes, images, block, grid, &mut lines, points);
    }
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
        let values: &[f32] = bytemuck::cast_slice(u);
        let filter_blocks = sums.len() / S::F32_LANES;
        for filter in (0..filter_blocks).step_by(PANEL) {
            let d: [&[S::f32s]; PANEL] =
                std::array::from_fn(|i| &d[((filter + i) * POINTS + point) * tiles..][..u.len()]);
            for lane in (0..S::F32_LANES).step_by(LANE_ROWS) {
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
                for (row, acc) in acc.iter().enumerate().take(S::F32_LANES - lane) {
                    let sums = &mut sums[(lane + row) * filter_blocks + filter..][..PANEL];
                    for (sum, &acc) in sums.iter_mut().zip(acc) {
                        *sum = simd.add_f32s(*sum, acc);
                    }
                }
            }
        }
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
            let taps: &[f32] = bytemuck::cast_slice(taps.as_flattened());
            for (lane, filter) in weight_gradient.chunks_exact_mut(conv.channels * 9).enumerate() {
                for (tap, to) in filter[channel * 9..][..9].iter_mut().enumerate() {
                    *to = taps[tap * S::F32_LANES + lane];
                }
            }
        }
    }
}
