//! Working memory that a thread keeps between calls: fresh pages cost more than many a kernel's arithmetic.

use crate::matmul::Float;
use pulp::bytemuck;
use std::cell::RefCell;

/// Bytes of a cache line; a vector that crosses one takes two loads.
const LINE: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `len` numbers that begin at a cache line and hold whatever was last written there.
pub(crate) fn with_scratch<T: Float, R>(len: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    let len = len * size_of::<T>() / size_of::<f32>();
    let room = len + LINE / size_of::<f32>();
    // Taken, not borrowed: while `f` waits for its own tasks, this thread may run another's. The smallest that fits.
    let mut buffer = FREE.with_borrow_mut(|free| {
        let fit = free.partition_point(|buffer| buffer.len() < room);
        if fit < free.len() { free.remove(fit) } else { free.pop().unwrap_or_default() }
    });
    if buffer.len() < room {
        buffer = vec![0.0; room];
    }
    let start = buffer.as_ptr().align_offset(LINE).min(room - len);
    let result = f(bytemuck::cast_slice_mut(&mut buffer[start..start + len]));
    FREE.with_borrow_mut(|free| {
        free.insert(free.partition_point(|other| other.len() < buffer.len()), buffer);
    });
    result
}

#[cfg(test)]
mod tests {
    use super::with_scratch;

    #[test]
    fn buffers_are_aligned_and_come_back() {
        let first = with_scratch(1000, |outer: &mut [f64]| {
            let inner = with_scratch(10, |inner: &mut [f32]| inner.as_ptr().addr());
            assert_eq!((outer.as_ptr().addr() % 64, inner % 64, outer.len()), (0, 0, 1000));
            outer.as_ptr().addr()
        });
        // A small request leaves the large buffer to a large one.
        with_scratch(10, |_: &mut [f32]| {
            with_scratch(1000, |again: &mut [f64]| assert_eq!(again.as_ptr().addr(), first));
        });
        assert_eq!(with_scratch(999, |again: &mut [f64]| again.as_ptr().addr()), first);
    }
}
