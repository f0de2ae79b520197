//! Max-pooling with any kernel, stride and padding. The winners are found without a graph; pooling gathers them, its
//! gradient scatters to them, and that gradient's gradient gathers again.

use super::floats::{contiguous, has_kernels, on_floats};
use super::{Pool2dOptions, dims4};
#[cfg(feature = "cuda")]
use crate::cuda::{max_pool2d as cuda, on_cuda_floats, view};
use crate::error::Result;
use crate::{gates, pass, tape};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result as CandleResult, Shape, Tensor, bail};
use pg_kernels::{Pool2dGeometry, max_pool2d as kernels, pick};

/// The largest element of each window of `x` (n, channels, height, width), giving (n, channels, ., .), as
/// `torch.nn.functional.max_pool2d`. Its gradient goes to one winner a window: of equal ones, the first
/// in row-major order, or, on a device for which this crate has no kernels, whichever that picks. Padding never wins.
///
/// # Errors
/// [`Error::Window`](crate::Error::Window) if the shapes do not fit.
pub fn max_pool2d(x: &Tensor, options: Pool2dOptions) -> Result<Tensor> {
    let [n, c, h, w] = dims4(x)?;
    let geometry = Pool2dGeometry::new([n, c, h, w], options)?;
    let (oh, ow) = geometry.output_size();
    let held = gates::next(&Shape::from((n, c, oh, ow)))?;
    let (pooled, winners) = if has_kernels(x) {
        let winners = match held {
            Some(winners) => winners,
            None => x.contiguous()?.apply_op1_no_bwd(&Winners(geometry))?,
        };
        (Pick { way: Way::Gather, geometry }.apply(x, &winners)?, winners)
    } else {
        let held = held.map(|winners| winners.reshape((n * c, oh * ow, 1))).transpose()?;
        let (pooled, winners) = select_from_windows(&x.reshape((n * c, h * w))?, &geometry, held)?;
        (pooled.reshape((n, c, oh, ow))?, winners.reshape((n, c, oh, ow))?)
    };
    gates::note(&winners);
    Ok(pooled)
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

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        let (n, c, _, _) = layout.shape().dims4()?;
        let (oh, ow) = self.0.output_size();
        let result = on_cuda_floats!(device, x: layout => cuda::winners(&device, &self.0, &x)?);
        Ok((result, Shape::from((n, c, oh, ow))))
    }
}

/// Picks the winners of a pooling's windows (n, channels, ., .) from planes (n, channels, height, width), or puts what was
/// picked back. Each is the other's derivative. (candle's own scatter-add has a wrong one.)
#[derive(Clone, Copy)]
struct Pick {
    way: Way,
    geometry: Pool2dGeometry,
}

#[derive(Clone, Copy)]
enum Way {
    Gather,
    ScatterAdd,
}

impl Pick {
    /// Height and width of the planes.
    fn planes(&self) -> (usize, usize) {
        let (y, x) = self.geometry.axes();
        (y.input, x.input)
    }

    fn result_shape(&self, indices: &Layout) -> CandleResult<Shape> {
        let (n, c, oh, ow) = indices.shape().dims4()?;
        Ok(Shape::from(match self.way {
            Way::Gather => (n, c, oh, ow),
            Way::ScatterAdd => (n, c, self.planes().0, self.planes().1),
        }))
    }

    fn apply(self, values: &Tensor, indices: &Tensor) -> CandleResult<Tensor> {
        tape::apply2(&values.contiguous()?, indices, self, [false, true])
    }

    fn run<T: pg_kernels::Float>(self, values: &[T], indices: &[u32], count: usize) -> Vec<T> {
        let (height, width) = self.planes();
        let length = height * width;
        match self.way {
            Way::Gather => {
                let mut picked = pg_kernels::zeros(indices.len());
                pick::gather(values, length, indices, count, &mut picked);
                picked
            }
            Way::ScatterAdd => {
                let mut result = pg_kernels::zeros(indices.len() / count * length);
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
        let (_, _, height, width) = li.shape().dims4()?;
        let CpuStorage::U32(indices) = i else { bail!("indices must be u32") };
        let (indices, count) = (contiguous(indices, li)?, height * width);
        let result = on_floats!("max_pool2d", v: lv => self.run(v, indices, count));
        Ok((result, self.result_shape(li)?))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        v: &CudaStorage,
        lv: &Layout,
        i: &CudaStorage,
        li: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        let indices = view::<u32>(i, li)?;
        let result = on_cuda_floats!(device, v: lv => match self.way {
            Way::Gather => cuda::gather(&device, &self.geometry, &v, &indices)?,
            Way::ScatterAdd => cuda::scatter_add(&device, &self.geometry, &v, &indices)?,
        });
        Ok((result, self.result_shape(li)?))
    }

    fn bwd(
        &self,
        _: &Tensor,
        indices: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let way = match self.way {
            Way::Gather => Way::ScatterAdd,
            Way::ScatterAdd => Way::Gather,
        };
        Ok((Some(Pick { way, ..*self }.apply(&pass::operand(grad), indices)?), None))
    }
}

/// The same from candle's operations, for devices without a kernel: every window is laid out and all but its
/// winner set to 0. `planes` is (n * channels, height * width), the result (n * channels, positions); with it come the
/// winners, counted within their windows, (n * channels, positions, 1): those `held`, or the largest.
fn select_from_windows(
    planes: &Tensor,
    geometry: &Pool2dGeometry,
    held: Option<Tensor>,
) -> CandleResult<(Tensor, Tensor)> {
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
    let winners = match held {
        Some(winners) => winners,
        None => windows.detach().argmax_keepdim(2)?,
    };
    let elements = Tensor::arange(0u32, longest as u32, planes.device())?.reshape((1, 1, longest))?;
    let picked = elements.broadcast_eq(&winners)?.where_cond(&windows, &windows.zeros_like()?)?.sum(2)?;
    Ok((picked, winners))
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
        let planes = x.reshape((6, 42)).unwrap();
        let (composed, winners) = select_from_windows(&planes, &geometry, None).unwrap();
        assert_eq!(derivatives(max_pool2d(&x, options).unwrap()), derivatives(composed.clone()));
        let turned = (planes * -1.0).unwrap();
        let (held, _) = select_from_windows(&turned, &geometry, Some(winners)).unwrap();
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(values(&held), values(&(composed * -1.0).unwrap()));
    }
}
