//! Where files are written, and what is left of them if that fails.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use pg_tubes::write_file;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    write_file(&path, |file| file.write_all(b"whole")).unwrap();
    let failed = write_file(&path, |file| {
        file.write_all(b"pa")?;
        Err(io::ErrorKind::StorageFull.into())
    });
    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(fs::read(&path).unwrap(), b"whole");
    assert_eq!(names(folder.path()), ["a.jsonl"]);
    assert!(write_file(folder.path(), |_| Ok(())).is_err(), "a folder");
}

#[cfg(unix)]
mod in_place {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_link_is_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "longer than what follows").unwrap();
        symlink("file", &link).unwrap();
        write_file(&link, |file| file.write_all(b"short")).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("file"));
        assert_eq!(fs::read(&file).unwrap(), b"short");
        // One that leads nowhere yet.
        fs::remove_file(&file).unwrap();
        write_file(&link, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["file", "link"]);
    }

    /// The program is this test's own, which starts itself.
    #[test]
    fn standard_output_goes_on_where_it_is() {
        const INSIDE: &str = "PG_TUBES_WRITES_TO_STANDARD_OUTPUT";
        if std::env::var_os(INSIDE).is_some() {
            writeln!(io::stdout(), "before").unwrap();
            write_file(Path::new("/dev/stdout"), |file| file.write_all(b"written\n")).unwrap();
            writeln!(io::stdout(), "after").unwrap();
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "in_place::standard_output_goes_on_where_it_is", "--nocapture"])
            .env(INSIDE, "")
            .stdout(fs::File::create(&path).unwrap())
            .status()
            .unwrap();
        assert!(status.success());
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("before\nwritten\nafter\n"), "{text}");
    }
}
