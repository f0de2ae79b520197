//! Clips as JSON lines, one video a line.

use std::path::Path;

use pg_tubes::{FileError, Record, read_checked, read_each, write_lines};

use crate::clip::Clip;

impl Record for Clip {
    fn id(&self) -> &str {
        &self.id
    }

    fn check(&self) -> Result<(), String> {
        Self::check(self).map_err(|error| error.to_string())
    }
}

/// Reads clips.
///
/// # Errors
/// [`FileError`], for the first line that is wrong.
pub fn read_clips(path: &Path) -> Result<Vec<Clip>, FileError> {
    read_checked(path)
}

/// Reads clips, each line by itself: what is wrong with one says nothing of the others.
///
/// # Errors
/// [`FileError::Read`] and [`FileError::Empty`], for the file as a whole.
pub fn read_clip_lines(path: &Path) -> Result<Vec<Result<Clip, FileError>>, FileError> {
    read_each(path)
}

/// Writes clips.
///
/// # Errors
/// [`FileError::Write`].
pub fn write_clips(path: &Path, clips: &[Clip]) -> Result<(), FileError> {
    write_lines(path, clips)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: impl AsRef<[u8]>) -> Vec<Result<String, String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.jsonl");
        std::fs::write(&path, text).unwrap();
        let short =
            |error: FileError| error.to_string().replace(&format!("{}/", folder.path().display()), "");
        match read_clip_lines(&path) {
            Ok(clips) => clips.into_iter().map(|clip| clip.map(|clip| clip.id).map_err(short)).collect(),
            Err(error) => vec![Err(short(error))],
        }
    }

    const GOOD: &str = r#"{"id": "v", "width": 4, "height": 3, "frames": 2, "instances": []}"#;

    #[test]
    fn what_is_written_is_read_again() {
        let text = r#"{"id": "v", "width": 4, "height": 3, "fps": 29.97, "frames": 2, "label": "wave", "instances":
            [{"frame": 1, "track": 7, "keypoints": [[0.1, 2.5, 0.3], [0, 0, 0]], "box": [0.1, 0.2, 3, 4]}]}"#;
        let clip: Clip = serde_json::from_str(text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.jsonl");
        write_clips(&path, std::slice::from_ref(&clip)).unwrap();
        assert_eq!(read_clips(&path).unwrap(), [clip]);
    }

    #[test]
    fn each_line_is_judged_by_itself() {
        let other = GOOD.replace("\"v\"", "\"w\"");
        let text = format!("\u{feff}{GOOD}\r\n\n{{}}\n{GOOD}\n{other}\n");
        let expected = [
            Ok("v".to_owned()),
            Err("c.jsonl:3: missing field `id` (column 2); correct the line".to_owned()),
            Err("c.jsonl:4: video `v` is on line 1 too; remove one of them".to_owned()),
            Ok("w".to_owned()),
        ];
        assert_eq!(lines(text), expected);
    }

    #[test]
    fn what_is_broken_is_said_in_one_line() {
        let person = |person: &str| GOOD.replace("[]", &format!("[{{{person}}}]")).into_bytes();
        let cases: [(Vec<u8>, &str); 9] = [
            (b" \n\n".to_vec(), "c.jsonl: is empty; one JSON object a line is expected"),
            (
                GOOD.as_bytes()[..30].to_vec(),
                "c.jsonl:1: EOF while parsing a string (column 30); correct the line",
            ),
            (b"\xff\n".to_vec(), "c.jsonl:1: not UTF-8 text; save the file as UTF-8"),
            (
                GOOD.replace('4', "\"4\"").into_bytes(),
                "c.jsonl:1: invalid type: string \"4\", expected u32 (column 24); correct the line",
            ),
            (
                person(r#""frame": 2, "keypoints": [[1, 2, 1]]"#),
                "c.jsonl:1: instance 0 is in frame 2 of 2; frames count from 0, correct `frame` or `frames`",
            ),
            (
                person(r#""frame": 0, "keypoints": [[NaN, 2, 1]]"#),
                "c.jsonl:1: expected value (column 93); correct the line",
            ),
            (
                person(r#""frame": 0, "keypoints": [[1e99, 2, 1]]"#),
                "c.jsonl:1: number out of range (column 96); correct the line",
            ),
            (
                person(r#""frame": 0, "keypoints": [[1, 2]]"#),
                "c.jsonl:1: invalid length 2, expected an array of length 3 (column 97); correct the line",
            ),
            (
                person(r#""frame": 0, "keypoints": [[1, 2, 1]], "box": [0, 0, 1e999, 1]"#),
                "c.jsonl:1: number out of range (column 122); correct the line",
            ),
        ];
        let found: Vec<_> = cases.iter().flat_map(|(text, _)| lines(text)).collect();
        assert_eq!(found, cases.map(|(_, expected)| Err(expected.to_owned())));
        assert!(
            read_clips(Path::new("no/such.jsonl")).unwrap_err().to_string().ends_with("; check the path")
        );
    }
}
