//! What operations with kernels share: elements of contiguous tensors, in f32 or f64.

use candle_core::{DType, Layout, Result, Tensor, WithDType};
use pg_kernels::Float;

/// What kernels compute with: f32 and f64, on all devices that this build has kernels for.
#[cfg(feature = "cuda")]
pub(super) trait Element: Float + WithDType + crate::cuda::Element {}
#[cfg(feature = "cuda")]
impl<T: Float + WithDType + crate::cuda::Element> Element for T {}
#[cfg(not(feature = "cuda"))]
pub(super) trait Element: Float + WithDType {}
#[cfg(not(feature = "cuda"))]
impl<T: Float + WithDType> Element for T {}

/// Whether this crate's kernels take the tensor: in f32 or f64 on the CPU, and on CUDA devices in a build for them.
pub(crate) fn has_kernels(x: &Tensor) -> bool {
    is_on_device_with_kernels(x) && matches!(x.dtype(), DType::F32 | DType::F64)
}

/// Whether the tensor, of any type, lies where this crate has kernels.
pub(crate) fn is_on_device_with_kernels(x: &Tensor) -> bool {
    x.device().is_cpu() || (cfg!(feature = "cuda") && x.device().is_cuda())
}

/// The elements of a contiguous layout.
pub(crate) fn contiguous<'a, T>(data: &'a [T], layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => Err(candle_core::Error::RequiresContiguous { op: "pg-grad" }),
    }
}

/// The storage of `$result`, which is computed for f32 and for f64: `on_floats!("add", x: lx, y: ly => sum(x, y))` sees
/// the elements of `x` and `y` in place of their storage.
macro_rules! on_floats {
    ($operation:literal, $($x:ident: $layout:expr),+ => $result:expr) => {
        match ($($x,)+) {
            ($(candle_core::CpuStorage::F32($x),)+) => {
                $(let $x = crate::ops::floats::contiguous($x, $layout)?;)+
                candle_core::CpuStorage::F32($result)
            }
            ($(candle_core::CpuStorage::F64($x),)+) => {
                $(let $x = crate::ops::floats::contiguous($x, $layout)?;)+
                candle_core::CpuStorage::F64($result)
            }
            _ => candle_core::bail!(concat!($operation, " wants f32 or f64 tensors of one type")),
        }
    };
}

/// `$f::<T>($arguments)` for the type of `$x`, which is one of those that have kernels.
macro_rules! for_float {
    ($x:expr, $f:ident($($argument:expr),*)) => {
        match $x.dtype() {
            DType::F64 => $f::<f64>($($argument),*),
            _ => $f::<f32>($($argument),*),
        }
    };
}

pub(super) use {for_float, on_floats};
