//! The commands, one a file.

pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod train;

/// What weights files call this program.
const PROGRAM: &str = env!("CARGO_PKG_NAME");
