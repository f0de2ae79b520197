//! What the system's allocator does with the large blocks that a step frees, and in which pages they lie.

/// Has glibc's allocator keep freed memory for what comes next. By default it hands large blocks back to the system and
/// fetches them anew, page by page: 4 to 15 percent of a guided step's time. All threads share one arena, since the
/// arenas of other threads than the first hand back blocks above 64 MiB whatever they are told. Elsewhere nothing
/// happens. Memory is given back when the process ends.
///
/// The first part of that arena, as large as half of the machine's memory, is in huge pages where the system grants them on
/// request: a guided step reads more small pages than the processor remembers the places of. BENCHMARKS.md has what it gains. It
/// is address space that is set aside, not memory, which is taken where it is first written; where address space is
/// counted as memory (`vm.overcommit_memory=2`) or limited (`ulimit -v` or `-d`), none is. `MALLOC_PERTURB_` has no effect.
///
/// # Safety
/// Changes the allocator of the process: call it at the start of `main`, while no other thread runs.
#[allow(unsafe_code, reason = "the allocator's settings have no other door")]
pub unsafe fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// Bytes to ask the system for at once.
        const STEP: libc::c_int = 256 << 20;
        /// glibc's word for never to trim. The largest number of this type has it trim from 2 GiB on.
        const NEVER: libc::c_int = -1;
        // SAFETY: the caller promises that no other thread allocates; a setting that is refused changes nothing.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, NEVER);
            libc::mallopt(libc::M_TOP_PAD, STEP);
            if !address_space_is_counted() {
                grow_in_huge_pages();
            }
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "limits have no other door")]
fn address_space_is_counted() -> bool {
    let is_limited = |resource| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: writes the one struct that it is given.
        unsafe { libc::getrlimit(resource, &mut limit) != 0 || limit.rlim_cur != libc::RLIM_INFINITY }
    };
    is_limited(libc::RLIMIT_AS)
        || is_limited(libc::RLIMIT_DATA)
        || std::fs::read("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.starts_with(b"2"))
}

/// Grows the arena by half of the machine's memory, and asks for huge pages there. What is refused changes nothing.
///
/// # Safety
/// As of [`keep_freed_memory`], which has to have set that freed memory is kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the allocator's settings have no other door")]
unsafe fn grow_in_huge_pages() {
    /// Where a huge page begins, on the processors whose small pages are of 4 KiB; elsewhere just where a page does.
    const ALIGNMENT: usize = 2 << 20;
    // SAFETY: the caller promises that no other thread allocates. The block is freed unused, and advice changes no contents;
    // the last page, to which it is rounded up, is the arena's.
    unsafe {
        // A debugging aid, which would write all of the block.
        libc::mallopt(libc::M_PERTURB, 0);
        let pages = usize::try_from(libc::sysconf(libc::_SC_PHYS_PAGES)).unwrap_or(0);
        let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(0);
        let bytes = (pages / 2).saturating_mul(page);
        let block = libc::malloc(bytes);
        let skipped = block.align_offset(ALIGNMENT);
        if !block.is_null() && skipped < bytes {
            libc::madvise(block.byte_add(skipped), bytes - skipped, libc::MADV_HUGEPAGE);
        }
        libc::free(block);
    }
}
