//! Structured keypoint pooling (Hachiuma et al., "Unified Keypoint-based Action Recognition Framework via Structured
//! Keypoint Pooling", CVPR 2023; blocks as Nagano et al. 2026, section 4, restate them): a network on the keypoints of all
//! people in all frames of a video, as one cloud of points that needs neither order nor tracks.
//!
//! ```text
//!   points (5 numbers) -> embed -> stage1 -> [max of the instance, max of all points]     dim     -> 2 dim
//!   instances          -> stage2 -> [the instance, max of all instances]                  2 dim   -> 4 dim
//!   instances          -> stage3 -> max of all instances -> head -> logits of the video
//! ```
//!
//! The last maximum selects and changes nothing: without it, the same head gives logits of every instance, although only
//! videos have labels. Pooled by instance ([`Pooling`]), the head comes first and the maximum selects logits. Points that are not there are left out of everything, the statistics of normalisation included.
//!
//! Inside, points lie beside each other, channel by channel: (1, channels, 1, points).

use crate::error::{Error, Result};
use crate::layers::{BatchNorm, Linear, Mode};
use crate::params::{Builder, Params};
use candle_core::{DType, Device, Tensor};
use pg_grad::ops::{Segments, add, gelu, segment_max, segment_repeat};
use pg_random::Seed;
use serde::{Deserialize, Serialize};

/// Numbers of a keypoint: x, y, time, confidence, and which joint it is.
pub const KEYPOINT_FEATURES: usize = 5;

/// Everything that determines the shape of an [`Skp`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkpSpec {
    /// Number of classes.
    pub classes: usize,
    /// Width of the embedding of a point; instances have two and four times as much.
    pub dim: usize,
    /// Blocks in each of the three stages.
    pub repeats: [usize; 3],
    /// What the last maximum is taken of.
    pub pooling: Pooling,
    /// Joints of a person, where all have as many. The shapes do not depend on it, but the fifth number of a point does.
    pub keypoints: Option<usize>,
}

/// What the last maximum over instances is taken of (the two kinds of multiple-instance learning of Ilse et al., "Attention-based
/// Deep Multiple Instance Learning", ICML 2018).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Features, of which the head makes logits: structured keypoint pooling as published. An instance that lacks what
    /// speaks against a class can have a higher logit than its video.
    #[default]
    Embedding,
    /// Logits, class by class: those of a video are the greatest of its instances.
    Instance,
}

impl SkpSpec {
    /// One block a stage on 256 numbers a point.
    pub fn new(classes: usize) -> Self {
        Self { classes, dim: 256, repeats: [1; 3], pooling: Pooling::Embedding, keypoints: None }
    }

    fn check(&self) -> Result<()> {
        let fail = |option, expected, value| Err(Error::Option { option, expected, value });
        match *self {
            Self { classes: c @ (0 | 100_001..), .. } => fail("classes", "from 1 to 100000", c),
            Self { dim: d @ (0 | 4097..), .. } => fail("dim", "from 1 to 4096", d),
            Self { repeats, .. } => match repeats.into_iter().find(|&repeats| repeats > 64) {
                Some(repeats) => fail("repeats", "at most 64", repeats),
                None => Ok(()),
            },
        }
    }
}

/// Which points of a padded batch (n, instances, keypoints) are there. An instance without any is left out; it has no
/// logits.
#[derive(Debug, Clone)]
pub struct PointLayout {
    shape: [usize; 3],
    /// Places of the points in the batch.
    places: Vec<u32>,
    /// Places of the instances in the batch.
    instances: Vec<u32>,
    points_of_instances: Segments,
    points_of_samples: Segments,
    instances_of_samples: Segments,
}

impl PointLayout {
    /// From what is `valid`, row by row, in a batch of `shape` (n, instances, keypoints).
    ///
    /// # Errors
    /// [`Error::EmptySample`] if a sample has no valid point; if there are not as many flags as points.
    pub fn new(valid: &[bool], shape: [usize; 3]) -> Result<Self> {
        let [n, slots, keypoints] = shape;
        let count = slots.checked_mul(keypoints).and_then(|count| count.checked_mul(n));
        if count != Some(valid.len()) || count == Some(0) {
            let expected = format!("{shape:?}, one flag a point");
            return Err(
                pg_grad::Error::Shape { what: "validity", actual: vec![valid.len()], expected }.into()
            );
        }
        let places = (0..).zip(valid).filter_map(|(place, &is_valid)| is_valid.then_some(place)).collect();
        let lengths: Vec<usize> = valid
            .chunks_exact(keypoints)
            .map(|points| points.iter().filter(|&&valid| valid).count())
            .collect();
        let instances: Vec<u32> =
            (0..).zip(&lengths).filter_map(|(place, &length)| (length > 0).then_some(place)).collect();
        let samples = || lengths.chunks_exact(slots);
        if let Some(sample) = samples().position(|lengths| lengths.iter().all(|&length| length == 0)) {
            return Err(Error::EmptySample { sample });
        }
        let segments = |lengths: Vec<usize>| Segments::new(lengths).map_err(pg_grad::Error::from);
        Ok(Self {
            shape,
            places,
            instances,
            points_of_samples: segments(samples().map(|lengths| lengths.iter().sum()).collect())?,
            instances_of_samples: segments(
                samples().map(|lengths| lengths.iter().filter(|&&length| length > 0).count()).collect(),
            )?,
            points_of_instances: segments(lengths.into_iter().filter(|&length| length > 0).collect())?,
        })
    }

    /// (n, instances, keypoints) of the batch.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// For each row of instance logits the place of its instance: sample * instances + slot, ascending.
    pub fn instances(&self) -> &[u32] {
        &self.instances
    }
}

/// Which instances are pooled to one row of logits.
#[derive(Debug, Clone)]
pub struct Groups {
    /// Instances, group by group.
    order: Vec<u32>,
    segments: Segments,
}

impl Groups {
    /// Groups of instances, each by its row in [`PointLayout::instances`].
    ///
    /// # Errors
    /// If there is no group, or one is empty.
    pub fn new(groups: &[Vec<u32>]) -> Result<Self> {
        let segments = Segments::new(groups.iter().map(Vec::len)).map_err(pg_grad::Error::from)?;
        Ok(Self { order: groups.concat(), segments })
    }
}

/// The network with its parameters.
#[derive(Debug)]
pub struct Skp {
    spec: SkpSpec,
    embed: Linear,
    stages: [Vec<Block>; 3],
    head: Linear,
    params: Params,
}

impl Skp {
    /// A freshly initialised network.
    ///
    /// # Errors
    /// [`Error::Option`] for sizes that no network has.
    pub fn new(spec: SkpSpec, seed: Seed, dtype: DType, device: &Device) -> Result<Self> {
        spec.check()?;
        let b = Builder::new(seed, dtype, device);
        let stage = |number: usize| {
            let (b, width) = (b.pp(format!("stage{}", number + 1)), spec.dim << number);
            (0..spec.repeats[number]).map(|index| Block::new(&b.pp(index), width)).collect::<Result<Vec<_>>>()
        };
        let embed = Linear::new(&b.pp("embed"), KEYPOINT_FEATURES, spec.dim)?;
        let stages = [stage(0)?, stage(1)?, stage(2)?];
        let head = Linear::new(&b.pp("head"), 4 * spec.dim, spec.classes)?;
        Ok(Self { embed, stages, head, params: b.params(), spec })
    }

    /// Logits (n, classes) of whole samples, from `points` (n, instances, keypoints, 5).
    ///
    /// # Errors
    /// If the layout is not of these points.
    pub fn forward(&self, points: &Tensor, layout: &PointLayout, mode: Mode) -> Result<Tensor> {
        let features = self.features(points, layout, mode)?;
        self.pooled(&features, None, &layout.instances_of_samples)
    }

    /// Logits (rows, classes) of every instance, in the order of [`PointLayout::instances`].
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_instances(&self, points: &Tensor, layout: &PointLayout, mode: Mode) -> Result<Tensor> {
        by_row(&self.head.forward_channels(&self.features(points, layout, mode)?)?)
    }

    /// Logits (groups, classes) of groups of instances: of the people of a frame, of a person over time, of the sources of
    /// a mix.
    ///
    /// # Errors
    /// As [`Self::forward`]; if a group names an instance that is not there.
    pub fn forward_groups(
        &self,
        points: &Tensor,
        layout: &PointLayout,
        groups: &Groups,
        mode: Mode,
    ) -> Result<Tensor> {
        let features = self.features(points, layout, mode)?;
        let order = Tensor::new(groups.order.as_slice(), points.device())?;
        self.pooled(&features, Some(&order), &groups.segments)
    }

    /// What the network's shape is.
    pub fn spec(&self) -> &SkpSpec {
        &self.spec
    }

    /// Parameters and buffers by name.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// (1, 4 dim, 1, instances).
    fn features(&self, points: &Tensor, layout: &PointLayout, mode: Mode) -> Result<Tensor> {
        let [n, slots, keypoints] = layout.shape;
        if points.dims() != [n, slots, keypoints, KEYPOINT_FEATURES] {
            let expected = format!("[{n}, {slots}, {keypoints}, {KEYPOINT_FEATURES}]");
            let actual = points.dims().to_vec();
            return Err(pg_grad::Error::Shape { what: "points", actual, expected }.into());
        }
        let places = Tensor::new(layout.places.as_slice(), points.device())?;
        let points = points.reshape((n * slots * keypoints, KEYPOINT_FEATURES))?.index_select(&places, 0)?;
        let points = points.t()?.reshape((1, KEYPOINT_FEATURES, 1, layout.places.len()))?;

        let points = run(&self.stages[0], self.embed.forward_channels(&points)?, mode)?;
        let local = segment_max(&points, &layout.points_of_instances)?;
        let global = segment_max(&points, &layout.points_of_samples)?;
        let instances = with_global(&local, &global, layout)?;

        let instances = run(&self.stages[1], instances, mode)?;
        let global = segment_max(&instances, &layout.instances_of_samples)?;
        run(&self.stages[2], with_global(&instances, &global, layout)?, mode)
    }

    /// Logits (segments, classes) of the features of instances (1, 4 dim, 1, instances), taken in this order.
    fn pooled(&self, features: &Tensor, order: Option<&Tensor>, segments: &Segments) -> Result<Tensor> {
        let ordered = |x: &Tensor| order.map_or_else(|| Ok(x.clone()), |order| x.index_select(order, 3));
        let logits = match self.spec.pooling {
            Pooling::Embedding => self.head.forward_channels(&segment_max(&ordered(features)?, segments)?)?,
            Pooling::Instance => segment_max(&ordered(&self.head.forward_channels(features)?)?, segments)?,
        };
        by_row(&logits)
    }
}

/// (rows, classes) of (1, classes, 1, rows).
fn by_row(channels: &Tensor) -> Result<Tensor> {
    let (_, classes, _, rows) = channels.dims4()?;
    Ok(channels.reshape((classes, rows))?.t()?.contiguous()?)
}

fn run(blocks: &[Block], x: Tensor, mode: Mode) -> Result<Tensor> {
    blocks.iter().try_fold(x, |x, block| block.forward(&x, mode))
}

/// Instances beside what their sample has in common.
fn with_global(instances: &Tensor, samples: &Tensor, layout: &PointLayout) -> Result<Tensor> {
    Ok(Tensor::cat(&[instances, &segment_repeat(samples, &layout.instances_of_samples)?], 1)?)
}

/// A residual block: x + fc2(gelu(bn(fc1(x)))), twice as wide inside.
#[derive(Debug)]
struct Block {
    fc1: Linear,
    bn: BatchNorm,
    fc2: Linear,
}

impl Block {
    fn new(b: &Builder, width: usize) -> Result<Self> {
        Ok(Self {
            fc1: Linear::new(&b.pp("fc1"), width, 2 * width)?,
            bn: BatchNorm::new(&b.pp("bn"), 2 * width)?,
            fc2: Linear::new(&b.pp("fc2"), 2 * width, width)?,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let hidden = gelu(&self.bn.forward(&self.fc1.forward_channels(x)?, mode)?)?;
        Ok(add(x, &self.fc2.forward_channels(&hidden)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [2, 3, 4];

    fn valid() -> Vec<bool> {
        // The last instance of the first sample is not there; some others lack points.
        (0..24).map(|i| !(8..12).contains(&i) && i % 5 != 0).collect()
    }

    fn points() -> Vec<f32> {
        (0..24 * 5).map(|i| ((i * 97 + 13) % 509) as f32 / 254.5 - 1.0).collect()
    }

    fn network() -> Skp {
        let spec = SkpSpec { dim: 8, repeats: [1, 2, 1], ..SkpSpec::new(3) };
        Skp::new(spec, Seed(1), DType::F32, &Device::Cpu).unwrap()
    }

    fn tensor(points: &[f32]) -> Tensor {
        Tensor::from_slice(points, (2, 3, 4, 5), &Device::Cpu).unwrap()
    }

    fn rows(t: Tensor) -> Vec<Vec<f32>> {
        t.to_vec2().unwrap()
    }

    #[test]
    fn neither_the_order_of_points_nor_that_of_people_matters() {
        let (skp, points, valid) = (network(), points(), valid());
        let layout = PointLayout::new(&valid, SHAPE).unwrap();
        let logits = rows(skp.forward(&tensor(&points), &layout, Mode::Eval).unwrap());

        // Keypoints backwards, and the people of the second sample in another order.
        let place = |sample: usize, slot: usize, k: usize| (sample * 3 + slot) * 4 + k;
        let from = |sample: usize, slot: usize, k: usize| {
            place(sample, if sample == 1 { (slot + 1) % 3 } else { slot }, 3 - k)
        };
        let order: Vec<usize> = (0..24).map(|i| from(i / 12, i / 4 % 3, i % 4)).collect();
        let shuffled: Vec<f32> = order.iter().flat_map(|&i| points[i * 5..][..5].to_vec()).collect();
        let flags: Vec<bool> = order.iter().map(|&i| valid[i]).collect();
        let shuffled_layout = PointLayout::new(&flags, SHAPE).unwrap();
        assert_eq!(rows(skp.forward(&tensor(&shuffled), &shuffled_layout, Mode::Eval).unwrap()), logits);

        let instances = rows(skp.forward_instances(&tensor(&points), &layout, Mode::Eval).unwrap());
        let again = rows(skp.forward_instances(&tensor(&shuffled), &shuffled_layout, Mode::Eval).unwrap());
        assert_eq!(layout.instances(), [0, 1, 3, 4, 5]);
        assert_eq!([&again[2], &again[3], &again[4]], [&instances[3], &instances[4], &instances[2]]);
    }

    #[test]
    fn what_is_not_there_has_no_influence() {
        let (skp, layout) = (network(), PointLayout::new(&valid(), SHAPE).unwrap());
        let (clean, mut dirty) = (points(), points());
        for (i, valid) in valid().into_iter().enumerate() {
            if !valid {
                dirty[i * 5..][..5].fill(f32::NAN);
            }
        }
        for mode in [Mode::Eval, Mode::Probe] {
            let logits = |points: &[f32]| rows(skp.forward(&tensor(points), &layout, mode).unwrap());
            assert_eq!(logits(&dirty), logits(&clean));
        }
    }

    #[test]
    fn groups_stand_between_instances_and_samples() {
        let (skp, points, layout) =
            (network(), tensor(&points()), PointLayout::new(&valid(), SHAPE).unwrap());
        let grouped = |groups: &[Vec<u32>]| {
            rows(skp.forward_groups(&points, &layout, &Groups::new(groups).unwrap(), Mode::Eval).unwrap())
        };
        let samples = rows(skp.forward(&points, &layout, Mode::Eval).unwrap());
        let instances = rows(skp.forward_instances(&points, &layout, Mode::Eval).unwrap());
        assert_eq!(grouped(&[vec![1, 0], vec![4, 2, 3]]), samples);
        assert_eq!(grouped(&[vec![3], vec![0]]), [instances[3].clone(), instances[0].clone()]);
    }

    #[test]
    fn pooled_by_instance_a_video_has_the_greatest_logits_of_its_people() {
        let spec = SkpSpec { pooling: Pooling::Instance, ..network().spec().clone() };
        let skp = Skp::new(spec, Seed(1), DType::F32, &Device::Cpu).unwrap();
        let (points, layout) = (tensor(&points()), PointLayout::new(&valid(), SHAPE).unwrap());
        let instances = rows(skp.forward_instances(&points, &layout, Mode::Eval).unwrap());
        let greatest = |people: &[Vec<f32>]| -> Vec<f32> {
            (0..3).map(|class| people.iter().map(|logits| logits[class]).fold(f32::MIN, f32::max)).collect()
        };
        let expected = [greatest(&instances[..2]), greatest(&instances[2..])];
        assert_eq!(rows(skp.forward(&points, &layout, Mode::Eval).unwrap()), expected);
        let groups = Groups::new(&[vec![0, 1], vec![2, 3, 4]]).unwrap();
        assert_eq!(rows(skp.forward_groups(&points, &layout, &groups, Mode::Eval).unwrap()), expected);
        // The same network by embedding is another function.
        assert_ne!(rows(network().forward(&points, &layout, Mode::Eval).unwrap()), expected);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut none = valid();
        none[12..].fill(false);
        assert!(matches!(PointLayout::new(&none, SHAPE), Err(Error::EmptySample { sample: 1 })));
        assert!(PointLayout::new(&none, [2, 3, 5]).is_err());
        assert!(PointLayout::new(&[], [0, 3, 4]).is_err());
        assert!(PointLayout::new(&[], [usize::MAX, 3, 4]).is_err());
        let layout = PointLayout::new(&valid(), SHAPE).unwrap();
        let short = Tensor::zeros((2, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
        assert!(network().forward(&short, &layout, Mode::Eval).is_err());
        assert!(Groups::new(&[vec![0], vec![]]).is_err());
        for spec in [SkpSpec { dim: 0, ..SkpSpec::new(2) }, SkpSpec::new(0)] {
            assert!(matches!(Skp::new(spec, Seed(0), DType::F32, &Device::Cpu), Err(Error::Option { .. })));
        }
    }
}
