//! Weakly supervised object localisation on the command line. The measures themselves are [`pg_localization`]'s.
//!
//! ```no_run
//! use pg_localization::{Metadata, Protocol, ScoreFiles, Convention, count_boxes};
//! use std::path::Path;
//!
//! let images = Metadata::read(Path::new("metadata/CUB/test"))?.images;
//! let files = ScoreFiles::open(Path::new("scoremaps"), images.iter().map(|image| image.id.as_str()), false)?;
//! let protocol = Protocol {
//!     convention: Convention::WsolEvaluation,
//!     thresholds: Protocol::thresholds(0.001),
//!     keep_going: false,
//! };
//! let counts = count_boxes(&images, &files, &protocol, |_| None, || ())?.counts;
//! println!("MaxBoxAccV2 {:.2} %", counts.best().max_box_acc_v2());
//! pg_wsol::threshold_curves::write(&counts, Path::new("accuracy.svg"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod dataset;
mod error;
pub mod evaluation;
pub mod lists;
pub mod localizer;
pub mod mixing;
pub mod pictures;
pub mod predictions;
pub mod report;
mod sat_loss;
pub mod settings;
pub mod threshold_curves;

pub use error::WsolError;
pub use sat_loss::sat_loss;
