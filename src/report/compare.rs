//! `vigor compare`: one table and one page of what cells reach and what they spend, and where two of them part on a task.

use super::ReportError;
use super::diverge::{Branch, Divergence, alternatives, first_divergence, gate, source, verdicts};
use super::evaluation::{CellScores, Evaluation, Scores};
use super::evaluation_tables::{optional, p_value, percent, points, range};
use super::markup::{Markup, page};
use super::overview::rows;
use super::plot::{Dot, Point, draw, scatter};
use super::sheet::Sheet;
use super::study::{Attempt, Study};
use super::traces::Traces;
use crate::session::trace::{DecodedToken, Event, LineClass};

impl Evaluation {
    /// What each cell reaches and spends.
    pub fn comparison(&self) -> Sheet {
        let headers = [
            "cell",
            "γ",
            "held-out %",
            "95 %",
            "guiding %",
            "95 %",
            "tokens",
            "prefill",
            "forward passes",
            "programs run",
            "seconds",
            "difference",
            "95 %",
            "McNemar p",
        ];
        let rate = |scores: &Scores| optional(scores.pass_at_1, percent);
        let interval =
            |scores: &Scores| optional(scores.interval.map(|interval| (interval.low, interval.high)), range);
        let row = |cell: &CellScores| {
            let against = self.against.iter().find(|against| against.cell == cell.cell);
            let paired = against.map(|against| &against.held_out);
            vec![
                cell.cell.clone(),
                optional(cell.gamma, |gamma| gamma.to_string()),
                rate(&cell.held_out),
                interval(&cell.held_out),
                rate(&cell.guiding),
                interval(&cell.guiding),
                cost(cell.costs.tokens, cell.costs.tokens_interval, 0),
                format!("{:.0}", cell.costs.prefill),
                cost(cell.costs.forward_passes, cell.costs.forward_passes_interval, 0),
                format!("{:.1}", cell.costs.executions),
                optional(cell.costs.seconds, |seconds| cost(seconds, cell.costs.seconds_interval, 1)),
                optional(paired.and_then(|paired| paired.difference), points),
                optional(paired.and_then(|paired| paired.interval), |(low, high)| {
                    format!("{} – {}", points(low), points(high))
                }),
                optional(paired.and_then(|paired| paired.mcnemar_p), p_value),
            ]
        };
        Sheet {
            title: format!("{}, {} tasks that every cell has finished", self.dataset, self.tasks),
            headers: headers.map(str::to_owned).to_vec(),
            rows: self.cells.iter().map(row).collect(),
            note: format!(
                "pass@1 on either kind of tests; costs are means of a session with bootstrap intervals, tokens with those of discarded candidates. The difference \
                 is that to {} on held-out tests, in percentage points, by the paired bootstrap over tasks; p is not corrected for the \
                 number of comparisons.",
                self.base
            ),
        }
    }

    /// The comparison as a page that needs nothing else; `parting` is where two cells part, in words.
    pub fn comparison_page(&self, parting: Option<&str>) -> String {
        let mut body = Markup::new();
        body.raw("<main class=\"overview\">\n<header>").element("p", "eyebrow", "vigor compare");
        let names: Vec<&str> = self.runs.iter().map(|run| run.name.as_str()).collect();
        body.element("h1", "", names.join(", "));
        let mut models: Vec<&str> = self.runs.iter().map(|run| run.model.as_str()).collect();
        models.dedup();
        for (name, value) in [
            ("dataset", self.dataset.clone()),
            ("tasks", self.tasks.to_string()),
            ("models", models.join(", ")),
            ("compared with", self.base.clone()),
        ] {
            body.raw("<div>").element("dt", "", name).element("dd", "", value).raw("</div>");
        }
        body.raw("</header>\n");
        for note in &self.notes {
            body.element("p", "warning", note);
        }
        body.raw("<section><h2>Held-out tests passed</h2>\n<div class=\"scroll\">");
        body.add(&draw(&self.cells.iter().map(dot).collect::<Vec<_>>())).raw("</div>\n");
        body.element("p", "note", "Dots: pass@1. Whiskers: 95 % intervals.").raw("</section>\n");

        body.raw("<section><h2>Held-out tests passed, by what it takes</h2>\n");
        type Axis = fn(&CellScores) -> Option<f64>;
        let plots: [(&str, Axis); 4] = [
            ("guidance strength γ", |cell| cell.gamma),
            ("tokens a task", |cell| Some(cell.costs.tokens)),
            ("forward passes a task", |cell| Some(cell.costs.forward_passes)),
            ("seconds a task", |cell| cell.costs.seconds),
        ];
        for (name, x) in plots {
            let points = self.cells.iter().enumerate().filter_map(|(at, cell)| point(at, cell, x(cell)?));
            let points: Vec<Point> = points.collect();
            if points.len() > 1 {
                body.raw("<figure>").add(&scatter(&points, name)).raw("</figure>\n");
            }
        }
        body.raw("<p class=\"note\">Numbers: rows of the table. Whiskers: 95 % intervals.</p></section>\n");

        let mut sheet = self.comparison();
        for (number, row) in sheet.rows.iter_mut().enumerate() {
            row[0] = format!("{} {}", number + 1, row[0]);
        }
        for sheet in std::iter::once(sheet).chain(self.sheets()) {
            body.raw("<section>").element("h2", "", &sheet.title).raw("\n");
            rows(&mut body, &sheet.headers, &sheet.rows);
            body.element("p", "note", &sheet.note).raw("</section>\n");
        }
        if let Some(parting) = parting {
            body.raw("<section><h2>Where two cells part</h2>\n").element("pre", "block", parting);
            body.raw("</section>\n");
        }
        body.raw("</main>");
        page(&format!("{} – vigor", names.join(", ")), &body, None)
    }
}

/// A mean with its interval.
fn cost(mean: f64, interval: Option<(f64, f64)>, digits: usize) -> String {
    let interval = interval.map(|(low, high)| format!(" ({low:.digits$} – {high:.digits$})"));
    format!("{mean:.digits$}{}", interval.unwrap_or_default())
}

fn dot(cell: &CellScores) -> Dot {
    let value = cell.held_out.pass_at_1.zip(cell.held_out.interval);
    Dot {
        name: cell.cell.clone(),
        value: value.map(|(rate, interval)| (rate, (interval.low, interval.high))),
    }
}

fn point(at: usize, cell: &CellScores, x: f64) -> Option<Point> {
    let (rate, interval) = cell.held_out.pass_at_1.zip(cell.held_out.interval)?;
    let (label, name) = ((at + 1).to_string(), cell.cell.clone());
    Some(Point { label, name, x, rate, interval: (interval.low, interval.high) })
}

impl Study {
    /// Where two cells part on a task, step by step, in words: the lines that both committed, and all that was known at the first
    /// line that differs.
    ///
    /// # Errors
    /// When the task is in none of the runs, a cell has not finished it, or a trace cannot be read.
    pub fn parting(&self, task: &str, a: usize, b: usize) -> Result<String, ReportError> {
        let at = self.tasks.iter().position(|name| name == task);
        let at = at.ok_or_else(|| ReportError::NoTask { task: task.to_owned() })?;
        let (first, second) = (self.events(a, at)?, self.events(b, at)?);
        let (a, b) = (&self.settings[a].name, &self.settings[b].name);
        Ok(match first_divergence(&first, &second) {
            None => format!("{}: {a} and {b} wrote the same program\n", shown(task)),
            Some(divergence) => in_words(task, (a, b), &divergence),
        })
    }

    /// The trace of a task in a setting: that of its first attempt.
    fn events(&self, setting: usize, task: usize) -> Result<Vec<Event>, ReportError> {
        let name = || ReportError::NoTrace {
            task: self.tasks[task].clone(),
            cell: self.settings[setting].name.clone(),
        };
        let traced = |attempt: &&Attempt| self.outcome(**attempt, task).is_some();
        let attempt = self.settings[setting].attempts.iter().find(traced).ok_or_else(name)?;
        let run = &self.runs[attempt.run];
        let session = self.session(*attempt, task).ok_or_else(name)?;
        Traces::open(&run.dir, &run.manifest)?.session(session)?.ok_or_else(name)
    }
}

fn in_words(task: &str, names: (&str, &str), divergence: &Divergence<'_>) -> String {
    let (task, first, second) = (shown(task), shown(names.0), shown(names.1));
    let mut text = format!(
        "{task}: {first} and {second} wrote the same {} lines and part at line {}\n\n",
        divergence.common.len(),
        divergence.common.len() + 1
    );
    for line in &divergence.common {
        text.push_str(&format!("    {}\n", shown(line)));
    }
    if let Some(words) = first_token(&divergence.a, &divergence.b) {
        text.push_str(&format!("\n{words}"));
    }
    for (name, branch) in [(&first, &divergence.a), (&second, &divergence.b)] {
        text.push_str(&format!("\n{name}\n"));
        match branch.line {
            Some(line) => text.push_str(&format!("    {}\n", shown(line))),
            None => text.push_str("    (the program ends here)\n"),
        }
        let Some(step) = branch.step else { continue };
        let decision = &step.decision;
        text.push_str(&format!(
            "  step {}: {}: {}\n",
            step.step,
            source(decision.source),
            shown(&decision.reason)
        ));
        for candidate in &step.candidates {
            let class = match candidate.class {
                LineClass::Executable => "executable",
                LineClass::Fragment => "fragment",
                LineClass::Invalid => "invalid line",
            };
            text.push_str(&format!(
                "  candidate {}: {class}, {}, {}, log p {:.2} over {} tokens\n",
                candidate.index,
                shown(&gate(&candidate.gate)),
                shown(&verdicts(candidate)),
                candidate.logprob,
                candidate.tokens
            ));
            match candidate.duplicate_of {
                Some(earlier) => text.push_str(&format!("    as candidate {earlier}\n")),
                None => indent(&mut text, &candidate.text),
            }
        }
        if let Some(signal) = &step.signal {
            text.push_str(&format!("  signal, {} characters:\n", signal.text.chars().count()));
            indent(&mut text, &signal.text);
        }
    }
    text
}

/// The tokens of a line that was decoded directly.
fn decoded<'a>(branch: &Branch<'a>) -> &'a [DecodedToken] {
    branch.step.map_or(&[], |step| step.tokens.as_slice())
}

/// The first token in which two lines differ that were both decoded directly.
fn first_token(a: &Branch<'_>, b: &Branch<'_>) -> Option<String> {
    let (a, b) = (decoded(a), decoded(b));
    let at = a.iter().zip(b).position(|(x, y)| x.id != y.id)?;
    let told = |token: &DecodedToken| shown(&alternatives(token));
    Some(format!("token {at} of the line\n  {}\n  {}\n", told(&a[at]), told(&b[at])))
}

fn indent(text: &mut String, block: &str) {
    for line in block.lines() {
        text.push_str(&format!("    │ {}\n", shown(line)));
    }
}

/// A line of foreign text on a terminal.
fn shown(line: &str) -> String {
    let visible = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    line.chars().map(visible).collect()
}
