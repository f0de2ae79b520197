//! Frame-mAP: how well the people found in each frame meet the boxes of the ground truth there (Kalogeiton et al.,
//! ICCV 2017, section 4.2). Linking over time plays no part in it.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::bounding_box::BoundingBox;
use crate::detections::{InstanceScores, VideoDetections};
use crate::ground_truth::VideoTruth;
use crate::matching::{EvaluationError, Video, classes, videos};
use crate::mean_average_precision::{ClassPrecision, MeanAveragePrecision, of_scored};
use crate::nms::nms_boxes;
use crate::ranking::greatest;

/// How frame-mAP is counted; the default is ACT's way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameMapOptions {
    /// The overlap from which on a box is found, in [0, 1].
    pub threshold: f64,
    /// Boxes of a class in a frame that overlap by more than this with a surer one are dropped.
    pub nms: f64,
    /// Leaves out the frames without ground truth, in which every detection is wrong, as YOWO does: the result is
    /// higher.
    pub annotated_frames_only: bool,
}

impl Default for FrameMapOptions {
    fn default() -> Self {
        Self { threshold: 0.5, nms: 0.3, annotated_frames_only: false }
    }
}

/// Average precision of the instances of each class of the ground truth, over the boxes of all frames of all
/// videos.
///
/// It looks at [`VideoDetections::instances`] and not at tubes: without instances it is 0. Of instances of equal
/// score the order is that of the names of the videos, then of frames, then of instances.
///
/// # Errors
/// [`EvaluationError`] for a video that is detected but not in the ground truth, or there twice.
pub fn frame_map(
    truth: &[VideoTruth],
    detections: &[VideoDetections],
    options: &FrameMapOptions,
) -> Result<MeanAveragePrecision, EvaluationError> {
    let videos = videos(truth, detections)?;
    let classes = classes(&videos, false);
    let videos: Vec<Frames<'_>> = videos.par_iter().map(|&video| Frames::new(video, options)).collect();
    let classes = classes.par_iter().map(|class| class_precision(&videos, class, options));
    Ok(MeanAveragePrecision { classes: classes.collect() })
}

/// A video frame by frame.
struct Frames<'a> {
    video: Video<'a>,
    /// The instances in each frame that counts.
    instances: BTreeMap<usize, Vec<usize>>,
}

impl<'a> Frames<'a> {
    fn new(video: Video<'a>, options: &FrameMapOptions) -> Self {
        let mut instances = video.detections.map(VideoDetections::instances_by_frame).unwrap_or_default();
        if options.annotated_frames_only {
            let annotated = |frame| video.truth.tubes.iter().any(|tube| tube.tube.box_at(frame).is_some());
            instances.retain(|frame, _| annotated(*frame));
        }
        Self { video, instances }
    }

    /// Score of each instance that is left after suppression, and whether it finds a box.
    fn finds(&self, class: &str, options: &FrameMapOptions) -> Vec<(f64, bool)> {
        let Some(detections) = self.video.detections else { return Vec::new() };
        let Some(index) = detections.classes.iter().position(|name| name == class) else { return Vec::new() };
        let scored = |&position: &usize| -> Option<(BoundingBox, f64)> {
            let InstanceScores { bounding_box, scores, .. } = &detections.instances[position];
            Some((*bounding_box, f64::from(*scores.get(index)?)))
        };
        let frames = self.instances.iter().flat_map(|(&frame, positions)| {
            let boxes: Vec<_> = positions.iter().filter_map(scored).collect();
            finds_in_frame(&boxes, &self.boxes(class, frame), options)
        });
        frames.collect()
    }

    fn boxes(&self, class: &str, frame: usize) -> Vec<BoundingBox> {
        let tubes = self.video.truth.tubes.iter().filter(|tube| tube.label == class);
        tubes.filter_map(|tube| tube.tube.box_at(frame)).collect()
    }

    fn ground_truth(&self, class: &str) -> usize {
        let tubes = self.video.truth.tubes.iter().filter(|tube| tube.label == class);
        tubes.map(|tube| tube.tube.boxes.len()).sum()
    }
}

/// Each box in turn, the surest first, takes what it overlaps most with of the boxes that are left.
fn finds_in_frame(
    boxes: &[(BoundingBox, f64)],
    truth: &[BoundingBox],
    options: &FrameMapOptions,
) -> Vec<(f64, bool)> {
    let mut found = vec![false; truth.len()];
    let finds = nms_boxes(boxes, options.nms).into_iter().map(|position| {
        let (bounding_box, score) = boxes[position];
        let left = truth.iter().enumerate().filter(|(index, _)| !found[*index]);
        let best = greatest(left.map(|(index, other)| (index, bounding_box.iou(*other))));
        let hit = best.filter(|(_, overlap)| *overlap >= options.threshold);
        if let Some((index, _)) = hit {
            found[index] = true;
        }
        (score, hit.is_some())
    });
    finds.collect()
}

fn class_precision(videos: &[Frames<'_>], class: &str, options: &FrameMapOptions) -> ClassPrecision {
    let scored: Vec<_> = videos.iter().flat_map(|frames| frames.finds(class, options)).collect();
    let ground_truth = videos.iter().map(|frames| frames.ground_truth(class)).sum();
    ClassPrecision {
        label: class.to_owned(),
        ground_truth,
        detections: scored.len(),
        by_threshold: vec![(options.threshold, of_scored(scored, ground_truth))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::average_precision::AveragePrecision;
    use crate::samples::{labelled, video_detections, video_truth};

    fn instance(frame: usize, x: f64, scores: [f32; 2]) -> InstanceScores {
        let bounding_box = [x, 0.0, x + 10.0, 10.0].into();
        InstanceScores { frame, track: None, bounding_box, scores: scores.to_vec() }
    }

    fn evaluate(instances: Vec<InstanceScores>, options: FrameMapOptions) -> MeanAveragePrecision {
        // Ten frames from the second on.
        let truth = [video_truth("v", vec![labelled("wave", 1, 0.0)]), video_truth("idle", vec![])];
        let detections = [VideoDetections { instances, ..video_detections("v", vec![]) }];
        frame_map(&truth, &detections, &options).unwrap()
    }

    fn value(map: &MeanAveragePrecision) -> AveragePrecision {
        map.over(&[0.5]).unwrap()
    }

    #[test]
    fn the_boxes_of_all_frames_count() {
        let map = evaluate(
            (1..=5).map(|frame| instance(frame, 0.0, [0.0, 0.9])).collect(),
            FrameMapOptions::default(),
        );
        assert_eq!(value(&map), AveragePrecision { trapezoid: 0.5, envelope: 0.5 });
        let class = &map.classes[0];
        assert_eq!((class.label.as_str(), class.ground_truth, class.detections), ("wave", 10, 5));
        assert_eq!(map.classes.len(), 1, "run is not in the ground truth");
        assert_eq!(value(&evaluate(vec![], FrameMapOptions::default())), AveragePrecision::default());
    }

    #[test]
    fn frames_without_ground_truth_are_left_out_on_demand() {
        let instances = || vec![instance(0, 0.0, [0.0, 0.9]), instance(1, 0.0, [0.0, 0.8])];
        let all = evaluate(instances(), FrameMapOptions::default());
        assert_eq!(value(&all), AveragePrecision::new(&[false, true], 10));
        let only = FrameMapOptions { annotated_frames_only: true, ..Default::default() };
        assert_eq!(value(&evaluate(instances(), only)), AveragePrecision::new(&[true], 10));
    }

    #[test]
    fn a_box_is_found_once_and_doubles_are_suppressed() {
        // Overlaps with the ground truth: 0.6 and 1; with each other 0.6, which suppresses unless allowed.
        let instances = || vec![instance(1, 2.5, [0.0, 0.9]), instance(1, 0.0, [0.0, 0.8])];
        let suppressed = evaluate(instances(), FrameMapOptions::default());
        assert_eq!(value(&suppressed), AveragePrecision::new(&[true], 10));
        let allowed = evaluate(instances(), FrameMapOptions { nms: 0.6, ..Default::default() });
        assert_eq!(value(&allowed), AveragePrecision::new(&[true, false], 10));
        let strict = FrameMapOptions { threshold: 0.7, nms: 0.6, ..Default::default() };
        assert_eq!(
            evaluate(instances(), strict).over(&[0.7]),
            Some(AveragePrecision::new(&[false, true], 10))
        );
    }

    #[test]
    fn instances_without_scores_are_no_trouble() {
        let mut without = instance(1, 0.0, [0.0, 0.0]);
        without.scores.clear();
        assert_eq!(value(&evaluate(vec![without], FrameMapOptions::default())), AveragePrecision::default());
    }
}
