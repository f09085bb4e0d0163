//! What the lines of a picture are called, above where they are drawn.

use plotters::coord::Shift;
use plotters::prelude::*;

/// Where a picture is drawn.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The height of a row.
const ROW: i32 = 14;
/// How wide a letter is at most, on the average.
const LETTER: i32 = 6;
/// A line's sample and the space around it.
const SAMPLE: i32 = 30;
/// Letters of a name that are shown.
const LETTERS: usize = 44;

/// Draws the names, each beside its colour, in as many rows as they take; what is left of the area below them.
pub(super) fn legend<'a>(
    area: &Area<'a>,
    names: &[(&str, RGBColor)],
) -> Result<Area<'a>, Box<dyn std::error::Error>> {
    let width = area.dim_in_pixel().0 as i32;
    let (mut left, mut top) = (SAMPLE / 2, 0);
    let mut placed = Vec::new();
    for (name, colour) in names {
        let name = cut(name);
        let needs = SAMPLE + LETTER * name.chars().count() as i32;
        if left > SAMPLE / 2 && left + needs > width {
            (left, top) = (SAMPLE / 2, top + ROW);
        }
        placed.push((name, *colour, left, top));
        left += needs;
    }
    let (above, below) = area.split_vertically(top + ROW);
    for (name, colour, left, top) in placed {
        let middle = top + ROW / 2;
        let sample = PathElement::new(vec![(left, middle), (left + 12, middle)], colour.stroke_width(2));
        above.draw(&sample)?;
        above.draw(&Text::new(name, (left + 16, top + 1), ("sans-serif", 10)))?;
    }
    Ok(below)
}

fn cut(name: &str) -> String {
    match name.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_string(),
    }
}
