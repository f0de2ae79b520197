//! `iWildCam` camera traps: WILDS v2.0 (Koh et al., 2021) and the seven classes of it that ALIA trains on.
//!
//! All images lie in `train/`, whatever their split. The tables are read by the names of their columns, since
//! the files of WILDS and of ALIA carry different unnamed index columns. Groups are cameras (`camera 288`),
//! by `location_remapped`. No camera of the test split was seen in training.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::table::{Row, Table};
use super::{Crop, Dataset, DatasetError, Example, Options, edits, locate};

const FOLDERS: [&str; 2] = ["iwildcam_v2.0", ""];
/// The columns that are read, and their positions.
const COLUMNS: [&str; 4] = ["filename", "y", "location_remapped", "split"];
const FILE: usize = 0;
const CLASS: usize = 1;
const CAMERA: usize = 2;
const SPLIT: usize = 3;

/// The `y` of an image without animal.
const EMPTY: u32 = 0;

/// ALIA's classes, with the `y` that WILDS gives them.
const ALIA_CLASSES: [(u32, &str); 7] = [
    (EMPTY, "background"),
    (24, "cattle"),
    (32, "elephants"),
    (36, "impalas"),
    (48, "zebras"),
    (49, "giraffes"),
    (52, "dik-diks"),
];

/// ALIA squashes to 448x448 and drops the camera's text: 10 rows above, 38 below.
const ALIA_CROP: Crop = Crop { resize: (448, 448), left: 0, top: 10, width: 448, height: 400 };

/// One split: a table and those of its rows that belong to the split.
type Split<'a> = (&'a Table, Vec<&'a Row>);

/// WILDS v2.0 with its `train`, `val` and `test` splits; `id_val` and `id_test`, of cameras seen in training,
/// are not used. A label is the rank of `y` among the training images. Names come from `categories.csv` if it
/// is there.
///
/// # Errors
/// [`DatasetError::Missing`] without `metadata.csv`, and one naming its line for what is wrong in it.
pub fn open(root: &Path, options: &Options) -> Result<Dataset, DatasetError> {
    let folder = locate(root, &FOLDERS, "metadata.csv", "iwildcam")?;
    let table = Table::read(&folder.join("metadata.csv"), &COLUMNS)?;
    table.check_unique(FILE)?;
    for row in &table.rows {
        if !["train", "val", "test", "id_val", "id_test"].contains(&row.text(SPLIT)) {
            return Err(table.bad_value(row, SPLIT, "train, val, test, id_val or id_test"));
        }
    }
    let split =
        |name| -> Split { (&table, table.rows.iter().filter(|row| row.text(SPLIT) == name).collect()) };
    let splits = ["train", "val", "test"].map(split);
    let learned: BTreeSet<u32> =
        splits[0].1.iter().map(|row| label(&table, row)).collect::<Result<_, _>>()?;
    let labels: BTreeMap<u32, u32> = learned.into_iter().zip(0..).collect();
    let names = categories(&folder)?;
    let name = |y: &u32| names.get(y).cloned().unwrap_or_else(|| format!("category {y}"));
    let mut set = Dataset::empty("iwildcam", labels.keys().map(name).collect());
    set.objectless = labels.get(&EMPTY).copied().into_iter().collect();
    fill(&mut set, &folder, &labels, &splits)?;
    edits::attach(set, options)?.checked()
}

/// ALIA's seven classes (`iWildCamMini`): 6,052 training, 2,826 validation and 8,483 test images, listed by
/// `train_subset.csv`, `val_subset.csv` and `test_subset.csv` of ALIA's repository, which belong beside
/// `train/`.
///
/// `background` shows no animal and is an [objectless](Dataset::objectless) class. Images are squashed and
/// cropped by ALIA's transform and are *not* normalised.
///
/// # Errors
/// As [`open`].
pub fn open_alia(root: &Path, options: &Options) -> Result<Dataset, DatasetError> {
    let folder = locate(root, &FOLDERS, "train_subset.csv", "iwildcam-alia")?;
    let read = |split: &str| -> Result<Table, DatasetError> {
        let path = folder.join(format!("{split}_subset.csv"));
        let table = Table::read(&path, &COLUMNS)?;
        table.check_unique(FILE)?;
        Ok(table)
    };
    let tables = [read("train")?, read("val")?, read("test")?];
    let splits = tables.each_ref().map(|table| (table, table.rows.iter().collect()));
    let labels = ALIA_CLASSES.iter().map(|&(y, _)| y).zip(0..).collect();
    let mut set = Dataset::empty("iwildcam-alia", ALIA_CLASSES.map(|(_, name)| name.to_owned()).to_vec());
    set.objectless = vec![0];
    set.crop = Some(ALIA_CROP);
    set.normalize = false;
    fill(&mut set, &folder, &labels, &splits)?;
    edits::attach(set, options)?.checked()
}

/// Fills groups and splits, given the label of each `y`.
fn fill(
    set: &mut Dataset,
    folder: &Path,
    labels: &BTreeMap<u32, u32>,
    splits: &[Split; 3],
) -> Result<(), DatasetError> {
    let mut cameras = BTreeMap::new();
    for (table, rows) in splits {
        for row in rows {
            cameras.insert(camera(table, row)?, 0);
        }
    }
    for (group, index) in cameras.values_mut().zip(0..) {
        *group = index;
    }
    set.groups = cameras.keys().map(|camera| format!("camera {camera}")).collect();
    let images = folder.join("train");
    let read = |(table, rows): &Split| -> Result<Vec<Example>, DatasetError> {
        rows.iter()
            .map(|row| {
                let y = label(table, row)?;
                let label = *labels.get(&y).ok_or_else(|| table.unlearned(row, &format!("y = {y}")))?;
                let group = cameras.get(&camera(table, row)?).copied();
                Ok(Example::new(table.picture(row, images.join(row.text(FILE)))?, label, group))
            })
            .collect()
    };
    let [train, val, test] = splits.each_ref().map(read);
    (set.train, set.val, set.test) = (train?, val?, test?);
    set.group_counts = set.count_groups();
    Ok(())
}

fn label(table: &Table, row: &Row) -> Result<u32, DatasetError> {
    table.number(row, CLASS, "a class number", |_| true)
}

fn camera(table: &Table, row: &Row) -> Result<u32, DatasetError> {
    table.number(row, CAMERA, "a camera number", |_| true)
}

/// The species of each `y`; empty without `categories.csv`.
fn categories(folder: &Path) -> Result<BTreeMap<u32, String>, DatasetError> {
    let path = folder.join("categories.csv");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let table = Table::read(&path, &["y", "name"])?;
    let number = |row: &Row| table.number::<u32>(row, 0, "a class number", |&y| y < 99_999);
    // Categories that WILDS dropped keep a placeholder instead of a class number.
    Ok(table.rows.iter().filter_map(|row| Some((number(row).ok()?, row.text(1).to_owned()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        std::fs::create_dir_all(root.join("train")).unwrap();
        std::fs::write(root.join(file), text).unwrap();
    }

    fn images(root: &Path, count: usize) {
        std::fs::create_dir_all(root.join("train")).unwrap();
        for image in 0..count {
            std::fs::write(root.join(format!("train/{image}.jpg")), []).unwrap();
        }
    }

    fn wilds(metadata: &str) -> Result<Dataset, String> {
        let root = tempfile::tempdir().unwrap();
        images(root.path(), 10);
        write(root.path(), "metadata.csv", metadata);
        write(root.path(), "categories.csv", "y,category_id,name\n0,0,empty\n7,150,tapir\n");
        open(root.path(), &Options::default())
            .map_err(|error| error.to_string().replace(&format!("{}/", root.path().display()), ""))
    }

    const WILDS: &str = ",split,location_remapped,location,y,category_id,filename
0,train,30,1,0,0,0.jpg
1,train,4,2,9,10,1.jpg
2,train,4,2,7,150,2.jpg
3,val,5,3,9,10,3.jpg
4,test,6,3,7,150,4.jpg
5,id_val,4,2,8,11,missing.jpg
";

    #[test]
    fn labels_are_ranks_and_groups_are_cameras() {
        let set = wilds(WILDS).unwrap();
        assert_eq!(set.classes, ["empty", "tapir", "category 9"]);
        assert_eq!(set.groups, ["camera 4", "camera 5", "camera 6", "camera 30"]);
        let labels =
            |examples: &[Example]| -> Vec<_> { examples.iter().map(|e| (e.label, e.group)).collect() };
        assert_eq!(labels(&set.train), [(0, Some(3)), (2, Some(0)), (1, Some(0))]);
        assert_eq!(labels(&set.val), [(2, Some(1))]);
        assert_eq!(labels(&set.test), [(1, Some(2))]);
        assert_eq!(set.group_counts, [2, 0, 0, 1]);
        assert_eq!(set.objectless, [0]);
        assert_eq!(set.aligned_groups(), None);
        assert!(set.normalize && set.crop.is_none());
    }

    #[test]
    fn broken_metadata_is_refused_with_its_line() {
        assert_eq!(
            wilds(&WILDS.replace("val,5,3,9", "val,5,3,8")).err().unwrap(),
            "metadata.csv:5: class y = 8 has no training image, so it cannot be learned; remove the line"
        );
        assert_eq!(
            wilds(&WILDS.replace("id_val", "ood")).err().unwrap(),
            "metadata.csv:7: split is `ood`, expected train, val, test, id_val or id_test"
        );
        assert_eq!(
            wilds(&WILDS.replace("test,6", "test,six")).err().unwrap(),
            "metadata.csv:6: location_remapped is `six`, expected a camera number"
        );
        assert_eq!(
            wilds(&WILDS.replace("1.jpg", "0.jpg")).err().unwrap(),
            "metadata.csv:3: `0.jpg` is listed twice (first on line 2); remove one"
        );
        assert_eq!(
            wilds(&WILDS.replace("4.jpg", "44.jpg")).err().unwrap(),
            "metadata.csv:6: image train/44.jpg does not exist; unpack the archive again"
        );
    }

    fn alia(train: &str) -> Result<Dataset, String> {
        let root = tempfile::tempdir().unwrap();
        images(root.path(), 9);
        write(root.path(), "train_subset.csv", train);
        write(root.path(), "val_subset.csv", ",split,location_remapped,y,filename\n5,id_test,1,52,7.jpg\n");
        write(
            root.path(),
            "test_subset.csv",
            ",,split,location_remapped,y,filename\n5,5,test,288,36,8.jpg\n",
        );
        open_alia(root.path(), &Options::default())
            .map_err(|error| error.to_string().replace(&format!("{}/", root.path().display()), ""))
    }

    const TRAIN: &str = ",,split,location_remapped,y,filename
0,0,train,1,0,0.jpg
1,1,train,1,52,1.jpg
2,2,train,2,24,2.jpg
3,3,train,1,32,3.jpg
4,4,train,1,36,4.jpg
5,5,train,1,48,5.jpg
6,6,train,1,49,6.jpg
";

    #[test]
    fn alias_subset_has_its_classes_crop_and_no_normalisation() {
        let set = alia(TRAIN).unwrap();
        let labels: Vec<u32> = set.train.iter().map(|example| example.label).collect();
        assert_eq!(labels, [0, 6, 1, 2, 3, 4, 5]);
        assert_eq!((set.val[0].label, set.test[0].label), (6, 3));
        assert_eq!(set.groups, ["camera 1", "camera 2", "camera 288"]);
        assert_eq!(set.objectless, [0]);
        assert!(!set.normalize);
        let cropped = set.crop.unwrap().apply(&image::RgbImage::new(60, 40));
        assert_eq!(cropped.dimensions(), (448, 400));
    }

    #[test]
    fn alias_subset_refuses_other_classes_and_missing_ones() {
        assert_eq!(
            alia(&TRAIN.replace("2,24", "2,25")).err().unwrap(),
            "train_subset.csv:4: class y = 25 has no training image, so it cannot be learned; remove the line"
        );
        assert_eq!(
            alia(&TRAIN.replace("2,24", "2,32")).err().unwrap(),
            "iwildcam-alia: class `cattle` has no training images; add some or drop the class"
        );
    }
}
