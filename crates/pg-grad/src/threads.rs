//! The number of threads of everything below: rayon's pool, and candle's own, which waits for work by spinning.

/// Limits rayon and candle to `threads` threads; `None` leaves them as they are (all cores, or what
/// `RAYON_NUM_THREADS` says). No result of this workspace depends on it.
///
/// # Safety
/// Writes an environment variable: call it at the start of `main`, while no other thread runs, and before the first
/// use of rayon or candle, both of which read it once.
#[allow(unsafe_code, reason = "candle reads the number of threads from the environment")]
pub unsafe fn limit_threads(threads: Option<usize>) {
    if let Some(threads) = threads {
        // SAFETY: the caller promises that no other thread reads or writes the environment.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.to_string()) }
    }
}
