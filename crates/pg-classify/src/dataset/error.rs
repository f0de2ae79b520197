//! What can be wrong with a data set.

use std::path::PathBuf;

/// Why a data set cannot be read. Each message is one line that names the file (and its line) and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// [`open`](super::open) knows no such set.
    #[error("unknown data set `{name}`; choose one of {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The set lies in files, but no folder was given.
    #[error("{dataset}: no data root; {advice}")]
    NoRoot {
        /// Name of the set.
        dataset: String,
        /// Where to get the set.
        advice: String,
    },
    /// The set could not be had from the Hugging Face hub.
    #[error("{dataset}: cannot be fetched from the Hugging Face hub ({reason}); {advice}")]
    Hub {
        /// Name of the set.
        dataset: String,
        /// What the hub's client said.
        reason: String,
        /// Where else to get the set.
        advice: String,
    },
    /// A file or folder is not there.
    #[error("{}: not found; {advice}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// What to do.
        advice: String,
    },
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is no image that can be decoded.
    #[error(transparent)]
    Picture(#[from] pg_tasks::decode::ImageError),
    /// A path cannot be a name.
    #[error("{}: the path is not UTF-8; rename it", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },

    /// A table is not a CSV file.
    #[error("{}: {source}", path.display())]
    Csv {
        /// The table.
        path: PathBuf,
        /// What the parser says, with the line.
        source: csv::Error,
    },
    /// A table lacks a column.
    #[error("{}: no column `{column}` (the columns are {found}); is this the right file?", path.display())]
    MissingColumn {
        /// The table.
        path: PathBuf,
        /// The missing column.
        column: String,
        /// The columns there are.
        found: String,
    },
    /// A field of a table cannot be understood.
    #[error("{}:{line}: {column} is `{value}`, expected {expected}", path.display())]
    Value {
        /// The table.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// Name of the column.
        column: String,
        /// What is there.
        value: String,
        /// What should be there.
        expected: String,
    },
    /// Two lines of a table are about the same thing.
    #[error("{}:{line}: `{value}` is listed twice (first on line {first}); remove one", path.display())]
    DuplicateRow {
        /// The table.
        path: PathBuf,
        /// The second line, from 1.
        line: u64,
        /// The first line.
        first: u64,
        /// What is listed twice.
        value: String,
    },
    /// A list has no line for an image of `images.txt`.
    #[error("{}: no line for image {id} of images.txt; unpack the archive again", path.display())]
    MissingId {
        /// The list.
        path: PathBuf,
        /// Id of the image.
        id: u32,
    },
    /// A table lists an image that is not there.
    #[error("{}:{line}: image {} does not exist; unpack the archive again", path.display(), image.display())]
    MissingImage {
        /// The table.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// The image.
        image: PathBuf,
    },
    /// A line names a class that the training set does not have.
    #[error("{}:{line}: class {class} has no training image, so it cannot be learned; remove the line", path.display())]
    UnlearnedClass {
        /// The table.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// The class as the table writes it.
        class: String,
    },

    /// A folder holds no class folders.
    #[error("{}: no class folders; expected one folder of images for each class", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A class folder holds no images.
    #[error("{}: no images directly inside (png, jpg, gif, bmp, webp, tif); add some or remove the folder", path.display())]
    EmptyClassFolder {
        /// The class folder.
        path: PathBuf,
    },
    /// A validation or test folder has a class that the training folder lacks.
    #[error("{}: class `{class}` has no folder in the training split; add one or remove this", path.display())]
    UnknownClass {
        /// The class folder.
        path: PathBuf,
        /// Its class.
        class: String,
    },

    /// The specification of the drawn set asks for what cannot be drawn.
    #[error("embedded: {0}")]
    Spec(#[from] pg_embedded::SpecError),
    /// Edits were given for a set that is not made of files.
    #[error("{dataset}: takes no edits from files; drop the manifest of edits")]
    EditsUnsupported {
        /// Name of the set.
        dataset: String,
    },
    /// A manifest of edits cannot be used.
    #[error(transparent)]
    EditManifest(#[from] pg_synth::ManifestError),
    /// An edit's original is no training image.
    #[error(
        "{}: original {} is not a training image; remove its edits, since those of other images would leak them",
        path.display(), original.display()
    )]
    NotATrainingImage {
        /// The manifest.
        path: PathBuf,
        /// The original.
        original: PathBuf,
    },
    /// An edited file is itself an image of the set.
    #[error("{}: edited image {} is itself an image of the data set; keep edits apart", path.display(), edited.display())]
    EditInDataset {
        /// The manifest.
        path: PathBuf,
        /// The edited image.
        edited: PathBuf,
    },
    /// The manifest's label is not that of the original.
    #[error(
        "{}: {} has label {label}, but its original is a `{class}` (label {expected}); an edit keeps its class",
        path.display(), edited.display()
    )]
    ManifestLabel {
        /// The manifest.
        path: PathBuf,
        /// The edited image.
        edited: PathBuf,
        /// The manifest's label.
        label: u32,
        /// The original's class.
        class: String,
        /// The original's label.
        expected: u32,
    },

    /// An IDX file starts wrongly.
    #[error("{}: magic number {found:#010x}, expected {expected:#010x}; this is no IDX file of {what}", path.display())]
    IdxMagic {
        /// The file.
        path: PathBuf,
        /// Its first four bytes, big-endian.
        found: u32,
        /// What they should be.
        expected: u32,
        /// What the file should hold.
        what: &'static str,
    },
    /// An IDX file is shorter or longer than its header declares.
    #[error("{}: {found} bytes, expected {expected}; download it again", path.display())]
    IdxLength {
        /// The file.
        path: PathBuf,
        /// Its length once decompressed.
        found: usize,
        /// The length it should have.
        expected: usize,
    },
    /// An IDX file holds images of another size.
    #[error("{}: images of {width}x{height} pixels, expected 28x28", path.display())]
    IdxSize {
        /// The file.
        path: PathBuf,
        /// Width of its images.
        width: usize,
        /// Height of its images.
        height: usize,
    },
    /// Two IDX files do not belong together.
    #[error("{}: {labels} labels for {images} images; the two files do not belong together", path.display())]
    IdxCounts {
        /// The file of labels.
        path: PathBuf,
        /// Number of labels.
        labels: usize,
        /// Number of images.
        images: usize,
    },
    /// An IDX file holds a label that is no digit.
    #[error("{}: label {index} is {label}, expected 0 to 9", path.display())]
    IdxLabel {
        /// The file.
        path: PathBuf,
        /// Position of the label, from 0.
        index: usize,
        /// The label.
        label: u8,
    },

    /// A split that must have images has none.
    #[error("{dataset}: no {split} images; check the split")]
    EmptySplit {
        /// Name of the set.
        dataset: String,
        /// The split.
        split: &'static str,
    },
    /// There is nothing to tell apart.
    #[error("{dataset}: {found} class found; classification needs at least 2")]
    TooFewClasses {
        /// Name of the set.
        dataset: String,
        /// Number of classes.
        found: usize,
    },
    /// Two classes have one name.
    #[error("{dataset}: two classes are named `{class}`; rename one")]
    DuplicateClass {
        /// Name of the set.
        dataset: String,
        /// The name.
        class: String,
    },
    /// A class cannot be learned.
    #[error("{dataset}: class `{class}` has no training images; add some or drop the class")]
    ClassWithoutImages {
        /// Name of the set.
        dataset: String,
        /// The class.
        class: String,
    },
    /// A label is out of range.
    #[error("{dataset}: {split} image {index} has label {label}, but there are {classes} classes")]
    Label {
        /// Name of the set.
        dataset: String,
        /// The split.
        split: &'static str,
        /// Position in the split.
        index: usize,
        /// The label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// A group is out of range, or missing.
    #[error("{dataset}: {split} image {index} has {}, but there are {groups} groups", group_text(*group))]
    Group {
        /// Name of the set.
        dataset: String,
        /// The split.
        split: &'static str,
        /// Position in the split.
        index: usize,
        /// The group.
        group: Option<u32>,
        /// Number of groups.
        groups: usize,
    },
    /// A mask does not fit its image.
    #[error("{dataset}: {split} image {index} is {}x{} pixels but its mask is {}x{}", image.0, image.1, mask.0, mask.1)]
    MaskSize {
        /// Name of the set.
        dataset: String,
        /// The split.
        split: &'static str,
        /// Position in the split.
        index: usize,
        /// Width and height of the mask.
        mask: (usize, usize),
        /// Width and height of the image.
        image: (usize, usize),
    },
    /// An edit's original does not exist.
    #[error(
        "{dataset}: edit {index} names training image {original} as its original, but there are {images}"
    )]
    EditOriginal {
        /// Name of the set.
        dataset: String,
        /// Position among the edits.
        index: usize,
        /// Index of the original.
        original: usize,
        /// Number of training images.
        images: usize,
    },
    /// An edit has another class than its original.
    #[error(
        "{dataset}: edit {index} has label {label}, but its original is a `{class}`; an edit keeps its class"
    )]
    EditLabel {
        /// Name of the set.
        dataset: String,
        /// Position among the edits.
        index: usize,
        /// Its label.
        label: u32,
        /// The original's class.
        class: String,
    },

    /// A manifest of a data set is not as it should be.
    #[error("datasets/{name}.toml: {reason}")]
    Manifest {
        /// Name of the set.
        name: String,
        /// What is wrong, on one line.
        reason: String,
    },
}

fn group_text(group: Option<u32>) -> String {
    group.map_or_else(|| "no group".to_owned(), |group| format!("group {group}"))
}
