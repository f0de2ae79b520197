//! How much a class depends on each person in each frame.

use candle_core::{D, DType, Device, Tensor, Var};
use pg_grad::{Score, input_gradient_detached, without_graph};
use pg_models::{Mode, Skp};
use pg_skeleton::Clip;
use pg_tubes::{ActOptions, LabelledTube, VideoDetections, link_act};

use crate::detection::look_through;
use crate::error::StadError;
use crate::loss::Loss;
use crate::page::Explained;
use crate::sampling::{Cast, Sampling};

/// Explains `class`, or the likeliest, of a clip in which someone is. Every frame is in one of several scenes that span the
/// clip; an instance's dependence is the squared gradient on its joints over that on all of the clip.
///
/// # Errors
/// [`StadError::Class`] for a class that there is not, [`StadError::Nobody`]; if the network fails.
pub fn explain<'a>(
    skp: &Skp,
    (sampling, loss): (Sampling, Loss),
    clip: &'a Clip,
    detections: &'a VideoDetections,
    class: Option<usize>,
    truth: impl Iterator<Item = LabelledTube>,
    device: &Device,
) -> Result<Explained<'a>, StadError> {
    let (cast, window, place) = (Cast::new(clip), 0..clip.frames, (sampling, device));
    let mut scores = Vec::new();
    look_through(&cast, &window, place, |points, layout, _| {
        let logits = without_graph(|| skp.forward(points, layout, Mode::Eval))?;
        scores.push(loss.scores(&logits)?.to_dtype(DType::F32)?);
        Ok(())
    })?;
    if scores.is_empty() {
        return Err(StadError::Nobody { id: clip.id.clone() });
    }
    let scores = Tensor::cat(&scores, 0)?.mean(0)?;
    let class = match class {
        Some(class) => class,
        None => scores.argmax(D::Minus1)?.to_scalar::<u32>()? as usize,
    };
    let known = detections.classes.len();
    let name = detections.classes.get(class).ok_or(StadError::Class { class, known })?;
    let mut dependence = vec![0.0; clip.instances.len()];
    look_through(&cast, &window, place, |points, layout, instances| {
        let points = Var::from_tensor(points)?;
        let logits = skp.forward(&points, layout, Mode::Eval)?;
        let classes = Tensor::new(vec![class as u32; logits.dim(0)?], device)?;
        let gradient = input_gradient_detached(&logits, &points, &classes, Score::Logit)?;
        let squares = gradient.sqr()?.sum((2, 3))?.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        for (instance, square) in instances.iter().zip(squares) {
            if let Some(index) = instance {
                dependence[*index] = f64::from(square);
            }
        }
        Ok(())
    })?;
    let total = dependence.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    dependence.iter_mut().for_each(|share| *share /= total);
    Ok(Explained {
        clip,
        class,
        scores: scores.to_vec1()?,
        dependence,
        people: people(detections, name),
        truth: truth.filter(|tube| tube.label == *name).map(|tube| tube.tube).collect(),
        detections,
    })
}

/// Everyone over time, as far as boxes overlap, in the order of their coming.
fn people(detections: &VideoDetections, class: &str) -> Vec<pg_tubes::Tube> {
    let everyone = ActOptions {
        per_frame: usize::MAX,
        min_score: f64::NEG_INFINITY,
        min_length: 1,
        box_nms: 1.0,
        tube_nms: 1.0,
        ..ActOptions::default()
    };
    let tubes = link_act(detections, &everyone).into_iter().filter(|tube| tube.label == class);
    let mut people: Vec<_> = tubes.map(|tube| tube.tube).filter(|tube| tube.boxes.len() > 2).collect();
    people.sort_by(|a, b| a.start.cmp(&b.start).then(b.boxes.len().cmp(&a.boxes.len())));
    people
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Detector;
    use crate::samples::{bounding_box, clip, names, person, right_or_left};
    use pg_tubes::Tube;

    const SAMPLING: Sampling = Sampling { frames: 2, people: 1 };

    /// One on the right and one on the left in each of four frames; the first is rightmost in frame 2.
    fn two() -> Clip {
        let x = |frame: usize| if frame == 2 { 0.75 } else { 0.5 };
        clip(
            "v",
            4,
            (0..4).flat_map(|frame| [person(frame, x(frame), 0.0), person(frame, -0.5, 0.0)]).collect(),
        )
    }

    fn explained<T>(
        clip: &Clip,
        class: Option<usize>,
        look: impl Fn(&Explained) -> T,
    ) -> Result<T, StadError> {
        let (skp, classes) = (right_or_left(), names(&["right", "left"]));
        let detections = Detector::new(&skp, &classes, SAMPLING, Loss::CrossEntropy).detect(clip)?;
        let tube = |label: &str| LabelledTube {
            label: label.into(),
            tube: Tube { start: 0, boxes: vec![bounding_box(0.5, 0.0)] },
        };
        let truth = ["left", "right", "left"].map(tube).into_iter();
        Ok(look(&explain(
            &skp,
            (SAMPLING, Loss::CrossEntropy),
            clip,
            &detections,
            class,
            truth,
            &Device::Cpu,
        )?))
    }

    #[test]
    fn a_class_depends_on_those_who_decide_it() {
        explained(&two(), None, |found| {
            // Frames 0 and 2 are seen together, and 1 and 3; in each pair one person decides, with a gradient of 1.
            assert_eq!(found.dependence, [0.0, 0.0, 0.5, 0.0, 0.5, 0.0, 0.0, 0.0]);
            assert!((found.scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert_eq!(found.class, 0, "0.75 and 0.5 on the right are more than 0.5 on the left");
            assert_eq!(found.truth.len(), 1);
            let times: Vec<_> = found.people.iter().map(|tube| (tube.start, tube.end())).collect();
            assert_eq!(times, [(0, 4), (0, 4)]);
        })
        .unwrap();
        explained(&two(), Some(1), |found| {
            assert_eq!((found.class, found.truth.len()), (1, 2));
            let on_the_right = found.dependence.iter().step_by(2);
            assert!(on_the_right.copied().all(|share| share == 0.0), "{:?}", found.dependence);
            assert!((found.dependence.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        })
        .unwrap();
    }

    #[test]
    fn a_class_that_there_is_not_and_a_clip_without_anyone_are_errors() {
        let unknown = explained(&two(), Some(2), |_| ()).unwrap_err();
        assert_eq!(unknown.to_string(), "class 2 of 2; count classes from 0");
        let nobody = explained(&clip("v", 3, vec![]), None, |_| ()).unwrap_err();
        assert_eq!(nobody.to_string(), "clip `v` shows nobody; leave it out");
    }
}
