//! Which way instances become tubes.

use clap::Args;
use pg_cli::{SettingsError, choices, ensure, idle};
use pg_tubes::{ActOptions, Linking, OnlineOptions, Smoothing, TrackOptions, Trimming};
use serde::{Deserialize, Serialize};

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
        /// Gaps shorter than the window are filled, as between the repetitions of a motion, and half a window at either end;
        /// lone frames are dropped.
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
    /// Frames that smoothing looks at together, an odd number; 1 for none.
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
        self.over(LinkConfig::DEFAULT)
    }

    /// What was said, and else what a run did.
    pub fn over(self, run: LinkConfig) -> LinkConfig {
        let linking = self.linking.unwrap_or(run.linking);
        // What the run said has no say where it would do nothing.
        let inherited = if linking == LinkingName::Act { run.trim } else { LinkConfig::DEFAULT.trim };
        let trim = self.trim.unwrap_or(inherited);
        let smooths = trim && linking != LinkingName::Online;
        let smoothed = if smooths { run } else { LinkConfig::DEFAULT };
        let trim_window = self.trim_window.unwrap_or(smoothed.trim_window);
        let smoothing = if trim_window > 1 { smoothed } else { LinkConfig::DEFAULT }.trim_smoothing;
        LinkConfig {
            linking,
            trim,
            trim_threshold: self.trim_threshold.unwrap_or(smoothed.trim_threshold),
            trim_smoothing: self.trim_smoothing.unwrap_or(smoothing),
            trim_window,
            min_length: self.min_length.unwrap_or(run.min_length),
        }
    }
}

impl LinkConfig {
    const DEFAULT: Self = Self {
        linking: LinkingName::Act,
        trim: true,
        trim_threshold: 0.5,
        trim_smoothing: TrimSmoothing::Closing,
        trim_window: 15,
        min_length: 8,
    };

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
        idle(!smooths && threshold != Self::DEFAULT.trim_threshold, "trim-threshold", when, "leave it out")?;
        let other_smoothing = self.trim_smoothing != Self::DEFAULT.trim_smoothing;
        idle(!smooths && other_smoothing, "trim-smoothing", when, "leave it out")?;
        let of_one = self.trim_window == 1;
        idle(of_one && other_smoothing, "trim-smoothing", "with --trim-window 1", "leave it out")?;
        let other_window = self.trim_window != Self::DEFAULT.trim_window;
        idle(!smooths && other_window, "trim-window", when, "leave it out")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_said_never_makes_a_flag_senseless() {
        let runs = [
            LinkConfig { trim: false, ..LinkConfig::DEFAULT },
            LinkConfig {
                trim_smoothing: TrimSmoothing::Median,
                trim_threshold: 0.1,
                trim_window: 25,
                ..LinkConfig::DEFAULT
            },
            LinkConfig { linking: LinkingName::Online, ..LinkConfig::DEFAULT },
            LinkConfig { linking: LinkingName::Tracks, trim_window: 1, ..LinkConfig::DEFAULT },
        ];
        let linked = |linking| LinkSettings { linking: Some(linking), ..LinkSettings::default() };
        let said = [
            LinkSettings::default(),
            linked(LinkingName::Act),
            linked(LinkingName::Online),
            linked(LinkingName::Tracks),
            LinkSettings { linking: Some(LinkingName::Act), trim: Some(false), ..LinkSettings::default() },
            LinkSettings {
                linking: Some(LinkingName::Act),
                trim: Some(true),
                trim_window: Some(1),
                ..LinkSettings::default()
            },
        ];
        for run in runs {
            run.check().unwrap();
            for said in &said {
                let over = said.clone().over(run);
                over.check().unwrap_or_else(|error| panic!("{said:?} over {run:?}: {error}"));
                assert_eq!(
                    (over.linking, over.min_length),
                    (said.linking.unwrap_or(run.linking), run.min_length)
                );
            }
            assert_eq!(LinkSettings::default().over(run), run);
        }
        let median = LinkSettings::default().over(runs[1]);
        assert_eq!((median.trim_smoothing, median.trim_threshold), (TrimSmoothing::Median, 0.1));
    }
}
