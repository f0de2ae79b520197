//! The text files that git tracks.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// Every tracked file of a repository; binary files have no text.
pub(super) struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// Reads the tracked files of the git repository at `root`.
    pub(super) fn tracked(root: &Path) -> Result<Self> {
        let listing = process::stdout_of(Command::new("git").current_dir(root).args(["ls-files", "-z"]))?;
        let mut files = BTreeMap::new();
        for path in listing.split_terminator('\0').filter(|path| root.join(path).is_file()) {
            let bytes = std::fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
            files.insert(path.to_owned(), String::from_utf8(bytes).ok());
        }
        Ok(Self { files })
    }

    /// A made-up tree.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let owned = files.iter().map(|&(path, text)| (path.to_owned(), Some(text.to_owned())));
        Self { files: owned.collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The text of the file at `path`, if it is tracked and is text.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Paths and texts, in the order of their paths.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// The names of the folders in `crates/`.
    pub(super) fn crates(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.files.keys().filter_map(|path| crate_of(path)).collect();
        names.dedup();
        names
    }
}

/// The crate folder that `path` lies in: `pg-grad` for `crates/pg-grad/src/lib.rs`.
pub(super) fn crate_of(path: &str) -> Option<&str> {
    Some(path.strip_prefix("crates/")?.split_once('/')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tracked_files_only() {
        let folder = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            process::stdout_of(Command::new("git").current_dir(folder.path()).args(args)).unwrap()
        };
        git(&["init", "--quiet"]);
        std::fs::create_dir_all(folder.path().join("crates/a")).unwrap();
        for (name, bytes) in
            [("crates/a/x.rs", &b"fn x() {}"[..]), ("picture.png", &[0xff, 0xfe]), ("untracked", b"")]
        {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        git(&["add", "crates/a/x.rs", "picture.png"]);

        let tree = Tree::tracked(folder.path()).unwrap();
        assert_eq!(tree.len(), 2);
        assert_eq!(tree.text("crates/a/x.rs"), Some("fn x() {}"));
        assert!(tree.contains("picture.png") && tree.text("picture.png").is_none());
        assert!(!tree.contains("untracked"));
        assert_eq!(tree.crates(), ["a"]);
    }

    #[test]
    fn a_folder_outside_git_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Tree::tracked(folder.path()).is_err());
    }
}
