//! Which detection finds which ground-truth tube, in one video and for one class.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::convention::Convention;
use crate::detections::VideoDetections;
use crate::ground_truth::VideoTruth;
use crate::nms::survivors;
use crate::ranking::greatest;

/// Why detections cannot be compared with the ground truth.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A detected video is not annotated.
    #[error(
        "video `{id}` has detections but no ground truth; annotate it (without tubes if idle) or leave it out"
    )]
    UnknownVideo {
        /// Name of the video.
        id: String,
    },
    /// A video is there twice.
    #[error("video `{id}` is there twice; leave one of them out")]
    VideoTwice {
        /// Name of the video.
        id: String,
    },
}

/// A video of the ground truth with what was detected in it.
#[derive(Clone, Copy)]
pub(crate) struct Video<'a> {
    pub(crate) truth: &'a VideoTruth,
    /// `None` if the detections do not mention the video.
    pub(crate) detections: Option<&'a VideoDetections>,
}

/// The videos of the ground truth in the order of their names, so that results do not depend on the order of
/// lines.
pub(crate) fn videos<'a>(
    truth: &'a [VideoTruth],
    detections: &'a [VideoDetections],
) -> Result<Vec<Video<'a>>, EvaluationError> {
    let mut videos = BTreeMap::new();
    for truth in truth {
        if videos.insert(&truth.id, Video { truth, detections: None }).is_some() {
            return Err(EvaluationError::VideoTwice { id: truth.id.clone() });
        }
    }
    for detections in detections {
        let id = &detections.id;
        let video = videos.get_mut(id).ok_or_else(|| EvaluationError::UnknownVideo { id: id.clone() })?;
        if video.detections.replace(detections).is_some() {
            return Err(EvaluationError::VideoTwice { id: id.clone() });
        }
    }
    Ok(videos.into_values().collect())
}

/// The classes of the ground truth, and if asked for those of the detections, in alphabetical order.
pub(crate) fn classes<'a>(videos: &[Video<'a>], with_detected: bool) -> Vec<&'a str> {
    let annotated = videos.iter().flat_map(|video| &video.truth.tubes).map(|tube| tube.label.as_str());
    let detected = videos.iter().filter_map(|video| video.detections).filter(|_| with_detected);
    let detected = detected.flat_map(|detections| &detections.classes).map(String::as_str);
    let mut classes: Vec<&str> = annotated.chain(detected).collect::<HashSet<_>>().into_iter().collect();
    classes.sort_unstable();
    classes
}

/// The detections of one class in one video that are left after suppression, against the ground truth.
pub(crate) struct Comparison {
    /// Positions in the video's ground truth of the tubes of the class.
    pub(crate) truth: Vec<usize>,
    /// The detections by falling score.
    pub(crate) detections: Vec<Compared>,
}

/// A detection against the ground truth.
pub(crate) struct Compared {
    /// Its position among the video's detected tubes.
    pub(crate) tube: usize,
    pub(crate) score: f64,
    /// Its overlap with each of [`Comparison::truth`].
    overlaps: Vec<f64>,
}

impl Comparison {
    pub(crate) fn new(video: Video<'_>, class: &str, convention: Convention) -> Self {
        let labelled = &video.truth.tubes;
        let truth: Vec<usize> = (0..labelled.len()).filter(|&index| labelled[index].label == class).collect();
        let tubes = video.detections.map_or(&[][..], |detections| &detections.tubes);
        let of_class: Vec<usize> = (0..tubes.len()).filter(|&index| tubes[index].label == class).collect();
        let scores: Vec<f64> = of_class.iter().map(|&index| tubes[index].score).collect();
        let kept = survivors(&scores, |a, b| {
            convention.is_suppressed(convention.overlap(&tubes[of_class[a]].tube, &tubes[of_class[b]].tube))
        });
        let compared = kept.into_iter().map(|position| {
            let tube = of_class[position];
            let overlap = |&index: &usize| convention.overlap(&labelled[index].tube, &tubes[tube].tube);
            Compared { tube, score: tubes[tube].score, overlaps: truth.iter().map(overlap).collect() }
        });
        let detections = compared.collect();
        Self { truth, detections }
    }

    /// For each detection the ground-truth tube that it finds, as a position in [`Comparison::truth`].
    pub(crate) fn finds(&self, convention: Convention, threshold: f64) -> Vec<Option<usize>> {
        let mut found = vec![false; self.truth.len()];
        let find = |detection: &Compared| {
            let candidates = detection.overlaps.iter().copied().enumerate();
            let candidates = candidates.filter(|&(index, _)| !(convention.skips_found() && found[index]));
            let (best, overlap) = greatest(candidates)?;
            let hit = convention.is_match(overlap, threshold) && !found[best];
            found[best] |= hit;
            hit.then_some(best)
        };
        self.detections.iter().map(find).collect()
    }
}

/// The comparisons of all classes of a video.
pub(crate) fn by_class<'a>(video: Video<'a>, convention: Convention) -> HashMap<&'a str, Comparison> {
    let detected = video.detections.map_or(&[][..], |detections| &detections.tubes);
    let labels =
        video.truth.tubes.iter().map(|tube| &tube.label).chain(detected.iter().map(|tube| &tube.label));
    let labels: HashSet<&str> = labels.map(String::as_str).collect();
    labels.into_iter().map(|label| (label, Comparison::new(video, label, convention))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detections::DetectedTube;
    use crate::ground_truth::LabelledTube;
    use crate::tube::Tube;

    /// Ten frames of a square.
    fn tube(start: usize, x: f64) -> Tube {
        Tube { start, boxes: vec![[x, 0.0, x + 10.0, 10.0].into(); 10] }
    }

    fn finds(
        convention: Convention,
        truth: &[Tube],
        detections: &[(Tube, f64)],
    ) -> Vec<(usize, Option<usize>)> {
        let label = || "a".to_owned();
        let tubes = truth.iter().map(|tube| LabelledTube { label: label(), tube: tube.clone() });
        let truth = VideoTruth { id: "v".into(), tubes: tubes.collect() };
        let tubes = detections.iter().map(|(tube, score)| DetectedTube {
            label: label(),
            score: *score,
            tube: tube.clone(),
        });
        let detections = VideoDetections {
            id: "v".into(),
            frames: 99,
            classes: vec![label()],
            instances: vec![],
            tubes: tubes.collect(),
        };
        let video = Video { truth: &truth, detections: Some(&detections) };
        let comparison = Comparison::new(video, "a", convention);
        let finds = comparison.finds(convention, 0.2);
        comparison.detections.iter().map(|detection| detection.tube).zip(finds).collect()
    }

    #[test]
    fn a_second_detection_may_find_the_next_best_tube_but_not_for_cheron() {
        // Both detections overlap most with the first tube; with the second by 4 and 5 frames of 16 and 15.
        let truth = [tube(0, 0.0), tube(8, 0.0)];
        let detections = [(tube(2, 0.0), 0.5), (tube(3, 2.0), 0.4)];
        let only_cheron = [(0, Some(0))];
        assert_eq!(finds(Convention::Cheron, &truth, &detections), only_cheron, "the second is suppressed");
        assert_eq!(finds(Convention::Act, &truth, &detections), only_cheron, "the second is suppressed");
        assert_eq!(finds(Convention::Voc, &truth, &detections), [(0, Some(0)), (1, Some(1))]);

        // Apart enough (overlap 0 with each other), and both over one long tube.
        let long = Tube { start: 0, boxes: vec![[0.0, 0.0, 10.0, 10.0].into(); 20] };
        let other = Tube { start: 2, boxes: vec![[1.0, 0.0, 11.0, 10.0].into(); 16] };
        let detections = [(tube(0, 0.0), 0.5), (tube(10, 0.0), 0.4)];
        let truth = [long, other];
        assert_eq!(finds(Convention::Act, &truth, &detections), [(0, Some(0)), (1, Some(1))]);
        assert_eq!(finds(Convention::Cheron, &truth, &detections), [(0, Some(0)), (1, None)]);
    }

    #[test]
    fn the_surest_detection_comes_first_and_the_first_of_equals() {
        let truth = [tube(0, 0.0)];
        let detections = [(tube(0, 5.5), 0.5), (tube(0, 4.5), 0.9), (tube(0, -6.0), 0.5)];
        let found = finds(Convention::Voc, &truth, &detections);
        assert_eq!(found, [(1, Some(0)), (0, None), (2, None)]);
    }

    #[test]
    fn videos_are_named_when_they_do_not_fit() {
        let truth = |id: &str| VideoTruth { id: id.into(), tubes: vec![] };
        let detected = |id: &str| VideoDetections {
            id: id.into(),
            frames: 1,
            classes: vec![],
            instances: vec![],
            tubes: vec![],
        };
        let error = |truth: &[VideoTruth], detections: &[VideoDetections]| {
            videos(truth, detections).map(|_| ()).unwrap_err().to_string()
        };
        let unknown = "video `w` has detections but no ground truth; \
                       annotate it (without tubes if idle) or leave it out";
        assert_eq!(error(&[truth("v")], &[detected("v"), detected("w")]), unknown);
        let twice = "video `v` is there twice; leave one of them out";
        assert_eq!(error(&[truth("v"), truth("v")], &[]), twice);
        assert_eq!(error(&[truth("v")], &[detected("v"), detected("v")]), twice);
        assert!(videos(&[truth("b"), truth("a")], &[detected("b")]).unwrap()[0].detections.is_none());
    }
}
