//! Skeletons: batches of scenes, how they are augmented, and how several become one.

mod augment;
mod batchmix;
mod scenes;

pub use augment::SkeletonAugment;
pub use batchmix::{BatchMix, MixedScenes};
pub use scenes::{POINT_FEATURES, Scene, Scenes};
