//! Which settings a parameter is trained with, by prefix of its name.

use std::collections::BTreeMap;

use candle_core::Var;
use serde::{Deserialize, Serialize};

use super::OptimError;

/// Settings for the parameters under some prefixes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParamGroup {
    /// Prefixes in whole components: `layer1` holds `layer1.0.conv1.weight` but not `layer10.bias`. Empty: every
    /// parameter that no other group holds.
    pub matches: Vec<String>,
    /// Factor of the learning rate.
    pub lr_scale: f64,
    /// Weight decay in place of the optimiser's.
    pub weight_decay: Option<f64>,
}

impl Default for ParamGroup {
    fn default() -> Self {
        Self { matches: Vec::new(), lr_scale: 1.0, weight_decay: None }
    }
}

/// All groups of a run, and the parameters that are not trained.
///
/// Where several groups hold a parameter, the one with the longest prefix counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Groups {
    /// The groups. A parameter in none of them has scale 1 and the optimiser's weight decay.
    pub groups: Vec<ParamGroup>,
    /// Prefixes of parameters that are not trained, matched as in [`ParamGroup::matches`].
    pub frozen: Vec<String>,
}

impl Groups {
    /// Learning-rate scale and weight decay of a parameter, given the optimiser's weight decay.
    #[must_use]
    pub fn settings(&self, name: &str, weight_decay: f64) -> (f64, f64) {
        let group = self.groups.iter().filter_map(|group| Some((group.specificity(name)?, group)));
        match group.max_by_key(|(specificity, _)| *specificity) {
            Some((_, group)) => (group.lr_scale, group.weight_decay.unwrap_or(weight_decay)),
            None => (1.0, weight_decay),
        }
    }

    /// Whether a parameter is left as it is.
    #[must_use]
    pub fn is_frozen(&self, name: &str) -> bool {
        self.frozen.iter().any(|prefix| is_under(name, prefix))
    }

    /// The parameters that are not frozen.
    #[must_use]
    pub fn trainable(&self, params: &BTreeMap<String, Var>) -> BTreeMap<String, Var> {
        params.iter().filter(|(name, _)| !self.is_frozen(name)).map(|(n, p)| (n.clone(), p.clone())).collect()
    }

    /// Checks that every prefix names at least one parameter.
    ///
    /// # Errors
    /// [`OptimError::UnknownPrefix`] with the first that does not: a misspelt group would otherwise be ignored.
    pub fn check(&self, params: &BTreeMap<String, Var>) -> Result<(), OptimError> {
        let prefixes = self.groups.iter().flat_map(|group| &group.matches).chain(&self.frozen);
        for prefix in prefixes {
            if !params.keys().any(|name| is_under(name, prefix)) {
                let examples = params.keys().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>();
                return Err(OptimError::UnknownPrefix {
                    prefix: prefix.clone(),
                    examples: examples.join(", "),
                });
            }
        }
        Ok(())
    }
}

impl ParamGroup {
    /// The length of the longest prefix that holds `name`; 0 for a group that holds everything.
    fn specificity(&self, name: &str) -> Option<usize> {
        if self.matches.is_empty() {
            return Some(0);
        }
        self.matches.iter().filter(|prefix| is_under(name, prefix)).map(String::len).max()
    }
}

/// Whether `name` is `prefix` or lies under it, in whole components.
fn is_under(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn group(matches: &[&str], lr_scale: f64, weight_decay: Option<f64>) -> ParamGroup {
        ParamGroup { matches: matches.iter().map(|&m| m.to_owned()).collect(), lr_scale, weight_decay }
    }

    fn params(names: &[&str]) -> BTreeMap<String, Var> {
        names.iter().map(|&n| (n.to_owned(), Var::zeros((), DType::F32, &Device::Cpu).unwrap())).collect()
    }

    #[test]
    fn the_longest_prefix_counts_and_prefixes_are_whole_components() {
        let groups = Groups {
            groups: vec![
                group(&["layer1", "fc"], 10.0, None),
                group(&[], 0.1, Some(0.5)),
                group(&["layer1.0.bn1"], 2.0, Some(0.0)),
            ],
            frozen: vec![],
        };
        assert_eq!(groups.settings("fc.weight", 1e-4), (10.0, 1e-4));
        assert_eq!(groups.settings("layer1.0.conv1.weight", 1e-4), (10.0, 1e-4));
        assert_eq!(groups.settings("layer1.0.bn1.bias", 1e-4), (2.0, 0.0));
        assert_eq!(groups.settings("layer10.bias", 1e-4), (0.1, 0.5));
        assert_eq!(Groups::default().settings("fc.weight", 1e-4), (1.0, 1e-4));
    }

    #[test]
    fn frozen_parameters_are_not_trainable() {
        let groups = Groups { groups: vec![], frozen: vec!["features.1".into()] };
        let trainable = groups.trainable(&params(&["features.1.weight", "features.10.weight", "fc.bias"]));
        assert_eq!(trainable.keys().collect::<Vec<_>>(), ["fc.bias", "features.10.weight"]);
    }

    #[test]
    fn a_prefix_without_parameters_is_an_error() {
        let params = params(&["conv1.weight", "fc.weight"]);
        let check = |groups: Groups| groups.check(&params).map_err(|error| error.to_string());
        assert!(
            check(Groups { groups: vec![group(&["fc"], 1.0, None)], frozen: vec!["conv1".into()] }).is_ok()
        );
        let error = check(Groups { groups: vec![group(&["head"], 1.0, None)], frozen: vec![] }).unwrap_err();
        assert!(error.contains("`head`") && error.contains("`conv1.weight`"), "{error}");
        assert!(check(Groups { groups: vec![], frozen: vec!["con".into()] }).is_err());
    }
}
