//! The optimisers against a scalar version of torch's documented update rules, in f64.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use pg_tasks::optim::{AdamW, Gradients, Groups, OptimError, Optimizer, ParamGroup, Sgd};
use proptest::prelude::*;

const LR: f64 = 0.1;

/// Two parameters in two groups, and one frozen.
fn params() -> BTreeMap<String, Var> {
    let var = |values: &[f64]| Var::new(values, &Device::Cpu).unwrap();
    BTreeMap::from([
        ("backbone.weight".to_owned(), var(&[0.5, -1.25, 2.0])),
        ("fc.weight".to_owned(), var(&[-0.75, 0.3])),
        ("stem.weight".to_owned(), var(&[9.0])),
    ])
}

fn groups() -> Groups {
    let group = |matches: &[&str], lr_scale, weight_decay| ParamGroup {
        matches: matches.iter().map(|&m| m.to_owned()).collect(),
        lr_scale,
        weight_decay,
    };
    Groups {
        groups: vec![group(&["fc"], 10.0, Some(0.0)), group(&[], 1.0, None)],
        frozen: vec!["stem".into()],
    }
}

/// A gradient that depends on the step, the parameter's value and its position, so that no term can hide.
fn gradient(step: usize, index: usize, value: f64) -> f64 {
    0.3 * value + (step as f64 * 1.7 + index as f64 * 0.9).sin()
}

fn gradients(step: usize, params: &BTreeMap<String, Var>) -> Gradients {
    let of = |param: &Var| {
        let values: Vec<f64> = param.to_vec1().unwrap();
        let grads: Vec<f64> = values.iter().enumerate().map(|(i, &v)| gradient(step, i, v)).collect();
        Tensor::new(grads, &Device::Cpu).unwrap()
    };
    Gradients(params.iter().map(|(name, param)| (name.clone(), of(param))).collect())
}

/// Five steps of an optimiser; `scalar(weight, index, lr, weight_decay)` makes the same steps on one number.
fn agrees_with_scalars(
    mut optimizer: Optimizer,
    weight_decay: f64,
    scalar: impl Fn(f64, usize, f64, f64) -> f64,
) {
    let params = params();
    let start: BTreeMap<String, Vec<f64>> =
        params.iter().map(|(name, p)| (name.clone(), p.to_vec1().unwrap())).collect();
    for step in 0..5 {
        optimizer.step(&params, &gradients(step, &params), LR).unwrap();
    }
    for (name, lr, decay) in [("backbone.weight", LR, weight_decay), ("fc.weight", LR * 10.0, 0.0)] {
        let ours: Vec<f64> = params[name].to_vec1().unwrap();
        for (index, (&ours, &start)) in ours.iter().zip(&start[name]).enumerate() {
            let expected = scalar(start, index, lr, decay);
            assert!((ours - expected).abs() < 1e-12, "{name}[{index}]: {ours} != {expected}");
            assert!((ours - start).abs() > 1e-3, "{name}[{index}] did not move");
        }
    }
    assert_eq!(params["stem.weight"].to_vec1::<f64>().unwrap(), [9.0]);
}

#[test]
fn sgd_is_torch_sgd() {
    for (momentum, nesterov, weight_decay) in
        [(0.0, false, 0.0), (0.0, false, 0.05), (0.9, false, 0.05), (0.9, true, 0.05), (0.8, true, 0.0)]
    {
        let sgd = Optimizer::Sgd(Sgd::new(momentum, nesterov, weight_decay, groups()));
        agrees_with_scalars(sgd, weight_decay, |mut w, index, lr, decay| {
            let mut buffer = None;
            for step in 0..5 {
                let d = gradient(step, index, w) + decay * w;
                let b = buffer.map_or(d, |b: f64| momentum * b + d);
                buffer = Some(b);
                w -= lr * if nesterov { d + momentum * b } else { b };
            }
            w
        });
    }
}

#[test]
fn sgd_by_hand() {
    // w = 1, gradients 1 and 2, momentum 1/2, lr 1/4, decay 1/2. d1 = 1.5, w1 = 1 - .375 = .625;
    // d2 = 2.3125, b2 = .75 + 2.3125 = 3.0625, w2 = .625 - .765625 = -.140625.
    let params = BTreeMap::from([("w".to_owned(), Var::new(&[1f64], &Device::Cpu).unwrap())]);
    let mut sgd = Optimizer::Sgd(Sgd::new(0.5, false, 0.5, Groups::default()));
    for (gradient, expected) in [(1f64, 0.625), (2.0, -0.140625)] {
        let grads =
            Gradients(BTreeMap::from([("w".to_owned(), Tensor::new(&[gradient], &Device::Cpu).unwrap())]));
        sgd.step(&params, &grads, 0.25).unwrap();
        assert_eq!(params["w"].to_vec1::<f64>().unwrap(), [expected]);
    }
}

#[test]
fn adamw_is_torch_adamw() {
    for weight_decay in [0.0, 0.01] {
        let adamw = Optimizer::AdamW(AdamW::new(weight_decay, groups()));
        agrees_with_scalars(adamw, weight_decay, |mut w, index, lr, decay| {
            let (mut m, mut v) = (0.0, 0.0);
            for step in 0..5 {
                let g = gradient(step, index, w);
                w *= 1.0 - lr * decay;
                m = 0.9 * m + 0.1 * g;
                v = 0.999 * v + 0.001 * g * g;
                let t = step as i32 + 1;
                let m_hat = m / (1.0 - 0.9f64.powi(t));
                let v_hat = v / (1.0 - 0.999f64.powi(t));
                w -= lr * m_hat / (v_hat.sqrt() + 1e-8);
            }
            w
        });
    }
}

#[test]
fn a_missing_gradient_is_named_and_changes_nothing() {
    for mut optimizer in
        [Optimizer::Sgd(Sgd::new(0.9, false, 0.0, groups())), Optimizer::AdamW(AdamW::new(0.0, groups()))]
    {
        let params = params();
        let mut grads = gradients(0, &params);
        grads.0.remove("fc.weight");
        grads.0.remove("stem.weight"); // frozen: not needed
        let error = optimizer.step(&params, &grads, LR).unwrap_err();
        assert!(matches!(error, OptimError::MissingGradient(m) if m.names == ["fc.weight"]));
        assert_eq!(params["backbone.weight"].to_vec1::<f64>().unwrap(), [0.5, -1.25, 2.0]);
    }
}

#[test]
fn a_state_of_another_optimiser_or_model_is_refused() {
    let params = params();
    let mut sgd = Optimizer::Sgd(Sgd::new(0.9, false, 0.0, groups()));
    let mut adamw = Optimizer::AdamW(AdamW::new(0.0, groups()));
    sgd.step(&params, &gradients(0, &params), LR).unwrap();
    adamw.step(&params, &gradients(0, &params), LR).unwrap();
    let (sgd_state, mut adamw_state) = (sgd.state().unwrap(), adamw.state().unwrap());
    assert!(matches!(sgd.load_state(&adamw_state, &params), Err(OptimError::WrongOptimizer { .. })));
    assert!(matches!(adamw.load_state(&sgd_state, &params), Err(OptimError::WrongOptimizer { .. })));

    let mut fewer = params.clone();
    fewer.remove("fc.weight");
    assert!(matches!(sgd.load_state(&sgd_state, &fewer), Err(OptimError::UnknownParameter { .. })));
    let mut wider = params.clone();
    wider.insert("fc.weight".into(), Var::new(&[0f64; 3], &Device::Cpu).unwrap());
    assert!(matches!(sgd.load_state(&sgd_state, &wider), Err(OptimError::WrongShape { .. })));

    adamw_state.remove("adamw.v.fc.weight");
    assert!(matches!(adamw.load_state(&adamw_state, &params),
        Err(OptimError::MissingState { key }) if key == "adamw.v.fc.weight"));
    adamw_state.remove("adamw.step");
    assert!(matches!(adamw.load_state(&adamw_state, &params),
        Err(OptimError::MissingState { key }) if key == "adamw.step"));
}

proptest! {
    /// A run that is interrupted after any step and resumed from its state, as it would come from a file, ends
    /// with the same bits as one that is not.
    #[test]
    fn a_resumed_run_is_bit_equal(stop in 0usize..6, kind in 0usize..3) {
        let make = || match kind {
            0 => Optimizer::Sgd(Sgd::new(0.9, false, 1e-2, groups())),
            1 => Optimizer::Sgd(Sgd::new(0.9, true, 1e-2, groups())),
            _ => Optimizer::AdamW(AdamW::new(1e-2, groups())),
        };
        let bits = |params: &BTreeMap<String, Var>| -> Vec<u64> {
            params.values().flat_map(|p| p.to_vec1::<f64>().unwrap()).map(f64::to_bits).collect()
        };
        let (straight, resumed) = (params(), params());
        let mut optimizer = make();
        for step in 0..6 {
            optimizer.step(&straight, &gradients(step, &straight), LR).unwrap();
        }
        let mut optimizer = make();
        for step in 0..6 {
            if step == stop {
                let bytes = safetensors::serialize(optimizer.state().unwrap(), None).unwrap();
                let state = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
                optimizer = make();
                optimizer.load_state(&state.into_iter().collect(), &resumed).unwrap();
            }
            optimizer.step(&resumed, &gradients(step, &resumed), LR).unwrap();
        }
        prop_assert_eq!(bits(&straight), bits(&resumed));
    }
}
