//! The operations of this crate on CUDA devices: what `cuda_fwd` of each calls.
//!
//! `kernels.cu` is compiled for f32 and for f64 by NVRTC when it is first needed, and its PTX by the driver, so that a
//! build needs no compiler of CUDA beyond candle's. Convolutions are cuDNN's with the feature `cudnn`, else column
//! matrices and cuBLAS.
#![allow(unsafe_code, reason = "a kernel's arguments are checked here, not by the compiler")]

pub(crate) mod batch_norm;
pub(crate) mod channels;
pub(crate) mod conv2d;
#[cfg(feature = "cudnn")]
mod cudnn;
pub(crate) mod max_pool2d;

use crate::tape::expect_one_device;
use candle_core::cuda_backend::cudarc::cublas::{CudaBlas, Gemm};
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaView, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, WrapErr};
use candle_core::{Error, Layout, Result, Storage, Tensor, bail};
use std::sync::OnceLock;

/// What the kernels are compiled for.
pub(crate) trait Element: CudaDType + DeviceRepr + Copy + 'static {
    /// Its name in CUDA C, and that of its module.
    const NAME: &'static str;
    const ZERO: Self;
    const ONE: Self;

    /// The kernels, once compiled.
    fn ptx() -> &'static OnceLock<String>;
}

macro_rules! element {
    ($T:ty, $name:literal) => {
        impl Element for $T {
            const NAME: &'static str = $name;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            fn ptx() -> &'static OnceLock<String> {
                static PTX: OnceLock<String> = OnceLock::new();
                &PTX
            }
        }
    };
}

element!(f32, "float");
element!(f64, "double");

/// An element that cuBLAS multiplies matrices of.
pub(crate) trait Blas: Element {
    fn gemm(blas: &CudaBlas) -> &impl Gemm<Self>;
}

impl Blas for f32 {
    fn gemm(blas: &CudaBlas) -> &impl Gemm<Self> {
        blas
    }
}

impl Blas for f64 {
    fn gemm(blas: &CudaBlas) -> &impl Gemm<Self> {
        blas
    }
}

/// A kernel of `kernels.cu` on a device.
fn function<T: Element>(device: &CudaDevice, kernel: &str) -> Result<CudaFunction> {
    let ptx = match T::ptx().get() {
        Some(ptx) => ptx,
        None => {
            let options = CompileOptions {
                options: vec![format!("-DELEMENT={}", T::NAME)],
                ..CompileOptions::default()
            };
            let compiled = compile_ptx_with_opts(include_str!("kernels.cu"), options).map_err(Error::wrap)?;
            T::ptx().get_or_init(|| compiled.to_src())
        }
    };
    Ok(device.get_or_load_custom_func(kernel, &format!("pg-grad-{}", T::NAME), ptx)?.into_cuda_function())
}

/// Runs a kernel: `launch!(device, T, "name", grid, &argument, ..., &mut result)`.
macro_rules! launch {
    ($device:expr, $T:ty, $kernel:expr, $grid:expr, $($argument:expr),+ $(,)?) => {{
        let (function, stream) = ($crate::cuda::function::<$T>($device, $kernel)?, $device.cuda_stream());
        let mut arguments = stream.launch_builder(&function);
        $(arguments.arg($argument);)+
        // SAFETY: the arguments are those of the kernel's signature in kernels.cu, and the buffers have the lengths that
        // it derives from them.
        unsafe { arguments.launch($grid) }.w()?;
    }};
}

pub(crate) use launch;

const THREADS: u32 = 256;

/// A thread for each of `n` elements.
fn for_elements(n: u32) -> LaunchConfig {
    blocks(n.div_ceil(THREADS))
}

fn blocks(count: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (count, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

/// A size as the kernels count: so small that no sum of two of them wraps around.
fn as_u32(n: usize) -> Result<u32> {
    match i32::try_from(n) {
        Ok(n) => Ok(n.unsigned_abs()),
        Err(_) => bail!("{n} elements are too many for this crate's CUDA kernels"),
    }
}

/// Memory for `n` elements that the caller writes, all of them.
fn uninitialised<T: Element>(device: &CudaDevice, n: usize) -> Result<CudaSlice<T>> {
    // SAFETY: every kernel writes each element of its result, and nothing reads it before.
    unsafe { device.alloc::<T>(n) }
}

/// The elements of a contiguous tensor.
pub(crate) fn view<'a, T: CudaDType>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, T>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Err(Error::RequiresContiguous { op: "pg-grad" });
    };
    Ok(storage.as_cuda_slice::<T>()?.slice(start..end))
}

/// Calls `f` with the device and the elements of contiguous tensors on it.
pub(crate) fn with_views<T: CudaDType, R, const N: usize>(
    tensors: [&Tensor; N],
    f: impl FnOnce(&CudaDevice, [&CudaView<T>; N]) -> Result<R>,
) -> Result<R> {
    expect_one_device(&tensors)?;
    let guards = tensors.map(Tensor::storage_and_layout);
    let views = guards
        .iter()
        .map(|(storage, layout)| match &**storage {
            Storage::Cuda(storage) => view::<T>(storage, layout),
            _ => bail!("the tensors must be on one CUDA device"),
        })
        .collect::<Result<Vec<_>>>()?;
    f(tensors[0].device().as_cuda_device()?, std::array::from_fn(|index| &views[index]))
}

/// One axis of a windowed operation, as the kernels take it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Axis {
    input: u32,
    window: u32,
    stride: u32,
    padding: u32,
    dilation: u32,
    output: u32,
}

// SAFETY: six 32-bit numbers in C's order, as in kernels.cu.
unsafe impl DeviceRepr for Axis {}

impl Axis {
    fn new(axis: &pg_kernels::Axis) -> Result<Self> {
        let pg_kernels::Axis { input, window, stride, padding, dilation, output } = *axis;
        // So that no sum of theirs wraps around.
        if dilation.saturating_mul(window).saturating_add(padding.saturating_add(input)) > i32::MAX as usize {
            bail!("an axis of {axis:?} is too large for this crate's CUDA kernels");
        }
        Ok(Self {
            input: as_u32(input)?,
            window: as_u32(window)?,
            stride: as_u32(stride)?,
            padding: as_u32(padding)?,
            dilation: as_u32(dilation)?,
            output: as_u32(output)?,
        })
    }

    fn both((y, x): (pg_kernels::Axis, pg_kernels::Axis)) -> Result<(Self, Self)> {
        Ok((Self::new(&y)?, Self::new(&x)?))
    }
}

/// An elementwise kernel of `N` operands.
pub(crate) struct Elementwise<const N: usize>(&'static str);

pub(crate) const RELU: Elementwise<1> = Elementwise("relu");
pub(crate) const WHERE_POSITIVE: Elementwise<2> = Elementwise("where_positive");
pub(crate) const ADD: Elementwise<2> = Elementwise("add");

impl<const N: usize> Elementwise<N> {
    /// The kernel on operands of one length.
    pub(crate) fn of<T: Element>(
        self,
        device: &CudaDevice,
        operands: [&CudaView<T>; N],
    ) -> Result<CudaSlice<T>> {
        let (kernel, len) = (self.0, operands[0].len());
        if operands.iter().any(|operand| operand.len() != len) {
            bail!("{kernel} wants operands of one length");
        }
        let n = as_u32(len)?;
        let mut result = uninitialised(device, len)?;
        let (function, stream) = (function::<T>(device, kernel)?, device.cuda_stream());
        let mut arguments = stream.launch_builder(&function);
        arguments.arg(&n);
        for operand in operands {
            arguments.arg(operand);
        }
        arguments.arg(&mut result);
        // SAFETY: these kernels take a length, their N operands and a result, all of that length.
        unsafe { arguments.launch(for_elements(n)) }.w()?;
        Ok(result)
    }
}

/// The storage of `$result`, which is computed for f32 and for f64, as `on_floats` does on the CPU:
/// `on_cuda_floats!(device, x: lx, y: ly => sum(&device, &x, &y)?)` sees views of the elements of `x` and `y`.
macro_rules! on_cuda_floats {
    ($device:ident, $first:ident: $layout:expr $(, $x:ident: $lx:expr)* => $result:expr) => {{
        use candle_core::backend::BackendStorage;
        let $device = $first.device().clone();
        match $first.dtype() {
            candle_core::DType::F32 => $crate::cuda::on_cuda_floats!(
                @as f32, $device, $first: $layout $(, $x: $lx)* => $result),
            candle_core::DType::F64 => $crate::cuda::on_cuda_floats!(
                @as f64, $device, $first: $layout $(, $x: $lx)* => $result),
            other => candle_core::bail!("pg-grad's operations want f32 or f64 tensors, not {other:?}"),
        }
    }};
    (@as $T:ty, $device:ident, $($x:ident: $lx:expr),+ => $result:expr) => {{
        $(let $x = $crate::cuda::view::<$T>($x, $lx)?;)+
        let result = $result;
        candle_core::CudaStorage::wrap_cuda_slice(result, $device)
    }};
}

pub(crate) use on_cuda_floats;
