//! The numbers of runs, worked out by hand.

mod made_run;

use std::path::{Path, PathBuf};

use made_run::{Run, Session, candidate, names, sampled, write};
use vigor::report::evaluation::{Evaluation, PassedOf};
use vigor::report::{EvaluationOptions, Study};

fn evaluate(dirs: &[&Path], options: &EvaluationOptions) -> Evaluation {
    let dirs: Vec<PathBuf> = dirs.iter().map(|dir| (*dir).to_owned()).collect();
    Study::open(&dirs).unwrap().evaluate(options).unwrap()
}

fn near(a: Option<f64>, b: f64) -> bool {
    a.is_some_and(|a| (a - b).abs() < 1e-9)
}

/// By task: held-out of greedy, γ = 1, γ = 3; guiding is the opposite for γ = 3 on tasks 0 and 1.
const HELD_OUT: [[bool; 3]; 4] =
    [[true, true, false], [false, true, false], [false, true, false], [false, false, false]];

fn three_cells(task: usize, cell: usize) -> Option<Session> {
    let held_out = HELD_OUT[task][cell];
    let mut session = Session::judged(held_out, held_out || (cell == 2 && task < 2));
    session.tokens = 100 * (cell + 1) + task;
    Some(session)
}

#[test]
fn a_run_is_added_up_by_cell_and_kind_of_test() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &Run::default(), three_cells);
    let evaluation = evaluate(&[dir.path()], &EvaluationOptions::default());
    let names: Vec<&str> = evaluation.cells.iter().map(|cell| cell.cell.as_str()).collect();
    assert_eq!(names, ["greedy", "eg-cfg γ=1", "eg-cfg γ=3"]);
    let counts = |of: fn(&vigor::report::evaluation::CellScores) -> (usize, usize)| {
        evaluation.cells.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(counts(|cell| (cell.held_out.passed, cell.held_out.tasks)), [(1, 4), (3, 4), (0, 4)]);
    assert_eq!(counts(|cell| (cell.guiding.passed, cell.guiding.tasks)), [(1, 4), (3, 4), (2, 4)]);
    assert!(near(evaluation.cells[1].held_out.pass_at_1, 0.75));
    let interval = evaluation.cells[1].held_out.interval.unwrap();
    assert_eq!(interval.by, "wilson");
    assert!((interval.low - 0.300_6).abs() < 1e-3 && (interval.high - 0.954_4).abs() < 1e-3, "{interval:?}");
    assert!(near(Some(evaluation.cells[2].costs.tokens), 301.5));
    assert!(near(evaluation.cells[0].costs.seconds, 2.0));

    assert_eq!(evaluation.base, "greedy");
    let [guided, strong] = evaluation.against.as_slice() else { panic!("two comparisons") };
    let of = |paired: &vigor::report::evaluation::Paired| (paired.gained, paired.lost, paired.mcnemar_p);
    assert_eq!(of(&guided.held_out), (Some(2), Some(0), Some(0.5)));
    assert_eq!(of(&strong.held_out), (Some(0), Some(1), Some(1.0)));
    assert_eq!(of(&strong.guiding), (Some(1), Some(0), Some(1.0)));
    assert!(near(guided.held_out.difference, 0.5) && near(guided.held_out.rsr, 100.0 * 50.0 / 75.0));
    assert!(near(strong.held_out.rsr, 100.0 * -25.0 / 75.0));
    let (low, high) = guided.held_out.interval.unwrap();
    // Differences 0, 1, 1, 0: the mean of four draws is 0 or 1 each with probability 1/16.
    assert_eq!((low, high), (0.0, 1.0));

    assert_eq!(evaluation.union.held_out, PassedOf { tasks: 4, passed: 3 });
    assert_eq!(evaluation.union.guiding, PassedOf { tasks: 4, passed: 3 });
    // Task 1: γ = 1 is the first that passes the guiding tests.
    assert_eq!(evaluation.union.chosen_by_guiding, PassedOf { tasks: 4, passed: 3 });
    let other = evaluate(
        &[dir.path()],
        &EvaluationOptions { base: Some("eg-cfg gamma=3".into()), ..Default::default() },
    );
    assert_eq!((other.base.as_str(), other.against.len()), ("eg-cfg γ=3", 2));
    let against = &other.against[1].held_out;
    assert_eq!((against.gained, against.lost), (Some(3), Some(0)));
    assert!(near(against.mcnemar_p, 0.25));
}

#[test]
fn what_was_chosen_by_guiding_tests_may_fail_the_held_out_ones() {
    let dir = tempfile::tempdir().unwrap();
    // Both pass the guiding tests; only the second passes the held-out ones.
    write(dir.path(), &Run::default(), |_, cell| Some(Session::judged(cell > 0, true)));
    let union = evaluate(&[dir.path()], &EvaluationOptions::default()).union;
    assert_eq!(union.held_out, PassedOf { tasks: 4, passed: 4 });
    assert_eq!(union.chosen_by_guiding, PassedOf { tasks: 4, passed: 0 });
}

#[test]
fn tasks_without_tests_of_a_kind_count_only_for_the_other() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &Run::default(), |task, _| {
        let mut session = Session::judged(true, true);
        match task {
            0 => session.held_out = None,
            1 => session.guiding = None,
            _ => {}
        }
        (task != 3).then_some(session)
    });
    let evaluation = evaluate(&[dir.path()], &EvaluationOptions::default());
    let cell = &evaluation.cells[0];
    assert_eq!((cell.finished, cell.sessions, evaluation.tasks), (3, 3, 3));
    assert_eq!((cell.held_out.tasks, cell.held_out.without_tests, cell.held_out.passed), (2, 1, 2));
    assert_eq!((cell.guiding.tasks, cell.guiding.without_tests), (2, 1));
    let notes = evaluation.notes.join("\n");
    for words in
        ["9 of 12 sessions are finished", "1 tasks have no held-out test", "1 tasks have no guiding test"]
    {
        assert!(notes.contains(words), "{words}: {notes}");
    }
}

#[test]
fn runs_that_differ_in_their_seeds_are_attempts() {
    let home = tempfile::tempdir().unwrap();
    let dirs: Vec<PathBuf> = (0..4).map(|seed| home.path().join(seed.to_string())).collect();
    for (seed, dir) in dirs.iter().enumerate() {
        // Task t passes with γ = 1 in the first t of the four seeds; γ = 3 always fails the held-out test.
        let run = Run { name: "same", seed: seed as u64 + 1, ..Run::default() };
        write(dir, &run, |task, cell| Some(Session::judged(cell == 1 && seed < task, true)));
    }
    let evaluation = Study::open(&dirs)
        .unwrap()
        .evaluate(&EvaluationOptions { ks: vec![1, 2, 4, 9], ..Default::default() })
        .unwrap();
    let cell = &evaluation.cells[1];
    assert_eq!((evaluation.cells.len(), cell.seeds.as_slice()), (3, &[1, 2, 3, 4][..]));
    assert_eq!((cell.held_out.attempts, cell.held_out.passed), (16, 6));
    assert!(near(cell.held_out.pass_at_1, (0.0 + 0.25 + 0.5 + 0.75) / 4.0));
    assert_eq!(cell.held_out.interval.unwrap().by, "bootstrap");
    let at: Vec<(usize, usize)> =
        cell.held_out.pass_at_k.iter().map(|value| (value.k, value.tasks)).collect();
    assert_eq!(at, [(1, 4), (2, 4), (4, 4)]);
    // Two of four drawn: with 1, 2, 3 that pass, all of the 6 pairs but 3, 1, 0 hold one.
    assert!(near(Some(cell.held_out.pass_at_k[1].value), (0.0 + 3.0 / 6.0 + 5.0 / 6.0 + 1.0) / 4.0));
    assert!(near(Some(cell.held_out.pass_at_k[2].value), 0.75));
    assert!(near(Some(cell.guiding.pass_at_k[0].value), 1.0));
    // With several attempts a task there is no table of gained and lost.
    let against = &evaluation.against[0].held_out;
    assert_eq!((against.gained, against.mcnemar_p), (None, None));
    assert!(near(against.difference, 0.375) && against.interval.is_some());
    let notes = evaluation.notes.join("\n");
    assert!(notes.contains("greedy: the seed changes nothing"), "{notes}");
    assert!(evaluation.cells[0].held_out.pass_at_k.is_empty());
    let text = vigor::report::sheet::text(&evaluation.sheets(), &evaluation.notes);
    assert!(text.contains("pass@k") && text.contains("58.3"), "{text}");
}

/// Resamples of tasks that all passed are all the same; the rate is not certain for that.
#[test]
fn equal_values_have_wilsons_interval_and_equal_differences_none() {
    let home = tempfile::tempdir().unwrap();
    let dirs: Vec<PathBuf> = (0..2).map(|seed| home.path().join(seed.to_string())).collect();
    for (seed, dir) in dirs.iter().enumerate() {
        let run = Run { name: "same", seed: seed as u64 + 1, ..Run::default() };
        write(dir, &run, |task, cell| Some(Session::judged(cell == 1 || (cell == 0 && task == 0), true)));
    }
    let evaluation = Study::open(&dirs).unwrap().evaluate(&EvaluationOptions::default()).unwrap();
    let [greedy, all, none] = evaluation.cells.as_slice() else { panic!("three cells") };
    for (cell, low, high) in [(greedy, 0.0456, 0.6994), (all, 0.5101, 1.0), (none, 0.0, 0.4899)] {
        let interval = cell.held_out.interval.unwrap();
        assert_eq!(interval.by, "wilson", "{}", cell.cell);
        assert!((interval.low - low).abs() < 1e-4 && (interval.high - high).abs() < 1e-4, "{interval:?}");
    }
    let at_2 = all.held_out.pass_at_k[1];
    assert!(at_2.k == 2 && (at_2.low - 0.5101).abs() < 1e-4 && at_2.high == 1.0, "{at_2:?}");
    // Copies of one attempt are one attempt, which leaves nothing to the other cell's several.
    assert_eq!(evaluation.against[0].held_out.gained, None);
    assert!(evaluation.against[0].held_out.interval.is_some());
    let other = EvaluationOptions { base: Some("eg-cfg γ=1".into()), ..Default::default() };
    let other = Study::open(&dirs).unwrap().evaluate(&other).unwrap();
    assert_eq!(
        (other.against[1].held_out.difference, other.against[1].held_out.interval),
        (Some(-1.0), None)
    );
}

/// A manifest with another text in it.
fn rewrite(dir: &Path, was: &str, is: &str) {
    let path = dir.join("run_manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(was), "{text}");
    std::fs::write(&path, text.replace(was, is)).unwrap();
}

#[test]
fn runs_that_took_other_tests_from_the_same_file_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let dirs = ["a", "b"].map(|name| home.path().join(name));
    for (dir, adapter) in dirs.iter().zip(["d", "humaneval-et"]) {
        let methods = format!("path = \"f\"\nadapter = {adapter:?}\n{}", Run::default().methods);
        write(dir, &Run { methods: &methods, ..Run::default() }, three_cells);
    }
    let error = Study::open(&dirs).unwrap_err().to_string();
    assert!(error.contains("read as d)") && error.contains("read as humaneval-et)"), "{error}");
    rewrite(&dirs[1], "\"humaneval-et\"", "\"d\"");
    assert!(Study::open(&dirs).is_ok());
}

#[test]
fn what_weakens_a_number_is_said() {
    let home = tempfile::tempdir().unwrap();
    let dirs = ["a", "b"].map(|name| home.path().join(name));
    for (seed, dir) in dirs.iter().enumerate() {
        write(dir, &Run { seed: seed as u64, ..Run::default() }, three_cells);
    }
    let notes = |dirs: &[PathBuf]| Study::open(dirs).unwrap().notes.join("\n");
    let before = notes(&dirs);
    for words in ["could not be judged", "max_seconds", "Python", "builds"] {
        assert!(!before.contains(words), "{before}");
    }
    rewrite(&dirs[0], "\"python\": \"3\"", "\"python\": \"3.9.2\"");
    rewrite(&dirs[1], "\"vigor\": \"0.1.0\"", "\"vigor\": \"0.2.0\"");
    let results = dirs[0].join("results.jsonl");
    let text = std::fs::read_to_string(&results).unwrap();
    let text = text.replacen("\"kind\":\"failed\"", "\"kind\":\"harness_error\"", 1);
    std::fs::write(&results, text.replacen("\"end\":\"fence\"", "\"end\":\"time_budget\"", 2)).unwrap();
    let after = notes(&dirs);
    for words in [
        "1 sessions have tests that could not be judged",
        "2 sessions were ended by max_seconds",
        "several versions of Python, on which results may depend: 3, 3.9.2",
        "several builds of vigor, on which results may depend: 0.1.0 (2), 0.2.0 (2)",
    ] {
        assert!(after.contains(words), "{words}: {after}");
    }
}

#[test]
fn a_run_that_was_made_again_is_compared_with_the_first() {
    let home = tempfile::tempdir().unwrap();
    let (a, b) = (home.path().join("a"), home.path().join("b"));
    write(&a, &Run { name: "before", ..Run::default() }, three_cells);
    write(&b, &Run { name: "after", ..Run::default() }, |task, _| Some(Session::judged(task == 3, true)));
    let evaluation = evaluate(&[&a, &b], &EvaluationOptions::default());
    let names: Vec<&str> = evaluation.cells.iter().map(|cell| cell.cell.as_str()).collect();
    let expected = ["before: greedy", "before: eg-cfg γ=1", "before: eg-cfg γ=3"];
    assert_eq!(names[..3], expected);
    assert_eq!(names[3], "after: greedy");
    let again = &evaluation.against[2].held_out;
    assert_eq!((again.gained, again.lost), (Some(1), Some(1)));
}

#[test]
fn runs_that_cannot_be_compared_are_refused_and_differences_are_told() {
    let home = tempfile::tempdir().unwrap();
    let dir = |name: &str| home.path().join(name);
    write(&dir("a"), &Run { name: "a", ..Run::default() }, three_cells);
    write(&dir("b"), &Run { name: "b", dataset: "other", ..Run::default() }, three_cells);
    write(
        &dir("c"),
        &Run {
            name: "c",
            model: "another",
            tasks: names(6)[2..].to_vec(),
            methods: "[sandbox]\nmemory_mb = 256\n[[method]]\nmethod = \"greedy\"\n",
            ..Run::default()
        },
        |_, _| Some(Session::judged(true, true)),
    );
    let open = |names: &[&str]| Study::open(&names.iter().map(|name| dir(name)).collect::<Vec<_>>());
    let error = open(&["a", "b"]).unwrap_err().to_string();
    assert!(
        error.contains("d (") && error.contains("other (") && error.contains("only runs of one dataset"),
        "{error}"
    );
    let error = open(&["a", "a"]).unwrap_err().to_string();
    assert!(error.contains("is given twice"), "{error}");
    assert!(open(&["nowhere"]).unwrap_err().to_string().contains("give the folder of a run"));
    let study = open(&["a", "c"]).unwrap();
    assert_eq!(study.tasks, names(6));
    let error = study.setting("eg-cfg γ=2").unwrap_err().to_string();
    assert!(error.contains("the cells are: a: greedy, eg-cfg γ=1, eg-cfg γ=3, c: greedy"), "{error}");
    let notes = study.notes.join("\n");
    assert!(notes.contains("c is of another model than a: another"), "{notes}");
    assert!(notes.contains("c has another configuration than a: sandbox.memory_mb"), "{notes}");
    // Matched: only the tasks that all have.
    let matched = study.evaluate(&EvaluationOptions { matched: true, ..Default::default() }).unwrap();
    assert_eq!((matched.tasks, matched.cells[0].held_out.tasks, matched.cells[3].held_out.tasks), (2, 2, 2));
    let all = study.evaluate(&EvaluationOptions::default()).unwrap();
    assert_eq!((all.tasks, all.cells[0].held_out.tasks, all.cells[3].held_out.tasks), (6, 4, 4));
    assert_eq!(all.against[2].held_out.tasks, 2);
}

const SAMPLED: &str = "[[method]]\nmethod = \"sample\"\nn = 3\n[[method]]\nmethod = \"eg-cfg\"\n";

/// Candidates: 0 costs 30 and fails, 1 costs 40 and passes the guiding test, 2 costs 50 and fails. Candidate 1 is committed, so
/// that of it alone the held-out verdict is known. The guided cell spends so many tokens.
fn sampling(dir: &Path, tokens: usize, executions: usize, known: &str) {
    let run = Run { methods: SAMPLED, ..Run::default() };
    write(dir, &run, |task, cell| {
        let mut session = Session::judged(task != 0, true);
        if cell == 0 {
            let made = [(30, "a", false, -0.1), (40, "b", true, -0.5), (50, "c", false, -0.9)];
            let candidates = made.iter().enumerate();
            let candidates =
                candidates.map(|(i, (tokens, text, passes, p))| candidate(i, text, *tokens, *p, *passes));
            session.steps = vec![sampled(candidates.collect(), 1)];
            session.program = "b".into();
            (session.tokens, session.executions) = (120, 3);
        } else {
            session.held_out = Some(false);
            session.program = known.into();
            (session.tokens, session.executions) = (tokens, executions);
        }
        Some(session)
    });
}

#[test]
fn equal_budgets_buy_samples_until_they_are_spent() {
    let budget = |tokens, executions, known: &str| {
        let dir = tempfile::tempdir().unwrap();
        sampling(dir.path(), tokens, executions, known);
        let options = EvaluationOptions { equal_budget: Some("sample".into()), ..Default::default() };
        evaluate(&[dir.path()], &options)
    };
    // All three fit and some tokens are left: what was committed is what is chosen, and its verdict is known.
    let all = budget(200, 3, "x");
    let [tokens, executions] = all.equal_budget.as_slice() else { panic!("{:?}", all.equal_budget) };
    assert_eq!((tokens.cell.as_str(), tokens.tasks, tokens.exhausted), ("eg-cfg", 4, 4));
    assert_eq!((tokens.spent, tokens.sample_spent), (200.0, 120.0));
    assert_eq!(
        (tokens.held_out.cell, tokens.held_out.sample_low, tokens.held_out.sample_high),
        (0.0, 0.75, 0.75)
    );
    assert_eq!((tokens.guiding.cell, tokens.guiding.sample_low), (1.0, 1.0));
    assert_eq!((executions.spent, executions.sample_spent, executions.exhausted), (3.0, 3.0, 0));
    assert!(
        all.notes.iter().any(|note| note.contains("8 of 12 samples of sample were never run")),
        "{:?}",
        all.notes
    );

    // One sample: each of the three is as likely, and of two the verdict is not known.
    let one = budget(30, 1, "x");
    for entry in &one.equal_budget {
        assert!((entry.guiding.sample_low - 1.0 / 3.0).abs() < 0.05, "{entry:?}");
        assert!((entry.held_out.sample_low - 0.75 / 3.0).abs() < 0.05, "{entry:?}");
        assert!((entry.held_out.sample_high - (0.75 / 3.0 + 2.0 / 3.0)).abs() < 0.05, "{entry:?}");
        assert_eq!(entry.exhausted, 0);
    }
    // Another session ended in the program of one of them, so that its verdict is known: it fails.
    let known = budget(30, 1, "c");
    for entry in &known.equal_budget {
        assert!((entry.held_out.sample_high - (0.75 / 3.0 + 1.0 / 3.0)).abs() < 0.05, "{entry:?}");
    }
    // Somebody runs the two others on the held-out tests: nothing is unknown then.
    let dir = tempfile::tempdir().unwrap();
    sampling(dir.path(), 30, 1, "x");
    let mut study = Study::open(&[dir.path().to_owned()]).unwrap();
    let unjudged = study.unjudged_samples("sample").unwrap();
    assert_eq!(unjudged.len(), 8, "two of each task: {unjudged:?}");
    study.judge_samples(unjudged.iter().map(|of| (of, of.program.ends_with('c'))));
    let options = EvaluationOptions { equal_budget: Some("sample".into()), ..Default::default() };
    let judged = study.evaluate(&options).unwrap();
    for entry in &judged.equal_budget {
        let rates = &entry.held_out;
        assert_eq!(rates.sample_low, rates.sample_high, "{entry:?}");
        assert!((rates.sample_low - (0.75 / 3.0 + 1.0 / 3.0)).abs() < 0.05, "{entry:?}");
    }
    assert!(!judged.notes.iter().any(|note| note.contains("never run")), "{:?}", judged.notes);

    let text = vigor::report::sheet::text(&all.sheets(), &all.notes);
    assert!(text.contains("Beside samples of sample with equal tokens"), "{text}");

    // Of two attempts one outspends all samples of both runs: their number bounds what is known of it.
    let home = tempfile::tempdir().unwrap();
    let dirs = ["a", "b"].map(|name| home.path().join(name));
    for (dir, tokens) in dirs.iter().zip([200, 300]) {
        sampling(dir, tokens, 3, "x");
    }
    rewrite(&dirs[1], "\"seed\": 1", "\"seed\": 2");
    let results = dirs[1].join("results.jsonl");
    let text = std::fs::read_to_string(&results).unwrap().replace("\"seed\":1", "\"seed\":2");
    std::fs::write(&results, text).unwrap();
    let options = EvaluationOptions { equal_budget: Some("sample".into()), ..Default::default() };
    let several = Study::open(&dirs).unwrap().evaluate(&options).unwrap();
    assert_eq!((several.equal_budget[0].spent, several.equal_budget[0].exhausted), (250.0, 4));
}

#[test]
fn equal_budgets_need_independent_samples() {
    let dir = tempfile::tempdir().unwrap();
    let methods = "[[method]]\nmethod = \"sample\"\nsampler = \"beam\"\n[[method]]\nmethod = \"greedy\"\n";
    write(dir.path(), &Run { methods, ..Run::default() }, |_, _| Some(Session::judged(true, true)));
    let study = Study::open(&[dir.path().to_owned()]).unwrap();
    for cell in ["sample", "greedy"] {
        let options = EvaluationOptions { equal_budget: Some(cell.into()), ..Default::default() };
        let error = study.evaluate(&options).unwrap_err().to_string();
        assert!(error.contains("has no independent samples") && error.contains(cell), "{error}");
    }
}

#[test]
fn traces_are_read_only_where_they_are_needed() {
    let dir = tempfile::tempdir().unwrap();
    sampling(dir.path(), 200, 3, "x");
    std::fs::remove_file(dir.path().join("trace.jsonl")).unwrap();
    let study = Study::open(&[dir.path().to_owned()]).unwrap();
    assert!(study.evaluate(&EvaluationOptions::default()).is_ok());
    let options = EvaluationOptions { equal_budget: Some("sample".into()), ..Default::default() };
    let error = study.evaluate(&options).unwrap_err().to_string();
    assert!(error.contains("trace.jsonl"), "{error}");
}

#[test]
fn machines_and_people_are_told_the_same() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &Run::default(), three_cells);
    let evaluation = evaluate(&[dir.path()], &EvaluationOptions::default());
    let csv = evaluation.csv();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == rows[0].len()) && rows.len() == 4, "{csv}");
    let column = |name: &str| {
        let at = rows[0].iter().position(|header| *header == name).unwrap_or_else(|| panic!("{name}"));
        rows[1..].iter().map(|row| row[at]).collect::<Vec<_>>()
    };
    assert_eq!(column("held_out_pass@1"), ["0.25", "0.75", "0"]);
    assert_eq!(column("guiding_passed"), ["1", "3", "2"]);
    assert_eq!(column("held_out_mcnemar_p"), ["", "0.5", "1"]);
    assert_eq!(column("gamma"), ["", "1", "3"]);
    let json = serde_json::json!(evaluation);
    assert_eq!(json["cells"][1]["held_out"]["pass_at_1"], 0.75);
    assert_eq!(json["union"]["held_out"]["passed"], 3);
    assert!(json.get("equal_budget").is_none());
    let text = vigor::report::sheet::text(&evaluation.sheets(), &evaluation.notes);
    assert!(text.contains("SELECTED BY THE TESTS THAT SCORE IT"), "{text}");
    assert!(text.contains("Compared with greedy on held-out tests"), "{text}");
    let markdown = vigor::report::sheet::markdown_of(&evaluation.sheets(), &evaluation.notes);
    let row = markdown.lines().find(|line| line.starts_with("| eg-cfg γ=1")).unwrap();
    assert!(row.contains("| 3 | 4 | 75.0 | 30.1 – 95.4 | 3 | 4 | 75.0 |"), "{row}");
}
