//! The plot: pass rate of each cell with its interval, as SVG inside the overview.

use unicode_width::UnicodeWidthStr;

use super::markup::Markup;
use super::table::CellRow;

/// Height of one cell's row, in SVG units (pixels at full size).
const ROW: f64 = 30.0;
/// Width of the scale from 0 to 100 %.
const SCALE: f64 = 520.0;
/// Space above the first row, and below the last one for the scale's numbers.
const TOP: f64 = 10.0;
const BOTTOM: f64 = 30.0;
/// Space right of the scale, for the rates.
const RIGHT: f64 = 80.0;

/// Draws the cells, first on top, as dots with whiskers.
pub fn draw(cells: &[CellRow]) -> Markup {
    // Labels are in a proportional font of 13 px: 7.6 px a column is enough for all but the widest.
    let label = cells.iter().map(|row| row.cell.width()).max().unwrap_or(0) as f64 * 7.6 + 18.0;
    let (width, height) = (label + SCALE + RIGHT, TOP + ROW * cells.len() as f64 + BOTTOM);
    let x = |fraction: f64| label + SCALE * fraction;

    let mut svg = Markup::new();
    svg.raw("<svg class=\"plot\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\"");
    svg.attr("viewBox", format!("0 0 {width:.0} {height:.0}")).attr("width", format!("{width:.0}"));
    svg.raw("><title>Held-out tests passed, with 95 % intervals</title>");
    let bottom = TOP + ROW * cells.len() as f64;
    for percent in [0, 20, 40, 60, 80, 100] {
        let at = x(f64::from(percent) / 100.0);
        line(&mut svg, "grid", (at, TOP), (at, bottom));
        label_at(&mut svg, "tick", "middle", (at, bottom + 19.0), &format!("{percent} %"));
    }
    for (i, row) in cells.iter().enumerate() {
        let y = TOP + ROW * (i as f64 + 0.5);
        label_at(&mut svg, "name", "end", (label - 12.0, y + 4.5), &row.cell);
        if row.tasks == 0 {
            label_at(&mut svg, "tick", "start", (x(0.0) + 8.0, y + 4.5), "no finished session");
            continue;
        }
        let (low, high) = row.interval;
        let rate = row.passed_held_out as f64 / row.tasks as f64;
        line(&mut svg, "whisker", (x(low), y), (x(high), y));
        line(&mut svg, "whisker", (x(low), y - 4.0), (x(low), y + 4.0));
        line(&mut svg, "whisker", (x(high), y - 4.0), (x(high), y + 4.0));
        svg.raw("<circle class=\"dot\" r=\"5\"").attr("cx", number(x(rate))).attr("cy", number(y)).raw("/>");
        label_at(&mut svg, "rate", "end", (width - 8.0, y + 4.5), &format!("{:.1} %", 100.0 * rate));
    }
    svg.raw("</svg>");
    svg
}

fn line(svg: &mut Markup, class: &'static str, from: (f64, f64), to: (f64, f64)) {
    svg.raw("<line").attr("class", class);
    svg.attr("x1", number(from.0)).attr("y1", number(from.1));
    svg.attr("x2", number(to.0)).attr("y2", number(to.1)).raw("/>");
}

fn label_at(svg: &mut Markup, class: &'static str, anchor: &'static str, at: (f64, f64), text: &str) {
    svg.raw("<text").attr("class", class).attr("text-anchor", anchor);
    svg.attr("x", number(at.0)).attr("y", number(at.1)).raw(">").text(text).raw("</text>");
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}
