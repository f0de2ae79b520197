//! Per-channel arithmetic on (outer, channels, inner): the parts of normalisation layers and of a convolution's bias.
//!
//! Sums and means are accumulated in f64 whatever the element type. Each line of `inner` elements is summed on its
//! own, and a channel's lines in order, so that rounding does not depend on the number of threads.

use crate::geometry::{ShapeError, checked_len, non_empty};
use crate::matmul::Float;
use rayon::prelude::*;
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

    /// Number of elements of one channel.
    pub fn count(&self) -> usize {
        self.outer * self.inner
    }

    /// Lines that are too few elements to be worth a task of their own share one.
    fn lines_a_task(&self) -> usize {
        const ELEMENTS: usize = 1 << 14;
        ELEMENTS.div_ceil(self.inner)
    }
}

/// `y = x * scale[channel]`.
pub fn scale<T: Float>(g: &ChannelGeometry, x: &[T], scale: &[T], y: &mut [T]) {
    map(g, x, y, |x, channel| x * scale[channel]);
}

/// `y = x + shift[channel]`.
pub fn shift<T: Float>(g: &ChannelGeometry, x: &[T], shift: &[T], y: &mut [T]) {
    map(g, x, y, |x, channel| x + shift[channel]);
}

/// `y = x * scale[channel] + shift[channel]`.
pub fn affine<T: Float>(g: &ChannelGeometry, x: &[T], scale: &[T], shift: &[T], y: &mut [T]) {
    map(g, x, y, |x, channel| x * scale[channel] + shift[channel]);
}

/// `y = x - mean of the channel`.
pub fn center<T: Float>(g: &ChannelGeometry, x: &[T], y: &mut [T]) {
    let count = g.count() as f64;
    let means: Vec<f64> =
        sums(g, |_, line| [line_sum(&x[line])]).into_iter().map(|[sum]| sum / count).collect();
    map(g, x, y, |x, channel| T::from_f64(x.into() - means[channel]));
}

/// `y = value[channel]`.
pub fn fill<T: Float>(g: &ChannelGeometry, value: &[T], y: &mut [T]) {
    for_each_line(g, y, |_, channel, y| y.fill(value[channel]));
}

/// `sum[channel] = sum of x`.
pub fn sum<T: Float>(g: &ChannelGeometry, x: &[T], sum: &mut [T]) {
    let sums = sums(g, |_, line| [line_sum(&x[line])]);
    sum.iter_mut().zip(sums).for_each(|(sum, [value])| *sum = T::from_f64(value));
}

/// `dot[channel] = sum of x * y`.
pub fn dot<T: Float>(g: &ChannelGeometry, x: &[T], y: &[T], dot: &mut [T]) {
    let sums = sums(g, |_, line| [line_dot(&x[line.clone()], &y[line])]);
    dot.iter_mut().zip(sums).for_each(|(dot, [value])| *dot = T::from_f64(value));
}

/// Calls `f(line, channel, elements of the line in y)` for each line of `inner` elements.
fn for_each_line<T: Float>(g: &ChannelGeometry, y: &mut [T], f: impl Fn(usize, usize, &mut [T]) + Sync) {
    assert_eq!(y.len(), g.elements(), "output of {g:?}");
    let lines = y.par_chunks_exact_mut(g.inner).enumerate().with_min_len(g.lines_a_task());
    lines.for_each(|(line, y)| f(line, line % g.channels, y));
}

/// `y = f(x, channel)`, element by element.
fn map<T: Float>(g: &ChannelGeometry, x: &[T], y: &mut [T], f: impl Fn(T, usize) -> T + Sync) {
    assert_eq!(x.len(), g.elements(), "input of {g:?}");
    for_each_line(g, y, |line, channel, y| {
        for (y, &x) in y.iter_mut().zip(&x[line * g.inner..]) {
            *y = f(x, channel);
        }
    });
}

/// `y = f(channel)(elements of the slices)`, element by element, in f64.
pub(crate) fn map_lines<T: Float, const N: usize, F: Fn([f64; N]) -> f64>(
    g: &ChannelGeometry,
    slices: [&[T]; N],
    y: &mut [T],
    f: impl Fn(usize) -> F + Sync,
) {
    assert!(slices.iter().all(|slice| slice.len() == g.elements()), "inputs of {g:?}");
    for_each_line(g, y, |line, channel, y| {
        let slices = slices.map(|slice| &slice[line * g.inner..][..y.len()]);
        let f = f(channel);
        for (i, y) in y.iter_mut().enumerate() {
            *y = T::from_f64(f(slices.map(|slice| slice[i].into())));
        }
    });
}

/// `M` sums a channel, of `line_sums(channel, range of the line)`.
pub(crate) fn sums<const M: usize>(
    g: &ChannelGeometry,
    line_sums: impl Fn(usize, Range<usize>) -> [f64; M] + Sync,
) -> Vec<[f64; M]> {
    let lines: Vec<[f64; M]> = (0..g.outer * g.channels)
        .into_par_iter()
        .with_min_len(g.lines_a_task())
        .map(|line| line_sums(line % g.channels, line * g.inner..(line + 1) * g.inner))
        .collect();
    let mut sums = vec![[0.0; M]; g.channels];
    for lines in lines.chunks_exact(g.channels) {
        for (sums, line) in sums.iter_mut().zip(lines) {
            sums.iter_mut().zip(line).for_each(|(sum, line)| *sum += line);
        }
    }
    sums
}

/// Independent partial sums, so that additions need not wait for each other.
const LANES: usize = 8;

fn line_sum<T: Float>(x: &[T]) -> f64 {
    let (blocks, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for block in blocks {
        for (sum, &x) in sums.iter_mut().zip(block) {
            *sum += x.into();
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&x| x.into()).sum::<f64>()
}

fn line_dot<T: Float>(x: &[T], y: &[T]) -> f64 {
    let ((x_blocks, x_rest), (y_blocks, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let product = |(&x, &y): (&T, &T)| x.into() * y.into();
    let mut sums = [0.0; LANES];
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        for (sum, pair) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += product(pair);
        }
    }
    sums.iter().sum::<f64>() + x_rest.iter().zip(y_rest).map(product).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers<T: Float>(n: usize, salt: u64) -> Vec<T> {
        let number = |i: u64| ((i * 2_654_435_761 + salt * 40_503) % 1009) as f64 / 504.5 - 1.0;
        (0..n as u64).map(|i| T::from_f64(number(i))).collect()
    }

    fn run<T: Float>(len: usize, kernel: impl Fn(&mut [T])) -> Vec<T> {
        let mut result = vec![T::from_f64(f64::NAN); len];
        kernel(&mut result);
        result
    }

    fn assert_close(left: &[f64], right: &[f64]) {
        assert_eq!(left.len(), right.len());
        for (l, r) in left.iter().zip(right) {
            assert!((l - r).abs() < 1e-12, "{l} != {r}");
        }
    }

    proptest! {
        #[test]
        fn all_kernels_equal_their_definition(outer in 1usize..5, channels in 1usize..5, inner in 1usize..30) {
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
            assert_close(&run(g.elements(), |out| scale(&g, &x, &s, out)), &each(&|i| x[i] * s[channel(i)]));
            assert_close(&run(g.elements(), |out| shift(&g, &x, &b, out)), &each(&|i| x[i] + b[channel(i)]));
            assert_close(
                &run(g.elements(), |out| affine(&g, &x, &s, &b, out)),
                &each(&|i| x[i] * s[channel(i)] + b[channel(i)]),
            );
            assert_close(&run(g.elements(), |out| fill(&g, &b, out)), &each(&|i| b[channel(i)]));
            assert_close(
                &run(g.elements(), |out| center(&g, &x, out)),
                &each(&|i| x[i] - sums[channel(i)] / (outer * inner) as f64),
            );
            assert_close(&run(channels, |out| sum(&g, &x, out)), &sums);
            assert_close(&run(channels, |out| dot(&g, &x, &y, out)), &total(&|i| x[i] * y[i]));
        }
    }

    /// 2^24 + 1 is not an f32: in f32 each of these sums would lose every 1.
    #[test]
    fn f32_is_summed_in_f64() {
        let g = ChannelGeometry::new(&[2, 1, 40]).unwrap();
        let mut x = vec![1f32; 80];
        (x[0], x[79]) = (16_777_216.0, -16_777_216.0);
        assert_eq!(run(1, |out| sum(&g, &x, out)), [78.0]);
        assert_eq!(run(1, |out| dot(&g, &x, &[1.0; 80], out)), [78.0]);
        assert_eq!(run(80, |out| center(&g, &x, out))[1], (1.0 - 78.0 / 80.0) as f32);
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        for shape in [[7, 5, 1001], [3001, 5, 1]] {
            let g = ChannelGeometry::new(&shape).unwrap();
            let (x, y): (Vec<f32>, Vec<f32>) = (numbers(g.elements(), 5), numbers(g.elements(), 6));
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| run(5, |out| dot(&g, &x, &y, out)))
            };
            assert_eq!(on(1), on(4));
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
