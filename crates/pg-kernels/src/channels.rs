//! Per-channel arithmetic on (outer, channels, inner): the parts of normalisation layers and of a convolution's bias.
//!
//! Sums and means are accumulated in f64 whatever the element type (those of batch normalisation's gradients, four terms at a
//! time). Each line of `inner` elements is summed on its
//! own, and a channel's lines in order, so that rounding does not depend on the number of threads.

use crate::collect::{TASK, written, written_each};
use crate::geometry::{ShapeError, checked_len, non_empty};
use crate::matmul::Float;
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// The checked shape (outer, channels, inner) of a tensor whose second axis holds the channels.
#[derive(Debug, Clone, Copy)]
pub struct ChannelGeometry {
    outer: usize,
    channels: usize,
    inner: usize,
}

impl ChannelGeometry {
    /// Checks a shape (outer, channels, ...); further axes count as one.
    ///
    /// # Errors
    /// [`ShapeError::Rank`] if there is no channel axis; other [`ShapeError`]s if an axis is empty or the size overflows.
    pub fn new(shape: &[usize]) -> Result<Self, ShapeError> {
        let operation = "per-channel arithmetic";
        let [outer, channels, further @ ..] = shape else {
            let expected = "(n, channels, ...)";
            return Err(ShapeError::Rank { operation, shape: shape.to_vec(), expected });
        };
        non_empty(operation, shape)?;
        checked_len(operation, shape)?;
        Ok(Self { outer: *outer, channels: *channels, inner: further.iter().product() })
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.outer * self.channels * self.inner
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Number of elements of one channel that lie together: the product of the axes behind the channels'.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Number of elements of one channel.
    pub fn count(&self) -> usize {
        self.outer * self.inner
    }

    /// Asserts the lengths of slices of all elements, and of one element a channel.
    pub(crate) fn check(&self, of_all: &[usize], of_channels: &[usize]) {
        assert!(of_all.iter().all(|len| *len == self.elements()), "elements {of_all:?} of {self:?}");
        assert!(of_channels.iter().all(|len| *len == self.channels), "channels {of_channels:?} of {self:?}");
    }

    /// Where the elements of a sample's channel are.
    fn line(&self, sample: usize, channel: usize) -> Range<usize> {
        let start = (sample * self.channels + channel) * self.inner;
        start..start + self.inner
    }

    /// Lines that are too few elements to be worth a task of their own share one.
    fn lines_a_task(&self) -> usize {
        const ELEMENTS: usize = 1 << 14;
        ELEMENTS.div_ceil(self.inner)
    }
}

/// `x * scale[channel]`.
///
/// # Panics
/// As all functions of this module, if a slice has not the elements of the geometry, or of its channels.
pub fn scale<T: Float>(g: &ChannelGeometry, x: &[T], scale: &[T]) -> Vec<T> {
    g.check(&[x.len()], &[scale.len()]);
    map(g, x, |x, channel| x * scale[channel])
}

/// `x + shift[channel]`.
pub fn shift<T: Float>(g: &ChannelGeometry, x: &[T], shift: &[T]) -> Vec<T> {
    g.check(&[x.len()], &[shift.len()]);
    map(g, x, |x, channel| x + shift[channel])
}

/// `x * scale[channel] + shift[channel]`.
pub fn affine<T: Float>(g: &ChannelGeometry, x: &[T], scale: &[T], shift: &[T]) -> Vec<T> {
    g.check(&[x.len()], &[scale.len(), shift.len()]);
    map(g, x, |x, channel| x * scale[channel] + shift[channel])
}

/// `x - mean of the channel`.
pub fn center<T: Float>(g: &ChannelGeometry, x: &[T]) -> Vec<T> {
    g.check(&[x.len()], &[]);
    let count = g.count() as f64;
    let means: Vec<f64> = channel_sums(g, [x], |[x]| x).into_iter().map(|sum| sum / count).collect();
    map(g, x, |x, channel| T::from_f64(x.into() - means[channel]))
}

/// `value[channel]` in all elements of a channel.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
pub fn fill<T: Float>(g: &ChannelGeometry, value: &[T]) -> Vec<T> {
    g.check(&[], &[value.len()]);
    // SAFETY: all of a line is filled.
    unsafe { by_line(g, |_, channel, y| y.fill(MaybeUninit::new(value[channel]))) }
}

/// The sum of `x` over each channel.
pub fn sum<T: Float>(g: &ChannelGeometry, x: &[T]) -> Vec<T> {
    g.check(&[x.len()], &[]);
    channel_sums(g, [x], |[x]| x).into_iter().map(T::from_f64).collect()
}

/// The sum of `x * y` over each channel.
pub fn dot<T: Float>(g: &ChannelGeometry, x: &[T], y: &[T]) -> Vec<T> {
    g.check(&[x.len(), y.len()], &[]);
    channel_sums(g, [x, y], |[x, y]| x * y).into_iter().map(T::from_f64).collect()
}

/// All elements, of which `write(line, channel, places of the line)` gives those of each line.
///
/// # Safety
/// It must write every place that it is given.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
unsafe fn by_line<T: Float>(
    g: &ChannelGeometry,
    write: impl Fn(usize, usize, &mut [MaybeUninit<T>]) + Sync,
) -> Vec<T> {
    let write_all = |y: &mut [MaybeUninit<T>]| {
        let lines = y.par_chunks_exact_mut(g.inner).enumerate().with_min_len(g.lines_a_task());
        lines.for_each(|(line, y)| write(line, line % g.channels, y));
    };
    // SAFETY: there are whole lines of elements, and of each the caller writes all.
    unsafe { written(g.elements(), write_all) }
}

/// `f(x, channel)`, element by element.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
fn map<T: Float>(g: &ChannelGeometry, x: &[T], f: impl Fn(T, usize) -> T + Sync) -> Vec<T> {
    if g.inner == 1 {
        return map_rows(g, x, f);
    }
    let write = |line: usize, channel: usize, y: &mut [MaybeUninit<T>]| {
        for (y, &x) in y.iter_mut().zip(&x[line * g.inner..][..g.inner]) {
            y.write(f(x, channel));
        }
    };
    // SAFETY: a line has `inner` places, and as many elements.
    unsafe { by_line(g, write) }
}

/// The same where the elements of a line are those of all channels.
#[allow(unsafe_code, reason = "a vector that is not written twice")]
fn map_rows<T: Float>(g: &ChannelGeometry, x: &[T], f: impl Fn(T, usize) -> T + Sync) -> Vec<T> {
    let task = TASK.next_multiple_of(g.channels);
    let write = |y: &mut [MaybeUninit<T>]| {
        y.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(y, x)| {
            for (y, x) in y.chunks_exact_mut(g.channels).zip(x.chunks_exact(g.channels)) {
                for (channel, (y, &x)) in y.iter_mut().zip(x).enumerate() {
                    y.write(f(x, channel));
                }
            }
        });
    };
    // SAFETY: `x` has as many elements, whole rows of them, as every caller has checked.
    unsafe { written(x.len(), write) }
}

/// Sums over the rows of what `f` makes of the elements of slices, where each row has one element a channel.
fn row_sums<T: Float, const N: usize>(
    g: &ChannelGeometry,
    slices: [&[T]; N],
    f: impl Fn([f64; N]) -> f64 + Sync,
) -> Vec<f64> {
    // Of so many rows by themselves, and then in order, so that rounding does not depend on the number of threads.
    let rows = TASK.div_ceil(g.channels);
    let parts: Vec<Vec<f64>> = (0..g.outer.div_ceil(rows))
        .into_par_iter()
        .map(|part| {
            let mut sums = vec![0.0; g.channels];
            for row in part * rows..g.outer.min((part + 1) * rows) {
                let slices = slices.map(|slice| &slice[row * g.channels..][..g.channels]);
                for (channel, sum) in sums.iter_mut().enumerate() {
                    *sum += f(slices.map(|slice| slice[channel].into()));
                }
            }
            sums
        })
        .collect();
    let mut sums = vec![0.0; g.channels];
    parts.iter().for_each(|part| sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part));
    sums
}

/// Sums of each channel over what `f` makes of the elements of slices.
fn channel_sums<T: Float, const N: usize>(
    g: &ChannelGeometry,
    slices: [&[T]; N],
    f: impl Fn([f64; N]) -> f64 + Sync,
) -> Vec<f64> {
    if g.inner == 1 {
        return row_sums(g, slices, f);
    }
    let of_lines =
        |_, line: Range<usize>| line_sum(slices.map(|slice| &slice[line.clone()]), |elements| [f(elements)]);
    sums(g, of_lines).into_iter().map(|[sum]| sum).collect()
}

/// The `R` results of `f(channel)(elements of the slices)`, element by element.
#[allow(unsafe_code, reason = "vectors that are not written twice")]
pub(crate) fn map_lines<T: Float, const N: usize, const R: usize, F: Fn([T; N]) -> [T; R]>(
    g: &ChannelGeometry,
    slices: [&[T]; N],
    f: impl Fn(usize) -> F + Sync,
) -> [Vec<T>; R] {
    let write = |results: [&mut [MaybeUninit<T>]; R]| {
        let lines_a_task = g.lines_a_task();
        let tasks = parts(results, lines_a_task * g.inner).into_par_iter().enumerate();
        tasks.for_each(|(task, mut results)| {
            for line in task * lines_a_task..(g.outer * g.channels).min((task + 1) * lines_a_task) {
                let slices = slices.map(|slice| &slice[line * g.inner..][..g.inner]);
                map_line(slices, cut(&mut results, g.inner), f(line % g.channels));
            }
        });
    };
    // SAFETY: there are whole lines of elements, and `map_line` writes all of its own.
    unsafe { written_each(g.elements(), write) }
}

/// Channels whose elements stay in the cache from one pass over them to the next, and the places of these elements in `R`
/// results.
pub(crate) struct Group<'a, T, const R: usize> {
    g: ChannelGeometry,
    channels: Range<usize>,
    /// Of each sample: the lines of the channels, one behind the other.
    places: Vec<[&'a mut [MaybeUninit<T>]; R]>,
}

/// All channels in groups, with their places in `results`, which have one for each element.
pub(crate) fn groups<'a, T, const R: usize>(
    g: &ChannelGeometry,
    mut results: [&'a mut [MaybeUninit<T>]; R],
) -> Vec<Group<'a, T, R>> {
    /// Of a tensor: so few that those of several stay in the cache of a core.
    const ELEMENTS: usize = 1 << 15;
    let size = ELEMENTS.div_ceil(g.count());
    let group = |first| Group {
        g: *g,
        channels: first..g.channels.min(first + size),
        places: Vec::with_capacity(g.outer),
    };
    let mut groups: Vec<Group<'a, T, R>> = (0..g.channels).step_by(size).map(group).collect();
    for _ in 0..g.outer {
        for group in &mut groups {
            group.places.push(cut(&mut results, group.channels.len() * g.inner));
        }
    }
    groups
}

impl<T: Float, const R: usize> Group<'_, T, R> {
    pub(crate) fn channels(&self) -> Range<usize> {
        self.channels.clone()
    }

    /// `M` sums a channel, of `line_sums(channel, range of the line)`: those of its lines in order.
    pub(crate) fn sums<const M: usize>(
        &self,
        line_sums: impl Fn(usize, Range<usize>) -> [f64; M],
    ) -> Vec<[f64; M]> {
        let mut sums = vec![[0.0; M]; self.channels.len()];
        for sample in 0..self.places.len() {
            for (sums, channel) in sums.iter_mut().zip(self.channels()) {
                let of_line = line_sums(channel, self.g.line(sample, channel));
                sums.iter_mut().zip(of_line).for_each(|(sum, term)| *sum += term);
            }
        }
        sums
    }

    /// `write(channel as counted within the group, range of the line, its places)`, line by line.
    pub(crate) fn for_each_line(&mut self, write: impl Fn(usize, Range<usize>, [&mut [MaybeUninit<T>]; R])) {
        for (sample, places) in self.places.iter_mut().enumerate() {
            let mut rest = places.each_mut().map(|places| &mut places[..]);
            for (in_group, number) in self.channels.clone().enumerate() {
                write(in_group, self.g.line(sample, number), cut(&mut rest, self.g.inner));
            }
        }
    }
}

/// Writes the `R` results of `f(elements of the slices)`, element by element: one in each place.
///
/// # Panics
/// If there are not as many places as elements.
pub(crate) fn map_line<T: Float, const N: usize, const R: usize>(
    slices: [&[T]; N],
    results: [&mut [MaybeUninit<T>]; R],
    f: impl Fn([T; N]) -> [T; R],
) {
    Arch::new().dispatch(MapLine { slices, results, f });
}

/// Parts of `len` elements of several slices of one length, the last of them perhaps shorter.
fn parts<P, const R: usize>(mut slices: [&mut [P]; R], len: usize) -> Vec<[&mut [P]; R]> {
    let mut parts = Vec::with_capacity(slices[0].len().div_ceil(len));
    while !slices[0].is_empty() {
        let len = len.min(slices[0].len());
        parts.push(cut(&mut slices, len));
    }
    parts
}

/// The first `len` elements of several slices, which keep the rest.
fn cut<'a, P, const R: usize>(slices: &mut [&'a mut [P]; R], len: usize) -> [&'a mut [P]; R] {
    slices.each_mut().map(|slice| {
        let (first, rest) = std::mem::take(slice).split_at_mut(len);
        *slice = rest;
        first
    })
}

struct MapLine<'a, T, F, const N: usize, const R: usize> {
    slices: [&'a [T]; N],
    results: [&'a mut [MaybeUninit<T>]; R],
    f: F,
}

impl<T: Float, F: Fn([T; N]) -> [T; R], const N: usize, const R: usize> NullaryFnOnce
    for MapLine<'_, T, F, N, R>
{
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { slices, mut results, f } = self;
        let len = slices[0].len();
        assert!(results.iter().all(|places| places.len() == len), "places of a line");
        let whole = len - len % BLOCK;
        for start in (0..whole).step_by(BLOCK) {
            map_block(slices, &mut results, start, BLOCK, &f);
        }
        map_block(slices, &mut results, whole, len - whole, &f);
    }
}

/// `size` elements from `start` on.
#[inline(always)]
fn map_block<T: Float, const N: usize, const R: usize>(
    slices: [&[T]; N],
    results: &mut [&mut [MaybeUninit<T>]; R],
    start: usize,
    size: usize,
    f: impl Fn([T; N]) -> [T; R],
) {
    let parts = slices.map(|slice| &slice[start..start + size]);
    let mut values = [[MaybeUninit::uninit(); BLOCK]; R];
    for i in 0..size {
        let value = f(parts.map(|part| part[i]));
        for (values, value) in values.iter_mut().zip(value) {
            values[i].write(value);
        }
    }
    for (result, values) in results.iter_mut().zip(&values) {
        result[start..start + size].copy_from_slice(&values[..size]);
    }
}

/// `M` numbers a line, of `of(channel, range of the line)`.
pub(crate) fn lines<const M: usize>(
    g: &ChannelGeometry,
    of: impl Fn(usize, Range<usize>) -> [f64; M] + Sync,
) -> Vec<[f64; M]> {
    (0..g.outer * g.channels)
        .into_par_iter()
        .with_min_len(g.lines_a_task())
        .map(|line| of(line % g.channels, line * g.inner..(line + 1) * g.inner))
        .collect()
}

/// `M` sums a channel over what `of(channel, line)` makes of the numbers of each of its lines.
pub(crate) fn reduce<const N: usize, const M: usize>(
    g: &ChannelGeometry,
    lines: &[[f64; N]],
    of: impl Fn(usize, &[f64; N]) -> [f64; M],
) -> Vec<[f64; M]> {
    let mut sums = vec![[0.0; M]; g.channels];
    for lines in lines.chunks_exact(g.channels) {
        for (channel, (sums, line)) in sums.iter_mut().zip(lines).enumerate() {
            sums.iter_mut().zip(of(channel, line)).for_each(|(sum, term)| *sum += term);
        }
    }
    sums
}

/// `M` sums a channel, of `line_sums(channel, range of the line)`.
pub(crate) fn sums<const M: usize>(
    g: &ChannelGeometry,
    line_sums: impl Fn(usize, Range<usize>) -> [f64; M] + Sync,
) -> Vec<[f64; M]> {
    reduce(g, &lines(g, line_sums), |_, line| *line)
}

/// Independent partial sums, so that additions need not wait for each other.
const LANES: usize = 32;

/// Elements whose terms or results are made before they are summed or written: loops on arrays of their own, of which the
/// compiler makes vectors, where of one loop it does not.
const BLOCK: usize = 64;

/// Sums over a line of what `f` makes of the elements of `N` slices: of four terms as they come, of these sums in f64.
pub(crate) fn line_sum_of_four<T: Float, const N: usize, const M: usize>(
    slices: [&[T]; N],
    f: impl Fn([T; N]) -> [T; M],
) -> [f64; M] {
    Arch::new().dispatch(LineSumOfFour { slices, f })
}

struct LineSumOfFour<'a, T, F, const N: usize> {
    slices: [&'a [T]; N],
    f: F,
}

impl<T: Float, F: Fn([T; N]) -> [T; M], const N: usize, const M: usize> NullaryFnOnce
    for LineSumOfFour<'_, T, F, N>
{
    type Output = [f64; M];

    #[inline(always)]
    fn call(self) -> [f64; M] {
        let Self { slices, f } = self;
        let len = slices[0].len();
        let whole = len - len % BLOCK;
        let mut lanes = [[0.0; FOURTH]; M];
        for start in (0..whole).step_by(BLOCK) {
            add_fourths(&mut lanes, &block_terms(slices, start, BLOCK, &f));
        }
        if whole < len {
            add_fourths(&mut lanes, &block_terms(slices, whole, len - whole, &f));
        }
        lanes.map(total)
    }
}

/// What `f` makes of `size` elements from `start` on, and zeros.
#[inline(always)]
fn block_terms<T: Float, const N: usize, const M: usize>(
    slices: [&[T]; N],
    start: usize,
    size: usize,
    f: impl Fn([T; N]) -> [T; M],
) -> [[T; BLOCK]; M] {
    let parts = slices.map(|slice| &slice[start..start + size]);
    let mut terms = [[T::default(); BLOCK]; M];
    for i in 0..size {
        let term = f(parts.map(|part| part[i]));
        for (terms, term) in terms.iter_mut().zip(term) {
            terms[i] = term;
        }
    }
    terms
}

#[inline(always)]
fn add_fourths<T: Float, const M: usize>(lanes: &mut [[f64; FOURTH]; M], terms: &[[T; BLOCK]; M]) {
    for (lanes, terms) in lanes.iter_mut().zip(terms) {
        let mut sums = [T::default(); FOURTH];
        for i in 0..FOURTH {
            sums[i] = (terms[i] + terms[FOURTH + i]) + (terms[2 * FOURTH + i] + terms[3 * FOURTH + i]);
        }
        for i in 0..FOURTH {
            lanes[i] += sums[i].into();
        }
    }
}

const FOURTH: usize = BLOCK / 4;

/// Sums over a line of what `f` makes of the elements of `N` slices.
pub(crate) fn line_sum<T: Float, const N: usize, const M: usize>(
    slices: [&[T]; N],
    f: impl Fn([f64; N]) -> [f64; M],
) -> [f64; M] {
    Arch::new().dispatch(LineSum { slices, f })
}

struct LineSum<'a, T, F, const N: usize> {
    slices: [&'a [T]; N],
    f: F,
}

impl<T: Float, F: Fn([f64; N]) -> [f64; M], const N: usize, const M: usize> NullaryFnOnce
    for LineSum<'_, T, F, N>
{
    type Output = [f64; M];

    #[inline(always)]
    fn call(self) -> [f64; M] {
        let len = self.slices[0].len();
        let whole = len - len % BLOCK;
        let (mut lanes, mut terms) = ([[0.0; LANES]; M], [[0.0; BLOCK]; M]);
        for start in (0..whole).step_by(BLOCK) {
            add_block(self.slices, &mut lanes, &mut terms, start, BLOCK, &self.f);
        }
        if whole < len {
            // What the last whole block left behind the rest would be added again.
            let padded = (len - whole).next_multiple_of(LANES);
            terms.iter_mut().for_each(|terms| terms[len - whole..padded].fill(0.0));
            add_block(self.slices, &mut lanes, &mut terms, whole, len - whole, &self.f);
        }
        lanes.map(total)
    }
}

/// In pairs: half of the lanes at a time.
#[inline(always)]
fn total<const N: usize>(mut lanes: [f64; N]) -> f64 {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[half + i];
        }
        half /= 2;
    }
    lanes[0]
}

/// Adds the terms of `size` elements from `start` on, and what `terms` hold behind them up to whole lanes.
#[inline(always)]
fn add_block<T: Float, const N: usize, const M: usize>(
    slices: [&[T]; N],
    lanes: &mut [[f64; LANES]; M],
    terms: &mut [[f64; BLOCK]; M],
    start: usize,
    size: usize,
    f: impl Fn([f64; N]) -> [f64; M],
) {
    let parts = slices.map(|slice| &slice[start..start + size]);
    for i in 0..size {
        let term = f(parts.map(|part| part[i].into()));
        for (terms, term) in terms.iter_mut().zip(term) {
            terms[i] = term;
        }
    }
    for (lanes, terms) in lanes.iter_mut().zip(terms) {
        for terms in terms[..size.next_multiple_of(LANES)].as_chunks::<LANES>().0 {
            lanes.iter_mut().zip(terms).for_each(|(lane, term)| *lane += term);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers, on_one_and_four_threads};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_kernels_equal_their_definition(outer in 1usize..5, channels in 1usize..5, inner in 1usize..150) {
            let g = ChannelGeometry::new(&[outer, channels, inner, 1]).unwrap();
            let (x, y): (Vec<f64>, Vec<f64>) = (numbers(g.elements(), 1), numbers(g.elements(), 2));
            let (s, b): (Vec<f64>, Vec<f64>) = (numbers(channels, 3), numbers(channels, 4));
            let channel = |i: usize| i / inner % channels;
            let each = |f: &dyn Fn(usize) -> f64| (0..g.elements()).map(f).collect::<Vec<f64>>();
            let total = |f: &dyn Fn(usize) -> f64| {
                let mut totals = vec![0.0; channels];
                (0..g.elements()).for_each(|i| totals[channel(i)] += f(i));
                totals
            };
            let sums = total(&|i| x[i]);
            let assert_equal = |actual: &[f64], expected: &[f64]| assert_close(actual, expected, 1e-12);
            assert_equal(&scale(&g, &x, &s), &each(&|i| x[i] * s[channel(i)]));
            assert_equal(&shift(&g, &x, &b), &each(&|i| x[i] + b[channel(i)]));
            assert_equal(
                &affine(&g, &x, &s, &b),
                &each(&|i| x[i] * s[channel(i)] + b[channel(i)]),
            );
            assert_equal(&fill(&g, &b), &each(&|i| b[channel(i)]));
            assert_equal(
                &center(&g, &x),
                &each(&|i| x[i] - sums[channel(i)] / (outer * inner) as f64),
            );
            assert_equal(&sum(&g, &x), &sums);
            assert_equal(&dot(&g, &x, &y), &total(&|i| x[i] * y[i]));
        }
    }

    /// 2^24 + 1 is not an f32: in f32 each of these sums would lose every 1.
    #[test]
    fn f32_is_summed_in_f64() {
        let g = ChannelGeometry::new(&[2, 1, 40]).unwrap();
        let mut x = vec![1f32; 80];
        (x[0], x[79]) = (16_777_216.0, -16_777_216.0);
        assert_eq!(sum(&g, &x), [78.0]);
        assert_eq!(dot(&g, &x, &[1.0; 80]), [78.0]);
        assert_eq!(center(&g, &x)[1], (1.0 - 78.0 / 80.0) as f32);
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        for shape in [[7, 5, 1001], [30_001, 5, 1]] {
            let g = ChannelGeometry::new(&shape).unwrap();
            let (x, y): (Vec<f32>, Vec<f32>) = (numbers(g.elements(), 5), numbers(g.elements(), 6));
            let [one, four] = on_one_and_four_threads(|| dot(&g, &x, &y));
            assert_eq!(one, four);
        }
    }

    #[test]
    fn shapes_without_channels_or_elements_are_refused() {
        for shape in [&[][..], &[4]] {
            assert!(matches!(ChannelGeometry::new(shape), Err(ShapeError::Rank { .. })), "{shape:?}");
        }
        for shape in [&[2, 0][..], &[0, 2, 3], &[2, 3, 0]] {
            assert!(matches!(ChannelGeometry::new(shape), Err(ShapeError::Empty { .. })), "{shape:?}");
        }
        assert!(matches!(ChannelGeometry::new(&[usize::MAX, 2]), Err(ShapeError::Overflow { .. })));
    }
}
