//! Figures over steps, small pictures side by side, as SVG.

use plotters::prelude::*;

/// A small picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// A line of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it is called.
    pub name: String,
    /// Step and value.
    pub points: Vec<(f64, f64)>,
    /// By step, the interval around it, where it has one.
    pub intervals: Vec<(f64, f64, f64)>,
}

const SIZE: (u32, u32) = (340, 230);
const COLUMNS: usize = 3;
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// The panels, three in a row, each with a scale of its own, as the text of an SVG file.
///
/// # Errors
/// What the drawing library says.
pub fn curves(title: &str, panels: &[Panel]) -> Result<String, String> {
    let mut svg = String::new();
    draw(&mut svg, title, panels).map_err(|error| error.to_string())?;
    Ok(svg)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(svg: &mut String, title: &str, panels: &[Panel]) -> Drawn {
    let columns = panels.len().clamp(1, COLUMNS);
    let rows = panels.len().div_ceil(columns).max(1);
    let size = (SIZE.0 * columns as u32, 30 + SIZE.1 * rows as u32);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let inside = root.titled(title, ("sans-serif", 17))?;
    for (area, panel) in inside.split_evenly((rows, columns)).iter().zip(panels) {
        draw_panel(area, panel)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(area: &DrawingArea<SVGBackend, plotters::coord::Shift>, panel: &Panel) -> Drawn {
    let of_lines = || panel.lines.iter();
    let (first, last) = range(of_lines().flat_map(|line| line.points.iter().map(|point| point.0)), 0.0);
    let bounds = of_lines().flat_map(|line| line.intervals.iter().flat_map(|(_, low, high)| [*low, *high]));
    let values = of_lines().flat_map(|line| line.points.iter().map(|point| point.1)).chain(bounds);
    let (low, high) = range(values, 0.06);
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 13))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(48)
        .build_cartesian_2d(first..last, low..high)?;
    chart
        .configure_mesh()
        .x_labels(5)
        .y_labels(5)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&number)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for (index, line) in panel.lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let above = line.intervals.iter().map(|(step, _, high)| (*step, *high));
        let below = line.intervals.iter().rev().map(|(step, low, _)| (*step, *low));
        let band: Vec<(f64, f64)> = above.chain(below).collect();
        if !band.is_empty() {
            chart.draw_series([Polygon::new(band, colour.mix(0.18))])?;
        }
        let series =
            chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        if panel.lines.len() > 1 {
            series
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 12, y)], colour.stroke_width(2)));
        }
        // Few points are dots too: one alone is no line.
        if line.points.len() < 20 {
            chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 2, colour.filled())))?;
        }
    }
    if panel.lines.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.75))
            .label_font(("sans-serif", 10))
            .draw()?;
    }
    Ok(())
}

/// The least and the greatest of what is finite, with a margin of this share; never the same.
fn range(values: impl Iterator<Item = f64>, margin: f64) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    match (low <= high, high - low) {
        (false, _) => (0.0, 1.0),
        (true, size) if size > f64::EPSILON * high.abs() => (low - margin * size, high + margin * size),
        (true, _) => (low - 0.5 * low.abs().max(1e-9), high + 0.5 * high.abs().max(1e-9)),
    }
}

fn number(value: &f64) -> String {
    let size = value.abs();
    match () {
        () if size >= 1e5 || (size > 0.0 && size < 1e-3) => format!("{value:.0e}"),
        () if size >= 100.0 => format!("{value:.0}"),
        () if size >= 1.0 => format!("{value:.1}"),
        () => format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, points: &[(f64, f64)]) -> Line {
        Line { name: name.into(), points: points.to_vec(), intervals: vec![] }
    }

    #[test]
    fn a_picture_has_its_titles_and_what_of_data_is_in_it_is_text() {
        let banded = Line {
            intervals: vec![(1.0, 0.1, 0.3), (2.0, 0.3, 0.6)],
            ..line("a", &[(1.0, 0.2), (2.0, 0.4)])
        };
        let panels = [
            Panel { title: "accuracy".into(), lines: vec![banded] },
            Panel {
                title: "rewards".into(),
                lines: vec![line("x<y", &[(1.0, 3.0)]), line("z", &[(1.0, 3.0)])],
            },
        ];
        let svg = curves("rl <script>", &panels).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("accuracy") && svg.contains("x&lt;y") && !svg.contains("<script"));
        // Two dots of the first, one each of the others; one band.
        assert_eq!((svg.matches("<circle").count(), svg.matches("<polygon").count()), (4, 1));
        assert!(curves("nothing", &[]).is_ok());
    }

    #[test]
    fn a_scale_is_never_empty() {
        assert_eq!(range([].into_iter(), 0.1), (0.0, 1.0));
        assert_eq!(range([2.0, 2.0].into_iter(), 0.1), (1.0, 3.0));
        assert_eq!(range([0.0, f64::NAN, 10.0].into_iter(), 0.1), (-1.0, 11.0));
        let (low, high) = range([0.0].into_iter(), 0.1);
        assert!(low < high);
    }
}
