//! Max-pooling with any kernel, stride and padding. The winners are found without a graph; pooling gathers them, its
//! gradient scatters to them, and that gradient's gradient gathers again.

use super::conv2d::contiguous;
use super::{Pool2dOptions, dims4};
use crate::error::Result;
use crate::pass;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result as CandleResult, Shape, Tensor, bail};
use pg_kernels::{Pool2dGeometry, max_pool2d as kernels, pick};

/// The largest element of each window of `x` (n, channels, height, width), giving (n, channels, ., .), as
/// `torch.nn.functional.max_pool2d`. Its gradient goes to one winner a window, the first in row-major order;
/// padding never wins.
///
/// # Errors
/// [`Error::Window`](crate::Error::Window) if the shapes do not fit.
pub fn max_pool2d(x: &Tensor, options: Pool2dOptions) -> Result<Tensor> {
    let [n, c, h, w] = dims4(x)?;
    let geometry = Pool2dGeometry::new([n, c, h, w], options)?;
    let (oh, ow) = geometry.output_size();
    let planes = x.reshape((n * c, h * w))?;
    let pooled = if x.device().is_cpu() {
        let winners = x.contiguous()?.apply_op1_no_bwd(&Winners(geometry))?;
        Pick::Gather { length: h * w }.apply(&planes, &winners.reshape((n * c, oh * ow))?)?
    } else {
        select_from_windows(&planes, &geometry)?
    };
    Ok(pooled.reshape((n, c, oh, ow))?)
}

struct Winners(Pool2dGeometry);

impl CustomOp1 for Winners {
    fn name(&self) -> &'static str {
        "pg-max-pool2d-winners"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let (n, c, _, _) = layout.shape().dims4()?;
        let (oh, ow) = self.0.output_size();
        let mut winners = vec![0; n * c * oh * ow];
        match storage {
            CpuStorage::F32(x) => kernels::winners(&self.0, contiguous(x, layout)?, &mut winners),
            CpuStorage::F64(x) => kernels::winners(&self.0, contiguous(x, layout)?, &mut winners),
            _ => bail!("max_pool2d wants f32 or f64"),
        }
        Ok((CpuStorage::U32(winners), Shape::from((n, c, oh, ow))))
    }
}

/// Picks from rows of `length` elements, or puts what was picked back. Each is the other's derivative. (candle's
/// own scatter-add has a wrong one.)
#[derive(Clone, Copy)]
enum Pick {
    Gather { length: usize },
    ScatterAdd { length: usize },
}

impl Pick {
    fn apply(self, values: &Tensor, indices: &Tensor) -> CandleResult<Tensor> {
        values.contiguous()?.apply_op2(indices, self)
    }

    fn run<T: pg_kernels::Float>(self, values: &[T], indices: &[u32], rows: usize) -> Vec<T> {
        let count = indices.len() / rows;
        match self {
            Pick::Gather { length } => {
                let mut picked = vec![T::default(); indices.len()];
                pick::gather(values, length, indices, count, &mut picked);
                picked
            }
            Pick::ScatterAdd { length } => {
                let mut result = vec![T::default(); rows * length];
                pick::scatter_add(values, indices, count, length, &mut result);
                result
            }
        }
    }
}

impl CustomOp2 for Pick {
    fn name(&self) -> &'static str {
        "pg-pick"
    }

    fn cpu_fwd(
        &self,
        v: &CpuStorage,
        lv: &Layout,
        i: &CpuStorage,
        li: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let (rows, count) = li.shape().dims2()?;
        let CpuStorage::U32(indices) = i else { bail!("indices must be u32") };
        let indices = contiguous(indices, li)?;
        let result = match v {
            CpuStorage::F32(v) => CpuStorage::F32(self.run(contiguous(v, lv)?, indices, rows)),
            CpuStorage::F64(v) => CpuStorage::F64(self.run(contiguous(v, lv)?, indices, rows)),
            _ => bail!("max_pool2d wants f32 or f64"),
        };
        let columns = match *self {
            Pick::Gather { .. } => count,
            Pick::ScatterAdd { length } => length,
        };
        Ok((result, Shape::from((rows, columns))))
    }

    fn bwd(
        &self,
        _: &Tensor,
        indices: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let transposed = match *self {
            Pick::Gather { length } => Pick::ScatterAdd { length },
            Pick::ScatterAdd { length } => Pick::Gather { length },
        };
        Ok((Some(transposed.apply(&pass::operand(grad), indices)?), None))
    }
}

/// The same from candle's operations, for devices without a kernel: every window is laid out and all but its
/// winner set to 0. Which of several equal elements wins is up to the device. `planes` is (n * channels, height * width), the result (n * channels, positions).
fn select_from_windows(planes: &Tensor, geometry: &Pool2dGeometry) -> CandleResult<Tensor> {
    let (oh, ow) = geometry.output_size();
    let windows: Vec<Vec<u32>> =
        (0..oh * ow).map(|o| geometry.window(o / ow, o % ow).map(|i| i as u32).collect()).collect();
    let longest = windows.iter().map(Vec::len).max().unwrap_or(0);
    // A window that padding cuts short repeats its first element, which changes no maximum.
    let positions: Vec<u32> = windows
        .iter()
        .flat_map(|w| w.iter().copied().chain(std::iter::repeat_n(w[0], longest - w.len())))
        .collect();
    let positions = Tensor::new(positions, planes.device())?;
    let windows = planes.index_select(&positions, 1)?.reshape((planes.dim(0)?, oh * ow, longest))?;
    let winners = windows.detach().argmax_keepdim(2)?;
    let elements = Tensor::arange(0u32, longest as u32, planes.device())?.reshape((1, 1, longest))?;
    elements.broadcast_eq(&winners)?.where_cond(&windows, &windows.zeros_like()?)?.sum(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// What other devices run is checked on the CPU: value, gradient and gradient of the gradient.
    #[test]
    fn both_ways_agree_where_no_two_elements_are_equal() {
        let values: Vec<f64> = (0..2 * 3 * 7 * 6).map(|i| ((i * 97) % 509) as f64).collect();
        let x = Var::from_vec(values, (2, 3, 7, 6), &Device::Cpu).unwrap();
        let options = Pool2dOptions { kernel_size: (3, 2), stride: (2, 1), padding: (1, 0) };
        let geometry = Pool2dGeometry::new([2, 3, 7, 6], options).unwrap();
        let derivatives = |y: Tensor| {
            let y = y.flatten_all().unwrap();
            let first = y.sqr().unwrap().backward().unwrap().remove(&x).unwrap().flatten_all().unwrap();
            let second = first.sqr().unwrap().backward().unwrap().remove(&x).unwrap().flatten_all().unwrap();
            [y, first, second].map(|t| t.to_vec1::<f64>().unwrap())
        };
        let composed = select_from_windows(&x.reshape((6, 42)).unwrap(), &geometry).unwrap();
        assert_eq!(derivatives(max_pool2d(&x, options).unwrap()), derivatives(composed));
    }
}
