//! Weakly supervised object localisation, measured: from score maps that any tool wrote to MaxBoxAcc, MaxBoxAccV2,
//! GT-known, Top-1 and Top-5 Loc, and PxAP, by the conventions of wsolevaluation (Choe et al., "Evaluating Weakly
//! Supervised Object Localization Methods Right", CVPR 2020), DA-WSOL, TS-CAM and SAT.
//!
//! The boxes of all thresholds of a map come from one sweep over its 256 levels, in place of a search for contours at each
//! of a thousand thresholds. No tensor library is needed.
//!
//! ```
//! use pg_localization::{BoundingBox, BoxCounts, Convention, Protocol, ScoreMap, overlaps};
//!
//! // A map of 8 x 8 pixels that speaks for the object, and a little for something else.
//! let score = |x: u32, y: u32| match (x, y) {
//!     (2..=5, 2..=4) => 1.0,
//!     (7, 7) => 0.2,
//!     _ => 0.0,
//! };
//! let scores = (0..64).map(|i| score(i % 8, i / 8)).collect();
//! let map = ScoreMap::new(8, 8, scores)?;
//! let object = BoundingBox { x0: 2, y0: 2, x1: 5, y1: 4 };
//!
//! let thresholds = Protocol::thresholds(0.1);
//! let mut counts = BoxCounts::new(Convention::WsolEvaluation, &thresholds);
//! counts.add(&overlaps(Convention::WsolEvaluation, &map, &[object], &thresholds), None);
//! let accuracy = counts.best();
//! // Its boxes are one pixel too wide and too high: the overlap is 12 / 20.
//! assert_eq!(accuracy.by_delta.map(|at| at.percent), [100.0, 100.0, 0.0]);
//! assert_eq!(accuracy.max_box_acc.threshold, 0.0);
//! # Ok::<(), pg_localization::ScoreMapError>(())
//! ```

mod border;
mod bounding_box;
mod box_accuracy;
mod convention;
mod evaluation;
mod masks;
mod metadata;
mod npy;
mod pixel_precision;
mod regions;
mod score_files;
mod score_map;

pub use bounding_box::BoundingBox;
pub use box_accuracy::{AtThreshold, BoxAccuracy, BoxCounts, DELTAS, Ranked};
pub use convention::{Convention, Overlaps, largest_box, overlaps};
pub use evaluation::{Counts, EvaluationError, Protocol, count_boxes, count_pixels};
pub use masks::{MaskError, pixels};
pub use metadata::{ImageInfo, Metadata, MetadataError, Object};
pub use pixel_precision::{Pixel, PixelCounts};
pub use score_files::{ScoreFileError, ScoreFiles};
pub use score_map::{ScoreMap, ScoreMapError};
