//! Tiles, cut from images, and their points: B' d B of the input's, A dy A' of the output's gradient.

use super::POINTS;
use super::transform::{Line, transform};
use pulp::{Simd, bytemuck};
use rayon::prelude::*;
use std::marker::PhantomData;

/// The images that tiles are cut from.
pub(super) struct Planes {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) pad_y: usize,
    pub(super) pad_x: usize,
}

/// Rows of tiles, counted through the samples, and where their tiles go.
pub(super) struct Grid {
    pub(super) rows: std::ops::Range<usize>,
    /// Rows of tiles a sample.
    pub(super) a_sample: usize,
    pub(super) columns: usize,
    /// Tiles that a point has room for.
    pub(super) tiles: usize,
}

impl Grid {
    /// The sample of the row at `index`.
    pub(super) fn sample(&self, index: usize) -> usize {
        (self.rows.start + index) / self.a_sample
    }
}

impl Planes {
    /// Vectors that `side` lines of an image need, for tiles of `side`.
    pub(super) fn lines_len(&self, side: usize, columns: usize) -> usize {
        side * (4 * columns + side - 4)
    }

    /// Lines `y..y + side` (in the padded image) of a block of channels, transposed: [line][x][lane].
    #[inline(always)]
    pub(super) fn lines<S: Simd>(
        &self,
        images: &[f32],
        sample: usize,
        block: usize,
        y: usize,
        side: usize,
        lines: &mut [S::f32s],
    ) {
        let lines: &mut [f32] = bytemuck::cast_slice_mut(lines);
        lines.fill(0.0);
        let line_len = lines.len() / side;
        let first = block * S::F32_LANES;
        let lanes = S::F32_LANES.min(self.channels - first);
        for lane in 0..lanes {
            let plane = &images[(sample * self.channels + first + lane) * self.height * self.width..]
                [..self.height * self.width];
            for (offset, line) in lines.chunks_exact_mut(line_len).enumerate() {
                let Some(y) = (y + offset).checked_sub(self.pad_y).filter(|&y| y < self.height) else {
                    continue;
                };
                let values = line[self.pad_x * S::F32_LANES..].chunks_exact_mut(S::F32_LANES);
                for (value, &from) in values.zip(&plane[y * self.width..][..self.width]) {
                    value[lane] = from;
                }
            }
        }
    }
}

/// `points` [channel block][point][tile][lane] of the tiles of a grid; of blocks beyond the channels zeros.
pub(super) fn points_of_blocks<S: Simd, L: Line<SIDE, 6>, const SIDE: usize>(
    simd: S,
    planes: &Planes,
    images: &[f32],
    grid: &Grid,
    points: &mut [S::f32s],
) {
    points.par_chunks_mut(POINTS * grid.tiles).enumerate().for_each(|(block, points)| {
        if block * S::F32_LANES < planes.channels {
            let line = PhantomData::<L>;
            simd.vectorize(PointsTask::<S, L, SIDE> { simd, planes, images, block, grid, points, line });
        } else {
            points.fill(simd.splat_f32s(0.0));
        }
    });
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

/// `points` [point][tile] of the tiles, of `SIDE` by `SIDE`, of a block of channels: B' d B or A dy A'.
#[inline(always)]
pub(super) fn tile_points<S: Simd, L: Line<SIDE, 6>, const SIDE: usize>(
    simd: S,
    planes: &Planes,
    images: &[f32],
    block: usize,
    grid: &Grid,
    lines: &mut [S::f32s],
    points: &mut [S::f32s],
) {
    let line_len = lines.len() / SIDE;
    for (index, row) in grid.rows.clone().enumerate() {
        planes.lines::<S>(images, row / grid.a_sample, block, row % grid.a_sample * 4, SIDE, lines);
        for column in 0..grid.columns {
            let mut tile = [[simd.splat_f32s(0.0); SIDE]; SIDE];
            for (tile, line) in tile.iter_mut().zip(lines.chunks_exact(line_len)) {
                tile.copy_from_slice(&line[4 * column..][..SIDE]);
            }
            let values = transform::<S, L, SIDE, 6>(simd, tile.as_flattened());
            for (point, &value) in values.as_flattened().iter().enumerate() {
                points[point * grid.tiles + index * grid.columns + column] = value;
            }
        }
    }
}
