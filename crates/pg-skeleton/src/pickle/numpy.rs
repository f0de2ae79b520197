//! The functions that a pickle may call: NumPy's, and a few that strings and dictionaries need.

use std::borrow::Cow;

use super::Problem;
use super::machine::Machine;
use super::value::{Function, Id, StoredArray, Value};
use crate::array::{DType, Order, Scalar, check_length};
use crate::error::one_line;

/// NumPy allows 64.
const MAX_AXES: usize = 64;

impl Function {
    /// The function of that name; NumPy 2 moved its own from `core` to `_core`.
    pub(super) fn named(module: &str, name: &str) -> Result<Self, Problem> {
        Ok(match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Self::Reconstruct,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::Scalar,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Self::FromBuffer,
            ("numpy", "dtype") => Self::DType,
            ("numpy", "ndarray") => Self::NdArray,
            ("_codecs", "encode") => Self::Encode,
            // How protocols 0 to 2 write bytes of length 0.
            ("__builtin__" | "builtins", "bytes") => Self::Bytes,
            ("collections", "OrderedDict") => Self::OrderedDict,
            _ => return Err(Problem::Global(one_line(&format!("{module}.{name}")))),
        })
    }
}

impl<'a> Machine<'a> {
    /// What a function makes of its arguments.
    pub(super) fn call(&mut self, function: Id, arguments: Id) -> Result<Value<'a>, Problem> {
        let (Value::Function(function), Value::Tuple(arguments)) =
            (self.value(function), self.value(arguments))
        else {
            return Err(Problem::Malformed("calls what is no function"));
        };
        match (*function, &arguments[..]) {
            (Function::Reconstruct, _) => Ok(Value::NewArray),
            (Function::Scalar, &[dtype, bytes]) => self.scalar(dtype, bytes),
            (Function::FromBuffer, &[bytes, dtype, shape, order]) => {
                let order = if self.is_text(order, "F") { Order::ColumnMajor } else { Order::RowMajor };
                self.array(shape, dtype, order, bytes).map(stored)
            }
            // NumPy 2.3 and later, order K.
            (Function::FromBuffer, &[bytes, dtype, shape, _, axes]) => {
                self.transposed(shape, dtype, bytes, axes).map(stored)
            }
            (Function::DType, &[name, ..]) => self.dtype(name),
            (Function::Encode, &[text, encoding]) => self.encode(text, encoding),
            (Function::Bytes, []) => Ok(Value::Bytes(Cow::Borrowed(&[]))),
            (Function::OrderedDict, []) => Ok(Value::Dict(Vec::new())),
            (Function::OrderedDict, &[pairs]) => self.dict_of_pairs(pairs),
            _ => Err(Problem::Malformed("calls a function with arguments that it does not take")),
        }
    }

    /// Sets the state of an array or of an element type.
    pub(super) fn build(&mut self, target: Id, state: Id) -> Result<(), Problem> {
        let Value::Tuple(state) = self.value(state) else {
            return Err(Problem::Malformed("sets a state that is no tuple"));
        };
        let value = match (self.value(target), &state[..]) {
            (&Value::DType(dtype), &[_, order, ..]) => {
                Value::DType(dtype.with_order(self.is_text(order, ">")))
            }
            (Value::NewArray, &[_, shape, dtype, fortran, bytes] | &[shape, dtype, fortran, bytes]) => {
                let fortran = matches!(self.value(fortran), Value::Bool(true) | Value::Int(1));
                let order = if fortran { Order::ColumnMajor } else { Order::RowMajor };
                stored(self.array(shape, dtype, order, bytes)?)
            }
            _ => return Err(Problem::Malformed("sets the state of what is no array")),
        };
        self.set(target, value);
        Ok(())
    }

    fn array(&mut self, shape: Id, dtype: Id, order: Order, bytes: Id) -> Result<StoredArray, Problem> {
        let (Value::Tuple(_), &Value::DType(dtype)) = (self.value(shape), self.value(dtype)) else {
            return Err(Problem::Malformed("an array has no shape or no element type"));
        };
        let Value::Bytes(content) = self.value(bytes) else {
            return Err(Problem::Malformed("an array holds objects in place of numbers"));
        };
        let length = content.len();
        let shape = self.lengths(shape)?;
        check_length(dtype, &shape, length).map_err(Problem::Array)?;
        Ok(StoredArray { dtype, shape, order, bytes })
    }

    /// An array whose axes changed places: axis i of it is axis `axes[i]` of the one that is stored, row by row.
    fn transposed(&mut self, shape: Id, dtype: Id, bytes: Id, axes: Id) -> Result<StoredArray, Problem> {
        let array = self.array(shape, dtype, Order::RowMajor, bytes)?;
        let axes = self.lengths(axes)?;
        let place = |stored: usize| axes.iter().position(|&axis| axis == stored);
        let fastest_first: Option<Vec<usize>> = (0..array.shape.len()).rev().map(place).collect();
        match fastest_first {
            Some(fastest_first) if axes.len() == array.shape.len() => {
                let shape = axes.iter().map(|&axis| array.shape[axis]).collect();
                Ok(StoredArray { shape, order: Order::Axes(fastest_first), ..array })
            }
            _ => Err(Problem::Malformed("the axes of an array are not each there once")),
        }
    }

    /// The numbers of a tuple of an array's.
    fn lengths(&mut self, tuple: Id) -> Result<Vec<usize>, Problem> {
        const MALFORMED: Problem = Problem::Malformed("the shape of an array is no tuple of lengths");
        let count = match self.value(tuple) {
            Value::Tuple(items) => items.len(),
            _ => return Err(MALFORMED),
        };
        if count > MAX_AXES {
            return Err(Problem::Malformed("an array has more than 64 axes"));
        }
        // One tuple may serve many arrays.
        self.spend(count)?;
        let length = |&item: &Id| match self.value(item) {
            Value::Int(length) => usize::try_from(*length).ok(),
            _ => None,
        };
        self.items(tuple).unwrap_or_default().iter().map(length).collect::<Option<_>>().ok_or(MALFORMED)
    }

    fn dtype(&mut self, name: Id) -> Result<Value<'a>, Problem> {
        self.spend(match self.value(name) {
            Value::Str(name) => name.len(),
            Value::Bytes(name) => name.len(),
            _ => return Err(Problem::Malformed("an element type has no name")),
        })?;
        let name = self.text(name).ok_or(Problem::Malformed("an element type has no name"))?;
        DType::parse(name).map(Value::DType).ok_or_else(|| Problem::ElementType(one_line(name)))
    }

    fn scalar(&mut self, dtype: Id, bytes: Id) -> Result<Value<'a>, Problem> {
        let (Value::DType(dtype), Value::Bytes(bytes)) = (self.value(dtype), self.value(bytes)) else {
            return Err(Problem::Malformed("a NumPy scalar has no element type or no bytes"));
        };
        let (length, scalar) = (bytes.len(), dtype.scalar(bytes));
        self.spend(length)?;
        match scalar.ok_or(Problem::Malformed("a NumPy scalar does not fit its element type"))? {
            Scalar::Bool(is) => Ok(Value::Bool(is)),
            Scalar::Int(number) => Ok(Value::Int(number)),
            Scalar::Float(number) => Ok(Value::Float(number)),
            Scalar::Text(text) => Ok(Value::Str(Cow::Owned(text))),
        }
    }

    /// Bytes that protocols 0 to 2 write as text.
    fn encode(&mut self, text: Id, encoding: Id) -> Result<Value<'a>, Problem> {
        if !["latin1", "latin-1", "iso-8859-1"].iter().any(|name| self.is_text(encoding, name)) {
            return Err(Problem::Malformed("encodes text in another way than latin1"));
        }
        self.spend(match self.value(text) {
            Value::Str(text) => text.len(),
            _ => return Err(Problem::Malformed("encodes what is no text")),
        })?;
        let text = self.text(text).unwrap_or_default();
        let bytes = text.chars().map(u8::try_from).collect::<Result<Vec<u8>, _>>();
        let bytes = bytes.map_err(|_| Problem::Malformed("encodes text that is not latin1"))?;
        Ok(Value::Bytes(Cow::Owned(bytes)))
    }

    fn dict_of_pairs(&mut self, pairs: Id) -> Result<Value<'a>, Problem> {
        const MALFORMED: Problem = Problem::Malformed("a dictionary is made of what are no pairs");
        let length = match self.value(pairs) {
            Value::List(pairs) => pairs.len(),
            _ => return Err(MALFORMED),
        };
        self.spend(length)?;
        let pair = |&pair: &Id| match self.items(pair)? {
            &[key, value] => Some((key, value)),
            _ => None,
        };
        let entries = self.items(pairs).unwrap_or_default().iter().map(pair);
        entries.collect::<Option<_>>().map(Value::Dict).ok_or(MALFORMED)
    }
}

fn stored<'a>(array: StoredArray) -> Value<'a> {
    Value::Array(Box::new(array))
}
