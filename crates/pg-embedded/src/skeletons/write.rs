//! A set of clips as a folder of JSON lines.

use super::{SkeletonScene, SkeletonSet};
use crate::WriteError;
use crate::write::new_folder;
use pg_skeleton::{Clip, write_clips};
use pg_tubes::{VideoTruth, write_ground_truth};
use std::fs;
use std::path::Path;

impl SkeletonSet {
    /// Writes the set into a new or empty folder:
    ///
    /// ```text
    /// train.jsonl, val.jsonl, test.jsonl      the clips, as pg_skeleton::read_clips reads them
    /// truth-val.jsonl, truth-test.jsonl       their tubes, as pg_tubes::read_ground_truth reads them
    /// labels.txt                              the names of the classes, one a line
    /// ```
    ///
    /// # Errors
    /// [`WriteError`] when the folder is not empty or a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        new_folder(folder)?;
        for (split, scenes) in [("train", &self.train), ("val", &self.val), ("test", &self.test)] {
            write_clips(&folder.join(format!("{split}.jsonl")), &clips(scenes))?;
        }
        for (split, scenes) in [("val", &self.val), ("test", &self.test)] {
            write_ground_truth(&folder.join(format!("truth-{split}.jsonl")), &truths(scenes))?;
        }
        let path = folder.join("labels.txt");
        let labels: String = self.classes.iter().map(|class| format!("{class}\n")).collect();
        fs::write(&path, labels).map_err(|source| WriteError::File { path, source })
    }
}

fn clips(scenes: &[SkeletonScene]) -> Vec<Clip> {
    scenes.iter().map(|scene| scene.clip.clone()).collect()
}

fn truths(scenes: &[SkeletonScene]) -> Vec<VideoTruth> {
    scenes.iter().map(|scene| scene.truth.clone()).collect()
}
