//! Video-mAP: how well detected tubes meet those of the ground truth, in space and time.

use rayon::prelude::*;

use crate::average_precision::AveragePrecision;
use crate::convention::Convention;
use crate::detections::VideoDetections;
use crate::ground_truth::VideoTruth;
use crate::matching::{Comparison, EvaluationError, Video, classes, videos};
use crate::mean_average_precision::{ClassPrecision, MeanAveragePrecision, of_scored};

/// Average precision of the detected tubes of each class at each threshold of the overlap in space and time.
///
/// The classes are those of the ground truth ([`Convention::Voc`] adds those of the detections). A video without
/// detections counts: its tubes are missed. Detections of equal score are ordered by name of the video, then by
/// position in it.
///
/// # Errors
/// [`EvaluationError`] for a video that is detected but not in the ground truth, or there twice.
pub fn video_map(
    truth: &[VideoTruth],
    detections: &[VideoDetections],
    convention: Convention,
    thresholds: &[f64],
) -> Result<MeanAveragePrecision, EvaluationError> {
    let videos = videos(truth, detections)?;
    let classes = classes(&videos, convention.counts_classes_without_ground_truth());
    let classes = classes.par_iter().map(|class| class_precision(&videos, class, convention, thresholds));
    Ok(MeanAveragePrecision { classes: classes.collect() })
}

fn class_precision(
    videos: &[Video<'_>],
    class: &str,
    convention: Convention,
    thresholds: &[f64],
) -> ClassPrecision {
    let compared = videos.par_iter().map(|&video| Comparison::new(video, class, convention));
    let comparisons: Vec<Comparison> = compared.collect();
    let ground_truth = comparisons.iter().map(|comparison| comparison.truth.len()).sum();
    let at = |&threshold: &f64| (threshold, precision(&comparisons, ground_truth, convention, threshold));
    ClassPrecision {
        label: class.to_owned(),
        ground_truth,
        detections: comparisons.iter().map(|comparison| comparison.detections.len()).sum(),
        by_threshold: thresholds.iter().map(at).collect(),
    }
}

fn precision(
    comparisons: &[Comparison],
    ground_truth: usize,
    convention: Convention,
    threshold: f64,
) -> AveragePrecision {
    let scored = comparisons.iter().flat_map(|comparison| {
        let finds = comparison.finds(convention, threshold);
        let scores = comparison.detections.iter().map(|detection| detection.score);
        scores.zip(finds).map(|(score, found)| (score, found.is_some())).collect::<Vec<_>>()
    });
    of_scored(scored.collect(), ground_truth)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mean_average_precision::THRESHOLDS;
    use crate::samples::{detected, labelled, random, shuffled, video_detections, video_truth};

    fn percent(
        truth: &[VideoTruth],
        detections: &[VideoDetections],
        convention: Convention,
        threshold: f64,
    ) -> f64 {
        let map = video_map(truth, detections, convention, &[threshold]).unwrap();
        map.over(&[threshold]).unwrap().by(convention) * 100.0
    }

    #[test]
    fn perfect_detections_are_perfect_and_missing_ones_are_missed() {
        let truth = [
            video_truth("v", vec![labelled("run", 0, 0.0), labelled("wave", 3, 50.0)]),
            video_truth("w", vec![labelled("run", 5, 0.0)]),
        ];
        let of_v = video_detections("v", vec![detected("run", 0.3, 0, 0.0), detected("wave", 0.2, 3, 50.0)]);
        let of_w = video_detections("w", vec![detected("run", 0.4, 5, 0.0)]);
        for convention in Convention::ALL {
            assert_eq!(percent(&truth, &[of_w.clone(), of_v.clone()], convention, 0.95), 100.0);
            let map = video_map(&truth, std::slice::from_ref(&of_v), convention, &[0.5]).unwrap();
            let of_class = |index: usize| map.classes[index].over(&[0.5]).unwrap().by(convention);
            assert_eq!((of_class(0), of_class(1)), (0.5, 1.0), "one of two runs is found");
            assert_eq!(map.classes.iter().map(|class| class.ground_truth).collect::<Vec<_>>(), [2, 1]);
            assert_eq!(percent(&truth, &[], convention, 0.5), 0.0);
            assert_eq!(percent(&[], &[], convention, 0.5), 0.0);
        }
    }

    #[test]
    fn a_class_that_does_not_occur_counts_for_voc_only() {
        let truth = [video_truth("v", vec![labelled("run", 0, 0.0)])];
        let detections =
            [video_detections("v", vec![detected("run", 0.9, 0, 0.0), detected("wave", 0.8, 0, 0.0)])];
        let percents = Convention::ALL.map(|convention| percent(&truth, &detections, convention, 0.5));
        assert_eq!(percents, [100.0, 50.0, 100.0]);
    }

    #[test]
    fn an_overlap_of_the_threshold_is_not_enough_for_voc() {
        // Ten frames in each, of which the first five are common: 5 / 15.
        let truth = [video_truth("v", vec![labelled("run", 0, 0.0)])];
        let detections = [video_detections("v", vec![detected("run", 0.9, 5, 0.0)])];
        let percents = Convention::ALL.map(|convention| percent(&truth, &detections, convention, 5.0 / 15.0));
        assert_eq!(percents, [100.0, 0.0, 100.0]);
    }

    #[test]
    fn detections_of_equal_score_are_ordered_by_name_of_the_video() {
        let truth = [video_truth("a", vec![labelled("run", 0, 0.0)]), video_truth("b", vec![])];
        let hit = video_detections("a", vec![detected("run", 0.5, 0, 0.0)]);
        let wrong = video_detections("b", vec![detected("run", 0.5, 0, 0.0)]);
        let first = percent(&truth, &[wrong.clone(), hit.clone()], Convention::Act, 0.5);
        assert_eq!(first, 100.0, "the hit comes first, whatever the order of lines");
        let renamed = [video_truth("c", vec![labelled("run", 0, 0.0)]), video_truth("b", vec![])];
        let hit = VideoDetections { id: "c".into(), ..hit };
        assert_eq!(percent(&renamed, &[hit, wrong], Convention::Act, 0.5), 25.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn neither_threads_nor_the_order_of_lines_matter((truth, detections) in random(), seed: u64) {
            let run = |threads: usize, truth: &[VideoTruth], detections: &[VideoDetections]| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| video_map(truth, detections, Convention::Act, &THRESHOLDS).unwrap())
            };
            let expected = run(1, &truth, &detections);
            prop_assert_eq!(&run(3, &truth, &detections), &expected);
            prop_assert_eq!(&run(2, &shuffled(&truth, seed), &shuffled(&detections, seed ^ 1)), &expected);
        }
    }
}
