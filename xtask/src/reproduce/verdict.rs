//! Whether the numbers show what was expected.

use serde::{Deserialize, Serialize};

use super::convergence::Convergence;
use super::plan::STABLE_ALPHAS;
use super::report::{Metric, Row};
use super::statistics::{Estimate, seeds};

/// An expectation and what became of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Verdict {
    pub(crate) expectation: String,
    pub(crate) finding: Finding,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finding {
    /// The intervals are apart, in the expected order.
    Shown,
    /// The intervals overlap, or a single seed has none.
    NotShown,
    /// The intervals are apart, in the other order.
    Contradicted,
    /// Runs are missing.
    NotMeasured,
}

impl Finding {
    pub(crate) fn phrase(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::NotShown => "not shown",
            Self::Contradicted => "contradicted",
            Self::NotMeasured => "not measured",
        }
    }
}

impl Verdict {
    fn not_measured(expectation: String) -> Self {
        Self { expectation, finding: Finding::NotMeasured, text: "not measured: runs are missing".into() }
    }
}

/// Expects `high` above `low`.
pub(crate) fn greater(high: &Row, low: &Row, metric: Metric) -> Verdict {
    let expectation = format!("{} above {} in {}", high.label, low.label, metric.phrase());
    let (Some(a), Some(b)) = (high.estimate(metric), low.estimate(metric)) else {
        return Verdict::not_measured(expectation);
    };
    let (finding, text) = judged(a, b);
    let text =
        format!("{text} ({} against {}{})", percent(a), percent(b), difference_by_seed(high, low, metric));
    Verdict { expectation, finding, text }
}

/// Compares two intervals, of which `a` is expected above.
fn judged(a: &Estimate, b: &Estimate) -> (Finding, &'static str) {
    if a.lies_above(b) {
        (Finding::Shown, "shown")
    } else if b.lies_above(a) {
        (Finding::Contradicted, "contradicted: the other way round")
    } else if a.half.is_none() || b.half.is_none() {
        (Finding::NotShown, "not shown: a single seed has no interval")
    } else {
        (Finding::NotShown, "not shown: intervals overlap")
    }
}

/// The mean difference between runs of one seed, which start from the same weights.
fn difference_by_seed(high: &Row, low: &Row, metric: Metric) -> String {
    let low = low.by_seed(metric);
    let paired = high.by_seed(metric).into_iter().filter_map(|(seed, value)| Some(value - low.get(&seed)?));
    match Estimate::of(paired.collect()) {
        Some(Estimate { mean, half: Some(half), .. }) => {
            format!("; by seed {:+.1} ± {:.1} points", 100.0 * mean, 100.0 * half)
        }
        _ => String::new(),
    }
}

/// Expects the leak ratio of `guided` at most half that of `unguided`, seed by seed.
pub(crate) fn leak_halved(guided: &Row, unguided: &Row) -> Verdict {
    let expectation = format!("{} leaks at most half as much as {}", guided.label, unguided.label);
    let of = unguided.by_seed(Metric::LeakRatio);
    let paired =
        guided.by_seed(Metric::LeakRatio).into_iter().filter_map(|(seed, leak)| Some(leak / of.get(&seed)?));
    let Some(share) = Estimate::of(paired.collect()) else { return Verdict::not_measured(expectation) };
    let half = Estimate { mean: 0.5, half: Some(0.0), values: vec![0.5] };
    let (finding, text) = judged(&half, &share);
    let text = format!("{text} ({} of the leak without guidance)", percent(&share));
    Verdict { expectation, finding, text }
}

/// Expects `row` above what always answering the most frequent class gives.
pub(crate) fn above_constant(row: &Row) -> Verdict {
    let expectation = format!("{} above a constant answer in {}", row.label, Metric::Top1.phrase());
    let (Some(ours), Some(constant)) = (row.estimate(Metric::Top1), row.estimate(Metric::ConstantTop1))
    else {
        return Verdict::not_measured(expectation);
    };
    // The constant answer depends on no seed: it has no interval of its own.
    let exact = Estimate { half: Some(0.0), ..constant.clone() };
    let (finding, text) = judged(ours, &exact);
    let text = format!("{text} ({} against {:.1} %)", percent(ours), 100.0 * exact.mean);
    Verdict { expectation, finding, text }
}

/// Expects masks of a wrong size to do no harm: no row below the one of the exact size.
pub(crate) fn size_uncritical(rows: &[Row], metric: Metric) -> Verdict {
    let expectation = format!("a mask of the wrong size does no harm in {}", metric.phrase());
    let exact = rows.iter().find(|row| row.x == Some(1.0)).and_then(|row| row.estimate(metric));
    let others: Option<Vec<(&Row, &Estimate)>> =
        rows.iter().filter(|row| row.x != Some(1.0)).map(|row| Some((row, row.estimate(metric)?))).collect();
    let (Some(exact), Some(others)) = (exact, others.filter(|others| !others.is_empty())) else {
        return Verdict::not_measured(expectation);
    };
    let drop = others.iter().map(|(_, other)| exact.mean - other.mean).fold(0.0, f64::max);
    let worse = labels(others.iter().filter(|(_, other)| exact.lies_above(other)).map(|(row, _)| *row));
    let (finding, text) = if !worse.is_empty() {
        (Finding::Contradicted, format!("contradicted: worse than the exact mask at {worse}"))
    } else if exact.half.is_none() || others.iter().any(|(_, other)| other.half.is_none()) {
        (Finding::NotShown, "not shown: a single seed has no interval".into())
    } else {
        (Finding::Shown, "shown as far as the intervals tell: none lies below that of the exact mask".into())
    };
    let text =
        format!("{text} ({} with the exact mask; largest drop {:.1} points)", percent(exact), 100.0 * drop);
    Verdict { expectation, finding, text }
}

/// Expects `row` not below `reference`, which costs more.
pub(crate) fn no_worse(row: &Row, reference: &Row, metric: Metric) -> Verdict {
    let expectation =
        format!("guiding {} no worse than {} in {}", row.label, reference.label, metric.phrase());
    let (Some(a), Some(b)) = (row.estimate(metric), reference.estimate(metric)) else {
        return Verdict::not_measured(expectation);
    };
    let (finding, text) = if b.lies_above(a) {
        (Finding::Contradicted, "contradicted: worse")
    } else if a.half.is_none() || b.half.is_none() {
        (Finding::NotShown, "not shown: a single seed has no interval")
    } else {
        (Finding::Shown, "shown as far as the intervals tell")
    };
    let text = format!(
        "{text} ({} against {}{})",
        percent(a),
        percent(b),
        difference_by_seed(row, reference, metric)
    );
    Verdict { expectation, finding, text }
}

/// Expects every strength in the paper's range above no guidance.
pub(crate) fn strength_uncritical(rows: &[Row], metric: Metric) -> Verdict {
    let (least, most) = STABLE_ALPHAS;
    let expectation =
        format!("guidance of any strength from {least} to {most} above none in {}", metric.phrase());
    let unguided = rows.iter().find(|row| row.x.is_none()).and_then(|row| row.estimate(metric));
    let in_range = |row: &&Row| row.x.is_some_and(|alpha| (least..=most).contains(&alpha));
    let guided: Option<Vec<(&Row, &Estimate)>> =
        rows.iter().filter(in_range).map(|row| Some((row, row.estimate(metric)?))).collect();
    let (Some(unguided), Some(guided)) = (unguided, guided.filter(|guided| !guided.is_empty())) else {
        return Verdict::not_measured(expectation);
    };
    let better = labels(guided.iter().filter(|(_, row)| row.lies_above(unguided)).map(|(row, _)| *row));
    let worse = labels(guided.iter().filter(|(_, row)| unguided.lies_above(row)).map(|(row, _)| *row));
    let (finding, text) = if !worse.is_empty() {
        (Finding::Contradicted, format!("contradicted: worse than no guidance at {worse}"))
    } else if guided.iter().all(|(_, row)| row.lies_above(unguided)) {
        (Finding::Shown, "shown at every strength tried".into())
    } else if better.is_empty() {
        (Finding::NotShown, "not shown: intervals overlap at every strength tried".into())
    } else {
        (Finding::NotShown, format!("not shown: intervals are apart only at {better}"))
    };
    Verdict { expectation, finding, text: format!("{text} ({} without guidance)", percent(unguided)) }
}

/// Expects guided runs to reach the unguided runs' best validation accuracy in fewer epochs.
pub(crate) fn sooner(convergence: &Convergence) -> Verdict {
    let expectation =
        "guidance reaches the unguided run's best on the validation split in fewer epochs".to_owned();
    let races = &convergence.by_seed;
    let unguided = Estimate::of(races.iter().map(|race| race.unguided.epochs as f64).collect());
    let Some(unguided) = unguided else { return Verdict::not_measured(expectation) };
    let reached: Vec<f64> = races.iter().filter_map(|race| Some(race.guided?.epochs as f64)).collect();
    let never = races.len() - reached.len();
    let (finding, text) = match Estimate::of(reached) {
        Some(guided) if never == 0 => {
            let (finding, text) = judged(&unguided, &guided);
            let against = format!("{} epochs against {}", plain(&guided), plain(&unguided));
            (finding, format!("{text} ({against} over {})", seeds(races.len())))
        }
        _ => (Finding::NotShown, format!("not shown: never reached at {never} of {}", seeds(races.len()))),
    };
    Verdict { expectation, finding, text }
}

fn labels<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    rows.map(|row| row.label.as_str()).collect::<Vec<_>>().join(", ")
}

fn percent(estimate: &Estimate) -> String {
    let (mean, seeds) = (100.0 * estimate.mean, seeds(estimate.values.len()));
    match estimate.half {
        Some(half) => format!("{mean:.1} ± {:.1} % over {seeds}", 100.0 * half),
        None => format!("{mean:.1} % at {seeds}"),
    }
}

fn plain(estimate: &Estimate) -> String {
    match estimate.half {
        Some(half) => format!("{:.1} ± {half:.1}", estimate.mean),
        None => format!("{:.1}", estimate.mean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::convergence::{Race, Reached};
    use crate::reproduce::report::made_up::row;

    const METRIC: Metric = Metric::WorstGroup;
    const LOW: [f64; 3] = [0.60, 0.62, 0.61];
    const HIGH: [f64; 3] = [0.80, 0.82, 0.81];
    const WIDE: [f64; 3] = [0.40, 0.90, 0.70];

    #[test]
    fn order_and_overlap_decide() {
        let verdict = |high: &[f64], low: &[f64]| greater(&row("guided", high), &row("plain", low), METRIC);
        assert_eq!(verdict(&HIGH, &LOW).finding, Finding::Shown);
        assert_eq!(verdict(&LOW, &HIGH).finding, Finding::Contradicted);
        assert_eq!(verdict(&WIDE, &LOW).finding, Finding::NotShown);
        assert_eq!(verdict(&LOW, &LOW).finding, Finding::NotShown);
        assert_eq!(verdict(&[], &LOW).finding, Finding::NotMeasured);
        let single = verdict(&[0.9], &LOW);
        assert!(
            single.finding == Finding::NotShown && single.text.contains("single seed"),
            "{}",
            single.text
        );
    }

    #[test]
    fn the_text_gives_both_numbers_and_the_difference_by_seed() {
        let verdict = greater(&row("guided", &WIDE), &row("plain", &LOW), METRIC);
        assert_eq!(verdict.expectation, "guided above plain in worst-group accuracy");
        assert!(verdict.text.starts_with("not shown: intervals overlap (66.7 ± "), "{}", verdict.text);
        let shown = greater(&row("guided", &HIGH), &row("plain", &LOW), METRIC);
        assert_eq!(
            shown.text,
            "shown (81.0 ± 2.5 % over 3 seeds against 61.0 ± 2.5 % over 3 seeds; by seed +20.0 ± 0.0 points)"
        );
    }

    #[test]
    fn a_constant_answer_may_win() {
        let mut row = row("guided", &LOW);
        assert_eq!(above_constant(&row).finding, Finding::Shown);
        row.estimates.insert(Metric::ConstantTop1, Estimate::of(vec![0.9; 3]).unwrap());
        assert_eq!(above_constant(&row).finding, Finding::Contradicted);
    }

    fn rows(points: &[(Option<f64>, &[f64])]) -> Vec<Row> {
        points.iter().map(|(x, values)| Row { x: *x, ..row(&format!("at {x:?}"), values) }).collect()
    }

    #[test]
    fn a_cheaper_way_may_harm() {
        let judge = |lazy: &[f64]| no_worse(&row("every 2 steps", lazy), &row("every step", &HIGH), METRIC);
        assert_eq!(judge(&HIGH).finding, Finding::Shown);
        assert_eq!(judge(&WIDE).finding, Finding::Shown);
        assert_eq!(judge(&LOW).finding, Finding::Contradicted);
        assert_eq!(judge(&[0.9]).finding, Finding::NotShown);
        assert_eq!(judge(&[]).finding, Finding::NotMeasured);
    }

    #[test]
    fn a_wrong_size_may_harm() {
        let judge = |wrong: &[f64]| size_uncritical(&rows(&[(Some(0.7), wrong), (Some(1.0), &HIGH)]), METRIC);
        assert_eq!(judge(&HIGH).finding, Finding::Shown);
        assert!(judge(&WIDE).text.contains("largest drop 14.3 points"), "{}", judge(&WIDE).text);
        assert_eq!(judge(&LOW).finding, Finding::Contradicted);
        assert_eq!(judge(&[0.8]).finding, Finding::NotShown);
        assert_eq!(judge(&[]).finding, Finding::NotMeasured);
        assert_eq!(size_uncritical(&rows(&[(Some(1.0), &HIGH)]), METRIC).finding, Finding::NotMeasured);
    }

    #[test]
    fn every_strength_in_range_counts() {
        let judge = |first: &[f64], outside: &[f64]| {
            strength_uncritical(
                &rows(&[(None, &LOW), (Some(0.01), first), (Some(0.09), &HIGH), (Some(10.0), outside)]),
                METRIC,
            )
        };
        assert_eq!(judge(&HIGH, &[0.1, 0.1, 0.1]).finding, Finding::Shown);
        let partly = judge(&WIDE, &HIGH);
        assert!(
            partly.finding == Finding::NotShown && partly.text.contains("only at at Some(0.09)"),
            "{}",
            partly.text
        );
        assert_eq!(judge(&[0.3, 0.31, 0.3], &HIGH).finding, Finding::Contradicted);
        assert_eq!(strength_uncritical(&rows(&[(None, &LOW)]), METRIC).finding, Finding::NotMeasured);
    }

    #[test]
    fn reaching_late_or_never_is_said() {
        let judge = |guided: [Option<usize>; 3]| {
            let reached = |epochs: usize| Reached { epochs, seconds: epochs as f64 };
            let race = |(index, epochs): (usize, Option<usize>)| Race {
                best: 0.9,
                unguided: reached(20 + index),
                guided: epochs.map(reached),
            };
            let by_seed = guided.into_iter().enumerate().map(race).collect();
            sooner(&Convergence { by_seed, ..Convergence::default() })
        };
        assert_eq!(judge([Some(5), Some(6), Some(7)]).finding, Finding::Shown);
        assert_eq!(judge([Some(20), Some(19), Some(22)]).finding, Finding::NotShown);
        assert_eq!(judge([Some(40), Some(41), Some(42)]).finding, Finding::Contradicted);
        let never = judge([Some(5), None, None]);
        assert!(
            never.finding == Finding::NotShown && never.text.contains("never reached at 2 of 3 seeds"),
            "{}",
            never.text
        );
        assert_eq!(sooner(&Convergence::default()).finding, Finding::NotMeasured);
    }
}
