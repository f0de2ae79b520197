//! ACT's linking (Kalogeiton et al., ICCV 2017, section 3.3) for boxes of single frames.
//!
//! ACT links tubelets of several frames and averages those that cover a frame. Here a tubelet is one box, so that
//! a frame that a tube skips has none: its box is interpolated.

use crate::detections::{DetectedTube, VideoDetections};
use crate::nms::{nms_boxes, nms_tubes};
use crate::ranking::mean;
use crate::tube::Tube;

use super::chains::{Found, Precedence, Rules, chains};
use super::path::ScoredPath;
use super::trimming::Trimming;

/// The constants of [`link_act`]; the default is ACT's. Scores are taken to be probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct ActOptions {
    /// Boxes of a frame that overlap by more than this with a surer one are dropped.
    pub box_nms: f64,
    /// How many boxes of a frame are linked: the surest.
    pub per_frame: usize,
    /// The least overlap of a box with the last box of a tube that it continues.
    pub link_iou: f64,
    /// How many frames it may come after it.
    pub gap: usize,
    /// The least score of a tube.
    pub min_score: f64,
    /// The least number of frames of a tube. 108 of the 4,458 tubes of UCF101-24 are shorter than the default.
    pub min_length: usize,
    /// Tubes of a class that overlap by more than this in space and time with a surer one are dropped.
    pub tube_nms: f64,
    /// Cuts the tubes in time, and gives them their scores; ACT does not.
    pub trimming: Option<Trimming>,
}

impl Default for ActOptions {
    fn default() -> Self {
        Self {
            box_nms: 0.3,
            per_frame: 10,
            link_iou: 0.2,
            gap: 5,
            min_score: 0.01,
            min_length: 15,
            tube_nms: 0.3,
            trimming: None,
        }
    }
}

/// Links instances to tubes, class by class, by ACT's rules. The score of a tube is the mean of its instances'
/// scores.
pub fn link_act(video: &VideoDetections, options: &ActOptions) -> Vec<DetectedTube> {
    let by_frame: Vec<Vec<usize>> = video.instances_by_frame().into_values().collect();
    let classes = video.classes.iter().enumerate();
    let tubes = classes.flat_map(|(class, label)| {
        let frames = by_frame.iter().map(|instances| strongest(video, class, instances, options)).collect();
        let rules = Rules { min_iou: options.link_iou, gap: options.gap, precedence: Precedence::Mean };
        let mut tubes: Vec<(Tube, f64)> =
            chains(frames, rules).iter().flat_map(|chain| scored_tubes(chain, options)).collect();
        tubes.retain(|(tube, score)| *score >= options.min_score && tube.boxes.len() >= options.min_length);
        let views: Vec<(&Tube, f64)> = tubes.iter().map(|(tube, score)| (tube, *score)).collect();
        let kept = nms_tubes(&views, options.tube_nms);
        let detected = |position: usize| {
            let (tube, score) = &tubes[position];
            DetectedTube { label: label.clone(), score: *score, tube: tube.clone() }
        };
        kept.into_iter().map(detected).collect::<Vec<_>>()
    });
    tubes.collect()
}

/// The instances of a frame that are linked, the surest first.
fn strongest(video: &VideoDetections, class: usize, instances: &[usize], options: &ActOptions) -> Vec<Found> {
    let found: Vec<Found> =
        instances.iter().filter_map(|&instance| Found::new(video, instance, class)).collect();
    let boxes: Vec<_> = found.iter().map(|found| (found.bounding_box, found.score)).collect();
    nms_boxes(&boxes, options.box_nms).into_iter().take(options.per_frame).map(|kept| found[kept]).collect()
}

fn scored_tubes(chain: &[Found], options: &ActOptions) -> Vec<(Tube, f64)> {
    let path = ScoredPath::interpolated(chain);
    match options.trimming {
        Some(trimming) => trimming.trim(&path),
        None => {
            let scores: Vec<f64> = chain.iter().map(|found| found.score).collect();
            vec![(path.tube, mean(&scores))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detections::InstanceScores;
    use crate::samples::video_detections;

    fn instance(frame: usize, x: f64, scores: [f32; 2]) -> InstanceScores {
        let bounding_box = [x, 0.0, x + 10.0, 10.0].into();
        InstanceScores { frame, track: None, bounding_box, scores: scores.to_vec() }
    }

    fn video(instances: Vec<InstanceScores>) -> VideoDetections {
        VideoDetections { instances, ..video_detections("v", vec![]) }
    }

    #[test]
    fn two_people_become_two_tubes_of_each_class() {
        let people = (0..20).flat_map(|frame| {
            [instance(frame, frame as f64, [0.75, 0.25]), instance(frame, 100.0, [0.5, 0.5])]
        });
        let tubes = link_act(&video(people.collect()), &ActOptions::default());
        let found: Vec<_> =
            tubes.iter().map(|tube| (tube.label.as_str(), tube.score, tube.tube.boxes[19].x0)).collect();
        assert_eq!(
            found,
            [("run", 0.75, 19.0), ("run", 0.5, 100.0), ("wave", 0.5, 100.0), ("wave", 0.25, 19.0)]
        );
        assert!(tubes.iter().all(|tube| (tube.tube.start, tube.tube.end()) == (0, 20)));
    }

    #[test]
    fn gaps_are_filled_and_do_not_count_in_the_score() {
        let frames = [0, 1, 2, 6, 7];
        let people =
            frames.map(|frame| instance(frame, frame as f64, [if frame < 6 { 0.5 } else { 1.0 }, 0.0]));
        let options = ActOptions { min_length: 8, ..ActOptions::default() };
        let tubes = link_act(&video(people.to_vec()), &options);
        assert_eq!(tubes.len(), 1);
        let left: Vec<f64> = tubes[0].tube.boxes.iter().map(|bounding_box| bounding_box.x0).collect();
        assert_eq!(left, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(tubes[0].score, 3.5 / 5.0);
        assert_eq!(link_act(&video(people.to_vec()), &ActOptions { min_length: 9, ..options }), []);
    }

    #[test]
    fn weak_and_doubled_boxes_are_left_out() {
        let frames = 0..20;
        let people = frames.flat_map(|frame| {
            [
                instance(frame, 0.0, [0.9, 0.005]),
                instance(frame, 1.0, [0.8, 0.004]),
                instance(frame, 50.0, [0.7, 0.0]),
            ]
        });
        let people: Vec<_> = people.collect();
        let scores = |options: &ActOptions| -> Vec<(String, f64)> {
            let tubes = link_act(&video(people.clone()), options);
            tubes.iter().map(|tube| (tube.label.clone(), (tube.score * 1000.0).round())).collect()
        };
        let run = |score| ("run".to_owned(), score);
        assert_eq!(scores(&ActOptions::default()), [run(900.0), run(700.0)]);
        assert_eq!(scores(&ActOptions { per_frame: 1, ..ActOptions::default() }), [run(900.0)]);
        let no_box_nms = ActOptions { box_nms: 1.0, link_iou: 0.99, ..ActOptions::default() };
        assert_eq!(scores(&no_box_nms), [run(900.0), run(700.0)], "dropped as a tube instead");
        let none = ActOptions { tube_nms: 1.0, ..no_box_nms };
        assert_eq!(scores(&none), [run(900.0), run(800.0), run(700.0)]);
    }

    #[test]
    fn tubes_can_be_cut_in_time() {
        let people = (0..90)
            .map(|frame| instance(frame, 0.0, [if (30..60).contains(&frame) { 0.9 } else { 0.0 }, 0.0]));
        let people: Vec<_> = people.collect();
        let whole = link_act(&video(people.clone()), &ActOptions::default());
        assert_eq!((whole.len(), whole[0].tube.boxes.len()), (1, 90));
        let options = ActOptions { trimming: Some(Trimming::default()), ..ActOptions::default() };
        let cut = link_act(&video(people), &options);
        assert_eq!(cut.len(), 1);
        assert_eq!((cut[0].tube.start, cut[0].tube.end()), (30, 60));
        assert!((cut[0].score - 0.9).abs() < 1e-6);
    }
}
