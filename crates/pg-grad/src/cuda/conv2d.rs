//! The three passes of a convolution: cuDNN's with the feature `cudnn`, else (and where cuDNN does not serve a shape)
//! as column matrices and cuBLAS, as on the CPU. With R = (in / groups) * kernel height * kernel width rows and
//! P = output height * output width columns, for each sample and group:
//!
//! ```text
//!   forward            output (out x P)  =  weight (out x R)   columns (R x P)
//!   input gradient     columns (R x P)   =  weight^T (R x out) gradient (out x P), then added back
//!   weight gradient    weight (out x R) +=  gradient (out x P) columns^T (P x R)
//! ```

use super::{Axis, Blas, as_u32, for_elements, launch, uninitialised};
use candle_core::cuda_backend::cudarc::cublas::sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
use candle_core::cuda_backend::cudarc::cublas::{Gemm, GemmConfig, StridedBatchedConfig};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, CudaViewMut, PushKernelArg};
use candle_core::cuda_backend::{CudaDevice, WrapErr};
use candle_core::{Result, bail};
use pg_kernels::Conv2dGeometry;
use std::ops::Range;

/// An element that both ways serve.
#[cfg(feature = "cudnn")]
pub(crate) trait Conv2dElement: Blas + super::cudnn::DnnElement {}
#[cfg(feature = "cudnn")]
impl<T: Blas + super::cudnn::DnnElement> Conv2dElement for T {}
/// An element that cuBLAS serves.
#[cfg(not(feature = "cudnn"))]
pub(crate) trait Conv2dElement: Blas {}
#[cfg(not(feature = "cudnn"))]
impl<T: Blas> Conv2dElement for T {}

/// Column matrices are made of so many elements at once at most, or of one sample.
const MOST_COLUMNS: usize = 1 << 27;

/// The output (n, out, oh, ow) of `x` and `weight`.
pub(crate) fn forward<T: Conv2dElement>(
    device: &CudaDevice,
    g: &Conv2dGeometry,
    x: &CudaView<T>,
    weight: &CudaView<T>,
) -> Result<CudaSlice<T>> {
    check(g, &[(x, g.input_len()), (weight, g.kernel_len())])?;
    let mut output = uninitialised(device, g.output_len())?;
    #[cfg(feature = "cudnn")]
    if super::cudnn::forward(device, g, x, weight, &mut output)? {
        return Ok(output);
    }
    Columns::new(device, g, MOST_COLUMNS)?.forward(x, weight, &mut output)?;
    Ok(output)
}

/// The input gradient (n, channels, h, w) of `gradient` (n, out, oh, ow).
pub(crate) fn input_gradient<T: Conv2dElement>(
    device: &CudaDevice,
    g: &Conv2dGeometry,
    gradient: &CudaView<T>,
    weight: &CudaView<T>,
) -> Result<CudaSlice<T>> {
    check(g, &[(gradient, g.output_len()), (weight, g.kernel_len())])?;
    let mut result = uninitialised(device, g.input_len())?;
    #[cfg(feature = "cudnn")]
    if super::cudnn::input_gradient(device, g, gradient, weight, &mut result)? {
        return Ok(result);
    }
    Columns::new(device, g, MOST_COLUMNS)?.input_gradient(gradient, weight, &mut result)?;
    Ok(result)
}

/// The weight gradient (out, channels / groups, kh, kw) of `x` and `gradient` (n, out, oh, ow).
pub(crate) fn weight_gradient<T: Conv2dElement>(
    device: &CudaDevice,
    g: &Conv2dGeometry,
    x: &CudaView<T>,
    gradient: &CudaView<T>,
) -> Result<CudaSlice<T>> {
    check(g, &[(x, g.input_len()), (gradient, g.output_len())])?;
    let mut result = uninitialised(device, g.kernel_len())?;
    #[cfg(feature = "cudnn")]
    if super::cudnn::weight_gradient(device, g, x, gradient, &mut result)? {
        return Ok(result);
    }
    Columns::new(device, g, MOST_COLUMNS)?.weight_gradient(x, gradient, &mut result)?;
    Ok(result)
}

/// Lengths, which also have to fit the 32 bits of cuDNN, cuBLAS and the kernels.
fn check<T>(g: &Conv2dGeometry, operands: &[(&CudaView<T>, usize)]) -> Result<()> {
    if operands.iter().any(|(operand, len)| operand.len() != *len) {
        bail!("conv2d wants tensors of {g:?}");
    }
    for len in [g.input_len(), g.kernel_len(), g.output_len()] {
        as_u32(len)?;
    }
    Ok(())
}

/// R.
fn rows(g: &Conv2dGeometry) -> usize {
    g.kernel_shape()[1..].iter().product()
}

/// P.
fn positions(g: &Conv2dGeometry) -> usize {
    g.output_shape()[2..].iter().product()
}

/// A convolution by column matrices.
struct Columns<'a> {
    device: &'a CudaDevice,
    g: &'a Conv2dGeometry,
    rows: usize,
    positions: usize,
    /// Filters of a group.
    filters: usize,
    /// Elements of a sample: of the input, of the columns, of the output.
    input: usize,
    columns: usize,
    output: usize,
    /// Samples whose columns are made at once.
    at_once: usize,
}

/// A row-major matrix of which there is one a sample, `stride` elements apart, or one for all.
struct Matrix<'a, T> {
    elements: CudaView<'a, T>,
    transposed: bool,
    /// Elements of a row, as they lie in memory.
    row: usize,
    stride: usize,
}

impl<'a> Columns<'a> {
    fn new(device: &'a CudaDevice, g: &'a Conv2dGeometry, most_columns: usize) -> Result<Self> {
        let (rows, positions) = (rows(g), positions(g));
        let [samples, out, ..] = g.output_shape();
        let columns = g.groups() * rows * positions;
        as_u32(columns)?;
        Ok(Self {
            device,
            g,
            rows,
            positions,
            filters: out / g.groups(),
            input: g.input_len() / samples,
            columns,
            output: out * positions,
            at_once: (most_columns / columns).clamp(1, samples),
        })
    }

    fn forward<T: Blas>(
        &self,
        x: &CudaView<T>,
        weight: &CudaView<T>,
        output: &mut CudaSlice<T>,
    ) -> Result<()> {
        for part in self.parts() {
            let columns = self.of(x, &part)?;
            let columns =
                columns.as_ref().map_or_else(|| self.samples(x, &part, self.input), |c| c.slice(..));
            for group in 0..self.g.groups() {
                let weight = self.weight(weight, group, false);
                let columns = self.group(&columns, group, self.rows, self.columns, false);
                let start = part.start * self.output + group * self.filters * self.positions;
                let mut target = output.slice_mut(start..);
                let size = (self.filters, self.positions, self.rows);
                self.multiply(size, part.len(), (weight, columns), (&mut target, self.output), T::ZERO)?;
            }
        }
        Ok(())
    }

    fn input_gradient<T: Blas>(
        &self,
        gradient: &CudaView<T>,
        weight: &CudaView<T>,
        result: &mut CudaSlice<T>,
    ) -> Result<()> {
        for part in self.parts() {
            let gradient = self.samples(gradient, &part, self.output);
            let mut target = result.slice_mut(part.start * self.input..part.end * self.input);
            if self.is_pointwise() {
                self.column_gradient(&gradient, weight, &mut target, part.len())?;
                continue;
            }
            let mut columns = uninitialised::<T>(self.device, part.len() * self.columns)?;
            self.column_gradient(&gradient, weight, &mut columns.slice_mut(..), part.len())?;
            let n = as_u32(part.len() * self.input)?;
            let (channels, (vertical, horizontal)) =
                (as_u32(self.g.input_shape()[1])?, Axis::both(self.g.axes())?);
            let grid = for_elements(n);
            launch!(
                self.device,
                T,
                "col2im",
                grid,
                &n,
                &channels,
                &vertical,
                &horizontal,
                &columns,
                &mut target
            );
        }
        Ok(())
    }

    fn column_gradient<T: Blas>(
        &self,
        gradient: &CudaView<T>,
        weight: &CudaView<T>,
        columns: &mut CudaViewMut<T>,
        samples: usize,
    ) -> Result<()> {
        for group in 0..self.g.groups() {
            let weight = self.weight(weight, group, true);
            let gradient = self.group(gradient, group, self.filters, self.output, false);
            let mut target = columns.slice_mut(group * self.rows * self.positions..);
            let size = (self.rows, self.positions, self.filters);
            self.multiply(size, samples, (weight, gradient), (&mut target, self.columns), T::ZERO)?;
        }
        Ok(())
    }

    fn weight_gradient<T: Blas>(
        &self,
        x: &CudaView<T>,
        gradient: &CudaView<T>,
        result: &mut CudaSlice<T>,
    ) -> Result<()> {
        for part in self.parts() {
            let columns = self.of(x, &part)?;
            let columns =
                columns.as_ref().map_or_else(|| self.samples(x, &part, self.input), |c| c.slice(..));
            for sample in part.clone() {
                let gradient = self.samples(gradient, &(sample..sample + 1), self.output);
                let columns = columns.slice((sample - part.start) * self.columns..);
                let beta = if sample == 0 { T::ZERO } else { T::ONE };
                for group in 0..self.g.groups() {
                    let gradient = self.group(&gradient, group, self.filters, self.output, false);
                    let columns = self.group(&columns, group, self.rows, self.columns, true);
                    let len = self.filters * self.rows;
                    let mut target = result.slice_mut(group * len..(group + 1) * len);
                    let size = (self.filters, self.rows, self.positions);
                    self.multiply(size, 1, (gradient, columns), (&mut target, len), beta)?;
                }
            }
        }
        Ok(())
    }

    /// A 1x1 kernel at stride 1 without padding: the columns are the input itself.
    fn is_pointwise(&self) -> bool {
        let (y, x) = self.g.axes();
        [y, x].iter().all(|axis| axis.window == 1 && axis.stride == 1 && axis.padding == 0)
    }

    /// The samples, in runs of those whose columns are made at once.
    fn parts(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let samples = self.g.input_shape()[0];
        let step = if self.is_pointwise() { samples } else { self.at_once };
        (0..samples).step_by(step).map(move |start| start..(start + step).min(samples))
    }

    fn samples<'b, T>(&self, tensor: &'b CudaView<T>, part: &Range<usize>, of_one: usize) -> CudaView<'b, T> {
        tensor.slice(part.start * of_one..part.end * of_one)
    }

    /// The columns of some samples of `x`; `None` if they are `x` itself.
    fn of<T: Blas>(&self, x: &CudaView<T>, part: &Range<usize>) -> Result<Option<CudaSlice<T>>> {
        if self.is_pointwise() {
            return Ok(None);
        }
        let len = part.len() * self.columns;
        let (n, channels) = (as_u32(len)?, as_u32(self.g.input_shape()[1])?);
        let (vertical, horizontal) = Axis::both(self.g.axes())?;
        let x = self.samples(x, part, self.input);
        let mut columns = uninitialised(self.device, len)?;
        let grid = for_elements(n);
        launch!(self.device, T, "im2col", grid, &n, &channels, &vertical, &horizontal, &x, &mut columns);
        Ok(Some(columns))
    }

    /// The weights of a group, (out / groups x R).
    fn weight<'b, T>(&self, weight: &'b CudaView<T>, group: usize, transposed: bool) -> Matrix<'b, T> {
        let len = self.filters * self.rows;
        let elements = weight.slice(group * len..(group + 1) * len);
        Matrix { elements, transposed, row: self.rows, stride: 0 }
    }

    /// The matrix of a group in each sample of `tensor`: `rows` rows of P elements, of `of_one` elements a sample.
    fn group<'b, T>(
        &self,
        tensor: &'b CudaView<T>,
        group: usize,
        rows: usize,
        of_one: usize,
        transposed: bool,
    ) -> Matrix<'b, T> {
        let elements = tensor.slice(group * rows * self.positions..);
        Matrix { elements, transposed, row: self.positions, stride: of_one }
    }

    /// C (m x n) = A (m x k) B (k x n) + beta C, for each sample.
    fn multiply<T: Blas>(
        &self,
        (m, n, k): (usize, usize, usize),
        samples: usize,
        (a, b): (Matrix<T>, Matrix<T>),
        (c, c_stride): (&mut CudaViewMut<T>, usize),
        beta: T,
    ) -> Result<()> {
        let operation = |matrix: &Matrix<T>| if matrix.transposed { CUBLAS_OP_T } else { CUBLAS_OP_N };
        // cuBLAS takes columns for rows: to it the product is C^T = B^T A^T.
        let gemm = GemmConfig {
            transa: operation(&b),
            transb: operation(&a),
            m: n as i32,
            n: m as i32,
            k: k as i32,
            alpha: T::ONE,
            lda: b.row as i32,
            ldb: a.row as i32,
            beta,
            ldc: n as i32,
        };
        let config = StridedBatchedConfig {
            gemm,
            batch_size: samples as i32,
            stride_a: b.stride as i64,
            stride_b: a.stride as i64,
            stride_c: c_stride as i64,
        };
        let blas = self.device.cublas_handle();
        // SAFETY: the matrices lie within their views, of which `check` compared the lengths with the geometry.
        unsafe { T::gemm(&blas).gemm_strided_batched(config, &b.elements, &a.elements, c) }.w()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::view;
    use candle_core::{Device, Storage, Tensor};
    use pg_kernels::Conv2dOptions;

    fn numbers(len: usize, salt: usize) -> Vec<f64> {
        (0..len).map(|i| ((i * 97 + salt * 31) % 509) as f64 / 254.5 - 1.0).collect()
    }

    fn assert_equal(pass: &str, g: &Conv2dGeometry, actual: &[f64], expected: &[f64]) {
        for (a, e) in actual.iter().zip(expected) {
            assert!((a - e).abs() < 1e-9 * e.abs().max(1.0), "{pass} of {g:?}: {a} != {e}");
        }
    }

    /// Also where cuDNN would serve them.
    #[test]
    fn column_matrices_give_what_the_cpu_gives() {
        if !candle_core::utils::cuda_is_available() {
            return;
        }
        let device = Device::new_cuda(0).unwrap();
        let cuda = device.as_cuda_device().unwrap();
        let on_device = |values: &[f64]| Tensor::from_slice(values, values.len(), &device).unwrap();
        for (input, kernel, stride, padding, dilation, groups) in [
            ([3, 4, 9, 8], [6, 4, 3, 3], (1, 1), (1, 1), (1, 1), 1),
            ([3, 4, 9, 8], [6, 2, 3, 2], (2, 1), (3, 1), (1, 2), 2),
            ([2, 4, 5, 7], [6, 4, 1, 1], (1, 1), (0, 0), (1, 1), 1),
            ([2, 4, 5, 7], [6, 2, 1, 1], (2, 2), (0, 0), (1, 1), 2),
            ([2, 4, 5, 7], [4, 1, 5, 5], (1, 1), (2, 2), (1, 1), 4),
        ] {
            let options = Conv2dOptions { stride, padding, dilation, groups };
            let g = Conv2dGeometry::new(input, kernel, options).unwrap();
            let (x, w, dy) =
                (numbers(g.input_len(), 1), numbers(g.kernel_len(), 2), numbers(g.output_len(), 3));
            let (tx, tw, tdy) = (on_device(&x), on_device(&w), on_device(&dy));
            let storages = [&tx, &tw, &tdy].map(|t| t.storage_and_layout());
            let [vx, vw, vdy] = storages.each_ref().map(|(storage, layout)| match &**storage {
                Storage::Cuda(storage) => view::<f64>(storage, layout).unwrap(),
                _ => unreachable!("the tensors are on the device"),
            });
            // All samples at once, and one after another.
            for most_columns in [MOST_COLUMNS, 1] {
                let columns = Columns::new(cuda, &g, most_columns).unwrap();

                let expected = pg_kernels::conv2d::forward(&g, &x, &w);
                let mut actual = uninitialised(cuda, g.output_len()).unwrap();
                columns.forward(&vx, &vw, &mut actual).unwrap();
                assert_equal("forward", &g, &cuda.clone_dtoh(&actual).unwrap(), &expected);

                let expected = pg_kernels::conv2d::input_gradient(&g, &dy, &w);
                let mut actual = uninitialised(cuda, g.input_len()).unwrap();
                columns.input_gradient(&vdy, &vw, &mut actual).unwrap();
                assert_equal("input gradient", &g, &cuda.clone_dtoh(&actual).unwrap(), &expected);

                let expected = pg_kernels::conv2d::weight_gradient(&g, &x, &dy);
                let mut actual = uninitialised(cuda, g.kernel_len()).unwrap();
                columns.weight_gradient(&vx, &vdy, &mut actual).unwrap();
                assert_equal("weight gradient", &g, &cuda.clone_dtoh(&actual).unwrap(), &expected);
            }
        }
    }
}
