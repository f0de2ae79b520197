//! Attention's heads: tokens cut into a matrix a head, and put together again. Each is the other's derivative.

use super::floats::{has_kernels, on_floats};
use crate::error::Result;
use crate::{pass, tape};
use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor};
use pg_kernels::{Float, HeadGeometry, heads as kernels};

/// Of `x` (n, tokens, parts * heads * width) the part `part` of `parts` (of queries, keys and values, say), times
/// `factor`, giving (n, heads, tokens, width).
///
/// # Errors
/// [`Error::Window`](crate::Error::Window) if parts and heads do not divide the numbers, or there is no such part.
pub fn split_heads(x: &Tensor, (part, parts): (usize, usize), heads: usize, factor: f64) -> Result<Tensor> {
    let (n, tokens, numbers) = x.dims3()?;
    let geometry = HeadGeometry::new([n, tokens, numbers], (part, parts), heads)?;
    Ok(Heads { geometry, way: Way::Split, factor }.apply(x, (part, parts))?)
}

/// `x` (n, heads, tokens, width) as (n, tokens, heads * width).
///
/// # Errors
/// If `x` has not four axes, or one is empty.
pub fn merge_heads(x: &Tensor) -> Result<Tensor> {
    let (n, heads, tokens, width) = x.dims4()?;
    let geometry = HeadGeometry::new([n, tokens, heads * width], (0, 1), heads)?;
    Ok(Heads { geometry, way: Way::Merge, factor: 1.0 }.apply(x, (0, 1))?)
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Split,
    Merge,
}

struct Heads {
    geometry: HeadGeometry,
    way: Way,
    factor: f64,
}

impl Heads {
    fn apply(self, x: &Tensor, part: (usize, usize)) -> CandleResult<Tensor> {
        if x.device().is_cpu() && has_kernels(x) {
            tape::apply1(&x.contiguous()?, self, [false], false)
        } else {
            self.with_candle(x, part)
        }
    }

    fn with_candle(&self, x: &Tensor, (part, parts): (usize, usize)) -> CandleResult<Tensor> {
        let [n, heads, tokens, width] = self.geometry.split_shape();
        let y = match self.way {
            Way::Split => {
                let x = x.reshape(&[n, tokens, parts, heads, width][..])?.narrow(2, part, 1)?.squeeze(2)?;
                x.transpose(1, 2)?.contiguous()?
            }
            Way::Merge => x.transpose(1, 2)?.reshape(&[n, tokens, heads * width][..])?,
        };
        if self.factor == 1.0 { Ok(y) } else { y * self.factor }
    }

    fn run<T: Float>(&self, x: &[T]) -> Vec<T> {
        let factor = T::from_f64(self.factor);
        match self.way {
            Way::Split => kernels::split(&self.geometry, x, factor),
            Way::Merge => kernels::merge(&self.geometry, x, factor),
        }
    }
}

impl CustomOp1 for Heads {
    fn name(&self) -> &'static str {
        "pg-heads"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let result = on_floats!("heads", x: layout => self.run(x));
        let shape = match self.way {
            Way::Split => Shape::from(&self.geometry.split_shape()[..]),
            Way::Merge => Shape::from(&self.geometry.merged_shape()[..]),
        };
        Ok((result, shape))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        let way = match self.way {
            Way::Split => Way::Merge,
            Way::Merge => Way::Split,
        };
        let other = Self { geometry: self.geometry, way, factor: self.factor };
        Ok(Some(tape::apply1(&pass::operand(grad).contiguous()?, other, [false], false)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// What other devices run is checked on the CPU.
    #[test]
    fn kernels_and_candle_agree() {
        let x = Tensor::arange(0f64, 2.0 * 5.0 * 18.0, &Device::Cpu).unwrap().reshape((2, 5, 18)).unwrap();
        let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for part in 0..3 {
            let geometry = HeadGeometry::new([2, 5, 18], (part, 3), 2).unwrap();
            let candle = Heads { geometry, way: Way::Split, factor: 0.5 }.with_candle(&x, (part, 3)).unwrap();
            let ours = split_heads(&x, (part, 3), 2, 0.5).unwrap();
            assert_eq!((ours.dims(), numbers(&ours)), (candle.dims(), numbers(&candle)));
            let geometry = HeadGeometry::new([2, 5, 6], (0, 1), 2).unwrap();
            let candle = Heads { geometry, way: Way::Merge, factor: 1.0 }.with_candle(&ours, (0, 1)).unwrap();
            let merged = merge_heads(&ours).unwrap();
            assert_eq!((merged.dims(), numbers(&merged)), (candle.dims(), numbers(&candle)));
        }
    }
}
