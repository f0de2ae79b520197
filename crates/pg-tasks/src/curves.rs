//! The metrics of a run as one SVG of small multiples.

use std::io::Write;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::results::Results;
use crate::run_dir::{RunDirError, write_atomically};

/// Width and height of one panel in pixels.
const PANEL: (u32, u32) = (380, 260);
/// Okabe & Ito's colours, which stay apart for colour-blind readers.
pub const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// Why the curves could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum CurvesError {
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] RunDirError),
    /// The drawing failed.
    #[error("{}: the curves could not be drawn ({reason})", path.display())]
    Draw {
        /// The file.
        path: PathBuf,
        /// What the plotting library said.
        reason: String,
    },
}

/// Curves that share a pair of axes.
#[derive(Debug, PartialEq)]
struct Panel {
    title: String,
    curves: Vec<Curve>,
}

/// Epochs and values of one metric.
#[derive(Debug, PartialEq)]
struct Curve {
    name: String,
    points: Vec<(i32, f64)>,
}

impl Panel {
    /// What is drawn; a curve alone needs no legend.
    fn caption(&self) -> String {
        match &self.curves[..] {
            [curve] => format!("{} {}", curve.name, self.title).trim().to_owned(),
            _ => self.title.clone(),
        }
    }

    /// A corner for the legend: above a curve that falls, below one that rises.
    fn empty_corner(&self) -> SeriesLabelPosition {
        let ends = self.curves.first().and_then(|curve| curve.points.first().zip(curve.points.last()));
        match ends {
            Some((first, last)) if last.1 > first.1 => SeriesLabelPosition::LowerRight,
            _ => SeriesLabelPosition::UpperRight,
        }
    }
}

/// Draws every metric over the epochs to an SVG file. Columns `train/loss` and `val/loss` share the panel `loss`; a
/// column without `/` has a panel of its own. What is not finite is left out.
///
/// # Errors
/// If the file cannot be written.
pub fn write_curves(results: &Results, path: &Path) -> Result<(), CurvesError> {
    write_svg(path, svg(&panels(results)))
}

/// Writes a drawing, whole or not at all.
///
/// # Errors
/// If it could not be drawn, or cannot be written.
pub fn write_svg(path: &Path, drawn: Result<String, Box<dyn std::error::Error>>) -> Result<(), CurvesError> {
    let svg =
        drawn.map_err(|error| CurvesError::Draw { path: path.to_owned(), reason: error.to_string() })?;
    Ok(write_atomically(path, |file| file.write_all(svg.as_bytes()))?)
}

/// The panels in the order in which the columns first name them.
fn panels(results: &Results) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for column in results.columns() {
        let (name, title) = column.split_once('/').unwrap_or(("", column));
        let points = results.series(column).into_iter().filter(|(_, value)| value.is_finite());
        let points = points.map(|(epoch, value)| (i32::try_from(epoch).unwrap_or(i32::MAX), value)).collect();
        let curve = Curve { name: name.to_owned(), points };
        match panels.iter_mut().find(|panel| panel.title == title) {
            Some(panel) => panel.curves.push(curve),
            None => panels.push(Panel { title: title.to_owned(), curves: vec![curve] }),
        }
    }
    panels
}

fn svg(panels: &[Panel]) -> Result<String, Box<dyn std::error::Error>> {
    let columns = (panels.len() as f64).sqrt().ceil().max(1.0) as usize;
    let rows = panels.len().div_ceil(columns).max(1);
    let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        for (panel, area) in panels.iter().zip(root.split_evenly((rows, columns))) {
            draw(panel, &area)?;
        }
        root.present()?;
    }
    Ok(svg)
}

fn draw(panel: &Panel, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn std::error::Error>> {
    let points = || panel.curves.iter().flat_map(|curve| &curve.points);
    let first = points().map(|(epoch, _)| *epoch).min().unwrap_or(1);
    let last = points().map(|(epoch, _)| *epoch).max().unwrap_or(first);
    let (low, high) = value_range(points().map(|(_, value)| *value));
    let mut chart = ChartBuilder::on(area)
        .caption(panel.caption(), ("sans-serif", 16))
        .margin(10)
        .margin_right(18)
        .x_label_area_size(38)
        .y_label_area_size(58)
        .build_cartesian_2d(first..last.max(first.saturating_add(1)), low..high)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .axis_style(BLACK.mix(0.5))
        .label_style(("sans-serif", 12))
        .x_desc("epoch")
        .x_labels(8)
        .y_labels(6)
        .y_label_formatter(&|value| label(*value, high - low))
        .draw()?;
    let with_legend = panel.curves.len() > 1;
    for (curve, colour) in panel.curves.iter().zip(COLOURS.iter().cycle()) {
        let line =
            chart.draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))?;
        if with_legend {
            line.label(&curve.name)
                .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        // A curve of one epoch has no line.
        chart.draw_series(curve.points.iter().map(|&point| Circle::new(point, 2, colour.filled())))?;
    }
    if with_legend {
        chart
            .configure_series_labels()
            .position(panel.empty_corner())
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", 12))
            .draw()?;
    }
    Ok(())
}

/// The least and the greatest value with a margin, never an empty range.
fn value_range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    let span = high - low;
    let margin = if span > 0.0 { 0.05 * span } else { (0.05 * high.abs()).max(1e-9) };
    (low - margin, high + margin)
}

/// A value with the decimals that tell it from its neighbours on an axis of this span.
fn label(value: f64, span: f64) -> String {
    let decimals = (1.0 - span.log10()).ceil();
    if value.abs() < 1e-6 * span {
        "0".to_owned()
    } else if decimals > 4.0 || value.abs() >= 1e5 {
        format!("{value:.1e}")
    } else {
        format!("{value:.*}", decimals.max(0.0) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(columns: &[&str], rows: &[&[f64]]) -> (tempfile::TempDir, Results) {
        let folder = tempfile::tempdir().unwrap();
        let mut results = Results::create(&folder.path().join("results.csv"), columns).unwrap();
        for (index, row) in rows.iter().enumerate() {
            results.append(index + 1, row).unwrap();
        }
        (folder, results)
    }

    #[test]
    fn columns_of_one_metric_share_a_panel() {
        let (_folder, results) =
            results(&["train/loss", "lr", "val/loss"], &[&[2.0, 0.1, f64::NAN], &[f64::INFINITY, 0.2, 1.0]]);
        let curve =
            |name: &str, points: &[(i32, f64)]| Curve { name: name.to_owned(), points: points.to_vec() };
        let expected = [
            Panel {
                title: "loss".to_owned(),
                curves: vec![curve("train", &[(1, 2.0)]), curve("val", &[(2, 1.0)])],
            },
            Panel { title: "lr".to_owned(), curves: vec![curve("", &[(1, 0.1), (2, 0.2)])] },
        ];
        assert_eq!(panels(&results), expected);
    }

    #[test]
    fn every_table_can_be_drawn() {
        let tables: [(&[&str], &[&[f64]]); 5] = [
            (&[], &[]),
            (&["loss"], &[]),
            (&["loss"], &[&[0.0]]),
            (&["loss", "a", "b"], &[&[f64::NAN, 5.0, 1e300], &[f64::INFINITY, 5.0, -1e300]]),
            (&["train/<L_PG>"], &[&[1e-12], &[2e-12]]),
        ];
        for (columns, rows) in tables {
            let (folder, results) = results(columns, rows);
            let path = folder.path().join("results.svg");
            write_curves(&results, &path).unwrap();
            let svg = std::fs::read_to_string(&path).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            assert!(!svg.contains("NaN") && !svg.contains("<L_PG>"), "{svg}");
        }
    }

    #[test]
    fn labels_have_the_decimals_that_their_span_needs() {
        assert_eq!(label(0.5, 1.0), "0.5");
        assert_eq!(label(0.25, 0.3), "0.25");
        assert_eq!(label(40.0, 60.0), "40");
        assert_eq!(label(1.2e-6, 1e-6), "1.2e-6");
        assert_eq!(label(0.0, 1e-6), "0");
        assert_eq!(label(-1e-18, 1.0), "0");
    }
}
