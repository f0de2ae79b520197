//! What the kernels' tests share.

use crate::matmul::Float;

/// `n` numbers in [-1, 1), others for another `salt`.
pub(crate) fn numbers<T: Float>(n: usize, salt: u64) -> Vec<T> {
    let mut state = salt;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        T::from_f64((state >> 40) as f64 / f64::from(1 << 23) - 1.0)
    };
    (0..n).map(|_| next()).collect()
}

/// Each pair differs by less than `tolerance`, relative to the larger of the expected value and 1.
pub(crate) fn assert_close(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() < tolerance * e.abs().max(1.0), "{a} != {e}");
    }
}

/// The result of `work` on one thread and on four.
pub(crate) fn on_one_and_four_threads<R: Send>(work: impl Fn() -> R + Sync) -> [R; 2] {
    [1, 4].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
        pool.install(&work)
    })
}
