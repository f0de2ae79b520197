//! The networks: how they begin, how batch normalisation keeps its statistics, what they refuse, and that guidance
//! reaches every parameter.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use candle_core::{DType, Device, Tensor};
use pg_grad::{Guidance, Provenance, Step, Turn};
use pg_models::{Error, MODEL_NAMES, Mode, Model, ModelSpec, Vit};
use pg_random::Seed;
use rand::RngExt;
use std::collections::BTreeMap;

/// A model for images of `size` with three classes.
fn model(name: &str, size: usize, dtype: DType) -> Model {
    Model::new(ModelSpec { size, ..ModelSpec::new(name, 3) }, Seed(0), dtype, &Device::Cpu).unwrap()
}

fn images(n: usize, size: usize, dtype: DType) -> Tensor {
    let mut stream = Seed(1).stream("images", &[]);
    let values: Vec<f64> = (0..n * 3 * size * size).map(|_| stream.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, (n, 3, size, size), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64)
}

fn assert_close(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() <= tolerance * (1.0 + e.abs()), "{a} is not {e}");
    }
}

/// The backward pass of a deep network wants a deep stack.
fn on_a_deep_stack(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 << 20).spawn_scoped(scope, work).unwrap();
        thread.join().unwrap();
    });
}

// Beginnings.

#[test]
fn the_seed_determines_the_weights() {
    let weights = |seed| {
        let model = Model::new(ModelSpec::new("small-cnn", 3), Seed(seed), DType::F32, &Device::Cpu).unwrap();
        let vars = model.params().vars().iter();
        vars.map(|(name, var)| (name.clone(), numbers(var))).collect::<BTreeMap<_, _>>()
    };
    let first = weights(7);
    assert_eq!(first, weights(7));
    for (name, other) in weights(8) {
        let zeros = name.starts_with("features.") && name.ends_with(".bias");
        assert_eq!(first[&name] == other, zeros, "{name}");
    }
}

#[test]
fn parameters_of_one_shape_differ() {
    let model = model("resnet18", 64, DType::F32);
    let vars = model.params().vars();
    assert_ne!(numbers(&vars["layer1.0.conv1.weight"]), numbers(&vars["layer1.0.conv2.weight"]));
}

#[test]
fn initial_weights_are_he_s_and_torch_s() {
    for name in ["resnet18", "vgg16-gap", "small-cnn"] {
        let model = model(name, 32, DType::F32);
        for (path, var) in model.params().vars() {
            let values = numbers(var);
            let (mean, variance) = mean_and_variance(&values);
            // Five standard errors: of a mean of n, 1 / sqrt(n); of a deviation less than 1 / sqrt(n).
            let tolerance = 5.0 / (values.len() as f64).sqrt();
            let expected = match *var.dims() {
                [out, _, height, width] => (2.0 / (out * height * width) as f64).sqrt(),
                // Uniform in +-1 / sqrt(fan-in).
                [_, input] => {
                    let bound = 1.0 / (input as f64).sqrt();
                    assert!(values.iter().all(|v| v.abs() <= bound * 1.000_001), "{path}");
                    bound / 3f64.sqrt()
                }
                _ => continue,
            };
            assert!(mean.abs() < tolerance * expected, "{path}: mean {mean}");
            assert!(
                (variance.sqrt() / expected - 1.0).abs() < tolerance,
                "{path}: {} {expected}",
                variance.sqrt()
            );
        }
    }
    let model = model("resnet18", 64, DType::F32);
    for (path, var) in model.params().vars().iter().filter(|(path, _)| path.contains("bn")) {
        let expected = if path.ends_with("weight") { 1.0 } else { 0.0 };
        assert!(numbers(var).iter().all(|v| *v == expected), "{path}");
    }
}

// Batch normalisation.

fn buffers(model: &Model) -> BTreeMap<String, Vec<f64>> {
    model.params().buffers().iter().map(|(name, var)| (name.clone(), numbers(var))).collect()
}

#[test]
fn training_moves_the_running_statistics_and_nothing_else_does() {
    let model = model("resnet18", 64, DType::F64);
    let images = images(2, 64, DType::F64);
    // What the first norm sees, by candle's own convolution.
    let stem = images.conv2d(&model.params().vars()["conv1.weight"], 3, 2, 1, 1).unwrap();
    let (means, variances): (Vec<f64>, Vec<f64>) = (0..64)
        .map(|channel| {
            let values = numbers(&stem.narrow(1, channel, 1).unwrap());
            let (mean, variance) = mean_and_variance(&values);
            (mean, variance * values.len() as f64 / (values.len() - 1) as f64)
        })
        .unzip();
    let scaled =
        |values: &[f64], by: f64, plus: f64| values.iter().map(|v| by * v + plus).collect::<Vec<_>>();

    let fresh = buffers(&model);
    for mode in [Mode::Probe, Mode::Eval] {
        model.forward(&images, mode).unwrap();
        assert_eq!(buffers(&model), fresh, "{mode:?}");
    }
    model.forward(&images, Mode::Train).unwrap();
    let once = buffers(&model);
    assert_close(&once["bn1.running_mean"], &scaled(&means, 0.1, 0.0), 1e-12);
    assert_close(&once["bn1.running_var"], &scaled(&variances, 0.1, 0.9), 1e-12);
    model.forward(&images, Mode::Train).unwrap();
    let twice = buffers(&model);
    assert_close(&twice["bn1.running_mean"], &scaled(&means, 0.19, 0.0), 1e-12);
    assert_close(&twice["bn1.running_var"], &scaled(&variances, 0.19, 0.81), 1e-12);
    for (name, value) in &twice {
        assert_ne!(value, &fresh[name], "{name}");
        if name.ends_with("num_batches_tracked") {
            assert_eq!(value, &[2.0], "{name}");
        }
    }
}

#[test]
fn only_evaluation_uses_the_running_statistics() {
    let model = model("resnet18", 64, DType::F32);
    let pair = images(2, 64, DType::F32);
    let logits = |images: &Tensor, mode| numbers(&model.forward(images, mode).unwrap());
    let first = pair.narrow(0, 0, 1).unwrap();
    // A sample's logits depend on the rest of its batch exactly when the batch's moments are used.
    assert_close(&logits(&pair, Mode::Eval)[..3], &logits(&first, Mode::Eval), 1e-4);
    let alone = logits(&first, Mode::Probe);
    assert!(alone.iter().zip(logits(&pair, Mode::Probe)).any(|(a, b)| (a - b).abs() > 1e-2));

    let (probe, eval) = (logits(&pair, Mode::Probe), logits(&pair, Mode::Eval));
    assert_eq!(logits(&pair, Mode::Train), probe);
    // Which moved the statistics.
    assert_eq!(logits(&pair, Mode::Probe), probe);
    assert!(eval.iter().zip(logits(&pair, Mode::Eval)).any(|(a, b)| (a - b).abs() > 1e-2));
}

// Shapes.

#[test]
fn layer4_stride_1_doubles_the_last_feature_map() {
    // In training, batch normalisation refuses one value a channel: here one image whose last map is 1x1.
    let trains = |layer4_stride, size| {
        let spec = ModelSpec { layer4_stride, ..ModelSpec::new("resnet18", 3) };
        let model = Model::new(spec, Seed(0), DType::F32, &Device::Cpu).unwrap();
        match model.forward(&images(1, size, DType::F32), Mode::Train) {
            Ok(logits) => assert_eq!(logits.dims(), [1, 3]),
            Err(Error::Grad(pg_grad::Error::Shape { what: "batch_norm input", actual, .. })) => {
                assert_eq!(actual[2..], [1, 1]);
                return false;
            }
            Err(error) => panic!("{error}"),
        }
        true
    };
    assert!(!trains(2, 32) && trains(2, 64));
    assert!(!trains(1, 16) && trains(1, 32));
}

#[test]
fn every_model_gives_logits() {
    on_a_deep_stack(|| {
        for name in MODEL_NAMES {
            let logits = model(name, 32, DType::F32).forward(&images(2, 32, DType::F32), Mode::Eval).unwrap();
            assert_eq!(logits.dims(), [2, 3], "{name}");
            assert!(numbers(&logits).iter().all(|v| v.is_finite()), "{name}");
        }
    });
}

#[test]
fn inputs_of_another_size_are_refused() {
    for name in ["mlp", "small-cnn"] {
        let model = model(name, 16, DType::F32);
        for size in [1, 3, 8, 20, 32] {
            assert!(model.forward(&images(2, size, DType::F32), Mode::Eval).is_err(), "{name} at {size}");
        }
    }
    for name in MODEL_NAMES {
        let model = model(name, 16, DType::F32);
        let grey = Tensor::zeros((2, 1, 16, 16), DType::F32, &Device::Cpu).unwrap();
        assert!(model.forward(&grey, Mode::Eval).is_err(), "{name}, one channel");
        let unbatched = Tensor::zeros((3, 16, 16), DType::F32, &Device::Cpu).unwrap();
        assert!(model.forward(&unbatched, Mode::Eval).is_err(), "{name}, no batch");
    }
}

#[test]
fn images_too_small_for_the_network_are_refused() {
    let vgg = model("vgg16-gap", 224, DType::F32);
    vgg.forward(&images(1, 16, DType::F32), Mode::Eval).unwrap();
    let error = vgg.forward(&images(1, 15, DType::F32), Mode::Eval).unwrap_err();
    assert!(matches!(error, Error::Grad(pg_grad::Error::Window(_))), "{error:?}");
    assert_eq!(error.to_string().lines().count(), 1);
}

#[test]
fn specifications_without_a_network_are_refused() {
    let new = |spec: ModelSpec| Model::new(spec, Seed(0), DType::F32, &Device::Cpu).unwrap_err();
    let mlp = || ModelSpec::new("mlp", 3);
    for (spec, message) in [
        (ModelSpec { classes: 0, ..mlp() }, "classes must be from 1 to 100000, got 0"),
        (ModelSpec { size: 3, ..mlp() }, "image size must be from 4 to 4096, got 3"),
        (ModelSpec { layer4_stride: 0, ..mlp() }, "layer4 stride must be 1 or 2, got 0"),
        (ModelSpec { layer4_stride: 3, ..mlp() }, "layer4 stride must be 1 or 2, got 3"),
    ] {
        let error = new(spec);
        assert!(matches!(error, Error::Option { .. }), "{error:?}");
        assert_eq!(error.to_string(), message);
    }
    let error = new(ModelSpec::new("resnet19", 3));
    assert!(matches!(&error, Error::UnknownModel { name } if name == "resnet19"));
    let known =
        "mlp, small-cnn, small-vgg-gap, resnet18, resnet34, resnet50, vgg16-gap, sat-mini, sat-tiny, sat";
    assert_eq!(error.to_string(), format!("unknown model `resnet19`; known: {known}"));
}

// Score maps.

/// The mean of a class activation map over positions, times the channels, is the class's logit but for its bias.
#[test]
fn class_activation_maps_add_up_to_the_logits() {
    for (name, size, side) in [("small-vgg-gap", 32, 8), ("vgg16-gap", 32, 2), ("resnet18", 64, 2)] {
        let model = model(name, size, DType::F64);
        let images = images(3, size, DType::F64);
        let classes = Tensor::new(&[2u32, 0, 1], &Device::Cpu).unwrap();
        let found = model.localize(&images, &classes, Mode::Eval).unwrap();
        assert_eq!(found.maps.dims(), [3, side, side], "{name}");
        assert_eq!(numbers(&found.logits), numbers(&model.forward(&images, Mode::Eval).unwrap()));
        let (vars, logits) = (model.params().vars(), found.logits.to_vec2::<f64>().unwrap());
        let channels = vars["fc.weight"].dims()[1] as f64;
        let biases = numbers(&vars["fc.bias"]);
        let means = numbers(&found.maps.mean((1, 2)).unwrap());
        for (n, &class) in [2, 0, 1].iter().enumerate() {
            let expected = logits[n][class] - biases[class];
            assert!((means[n] * channels - expected).abs() < 1e-9 * (1.0 + expected.abs()), "{name}");
        }
    }
    let classes = Tensor::new(&[0u32], &Device::Cpu).unwrap();
    let mlp = model("mlp", 16, DType::F32).localize(&images(1, 16, DType::F32), &classes, Mode::Eval);
    assert!(matches!(mlp, Err(Error::NoScoreMaps { name }) if name == "mlp"));
}

#[test]
fn a_spatial_token_weighs_every_patch_and_knows_no_class() {
    let model = model("sat-mini", 32, DType::F64);
    let images = images(2, 32, DType::F64);
    let maps = |classes: [u32; 2]| {
        let classes = Tensor::new(&classes, &Device::Cpu).unwrap();
        let found = model.localize(&images, &classes, Mode::Eval).unwrap();
        assert_eq!(found.maps.dims(), [2, 8, 8]);
        numbers(&found.maps)
    };
    assert_eq!(maps([0, 1]), maps([2, 2]));
    assert!(maps([0, 1]).iter().all(|weight| *weight > 0.0 && *weight < 1.0));
}

#[test]
fn drop_path_draws_by_seed_and_step_in_training_alone() {
    let spec = ModelSpec::new("sat-mini", 3);
    let vit = spec.vit.map(|vit| Vit { drop_path_percent: 50, ..vit });
    let model = Model::new(ModelSpec { size: 16, vit, ..spec }, Seed(0), DType::F64, &Device::Cpu).unwrap();
    let images = images(8, 16, DType::F64);
    let logits = |mode, step| {
        model.begin_step(Seed(1), step);
        numbers(&model.forward(&images, mode).unwrap())
    };
    assert_eq!(logits(Mode::Train, 3), logits(Mode::Probe, 3), "all passes of a step draw the same");
    assert_ne!(logits(Mode::Train, 3), logits(Mode::Train, 4));
    assert_eq!(logits(Mode::Eval, 3), logits(Mode::Eval, 4));
}

#[test]
fn transformers_without_sense_are_refused() {
    let spec = |change: &dyn Fn(&mut Vit), size| {
        let mut spec = ModelSpec { size, ..ModelSpec::new("sat-mini", 3) };
        spec.vit.iter_mut().for_each(change);
        Model::new(spec, Seed(0), DType::F32, &Device::Cpu).unwrap_err().to_string()
    };
    assert_eq!(spec(&|_| (), 30), "image size must be a multiple of the patch size, got 30");
    assert_eq!(spec(&|vit| vit.num_heads = 5, 32), "embed dim must be a multiple of the heads, got 64");
    assert_eq!(spec(&|vit| vit.num_heads = 0, 32), "heads must be at least 1, got 0");
    assert_eq!(spec(&|vit| vit.depth = 2, 32), "depth must be at least 3, got 2");
    assert_eq!(
        spec(&|vit| vit.drop_path_percent = 100, 32),
        "drop path must be less than 100 per cent, got 100"
    );
    assert_eq!(
        spec(&|vit| vit.patch_size = 6, 36),
        "patch size must be a power of 2 behind convolutions, got 6"
    );
}

// Guidance.

/// One step on two edited images whose left half is the target.
fn guided_step(model: &Model, size: usize, alpha: f64) -> Step {
    let dtype = model.params().vars().values().next().unwrap().dtype();
    let labels = Tensor::new(&[0u32, 2], &Device::Cpu).unwrap();
    let half = (2, 1, size, size / 2);
    let target = Tensor::ones(half, dtype, &Device::Cpu).unwrap();
    let mask = Tensor::cat(&[&target, &target.zeros_like().unwrap()], 3).unwrap();
    let edited = Tensor::ones(2, dtype, &Device::Cpu).unwrap();
    let provenance = Provenance::edited(&labels, &mask, &edited).unwrap();
    let cross_entropy = |logits: &Tensor| -> pg_grad::Result<Tensor> {
        let log = pg_grad::ops::log_softmax(logits, 1)?;
        Ok((log.gather(&labels.unsqueeze(1)?, 1)?.sum_all()? * -0.5)?)
    };
    Guidance::new(alpha)
        .step(
            &images(2, size, dtype),
            &provenance,
            Some(&Turn::ALL),
            |x, forward| model.forward(x, forward.into()),
            cross_entropy,
        )
        .unwrap()
}

#[test]
fn guidance_reaches_every_parameter() {
    on_a_deep_stack(|| {
        for name in MODEL_NAMES {
            // A last map of 2x2: with fewer values batch normalisation leaves hardly any derivative.
            let size = if name.starts_with("resnet") { 64 } else { 16 };
            let model = model(name, size, DType::F32);
            let plain = guided_step(&model, size, 0.0);
            let loss_pg = plain.loss_pg.unwrap();
            assert!(loss_pg > 0.0, "{name}");
            // Fresh networks differ in L_PG by many orders of magnitude: weighed to be 1.
            let guided = guided_step(&model, size, 1.0 / loss_pg);
            for (path, var) in model.params().vars() {
                let [guided, plain] = [&guided, &plain].map(|step| numbers(step.gradients.get(var).unwrap()));
                assert!(guided.iter().all(|g| g.is_finite()), "{name}: {path}");
                assert!(guided.iter().any(|g| *g != 0.0), "{name}: {path}");
                // Between rectifiers alone, L_PG does not depend on a bias.
                if path.ends_with("weight") {
                    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
                    let difference: Vec<f64> = guided.iter().zip(&plain).map(|(g, p)| g - p).collect();
                    assert!(norm(&difference) > 0.1 * norm(&plain), "{name}: {path}");
                }
            }
        }
    });
}

/// The gradient of the whole loss along itself is its squared norm, here by a central difference.
#[test]
fn the_gradient_of_the_guided_loss_is_a_central_difference_s() {
    const ALPHA: f64 = 0.5;
    on_a_deep_stack(|| {
        let spec = |(name, size)| ModelSpec { size, ..ModelSpec::new(name, 3) };
        let named = [("mlp", 8), ("small-cnn", 8), ("small-vgg-gap", 16), ("resnet18", 64), ("sat-mini", 16)]
            .map(spec);
        // Patches of the image itself, and a block whose attention no gate weighs.
        let patches = Vit { depth: 4, conv_stem: false, ..Vit::MINI };
        let patches = ModelSpec { vit: Some(patches), ..spec(("sat-mini", 16)) };
        for spec in named.into_iter().chain([patches]) {
            let (name, size) = (spec.name.clone(), spec.size);
            let model = Model::new(spec, Seed(0), DType::F64, &Device::Cpu).unwrap();
            let loss = || {
                let step = guided_step(&model, size, ALPHA);
                (step.loss_cls + ALPHA * step.loss_pg.unwrap(), step.gradients)
            };
            let vars = model.params().vars();
            let (_, gradients) = loss();
            let gradients: Vec<Tensor> = vars.values().map(|v| gradients.get(v).unwrap().clone()).collect();
            let length = gradients.iter().flat_map(numbers).map(|g| g * g).sum::<f64>().sqrt();
            let start: Vec<Tensor> = vars.values().map(|v| v.copy().unwrap()).collect();
            let along = |distance: f64| {
                for ((var, start), gradient) in vars.values().zip(&start).zip(&gradients) {
                    var.set(&(start + (gradient * (distance / length)).unwrap()).unwrap()).unwrap();
                }
                loss().0
            };
            let step = 1e-6;
            let slope = (along(step) - along(-step)) / (2.0 * step);
            assert!((slope / length - 1.0).abs() < 1e-4, "{name}: {slope} {length}");
        }
    });
}

#[test]
fn checkpointing_changes_no_gradient_and_no_running_statistic() {
    on_a_deep_stack(|| {
        for (name, size) in [("resnet18", 64), ("resnet50", 64)] {
            let found = |checkpointing, alpha| {
                let mut model = model(name, size, DType::F64);
                model.set_grad_checkpointing(checkpointing).unwrap();
                let step = guided_step(&model, size, alpha);
                let gradients =
                    model.params().vars().values().map(|v| numbers(step.gradients.get(v).unwrap()));
                let buffers = model.params().buffers().values().map(|v| numbers(v));
                (step.loss_pg, gradients.chain(buffers).collect::<Vec<_>>())
            };
            let loss_pg = found(false, 0.0).0.unwrap();
            for alpha in [0.0, 1.0 / loss_pg] {
                let ((_, kept), (loss_again, again)) = (found(false, alpha), found(true, alpha));
                assert!((loss_again.unwrap() / loss_pg - 1.0).abs() < 1e-9, "{name}");
                for (kept, again) in kept.iter().zip(&again) {
                    let largest = kept.iter().fold(1.0, |largest: f64, k| largest.max(k.abs()));
                    assert!(kept.iter().zip(again).all(|(k, a)| (k - a).abs() < 1e-9 * largest), "{name}");
                }
            }
        }
    });
}

#[test]
fn other_networks_have_no_parts_to_checkpoint() {
    for name in ["mlp", "small-cnn", "vgg16-gap"] {
        let mut model = model(name, 32, DType::F32);
        assert!(matches!(model.set_grad_checkpointing(true), Err(Error::NoParts { .. })));
        assert!(model.set_grad_checkpointing(false).is_ok());
    }
}
