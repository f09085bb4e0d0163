//! Figures over steps, small pictures side by side, as SVG.

use super::legend::{Area, legend};
use super::ticks::{Axis, range};
use plotters::prelude::*;

/// A small picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// Its lines.
    pub lines: Vec<Line>,
    /// Whether its values are shares of a whole.
    pub share: bool,
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

fn draw_panel(area: &Area, panel: &Panel) -> Drawn {
    let of_lines = || panel.lines.iter();
    let steps = range(of_lines().flat_map(|line| line.points.iter().map(|point| point.0)), 0.0, false);
    let bounds = of_lines().flat_map(|line| line.intervals.iter().flat_map(|(_, low, high)| [*low, *high]));
    let values = of_lines().flat_map(|line| line.points.iter().map(|point| point.1)).chain(bounds);
    let (x, y) = (Axis::whole(steps, 5), Axis::new(range(values, 0.06, panel.share), 5));
    let (x_label, y_label) = (|step: &f64| x.label(step), |value: &f64| y.label(value));
    let mut inside = area.titled(&panel.title, ("sans-serif", 13))?;
    // One line is what the title says.
    if panel.lines.len() > 1 {
        let names = of_lines().enumerate().map(|(index, line)| (line.name.as_str(), colour(index)));
        inside = legend(&inside, &names.collect::<Vec<_>>())?;
    }
    let mut chart = ChartBuilder::on(&inside)
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(48)
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .x_label_formatter(&x_label)
        .y_label_formatter(&y_label)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for (index, line) in panel.lines.iter().enumerate() {
        let colour = colour(index);
        let above = line.intervals.iter().map(|(step, _, high)| (*step, *high));
        let below = line.intervals.iter().rev().map(|(step, low, _)| (*step, *low));
        let band: Vec<(f64, f64)> = above.chain(below).collect();
        if !band.is_empty() {
            chart.draw_series([Polygon::new(band, colour.mix(0.18))])?;
        }
        chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        // Few points are dots too: one alone is no line.
        if line.points.len() < 20 {
            chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 2, colour.filled())))?;
        }
    }
    Ok(())
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
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
            Panel { title: "accuracy".into(), lines: vec![banded], share: true },
            Panel {
                title: "rewards".into(),
                lines: vec![line("x<y", &[(1.0, 3.0)]), line("z", &[(1.0, 3.0)])],
                share: false,
            },
        ];
        let svg = curves("rl <script>", &panels).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("accuracy") && svg.contains("x&lt;y") && !svg.contains("<script"));
        // Two dots of the first, one each of the others; one band.
        assert_eq!((svg.matches("<circle").count(), svg.matches("<polygon").count()), (4, 1));
        assert!(curves("nothing", &[]).is_ok());
    }

    /// The texts of a picture.
    fn texts(svg: &str) -> Vec<String> {
        let lines: Vec<&str> = svg.lines().collect();
        let of = |at: usize| lines[at].starts_with("<text").then(|| lines[at + 1].to_string());
        (0..lines.len() - 1).filter_map(of).collect()
    }

    #[test]
    fn no_two_ticks_of_a_panel_say_the_same_and_nothing_is_0() {
        for points in [[(1.0, 1e-4), (8.0, 1e-4)], [(1.0, 1.195), (8.0, 1.34)], [(1.0, -0.045), (8.0, 0.044)]]
        {
            let panel = Panel { title: "t".into(), lines: vec![line("a", &points)], share: false };
            let mut found = texts(&curves("run", &[panel]).unwrap());
            let count = found.len();
            assert!(count > 8, "{found:?}");
            assert_eq!(found.contains(&"0".to_string()), points[0].1 < 0.0, "{found:?}");
            found.sort();
            found.dedup();
            assert_eq!(found.len(), count, "{found:?}");
        }
    }

    #[test]
    fn a_legend_stands_above_what_is_drawn() {
        let lines = vec![line("chosen", &[(1.0, -1.0), (2.0, 9.0)]), line("rejected", &[(1.0, 3.0)])];
        let svg = curves("run", &[Panel { title: "t".into(), lines, share: false }]).unwrap();
        let at = |line: &str| -> f64 {
            line.split(" y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
        };
        let all: Vec<&str> = svg.lines().collect();
        let named = all.iter().position(|line| *line == "chosen").unwrap();
        let dots = all.iter().filter(|line| line.starts_with("<circle")).map(|line| -> f64 {
            line.split("cy=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
        });
        let highest = dots.fold(f64::INFINITY, f64::min);
        assert!(at(all[named - 1]) + 10.0 < highest, "{svg}");
    }
}
