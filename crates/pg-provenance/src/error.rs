use thiserror::Error;

/// What was wrong with the input.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ProvenanceError {
    /// The number of values is not `width * height`.
    #[error("{given} values do not fill a mask of {width} x {height}; pass width * height of them")]
    Length {
        /// Width asked for, in pixels.
        width: usize,
        /// Height asked for, in pixels.
        height: usize,
        /// Number of values passed.
        given: usize,
    },
    /// A soft mask holds a value outside [0, 1].
    #[error("mask value {value} at index {index} is not a share; keep values within [0, 1]")]
    Share {
        /// Row-major index of the value.
        index: usize,
        /// The value, possibly NaN.
        value: f32,
    },
}
