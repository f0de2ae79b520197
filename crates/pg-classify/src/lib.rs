//! Classification trained on edited images with provenance guidance.
//!
//! A generative editor changes the background of a training image; the region that it left alone holds the
//! object. This crate reads the data sets on which such training is compared, and scores predictions in every
//! way that their literature does:
//!
//! - [`dataset`]: one shape, [`Dataset`](dataset::Dataset), for Waterbirds, iWildCam, CUB-200-2011, Decoy-MNIST,
//!   one's own folders and a set drawn in memory;
//! - [`metrics`]: top-1, class-balanced and worst-group accuracy, their adjusted average, ALIA's ID and OOD, macro F1;
//! - [`interval`]: the confidence interval of an accuracy.
//!
//! ```
//! use pg_classify::dataset::{Options, embedded};
//! use pg_classify::metrics::{Grouping, evaluate};
//! use pg_embedded::Spec;
//!
//! // Animals with a camera stamp that gives the class away in training, but not in the test.
//! let spec = Spec { train: 40, val: 8, test: 32, ..Spec::default() };
//! let set = embedded::from_spec(&spec, &Options::default())?;
//! let aligned = set.aligned_groups();
//!
//! let labels: Vec<u32> = set.test.iter().map(|example| example.label).collect();
//! let of: Vec<u32> = set.test.iter().filter_map(|example| example.group).collect();
//! let stamps: Vec<u32> = of.iter().map(|group| group % 4).collect(); // a network that reads the stamp
//!
//! let grouping = Grouping { of: &of, train_counts: &set.group_counts, aligned: aligned.as_deref() };
//! let scores = evaluate(&stamps, &labels, set.classes.len(), Some(&grouping))?;
//! assert_eq!(scores.top1.value(), Some(0.25)); // one stamp in four is right
//! assert_eq!(scores.worst.accuracy(), 0.0);
//! let groups = scores.groups.unwrap();
//! assert_eq!(groups.id.unwrap().value(), Some(1.0)); // the shortcut holds as in training
//! assert_eq!(groups.ood.unwrap().value(), Some(0.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod classifier;
pub mod dataset;
mod error;
pub mod evaluation;
pub mod interval;
pub mod metrics;
pub mod pictures;
pub mod report;
pub mod samples;
pub mod settings;
pub mod unmodified;

pub use error::ClassifyError;
