//! Plots as SVG text. Ink is `currentColor`, so that a plot follows the page's light or dark theme.

use anyhow::{Result, anyhow};
use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, SegmentValue, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::convergence::{Convergence, Point};
use super::statistics::Estimate;

const SIZE: (u32, u32) = (520, 320);
/// Stands for the page's text colour, and is replaced by it.
const INK: RGBColor = RGBColor(1, 2, 3);
const FIRST: RGBColor = RGBColor(217, 130, 43);
const SECOND: RGBColor = RGBColor(47, 128, 205);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A named estimate, the share of 1 that it estimates shown in percent.
pub(crate) type Named<'a> = (&'a str, &'a Estimate);

/// Means and intervals side by side.
pub(crate) fn side_by_side(rows: &[Named], y_title: &str) -> Result<String> {
    svg(|area| {
        let y = percent_range(rows.iter().map(|(_, estimate)| *estimate));
        let mut chart =
            chart(area).build_cartesian_2d((0..rows.len().saturating_sub(1)).into_segmented(), y)?;
        let name = |x: &SegmentValue<usize>| match x {
            SegmentValue::CenterOf(index) => {
                rows.get(*index).map_or(String::new(), |(label, _)| (*label).into())
            }
            _ => String::new(),
        };
        let mut mesh = chart.configure_mesh();
        style(&mut mesh, y_title).disable_x_mesh().x_labels(rows.len()).x_label_formatter(&name).draw()?;
        for (index, (_, estimate)) in rows.iter().enumerate() {
            let x = SegmentValue::CenterOf(index);
            let (low, high) = percent_interval(estimate);
            chart.draw_series([PathElement::new(
                [(x.clone(), low), (x.clone(), high)],
                SECOND.stroke_width(3),
            )])?;
            chart.draw_series([Circle::new((x, 100.0 * estimate.mean), 5, SECOND.filled())])?;
        }
        Ok(())
    })
}

/// Means and intervals over a number, on a logarithmic axis if `logarithmic`, and a level to compare with.
pub(crate) fn over(
    points: &[(f64, &Estimate)],
    logarithmic: bool,
    level: Option<Named>,
    titles: (&str, &str),
) -> Result<String> {
    let xs = || points.iter().map(|(x, _)| *x);
    let (low, high) = (xs().fold(f64::INFINITY, f64::min), xs().fold(f64::NEG_INFINITY, f64::max));
    if logarithmic {
        over_axis(points, (low / 1.5..high * 1.5).log_scale(), (low / 1.5, high * 1.5), level, titles)
    } else {
        let pad = 0.06 * (high - low).max(1e-6);
        over_axis(points, low - pad..high + pad, (low - pad, high + pad), level, titles)
    }
}

fn over_axis<X>(
    points: &[(f64, &Estimate)],
    axis: X,
    ends: (f64, f64),
    level: Option<Named>,
    (x_title, y_title): (&str, &str),
) -> Result<String>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64> + 'static,
{
    svg(|area| {
        let y = percent_range(
            points.iter().map(|(_, estimate)| *estimate).chain(level.map(|(_, estimate)| estimate)),
        );
        let mut chart = chart(area).build_cartesian_2d(axis, y)?;
        let mut mesh = chart.configure_mesh();
        style(&mut mesh, y_title).x_desc(x_title).x_label_formatter(&|x| short(*x)).draw()?;
        if let Some((_, estimate)) = level {
            let (low, high) = percent_interval(estimate);
            chart.draw_series([Rectangle::new([(ends.0, low), (ends.1, high)], FIRST.mix(0.15).filled())])?;
            let mean = 100.0 * estimate.mean;
            chart.draw_series([PathElement::new([(ends.0, mean), (ends.1, mean)], FIRST.stroke_width(2))])?;
        }
        chart.draw_series(LineSeries::new(
            points.iter().map(|(x, e)| (*x, 100.0 * e.mean)),
            SECOND.stroke_width(1),
        ))?;
        for (x, estimate) in points {
            let (low, high) = percent_interval(estimate);
            chart.draw_series([PathElement::new([(*x, low), (*x, high)], SECOND.stroke_width(3))])?;
            chart.draw_series([Circle::new((*x, 100.0 * estimate.mean), 4, SECOND.filled())])?;
        }
        legend(area, level.map_or(&[][..], |_| &[("with guidance", SECOND), ("no guidance", FIRST)]))
    })
}

/// Validation accuracy over the epochs: every seed thin, the means thick.
pub(crate) fn race(convergence: &Convergence) -> Result<String> {
    let sides = [
        (&convergence.unguided, &convergence.mean_unguided, FIRST),
        (&convergence.guided, &convergence.mean_guided, SECOND),
    ];
    let all = || sides.iter().flat_map(|(curves, ..)| curves.iter().flat_map(|curve| &curve.points));
    let epochs = all().map(|point| point.epoch).max().unwrap_or(1) as f64;
    let low = all().map(|point| point.accuracy).fold(1.0, f64::min);
    let high = all().map(|point| point.accuracy).fold(0.0, f64::max);
    svg(|area| {
        let mut chart =
            chart(area).build_cartesian_2d(0.0..epochs + 0.5, padded(100.0 * low, 100.0 * high))?;
        let mut mesh = chart.configure_mesh();
        style(&mut mesh, "validation split, %").x_desc("epochs").x_label_formatter(&|x| short(*x)).draw()?;
        let line = |points: &[Point]| {
            points.iter().map(|p| (p.epoch as f64, 100.0 * p.accuracy)).collect::<Vec<_>>()
        };
        for (curves, mean, colour) in sides {
            for curve in curves {
                chart.draw_series(LineSeries::new(line(&curve.points), colour.mix(0.35).stroke_width(1)))?;
            }
            chart.draw_series(LineSeries::new(line(mean), colour.stroke_width(3)))?;
        }
        legend(area, &[("no guidance", FIRST), ("with guidance", SECOND)])
    })
}

/// Draws into an SVG that stands inside an HTML page.
fn svg(draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(&area)?;
        area.present().map_err(|error| anyhow!("cannot draw: {error}"))?;
    }
    let ink = format!("#{:02X}{:02X}{:02X}", INK.0, INK.1, INK.2);
    Ok(text.replace(&ink, "currentColor").replace(r#" xmlns="http://www.w3.org/2000/svg""#, ""))
}

fn chart<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'static, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin_top(26).margin_right(12).margin_bottom(4).x_label_area_size(44).y_label_area_size(52);
    builder
}

/// The look that all plots share.
fn style<'m, 'a, 'b, X: Ranged, Y: Ranged<ValueType = f64>, B: DrawingBackend>(
    mesh: &'m mut MeshStyle<'a, 'b, X, Y, B>,
    y_title: &str,
) -> &'m mut MeshStyle<'a, 'b, X, Y, B> {
    mesh.axis_style(INK.mix(0.5))
        .bold_line_style(INK.mix(0.12))
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 14).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
        .y_desc(y_title)
        .y_labels(6)
        .y_label_formatter(&|y| short(*y))
}

/// Names of the series, in their colours, above the plot.
fn legend(area: &Area, names: &[(&str, RGBColor)]) -> Result<()> {
    for (index, (name, colour)) in names.iter().enumerate() {
        let x = 64 + 150 * i32::try_from(index)?;
        area.draw(&Circle::new((x, 12), 5, colour.filled()))?;
        let font = ("sans-serif", 14).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new((*name).to_owned(), (x + 11, 12), font))?;
    }
    Ok(())
}

fn percent_interval(estimate: &Estimate) -> (f64, f64) {
    let half = estimate.half.unwrap_or(0.0);
    (100.0 * (estimate.mean - half), 100.0 * (estimate.mean + half))
}

fn percent_range<'a>(estimates: impl Iterator<Item = &'a Estimate>) -> std::ops::Range<f64> {
    let intervals = estimates.map(percent_interval);
    let (low, high) =
        intervals.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), (low, high)| (a.min(low), b.max(high)));
    padded(low, high)
}

/// A range of percentages with room around it.
fn padded(low: f64, high: f64) -> std::ops::Range<f64> {
    let pad = 0.06 * (high - low).max(5.0);
    (low - pad).max(-2.0)..(high + pad).min(102.0)
}

/// `0.001`, `0.7`, `10`: no more digits than needed.
fn short(x: f64) -> String {
    let rounded = (x * 1e4).round() / 1e4;
    rounded.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::report::Metric;
    use crate::reproduce::report::made_up;

    #[test]
    fn every_row_has_a_dot_and_its_name() {
        let report = made_up::report();
        let rows = &report.sets[0].experiments[0].rows;
        let named: Vec<Named> = rows
            .iter()
            .filter_map(|row| Some((row.label.as_str(), row.estimate(Metric::WorstGroup)?)))
            .collect();
        let svg = side_by_side(&named, "worst group, %").unwrap();
        assert_eq!(svg.matches("<circle").count(), named.len());
        assert!(svg.contains("originals only") && svg.contains("worst group, %"));
        assert!(svg.contains("currentColor") && !svg.contains("010203") && !svg.contains("http"));
    }

    #[test]
    fn a_logarithmic_axis_spreads_decades_evenly() {
        let estimate = Estimate::of(vec![0.5, 0.6]).unwrap();
        let svg = over(&[(0.01, &estimate), (0.1, &estimate), (1.0, &estimate)], true, None, ("alpha", "y"))
            .unwrap();
        let centres: Vec<f64> = svg
            .split("<circle cx=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(centres.len(), 3);
        assert!(((centres[1] - centres[0]) - (centres[2] - centres[1])).abs() <= 1.0, "{centres:?}");
    }

    #[test]
    fn a_race_without_curves_is_an_empty_plot() {
        assert!(race(&Convergence::default()).unwrap().starts_with("<svg"));
    }
}
