//! Draws the dashboard: a function of the state alone.

use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};
use vigor::session::commit::{is_viable, passes_all};
use vigor::session::trace::{Candidate, DecodedToken, Gate, LineClass, Signal, Source, Step};

use super::model::{Extent, Model, Pane, Session, Verdict, lines};
use super::text::{columns, padded, visible};

/// Columns from which on the program and its last step stand side by side.
const WIDE: u16 = 100;

/// Rows and columns below which only the program is left.
const SMALL: (u16, u16) = (12, 40);

/// Rows below which program and step are not both shown.
const BOTH: u16 = 10;

/// Lines of a candidate to show, where there is room.
const CANDIDATE_LINES: usize = 12;

const KEYS: &str = "q stop  ↑↓ session  tab pane  PgUp PgDn scroll  ? keys";

const HELP: [(&str, &str); 6] = [
    ("q, Ctrl-C", "end the run cleanly; again: at once"),
    ("↑ ↓, k j", "another session"),
    ("tab", "the pane to scroll: program, step, cells"),
    ("PgUp PgDn", "scroll it by a page"),
    ("Home End", "to its beginning, to its end"),
    ("?", "this"),
];

/// With which looks things are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    /// False: no colours, as `NO_COLOR` asks.
    pub color: bool,
}

impl Theme {
    fn fg(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    fn good(self) -> Style {
        self.fg(Color::Green)
    }

    fn bad(self) -> Style {
        self.fg(Color::Red)
    }

    fn mixed(self) -> Style {
        self.fg(Color::Yellow)
    }

    fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }
}

/// Draws the state at a moment, and tells how much of each pane there was to be seen.
pub fn draw(frame: &mut Frame, model: &Model, theme: Theme, now: Instant) -> [Extent; Pane::ALL.len()] {
    let mut view = View { frame, model, theme, now, extents: Default::default() };
    view.draw();
    view.extents
}

struct View<'a, 'f> {
    frame: &'a mut Frame<'f>,
    model: &'a Model,
    theme: Theme,
    now: Instant,
    extents: [Extent; Pane::ALL.len()],
}

impl View<'_, '_> {
    fn draw(&mut self) {
        let area = self.frame.area();
        let (rows, width) = SMALL;
        if area.height < rows || area.width < width {
            let [progress, program, keys] =
                Layout::vertical([Constraint::Max(1), Constraint::Fill(1), Constraint::Max(1)]).areas(area);
            self.progress(progress);
            self.program(program);
            self.keys(keys);
            return;
        }
        let lists = (1 + self.model.places.len().max(self.model.run.cells.len()).max(1)) as u16;
        let [title, progress, lists, main, keys] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(lists.min(area.height / 3)),
            Constraint::Fill(1),
            Constraint::Length(1),
        ])
        .areas(area);
        self.title(title);
        self.progress(progress);
        let [sessions, cells] =
            Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(1).areas(lists);
        self.sessions(sessions);
        self.cells(cells);
        if area.width >= WIDE {
            let [program, step] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(1).areas(main);
            self.program(program);
            self.step(step);
        } else if main.height >= BOTH {
            let [program, step] = Layout::vertical([Constraint::Fill(1); 2]).areas(main);
            self.program(program);
            self.step(step);
        } else if self.model.pane == Pane::Step {
            self.step(main);
        } else {
            self.program(main);
        }
        self.keys(keys);
        if self.model.help {
            self.help(area);
        }
    }

    fn put(&mut self, area: Rect, lines: Vec<Line>) {
        self.frame.render_widget(Paragraph::new(lines), area);
    }

    /// Draws a pane's title over a rule, and returns the room below.
    fn pane(&mut self, area: Rect, title: &str, pane: Option<Pane>) -> Rect {
        let looked_at = pane == Some(self.model.pane);
        let title = visible(title, (area.width as usize).saturating_sub(6));
        let title = if looked_at { format!("▸ {title} ") } else { format!(" {title} ") };
        let style = if looked_at { self.theme.strong() } else { Style::new() };
        let block = Block::new()
            .borders(Borders::TOP)
            .border_style(self.theme.faint())
            .title(Line::from(Span::styled(title, style)));
        let inner = block.inner(area);
        self.frame.render_widget(block, area);
        inner
    }

    /// Notes how much of a pane there is, and returns the first line to be seen.
    fn extent(&mut self, pane: Pane, area: Rect, lines: usize) -> usize {
        let extent = Extent { rows: area.height as usize, lines };
        self.extents[pane as usize] = extent;
        self.model.top(pane, extent)
    }

    fn title(&mut self, area: Rect) {
        let run = &self.model.run;
        let width = area.width as usize;
        let name = visible(&run.name, width.saturating_sub(8));
        let rest = width.saturating_sub(8 + columns(&name));
        let what = visible(&format!("  {} on {}", run.model, run.device), rest);
        let line = Line::from(vec![
            Span::styled("vigor · ", self.theme.faint()),
            Span::styled(name, self.theme.strong()),
            Span::styled(what, self.theme.faint()),
        ]);
        self.put(area, vec![line]);
    }

    fn progress(&mut self, area: Rect) {
        let model = self.model;
        let share = if model.total == 0 { 0.0 } else { model.finished as f64 / model.total as f64 };
        let bar = if area.width < 60 { 0 } else { area.width as usize / 5 };
        let full = ((bar as f64 * share) as usize).min(bar);
        let eta = model.eta(self.now).map_or_else(|| "–".to_owned(), clock);
        let speed = model.tokens_per_second().map_or_else(|| "–".to_owned(), |s| format!("{s:.0}"));
        let elapsed = clock(self.now.saturating_duration_since(model.started));
        let text = if bar == 0 {
            format!("{}/{} {elapsed} ETA {eta}", model.finished, model.total)
        } else {
            format!(" {}/{} sessions  {elapsed}  ETA {eta}  {speed} tokens/s", model.finished, model.total)
        };
        let line = Line::from(vec![
            Span::styled("█".repeat(full), self.theme.fg(Color::Cyan)),
            Span::styled("░".repeat(bar - full), self.theme.faint()),
            Span::raw(visible(&text, area.width as usize - bar)),
        ]);
        self.put(area, vec![line]);
    }

    fn sessions(&mut self, area: Rect) {
        let model = self.model;
        let (finished, held) = model.others;
        let elsewhere = if model.others == (0, 0) {
            String::new()
        } else {
            format!(" · elsewhere: {held}, finished {finished}")
        };
        let area = self.pane(area, &format!("sessions at work: {}{elsewhere}", model.running()), None);
        let rows = area.height as usize;
        // The one that is looked at is always to be seen.
        let first = (model.selected + 1).saturating_sub(rows);
        let longest = model.places.iter().map(|s| columns(&visible(&s.task, 40))).max().unwrap_or(0);
        let rows = model.places.iter().enumerate().skip(first).take(rows);
        let lines =
            rows.map(|(place, session)| self.session_row(place, session, longest, area.width as usize));
        let lines = lines.collect();
        self.put(area, lines);
    }

    fn session_row(&self, place: usize, session: &Session, longest: usize, width: usize) -> Line<'static> {
        let theme = self.theme;
        let steps = session.last.as_ref().map_or(0, |step| step.step + 1);
        let elapsed = clock(session.elapsed(self.now));
        let state = match session.ended {
            None => format!("step {steps:>3} {:>6} tokens {elapsed:>6}", session.tokens),
            Some((_, Some(Verdict::Passed))) => format!("passed {elapsed:>6}"),
            Some((_, Some(Verdict::Failed))) => format!("failed {elapsed:>6}"),
            Some(_) => "left".to_owned(),
        };
        let state =
            if width < 60 && session.ended.is_none() { format!("{steps:>3} {elapsed:>6}") } else { state };
        let names = width.saturating_sub(3 + columns(&state));
        let task = longest.min(names / 2);
        let (mark, style) = match (place == self.model.selected, session.ended) {
            (true, _) => ("▸ ", theme.strong()),
            (false, None) => ("  ", Style::new()),
            (false, Some(_)) => ("  ", theme.faint()),
        };
        let state_style = match session.ended {
            Some((_, Some(Verdict::Passed))) => theme.good(),
            Some((_, Some(Verdict::Failed))) => theme.bad(),
            _ => Style::new(),
        };
        let name = format!(
            "{} {} ",
            padded(&session.task, task),
            padded(&session.cell, names.saturating_sub(task + 1))
        );
        Line::from(vec![
            Span::styled(mark, style),
            Span::styled(name, style),
            Span::styled(state, style.patch(state_style)),
        ])
    }

    fn cells(&mut self, area: Rect) {
        let area = self.pane(area, "held-out tests passed", Some(Pane::Cells));
        let cells = &self.model.run.cells;
        let top = self.extent(Pane::Cells, area, cells.len());
        let tallies = cells.iter().zip(&self.model.tallies).skip(top).take(area.height as usize);
        let lines = tallies.map(|(name, tally)| {
            let share = match tally.finished {
                0 => "–".to_owned(),
                finished => format!("{:.0} %", 100.0 * tally.passed as f64 / finished as f64),
            };
            let counts = format!("{:>4} of {:<4} {share:>5}", tally.passed, tally.finished);
            let name = padded(name, (area.width as usize).saturating_sub(columns(&counts)));
            Line::from(format!("{name}{counts}"))
        });
        let lines = lines.collect();
        self.put(area, lines);
    }

    fn program(&mut self, area: Rect) {
        let Some(session) = self.model.session() else {
            self.pane(area, "no session has begun yet", Some(Pane::Program));
            return;
        };
        let count = lines(&session.program).count();
        let area = match area.height {
            0..=3 => area,
            _ => {
                let title = format!("{} · {} · lines: {count}", session.task, session.cell);
                self.pane(area, &title, Some(Pane::Program))
            }
        };
        let top = self.extent(Pane::Program, area, count);
        let new = count - session.new_lines().min(count);
        let gutter = count.max(1).to_string().len();
        let width = (area.width as usize).saturating_sub(gutter + 3);
        let shown = lines(&session.program).enumerate().skip(top).take(area.height as usize);
        let lines = shown.map(|(number, line)| {
            let is_new = number >= new;
            let (mark, style) = if is_new {
                ("+ ", self.theme.good().patch(self.theme.strong()))
            } else {
                ("  ", Style::new())
            };
            Line::from(vec![
                Span::styled(format!("{:>gutter$} ", number + 1), self.theme.faint()),
                Span::styled(mark, style),
                Span::styled(visible(line, width), style),
            ])
        });
        let lines = lines.collect();
        self.put(area, lines);
    }

    fn step(&mut self, area: Rect) {
        let Some(step) = self.model.session().and_then(|session| session.last.as_ref()) else {
            self.pane(area, "no step yet", Some(Pane::Step));
            return;
        };
        let title = match step.candidates.len() {
            0 => format!("step {}", step.step + 1),
            n => format!("step {} · {n} candidates", step.step + 1),
        };
        let area = self.pane(area, &title, Some(Pane::Step));
        let all = StepText { theme: self.theme, width: area.width as usize, lines: Vec::new() }
            .of(step, area.height as usize);
        let top = self.extent(Pane::Step, area, all.len());
        self.put(area, all.into_iter().skip(top).take(area.height as usize).collect());
    }

    fn keys(&mut self, area: Rect) {
        let line = if self.model.stopping {
            let text = "stopping: what is at work is left; q or Ctrl-C again stops at once";
            Line::from(Span::styled(visible(text, area.width as usize), self.theme.mixed()))
        } else {
            Line::from(Span::styled(visible(KEYS, area.width as usize), self.theme.faint()))
        };
        self.put(area, vec![line]);
    }

    fn help(&mut self, area: Rect) {
        let (width, height) = (58.min(area.width), (HELP.len() as u16 + 2).min(area.height));
        let area = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
        self.frame.render_widget(Clear, area);
        let block = Block::bordered().title(" keys ");
        let inner = block.inner(area);
        self.frame.render_widget(block, area);
        let lines = HELP.iter().map(|(keys, what)| Line::from(format!(" {} {what}", padded(keys, 10))));
        let lines = lines.collect();
        self.put(inner, lines);
    }
}

/// The lines that tell of a step.
struct StepText {
    theme: Theme,
    width: usize,
    lines: Vec<Line<'static>>,
}

impl StepText {
    /// For a pane with so many rows.
    fn of(mut self, step: &Step, rows: usize) -> Vec<Line<'static>> {
        self.decision(step);
        let each = rows.saturating_sub(self.lines.len()) / step.candidates.len().max(1);
        let room = each.saturating_sub(1).clamp(2, CANDIDATE_LINES);
        for candidate in &step.candidates {
            self.candidate(candidate, step.decision.source, room);
        }
        if let Some(signal) = &step.signal {
            self.signal(signal);
        }
        self.lines
    }

    fn add(&mut self, text: &str, style: Style) {
        self.lines.push(Line::from(Span::styled(visible(text, self.width), style)));
    }

    fn decision(&mut self, step: &Step) {
        let decision = &step.decision;
        let what = match (decision.source, decision.text.is_empty()) {
            (Source::Candidate { index }, false) => format!("committed candidate {index}: "),
            (Source::Greedy | Source::Guided, false) => "committed: ".to_owned(),
            _ => "nothing committed: ".to_owned(),
        };
        self.add(&format!("{what}{}", decision.reason), self.theme.strong());
        if let Some((p, q)) = logprobs(&step.tokens) {
            let q = q.map_or_else(String::new, |q| format!("  log q {q:.2}"));
            self.add(&format!("tokens: {}  log p {p:.2}{q}", step.tokens.len()), Style::new());
        }
        if let Some(end) = decision.end {
            let name = serde_json::to_value(end).ok();
            let name = name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().replace('_', " ");
            self.add(&format!("the session ends: {name}"), Style::new());
        }
    }

    fn candidate(&mut self, candidate: &Candidate, source: Source, room: usize) {
        let committed = source == Source::Candidate { index: candidate.index };
        let mark = if committed { '▸' } else { ' ' };
        let head = format!(
            "{mark} {}  log p {:.2}  {}  {}",
            candidate.index,
            candidate.logprob,
            gate(candidate),
            tests(candidate)
        );
        let style = match candidate {
            _ if !is_viable(candidate) => self.theme.bad(),
            _ if passes_all(candidate) => self.theme.good(),
            Candidate { execution: Some(execution), .. } if execution.passed == 0 => self.theme.bad(),
            Candidate { execution: Some(_), .. } => self.theme.mixed(),
            _ => Style::new(),
        };
        let style = if committed { style.patch(self.theme.strong()) } else { style };
        self.add(&head, style);
        let text = candidate.text.trim_matches('\n');
        for line in lines(text).take(room) {
            self.add(&format!("    {line}"), Style::new());
        }
        if let more @ 1.. = lines(text).count().saturating_sub(room) {
            self.add(&format!("    … {more} more"), self.theme.faint());
        }
    }

    fn signal(&mut self, signal: &Signal) {
        let capped = if signal.capped { ", capped" } else { "" };
        let head = format!("signal, {} characters{capped}:", signal.text.chars().count());
        self.add(&head, self.theme.strong());
        for line in lines(&signal.text) {
            self.add(&format!("    {line}"), self.theme.faint());
        }
    }
}

/// What the parser says of a candidate.
fn gate(candidate: &Candidate) -> String {
    match (&candidate.gate, candidate.class) {
        (Gate::Invalid { message }, _) => format!("not Python: {message}"),
        (_, LineClass::Invalid) => "not Python".into(),
        (Gate::Complete, _) => "complete".into(),
        (Gate::Incomplete, _) => "incomplete".into(),
    }
}

/// What became of a candidate on the guiding tests.
fn tests(candidate: &Candidate) -> String {
    let same = candidate.duplicate_of.map_or_else(String::new, |first| format!("  same as {first}"));
    let Some(execution) = &candidate.execution else { return format!("not run{same}") };
    let failed = execution.tests.iter().find(|test| test.kind != "passed");
    let failed = failed.map_or_else(String::new, |test| format!(", {}: {}", test.kind, test.message));
    format!("{} of {} passed{same}{failed}", execution.passed, execution.tests.len())
}

/// Sums of the log-probabilities of tokens that were decoded directly: under the plain prompt, and under the one with the
/// signal where there was one.
fn logprobs(tokens: &[DecodedToken]) -> Option<(f32, Option<f32>)> {
    let chosen = tokens.iter().map(|token| token.top.iter().find(|a| a.id == token.id));
    let chosen: Vec<_> = chosen.collect::<Option<_>>()?;
    let q = chosen.iter().map(|a| a.q).sum();
    (!chosen.is_empty()).then(|| (chosen.iter().map(|a| a.p).sum(), q))
}

/// A time as `m:ss` or `h:mm:ss`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}
