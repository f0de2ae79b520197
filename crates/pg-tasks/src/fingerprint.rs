//! What a run trains on and is judged by, in short: enough to notice that samples came, went or changed places.
//!
//! Files count by name, not by content: a fingerprint must be cheap where the data are many gigabytes. An image that is
//! overwritten under its name goes unnoticed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The classes of a data set, and the number and a checksum (CRC-32) of the samples of each of its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    classes: Vec<String>,
    parts: BTreeMap<String, Part>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    samples: usize,
    checksum: u32,
}

impl Fingerprint {
    /// That of a data set without samples.
    #[must_use]
    pub fn new(classes: &[String]) -> Self {
        Self { classes: classes.to_vec(), parts: BTreeMap::new() }
    }

    /// The same with a part, such as `training`. Each sample is the bytes that tell it from others; their order counts,
    /// since what is drawn at random is drawn by position.
    #[must_use]
    pub fn with<S: AsRef<[u8]>>(mut self, part: &str, samples: impl IntoIterator<Item = S>) -> Self {
        let mut checksum = crc32fast::Hasher::new();
        let mut count = 0;
        for sample in samples {
            let bytes = sample.as_ref();
            // The length, so that `ab`, `c` is not `a`, `bc`.
            checksum.update(&(bytes.len() as u64).to_le_bytes());
            checksum.update(bytes);
            count += 1;
        }
        self.parts.insert(part.to_owned(), Part { samples: count, checksum: checksum.finalize() });
        self
    }

    /// In words, what is different `now`; `None` if nothing is.
    #[must_use]
    pub fn change(&self, now: &Self) -> Option<String> {
        if self.classes.len() != now.classes.len() {
            return Some(format!("classes: {} instead of {}", now.classes.len(), self.classes.len()));
        }
        if let Some((was, is)) = self.classes.iter().zip(&now.classes).find(|(was, is)| was != is) {
            return Some(format!("class `{is}` instead of `{was}`"));
        }
        let names = self.parts.keys().chain(now.parts.keys());
        names.into_iter().find_map(|name| {
            let [was, is] = [self, now].map(|data| data.parts.get(name).copied().unwrap_or_default());
            if was.samples != is.samples {
                Some(format!("{name} samples: {} instead of {}", is.samples, was.samples))
            } else if was != is {
                Some(format!("other {name} samples, or another order of them"))
            } else {
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(classes: &[&str], training: &[&str], validation: &[&str]) -> Fingerprint {
        let classes: Vec<String> = classes.iter().map(|&class| class.to_owned()).collect();
        Fingerprint::new(&classes).with("training", training).with("validation", validation)
    }

    #[test]
    fn every_change_is_told() {
        let before = data(&["cat", "dog"], &["ab", "c"], &["d"]);
        for (now, change) in [
            (data(&["cat"], &["ab", "c"], &["d"]), "classes: 1 instead of 2"),
            (data(&["cat", "fox"], &["ab", "c"], &["d"]), "class `fox` instead of `dog`"),
            (data(&["cat", "dog"], &["ab"], &["d"]), "training samples: 1 instead of 2"),
            (data(&["cat", "dog"], &["c", "ab"], &["d"]), "other training samples, or another order of them"),
            (data(&["cat", "dog"], &["a", "bc"], &["d"]), "other training samples, or another order of them"),
            (
                data(&["cat", "dog"], &["ab", "c"], &["e"]),
                "other validation samples, or another order of them",
            ),
            (before.clone().with("test", ["f"]), "test samples: 1 instead of 0"),
        ] {
            assert_eq!(before.change(&now).as_deref(), Some(change));
        }
        assert_eq!(before.change(&data(&["cat", "dog"], &["ab", "c"], &["d"])), None);
    }

    #[test]
    fn it_comes_back_from_json() {
        let data = data(&["cat"], &["a"], &[]);
        let again = serde_json::from_str(&serde_json::to_string(&data).unwrap()).unwrap();
        assert_eq!(data.change(&again), None);
    }
}
