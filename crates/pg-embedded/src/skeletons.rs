//! Clips of stick figures, to find who does what, where and when, trained without being told.
//!
//! Two to four people are in a clip. One of them, the actor, performs a [`Motion`] in one run of its frames,
//! and the motion is the class of the clip. Before and after, the actor stands about; the others stand, look
//! around or walk across all the time, as people do in clips of any class. The set's maker knows the tube of
//! the action: a box of the actor in each frame of that run. It is for scoring, never for training.
//!
//! *True* is the actor's motion: it decides the class everywhere. *Spurious* is a bystander who holds one
//! posture through the whole clip, such as arms crossed. In training the posture goes with the class as often
//! as `agreement` says; in validation and test it is independent of it. A posture is in every frame and a
//! motion, for a moment of each repetition, looks like standing: the shortcut is the easier of the two to
//! learn.
//!
//! What is seen of the people is what a pose estimator would give: the 17 joints of COCO (Lin et al. 2014) in
//! no order of persons, displaced, some missing, now and then nobody where there is somebody, or the reverse.

mod body;
mod detector;
mod motion;
mod posture;
mod scene;
mod spec;
mod write;

pub use motion::Motion;
pub use spec::SkeletonSpec;

use crate::SpecError;
use crate::set::{balanced, confounded};
use pg_random::Seed;
use pg_skeleton::Clip;
use pg_tubes::VideoTruth;
use posture::Posture;
use rayon::prelude::*;

/// A drawn set of clips of stick figures, to find who does what, where and when.
///
/// In each clip one person, the actor, performs the motion of the class for a while, among others who do
/// nothing of interest. One of those holds a posture all the time. The posture goes with the class in training
/// only: it is the shortcut that a network should not take. The clips have a class each; the true tubes are for
/// scoring.
///
/// ```
/// use pg_embedded::{SkeletonSet, SkeletonSpec};
/// use pg_random::Seed;
///
/// let spec = SkeletonSpec { train: 60, val: 36, test: 36, ..SkeletonSpec::default() };
/// let set = SkeletonSet::generate(&spec, Seed(0))?;
/// let scene = &set.train[2];
/// assert_eq!(scene.clip.label.as_deref(), Some("kick"));
/// assert_eq!(set.postures[scene.bystander], "sitting"); // as with 8 of 10 kicks in training, 1 of 6 later
///
/// let action = &scene.truth.tubes[0].tube;
/// assert!(action.end() <= scene.clip.frames);
/// let acting = scene.actor.iter().filter(|acting| **acting).count();
/// assert!(acting <= action.boxes.len()); // the pose estimator may miss the actor
/// # Ok::<(), pg_embedded::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SkeletonSet {
    /// Names of the classes, in the order of the specification.
    pub classes: Vec<String>,
    /// Names of the bystander's postures; that of a class has the class's index.
    pub postures: Vec<String>,
    /// Training clips, in which the posture goes with the class.
    pub train: Vec<SkeletonScene>,
    /// Validation clips, in which the posture is independent of the class.
    pub val: Vec<SkeletonScene>,
    /// Test clips, in which the posture is independent of the class.
    pub test: Vec<SkeletonScene>,
}

/// A clip and what is true of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SkeletonScene {
    /// What the pose estimator saw, and the class.
    pub clip: Clip,
    /// The tube of the action: exactly one.
    ///
    /// A box is the extent of the actor's 17 joints where they truly are, enlarged by a tenth of its width or
    /// height on each side and clipped to the image.
    pub truth: VideoTruth,
    /// For each instance of the clip: whether it is the actor in a frame of the action.
    pub actor: Vec<bool>,
    /// Index of the bystander's posture in [`SkeletonSet::postures`].
    pub bystander: usize,
}

#[derive(Clone, Copy)]
enum Split {
    Train,
    Val,
    Test,
}

impl SkeletonSet {
    /// Draws a set. Every clip has a random stream of its own, so that the number of threads changes nothing.
    ///
    /// # Errors
    /// [`SpecError`] when the specification asks for what cannot be drawn.
    pub fn generate(spec: &SkeletonSpec, seed: Seed) -> Result<Self, SpecError> {
        spec.check()?;
        let kinds = spec.classes.len();
        Ok(Self {
            classes: spec.classes.iter().map(|class| class.name().to_owned()).collect(),
            postures: Posture::ALL.iter().take(kinds).map(|posture| posture.name().to_owned()).collect(),
            train: draw_split(spec, Split::Train, seed),
            val: draw_split(spec, Split::Val, seed),
            test: draw_split(spec, Split::Test, seed),
        })
    }
}

fn draw_split(spec: &SkeletonSpec, split: Split, seed: Seed) -> Vec<SkeletonScene> {
    let (name, count) = match split {
        Split::Train => ("train", spec.train),
        Split::Val => ("val", spec.val),
        Split::Test => ("test", spec.test),
    };
    let draw = |index: usize| {
        let (label, posture) = match split {
            Split::Train => confounded(index, spec.classes.len(), spec.agreement),
            Split::Val | Split::Test => balanced(index, spec.classes.len()),
        };
        let mut rng = seed.stream("skeletons/scene", &[split as u64, index as u64]);
        scene::draw(spec, format!("{name}-{index:05}"), (label, posture), &mut rng)
    };
    (0..count).into_par_iter().map(draw).collect()
}
