//! Twice-differentiable operations, input gradients and the provenance guidance losses on candle.
