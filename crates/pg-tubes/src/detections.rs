//! What was detected in videos: JSON lines, one video a line.
//!
//! ```text
//! {"id": "v_1", "frames": 120, "classes": ["run", "wave"],
//!  "instances": [{"frame": 0, "track": 2, "box": [10, 20, 40, 90], "scores": [0.1, 0.9]}],
//!  "tubes": [{"label": "wave", "score": 0.8, "start": 0, "boxes": [[10, 20, 40, 90]]}]}
//! ```

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use crate::bounding_box::BoundingBox;
use crate::json_lines::{FileError, Record, read_checked, write_lines};
use crate::tube::Tube;
use serde::{Deserialize, Serialize};

/// What was detected in a video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoDetections {
    /// Name of the video.
    pub id: String,
    /// Its length.
    pub frames: usize,
    /// Names of the classes, in the order of [`InstanceScores::scores`].
    pub classes: Vec<String>,
    /// Every person in every frame.
    #[serde(default)]
    pub instances: Vec<InstanceScores>,
    /// Instances linked over time.
    #[serde(default)]
    pub tubes: Vec<DetectedTube>,
}

/// A person in a frame, with a score for each class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceScores {
    /// The frame, from 0.
    pub frame: usize,
    /// The person's track, if the input had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<u32>,
    /// Where the person is.
    #[serde(rename = "box")]
    pub bounding_box: BoundingBox,
    /// One score a class; higher is surer.
    pub scores: Vec<f32>,
}

/// A detected action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectedTube {
    /// Name of the class.
    pub label: String,
    /// How sure; the scale is the same in all videos.
    pub score: f64,
    /// Where and when.
    #[serde(flatten)]
    pub tube: Tube,
}

impl VideoDetections {
    /// The positions of the instances of each frame that has any.
    pub(crate) fn instances_by_frame(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut frames: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (position, instance) in self.instances.iter().enumerate() {
            frames.entry(instance.frame).or_default().push(position);
        }
        frames
    }

    fn check_instance(&self, instance: &InstanceScores) -> Result<(), String> {
        let InstanceScores { frame, track: _, bounding_box, scores } = instance;
        if *frame >= self.frames {
            return Err(format!("frame {frame} of a video of {} frames; count frames from 0", self.frames));
        }
        bounding_box.check()?;
        let (found, expected) = (scores.len(), self.classes.len());
        if found != expected {
            return Err(format!("{found} scores for {expected} classes; give one score a class"));
        }
        match scores.iter().position(|score| !score.is_finite()) {
            Some(class) => Err(format!("score {class} is {}; write a finite number", scores[class])),
            None => Ok(()),
        }
    }

    fn check_tube(&self, detected: &DetectedTube) -> Result<(), String> {
        let DetectedTube { label, score, tube } = detected;
        if !self.classes.contains(label) {
            return Err(format!("label `{label}` is not among `classes`; add it there or correct it"));
        }
        if !score.is_finite() {
            return Err(format!("score is {score}; write a finite number"));
        }
        tube.check()?;
        if tube.end() > self.frames {
            let last = tube.end() - 1;
            return Err(format!(
                "reaches frame {last} of a video of {} frames; count frames from 0",
                self.frames
            ));
        }
        Ok(())
    }
}

impl Record for VideoDetections {
    fn id(&self) -> &str {
        &self.id
    }

    fn check(&self) -> Result<(), String> {
        let mut classes = HashSet::new();
        if let Some(class) = self.classes.iter().find(|class| !classes.insert(*class)) {
            return Err(format!("class `{class}` is in `classes` twice; give each class one name"));
        }
        for (index, instance) in self.instances.iter().enumerate() {
            self.check_instance(instance).map_err(|problem| format!("instance {index}: {problem}"))?;
        }
        for (index, tube) in self.tubes.iter().enumerate() {
            self.check_tube(tube).map_err(|problem| format!("tube {index}: {problem}"))?;
        }
        Ok(())
    }
}

/// Reads and checks detections. For a file of which some lines may be wrong see [`crate::read_each`].
///
/// # Errors
/// [`FileError`], for the first line that is wrong: not JSON, a video that an earlier line has, a class named
/// twice, a tube without boxes or beyond the video, a label that is not among the classes, an instance beyond the
/// video or with too few or too many scores, a box that ends before it starts, a number that is not finite.
pub fn read_detections(path: &Path) -> Result<Vec<VideoDetections>, FileError> {
    read_checked(path)
}

/// Writes detections.
///
/// # Errors
/// [`FileError::Write`].
pub fn write_detections(path: &Path, videos: &[VideoDetections]) -> Result<(), FileError> {
    write_lines(path, videos)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::json_lines::read_each;

    const SOUND: &str = r#"{"id": "v", "frames": 3, "classes": ["run", "wave"],
        "instances": [{"frame": 2, "track": 7, "box": [1, 2, 3, 4.5], "scores": [0.1, 0.9]}],
        "tubes": [{"label": "wave", "score": 0.8, "start": 1, "boxes": [[1, 2, 3, 4], [1, 2, 3, 4]]}]}"#;

    fn line(text: &str) -> String {
        text.replace('\n', " ")
    }

    fn read(lines: &str) -> Result<Vec<VideoDetections>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.jsonl");
        fs::write(&path, lines).unwrap();
        let prefix = format!("{}/", folder.path().display());
        read_detections(&path).map_err(|error| error.to_string().replace(&prefix, ""))
    }

    #[test]
    fn detections_are_read_and_written() {
        let videos =
            read(&format!("\n{}\r\n{{\"id\": \"w\", \"frames\": 0, \"classes\": []}}", line(SOUND))).unwrap();
        assert_eq!(videos[0].instances[0].track, Some(7));
        assert_eq!(videos[0].tubes[0].tube.end(), 3);
        assert_eq!(videos[1].tubes, []);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("again.jsonl");
        write_detections(&path, &videos).unwrap();
        assert_eq!(read_detections(&path).unwrap(), videos);
    }

    #[test]
    fn broken_detections_are_explained_in_one_line() {
        let changes = [
            (
                r#""frame": 2"#,
                r#""frame": 3"#,
                "instance 0: frame 3 of a video of 3 frames; count frames from 0",
            ),
            ("[0.1, 0.9]", "[0.1]", "instance 0: 1 scores for 2 classes; give one score a class"),
            ("[0.1, 0.9]", "[0.1, 1e39]", "number out of range (column 143); correct the line"),
            (
                "[1, 2, 3, 4.5]",
                "[1, 2, 0, 4]",
                "instance 0: box [1.0, 2.0, 0.0, 4.0] ends before it starts; write [x0, y0, x1, y1] in pixels",
            ),
            (
                "[[1, 2, 3, 4], [1, 2, 3, 4]]",
                "[[1, 2, 3, 4], [1, 2, 3, 1]]",
                "tube 0: frame 2: box [1.0, 2.0, 3.0, 1.0] ends before it starts; write [x0, y0, x1, y1] in pixels",
            ),
            (
                "[[1, 2, 3, 4], [1, 2, 3, 4]]",
                "[]",
                "tube 0: ends before it starts; give it a box in at least one frame, or remove it",
            ),
            (
                r#""start": 1"#,
                r#""start": 2"#,
                "tube 0: reaches frame 3 of a video of 3 frames; count frames from 0",
            ),
            (
                r#""start": 1"#,
                r#""start": 18446744073709551615"#,
                "tube 0: starts at frame 18446744073709551615; count frames from 0",
            ),
            (
                r#""label": "wave""#,
                r#""label": "Wave""#,
                "tube 0: label `Wave` is not among `classes`; add it there or correct it",
            ),
            (
                r#"["run", "wave"]"#,
                r#"["wave", "wave"]"#,
                "class `wave` is in `classes` twice; give each class one name",
            ),
            (r#""score": 0.8"#, r#""score": 1e999"#, "number out of range (column 197); correct the line"),
            (
                r#""frames": 3"#,
                r#""frames": -3"#,
                "invalid value: integer `-3`, expected usize (column 24); correct the line",
            ),
            (r#""frames": 3, "#, "", "missing field `frames` (column 236); correct the line"),
        ];
        for (from, to, expected) in changes {
            let text = line(SOUND).replacen(from, to, 1);
            assert_ne!(text, line(SOUND));
            assert_eq!(read(&text), Err(format!("d.jsonl:1: {expected}")));
        }
        let twice = format!("{0}\n\n{0}\n", line(SOUND));
        assert_eq!(read(&twice), Err("d.jsonl:3: video `v` is on line 1 too; remove one of them".to_owned()));
        let odd = twice.replace(r#""v""#, r#""v\n""#);
        assert_eq!(read(&odd), Err("d.jsonl:3: video `v ` is on line 1 too; remove one of them".to_owned()));
        assert_eq!(read(" \n"), Err("d.jsonl: is empty; one JSON object a line is expected".to_owned()));
        let missing = read_detections(Path::new("no/such.jsonl")).unwrap_err().to_string();
        assert!(missing.starts_with("no/such.jsonl: ") && missing.ends_with("; check the path"), "{missing}");
    }

    #[test]
    fn numbers_that_json_cannot_hold_are_refused_all_the_same() {
        let mut video: VideoDetections = serde_json::from_str(SOUND).unwrap();
        video.tubes[0].score = f64::NAN;
        assert_eq!(video.check(), Err("tube 0: score is NaN; write a finite number".to_owned()));
        video.instances[0].scores[1] = f32::INFINITY;
        assert_eq!(video.check(), Err("instance 0: score 1 is inf; write a finite number".to_owned()));
        video.instances.clear();
        video.tubes[0].tube.boxes[0].x1 = f64::INFINITY;
        video.tubes[0].score = 1.0;
        let expected = "tube 0: frame 1: box [1.0, 2.0, inf, 4.0] has a number that is not finite; \
                        write [x0, y0, x1, y1] in pixels";
        assert_eq!(video.check(), Err(expected.to_owned()));
    }

    #[test]
    fn lines_can_be_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.jsonl");
        let lines = [line(SOUND).into_bytes(), b"{".to_vec(), b"\"\xff\"".to_vec(), line(SOUND).into_bytes()];
        fs::write(&path, lines.join(&b'\n')).unwrap();
        let videos: Vec<Result<VideoDetections, FileError>> = read_each(&path).unwrap();
        let problems: Vec<String> =
            videos.iter().filter_map(|video| Some(video.as_ref().err()?.to_string())).collect();
        let prefix = path.display();
        let expected = [
            format!("{prefix}:2: EOF while parsing an object (column 1); correct the line"),
            format!("{prefix}:3: not UTF-8 text; save the file as UTF-8"),
            format!("{prefix}:4: video `v` is on line 1 too; remove one of them"),
        ];
        assert_eq!(problems, expected);
        assert!(videos[0].is_ok());
    }
}
