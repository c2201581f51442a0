//! The dashboard from made-up events, on a terminal that is a buffer.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use vigor::run::StepProgress;
use vigor::run::files::ResultRow;
use vigor::session::trace::{
    Alternative, Candidate, Decision, DecodedToken, Execution, Gate, LineClass, SessionKey, Signal, Source,
    Step, TestVerdict,
};

use self::pty::OnTerminal;
use super::model::{Action, Model, Run, Verdict};
use super::view::{Theme, draw};

#[path = "../../../tests/pty/mod.rs"]
mod pty;

/// What a program may try on whoever looks at it.
const HOSTILE: &str = "\x1b[2J\x1b]0;owned\x07\u{9b}31m\u{202e}\u{200d}\r\x08\u{7f}";

fn run() -> Run {
    Run {
        name: "mine".into(),
        model: "tiny".into(),
        device: "cpu".into(),
        cells: vec!["greedy".into(), "eg-cfg γ=1".into(), "eg-cfg γ=3".into()],
        sessions: 30,
    }
}

/// A model of a run of which two sessions of thirty were finished before.
fn model(started: Instant) -> Model {
    let mut model = Model::new(run(), started);
    model.run_started(30, 2);
    model
}

fn candidate(index: usize, text: &str, kinds: &[&str]) -> Candidate {
    let tests: Vec<TestVerdict> = kinds
        .iter()
        .map(|kind| TestVerdict {
            kind: (*kind).into(),
            message: if *kind == "passed" { String::new() } else { "1 != 2".into() },
        })
        .collect();
    Candidate {
        index,
        text: text.into(),
        line: text.lines().next().unwrap_or_default().into(),
        line_tokens: vec![1],
        tokens: 4,
        logprob: -1.25 - index as f64,
        line_logprob: -1.0,
        ended: "horizon".into(),
        class: LineClass::Executable,
        gate: Gate::Complete,
        duplicate_of: None,
        execution: (!kinds.is_empty()).then(|| Execution {
            program: String::new(),
            passed: kinds.iter().filter(|kind| **kind == "passed").count(),
            tests,
        }),
    }
}

/// A step that committed a line.
fn step(number: usize, line: &str, source: Source, candidates: Vec<Candidate>) -> Step {
    let decision =
        Decision { source, text: line.into(), tokens: vec![1], reason: "for a reason".into(), end: None };
    Step { step: number, candidates, signal: None, tokens: Vec::new(), decision }
}

fn take(model: &mut Model, index: usize, step: &Step, program: &str) {
    let progress = StepProgress { index, task: "", cell: "", step, program, tokens: 40 };
    model.step(&progress);
}

fn result(passed: bool) -> ResultRow {
    let session = SessionKey {
        task_id: "T/0".into(),
        cell: "greedy".into(),
        method: "greedy".into(),
        gamma: None,
        seed: 0,
    };
    ResultRow { passed_held_out: passed, ..ResultRow::skipped(session, true, "") }
}

/// As [`result`], of a session that was run.
fn ran(passed: bool) -> ResultRow {
    ResultRow { end: vigor::session::trace::EndReason::Fence, solved_by: None, ..result(passed) }
}

/// A run in the midst of it: a guided session with candidates and a signal, and a greedy one.
fn busy(started: Instant) -> Model {
    let mut model = model(started);
    model.session_started(2, "HumanEval/0", "eg-cfg γ=3", started);
    model.session_started(3, "HumanEval/1", "greedy", started);
    let program = "def add(a, b):\n    total = a + b\n    return total\n";
    let mut guided = step(
        2,
        "    return total\n",
        Source::Guided,
        vec![
            candidate(0, "    return total\n    # done\n", &["passed", "passed"]),
            candidate(1, "    return a\n", &["passed", "failed"]),
            Candidate {
                gate: Gate::Invalid { message: "invalid syntax".into() },
                ..candidate(2, "    return return\n", &[])
            },
            Candidate { duplicate_of: Some(1), ..candidate(3, "    return a\n", &["passed", "failed"]) },
        ],
    );
    guided.signal = Some(Signal { text: "add(1, 2)\n  total = 3\n".into(), prompt_tokens: 9, capped: true });
    guided.tokens = vec![DecodedToken {
        id: 7,
        text: "x".into(),
        top: vec![Alternative { id: 7, p: -0.5, q: Some(-0.25) }],
    }];
    take(&mut model, 2, &guided, program);
    take(&mut model, 3, &step(0, "x = 1\n", Source::Greedy, Vec::new()), "x = 1\n");
    model
}

/// The screen as text, and what was to be seen of the panes is told to the model.
fn screen(model: &mut Model, size: (u16, u16), now: Instant) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    let mut extents = None;
    terminal.draw(|frame| extents = Some(draw(frame, model, Theme { color: true }, now))).unwrap();
    model.drawn(extents.unwrap());
    let buffer = terminal.backend().buffer();
    let row = |y| (0..size.0).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..size.1).map(row).collect()
}

fn press(model: &mut Model, code: KeyCode) -> Action {
    model.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn has(screen: &[String], text: &str) -> bool {
    screen.iter().any(|row| row.contains(text))
}

#[track_caller]
fn assert_shows(screen: &[String], texts: &[&str]) {
    for text in texts {
        assert!(has(screen, text), "{text:?} is not on\n{}", screen.join("\n"));
    }
}

#[test]
fn a_wide_screen_shows_program_and_candidates_side_by_side() {
    let started = Instant::now();
    let mut model = busy(started);
    let screen = screen(&mut model, (120, 40), started + Duration::from_secs(75));
    assert_shows(
        &screen,
        &[
            "vigor · mine  tiny on cpu",
            "2/30 sessions  1:15  ETA –",
            "sessions at work: 2",
            "▸ HumanEval/0 eg-cfg γ=3",
            "step   3     40 tokens   1:15",
            "held-out tests passed",
            "▸ HumanEval/0 · eg-cfg γ=3 · lines: 3",
            "1   def add(a, b):",
            "3 +     return total",
            "step 3 · 4 candidates",
            "committed: for a reason",
            "tokens: 1  log p -0.50  log q -0.25",
            "0  log p -1.25  complete  2 of 2 passed",
            "1  log p -2.25  complete  1 of 2 passed, failed: 1 != 2",
            "2  log p -3.25  not Python: invalid syntax  not run",
            "3  log p -4.25  complete  1 of 2 passed  same as 1",
            "signal, 22 characters, capped:",
            "total = 3",
            "q stop  ↑↓ session",
        ],
    );
    let program = screen.iter().position(|row| row.contains("3 +")).unwrap();
    assert!(screen[program].len() > 60, "beside the candidates: {}", screen[program]);
    assert!(!has(&screen, "2 + "), "only the newest line is marked");
}

#[test]
fn eighty_columns_show_both_below_each_other() {
    let started = Instant::now();
    let mut model = busy(started);
    let screen = screen(&mut model, (80, 24), started);
    assert_shows(
        &screen,
        &[
            "vigor · mine",
            "2/30 sessions",
            "▸ HumanEval/0 eg-cfg",
            "3 +     return total",
            "committed: for a reason",
        ],
    );
    let row = |text: &str| screen.iter().position(|row| row.contains(text)).unwrap();
    assert!(row("3 +") < row("step 3 · 4 candidates"), "{}", screen.join("\n"));
    assert_eq!(row("q stop"), 23);
}

#[test]
fn what_a_chosen_candidate_was_is_marked() {
    let started = Instant::now();
    let mut model = busy(started);
    let candidates = vec![candidate(0, "a\n", &["failed"]), candidate(1, "b\n", &["passed"])];
    take(&mut model, 2, &step(3, "b\n", Source::Candidate { index: 1 }, candidates), "b\n");
    let screen = screen(&mut model, (120, 40), started);
    assert_shows(&screen, &["committed candidate 1: for a reason", "▸ 1  log p -2.25", "  0  log p -1.25"]);
}

#[test]
fn every_size_can_be_drawn() {
    let started = Instant::now();
    let mut model = busy(started);
    let small = screen(&mut model, (20, 5), started);
    assert_shows(&small, &["2/30 0:00 ETA –", "3 +     return total"]);
    for help in [false, true] {
        model.help = help;
        for (width, height) in (0..45).flat_map(|width| (0..30).map(move |height| (width, height))) {
            screen(&mut model, (width, height), started);
        }
        for width in [59, 60, 99, 100, 300] {
            screen(&mut model, (width, 13), started);
        }
    }
    screen(&mut Model::new(Run::default(), started), (80, 24), started);
}

#[test]
fn hostile_text_never_reaches_the_terminal() {
    let started = Instant::now();
    let mut model = Model::new(
        Run {
            name: HOSTILE.into(),
            model: HOSTILE.into(),
            device: HOSTILE.into(),
            cells: vec![HOSTILE.into()],
            sessions: 2,
        },
        started,
    );
    model.run_started(2, 0);
    model.session_started(0, HOSTILE, HOSTILE, started);
    let line = format!("x = '{HOSTILE}'\t日本語 e\u{301}{}{}\n", "\u{301}".repeat(3000), "y".repeat(100_000));
    let mut evil = step(0, &line, Source::Candidate { index: 0 }, vec![candidate(0, &line, &["failed"])]);
    evil.decision.reason = HOSTILE.into();
    evil.candidates[0].execution.as_mut().unwrap().tests[0].message = HOSTILE.into();
    evil.signal = Some(Signal { text: line.repeat(3), prompt_tokens: 1, capped: false });
    let gated = Gate::Invalid { message: HOSTILE.into() };
    evil.candidates.push(Candidate { gate: gated, ..candidate(1, &line, &[]) });
    take(&mut model, 0, &evil, &line);
    for size in [(120, 40), (80, 24), (20, 5)] {
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        terminal.draw(|frame| _ = draw(frame, &model, Theme { color: true }, started)).unwrap();
        let symbols: Vec<&str> =
            terminal.backend().buffer().content.iter().map(|cell| cell.symbol()).collect();
        for symbol in &symbols {
            let formats = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
            assert!(!symbol.contains(char::is_control) && !symbol.contains(formats), "{symbol:?}");
            assert!(symbol.chars().count() <= 3, "{symbol:?}");
        }
        let shown = symbols.concat();
        // Nothing is left out either: whoever looks sees what was tried.
        assert!(shown.contains("x = '␛[2J␛]0"), "{shown}");
    }
}

#[test]
fn wide_characters_keep_their_columns() {
    let started = Instant::now();
    let mut model = busy(started);
    take(&mut model, 2, &step(3, "s = '日本'\n", Source::Guided, Vec::new()), "s = '日本'\n");
    let screen = screen(&mut model, (80, 24), started);
    // A character of two columns leaves the second one blank.
    assert_shows(&screen, &["1 + s = '日 本 '"]);
}

#[test]
fn the_indentation_of_the_next_line_is_no_line() {
    let started = Instant::now();
    let mut model = busy(started);
    let line = "    x = 1\n    ";
    take(&mut model, 2, &step(1, line, Source::Guided, Vec::new()), &format!("def f():\n{line}"));
    let screen = screen(&mut model, (80, 24), started);
    assert_shows(&screen, &["lines: 2", "2 +     x = 1"]);
    assert!(!has(&screen, "3 +") && !has(&screen, "1 +"));
}

#[test]
fn arrows_select_a_session() {
    let started = Instant::now();
    let mut model = busy(started);
    assert_eq!(press(&mut model, KeyCode::Down), Action::Nothing);
    assert_shows(&screen(&mut model, (80, 24), started), &["▸ HumanEval/1 greedy", "1 + x = 1", "step 1"]);
    press(&mut model, KeyCode::Char('j'));
    assert_eq!(model.selected, 1, "there is no third");
    press(&mut model, KeyCode::Char('k'));
    press(&mut model, KeyCode::Up);
    assert_eq!(model.selected, 0);
}

#[test]
fn the_selected_session_is_to_be_seen_among_many() {
    let started = Instant::now();
    let mut model = model(started);
    for index in 0..20 {
        model.session_started(index, &format!("Task/{index}"), "greedy", started);
    }
    for _ in 0..20 {
        press(&mut model, KeyCode::Down);
    }
    assert_shows(&screen(&mut model, (80, 24), started), &["▸ Task/19 greedy"]);
}

#[test]
fn a_new_session_takes_the_place_of_one_that_ended() {
    let started = Instant::now();
    let mut model = busy(started);
    let later = started + Duration::from_secs(30);
    model.session_finished(2, &ran(true), later);
    let shown = screen(&mut model, (120, 40), later + Duration::from_secs(60));
    assert_shows(
        &shown,
        &["sessions at work: 1", "▸ HumanEval/0 eg-cfg γ=3", "passed   0:30", "3 +     return total"],
    );
    model.session_started(4, "HumanEval/2", "greedy", later);
    assert_eq!(model.places.len(), 2);
    let shown = screen(&mut model, (120, 40), later);
    assert_shows(&shown, &["▸ HumanEval/2", "no step yet"]);
    model.session_left(4, later);
    assert_shows(&screen(&mut model, (120, 40), later), &["left"]);
}

#[test]
fn the_program_follows_its_end_until_it_is_scrolled() {
    let started = Instant::now();
    let mut model = busy(started);
    let program = |lines: usize| (1..=lines).map(|n| format!("line{n:03}\n")).collect::<String>();
    let write = |model: &mut Model, lines| {
        take(model, 2, &step(lines, "line\n", Source::Guided, Vec::new()), &program(lines));
    };
    write(&mut model, 100);
    let shown = screen(&mut model, (80, 24), started);
    assert!(has(&shown, "100 + line100") && !has(&shown, "line001"));
    press(&mut model, KeyCode::PageUp);
    let above = screen(&mut model, (80, 24), started);
    assert!(!has(&above, "line100"));
    write(&mut model, 101);
    assert!(!has(&screen(&mut model, (80, 24), started), "line101"), "what is read stays where it is");
    press(&mut model, KeyCode::Home);
    assert_shows(&screen(&mut model, (80, 24), started), &["  1   line001"]);
    press(&mut model, KeyCode::End);
    write(&mut model, 102);
    assert_shows(&screen(&mut model, (80, 24), started), &["102 + line102"]);
    for _ in 0..100 {
        press(&mut model, KeyCode::PageUp);
    }
    press(&mut model, KeyCode::PageDown);
    assert!(!has(&screen(&mut model, (80, 24), started), "line001"), "one page down is one page down");
}

#[test]
fn tab_chooses_what_is_scrolled() {
    let started = Instant::now();
    let mut model = busy(started);
    assert!(!has(&screen(&mut model, (80, 24), started), "total = 3"), "the signal is below the candidates");
    press(&mut model, KeyCode::Tab);
    press(&mut model, KeyCode::End);
    let shown = screen(&mut model, (80, 24), started);
    assert_shows(&shown, &["▸ step 3", "total = 3"]);
    // Where there is room for one only, it is this one.
    assert_shows(&screen(&mut model, (80, 14), started), &["▸ step 3"]);
    press(&mut model, KeyCode::Tab);
    let shown = screen(&mut model, (80, 24), started);
    assert_shows(&shown, &["▸ held-out tests passed"]);
    press(&mut model, KeyCode::Tab);
    assert_shows(&screen(&mut model, (80, 24), started), &["▸ HumanEval/0 · eg-cfg"]);
}

#[test]
fn rates_count_every_session_once() {
    let started = Instant::now();
    let mut model = busy(started);
    for (index, verdict) in
        [(0, Verdict::Passed), (3, Verdict::Failed), (3, Verdict::Failed), (4, Verdict::Skipped)]
    {
        model.result(index, verdict);
    }
    model.session_finished(6, &ran(true), started);
    model.result(6, Verdict::Passed);
    model.session_finished(1, &result(false), started);
    let shown = screen(&mut model, (120, 40), started);
    assert_shows(&shown, &["2 of 3     67 %", "0 of 0        –", "4/30 sessions"]);
}

#[test]
fn the_rest_takes_as_long_as_what_went_before() {
    let started = Instant::now();
    let mut model = model(started);
    let at = |seconds| started + Duration::from_secs(seconds);
    assert_eq!(model.eta(at(50)), None, "what was finished before says nothing");
    model.session_finished(2, &ran(true), at(60));
    model.session_finished(3, &ran(true), at(100));
    model.others(2, 3);
    // Four in 100 seconds, 24 are left.
    assert_eq!(model.eta(at(100)), Some(Duration::from_secs(600)));
    let shown = screen(&mut model, (120, 40), at(100));
    assert_shows(&shown, &["6/30 sessions  1:40  ETA 10:00", "elsewhere: 3, finished 2"]);
    model.others(24, 0);
    assert_eq!(model.eta(at(200)), Some(Duration::ZERO));
}

#[test]
fn the_speed_is_that_of_the_last_seconds() {
    let started = Instant::now();
    let mut model = model(started);
    assert_eq!(model.tokens_per_second(), None);
    for second in 0..30_u64 {
        // Ten a second, and a hundred from the fifteenth second on.
        let tokens = 10 * second + 90 * second.saturating_sub(15);
        model.generated(tokens, started + Duration::from_secs(second));
    }
    assert_eq!(model.tokens_per_second(), Some(100.0));
}

#[test]
fn q_and_ctrl_c_end_the_run() {
    let started = Instant::now();
    let mut model = busy(started);
    assert_eq!(press(&mut model, KeyCode::Char('q')), Action::Interrupt);
    assert_eq!(press(&mut model, KeyCode::Char('c')), Action::Nothing);
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(model.key(ctrl_c), Action::Interrupt);
    model.stopping = true;
    assert_shows(&screen(&mut model, (80, 24), started), &["stopping: "]);
}

#[test]
fn a_question_mark_explains_the_keys() {
    let started = Instant::now();
    let mut model = busy(started);
    press(&mut model, KeyCode::Char('?'));
    assert_shows(&screen(&mut model, (80, 24), started), &["end the run cleanly; again: at once"]);
    press(&mut model, KeyCode::Char('?'));
    assert!(!has(&screen(&mut model, (80, 24), started), "end the run cleanly"));
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let started = Instant::now();
    let colours = |color| {
        let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
        terminal.draw(|frame| _ = draw(frame, &busy(started), Theme { color }, started)).unwrap();
        terminal
            .backend()
            .buffer()
            .content
            .iter()
            .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
            .count()
    };
    assert!(colours(true) > 0);
    assert_eq!(colours(false), 0);
}

/// Not a test by itself: a process that panics while it has the terminal, here or while it draws.
#[test]
fn child_that_panics() {
    match std::env::var("VIGOR_TEST_PANIC").as_deref() {
        Ok("elsewhere") => {
            let _screen = super::screen::Screen::open().unwrap();
            let panicked = std::thread::spawn(|| panic!("elsewhere")).join();
            assert!(panicked.is_err() && !super::is_open());
            std::process::exit(3);
        }
        Ok("drawing") => {
            _ = super::screen::Screen::open().unwrap().draw(|_| panic!("drawing"));
        }
        _ => {}
    }
}

#[test]
fn a_panic_gives_the_terminal_back_and_is_told() {
    for place in ["elsewhere", "drawing"] {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "cli::tui::tests::child_that_panics", "--nocapture"]);
        let (code, after) = OnTerminal::start(command.env("VIGOR_TEST_PANIC", place), 80, 24).end();
        assert_eq!(code, Some(if place == "elsewhere" { 3 } else { 101 }), "{after:?}");
        assert!(after.contains("panicked at") && after.contains(place), "{after:?}");
    }
}
