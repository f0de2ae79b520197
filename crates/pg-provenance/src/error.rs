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
    /// An image of a pair has no pixels.
    #[error("the {role} image is {width} x {height}, without pixels; remove the pair")]
    EmptyImage {
        /// `original` or `edited`.
        role: &'static str,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
    },
    /// The network grid has no pixels.
    #[error("a grid of {width} x {height} has no pixels; pass the network's input size")]
    EmptyGrid {
        /// Width asked for, in pixels.
        width: u32,
        /// Height asked for, in pixels.
        height: u32,
    },
    /// A threshold of nothing.
    #[error("no values to threshold; pass at least one")]
    NoValues,
    /// A value to be thresholded is NaN or infinite.
    #[error("value {value} at index {index} cannot be thresholded; pass finite values")]
    NotFinite {
        /// Index of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A histogram that cannot be split.
    #[error("a histogram of {bins} bins cannot be split in two; use at least 2, by custom 256")]
    Bins {
        /// Number of bins asked for.
        bins: usize,
    },
    /// A relative change of area that no mask can have.
    #[error("an area cannot change by {change}; pass a finite share of -1 or more, such as -0.1 for -10 %")]
    AreaChange {
        /// The change asked for.
        change: f64,
    },
    /// Two masks to be compared differ in size.
    #[error(
        "a mask of {} x {} is not comparable with one of {} x {}; resize one of them",
        mask.0, mask.1, truth.0, truth.1
    )]
    Sizes {
        /// Width and height of the mask.
        mask: (usize, usize),
        /// Width and height of the true mask.
        truth: (usize, usize),
    },
}
