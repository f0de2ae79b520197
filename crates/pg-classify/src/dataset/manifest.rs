//! What is known about each published set: layout, splits, where to get it, licence, metric of record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DatasetError;

/// The manifests, by the name of the set.
const TEXTS: [(&str, &str); 6] = [
    ("cub", include_str!("../../../../datasets/cub.toml")),
    ("decoy-mnist", include_str!("../../../../datasets/decoy-mnist.toml")),
    ("iwildcam", include_str!("../../../../datasets/iwildcam.toml")),
    ("iwildcam-alia", include_str!("../../../../datasets/iwildcam-alia.toml")),
    ("waterbirds", include_str!("../../../../datasets/waterbirds.toml")),
    ("waterbirds-alia", include_str!("../../../../datasets/waterbirds-alia.toml")),
];

/// The manifest of a published data set, `datasets/<name>.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The name that [`open`](super::open) knows the set by.
    pub name: String,
    /// Its full name.
    pub title: String,
    /// What it is and what biases it, in a sentence or two.
    pub summary: String,
    /// Number of classes.
    pub classes: usize,
    /// Number of images of each split.
    pub splits: Splits,
    /// The files below the data root.
    pub layout: String,
    /// Where to get them, on one line.
    pub obtain: String,
    /// Terms of use.
    pub licence: String,
    /// MD5 of the archives whose checksum is published, by file name.
    #[serde(default)]
    pub md5: BTreeMap<String, String>,
    /// Publications to cite.
    pub cite: Vec<String>,
    /// Which metric of [`Scores`](crate::metrics::Scores) is compared, and with what care.
    pub metric: String,
    /// What classifiers that see nothing reach on the test split, where it is known.
    #[serde(default)]
    pub trivial: Vec<Trivial>,
    /// Published results on the same split.
    #[serde(default)]
    pub published: Vec<Published>,
}

/// Number of images of each split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Splits {
    /// Training images.
    pub train: usize,
    /// Validation images.
    pub val: usize,
    /// Test images.
    pub test: usize,
}

/// A classifier that sees nothing, and its results in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trivial {
    /// What it answers.
    pub answer: String,
    /// Plain accuracy.
    pub top1: f64,
    /// Class-balanced accuracy.
    pub balanced: f64,
}

/// A published result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The method.
    pub method: String,
    /// The metric, as the publication calls it.
    pub metric: String,
    /// The result in percent.
    pub value: f64,
    /// The publication.
    pub source: String,
}

impl Manifest {
    /// Names of the sets that have a manifest.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TEXTS.iter().map(|&(name, _)| name)
    }

    /// The manifest of the set `name`.
    ///
    /// # Errors
    /// [`DatasetError::Unknown`] for a set without manifest.
    pub fn of(name: &str) -> Result<Self, DatasetError> {
        match TEXTS.iter().find(|&&(known, _)| known == name) {
            Some((name, text)) => Self::parse(name, text),
            None => {
                let known = Self::names().collect::<Vec<_>>().join(", ");
                Err(DatasetError::Unknown { name: name.to_owned(), known })
            }
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`DatasetError::Manifest`] for what is no TOML or not a manifest of `name`.
    pub fn parse(name: &str, text: &str) -> Result<Self, DatasetError> {
        let refuse = |reason: String| DatasetError::Manifest { name: name.to_owned(), reason };
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            refuse(format!("line {line}: {}", error.message().replace('\n', " ")))
        })?;
        if manifest.name == name {
            Ok(manifest)
        } else {
            Err(refuse(format!("is about `{}`", manifest.name)))
        }
    }
}

/// What to do when the files of a set are not there, on one line.
pub(super) fn advice(name: &str) -> String {
    match Manifest::of(name) {
        Ok(manifest) => format!("{} and pass its folder as --data-root", manifest.obtain),
        Err(_) => "pass the folder of your images as --data-root".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_parses_and_fits_on_its_lines() {
        for name in Manifest::names() {
            let manifest = Manifest::of(name).unwrap();
            assert!(super::super::NAMES.contains(&name));
            for line in
                [&manifest.title, &manifest.summary, &manifest.obtain, &manifest.licence, &manifest.metric]
            {
                assert!(!line.is_empty() && !line.contains('\n'), "{name}: {line}");
            }
            assert!(!manifest.obtain.ends_with('.'), "{name}: the sentence goes on");
            assert!(!manifest.cite.is_empty(), "{name}");
            assert!(manifest.md5.values().all(|sum| sum.len() == 32), "{name}");
            for trivial in &manifest.trivial {
                assert!((0.0..=100.0).contains(&trivial.top1), "{name}");
                assert!((trivial.balanced - 100.0 / manifest.classes as f64).abs() < 0.06, "{name}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_line() {
        let text = TEXTS[0].1.replace("[splits]", "[spilts]");
        let error = Manifest::parse("cub", &text).unwrap_err().to_string();
        assert!(error.starts_with("datasets/cub.toml: line ") && !error.contains('\n'), "{error}");
        let error = Manifest::parse("bird", TEXTS[0].1).unwrap_err().to_string();
        assert_eq!(error, "datasets/bird.toml: is about `cub`");
        assert!(matches!(Manifest::of("folder"), Err(DatasetError::Unknown { .. })));
    }
}
