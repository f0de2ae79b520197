//! Draws a sheet to look at: one column a training image, with the image, its edit, the true mask of the animal and the
//! part that the edit kept; below, as many test images.
//!
//! ```text
//! cargo run -p pg-embedded --example contact_sheet -- sheet.png [specification.toml]
//! ```

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use pg_embedded::{Embedded, Spec};
use pg_provenance::BinaryMask;
use pg_random::Seed;
use std::error::Error;

const COLUMNS: usize = 12;
/// Side of a cell, in pixels.
const CELL: u32 = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give the path of the sheet to write")?;
    let text = arguments.next().map(std::fs::read_to_string).transpose()?;
    let spec = Spec::parse(text.as_deref().unwrap_or(Spec::DEFAULT))?;
    let set = Embedded::generate(&spec, Seed(0))?;

    let mut sheet = RgbImage::new(COLUMNS as u32 * CELL, 6 * CELL);
    let mut place = |column: usize, row: i64, image: &RgbImage| {
        let cell = imageops::resize(image, CELL - 4, CELL - 4, FilterType::Nearest);
        imageops::replace(&mut sheet, &cell, column as i64 * i64::from(CELL), row * i64::from(CELL));
    };
    for (column, scene) in set.train.iter().take(COLUMNS).enumerate() {
        place(column, 0, &scene.image);
        place(column, 2, &picture(&scene.truth));
        if let Some(edit) = set.edits.iter().find(|edit| edit.original == column) {
            place(column, 1, &edit.image);
            place(column, 3, &picture(&edit.kept));
        }
    }
    for (index, scene) in set.test.iter().take(2 * COLUMNS).enumerate() {
        place(index % COLUMNS, 4 + (index / COLUMNS) as i64, &scene.image);
    }
    Ok(sheet.save(path)?)
}

fn picture(mask: &BinaryMask) -> RgbImage {
    RgbImage::from_fn(mask.width() as u32, mask.height() as u32, |x, y| {
        Rgb([if mask.get(x as usize, y as usize) { 255 } else { 0 }; 3])
    })
}
