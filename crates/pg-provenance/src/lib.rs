//! Which part of a synthetic image came from where.
//!
//! A generative edit keeps one region of its original and replaces the rest. The region that it kept shows in
//! the difference of the two images: small where the edit left them alone, large where it did not, with
//! Otsu's threshold between the two. The crate extracts such masks, changes their area for ablations, and
//! scores them against true masks. It works on slices and on [`image::RgbImage`], without a tensor library.
//!
//! A mask is 1 on the **target**: the region of source A in a mix, the *unmodified* region of an edit.
//!
//! ```
//! use image::{Rgb, RgbImage};
//! use pg_provenance::{BinaryMask, Extractor, Quality, change_area};
//!
//! // A grey image, and an edit that repainted everything right of column 40 (and came back a little smaller).
//! let original = RgbImage::from_pixel(64, 48, Rgb([90, 100, 110]));
//! let (kept, new) = (Rgb([91, 100, 108]), Rgb([200, 30, 60]));
//! let edited = RgbImage::from_fn(56, 48, |x, _| if x < 35 { kept } else { new });
//!
//! let extraction = Extractor::new(32, 32).extract(&original, &edited)?;
//! assert!(!extraction.is_degenerate());
//! assert!(extraction.otsu.separability > 0.95);
//!
//! // Column 40 of 64 is column 20 of 32.
//! let truth = BinaryMask::from_fn(32, 32, |x, _| x < 20);
//! assert!(Quality::of(&extraction.target, &truth)?.iou > 0.95);
//!
//! // The ablation: what if the mask were a tenth too small?
//! let smaller = change_area(&extraction.target, -0.1)?;
//! assert!(Quality::of(&smaller, &truth)?.recall < 0.95);
//! # Ok::<(), pg_provenance::ProvenanceError>(())
//! ```

mod difference;
mod error;
mod extract;
mod mask;
mod morphology;
mod otsu;
mod quality;
mod random;
mod resize;

pub use difference::{Difference, DifferenceMap, difference_map};
pub use error::ProvenanceError;
pub use extract::{Defect, Extraction, Extractor, Histogram};
pub use mask::{BinaryMask, SoftMask};
pub use morphology::{change_area, dilate, erode};
pub use otsu::{OTSU_BINS, Otsu, otsu_f32, otsu_u8};
pub use quality::Quality;
pub use random::random_mask_like;
pub use resize::resize_rgb;
