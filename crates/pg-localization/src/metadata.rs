//! Metadata of a split in wsolevaluation's files: names, labels, sizes, and boxes or masks.
//!
//! `image_ids.txt` (`path`), `class_labels.txt` (`path,label`), `image_sizes.txt` (`path,width,height`) and
//! `localization.txt` (`path,x0,y0,x1,y1`, one line a box, or `path,mask,ignore`, one line a mask). No header, no quotes:
//! fields are split from the right, so that a path may have commas.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use crate::bounding_box::BoundingBox;

/// What is known of the images of a split.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// The images, in the order of `image_ids.txt`.
    pub images: Vec<ImageInfo>,
}

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Path relative to the data root, which names the image everywhere.
    pub id: String,
    /// Class, from 0.
    pub label: u32,
    /// Where the object is.
    pub object: Object,
}

/// Where an image's object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// In any of these boxes.
    Boxes {
        /// Width and height of the image, in pixels.
        size: (u32, u32),
        /// At least one, in pixels of the image.
        boxes: Vec<BoundingBox>,
    },
    /// In any of these masks.
    Masks {
        /// Files of at least one instance, relative to the root of the masks.
        masks: Vec<PathBuf>,
        /// File of a region that counts neither as object nor as background.
        ignore: Option<PathBuf>,
    },
}

/// Why metadata cannot be used; the message names the file and its line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// A file is not there.
    #[error(
        "{}: no such file; the metadata are a folder with train/, val/ and test/, each with wsolevaluation's lists",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not text.
    #[error("{}: is not UTF-8 text; is this the right file?", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// A split without images.
    #[error("{}: lists no image; choose another split", path.display())]
    Empty {
        /// `image_ids.txt`.
        path: PathBuf,
    },
    /// A line does not have the fields it should have.
    #[error("{}:{line}: `{text}` is not `{expected}`", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is there.
        text: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A line is about an image that the split does not have.
    #[error("{}:{line}: image `{id}` is not in image_ids.txt; remove the line", path.display())]
    UnknownImage {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The image.
        id: String,
    },
    /// Two lines are about one image.
    #[error("{}:{line}: image `{id}` is there twice; remove one", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The second line, from 1.
        line: usize,
        /// The image.
        id: String,
    },
    /// An image has no line.
    #[error("{}: no line for image `{id}` (image_ids.txt:{listed})", path.display())]
    NoLine {
        /// The file that lacks one.
        path: PathBuf,
        /// The image.
        id: String,
        /// Line of `image_ids.txt` that lists it, from 1.
        listed: usize,
    },
    /// An image has two regions to ignore.
    #[error("{}:{line}: image `{id}` has a second region to ignore; name it on the first of its lines only", path.display())]
    SecondIgnore {
        /// The file.
        path: PathBuf,
        /// The second line, from 1.
        line: usize,
        /// The image.
        id: String,
    },
    /// A box ends before it starts, or beyond its image.
    #[error("{}:{line}: box {},{},{},{} {problem} (the image is {} x {})", path.display(),
        corners[0], corners[1], corners[2], corners[3], size.0, size.1)]
    Box {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// x0, y0, x1, y1 as they stand.
        corners: [i64; 4],
        /// What is wrong.
        problem: &'static str,
        /// Width and height of the image.
        size: (u32, u32),
    },
}

impl Metadata {
    /// Reads the split in `folder`, `metadata/CUB/test` say.
    ///
    /// # Errors
    /// [`MetadataError`] at the first line that does not fit.
    pub fn read(folder: &Path) -> Result<Self, MetadataError> {
        let ids = Lines::read(folder.join("image_ids.txt"))?;
        let order = positions(&ids)?;
        let labels = labels(&Lines::read(folder.join("class_labels.txt"))?, &ids, &order)?;
        let localization = Lines::read(folder.join("localization.txt"))?;
        let objects = if localization.hold_masks(&order) {
            masks(&localization, &ids, &order)?
        } else {
            let sizes = sizes(&Lines::read(folder.join("image_sizes.txt"))?, &ids, &order)?;
            boxes(&localization, &sizes, &ids, &order)?
        };
        let images = ids.lines().zip(labels).zip(objects);
        let images = images.map(|(((_, id), label), object)| ImageInfo { id: id.to_owned(), label, object });
        Ok(Self { images: images.collect() })
    }

    /// Path and class of each image of the split in `folder`: all that training needs.
    ///
    /// # Errors
    /// [`MetadataError`] at the first line of `image_ids.txt` or `class_labels.txt` that does not fit.
    pub fn read_labels(folder: &Path) -> Result<Vec<(String, u32)>, MetadataError> {
        let ids = Lines::read(folder.join("image_ids.txt"))?;
        let order = positions(&ids)?;
        let labels = labels(&Lines::read(folder.join("class_labels.txt"))?, &ids, &order)?;
        Ok(ids.lines().zip(labels).map(|((_, id), label)| (id.to_owned(), label)).collect())
    }
}

/// Position of each image in `image_ids.txt`.
type Positions<'a> = HashMap<&'a str, usize>;

/// The positions of a list, which names each image once.
fn positions(ids: &Lines) -> Result<Positions<'_>, MetadataError> {
    let mut order = HashMap::new();
    for (line, id) in ids.lines() {
        // What is written for an image must not end up outside the folder it is for.
        let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(id).components().all(is_inside) {
            return Err(ids.malformed(line, id, "a path relative to the data root, without `..`"));
        }
        if order.insert(id, order.len()).is_some() {
            return Err(MetadataError::Twice { path: ids.path.clone(), line, id: id.to_owned() });
        }
    }
    if order.is_empty() {
        return Err(MetadataError::Empty { path: ids.path.clone() });
    }
    Ok(order)
}

/// A file of lines.
struct Lines {
    path: PathBuf,
    text: String,
}

impl Lines {
    fn read(path: PathBuf) -> Result<Self, MetadataError> {
        match std::fs::read(&path) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Self { path, text }),
                Err(_) => Err(MetadataError::NotText { path }),
            },
            Err(source) if source.kind() == ErrorKind::NotFound => Err(MetadataError::Missing { path }),
            Err(source) => Err(MetadataError::Io { path, source }),
        }
    }

    /// The lines that are not empty, with their numbers from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).filter(|(_, line)| !line.trim().is_empty())
    }

    /// Whether the lines name masks. Boxes are numbers, even if one or two are missing or misspelt.
    fn hold_masks(&self, order: &Positions<'_>) -> bool {
        let Some((_, line)) = self.lines().next() else { return false };
        let is_number = |field: &str| field.trim().parse::<f64>().is_ok();
        match mask_fields(line, order) {
            Some((_, mask, ignore)) => {
                mask.split(',').chain([ignore]).filter(|field| is_number(field)).count() < 2
            }
            // Of no listed image: a line of boxes has more fields.
            None => line.split(',').count() < 5 && !line.rsplit(',').next().is_some_and(is_number),
        }
    }

    fn malformed(&self, line: usize, text: &str, expected: &'static str) -> MetadataError {
        MetadataError::Line { path: self.path.clone(), line, text: text.to_owned(), expected }
    }

    fn position(&self, line: usize, id: &str, order: &Positions<'_>) -> Result<usize, MetadataError> {
        let unknown = || MetadataError::UnknownImage { path: self.path.clone(), line, id: id.to_owned() };
        order.get(id).copied().ok_or_else(unknown)
    }

    /// One value of `N` numbers for each image, in the order of the list.
    fn each_image<const N: usize>(
        &self,
        expected: &'static str,
        ids: &Lines,
        order: &Positions<'_>,
    ) -> Result<Vec<[u32; N]>, MetadataError> {
        let mut values = vec![None; order.len()];
        for (line, text) in self.lines() {
            let (id, value) = fields(text).ok_or_else(|| self.malformed(line, text, expected))?;
            if values[self.position(line, id, order)?].replace(value).is_some() {
                return Err(MetadataError::Twice { path: self.path.clone(), line, id: id.to_owned() });
            }
        }
        self.none_missing(values, ids)
    }

    fn none_missing<T>(&self, values: Vec<Option<T>>, ids: &Lines) -> Result<Vec<T>, MetadataError> {
        let lines = values.into_iter().zip(ids.lines());
        lines
            .map(|(value, (listed, id))| {
                value.ok_or_else(|| MetadataError::NoLine {
                    path: self.path.clone(),
                    id: id.to_owned(),
                    listed,
                })
            })
            .collect()
    }
}

/// The path and the last `N` fields of a line, if they are numbers.
fn fields<T: FromStr + Copy + Default, const N: usize>(line: &str) -> Option<(&str, [T; N])> {
    let mut values = [T::default(); N];
    let mut rest = line;
    for value in values.iter_mut().rev() {
        let (before, field) = rest.rsplit_once(',')?;
        *value = field.trim().parse().ok()?;
        rest = before;
    }
    Some((rest, values))
}

/// Image, mask and ignored region of a line; the image is the longest listed one, since all three may have commas.
fn mask_fields<'a>(line: &'a str, order: &Positions<'_>) -> Option<(&'a str, &'a str, &'a str)> {
    let commas = line.match_indices(',').map(|(at, _)| at);
    let id = commas.rev().map(|at| &line[..at]).find(|id| order.contains_key(id))?;
    let (mask, ignore) = line[id.len() + 1..].rsplit_once(',')?;
    (!mask.is_empty()).then_some((id, mask, ignore.trim()))
}

fn labels(file: &Lines, ids: &Lines, order: &Positions<'_>) -> Result<Vec<u32>, MetadataError> {
    Ok(file.each_image("path,label", ids, order)?.into_iter().map(|[label]| label).collect())
}

fn sizes(file: &Lines, ids: &Lines, order: &Positions<'_>) -> Result<Vec<(u32, u32)>, MetadataError> {
    const EXPECTED: &str = "path,width,height";
    let sizes = file.each_image(EXPECTED, ids, order)?;
    if let Some((line, text)) =
        file.lines().find(|(_, text)| fields::<u32, 2>(text).is_some_and(|(_, s)| s.contains(&0)))
    {
        return Err(file.malformed(line, text, "path,width,height (at least 1)"));
    }
    Ok(sizes.into_iter().map(|[width, height]| (width, height)).collect())
}

fn boxes(
    file: &Lines,
    sizes: &[(u32, u32)],
    ids: &Lines,
    order: &Positions<'_>,
) -> Result<Vec<Object>, MetadataError> {
    let mut boxes: Vec<Vec<BoundingBox>> = vec![Vec::new(); order.len()];
    for (line, text) in file.lines() {
        let (id, corners) = fields(text).ok_or_else(|| file.malformed(line, text, "path,x0,y0,x1,y1"))?;
        let image = file.position(line, id, order)?;
        let size = sizes[image];
        let problem = |problem| MetadataError::Box { path: file.path.clone(), line, corners, problem, size };
        boxes[image].push(checked_box(corners, size).map_err(problem)?);
    }
    let objects = boxes
        .into_iter()
        .zip(sizes)
        .map(|(boxes, &size)| (!boxes.is_empty()).then_some(Object::Boxes { size, boxes }));
    file.none_missing(objects.collect(), ids)
}

/// A box may end at the width and the height: published lists count so.
fn checked_box(corners: [i64; 4], (width, height): (u32, u32)) -> Result<BoundingBox, &'static str> {
    let [x0, y0, x1, y1] = corners;
    if x1 < x0 || y1 < y0 {
        return Err("ends before it starts");
    }
    let fits = |start: i64, end: i64, size: u32| {
        let (start, end) = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
        (start < size && end <= size).then_some((start, end))
    };
    match (fits(x0, x1, width), fits(y0, y1, height)) {
        (Some((x0, x1)), Some((y0, y1))) => Ok(BoundingBox { x0, y0, x1, y1 }),
        _ => Err("lies outside"),
    }
}

fn masks(file: &Lines, ids: &Lines, order: &Positions<'_>) -> Result<Vec<Object>, MetadataError> {
    let mut found: Vec<(Vec<PathBuf>, Option<PathBuf>)> = vec![Default::default(); order.len()];
    for (line, text) in file.lines() {
        let (id, mask, ignore) = mask_fields(text, order)
            .ok_or_else(|| file.malformed(line, text, "path,mask,ignore with a path of image_ids.txt"))?;
        let (masks, ignored) = &mut found[file.position(line, id, order)?];
        masks.push(PathBuf::from(mask));
        if !ignore.is_empty() && ignored.replace(PathBuf::from(ignore)).is_some() {
            return Err(MetadataError::SecondIgnore { path: file.path.clone(), line, id: id.to_owned() });
        }
    }
    let objects = found
        .into_iter()
        .map(|(masks, ignore)| (!masks.is_empty()).then_some(Object::Masks { masks, ignore }));
    file.none_missing(objects.collect(), ids)
}
