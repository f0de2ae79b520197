//! Small clips and networks for tests, of which one can say by hand what must come out.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use pg_models::{Skp, SkpSpec};
use pg_random::Seed;
use pg_skeleton::{Clip, Instance, Keypoint};
use pg_tubes::BoundingBox;

/// Width and height of images, so that a network sees column 10 x + 10 and row 10 y + 10 as (x, y).
pub(crate) const SIDE: u32 = 20;

/// A person of one joint, at (x, y) as a network sees it.
pub(crate) fn person(frame: usize, x: f32, y: f32) -> Instance {
    let keypoint = Keypoint { x: 10.0 * x + 10.0, y: 10.0 * y + 10.0, confidence: 0.5 };
    Instance { frame, track: None, keypoints: vec![keypoint], bounding_box: Some(bounding_box(x, y)) }
}

/// The box of such a person.
pub(crate) fn bounding_box(x: f32, y: f32) -> BoundingBox {
    let (x, y) = (f64::from(10.0 * x + 10.0), f64::from(10.0 * y + 10.0));
    BoundingBox { x0: x - 1.0, y0: y - 1.0, x1: x + 1.0, y1: y + 1.0 }
}

/// A clip of such people.
pub(crate) fn clip(id: &str, frames: usize, instances: Vec<Instance>) -> Clip {
    Clip { id: id.into(), width: SIDE, height: SIDE, fps: None, frames, label: None, instances }
}

/// A network without blocks: the logit of each class is the sum of its channels, and each channel the greatest number among
/// the people of one of the five of their joints, times a factor.
pub(crate) fn network(channels: &[(usize, f32)], classes: &[&[usize]]) -> Skp {
    let (dim, count) = (channels.len(), classes.len());
    let spec = SkpSpec { dim, repeats: [0; 3], ..SkpSpec::new(count) };
    let skp = Skp::new(spec, Seed(0), DType::F32, &Device::Cpu).unwrap();
    let mut embed = vec![0f32; dim * 5];
    for (channel, &(feature, factor)) in channels.iter().enumerate() {
        embed[channel * 5 + feature] = factor;
    }
    // An instance has its own channels first, then what it shares with others.
    let mut head = vec![0f32; count * 4 * dim];
    for (class, channels) in classes.iter().enumerate() {
        channels.iter().for_each(|channel| head[class * 4 * dim + channel] = 1.0);
    }
    let tensor = |values: Vec<f32>, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    let params = BTreeMap::from([
        ("embed.weight".to_owned(), tensor(embed, &[dim, 5])),
        ("embed.bias".to_owned(), tensor(vec![0.0; dim], &[dim])),
        ("head.weight".to_owned(), tensor(head, &[count, 4 * dim])),
        ("head.bias".to_owned(), tensor(vec![0.0; count], &[count])),
    ]);
    skp.params().load(&params).unwrap();
    skp
}

/// Class 0 is on the right, class 1 on the left.
pub(crate) fn right_or_left() -> Skp {
    network(&[(0, 1.0), (0, -1.0)], &[&[0], &[1]])
}

pub(crate) fn names(classes: &[&str]) -> Vec<String> {
    classes.iter().map(|&class| class.to_owned()).collect()
}
