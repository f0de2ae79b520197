//! What a pickle holds.

use std::borrow::Cow;

use crate::array::{Array, DType, Order};

/// Position of a value.
pub(super) type Id = u32;

/// The values of a pickle; there are no cycles among those that the root leads to.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    pub(super) values: Vec<Value<'a>>,
    pub(super) root: Id,
}

/// A value; those it contains are named by their positions.
#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Cow<'a, str>),
    /// Bytes, or a string of Python 2.
    Bytes(Cow<'a, [u8]>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Array(Box<StoredArray>),
    /// An array before its state is set.
    NewArray,
    DType(DType),
    Function(Function),
}

#[derive(Debug)]
pub(super) struct StoredArray {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) order: Order,
    /// A [`Value::Bytes`] of the right length.
    pub(super) bytes: Id,
}

/// What a pickle may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Reconstruct,
    Scalar,
    FromBuffer,
    DType,
    NdArray,
    Encode,
    Bytes,
    OrderedDict,
}

impl<'a> Pickle<'a> {
    /// The whole.
    pub(crate) fn root(&self) -> Item<'_, 'a> {
        Item { pickle: self, id: self.root }
    }

    /// Whether a value contains itself. A walk in depth, without recursion.
    pub(super) fn has_cycle(&self) -> bool {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            No,
            Inside,
            Done,
        }
        let mut seen = vec![Seen::No; self.values.len()];
        let mut path: Vec<(Id, usize)> = vec![(self.root, 0)];
        while let Some((id, next)) = path.last_mut() {
            let id = *id;
            seen[id as usize] = Seen::Inside;
            let child = self.child(id, *next);
            *next += 1;
            match child {
                Some(child) => match seen[child as usize] {
                    Seen::Inside => return true,
                    Seen::No => path.push((child, 0)),
                    Seen::Done => {}
                },
                None => {
                    seen[id as usize] = Seen::Done;
                    path.pop();
                }
            }
        }
        false
    }

    fn child(&self, id: Id, index: usize) -> Option<Id> {
        match &self.values[id as usize] {
            Value::List(items) | Value::Tuple(items) => items.get(index).copied(),
            Value::Dict(entries) => {
                let (key, value) = entries.get(index / 2)?;
                Some(if index.is_multiple_of(2) { *key } else { *value })
            }
            _ => None,
        }
    }
}

/// A value in its pickle.
#[derive(Clone, Copy)]
pub(crate) struct Item<'p, 'a> {
    pickle: &'p Pickle<'a>,
    id: Id,
}

impl<'p, 'a> Item<'p, 'a> {
    fn value(self) -> &'p Value<'a> {
        &self.pickle.values[self.id as usize]
    }

    fn at(self, id: Id) -> Self {
        Self { pickle: self.pickle, id }
    }

    /// The value of a key of a dictionary.
    pub(crate) fn get(self, key: &str) -> Option<Self> {
        // Of equal keys the last counts.
        let mut entries = self.entries()?.rev();
        entries.find(|(name, _)| name.bytes() == Some(key.as_bytes())).map(|(_, value)| value)
    }

    /// Keys and values of a dictionary.
    pub(crate) fn entries(self) -> Option<impl DoubleEndedIterator<Item = (Self, Self)> + use<'p, 'a>> {
        match self.value() {
            Value::Dict(entries) => {
                Some(entries.iter().map(move |&(key, value)| (self.at(key), self.at(value))))
            }
            _ => None,
        }
    }

    /// What a list or a tuple contains.
    pub(crate) fn items(self) -> Option<impl ExactSizeIterator<Item = Self> + use<'p, 'a>> {
        match self.value() {
            Value::List(items) | Value::Tuple(items) => Some(items.iter().map(move |&id| self.at(id))),
            _ => None,
        }
    }

    /// A string, of Python 2 or 3. That of Python 2 is looked through each time.
    pub(crate) fn text(self) -> Option<&'p str> {
        match self.value() {
            Value::Str(text) => Some(text),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// A string, if it is one, as bytes.
    fn bytes(self) -> Option<&'p [u8]> {
        match self.value() {
            Value::Str(text) => Some(text.as_bytes()),
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// How much there is to look through: bytes of a string, items of a list, entries of a dictionary.
    pub(crate) fn size(self) -> usize {
        match self.value() {
            Value::List(items) | Value::Tuple(items) => items.len(),
            Value::Dict(entries) => entries.len(),
            _ => self.bytes().map_or(0, <[u8]>::len),
        }
    }

    /// An integer, NumPy's included.
    pub(crate) fn int(self) -> Option<i64> {
        match self.value() {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// A number.
    pub(crate) fn number(self) -> Option<f64> {
        match self.value() {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn is_none(self) -> bool {
        matches!(self.value(), Value::None)
    }

    /// An array.
    pub(crate) fn array(self) -> Option<Array<'p>> {
        let Value::Array(array) = self.value() else { return None };
        let StoredArray { dtype, shape, order, bytes } = &**array;
        let Value::Bytes(bytes) = self.at(*bytes).value() else { return None };
        Array::new(*dtype, shape.clone(), order.clone(), Cow::Borrowed(bytes)).ok()
    }

    /// What it is, for messages.
    pub(crate) fn kind(self) -> &'static str {
        match self.value() {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Str(_) => "a string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "a list",
            Value::Tuple(_) => "a tuple",
            Value::Dict(_) => "a dictionary",
            Value::Array(_) => "an array",
            Value::NewArray => "an array without elements",
            Value::DType(_) | Value::Function(_) => "a type",
        }
    }
}
