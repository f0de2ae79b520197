//! The stack machine.

use std::borrow::Cow;
use std::collections::HashMap;

use super::input::{Input, long, quoted, raw_unicode};
use super::value::{Function, Id, Pickle, Value};
use super::{PickleError, Problem};

/// The last protocol that is known.
const LAST_PROTOCOL: u8 = 5;

pub(super) struct Machine<'a> {
    input: Input<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks; nothing below the last may be taken.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// How many bytes calls may still make, at first twice those of the file. Each is made of some that the file
    /// holds; a NumPy string of protocols 0 to 2 is made of bytes, which are made of text.
    budget: usize,
}

/// These have fixed places, since a pickle may have millions of them.
const NONE: Id = 0;
const FALSE: Id = 1;
const TRUE: Id = 2;

impl<'a> Pickle<'a> {
    /// Reads a pickle.
    ///
    /// # Errors
    /// [`PickleError`], for anything but plain values and NumPy arrays.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, PickleError> {
        let mut machine = Machine {
            input: Input::new(bytes),
            values: vec![Value::None, Value::Bool(false), Value::Bool(true)],
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            budget: bytes.len().saturating_mul(2),
        };
        loop {
            let at = machine.input.at;
            let failed = |problem| PickleError { at, problem };
            if let Some(root) = machine.step().map_err(failed)? {
                let pickle = Self { values: machine.values, root };
                return if pickle.has_cycle() { Err(failed(Problem::Cycle)) } else { Ok(pickle) };
            }
        }
    }
}

impl<'a> Machine<'a> {
    /// Does one operation; gives the result after the last.
    fn step(&mut self) -> Result<Option<Id>, Problem> {
        let operation = self.input.u8()?;
        match operation {
            b'.' => return self.pop().map(Some),
            0x80 => self.protocol()?,
            // How long the next operations are together: of no use here.
            0x95 => drop(self.input.u64()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => self.stack.push(self.top()?),
            b'N' => self.stack.push(NONE),
            0x88 => self.stack.push(TRUE),
            0x89 => self.stack.push(FALSE),
            b'I' | b'J' | b'K' | b'M' | b'L' | 0x8a | 0x8b | b'F' | b'G' => self.number(operation)?,
            b'S' | b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d | b'B' | b'C' | 0x8e | 0x96 => {
                self.string(operation)?
            }
            b']' | b'l' | b'a' | b'e' => self.list(operation)?,
            b')' | b't' | 0x85..=0x87 => self.tuple(operation)?,
            b'}' | b'd' | b's' | b'u' => self.dict(operation)?,
            b'p' | b'q' | b'r' | 0x94 => self.put(operation)?,
            b'g' | b'h' | b'j' => self.get(operation)?,
            b'c' | 0x93 | b'R' | b'b' => self.object(operation)?,
            other => return Err(Problem::Operation(other)),
        }
        Ok(None)
    }

    fn protocol(&mut self) -> Result<(), Problem> {
        match self.input.u8()? {
            0..=LAST_PROTOCOL => Ok(()),
            _ => Err(Problem::Malformed("has a protocol above 5")),
        }
    }

    fn number(&mut self, operation: u8) -> Result<(), Problem> {
        const MALFORMED: Problem = Problem::Malformed("a number is malformed");
        let number = match operation {
            b'J' => i64::from(self.input.i32()?),
            b'K' => i64::from(self.input.u8()?),
            b'M' => i64::from(self.input.u16()?),
            0x8a => {
                let length = self.input.u8()?;
                long(self.input.bytes_of(length)?)?
            }
            0x8b => {
                let length = self.input.i32()?;
                long(self.input.bytes_of(length)?)?
            }
            b'I' | b'L' => match self.input.text_line()? {
                "00" => return self.push_known(FALSE),
                "01" => return self.push_known(TRUE),
                text => text.strip_suffix('L').unwrap_or(text).parse().map_err(|_| MALFORMED)?,
            },
            b'F' => {
                let number = self.input.text_line()?.parse().map_err(|_| MALFORMED)?;
                return self.push(Value::Float(number));
            }
            _ => {
                let number = self.input.f64_be()?;
                return self.push(Value::Float(number));
            }
        };
        self.push(Value::Int(number))
    }

    fn string(&mut self, operation: u8) -> Result<(), Problem> {
        let input = &mut self.input;
        let value = match operation {
            b'S' => Value::Bytes(Cow::Owned(quoted(input.line()?)?)),
            b'V' => Value::Str(Cow::Owned(raw_unicode(input.line()?)?)),
            b'X' => {
                let length = input.u32()?;
                Value::Str(input.text_of(length)?)
            }
            0x8c => {
                let length = input.u8()?;
                Value::Str(input.text_of(length)?)
            }
            0x8d => {
                let length = input.u64()?;
                Value::Str(input.text_of(length)?)
            }
            b'U' | b'C' => {
                let length = input.u8()?;
                Value::Bytes(Cow::Borrowed(input.bytes_of(length)?))
            }
            b'T' => {
                let length = input.i32()?;
                Value::Bytes(Cow::Borrowed(input.bytes_of(length)?))
            }
            b'B' => {
                let length = input.u32()?;
                Value::Bytes(Cow::Borrowed(input.bytes_of(length)?))
            }
            _ => {
                let length = input.u64()?;
                Value::Bytes(Cow::Borrowed(input.bytes_of(length)?))
            }
        };
        self.push(value)
    }

    fn list(&mut self, operation: u8) -> Result<(), Problem> {
        let items = match operation {
            b']' => return self.push(Value::List(Vec::new())),
            b'l' => {
                let items = self.pop_mark()?;
                return self.push(Value::List(items));
            }
            b'a' => vec![self.pop()?],
            _ => self.pop_mark()?,
        };
        let list = self.top()?;
        match self.values.get_mut(list as usize) {
            Some(Value::List(list)) => list.extend(items),
            _ => return Err(Problem::Malformed("appends to what is no list")),
        }
        Ok(())
    }

    fn tuple(&mut self, operation: u8) -> Result<(), Problem> {
        let items = match operation {
            b')' => Vec::new(),
            b't' => self.pop_mark()?,
            _ => {
                let mut items = (0x85..=operation).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                items
            }
        };
        self.push(Value::Tuple(items))
    }

    fn dict(&mut self, operation: u8) -> Result<(), Problem> {
        let items = match operation {
            b'}' => return self.push(Value::Dict(Vec::new())),
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_mark()?,
        };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Problem::Malformed("a dictionary has a key without a value"));
        }
        let entries = pairs.iter().map(|&[key, value]| (key, value));
        if operation == b'd' {
            return self.push(Value::Dict(entries.collect()));
        }
        let dict = self.top()?;
        match self.values.get_mut(dict as usize) {
            Some(Value::Dict(dict)) => dict.extend(entries),
            _ => return Err(Problem::Malformed("sets an entry of what is no dictionary")),
        }
        Ok(())
    }

    fn put(&mut self, operation: u8) -> Result<(), Problem> {
        let key = match operation {
            0x94 => self.memo.len() as u64,
            _ => self.memo_key(operation, [b'p', b'q'])?,
        };
        self.memo.insert(key, self.top()?);
        Ok(())
    }

    fn get(&mut self, operation: u8) -> Result<(), Problem> {
        let key = self.memo_key(operation, [b'g', b'h'])?;
        let &id = self.memo.get(&key).ok_or(Problem::Memo(key))?;
        self.push_known(id)
    }

    /// A key that is written as a line, one byte, or four.
    fn memo_key(&mut self, operation: u8, [line, short]: [u8; 2]) -> Result<u64, Problem> {
        if operation == line {
            let key = self.input.text_line()?;
            key.parse().map_err(|_| Problem::Malformed("a memo has no number"))
        } else if operation == short {
            self.input.u8().map(u64::from)
        } else {
            self.input.u32().map(u64::from)
        }
    }

    fn object(&mut self, operation: u8) -> Result<(), Problem> {
        match operation {
            b'c' => {
                let function = Function::named(self.input.text_line()?, self.input.text_line()?)?;
                self.push(Value::Function(function))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Some(module), Some(name)) = (self.text(module), self.text(name)) else {
                    return Err(Problem::Malformed("names a function by what is no text"));
                };
                let function = Function::named(module, name)?;
                self.push(Value::Function(function))
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let value = self.call(function, arguments)?;
                self.push(value)
            }
            _ => {
                let state = self.pop()?;
                let target = self.top()?;
                self.build(target, state)
            }
        }
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Problem> {
        let id = Id::try_from(self.values.len()).map_err(|_| Problem::Malformed("has 2^32 values"))?;
        self.values.push(value);
        self.push_known(id)
    }

    fn push_known(&mut self, id: Id) -> Result<(), Problem> {
        self.stack.push(id);
        Ok(())
    }

    fn top(&self) -> Result<Id, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(<[Id]>::last).copied().ok_or(Problem::Underflow)
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Everything above the last mark, which goes too.
    fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let mark = self.marks.pop().ok_or(Problem::Underflow)?;
        Ok(self.stack.split_off(mark))
    }

    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    pub(super) fn set(&mut self, id: Id, value: Value<'a>) {
        self.values[id as usize] = value;
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Str(text) => Some(text),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Whether a value is this text.
    pub(super) fn is_text(&self, id: Id, text: &str) -> bool {
        match self.value(id) {
            Value::Str(found) => found == text,
            Value::Bytes(found) => **found == *text.as_bytes(),
            _ => false,
        }
    }

    /// What a list or a tuple contains.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.value(id) {
            Value::List(items) | Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Takes from what calls may make.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Problem> {
        self.budget = self.budget.checked_sub(bytes).ok_or(Problem::Repeats)?;
        Ok(())
    }
}
