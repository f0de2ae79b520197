//! Shapes that no operation can take are typed errors, in a step and outside.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use candle_core::{DType, Device, Tensor};
use pg_grad::ops::*;
use pg_grad::{Error, Guidance, Provenance, Result};

/// A tensor of this shape that takes no memory.
fn of(shape: &[usize]) -> Tensor {
    Tensor::zeros((), DType::F32, &Device::Cpu).unwrap().broadcast_as(shape).unwrap()
}

/// The same outside and inside of a step.
fn errors(f: impl Fn() -> Result<Tensor>) -> [Error; 2] {
    let none = Tensor::new(&[0u32], &Device::Cpu).unwrap();
    let provenance = Provenance::edited(&none, &of(&[1, 1, 1, 1]), &of(&[1])).unwrap();
    let step = Guidance::new(1.0).step(
        &of(&[1, 1, 1, 1]),
        &provenance,
        None,
        |_, _| f(),
        |x: &Tensor| Ok::<_, Error>(x.clone()),
    );
    [f().unwrap_err(), step.unwrap_err()]
}

fn assert_window(f: impl Fn() -> Result<Tensor>, expected: fn(&ShapeError) -> bool) {
    for error in errors(f) {
        assert!(matches!(&error, Error::Window(error) if expected(error)), "{error:?}");
    }
}

const HUGE: usize = 1 << 40;

#[test]
fn an_empty_batch_is_named() {
    let x = of(&[0, 3, 8, 8]);
    let is_empty = |error: &ShapeError| matches!(error, ShapeError::Empty { .. });
    let window = Pool2dOptions { kernel_size: (2, 2), stride: (2, 2), padding: (0, 0) };
    assert_window(|| conv2d(&x, &of(&[4, 3, 3, 3]), Conv2dOptions::default()), is_empty);
    assert_window(|| max_pool2d(&x, window), is_empty);
    assert_window(|| avg_pool2d(&x, window, true), is_empty);
    assert_window(|| global_avg_pool2d(&x), is_empty);
    assert_window(|| resize_bilinear(&x, 4, 4), is_empty);
    assert_window(|| channel_shift(&x, &of(&[3])), is_empty);
}

#[test]
fn a_window_larger_than_the_input_is_named() {
    let x = of(&[1, 3, 8, 8]);
    let is_large = |error: &ShapeError| matches!(error, ShapeError::WindowTooLarge { .. });
    let window = Pool2dOptions { kernel_size: (9, 9), stride: (1, 1), padding: (0, 0) };
    assert_window(|| conv2d(&x, &of(&[4, 3, 9, 9]), Conv2dOptions::default()), is_large);
    assert_window(|| max_pool2d(&x, window), is_large);
    assert_window(|| avg_pool2d(&x, window, true), is_large);
}

#[test]
fn sizes_that_overflow_are_named() {
    let overflows = |error: &ShapeError| matches!(error, ShapeError::Overflow { .. });
    let far = Pool2dOptions { kernel_size: (HUGE, HUGE), stride: (1, 1), padding: (HUGE - 1, HUGE - 1) };
    let padded = Conv2dOptions { padding: (HUGE, HUGE), ..Default::default() };
    assert_window(|| conv2d(&of(&[1, 1, 8, 8]), &of(&[1, 1, 3, 3]), padded), overflows);
    assert_window(|| max_pool2d(&of(&[1, 1, 1, 1]), far), overflows);
    assert_window(|| avg_pool2d(&of(&[1, 1, 1, 1]), far, true), overflows);
    assert_window(|| resize_bilinear(&of(&[1, 1, 2, 2]), usize::MAX, 1), overflows);
}

#[test]
fn a_weight_of_other_channels_is_named() {
    let x = of(&[2, 3, 4, 4]);
    for (weight, bias) in [([2], [3]), ([3], [4])] {
        let (weight, bias) = (of(&weight), of(&bias));
        for error in errors(|| Ok(batch_norm(&x, &weight, &bias, 1e-5)?.0)) {
            assert!(matches!(error, Error::Shape { .. }), "{error:?}");
        }
        for error in errors(|| Ok(batch_norm_relu(&x, &weight, &bias, 1e-5, None)?.0)) {
            assert!(matches!(error, Error::Shape { .. }), "{error:?}");
        }
    }
    let shortcut = of(&[2, 3, 4, 5]);
    for error in errors(|| Ok(batch_norm_relu(&x, &of(&[3]), &of(&[3]), 1e-5, Some(&shortcut))?.0)) {
        assert!(matches!(error, Error::Shape { what: "shortcut", .. }), "{error:?}");
    }
}
