//! What happens in videos, as annotated: JSON lines, one video a line.
//!
//! ```text
//! {"id": "v_1", "tubes": [{"label": "wave", "start": 3, "boxes": [[10, 20, 40, 90], [11, 20, 41, 90]]}]}
//! ```

use std::path::Path;

use crate::json_lines::{FileError, Record, read_checked, write_lines};
use crate::tube::Tube;
use serde::{Deserialize, Serialize};

/// The actions in a video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoTruth {
    /// Name of the video.
    pub id: String,
    /// Its actions; a person who does nothing of interest has none.
    pub tubes: Vec<LabelledTube>,
}

/// One action of one person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelledTube {
    /// Name of the class.
    pub label: String,
    /// Where and when.
    #[serde(flatten)]
    pub tube: Tube,
}

impl Record for VideoTruth {
    fn id(&self) -> &str {
        &self.id
    }

    fn check(&self) -> Result<(), String> {
        self.tubes.iter().enumerate().try_for_each(|(index, labelled)| {
            labelled.tube.check().map_err(|problem| format!("tube {index}: {problem}"))
        })
    }
}

/// Reads and checks annotations. For a file of which some lines may be wrong see [`crate::read_each`].
///
/// # Errors
/// [`FileError`], for the first line that is wrong: not JSON, a video that an earlier line has, a tube without
/// boxes, a box that ends before it starts, a number that is not finite.
pub fn read_ground_truth(path: &Path) -> Result<Vec<VideoTruth>, FileError> {
    read_checked(path)
}

/// Writes annotations.
///
/// # Errors
/// [`FileError::Write`].
pub fn write_ground_truth(path: &Path, videos: &[VideoTruth]) -> Result<(), FileError> {
    write_lines(path, videos)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(lines: &str) -> Result<Vec<VideoTruth>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        fs::write(&path, lines).unwrap();
        let prefix = format!("{}/", folder.path().display());
        read_ground_truth(&path).map_err(|error| error.to_string().replace(&prefix, ""))
    }

    #[test]
    fn annotations_are_read_and_written() {
        let videos = read(
            r#"{"id": "v", "tubes": [{"label": "wave", "start": 3, "boxes": [[10, 20, 40, 90.5]]}]}
               {"id": "idle", "tubes": []}"#,
        )
        .unwrap();
        assert_eq!(videos[0].tubes[0].tube.box_at(3), Some([10.0, 20.0, 40.0, 90.5].into()));
        assert_eq!(videos[1].tubes, []);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("again.jsonl");
        write_ground_truth(&path, &videos).unwrap();
        assert_eq!(read_ground_truth(&path).unwrap(), videos);
        let unwritable = write_ground_truth(&folder.path().join("none/t.jsonl"), &videos).unwrap_err();
        assert!(
            unwritable.to_string().ends_with("; check that its folder exists and is writable"),
            "{unwritable}"
        );
    }

    #[test]
    fn broken_annotations_are_explained_in_one_line() {
        let tube = |tube: &str| format!(r#"{{"id": "v", "tubes": [{{"label": "a", {tube}}}]}}"#);
        let cases = [
            (
                tube(r#""start": 0, "boxes": []"#),
                "tube 0: ends before it starts; give it a box in at least one frame, or remove it",
            ),
            (
                tube(r#""start": 4, "boxes": [[0, 0, 1, 1], [0, 0, -1, 1]]"#),
                "tube 0: frame 5: box [0.0, 0.0, -1.0, 1.0] ends before it starts; write [x0, y0, x1, y1] in pixels",
            ),
            (
                tube(r#""start": 4, "boxes": [[0, 0, 1e999, 1]]"#),
                "number out of range (column 71); correct the line",
            ),
            (
                tube(r#""start": 4, "boxes": [[0, 0, null, 1]]"#),
                "invalid type: null, expected f64 (column 76); correct the line",
            ),
            (
                tube(r#""start": 18446744073709551615, "boxes": [[0, 0, 1, 1]]"#),
                "tube 0: starts at frame 18446744073709551615; count frames from 0",
            ),
            (
                "[]".repeat(9),
                "invalid length 0, expected struct VideoTruth with 2 elements (column 2); correct the line",
            ),
            ("[".repeat(9_999), "invalid type: sequence, expected a string (column 1); correct the line"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(&text), Err(format!("t.jsonl:1: {expected}")));
        }
        let twice = "{\"id\": \"v\", \"tubes\": []}\n".repeat(3);
        assert_eq!(read(&twice), Err("t.jsonl:2: video `v` is on line 1 too; remove one of them".to_owned()));
    }
}
