//! Weights of other tools: what is read, what is refused, and torchvision's names.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use candle_core::{DType, Device, Tensor};
use pg_models::{Error, Mode, Model, ModelSpec, Params, read_weights};
use pg_random::Seed;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

type Tensors = BTreeMap<String, Tensor>;

fn model(name: &str, classes: usize, seed: u64) -> Model {
    let spec = ModelSpec { size: 4, ..ModelSpec::new(name, classes) };
    Model::new(spec, Seed(seed), DType::F32, &Device::Cpu).unwrap()
}

fn copies(params: &Params) -> Tensors {
    params.tensors().into_iter().map(|(name, t)| (name, t.copy().unwrap())).collect()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn all_numbers(tensors: &Tensors) -> BTreeMap<&str, Vec<f64>> {
    tensors.iter().map(|(name, t)| (name.as_str(), numbers(t))).collect()
}

/// Multiples of 1/16 in [-1/2, 1/2], as in `data/make.py`.
fn ramp(count: usize) -> Vec<f64> {
    (0..count).map(|i| (i as f64 % 17.0 - 8.0) / 16.0).collect()
}

/// A file that `data/make.py` wrote with torch.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn save(tensors: &Tensors, path: &Path) {
    let tensors: HashMap<&str, Tensor> = tensors.iter().map(|(name, t)| (name.as_str(), t.clone())).collect();
    candle_core::safetensors::save(&tensors, path).unwrap();
}

fn assert_unreadable(path: &Path) {
    let error = read_weights(path).unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error:?}");
    let message = error.to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with(&format!("{}: cannot read weights: ", path.display())), "{message}");
    assert!(!message.ends_with(": "), "{message}");
}

#[test]
fn safetensors_round_trip() {
    let file = tempfile::Builder::new().suffix(".safetensors").tempfile().unwrap();
    let (ours, theirs) = (model("mlp", 3, 0), model("mlp", 3, 1));
    let images =
        Tensor::from_vec(ramp(96), (2, 3, 4, 4), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
    let logits = |model: &Model| numbers(&model.forward(&images, Mode::Eval).unwrap());
    assert_ne!(logits(&ours), logits(&theirs));

    save(&ours.params().tensors(), file.path());
    theirs.params().load(&read_weights(file.path()).unwrap()).unwrap();
    assert_eq!(all_numbers(&ours.params().tensors()), all_numbers(&theirs.params().tensors()));
    assert_eq!(logits(&ours), logits(&theirs));
}

#[test]
fn half_precision_becomes_the_model_s_type() {
    let file = tempfile::Builder::new().suffix(".safetensors").tempfile().unwrap();
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        let (ours, theirs) = (model("mlp", 3, 0), model("mlp", 3, 1));
        let rounded: Tensors =
            ours.params().tensors().into_iter().map(|(n, t)| (n, t.to_dtype(dtype).unwrap())).collect();
        save(&rounded, file.path());
        theirs.params().load(&read_weights(file.path()).unwrap()).unwrap();
        assert_eq!(all_numbers(&rounded), all_numbers(&theirs.params().tensors()));
        assert!(theirs.params().vars().values().all(|v| v.dtype() == DType::F32));
    }
}

#[test]
fn damaged_files_are_unreadable() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.safetensors");
    save(&model("mlp", 3, 0).params().tensors(), &good);
    for (good, extension) in
        [(good, "safetensors"), (data("state_dict.pth"), "pth"), (data("tensors.pt"), "pt")]
    {
        let bytes = std::fs::read(good).unwrap();
        let garbage: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let damaged = [
            &[][..],
            &bytes[..4],
            &bytes[..40],
            &bytes[..bytes.len() / 2],
            &bytes[..bytes.len() - 1],
            &garbage,
        ];
        for (index, bytes) in damaged.into_iter().enumerate() {
            let path = folder.path().join(format!("damaged-{index}.{extension}"));
            std::fs::write(&path, bytes).unwrap();
            assert_unreadable(&path);
        }
    }
}

#[test]
fn files_without_weights_are_unreadable() {
    let folder = tempfile::tempdir().unwrap();
    assert_unreadable(&folder.path().join("missing.safetensors"));
    let empty = folder.path().join("empty.safetensors");
    save(&Tensors::new(), &empty);
    assert_unreadable(&empty);
    std::fs::create_dir(folder.path().join("folder.pth")).unwrap();
    assert_unreadable(&folder.path().join("folder.pth"));
    let reason = |name: &str| read_weights(&folder.path().join(name)).unwrap_err().to_string();
    assert!(
        reason("folder.pth").ends_with(": it is a folder; pass a file in it"),
        "{}",
        reason("folder.pth")
    );
    assert!(reason("missing.pth").ends_with(": no such file"), "{}", reason("missing.pth"));
}

#[test]
fn other_extensions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["weights.onnx", "weights", "weights.SAFETENSORS.bak"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "weights").unwrap();
        let error = read_weights(&path).unwrap_err();
        assert!(matches!(error, Error::UnknownFormat { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("{}: weights must be .safetensors, .pth or .pt", path.display())
        );
    }
}

#[test]
fn a_state_dict_of_torch() {
    let tensors = read_weights(&data("state_dict.pth")).unwrap();
    assert_eq!(tensors["0.weight"].dims(), [2, 3]);
    assert_eq!(tensors["1.num_batches_tracked"].to_scalar::<i64>().unwrap(), 1);
    let read = all_numbers(&tensors);
    assert_eq!(read.len(), 7);
    assert_eq!(read["0.weight"], ramp(6));
    assert_eq!(read["0.bias"], ramp(2));
    // As torch printed them.
    assert_eq!(read["1.running_mean"], [-0.02871093712747097, -0.03125]);
    assert_eq!(read["1.running_var"], [0.9100936651229858, 0.9032958745956421]);
}

#[test]
fn tensors_of_any_layout_and_type() {
    let tensors = read_weights(&data("tensors.pt")).unwrap();
    let types: Vec<_> =
        tensors.iter().map(|(name, t)| (name.as_str(), t.dtype(), t.dims().to_vec())).collect();
    let expected = [
        ("bf16", DType::BF16, vec![2]),
        ("f16", DType::F16, vec![2]),
        ("f64", DType::F64, vec![2]),
        ("parameter", DType::F32, vec![2]),
        ("transposed", DType::F32, vec![2, 3]),
        ("view", DType::F32, vec![2, 2]),
    ];
    assert_eq!(types, expected);
    let read = all_numbers(&tensors);
    let r = ramp(8);
    assert_eq!(read["transposed"], [r[0], r[2], r[4], r[1], r[3], r[5]]);
    assert_eq!(read["view"], r[2..6]);
    for name in ["bf16", "f16", "f64", "parameter"] {
        assert_eq!(read[name], r[..2], "{name}");
    }
}

#[test]
fn a_checkpoint_gives_its_state_dict_alone() {
    let read = read_weights(&data("checkpoint.pth")).unwrap();
    let names: Vec<&str> = read.keys().map(String::as_str).collect();
    let norm = ["1.bias", "1.num_batches_tracked", "1.running_mean", "1.running_var", "1.weight"];
    assert_eq!(names, [&["0.bias", "0.weight"][..], &norm[..]].concat());
    assert_eq!(numbers(&read["0.weight"]), ramp(6));
    assert_eq!(read["1.num_batches_tracked"].to_scalar::<i64>().unwrap(), 2);
}

#[test]
fn a_half_precision_model_of_torch_gives_torch_s_logits() {
    let model = model("mlp", 2, 0);
    model.params().load(&read_weights(&data("mlp_half.pth")).unwrap()).unwrap();
    let images =
        Tensor::from_vec(ramp(96), (2, 3, 4, 4), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
    let logits = numbers(&model.forward(&images, Mode::Eval).unwrap());
    let torch = [-5.7149810791015625, 4.5972747802734375, -2.0366668701171875, 5.3668975830078125];
    for (ours, torch) in logits.iter().zip(torch) {
        assert!((ours - torch).abs() < 1e-5, "{ours} {torch}");
    }
}

#[test]
fn files_of_old_torch_say_what_to_do() {
    assert_unreadable(&data("legacy.pth"));
    let message = read_weights(&data("legacy.pth")).unwrap_err().to_string();
    assert!(message.ends_with("load it in torch and save it again"), "{message}");
}

#[test]
fn pickles_execute_nothing() {
    assert_unreadable(&data("hostile.pth"));
    let entry = read_weights(&data("hostile_entry.pth")).unwrap();
    assert_eq!(all_numbers(&entry), [("weight", ramp(2))].into());
    // The command in both is `touch executed`.
    assert!(!Path::new("executed").exists());
}

#[test]
fn what_does_not_fit_is_named_with_shapes() {
    let model = model("mlp", 3, 0);
    let mut tensors = copies(model.params());
    let moved = tensors.remove("fc2.bias").unwrap();
    tensors.insert("fc4.bias".to_string(), moved);
    tensors.insert("fc1.weight".to_string(), Tensor::zeros((48, 50), DType::F32, &Device::Cpu).unwrap());
    let error = model.params().load(&tensors).unwrap_err();
    let expected = "weights do not fit the model: missing: fc2.bias; unexpected: fc4.bias; \
                    shape: fc1.weight (file [48, 50], model [50, 48])";
    assert_eq!(error.to_string(), expected);

    let error = model.params().load(&Tensors::new()).unwrap_err();
    let all = "missing: fc1.bias, fc1.weight, fc2.bias, fc2.weight, fc3.bias, fc3.weight";
    assert_eq!(error.to_string(), format!("weights do not fit the model: {all}"));
}

#[test]
fn long_lists_are_cut() {
    let model = model("mlp", 3, 0);
    let mut tensors = copies(model.params());
    for index in 0..11 {
        tensors.insert(format!("x{index:02}"), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
    }
    let expected =
        "weights do not fit the model: unexpected: x00, x01, x02, x03, x04, x05, x06, x07 and 3 more";
    assert_eq!(model.params().load(&tensors).unwrap_err().to_string(), expected);
}

#[test]
fn numbers_that_are_not_finite_are_refused_and_nothing_is_set() {
    let model = model("mlp", 3, 0);
    let before = copies(model.params());
    // The last in order, so that a loader that sets as it checks would have set the others.
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
        let mut tensors: Tensors =
            before.iter().map(|(name, t)| (name.clone(), t.ones_like().unwrap())).collect();
        let mut values = vec![0.0; 90];
        values[41] = bad;
        tensors.insert("fc3.weight".to_string(), Tensor::from_vec(values, (3, 30), &Device::Cpu).unwrap());
        let error = model.params().load(&tensors).unwrap_err();
        assert!(matches!(&error, Error::NotFinite { name } if name == "fc3.weight"), "{bad}: {error:?}");
        assert!(error.to_string().starts_with("weight `fc3.weight` holds NaN or infinity"));
        assert_eq!(all_numbers(&before), all_numbers(&model.params().tensors()));
    }
}

#[test]
fn weights_that_do_not_fit_set_nothing() {
    let model = model("mlp", 3, 0);
    let before = copies(model.params());
    let mut tensors: Tensors =
        before.iter().map(|(name, t)| (name.clone(), t.ones_like().unwrap())).collect();
    tensors.remove("fc3.weight");
    model.params().load(&tensors).unwrap_err();
    assert_eq!(all_numbers(&before), all_numbers(&model.params().tensors()));
}

#[test]
fn a_model_loads_its_own_tensors() {
    let model = model("mlp", 3, 0);
    let before = copies(model.params());
    model.params().load(&model.params().tensors()).unwrap();
    assert_eq!(all_numbers(&before), all_numbers(&model.params().tensors()));
}

#[test]
fn a_backbone_loads_under_a_head_of_other_classes() {
    let (pretrained, ours) = (model("resnet18", 1000, 0), model("resnet18", 5, 1));
    let head = copies(ours.params());
    let weights = pretrained.params().tensors();
    assert!(matches!(ours.params().load(&weights), Err(Error::Mismatch(m)) if m.shapes.len() == 2));

    ours.load_pretrained(&weights).unwrap();
    let loaded = ours.params().tensors();
    for (name, tensor) in &loaded {
        let expected = if name.starts_with("fc.") { &head[name] } else { &weights[name] };
        assert_eq!(numbers(tensor), numbers(expected), "{name}");
    }
}

#[test]
fn a_spatial_token_takes_over_the_convolutions_of_a_vgg() {
    let (vgg, sat) = (model("small-vgg-gap", 3, 0), model("sat-mini", 5, 1));
    let before = copies(sat.params());
    let mut weights = vgg.params().tensors();
    sat.load_pretrained(&weights).unwrap();
    for (name, tensor) in &sat.params().tensors() {
        let expected = match name.strip_prefix("patch_embed.backbone.") {
            Some(rest) => &weights[&format!("features.{rest}")],
            None => &before[name],
        };
        assert_eq!(numbers(tensor), numbers(expected), "{name}");
    }

    let sound = weights.insert("features.2.bias".into(), Tensor::full(f32::NAN, 16, &Device::Cpu).unwrap());
    let message = sat.load_pretrained(&weights).unwrap_err().to_string();
    assert!(message.contains("features.2.bias") && !message.contains("patch_embed"), "{message}");
    weights.insert("features.2.bias".into(), sound.unwrap());
    weights.remove("features.0.weight");
    let message = sat.load_pretrained(&weights).unwrap_err().to_string();
    assert_eq!(message, "weights do not fit the model: missing: features.0.weight");
    // A transformer of patches has no place for them.
    let patches = ModelSpec { size: 16, ..ModelSpec::new("sat-tiny", 5) };
    let patches = Model::new(patches, Seed(1), DType::F32, &Device::Cpu).unwrap();
    let message = patches.load_pretrained(&weights).unwrap_err().to_string();
    assert!(message.contains("unexpected: conv6.bias, conv6.weight"), "{message}");
}

#[test]
fn a_spatial_token_comes_with_its_blocks() {
    let (theirs, ours) = (model("sat-mini", 3, 0), model("sat-mini", 5, 1));
    let before = copies(ours.params());
    let mut weights = copies(theirs.params());
    ours.load_pretrained(&weights).unwrap();
    for (name, tensor) in &ours.params().tensors() {
        let expected = if name.starts_with("head.") { &before[name] } else { &weights[name] };
        assert_eq!(numbers(tensor), numbers(expected), "{name}");
    }
    weights.retain(|name, _| !name.starts_with("loc_"));
    let ours = model("sat-mini", 5, 1);
    ours.load_pretrained(&weights).unwrap();
    assert_eq!(numbers(&ours.params().tensors()["loc_token"]), numbers(&before["loc_token"]));
}

#[test]
fn left_over_tensors_under_a_kept_prefix_are_ignored() {
    let model = model("mlp", 3, 0);
    let mut weights = copies(model.params());
    weights.remove("fc3.weight");
    weights.insert("classifier.6.weight".to_string(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
    model.params().load_but(&weights, &["fc3.", "classifier."]).unwrap();
    let message = model.params().load_but(&weights, &["fc3."]).unwrap_err().to_string();
    assert_eq!(message, "weights do not fit the model: unexpected: classifier.6.weight");
}

#[test]
fn counts_of_batches_may_be_missing() {
    let (theirs, ours) = (model("resnet18", 2, 0), model("resnet18", 2, 1));
    let mut weights = copies(theirs.params());
    weights.retain(|name, _| !name.ends_with("num_batches_tracked"));
    ours.params().load(&weights).unwrap();
    assert_eq!(all_numbers(&theirs.params().tensors()), all_numbers(&ours.params().tensors()));

    weights.remove("bn1.running_mean");
    let message = ours.params().load(&weights).unwrap_err().to_string();
    assert_eq!(message, "weights do not fit the model: missing: bn1.running_mean");
}

#[test]
fn names_and_shapes_are_torchvision_s() {
    for (name, entries) in [("resnet18", 122), ("resnet50", 320)] {
        let lines: Vec<String> = model(name, 1000, 0)
            .params()
            .tensors()
            .iter()
            .map(|(name, t)| format!("{name} {:?}", t.dims()))
            .collect();
        let torchvision = std::fs::read_to_string(data(&format!("{name}.txt"))).unwrap();
        assert_eq!(lines.len(), entries);
        assert_eq!(lines, torchvision.lines().collect::<Vec<_>>());
    }
}

#[test]
fn parameter_counts_are_torchvision_s() {
    for (name, count) in [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032)] {
        assert_eq!(model(name, 1000, 0).params().count(), count, "{name}");
    }
    let vgg = model("vgg16-gap", 10, 0);
    let of = |prefix: &str| -> usize {
        vgg.params().vars().iter().filter(|(n, _)| n.starts_with(prefix)).map(|(_, v)| v.elem_count()).sum()
    };
    assert_eq!(of("features."), 14_714_688);
    // A 3x3 convolution from 512 to 1024 channels with bias, and a linear layer to the classes.
    assert_eq!(vgg.params().count(), 14_714_688 + 512 * 1024 * 9 + 1024 + 1024 * 10 + 10);
    let layers: Vec<&String> = vgg.params().vars().keys().filter(|n| n.ends_with(".weight")).collect();
    let indices = [0, 10, 12, 14, 17, 19, 2, 21, 24, 26, 28, 5, 7];
    let mut expected = vec!["conv6.weight".to_string(), "fc.weight".to_string()];
    expected.extend(indices.map(|i| format!("features.{i}.weight")));
    expected.sort();
    assert_eq!(layers, expected.iter().collect::<Vec<_>>());
}
