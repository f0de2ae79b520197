//! Synthesis that keeps its provenance.
//!
//! A mix or an edit is made of parts that belong to different sources. Every [`Synthesiser`] takes a batch
//! and a seeded generator and returns the samples *and* where their parts came from: the labels of both
//! sources, the share `lam` of the first, and [`Masks`] that are 1 where a pixel is the first source's.
//! [`PuzzleMix`] is given saliency as well, and mixes by an exact minimum cut. [`Mixup`] blends every pixel
//! and says so in its type, [`NoProvenance`]. Results do not depend on the number of threads. The crate works
//! on slices and images, without a tensor library.
//!
//! Edits come from files: [`read_manifest`] lists them, [`import_alia`] finds those of an ALIA run, and
//! [`Geometry`] augments an image and its mask alike.
//!
//! ```
//! use pg_random::Seed;
//! use pg_synth::{Batch, CutMix, Synthesiser};
//!
//! // Two grey images of 3 x 8 x 8: a dark one of class 4, a bright one of class 9.
//! let pixels = [vec![0.1; 192], vec![0.9; 192]].concat();
//! let batch = Batch::new(pixels, 3, 8, 8, vec![4, 9])?;
//!
//! let mixed = CutMix::default().synthesise(&batch, &mut Seed(1).stream("cutmix", &[0]))?;
//! for n in 0..batch.len() {
//!     // Where the mask is 1 the pixel is the sample's own, elsewhere its partner's.
//!     let partner = batch.sample(mixed.partner[n]);
//!     for (i, &own) in mixed.provenance.sample(n).iter().enumerate() {
//!         let expected = if own == 1.0 { batch.sample(n)[i] } else { partner[i] };
//!         assert_eq!(mixed.pixels[n * 192 + i], expected);
//!     }
//!     assert_eq!(mixed.label_b[n], batch.labels()[mixed.partner[n]]);
//! }
//! // The share of each label is the mean of the mask.
//! assert_eq!(mixed.lam, mixed.provenance.means());
//! # Ok::<(), pg_synth::SynthError>(())
//! ```

mod alia;
mod batch;
mod cutmix;
mod edits;
mod error;
mod geometry;
mod manifest;
mod mixup;
mod paste;
mod puzzlemix;
mod resizemix;
mod skeletons;
mod synthesiser;

pub use alia::{AliaEdits, AliaError, Original, import_alia};
pub use batch::{Batch, Masks, NoProvenance, Synthetic};
pub use cutmix::{CutMix, CutMixVariant};
pub use edits::{EditPair, EditProvenance, Edits};
pub use error::SynthError;
pub use geometry::{Crop, Geometry, random_flip, random_resized_crop, random_shift};
pub use manifest::{EditRecord, ManifestError, read_manifest, write_manifest};
pub use mixup::Mixup;
pub use puzzlemix::{PuzzleMix, SalientBatch, Transport};
pub use resizemix::{ResizeMix, ResizeMixVariant};
pub use skeletons::{BatchMix, MixedScenes, POINT_FEATURES, Scene, Scenes, SkeletonAugment};
pub use synthesiser::Synthesiser;
