//! A reliability diagram as SVG: how often those of a confidence are right (Guo et al. 2017, arXiv 1706.04599).

use plotters::prelude::*;

/// A bin of a diagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Points in it; an empty bin is not drawn.
    pub points: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of them that is right.
    pub accuracy: f64,
}

const COLOUR: RGBColor = RGBColor(0, 114, 178);

/// The diagram as the text of an SVG file: a dot a bin, its area by the share of points in it, and the diagonal of a judge
/// that is as often right as it is sure.
pub fn diagram(title: &str, bins: &[Bin]) -> Result<String, String> {
    let mut svg = String::new();
    draw(&mut svg, title, bins).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw(svg: &mut String, title: &str, bins: &[Bin]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, (340, 320)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(32)
        .y_label_area_size(40)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    chart.configure_mesh().x_desc("confidence").y_desc("share right").light_line_style(TRANSPARENT).draw()?;
    chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], BLACK.mix(0.4)))?;
    let all: usize = bins.iter().map(|bin| bin.points).sum();
    let filled = || bins.iter().filter(|bin| bin.points > 0);
    let line = filled().map(|bin| (bin.confidence, bin.accuracy));
    chart.draw_series(LineSeries::new(line, COLOUR.stroke_width(2)))?;
    chart.draw_series(filled().map(|bin| {
        let radius = 2.0 + 14.0 * (bin.points as f64 / all as f64).sqrt();
        Circle::new((bin.confidence, bin.accuracy), radius as i32, COLOUR.mix(0.6).filled())
    }))?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_bins_are_dots() {
        let bin = |points, confidence, accuracy| Bin { points, confidence, accuracy };
        let svg = diagram("prm", &[bin(3, 0.1, 0.0), bin(0, 0.0, 0.0), bin(1, 0.9, 1.0)]).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<circle").count(), 2);
        // Areas as 3/4 and 1/4 of 14²: radii 2 + 14 √.75 = 14 and 2 + 7 = 9.
        assert!(svg.contains("r=\"14\"") && svg.contains("r=\"9\""), "{svg}");
        assert!(svg.contains("confidence") && svg.contains("share right") && svg.contains("prm"));
    }
}
