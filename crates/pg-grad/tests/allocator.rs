//! Runs alone in its process, without the test harness and its threads: the allocator is the process's.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "a main calls it")]
fn main() {
    use std::fs::read_to_string;
    use std::hint::black_box;

    let number = |text: &str| text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap();
    let minor_faults = || {
        let stat = read_to_string("/proc/self/stat").unwrap();
        stat.rsplit(')').next().unwrap().split_whitespace().nth(7).unwrap().parse::<usize>().unwrap()
    };
    // SAFETY: no other thread runs.
    unsafe { pg_grad::keep_freed_memory() };

    let fill = || drop(black_box(vec![1u8; 96 << 20]));
    let from_a_thread = || std::thread::spawn(move || (0..4).for_each(|_| fill())).join().unwrap();
    fill();
    from_a_thread();
    let before = minor_faults();
    fill();
    from_a_thread();
    let faults = minor_faults() - before;
    // In huge pages each that is fetched anew has 48.
    assert!(faults < 100, "freed memory was handed back: {faults} page faults");

    let modes = read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let grants = modes.contains("[madvise]") || modes.contains("[always]");
    let counts = read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.starts_with('2'));
    let limits = read_to_string("/proc/self/limits").unwrap();
    let is_unlimited = |what: &str| {
        limits.lines().any(|line| line.strip_prefix(what).is_some_and(|line| line.trim().starts_with('u')))
    };
    if grants && !counts && is_unlimited("Max address space") && is_unlimited("Max data size") {
        let (mut size, mut advised) = (0, 0);
        for line in read_to_string("/proc/self/smaps").unwrap().lines() {
            match line.split(':').next() {
                Some("Size") => size = number(line),
                Some("VmFlags") if line.split_whitespace().any(|flag| flag == "hg") => advised += size,
                _ => {}
            }
        }
        let memory = number(&read_to_string("/proc/meminfo").unwrap());
        assert!(advised > memory / 3, "huge pages were asked for in {advised} kB of {memory} kB");
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn main() {}
