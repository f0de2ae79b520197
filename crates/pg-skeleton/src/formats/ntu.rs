//! NTU RGB+D's `.skeleton` text (Shahroudy et al., CVPR 2016): one a video, 25 joints a body.
//!
//! ```text
//! number of frames
//!   number of bodies                      for each frame
//!     body id and 9 more                  for each body
//!     number of joints
//!       x y z depthX depthY colorX colorY qw qx qy qz state
//! ```
//!
//! The joints are taken where the colour camera saw them, in its 1920 x 1080 pixels. A joint that was inferred
//! (state 1) is half as sure as one that was tracked (state 2); the Kinect writes NaN for one that it could not
//! place. Frames without a body stay. The class is the number after `A` in the name, less 1, as in PYSKL.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use super::files::{one_a_file, read_bytes};
use super::{ReadOptions, class_name};
use crate::clip::{Clip, Instance, Keypoint};
use crate::error::{FormatError, one_line};
use crate::points::{is_empty, keypoint};

const SIZE: (u32, u32) = (1920, 1080);

/// What a body's line has, its id first.
const BODY_FIELDS: usize = 10;
/// What a joint's line has.
const JOINT_FIELDS: usize = 12;

pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Clip>, FormatError> {
    let files = one_a_file(path, &["skeleton"])?;
    files.into_iter().map(|(id, file)| clip(id, &file, options)).collect()
}

fn clip(id: String, path: &Path, options: &ReadOptions) -> Result<Clip, FormatError> {
    let bytes = read_bytes(path)?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| FormatError::file(path, "is no text; check the path"))?;
    let label = class_of(&id).map(|number| class_name(number, options)).transpose();
    let label = label.map_err(|reason| FormatError::file(path, reason))?;
    let mut lines = Lines { path, rest: text.lines(), line: 0 };
    let frames: usize = lines.count("the number of frames")?;
    let mut tracks = HashMap::new();
    let mut instances = Vec::new();
    for frame in 0..frames {
        for _ in 0..lines.count("a number of bodies")? {
            let body = lines.fields("a body's id and 9 numbers", BODY_FIELDS)?;
            let body = body.first().copied().unwrap_or_default();
            // Ids are long; they are numbered as they appear.
            let next = tracks.len() as u32;
            let track = *tracks.entry(body).or_insert(next);
            let joints = lines.count("a number of joints")?;
            let mut keypoints = Vec::new();
            for _ in 0..joints {
                keypoints.push(lines.joint()?);
            }
            if !is_empty(&keypoints) {
                instances.push(Instance { frame, track: Some(track), keypoints, bounding_box: None });
            }
        }
    }
    if let Some(rest) = lines.rest.find(|line| !line.trim().is_empty()) {
        let reason =
            format!("goes on after its {frames} frames with `{}`; copy it again", one_line(rest.trim()));
        return Err(FormatError::file(path, reason));
    }
    let (width, height) = options.size.unwrap_or(SIZE);
    Ok(Clip { id, width, height, fps: options.fps, frames, label, instances })
}

/// The class in a name such as `S001C001P001R001A060`, from 0.
fn class_of(id: &str) -> Option<i64> {
    let digits = id.rsplit_once('A')?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse::<i64>().ok()?.checked_sub(1)
}

struct Lines<'a> {
    path: &'a Path,
    rest: std::str::Lines<'a>,
    /// The last line that was taken, from 1.
    line: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self, expected: &str) -> Result<&'a str, FormatError> {
        self.line += 1;
        self.rest.next().ok_or_else(|| {
            let reason = format!("the file ends where {expected} should be; copy it again");
            FormatError::line(self.path, self.line, reason)
        })
    }

    fn wrong(&self, text: &str, expected: &str) -> FormatError {
        let text = one_line(text.trim());
        FormatError::line(self.path, self.line, format!("`{text}` is not {expected}; copy the file again"))
    }

    fn count(&mut self, expected: &str) -> Result<usize, FormatError> {
        let text = self.next(expected)?;
        usize::from_str(text.trim()).map_err(|_| self.wrong(text, expected))
    }

    fn fields(&mut self, expected: &str, count: usize) -> Result<Vec<&'a str>, FormatError> {
        let text = self.next(expected)?;
        let fields: Vec<&str> = text.split_ascii_whitespace().take(count + 1).collect();
        if fields.len() == count { Ok(fields) } else { Err(self.wrong(text, expected)) }
    }

    fn joint(&mut self) -> Result<Keypoint, FormatError> {
        const EXPECTED: &str = "12 numbers of a joint";
        let fields = self.fields(EXPECTED, JOINT_FIELDS)?;
        let number = |field: &str| f32::from_str(field).map_err(|_| self.wrong(field, "a number"));
        match fields[..] {
            [_, _, _, _, _, x, y, _, _, _, _, state] => {
                let confidence = match state {
                    "0" => 0.0,
                    "1" => 0.5,
                    "2" => 1.0,
                    other => return Err(self.wrong(other, "a state of 0, 1 or 2")),
                };
                Ok(keypoint(number(x)?, number(y)?, confidence))
            }
            _ => Err(self.wrong(&fields.join(" "), EXPECTED)),
        }
    }
}
