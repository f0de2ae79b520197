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

mod transform;
mod weight_gradient;

use super::Conv2dGeometry;
use crate::scratch::with_scratch;
use pulp::{Arch, Simd, WithSimd, bytemuck};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use transform::{InputPoints, KernelPoints, Line, Outputs, transform};
use weight_gradient::WeightGradient;

/// Points of a tile.
const POINTS: usize = 36;
/// Tiles that one panel of the product holds in registers, for each of its PANEL vectors of filters: PANEL is 4 where
/// there are 32 registers, 2 on AVX2, which has 16.
const ROWS: usize = 6;
/// About how many tiles are worked on together: what a panel of kernels is read for.
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

    /// Not for a few tiles, nor for so few filters that most of a panel is empty.
    fn pays(&self) -> bool {
        self.channels >= 16 && self.filters >= 48 && self.tiles() >= 24
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

struct Forward<'a, K> {
    conv: &'a Winograd,
    input: &'a [f32],
    kernel: K,
    output: &'a mut [MaybeUninit<f32>],
}

impl<K: Fn(usize, usize) -> [f32; 9] + Sync> WithSimd for Forward<'_, K> {
    type Output = ();

    fn with_simd<S: Simd>(self, simd: S) {
        if has_few_registers::<S>() { self.run::<S, 2>(simd) } else { self.run::<S, 4>(simd) }
    }
}

fn has_few_registers<S: Simd>() -> bool {
    S::REGISTER_COUNT < 32
}

impl<K: Fn(usize, usize) -> [f32; 9] + Sync> Forward<'_, K> {
    fn run<S: Simd, const PANEL: usize>(self, simd: S) {
        if self.conv.tiles() < self.conv.filters {
            self.by_panels::<S, PANEL>(simd);
        } else {
            self.by_samples::<S, PANEL>(simd);
        }
    }

    /// Many tiles: V once, then each task transforms and multiplies the tiles of some samples.
    fn by_samples<S: Simd, const PANEL: usize>(self, simd: S) {
        let Self { conv, input, kernel, output } = self;
        let panel_len = conv.panel_len::<S, PANEL>();
        with_vectors(simd, conv.panels::<S, PANEL>() * panel_len, |kernels| {
            kernels.par_chunks_mut(panel_len).enumerate().for_each(|(panel, kernels)| {
                let first = panel * PANEL * S::F32_LANES;
                simd.vectorize(KernelTask::<S, K, PANEL> { simd, conv, kernel: &kernel, first, kernels });
            });
            let kernels = &*kernels;
            // Enough samples a task that each panel of kernels serves a block of tiles.
            let samples_a_task = BLOCK.div_ceil(conv.tile_rows() * conv.tile_columns());
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

    /// Many filters: U once, then each task transforms and multiplies one panel of kernels.
    fn by_panels<S: Simd, const PANEL: usize>(self, simd: S) {
        let Self { conv, input, kernel, output } = self;
        let room = Room::new::<S, PANEL>(conv, conv.samples);
        let (grids, panel_len) = (room.grids(conv), conv.panel_len::<S, PANEL>());
        let grid_len = POINTS * room.tiles;
        with_vectors(simd, grids.len() * room.u, |u| {
            // [grid][channel block][point][tile][lane]
            u.par_chunks_mut(grid_len).enumerate().for_each(|(index, points)| {
                let (grid, block) = (&grids[index * grid_len / room.u], index % (room.u / grid_len));
                let (planes, line) = (&conv.input_planes(), PhantomData::<InputPoints>);
                simd.vectorize(PointsTask::<S, _, 6> {
                    simd,
                    planes,
                    images: input,
                    block,
                    grid,
                    points,
                    line,
                });
            });
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

/// For each panel of `filters` their planes in every sample.
fn in_panels<'a, T>(output: &'a mut [T], conv: &Winograd, filters: usize) -> Vec<Vec<&'a mut [T]>> {
    let mut panels: Vec<Vec<&mut [T]>> = Vec::new();
    panels.resize_with(conv.filters.div_ceil(filters), || Vec::with_capacity(conv.samples));
    for sample in output.chunks_exact_mut(conv.output_len()) {
        for (panel, planes) in panels.iter_mut().zip(sample.chunks_mut(filters * conv.plane_len())) {
            panel.push(planes);
        }
    }
    panels
}

/// Calls `f` with `len` vectors that hold anything.
fn with_vectors<S: Simd, R>(_: S, len: usize, f: impl FnOnce(&mut [S::f32s]) -> R) -> R {
    with_scratch(len * S::F32_LANES, |scratch: &mut [f32]| f(bytemuck::cast_slice_mut(scratch)))
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

impl Grid {
    /// The sample of the row at `index`.
    fn sample(&self, index: usize) -> usize {
        (self.rows.start + index) / self.a_sample
    }
}

impl Planes {
    /// Vectors that `side` lines of an image need, for tiles of `side`.
    fn lines_len(&self, side: usize, columns: usize) -> usize {
        side * (4 * columns + side - 4)
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
fn tile_points<S: Simd, L: Line<SIDE, 6>, const SIDE: usize>(
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
            // Fewer tiles than filters, in two blocks and in one.
            [8, 50, 130, 14, 14, 1, 1],
            [8, 130, 140, 7, 7, 1, 1],
        ] {
            let g = geometry(shape);
            assert!(Winograd::forward(&g).is_some(), "{shape:?}");
            tiled_input_gradients += usize::from(Winograd::input_gradient(&g).is_some());
            for error in errors(&g) {
                assert!(error < 2e-5, "{shape:?}: {error}");
            }
        }
        assert_eq!(tiled_input_gradients, 5, "of small images im2col makes them");
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
        for shape in [[9, 33, 64, 28, 28, 1, 1], [5, 33, 130, 14, 14, 1, 1]] {
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
