//! cuDNN's convolutions. Of its algorithms only those are used that sum in one order, so that a result has the same bits
//! in every run; f32 is computed as such, or in TF32 where candle's `set_gemm_reduced_precision_f32` allows it.
//!
//! Asking cuDNN which algorithm is best takes longer than most convolutions, so a [`Plan`] is made once a geometry.

use super::Element;
use candle_core::cuda_backend::cudarc::cudnn::sys::{
    cudnnConvolutionBwdDataAlgo_t as DataAlgorithm, cudnnConvolutionBwdFilterAlgo_t as FilterAlgorithm,
    cudnnConvolutionFwdAlgo_t as ForwardAlgorithm, cudnnConvolutionMode_t, cudnnMathType_t, cudnnStatus_t,
    cudnnTensorFormat_t,
};
use candle_core::cuda_backend::cudarc::cudnn::{
    ConvBackwardData, ConvBackwardFilter, ConvDescriptor, ConvForward, Cudnn, CudnnDataType, CudnnError,
    FilterDescriptor, TensorDescriptor,
};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::cuda_backend::{CudaDevice, DeviceId, gemm_reduced_precision_f32};
use candle_core::{Error, Result};
use pg_kernels::Conv2dGeometry;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

type DnnResult<T> = std::result::Result<T, Failure>;

/// Why a pass did not run.
enum Failure {
    /// cuDNN has no algorithm for the geometry, or none that sums in one order.
    NotServed,
    Error(Error),
}

impl From<CudnnError> for Failure {
    fn from(error: CudnnError) -> Self {
        /// cuDNN 9 numbers its reasons within this category.
        const NOT_SUPPORTED: u32 = cudnnStatus_t::CUDNN_STATUS_NOT_SUPPORTED as u32 / 1000;
        let status = error.0;
        if status as u32 / 1000 == NOT_SUPPORTED || status == cudnnStatus_t::CUDNN_STATUS_BAD_PARAM {
            Self::NotServed
        } else {
            Self::Error(error.into())
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// An element of cuDNN's tensors.
pub(crate) trait DnnElement: Element + CudnnDataType {
    /// Calls `f` with the plans of this thread, to which cuDNN's handles belong.
    fn with_plans<R>(f: impl FnOnce(&mut Plans<Self>) -> R) -> R;
}

type Plans<T> = HashMap<(DeviceId, Conv2dGeometry, bool), Rc<Plan<T>>>;

macro_rules! dnn_element {
    ($T:ty) => {
        impl DnnElement for $T {
            fn with_plans<R>(f: impl FnOnce(&mut Plans<Self>) -> R) -> R {
                thread_local! {
                    static PLANS: RefCell<Plans<$T>> = RefCell::default();
                }
                PLANS.with_borrow_mut(f)
            }
        }
    };
}

dnn_element!(f32);
dnn_element!(f64);

/// Writes the output; false if cuDNN does not serve the geometry.
pub(super) fn forward<T: DnnElement>(
    device: &CudaDevice,
    g: &Conv2dGeometry,
    x: &CudaView<T>,
    weight: &CudaView<T>,
    output: &mut CudaSlice<T>,
) -> Result<bool> {
    served(|| {
        let plan = Plan::<T>::of(device, g)?;
        let pass = ConvForward { conv: &plan.conv, x: &plan.x, w: &plan.w, y: &plan.y };
        let (algorithm, bytes) = chosen(&plan.forward, || {
            let algorithm = pass.pick_algorithm()?;
            Ok((algorithm, pass.get_workspace_size(algorithm)?))
        })?;
        let workspace = &mut workspace(device, bytes)?;
        // SAFETY: the caller compared all lengths with the geometry that the descriptors are of.
        unsafe { pass.launch(algorithm, Some(workspace), (T::ONE, T::ZERO), x, weight, output) }?;
        Ok(())
    })
}

/// Writes the input gradient; false if cuDNN does not serve the geometry.
pub(super) fn input_gradient<T: DnnElement>(
    device: &CudaDevice,
    g: &Conv2dGeometry,
    gradient: &CudaView<T>,
    weight: &CudaView<T>,
    result: &mut CudaSlice<T>,
) -> Result<bool> {
    use DataAlgorithm::{CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1};
    served(|| {
        let plan = Plan::<T>::of(device, g)?;
        let pass = ConvBackwardData { conv: &plan.conv, dx: &plan.x, w: &plan.w, dy: &plan.y };
        let (algorithm, bytes) = chosen(&plan.data, || {
            let algorithm = match pass.pick_algorithm()? {
                CUDNN_CONVOLUTION_BWD_DATA_ALGO_0 => CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
                deterministic => deterministic,
            };
            Ok((algorithm, pass.get_workspace_size(algorithm)?))
        })?;
        let workspace = &mut workspace(device, bytes)?;
        // SAFETY: as above.
        unsafe { pass.launch(algorithm, Some(workspace), (T::ONE, T::ZERO), result, weight, gradient) }?;
        Ok(())
    })
}

/// Writes the weight gradient; false if cuDNN does not serve the geometry.
pub(super) fn weight_gradient<T: DnnElement>(
    device: &CudaDevice,
    g: &Conv2dGeometry,
    x: &CudaView<T>,
    gradient: &CudaView<T>,
    result: &mut CudaSlice<T>,
) -> Result<bool> {
    use FilterAlgorithm::{
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3,
    };
    served(|| {
        let plan = Plan::<T>::of(device, g)?;
        let pass = ConvBackwardFilter { conv: &plan.conv, x: &plan.x, dw: &plan.w, dy: &plan.y };
        let (algorithm, bytes) = chosen(&plan.filter, || {
            let algorithm = match pass.pick_algorithm()? {
                CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 | CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3 => {
                    CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1
                }
                deterministic => deterministic,
            };
            Ok((algorithm, pass.get_workspace_size(algorithm)?))
        })?;
        let workspace = &mut workspace(device, bytes)?;
        // SAFETY: as above.
        unsafe { pass.launch(algorithm, Some(workspace), (T::ONE, T::ZERO), x, result, gradient) }?;
        Ok(())
    })
}

/// Runs a pass; false if cuDNN does not serve it.
fn served(pass: impl FnOnce() -> DnnResult<()>) -> Result<bool> {
    match pass() {
        Ok(()) => Ok(true),
        Err(Failure::NotServed) => Ok(false),
        Err(Failure::Error(error)) => Err(error),
    }
}

/// An algorithm and the bytes that it works in; `None` if there is none.
type Choice<A> = OnceCell<Option<(A, usize)>>;

/// As chosen before, or by `choose`.
fn chosen<A: Copy>(
    cell: &Choice<A>,
    choose: impl FnOnce() -> std::result::Result<(A, usize), CudnnError>,
) -> DnnResult<(A, usize)> {
    let choice = match cell.get() {
        Some(choice) => *choice,
        None => {
            let choice = match choose().map_err(Failure::from) {
                Ok(choice) => Some(choice),
                Err(Failure::NotServed) => None,
                Err(error) => return Err(error),
            };
            *cell.get_or_init(|| choice)
        }
    };
    choice.ok_or(Failure::NotServed)
}

fn workspace(device: &CudaDevice, bytes: usize) -> Result<CudaSlice<u8>> {
    // SAFETY: cuDNN reads nothing of it that it has not written.
    unsafe { device.alloc::<u8>(bytes.max(1)) }
}

/// What cuDNN is told of a convolution, and the algorithms that it chose for the three passes.
pub(crate) struct Plan<T: CudnnDataType> {
    conv: ConvDescriptor<T>,
    x: TensorDescriptor<T>,
    w: FilterDescriptor<T>,
    y: TensorDescriptor<T>,
    forward: Choice<ForwardAlgorithm>,
    data: Choice<DataAlgorithm>,
    filter: Choice<FilterAlgorithm>,
}

impl<T: DnnElement> Plan<T> {
    /// The plan of a geometry on a device.
    fn of(device: &CudaDevice, g: &Conv2dGeometry) -> DnnResult<Rc<Self>> {
        let reduced = gemm_reduced_precision_f32();
        T::with_plans(|plans| {
            let key = (device.id(), *g, reduced);
            if let Some(plan) = plans.get(&key) {
                return Ok(plan.clone());
            }
            let plan = Rc::new(Self::new(&handle(device)?, g, reduced)?);
            plans.insert(key, plan.clone());
            Ok(plan)
        })
    }

    fn new(cudnn: &Arc<Cudnn>, g: &Conv2dGeometry, reduced: bool) -> DnnResult<Self> {
        let (y, x) = g.axes();
        let both = |y: usize, x: usize| [y as i32, x as i32];
        let mut conv = cudnn.create_conv2d::<T>(
            both(y.padding, x.padding),
            both(y.stride, x.stride),
            both(y.dilation, x.dilation),
            cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
        )?;
        conv.set_group_count(g.groups() as i32)?;
        // cuDNN's default is TF32.
        conv.set_math_type(if reduced {
            cudnnMathType_t::CUDNN_DEFAULT_MATH
        } else {
            cudnnMathType_t::CUDNN_FMA_MATH
        })?;
        let format = cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
        let dims = |shape: [usize; 4]| shape.map(|size| size as i32);
        Ok(Self {
            conv,
            x: cudnn.create_4d_tensor::<T>(format, dims(g.input_shape()))?,
            w: cudnn.create_4d_filter::<T>(format, dims(g.kernel_shape()))?,
            y: cudnn.create_4d_tensor::<T>(format, dims(g.output_shape()))?,
            forward: OnceCell::new(),
            data: OnceCell::new(),
            filter: OnceCell::new(),
        })
    }
}

/// cuDNN on a device.
fn handle(device: &CudaDevice) -> DnnResult<Arc<Cudnn>> {
    thread_local! {
        static HANDLES: RefCell<HashMap<DeviceId, Arc<Cudnn>>> = RefCell::default();
    }
    HANDLES.with_borrow_mut(|handles| {
        if let Some(handle) = handles.get(&device.id()) {
            return Ok(handle.clone());
        }
        let handle = Cudnn::new(device.cuda_stream())?;
        handles.insert(device.id(), handle.clone());
        Ok(handle)
    })
}
