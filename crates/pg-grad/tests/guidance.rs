//! The guidance losses: against formulas, against each other, and what they refuse.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result as CandleResult, Tensor, Var};
use pg_grad::ops::{Conv2dOptions, Pool2dOptions, conv2d, linear, log_softmax, max_pool2d, relu};
use pg_grad::*;
use support::{numbers, random};

const N: usize = 4;

fn classes(values: [u32; N]) -> Tensor {
    Tensor::new(&values, &Device::Cpu).unwrap()
}

/// A network of rectifiers: conv, relu, max-pool, conv, relu, linear; 1x8x8 inputs, 3 classes.
struct Net {
    weights: Vec<Var>,
}

impl Net {
    fn new(dtype: DType) -> Self {
        let shapes: [&[usize]; 4] = [&[6, 1, 3, 3], &[8, 6, 3, 3], &[3, 8 * 16], &[3]];
        let weights = shapes
            .iter()
            .enumerate()
            .map(|(i, s)| Var::from_tensor(&random(s, i as u64).to_dtype(dtype).unwrap()).unwrap())
            .collect();
        Self { weights }
    }

    fn forward(&self, x: &Tensor) -> CandleResult<Tensor> {
        self.run(x, Forward::Main, false)
    }

    fn run(&self, x: &Tensor, why: Forward, checkpointed: bool) -> CandleResult<Tensor> {
        let weights = self.weights.clone();
        let body = move |x: &Tensor, _: Forward| -> Result<Tensor> {
            let same = Conv2dOptions { padding: (1, 1), ..Default::default() };
            let pool = Pool2dOptions { kernel_size: (2, 2), stride: (2, 2), padding: (0, 0) };
            let x = max_pool2d(&relu(&conv2d(x, &weights[0], same)?)?, pool)?;
            relu(&conv2d(&x, &weights[1], same)?)
        };
        let x = if checkpointed { checkpoint(x, why, body)? } else { body(x, why)? };
        Ok(linear(&x.flatten_from(1)?, &self.weights[2], Some(&self.weights[3]))?)
    }
}

fn input(dtype: DType) -> Tensor {
    random(&[N, 1, 8, 8], 99).to_dtype(dtype).unwrap()
}

fn mask(dtype: DType) -> Tensor {
    let values: Vec<f64> = numbers(N * 64, 3).into_iter().map(|v| f64::from(v > 0.0)).collect();
    Tensor::from_vec(values, (N, 1, 8, 8), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

fn soft(dtype: DType) -> Provenance {
    Provenance::mixed(&classes([0, 1, 2, 1]), &classes([1, 2, 0, 1]), &mask(dtype)).unwrap()
}

fn hard(dtype: DType) -> Provenance {
    let edited = Tensor::new(&[1f64, 1.0, 0.0, 1.0], &Device::Cpu).unwrap();
    Provenance::edited(&classes([0, 1, 2, 1]), &mask(dtype), &edited).unwrap()
}

fn criterion(logits: &Tensor) -> CandleResult<Tensor> {
    log_softmax(logits, 1)?.gather(&classes([0, 1, 2, 1]).unsqueeze(1)?, 1)?.mean_all()?.neg()
}

fn run(guidance: &Guidance, provenance: &Provenance, dtype: DType) -> (Step, Vec<Tensor>) {
    let net = Net::new(dtype);
    let step =
        guidance.step(&input(dtype), provenance, Some(&Turn::ALL), |x, _| net.forward(x), criterion).unwrap();
    let gradients = net.weights.iter().map(|w| step.gradients.get(w).unwrap().clone()).collect();
    (step, gradients)
}

fn f64s(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn relative_distance(a: &[Tensor], b: &[Tensor]) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        for (a, b) in f64s(a).into_iter().zip(f64s(b)) {
            difference += (a - b) * (a - b);
            norm += b * b;
        }
    }
    (difference / norm).sqrt()
}

/// z = W x + b: L_PG is the sum over d of (1 - M_d)^2 W_{y,d}^2, its gradient 2 (1-M)^2 W_y on row y and 0 elsewhere.
#[test]
fn a_linear_network_has_the_closed_form() {
    let weight = Var::from_tensor(&random(&[3, 5], 1)).unwrap();
    let x = Var::from_tensor(&random(&[1, 5], 2)).unwrap();
    let mask = Tensor::new(&[[1f64, 0.0, 0.5, 0.0, 1.0]], &Device::Cpu).unwrap();
    let label = Tensor::new(&[2u32], &Device::Cpu).unwrap();
    let edited = Tensor::new(&[1f64], &Device::Cpu).unwrap();
    let provenance = Provenance::edited(&label, &mask, &edited).unwrap();
    let logits = linear(&x, &weight, None).unwrap();
    let loss = Guidance::new(1.0).loss(&logits, &x, &provenance).unwrap();

    let (w, m) = (f64s(&weight), f64s(&mask));
    let expected: f64 = (0..5).map(|d| (1.0 - m[d]).powi(2) * w[10 + d].powi(2)).sum();
    assert!((loss.to_scalar::<f64>().unwrap() - expected).abs() < 1e-14);
    let gradient = f64s(loss.backward().unwrap().get(&weight).unwrap());
    for (i, g) in gradient.into_iter().enumerate() {
        let expected = if i < 10 { 0.0 } else { 2.0 * (1.0 - m[i - 10]).powi(2) * w[i] };
        assert!((g - expected).abs() < 1e-14, "{i}: {g} != {expected}");
    }
}

#[test]
fn the_exact_gradient_is_that_of_the_measured_loss() {
    for (provenance, options) in [
        (soft(DType::F64), Guidance::new(0.3)),
        (hard(DType::F64), Guidance::new(0.3)),
        (hard(DType::F64), Guidance { score: Score::LogProbability, ..Guidance::new(0.7) }),
        (hard(DType::F64), Guidance { norm: Norm::L1, reduction: Reduction::Mean, ..Guidance::new(2.0) }),
        (soft(DType::F64), Guidance { reduction: Reduction::Sum, ..Guidance::new(0.1) }),
        (soft(DType::F64), Guidance { norm: Norm::Relative, ..Guidance::new(3.0) }),
        (
            hard(DType::F64),
            Guidance { norm: Norm::Relative, reduction: Reduction::Sum, ..Guidance::new(3.0) },
        ),
    ] {
        let net = Net::new(DType::F64);
        let total = || {
            let step = options
                .step(&input(DType::F64), &provenance, Some(&Turn::ALL), |x, _| net.forward(x), criterion)
                .unwrap();
            (step.loss_cls + options.alpha * step.loss_pg.unwrap(), step.gradients)
        };
        let (_, gradients) = total();
        for (i, weight) in net.weights.iter().enumerate() {
            let start = weight.as_tensor().copy().unwrap();
            let direction = random(weight.dims(), 50 + i as u64);
            let at = |h: f64| {
                weight.set(&(&start + (&direction * h).unwrap()).unwrap()).unwrap();
                total().0
            };
            let h = 1e-6;
            let numeric = (at(h) - at(-h)) / (2.0 * h);
            weight.set(&start).unwrap();
            let exact: f64 = match gradients.get(weight) {
                Some(g) => f64s(&(g * &direction).unwrap()).iter().sum(),
                None => 0.0,
            };
            assert!((exact - numeric).abs() < 1e-6 * (1.0 + exact.abs()), "{i}: {exact} != {numeric}");
        }
    }
}

#[test]
fn finite_differences_agree_with_exact_in_single_precision() {
    let provenances = [soft(DType::F32), hard(DType::F32)];
    for (provenance, norm) in provenances.iter().flat_map(|p| [(p, Norm::SquaredL2), (p, Norm::Relative)]) {
        // Without L_cls, which both share, the comparison is of the guidance gradient alone.
        let nothing = |z: &Tensor| z.sum_all()? * 0.0;
        let gradients = |strategy| {
            let net = Net::new(DType::F32);
            let guidance = Guidance { strategy, norm, ..Guidance::new(1.0) };
            let x = input(DType::F32);
            let step =
                guidance.step(&x, provenance, Some(&Turn::ALL), |x, _| net.forward(x), nothing).unwrap();
            net.weights[..3].iter().map(|w| step.gradients.get(w).unwrap().clone()).collect::<Vec<_>>()
        };
        let exact = gradients(Strategy::Exact);
        let difference = gradients(Strategy::FiniteDifference { step: Strategy::DEFAULT_STEP });
        let distance = relative_distance(&difference, &exact);
        assert!(distance < 1e-3, "relative distance {distance}");
    }
}

/// With displacements as large as the input itself nearly every unit would change sign.
#[test]
fn displaced_passes_keep_the_gates_also_of_a_checkpointed_part_and_of_some_samples() {
    let x = input(DType::F64);
    let some = Turn { scale: 2.0, samples: Some(vec![0, 1, 3]) };
    for (provenance, turn) in
        [soft(DType::F64), hard(DType::F64)].iter().flat_map(|p| [(p, &Turn::ALL), (p, &some)])
    {
        for independent_samples in [false, true] {
            let gradients = |strategy, checkpointed: bool| {
                let net = Net::new(DType::F64);
                let guidance = Guidance { strategy, independent_samples, ..Guidance::new(1.0) };
                let step = guidance.step(
                    &x,
                    provenance,
                    Some(turn),
                    |x, why| net.run(x, why, checkpointed),
                    criterion,
                );
                let step = step.unwrap();
                net.weights.iter().map(|w| step.gradients.get(w).unwrap().clone()).collect::<Vec<_>>()
            };
            let exact = gradients(Strategy::Exact, false);
            for checkpointed in [false, true] {
                let difference = gradients(Strategy::FiniteDifference { step: 1.0 }, checkpointed);
                let distance = relative_distance(&difference, &exact);
                assert!(distance < 1e-9, "checkpointed {checkpointed}: relative distance {distance}");
            }
        }
    }
}

#[test]
fn a_pair_of_one_class_and_an_original_count_nothing() {
    let all = |v: f64| Tensor::full(v, (N, 1, 8, 8), &Device::Cpu).unwrap();
    let same = Provenance::mixed(&classes([1; N]), &classes([1; N]), &mask(DType::F64)).unwrap();
    assert_eq!(run(&Guidance::new(0.0), &same, DType::F64).0.loss_pg, Some(0.0));
    let none_edited = Tensor::zeros(N, DType::F64, &Device::Cpu).unwrap();
    let originals = Provenance::edited(&classes([1; N]), &all(0.0), &none_edited).unwrap();
    assert_eq!(run(&Guidance::new(0.0), &originals, DType::F64).0.loss_pg, Some(0.0));
    assert!(run(&Guidance::new(0.0), &soft(DType::F64), DType::F64).0.loss_pg.unwrap() > 0.0);
}

#[test]
fn two_sources_added_equal_two_joint_where_masks_are_binary_and_not_where_they_overlap() {
    let (a, b, m) = (classes([0, 1, 2, 1]), classes([1, 2, 0, 0]), mask(DType::F64));
    let value = |p: &Provenance| run(&Guidance::new(0.0), p, DType::F64).0.loss_pg.unwrap();
    let separate =
        |m: &Tensor| Provenance::sources(&[(a.clone(), m.clone()), (b.clone(), (1.0 - m).unwrap())]).unwrap();
    let joint = Provenance::mixed(&a, &b, &m).unwrap();
    assert!((value(&joint) / value(&separate(&m)) - 1.0).abs() < 1e-12);
    let half = (m.ones_like().unwrap() * 0.5).unwrap();
    let joint = Provenance::mixed(&a, &b, &half).unwrap();
    assert!((value(&joint) / value(&separate(&half)) - 1.0).abs() > 1e-3);
}

#[test]
fn weights_of_one_s_own_are_those_of_masks_and_are_checked_alike() {
    let (a, b, m) = (classes([0, 1, 2, 1]), classes([1, 2, 0, 0]), mask(DType::F64));
    let value = |p: &Provenance| run(&Guidance::new(0.0), p, DType::F64).0.loss_pg.unwrap();
    let inverse = (1.0 - &m).unwrap();
    let masks = Provenance::sources(&[(a.clone(), m.clone()), (b.clone(), inverse.clone())]).unwrap();
    let source = |classes: &Tensor, elsewhere: &Tensor| Source {
        classes: classes.clone(),
        elsewhere: elsewhere.clone(),
    };
    let weighted = Provenance::weighted(vec![source(&a, &inverse), source(&b, &m)]).unwrap();
    assert_eq!(value(&weighted), value(&masks));
    let twice = (&m * 2.0).unwrap();
    let error = |sources| Provenance::weighted(sources).unwrap_err();
    assert!(matches!(error(vec![source(&a, &twice)]), Error::MaskRange { .. }));
    let three = a.narrow(0, 0, 3).unwrap();
    assert!(matches!(error(vec![source(&a, &m), source(&three, &m)]), Error::Shape { .. }));
}

#[test]
fn a_monitor_measures_and_trains_as_if_it_were_not_there() {
    let net = Net::new(DType::F64);
    let plain = Guidance::new(0.0)
        .step(&input(DType::F64), &soft(DType::F64), None, |x, _| net.forward(x), criterion)
        .unwrap();
    let plain: Vec<_> = net.weights.iter().map(|w| plain.gradients.get(w).unwrap().clone()).collect();
    let (monitored, gradients) = run(&Guidance::new(0.0), &soft(DType::F64), DType::F64);
    assert!(monitored.loss_pg.unwrap() > 0.0);
    assert_eq!(relative_distance(&gradients, &plain), 0.0);
    let (exact, _) = run(&Guidance::new(1.0), &soft(DType::F64), DType::F64);
    assert!((monitored.loss_pg.unwrap() / exact.loss_pg.unwrap() - 1.0).abs() < 1e-12);
}

#[test]
fn guided_samples_average_to_the_whole_batch() {
    let net = Net::new(DType::F64);
    for strategy in [Strategy::Exact, Strategy::FiniteDifference { step: 1e-4 }] {
        let guidance = Guidance { strategy, ..Guidance::new(1.0) };
        let gradients = |turn: &Turn| {
            let step = guidance
                .step(&input(DType::F64), &hard(DType::F64), Some(turn), |x, _| net.forward(x), criterion)
                .unwrap();
            (step.gradients.get(&net.weights[0]).unwrap().clone(), step.loss_pg.unwrap())
        };
        let whole = gradients(&Turn::ALL);
        let halves: Vec<_> =
            [[0, 1], [2, 3]].map(|s| gradients(&Turn { scale: 1.0, samples: Some(s.to_vec()) })).to_vec();
        let mean = ((&halves[0].0 + &halves[1].0).unwrap() * 0.5).unwrap();
        assert!(relative_distance(&[mean], &[whole.0]) < 1e-5);
        assert!(((halves[0].1 + halves[1].1) / 2.0 / whole.1 - 1.0).abs() < 1e-9);
    }
}

#[test]
fn a_divided_batch_has_the_loss_and_the_gradient_of_the_whole() {
    let net = Net::new(DType::F64);
    let x = input(DType::F64);
    let some = Turn { scale: 2.0, samples: Some(vec![0, 2, 3]) };
    let none = Turn { scale: 1.0, samples: Some(vec![2]) };
    for (provenance, turns) in
        [(soft(DType::F64), vec![&Turn::ALL, &some]), (hard(DType::F64), vec![&Turn::ALL, &some, &none])]
    {
        let options = [
            (Norm::SquaredL2, Reduction::SumElementsMeanBatch),
            (Norm::SquaredL2, Reduction::Mean),
            (Norm::SquaredL2, Reduction::Sum),
            (Norm::Relative, Reduction::SumElementsMeanBatch),
            (Norm::Relative, Reduction::Sum),
        ];
        for (turn, (norm, reduction)) in turns.into_iter().flat_map(|turn| options.map(|o| (turn, o))) {
            let step = |independent_samples| {
                let guidance = Guidance { norm, reduction, independent_samples, ..Guidance::new(3.0) };
                let rows = std::cell::Cell::new(0);
                let network = |x: &Tensor, _| {
                    rows.set(rows.get() + x.dim(0)?);
                    net.forward(x)
                };
                let step = guidance.step(&x, &provenance, Some(turn), network, criterion).unwrap();
                (step, rows.get())
            };
            let ((whole, _), (divided, rows)) = (step(false), step(true));
            assert_eq!(rows, N, "each sample goes through the network once");
            let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12 * a.abs().max(1.0), "{a} != {b}");
            close(whole.loss_cls, divided.loss_cls);
            close(whole.loss_pg.unwrap(), divided.loss_pg.unwrap());
            assert!(relative_distance(&[whole.logits], &[divided.logits]) < 1e-12);
            let of = |step: &GradStore| -> Vec<Tensor> {
                net.weights.iter().map(|w| step.get(w).unwrap().clone()).collect()
            };
            assert!(relative_distance(&of(&whole.gradients), &of(&divided.gradients)) < 1e-12);
        }
    }
}

#[test]
fn a_batch_is_divided_only_if_provenance_and_samples_fit_it() {
    let net = Net::new(DType::F64);
    let guidance = Guidance { independent_samples: true, ..Guidance::new(1.0) };
    let step = |provenance: &Provenance, turn: &Turn| {
        let x = random(&[N - 1, 1, 8, 8], 1).to_dtype(DType::F64).unwrap();
        guidance.step(&x, provenance, Some(turn), |x, _| net.forward(x), |z: &Tensor| z.mean_all())
    };
    assert!(matches!(step(&soft(DType::F64), &Turn::ALL), Err(Error::Shape { what: "mask", .. })));
    let whole = |turn: &Turn| {
        guidance.step(&input(DType::F64), &soft(DType::F64), Some(turn), |x, _| net.forward(x), criterion)
    };
    for samples in [vec![1, 0], vec![1, 1], vec![0, 9]] {
        let turn = Turn { scale: 1.0, samples: Some(samples) };
        assert!(matches!(whole(&turn), Err(Error::Shape { what: "guided samples", .. })));
    }
    assert!(matches!(
        guidance.step(
            &input(DType::F64),
            &Provenance::sources(&[]).unwrap(),
            Some(&Turn::ALL),
            |x, _| net.forward(x),
            criterion
        ),
        Err(Error::Shape { what: "provenance", .. })
    ));
}

#[test]
fn a_step_is_whole_where_no_graph_is_kept() {
    let outside = run(&Guidance::new(1.0), &soft(DType::F64), DType::F64).1;
    let inside = without_graph(|| Ok::<_, Error>(run(&Guidance::new(1.0), &soft(DType::F64), DType::F64).1));
    assert!(relative_distance(&outside, &inside.unwrap()) < 1e-12);
}

#[test]
fn probes_leave_the_main_pass_alone() {
    let net = Net::new(DType::F32);
    let count = std::cell::RefCell::new(vec![]);
    let guidance = Guidance {
        strategy: Strategy::FiniteDifference { step: Strategy::DEFAULT_STEP },
        ..Guidance::new(1.0)
    };
    let network = |x: &Tensor, why: Forward| {
        count.borrow_mut().push(why);
        net.forward(x)
    };
    guidance.step(&input(DType::F32), &soft(DType::F32), Some(&Turn::ALL), network, criterion).unwrap();
    let mains = count.borrow().iter().filter(|&&why| why == Forward::Main).count();
    assert_eq!((mains, count.borrow().len()), (1, 5));
}

#[test]
fn an_integer_mask_means_what_its_float_twin_does() {
    let float = mask(DType::F64);
    let integer = float.to_dtype(DType::U8).unwrap();
    let edited = Tensor::ones(N, DType::F64, &Device::Cpu).unwrap();
    let (a, b) = (classes([0, 1, 2, 1]), classes([1, 2, 0, 1]));
    let value = |p: Provenance| run(&Guidance::new(0.0), &p, DType::F64).0.loss_pg.unwrap();
    let hard = |m: &Tensor| value(Provenance::edited(&a, m, &edited).unwrap());
    let soft = |m: &Tensor| value(Provenance::mixed(&a, &b, m).unwrap());
    assert_eq!(hard(&integer), hard(&float));
    assert_eq!(soft(&integer), soft(&float));
}

#[test]
fn a_mask_that_would_weigh_another_axis_is_refused() {
    let x = Var::from_tensor(&input(DType::F64)).unwrap();
    let logits = Net::new(DType::F64).forward(&x).unwrap();
    for shape in [vec![N, 8, 8], vec![N, 3, 8, 8]] {
        let mask = Tensor::zeros(shape, DType::F64, &Device::Cpu).unwrap();
        let provenance = Provenance::mixed(&classes([0; N]), &classes([1; N]), &mask).unwrap();
        let refused = Guidance::new(1.0).loss(&logits, &x, &provenance);
        assert!(matches!(refused, Err(Error::Shape { what: "mask", .. })));
    }
}

#[test]
fn the_l1_norm_does_not_push_where_there_is_nothing() {
    // The gradient by x_1 is w_1 = 0; the L1 norm must not push w_1 away from it.
    let weight = Var::new(&[[2f64, 0.0]], &Device::Cpu).unwrap();
    let x = Var::new(&[[1f64, 1.0]], &Device::Cpu).unwrap();
    let label = Tensor::zeros(1, DType::U32, &Device::Cpu).unwrap();
    let (mask, edited) = (x.zeros_like().unwrap(), Tensor::new(&[1f64], &Device::Cpu).unwrap());
    let provenance = Provenance::edited(&label, &mask, &edited).unwrap();
    let logits = linear(&x, &weight, None).unwrap();
    let guidance = Guidance { norm: Norm::L1, ..Guidance::new(1.0) };
    let loss = guidance.loss(&logits, &x, &provenance).unwrap();
    assert_eq!(f64s(loss.backward().unwrap().get(&weight).unwrap()), [1.0, 0.0]);
}

/// z = W x: the share is that of the squares of W_y, whatever their size, so that its gradient has no part along W_y.
#[test]
fn the_relative_norm_has_no_scale() {
    let x = Var::from_tensor(&random(&[1, 5], 2)).unwrap();
    let mask = Tensor::new(&[[1f64, 0.0, 1.0, 0.0, 1.0]], &Device::Cpu).unwrap();
    let label = Tensor::new(&[2u32], &Device::Cpu).unwrap();
    let provenance = Provenance::edited(&label, &mask, &Tensor::ones(1, DType::F64, &Device::Cpu).unwrap());
    let (provenance, weight) = (provenance.unwrap(), random(&[3, 5], 1));
    let found = |reduction, scale: f64| {
        let weight = Var::from_tensor(&(&weight * scale).unwrap()).unwrap();
        let guidance = Guidance { norm: Norm::Relative, reduction, ..Guidance::new(1.0) };
        let loss = guidance.loss(&linear(&x, &weight, None).unwrap(), &x, &provenance).unwrap();
        let gradient = loss.backward().unwrap().get(&weight).unwrap().clone();
        (
            loss.to_scalar::<f64>().unwrap(),
            f64s(&(&gradient * weight.as_tensor()).unwrap()).iter().sum::<f64>(),
        )
    };
    let w = f64s(&weight);
    let square = |places: &[usize]| places.iter().map(|&d| w[10 + d].powi(2)).sum::<f64>();
    for reduction in [Reduction::SumElementsMeanBatch, Reduction::Mean, Reduction::Sum] {
        for scale in [1.0, 1e-3, 1e3] {
            let (share, along) = found(reduction, scale);
            assert!((share - square(&[1, 3]) / square(&[0, 1, 2, 3, 4])).abs() < 1e-8, "{scale}: {share}");
            assert!(along.abs() < 1e-8, "{scale}: {along}");
        }
        assert_eq!(found(reduction, 0.0), (0.0, 0.0));
    }
}

/// Of three sources one is missing: its class has a gradient, which is nobody's.
#[test]
fn a_source_that_guides_nothing_has_no_part_in_a_share() {
    let (weight, x) = (Var::from_tensor(&random(&[3, 5], 1)).unwrap(), random(&[2, 5], 2));
    let x = Var::from_tensor(&x).unwrap();
    let source = |class: u32, elsewhere: [f64; 5]| Source {
        classes: Tensor::new(&[class, class], &Device::Cpu).unwrap(),
        elsewhere: Tensor::new(&[elsewhere, elsewhere], &Device::Cpu).unwrap(),
    };
    let two = [source(0, [0.0, 0.0, 1.0, 1.0, 1.0]), source(1, [1.0, 1.0, 0.0, 0.0, 0.0])];
    let three = [&two[..], &[source(2, [0.0; 5])]].concat();
    let [two, three] = [two.to_vec(), three].map(|sources| {
        let logits = linear(&x, &weight, None).unwrap();
        let guidance = Guidance { norm: Norm::Relative, ..Guidance::new(1.0) };
        let loss = guidance.loss(&logits, &x, &Provenance::weighted(sources).unwrap()).unwrap();
        loss.to_scalar::<f64>().unwrap()
    });
    assert!(two > 0.1 && (two - three).abs() < 1e-15, "{two} {three}");
}

#[test]
fn a_sample_without_gradient_is_no_nan_in_single_precision() {
    let weight = Var::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
    // A rectifier that passes nothing of the second sample.
    let x = Tensor::new(&[[1f32, 1.0], [-1.0, -1.0]], &Device::Cpu).unwrap();
    let label = Tensor::new(&[0u32, 0], &Device::Cpu).unwrap();
    let mask = Tensor::new(&[[1f32, 0.0], [1.0, 0.0]], &Device::Cpu).unwrap();
    let provenance =
        Provenance::edited(&label, &mask, &Tensor::new(&[1f32, 1.0], &Device::Cpu).unwrap()).unwrap();
    for strategy in [Strategy::Exact, Strategy::FiniteDifference { step: Strategy::DEFAULT_STEP }] {
        let guidance = Guidance { norm: Norm::Relative, strategy, ..Guidance::new(1.0) };
        let network = |x: &Tensor, _| linear(&relu(x)?, &weight, None);
        let nothing = |z: &Tensor| z.sum_all()? * 0.0;
        let step = guidance.step(&x, &provenance, Some(&Turn::ALL), network, nothing).unwrap();
        // 2^2 of 1^2 + 2^2 of the first, nothing of the second.
        assert!((step.loss_pg.unwrap() - 0.4).abs() < 1e-6, "{:?}", step.loss_pg);
        let gradient = f64s(step.gradients.get(&weight).unwrap());
        // d (w2^2 / (w1^2 + w2^2)) / dw = 2 w1 w2 / 25 (-w2, w1), half of it as a mean of two.
        for (found, expected) in gradient.iter().zip([-0.16, 0.08, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-3, "{strategy:?}: {gradient:?}");
        }
    }
}

#[test]
fn finite_differences_of_an_input_of_zeros_are_finite() {
    let net = Net::new(DType::F32);
    let guidance = Guidance {
        strategy: Strategy::FiniteDifference { step: Strategy::DEFAULT_STEP },
        ..Guidance::new(1.0)
    };
    let x = input(DType::F32).zeros_like().unwrap();
    let step =
        guidance.step(&x, &soft(DType::F32), Some(&Turn::ALL), |x, _| net.forward(x), criterion).unwrap();
    for weight in &net.weights {
        assert!(f64s(step.gradients.get(weight).unwrap()).iter().all(|v| v.is_finite()));
    }
}

#[test]
fn senseless_requests_are_typed_errors() {
    for alpha in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(Guidance::new(alpha).check(), Err(Error::Option { option: "alpha", .. })));
    }
    let zero_step = Strategy::FiniteDifference { step: 0.0 };
    assert!(Guidance { strategy: zero_step, ..Guidance::new(1.0) }.check().is_err());
    let (a, b) = (classes([0; N]), classes([1; N]));
    let bad = (mask(DType::F64) * 1.5).unwrap();
    assert!(matches!(Provenance::mixed(&a, &b, &bad), Err(Error::MaskRange { .. })));
    let nan = (mask(DType::F64) * f64::NAN).unwrap();
    assert!(matches!(Provenance::mixed(&a, &b, &nan), Err(Error::MaskRange { .. })));
    let short = Tensor::new(&[0u32], &Device::Cpu).unwrap();
    assert!(matches!(Provenance::mixed(&a, &short, &mask(DType::F64)), Err(Error::Shape { .. })));
    let x = Var::from_tensor(&input(DType::F64)).unwrap();
    let constant = random(&[N, 3], 0);
    let missing = Guidance::new(1.0).loss(&constant, &x, &soft(DType::F64));
    assert!(matches!(missing, Err(Error::NoInputGradient)));
}
