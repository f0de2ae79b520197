//! What a checkpoint says of a run comes back bit for bit: a resumed run goes on from it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use pg_tasks::checkpoint::{self, CheckpointError};
use proptest::prelude::*;

fn tensors() -> BTreeMap<String, Tensor> {
    let weight = Tensor::new(&[[f32::MIN_POSITIVE, -0.0], [f32::MAX, 1e-45]], &Device::Cpu).unwrap();
    let strided = weight.t().unwrap();
    let step = Tensor::new(&[u32::MAX], &Device::Cpu).unwrap();
    BTreeMap::from([("a".to_owned(), weight), ("b".to_owned(), strided), ("step".to_owned(), step)])
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn tensors_come_back_bit_equal_and_the_file_is_always_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["1", "2"].map(|name| folder.path().join(name));
    for path in [&first, &second] {
        checkpoint::save(path, &tensors(), &("resnet18", 3)).unwrap();
    }
    assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
    let (loaded, about) = checkpoint::load::<(String, usize)>(&first).unwrap();
    assert_eq!(about, ("resnet18".to_owned(), 3));
    for name in ["a", "b"] {
        assert_eq!(bits(&loaded[name]), bits(&tensors()[name]), "{name}");
    }
    assert_eq!(loaded["step"].to_vec1::<u32>().unwrap(), [u32::MAX]);
}

#[test]
fn a_place_that_cannot_be_written_is_named_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below: PathBuf = file.join("last.safetensors");
    let error = checkpoint::save(&below, &tensors(), &0).unwrap_err();
    assert!(matches!(error, CheckpointError::Write(_)), "{error}");
    assert!(error.to_string().starts_with(&format!("{}: ", below.display())), "{error}");
    let taken = folder.path().join("folder");
    std::fs::create_dir(&taken).unwrap();
    assert!(checkpoint::save(&taken, &tensors(), &0).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_description_without_a_form_is_a_failure_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    checkpoint::save(&path, &tensors(), &"before").unwrap();
    // JSON has no keys but strings.
    let error = checkpoint::save(&path, &tensors(), &BTreeMap::from([((1, 2), 3)])).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, CheckpointError::Unwritable { .. }), "{text}");
    assert!(text.starts_with(&format!("{}: cannot be written (", path.display())), "{text}");
    assert_eq!(checkpoint::load::<String>(&path).unwrap().1, "before");
}

proptest! {
    #[test]
    fn sums_and_selections_come_back_bit_equal(values in prop::collection::vec(any::<f64>(), 64)) {
        prop_assume!(values.iter().all(|value| value.is_finite()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        checkpoint::save(&path, &BTreeMap::new(), &values).unwrap();
        let (_, read) = checkpoint::load::<Vec<f64>>(&path).unwrap();
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read), bits(&values));
    }
}
