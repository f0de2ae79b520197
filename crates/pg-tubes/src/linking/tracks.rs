//! Tubes from given tracks: Cheron et al., "A Flexible Model for Training Action Localization with Varying Levels
//! of Supervision", NeurIPS 2018, with the constants of the released experiments.

use std::collections::BTreeMap;

use crate::detections::{DetectedTube, VideoDetections};
use crate::nms::survivors;
use crate::tube::Tube;

use super::chains::Found;
use super::path::ScoredPath;
use super::trimming::Trimming;

/// The constants of [`link_tracks`].
#[derive(Clone, Debug, PartialEq)]
pub struct TrackOptions {
    /// A track without an instance for this many frames or more is taken apart there; shorter holes are
    /// interpolated. Not published: those tracks have no holes. 5 is the longest step that ACT links over.
    pub gap: usize,
    /// The cut in time.
    pub trimming: Trimming,
    /// Tubes of a class that overlap by this or more in space and time with a surer one are dropped.
    pub tube_nms: f64,
}

impl Default for TrackOptions {
    fn default() -> Self {
        Self { gap: 5, trimming: Trimming::default(), tube_nms: 0.2 }
    }
}

/// Cuts the tracks of a video into tubes, class by class. Instances without a track are left out; of two instances
/// of one track in one frame the first counts.
pub fn link_tracks(video: &VideoDetections, options: &TrackOptions) -> Vec<DetectedTube> {
    let tracks = unbroken_tracks(video, options.gap);
    let tubes = video.classes.iter().enumerate().flat_map(|(class, label)| {
        let paths = tracks.iter().filter_map(|track| path(video, class, track));
        let tubes: Vec<(Tube, f64)> = paths.flat_map(|path| options.trimming.trim(&path)).collect();
        let scores: Vec<f64> = tubes.iter().map(|(_, score)| *score).collect();
        let kept = survivors(&scores, |a, b| tubes[a].0.spatio_temporal_iou(&tubes[b].0) >= options.tube_nms);
        let detected = |position: usize| {
            let (tube, score) = &tubes[position];
            DetectedTube { label: label.clone(), score: *score, tube: tube.clone() }
        };
        kept.into_iter().map(detected).collect::<Vec<_>>()
    });
    tubes.collect()
}

/// The instances of each track over time, in pieces without long holes.
fn unbroken_tracks(video: &VideoDetections, gap: usize) -> Vec<Vec<usize>> {
    let mut tracks: BTreeMap<u32, BTreeMap<usize, usize>> = BTreeMap::new();
    for (position, instance) in video.instances.iter().enumerate() {
        if let Some(track) = instance.track {
            tracks.entry(track).or_default().entry(instance.frame).or_insert(position);
        }
    }
    let frame = |position: usize| video.instances[position].frame;
    let pieces = tracks.into_values().flat_map(|track| {
        let positions: Vec<usize> = track.into_values().collect();
        let pieces = positions.chunk_by(|&a, &b| frame(b) - frame(a) <= gap.max(1));
        pieces.map(<[usize]>::to_vec).collect::<Vec<_>>()
    });
    pieces.collect()
}

/// `None` if an instance has no score for the class.
fn path(video: &VideoDetections, class: usize, track: &[usize]) -> Option<ScoredPath> {
    let found: Option<Vec<Found>> =
        track.iter().map(|&instance| Found::new(video, instance, class)).collect();
    Some(ScoredPath::interpolated(&found?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detections::InstanceScores;
    use crate::samples::video_detections;

    fn instance(frame: usize, track: Option<u32>, x: f64, score: f32) -> InstanceScores {
        let bounding_box = [x, 0.0, x + 10.0, 10.0].into();
        InstanceScores { frame, track, bounding_box, scores: vec![score, 0.0] }
    }

    fn link(instances: Vec<InstanceScores>, options: &TrackOptions) -> Vec<(usize, usize, f64)> {
        let video = VideoDetections { instances, ..video_detections("v", vec![]) };
        let tubes = link_tracks(&video, options);
        assert!(tubes.iter().all(|tube| tube.label == "run"));
        tubes.iter().map(|tube| (tube.tube.start, tube.tube.end(), (tube.score * 100.0).round())).collect()
    }

    #[test]
    fn tracks_are_cut_where_the_class_is_likely() {
        let high = |frame: usize| if (30..70).contains(&frame) { 0.9 } else { 0.02 };
        let instances = (0..100).flat_map(|frame| {
            [
                instance(frame, Some(7), 0.0, high(frame)),
                // As sure, near the first for a time only, and never linked.
                instance(frame, Some(8), 60.0, if frame < 25 { 0.5 } else { 0.0 }),
                instance(frame, None, 90.0, 1.0),
            ]
        });
        assert_eq!(link(instances.collect(), &TrackOptions::default()), [(30, 70, 90.0), (0, 25, 50.0)]);
    }

    #[test]
    fn holes_are_filled_or_end_the_track() {
        let frames = (0..30).filter(|frame| !(10..14).contains(frame));
        let instances: Vec<_> = frames.map(|frame| instance(frame, Some(1), 0.0, 0.5)).collect();
        assert_eq!(link(instances.clone(), &TrackOptions::default()), [(0, 30, 50.0)]);
        assert_eq!(link(instances, &TrackOptions { gap: 4, ..Default::default() }), [], "10 and 16 frames");
        let far = vec![instance(0, Some(1), 0.0, 0.5), instance(usize::MAX, Some(1), 0.0, 0.5)];
        assert_eq!(link(far, &TrackOptions::default()), []);
    }

    #[test]
    fn tubes_that_overlap_too_much_are_dropped() {
        let tracks = |shift: f64| {
            let tracks = (0..30).flat_map(move |frame| {
                [
                    instance(frame, Some(1), 0.0, 0.5),
                    instance(frame, Some(2), shift, 0.75),
                    instance(frame, Some(2), 0.0, 0.9),
                ]
            });
            tracks.collect::<Vec<_>>()
        };
        // Overlaps of 1/3 and 1/5: the threshold itself is too much.
        assert_eq!(link(tracks(5.0), &TrackOptions::default()), [(0, 30, 75.0)]);
        let third = TrackOptions { tube_nms: 1.0 / 3.0, ..Default::default() };
        assert_eq!(link(tracks(5.0), &third), [(0, 30, 75.0)]);
        assert_eq!(link(tracks(9.0), &TrackOptions::default()), [(0, 30, 75.0), (0, 30, 50.0)]);
    }
}
