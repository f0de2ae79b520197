//! From the people in each frame to tubes: three published ways.
//!
//! [`link_act`]: per class, the surest boxes of the next frame that overlap (Kalogeiton et al., ICCV 2017).
//! [`link_online`]: the same idea with a cut in time by dynamic programming (Singh et al., ICCV 2017).
//! [`link_tracks`]: tracks are given, and are cut in time where the score of a class is high (Cheron et al.,
//! NeurIPS 2018). This cut, [`Trimming`], works after [`link_act`] too: it is the choice where no tracks are given
//! and actions do not fill the video.

mod act;
mod chains;
mod online;
mod path;
mod tracks;
mod trimming;
mod viterbi;

use rayon::prelude::*;

pub use act::{ActOptions, link_act};
pub use online::{OnlineOptions, link_online};
pub use path::ScoredPath;
pub use tracks::{TrackOptions, link_tracks};
pub use trimming::{Smoothing, Trimming};

use crate::detections::{DetectedTube, VideoDetections};

/// A way from instances to tubes.
#[derive(Clone, Debug, PartialEq)]
pub enum Linking {
    /// [`link_act`].
    Act(ActOptions),
    /// [`link_online`].
    Online(OnlineOptions),
    /// [`link_tracks`].
    Tracks(TrackOptions),
}

impl Default for Linking {
    fn default() -> Self {
        Self::Act(ActOptions::default())
    }
}

impl Linking {
    /// The tubes of a video, class by class; the present ones play no part.
    pub fn tubes(&self, video: &VideoDetections) -> Vec<DetectedTube> {
        match self {
            Self::Act(options) => link_act(video, options),
            Self::Online(options) => link_online(video, options),
            Self::Tracks(options) => link_tracks(video, options),
        }
    }

    /// Replaces the tubes of each video by those that its instances link to.
    pub fn link(&self, videos: &mut [VideoDetections]) {
        videos.par_iter_mut().for_each(|video| video.tubes = self.tubes(video));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detections::InstanceScores;
    use crate::json_lines::Record;
    use crate::samples::video_detections;

    fn instances() -> impl Strategy<Value = Vec<InstanceScores>> {
        let instance =
            (0usize..100, prop::option::of(0u32..3), 0u8..8, prop::collection::vec(0.0f32..1.0, 2));
        let instance = instance.prop_map(|(frame, track, x, scores)| {
            let x = f64::from(x) * 3.0;
            InstanceScores { frame, track, bounding_box: [x, 0.0, x + 10.0, 10.0].into(), scores }
        });
        prop::collection::vec(instance, 0..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn tubes_are_sound_whatever_the_instances(instances in instances()) {
            let short = Trimming { window: 3, min_length: 2, ..Trimming::default() };
            let closing = Trimming { smoothing: Smoothing::Closing, ..short };
            let act = ActOptions { min_length: 1, ..ActOptions::default() };
            let strategies = [
                Linking::default(),
                Linking::Act(ActOptions { trimming: Some(short), ..act.clone() }),
                Linking::Act(ActOptions { trimming: Some(closing), ..act.clone() }),
                Linking::Act(act),
                Linking::Online(OnlineOptions { min_length: 1, switch_penalty: 0.1, ..OnlineOptions::default() }),
                Linking::Tracks(TrackOptions { trimming: short, ..TrackOptions::default() }),
            ];
            for linking in strategies {
                let video = VideoDetections { instances: instances.clone(), ..video_detections("v", vec![]) };
                let mut videos = vec![video];
                linking.link(&mut videos);
                prop_assert_eq!(videos[0].check(), Ok(()));
                prop_assert_eq!(linking.tubes(&videos[0]), videos[0].tubes.clone());
            }
        }
    }

    #[test]
    fn odd_values_are_no_trouble() {
        let instance = |frame, x: f64, scores| InstanceScores {
            frame,
            track: Some(1),
            bounding_box: [x, x, f64::INFINITY, x].into(),
            scores,
        };
        let instances = vec![
            instance(usize::MAX, f64::NAN, vec![f32::NAN, f32::INFINITY]),
            instance(0, 1.0, vec![]),
            instance(1, 1.0, vec![0.5; 9]),
            instance(usize::MAX - 1, 1.0, vec![1.0, 1.0]),
        ];
        let video = VideoDetections { instances, frames: usize::MAX, ..video_detections("v", vec![]) };
        let act = ActOptions { min_length: 0, min_score: -1.0, ..ActOptions::default() };
        let online = OnlineOptions { min_length: 0, min_score: -1.0, gap: 0, ..OnlineOptions::default() };
        let trimming = Trimming { window: 0, min_length: 0, threshold: -1.0, top: 0, ..Trimming::default() };
        let tracks = TrackOptions { trimming, ..TrackOptions::default() };
        for linking in [Linking::Act(act), Linking::Online(online), Linking::Tracks(tracks)] {
            let _ = linking.tubes(&video);
        }
    }
}
