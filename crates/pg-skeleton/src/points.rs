//! From the numbers of a file to keypoints in pixels with confidences in [0, 1].

use crate::clip::{Clip, Instance, Keypoint};

/// What the coordinates of a file count: OpenPose's `--keypoint_scale`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// If all are in [-1, 1]: the image from -1 to 1 if one is negative, else from 0 to 1. If not: pixels.
    #[default]
    Detect,
    /// Pixels.
    Pixels,
    /// The image reaches from 0 to 1.
    Unit,
    /// The image reaches from -1 to 1.
    Signed,
}

/// A joint that was not found.
pub(crate) const MISSING: Keypoint = Keypoint { x: 0.0, y: 0.0, confidence: 0.0 };

/// A joint; NaN is how NumPy and the Kinect say that there is none.
pub(crate) fn keypoint(x: f32, y: f32, confidence: f32) -> Keypoint {
    if x.is_nan() || y.is_nan() || confidence.is_nan() { MISSING } else { Keypoint { x, y, confidence } }
}

/// The joints that were found.
fn found(instances: &[Instance]) -> impl Iterator<Item = &Keypoint> {
    instances.iter().flat_map(|instance| &instance.keypoints).filter(|point| point.confidence > 0.0)
}

/// Brings the coordinates of a clip to pixels; a joint that was not found becomes 0, 0, 0.
pub(crate) fn to_pixels(clip: &mut Clip, scale: Scale) {
    let scale = if scale == Scale::Detect { detect_scale(&clip.instances) } else { scale };
    let (width, height) = (clip.width as f32, clip.height as f32);
    for point in clip.instances.iter_mut().flat_map(|instance| &mut instance.keypoints) {
        let Keypoint { x, y, confidence } = *point;
        *point = match scale {
            _ if confidence == 0.0 => MISSING,
            Scale::Unit => Keypoint { x: x * width, y: y * height, confidence },
            Scale::Signed => Keypoint { x: (x + 1.0) / 2.0 * width, y: (y + 1.0) / 2.0 * height, confidence },
            Scale::Detect | Scale::Pixels => *point,
        };
    }
}

fn detect_scale(instances: &[Instance]) -> Scale {
    let coordinates = || found(instances).flat_map(|point| [point.x, point.y]);
    if coordinates().any(|number| number.abs() > 1.0) {
        Scale::Pixels
    } else if coordinates().any(|number| number < 0.0) {
        Scale::Signed
    } else {
        Scale::Unit
    }
}

/// What no peak of a heat map reaches; 1.26 and 1.41 have been seen.
const ABOVE_PEAKS: f32 = 2.0;

/// Brings the confidences of a file of COCO's to [0, 1]. They are divided by `greatest` if given. If not, up to 2 they
/// are peaks, and cut as [`peak`] cuts them, or COCO's visibilities 0, 1, 2; if one is above, they are divided by 6, up
/// to which AlphaPose's COCO models go.
///
/// # Errors
/// What is wrong, if one is above the greatest.
pub(crate) fn to_unit_confidences(clips: &mut [Clip], greatest: Option<f32>) -> Result<(), String> {
    let points = || clips.iter().flat_map(|clip| found(&clip.instances)).map(|point| point.confidence);
    let highest = points().fold(0.0, f32::max);
    let are_visibilities = || points().all(|confidence| confidence == 1.0 || confidence == 2.0);
    let (greatest, limit) = match greatest {
        Some(greatest) => (greatest, greatest),
        None if highest > ABOVE_PEAKS => (6.0, 6.0),
        None if highest == 2.0 && are_visibilities() => (2.0, 2.0),
        None => (1.0, ABOVE_PEAKS),
    };
    if highest > limit {
        return Err(format!("a confidence is {highest}, above {limit}; say how great they can be"));
    }
    let points =
        clips.iter_mut().flat_map(|clip| &mut clip.instances).flat_map(|instance| &mut instance.keypoints);
    points.for_each(|point| point.confidence = (point.confidence / greatest).min(1.0));
    Ok(())
}

/// A peak of a heat map as a confidence: such a peak can lie a little outside of [0, 1], and is cut.
pub(crate) fn peak(confidence: f64, greatest: Option<f32>) -> f32 {
    (confidence as f32 / greatest.unwrap_or(1.0)).clamp(0.0, 1.0)
}

/// Whether anything was found.
pub(crate) fn is_empty(keypoints: &[Keypoint]) -> bool {
    keypoints.iter().all(|point| *point == MISSING)
}

/// Forgets the tracks of a clip that has one twice in a frame: AlphaPose numbers everyone 0 if it does not track.
pub(crate) fn drop_repeated_tracks(clip: &mut Clip) {
    let mut seen = std::collections::HashSet::new();
    let tracks = clip.instances.iter().filter_map(|person| person.track.map(|track| (person.frame, track)));
    if !tracks.into_iter().all(|place| seen.insert(place)) {
        clip.instances.iter_mut().for_each(|person| person.track = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(points: &[[f32; 3]]) -> Clip {
        let keypoints = points.iter().copied().map(Keypoint::from).collect();
        let person = Instance { frame: 0, track: Some(0), keypoints, bounding_box: None };
        Clip {
            id: "v".into(),
            width: 200,
            height: 100,
            fps: None,
            frames: 1,
            label: None,
            instances: vec![person],
        }
    }

    fn points(clip: &Clip) -> Vec<[f32; 3]> {
        clip.instances[0].keypoints.iter().map(|&point| point.into()).collect()
    }

    #[test]
    fn scales_are_told_apart() {
        for (given, expected) in [
            ([0.5, 1.0, 1.0], [100.0, 100.0, 1.0]),
            ([0.5, -1.0, 1.0], [150.0, 0.0, 1.0]),
            ([0.5, 2.0, 1.0], [0.5, 2.0, 1.0]),
            ([-7.0, 7.0, 0.0], [0.0; 3]),
        ] {
            let mut clip = clip(&[given]);
            to_pixels(&mut clip, Scale::Detect);
            assert_eq!(points(&clip), [expected]);
        }
        // What is said is believed, and where nothing was found says nothing.
        let mut pixels = clip(&[[0.5, 1.0, 1.0]]);
        to_pixels(&mut pixels, Scale::Pixels);
        assert_eq!(points(&pixels), [[0.5, 1.0, 1.0]]);
        let mut unit = clip(&[[0.5, 0.5, 1.0], [-9.0, -9.0, 0.0]]);
        to_pixels(&mut unit, Scale::Detect);
        assert_eq!(points(&unit), [[100.0, 50.0, 1.0], [0.0; 3]]);
    }

    #[test]
    fn confidences_are_divided_by_the_greatest() {
        let read = |confidences: [f32; 2], greatest| {
            let mut clips = [clip(&confidences.map(|c| [9.0, 9.0, c]))];
            to_unit_confidences(&mut clips, greatest)?;
            Ok::<_, String>([points(&clips[0])[0][2], points(&clips[0])[1][2]])
        };
        assert_eq!(read([0.5, 1.0], None), Ok([0.5, 1.0]));
        assert_eq!(read([1.0, 2.0], None), Ok([0.5, 1.0]));
        assert_eq!(read([1.5, 3.0], None), Ok([0.25, 0.5]));
        assert_eq!(read([0.5, 1.26], None), Ok([0.5, 1.0]), "a peak of a heat map");
        assert_eq!(read([25.0, 100.0], Some(100.0)), Ok([0.25, 1.0]));
        let error = "a confidence is 7, above 6; say how great they can be";
        assert_eq!(read([0.5, 7.0], None), Err(error.to_owned()));
    }

    #[test]
    fn peaks_are_cut() {
        let cut = [-0.02, 0.5, 1.41].map(|confidence| peak(confidence, None));
        assert_eq!(cut, [0.0, 0.5, 1.0]);
        assert_eq!([50.0, 126.0].map(|confidence| peak(confidence, Some(100.0))), [0.5, 1.0]);
    }

    #[test]
    fn repeated_tracks_are_no_tracks() {
        let mut clip = clip(&[[1.0; 3]]);
        clip.instances.push(Instance { frame: 1, ..clip.instances[0].clone() });
        drop_repeated_tracks(&mut clip);
        assert_eq!(clip.instances[1].track, Some(0));
        clip.instances[1].frame = 0;
        drop_repeated_tracks(&mut clip);
        assert!(clip.instances.iter().all(|person| person.track.is_none()));
    }
}
