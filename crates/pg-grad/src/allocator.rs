//! What the system's allocator does with the large blocks that a step frees.

/// Has glibc's allocator keep freed memory for what comes next. By default it hands large blocks back to the system and
/// fetches them anew, page by page: 4 to 17 percent of a guided step's time. All threads share one arena, since the
/// arenas of other threads than the first hand back blocks above 64 MiB whatever they are told. Elsewhere nothing
/// happens. Memory is given back when the process ends.
///
/// # Safety
/// Changes the allocator of the process: call it at the start of `main`, while no other thread runs.
#[allow(unsafe_code, reason = "the allocator's settings have no other door")]
pub unsafe fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// Bytes to ask the system for at once.
        const STEP: libc::c_int = 256 << 20;
        // SAFETY: the caller promises that no other thread allocates; a setting that is refused changes nothing.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
            libc::mallopt(libc::M_TOP_PAD, STEP);
        }
    }
}
