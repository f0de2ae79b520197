use pg_provenance::ProvenanceError;
use thiserror::Error;

/// What was wrong with a synthesiser's input or parameters.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SynthError {
    /// A batch without samples.
    #[error("a batch of no samples; pass at least one")]
    EmptyBatch,
    /// Samples without pixels.
    #[error("samples of {channels} x {height} x {width} have no pixels; every size must be at least 1")]
    EmptySample {
        /// Channels of a sample.
        channels: usize,
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// The number of pixels does not follow from the number of labels and the sizes.
    #[error(
        "{given} pixel values do not fill {samples} samples of {channels} x {height} x {width}; \
         pass one label a sample"
    )]
    Length {
        /// Samples, counted by their labels.
        samples: usize,
        /// Channels of a sample.
        channels: usize,
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
        /// Number of values passed.
        given: usize,
    },
    /// Scenes of skeletons and their labels are not as many.
    #[error("{labels} labels for {scenes} scenes; pass one label a scene")]
    SceneLabels {
        /// Scenes passed.
        scenes: usize,
        /// Labels passed.
        labels: usize,
    },
    /// A scene of skeletons is not of the batch's shape.
    #[error("scene {index} has {given} points in place of {slots} people with {keypoints} joints each")]
    SceneLength {
        /// Place in the batch.
        index: usize,
        /// People of a scene.
        slots: usize,
        /// Joints of a person.
        keypoints: usize,
        /// Points passed.
        given: usize,
    },
    /// A parameter outside its range.
    #[error("{name} = {value} is out of range; pass {expected}")]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it has to be.
        expected: &'static str,
    },
    /// Saliency that is not one finite number, not negative, for each pixel.
    #[error("saliency: {reason}; pass a finite number, not negative, for each pixel")]
    Saliency {
        /// What is wrong with it.
        reason: String,
    },
    /// An edit pair from which no mask can be extracted.
    #[error("edit pair {index}: {reason}")]
    Pair {
        /// Position of the pair in the batch.
        index: usize,
        /// What is wrong with it.
        reason: ProvenanceError,
    },
}

/// Refuses what is no probability.
pub(crate) fn check_probability(name: &'static str, value: f64) -> Result<(), SynthError> {
    check(name, value, "a probability in [0, 1]", (0.0..=1.0).contains(&value))
}

/// Refuses `value` unless it is `valid`.
pub(crate) fn check(
    name: &'static str,
    value: f64,
    expected: &'static str,
    valid: bool,
) -> Result<(), SynthError> {
    if valid { Ok(()) } else { Err(SynthError::Parameter { name, value, expected }) }
}
