//! The report in reading order, as blocks that every format writes in its own way.

use std::time::Duration;

use anyhow::Result;

use super::convergence::{Convergence, Race, Reached};
use super::plot;
use super::report::{ExperimentReport, Metric, Picture, Report, Row, SetReport, TakenOver};
use super::schedule::clock;
use super::statistics::{Estimate, seeds};
use super::train::Task;
use super::verdict::{Finding, Verdict};
use crate::process;

pub(crate) enum Block {
    /// Level 1 is the report's title.
    Heading(u8, String),
    Text(String),
    List(Vec<String>),
    Code(Vec<String>),
    Table(Table),
    Verdicts(Vec<Verdict>),
    /// An SVG with what it shows.
    Plot {
        svg: String,
        caption: String,
    },
    Pictures(Vec<Picture>),
}

/// The first column names the rows.
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// Metrics of the first table of an experiment.
const ACCURACIES: [Metric; 16] = [
    Metric::VideoMap50,
    Metric::AlikeVideoMap50,
    Metric::VideoMap20,
    Metric::InstanceAp,
    Metric::AlikeInstanceAp,
    Metric::V2,
    Metric::BoxAcc30,
    Metric::BoxAcc50,
    Metric::BoxAcc70,
    Metric::LeakRatio,
    Metric::Top1,
    Metric::Balanced,
    Metric::WorstGroup,
    Metric::Adjusted,
    Metric::ValTop1,
    Metric::TargetGradientShare,
];

pub(crate) fn of(report: &Report) -> Result<Vec<Block>> {
    let mut blocks = vec![Block::Heading(1, "Provenance guidance".into()), Block::Text(summary(report))];
    if !report.failures.is_empty() {
        blocks.push(Block::Heading(2, "Failed runs".into()));
        let failures = report.failures.iter().map(|failure| format!("{}: {}", failure.run, failure.error));
        blocks.push(Block::List(failures.collect()));
    }
    blocks.push(Block::Heading(2, "What was expected, and what came out".into()));
    for set in &report.sets {
        let verdicts: Vec<Verdict> =
            set.experiments.iter().flat_map(|e| e.verdicts.iter().cloned()).collect();
        blocks.push(Block::Text(format!("{}:", set.title)));
        blocks.push(Block::Verdicts(verdicts));
    }
    if !report.skipped.is_empty() {
        blocks.push(Block::Text("Skipped:".into()));
        blocks.push(Block::List(report.skipped.iter().map(ToString::to_string).collect()));
    }
    for set in &report.sets {
        blocks.extend(set_blocks(set)?);
    }
    blocks.extend(how_to_repeat(report));
    Ok(blocks)
}

fn summary(report: &Report) -> String {
    let verdicts = || report.sets.iter().flat_map(|set| &set.experiments).flat_map(|e| &e.verdicts);
    let shown = verdicts().filter(|verdict| verdict.finding == Finding::Shown).count();
    let scale = if report.quick {
        " This was a quick look: fewer epochs, points and sets than the full plan."
    } else {
        ""
    };
    let TakenOver { runs, commits } = &report.taken_over;
    let commits = commits.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let taken_over = match runs {
        0 => String::new(),
        runs => format!(
            " {runs} of the runs were finished by an earlier call, at commit {commits}, and their time is not counted."
        ),
    };
    format!(
        "{shown} of {} expectations are shown. Numbers are means over seeds ± half a 95 % Student t interval; an order \
         counts as shown when the intervals do not touch. {} of wall time, {} runs at once.{taken_over}{scale}",
        verdicts().count(),
        clock(Duration::from_secs_f64(report.seconds)),
        report.jobs,
    )
}

fn set_blocks(set: &SetReport) -> Result<Vec<Block>> {
    let mut blocks = vec![
        Block::Heading(2, set.title.clone()),
        Block::Text(format!(
            "{} epochs{}; guidance by `--norm {} --alpha {}` unless said otherwise; judged by {}.",
            set.epochs,
            set.pretraining
                .map(|epochs| format!(" after {epochs} of a small VGG, whose convolutions they begin with"))
                .unwrap_or_default(),
            set.norm,
            set.alpha,
            set.headline.phrase()
        )),
    ];
    blocks.extend(constant_line(set).map(Block::Text));
    for experiment in &set.experiments {
        blocks.push(Block::Heading(3, experiment.title.clone()));
        blocks.push(Block::Verdicts(experiment.verdicts.clone()));
        match &experiment.convergence {
            Some(convergence) => blocks.extend(convergence_blocks(convergence)?),
            None => blocks.extend(experiment_blocks(experiment, set.headline)?),
        }
    }
    if !set.pictures.is_empty() {
        blocks.push(Block::Heading(3, "What the networks look at".into()));
        blocks.push(Block::Pictures(set.pictures.clone()));
    }
    Ok(blocks)
}

/// What a classifier gets that always answers the most frequent class.
fn constant_line(set: &SetReport) -> Option<String> {
    let mut rows = set.experiments.iter().flat_map(|experiment| &experiment.rows);
    let constant = rows.find_map(|row| row.estimate(Metric::ConstantTop1))?;
    let top1 = 100.0 * constant.mean;
    Some(format!(
        "A classifier that always answers the most frequent class has a top-1 accuracy of {top1:.1} %."
    ))
}

fn experiment_blocks(experiment: &ExperimentReport, headline: Metric) -> Result<Vec<Block>> {
    let rows = &experiment.rows;
    let mut blocks = Vec::new();
    blocks.extend(plot_of(experiment, headline)?);
    blocks.push(Block::Table(accuracies(rows)));
    blocks.push(Block::Text(format!("{}, seed by seed:", capitalised(headline.phrase()))));
    blocks.push(Block::Table(seed_by_seed(rows, headline)));
    blocks.push(Block::Text("Losses of the last epoch, and time:".into()));
    blocks.push(Block::Table(losses(rows)));
    Ok(blocks)
}

fn plot_of(experiment: &ExperimentReport, headline: Metric) -> Result<Option<Block>> {
    let rows = &experiment.rows;
    let points: Vec<(f64, &Estimate)> =
        rows.iter().filter_map(|row| Some((row.x?, row.estimate(headline)?))).collect();
    let named: Vec<plot::Named> =
        rows.iter().filter_map(|row| Some((row.label.as_str(), row.estimate(headline)?))).collect();
    let named_only = || rows.iter().filter(|row| row.x.is_none());
    let svg = if points.is_empty() && named.is_empty() {
        return Ok(None);
    } else if points.is_empty() {
        plot::side_by_side(&named, headline.title())?
    } else {
        let level = named_only().find_map(|row| Some((row.label.as_str(), row.estimate(headline)?)));
        let (logarithmic, x_title) = if experiment.name == "alpha" {
            (true, "strength alpha")
        } else {
            (false, "area of the target region, relative to the extracted one")
        };
        plot::over(&points, logarithmic, level, (x_title, headline.title()))?
    };
    Ok(Some(Block::Plot { svg, caption: caption(rows, headline) }))
}

/// Every accuracy that some row has, and the paper's number where there is one.
fn accuracies(rows: &[Row]) -> Table {
    let metrics: Vec<Metric> = ACCURACIES
        .into_iter()
        .filter(|metric| rows.iter().any(|row| row.estimate(*metric).is_some()))
        .collect();
    let with_paper = rows.iter().any(|row| row.paper.is_some());
    let mut head = vec![String::new(), "seeds".to_owned()];
    head.extend(metrics.iter().map(|metric| metric.title().to_owned()));
    let is_there = |metric: &Metric| metrics.contains(metric);
    let of_paper = [Metric::V2, Metric::VideoMap50].into_iter().find(is_there).unwrap_or(Metric::Top1);
    head.extend(with_paper.then(|| format!("the paper's {}", of_paper.title())));
    let cells = |row: &Row| {
        let mut cells = vec![row.label.clone(), answered(row)];
        cells.extend(metrics.iter().map(|metric| cell(row, *metric)));
        cells.extend(
            with_paper.then(|| row.paper.map_or(ABSENT.into(), |paper| format!("{:.1}", 100.0 * paper))),
        );
        cells
    };
    Table { head, rows: rows.iter().map(cells).collect() }
}

fn seed_by_seed(rows: &[Row], metric: Metric) -> Table {
    let mut seeds: Vec<u64> = rows.iter().flat_map(|row| row.seeds.iter().copied()).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let mut head = vec![String::new()];
    head.extend(seeds.iter().map(|seed| format!("seed {seed}")));
    let cells = |row: &Row| {
        let values = row.by_seed(metric);
        let value = |seed: &u64| values.get(seed).map_or(ABSENT.into(), |value| number(metric, *value));
        std::iter::once(row.label.clone()).chain(seeds.iter().map(value)).collect()
    };
    Table { head, rows: rows.iter().map(cells).collect() }
}

/// The two losses and the weighted one, which tells how strong the guidance is beside the classification.
fn losses(rows: &[Row]) -> Table {
    let cells = |row: &Row| {
        let weighted =
            row.estimate(Metric::LossPg).map_or(ABSENT.into(), |loss| significant(row.alpha * loss.mean));
        let [classification, penalty, seconds] =
            [Metric::LossCls, Metric::LossPg, Metric::Seconds].map(|metric| cell(row, metric));
        vec![row.label.clone(), classification, penalty, weighted, seconds]
    };
    let head = ["", Metric::LossCls.title(), Metric::LossPg.title(), "alpha L_PG", Metric::Seconds.title()];
    Table { head: head.map(Into::into).into(), rows: rows.iter().map(cells).collect() }
}

fn convergence_blocks(convergence: &Convergence) -> Result<Vec<Block>> {
    let race_row = |name: String, race: &Race| {
        let Reached { epochs, seconds } = race.unguided;
        let (guided_epochs, guided_seconds) = match race.guided {
            Some(reached) => (reached.epochs.to_string(), format!("{:.1}", reached.seconds)),
            None => ("never".into(), "never".into()),
        };
        let best = format!("{:.1}", 100.0 * race.best);
        vec![name, best, epochs.to_string(), guided_epochs, format!("{seconds:.1}"), guided_seconds]
    };
    let seeds = convergence.unguided.iter().map(|curve| curve.seed);
    let with_partner = seeds.filter(|seed| convergence.guided.iter().any(|curve| curve.seed == *seed));
    let mut rows: Vec<Vec<String>> = with_partner
        .zip(&convergence.by_seed)
        .map(|(seed, race)| race_row(format!("seed {seed}"), race))
        .collect();
    rows.extend(convergence.of_means.iter().map(|race| race_row("mean curve".into(), race)));
    let head = [
        "",
        "best without, %",
        "epochs without",
        "epochs with guidance",
        "seconds without",
        "seconds with guidance",
    ];
    Ok(vec![
        Block::Plot {
            svg: plot::race(convergence)?,
            caption: "The measure on the validation split by epoch: seeds thin, their mean thick.".into(),
        },
        Block::Text("When the unguided run's best on the validation split is first reached:".into()),
        Block::Table(Table { head: head.map(Into::into).into(), rows }),
    ])
}

fn how_to_repeat(report: &Report) -> Vec<Block> {
    let machine = &report.machine;
    let mut made_with = vec![format!("{}, {} cores, {}", machine.cpu, machine.cores, machine.system)];
    made_with.extend(report.versions.iter().map(|version| format!("{} {}", version.name, version.version)));
    let mut commands: Vec<String> = Vec::new();
    for row in report.sets.iter().flat_map(|set| &set.experiments).flat_map(|experiment| &experiment.rows) {
        for command in row.first_command.iter().chain([&row.command]) {
            if !commands.contains(command) {
                commands.push(command.clone());
            }
        }
    }
    let starts =
        |program: &str| commands.iter().any(|command| command.contains(&format!("/{program} train ")));
    let programs = Task::ALL.map(Task::program).into_iter().filter(|program| starts(program));
    let packages: String = programs.map(|program| format!(" -p {program}")).collect();
    let words: Vec<&str> = commands.iter().flat_map(|command| command.split(' ')).collect();
    let features = process::features_for(process::device_of(&words).unwrap_or_default());
    let features = features.iter().map(|feature| format!(" --features {feature}")).collect::<String>();
    vec![
        Block::Heading(2, "How to repeat it".into()),
        Block::Text("All of it:".into()),
        Block::Code(vec![report.command.clone()]),
        Block::Text(format!(
            "Single runs at their first seed (after `cargo build --release{packages}{features}`):"
        )),
        Block::Code(commands),
        Block::Text("Made with:".into()),
        Block::List(made_with),
    ]
}

const ABSENT: &str = "–";

/// What a plot of these rows shows; a single seed has no interval.
fn caption(rows: &[Row], metric: Metric) -> String {
    let several = rows.iter().any(|row| row.seeds.len() > 1);
    let shown = if several { ": means and 95 % intervals over" } else { " of" };
    format!("{}{shown} {}.", capitalised(metric.phrase()), seeds_of(rows))
}

/// How many seeds answered, and out of how many if some did not.
fn answered(row: &Row) -> String {
    match (row.seeds.len(), row.planned) {
        (answered, planned) if answered == planned => answered.to_string(),
        (answered, planned) => format!("{answered} of {planned}"),
    }
}

/// `3 seeds`, or row by row where they differ: `3 seeds (full mask 2)`.
fn seeds_of(rows: &[Row]) -> String {
    let most = rows.iter().map(|row| row.seeds.len()).max().unwrap_or(0);
    let fewer = rows.iter().filter(|row| row.seeds.len() < most);
    let fewer: Vec<String> = fewer.map(|row| format!("{} {}", row.label, row.seeds.len())).collect();
    if fewer.is_empty() { seeds(most) } else { format!("{} ({})", seeds(most), fewer.join(", ")) }
}

/// `71.4 ± 2.0`, or the mean alone for a single seed.
fn cell(row: &Row, metric: Metric) -> String {
    let Some(Estimate { mean, half, .. }) = row.estimate(metric) else { return ABSENT.into() };
    match half {
        Some(half) => format!("{} ± {}", number(metric, *mean), number(metric, *half)),
        None => number(metric, *mean),
    }
}

fn number(metric: Metric, value: f64) -> String {
    if metric.is_share() { format!("{:.1}", 100.0 * value) } else { significant(value) }
}

/// Three significant digits.
fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e4).contains(&size) => format!("{value:.2e}"),
        size => {
            let decimals = (2 - size.log10().floor() as i32).max(0);
            format!("{value:.*}", usize::try_from(decimals).unwrap_or(0))
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::report::estimates;
    use crate::reproduce::report::made_up::{self, row};

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.0, 0.034_21, 1.234_5, 41.04, 712.6, 1.2e-4].map(significant);
        assert_eq!(shown, ["0", "0.0342", "1.23", "41.0", "713", "1.20e-4"]);
    }

    #[test]
    fn columns_that_nobody_fills_are_dropped() {
        let table = accuracies(&[row("a", &[0.5, 0.6, 0.7])]);
        assert_eq!(
            table.head,
            ["", "seeds", "top-1, %", "balanced, %", "worst group, %", "gradient on the target, %"]
        );
        assert_eq!(table.rows[0][4], "60.0 ± 24.8");
        let with_paper = accuracies(&[Row { paper: Some(0.622), ..row("a", &[0.5]) }, row("b", &[])]);
        assert_eq!(with_paper.rows[0].last().unwrap(), "62.2");
        assert_eq!(with_paper.rows[0][4], "50.0");
        assert_eq!(with_paper.rows[1][2..], [ABSENT; 5]);
    }

    #[test]
    fn what_validation_says_stands_beside_the_test() {
        let mut validated = row("a", &[0.5, 0.5]);
        validated.outcomes.iter_mut().for_each(|outcome| outcome.val_top1 = Some(0.875));
        validated.estimates = estimates(&validated.outcomes);
        let table = accuracies(&[validated]);
        let column = table.head.iter().position(|name| name == "validation top-1, %").unwrap();
        assert_eq!(table.rows[0][column], "87.5 ± 0.0");
    }

    #[test]
    fn the_programs_of_the_single_runs_are_built_and_no_others() {
        let mut report = made_up::report();
        let build = |report: &Report| {
            let text = how_to_repeat(report).into_iter().find_map(|block| match block {
                Block::Text(text) => text.split_once("(after `").map(|(_, command)| command.to_owned()),
                _ => None,
            });
            text.unwrap()
        };
        assert_eq!(build(&report), "cargo build --release -p pg-classify`):");
        let command = "target/release/pg-stad train --synth batchmix --seed 0";
        report.sets[0].experiments[0].rows[0].command = command.into();
        assert_eq!(build(&report), "cargo build --release -p pg-classify -p pg-stad`):");
        report.sets[0].experiments[0].rows[0].command = format!("{command} --device cuda:0");
        let with_features = "cargo build --release -p pg-classify -p pg-stad --features cudnn`):";
        assert_eq!(build(&report), with_features);
    }

    #[test]
    fn each_row_says_how_many_seeds_it_rests_on() {
        let rows = [row("a", &[0.5, 0.6, 0.7]), row("b", &[0.5]), row("c", &[0.1, 0.2])];
        let told: Vec<String> = accuracies(&rows).rows.into_iter().map(|cells| cells[1].clone()).collect();
        assert_eq!(told, ["3", "1 of 3", "2 of 3"]);
        assert_eq!(seeds_of(&rows), "3 seeds (b 1, c 2)");
        assert_eq!(seeds_of(&rows[..1]), "3 seeds");
    }

    #[test]
    fn a_plot_of_single_seeds_claims_no_intervals() {
        let rows = [row("a", &[0.5, 0.6]), row("b", &[0.5]), row("c", &[0.7])];
        let caption = |rows| caption(rows, Metric::WorstGroup);
        assert_eq!(caption(&rows[1..]), "Worst-group accuracy of 1 seed.");
        assert_eq!(caption(&rows), "Worst-group accuracy: means and 95 % intervals over 2 seeds (b 1, c 1).");
    }

    #[test]
    fn seeds_stand_in_their_own_columns() {
        let late = Row { seeds: vec![2], ..row("late", &[0.25]) };
        let table = seed_by_seed(&[row("all", &[0.5, 0.6, 0.7]), late], Metric::WorstGroup);
        assert_eq!(table.head[1..], ["seed 0", "seed 1", "seed 2"]);
        assert_eq!(table.rows[1], ["late", ABSENT, ABSENT, "25.0"]);
    }
}
