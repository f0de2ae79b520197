//! What a pose estimator sees of a person.

use super::SkeletonSpec;
use super::body::JOINTS;
use pg_random::Stream;
use pg_skeleton::Keypoint;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::array;

/// A joint that was not found.
const MISSING: Keypoint = Keypoint { x: 0.0, y: 0.0, confidence: 0.0 };
/// The least and the greatest confidence of a joint that was found.
const CONFIDENCE: [f32; 2] = [0.31, 0.99];
/// How far a joint is displaced, in units of the specification's jitter: as human annotators of COCO disagree
/// (the constants of its object keypoint similarity), the knees and ankles taken as 1.
const SPREAD: [f32; JOINTS] =
    [0.3, 0.28, 0.28, 0.4, 0.4, 0.9, 0.9, 0.82, 0.82, 0.7, 0.7, 1.2, 1.2, 1.0, 1.0, 1.0, 1.0];
/// How much more often wrists and ankles are missed.
const FAR: f64 = 3.0;

/// The joints as seen; `None` if the person is not found: by mistake, or with less than half of the joints
/// inside the image. A joint outside is never found.
pub(super) fn see(
    spec: &SkeletonSpec,
    joints: &[[f32; 2]; JOINTS],
    height: f32,
    rng: &mut Stream,
) -> Option<Vec<Keypoint>> {
    let lost = rng.random_bool(spec.lost);
    let keypoints = joints.iter().enumerate().map(|(joint, &place)| {
        let rate = if is_far(joint) { FAR * spec.missing } else { spec.missing };
        let missed = rng.random_bool(rate.min(1.0));
        let found = locate(joint, place, SPREAD[joint] * spec.jitter * height, rng);
        if missed { MISSING } else { inside(spec, found) }
    });
    let keypoints: Vec<Keypoint> = keypoints.collect();
    let places_inside = joints.iter().filter(|place| is_inside(spec, **place)).count();
    let found = keypoints.iter().any(|point| point.confidence > 0.0);
    (found && !lost && 2 * places_inside >= JOINTS).then_some(keypoints)
}

/// A person who is not there: joints scattered around some place, all of them doubtful.
pub(super) fn imagine(spec: &SkeletonSpec, rng: &mut Stream) -> Vec<Keypoint> {
    let [width, height] = [spec.width as f32, spec.height as f32];
    let [least, greatest] = spec.figure;
    let spread = 0.3 * rng.random_range(least..=greatest);
    let centre = [width, height].map(|side| rng.random_range(0.2 * side..0.8 * side));
    let joint = |_| {
        let [dx, dy]: [f32; 2] = array::from_fn(|_| spread * normal(rng));
        let confidence = rng.random_range(CONFIDENCE[0]..0.6);
        inside(spec, Keypoint { x: centre[0] + 0.5 * dx, y: centre[1] + dy, confidence })
    };
    (0..JOINTS).map(joint).collect()
}

/// A joint where it seems to be. The farther off it is, the less sure the estimator is of it.
fn locate(joint: usize, [x, y]: [f32; 2], jitter: f32, rng: &mut Stream) -> Keypoint {
    let [dx, dy]: [f32; 2] = array::from_fn(|_| normal(rng));
    let certain = if is_far(joint) { 0.86 } else { 0.96 };
    let confidence = certain - 0.08 * dx.hypot(dy) - rng.random_range(0.0..0.15f32);
    Keypoint {
        x: x + jitter * dx,
        y: y + jitter * dy,
        confidence: confidence.clamp(CONFIDENCE[0], CONFIDENCE[1]),
    }
}

/// Wrists and ankles.
fn is_far(joint: usize) -> bool {
    matches!(joint, 9 | 10 | 15 | 16)
}

fn inside(spec: &SkeletonSpec, point: Keypoint) -> Keypoint {
    if is_inside(spec, [point.x, point.y]) { point } else { MISSING }
}

fn is_inside(spec: &SkeletonSpec, [x, y]: [f32; 2]) -> bool {
    (0.0..spec.width as f32).contains(&x) && (0.0..spec.height as f32).contains(&y)
}

/// A number from the standard normal distribution.
pub(super) fn normal(rng: &mut Stream) -> f32 {
    StandardNormal.sample(rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_random::Seed;

    /// A person of 100 pixels, all of whose joints are at the same place.
    fn watch(spec: &SkeletonSpec, place: [f32; 2]) -> Vec<Option<Vec<Keypoint>>> {
        let rng = &mut Seed(0).stream("watch", &[]);
        (0..2000).map(|_| see(spec, &[place; JOINTS], 100.0, rng)).collect()
    }

    fn share(of: impl Iterator<Item = bool>) -> f64 {
        let (count, hits) = of.fold((0, 0), |(count, hits), hit| (count + 1, hits + u32::from(hit)));
        f64::from(hits) / f64::from(count)
    }

    #[test]
    fn joints_and_people_are_missed_as_asked() {
        let spec = SkeletonSpec { missing: 0.05, lost: 0.1, ..SkeletonSpec::default() };
        let seen = watch(&spec, [160.0, 120.0]);
        let lost = share(seen.iter().map(Option::is_none));
        assert!((lost - 0.1).abs() < 0.03, "{lost}");
        let missed = |joint: usize| share(seen.iter().flatten().map(|points| points[joint] == MISSING));
        assert!((missed(9) - 0.15).abs() < 0.035, "{}", missed(9));
        assert!((missed(5) - 0.05).abs() < 0.02, "{}", missed(5));
    }

    #[test]
    fn joints_are_displaced_as_asked_and_confidences_are_of_a_detector() {
        let seen = watch(&SkeletonSpec { missing: 0.0, ..SkeletonSpec::default() }, [160.0, 120.0]);
        let knees: Vec<Keypoint> = seen.iter().flatten().map(|points| points[13]).collect();
        let variance = knees.iter().map(|p| (p.x - 160.0).powi(2)).sum::<f32>() / knees.len() as f32;
        assert!((variance.sqrt() - 1.2).abs() < 0.1, "{}", variance.sqrt());
        let mean = |sure: &dyn Fn(&&Keypoint) -> bool| {
            let points: Vec<f32> = knees.iter().filter(sure).map(|p| p.confidence).collect();
            points.iter().sum::<f32>() / points.len() as f32
        };
        let near = |p: &&Keypoint| (p.x - 160.0).abs() < 1.0;
        assert!(mean(&near) > mean(&|p| !near(p)) + 0.03);
        assert!(seen.iter().flatten().flatten().all(|p| p.confidence > 0.3 && p.confidence < 1.0));
    }

    #[test]
    fn who_is_outside_of_the_image_is_not_seen() {
        let spec = SkeletonSpec::default();
        assert!(watch(&spec, [-1.0, 120.0]).iter().all(Option::is_none));
        assert!(watch(&spec, [160.0, 240.0]).iter().all(Option::is_none));
        // At the border, some joints are displaced out of the image.
        let seen = watch(&SkeletonSpec { missing: 0.0, ..spec }, [0.5, 120.0]);
        let points: Vec<Keypoint> = seen.into_iter().flatten().flatten().collect();
        assert!(points.contains(&MISSING) && points.iter().all(|point| point.x >= 0.0));
    }

    #[test]
    fn nobody_is_seen_without_a_joint() {
        let spec = SkeletonSpec { missing: 1.0, ..SkeletonSpec::default() };
        assert!(watch(&spec, [160.0, 120.0]).iter().all(Option::is_none));
    }
}
