//! Rules on the text of tracked files.

use super::tree::{Tree, crate_of};
use super::{OWN_SOURCE, Violation};

/// A library neither prints, nor ends the process, nor touches the environment, but for a few functions that do
/// nothing else. ARCHITECTURE.md says why.
pub(super) fn libraries_leave_the_process_alone(tree: &Tree) -> Vec<Violation> {
    const FORBIDDEN: [&str; 5] = ["println!", "eprintln!", "process::exit", "env::var", "env::set_var"];
    const ALLOWED: [(&str, &str); 3] = [
        ("crates/pg-grad/src/second_order.rs", "env::set_var"),
        ("crates/pg-grad/src/threads.rs", "env::set_var"),
        ("crates/pg-tasks/src/interrupt.rs", "process::exit"),
    ];
    let mut violations = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| is_library_source(tree, path)) {
        for (line, code) in library_code(text) {
            // The longer of two overlapping words is reported alone.
            let found = FORBIDDEN.iter().filter(|word| code.contains(*word)).max_by_key(|word| word.len());
            let Some(word) = found.filter(|word| !ALLOWED.contains(&(path, *word))) else { continue };
            violations.push(Violation::new(path, line, format!("`{word}` in a library")));
        }
    }
    violations
}

/// Whether `path` is part of a crate's library: in `src/`, and neither a binary's root nor one of its commands.
fn is_library_source(tree: &Tree, path: &str) -> bool {
    let Some(name) = crate_of(path) else { return false };
    let Some(module) = path.strip_prefix(&format!("crates/{name}/src/")) else { return false };
    let of_binary = ["main.rs", "bin/", "commands.rs", "commands/", "cli.rs", "cli/"];
    module.ends_with(".rs")
        && tree.contains(&format!("crates/{name}/src/lib.rs"))
        && !of_binary.iter().any(|prefix| module.starts_with(prefix))
}

/// The numbered lines of a source file without comments, up to its test module.
fn library_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end].lines().enumerate().map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("")))
}

/// Every library starts with an example, and every crate has its place in ARCHITECTURE.md.
pub(super) fn crates_are_documented(tree: &Tree) -> Vec<Violation> {
    const MAP: &str = "ARCHITECTURE.md";
    let map = tree.text(MAP).unwrap_or("");
    let mut violations = Vec::new();
    for name in tree.crates() {
        if !map.contains(name) {
            violations.push(Violation::new(MAP, 1, format!("crates/{name} is not mentioned")));
        }
        let root = format!("crates/{name}/src/lib.rs");
        let has_example = |text: &str| text.lines().any(|line| line.trim_start().starts_with("//! ```"));
        match tree.text(&root) {
            Some(text) if !has_example(text) => {
                violations.push(Violation::new(root, 1, "the crate's documentation has no example"));
            }
            None if !tree.contains(&format!("crates/{name}/src/main.rs")) => {
                violations.push(Violation::new(root, 1, "the crate has neither lib.rs nor main.rs"));
            }
            _ => {}
        }
    }
    violations
}

/// No test is ignored and no work is put off.
pub(super) fn nothing_is_put_off(tree: &Tree) -> Vec<Violation> {
    const FORBIDDEN: [&str; 4] = ["#[ignore", "todo!", "unimplemented!", "FIXME"];
    lines_of(tree, |path| path.ends_with(".rs"))
        .filter_map(|(path, number, line)| {
            let word = FORBIDDEN.iter().find(|word| line.contains(*word))?;
            Some(Violation::new(path, number, format!("`{word}`")))
        })
        .collect()
}

/// The versions that were tested are the versions that are built.
pub(super) fn lock_file_is_tracked(tree: &Tree) -> Vec<Violation> {
    if tree.contains("Cargo.lock") {
        vec![]
    } else {
        vec![Violation::new("Cargo.lock", 1, "not tracked by git")]
    }
}

/// Every dataset manifest is TOML.
pub(super) fn manifests_parse(tree: &Tree) -> Vec<Violation> {
    let manifests = tree.texts().filter(|(path, _)| path.starts_with("datasets/") && path.ends_with(".toml"));
    manifests
        .filter_map(|(path, text)| {
            let error = text.parse::<toml::Table>().err()?;
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Some(Violation::new(path, line, error.message()))
        })
        .collect()
}

/// Every operation of pg-grad is named in its tests of first and second derivatives. An operation is a public function
/// of a file in `ops/`; a file without one helps the others.
pub(super) fn operations_have_derivative_tests(tree: &Tree) -> Vec<Violation> {
    const TESTS: &str = "crates/pg-grad/tests/derivatives.rs";
    let tests = tree.text(TESTS).unwrap_or("");
    let mut violations = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| is_operation_file(path)) {
        let operations = library_code(text).filter_map(|(line, code)| Some((line, public_function(code)?)));
        violations.extend(operations.filter(|(_, name)| !names(tests, name)).map(|(line, name)| {
            Violation::new(path, line, format!("operation `{name}` has no test in {TESTS}"))
        }));
    }
    violations
}

fn is_operation_file(path: &str) -> bool {
    path.strip_prefix("crates/pg-grad/src/ops/").is_some_and(|file| file.ends_with(".rs") && file != "mod.rs")
}

/// The name of the free function that a line of code makes public.
fn public_function(code: &str) -> Option<&str> {
    let rest = code.strip_prefix("pub fn ")?;
    let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// Whether `word` stands in `text` as a whole word.
fn names(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// No file names a folder of one developer's machine.
pub(super) fn no_private_paths(tree: &Tree) -> Vec<Violation> {
    const PRIVATE: [&str; 3] = ["/home/", "/root/", "/Users/"];
    lines_of(tree, |_| true)
        .filter_map(|(path, number, line)| {
            let folder = PRIVATE.iter().find(|folder| starts_a_path(line, folder))?;
            Some(Violation::new(path, number, format!("a path of one machine: {folder}")))
        })
        .collect()
}

/// Whether `folder` stands in `line` with nothing of a longer path before it.
fn starts_a_path(line: &str, folder: &str) -> bool {
    let continues = |c: char| is_word(c) || ".-$}~*".contains(c);
    line.match_indices(folder).any(|(start, _)| !line[..start].chars().next_back().is_some_and(continues))
}

/// The numbered lines of the files that `wanted` picks, these rules themselves left out.
fn lines_of(tree: &Tree, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, usize, &str)> {
    tree.texts()
        .filter(move |(path, _)| !path.starts_with(OWN_SOURCE) && wanted(path))
        .flat_map(|(path, text)| text.lines().enumerate().map(move |(index, line)| (path, index + 1, line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places (`path:line`) of the violations.
    fn places(violations: &[Violation]) -> Vec<String> {
        violations.iter().map(|violation| format!("{}:{}", violation.path, violation.line)).collect()
    }

    #[test]
    fn a_library_that_prints_exits_or_reads_the_environment_is_found() {
        let bad = "fn f() {\n    println!();\n    eprintln!();\n    std::process::exit(1);\n    std::env::var(\"X\");\n}\n";
        let tree = Tree::of(&[("crates/a/src/lib.rs", ""), ("crates/a/src/deep/part.rs", bad)]);
        let violations = libraries_leave_the_process_alone(&tree);
        assert_eq!(places(&violations), [2, 3, 4, 5].map(|line| format!("crates/a/src/deep/part.rs:{line}")));
        assert_eq!(violations[1].message, "`eprintln!` in a library");
    }

    #[test]
    fn binaries_comments_and_tests_may_print() {
        let prints = "fn f() { println!(); }\n";
        let tree = Tree::of(&[
            (
                "crates/a/src/lib.rs",
                "/// println!\nfn f() {} // println!\n#[cfg(test)]\nmod tests { println!(); }\n",
            ),
            ("crates/a/src/main.rs", prints),
            ("crates/a/src/commands/train.rs", prints),
            ("crates/a/tests/t.rs", prints),
            ("crates/binary-only/src/main.rs", prints),
            ("crates/binary-only/src/part.rs", prints),
        ]);
        assert_eq!(libraries_leave_the_process_alone(&tree), []);
    }

    #[test]
    fn exceptions_are_allowed_by_file_and_word() {
        let found = |file: &str, text: &str| {
            let tree = Tree::of(&[
                ("crates/pg-grad/src/lib.rs", ""),
                ("crates/pg-tasks/src/lib.rs", ""),
                (file, text),
            ]);
            libraries_leave_the_process_alone(&tree).len()
        };
        let (exit, switch) = ("fn f() { process::exit(130) }", "fn f() { std::env::set_var(SWITCH, \"1\") }");
        assert_eq!(found("crates/pg-tasks/src/interrupt.rs", exit), 0);
        assert_eq!(found("crates/pg-tasks/src/interrupt.rs", switch), 1);
        assert_eq!(found("crates/pg-tasks/src/train.rs", exit), 1);
        assert_eq!(found("crates/pg-grad/src/second_order.rs", switch), 0);
        assert_eq!(found("crates/pg-grad/src/step.rs", switch), 1);
    }

    #[test]
    fn a_crate_without_example_or_without_mention_is_found() {
        let tree = Tree::of(&[
            ("ARCHITECTURE.md", "pg-good, pg-plain, pg-tool"),
            ("crates/pg-good/src/lib.rs", "//! Good.\n//! ```\n//! ```\n"),
            ("crates/pg-hidden/src/lib.rs", "//! Good.\n//! ```no_run\n//! ```\n"),
            ("crates/pg-plain/src/lib.rs", "//! Plain.\n/// ```\n/// ```\nfn f() {}\n"),
            ("crates/pg-tool/src/main.rs", "fn main() {}\n"),
        ]);
        assert_eq!(
            places(&crates_are_documented(&tree)),
            ["ARCHITECTURE.md:1", "crates/pg-plain/src/lib.rs:1"]
        );
    }

    #[test]
    fn work_put_off_is_found_anywhere_in_rust() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "#[ignore = \"slow\"]\nfn f() { todo!() }\n// FIXME later\n"),
            ("tests/t.rs", "\n\nfn g() { unimplemented!() }"),
            ("CONTRIBUTING.md", "no `todo!`"),
        ]);
        let expected =
            ["crates/a/src/lib.rs:1", "crates/a/src/lib.rs:2", "crates/a/src/lib.rs:3", "tests/t.rs:3"];
        assert_eq!(places(&nothing_is_put_off(&tree)), expected);
    }

    #[test]
    fn a_missing_lock_file_is_found() {
        assert_eq!(lock_file_is_tracked(&Tree::of(&[])).len(), 1);
        assert_eq!(lock_file_is_tracked(&Tree::of(&[("Cargo.lock", "")])), []);
    }

    #[test]
    fn a_broken_manifest_is_found_with_its_line() {
        let tree =
            Tree::of(&[("datasets/good.toml", "a = 1\n"), ("datasets/bad.toml", "a = 1\nb = \nc = 3\n")]);
        assert_eq!(places(&manifests_parse(&tree)), ["datasets/bad.toml:2"]);
    }

    #[test]
    fn an_operation_without_derivative_test_is_found() {
        let tree = Tree::of(&[
            ("crates/pg-grad/src/ops/mod.rs", "pub fn not_an_operation() {}"),
            (
                "crates/pg-grad/src/ops/pool.rs",
                "pub fn max_pool2d() {}\n\npub fn avg_pool2d() {}\npub(crate) fn hidden() {}",
            ),
            ("crates/pg-grad/src/ops/separable.rs", "pub(super) fn apply() {}"),
            ("crates/pg-grad/tests/derivatives.rs", "fn t() { max_pool2d(); my_avg_pool2d(); }"),
        ]);
        assert_eq!(places(&operations_have_derivative_tests(&tree)), ["crates/pg-grad/src/ops/pool.rs:3"]);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let tree = Tree::of(&[
            (
                "README.md",
                "see\n/home/me/data\n(/root/x)\nhttps://example.org/home/page and $HOME/x are fine\n",
            ),
            ("data.toml", "path = \"/root/data\"\n"),
            ("xtask/src/tidy/rules.rs", "/home/"),
        ]);
        assert_eq!(places(&no_private_paths(&tree)), ["README.md:2", "README.md:3", "data.toml:1"]);
    }
}
