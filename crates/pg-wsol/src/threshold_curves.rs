//! Accuracy against the threshold of the scores, as a picture.

use std::path::Path;

use pg_localization::{AtThreshold, BoxCounts, DELTAS, PixelCounts};
use pg_tasks::curves::{COLOURS, CurvesError, write_svg};
use plotters::prelude::*;

/// Width and height in pixels.
const SIZE: (u32, u32) = (720, 440);

struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
    /// Where it is best.
    mark: Option<(f64, f64)>,
}

/// Writes the share of images that are localised at each threshold, for each overlap, to an SVG file.
///
/// # Errors
/// If it cannot be written.
pub fn write(counts: &BoxCounts, path: &Path) -> Result<(), CurvesError> {
    let best = counts.best();
    let curve = |((delta, best), percents): ((&f64, AtThreshold), Vec<f64>)| Curve {
        name: format!("overlap {delta:.1}: {:.1} %", best.percent),
        points: counts.thresholds().iter().copied().zip(percents).collect(),
        mark: Some((best.threshold, best.percent)),
    };
    let curves: Vec<Curve> = DELTAS.iter().zip(best.by_delta).zip(counts.curves()).map(curve).collect();
    let title = format!("MaxBoxAccV2 {:.2} %", best.max_box_acc_v2());
    write_svg(path, svg(&title, ["threshold of the scores", "images localised, %"], &curves))
}

/// Writes precision over recall to an SVG file.
///
/// # Errors
/// If it cannot be written.
pub fn write_precision(counts: &PixelCounts, path: &Path) -> Result<(), CurvesError> {
    let points = counts.precision_recall().into_iter().map(|(p, r)| (r, 100.0 * p)).collect();
    let curve = Curve { name: "precision".to_owned(), points, mark: None };
    let title = format!("PxAP {:.2} %", counts.average_precision().unwrap_or(f64::NAN));
    write_svg(path, svg(&title, ["recall", "precision, %"], &[curve]))
}

fn svg(title: &str, axes: [&str; 2], curves: &[Curve]) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..1.0, 0.0..100.0)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.1))
            .axis_style(BLACK.mix(0.5))
            .label_style(("sans-serif", 13))
            .x_desc(axes[0])
            .y_desc(axes[1])
            .draw()?;
        for (curve, colour) in curves.iter().zip(&COLOURS) {
            chart
                .draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))?
                .label(&curve.name)
                .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
            chart.draw_series(curve.mark.iter().map(|&mark| Circle::new(mark, 4, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", 13))
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}
