//! All that is reported of a file of detections, and its JSON.

use serde_json::{Map, Value, json};

use crate::convention::Convention;
use crate::detections::VideoDetections;
use crate::failures::{Failures, failures};
use crate::frame_map::{FrameMapOptions, frame_map};
use crate::ground_truth::VideoTruth;
use crate::matching::EvaluationError;
use crate::mean_average_precision::{ClassPrecision, MeanAveragePrecision, STRICT_THRESHOLDS, THRESHOLDS};
use crate::video_map::video_map;

/// The numbers that papers compare, under their names: the mean over these thresholds.
const REPORTED: [(&str, &[f64]); 4] =
    [("0.2", &[0.2]), ("0.5", &[0.5]), ("0.75", &[0.75]), ("0.5:0.95", &STRICT_THRESHOLDS)];

/// The threshold at which failures are explained.
const EXPLAINED: f64 = 0.5;

/// Detections against the ground truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// How tubes were compared.
    pub convention: Convention,
    /// Video-mAP at each of [`THRESHOLDS`].
    pub video_map: MeanAveragePrecision,
    /// How frame-mAP was counted.
    pub frame_options: FrameMapOptions,
    /// Frame-mAP at the threshold of these options.
    pub frame_map: MeanAveragePrecision,
    /// What was missed at 0.5, and why.
    pub failures: Failures,
}

impl Evaluation {
    /// Compares detections with the ground truth in every way.
    ///
    /// # Errors
    /// [`EvaluationError`] for a video that is detected but not in the ground truth, or there twice.
    pub fn new(
        truth: &[VideoTruth],
        detections: &[VideoDetections],
        convention: Convention,
        frame_options: FrameMapOptions,
    ) -> Result<Self, EvaluationError> {
        Ok(Self {
            convention,
            video_map: video_map(truth, detections, convention, &THRESHOLDS)?,
            frame_options,
            frame_map: frame_map(truth, detections, &frame_options)?,
            failures: failures(truth, detections, convention, EXPLAINED)?,
        })
    }

    /// The report as JSON; shares are in [0, 1], and a class that has no frame-AP has null there.
    ///
    /// ```text
    /// {"convention": "act",
    ///  "video_map": {"0.2": {"trapezoid": .., "envelope": ..}, "0.5": .., "0.75": .., "0.5:0.95": ..},
    ///  "frame_map": {"trapezoid": .., "envelope": ..},
    ///  "classes": {"wave": {"ground_truth": .., "video_ap": {"0.2": .., ..}, "frame_ap": {..}}, ..},
    ///  "failures": {"threshold": 0.5, "outcomes": {"hit": .., ..}, "false_positives": {"duplicate": .., ..},
    ///               "tubes": [{"video": "v", "label": "wave", "tube": 0, "outcome": "hit", ..}, ..]}}
    /// ```
    pub fn to_json(&self) -> Value {
        let named = |over: &dyn Fn(&[f64]) -> Value| -> Map<String, Value> {
            REPORTED.iter().map(|(name, thresholds)| ((*name).to_owned(), over(thresholds))).collect()
        };
        let at_frames = [self.frame_options.threshold];
        let frame_ap =
            |label: &str| self.frame_map.classes.iter().find(|class| class.label == label)?.over(&at_frames);
        let class = |class: &ClassPrecision| {
            let value = json!({
                "ground_truth": class.ground_truth,
                "video_ap": named(&|thresholds| json!(class.over(thresholds))),
                "frame_ap": frame_ap(&class.label),
            });
            (class.label.clone(), value)
        };
        json!({
            "convention": self.convention.name(),
            "video_map": named(&|thresholds| json!(self.video_map.over(thresholds))),
            "frame_map": self.frame_map.over(&at_frames),
            "classes": self.video_map.classes.iter().map(class).collect::<Map<_, _>>(),
            "failures": self.failures,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{detected, labelled, video_detections, video_truth};

    #[test]
    fn the_report_has_every_number_under_its_name() {
        let truth = [
            video_truth("v", vec![labelled("run", 0, 0.0)]),
            video_truth("w", vec![labelled("run", 0, 0.0)]),
        ];
        // Overlaps of 0.6 and 1.
        let detections = [
            video_detections("v", vec![detected("run", 0.9, 0, 2.5), detected("wave", 0.4, 50, 0.0)]),
            video_detections("w", vec![detected("run", 0.8, 0, 0.0)]),
        ];
        let evaluation =
            Evaluation::new(&truth, &detections, Convention::Voc, FrameMapOptions::default()).unwrap();
        let report = evaluation.to_json();
        assert_eq!(report["convention"], "voc");
        // All found below 0.6, and from there on the second only: an envelope of 1/4. Half of that with wave,
        // which is not there.
        assert_eq!(report["classes"]["run"]["video_ap"]["0.5"]["envelope"], 1.0);
        assert_eq!(report["classes"]["run"]["video_ap"]["0.75"]["envelope"], 0.25);
        assert_eq!(report["video_map"]["0.75"]["envelope"], 0.125);
        let mean = report["classes"]["run"]["video_ap"]["0.5:0.95"]["envelope"].as_f64().unwrap();
        assert!(
            (mean - (2.0 + 8.0 * 0.25) / 10.0).abs() < 1e-12,
            "{mean}: at 0.6 the overlap does not exceed it"
        );
        assert_eq!(report["classes"]["run"]["ground_truth"], 2);
        assert_eq!(report["classes"]["wave"]["frame_ap"], Value::Null);
        assert_eq!(report["frame_map"]["trapezoid"], 0.0);
        assert_eq!(report["failures"]["outcomes"]["hit"], 2);
        assert_eq!(report["failures"]["false_positives"]["no_action"], 1);
        assert_eq!(report["failures"]["tubes"][0]["outcome"], "hit");
    }
}
