//! What an evaluation says, as one flat object for machines and a few lines for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::dataset::Dataset;
use crate::interval::Interval;
use crate::metrics::{Ratio, Scores, Worst};

/// The scores of one split as keys with the split's name in front: `test_top1`, `test_worst_group`, ... Accuracies lie
/// in [0, 1]; null where the data set has no groups. `target_gradient_share` is `share`: of the squared input gradient, what
/// lies on the object.
pub fn flat(split: &str, scores: &Scores, share: Option<f64>, dataset: &Dataset) -> Map<String, Value> {
    let groups = scores.groups.as_ref();
    let ratio = |ratio: Option<Ratio>| ratio.and_then(Ratio::value);
    let named = |names: &[String], ratios: &[Ratio]| -> BTreeMap<String, Option<f64>> {
        names.iter().cloned().zip(ratios.iter().map(|ratio| ratio.value())).collect()
    };
    let values = [
        ("top1", json!(scores.top1.value())),
        ("top1_interval", json!(scores.top1.interval())),
        ("balanced", json!(scores.balanced)),
        ("macro_f1", json!(scores.macro_f1)),
        ("worst_group", json!(scores.worst.accuracy())),
        ("worst_group_name", json!(worst_name(scores, dataset))),
        ("adjusted", json!(groups.and_then(|g| g.adjusted))),
        ("group_mean", json!(groups.map(|g| g.mean))),
        ("id", json!(ratio(groups.and_then(|g| g.id)))),
        ("ood", json!(ratio(groups.and_then(|g| g.ood)))),
        ("classes", json!(named(&dataset.classes, &scores.recalls))),
        ("groups", json!(groups.map(|g| named(&dataset.groups, &g.accuracies)))),
        ("images", json!(scores.top1.total)),
        ("constant_top1", json!(scores.constant.top1)),
        ("constant_balanced", json!(scores.constant.balanced)),
    ];
    let values = values.into_iter().map(|(key, value)| (format!("{split}_{key}"), value));
    values.chain([("target_gradient_share".to_owned(), json!(share))]).collect()
}

/// The same for people.
pub fn text(split: &str, scores: &Scores, share: Option<f64>, dataset: &Dataset) -> String {
    let mut text = String::new();
    let percent = |value: f64| format!("{:5.1} %", 100.0 * value);
    let mut line = |name: &str, value: Option<f64>, note: &str| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name:<22} {}{note}", percent(value));
        }
    };
    let interval = |i: Interval| format!("  (95 % interval {:.1} to {:.1})", 100.0 * i.low, 100.0 * i.high);
    line("top-1", scores.top1.value(), &scores.top1.interval().map(interval).unwrap_or_default());
    line("class-balanced", Some(scores.balanced), "");
    line("macro F1", Some(scores.macro_f1), "");
    let worst = if matches!(scores.worst, Worst::Group { .. }) { "worst group" } else { "worst class" };
    line(worst, Some(scores.worst.accuracy()), &format!("  ({})", worst_name(scores, dataset)));
    if let Some(groups) = &scores.groups {
        line("mean of groups", Some(groups.mean), "");
        line("adjusted average", groups.adjusted, "  (groups weighted as in training)");
        line("aligned groups (ID)", groups.id.and_then(Ratio::value), "");
        line("opposed groups (OOD)", groups.ood.and_then(Ratio::value), "");
    }
    let constant = format!("  (always `{}`)", dataset.classes[scores.constant.class]);
    line("constant classifier", Some(scores.constant.top1), &constant);
    let share = share.map_or_else(String::new, |share| {
        format!("  squared input gradient on the object {:.1} %\n", 100.0 * share)
    });
    format!("{split}: {} images\n{text}{share}", scores.top1.total)
}

fn worst_name(scores: &Scores, dataset: &Dataset) -> String {
    match scores.worst {
        Worst::Group { index, .. } => dataset.groups[index].clone(),
        Worst::Class { index, .. } => dataset.classes[index].clone(),
    }
}
