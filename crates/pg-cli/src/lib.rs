//! What the programs share: settings from flags and files, how to run, how to print.
//!
//! A command's options are structs that clap and serde both read, so that a flag and a key of the TOML file are one
//! thing: [`Configured`] merges them. The groups that every training takes are [`NetworkSettings`], [`GuidanceSettings`] and
//! [`OptimisationSettings`]; each resolves to what a run directory records.
//!
//! ```
//! use pg_cli::{GuidanceSettings, over_file};
//!
//! let folder = std::env::temp_dir().join(format!("pg-cli-{}", std::process::id()));
//! std::fs::create_dir_all(&folder)?;
//! let file = folder.join("run.toml");
//! std::fs::write(&file, "alpha = 0.5\nmask = \"random\"\n")?;
//!
//! // A flag overrides the file.
//! let said = GuidanceSettings { alpha: Some(0.1), ..GuidanceSettings::default() };
//! let guidance = over_file(&said, &file)?.resolve();
//! assert_eq!(guidance.alpha, 0.1);
//! assert_eq!(guidance.mask, pg_cli::choices::MaskKind::Random);
//!
//! // What the file has that no setting is, is refused with its line.
//! std::fs::write(&file, "alpha = 0.5\nalhpa = 1\n")?;
//! let error = over_file(&said, &file).unwrap_err().to_string();
//! assert!(error.ends_with("line 2: unknown key `alhpa`; --help names the settings"));
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod about;
pub mod choices;
mod error;
mod file;
mod guiding;
mod machine;
mod network;
mod optimisation;
pub mod output;
pub mod program;

pub use about::About;
pub use error::{SettingsError, check_image_size, ensure, idle, known};
pub use file::{Configured, over_file, path_as_text, read_run};
pub use guiding::{GuidanceConfig, GuidanceSettings};
pub use machine::{DeviceName, Machine};
pub use network::{NetworkConfig, NetworkSettings, check_fit};
pub use optimisation::{OptimisationConfig, OptimisationDefaults, OptimisationSettings};
