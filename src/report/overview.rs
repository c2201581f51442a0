//! `report.html`: the whole run on one page.

use std::collections::HashSet;

use super::markup::{MAP, Markup, page};
use super::plot::{Dot, draw};
use super::read::RunFiles;
use super::table::{CellRow, HEADERS, PAIRED_HEADERS, Table};
use crate::run::files::ResultRow;

/// The page. `links` holds, for each session, the name of its page in `trace_html/`.
pub fn render(run: &RunFiles, table: &Table, links: &[Option<&str>]) -> String {
    let mut body = Markup::new();
    body.raw("<main class=\"overview\">\n<header>").element("p", "eyebrow", "vigor run");
    body.element("h1", "", &run.manifest.name);
    facts(&mut body, run);
    body.raw("</header>\n");
    for warning in &run.warnings {
        body.element("p", "warning", warning);
    }

    body.raw("<section><h2>Held-out tests passed</h2>\n<div class=\"scroll\">");
    body.add(&draw(&table.cells.iter().map(dot).collect::<Vec<_>>())).raw("</div>\n");
    body.element("p", "note", "Dots: share of tasks. Whiskers: 95 % Wilson intervals.").raw("</section>\n");

    body.raw("<section><h2>Cells</h2>\n");
    rows(&mut body, &HEADERS, &table.rows());
    for sentence in [table.without_tests_sentence(), table.skipped_sentence()].into_iter().flatten() {
        body.raw("<p class=\"note\">").text(sentence).raw(".</p>");
    }
    body.raw("<p class=\"note\">").text(table.union_sentence());
    body.raw(
        ". That is a bound on what choosing among the cells could reach, not the score of a method. \
         Tokens count discarded candidates; seconds are the sum over the sessions, of which several may run at once, and \
         tokens/s is per second of session; forwards are forward passes; runs are executed programs.</p></section>\n",
    );

    if !table.paired.is_empty() {
        body.raw("<section><h2>Compared with ").text(&table.cells[0].cell).raw("</h2>\n");
        rows(&mut body, &PAIRED_HEADERS, &table.paired_rows());
        body.raw(
            "<p class=\"note\">Gained and lost: tasks on whose held-out tests exactly one of the two passes. \
             p: exact two-sided McNemar test, not corrected for the number of comparisons.</p></section>\n",
        );
    }

    body.raw("<section><h2>Tasks</h2>\n");
    heat_map(&mut body, run, links);
    body.raw("</section>\n<section><details><summary>Manifest</summary><pre class=\"block\">\n");
    body.text(serde_json::to_string_pretty(&run.manifest).unwrap_or_default());
    body.raw("</pre></details></section>\n</main>");
    page(&format!("{} – vigor", run.manifest.name), &body, Some(MAP))
}

fn facts(body: &mut Markup, run: &RunFiles) {
    let manifest = &run.manifest;
    let finished = run.results.iter().flatten().count() + run.skipped.iter().flatten().count();
    let mut fact = |name: &'static str, value: String| {
        body.raw("<div>").element("dt", "", name).element("dd", "", value).raw("</div>");
    };
    let model = &manifest.model;
    let devices: Vec<&str> = manifest.parts.iter().map(|part| part.device.as_str()).collect();
    let mut devices = devices;
    devices.dedup();
    let mut seeds: Vec<String> =
        manifest.cells.iter().map(|cell| manifest.seed_of(cell).to_string()).collect();
    let mut seen = HashSet::new();
    seeds.retain(|seed| seen.insert(seed.clone()));
    let facts = [
        ("model", format!("{} ({} {})", model.name, model.architecture, model.quantization)),
        ("dataset", manifest.dataset.name.clone()),
        ("tasks", manifest.task_ids.len().to_string()),
        ("sessions", format!("{finished} of {}", manifest.sessions())),
        ("seed", seeds.join(", ")),
        ("device", devices.join(", ")),
    ];
    for (name, value) in facts {
        fact(name, value);
    }
}

fn dot(row: &CellRow) -> Dot {
    let rate = row.passed_held_out as f64 / row.judged as f64;
    Dot { name: row.cell.clone(), value: row.interval.map(|interval| (rate, interval)) }
}

/// A table of numbers.
pub(super) fn rows(body: &mut Markup, headers: &[impl std::fmt::Display], rows: &[Vec<String>]) {
    body.raw("<div class=\"scroll\"><table class=\"numbers\"><thead><tr>");
    for header in headers {
        body.element("th", "", header);
    }
    body.raw("</tr></thead><tbody>\n");
    for row in rows {
        body.raw("<tr>");
        for (column, text) in row.iter().enumerate() {
            body.element(if column == 0 { "th" } else { "td" }, "", text);
        }
        body.raw("</tr>\n");
    }
    body.raw("</tbody></table></div>\n");
}

/// How a session looks: class, glyph (so that colour is not needed) and words.
pub(super) type Outcome = (&'static str, &'static str, &'static str);

const PASSED: Outcome = ("pass", "●", "held-out tests passed");
const GUIDING: Outcome = ("half", "◐", "only the guiding tests passed");
const FAILED: Outcome = ("fail", "○", "failed");
const UNJUDGED: Outcome = ("none", "□", "no held-out tests");
const UNFINISHED: Outcome = ("none", "·", "not finished");
const SKIPPED: Outcome = ("none", "–", "skipped, an earlier cell had solved the task");

/// Tasks by cells, each a square that leads to its session.
fn heat_map(body: &mut Markup, run: &RunFiles, links: &[Option<&str>]) {
    body.raw("<p class=\"legend\">");
    for known in [PASSED, GUIDING, FAILED, UNJUDGED, UNFINISHED, SKIPPED] {
        if (0..run.results.len()).any(|session| seen(run, session) == known) {
            let (class, glyph, meaning) = known;
            body.raw("<span>").element("i", class, glyph).text(" ").text(meaning).raw("</span> ");
        }
    }
    body.raw("</p>\n");
    let width = run.manifest.cells.len();
    let differs = |task: &usize| {
        let rows = run.results[task * width..][..width].iter().flatten();
        let mut passed = rows.filter_map(ResultRow::held_out_verdict);
        passed.next().is_some_and(|first| passed.any(|other| other != first))
    };
    let tasks = run.manifest.task_ids.len();
    let differing = (0..tasks).filter(differs).count();
    if width > 1 {
        body.raw("<p><label><input type=\"checkbox\" id=\"differ\"/> ");
        body.text(format!("only tasks on which cells differ: {differing} of {tasks}")).raw("</label></p>\n");
    }
    // What a square means stands in its row, its column and the legend; a script puts it together where the pointer is, as
    // thousands of titles would double the page.
    body.raw("<div class=\"scroll map\"><table");
    body.attr("class", if tasks > DENSE { "heat dense" } else { "heat" }).raw("><thead><tr><td></td>");
    for cell in &run.manifest.cells {
        body.raw("<th><span>").text(&cell.name).raw("</span></th>");
    }
    body.raw("</tr></thead><tbody>\n");
    for (t, task) in run.manifest.task_ids.iter().enumerate() {
        body.raw(if differs(&t) { "<tr>" } else { "<tr class=\"same\">" }).element("th", "", task);
        for (session, link) in (t * width..).zip(&links[t * width..][..width]) {
            let (class, glyph, _) = seen(run, session);
            match link {
                Some(link) => {
                    body.raw("<td><a").attr("href", format!("trace_html/{link}")).attr("class", class);
                    body.raw(">").raw(glyph).raw("</a></td>");
                }
                None => {
                    body.raw("<td><span").attr("class", class).raw(">").raw(glyph).raw("</span></td>");
                }
            }
        }
        body.raw("</tr>\n");
    }
    body.raw("</tbody></table></div>\n");
}

/// With more tasks than this the map's rows are low.
const DENSE: usize = 60;

/// What a session of the run came to.
pub(super) fn seen(run: &RunFiles, session: usize) -> Outcome {
    let Some(row) = &run.results[session] else {
        return if run.skipped[session].is_some() { SKIPPED } else { UNFINISHED };
    };
    match row.held_out_verdict() {
        None => UNJUDGED,
        Some(true) => PASSED,
        Some(false) if row.passed_guiding => GUIDING,
        Some(false) => FAILED,
    }
}
