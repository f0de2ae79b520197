//! Online linking and the cut in time by dynamic programming: Singh et al., "Online Real-time Multiple
//! Spatiotemporal Action Localisation and Prediction", ICCV 2017, sections 3.3 and 3.4.

use crate::detections::{DetectedTube, VideoDetections};
use crate::nms::nms_boxes;
use crate::ranking::{mean_of_greatest, ranking};
use crate::tube::Tube;

use super::chains::{Found, Precedence, Rules, chains};
use super::trimming::runs;
use super::viterbi::best_labels;

/// The constants of [`link_online`]; the default is that of Singh et al. Scores are taken to be probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlineOptions {
    /// Boxes have to score more than this.
    pub min_score: f64,
    /// How many boxes of a frame are looked at: the surest.
    pub candidates: usize,
    /// Those that overlap by more than this with a surer one are dropped.
    pub box_nms: f64,
    /// How many of those left are linked.
    pub per_frame: usize,
    /// The least overlap of a box with the last box of a path that it continues.
    pub link_iou: f64,
    /// How many frames it may come after it. Paths of so few boxes are dropped.
    pub gap: usize,
    /// What a change of class along a path costs; Singh et al. try 3 and 5.
    pub switch_penalty: f64,
    /// The least number of frames of a tube.
    pub min_length: usize,
    /// The score of a tube is the mean of so many of its greatest scores.
    pub top: usize,
}

impl Default for OnlineOptions {
    fn default() -> Self {
        Self {
            min_score: 0.001,
            candidates: 50,
            box_nms: 0.45,
            per_frame: 10,
            link_iou: 0.1,
            gap: 3,
            switch_penalty: 3.0,
            min_length: 9,
            top: 40,
        }
    }
}

/// Links instances to paths, class by class, labels each frame of a path by the scores of all classes, and keeps
/// the runs with the class of the path. With a single class every frame has it: use [`super::link_act`] with a
/// trimming then.
pub fn link_online(video: &VideoDetections, options: &OnlineOptions) -> Vec<DetectedTube> {
    let by_frame: Vec<Vec<usize>> = video.instances_by_frame().into_values().collect();
    let precedence = Precedence::MeanOfGreatest(options.gap.saturating_add(1));
    let rules = Rules { min_iou: options.link_iou, gap: options.gap, precedence };
    let classes = video.classes.iter().enumerate();
    let tubes = classes.flat_map(|(class, label)| {
        let frames = by_frame.iter().map(|instances| strongest(video, class, instances, options)).collect();
        let long = chains(frames, rules).into_iter().filter(|chain| chain.len() > options.gap);
        let tubes = long.flat_map(|chain| labelled_runs(video, class, &filled(&chain), options));
        tubes.map(|(tube, score)| DetectedTube { label: label.clone(), score, tube }).collect::<Vec<_>>()
    });
    tubes.collect()
}

/// The instances of a frame that are linked, the surest first.
fn strongest(
    video: &VideoDetections,
    class: usize,
    instances: &[usize],
    options: &OnlineOptions,
) -> Vec<Found> {
    let found = instances.iter().filter_map(|&instance| Found::new(video, instance, class));
    let found: Vec<Found> = found.filter(|found| found.score > options.min_score).collect();
    let scores: Vec<f64> = found.iter().map(|found| found.score).collect();
    let candidates: Vec<Found> =
        ranking(&scores).into_iter().take(options.candidates).map(|index| found[index]).collect();
    let boxes: Vec<_> = candidates.iter().map(|found| (found.bounding_box, found.score)).collect();
    nms_boxes(&boxes, options.box_nms)
        .into_iter()
        .take(options.per_frame)
        .map(|kept| candidates[kept])
        .collect()
}

/// A path without gaps: each is filled with the box and the scores after it.
fn filled(chain: &[Found]) -> Vec<Found> {
    let mut filled: Vec<Found> = Vec::new();
    for found in chain {
        let first = filled.last().map_or(found.frame, |last| last.frame.saturating_add(1));
        filled.extend((first..=found.frame).map(|frame| Found { frame, ..*found }));
    }
    filled
}

/// The runs of a path that are labelled with its class, with their scores.
fn labelled_runs(
    video: &VideoDetections,
    class: usize,
    path: &[Found],
    options: &OnlineOptions,
) -> Vec<(Tube, f64)> {
    let scores: Vec<&[f32]> =
        path.iter().map(|found| video.instances[found.instance].scores.as_slice()).collect();
    let labels = best_labels(&scores, video.classes.len(), options.switch_penalty);
    let runs = runs(&labels, |&label| label == class).into_iter();
    let tube = |run: std::ops::Range<usize>| {
        let found = &path[run];
        let start = found.first()?.frame;
        let scores: Vec<f64> = found.iter().map(|found| found.score).collect();
        let boxes = found.iter().map(|found| found.bounding_box).collect();
        Some((Tube { start, boxes }, mean_of_greatest(&scores, options.top)))
    };
    runs.filter(|run| run.len() >= options.min_length).filter_map(tube).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detections::InstanceScores;
    use crate::samples::video_detections;

    fn instance(frame: usize, x: f64, run: f32) -> InstanceScores {
        let bounding_box = [x, 0.0, x + 10.0, 10.0].into();
        InstanceScores { frame, track: None, bounding_box, scores: vec![run, 1.0 - run] }
    }

    fn link(instances: Vec<InstanceScores>, options: &OnlineOptions) -> Vec<(String, usize, usize, f64)> {
        let video = VideoDetections { instances, ..video_detections("v", vec![]) };
        let tubes = link_online(&video, options);
        let tube = |tube: &DetectedTube| {
            (tube.label.clone(), tube.tube.start, tube.tube.end(), (tube.score * 100.0).round())
        };
        tubes.iter().map(tube).collect()
    }

    #[test]
    fn a_path_is_cut_where_another_class_is_likelier() {
        let instances = (0..60).map(|frame| instance(frame, 0.0, if frame < 40 { 0.9 } else { 0.2 }));
        let tubes = link(instances.collect(), &OnlineOptions::default());
        assert_eq!(tubes, [("run".to_owned(), 0, 40, 90.0), ("wave".to_owned(), 40, 60, 80.0)]);
    }

    #[test]
    fn a_short_change_does_not_pay_its_penalty() {
        let short = |frame: usize| if (20..23).contains(&frame) { 0.2 } else { 0.9 };
        let instances: Vec<_> = (0..60).map(|frame| instance(frame, 0.0, short(frame))).collect();
        assert_eq!(link(instances.clone(), &OnlineOptions::default()), [("run".to_owned(), 0, 60, 90.0)]);
        let free = OnlineOptions { switch_penalty: 0.0, ..OnlineOptions::default() };
        let cut = link(instances, &free);
        assert_eq!(
            cut,
            [("run".to_owned(), 0, 20, 90.0), ("run".to_owned(), 23, 60, 90.0)],
            "3 frames are too few"
        );
    }

    #[test]
    fn gaps_are_filled_with_the_later_box_and_short_paths_dropped() {
        let instances: Vec<_> = [0, 1, 2, 5, 6].map(|frame| instance(frame, frame as f64, 1.0)).to_vec();
        let options = OnlineOptions { min_length: 1, ..OnlineOptions::default() };
        let video = VideoDetections { instances: instances.clone(), ..video_detections("v", vec![]) };
        let tubes = link_online(&video, &options);
        let left: Vec<f64> = tubes[0].tube.boxes.iter().map(|bounding_box| bounding_box.x0).collect();
        assert_eq!((tubes.len(), left), (1, vec![0.0, 1.0, 2.0, 5.0, 5.0, 5.0, 6.0]));
        assert_eq!(link(instances[..3].to_vec(), &options), [], "three boxes");
        let mut far = instances[..4].to_vec();
        far[3].frame = 6;
        assert_eq!(link(far, &options), [], "three boxes and one, four frames apart");
    }

    #[test]
    fn weak_boxes_are_not_linked() {
        let instances = |score| (0..20).map(|frame| instance(frame, 0.0, score)).collect::<Vec<_>>();
        let all = OnlineOptions { switch_penalty: 0.0, min_score: 0.6, ..OnlineOptions::default() };
        assert_eq!(link(instances(0.55), &all), []);
        assert_eq!(link(instances(0.65), &all).len(), 1);
    }
}
