//! Pictures of accuracy by round, or by another number, as SVG.

use super::legend::{Area, legend};
use plotters::prelude::*;
use std::collections::BTreeMap;

/// A line of a picture: its name, and its values (shares) by round or another number, with the least and the greatest where it stands for
/// several runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What the legend says.
    pub name: String,
    /// Number → (value, least, greatest).
    pub points: BTreeMap<usize, (f64, f64, f64)>,
}

/// A picture's panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// Its lines.
    pub curves: Vec<Curve>,
}

const SIZE: (u32, u32) = (380, 300);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

/// The panels side by side, with one scale of `x` (what is counted along it) and shares from 0 to 1, as the text of an SVG
/// file.
pub fn accuracy(panels: &[Panel], x: &str) -> Result<String, String> {
    let mut svg = String::new();
    let rounds =
        panels.iter().flat_map(|p| &p.curves).flat_map(|c| c.points.keys()).max().copied().unwrap_or(0);
    {
        let size = (SIZE.0 * panels.len().max(1) as u32, SIZE.1);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        for (area, panel) in root.split_evenly((1, panels.len().max(1))).iter().zip(panels) {
            draw(area, panel, (x, rounds.max(1))).map_err(|error| error.to_string())?;
        }
        root.present().map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(area: &Area, panel: &Panel, (x, rounds): (&str, usize)) -> Drawn {
    let titled = area.titled(&panel.title, ("sans-serif", 15))?;
    let colour = |index: usize| COLOURS[index % COLOURS.len()];
    let names = panel.curves.iter().enumerate().map(|(index, curve)| (curve.name.as_str(), colour(index)));
    let inside = legend(&titled, &names.collect::<Vec<_>>())?;
    let mut chart = ChartBuilder::on(&inside)
        .margin(10)
        .x_label_area_size(32)
        .y_label_area_size(40)
        .build_cartesian_2d(0..rounds, 0.0..1.0)?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc("accuracy")
        .x_labels((rounds + 1).min(17))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (index, curve) in panel.curves.iter().enumerate() {
        let colour = colour(index);
        let line = curve.points.iter().map(|(round, (value, ..))| (*round, *value));
        chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
        let spread = curve.points.iter().filter(|(_, (_, low, high))| low < high);
        chart.draw_series(
            spread.map(|(round, (_, low, high))| PathElement::new([(*round, *low), (*round, *high)], colour)),
        )?;
        chart.draw_series(
            curve.points.iter().map(|(round, (value, ..))| Circle::new((*round, *value), 3, colour.filled())),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_names_its_panels_and_curves() {
        let points = [(0, (0.1, 0.0, 0.2)), (1, (0.5, 0.5, 0.5))].into();
        let curve = Curve { name: "digits = 1".into(), points };
        let svg = accuracy(
            &[
                Panel { title: "with".into(), curves: vec![curve.clone()] },
                Panel { title: "without".into(), curves: vec![curve] },
            ],
            "round",
        )
        .unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["with", "without", "digits = 1", "accuracy", "round"] {
            assert!(svg.contains(text), "{text}");
        }
        // Two points a curve, two curves, each a circle.
        assert_eq!(svg.matches("<circle").count(), 4);
    }
}
