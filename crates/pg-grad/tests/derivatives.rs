//! Every operation: first and second derivative against central differences in f64, over many shapes.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests")]

#[path = "support/central_difference.rs"]
mod central_difference;
#[path = "support/devices.rs"]
mod devices;
#[path = "support/separated.rs"]
mod separated;
mod support;

use candle_core::{D, Device, Tensor};
use central_difference::check;
use pg_grad::ops::*;
use pg_random::Seed;
use proptest::prelude::*;
use separated::separated;
use support::random;

fn affine_of(channels: usize, salt: u64) -> (Tensor, Tensor) {
    ((random(&[channels], salt) + 1.5).unwrap(), random(&[channels], salt + 1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn conv2d_by_input_and_weight(
        n in 1usize..3, gi in 1usize..3, go in 1usize..3, groups in 1usize..3,
        (h, w) in (1usize..7, 1usize..7), (kh, kw) in (1usize..4, 1usize..4),
        stride in (1usize..3, 1usize..3), padding in (0usize..3, 0usize..3), dilation in (1usize..3, 1usize..3),
        salt in 0u64..1000,
    ) {
        let options = Conv2dOptions { stride, padding, dilation, groups };
        let x = random(&[n, gi * groups, h, w], salt);
        let weight = random(&[go * groups, gi, kh, kw], salt + 1);
        prop_assume!(conv2d(&x, &weight, options).is_ok());
        // Squared, so that the second derivative by one operand alone is not zero.
        check(&[x, weight], |t| conv2d(&t[0], &t[1], options)?.sqr());
    }

    #[test]
    fn max_pool2d_by_input(
        shape in (1usize..3, 1usize..3, 1usize..8, 1usize..8), k in (1usize..4, 1usize..4),
        stride in (1usize..4, 1usize..4), padding in (0usize..2, 0usize..2), salt in 0u64..1000,
    ) {
        let options = Pool2dOptions { kernel_size: k, stride, padding };
        let x = separated(&[shape.0, shape.1, shape.2, shape.3], salt);
        prop_assume!(max_pool2d(&x, options).is_ok());
        check(&[x], |t| max_pool2d(&t[0], options)?.sqr());
    }

    #[test]
    fn avg_pool2d_by_input(
        shape in (1usize..3, 1usize..3, 1usize..8, 1usize..8), k in (1usize..4, 1usize..4),
        stride in (1usize..4, 1usize..4), padding in (0usize..2, 0usize..2), count in any::<bool>(), salt in 0u64..1000,
    ) {
        let options = Pool2dOptions { kernel_size: k, stride, padding };
        let x = random(&[shape.0, shape.1, shape.2, shape.3], salt);
        prop_assume!(avg_pool2d(&x, options, count).is_ok());
        check(&[x], |t| avg_pool2d(&t[0], options, count)?.sqr());
    }

    #[test]
    fn add_by_both(shape in (1usize..3, 1usize..4, 1usize..6), salt in 0u64..1000) {
        let shape = [shape.0, shape.1, shape.2];
        check(&[random(&shape, salt), random(&shape, salt + 1)], |t| add(&t[0], &t[1])?.sqr());
    }

    #[test]
    fn global_avg_pool2d_by_input(shape in (1usize..3, 1usize..4, 1usize..6, 1usize..6), salt in 0u64..1000) {
        let x = random(&[shape.0, shape.1, shape.2, shape.3], salt);
        check(&[x], |t| global_avg_pool2d(&t[0])?.sqr());
    }

    #[test]
    fn per_channel_arithmetic_by_every_operand(n in 1usize..4, c in 1usize..4, spatial in 0usize..6, salt in 0u64..1000) {
        let shape = if spatial == 0 { vec![n, c] } else { vec![n, c, spatial, 2] };
        let (x, y) = (random(&shape, salt), random(&shape, salt + 1));
        let (v, w) = (random(&[c], salt + 2), random(&[c], salt + 3));
        let full = x.shape().clone();
        check(&[x.clone(), v.clone()], |t| channel_scale(&t[0], &t[1])?.sqr());
        check(&[x.clone(), v.clone()], |t| channel_shift(&t[0], &t[1])?.sqr());
        check(&[x.clone(), v.clone(), w], |t| channel_affine(&t[0], &t[1], &t[2])?.sqr());
        check(&[x.clone(), y], |t| channel_dot(&t[0], &t[1])?.sqr());
        check(std::slice::from_ref(&x), |t| channel_dot(&t[0], &t[0])?.sqr());
        check(std::slice::from_ref(&x), |t| channel_sum(&t[0])?.sqr());
        check(&[x], |t| channel_center(&t[0])?.sqr());
        check(&[v], |t| channel_fill(&t[0], &full)?.sqr());
    }

    #[test]
    fn batch_norm_by_input_and_affine(n in 2usize..4, c in 1usize..4, spatial in 0usize..4, salt in 0u64..1000) {
        let shape = if spatial == 0 { vec![n, c] } else { vec![n, c, spatial, spatial] };
        let (weight, bias) = affine_of(c, salt);
        let inputs = [separated(&shape, salt + 2), weight, bias];
        check(&inputs, |t| batch_norm(&t[0], &t[1], &t[2], 1e-2)?.0.sqr());
        // Far from 0, where the rectifier has no derivative.
        let far: Vec<f64> = (0..inputs[0].elem_count()).map(|i| if i % 3 == 0 { -20.0 } else { 20.0 }).collect();
        let shortcut = Tensor::from_vec(far, shape.as_slice(), &Device::Cpu).unwrap();
        check(&[&inputs[..], &[shortcut]].concat(), |t| {
            batch_norm_relu(&t[0], &t[1], &t[2], 1e-2, Some(&t[3]))?.0.sqr()
        });
        let (mean, variance) = (random(&[c], salt + 3), (random(&[c], salt + 4) + 1.5).unwrap());
        let on = |t: &Tensor, like: &Tensor| t.to_device(like.device());
        check(&inputs, |t| {
            let (mean, variance) = (on(&mean, &t[0])?, on(&variance, &t[0])?);
            batch_norm_with_moments(&t[0], &mean, &variance, &t[1], &t[2], 1e-5)?.sqr()
        });
    }

    #[test]
    fn group_norm_by_input_and_affine(n in 1usize..3, g in 1usize..3, per in 1usize..3, s in 2usize..4, salt in 0u64..1000) {
        let (weight, bias) = affine_of(g * per, salt);
        let x = random(&[n, g * per, s, s], salt + 2);
        check(&[x, weight, bias], |t| group_norm(&t[0], g, &t[1], &t[2], 1e-2)?.sqr());
    }

    #[test]
    fn layer_norm_by_input_and_affine(n in 1usize..3, tokens in 1usize..4, c in 2usize..6, salt in 0u64..1000) {
        let (weight, bias) = affine_of(c, salt);
        let x = random(&[n, tokens, c], salt + 2);
        check(&[x, weight, bias], |t| layer_norm(&t[0], &t[1], &t[2], 1e-2)?.sqr());
    }

    #[test]
    fn linear_by_input_weight_and_bias(n in 1usize..4, tokens in 0usize..3, i in 1usize..5, o in 1usize..5, salt in 0u64..1000) {
        let shape = if tokens == 0 { vec![n, i] } else { vec![n, tokens, i] };
        let inputs = [random(&shape, salt), random(&[o, i], salt + 1), random(&[o], salt + 2)];
        check(&inputs, |t| linear(&t[0], &t[1], Some(&t[2]))?.sqr());
        check(&inputs[..2], |t| linear(&t[0], &t[1], None)?.sqr());
    }

    #[test]
    fn matmul_and_matmul_t_by_both_factors(batch in 0usize..3, m in 1usize..4, k in 1usize..4, n in 1usize..4, salt in 0u64..1000) {
        let of = |rows: usize, cols: usize, salt| {
            let shape = if batch == 0 { vec![rows, cols] } else { vec![batch, 2, rows, cols] };
            random(&shape, salt)
        };
        check(&[of(m, k, salt), of(k, n, salt + 1)], |t| matmul(&t[0], &t[1])?.sqr());
        check(&[of(m, k, salt), of(n, k, salt + 1)], |t| matmul_t(&t[0], &t[1])?.sqr());
    }

    #[test]
    fn split_heads_and_merge_heads_by_input(n in 1usize..3, tokens in 1usize..4, heads in 1usize..3, width in 1usize..3, part in 0usize..3, salt in 0u64..1000) {
        let x = random(&[n, tokens, 3 * heads * width], salt);
        check(&[x], |t| split_heads(&t[0], (part, 3), heads, 0.5)?.sqr());
        check(&[random(&[n, heads, tokens, width], salt)], |t| merge_heads(&t[0])?.sqr());
    }

    #[test]
    fn pointwise_by_input_weight_and_bias(n in 1usize..3, points in 1usize..9, i in 1usize..5, o in 1usize..5, salt in 0u64..1000) {
        let inputs = [random(&[n, i, 1, points], salt), random(&[o, i], salt + 1), random(&[o], salt + 2)];
        check(&inputs, |t| pointwise(&t[0], &t[1], Some(&t[2]))?.sqr());
        check(&inputs[..2], |t| pointwise(&t[0], &t[1], None)?.sqr());
    }

    #[test]
    fn segment_max_and_segment_repeat_by_input(lengths in prop::collection::vec(1usize..5, 1..5), rows in 1usize..4, salt in 0u64..1000) {
        let segments = Segments::new(lengths).unwrap();
        check(&[separated(&[1, rows, segments.length()], salt)], |t| segment_max(&t[0], &segments)?.sqr());
        check(&[random(&[rows, segments.count()], salt)], |t| segment_repeat(&t[0], &segments)?.sqr());
    }

    #[test]
    fn relu_gelu_and_sigmoid_by_input(n in 1usize..4, c in 1usize..9, salt in 0u64..1000) {
        let x = separated(&[n, c], salt);
        check(std::slice::from_ref(&x), |t| relu(&t[0])?.sqr());
        check(&[(&x * 20.0).unwrap()], |t| Ok(gelu(&t[0])?));
        check(&[(&x * 20.0).unwrap()], |t| Ok(sigmoid(&t[0])?));
    }

    #[test]
    fn softmax_and_its_logarithm_by_input(shape in (1usize..4, 2usize..6, 1usize..4), dim in 0usize..3, salt in 0u64..1000) {
        let x = (random(&[shape.0, shape.1, shape.2], salt) * 3.0).unwrap();
        check(std::slice::from_ref(&x), |t| Ok(softmax(&t[0], dim)?));
        check(&[x], |t| Ok(log_softmax(&t[0], dim)?));
    }

    #[test]
    fn resize_by_input(h in 1usize..6, w in 1usize..6, oh in 1usize..9, ow in 1usize..9, salt in 0u64..1000) {
        let x = random(&[2, 2, h, w], salt);
        check(std::slice::from_ref(&x), |t| resize_bilinear(&t[0], oh, ow)?.sqr());
        check(&[x], |t| resize_bicubic(&t[0], oh, ow)?.sqr());
    }

    #[test]
    fn dropout_by_input(n in 1usize..40, p in 0.0f64..0.9, salt in 0u64..1000) {
        check(&[random(&[n], salt)], |t| dropout(&t[0], p, &mut Seed(salt).stream("dropout", &[]))?.sqr());
    }
}

#[test]
fn extreme_inputs_have_finite_derivatives() {
    let x = candle_core::Var::new(&[-1e4f64, -800.0, 0.0, 800.0, 1e4], &candle_core::Device::Cpu).unwrap();
    for (name, y) in [
        ("sigmoid", sigmoid(&x)),
        ("gelu", gelu(&x)),
        ("softmax", softmax(&x, D::Minus1)),
        ("log_softmax", log_softmax(&x, D::Minus1)),
    ] {
        let first = y.unwrap().sum_all().unwrap().backward().unwrap().remove(&x).unwrap();
        let second = first.sqr().unwrap().sum_all().unwrap().backward().unwrap().remove(&x).unwrap();
        for derivative in [first, second] {
            let values = derivative.to_vec1::<f64>().unwrap();
            assert!(values.iter().all(|v| v.is_finite()), "{name}: {values:?}");
        }
    }
}

#[test]
fn relu_has_derivative_zero_at_zero_and_keeps_nan() {
    let x = candle_core::Var::new(&[-1f32, 0.0, 2.0, f32::NAN], &candle_core::Device::Cpu).unwrap();
    let y = relu(&x).unwrap();
    let values = y.to_vec1::<f32>().unwrap();
    assert_eq!(values[..3], [0.0, 0.0, 2.0]);
    assert!(values[3].is_nan());
    let gradient = y.sum_all().unwrap().backward().unwrap().remove(&x).unwrap();
    assert_eq!(gradient.to_vec1::<f32>().unwrap()[..3], [0.0, 0.0, 1.0]);
}

#[test]
fn shapes_that_do_not_fit_are_typed_errors() {
    let x = random(&[1, 1, 3, 3], 0);
    let error = conv2d(&x, &random(&[1, 2, 3, 3], 1), Conv2dOptions::default()).unwrap_err();
    let options = Pool2dOptions { kernel_size: (5, 5), stride: (1, 1), padding: (0, 0) };
    for error in [error, max_pool2d(&x, options).unwrap_err(), avg_pool2d(&x, options, true).unwrap_err()] {
        assert!(matches!(error, pg_grad::Error::Window(_)), "{error}");
    }
    assert!(conv2d(&random(&[3, 3], 0), &x, Conv2dOptions::default()).is_err());
    assert!(matches!(channel_sum(&random(&[3], 0)), Err(pg_grad::Error::Window(_))));
    let two = random(&[2], 0);
    for error in [
        channel_scale(&x, &two),
        channel_affine(&x, &two, &two),
        channel_fill(&two, x.shape()),
        channel_dot(&x, &two),
    ] {
        assert!(matches!(error, Err(pg_grad::Error::Shape { .. })), "{error:?}");
    }
}
