//! How soon a guided run reaches what the unguided one reaches at best, on the validation split.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What is validated (an accuracy) over one run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Curve {
    pub(crate) seed: u64,
    pub(crate) points: Vec<Point>,
}

/// The state after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Point {
    /// Epochs so far.
    pub(crate) epoch: usize,
    pub(crate) accuracy: f64,
    /// Seconds so far.
    pub(crate) seconds: f64,
}

#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Convergence {
    pub(crate) unguided: Vec<Curve>,
    pub(crate) guided: Vec<Curve>,
    pub(crate) mean_unguided: Vec<Point>,
    pub(crate) mean_guided: Vec<Point>,
    /// The mean curves against each other.
    pub(crate) of_means: Option<Race>,
    /// One race for each unguided curve whose seed has a guided one.
    pub(crate) by_seed: Vec<Race>,
}

/// An unguided curve's best accuracy, and when each side reaches it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Race {
    pub(crate) best: f64,
    pub(crate) unguided: Reached,
    /// None: never.
    pub(crate) guided: Option<Reached>,
}

/// When an accuracy was reached.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Reached {
    pub(crate) epochs: usize,
    pub(crate) seconds: f64,
}

/// Reads a run's curve from the column `validated` of its `results.csv`, and from its `timings.csv`.
pub(crate) fn read_curve(run: &Path, validated: &str, seed: u64) -> Result<Curve> {
    #[derive(Deserialize)]
    struct Timing {
        seconds: f64,
    }
    let epochs: Vec<BTreeMap<String, Option<f64>>> = read_rows(&run.join("results.csv"))?;
    let timings: Vec<Timing> = read_rows(&run.join("timings.csv"))?;
    let mut seconds = 0.0;
    let points = epochs.iter().zip(&timings).enumerate().filter_map(|(index, (epoch, timing))| {
        seconds += timing.seconds;
        // Empty after an epoch without validation.
        let accuracy = epoch.get(validated)?.filter(|accuracy| accuracy.is_finite())?;
        Some(Point { epoch: index + 1, accuracy, seconds })
    });
    Ok(Curve { seed, points: points.collect() })
}

fn read_rows<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Vec<T>> {
    let mut reader =
        csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
    reader.deserialize().collect::<Result<_, _>>().with_context(|| format!("bad row in {}", path.display()))
}

/// Sets unguided curves against the guided ones.
pub(crate) fn race(unguided: Vec<Curve>, guided: Vec<Curve>) -> Convergence {
    let partner = |curve: &Curve| guided.iter().find(|other| other.seed == curve.seed);
    let by_seed =
        unguided.iter().filter_map(|curve| Race::between(&curve.points, &partner(curve)?.points)).collect();
    let (mean_unguided, mean_guided) = (mean(&unguided), mean(&guided));
    let of_means = Race::between(&mean_unguided, &mean_guided);
    Convergence { unguided, guided, mean_unguided, mean_guided, of_means, by_seed }
}

impl Race {
    /// None if there is no unguided point.
    fn between(unguided: &[Point], guided: &[Point]) -> Option<Self> {
        let best = unguided.iter().map(|point| point.accuracy).max_by(f64::total_cmp)?;
        Some(Self { best, unguided: first_reaching(unguided, best)?, guided: first_reaching(guided, best) })
    }
}

fn first_reaching(curve: &[Point], accuracy: f64) -> Option<Reached> {
    let point = curve.iter().find(|point| point.accuracy >= accuracy)?;
    Some(Reached { epochs: point.epoch, seconds: point.seconds })
}

/// The point-wise mean, as far as all curves go.
fn mean(curves: &[Curve]) -> Vec<Point> {
    let epochs = curves.iter().map(|curve| curve.points.len()).min().unwrap_or(0);
    let mean_at = |index: usize, of: fn(&Point) -> f64| {
        curves.iter().map(|curve| of(&curve.points[index])).sum::<f64>() / curves.len() as f64
    };
    (0..epochs)
        .map(|index| Point {
            epoch: curves[0].points[index].epoch,
            accuracy: mean_at(index, |point| point.accuracy),
            seconds: mean_at(index, |point| point.seconds),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(seed: u64, seconds_an_epoch: f64, accuracies: &[f64]) -> Curve {
        let point = |(index, &accuracy): (usize, &f64)| Point {
            epoch: index + 1,
            accuracy,
            seconds: (index + 1) as f64 * seconds_an_epoch,
        };
        Curve { seed, points: accuracies.iter().enumerate().map(point).collect() }
    }

    #[test]
    fn the_first_epoch_at_the_best_counts() {
        let unguided = vec![curve(0, 1.0, &[0.5, 0.7, 0.9, 0.8]), curve(1, 1.0, &[0.6, 0.6, 0.7, 0.6])];
        let guided = vec![curve(1, 1.5, &[0.5, 0.6, 0.6, 0.65]), curve(0, 1.5, &[0.6, 0.95, 0.9, 0.99])];
        let convergence = race(unguided, guided);
        let first = convergence.by_seed[0];
        assert_eq!((first.best, first.unguided.epochs), (0.9, 3));
        assert_eq!(first.guided, Some(Reached { epochs: 2, seconds: 3.0 }));
        assert_eq!(
            convergence.by_seed[1].guided, None,
            "seed 1 is set against seed 1, which never gets to 0.7"
        );

        let means = convergence.of_means.unwrap();
        assert!((means.best - 0.8).abs() < 1e-12);
        assert_eq!((means.unguided.epochs, means.guided.map(|reached| reached.epochs)), (3, Some(4)));
    }

    #[test]
    fn a_seed_without_partner_is_left_out() {
        let convergence = race(vec![curve(0, 1.0, &[0.5])], vec![]);
        assert!(convergence.by_seed.is_empty());
        assert!(race(vec![], vec![]).of_means.is_none());
    }

    #[test]
    fn curves_come_from_a_runs_files_with_seconds_summed() {
        let run = tempfile::tempdir().unwrap();
        let results = "epoch,val_v2,val_top1\n1,0.1,0.25\n2,0.1,\n3,0.1,0.75\n";
        std::fs::write(run.path().join("results.csv"), results).unwrap();
        std::fs::write(run.path().join("timings.csv"), "epoch,seconds\n1,2.5\n2,2.0\n3,1.0\n").unwrap();
        let curve = read_curve(run.path(), "val_top1", 7).unwrap();
        assert_eq!(curve.seed, 7);
        assert_eq!(curve.points[1], Point { epoch: 3, accuracy: 0.75, seconds: 5.5 });
        assert_eq!(read_curve(run.path(), "val_v2", 7).unwrap().points.len(), 3);
    }

    #[test]
    fn a_broken_row_names_its_file() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join("results.csv"), "epoch,val_top1\n0,much\n").unwrap();
        let error = format!("{:#}", read_curve(run.path(), "val_top1", 0).unwrap_err());
        assert!(error.contains("results.csv") && error.contains("line: 2"), "{error}");
    }
}
