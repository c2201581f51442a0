//! `trace_html/<task>.<cell>.html`: one session, step by step.

use std::collections::HashMap;

use super::diverge::source;
use super::markup::{Markup, SESSION, page};
use super::overview::seen;
use super::read::RunFiles;
use crate::engine::Guidance;
use crate::session::trace::{
    Candidate, DecodedToken, EndReason, Event, Execution, Gate, LineClass, Source, Start, Step, TestVerdict,
};

/// The page of session `index` of the run; `names` are those of all pages.
pub fn render(run: &RunFiles, index: usize, events: &[Event], names: &[String]) -> String {
    let cell = &run.manifest.cells[index % run.manifest.cells.len()];
    let task = &run.manifest.task_ids[index / run.manifest.cells.len()];
    let start = events.iter().find_map(|event| match event {
        Event::Start(start) => Some(start),
        _ => None,
    });
    let end = events.iter().find_map(|event| match event {
        Event::End(end) => Some(end),
        _ => None,
    });
    let steps: Vec<&Step> = events
        .iter()
        .filter_map(|event| match event {
            Event::Step(step) => Some(step),
            _ => None,
        })
        .collect();
    let vocabulary: HashMap<u32, &str> =
        steps.iter().flat_map(|step| &step.tokens).map(|token| (token.id, token.text.as_str())).collect();

    let mut body = Markup::new();
    body.raw("<main class=\"session\">\n<header><p class=\"eyebrow\"><a href=\"../report.html\">");
    body.text(&run.manifest.name).raw("</a> · ").text(&cell.name).raw("</p>");
    body.element("h1", "", task);
    summary(&mut body, run, index, end.map(|end| end.reason));
    neighbours(&mut body, run, index, names);
    body.raw("</header>\n<div class=\"columns\">\n<aside><div class=\"sticky\"><h2>Program</h2>\n");
    program(&mut body, &steps, cell.config.guidance());
    if let Some(end) = end {
        body.raw("<details><summary>Final program</summary>").element("pre", "block", &end.program);
        body.raw("</details>");
    }
    if steps.iter().any(|step| step.decision.source == Source::Guided) {
        body.raw("<p class=\"note\"><span class=\"token changed\">token</span> guidance changed the most probable token; ");
        body.raw("its probabilities stand in its title, and under Tokens.</p>");
    }
    body.raw("<p class=\"note keys\"><kbd>j</kbd> <kbd>k</kbd> or <kbd>→</kbd> <kbd>←</kbd> next and previous step</p>");
    body.raw("</div></aside>\n<div class=\"steps\">\n");
    if let Some(start) = start {
        beginning(&mut body, start);
    }
    for step in &steps {
        render_step(&mut body, step, cell.config.guidance(), &vocabulary);
    }
    if end.is_none() {
        body.element("p", "warning", "The trace of this session is incomplete.");
    }
    final_tests(&mut body, run, index, start);
    body.raw("</div>\n</div>\n</main>");
    page(&format!("{task} · {} – vigor", cell.name), &body, Some(SESSION))
}

fn summary(body: &mut Markup, run: &RunFiles, index: usize, end: Option<EndReason>) {
    let result = run.results[index].as_ref();
    let (class, glyph, meaning) = seen(run, index);
    body.raw("<p class=\"chips\">").raw("<span").attr("class", format!("chip {class}"));
    body.raw(">").raw(glyph).raw(" ").raw(meaning).raw("</span>");
    let mut chip = |text: String| {
        body.element("span", "chip", text);
    };
    if let Some(row) = result {
        let passed = |tests: &[TestVerdict]| tests.iter().filter(|test| test.kind == "passed").count();
        if row.guided {
            chip(format!("guiding {}/{}", passed(&row.guiding), row.guiding.len()));
        } else {
            chip("unguided".to_owned());
        }
        if row.held_out_verdict().is_some() {
            chip(format!("held-out {}/{}", passed(&row.held_out), row.held_out.len()));
        }
        chip(format!("{} tokens generated", row.generated_tokens));
        chip(format!("{} committed", row.committed_tokens));
        chip(format!("{} programs run", row.executions));
    }
    if let Some(timing) = &run.timings[index] {
        chip(format!("{:.1} s", timing.seconds));
    }
    if let Some(end) = end {
        chip(end_words(end).to_owned());
    }
    body.raw("</p>");
}

/// Links to the sessions before and after it: of the same task in other cells, and of other tasks in the same cell.
fn neighbours(body: &mut Markup, run: &RunFiles, index: usize, names: &[String]) {
    let width = run.manifest.cells.len();
    let finished = |other: &usize| run.results[*other].is_some();
    let first = index - index % width;
    let cell = |other: usize| run.manifest.cells[other % width].name.as_str();
    let task = |other: usize| run.manifest.task_ids[other / width].as_str();
    let in_column = |sessions: std::ops::Range<usize>| sessions.step_by(width);
    let links = [
        ("← ", (first..index).rfind(finished).map(|other| (other, cell(other)))),
        ("→ ", (index + 1..first + width).find(finished).map(|other| (other, cell(other)))),
        ("↑ ", in_column(index % width..index).rfind(finished).map(|other| (other, task(other)))),
        ("↓ ", in_column(index + width..names.len()).find(finished).map(|other| (other, task(other)))),
    ];
    body.raw("<nav>");
    for (arrow, link) in links {
        let Some((other, name)) = link else { continue };
        body.raw("<a").attr("href", &names[other]).raw(">").raw(arrow).text(name).raw("</a> ");
    }
    body.raw("</nav>\n");
}

fn end_words(end: EndReason) -> &'static str {
    match end {
        EndReason::EndOfText => "ended by the model",
        EndReason::Fence => "ended by the closing fence",
        EndReason::TestsPassed => "ended: guiding tests pass",
        EndReason::LineBudget => "ended: line budget spent",
        EndReason::TokenBudget => "ended: token budget spent",
        EndReason::TimeBudget => "ended: time budget spent (not reproducible)",
        EndReason::NoViableCandidate => "ended: no viable candidate",
        EndReason::Skipped => "skipped",
    }
}

/// The committed lines, each leading to the step that committed it, with the number of its tokens that guidance changed.
fn program(body: &mut Markup, steps: &[&Step], guidance: Option<Guidance>) {
    body.raw("<ol class=\"program\">");
    for step in steps {
        let positions = step.tokens.iter().filter_map(|token| position(token, guidance));
        let changes = positions.filter(|position| position.plain_choice.is_some()).count();
        for (i, line) in step.decision.text.lines().enumerate() {
            body.raw("<li><a").attr("href", format!("#s{}", step.step)).raw(">");
            let number = if i == 0 { step.step.to_string() } else { String::new() };
            body.element("span", "no", number).element("code", "", line);
            if i == 0 && changes > 0 {
                body.raw("<span class=\"changes\"")
                    .attr("title", format!("guidance changed {changes} tokens"));
                body.raw(">").text(changes).raw("</span>");
            }
            body.raw("</a></li>\n");
        }
    }
    body.raw("</ol>\n");
}

fn beginning(body: &mut Markup, start: &Start) {
    body.raw("<section class=\"start\"><details><summary>Prompt <span class=\"muted\">");
    body.text(start.prompt_tokens).raw(" tokens</span></summary>").element("pre", "block", &start.prompt);
    body.raw("</details>\n<details><summary>Policy</summary>");
    body.element("pre", "block", serde_json::to_string_pretty(&start.policy).unwrap_or_default());
    body.raw("</details></section>\n");
}

fn render_step(body: &mut Markup, step: &Step, guidance: Option<Guidance>, vocabulary: &HashMap<u32, &str>) {
    body.raw("<section class=\"step\" tabindex=\"-1\"").attr("id", format!("s{}", step.step)).raw(">\n<h2>");
    body.text(format!("Step {}", step.step)).raw(" <span class=\"muted\">");
    body.text(source(step.decision.source));
    if let (Source::Guided, Some(guidance)) = (step.decision.source, guidance) {
        body.text(format!(", γ = {}", guidance.gamma));
    }
    body.raw("</span></h2>\n");
    if !step.decision.text.is_empty() {
        body.element("pre", "committed", &step.decision.text);
    }
    body.element("p", "reason", &step.decision.reason);
    if let Some(end) = step.decision.end {
        body.element("p", "reason muted", end_words(end));
    }
    if !step.tokens.is_empty() {
        tokens(body, &step.tokens, guidance, vocabulary);
    }
    if !step.candidates.is_empty() {
        body.raw("<div class=\"candidates\">\n");
        for candidate in &step.candidates {
            let chosen = step.decision.source == Source::Candidate { index: candidate.index };
            render_candidate(body, candidate, chosen);
        }
        body.raw("</div>\n");
    }
    if let Some(signal) = &step.signal {
        body.raw("<details><summary>Signal <span class=\"muted\">");
        body.text(format!("{} characters, ", signal.text.chars().count()));
        body.text(format!("conditional prompt of {} tokens", signal.prompt_tokens));
        body.raw(if signal.capped { ", cut at its cap" } else { "" });
        body.raw("</span></summary>").element("pre", "block", &signal.text).raw("</details>\n");
    }
    body.raw("</section>\n");
}

fn render_candidate(body: &mut Markup, candidate: &Candidate, chosen: bool) {
    body.raw(if chosen { "<article class=\"chosen\">" } else { "<article>" });
    body.raw("<p class=\"chips\"><b>").text(format!("#{}", candidate.index)).raw("</b> ");
    if chosen {
        body.element("span", "chip accent", "chosen");
    }
    let (class, words) = match candidate.class {
        LineClass::Executable => ("chip", "executable"),
        LineClass::Fragment => ("chip", "fragment"),
        LineClass::Invalid => ("chip fail", "invalid line"),
    };
    body.element("span", class, words);
    match &candidate.gate {
        Gate::Complete => body.element("span", "chip", "complete"),
        Gate::Incomplete => body.element("span", "chip", "incomplete"),
        Gate::Invalid { message } => body.element("span", "chip fail", format!("invalid: {message}")),
    };
    match &candidate.execution {
        Some(execution) => {
            let all = execution.passed == execution.tests.len() && !execution.tests.is_empty();
            body.element("span", if all { "chip pass" } else { "chip fail" }, tests_in_words(execution))
        }
        None => body.element("span", "chip", "not run"),
    };
    body.raw("<span class=\"muted nums\">").text(format!(
        "log p {:.2} (line {:.2}) · {} tokens · ended by {}",
        candidate.logprob, candidate.line_logprob, candidate.tokens, candidate.ended
    ));
    body.raw("</span></p>\n");
    if let Some(earlier) = candidate.duplicate_of {
        body.raw("<p class=\"muted\">The same text as candidate ").text(earlier).raw(".</p></article>\n");
        return;
    }
    // The line that a commit would append stands out; what follows it is only evidence.
    let (line, rest) = match candidate.text.strip_prefix(candidate.line.as_str()) {
        Some(rest) => (candidate.line.as_str(), rest),
        None => ("", candidate.text.as_str()),
    };
    body.raw("<pre class=\"text\">\n").element("mark", "", line.trim_end_matches('\n'));
    body.raw(if line.ends_with('\n') { "\n" } else { "" }).text(rest).raw("</pre>\n");
    if let Some(execution) = &candidate.execution {
        render_execution(body, execution);
    }
    body.raw("</article>\n");
}

/// How many tests passed, and the kinds of the other verdicts.
fn tests_in_words(execution: &Execution) -> String {
    let mut text = format!("{}/{} tests", execution.passed, execution.tests.len());
    let mut kinds: Vec<&str> = execution.tests.iter().map(|test| test.kind.as_str()).collect();
    kinds.retain(|kind| *kind != "passed");
    kinds.sort_unstable();
    kinds.dedup();
    if !kinds.is_empty() {
        text.push_str(&format!(": {}", kinds.join(", ")));
    }
    text
}

fn render_execution(body: &mut Markup, execution: &Execution) {
    body.raw("<details><summary>What ran</summary>");
    verdicts(body, &execution.tests, &[]);
    body.element("pre", "block", &execution.program).raw("</details>\n");
}

fn verdicts(body: &mut Markup, tests: &[TestVerdict], sources: &[String]) {
    body.raw("<ol class=\"verdicts\" start=\"0\">");
    for (i, test) in tests.iter().enumerate() {
        let passed = test.kind == "passed";
        body.raw("<li>").element("span", if passed { "chip pass" } else { "chip fail" }, &test.kind);
        body.raw(" ").text(&test.message);
        if let Some(source) = sources.get(i) {
            body.element("pre", "source", source);
        }
        body.raw("</li>\n");
    }
    body.raw("</ol>\n");
}

/// One position of a decoded line: natural logarithms become probabilities here.
struct Position {
    p: f32,
    q: Option<f32>,
    /// Share under guidance, among the listed alternatives.
    w: f64,
    /// The plain model's most probable token, where guidance made it another.
    plain_choice: Option<u32>,
}

fn position(token: &DecodedToken, guidance: Option<Guidance>) -> Option<Position> {
    let own = token.top.iter().find(|alternative| alternative.id == token.id)?;
    let mixed = |p: f32, q: Option<f32>| match (guidance, q) {
        (Some(guidance), Some(q)) => f64::from(guidance.entry(p, q)),
        _ => f64::from(p),
    };
    // Relative to the greatest, so that no exponential overflows.
    let greatest = token.top.iter().map(|a| mixed(a.p, a.q)).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = token.top.iter().map(|a| (mixed(a.p, a.q) - greatest).exp()).sum();
    let plain = token.top.iter().max_by(|a, b| a.p.total_cmp(&b.p))?;
    let guided = token.top.iter().max_by(|a, b| mixed(a.p, a.q).total_cmp(&mixed(b.p, b.q)))?;
    Some(Position {
        p: own.p,
        q: own.q,
        w: (mixed(own.p, own.q) - greatest).exp() / sum,
        plain_choice: (plain.p > guided.p).then_some(plain.id),
    })
}

fn tokens(
    body: &mut Markup,
    tokens: &[DecodedToken],
    guidance: Option<Guidance>,
    vocabulary: &HashMap<u32, &str>,
) {
    let name = |id: u32| match vocabulary.get(&id) {
        Some(text) => format!("{text:?}"),
        None => format!("token {id}"),
    };
    let positions: Vec<Option<Position>> = tokens.iter().map(|token| position(token, guidance)).collect();
    body.raw("<p class=\"tokens\">");
    for (token, position) in tokens.iter().zip(&positions) {
        let changed = position.as_ref().and_then(|position| position.plain_choice);
        let mut title = position.as_ref().map(in_words).unwrap_or_default();
        if let Some(id) = changed {
            title.push_str(&format!("; the plain model prefers {}", name(id)));
        }
        body.raw("<span").attr("class", if changed.is_some() { "token changed" } else { "token" });
        body.attr("title", title).raw(">").text(token.text.replace('\n', "↵")).raw("</span>");
    }
    body.raw("</p>\n");
    body.raw("<details><summary>Tokens <span class=\"muted\">").text(tokens.len());
    if positions.iter().flatten().any(|position| position.q.is_some()) {
        let changes = positions.iter().flatten().filter(|position| position.plain_choice.is_some()).count();
        body.text(format!(", of which guidance changed {changes}"));
    }
    body.raw("</span></summary>");
    body.raw("<div class=\"scroll\"><table class=\"numbers tokens\"><thead><tr><th>token</th><th>p</th><th>q</th><th>w</th>");
    body.raw("<th>plain choice</th></tr></thead><tbody>\n");
    for (token, position) in tokens.iter().zip(&positions) {
        let changed = position.as_ref().is_some_and(|position| position.plain_choice.is_some());
        body.raw(if changed { "<tr class=\"changed\"><th><code>" } else { "<tr><th><code>" });
        body.text(token.text.replace('\n', "↵")).raw("</code></th>");
        let Some(position) = position else {
            body.raw("<td>–</td><td>–</td><td>–</td><td></td></tr>\n");
            continue;
        };
        body.element("td", "", percent(f64::from(position.p).exp()));
        body.element("td", "", position.q.map_or("–".to_owned(), |q| percent(f64::from(q).exp())));
        body.element("td", "", position.q.map_or("–".to_owned(), |_| percent(position.w)));
        body.element("td", "", position.plain_choice.map(name).unwrap_or_default()).raw("</tr>\n");
    }
    body.raw(
        "</tbody></table></div><p class=\"note\">p: plain prompt. q: prompt with the signal. w: under guidance, \
              as a share of the recorded alternatives. Plain choice: the most probable token of the plain prompt, where guidance \
              made it another.</p></details>\n",
    );
}

fn in_words(position: &Position) -> String {
    let p = percent(f64::from(position.p).exp());
    match position.q {
        Some(q) => format!("p {p}, q {}, w {}", percent(f64::from(q).exp()), percent(position.w)),
        None => format!("p {p}"),
    }
}

fn percent(fraction: f64) -> String {
    let percent = 100.0 * fraction;
    if percent > 0.0 && percent < 0.1 { "< 0.1 %".to_owned() } else { format!("{percent:.1} %") }
}

fn final_tests(body: &mut Markup, run: &RunFiles, index: usize, start: Option<&Start>) {
    let Some(row) = &run.results[index] else { return };
    body.raw("<section class=\"final\"><h2>Verdicts on the final program</h2>\n");
    for (name, tests, sources) in [
        ("Guiding tests", &row.guiding, start.map_or(&[][..], |start| &start.guiding_tests)),
        ("Held-out tests", &row.held_out, &[][..]),
    ] {
        let passed = tests.iter().filter(|test| test.kind == "passed").count();
        body.raw("<details><summary>").raw(name).raw(" <span class=\"muted\">");
        body.text(format!("{passed} of {} passed", tests.len())).raw("</span></summary>");
        verdicts(body, tests, sources);
        body.raw("</details>\n");
    }
    body.raw("</section>\n");
}
