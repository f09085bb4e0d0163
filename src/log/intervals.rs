//! Shares with their intervals, a row each, as SVG.

use plotters::prelude::*;

/// A row of the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What stands above it.
    pub name: String,
    /// The value, drawn as a dot.
    pub value: f64,
    /// Its interval, drawn as a line.
    pub interval: (f64, f64),
    /// The values that it is the mean of, drawn as rings.
    pub points: Vec<f64>,
}

const COLOUR: RGBColor = RGBColor(0, 114, 178);
const SINGLE: RGBColor = RGBColor(213, 94, 0);
const HEIGHT: u32 = 46;

/// The rows from top to bottom over one scale, as the text of an SVG file.
pub fn intervals(title: &str, rows: &[Row]) -> Result<String, String> {
    let mut svg = String::new();
    draw(&mut svg, title, rows).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw(svg: &mut String, title: &str, rows: &[Row]) -> Result<(), Box<dyn std::error::Error>> {
    let size = (520, 90 + HEIGHT * rows.len().max(1) as u32);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let all =
        rows.iter().flat_map(|row| row.points.iter().chain([&row.interval.0, &row.interval.1, &row.value]));
    let finite = all.copied().filter(|value| value.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    // Shares that are all the same stand on the scale of all shares.
    let (low, high) = if low < high { (low, high) } else { (0.0, 1.0) };
    let margin = ((high - low) * 0.08).max(0.01);
    // Beyond none and all there are no shares.
    let (from, to) = ((low - margin).max(low.min(0.0)), (high + margin).min(high.max(1.0)));
    let count = rows.len() as f64;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(28)
        .build_cartesian_2d(from..to, 0.0..count.max(1.0))?;
    chart.configure_mesh().disable_y_mesh().disable_y_axis().light_line_style(TRANSPARENT).draw()?;
    for (place, row) in rows.iter().enumerate() {
        let at = count - place as f64 - 0.62;
        let line = [(row.interval.0, at), (row.interval.1, at)];
        chart.draw_series([PathElement::new(line, COLOUR.stroke_width(2))])?;
        chart.draw_series(
            row.points.iter().map(|point| Circle::new((*point, at), 4, SINGLE.stroke_width(1))),
        )?;
        chart.draw_series([Circle::new((row.value, at), 4, COLOUR.filled())])?;
        // Lines of the scale end where a name stands.
        let font = ("sans-serif", 13).into_text_style(&root);
        let (width, height) = root.estimate_text_size(&row.name, &font)?;
        let behind = Rectangle::new([(1, 0), (width as i32 + 5, height as i32)], WHITE.filled());
        let name = Text::new(row.name.clone(), (3, 0), font);
        chart.draw_series([EmptyElement::at((from, at + 0.42)) + behind + name])?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_name_its_line_and_its_dots() {
        let row = |name: &str, value: f64| Row {
            name: name.into(),
            value,
            interval: (value - 0.1, value + 0.1),
            points: vec![value - 0.02, value + 0.02],
        };
        let svg = intervals("accuracy", &[row("base", 0.4), row("a <b>", 0.7)]).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("base") && svg.contains("a &lt;b&gt;") && svg.contains("accuracy"));
        // Each name has white behind it, the whole picture too.
        assert_eq!(svg.matches("fill=\"#FFFFFF\"").count(), 3);
        // A dot and two rings a row.
        assert_eq!(svg.matches("<circle").count(), 6);
        let none = Row { interval: (0.0, 0.0), points: vec![0.0], ..row("none", 0.0) };
        let svg = intervals("accuracy", &[none]).unwrap();
        assert!(!svg.contains("0.002") && svg.contains("0.8"), "{svg}");
        assert!(intervals("nothing", &[]).is_ok());
        // Ticks end at all of them, and at none.
        let ends =
            |value: f64, interval| intervals("accuracy", &[Row { interval, ..row("one", value) }]).unwrap();
        let (all, nothing) = (ends(0.98, (0.96, 1.0)), ends(0.02, (0.0, 0.04)));
        assert!(all.contains("\n1.0\n") && !all.contains("1.01"), "{all}");
        assert!(nothing.contains("\n0.0\n") && !nothing.contains("-0.01"), "{nothing}");
    }
}
