//! The lists of a split in wsolevaluation's files, of a set that is drawn: so that its maps can be evaluated as any others.

use std::io::Write;
use std::path::Path;

use pg_localization::Object;
use pg_tasks::run_dir::{RunDirError, write_atomically};

use crate::dataset::Example;

/// Writes image_ids.txt, class_labels.txt, image_sizes.txt and localization.txt of those of `examples` that have boxes to
/// `folder`, which is made: what [`pg_localization::Metadata::read`] reads.
///
/// # Errors
/// If a file cannot be written.
pub fn write(examples: &[Example], folder: &Path) -> Result<(), RunDirError> {
    let [mut ids, mut labels, mut sizes, mut places] = [const { String::new() }; 4];
    for Example { id, label, object, .. } in examples {
        let Some(Object::Boxes { size: (width, height), boxes }) = object else { continue };
        ids += &format!("{id}\n");
        labels += &format!("{id},{label}\n");
        sizes += &format!("{id},{width},{height}\n");
        for place in boxes {
            places += &format!("{id},{},{},{},{}\n", place.x0, place.y0, place.x1, place.y1);
        }
    }
    std::fs::create_dir_all(folder).map_err(|source| RunDirError::new(folder, source))?;
    for (name, text) in [
        ("image_ids.txt", ids),
        ("class_labels.txt", labels),
        ("image_sizes.txt", sizes),
        ("localization.txt", places),
    ] {
        write_atomically(&folder.join(name), |file| file.write_all(text.as_bytes()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pg_embedded::LocalizationSpec;
    use pg_localization::Metadata;

    use super::*;
    use crate::dataset::Dataset;

    #[test]
    fn what_is_written_is_read_again() {
        let spec = LocalizationSpec { train: 4, val: 4, test: 8, ..LocalizationSpec::default() };
        let set = Dataset::embedded(&spec).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata/test");
        write(&set.test, &path).unwrap();
        let read = Metadata::read(&path).unwrap().images;
        assert_eq!(read.len(), 8);
        for (read, written) in read.iter().zip(&set.test) {
            assert_eq!((&read.id, read.label), (&written.id, written.label));
            assert_eq!(Some(&read.object), written.object.as_ref());
        }
    }
}
