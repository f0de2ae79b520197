//! Waterbirds (Sagawa et al., 2020), whole and as ALIA trains on it (Dunlap et al., 2023).
//!
//! Birds of CUB-200-2011 on photographs of Places; in training, 95 % of each class stand on the ground of its
//! name. `metadata.csv`, which `group_DRO` and WILDS share, has the columns `img_filename`, `y` (0 landbird,
//! 1 waterbird), `split` (0 training, 1 validation, 2 test) and `place` (0 land, 1 water).

use std::collections::BTreeMap;
use std::path::Path;

use rand::seq::SliceRandom;

use super::table::Table;
use super::{Dataset, DatasetError, Example, Options, edits, locate};

const CLASSES: [&str; 2] = ["landbird", "waterbird"];
const PLACES: [&str; 2] = ["land", "water"];
const FOLDERS: [&str; 3] = ["waterbirds_v1.0", "waterbird_complete95_forest2water2", ""];
/// The columns that are read, and their positions.
const COLUMNS: [&str; 4] = ["img_filename", "y", "split", "place"];
const FILE: usize = 0;
const CLASS: usize = 1;
const SPLIT: usize = 2;
const PLACE: usize = 3;

/// ALIA keeps every fourth of the aligned training images.
const ALIA_STRIDE: usize = 4;

/// A row of `metadata.csv`.
struct Bird {
    example: Example,
    split: usize,
    species: String,
    aligned: bool,
}

/// The official splits: 4,795 training, 1,199 validation and 5,794 test images.
///
/// # Errors
/// [`DatasetError::Missing`] without `metadata.csv`, and one naming its line for what is wrong in it.
pub fn open(root: &Path, options: &Options) -> Result<Dataset, DatasetError> {
    let [train, val, test] = by_split(read(root)?);
    let mut set = birds("waterbirds");
    set.train = examples(train);
    set.val = examples(val);
    set.test = examples(test);
    set.group_counts = set.count_groups();
    edits::attach(set, options)?.checked()
}

/// ALIA's variant, whose training and validation images are all aligned: 1,139 training, 600 validation and
/// the official 5,794 test images.
///
/// The aligned training images are shuffled inside each species, and every fourth is kept. ALIA draws from
/// the global generator of numpy, so its own subset cannot be drawn again; here the shuffle depends on
/// [`Options::seed`] alone. Its "extra" images, the opposed groups of training and validation, are not used.
/// The group counts remain those of the official training split.
///
/// # Errors
/// As [`open`].
pub fn open_alia(root: &Path, options: &Options) -> Result<Dataset, DatasetError> {
    let [train, val, test] = by_split(read(root)?);
    let mut set = birds("waterbirds-alia");
    set.train = train.iter().map(|bird| bird.example.clone()).collect();
    set.group_counts = set.count_groups();
    set.train = alia_subset(train, options);
    set.val = examples(val.into_iter().filter(|bird| bird.aligned).collect());
    set.test = examples(test);
    edits::attach(set, options)?.checked()
}

fn birds(name: &str) -> Dataset {
    let mut set = Dataset::empty(name, CLASSES.map(String::from).to_vec());
    set.groups = CLASSES.iter().flat_map(|class| PLACES.map(|place| format!("{class}/{place}"))).collect();
    set
}

fn read(root: &Path) -> Result<Vec<Bird>, DatasetError> {
    let folder = locate(root, &FOLDERS, "metadata.csv", "waterbirds")?;
    let table = Table::read(&folder.join("metadata.csv"), &COLUMNS)?;
    table.check_unique(FILE)?;
    let binary = |row, column| table.number(row, column, "0 or 1", |&value: &u32| value < 2);
    table
        .rows
        .iter()
        .map(|row| {
            let (class, place) = (binary(row, CLASS)?, binary(row, PLACE)?);
            let split = table.number(row, SPLIT, "0, 1 or 2", |&split: &usize| split < 3)?;
            let file = row.text(FILE);
            let species = file.split_once('/').map_or("", |(species, _)| species).to_owned();
            let picture = table.picture(row, folder.join(file))?;
            let example = Example::new(picture, class, Some(2 * class + place));
            Ok(Bird { example, split, species, aligned: class == place })
        })
        .collect()
}

fn by_split(birds: Vec<Bird>) -> [Vec<Bird>; 3] {
    let mut splits = [const { Vec::new() }; 3];
    for bird in birds {
        splits[bird.split].push(bird);
    }
    splits
}

fn examples(birds: Vec<Bird>) -> Vec<Example> {
    birds.into_iter().map(|bird| bird.example).collect()
}

fn alia_subset(train: Vec<Bird>, options: &Options) -> Vec<Example> {
    let mut species: BTreeMap<String, Vec<Example>> = BTreeMap::new();
    for bird in train.into_iter().filter(|bird| bird.aligned) {
        species.entry(bird.species).or_default().push(bird.example);
    }
    for (name, images) in &mut species {
        images.shuffle(&mut options.seed.stream(name, &[]));
    }
    species.into_values().flatten().step_by(ALIA_STRIDE).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Picture;
    use super::*;
    use pg_random::Seed;
    use std::fmt::Write as _;

    const HEADER: &str = "img_id,img_filename,y,split,place,place_filename\n";

    /// A root with `rows` of (species, image number, y, split, place).
    fn root(rows: &[(usize, usize, u32, u32, u32)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let mut csv = HEADER.to_owned();
        for (id, (species, image, y, split, place)) in rows.iter().enumerate() {
            let file = format!("{species:03}.Bird/{image}.jpg");
            std::fs::create_dir_all(root.path().join(&file).parent().unwrap()).unwrap();
            std::fs::write(root.path().join(&file), []).unwrap();
            writeln!(csv, "{},{file},{y},{split},{place},/x.jpg", id + 1).unwrap();
        }
        std::fs::write(root.path().join("metadata.csv"), csv).unwrap();
        root
    }

    /// In training 9 of 10 images of two landbird species and one waterbird species are aligned.
    fn biased() -> tempfile::TempDir {
        let mut rows = Vec::new();
        for (species, y) in [(1, 0), (2, 0), (3, 1)] {
            rows.extend((0..10).map(|image| (species, image, y, 0, if image == 0 { 1 - y } else { y })));
            rows.extend((10..14).map(|image| (species, image, y, 1, u32::from(image % 2 == 0))));
            rows.extend((14..18).map(|image| (species, image, y, 2, u32::from(image % 2 == 0))));
        }
        root(&rows)
    }

    fn file(example: &Example) -> String {
        let Picture::File(path) = &example.picture else { panic!("not a file") };
        path.display().to_string()
    }

    fn error_of(metadata: &str) -> String {
        let root = root(&[(1, 0, 0, 0, 0), (1, 1, 0, 2, 0)]);
        std::fs::write(root.path().join("metadata.csv"), metadata).unwrap();
        let error = open(root.path(), &Options::default()).unwrap_err().to_string();
        error.replace(&format!("{}/", root.path().display()), "")
    }

    #[test]
    fn groups_are_named_by_class_and_ground() {
        let set = open(biased().path(), &Options::default()).unwrap();
        assert_eq!(set.groups, ["landbird/land", "landbird/water", "waterbird/land", "waterbird/water"]);
        assert_eq!((set.train.len(), set.val.len(), set.test.len()), (30, 12, 12));
        assert_eq!(set.group_counts, [18, 2, 1, 9]);
        assert_eq!(set.aligned_groups(), Some(vec![true, false, false, true]));
        let on_the_wrong_ground = &set.train[20];
        assert_eq!((on_the_wrong_ground.label, on_the_wrong_ground.group), (1, Some(2)));
    }

    #[test]
    fn alias_subset_is_every_fourth_aligned_image_of_the_shuffled_species() {
        let root = biased();
        let set = open_alia(root.path(), &Options::default()).unwrap();
        assert_eq!(set.train.len(), 7); // 27 aligned images
        let species: Vec<bool> = set.train.iter().map(|bird| file(bird).contains("001.Bird")).collect();
        assert_eq!(species, [true, true, true, false, false, false, false]); // positions 0, 4, 8 of 9
        assert_eq!(set.val.len(), 6);
        assert!(set.train.iter().chain(&set.val).all(|bird| matches!(bird.group, Some(0 | 3))));
        assert_eq!(set.test.len(), 12);
        assert_eq!(set.group_counts, [18, 2, 1, 9]);
        let files = |seed| -> Vec<String> {
            let options = Options { seed: Seed(seed), ..Options::default() };
            open_alia(root.path(), &options).unwrap().train.iter().map(file).collect()
        };
        assert_eq!(files(0), files(0));
        assert_ne!(files(0), files(1));
    }

    #[test]
    fn four_and_a_half_thousand_aligned_images_give_alias_1139() {
        let bird = |n: usize| Bird {
            example: Example::new(Picture::File(n.to_string().into()), 0, Some(0)),
            split: 0,
            species: format!("{}", n % 200),
            aligned: n < 4555,
        };
        assert_eq!(alia_subset((0..4795).map(bird).collect(), &Options::default()).len(), 1139);
    }

    #[test]
    fn the_usual_top_folders_are_found() {
        let root = biased();
        let parent = tempfile::tempdir().unwrap();
        std::fs::rename(root.path(), parent.path().join("waterbirds_v1.0")).unwrap();
        assert_eq!(open(parent.path(), &Options::default()).unwrap().train.len(), 30);
    }

    #[test]
    fn broken_metadata_is_refused_with_its_line() {
        let sound = "1,001.Bird/0.jpg,0,0,0,/x\n";
        assert_eq!(
            error_of("img_filename,y,split\n"),
            "metadata.csv: no column `place` (the columns are img_filename, y, split); is this the right file?"
        );
        assert_eq!(
            error_of(&format!("{HEADER}{sound}2,001.Bird/1.jpg,2,0,0,/x\n")),
            "metadata.csv:3: y is `2`, expected 0 or 1"
        );
        assert_eq!(
            error_of(&format!("{HEADER}1,001.Bird/0.jpg,0,3,0,/x\n")),
            "metadata.csv:2: split is `3`, expected 0, 1 or 2"
        );
        assert_eq!(
            error_of(&format!("{HEADER}1,001.Bird/0.jpg,0,0,sea,/x\n")),
            "metadata.csv:2: place is `sea`, expected 0 or 1"
        );
        assert_eq!(
            error_of(&format!("{HEADER}{sound}{sound}")),
            "metadata.csv:3: `001.Bird/0.jpg` is listed twice (first on line 2); remove one"
        );
        assert_eq!(
            error_of(&format!("{HEADER}1,001.Bird/9.jpg,0,0,0,/x\n")),
            "metadata.csv:2: image 001.Bird/9.jpg does not exist; unpack the archive again"
        );
        assert_eq!(error_of(HEADER), "waterbirds: no training images; check the split");
        assert_eq!(
            error_of(&format!("{HEADER}{sound}2,001.Bird/1.jpg,0,2,0,/x\n")),
            "waterbirds: class `waterbird` has no training images; add some or drop the class"
        );
    }

    #[test]
    fn a_missing_table_says_where_to_get_the_set() {
        let error = open(tempfile::tempdir().unwrap().path(), &Options::default()).unwrap_err().to_string();
        assert!(error.contains("metadata.csv: not found; ") && !error.contains('\n'), "{error}");
    }
}
