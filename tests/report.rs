//! The report of a small run, written through the real types, with the worst texts that a model could write.

mod made_run;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use made_run::{Run, Session, write};
use vigor::report::{EvaluationOptions, Study, report, summary};
use vigor::session::trace::{
    Alternative, Candidate, DecodedToken, EndReason, Execution, Gate, Signal, Source, Step, TestVerdict,
};

const HOSTILE: &str =
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\"'`\0\x1b\u{202e}\n";
/// Tasks of the run. Two of them have the same file name once made plain.
const TASKS: [&str; 4] = ["T/0", "T_0", "</td><script>alert(3)</script>", "größe/../../x"];

/// A step that could have come of a candidate as well as of guidance.
fn step(source: Source) -> Step {
    let text = format!("\n    {HOSTILE}    return 1\n");
    let verdict = |kind: &str, message: &str| TestVerdict { kind: kind.into(), message: message.into() };
    let candidate = |index: usize| Candidate {
        line: format!("\n    {HOSTILE}"),
        logprob: -2.5,
        line_logprob: -1.25,
        ended: "horizon".into(),
        gate: if index == 0 { Gate::Complete } else { Gate::Invalid { message: HOSTILE.into() } },
        duplicate_of: (index == 2).then_some(1),
        execution: (index == 0).then(|| Execution {
            program: HOSTILE.into(),
            tests: vec![verdict("passed", ""), verdict("exception", HOSTILE)],
            passed: 1,
        }),
        ..made_run::candidate(index, &text, 9, 0.0, false)
    };
    let mut step = made_run::decoded(0, &format!("\n    {HOSTILE}"));
    step.candidates = (0..3).map(candidate).collect();
    step.signal = Some(Signal { text: HOSTILE.into(), prompt_tokens: 88, capped: true });
    step.tokens = vec![DecodedToken {
        id: 1,
        text: HOSTILE.into(),
        top: vec![
            Alternative { id: 1, p: 0.2f32.ln(), q: Some(0.8f32.ln()) },
            Alternative { id: 2, p: 0.6f32.ln(), q: Some(0.1f32.ln()) },
        ],
    }];
    step.decision.source = source;
    step.decision.reason = HOSTILE.into();
    step.decision.end = Some(EndReason::Fence);
    step
}

/// greedy passes task 0; γ=1 passes tasks 0 to 2; γ=3 passes none, and guiding tests only on task 0. Task 3 has no guiding
/// tests.
fn session(task: usize, cell: usize) -> Session {
    let held_out = [task == 0, task <= 2, false][cell];
    let mut session = Session::judged(held_out, held_out || (task == 0 && cell == 2));
    session.guiding = session.guiding.filter(|_| task != 3);
    session.tokens = 100 + task;
    for text in [&mut session.program, &mut session.prompt, &mut session.message, &mut session.test] {
        *text = HOSTILE.to_owned();
    }
    let source = if cell == 0 { Source::Candidate { index: 0 } } else { Source::Guided };
    session.steps = vec![step(source)];
    session
}

fn small_run() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let tasks = TASKS.map(str::to_owned).to_vec();
    write(
        dir.path(),
        &Run { name: "small", seed: 7, model: HOSTILE, tasks, ..Run::default() },
        |task, cell| Some(session(task, cell)),
    );
    dir
}

#[test]
fn the_table_adds_up() {
    let run = small_run();
    let table = report(run.path()).unwrap().table;
    assert_eq!(table, summary(run.path()).unwrap());
    let column =
        |get: fn(&vigor::report::table::CellRow) -> usize| table.cells.iter().map(get).collect::<Vec<_>>();
    assert_eq!(column(|row| row.tasks), [4, 4, 4]);
    assert_eq!(column(|row| row.passed_held_out), [1, 3, 0]);
    assert_eq!(column(|row| row.passed_guiding), [1, 3, 1]);
    assert_eq!(column(|row| row.unguided), [1, 1, 1]);
    assert_eq!(column(|row| row.tokens), [406, 406, 406]);
    assert_eq!(column(|row| row.forward_passes), [200, 200, 200]);
    assert_eq!(column(|row| row.executions), [16, 16, 16]);
    assert_eq!(table.cells[1].seconds, Some(8.0));
    assert_eq!((table.cells[0].gamma, table.cells[2].gamma), (None, Some(3.0)));
    assert_eq!(table.union, (4, 3));
    let paired: Vec<_> = table.paired.iter().map(|p| (p.gained, p.lost, p.p)).collect();
    assert_eq!(paired, [(2, 0, Some(0.5)), (0, 1, Some(1.0))]);
}

/// What `vigor eval` leaves out, the table of a run leaves out.
#[test]
fn tasks_without_held_out_tests_count_in_no_rate_of_them() {
    for without in [vec![], vec![1, 3], vec![0, 1, 2, 3]] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &Run::default(), |task, cell| {
            let mut session = session(task, cell);
            session.held_out = session.held_out.filter(|_| !without.contains(&task));
            // γ=3 is not finished.
            (cell < 2 || task < 2).then_some(session)
        });
        let study = Study::open(&[PathBuf::from(dir.path())]).unwrap();
        let evaluation = study.evaluate(&EvaluationOptions::default()).unwrap();
        let paths = report(dir.path()).unwrap();
        let table = &paths.table;
        for (row, cell) in table.cells.iter().zip(&evaluation.cells) {
            let scores = &cell.held_out;
            assert_eq!((row.judged, row.passed_held_out), (scores.tasks, scores.passed), "{}", row.cell);
            assert_eq!(row.interval, scores.interval.map(|interval| (interval.low, interval.high)));
            assert_eq!(row.tasks, cell.finished);
        }
        for (row, against) in table.paired.iter().zip(&evaluation.against) {
            let paired = &against.held_out;
            assert_eq!((row.tasks, row.p), (paired.tasks, paired.mcnemar_p), "{}", row.cell);
            assert_eq!((row.gained, row.lost), (paired.gained.unwrap_or(0), paired.lost.unwrap_or(0)));
        }
        let union = evaluation.union.held_out;
        assert_eq!((table.union, table.without_tests), ((union.tasks, union.passed), without.len()));

        let page = std::fs::read_to_string(&paths.overview).unwrap();
        let note = format!("{} of 4 tasks have no held-out test", without.len());
        for text in [table.text(), table.markdown(), page.clone()] {
            assert_eq!(text.contains(&note), !without.is_empty(), "{text}");
        }
        let squares = page.matches(">□</a>").count();
        assert_eq!(squares, table.cells.iter().map(|row| row.tasks - row.judged).sum::<usize>());
        assert_eq!(page.contains("no held-out tests"), squares > 0, "the legend names what there is");
    }
}

#[test]
fn the_table_as_text_is_aligned_and_as_markdown_is_a_table() {
    let table = summary(small_run().path()).unwrap();
    let text = table.text();
    let lines: Vec<&str> = text.lines().take(5).collect();
    assert!(lines[0].starts_with("cell        method  "), "{text}");
    assert!(lines[3].starts_with("eg-cfg γ=1  eg-cfg  1      4                3   4  75.0"), "{text}");
    assert!(lines[3].ends_with("406        101.5       200    16      8.0      50.8"), "{text}");
    let widths: BTreeSet<usize> = lines.iter().map(|line| line.chars().count()).collect();
    assert_eq!(widths.len(), 1, "{text}");
    let markdown = table.markdown();
    let columns: BTreeSet<usize> = markdown.lines().take(5).map(|line| line.matches('|').count()).collect();
    assert_eq!(columns.into_iter().collect::<Vec<_>>(), [17], "{markdown}");
    assert!(
        markdown.contains("| eg-cfg γ=1 | eg-cfg | 1 | 4 | 3 | 4 | 75.0 | 30.1 – 95.4 | 3 | 1 | 406 |"),
        "{markdown}"
    );
}

/// The tags of a page, each with its attributes as written. Fails on anything that is not a plain tag.
fn tags(html: &str) -> Vec<(String, String)> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let tag = &rest[start + 1..];
        let end = tag.find('>').expect("a tag is closed");
        let (name, attributes) = tag[..end].split_once([' ', '\n']).unwrap_or((&tag[..end], ""));
        tags.push((name.to_owned(), attributes.to_owned()));
        rest = &tag[end + 1..];
        if name == "script" || name == "style" {
            let close = rest.find(&format!("</{name}>")).expect("it is closed");
            rest = &rest[close..];
        }
    }
    tags
}

#[test]
fn hostile_text_stays_text() {
    let run = small_run();
    let paths = report(run.path()).unwrap();
    assert_eq!(paths.pages.len(), 12);
    for path in paths.pages.iter().chain([&paths.overview]) {
        let html = std::fs::read_to_string(path).unwrap();
        for forbidden in ["<script>alert", "<img", "\0", "\x1b", "\u{202e}"] {
            assert!(!html.contains(forbidden), "{} contains {forbidden:?}", path.display());
        }
        assert!(html.contains("&lt;/script&gt;&lt;script&gt;alert(1)"), "{} shows it", path.display());
        let tags = tags(&html);
        assert_eq!(tags.iter().filter(|(name, _)| name == "script").count(), 1);
        // Every element is closed in its turn, so no text opened or closed one.
        let mut open: Vec<&str> = Vec::new();
        for (name, attributes) in &tags {
            // Outside of the quotes are the attributes' names.
            let mut names = attributes.split('"').step_by(2).map(|name| name.trim().trim_end_matches('='));
            assert!(names.all(|name| !name.contains(['=', ' ']) && !name.starts_with("on")), "{attributes}");
            assert!(!attributes.contains("javascript:"), "{attributes}");
            if let Some(name) = name.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "in {}", path.display());
            } else if !matches!(name.as_str(), "meta" | "!doctype") && !attributes.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?} are not closed in {}", path.display());
        // Nothing is loaded from anywhere.
        assert!(tags.iter().all(|(name, a)| name == "svg" || !a.contains("http://")), "a network address");
        assert!(tags.iter().all(|(_, a)| !a.contains("src=")));
    }
}

#[test]
fn links_lead_somewhere() {
    let run = small_run();
    let paths = report(run.path()).unwrap();
    let mut reached = BTreeSet::new();
    for page in paths.pages.iter().chain([&paths.overview]) {
        let html = std::fs::read_to_string(page).unwrap();
        for (_, attributes) in tags(&html) {
            let Some((_, rest)) = attributes.split_once("href=\"") else { continue };
            let link = rest.split('"').next().unwrap();
            if let Some(id) = link.strip_prefix('#') {
                assert!(html.contains(&format!(" id=\"{id}\"")), "{link} in {}", page.display());
            } else {
                assert!(link.is_ascii() && !link.contains(['%', '?', '#', ' ', ':']), "{link}");
                let target = page.parent().unwrap().join(link);
                assert!(target.is_file(), "{link} in {}", page.display());
                reached.insert(target.canonicalize().unwrap());
            }
        }
    }
    let written: BTreeSet<_> =
        paths.pages.iter().chain([&paths.overview]).map(|path| path.canonicalize().unwrap()).collect();
    assert_eq!(written.len(), 13, "every session has a page of its own");
    assert_eq!(reached, written);
    assert!(written.iter().all(|path| path.starts_with(run.path().canonicalize().unwrap())));
}

#[test]
fn a_session_page_shows_what_happened() {
    let run = small_run();
    let paths = report(run.path()).unwrap();
    let html = std::fs::read_to_string(&paths.pages[2]).unwrap();
    // w at γ = 3: p·(q/p)³ = 0.2·4³ = 12.8 against 0.6·(1/6)³ = 0.00278.
    for shown in
        ["p 20.0 %, q 80.0 %, w 100.0 %; the plain model prefers token 2", "<td>80.0 %</td><td>100.0 %</td>"]
    {
        assert!(html.contains(shown), "{shown}");
    }
    for shown in [
        "decoded under guidance, γ = 3",
        "1, of which guidance changed 1",
        "1/2 tests: exception",
        "not run",
        "only the guiding tests passed",
        "guiding 1/1",
        "held-out 0/1",
        "cut at its cap",
        "log p -2.50 (line -1.25) · 9 tokens · ended by horizon",
        "The same text as candidate 1.",
        "ended by the closing fence",
        "⟨U+202E⟩",
        "␛",
    ] {
        assert!(html.contains(shown), "{shown}");
    }
    let greedy = std::fs::read_to_string(&paths.pages[0]).unwrap();
    assert!(greedy.contains("<article class=\"chosen\">") && greedy.contains(">candidate 0<"));
}

#[test]
fn two_reports_of_one_run_are_the_same() {
    let run = small_run();
    let read = || std::fs::read(report(run.path()).unwrap().overview).unwrap();
    assert_eq!(read(), read());
}

fn edit(run: &Path, name: &str, change: impl Fn(String) -> String) {
    let path = run.join(name);
    let text = change(std::fs::read_to_string(&path).unwrap());
    std::fs::write(path, text).unwrap();
}

fn fault(name: &str, change: impl Fn(String) -> String) -> String {
    let run = small_run();
    edit(run.path(), name, change);
    report(run.path()).unwrap_err().to_string()
}

#[test]
fn malformed_lines_are_told_with_their_number() {
    let third = |text: String| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines[2] = "{\"task_id\": 3}";
        lines.join("\n") + "\n"
    };
    for name in ["results.jsonl", "trace.jsonl", "timings.jsonl"] {
        let error = fault(name, third);
        assert!(error.contains(&format!("{name}:3 is malformed")), "{error}");
    }
    let error = fault("results.jsonl", |text| text.replacen("eg-cfg γ=1", "eg-cfg γ=2", 1));
    assert!(error.contains("results.jsonl:2") && error.contains("no session of task"), "{error}");
    let error = fault("results.jsonl", |text| format!("{text}{}\n", text.lines().next().unwrap()));
    assert!(error.contains("results.jsonl:13: a second line"), "{error}");
    let run = small_run();
    std::fs::remove_file(run.path().join("trace.jsonl")).unwrap();
    assert!(report(run.path()).unwrap_err().to_string().contains("trace.jsonl: No such file"));
}

#[test]
fn newer_schemas_are_refused() {
    let newer = |text: String| text.replacen("\"schema\":1", "\"schema\":2", 1);
    let error = fault("trace.jsonl", newer);
    assert!(error.contains("trace.jsonl has schema version 2") && error.contains("newer vigor"), "{error}");
    // Even when the line is no longer of today's type.
    let error = fault("trace.jsonl", |text| newer(text).replacen("\"prompt\":", "\"text\":", 1));
    assert!(error.contains("trace.jsonl has schema version 2"), "{error}");
    let error = fault("run_manifest.json", |text| text.replacen("\"schema\": 2", "\"schema\": 9", 1));
    assert!(error.contains("run_manifest.json has schema version 9"), "{error}");
}

#[test]
fn unfinished_runs_have_reports_with_warnings() {
    let run = small_run();
    for name in ["results.jsonl", "timings.jsonl"] {
        edit(run.path(), name, |text| {
            text.split_inclusive('\n').take(5).collect::<String>() + "{\"task_id\": \"T"
        });
    }
    edit(run.path(), "trace.jsonl", |text| text.split_inclusive('\n').take(14).collect());
    let paths = report(run.path()).unwrap();
    assert_eq!(paths.pages.len(), 5);
    let warnings = paths.warnings.join("\n");
    assert!(warnings.contains("results.jsonl:6 is incomplete"), "{warnings}");
    assert!(warnings.contains("5 of 12 sessions are finished"), "{warnings}");
    assert_eq!(paths.table.cells[2].tasks, 1);
    let overview = std::fs::read_to_string(&paths.overview).unwrap();
    assert!(overview.contains("not finished") && overview.contains("5 of 12"));
    let last = std::fs::read_to_string(&paths.pages[4]).unwrap();
    assert!(last.contains("trace of this session is incomplete"));

    // The result of a session may come before its trace.
    edit(run.path(), "trace.jsonl", |text| text.split_inclusive('\n').take(12).collect());
    let without = report(run.path()).unwrap();
    assert_eq!(without.pages, paths.pages);
    let last = std::fs::read_to_string(&without.pages[4]).unwrap();
    assert!(last.contains("trace of this session is incomplete") && !last.contains("class=\"step\""));
}
