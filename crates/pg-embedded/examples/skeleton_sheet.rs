//! Draws a sheet to look at: one row a clip, some of its frames across; first a training clip of each class,
//! then test clips. The actor of the action is orange and in the true box, others are grey.
//!
//! ```text
//! cargo run -p pg-embedded --example skeleton_sheet -- sheet.png [specification.toml]
//! ```

#![allow(clippy::print_stdout, reason = "an example says what it drew")]

use image::{Rgb, RgbImage};
use pg_embedded::{SkeletonScene, SkeletonSet, SkeletonSpec};
use pg_random::Seed;
use pg_skeleton::{Instance, Layout};
use std::error::Error;

/// Frames of a clip.
const COLUMNS: usize = 10;
/// Width of a cell, in pixels.
const CELL: u32 = 240;
const GROUND: Rgb<u8> = Rgb([24, 26, 32]);
const OTHERS: Rgb<u8> = Rgb([150, 155, 165]);
const ACTOR: Rgb<u8> = Rgb([255, 150, 40]);
const BOX: Rgb<u8> = Rgb([70, 140, 90]);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give the path of the sheet to write")?;
    let text = arguments.next().map(std::fs::read_to_string).transpose()?;
    let spec = SkeletonSpec::parse(text.as_deref().unwrap_or(SkeletonSpec::DEFAULT))?;
    let set = SkeletonSet::generate(&spec, Seed(0))?;

    let classes = set.classes.len();
    // Of the test clips, each has another class and most have another posture than the one before.
    let tests = set.test.iter().step_by(classes - 1).take(classes);
    let scenes: Vec<_> = set.train.iter().take(classes).chain(tests).collect();
    let height = CELL * spec.height / spec.width;
    let mut sheet = RgbImage::from_pixel(COLUMNS as u32 * CELL, scenes.len() as u32 * height, GROUND);
    for (row, scene) in scenes.into_iter().enumerate() {
        println!("{}: {}, {}", scene.clip.id, scene.truth.tubes[0].label, set.postures[scene.bystander]);
        for column in 0..COLUMNS {
            let frame = column * (scene.clip.frames - 1) / (COLUMNS - 1);
            let corner = [column as f32 * CELL as f32, row as f32 * height as f32];
            draw(&mut sheet, corner, scene, frame);
        }
    }
    Ok(sheet.save(path)?)
}

fn draw(sheet: &mut RgbImage, corner: [f32; 2], scene: &SkeletonScene, frame: usize) {
    let scale = CELL as f32 / scene.clip.width as f32;
    let place = |x: f32, y: f32| [corner[0] + scale * x, corner[1] + scale * y];
    if let Some(b) = scene.truth.tubes[0].tube.box_at(frame) {
        let [x0, y0, x1, y1] = [b.x0, b.y0, b.x1, b.y1].map(|side| side as f32);
        let corners = [place(x0, y0), place(x1, y0), place(x1, y1), place(x0, y1)];
        (0..4).for_each(|i| line(sheet, corners[i], corners[(i + 1) % 4], BOX));
    }
    for (instance, &actor) in scene.clip.instances.iter().zip(&scene.actor) {
        if instance.frame == frame {
            stick_figure(sheet, instance, place, if actor { ACTOR } else { OTHERS });
        }
    }
}

fn stick_figure(
    sheet: &mut RgbImage,
    instance: &Instance,
    place: impl Fn(f32, f32) -> [f32; 2],
    colour: Rgb<u8>,
) {
    let seen = |joint: usize| instance.keypoints.get(joint).filter(|point| point.confidence > 0.0);
    if let (Some(nose), Some(left), Some(right)) = (seen(0), seen(5), seen(6)) {
        line(sheet, place(nose.x, nose.y), place((left.x + right.x) / 2.0, (left.y + right.y) / 2.0), colour);
    }
    let limbs = Layout::of_count(instance.keypoints.len()).map_or(&[][..], |layout| layout.limbs);
    for &(from, to) in limbs {
        if let (Some(from), Some(to)) = (seen(from), seen(to)) {
            line(sheet, place(from.x, from.y), place(to.x, to.y), colour);
        }
    }
}

fn line(sheet: &mut RgbImage, from: [f32; 2], to: [f32; 2], colour: Rgb<u8>) {
    let steps = (to[0] - from[0]).abs().max((to[1] - from[1]).abs()).ceil().max(1.0);
    for step in 0..=steps as u32 {
        let share = step as f32 / steps;
        let [x, y] = [0, 1].map(|i| from[i] + share * (to[i] - from[i]));
        if let Some(pixel) = sheet.get_pixel_mut_checked(x as u32, y as u32) {
            *pixel = colour;
        }
    }
}
