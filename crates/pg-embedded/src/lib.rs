//! Sets drawn by a seeded generator: animals on textured ground with a spurious cue, their edits, and more.
//!
//! In training, every class carries a cue of its own, by default a camera stamp in a corner; in validation and test
//! the cue is independent of the class. A network that learns the cue is right in training and wrong later. For each
//! training image there is an edit, made as a generative editor would: the animal is kept, everything else is
//! redrawn. The true masks of both are known, so that the extraction of provenance can be scored.
//!
//! Two more sets are for weak supervision, in which training tells what is seen but not where: [`LocalizationSet`], of
//! animals in images, and [`SkeletonSet`], of people in short clips.
//!
//! A seed gives the same set whatever the number of threads, and nothing is downloaded.
//!
//! ```
//! use pg_embedded::{Embedded, Spec};
//! use pg_random::Seed;
//!
//! let spec = Spec { train: 8, val: 16, test: 16, ..Spec::default() };
//! let set = Embedded::generate(&spec, Seed(0))?;
//! assert_eq!(set.classes, ["cat", "bird", "fish", "rabbit"]);
//! assert_eq!(set.groups[0], "cat/stamp-red");
//! assert!(set.train.iter().all(|scene| scene.cue == scene.label as usize)); // a perfect shortcut
//!
//! let edit = &set.edits[0];
//! let original = &set.train[edit.original];
//! assert_eq!(edit.label, original.label);
//! assert!(edit.image.width() <= original.image.width()); // a multiple of 8
//! assert!(edit.prompt.starts_with("a photo of a cat "));
//! assert!(edit.kept.area() > 0); // 1 where the animal was kept
//! # Ok::<(), pg_embedded::SpecError>(())
//! ```

mod animal;
mod cue;
mod editor;
mod ground;
mod layer;
mod localization;
mod noise;
mod scene;
mod set;
mod shape;
mod skeletons;
mod spec;
mod write;

pub use animal::Species;
pub use cue::Cue;
pub use editor::Edit;
pub use localization::{LocalizationSet, LocalizationSpec, LocatedScene};
pub use scene::Scene;
pub use set::Embedded;
pub use skeletons::{Motion, SkeletonScene, SkeletonSet, SkeletonSpec};
pub use spec::{CueSpec, EditSpec, ImageSpec, Spec, SpecError};
pub use write::WriteError;
