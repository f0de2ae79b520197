//! Why ground-truth tubes are missed and detections are wrong.
//!
//! The causes follow those of TIDE for boxes in images (Bolya et al., "TIDE: A General Toolbox for Identifying
//! Object Detection Errors", ECCV 2020), with place and time told apart.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Serialize;

use crate::convention::Convention;
use crate::detections::{DetectedTube, VideoDetections};
use crate::ground_truth::{LabelledTube, VideoTruth};
use crate::matching::{Comparison, EvaluationError, Video, by_class, videos};
use crate::ranking::greatest;

/// The overlap below which a detection and a ground-truth tube have nothing to do with each other; TIDE's.
const NEAR: f64 = 0.1;

/// What became of the ground truth and the detections at a threshold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failures {
    /// The overlap in space and time from which on a tube is found.
    pub threshold: f64,
    /// How many ground-truth tubes had each outcome.
    pub outcomes: OutcomeCounts,
    /// How many detections are wrong, by cause.
    pub false_positives: FalsePositives,
    /// Each ground-truth tube, by name of the video and position in it.
    pub tubes: Vec<TubeOutcome>,
}

/// What became of a ground-truth tube.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It was found.
    Hit,
    /// Only by a detection that another tube of its class has taken.
    Taken,
    /// Found, but as another class.
    Class,
    /// Its class was detected at the right time, but not at the right place.
    Box,
    /// Its class was detected at the right place, but not at the right time.
    Time,
    /// Nothing of the kind.
    Missed,
}

/// A ground-truth tube, what became of it, and the detections that come nearest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TubeOutcome {
    /// Name of the video.
    pub video: String,
    /// Its class.
    pub label: String,
    /// Its position among the tubes of the video.
    pub tube: usize,
    /// What became of it.
    pub outcome: Outcome,
    /// The detection of its class that overlaps most with it, if any does.
    pub nearest: Option<Nearest>,
    /// The detection of another class that overlaps most with it, if any does.
    pub nearest_of_others: Option<Nearest>,
}

/// A detection near a ground-truth tube.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Nearest {
    /// Its class.
    pub label: String,
    /// Its score.
    pub score: f64,
    /// The overlap in time, in [0, 1].
    pub temporal_iou: f64,
    /// The mean overlap in the common frames, in [0, 1].
    pub spatial_iou: f64,
    /// Both together, by the convention.
    pub spatio_temporal_iou: f64,
}

/// How many ground-truth tubes had each [`Outcome`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutcomeCounts {
    /// [`Outcome::Hit`].
    pub hit: usize,
    /// [`Outcome::Taken`].
    pub taken: usize,
    /// [`Outcome::Class`].
    pub class: usize,
    /// [`Outcome::Box`].
    #[serde(rename = "box")]
    pub bounding_box: usize,
    /// [`Outcome::Time`].
    pub time: usize,
    /// [`Outcome::Missed`].
    pub missed: usize,
}

/// How many detections find nothing, by the first cause that holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FalsePositives {
    /// What it would find was found already.
    pub duplicate: usize,
    /// It would find a tube of another class.
    pub wrong_class: usize,
    /// It overlaps with a tube of any class, but not enough: by 0.1 or more.
    pub poor_overlap: usize,
    /// It overlaps with nothing.
    pub no_action: usize,
}

/// Explains what detections miss, and what they find that is not there, at a threshold of the overlap.
///
/// It looks at the detections that are left after the suppression of the convention, and at all of them whatever
/// their score; [`Outcome::Box`] and [`Outcome::Time`] are for detections whose overlap in time or in space alone
/// reaches the threshold (where both do but their product does not, the smaller one is to blame).
///
/// # Errors
/// [`EvaluationError`] for a video that is detected but not in the ground truth, or there twice.
pub fn failures(
    truth: &[VideoTruth],
    detections: &[VideoDetections],
    convention: Convention,
    threshold: f64,
) -> Result<Failures, EvaluationError> {
    let explain = |&video: &Video<'_>| ExplainedVideo::new(video, convention, threshold).explain();
    let explained: Vec<_> = videos(truth, detections)?.par_iter().map(explain).collect();
    let mut failures = Failures {
        threshold,
        outcomes: OutcomeCounts::default(),
        false_positives: FalsePositives::default(),
        tubes: Vec::new(),
    };
    for (tubes, false_positives) in explained {
        tubes.iter().for_each(|tube| failures.outcomes.add(tube.outcome));
        failures.tubes.extend(tubes);
        failures.false_positives.add(false_positives);
    }
    Ok(failures)
}

impl OutcomeCounts {
    fn add(&mut self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Hit => &mut self.hit,
            Outcome::Taken => &mut self.taken,
            Outcome::Class => &mut self.class,
            Outcome::Box => &mut self.bounding_box,
            Outcome::Time => &mut self.time,
            Outcome::Missed => &mut self.missed,
        };
        *count += 1;
    }
}

impl FalsePositives {
    fn add(&mut self, other: Self) {
        self.duplicate += other.duplicate;
        self.wrong_class += other.wrong_class;
        self.poor_overlap += other.poor_overlap;
        self.no_action += other.no_action;
    }
}

/// A video with what its detections find.
struct ExplainedVideo<'a> {
    video: Video<'a>,
    convention: Convention,
    threshold: f64,
    /// The detections left after suppression, in their order in the video, and the position of what each finds.
    detections: Vec<(&'a DetectedTube, Option<usize>)>,
}

impl<'a> ExplainedVideo<'a> {
    fn new(video: Video<'a>, convention: Convention, threshold: f64) -> Self {
        let comparisons: HashMap<&str, Comparison> = by_class(video, convention);
        let tubes = video.detections.map_or(&[][..], |detections| &detections.tubes);
        let mut finds = Vec::new();
        for comparison in comparisons.values() {
            let found = comparison.finds(convention, threshold);
            for (detection, found) in comparison.detections.iter().zip(found) {
                finds.push((detection.tube, found.map(|index| comparison.truth[index])));
            }
        }
        finds.sort_unstable();
        let detections = finds.into_iter().map(|(tube, found)| (&tubes[tube], found)).collect();
        Self { video, convention, threshold, detections }
    }

    fn explain(&self) -> (Vec<TubeOutcome>, FalsePositives) {
        let tubes = self.video.truth.tubes.iter().enumerate();
        let outcomes = tubes.map(|(index, labelled)| self.outcome(index, labelled)).collect();
        let mut false_positives = FalsePositives::default();
        for (detected, _) in self.detections.iter().filter(|(_, found)| found.is_none()) {
            *self.cause(detected, &mut false_positives) += 1;
        }
        (outcomes, false_positives)
    }

    fn overlap(&self, labelled: &LabelledTube, detected: &DetectedTube) -> f64 {
        self.convention.overlap(&labelled.tube, &detected.tube)
    }

    fn is_match(&self, overlap: f64) -> bool {
        self.convention.is_match(overlap, self.threshold)
    }

    fn outcome(&self, index: usize, labelled: &LabelledTube) -> TubeOutcome {
        let (same, others): (Vec<_>, Vec<_>) = self
            .detections
            .iter()
            .map(|(detected, _)| *detected)
            .partition(|detected| detected.label == labelled.label);
        let nearest = self.nearest(labelled, &same);
        let nearest_of_others = self.nearest(labelled, &others);
        let matches = |nearest: &Option<Nearest>| {
            nearest.as_ref().is_some_and(|nearest| self.is_match(nearest.spatio_temporal_iou))
        };
        let outcome = if self.detections.iter().any(|(_, found)| *found == Some(index)) {
            Outcome::Hit
        } else if matches(&nearest) {
            Outcome::Taken
        } else if matches(&nearest_of_others) {
            Outcome::Class
        } else {
            self.place_or_time(labelled, &same)
        };
        let (video, label) = (self.video.truth.id.clone(), labelled.label.clone());
        TubeOutcome { video, label, tube: index, outcome, nearest, nearest_of_others }
    }

    fn nearest(&self, labelled: &LabelledTube, detections: &[&DetectedTube]) -> Option<Nearest> {
        let overlaps = detections.iter().map(|detected| self.overlap(labelled, detected)).enumerate();
        let (best, overlap) = greatest(overlaps).filter(|(_, overlap)| *overlap > 0.0)?;
        let DetectedTube { label, score, tube } = detections[best];
        Some(Nearest {
            label: label.clone(),
            score: *score,
            temporal_iou: labelled.tube.temporal_iou(tube),
            spatial_iou: labelled.tube.spatial_iou(tube),
            spatio_temporal_iou: overlap,
        })
    }

    /// What is to blame in the detection that overlaps most, of those that are right in time or in space.
    fn place_or_time(&self, labelled: &LabelledTube, detections: &[&DetectedTube]) -> Outcome {
        let overlaps = detections.iter().map(|detected| {
            let (temporal, spatial) =
                (labelled.tube.temporal_iou(&detected.tube), labelled.tube.spatial_iou(&detected.tube));
            let near = self.is_match(temporal) || self.is_match(spatial);
            near.then_some((temporal, spatial))
        });
        let near: Vec<(f64, f64)> = overlaps.flatten().collect();
        let products = near.iter().map(|(temporal, spatial)| temporal * spatial);
        match greatest(products.enumerate()).map(|(best, _)| near[best]) {
            Some((temporal, spatial)) if spatial < temporal => Outcome::Box,
            Some(_) => Outcome::Time,
            None => Outcome::Missed,
        }
    }

    fn cause<'b>(&self, detected: &DetectedTube, counts: &'b mut FalsePositives) -> &'b mut usize {
        let greatest = |same_class: bool| {
            let tubes =
                self.video.truth.tubes.iter().filter(|tube| (tube.label == detected.label) == same_class);
            tubes.map(|tube| self.overlap(tube, detected)).fold(0.0, f64::max)
        };
        let (same, other) = (greatest(true), greatest(false));
        if self.is_match(same) {
            &mut counts.duplicate
        } else if self.is_match(other) {
            &mut counts.wrong_class
        } else if same.max(other) >= NEAR {
            &mut counts.poor_overlap
        } else {
            &mut counts.no_action
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{detected, labelled, video_detections, video_truth};

    fn explain(truth: Vec<LabelledTube>, detections: Vec<DetectedTube>) -> Failures {
        let (truth, detections) = ([video_truth("v", truth)], [video_detections("v", detections)]);
        failures(&truth, &detections, Convention::Act, 0.5).unwrap()
    }

    fn outcomes(failures: &Failures) -> Vec<Outcome> {
        failures.tubes.iter().map(|tube| tube.outcome).collect()
    }

    #[test]
    fn each_tube_has_its_explanation() {
        let run = || vec![labelled("run", 10, 0.0)];
        let cases = [
            (vec![detected("run", 0.1, 11, 0.0)], Outcome::Hit),
            (vec![detected("wave", 0.1, 11, 0.0)], Outcome::Class),
            // Overlaps 1 and 1/3; 1/3 and 1; 0.82 and 0.54; below one half in both.
            (vec![detected("run", 0.1, 10, 5.0)], Outcome::Box),
            (vec![detected("run", 0.1, 15, 0.0)], Outcome::Time),
            (vec![detected("run", 0.1, 11, 3.0)], Outcome::Box),
            (vec![detected("run", 0.1, 13, 1.0)], Outcome::Time),
            (vec![detected("run", 0.1, 15, 5.0)], Outcome::Missed),
            (vec![detected("run", 0.1, 30, 0.0)], Outcome::Missed),
            (vec![], Outcome::Missed),
            // The other class explains better.
            (vec![detected("run", 0.9, 15, 0.0), detected("wave", 0.1, 10, 0.0)], Outcome::Class),
        ];
        for (detections, expected) in cases {
            assert_eq!(outcomes(&explain(run(), detections.clone())), [expected], "{detections:?}");
        }
        assert_eq!(explain(vec![], vec![]).tubes, []);
    }

    #[test]
    fn one_detection_cannot_find_two() {
        let twins = vec![labelled("run", 10, 0.0), labelled("run", 10, 1.0)];
        let found = explain(twins, vec![detected("run", 0.1, 10, 0.0)]);
        assert_eq!(outcomes(&found), [Outcome::Hit, Outcome::Taken]);
        assert_eq!(found.outcomes, OutcomeCounts { hit: 1, taken: 1, ..Default::default() });
        assert_eq!(found.false_positives, FalsePositives::default());
    }

    #[test]
    fn the_nearest_detections_are_told() {
        let found = explain(
            vec![labelled("wave", 0, 50.0), labelled("run", 10, 0.0)],
            vec![
                detected("run", 0.9, 15, 0.0),
                detected("run", 0.2, 10, 8.0),
                detected("wave", 0.3, 12, 0.0),
            ],
        );
        let tube = &found.tubes[1];
        assert_eq!((tube.video.as_str(), tube.label.as_str(), tube.tube), ("v", "run", 1));
        let nearest = tube.nearest.as_ref().unwrap();
        assert_eq!((nearest.score, nearest.temporal_iou, nearest.spatial_iou), (0.9, 1.0 / 3.0, 1.0));
        assert_eq!(nearest.spatio_temporal_iou, 1.0 / 3.0);
        let other = tube.nearest_of_others.as_ref().unwrap();
        assert_eq!((other.label.as_str(), other.temporal_iou), ("wave", 8.0 / 12.0));
        assert_eq!((&found.tubes[0].nearest, &found.tubes[0].nearest_of_others), (&None, &None));
    }

    #[test]
    fn wrong_detections_are_counted_by_cause() {
        let truth = vec![labelled("run", 10, 0.0)];
        let wrong = vec![
            detected("wave", 0.9, 10, 0.0),
            detected("run", 0.8, 10, 0.5),
            // Half of it in space at its time (1/3), and then nothing of the kind.
            detected("run", 0.3, 16, -3.0),
            detected("run", 0.2, 40, 0.0),
        ];
        let found = explain(truth.clone(), wrong);
        let expected = FalsePositives { duplicate: 0, wrong_class: 1, poor_overlap: 1, no_action: 1 };
        assert_eq!((found.outcomes.hit, found.false_positives), (1, expected));
        // Voc does not suppress.
        let twice = video_detections("v", vec![detected("run", 0.8, 10, 0.5), detected("run", 0.7, 10, 0.0)]);
        let found = failures(&[video_truth("v", truth)], &[twice], Convention::Voc, 0.5).unwrap();
        assert_eq!(found.false_positives, FalsePositives { duplicate: 1, ..Default::default() });
    }

    proptest! {
        #[test]
        fn every_tube_and_detection_is_accounted_for((truth, detections) in crate::samples::random()) {
            for convention in Convention::ALL {
                let found = failures(&truth, &detections, convention, 0.4).unwrap();
                let map = crate::video_map(&truth, &detections, convention, &[0.4]).unwrap();
                let tubes: usize = truth.iter().map(|video| video.tubes.len()).sum();
                prop_assert_eq!(found.tubes.len(), tubes);
                let FalsePositives { duplicate, wrong_class, poor_overlap, no_action } = found.false_positives;
                let wrong = duplicate + wrong_class + poor_overlap + no_action;
                let counted: usize = map.classes.iter().map(|class| class.detections).sum();
                if map.classes.len() == 2 {
                    prop_assert_eq!(wrong + found.outcomes.hit, counted);
                }
            }
        }
    }
}
