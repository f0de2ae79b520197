//! Named parameters and buffers of a model, and how layers make them.

use crate::error::{Error, Result};
use crate::weights::{self, Mismatch};
use candle_core::{DType, Device, Shape, Tensor, Var};
use pg_random::Seed;
use rand_distr::{Distribution, StandardNormal, Uniform};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Parameters (trained) and buffers (running statistics) by name.
///
/// Clones share their storage: setting a variable here sets it in the model.
#[derive(Debug, Clone, Default)]
pub struct Params {
    vars: BTreeMap<String, Var>,
    buffers: BTreeMap<String, Var>,
}

impl Params {
    /// The parameters and buffers of a network that is not one of ours.
    pub fn new(vars: BTreeMap<String, Var>, buffers: BTreeMap<String, Var>) -> Self {
        Self { vars, buffers }
    }

    /// The trained parameters.
    pub fn vars(&self) -> &BTreeMap<String, Var> {
        &self.vars
    }

    /// State that is not trained: `running_mean`, `running_var`, `num_batches_tracked`.
    pub fn buffers(&self) -> &BTreeMap<String, Var> {
        &self.buffers
    }

    /// Number of trained numbers.
    pub fn count(&self) -> usize {
        self.vars.values().map(|v| v.elem_count()).sum()
    }

    /// Everything that a checkpoint holds, under the names that PyTorch's `state_dict` has. The tensors share storage
    /// with the model; copy them to keep their present values.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.all().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
    }

    /// Sets everything from `tensors`, converted to the model's type and device.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if a tensor is missing, left over or of another shape; [`Error::NotFinite`] if one holds NaN
    /// or infinity, or numbers that overflow the model's type. Nothing is set then. (`num_batches_tracked` may be missing, as in some exports.)
    pub fn load(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        self.load_but(tensors, &[])
    }

    /// The same, but parameters whose names begin with one of `keep` keep their present values: to load a
    /// pretrained backbone under a new head. Tensors left over under those prefixes are ignored.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_but(&self, tensors: &BTreeMap<String, Tensor>, keep: &[&str]) -> Result<()> {
        self.load_where(tensors, |name| !keep.iter().any(|prefix| name.starts_with(prefix)))
    }

    /// The same for those names only that are `wanted`.
    pub(crate) fn load_where(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let kept = |name: &str| !wanted(name);
        let wanted: Vec<_> = self.all().filter(|(name, _)| wanted(name)).collect();
        let mut mismatch = Mismatch::default();
        for (name, var) in &wanted {
            match tensors.get(*name) {
                None if name.ends_with("num_batches_tracked") => {}
                None => mismatch.missing.push((*name).clone()),
                Some(t) if t.dims() != var.dims() => {
                    mismatch.shapes.push(((*name).clone(), t.dims().to_vec(), var.dims().to_vec()));
                }
                Some(_) => {}
            }
        }
        let known = |name: &String| self.vars.contains_key(name) || self.buffers.contains_key(name);
        mismatch.unexpected = tensors
            .keys()
            .filter(|name| !known(name) && !kept(name) && !name.ends_with("num_batches_tracked"))
            .cloned()
            .collect();
        if !mismatch.is_empty() {
            return Err(Error::Mismatch(mismatch));
        }
        let mut values = Vec::new();
        for (name, var) in wanted {
            if let Some(tensor) = tensors.get(name) {
                // After the conversion, which may overflow.
                let value = tensor.to_dtype(var.dtype())?;
                if !weights::is_finite(&value)? {
                    return Err(Error::NotFinite { name: name.clone() });
                }
                values.push((var, value));
            }
        }
        for (var, value) in values {
            var.set(&value.to_device(var.device())?.copy()?)?;
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = (&String, &Var)> {
        self.vars.iter().chain(&self.buffers)
    }
}

/// How a parameter begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Init {
    /// The same number everywhere.
    Constant(f64),
    /// Gaussian with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in [-bound, bound).
    Uniform {
        /// Largest absolute value.
        bound: f64,
    },
}

impl Init {
    /// He's Gaussian for a rectified convolution of `weight` (out, in / groups, height, width), by fan-out as
    /// torchvision's ResNet and VGG do.
    pub(crate) fn kaiming_normal_fan_out(weight: [usize; 4]) -> Self {
        let fan_out = (weight[0] * weight[2] * weight[3]).max(1);
        Init::Normal { std: (2.0 / fan_out as f64).sqrt() }
    }

    /// The same by fan-in, which keeps the size of activations where a network widens: it trains sooner from scratch.
    pub(crate) fn kaiming_normal_fan_in(weight: [usize; 4]) -> Self {
        let fan_in = (weight[1] * weight[2] * weight[3]).max(1);
        Init::Normal { std: (2.0 / fan_in as f64).sqrt() }
    }

    /// torch's default for linear layers and convolutions: uniform within 1 / sqrt(fan-in).
    pub(crate) fn torch_default(fan_in: usize) -> Self {
        Init::Uniform { bound: 1.0 / (fan_in.max(1) as f64).sqrt() }
    }
}

/// Makes parameters under a dotted path. Each parameter is drawn from a stream named after it, so that adding one
/// changes no other.
#[derive(Debug, Clone)]
pub(crate) struct Builder {
    params: Rc<RefCell<Params>>,
    prefix: String,
    seed: Seed,
    dtype: DType,
    device: Device,
}

impl Builder {
    /// A builder at the root.
    pub(crate) fn new(seed: Seed, dtype: DType, device: &Device) -> Self {
        Self { params: Rc::default(), prefix: String::new(), seed, dtype, device: device.clone() }
    }

    /// The builder one level down.
    pub(crate) fn pp(&self, name: impl std::fmt::Display) -> Self {
        Self { prefix: self.path(name), ..self.clone() }
    }

    /// A trained parameter.
    ///
    /// # Errors
    /// If candle fails.
    pub(crate) fn param(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor> {
        let path = self.path(name);
        let var = Var::from_tensor(&self.draw(&path, shape.into(), init)?)?;
        self.params.borrow_mut().vars.insert(path, var.clone());
        Ok(var.into_inner())
    }

    /// State that is not trained, as a variable that a layer may set.
    ///
    /// # Errors
    /// If candle fails.
    pub(crate) fn buffer(&self, name: &str, value: &Tensor) -> Result<Var> {
        let var = Var::from_tensor(&value.to_device(&self.device)?)?;
        self.params.borrow_mut().buffers.insert(self.path(name), var.clone());
        Ok(var)
    }

    /// Element type of parameters.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Everything made so far by this builder and those below or above it.
    pub(crate) fn params(&self) -> Params {
        self.params.borrow().clone()
    }

    fn path(&self, name: impl std::fmt::Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }

    fn draw(&self, path: &str, shape: Shape, init: Init) -> Result<Tensor> {
        let mut stream = self.seed.stream(&format!("init/{path}"), &[]);
        let count = shape.elem_count();
        let values: Vec<f64> = match init {
            Init::Constant(value) => vec![value; count],
            Init::Normal { std } => {
                (0..count).map(|_| std * Distribution::<f64>::sample(&StandardNormal, &mut stream)).collect()
            }
            Init::Uniform { bound } => match Uniform::new(-bound, bound) {
                Ok(uniform) => uniform.sample_iter(&mut stream).take(count).collect(),
                Err(_) => vec![0.0; count],
            },
        };
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(self.dtype)?.to_device(&self.device)?)
    }
}
