//! How many windows fit along an axis, and what can be wrong with a shape.

use thiserror::Error;

/// What is wrong with the shapes or options of a windowed operation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// An axis has no elements.
    #[error("{operation}: shape {shape:?} has an empty axis")]
    Empty {
        /// The operation asked for.
        operation: &'static str,
        /// The shape given.
        shape: Vec<usize>,
    },
    /// There are fewer axes than the operation needs.
    #[error("{operation}: shape {shape:?} has too few axes; expected {expected}")]
    Rank {
        /// The operation asked for.
        operation: &'static str,
        /// The shape given.
        shape: Vec<usize>,
        /// The axes it needs.
        expected: &'static str,
    },
    /// An option that must be positive is zero.
    #[error("{operation}: {option} must be at least 1")]
    Zero {
        /// The operation asked for.
        operation: &'static str,
        /// The option's name.
        option: &'static str,
    },
    /// The window, dilated, is larger than the padded input.
    #[error("{operation}: a window of {window} does not fit an input of {input} padded by {padding}")]
    WindowTooLarge {
        /// The operation asked for.
        operation: &'static str,
        /// Extent of the dilated window.
        window: usize,
        /// Extent of the input.
        input: usize,
        /// Padding on either side.
        padding: usize,
    },
    /// Padding as large as the window would give windows without a single input element.
    #[error("{operation}: padding {padding} must be smaller than the window of {window}")]
    PaddingTooLarge {
        /// The operation asked for.
        operation: &'static str,
        /// Padding on either side.
        padding: usize,
        /// Extent of the dilated window.
        window: usize,
    },
    /// Channels, kernel and groups do not agree.
    #[error(
        "conv2d: input channels {channels}, kernel {kernel:?} and groups {groups} do not agree \
         (kernel is (out, in / groups, height, width))"
    )]
    Groups {
        /// Channels of the input.
        channels: usize,
        /// Kernel shape.
        kernel: [usize; 4],
        /// Number of groups.
        groups: usize,
    },
    /// A product of sizes exceeds what memory can address.
    #[error("{operation}: sizes overflow")]
    Overflow {
        /// The operation asked for.
        operation: &'static str,
    },
}

/// One axis of a windowed operation: its checked sizes, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Of the input.
    pub input: usize,
    /// Of the window, before dilation.
    pub window: usize,
    /// Between windows.
    pub stride: usize,
    /// Added on either side.
    pub padding: usize,
    /// Between the elements of a window.
    pub dilation: usize,
    /// Of the output.
    pub output: usize,
}

impl Axis {
    pub(crate) fn new(
        operation: &'static str,
        input: usize,
        window: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
    ) -> Result<Self, ShapeError> {
        for (option, value) in [("stride", stride), ("dilation", dilation), ("kernel size", window)] {
            if value == 0 {
                return Err(ShapeError::Zero { operation, option });
            }
        }
        let overflow = ShapeError::Overflow { operation };
        let extent = dilation
            .checked_mul(window - 1)
            .and_then(|e| e.checked_add(1))
            .ok_or_else(|| overflow.clone())?;
        let padded = padding.checked_mul(2).and_then(|p| p.checked_add(input)).ok_or(overflow)?;
        if extent > padded {
            return Err(ShapeError::WindowTooLarge { operation, window: extent, input, padding });
        }
        Ok(Self { input, window, stride, padding, dilation, output: (padded - extent) / stride + 1 })
    }

    /// The input positions that output `o` reads without dilation, padding left out.
    #[inline]
    pub(crate) fn covered(&self, o: usize) -> std::ops::Range<usize> {
        let start = o * self.stride;
        start.saturating_sub(self.padding)..(start + self.window - self.padding).min(self.input)
    }

    /// The input position that window element `k` of output `o` reads, or `None` in the padding.
    #[inline]
    pub(crate) fn source(&self, o: usize, k: usize) -> Option<usize> {
        (o * self.stride + k * self.dilation).checked_sub(self.padding).filter(|&i| i < self.input)
    }
}

/// Product of sizes that must fit in memory.
pub(crate) fn checked_len(operation: &'static str, sizes: &[usize]) -> Result<usize, ShapeError> {
    sizes
        .iter()
        .try_fold(1usize, |n, &s| n.checked_mul(s))
        .filter(|&n| n <= isize::MAX as usize / 8)
        .ok_or(ShapeError::Overflow { operation })
}

/// Rejects a shape with an empty axis.
pub(crate) fn non_empty(operation: &'static str, shape: &[usize]) -> Result<(), ShapeError> {
    if shape.contains(&0) {
        return Err(ShapeError::Empty { operation, shape: shape.to_vec() });
    }
    Ok(())
}
