//! The set of skeleton clips as a whole: reproducible, balanced, true where it says so, and spurious where it
//! says so.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pg_embedded::{SkeletonScene, SkeletonSet, SkeletonSpec, WriteError};
use pg_random::Seed;
use pg_skeleton::{Instance, read_clips};
use pg_tubes::{Tube, read_ground_truth};
use std::collections::HashSet;
use std::fs;

fn small() -> SkeletonSpec {
    SkeletonSpec { train: 60, val: 36, test: 72, ..SkeletonSpec::default() }
}

fn draw(spec: &SkeletonSpec) -> SkeletonSet {
    SkeletonSet::generate(spec, Seed(7)).unwrap()
}

fn scenes(set: &SkeletonSet) -> impl Iterator<Item = &SkeletonScene> {
    set.train.iter().chain(&set.val).chain(&set.test)
}

fn tube(scene: &SkeletonScene) -> &Tube {
    &scene.truth.tubes[0].tube
}

fn label(scene: &SkeletonScene) -> &str {
    scene.clip.label.as_deref().unwrap()
}

/// The instances that are the actor in a frame of the action, or those that are not.
fn instances(scene: &SkeletonScene, actor: bool) -> impl Iterator<Item = &Instance> {
    let pairs = scene.clip.instances.iter().zip(&scene.actor);
    pairs.filter(move |(_, is)| **is == actor).map(|(instance, _)| instance)
}

#[test]
fn threads_change_nothing_and_the_seed_everything() {
    let with_threads = |count: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
        pool.install(|| draw(&small()))
    };
    let one = with_threads(1);
    assert!(one == with_threads(3));
    let other = SkeletonSet::generate(&small(), Seed(8)).unwrap();
    assert_ne!(one.train[0].clip.instances, other.train[0].clip.instances);
    assert_ne!(one.val[0].clip.instances, one.test[0].clip.instances);
}

#[test]
fn a_longer_split_starts_with_the_shorter_one() {
    let (short, long) = (draw(&small()), draw(&SkeletonSpec { train: 90, ..small() }));
    assert_eq!(short.train, long.train[..60]);
    assert_eq!(short.test, long.test);
}

#[test]
fn classes_take_turns_and_clips_are_as_asked() {
    let spec = small();
    let set = draw(&spec);
    assert_eq!(set.classes, ["wave", "clap", "kick", "squat", "jump", "bow"]);
    for (index, scene) in set.train.iter().enumerate() {
        assert_eq!(label(scene), set.classes[index % 6]);
    }
    let ids: HashSet<&str> = scenes(&set).map(|scene| scene.clip.id.as_str()).collect();
    assert_eq!(ids.len(), 60 + 36 + 72);
    for scene in scenes(&set) {
        scene.clip.check().unwrap();
        assert!((32..=48).contains(&scene.clip.frames));
        assert_eq!(
            (scene.clip.width, scene.clip.height, scene.actor.len()),
            (320, 240, scene.clip.instances.len())
        );
        assert!(scene.clip.instances.is_sorted_by_key(|instance| instance.frame));
        assert!(scene.clip.instances.iter().all(|i| i.keypoints.len() == 17 && i.track.is_none()));
        let per_frame = scene.clip.instances.len() as f64 / scene.clip.frames as f64;
        assert!((1.0..4.1).contains(&per_frame), "{per_frame}");
    }
}

#[test]
fn the_posture_goes_with_the_class_in_training_only() {
    let set = draw(&SkeletonSpec { train: 300, ..small() });
    let agree = |scenes: &[SkeletonScene]| {
        let hits = scenes.iter().filter(|scene| set.classes[scene.bystander] == label(scene)).count();
        hits as f64 / scenes.len() as f64
    };
    assert_eq!((agree(&set.train), agree(&set.val), agree(&set.test)), (0.8, 1.0 / 6.0, 1.0 / 6.0));
    assert_eq!(set.postures[1], "arms crossed");
    assert_eq!(set.postures.len(), 6);
}

#[test]
fn every_tube_is_inside_of_its_clip_and_as_long_as_asked() {
    for scene in scenes(&draw(&small())) {
        let (frames, tube) = (scene.clip.frames, tube(scene));
        assert_eq!((scene.truth.tubes.len(), &scene.truth.id), (1, &scene.clip.id));
        assert_eq!(scene.truth.tubes[0].label, label(scene));
        assert!(tube.end() <= frames);
        let share = tube.boxes.len() as f64 / frames as f64;
        assert!((0.28..0.72).contains(&share), "{share}");
        for b in &tube.boxes {
            assert!(0.0 <= b.x0 && 0.0 <= b.y0 && b.x1 <= 320.0 && b.y1 <= 240.0, "{b:?}");
            assert!(b.x1 - b.x0 > 6.0 && b.y1 - b.y0 > 12.0, "{b:?}");
        }
        // Boxes of consecutive frames are of one person.
        assert!(tube.boxes.windows(2).all(|pair| pair[0].iou(pair[1]) > 0.2));
    }
}

#[test]
fn the_actor_is_in_the_boxes_and_seen_in_most_of_their_frames() {
    let set = draw(&small());
    let (mut frames, mut seen) = (0, 0);
    for scene in scenes(&set) {
        frames += tube(scene).boxes.len();
        let mut before = None;
        for instance in instances(scene, true) {
            assert!(before < Some(instance.frame), "twice in a frame");
            before = Some(instance.frame);
            let within = tube(scene).box_at(instance.frame).unwrap();
            let found: Vec<_> = instance.keypoints.iter().filter(|point| point.confidence > 0.0).collect();
            let inside = |x: f32, y: f32| {
                let (x, y) = (f64::from(x), f64::from(y));
                within.x0 <= x && x <= within.x1 && within.y0 <= y && y <= within.y1
            };
            let mean = |of: fn(&pg_skeleton::Keypoint) -> f32| {
                found.iter().map(|point| of(point)).sum::<f32>() / found.len() as f32
            };
            assert!(inside(mean(|point| point.x), mean(|point| point.y)));
            // Displaced joints of somebody seen from the side may lie a little outside of a narrow box.
            let outside = found.iter().filter(|point| !inside(point.x, point.y)).count();
            assert!(outside <= 5, "{}, frame {}: {outside}", scene.clip.id, instance.frame);
            seen += 1;
        }
    }
    let share = f64::from(seen) / frames as f64;
    assert!((0.96..1.0).contains(&share), "{share}");
}

#[test]
fn people_come_in_any_order_and_tracks_tell_who_is_who() {
    let set = draw(&SkeletonSpec { tracks: true, ..small() });
    let mut firsts = 0;
    let mut actions = 0;
    for scene in &set.train {
        let actors: HashSet<_> = instances(scene, true).map(|instance| instance.track.unwrap()).collect();
        assert_eq!(actors.len(), 1);
        let in_frame = scene.clip.instances.iter().map(|i| (i.frame, i.track)).collect::<HashSet<_>>();
        assert_eq!(in_frame.len(), scene.clip.instances.len(), "a track is in a frame once");
        for instance in instances(scene, true) {
            let first = scene.clip.instances.iter().find(|other| other.frame == instance.frame).unwrap();
            firsts += usize::from(first.track == instance.track);
            actions += 1;
        }
    }
    let share = firsts as f64 / actions as f64;
    assert!((0.25..0.5).contains(&share), "the actor is first in {share} of the frames");
}

/// Places of the joints in units of the person's extent; a joint that was not found is in the middle.
fn shape(instance: &Instance) -> Vec<f32> {
    let extent = instance.extent(0.0).unwrap();
    let height = (extent.y1 - extent.y0).max(1.0) as f32;
    let middle = [(extent.x0 + extent.x1) as f32 / 2.0, (extent.y0 + extent.y1) as f32 / 2.0];
    let place = |point: &pg_skeleton::Keypoint| match point.confidence {
        0.0 => [0.0, 0.0],
        _ => [(point.x - middle[0]) / height, (point.y - middle[1]) / height],
    };
    instance.keypoints.iter().flat_map(place).collect()
}

/// How many of the shapes have the nearest neighbour of the same kind.
fn nearest_agrees(known: &[(usize, Vec<f32>)], asked: &[(usize, Vec<f32>)]) -> f64 {
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    let right = asked.iter().filter(|(kind, shape)| {
        let nearest = known.iter().min_by(|a, b| apart(&a.1, shape).total_cmp(&apart(&b.1, shape)));
        nearest.unwrap().0 == *kind
    });
    right.count() as f64 / asked.len() as f64
}

#[test]
fn a_frame_of_the_action_mostly_tells_the_class() {
    let set = draw(&SkeletonSpec { train: 120, ..small() });
    let shapes = |scenes: &[SkeletonScene]| -> Vec<(usize, Vec<f32>)> {
        let of = |scene: &SkeletonScene| -> Vec<_> {
            let class = set.classes.iter().position(|class| class == label(scene)).unwrap();
            instances(scene, true).map(|instance| (class, shape(instance))).collect()
        };
        scenes.iter().flat_map(of).collect()
    };
    let share = nearest_agrees(&shapes(&set.train), &shapes(&set.test));
    assert!((0.5..0.95).contains(&share), "{share}");
}

#[test]
fn the_action_differs_from_what_bystanders_do() {
    let set = draw(&SkeletonSpec { train: 120, ..small() });
    let shapes = |scenes: &[SkeletonScene]| -> Vec<(usize, Vec<f32>)> {
        let of = |scene: &SkeletonScene, actor: bool| -> Vec<_> {
            // As many of either.
            let step = if actor { 1 } else { 4 };
            instances(scene, actor).step_by(step).map(|i| (usize::from(actor), shape(i))).collect()
        };
        scenes.iter().flat_map(|scene| [of(scene, true), of(scene, false)].concat()).collect()
    };
    let share = nearest_agrees(&shapes(&set.train), &shapes(&set.test));
    assert!((0.65..0.97).contains(&share), "{share}");
}

#[test]
fn a_written_set_reads_back() {
    let set = draw(&SkeletonSpec { train: 7, val: 6, test: 6, ..SkeletonSpec::default() });
    let folder = tempfile::tempdir().unwrap();
    set.write(folder.path()).unwrap();
    for (split, scenes) in [("train", &set.train), ("val", &set.val), ("test", &set.test)] {
        let clips = read_clips(&folder.path().join(format!("{split}.jsonl"))).unwrap();
        assert!(clips.iter().eq(scenes.iter().map(|scene| &scene.clip)), "{split}");
    }
    for (split, scenes) in [("val", &set.val), ("test", &set.test)] {
        let truth = read_ground_truth(&folder.path().join(format!("truth-{split}.jsonl"))).unwrap();
        assert!(truth.iter().eq(scenes.iter().map(|scene| &scene.truth)), "{split}");
    }
    let labels = fs::read_to_string(folder.path().join("labels.txt")).unwrap();
    assert_eq!(labels, "wave\nclap\nkick\nsquat\njump\nbow\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);

    let again = set.write(folder.path()).unwrap_err();
    assert!(matches!(again, WriteError::NotEmpty(_)), "{again}");
}
