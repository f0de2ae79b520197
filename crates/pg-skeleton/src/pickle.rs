//! Python pickles, read without running anything.
//!
//! A pickle is a program for a stack machine (Python's `pickletools` describes it), and may call any function.
//! This machine knows protocols 0 to 5 and those few functions by which NumPy stores arrays; it builds values
//! of its own and refuses every other name. Values are kept in one list and refer to each other by position, so
//! that what a pickle names a thousand times is stored once. No length is believed before that many bytes were
//! seen: memory is a few times the file, and a hundred times one that has nothing but empty lists.

mod input;
mod machine;
mod numpy;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use value::{Item, Pickle};

/// Why a pickle cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {problem}")]
pub(crate) struct PickleError {
    /// Where the operation starts.
    at: usize,
    problem: Problem,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("ends within a value; copy the file again")]
    Truncated,
    #[error("operation {0:#04x} is not supported; is this a pickle of lists, dictionaries and NumPy arrays?")]
    Operation(u8),
    #[error("calls `{0}`, which is not allowed; store plain lists, dictionaries and NumPy arrays")]
    Global(String),
    #[error("takes more from the stack than there is; copy the file again")]
    Underflow,
    #[error("refers to memo {0}, which was not stored; copy the file again")]
    Memo(u64),
    #[error("{0}; store plain lists, dictionaries and NumPy arrays")]
    Malformed(&'static str),
    #[error("element type `{0}` is not supported; store numbers of 1 to 8 bytes")]
    ElementType(String),
    #[error("{0}")]
    Array(String),
    #[error("a value contains itself; store a tree")]
    Cycle,
    #[error("encodes more text than the file holds; store it where it is used")]
    Repeats,
}
