//! What a network does on clips that it was not trained with.

use std::collections::{BTreeSet, HashMap};

use candle_core::{D, Device, Tensor, Var};
use pg_grad::{Score, input_gradient_detached, without_graph};
use pg_models::{Mode, Skp};
use pg_random::Seed;
use pg_synth::{BatchMix, Scenes};
use pg_tubes::{AveragePrecision, InstanceScores, LabelledTube, VideoDetections, VideoTruth};
use rand::RngExt;
use rand::seq::SliceRandom;

use crate::dataset::Example;
use crate::detection::batch;
use crate::error::StadError;
use crate::sampling::{Cast, Sampling};

/// Clips at a time.
const BATCH: usize = 64;

/// Share of the clips whose class the network finds; NaN without any.
///
/// # Errors
/// If the network fails.
pub fn video_accuracy(
    skp: &Skp,
    examples: &[Example],
    sampling: Sampling,
    device: &Device,
) -> Result<f64, StadError> {
    let mut right = 0;
    for examples in examples.chunks(BATCH) {
        let (points, layout) = batch(&scenes(examples, sampling)?, device)?;
        let logits = without_graph(|| skp.forward(&points, &layout, Mode::Eval))?;
        let found = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
        right += found.iter().zip(examples).filter(|(found, example)| **found == example.label).count();
    }
    Ok(right as f64 / examples.len() as f64)
}

/// The middle frames of clips; where they show nobody, the first frames with someone.
fn scenes(examples: &[Example], sampling: Sampling) -> Result<Scenes, StadError> {
    let keypoints = examples.iter().find_map(|example| example.clip.keypoint_count()).unwrap_or(1);
    let scenes: Vec<_> = examples
        .iter()
        .map(|Example { clip, .. }| {
            let (cast, all) = (Cast::new(clip), 0..clip.frames);
            let middle = sampling.scene(&cast, &sampling.middle_frames(clip), &all, keypoints).scene;
            if middle.valid.contains(&true) {
                middle
            } else {
                sampling.scene(&cast, &sampling.frames_with_people(&cast), &all, keypoints).scene
            }
        })
        .collect();
    let labels = examples.iter().map(|example| example.label).collect();
    Ok(Scenes::new(&scenes, (sampling.slots(), keypoints), labels)?)
}

/// Overlap from which on a person in a frame is the one of an annotated tube.
const SAME_PERSON: f64 = 0.5;

/// How well single people in single frames are told apart, by the mean over the classes of the average precision of all
/// scores of the class: those are right that lie on a tube of the class. NaN without tubes.
pub fn instance_ap(detections: &[VideoDetections], truth: &[VideoTruth]) -> f64 {
    let classes: BTreeSet<&String> = detections.iter().flat_map(|video| &video.classes).collect();
    let truth: HashMap<&str, &VideoTruth> = truth.iter().map(|video| (video.id.as_str(), video)).collect();
    let by_class: Vec<f64> =
        classes.into_iter().filter_map(|class| class_instance_ap(detections, &truth, class)).collect();
    by_class.iter().sum::<f64>() / by_class.len() as f64
}

fn class_instance_ap(
    detections: &[VideoDetections],
    truth: &HashMap<&str, &VideoTruth>,
    class: &str,
) -> Option<f64> {
    let mut scored: Vec<(f32, bool)> = Vec::new();
    for video in detections {
        let Some(column) = video.classes.iter().position(|name| name == class) else { continue };
        let truth = truth.get(video.id.as_str()).map_or(&[][..], |truth| &truth.tubes);
        for instance in &video.instances {
            let is_on = |tube: &LabelledTube| {
                let place = tube.tube.box_at(instance.frame).filter(|_| tube.label == class);
                place.is_some_and(|place| place.iou(instance.bounding_box) >= SAME_PERSON)
            };
            scored.extend(instance.scores.get(column).map(|&score| (score, truth.iter().any(is_on))));
        }
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let hits: Vec<bool> = scored.into_iter().map(|(_, is_right)| is_right).collect();
    let positives = hits.iter().filter(|hit| **hit).count();
    (positives > 0).then(|| AveragePrecision::new(&hits, positives).envelope)
}

/// Share of the most frequent class: what always to say the same is worth; NaN without examples.
pub fn constant_accuracy(examples: &[Example]) -> f64 {
    let mut counts = HashMap::<u32, usize>::new();
    for example in examples {
        *counts.entry(example.label).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0) as f64 / examples.len() as f64
}

/// What would be detected by one who knows what a clip shows, but neither who does it nor when: everyone has the highest
/// score that anyone has, less a random ten-thousandth, so that no order decides between equals. Tubes are left out.
pub fn everyone_alike(detections: &[VideoDetections]) -> Vec<VideoDetections> {
    let mut rng = Seed(0).stream("alike", &[]);
    let alike = detections.iter().map(|video| {
        let highest = |column: usize| {
            let scores = video.instances.iter().filter_map(|instance| instance.scores.get(column));
            scores.copied().max_by(f32::total_cmp)
        };
        let scores: Vec<f32> = (0..video.classes.len()).map_while(highest).collect();
        let instances = video.instances.iter().map(|instance| {
            let factor = 1.0 - rng.random_range(0.0..1e-4);
            InstanceScores { scores: scores.iter().map(|score| score * factor).collect(), ..instance.clone() }
        });
        VideoDetections { instances: instances.collect(), tubes: Vec::new(), ..video.clone() }
    });
    alike.collect()
}

/// How much of a class's evidence is not its own: in mixes of two clips of different classes, the squared input gradient of
/// each clip's logit on the other's people, over that on its own; `None` without two classes.
///
/// # Errors
/// If the network fails.
pub fn leak_ratio(
    skp: &Skp,
    examples: &[Example],
    sampling: Sampling,
    device: &Device,
) -> Result<Option<f64>, StadError> {
    let mut order: Vec<&Example> = examples.iter().collect();
    order.shuffle(&mut Seed(0).stream("leak", &[]));
    let pairs: Vec<Example> = order
        .chunks_exact(2)
        .filter(|pair| pair[0].label != pair[1].label)
        .flat_map(|pair| pair.iter().map(|&example| example.clone()))
        .collect();
    let (mut own, mut leaked) = (0.0, 0.0);
    for pairs in pairs.chunks(BATCH) {
        let mixed = BatchMix::default().mix(&scenes(pairs, sampling)?)?;
        let (points, layout) = batch(&mixed.scenes, device)?;
        let points = Var::from_tensor(&points)?;
        let logits = skp.forward(&points, &layout, Mode::Eval)?;
        let [n, slots, _] = mixed.scenes.shape();
        for source in 0..2 {
            let labels: Vec<u32> = mixed.labels.iter().skip(source).step_by(2).copied().collect();
            let labels = Tensor::new(labels, device)?;
            let gradient = input_gradient_detached(&logits, &points, &labels, Score::Logit)?;
            let squares = gradient.sqr()?.sum((2, 3))?.to_vec2::<f32>()?;
            for mix in squares.iter().take(n) {
                let half = |half: usize| {
                    mix[half * slots / 2..(half + 1) * slots / 2].iter().map(|&x| f64::from(x)).sum::<f64>()
                };
                own += half(source);
                leaked += half(1 - source);
            }
        }
    }
    Ok((own > 0.0).then(|| leaked / own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{bounding_box, clip, names, network, person, right_or_left};
    use pg_skeleton::Instance;
    use pg_tubes::Tube;

    const SAMPLING: Sampling = Sampling { frames: 2, people: 2 };

    fn example(label: u32, instances: Vec<Instance>) -> Example {
        Example { clip: clip("v", 4, instances), label }
    }

    /// Those of class 0 on the right, those of class 1 on the left and lower.
    fn examples() -> Vec<Example> {
        let of = |label| match label {
            0 => example(0, (0..4).map(|frame| person(frame, 0.5, 0.1)).collect()),
            _ => example(1, (0..4).map(|frame| person(frame, -0.5, 0.6)).collect()),
        };
        (0..20).map(|index| of(index % 2)).collect()
    }

    #[test]
    fn accuracy_is_the_share_of_clips_that_are_right() {
        let accuracy =
            |skp: &Skp, examples: &[Example]| video_accuracy(skp, examples, SAMPLING, &Device::Cpu).unwrap();
        let mut examples = examples();
        assert_eq!(accuracy(&right_or_left(), &examples), 1.0);
        examples[0].label = 1;
        assert_eq!(accuracy(&right_or_left(), &examples), 0.95);
        // In none of the middle frames, 1 and 3, is anyone.
        let late = example(0, vec![person(0, 0.5, 0.0)]);
        assert_eq!(accuracy(&right_or_left(), &[late]), 1.0);
        assert!(accuracy(&right_or_left(), &[]).is_nan());
    }

    #[test]
    fn the_leak_is_the_share_of_what_others_add() {
        let leak = |skp: &Skp| leak_ratio(skp, &examples(), SAMPLING, &Device::Cpu).unwrap();
        assert_eq!(leak(&right_or_left()), Some(0.0));
        // Class 0 also looks for the lowest, who is of class 1: of three gradients of 1, one is another's.
        let leaks = network(&[(0, 1.0), (0, -1.0), (1, 1.0)], &[&[0, 2], &[1]]);
        assert!((leak(&leaks).unwrap() - 0.5).abs() < 1e-6, "{:?}", leak(&leaks));
        // Each class looks at the other's people alone.
        assert_eq!(leak(&network(&[(0, -1.0), (0, 1.0)], &[&[0], &[1]])), None);
        let alone: Vec<Example> = examples().into_iter().filter(|example| example.label == 0).collect();
        assert_eq!(leak_ratio(&right_or_left(), &alone, SAMPLING, &Device::Cpu).unwrap(), None);
        assert_eq!(leak_ratio(&right_or_left(), &[], SAMPLING, &Device::Cpu).unwrap(), None);
    }

    fn scored(frame: usize, x: f32, scores: &[f32]) -> InstanceScores {
        InstanceScores { frame, track: None, bounding_box: bounding_box(x, 0.0), scores: scores.to_vec() }
    }

    fn video(id: &str, classes: &[&str], instances: Vec<InstanceScores>) -> VideoDetections {
        VideoDetections { id: id.into(), frames: 9, classes: names(classes), instances, tubes: vec![] }
    }

    fn truth(id: &str, label: &str) -> VideoTruth {
        let tube = Tube { start: 2, boxes: vec![bounding_box(0.5, 0.0); 3] };
        VideoTruth { id: id.into(), tubes: vec![LabelledTube { label: label.into(), tube }] }
    }

    #[test]
    fn instance_ap_asks_who_and_when() {
        let truth = [truth("u", "a"), truth("v", "a")];
        let detections = [
            // The actor, another place, another time.
            video(
                "u",
                &["a", "b"],
                vec![scored(2, 0.5, &[0.9, 0.1]), scored(2, -0.5, &[0.8, 0.2]), scored(5, 0.5, &[0.1, 0.9])],
            ),
            // The classes in another order; the actor again.
            video("v", &["b", "a"], vec![scored(4, 0.5, &[0.3, 0.7])]),
        ];
        // Right, wrong, right, wrong: a precision of 1 up to a recall of 1/2, then of 2/3. Nothing is annotated as `b`.
        assert!((instance_ap(&detections, &truth) - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-12);
        // Half of a box is enough, less is not: 2 of 3 pixels of width are common.
        let shifted = |x: f32| instance_ap(&[video("u", &["a"], vec![scored(2, x, &[0.5])])], &truth);
        assert_eq!(shifted(0.55), 1.0);
        assert!(shifted(0.6).is_nan(), "nobody is right, so that there is nothing to average");
        assert!(instance_ap(&detections, &[]).is_nan() && instance_ap(&[], &truth).is_nan());
        // Too few scores are no reason to panic.
        assert!(instance_ap(&[video("u", &["a", "b"], vec![scored(2, 0.5, &[])])], &truth).is_nan());
    }

    #[test]
    fn trivial_lines_know_no_more_than_they_should() {
        let examples = examples();
        assert_eq!(constant_accuracy(&examples), 0.5);
        assert_eq!(constant_accuracy(&examples[..3]), 2.0 / 3.0);
        assert!(constant_accuracy(&[]).is_nan());
        let first = vec![scored(2, 0.5, &[0.9, 0.1]), scored(5, -0.5, &[0.2, 0.3])];
        let alike = everyone_alike(&[
            video("u", &["a", "b"], first),
            video("v", &["a"], vec![scored(1, 0.5, &[0.4])]),
        ]);
        let scores = alike.iter().flat_map(|video| &video.instances).flat_map(|instance| &instance.scores);
        for (score, highest) in scores.zip([0.9, 0.3, 0.9, 0.3, 0.4]) {
            assert!(*score <= highest && *score > highest * 0.9998, "{score} {highest}");
        }
        assert_eq!((alike[0].instances[1].frame, alike[0].id.as_str()), (5, "u"));
        // Of two people one acts, whoever is listed first.
        let ids: Vec<String> = (0..400).map(|clip| clip.to_string()).collect();
        let truth: Vec<VideoTruth> = ids.iter().map(|id| truth(id, "a")).collect();
        for actor in [0.5, -0.5] {
            let people = || vec![scored(2, actor, &[0.1]), scored(2, -actor, &[0.9])];
            let known: Vec<_> = ids.iter().map(|id| video(id, &["a"], people())).collect();
            let share = instance_ap(&everyone_alike(&known), &truth);
            assert!((share - 0.5).abs() < 0.1, "{actor}: {share}");
        }
        assert!(everyone_alike(&[video("w", &["a"], vec![])])[0].instances.is_empty());
    }
}
