//! Measurements as text and as JSON.

use pg_localization::{AtThreshold, BoxAccuracy, DELTAS};
use serde_json::{Map, Value, json};

use crate::evaluation::Measured;

/// Each number under `<split>_<name>`; accuracies in [0, 1].
pub fn flat(split: &str, measured: &Measured) -> Map<String, Value> {
    let mut values = Map::new();
    let mut put = |name: &str, value: Value| drop(values.insert(format!("{split}_{name}"), value));
    put("images", json!(measured.images));
    put("top1", json!(measured.top1()));
    if let Some(best) = measured.boxes.as_ref().map(pg_localization::BoxCounts::best) {
        put("v2", json!(best.max_box_acc_v2() / 100.0));
        for (delta, at) in DELTAS.iter().zip(best.by_delta) {
            put(&format!("box_acc_{:.0}", 100.0 * delta), json!(at.percent / 100.0));
            put(&format!("threshold_{:.0}", 100.0 * delta), json!(at.threshold));
        }
        put("max_box_acc", json!(best.max_box_acc.percent / 100.0));
        put("top1_loc", json!(best.top1_loc.map(share)));
        put("top5_loc", json!(best.top5_loc.map(share)));
    }
    if measured.pixels.is_some() {
        put("pxap", json!(measured.pxap()));
    }
    values
}

/// The test split's numbers at the thresholds that are best on val, under `test_<name>_at_val`; accuracies in [0, 1]. None of
/// images without boxes.
pub fn flat_at_val(val: &Measured, test: &Measured) -> Map<String, Value> {
    let numbers = at_val(val, test).into_iter().flat_map(|at| {
        let all = [
            ("v2", Some(at.max_box_acc_v2() / 100.0)),
            ("max_box_acc", Some(share(at.max_box_acc))),
            ("top1_loc", at.top1_loc.map(share)),
            ("top5_loc", at.top5_loc.map(share)),
        ];
        all.map(|(name, value)| (format!("test_{name}_at_val"), json!(value)))
    });
    numbers.collect()
}

fn at_val(val: &Measured, test: &Measured) -> Option<BoxAccuracy> {
    Some(test.boxes.as_ref()?.at_best_of(val.boxes.as_ref()?))
}

fn share(at: AtThreshold) -> f64 {
    at.percent / 100.0
}

/// A paragraph.
pub fn text(split: &str, measured: &Measured) -> String {
    let mut text = format!("{split}: top-1 {:.1} % of {} images\n", 100.0 * measured.top1(), measured.images);
    if let Some(best) = measured.boxes.as_ref().map(pg_localization::BoxCounts::best) {
        text += &boxes(&best);
    }
    if measured.pixels.is_some() {
        text += &format!("  PxAP {:.2} %\n", 100.0 * measured.pxap());
    }
    text
}

/// The same line of the test split at the thresholds that are best on val: without a look at its boxes.
pub fn text_at_val(val: &Measured, test: &Measured) -> String {
    at_val(val, test)
        .map(|at| format!("  at the thresholds that are best on val:\n{}", boxes(&at)))
        .unwrap_or_default()
}

fn boxes(best: &BoxAccuracy) -> String {
    let deltas: Vec<String> = DELTAS
        .iter()
        .zip(best.by_delta)
        .map(|(delta, at)| format!("{:.2} (overlap {delta}, threshold {:.3})", at.percent, at.threshold))
        .collect();
    let mut text = format!(
        "  MaxBoxAccV2 {:.2} %: {}\n  MaxBoxAcc {:.2} %",
        best.max_box_acc_v2(),
        deltas.join(", "),
        best.max_box_acc.percent
    );
    for (name, at) in [("Top-1 Loc", best.top1_loc), ("Top-5 Loc", best.top5_loc)] {
        if let Some(at) = at {
            text += &format!(", {name} {:.2} %", at.percent);
        }
    }
    text + "\n"
}
