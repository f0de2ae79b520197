//! What to draw: sizes, classes, cue, edits.

use crate::{Cue, Species};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Smallest side of an image, in pixels: below it the stamp is no longer legible.
const SMALLEST: u32 = 32;
/// Largest side of an image, in pixels.
const LARGEST: u32 = 1024;

/// The specification of a set. Its default is `datasets/embedded.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The animals, in the order of their labels: at least two, each once.
    pub classes: Vec<Species>,
    /// Number of training images. Classes take turns, so they differ by at most one image.
    pub train: usize,
    /// Number of validation images.
    pub val: usize,
    /// Number of test images.
    pub test: usize,
    /// Sizes of the images.
    pub image: ImageSpec,
    /// The spurious cue.
    pub cue: CueSpec,
    /// The edits of the training images.
    pub edits: EditSpec,
}

/// Native sizes, in pixels: each side of each image is uniform in `side - jitter ..= side + jitter`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// Mean width.
    pub width: u32,
    /// Mean height.
    pub height: u32,
    /// Largest deviation from the mean.
    pub jitter: u32,
}

/// The cue that goes with the class in training. In validation and test it is independent of the class.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CueSpec {
    /// What kind of thing it is.
    pub family: Cue,
    /// Share of each training class, in [0, 1], that carries the cue of its class. The others share the other kinds evenly.
    pub agreement: f64,
}

/// How the training images are edited.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditSpec {
    /// Edits of each training image; 0 for none.
    pub per_image: usize,
    /// Probability, in [0, 1], that an edit redraws the kind of cue it saw. Otherwise the kind is uniform over all kinds.
    pub cue_survives: f64,
}

/// What is wrong with a specification.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// Not TOML, or not the fields of the specification.
    #[error("line {line}: {message}; see {example} for an example")]
    Syntax {
        /// Line of the text, from 1.
        line: usize,
        /// What the parser says.
        message: String,
        /// A file that is right.
        example: &'static str,
    },
    /// Nothing to tell apart.
    #[error("`classes` names {0}; name at least two")]
    TooFewClasses(usize),
    /// A class is named twice.
    #[error("`classes` names `{0}` twice; name each once")]
    RepeatedClass(String),
    /// A split without images.
    #[error("`{0}` is 0; each split needs at least one image")]
    EmptySplit(&'static str),
    /// A side of an image may come out too small or too large.
    #[error(
        "`image.{side}` {mean} with `image.jitter` {jitter} leaves {SMALLEST}..={LARGEST} pixels; change either"
    )]
    Size {
        /// `width` or `height`.
        side: &'static str,
        /// Its value.
        mean: u32,
        /// The jitter.
        jitter: u32,
    },
    /// Sizes of animals that are none, or do not fit.
    #[error("`scale` is {:?}; give two rising numbers above 0 and below 0.5", .0)]
    Scale([f32; 2]),
    /// A value of a set of skeletons that cannot be drawn.
    #[error("`{field}` is {value}; give {wanted}")]
    Value {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is possible.
        wanted: String,
    },
    /// A number that is no probability.
    #[error("`{field}` is {value}; give a number from 0 to 1")]
    Probability {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: f64,
    },
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            classes: Species::ALL.to_vec(),
            train: 800,
            val: 400,
            test: 1600,
            image: ImageSpec { width: 48, height: 48, jitter: 6 },
            cue: CueSpec { family: Cue::Stamp, agreement: 1.0 },
            edits: EditSpec { per_image: 1, cue_survives: 0.6 },
        }
    }
}

impl Spec {
    /// The text of the default specification.
    pub const DEFAULT: &str = include_str!("../../../datasets/embedded.toml");

    /// Reads a specification from TOML.
    ///
    /// # Errors
    /// [`SpecError`] when the text is no specification or asks for what cannot be drawn.
    pub fn parse(text: &str) -> Result<Spec, SpecError> {
        let spec: Spec = from_toml(text, "datasets/embedded.toml")?;
        spec.check()?;
        Ok(spec)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value that cannot be drawn.
    pub fn check(&self) -> Result<(), SpecError> {
        check_classes(&self.classes)?;
        check_splits(self.train, self.val, self.test)?;
        self.image.check()?;
        check_probabilities([
            ("cue.agreement", self.cue.agreement),
            ("edits.cue_survives", self.edits.cue_survives),
        ])
    }
}

pub(crate) fn from_toml<T: DeserializeOwned>(text: &str, example: &'static str) -> Result<T, SpecError> {
    toml::from_str(text).map_err(|error| SpecError::Syntax {
        line: 1 + error.span().map_or(0, |span| text[..span.start].matches('\n').count()),
        message: error.message().replace('\n', " "),
        example,
    })
}

pub(crate) fn check_classes(classes: &[Species]) -> Result<(), SpecError> {
    check_names(&classes.iter().map(|class| class.name()).collect::<Vec<_>>())
}

pub(crate) fn check_names(classes: &[&str]) -> Result<(), SpecError> {
    if classes.len() < 2 {
        return Err(SpecError::TooFewClasses(classes.len()));
    }
    for (label, class) in classes.iter().enumerate() {
        if classes[..label].contains(class) {
            return Err(SpecError::RepeatedClass((*class).into()));
        }
    }
    Ok(())
}

pub(crate) fn check_splits(train: usize, val: usize, test: usize) -> Result<(), SpecError> {
    match [("train", train), ("val", val), ("test", test)].into_iter().find(|(_, count)| *count == 0) {
        Some((split, _)) => Err(SpecError::EmptySplit(split)),
        None => Ok(()),
    }
}

pub(crate) fn check_probabilities(
    numbers: impl IntoIterator<Item = (&'static str, f64)>,
) -> Result<(), SpecError> {
    match numbers.into_iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
        Some((field, value)) => Err(SpecError::Probability { field, value }),
        None => Ok(()),
    }
}

impl ImageSpec {
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        let jitter = self.jitter;
        for (side, mean) in [("width", self.width), ("height", self.height)] {
            if mean.saturating_sub(jitter) < SMALLEST || mean.saturating_add(jitter) > LARGEST {
                return Err(SpecError::Size { side, mean, jitter });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(change: impl Fn(&mut Spec)) -> SpecError {
        let mut spec = Spec::default();
        change(&mut spec);
        spec.check().unwrap_err()
    }

    #[test]
    fn the_default_is_the_file() {
        assert_eq!(Spec::parse(Spec::DEFAULT), Ok(Spec::default()));
    }

    #[test]
    fn every_nonsense_value_is_named() {
        assert_eq!(error(|s| s.classes.clear()), SpecError::TooFewClasses(0));
        assert_eq!(error(|s| s.classes[1] = s.classes[0]), SpecError::RepeatedClass("cat".into()));
        assert_eq!(error(|s| s.val = 0), SpecError::EmptySplit("val"));
        assert_eq!(error(|s| s.image.width = 0), SpecError::Size { side: "width", mean: 0, jitter: 6 });
        let jitter = u32::MAX;
        assert_eq!(error(|s| s.image.jitter = jitter), SpecError::Size { side: "width", mean: 48, jitter });
        let field = "cue.agreement";
        assert_eq!(error(|s| s.cue.agreement = 1.5), SpecError::Probability { field, value: 1.5 });
        assert!(matches!(error(|s| s.edits.cue_survives = f64::NAN), SpecError::Probability { .. }));
    }

    #[test]
    fn a_wrong_text_is_answered_with_its_line() {
        let text = Spec::DEFAULT.replace("\"fish\"", "\"whale\"");
        let message = Spec::parse(&text).unwrap_err().to_string();
        assert!(message.starts_with("line 4: ") && message.contains("whale"), "{message}");
        assert!(!message.contains('\n'));
        let text = Spec::DEFAULT.replace("jitter = 6", "jiggle = 6");
        assert!(matches!(Spec::parse(&text), Err(SpecError::Syntax { .. })));
    }
}
