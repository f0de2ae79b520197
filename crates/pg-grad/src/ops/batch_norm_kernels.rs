//! The kernels of batch normalisation, where the batch lies.

use super::floats::Element;
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::tape::{Computed, with_slices};
use candle_core::{DType, Device, Result, Shape, Tensor, bail};
use pg_kernels::{ChannelGeometry, Float, batch_norm as kernels};

/// One normalisation: its shape, and the moments of its batch.
pub(super) struct Normalization {
    shape: Shape,
    g: ChannelGeometry,
    moments: Moments,
}

enum Moments {
    Cpu(kernels::Moments),
    #[cfg(feature = "cuda")]
    Cuda(cuda::batch_norm::Moments),
}

/// `$f::<T>($arguments)` for the type of `$x`.
macro_rules! for_float {
    ($x:expr, $this:ident.$f:ident($($argument:expr),*)) => {
        match $x.dtype() {
            DType::F32 => $this.$f::<f32>($($argument),*),
            DType::F64 => $this.$f::<f64>($($argument),*),
            other => bail!("batch_norm wants f32 or f64 tensors, not {other:?}"),
        }
    };
}

impl Normalization {
    /// Of `x` (n, channels, ...), contiguous; with it come the batch's mean and unbiased variance, each (channels,).
    pub(super) fn new(x: &Tensor, g: ChannelGeometry, eps: f64) -> Result<(Self, [Tensor; 2])> {
        let (moments, batch) = match (x.dtype(), x.device()) {
            (DType::F32, Device::Cpu) => moments_on_cpu::<f32>(x, &g, eps)?,
            (DType::F64, Device::Cpu) => moments_on_cpu::<f64>(x, &g, eps)?,
            #[cfg(feature = "cuda")]
            (DType::F32, Device::Cuda(_)) => moments_on_cuda::<f32>(x, &g, eps)?,
            #[cfg(feature = "cuda")]
            (DType::F64, Device::Cuda(_)) => moments_on_cuda::<f64>(x, &g, eps)?,
            (dtype, device) => bail!("no kernels of batch_norm for {dtype:?} on {device:?}"),
        };
        Ok((Self { shape: x.shape().clone(), g, moments }, batch))
    }

    /// w z + b, plus the shortcut if there is one, and rectified if it `rectifies`.
    pub(super) fn forward(
        &self,
        operands: [&Tensor; 3],
        shortcut: Option<&Tensor>,
        rectifies: bool,
    ) -> Result<Computed> {
        for_float!(operands[0], self.forward_as(operands, shortcut, rectifies))
    }

    /// Of [x, weight, dy]: the gradients by x, weight and bias. That by x is added to `so_far`, if it can be in the same
    /// pass, and `so_far` is taken.
    pub(super) fn input_gradient(
        &self,
        operands: [&Tensor; 3],
        so_far: &mut Option<Tensor>,
    ) -> Result<[Computed; 3]> {
        for_float!(operands[0], self.input_gradient_as(operands, so_far))
    }

    /// Of [x, weight, dy, v]: of the sum of `v` times the gradient by x, the gradients by x, weight and dy; `so_far` as in
    /// [`Self::input_gradient`], by x and by dy.
    pub(super) fn second(
        &self,
        operands: [&Tensor; 4],
        so_far: [&mut Option<Tensor>; 2],
    ) -> Result<[Computed; 3]> {
        for_float!(operands[0], self.second_as(operands, so_far))
    }
}

/// Contiguous, and the caller's no more.
fn taken(so_far: &mut Option<Tensor>) -> Result<Option<Tensor>> {
    so_far.take().map(|so_far| so_far.contiguous()).transpose()
}

fn moments_on_cpu<T: Element>(x: &Tensor, g: &ChannelGeometry, eps: f64) -> Result<(Moments, [Tensor; 2])> {
    let moments = with_slices([x], |[x]: [&[T]; 1]| kernels::Moments::new(g, x, eps))?;
    let unbiased = g.count() as f64 / (g.count() - 1) as f64;
    let numbers = |values: &[f64], factor: f64| {
        let values: Vec<T> = values.iter().map(|value| <T as Float>::from_f64(value * factor)).collect();
        Tensor::from_vec(values, g.channels(), &Device::Cpu)
    };
    let batch = [numbers(&moments.mean, 1.0)?, numbers(&moments.variance, unbiased)?];
    Ok((Moments::Cpu(moments), batch))
}

impl Normalization {
    fn forward_as<T: Element>(
        &self,
        operands: [&Tensor; 3],
        shortcut: Option<&Tensor>,
        rectifies: bool,
    ) -> Result<Computed> {
        let (g, [x, weight, bias]) = (&self.g, operands);
        match &self.moments {
            Moments::Cpu(moments) => {
                let added = shortcut.unwrap_or(x);
                with_slices([x, weight, bias, added], |[x, w, b, added]: [&[T]; 4]| {
                    let y = if rectifies {
                        kernels::forward_relu(g, moments, x, w, b, shortcut.map(|_| added))
                    } else {
                        kernels::forward(g, moments, x, w, b)
                    };
                    Computed::cpu(y, self.shape.clone())
                })
            }
            #[cfg(feature = "cuda")]
            Moments::Cuda(moments) => cuda::with_views::<T, _, 4>(
                [x, weight, bias, shortcut.unwrap_or(x)],
                |device, [x, w, b, added]| {
                    let added = shortcut.map(|_| added);
                    let y = cuda::batch_norm::forward(device, g, moments, [x, w, b], added, rectifies)?;
                    Ok(Computed::cuda(y, device, self.shape.clone()))
                },
            ),
        }
    }

    fn input_gradient_as<T: Element>(
        &self,
        operands: [&Tensor; 3],
        so_far: &mut Option<Tensor>,
    ) -> Result<[Computed; 3]> {
        let (g, [x, weight, dy]) = (&self.g, operands);
        match &self.moments {
            Moments::Cpu(moments) => {
                let so_far = taken(so_far)?;
                let added = so_far.as_ref().unwrap_or(x);
                with_slices([x, weight, dy, added], |[x, w, dy, added]: [&[T]; 4]| {
                    let added = so_far.as_ref().map(|_| added);
                    let [dx, dw, db] = kernels::input_gradient(g, moments, [x, w, dy], added);
                    let numbers = |values| Computed::cpu(values, Shape::from(g.channels()));
                    [Computed::cpu(dx, self.shape.clone()), numbers(dw), numbers(db)]
                })
            }
            #[cfg(feature = "cuda")]
            Moments::Cuda(moments) => cuda::with_views::<T, _, 3>([x, weight, dy], |device, views| {
                let [dx, dw, db] = cuda::batch_norm::input_gradient(device, g, moments, views)?;
                let of = |slice, shape| Computed::cuda(slice, device, shape);
                let numbers = Shape::from(g.channels());
                Ok([of(dx, self.shape.clone()), of(dw, numbers.clone()), of(db, numbers)])
            }),
        }
    }

    fn second_as<T: Element>(
        &self,
        operands: [&Tensor; 4],
        so_far: [&mut Option<Tensor>; 2],
    ) -> Result<[Computed; 3]> {
        let (g, [x, weight, dy, v]) = (&self.g, operands);
        match &self.moments {
            Moments::Cpu(moments) => {
                let [by_x, by_dy] = so_far;
                let so_far = [taken(by_x)?, taken(by_dy)?];
                let added = so_far.each_ref().map(|so_far| so_far.as_ref().unwrap_or(x));
                let operands = [x, weight, dy, v, added[0], added[1]];
                with_slices(operands, |[x, w, dy, v, x_so_far, dy_so_far]: [&[T]; 6]| {
                    let [has_x, has_dy] = so_far.each_ref().map(Option::is_some);
                    let added = [has_x.then_some(x_so_far), has_dy.then_some(dy_so_far)];
                    let [by_x, by_weight, by_dy] = kernels::second(g, moments, [x, w, dy, v], added);
                    let like_x = |values| Computed::cpu(values, self.shape.clone());
                    [like_x(by_x), Computed::cpu(by_weight, Shape::from(g.channels())), like_x(by_dy)]
                })
            }
            #[cfg(feature = "cuda")]
            Moments::Cuda(moments) => cuda::with_views::<T, _, 4>([x, weight, dy, v], |device, views| {
                let [by_x, by_weight, by_dy] = cuda::batch_norm::second(device, g, moments, views)?;
                let of = |slice, shape| Computed::cuda(slice, device, shape);
                let like_x = || self.shape.clone();
                Ok([of(by_x, like_x()), of(by_weight, Shape::from(g.channels())), of(by_dy, like_x())])
            }),
        }
    }
}

#[cfg(feature = "cuda")]
fn moments_on_cuda<T: Element>(x: &Tensor, g: &ChannelGeometry, eps: f64) -> Result<(Moments, [Tensor; 2])> {
    let (moments, mean, variance) = cuda::with_views::<T, _, 1>([x], |device, [x]| {
        let (moments, mean, variance) = cuda::batch_norm::moments(device, g, x, eps)?;
        let of = |slice| Computed::cuda(slice, device, Shape::from(g.channels()));
        Ok((moments, of(mean), of(variance)))
    })?;
    Ok((Moments::Cuda(moments), [mean.into_tensor(x.device())?, variance.into_tensor(x.device())?]))
}
