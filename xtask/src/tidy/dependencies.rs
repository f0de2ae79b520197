//! Which crate may depend on which.

use std::collections::{BTreeMap, VecDeque};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Violation;
use super::tree::Tree;
use crate::process;

const TENSOR_LIBRARIES: &[&str] = &[
    "candle-core",
    "candle-nn",
    "candle-datasets",
    "candle-transformers",
    "burn",
    "dfdx",
    "ndarray",
    "ort",
    "tch",
];

/// A manifest's crate, and what must not be in its dependency tree.
const FORBIDDEN: &[(&str, &str, &[&str])] = &[
    ("pg-random", "crates/pg-random/Cargo.toml", TENSOR_LIBRARIES),
    ("pg-kernels", "crates/pg-kernels/Cargo.toml", TENSOR_LIBRARIES),
    ("pg-provenance", "crates/pg-provenance/Cargo.toml", TENSOR_LIBRARIES),
    ("pg-synth", "crates/pg-synth/Cargo.toml", TENSOR_LIBRARIES),
    ("pg-localization", "crates/pg-localization/Cargo.toml", TENSOR_LIBRARIES),
    ("pg-tubes", "crates/pg-tubes/Cargo.toml", TENSOR_LIBRARIES),
    ("pg-skeleton", "crates/pg-skeleton/Cargo.toml", TENSOR_LIBRARIES),
    ("pg-embedded", "crates/pg-embedded/Cargo.toml", TENSOR_LIBRARIES),
    ("pg-grad", "crates/pg-grad/Cargo.toml", &["pg-provenance", "pg-synth", "pg-embedded", "pg-models"]),
    ("pg-models", "crates/pg-models/Cargo.toml", &["pg-provenance", "pg-synth", "pg-embedded"]),
    ("pg-tasks", "crates/pg-tasks/Cargo.toml", &["pg-synth", "pg-embedded", "pg-classify"]),
    ("xtask", "xtask/Cargo.toml", TENSOR_LIBRARIES),
];

/// The parts of `cargo metadata` that say who depends on whom.
#[derive(Deserialize)]
pub(super) struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `dev`, `build`, or none for a normal dependency.
    kind: Option<String>,
}

impl Metadata {
    /// Asks cargo about this workspace, on this machine's platform.
    pub(super) fn of_workspace() -> Result<Self> {
        let version = process::stdout_of(Command::new("rustc").arg("-vV"))?;
        let host = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("rustc -vV names no host")?;
        let json = process::stdout_of(process::cargo().args([
            "metadata",
            "--locked",
            "--format-version",
            "1",
            "--filter-platform",
            host,
        ]))?;
        serde_json::from_str(&json).context("cargo metadata printed something else than expected")
    }

    /// The shortest chain of names from package `from` to one of `targets`. Development dependencies count for `from`
    /// itself, not further down: those are not built.
    fn chain(&self, from: &str, targets: &[&str]) -> Option<Vec<&str>> {
        let names: BTreeMap<&str, &str> =
            self.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
        let nodes: BTreeMap<&str, &Node> =
            self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let start = names.iter().find(|(_, name)| **name == from).map(|(id, _)| *id)?;

        let mut parents: BTreeMap<&str, &str> = BTreeMap::from([(start, start)]);
        let mut queue = VecDeque::from([start]);
        while let Some(id) = queue.pop_front() {
            if id != start && targets.contains(names.get(id)?) {
                return Some(names_back_to(start, id, &parents, &names));
            }
            for dependency in &nodes.get(id)?.deps {
                let built = id == start
                    || dependency.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"));
                if built && !parents.contains_key(dependency.pkg.as_str()) {
                    parents.insert(&dependency.pkg, id);
                    queue.push_back(&dependency.pkg);
                }
            }
        }
        None
    }
}

fn names_back_to<'a>(
    start: &str,
    end: &'a str,
    parents: &BTreeMap<&'a str, &'a str>,
    names: &BTreeMap<&'a str, &'a str>,
) -> Vec<&'a str> {
    let mut chain: Vec<&str> =
        std::iter::successors(Some(end), |id| parents.get(id).copied().filter(|_| *id != start))
            .filter_map(|id| names.get(id).copied())
            .collect();
    chain.reverse();
    chain
}

/// Masks, synthesis and kernels know no tensor library; gradients and models know no masks and no synthesis; what all
/// tasks share knows no task; this program links no candle.
pub(super) fn layers(tree: &Tree, metadata: &Metadata) -> Vec<Violation> {
    let broken = FORBIDDEN.iter().filter_map(|&(name, manifest, targets)| {
        let chain = metadata.chain(name, targets)?;
        let line = line_naming(tree.text(manifest).unwrap_or(""), chain.get(1)?);
        Some(Violation::new(manifest, line, format!("forbidden dependency: {}", chain.join(" -> "))))
    });
    broken.collect()
}

/// The line of a manifest that starts with `name`, or 1.
fn line_naming(manifest: &str, name: &str) -> usize {
    let named = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
    manifest.lines().position(named).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metadata of packages named as their ids, from (package, dependency, kind) triples.
    fn metadata(edges: &[(&str, &str, Option<&str>)]) -> Metadata {
        let mut names: Vec<&str> = edges.iter().flat_map(|&(from, to, _)| [from, to]).collect();
        names.sort_unstable();
        names.dedup();
        let dependency = |&(_, to, kind): &(&str, &str, Option<&str>)| Dependency {
            pkg: to.into(),
            dep_kinds: vec![DependencyKind { kind: kind.map(Into::into) }],
        };
        let node = |name: &&str| Node {
            id: (*name).into(),
            deps: edges.iter().filter(|(from, ..)| from == name).map(dependency).collect(),
        };
        Metadata {
            packages: names.iter().map(|name| Package { id: (*name).into(), name: (*name).into() }).collect(),
            resolve: Resolve { nodes: names.iter().map(node).collect() },
        }
    }

    #[test]
    fn names_the_chain_and_the_line_of_the_manifest() {
        let tree = Tree::of(&[(
            "crates/pg-synth/Cargo.toml",
            "[dependencies]\nimage = \"1\"\nhelper.workspace = true\n",
        )]);
        let metadata = metadata(&[
            ("pg-synth", "image", None),
            ("pg-synth", "helper", None),
            ("helper", "candle-core", None),
        ]);
        let expected = "forbidden dependency: pg-synth -> helper -> candle-core";
        assert_eq!(layers(&tree, &metadata), [Violation::new("crates/pg-synth/Cargo.toml", 3, expected)]);
    }

    #[test]
    fn gradients_know_no_model_even_in_their_tests() {
        let metadata = metadata(&[("pg-grad", "candle-core", None), ("pg-grad", "pg-models", Some("dev"))]);
        let violations = layers(&Tree::of(&[]), &metadata);
        assert_eq!(violations.len(), 1);
        assert!(violations[0].message.ends_with("pg-grad -> pg-models"));
    }

    #[test]
    fn what_a_dependency_needs_for_its_own_tests_does_not_count() {
        let metadata = metadata(&[
            ("pg-synth", "pg-random", None),
            ("pg-random", "image", None),
            ("image", "tch", Some("dev")),
        ]);
        assert_eq!(layers(&Tree::of(&[]), &metadata), []);
    }

    #[test]
    fn this_workspace_is_layered() {
        let metadata = Metadata::of_workspace().unwrap();
        assert!(metadata.chain("pg-models", TENSOR_LIBRARIES).is_some(), "the search finds what is there");
        assert_eq!(layers(&Tree::of(&[]), &metadata), []);
    }
}
