//! The commands, one a file.

pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod train;
