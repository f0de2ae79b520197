//! Which way instances become tubes.

use clap::Args;
use pg_cli::{SettingsError, choices, ensure, idle};
use pg_tubes::{ActOptions, Linking, OnlineOptions, Smoothing, TrackOptions, Trimming};
use serde::{Deserialize, Serialize};

const TRIM_THRESHOLD: f64 = 0.5;
const TRIM_SMOOTHING: TrimSmoothing = TrimSmoothing::Closing;
const TRIM_WINDOW: usize = 15;

choices!(
    /// How people of neighbouring frames are linked.
    LinkingName {
        /// The surest that overlaps the last box (Kalogeiton et al. 2017).
        Act,
        /// As the frames come in, with temporal trimming by all classes' scores (Singh et al. 2017).
        Online,
        /// By the tracks that the clips bring (Cheron et al. 2018).
        Tracks,
    }
);

choices!(
    /// How scores along a tube are smoothed.
    TrimSmoothing {
        /// The median of the window (Cheron et al. 2018).
        Median,
        /// Gaps shorter than the window are filled: between the repetitions of a motion.
        Closing,
    }
);

/// What may be said of linking.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkSettings {
    /// How people of neighbouring frames are linked.
    #[arg(long, value_enum, help_heading = "Linking")]
    pub linking: Option<LinkingName>,
    /// Cut tubes where the smoothed score falls below --trim-threshold.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = "Linking")]
    pub trim: Option<bool>,
    /// Least smoothed score inside a tube.
    #[arg(long, value_name = "S", allow_negative_numbers = true, help_heading = "Linking")]
    pub trim_threshold: Option<f64>,
    /// How scores are smoothed.
    #[arg(long, value_enum, help_heading = "Linking")]
    pub trim_smoothing: Option<TrimSmoothing>,
    /// Frames that smoothing looks at together.
    #[arg(long, value_name = "W", help_heading = "Linking")]
    pub trim_window: Option<usize>,
    /// Least number of frames of a tube.
    #[arg(long, value_name = "F", help_heading = "Linking")]
    pub min_length: Option<usize>,
}

/// The way of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the setting of the same name")]
pub struct LinkConfig {
    pub linking: LinkingName,
    pub trim: bool,
    pub trim_threshold: f64,
    pub trim_smoothing: TrimSmoothing,
    pub trim_window: usize,
    pub min_length: usize,
}

impl LinkSettings {
    /// The complete description.
    pub fn resolve(self) -> LinkConfig {
        LinkConfig {
            linking: self.linking.unwrap_or(LinkingName::Act),
            trim: self.trim.unwrap_or(true),
            trim_threshold: self.trim_threshold.unwrap_or(TRIM_THRESHOLD),
            trim_smoothing: self.trim_smoothing.unwrap_or(TRIM_SMOOTHING),
            trim_window: self.trim_window.unwrap_or(TRIM_WINDOW),
            min_length: self.min_length.unwrap_or(8),
        }
    }
}

impl LinkConfig {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        let threshold = self.trim_threshold;
        ensure(threshold.is_finite(), "trim-threshold", "a number", threshold)?;
        ensure(self.trim_window >= 1, "trim-window", "at least 1", self.trim_window)?;
        ensure(self.min_length >= 1, "min-length", "at least 1", self.min_length)?;
        let online = self.linking == LinkingName::Online;
        idle(online && !self.trim, "trim", "with --linking online, which always trims", "leave it out")?;
        let tracks = self.linking == LinkingName::Tracks;
        idle(tracks && !self.trim, "trim", "with --linking tracks, which always trims", "leave it out")?;
        // A default is no wish and passes: the `args.toml` of a run names them all.
        let when = if online { "with --linking online" } else { "with --trim false" };
        let smooths = !online && self.trim;
        idle(!smooths && threshold != TRIM_THRESHOLD, "trim-threshold", when, "leave it out")?;
        idle(!smooths && self.trim_smoothing != TRIM_SMOOTHING, "trim-smoothing", when, "leave it out")?;
        idle(!smooths && self.trim_window != TRIM_WINDOW, "trim-window", when, "leave it out")
    }

    /// The linking itself.
    pub fn linking(&self) -> Linking {
        let min_length = self.min_length;
        let trimming = Trimming {
            smoothing: match self.trim_smoothing {
                TrimSmoothing::Median => Smoothing::Median,
                TrimSmoothing::Closing => Smoothing::Closing,
            },
            window: self.trim_window,
            threshold: self.trim_threshold,
            min_length,
            ..Trimming::default()
        };
        match self.linking {
            LinkingName::Act => Linking::Act(ActOptions {
                min_length,
                trimming: self.trim.then_some(trimming),
                ..ActOptions::default()
            }),
            LinkingName::Online => Linking::Online(OnlineOptions { min_length, ..OnlineOptions::default() }),
            LinkingName::Tracks => Linking::Tracks(TrackOptions { trimming, ..TrackOptions::default() }),
        }
    }
}
