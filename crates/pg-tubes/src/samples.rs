//! Small videos for tests.

use proptest::prelude::*;

use crate::detections::{DetectedTube, VideoDetections};
use crate::ground_truth::{LabelledTube, VideoTruth};
use crate::tube::Tube;

/// A square of 10 pixels for ten frames.
pub(crate) fn tube(start: usize, x: f64) -> Tube {
    Tube { start, boxes: vec![[x, 0.0, x + 10.0, 10.0].into(); 10] }
}

pub(crate) fn labelled(label: &str, start: usize, x: f64) -> LabelledTube {
    LabelledTube { label: label.to_owned(), tube: tube(start, x) }
}

pub(crate) fn detected(label: &str, score: f64, start: usize, x: f64) -> DetectedTube {
    DetectedTube { label: label.to_owned(), score, tube: tube(start, x) }
}

pub(crate) fn video_truth(id: &str, tubes: Vec<LabelledTube>) -> VideoTruth {
    VideoTruth { id: id.to_owned(), tubes }
}

/// Of 100 frames and the classes run and wave.
pub(crate) fn video_detections(id: &str, tubes: Vec<DetectedTube>) -> VideoDetections {
    let classes = vec!["run".to_owned(), "wave".to_owned()];
    VideoDetections { id: id.to_owned(), frames: 100, classes, instances: vec![], tubes }
}

/// The same values in another order.
pub(crate) fn shuffled<T: Clone>(values: &[T], seed: u64) -> Vec<T> {
    let mut keyed: Vec<(u64, T)> = (1..).zip(values.iter().cloned()).collect();
    keyed.sort_by_key(|(index, _)| (seed ^ index).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    keyed.into_iter().map(|(_, value)| value).collect()
}

/// Up to five videos with tubes that often overlap and scores that are often equal.
pub(crate) fn random() -> impl Strategy<Value = (Vec<VideoTruth>, Vec<VideoDetections>)> {
    let class = || prop::sample::select(vec!["run", "wave"]);
    let labelled = (class(), 0usize..20, 0u8..6)
        .prop_map(|(label, start, x)| labelled(label, start, f64::from(x) * 3.0));
    let detected = (class(), 0u8..4, 0usize..20, 0u8..6).prop_map(|(label, score, start, x)| {
        detected(label, f64::from(score) / 4.0, start, f64::from(x) * 3.0)
    });
    let video = (prop::collection::vec(labelled, 0..4), prop::collection::vec(detected, 0..6), any::<bool>());
    prop::collection::vec(video, 0..5).prop_map(|videos| {
        let named = || videos.iter().enumerate().map(|(index, video)| (format!("v{index}"), video.clone()));
        let truth = named().map(|(id, (tubes, _, _))| video_truth(&id, tubes));
        let seen = named().filter(|(_, (_, _, seen))| *seen);
        let detections = seen.map(|(id, (_, tubes, _))| video_detections(&id, tubes));
        (truth.collect(), detections.collect())
    })
}
