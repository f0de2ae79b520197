//! Runs alone in its process, without the test harness and its threads: the allocator is the process's.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "a main calls it")]
fn main() {
    use std::fs::read_to_string;
    use std::hint::black_box;

    const BLOCK: usize = 96 << 20;
    let minor_faults = || -> usize {
        let stat = read_to_string("/proc/self/stat").unwrap();
        stat.rsplit(')').next().unwrap().split_whitespace().nth(7).unwrap().parse().unwrap()
    };
    // SAFETY: no other thread runs.
    unsafe { pg_grad::keep_freed_memory() };

    let fill = || drop(black_box(vec![1u8; BLOCK]));
    let before = minor_faults();
    fill();
    let first = minor_faults() - before;
    fill();
    let again = minor_faults() - before - first;
    assert!(first > 0 && again < 8, "freed memory was handed back: {first} page faults, then {again}");

    let modes = read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if modes.contains("[madvise]") || modes.contains("[always]") {
        assert!(first < BLOCK / 4096 / 8, "no huge pages: {first} page faults");
    }
    println!("allocator: {first} page faults for a block, {again} when it is used again");
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn main() {}
