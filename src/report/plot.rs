//! The plots, as SVG inside the pages: the pass rate of each cell with its interval, alone or over what it takes.

use unicode_width::UnicodeWidthStr;

use super::markup::Markup;

/// A cell, its pass rate and its interval, as fractions; `None` where no held-out test has judged a session.
pub struct Dot {
    /// Name of the cell.
    pub name: String,
    /// Rate and interval.
    pub value: Option<(f64, (f64, f64))>,
}

/// A cell in a plot of pass rates over something else.
pub struct Point {
    /// A short text beside it.
    pub label: String,
    /// Name of the cell.
    pub name: String,
    /// Where it lies.
    pub x: f64,
    /// Pass rate, as a fraction.
    pub rate: f64,
    /// Its interval.
    pub interval: (f64, f64),
}

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
pub fn draw(cells: &[Dot]) -> Markup {
    // Labels are in a proportional font of 13 px: 7.6 px a column is enough for all but the widest.
    let label = cells.iter().map(|dot| dot.name.width()).max().unwrap_or(0) as f64 * 7.6 + 18.0;
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
    for (i, dot) in cells.iter().enumerate() {
        let y = TOP + ROW * (i as f64 + 0.5);
        label_at(&mut svg, "name", "end", (label - 12.0, y + 4.5), &dot.name);
        let Some((rate, (low, high))) = dot.value else {
            label_at(&mut svg, "tick", "start", (x(0.0) + 8.0, y + 4.5), "no held-out verdict");
            continue;
        };
        line(&mut svg, "whisker", (x(low), y), (x(high), y));
        line(&mut svg, "whisker", (x(low), y - 4.0), (x(low), y + 4.0));
        line(&mut svg, "whisker", (x(high), y - 4.0), (x(high), y + 4.0));
        svg.raw("<circle class=\"dot\" r=\"5\"").attr("cx", number(x(rate))).attr("cy", number(y)).raw("/>");
        label_at(&mut svg, "rate", "end", (width - 8.0, y + 4.5), &format!("{:.1} %", 100.0 * rate));
    }
    svg.raw("</svg>");
    svg
}

/// Draws pass rates over `name`, from 0 on.
pub fn scatter(points: &[Point], name: &str) -> Markup {
    /// The field, and the space around it.
    const FIELD: (f64, f64) = (400.0, 220.0);
    const MARGIN: (f64, f64) = (56.0, 12.0);
    const BELOW: f64 = 48.0;
    let step = nice(points.iter().map(|point| point.x).fold(0.0, f64::max) / 4.0);
    let most = points.iter().map(|point| point.x).fold(step, f64::max) * 1.06;
    let x = |value: f64| MARGIN.0 + FIELD.0 * value / most;
    let y = |rate: f64| MARGIN.1 + FIELD.1 * (1.0 - rate);
    let (width, height) = (MARGIN.0 + FIELD.0 + 24.0, MARGIN.1 + FIELD.1 + BELOW);

    let mut svg = Markup::new();
    svg.raw("<svg class=\"plot\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\"");
    svg.attr("viewBox", format!("0 0 {width:.0} {height:.0}")).attr("width", format!("{width:.0}"));
    svg.raw("><title>")
        .text(format!("Held-out tests passed over {name}, with 95 % intervals"))
        .raw("</title>");
    for percent in [0, 25, 50, 75, 100] {
        let at = y(f64::from(percent) / 100.0);
        line(&mut svg, "grid", (x(0.0), at), (x(most), at));
        label_at(&mut svg, "tick", "end", (x(0.0) - 8.0, at + 4.0), &format!("{percent} %"));
    }
    for tick in (0..).map(|count| f64::from(count) * step).take_while(|tick| *tick <= most) {
        line(&mut svg, "grid", (x(tick), y(0.0)), (x(tick), y(0.0) + 5.0));
        // Rounded, so that 3 · 0.1 is 0.3.
        let text = ((tick * 1e6).round() / 1e6).to_string();
        label_at(&mut svg, "tick", "middle", (x(tick), y(0.0) + 19.0), &text);
    }
    label_at(&mut svg, "tick", "middle", (x(most / 2.0), height - 6.0), name);
    for point in points {
        let (at, (low, high)) = (x(point.x), point.interval);
        svg.raw("<g><title>");
        svg.text(format!("{}: {:.1} %, {name} {:.1}", point.name, 100.0 * point.rate, point.x))
            .raw("</title>");
        line(&mut svg, "whisker", (at, y(low)), (at, y(high)));
        svg.raw("<circle class=\"dot\" r=\"4\"")
            .attr("cx", number(at))
            .attr("cy", number(y(point.rate)))
            .raw("/>");
        label_at(&mut svg, "name", "start", (at + 7.0, y(point.rate) + 4.0), &point.label);
        svg.raw("</g>");
    }
    svg.raw("</svg>");
    svg
}

/// The least of 1, 2 and 5 times a power of ten that is not below `value`; 1 for none.
fn nice(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|times| times * power)
        .find(|step| *step >= value)
        .unwrap_or(10.0 * power)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_a_scale_are_round() {
        for (value, step) in
            [(0.75, 1.0), (1.0, 1.0), (1.1, 2.0), (23.0, 50.0), (600.0, 1000.0), (0.03, 0.05)]
        {
            assert!((nice(value) - step).abs() < 1e-9, "{value}: {}", nice(value));
        }
        assert_eq!((nice(0.0), nice(f64::NAN)), (1.0, 1.0));
    }
}
