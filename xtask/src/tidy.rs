//! `cargo xtask tidy`: the rules of the project that no compiler checks.

mod dependencies;
mod rules;
mod tree;

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

use self::dependencies::Metadata;
use self::tree::Tree;
use crate::process;

/// The folder of these rules, which name what they look for.
const OWN_SOURCE: &str = "xtask/src/tidy";

/// A place where a rule is broken.
#[derive(Clone, Debug, PartialEq)]
struct Violation {
    path: String,
    /// Counted from 1.
    line: usize,
    message: String,
}

impl Violation {
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Prints one line a violation; the exit code is 1 if there is any.
pub(crate) fn run() -> Result<ExitCode> {
    let tree = Tree::tracked(&process::workspace_root())?;
    let metadata = Metadata::of_workspace()?;
    let violations = check(&tree, &metadata);
    for violation in &violations {
        println!("{violation}");
    }
    println!("tidy: {} tracked files, {} violations", tree.len(), violations.len());
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(tree: &Tree, metadata: &Metadata) -> Vec<Violation> {
    [
        dependencies::layers(tree, metadata),
        rules::libraries_leave_the_process_alone(tree),
        rules::crates_are_documented(tree),
        rules::nothing_is_put_off(tree),
        rules::lock_file_is_tracked(tree),
        rules::manifests_parse(tree),
        rules::operations_have_derivative_tests(tree),
        rules::no_private_paths(tree),
    ]
    .concat()
}
