//! Clips to train, validate and test with.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use pg_embedded::{SkeletonScene, SkeletonSet, SkeletonSpec};
use pg_models::SkpSpec;
use pg_random::Seed;
use pg_skeleton::{Clip, read_clip_lines};
use pg_tasks::fingerprint::Fingerprint;
use pg_tubes::{LabelledTube, VideoTruth, read_each};

use crate::error::{StadError, one_line};
use crate::sampling::is_seen;

/// Clips of one kind, with one label each.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What it is called in a run directory's name.
    pub name: String,
    /// Class names; a label is an index into them.
    pub classes: Vec<String>,
    /// Joints of a person, the same in all clips.
    pub keypoints: usize,
    /// Clips to train with, never empty.
    pub train: Vec<Example>,
    /// Clips to select a model with; may be empty.
    pub val: Vec<Example>,
    /// Clips to report on; may be empty.
    pub test: Vec<Example>,
    /// Where and when the actions of the test clips are, if known.
    pub truth: Vec<VideoTruth>,
}

/// A clip with its class.
#[derive(Clone, Debug)]
pub struct Example {
    /// The people.
    pub clip: Clip,
    /// Index into [`Dataset::classes`].
    pub label: u32,
}

/// Where clips come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Drawn by the program's own generator.
    Embedded,
    /// Read from files.
    Files(Files),
}

/// Files of clips.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Files {
    /// Class names, one a line.
    pub label_map: PathBuf,
    /// To train with.
    pub train: Vec<PathBuf>,
    /// To select with.
    pub val: Vec<PathBuf>,
    /// To report on.
    pub test: Vec<PathBuf>,
    /// Tubes of the test clips.
    pub ground_truth: Option<PathBuf>,
    /// Whether clips that cannot be used are named and passed over.
    pub keep_going: bool,
}

impl Source {
    /// Reads or draws the clips.
    ///
    /// # Errors
    /// [`StadError`], naming the file and the line or the clip.
    pub fn open(&self) -> Result<Dataset, StadError> {
        match self {
            Self::Embedded => embedded(&SkeletonSpec::default()),
            Self::Files(files) => files.open(),
        }
    }
}

/// The embedded set of a specification. Its own seed is part of the protocol: runs that differ in their seed train and test
/// on the same clips.
///
/// # Errors
/// [`StadError::Embedded`].
pub fn embedded(spec: &SkeletonSpec) -> Result<Dataset, StadError> {
    let set = SkeletonSet::generate(spec, Seed(0))?;
    let label = |scene: &SkeletonScene| {
        let class = scene.clip.label.as_deref();
        set.classes.iter().position(|name| Some(name.as_str()) == class).unwrap_or_default() as u32
    };
    let examples = |scenes: &[SkeletonScene]| {
        scenes.iter().map(|scene| Example { clip: scene.clip.clone(), label: label(scene) }).collect()
    };
    let keypoints = set.train.iter().find_map(|scene| scene.clip.keypoint_count()).unwrap_or(17);
    Ok(Dataset {
        name: "embedded".into(),
        keypoints,
        train: examples(&set.train),
        val: examples(&set.val),
        test: examples(&set.test),
        truth: set.test.iter().map(|scene| scene.truth.clone()).collect(),
        classes: set.classes,
    })
}

impl Files {
    fn open(&self) -> Result<Dataset, StadError> {
        let classes = read_labels(&self.label_map)?;
        let mut keypoints = None;
        let mut read = |files: &[PathBuf], purpose| self.examples(files, &classes, &mut keypoints, purpose);
        let (train, val, mut test) =
            (read(&self.train, "training")?, read(&self.val, "validation")?, read(&self.test, "testing")?);
        let truth = match &self.ground_truth {
            Some(path) => self.truth(path, &classes, &mut test)?,
            None => Vec::new(),
        };
        warn_of_common_clips(&train, [("validates", &val), ("tests", &test)]);
        let first = self.train.first().and_then(|path| path.file_stem()).and_then(|stem| stem.to_str());
        Ok(Dataset {
            name: first.unwrap_or("clips").to_owned(),
            classes,
            keypoints: keypoints.unwrap_or_default(),
            train,
            val,
            test,
            truth,
        })
    }

    fn examples(
        &self,
        files: &[PathBuf],
        classes: &[String],
        keypoints: &mut Option<usize>,
        purpose: &'static str,
    ) -> Result<Vec<Example>, StadError> {
        let mut examples = Vec::new();
        for (path, clip) in read_each_clip(files)? {
            let example = clip.and_then(|clip| {
                let example = labelled(path, clip, classes)?;
                check_people(path, &example.clip, keypoints)?;
                Ok(example)
            });
            examples.extend(self.usable(example)?);
        }
        match files.first() {
            Some(path) if examples.is_empty() => Err(StadError::NoClips { path: path.clone(), purpose }),
            _ => Ok(examples),
        }
    }

    /// What is known of the test clips. A file may tell of other videos too, but of each of these clips it must.
    fn truth(
        &self,
        path: &Path,
        classes: &[String],
        test: &mut Vec<Example>,
    ) -> Result<Vec<VideoTruth>, StadError> {
        let tested: HashSet<&str> = test.iter().map(|example| example.clip.id.as_str()).collect();
        let mut truth = Vec::new();
        for video in read_each_truth(path)? {
            let video = match video.map(|video| named_as(&tested, path, video)) {
                Ok(None) => continue,
                Ok(Some(video)) => check_tubes(path, video, classes),
                Err(error) => Err(error),
            };
            truth.extend(self.usable(video)?);
        }
        let known: HashSet<&str> = truth.iter().map(|video| video.id.as_str()).collect();
        let mut annotated = Vec::new();
        for example in test.drain(..) {
            let id = &example.clip.id;
            let example = if known.contains(id.as_str()) {
                Ok(example)
            } else {
                let reason =
                    "is not annotated; annotate it (without tubes if idle), or leave it out of --test";
                Err(StadError::Clip { path: path.to_owned(), id: id.clone(), reason: reason.into() })
            };
            annotated.extend(self.usable(example)?);
        }
        *test = annotated;
        if test.is_empty() {
            return Err(StadError::NoClips { path: path.to_owned(), purpose: "testing" });
        }
        Ok(truth)
    }

    /// What was read; `None`, and a warning, where something is wrong with it and the rest is to be used.
    fn usable<T>(&self, read: Result<T, StadError>) -> Result<Option<T>, StadError> {
        match read {
            Err(error) if self.keep_going => {
                tracing::warn!("skipped: {error}");
                Ok(None)
            }
            read => read.map(Some),
        }
    }
}

/// The file of a clip, and the clip or what is wrong with it.
pub type ReadClip<'a> = (&'a Path, Result<Clip, StadError>);

/// The clips of some files, each with its file and by itself. A clip whose name another file has is wrong: what is said of
/// clips is said by name.
///
/// # Errors
/// If a file cannot be read.
pub fn read_each_clip(files: &[PathBuf]) -> Result<Vec<ReadClip<'_>>, StadError> {
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut clips = Vec::new();
    for (place, path) in files.iter().enumerate() {
        for clip in read_clip_lines(path)? {
            let clip = clip.map_err(StadError::from).and_then(|clip| {
                let other = *first.entry(clip.id.clone()).or_insert(place);
                if other == place {
                    return Ok(clip);
                }
                let reason = if files[other] == *path {
                    "is there twice, since its file is named twice; name it once".to_owned()
                } else {
                    format!("is in {} too; remove or rename one", files[other].display())
                };
                Err(StadError::Clip { path: path.clone(), id: clip.id, reason })
            });
            clips.push((path.as_path(), clip));
        }
    }
    Ok(clips)
}

/// The same for a network, which can only use clips of people with as many joints as those that it was trained on.
///
/// # Errors
/// As [`read_each_clip`].
pub fn read_each_clip_for(
    spec: &SkpSpec,
    paths: &[PathBuf],
) -> Result<Vec<Result<Clip, StadError>>, StadError> {
    let fits = |(path, clip): (&Path, Result<Clip, StadError>)| {
        let clip = clip?;
        match (spec.keypoints, clip.keypoint_count()) {
            (Some(expected), Some(found)) if expected != found => {
                let reason = format!(
                    "has {found} joints a person, the network was trained on {expected}; use the same pose estimator"
                );
                Err(StadError::Clip { path: path.to_owned(), id: clip.id, reason })
            }
            _ => Ok(clip),
        }
    };
    Ok(read_each_clip(paths)?.into_iter().map(fits).collect())
}

/// Annotated tubes, video by video: JSON lines, or UCF101-24's `pyannot.pkl` or `UCF101v2-GT.pkl`.
///
/// # Errors
/// If the file cannot be read; of a pickle, whatever is wrong.
pub fn read_each_truth(path: &Path) -> Result<Vec<Result<VideoTruth, StadError>>, StadError> {
    if is_pickle(path) {
        return Ok(pg_skeleton::ucf101::read(path)?.into_iter().map(Ok).collect());
    }
    let videos = read_each::<VideoTruth>(path)?;
    Ok(videos.into_iter().map(|video| video.map_err(StadError::from)).collect())
}

/// Whether a file of annotations is UCF101-24's own, which has the training videos too.
pub fn is_pickle(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "pkl" || extension == "pickle")
}

/// The video of a file, if it is one of the `named`, under the name that it has there: UCF101-24's own annotation puts the
/// class in front, `Basketball/v_Basketball_g01_c01`, PYSKL's files do not, and either is unique.
pub fn named_as(named: &HashSet<&str>, path: &Path, video: VideoTruth) -> Option<VideoTruth> {
    let bare = video.id.rsplit('/').next().unwrap_or_default();
    if named.contains(video.id.as_str()) {
        Some(video)
    } else if is_pickle(path) && named.contains(bare) {
        Some(VideoTruth { id: bare.to_owned(), ..video })
    } else {
        None
    }
}

fn check_tubes(path: &Path, video: VideoTruth, classes: &[String]) -> Result<VideoTruth, StadError> {
    match video.tubes.iter().find(|tube| !classes.contains(&tube.label)) {
        None => Ok(video),
        Some(LabelledTube { label, .. }) => {
            let reason = format!(
                "has a tube with the label `{}`, which is not in the label map; add it there",
                one_line(label)
            );
            Err(StadError::Clip { path: path.to_owned(), id: video.id, reason })
        }
    }
}

fn labelled(path: &Path, clip: Clip, classes: &[String]) -> Result<Example, StadError> {
    let refuse = |reason: String| StadError::Clip { path: path.to_owned(), id: clip.id.clone(), reason };
    let Some(label) = &clip.label else {
        return Err(refuse("has no label; add \"label\", or leave it out".into()));
    };
    match classes.iter().position(|class| class == label) {
        Some(place) => Ok(Example { label: place as u32, clip }),
        None => Err(refuse(format!(
            "has the label `{}`, which is not in the label map; add it there",
            one_line(label)
        ))),
    }
}

/// A clip without anyone in it teaches nothing, and all people have as many joints.
fn check_people(path: &Path, clip: &Clip, keypoints: &mut Option<usize>) -> Result<(), StadError> {
    let refuse = |reason: String| Err(StadError::Clip { path: path.to_owned(), id: clip.id.clone(), reason });
    if !has_people(clip) {
        return refuse("has nobody in it; leave it out".into());
    }
    let found = clip.keypoint_count();
    match (*keypoints, found) {
        (Some(expected), Some(found)) if expected != found => {
            refuse(format!("has {found} joints a person, others have {expected}; use one pose estimator"))
        }
        _ => {
            *keypoints = keypoints.or(found);
            Ok(())
        }
    }
}

/// Says which split has clips of the training split: what is measured on it says little of other clips.
fn warn_of_common_clips(train: &[Example], splits: [(&str, &[Example]); 2]) {
    let trained: HashSet<&str> = train.iter().map(|example| example.clip.id.as_str()).collect();
    for (does, examples) in splits {
        let mut common = examples.iter().filter(|example| trained.contains(example.clip.id.as_str()));
        if let Some(example) = common.next() {
            let (id, more) = (one_line(&example.clip.id), common.count());
            tracing::warn!("clip `{id}`, and {more} more, both trains and {does}");
        }
    }
}

/// Whether anyone in the clip has a joint.
pub fn has_people(clip: &Clip) -> bool {
    clip.instances.iter().any(is_seen)
}

/// Class names, one a line; blank lines are ignored.
///
/// # Errors
/// [`StadError::Labels`]; [`StadError::LabelLine`] for a name that is there twice, or fewer than two names.
pub fn read_labels(path: &Path) -> Result<Vec<String>, StadError> {
    let bytes = fs::read(path).map_err(|source| StadError::Labels { path: path.to_owned(), source })?;
    let refuse = |line, reason: String| Err(StadError::LabelLine { path: path.to_owned(), line, reason });
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}'),
        Err(error) => {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            return refuse(line, "not UTF-8 text; save the file as UTF-8".into());
        }
    };
    let mut lines = HashMap::new();
    let mut labels = Vec::new();
    for (line, label) in (1..).zip(text.lines()).filter(|(_, label)| !label.trim().is_empty()) {
        if let Some(first) = lines.insert(label.trim(), line) {
            return refuse(
                line,
                format!("`{}` is already in line {first}; remove one", one_line(label.trim())),
            );
        }
        labels.push(label.trim().to_owned());
    }
    if labels.len() < 2 {
        return refuse(1, format!("{} class; name at least two, one a line", labels.len()));
    }
    Ok(labels)
}

impl Dataset {
    /// Keeps `most` clips to validate and as many to test with, spread evenly since files often go class by class, and what
    /// is known of them.
    pub fn limit(&mut self, most: usize) {
        for examples in [&mut self.val, &mut self.test] {
            if examples.len() > most {
                let count = examples.len();
                *examples = (0..most).map(|place| examples[place * count / most].clone()).collect();
            }
        }
        let kept: HashSet<&str> = self.test.iter().map(|example| example.clip.id.as_str()).collect();
        self.truth.retain(|video| kept.contains(video.id.as_str()));
    }

    /// Its classes, and of each split the clips by name, length and label.
    pub fn fingerprint(&self) -> Fingerprint {
        let identity = |example: &Example| {
            let numbers = [example.label as usize, example.clip.frames, example.clip.instances.len()];
            [example.clip.id.as_bytes(), &numbers.map(usize::to_le_bytes).concat()].concat()
        };
        let of = |examples: &[Example]| examples.iter().map(identity).collect::<Vec<_>>();
        Fingerprint::new(&self.classes)
            .with("training", of(&self.train))
            .with("validation", of(&self.val))
            .with("test", of(&self.test))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{clip, person};

    #[test]
    fn a_limit_leaves_clips_of_every_class() {
        // Class by class, as files often are.
        let examples: Vec<Example> = (0..9)
            .map(|index| Example {
                clip: clip(&format!("v{index}"), 1, vec![person(0, 0.0, 0.0)]),
                label: index / 3,
            })
            .collect();
        let truth = |example: &Example| VideoTruth { id: example.clip.id.clone(), tubes: vec![] };
        let mut dataset = Dataset {
            name: "nine".into(),
            classes: vec![],
            keypoints: 1,
            truth: examples.iter().map(truth).collect(),
            train: examples.clone(),
            val: examples[..2].to_vec(),
            test: examples,
        };
        let whole = dataset.fingerprint();
        dataset.limit(9);
        assert_eq!(dataset.fingerprint(), whole);
        dataset.limit(3);
        assert_eq!(dataset.test.iter().map(|example| example.label).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(
            dataset.truth.iter().map(|video| video.id.as_str()).collect::<Vec<_>>(),
            ["v0", "v3", "v6"]
        );
        assert_eq!((dataset.train.len(), dataset.val.len()), (9, 2));
        assert_ne!(dataset.fingerprint(), whole);
    }
}
