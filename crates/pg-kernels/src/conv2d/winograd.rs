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
//! A, B and G are Cook and Toom's for the points 0, p, -p, q, -q and infinity (Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", 2016, have p = 1 and q = 2). With p = 3/4 and q = 3/2, exact in binary, the powers
//! stay near 1: over 64 channels of numbers in [-1, 1] the root mean square error is 2 times that of direct f32 sums,
//! where 1 and 2 give 4 times.

use super::Conv2dGeometry;
use crate::scratch::with_scratch;
use pulp::{Arch, Simd, WithSimd, bytemuck};
use rayon::prelude::*;

/// The points: 0, P, -P, Q, -Q, infinity.
const P: f32 = 0.75;
const Q: f32 = 1.5;
/// The polynomial that vanishes at the other points, at 0, at P or -P, and at Q or -Q.
const AT_0: f32 = P * P * Q * Q;
const AT_P: f32 = 2.0 * P * P * (P * P - Q * Q);
const AT_Q: f32 = 2.0 * Q * Q * (Q * Q - P * P);
/// Points of a tile.
const POINTS: usize = 36;
/// Tiles that one panel of the product holds in registers.
const ROWS: usize = 6;
/// Vectors of filters in a panel: with [`ROWS`] accumulators each they fill AVX-512's 32 registers.
const PANEL: usize = 4;
/// Tiles worked on together, at least: what a panel of kernels is read for.
const BLOCK: usize = 84;

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
        let pays = this.channels >= 16
            && this.filters >= 16
            && this.samples * this.tile_rows() * this.tile_columns() >= 96;
        (applies && g.groups == 1 && pays).then_some(this)
    }

    /// The input gradient as a forward pass over the output's gradient.
    pub(super) fn input_gradient(g: &Conv2dGeometry) -> Option<Self> {
        Self::forward(g).map(|f| Self {
            channels: f.filters,
            filters: f.channels,
            height: f.out_height,
            width: f.out_width,
            pad_y: 2 - f.pad_y,
            pad_x: 2 - f.pad_x,
            out_height: f.height,
            out_width: f.width,
            ..f
        })
    }

    fn tile_rows(&self) -> usize {
        self.out_height.div_ceil(4)
    }

    fn tile_columns(&self) -> usize {
        self.out_width.div_ceil(4)
    }

    /// `kernel(filter, channel)` gives the nine weights.
    pub(super) fn run(
        &self,
        input: &[f32],
        kernel: impl Fn(usize, usize) -> [f32; 9] + Sync,
        output: &mut [f32],
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
}

struct Forward<'a, K> {
    conv: &'a Winograd,
    input: &'a [f32],
    kernel: K,
    output: &'a mut [f32],
}

impl<K: Fn(usize, usize) -> [f32; 9] + Sync> WithSimd for Forward<'_, K> {
    type Output = ();

    fn with_simd<S: Simd>(self, simd: S) {
        let Self { conv, input, kernel, output } = self;
        let blocks = conv.channels.div_ceil(S::F32_LANES);
        let panels = conv.filters.div_ceil(PANEL * S::F32_LANES);
        let panel_len = blocks * POINTS * S::F32_LANES * PANEL;
        with_vectors(simd, panels * panel_len, |kernels| {
            kernels.par_chunks_mut(panel_len).enumerate().for_each(|(panel, kernels)| {
                let first = panel * PANEL * S::F32_LANES;
                simd.vectorize(KernelTask { simd, conv, kernel: &kernel, first, kernels });
            });
            let kernels = &*kernels;
            // Enough samples a task that each panel of kernels serves a block of tiles.
            let group = BLOCK.div_ceil(conv.tile_rows() * conv.tile_columns());
            output
                .par_chunks_mut(group * conv.filters * conv.out_height * conv.out_width)
                .zip(input.par_chunks(group * conv.channels * conv.height * conv.width))
                .for_each(|(output, input)| {
                    let samples = input.len() / (conv.channels * conv.height * conv.width);
                    let room = Room::new(simd, conv, samples);
                    with_vectors(simd, room.u + room.m + room.lines, |scratch| {
                        simd.vectorize(Task { simd, conv, input, kernels, room, scratch, output });
                    });
                });
        });
    }
}

/// Calls `f` with `len` vectors that hold anything.
fn with_vectors<S: Simd, R>(_: S, len: usize, f: impl FnOnce(&mut [S::f32s]) -> R) -> R {
    with_scratch(len * S::F32_LANES, |scratch: &mut [f32]| f(bytemuck::cast_slice_mut(scratch)))
}

/// One panel of V.
struct KernelTask<'a, S: Simd, K> {
    simd: S,
    conv: &'a Winograd,
    kernel: &'a K,
    /// First filter of the panel.
    first: usize,
    kernels: &'a mut [S::f32s],
}

impl<S: Simd, K: Fn(usize, usize) -> [f32; 9]> pulp::NullaryFnOnce for KernelTask<'_, S, K> {
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
                    let points = transform(simd, taps, KernelPoints);
                    for (point, value) in points.into_iter().enumerate() {
                        kernels[(point * S::F32_LANES + channel) * PANEL + part] = value;
                    }
                }
            }
        }
    }
}

/// The convolution of some whole samples, on one thread.
struct Task<'a, S: Simd> {
    simd: S,
    conv: &'a Winograd,
    input: &'a [f32],
    kernels: &'a [S::f32s],
    room: Room,
    scratch: &'a mut [S::f32s],
    output: &'a mut [f32],
}

/// What a [`Task`] works on at a time, and the vectors that this takes.
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
    fn new<S: Simd>(_: S, conv: &Winograd, samples: usize) -> Self {
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
}

impl<S: Simd> pulp::NullaryFnOnce for Task<'_, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, conv, input, kernels, room, scratch, output } = self;
        let (u, scratch) = scratch.split_at_mut(room.u);
        let (m, lines) = scratch.split_at_mut(room.m);
        let planes = conv.input_planes();
        for start in (0..room.rows).step_by(room.rows_a_block) {
            let rows = start..(start + room.rows_a_block).min(room.rows);
            let grid =
                Grid { rows, a_sample: conv.tile_rows(), columns: conv.tile_columns(), tiles: room.tiles };
            for (block, u) in u.chunks_exact_mut(POINTS * room.tiles).enumerate() {
                input_points(simd, &planes, input, block, &grid, lines, u);
            }
            for (panel, kernels) in
                kernels.chunks_exact(room.u / room.tiles * S::F32_LANES * PANEL).enumerate()
            {
                for (point, m) in m.chunks_exact_mut(room.tiles * PANEL).enumerate() {
                    product(simd, u, point, room.tiles, kernels, m);
                }
                for index in 0..grid.rows.len() {
                    output_row(simd, conv, m, &grid, index, panel, lines, output);
                }
            }
        }
    }
}

/// `m` (tiles x panel) = `u` at a point (tiles x channels) times `kernels` (channels x panel).
#[inline(always)]
fn product<S: Simd>(
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
                        *sum = simd.mul_add_f32s(value, kernel, *sum);
                    }
                }
            }
        }
        for (m, sum) in m.iter_mut().zip(sums.as_flattened()) {
            *m = *sum;
        }
    }
}

/// The images that tiles are cut from.
struct Planes {
    channels: usize,
    height: usize,
    width: usize,
    pad_y: usize,
    pad_x: usize,
}

/// Rows of tiles, counted through the samples, and where their tiles go.
struct Grid {
    rows: std::ops::Range<usize>,
    /// Rows of tiles a sample.
    a_sample: usize,
    columns: usize,
    /// Tiles that a point has room for.
    tiles: usize,
}

impl Planes {
    /// Vectors that `side` lines of an image need, for tiles of `side`.
    fn lines_len(&self, side: usize, columns: usize) -> usize {
        side * (4 * columns + 2)
    }

    /// Lines `y..y + side` (in the padded image) of a block of channels, transposed: [line][x][lane].
    #[inline(always)]
    fn lines<S: Simd>(
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

/// `u` [point][tile] = B' d B of the tiles of a block of channels.
#[inline(always)]
fn input_points<S: Simd>(
    simd: S,
    planes: &Planes,
    images: &[f32],
    block: usize,
    grid: &Grid,
    lines: &mut [S::f32s],
    u: &mut [S::f32s],
) {
    let line_len = 4 * grid.columns + 2;
    for (index, row) in grid.rows.clone().enumerate() {
        planes.lines::<S>(images, row / grid.a_sample, block, row % grid.a_sample * 4, 6, lines);
        for column in 0..grid.columns {
            let mut tile = [simd.splat_f32s(0.0); 36];
            for (tile, line) in tile.chunks_exact_mut(6).zip(lines.chunks_exact(line_len)) {
                tile.copy_from_slice(&line[4 * column..][..6]);
            }
            let points = transform(simd, &tile, InputPoints);
            for (point, value) in points.into_iter().enumerate() {
                u[point * grid.tiles + index * grid.columns + column] = value;
            }
        }
    }
}

/// Writes A' m A of row `index` of the grid, for the filters of one panel.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn output_row<S: Simd>(
    simd: S,
    conv: &Winograd,
    m: &[S::f32s],
    grid: &Grid,
    index: usize,
    panel: usize,
    lines: &mut [S::f32s],
    output: &mut [f32],
) {
    let columns = grid.columns;
    let line_len = 4 * columns;
    let row = grid.rows.start + index;
    let (sample, y) = (row / grid.a_sample, row % grid.a_sample * 4);
    for part in 0..PANEL {
        let first = (panel * PANEL + part) * S::F32_LANES;
        if first >= conv.filters {
            return;
        }
        for column in 0..columns {
            let mut points = [simd.splat_f32s(0.0); 36];
            for (point, value) in points.iter_mut().enumerate() {
                *value = m[(point * grid.tiles + index * columns + column) * PANEL + part];
            }
            let tile = transform(simd, &points, Outputs);
            for (line, tile) in lines.chunks_exact_mut(line_len).zip(tile.chunks_exact(4)) {
                line[4 * column..][..4].copy_from_slice(tile);
            }
        }
        let lines: &[f32] = bytemuck::cast_slice(&lines[..4 * line_len]);
        let plane_len = conv.out_height * conv.out_width;
        let lanes = S::F32_LANES.min(conv.filters - first);
        for lane in 0..lanes {
            let plane = &mut output[(sample * conv.filters + first + lane) * plane_len..][..plane_len];
            let rows = plane[y * conv.out_width..].chunks_exact_mut(conv.out_width);
            for (row, line) in rows.zip(lines.chunks_exact(line_len * S::F32_LANES)) {
                for (to, from) in row.iter_mut().zip(line.chunks_exact(S::F32_LANES)) {
                    *to = from[lane];
                }
            }
        }
    }
}

struct WeightGradient<'a> {
    conv: &'a Winograd,
    input: &'a [f32],
    gradient: &'a [f32],
    weight_gradient: &'a mut [f32],
}

/// Tiles a round of the weight gradient: their transforms are kept until every point has been multiplied.
const ROUND: usize = 256;
/// Channels and vectors of filters that one product of the weight gradient holds in registers.
const LANE_ROWS: usize = 4;

impl WithSimd for WeightGradient<'_> {
    type Output = ();

    fn with_simd<S: Simd>(self, simd: S) {
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
                    simd.vectorize(InputTask { simd, planes: &planes, images: input, block, grid: &grid, u });
                });
                d.par_chunks_mut(POINTS * tiles).enumerate().for_each(|(block, d)| {
                    if block * S::F32_LANES < conv.filters {
                        simd.vectorize(GradientTask {
                            simd,
                            planes: &gradients,
                            images: gradient,
                            block,
                            grid: &grid,
                            d,
                        });
                    } else {
                        d.fill(zero);
                    }
                });
                sums.par_chunks_mut(S::F32_LANES * filter_blocks).enumerate().for_each(|(index, sums)| {
                    let (point, block) = (index / blocks, index % blocks);
                    let (u, d) = (&*u, &*d);
                    let u = &u[(block * POINTS + point) * tiles..][..used];
                    simd.vectorize(SumTask { simd, u, d, point, tiles, sums });
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

struct InputTask<'a, S: Simd> {
    simd: S,
    planes: &'a Planes,
    images: &'a [f32],
    block: usize,
    grid: &'a Grid,
    u: &'a mut [S::f32s],
}

impl<S: Simd> pulp::NullaryFnOnce for InputTask<'_, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, planes, images, block, grid, u } = self;
        let mut lines = vec![simd.splat_f32s(0.0); planes.lines_len(6, grid.columns)];
        input_points(simd, planes, images, block, grid, &mut lines, u);
    }
}

/// A dy A' of the tiles of a block of filters.
struct GradientTask<'a, S: Simd> {
    simd: S,
    planes: &'a Planes,
    images: &'a [f32],
    block: usize,
    grid: &'a Grid,
    d: &'a mut [S::f32s],
}

impl<S: Simd> pulp::NullaryFnOnce for GradientTask<'_, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, planes, images, block, grid, d } = self;
        let line_len = 4 * grid.columns;
        let mut lines = vec![simd.splat_f32s(0.0); 4 * line_len];
        for (index, row) in grid.rows.clone().enumerate() {
            planes.lines::<S>(images, row / grid.a_sample, block, row % grid.a_sample * 4, 4, &mut lines);
            for column in 0..grid.columns {
                let mut tile = [simd.splat_f32s(0.0); 16];
                for (tile, line) in tile.chunks_exact_mut(4).zip(lines.chunks_exact(line_len)) {
                    tile.copy_from_slice(&line[4 * column..][..4]);
                }
                let points = transform(simd, &tile, GradientPoints);
                for (point, value) in points.into_iter().enumerate() {
                    d[point * grid.tiles + index * grid.columns + column] = value;
                }
            }
        }
    }
}

/// Adds U' D of one point and one block of channels.
struct SumTask<'a, S: Simd> {
    simd: S,
    u: &'a [S::f32s],
    d: &'a [S::f32s],
    point: usize,
    tiles: usize,
    sums: &'a mut [S::f32s],
}

impl<S: Simd> pulp::NullaryFnOnce for SumTask<'_, S> {
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
                            *acc = simd.mul_add_f32s(value, column, *acc);
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
            let taps = transform(simd, &points, KernelGradient);
            let taps: &[f32] = bytemuck::cast_slice(&taps[..9]);
            for (lane, filter) in weight_gradient.chunks_exact_mut(conv.channels * 9).enumerate() {
                for (tap, to) in filter[channel * 9..][..9].iter_mut().enumerate() {
                    *to = taps[tap * S::F32_LANES + lane];
                }
            }
        }
    }
}

/// A one-dimensional transform. No closure: it would not be compiled for the vector instructions.
trait Line<const FROM: usize, const TO: usize> {
    fn apply<S: Simd>(simd: S, values: [S::f32s; FROM]) -> [S::f32s; TO];
}

/// A one-dimensional map of `FROM` to `TO` vectors, along the columns and then the rows of a square. Only the first
/// `TO * TO` results mean anything.
#[inline(always)]
fn transform<S: Simd, L: Line<FROM, TO>, const FROM: usize, const TO: usize>(
    simd: S,
    square: &[S::f32s],
    _: L,
) -> [S::f32s; POINTS] {
    let zero = simd.splat_f32s(0.0);
    let mut half = [[zero; FROM]; TO];
    for x in 0..FROM {
        let mut column = [zero; FROM];
        for (y, value) in column.iter_mut().enumerate() {
            *value = square[y * FROM + x];
        }
        for (half, value) in half.iter_mut().zip(L::apply(simd, column)) {
            half[x] = value;
        }
    }
    let mut result = [zero; POINTS];
    for (result, half) in result.chunks_exact_mut(TO).zip(half) {
        result.copy_from_slice(&L::apply(simd, half));
    }
    result
}

/// B': the coefficients of the polynomials that vanish at all points but one.
struct InputPoints;

impl Line<6, 6> for InputPoints {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, d: [S::f32s; 6]) -> [S::f32s; 6] {
        let [p, q, p2, q2] = [P, Q, P * P, Q * Q].map(|x| simd.splat_f32s(x));
        let [sum, product] = [P * P + Q * Q, P * P * Q * Q].map(|x| simd.splat_f32s(x));
        let p_even = simd.negate_mul_add_f32s(q2, d[2], d[4]);
        let p_odd = simd.mul_f32s(p, simd.negate_mul_add_f32s(q2, d[1], d[3]));
        let q_even = simd.negate_mul_add_f32s(p2, d[2], d[4]);
        let q_odd = simd.mul_f32s(q, simd.negate_mul_add_f32s(p2, d[1], d[3]));
        [
            simd.mul_add_f32s(product, d[0], simd.negate_mul_add_f32s(sum, d[2], d[4])),
            simd.add_f32s(p_even, p_odd),
            simd.sub_f32s(p_even, p_odd),
            simd.add_f32s(q_even, q_odd),
            simd.sub_f32s(q_even, q_odd),
            simd.mul_add_f32s(product, d[1], simd.negate_mul_add_f32s(sum, d[3], d[5])),
        ]
    }
}

/// A': the powers of the points.
struct Outputs;

impl Line<6, 4> for Outputs {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, m: [S::f32s; 6]) -> [S::f32s; 4] {
        let [p, p2, p3] = [P, P * P, P * P * P].map(|x| simd.splat_f32s(x));
        let [q, q2, q3] = [Q, Q * Q, Q * Q * Q].map(|x| simd.splat_f32s(x));
        let (p_sum, p_difference) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
        let (q_sum, q_difference) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
        [
            simd.add_f32s(m[0], simd.add_f32s(p_sum, q_sum)),
            simd.mul_add_f32s(p, p_difference, simd.mul_f32s(q, q_difference)),
            simd.mul_add_f32s(p2, p_sum, simd.mul_f32s(q2, q_sum)),
            simd.mul_add_f32s(p3, p_difference, simd.mul_add_f32s(q3, q_difference, m[5])),
        ]
    }
}

/// A.
struct GradientPoints;

impl Line<4, 6> for GradientPoints {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, y: [S::f32s; 4]) -> [S::f32s; 6] {
        let [p, p2, p3] = [P, P * P, P * P * P].map(|x| simd.splat_f32s(x));
        let [q, q2, q3] = [Q, Q * Q, Q * Q * Q].map(|x| simd.splat_f32s(x));
        let p_even = simd.mul_add_f32s(p2, y[2], y[0]);
        let p_odd = simd.mul_add_f32s(p3, y[3], simd.mul_f32s(p, y[1]));
        let q_even = simd.mul_add_f32s(q2, y[2], y[0]);
        let q_odd = simd.mul_add_f32s(q3, y[3], simd.mul_f32s(q, y[1]));
        [
            y[0],
            simd.add_f32s(p_even, p_odd),
            simd.sub_f32s(p_even, p_odd),
            simd.add_f32s(q_even, q_odd),
            simd.sub_f32s(q_even, q_odd),
            y[3],
        ]
    }
}

/// G: the powers of the points over what the polynomials of B are there.
struct KernelPoints;

impl Line<3, 6> for KernelPoints {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; 6] {
        let [at_0, at_p, at_q] = [AT_0, AT_P, AT_Q].map(|x| simd.splat_f32s(1.0 / x));
        let [p, p2, q, q2] = [P / AT_P, P * P / AT_P, Q / AT_Q, Q * Q / AT_Q].map(|x| simd.splat_f32s(x));
        let p_even = simd.mul_add_f32s(p2, g[2], simd.mul_f32s(at_p, g[0]));
        let q_even = simd.mul_add_f32s(q2, g[2], simd.mul_f32s(at_q, g[0]));
        [
            simd.mul_f32s(at_0, g[0]),
            simd.mul_add_f32s(p, g[1], p_even),
            simd.negate_mul_add_f32s(p, g[1], p_even),
            simd.mul_add_f32s(q, g[1], q_even),
            simd.negate_mul_add_f32s(q, g[1], q_even),
            g[2],
        ]
    }
}

/// G'.
struct KernelGradient;

impl Line<6, 3> for KernelGradient {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, s: [S::f32s; 6]) -> [S::f32s; 3] {
        let [at_0, at_p, at_q] = [AT_0, AT_P, AT_Q].map(|x| simd.splat_f32s(1.0 / x));
        let [p, p2, q, q2] = [P / AT_P, P * P / AT_P, Q / AT_Q, Q * Q / AT_Q].map(|x| simd.splat_f32s(x));
        let (p_sum, p_difference) = (simd.add_f32s(s[1], s[2]), simd.sub_f32s(s[1], s[2]));
        let (q_sum, q_difference) = (simd.add_f32s(s[3], s[4]), simd.sub_f32s(s[3], s[4]));
        [
            simd.mul_add_f32s(at_0, s[0], simd.mul_add_f32s(at_p, p_sum, simd.mul_f32s(at_q, q_sum))),
            simd.mul_add_f32s(p, p_difference, simd.mul_f32s(q, q_difference)),
            simd.mul_add_f32s(p2, p_sum, simd.mul_add_f32s(q2, q_sum, s[5])),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::im2col;
    use super::Winograd;
    use crate::conv2d::{Conv2dGeometry, Conv2dOptions, forward, input_gradient, weight_gradient};

    fn geometry([n, channels, filters, height, width, pad_y, pad_x]: [usize; 7]) -> Conv2dGeometry {
        let options = Conv2dOptions { padding: (pad_y, pad_x), ..Conv2dOptions::default() };
        Conv2dGeometry::new([n, channels, height, width], [filters, channels, 3, 3], options).unwrap()
    }

    fn numbers(n: usize, salt: u64) -> Vec<f32> {
        let mut state = salt;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    /// Largest difference from f64, relative to the root mean square of the result, for each pass.
    fn errors(g: &Conv2dGeometry) -> [f64; 3] {
        let (x, w, dy) = (numbers(g.input_len(), 1), numbers(g.kernel_len(), 2), numbers(g.output_len(), 3));
        let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let (xw, ww, dyw) = (wide(&x), wide(&w), wide(&dy));
        let lens = [g.output_len(), g.input_len(), g.kernel_len()];
        let mut narrow = lens.map(|len| vec![f32::NAN; len]);
        forward(g, &x, &w, &mut narrow[0]);
        input_gradient(g, &dy, &w, &mut narrow[1]);
        weight_gradient(g, &x, &dy, &mut narrow[2]);
        let mut exact = lens.map(|len| vec![f64::NAN; len]);
        forward(g, &xw, &ww, &mut exact[0]);
        input_gradient(g, &dyw, &ww, &mut exact[1]);
        weight_gradient(g, &xw, &dyw, &mut exact[2]);
        std::array::from_fn(|pass| {
            let scale = (exact[pass].iter().map(|v| v * v).sum::<f64>() / exact[pass].len() as f64).sqrt();
            let off = narrow[pass].iter().zip(&exact[pass]).map(|(&a, &b)| (f64::from(a) - b).abs() / scale);
            off.fold(0.0, |worst, off| if off > worst || off.is_nan() { off } else { worst })
        })
    }

    #[test]
    fn all_three_passes_are_right_up_to_rounding() {
        for shape in [
            [2, 16, 16, 28, 28, 1, 1],
            [3, 20, 70, 25, 31, 1, 1],
            [1, 64, 17, 41, 40, 0, 2],
            [7, 33, 130, 14, 15, 2, 0],
            [8, 16, 64, 13, 13, 1, 1],
        ] {
            let g = geometry(shape);
            assert!(Winograd::forward(&g).is_some(), "{shape:?}");
            for error in errors(&g) {
                assert!(error < 2e-5, "{shape:?}: {error}");
            }
        }
    }

    /// The claim of this file's head.
    #[test]
    fn the_error_is_about_twice_that_of_direct_sums() {
        let g = geometry([4, 64, 64, 28, 28, 1, 1]);
        let (x, w) = (numbers(g.input_len(), 1), numbers(g.kernel_len(), 2));
        let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let mut exact = vec![0.0; g.output_len()];
        forward(&g, &wide(&x), &wide(&w), &mut exact);
        let (mut tiled, mut direct) = (vec![0f32; g.output_len()], vec![0f32; g.output_len()]);
        forward(&g, &x, &w, &mut tiled);
        im2col::forward(&g, &x, &w, &mut direct);
        let error =
            |of: &[f32]| of.iter().zip(&exact).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum::<f64>().sqrt();
        let ratio = error(&tiled) / error(&direct);
        assert!((1.2..4.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let g = geometry([5, 40, 40, 25, 25, 1, 1]);
        let (x, w, dy) = (numbers(g.input_len(), 1), numbers(g.kernel_len(), 2), numbers(g.output_len(), 3));
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (mut y, mut dw) = (dy.clone(), w.clone());
            pool.install(|| {
                forward(&g, &x, &w, &mut y);
                weight_gradient(&g, &x, &dy, &mut dw);
            });
            (y, dw)
        };
        assert_eq!(on(1), on(4));
    }
}
