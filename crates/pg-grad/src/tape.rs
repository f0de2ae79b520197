//! A record of one step, so that its backward passes need not be candle's.
//!
//! candle's backward adds every gradient to a tensor of zeros, and its graph keeps both, each operation's arguments
//! and its result. In a guided step, whose first backward passes are themselves differentiated, that is several times
//! the memory that the arithmetic needs. So while a [`Scope`] lives, operations of this crate that have kernels are
//! written down here instead, each with just the tensors that its derivative reads, and [`backward`] walks the record:
//!
//! ```text
//!   record     conv2d   relu   | candle: reshape, matmul, ... |   conv2d      in the order of their making
//!              entry    entry  |          segment             |   entry
//!   backward   <------------------------------------------------------------ from the loss
//! ```
//!
//! What candle computed between two entries is a *segment*: candle differentiates it, down to the recorded tensors it
//! began from. To candle these look like results of an operation on an anchor, whose backward hands the gradient over
//! to the record. A gradient that will be differentiated again is made of recorded operations and segments, too.

use crate::error::{Error, Result};
use crate::ops::{add, contiguous, is_on_device_with_kernels};
use crate::pass::{self, Pass};
use candle_core::backend::BackendStorage;
use candle_core::backprop::GradStore;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::{CudaDType, CudaDevice, cudarc::driver::CudaSlice};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DType, Device, Layout, Result as CandleResult,
    Shape, Storage, Tensor, TensorId, Var, WithDType, bail,
};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Mutex;

thread_local! {
    static TAPE: RefCell<Option<Tape>> = const { RefCell::new(None) };
    static CAUGHT: RefCell<Option<HashMap<TensorId, Tensor>>> = const { RefCell::new(None) };
}

struct Tape {
    entries: Vec<Option<Rc<Entry>>>,
    /// Where the entry of a result is.
    places: HashMap<TensorId, usize>,
    /// What results hang from in candle's graph: one a device.
    anchors: Vec<Var>,
}

/// An operation's gradients by its arguments, from the gradient by its result. In the last pass it also gets what the
/// gradient by each argument is so far, and may take that, to save a pass over memory: who takes it returns the sum. Of an
/// argument that occurs twice the first place has it; in other passes all are None.
type Derivative = dyn Fn(&Tensor, &mut [Option<Tensor>]) -> CandleResult<Vec<Option<Tensor>>>;

struct Entry {
    arguments: Vec<TensorId>,
    result: TensorId,
    derivative: Box<Derivative>,
}

/// While it lives, this thread's operations are recorded. Inside another scope it does nothing.
pub(crate) struct Scope {
    outermost: bool,
}

impl Tape {
    fn new() -> Self {
        Self { entries: Vec::new(), places: HashMap::new(), anchors: Vec::new() }
    }

    fn anchor(&mut self, device: &Device) -> CandleResult<Var> {
        if let Some(anchor) = self.anchors.iter().find(|anchor| anchor.device().same_device(device)) {
            return Ok(anchor.clone());
        }
        let anchor = Var::zeros((), DType::F32, device)?;
        self.anchors.push(anchor.clone());
        Ok(anchor)
    }
}

impl Scope {
    pub(crate) fn new() -> Self {
        let outermost = !is_on();
        if outermost {
            TAPE.set(Some(Tape::new()));
        }
        Self { outermost }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if self.outermost {
            // Dropped outside the borrow: tensors may be let go in it.
            let tape = TAPE.with_borrow_mut(Option::take);
            drop(tape);
        }
    }
}

/// Runs `f` with a record of its own; that of the step waits meanwhile.
pub(crate) fn nested<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    struct Restore(Option<Tape>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let inner = TAPE.replace(self.0.take());
            drop(inner);
        }
    }
    let _restore = Restore(TAPE.replace(Some(Tape::new())));
    f()
}

/// Whether this thread records.
pub(crate) fn is_on() -> bool {
    TAPE.with_borrow(Option::is_some)
}

/// How the operations of this crate are applied: recorded, without a graph, or in candle's graph.
enum Way {
    Record,
    Forget,
    Candle,
}

fn way(arguments: &[&Tensor]) -> Way {
    if !is_on() || !arguments.iter().all(|a| is_on_device_with_kernels(a)) {
        Way::Candle
    } else if !pass::keeps_graph() || !arguments.iter().any(|a| a.track_op()) {
        Way::Forget
    } else {
        Way::Record
    }
}

/// Which arguments the derivative reads the values of. It sees the shapes of all.
pub(crate) type Reads<const N: usize> = [bool; N];

/// `x.apply_op1(op)`; the derivative reads the result if `reads_result`.
pub(crate) fn apply1(
    x: &Tensor,
    op: impl CustomOp1 + Send + Sync + 'static,
    reads: Reads<1>,
    reads_result: bool,
) -> CandleResult<Tensor> {
    match way(&[x]) {
        Way::Candle => x.apply_op1(op),
        Way::Forget => x.apply_op1_no_bwd(&op),
        Way::Record => {
            let y = run1(x, &op)?;
            let (x_saved, y_saved) = (saved(x, reads[0])?, saved(&y, reads_result)?);
            record(&[x], &y, move |grad, _| Ok(vec![op.bwd(&x_saved, &y_saved, grad)?]))?;
            Ok(y)
        }
    }
}

/// `x.apply_op2(y, op)`.
pub(crate) fn apply2(
    x: &Tensor,
    y: &Tensor,
    op: impl CustomOp2 + Send + Sync + 'static,
    reads: Reads<2>,
) -> CandleResult<Tensor> {
    match way(&[x, y]) {
        Way::Candle => x.apply_op2(y, op),
        Way::Forget => x.apply_op2_no_bwd(y, &op),
        Way::Record => {
            let z = run2(x, y, &op)?;
            let (x_saved, y_saved, z_saved) = (saved(x, reads[0])?, saved(y, reads[1])?, saved(&z, false)?);
            record(&[x, y], &z, move |grad, _| {
                let (x, y) = op.bwd(&x_saved, &y_saved, &z_saved, grad)?;
                Ok(vec![x, y])
            })?;
            Ok(z)
        }
    }
}

/// `x.apply_op3(y, z, op)`.
pub(crate) fn apply3(
    x: &Tensor,
    y: &Tensor,
    z: &Tensor,
    op: impl CustomOp3 + Send + Sync + 'static,
    reads: Reads<3>,
) -> CandleResult<Tensor> {
    match way(&[x, y, z]) {
        Way::Candle => x.apply_op3(y, z, op),
        Way::Forget => x.apply_op3_no_bwd(y, z, &op),
        Way::Record => {
            let w = run3(x, y, z, &op)?;
            let kept = [saved(x, reads[0])?, saved(y, reads[1])?, saved(z, reads[2])?, saved(&w, false)?];
            record(&[x, y, z], &w, move |grad, _| {
                let (x, y, z) = op.bwd(&kept[0], &kept[1], &kept[2], &kept[3], grad)?;
                Ok(vec![x, y, z])
            })?;
            Ok(w)
        }
    }
}

/// An operation of which candle has no description: only while a step is recorded. The derivative sees the result, if
/// it `reads_result`, the gradient by it, and what those by the arguments are so far (see [`Derivative`]).
pub(crate) fn apply(
    arguments: &[&Tensor],
    computed: Computed,
    reads_result: bool,
    derivative: impl Fn(&Tensor, &Tensor, &mut [Option<Tensor>]) -> CandleResult<Vec<Option<Tensor>>> + 'static,
) -> CandleResult<Tensor> {
    match way(arguments) {
        Way::Record => {
            let y = result(arguments[0].device(), computed)?;
            let y_saved = saved(&y, reads_result)?.detach();
            record(arguments, &y, move |grad, so_far| derivative(&y_saved, grad, so_far))?;
            Ok(y)
        }
        _ => computed.into_tensor(arguments[0].device()),
    }
}

/// `computed` as the result of an operation on tensors and variables, with its derivative by them in that order.
pub(crate) fn apply_part(
    tensors: &[&Tensor],
    variables: &[TensorId],
    computed: &Tensor,
    derivative: impl Fn(&Tensor) -> CandleResult<Vec<Option<Tensor>>> + 'static,
) -> CandleResult<Tensor> {
    let y = run1(&computed.contiguous()?, &Identity)?;
    for tensor in tensors {
        record_segment(tensor)?;
    }
    let arguments = tensors.iter().map(|t| t.id()).chain(variables.iter().copied()).collect();
    push(Entry { arguments, result: y.id(), derivative: Box::new(move |grad, _| derivative(grad)) });
    Ok(y)
}

/// What the record began from: variables and constants that an operation on the way to `y` read.
pub(crate) fn leaves(y: &Tensor) -> CandleResult<Vec<TensorId>> {
    record_segment(y)?;
    Ok(TAPE.with_borrow(|tape| {
        let read = tape.iter().flat_map(|tape| {
            let arguments = tape.entries.iter().flatten().flat_map(|entry| &entry.arguments);
            arguments.filter(|id| !tape.places.contains_key(id))
        });
        read.collect::<HashSet<_>>().into_iter().copied().collect()
    }))
}

/// Whether a tensor came about in this record.
pub(crate) fn holds(id: TensorId) -> bool {
    TAPE.with_borrow(|tape| {
        tape.as_ref().is_some_and(|tape| {
            tape.places.contains_key(&id) || tape.anchors.iter().any(|anchor| anchor.id() == id)
        })
    })
}

/// The elements of contiguous tensors on the CPU.
pub(crate) fn with_slices<T: WithDType, R, const N: usize>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[T]; N]) -> R,
) -> CandleResult<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[T]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else { bail!("{ELSEWHERE}") };
        *slice = contiguous(T::cpu_storage_as_slice(storage)?, layout)?;
    }
    Ok(f(slices))
}

/// What an operation computed.
pub(crate) enum Computed {
    Cpu((CpuStorage, Shape)),
    Cuda((CudaStorage, Shape)),
}

impl Computed {
    pub(crate) fn cpu<T: WithDType>(elements: Vec<T>, shape: Shape) -> Self {
        Self::Cpu((T::to_cpu_storage_owned(elements), shape))
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn cuda<T: CudaDType>(elements: CudaSlice<T>, device: &CudaDevice, shape: Shape) -> Self {
        Self::Cuda((CudaStorage::wrap_cuda_slice(elements, device.clone()), shape))
    }

    /// As a tensor that came from nothing, on the device where it was computed.
    pub(crate) fn into_tensor(self, device: &Device) -> CandleResult<Tensor> {
        Tensor::zeros((), DType::F32, device)?.apply_op1_no_bwd(&Anchored(Mutex::new(Some(self))))
    }
}

/// The results of operations where their arguments lie, with nothing written down.
fn run1(x: &Tensor, op: &impl CustomOp1) -> CandleResult<Tensor> {
    let (sx, lx) = x.storage_and_layout();
    let computed = match &*sx {
        Storage::Cpu(x) => Computed::Cpu(op.cpu_fwd(x, lx)?),
        Storage::Cuda(x) => Computed::Cuda(op.cuda_fwd(x, lx)?),
        _ => bail!("{ELSEWHERE}"),
    };
    result(x.device(), computed)
}

fn run2(x: &Tensor, y: &Tensor, op: &impl CustomOp2) -> CandleResult<Tensor> {
    expect_one_device(&[x, y])?;
    let ((sx, lx), (sy, ly)) = (x.storage_and_layout(), y.storage_and_layout());
    let computed = match (&*sx, &*sy) {
        (Storage::Cpu(x), Storage::Cpu(y)) => Computed::Cpu(op.cpu_fwd(x, lx, y, ly)?),
        (Storage::Cuda(x), Storage::Cuda(y)) => Computed::Cuda(op.cuda_fwd(x, lx, y, ly)?),
        _ => bail!("{ELSEWHERE}"),
    };
    result(x.device(), computed)
}

fn run3(x: &Tensor, y: &Tensor, z: &Tensor, op: &impl CustomOp3) -> CandleResult<Tensor> {
    expect_one_device(&[x, y, z])?;
    let ((sx, lx), (sy, ly), (sz, lz)) =
        (x.storage_and_layout(), y.storage_and_layout(), z.storage_and_layout());
    let computed = match (&*sx, &*sy, &*sz) {
        (Storage::Cpu(x), Storage::Cpu(y), Storage::Cpu(z)) => {
            Computed::Cpu(op.cpu_fwd(x, lx, y, ly, z, lz)?)
        }
        (Storage::Cuda(x), Storage::Cuda(y), Storage::Cuda(z)) => {
            Computed::Cuda(op.cuda_fwd(x, lx, y, ly, z, lz)?)
        }
        _ => bail!("{ELSEWHERE}"),
    };
    result(x.device(), computed)
}

const ELSEWHERE: &str = "the record of a step takes tensors of one device, a CPU or a CUDA device";

/// candle's own way to an operation asks the same.
pub(crate) fn expect_one_device(tensors: &[&Tensor]) -> CandleResult<()> {
    let first = tensors[0].device();
    if tensors.iter().all(|tensor| tensor.device().same_device(first)) {
        Ok(())
    } else {
        bail!("{ELSEWHERE}")
    }
}

/// A tensor, or, if nobody reads its values, one of the same shape that takes no memory.
fn saved(x: &Tensor, is_read: bool) -> CandleResult<Tensor> {
    if is_read { Ok(x.clone()) } else { Tensor::zeros((), x.dtype(), x.device())?.broadcast_as(x.shape()) }
}

/// A tensor that hangs from the anchor in candle's graph.
fn result(device: &Device, computed: Computed) -> CandleResult<Tensor> {
    let anchor = TAPE.with_borrow_mut(|tape| match tape {
        Some(tape) => tape.anchor(device),
        None => bail!("nothing is being recorded"),
    })?;
    anchor.apply_op1(Anchored(Mutex::new(Some(computed))))
}

struct Anchored(Mutex<Option<Computed>>);

impl Anchored {
    fn take(&self) -> Option<Computed> {
        self.0.lock().ok().and_then(|mut computed| computed.take())
    }
}

impl CustomOp1 for Anchored {
    fn name(&self) -> &'static str {
        "pg-recorded"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        match self.take() {
            Some(Computed::Cpu(computed)) => Ok(computed),
            _ => bail!("a recorded result is made once"),
        }
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        match self.take() {
            Some(Computed::Cuda(computed)) => Ok(computed),
            _ => bail!("a recorded result is made once"),
        }
    }

    fn bwd(&self, _: &Tensor, result: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        CAUGHT.with_borrow_mut(|caught| match caught {
            Some(caught) => {
                caught.insert(result.id(), grad.clone());
                Ok(None)
            }
            None => bail!("inside a guided step, differentiate with pg_grad::backward, not with candle's"),
        })
    }
}

/// Writes down that `result` came from `arguments`.
fn record(
    arguments: &[&Tensor],
    result: &Tensor,
    derivative: impl Fn(&Tensor, &mut [Option<Tensor>]) -> CandleResult<Vec<Option<Tensor>>> + 'static,
) -> CandleResult<()> {
    for argument in arguments {
        record_segment(argument)?;
    }
    let arguments = arguments.iter().map(|a| a.id()).collect();
    push(Entry { arguments, result: result.id(), derivative: Box::new(derivative) });
    Ok(())
}

fn push(entry: Entry) {
    TAPE.with_borrow_mut(|tape| {
        if let Some(tape) = tape {
            tape.places.insert(entry.result, tape.entries.len());
            tape.entries.push(Some(Rc::new(entry)));
        }
    });
}

fn is_recorded(id: TensorId) -> bool {
    TAPE.with_borrow(|tape| tape.as_ref().is_some_and(|tape| tape.places.contains_key(&id)))
}

/// Writes down how candle computed `x` from recorded tensors and variables, if it did.
fn record_segment(x: &Tensor) -> CandleResult<()> {
    if !x.track_op() || x.is_variable() || is_recorded(x.id()) {
        return Ok(());
    }
    let arguments: Vec<TensorId> = x
        .sorted_nodes()
        .into_iter()
        .filter(|n| n.is_variable() || is_recorded(n.id()))
        .map(Tensor::id)
        .collect();
    let (y, of) = (x.clone(), arguments.clone());
    push(Entry {
        arguments,
        result: x.id(),
        derivative: Box::new(move |grad, _| segment_gradients(&y, &of, grad)),
    });
    Ok(())
}

fn segment_gradients(y: &Tensor, arguments: &[TensorId], grad: &Tensor) -> CandleResult<Vec<Option<Tensor>>> {
    let keeps_graph = pass::keeps_graph();
    let grad = if keeps_graph { boundary(grad)? } else { grad.detach() };
    let product = (y * &grad)?.sum_all()?;
    let catching = Catching(CAUGHT.replace(Some(HashMap::new())));
    let store = product.backward();
    let mut caught = CAUGHT.take().unwrap_or_default();
    drop(catching);
    let store = store?;
    let mut of = |id: &TensorId| caught.remove(id).or_else(|| store.get_id(*id).cloned());
    Ok(arguments.iter().map(|id| of(id).map(|g| if keeps_graph { g } else { g.detach() })).collect())
}

/// While it lives, gradients by recorded results are caught; then what was before holds again.
struct Catching(Option<HashMap<TensorId, Tensor>>);

impl Drop for Catching {
    fn drop(&mut self) {
        CAUGHT.set(self.0.take());
    }
}

/// The gradient as a recorded tensor, so that candle's backward through a product with it stops there.
fn boundary(grad: &Tensor) -> CandleResult<Tensor> {
    if !grad.track_op() || is_recorded(grad.id()) {
        return Ok(grad.clone());
    }
    apply1(&grad.contiguous()?, Identity, [false], false)
}

struct Identity;

impl CustomOp1 for Identity {
    fn name(&self) -> &'static str {
        "pg-identity"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let copy = match x {
            CpuStorage::F32(x) => CpuStorage::F32(contiguous(x, layout)?.to_vec()),
            CpuStorage::F64(x) => CpuStorage::F64(contiguous(x, layout)?.to_vec()),
            _ => bail!("gradients are f32 or f64"),
        };
        Ok((copy, layout.shape().clone()))
    }

    /// As 1 x + 0, which copies a part of a storage, too; -0 becomes +0.
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        Ok((x.affine(layout, 1.0, 0.0)?, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        Ok(Some(grad.clone()))
    }
}

/// The gradient of `loss` by the variables it was computed from: in the last pass all, and what leads to `loss` is
/// used up; else that of the step's input alone, and it is recorded itself.
pub(crate) fn backward(loss: &Tensor) -> Result<GradStore> {
    backward_from(loss, &loss.ones_like()?)
}

/// The same of sum(`y` `dy`).
pub(crate) fn backward_from(y: &Tensor, dy: &Tensor) -> Result<GradStore> {
    record_segment(y)?;
    let mut gradients = HashMap::from([(y.id(), dy.clone())]);
    let wanted = wanted();
    let entries = TAPE.with_borrow(|tape| Some(tape.as_ref()?.places.get(&y.id())? + 1)).unwrap_or(0);
    for place in (0..entries).rev() {
        let Some((entry, grad)) = take(place, &mut gradients) else { continue };
        let of = |id| if pass::is_last() { gradients.remove(id) } else { None };
        let mut so_far: Vec<Option<Tensor>> = entry.arguments.iter().map(of).collect();
        let had_one: Vec<bool> = so_far.iter().map(Option::is_some).collect();
        let found = (entry.derivative)(&grad, &mut so_far)?;
        debug_assert!(
            (0..had_one.len())
                .all(|i| !had_one[i] || so_far[i].is_some() || matches!(found.get(i), Some(Some(_)))),
            "taken and not returned"
        );
        drop(grad);
        let left = entry.arguments.iter().copied().zip(so_far);
        gradients.extend(left.filter_map(|(id, gradient)| Some((id, gradient?))));
        for (&argument, grad) in entry.arguments.iter().zip(found) {
            let Some(grad) = grad else { continue };
            if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&argument)) {
                continue;
            }
            let sum = match gradients.remove(&argument) {
                Some(other) => add(&other, &grad)?,
                None => grad,
            };
            gradients.insert(argument, sum);
        }
    }
    if gradients.keys().any(|id| is_recorded(*id)) {
        return Err(Error::UsedUp);
    }
    let mut store = GradStore::default();
    for (id, gradient) in gradients {
        store.insert_id(id, gradient);
    }
    Ok(store)
}

/// The entry at a place and the gradient by its result, if there is one. In the last pass the record lets go of it.
fn take(place: usize, gradients: &mut HashMap<TensorId, Tensor>) -> Option<(Rc<Entry>, Tensor)> {
    let last = pass::is_last();
    TAPE.with_borrow_mut(|tape| {
        let entry = tape.as_mut()?.entries.get_mut(place)?;
        let grad = gradients.remove(&entry.as_ref()?.result)?;
        let entry = if last { entry.take() } else { entry.clone() };
        Some((entry?, grad))
    })
}

/// The tensors that lead to the input whose gradient alone is wanted; None if all are.
fn wanted() -> Option<HashSet<TensorId>> {
    let Pass::InputOnly { input, .. } = pass::current() else { return None };
    let mut wanted = HashSet::from([input]);
    TAPE.with_borrow(|tape| {
        for entry in tape.iter().flat_map(|tape| &tape.entries).flatten() {
            if entry.arguments.iter().any(|id| wanted.contains(id)) {
                wanted.insert(entry.result);
            }
        }
    });
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::{Scope, is_on};
    use crate::ops::{
        Conv2dOptions, Pool2dOptions, add, batch_norm, batch_norm_relu, batch_norm_with_moments,
        channel_shift, conv2d, gelu, group_norm, layer_norm, linear, matmul, matmul_t, max_pool2d,
        merge_heads, relu, softmax, split_heads,
    };
    use crate::{Error, Forward, Guidance, Provenance, Result, backward, checkpoint, without_graph};
    use candle_core::{Device, Tensor, Var};

    fn var(shape: &[usize], salt: usize) -> Var {
        let len = shape.iter().product();
        let values: Vec<f64> = (0..len).map(|i| ((i * 97 + salt * 31) % 509) as f64 / 254.5 - 1.0).collect();
        Var::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn weights() -> Vec<Var> {
        let convolutions: [&[usize]; 7] = [&[4, 2, 3, 3], &[4], &[4], &[4, 4, 1, 1], &[4], &[3, 36], &[3]];
        let shapes = convolutions.into_iter().chain([&[12, 12][..], &[12], &[3, 24]]).collect::<Vec<_>>();
        shapes.iter().enumerate().map(|(salt, shape)| var(shape, salt)).collect()
    }

    /// Recorded operations with candle's between, before and after them; one tensor is read twice.
    fn network(x: &Tensor, w: &[Var]) -> Result<Tensor> {
        second_half(&first_half(x, w)?, w)
    }

    fn first_half(x: &Tensor, w: &[Var]) -> Result<Tensor> {
        let same = Conv2dOptions { padding: (1, 1), ..Conv2dOptions::default() };
        let y = conv2d(&(x * 1.5)?, &w[0], same)?;
        let y = batch_norm_relu(&y, &w[1], &w[2], 1e-5, None)?.0;
        Ok((batch_norm_relu(&batch_norm(&y, &w[2], &w[1], 1e-5)?.0, &w[1], &w[2], 1e-5, Some(&y))?.0 * 0.5)?)
    }

    fn second_half(y: &Tensor, w: &[Var]) -> Result<Tensor> {
        let pool = Pool2dOptions { kernel_size: (2, 2), stride: (2, 2), padding: (0, 0) };
        let y = &group_norm(y, 2, &w[1], &w[2], 1e-5)?;
        let (mean, variance) = (w[4].detach(), (w[2].detach().sqr()? + 0.5)?);
        let y = &batch_norm_with_moments(y, &mean, &variance, &w[1], &w[4], 1e-5)?;
        let branch = channel_shift(&conv2d(&y.tanh()?, &w[3], Conv2dOptions::default())?, &w[4])?;
        let y = max_pool2d(&relu(&add(&branch, y)?)?, pool)?;
        linear(&y.flatten_from(1)?, &w[5], Some(&w[6]))
    }

    /// The same, its first half checkpointed.
    fn checkpointed(x: &Tensor, w: &[Var]) -> Result<Tensor> {
        let half = w[..3].to_vec();
        let y = checkpoint(x, Forward::Main, move |x, _| first_half(x, &half))?;
        second_half(&y, w)
    }

    /// The input itself normalised twice, and once with itself as the shortcut.
    fn shared(x: &Tensor, w: &[Var]) -> Result<Tensor> {
        let [weight, bias] = [0, 1].map(|i| Var::from_tensor(&w[1].narrow(0, 2 * i, 2).unwrap()).unwrap());
        let once = batch_norm(x, &weight, &bias, 1e-5)?.0;
        let again = batch_norm_relu(x, &bias, &weight, 1e-5, Some(x))?.0;
        let same = Conv2dOptions { padding: (1, 1), ..Conv2dOptions::default() };
        let y = relu(&conv2d(&add(&once, &again)?, &w[0], same)?)?;
        linear(&y.narrow(2, 0, 3)?.narrow(3, 0, 3)?.flatten_from(1)?, &w[5], Some(&w[6]))
    }

    /// Attention of two heads over six tokens.
    fn attention(x: &Tensor, w: &[Var]) -> Result<Tensor> {
        let tokens = layer_norm(&x.reshape((3, 6, 12))?, &w[8], &w[8], 1e-5)?;
        let qkv = linear(&tokens, &w[7], Some(&w[8]))?;
        let part = |part, factor| split_heads(&qkv, (part, 3), 2, factor);
        let weights = softmax(&matmul_t(&part(0, 0.7)?, &part(1, 1.0)?)?, 3)?;
        let attended = merge_heads(&matmul(&weights, &part(2, 1.0)?)?)?;
        linear(&gelu(&attended)?.flatten_from(1)?, &w[9], None)
    }

    type Network = fn(&Tensor, &[Var]) -> Result<Tensor>;

    fn gradients(records: bool, network: Network) -> Vec<f64> {
        let (w, x) = (weights(), var(&[3, 2, 6, 6], 9));
        let classes = Tensor::new(&[0u32, 2, 1], &Device::Cpu).unwrap();
        let others = Tensor::new(&[1u32, 0, 1], &Device::Cpu).unwrap();
        let mask = var(&[3, 1, 6, 6], 8).ge(0.0).unwrap().to_dtype(candle_core::DType::F64).unwrap();
        let provenance = Provenance::mixed(&classes, &others, &mask).unwrap();
        let scope = records.then(Scope::new);
        assert_eq!(is_on(), records);
        let logits = network(&x, &w).unwrap();
        let loss = Guidance::new(1.0).loss(&logits, &x, &provenance).unwrap();
        let total = (softmax(&logits, 1).unwrap().sqr().unwrap().sum_all().unwrap() + loss).unwrap();
        let gradients = backward(&total).unwrap();
        drop(scope);
        let of = |v: &Var| Some(gradients.get(v)?.flatten_all().unwrap().to_vec1::<f64>().unwrap());
        w.iter().chain([&x]).filter_map(of).flatten().collect()
    }

    #[test]
    fn a_record_gives_the_derivatives_of_candles_graph() {
        for (network, of_candle) in [
            (network as Network, network as Network),
            (checkpointed, network),
            (attention, attention),
            (shared, shared),
        ] {
            let (recorded, candle) = (gradients(true, network), gradients(false, of_candle));
            assert!(
                candle.len() > 300 && recorded.len() == candle.len(),
                "{} {}",
                recorded.len(),
                candle.len()
            );
            for (r, c) in recorded.iter().zip(&candle) {
                assert!((r - c).abs() < 1e-9 * c.abs().max(1.0), "{r} != {c}");
            }
            assert!(!is_on());
        }
    }

    #[test]
    fn candles_backward_is_refused_while_recording() {
        let _scope = Scope::new();
        let y = relu(&var(&[2, 3], 1)).unwrap().sum_all().unwrap();
        assert!(y.backward().unwrap_err().to_string().contains("pg_grad::backward"));
        assert!(backward(&y).is_ok());
    }

    #[test]
    fn what_is_used_up_is_not_differentiated_again() {
        let _scope = Scope::new();
        let x = var(&[2, 3], 1);
        let y = relu(&x).unwrap();
        let (a, b) = (relu(&y).unwrap().sum_all().unwrap(), add(&y, &y).unwrap().sum_all().unwrap());
        assert!(backward(&a).unwrap().get(&x).is_some());
        assert!(matches!(backward(&b), Err(Error::UsedUp)));
    }

    #[test]
    fn nothing_is_recorded_without_a_graph() {
        let x = var(&[2, 3], 1);
        let y = without_graph(|| relu(&relu(&x)?)).unwrap();
        assert!(!y.track_op() && !is_on());
        let y = without_graph(|| checkpoint(&x, Forward::Main, |x, _| relu(x))).unwrap();
        assert!(!y.track_op());
    }

    #[test]
    fn a_checkpointed_part_reads_no_other_tensor_of_the_step() {
        let _scope = Scope::new();
        let (x, other) = (var(&[2, 3], 1), relu(&var(&[2, 3], 2)).unwrap());
        for shift in [other.clone(), (&other * 2.0).unwrap()] {
            let part = checkpoint(&x, Forward::Main, move |x, _| relu(&add(x, &shift)?));
            assert!(matches!(part, Err(Error::CheckpointReads)));
        }
        let captured = x.clone();
        let part = checkpoint(&relu(&x).unwrap(), Forward::Main, move |y, _| relu(&add(y, &captured)?));
        assert!(crate::pass::backward_to_input(&part.unwrap().sum_all().unwrap(), &x, true).is_err());
        assert!(backward(&checkpoint(&x, Forward::Main, |x, _| relu(x)).unwrap().sum_all().unwrap()).is_ok());
    }
}
