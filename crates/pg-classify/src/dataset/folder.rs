//! A folder of images, one folder a class, with an optional manifest of edits: the way to bring one's own
//! data.
//!
//! ```text
//! root/train/cat/1.jpg      or, without a `train` folder:      root/cat/1.jpg
//! root/val/cat/2.jpg        (may be absent)
//! root/test/cat/3.jpg
//! ```

use std::path::{Path, PathBuf};

use pg_random::Seed;
use rand::Rng;

use super::{Dataset, DatasetError, Example, Options, Picture, edits};

const EXTENSIONS: [&str; 8] = ["bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// One in so many images of a class is validated with, and one in so many tested with.
const SHARE: usize = 10;

/// A class folder with its images, sorted by name.
struct ClassFolder {
    name: String,
    path: PathBuf,
    images: Vec<(String, PathBuf)>,
}

/// The images below `root`. Classes are the names of the class folders of the training split, sorted; images
/// are the files directly inside whose name ends in png, jpg, jpeg, gif, bmp, webp, tif or tiff. Hidden files
/// are ignored.
///
/// Without a `train` folder, every class is split 80 : 10 : 10 (each tenth rounded to the nearest image).
/// Which image goes where depends on a hash of its path and [`Options::seed`]; so a folder that is copied
/// elsewhere splits in the same way.
///
/// # Errors
/// [`DatasetError::Missing`], [`DatasetError::EmptyFolder`], [`DatasetError::EmptyClassFolder`],
/// [`DatasetError::UnknownClass`] or [`DatasetError::NotUtf8`] for the folders, and those of edits for the
/// manifest.
pub fn open(root: &Path, options: &Options) -> Result<Dataset, DatasetError> {
    if !root.is_dir() {
        return Err(DatasetError::Missing {
            path: root.to_owned(),
            advice: "pass the folder of your images".into(),
        });
    }
    let is_split = ["train", "val", "test"].iter().any(|split| root.join(split).is_dir());
    let set = if is_split { from_splits(root)? } else { from_classes(root, options.seed)? };
    edits::attach(set, options)?.checked()
}

fn from_splits(root: &Path) -> Result<Dataset, DatasetError> {
    let required = |split: &str| {
        let path = root.join(split);
        let advice = format!("with splits in folders, `{split}` is needed");
        if path.is_dir() { Ok(path) } else { Err(DatasetError::Missing { path, advice }) }
    };
    let train = class_folders(&required("train")?)?;
    let mut set = Dataset::empty("folder", train.iter().map(|class| class.name.clone()).collect());
    set.train = train.into_iter().zip(0..).flat_map(|(class, label)| examples(class.images, label)).collect();
    set.test = labelled(class_folders(&required("test")?)?, &set.classes)?;
    let val = root.join("val");
    if val.is_dir() {
        set.val = labelled(class_folders(&val)?, &set.classes)?;
    }
    Ok(set)
}

fn labelled(folders: Vec<ClassFolder>, classes: &[String]) -> Result<Vec<Example>, DatasetError> {
    let mut all = Vec::new();
    for ClassFolder { name, path, images } in folders {
        let Ok(label) = classes.binary_search(&name) else {
            return Err(DatasetError::UnknownClass { path, class: name });
        };
        all.extend(examples(images, label as u32));
    }
    Ok(all)
}

fn from_classes(root: &Path, seed: Seed) -> Result<Dataset, DatasetError> {
    let folders = class_folders(root)?;
    let mut set = Dataset::empty("folder", folders.iter().map(|class| class.name.clone()).collect());
    for (ClassFolder { name, mut images, .. }, label) in folders.into_iter().zip(0..) {
        images.sort_by_cached_key(|(file, _)| seed.stream(&format!("{name}/{file}"), &[]).next_u64());
        let share = (images.len() + SHARE / 2) / SHARE;
        let mut train = images.split_off(2 * share);
        let mut test = images.split_off(share);
        for (split, images) in
            [(&mut set.train, &mut train), (&mut set.val, &mut images), (&mut set.test, &mut test)]
        {
            images.sort();
            split.extend(examples(std::mem::take(images), label));
        }
    }
    Ok(set)
}

fn examples(images: Vec<(String, PathBuf)>, label: u32) -> impl Iterator<Item = Example> {
    images.into_iter().map(move |(_, path)| Example::new(Picture::File(path), label, None))
}

fn class_folders(path: &Path) -> Result<Vec<ClassFolder>, DatasetError> {
    let mut folders = Vec::new();
    for (name, path) in entries(path)?.into_iter().filter(|(_, path)| path.is_dir()) {
        let images: Vec<_> = entries(&path)?.into_iter().filter(|(_, path)| is_image(path)).collect();
        if images.is_empty() {
            return Err(DatasetError::EmptyClassFolder { path });
        }
        folders.push(ClassFolder { name, path, images });
    }
    if folders.is_empty() { Err(DatasetError::EmptyFolder { path: path.to_owned() }) } else { Ok(folders) }
}

/// Names and paths of what a folder holds, sorted by name, without hidden entries.
fn entries(path: &Path) -> Result<Vec<(String, PathBuf)>, DatasetError> {
    let io = |source| DatasetError::Io { path: path.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name =
            entry.file_name().into_string().map_err(|_| DatasetError::NotUtf8 { path: entry.path() })?;
        if !name.starts_with('.') {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str())) && path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if !file.ends_with('/') {
                std::fs::write(path, []).unwrap();
            }
        }
        root
    }

    fn try_open(root: &tempfile::TempDir) -> Result<Dataset, String> {
        open(root.path(), &Options::default())
            .map_err(|error| error.to_string().replace(&root.path().display().to_string(), "ROOT"))
    }

    fn error(files: &[&str]) -> String {
        try_open(&tree(files)).err().unwrap()
    }

    /// Class and path below the root of each image.
    fn files(examples: &[Example], root: &tempfile::TempDir) -> Vec<(u32, String)> {
        let relative = |example: &Example| match &example.picture {
            Picture::File(path) => path.strip_prefix(root.path()).unwrap().to_str().unwrap().to_owned(),
            Picture::Memory(_) => panic!("not a file"),
        };
        examples.iter().map(|example| (example.label, relative(example))).collect()
    }

    #[test]
    fn folders_name_splits_and_classes() {
        let root = tree(&[
            "train/dog/b.JPG",
            "train/dog/a.png",
            "train/cat/x.webp",
            "train/cat/.hidden.png",
            "train/cat/notes.txt",
            "train/README.md",
            "val/dog/v.tif",
            "test/cat/t.jpeg",
        ]);
        let set = try_open(&root).unwrap();
        assert_eq!(set.classes, ["cat", "dog"]);
        let expected = [(0, "train/cat/x.webp"), (1, "train/dog/a.png"), (1, "train/dog/b.JPG")];
        assert_eq!(files(&set.train, &root), expected.map(|(label, file)| (label, file.to_owned())));
        assert_eq!(files(&set.val, &root), [(1, "val/dog/v.tif".to_owned())]);
        assert_eq!(files(&set.test, &root), [(0, "test/cat/t.jpeg".to_owned())]);
        assert!(set.groups.is_empty() && set.normalize);
    }

    #[test]
    fn without_split_folders_every_class_is_split_80_10_10() {
        let names: Vec<String> = (0..50)
            .map(|n| format!("cat/{n:02}.png"))
            .chain((0..16).map(|n| format!("dog/{n:02}.png")))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let root = tree(&names);
        let set = try_open(&root).unwrap();
        let sizes =
            |examples: &[Example]| [0, 1].map(|label| examples.iter().filter(|e| e.label == label).count());
        assert_eq!((sizes(&set.train), sizes(&set.val), sizes(&set.test)), ([40, 12], [5, 2], [5, 2]));

        let mut all = [files(&set.train, &root), files(&set.val, &root), files(&set.test, &root)].concat();
        all.sort_by(|a, b| a.1.cmp(&b.1));
        assert_eq!(all.iter().map(|(_, file)| file.as_str()).collect::<Vec<_>>(), names);

        let copy = tree(&names);
        assert_eq!(files(&set.test, &root), files(&try_open(&copy).unwrap().test, &copy));
        let other = open(root.path(), &Options { seed: Seed(1), ..Options::default() }).unwrap();
        assert_ne!(files(&set.test, &root), files(&other.test, &root));
    }

    #[test]
    fn broken_trees_are_refused() {
        let missing = open(Path::new("/no/such/folder"), &Options::default()).unwrap_err().to_string();
        assert_eq!(missing, "/no/such/folder: not found; pass the folder of your images");
        assert_eq!(
            error(&["readme.txt"]),
            "ROOT: no class folders; expected one folder of images for each class"
        );
        assert_eq!(
            error(&["cat/1.png", "dog/1.txt"]),
            "ROOT/dog: no images directly inside (png, jpg, gif, bmp, webp, tif); add some or remove the folder"
        );
        assert_eq!(
            error(&["test/cat/1.png", "val/cat/1.png"]),
            "ROOT/train: not found; with splits in folders, `train` is needed"
        );
        assert_eq!(
            error(&["train/cat/1.png", "train/dog/1.png"]),
            "ROOT/test: not found; with splits in folders, `test` is needed"
        );
        assert_eq!(
            error(&["train/cat/1.png", "train/dog/1.png", "test/cow/1.png"]),
            "ROOT/test/cow: class `cow` has no folder in the training split; add one or remove this"
        );
        assert_eq!(
            error(&["train/cat/1.png", "train/dog/1.png", "test/dog/1.png", "val/cow/1.png"]),
            "ROOT/val/cow: class `cow` has no folder in the training split; add one or remove this"
        );
        assert_eq!(
            error(&["train/cat/1.png", "test/cat/2.png"]),
            "folder: 1 class found; classification needs at least 2"
        );
        assert_eq!(error(&["cat/1.png", "dog/1.png"]), "folder: no test images; check the split");
    }

    #[cfg(unix)]
    #[test]
    fn names_must_be_utf8() {
        use std::os::unix::ffi::OsStrExt;
        let root = tree(&["cat/1.png", "dog/1.png"]);
        std::fs::write(root.path().join("cat").join(std::ffi::OsStr::from_bytes(b"\xff.png")), []).unwrap();
        assert!(try_open(&root).err().unwrap().ends_with("the path is not UTF-8; rename it"));
    }
}
