//! The pages as their readers have them, in a browser: by keyboard, with the worst texts that a model could write, in dark and
//! in light, on a narrow screen, and of five hundred tasks.

mod chromium;
mod made_run;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use chromium::Chromium;
use made_run::{Run, Session, candidate, decoded, names, write};
use serde_json::{Value, json};
use vigor::report::{EvaluationOptions, ReportPaths, Study, report};
use vigor::session::trace::{Alternative, DecodedToken, Gate, LineClass, Signal, Source, Step};

/// A line decoded under guidance, a token a word. Of a `changed` one the plain model prefers another.
fn guided(step: usize, line: &str, changed: &[&str]) -> Step {
    let mut made = decoded(step, line);
    let mut invalid = candidate(1, "    )\n", 2, -3.0, false);
    (invalid.class, invalid.execution) = (LineClass::Invalid, None);
    invalid.gate = Gate::Invalid { message: "unmatched ')'".into() };
    let mut fragment = candidate(2, "    if (\n", 3, -4.0, true);
    (fragment.class, fragment.gate) = (LineClass::Fragment, Gate::Incomplete);
    made.candidates = vec![candidate(0, &format!("{line}    pass\n"), 9, -0.5, false), invalid, fragment];
    made.signal = Some(Signal { text: "f() returned 7\n".repeat(9), prompt_tokens: 40, capped: false });
    let token = |(at, text): (usize, &str)| {
        let p = if changed.contains(&text.trim()) { [0.25f32, 0.5] } else { [0.5, 0.25] };
        let alternative =
            |id, p: f32, q: f32| Alternative { id: 2 * at as u32 + id, p: p.ln(), q: Some(q.ln()) };
        let top = vec![alternative(0, p[0], 0.5), alternative(1, p[1], 0.125)];
        DecodedToken { id: 2 * at as u32, text: text.to_owned(), top }
    };
    made.tokens = line.split_inclusive(' ').enumerate().map(token).collect();
    made.decision.source = Source::Guided;
    made
}

/// A session of so many steps; in the third one guidance changed a token.
fn session(steps: usize, held_out: bool) -> Session {
    let mut session = Session::judged(held_out, true);
    session.steps = vec![decoded(0, "def f():\n")];
    session.steps.extend((1..steps).map(|number| {
        let line = format!("    value = {number} * {number}\n");
        guided(number, &line, if number == 2 { &["value"] } else { &[] })
    }));
    session.program = session.steps.iter().map(|step| step.decision.text.as_str()).collect();
    session
}

fn reported(
    dir: &Path,
    run: &Run<'_>,
    session: impl Fn(usize, usize) -> Option<Session>,
) -> (ReportPaths, std::path::PathBuf) {
    write(dir, run, session);
    let paths = report(dir).expect("a report");
    let study = Study::open(&[dir.to_owned()]).expect("a run");
    let options = EvaluationOptions { matched: true, ..EvaluationOptions::default() };
    let comparison = dir.join("comparison.html");
    let page = study.evaluate(&options).expect("numbers").comparison_page(Some("they part\n"));
    fs::write(&comparison, page).expect("written");
    (paths, comparison)
}

const STEP: &str = "[...document.querySelectorAll('section.current')].map((step) => step.id).join()";

#[test]
fn a_session_is_read_by_keyboard() {
    let Some(mut browser) = Chromium::start() else { return };
    let home = tempfile::tempdir().expect("a folder");
    let run =
        Run { tasks: names(1), methods: "[[method]]\nmethod = \"eg-cfg\"\ngamma = 3\n", ..Run::default() };
    let (paths, _) = reported(home.path(), &run, |_, _| Some(session(6, true)));
    browser.resize(1400, 700);
    browser.open(&paths.pages[0]);

    // Steps, to their ends and no further.
    assert_eq!(browser.evaluate(STEP), "");
    for (key, step) in [
        ("k", ""),
        ("j", "s0"),
        ("ArrowRight", "s1"),
        ("j", "s2"),
        ("j", "s3"),
        ("j", "s4"),
        ("j", "s5"),
        ("j", "s5"),
        ("ArrowLeft", "s4"),
        ("k", "s3"),
        ("x", "s3"),
    ] {
        browser.press(key);
        assert_eq!(browser.evaluate(STEP), step, "after {key}");
        if step.is_empty() {
            continue;
        }
        let place = browser.evaluate(
            "(() => {
                const step = document.querySelector('section.current');
                const line = document.querySelector('.program a.current');
                return [location.hash, document.activeElement.id, line.textContent.trim(), step.getBoundingClientRect().top < innerHeight];
            })()",
        );
        let number = &step[1..];
        let line = match number {
            "0" => "0def f():".to_owned(),
            "2" => "2    value = 2 * 21".to_owned(),
            _ => format!("{number}    value = {number} * {number}"),
        };
        assert_eq!(place, json!([format!("#{step}"), step, line, true]));
    }
    for _ in 0..9 {
        browser.press("k");
    }
    assert_eq!(browser.evaluate(STEP), "s0");
    browser.evaluate("document.querySelector('.program a[href=\"#s4\"]').click()");
    browser.evaluate("new Promise((done) => setTimeout(done, 0))");
    assert_eq!(browser.evaluate(STEP), "s4", "after a click on the program's line");
    browser.press("j");
    browser.press("Tab");
    let inside = browser.evaluate("document.activeElement.closest('section')?.id");
    assert_eq!(inside, "s5", "Tab goes on in the step that is shown");

    // What guidance changed is seen, and its numbers are found.
    let changed = browser.evaluate(
        "[...document.querySelectorAll('.step .token.changed')].map((token) => [token.closest('.step').id, token.textContent, token.title])",
    );
    // At γ = 3: 0.25 · 2³ = 2 against 0.5 · 0.25³.
    let title = "p 25.0 %, q 50.0 %, w 99.6 %; the plain model prefers token 9";
    assert_eq!(changed, json!([["s2", "value ", title]]));
    assert_eq!(
        browser.evaluate("document.querySelector('tr.changed').textContent"),
        "value 25.0 %50.0 %99.6 %token 9"
    );
    let colours = "new Set([...document.querySelectorAll('#s2 .token')].map((token) => getComputedStyle(token).backgroundColor)).size";
    assert_eq!(browser.evaluate(colours), 2);
    assert_eq!(
        browser.evaluate("[...document.querySelectorAll('.program .changes')].map((mark) => mark.title)"),
        json!(["guidance changed 1 tokens"])
    );
    // Each candidate has its class, its verdict and its log-probability.
    let candidates =
        "[...document.querySelectorAll('#s1 article > p:first-child')].map((line) => line.textContent)";
    assert_eq!(
        browser.evaluate(candidates),
        json!([
            "#0 executablecomplete0/1 tests: failedlog p -4.50 (line -0.50) · 9 tokens · ended by end",
            "#1 invalid lineinvalid: unmatched ')'not runlog p -6.00 (line -3.00) · 2 tokens · ended by end",
            "#2 fragmentincomplete1/1 testslog p -12.00 (line -4.00) · 3 tokens · ended by end",
        ])
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // Tab visits whatever can be used, in the order of the page, and shows where it is.
    browser.open(&paths.pages[0]);
    let stops = browser.evaluate("window.stops = [...document.querySelectorAll('a, summary, input')].filter((stop) => stop.checkVisibility()); stops.length");
    for stop in 0..stops.as_i64().expect("a number") {
        browser.press("Tab");
        let at = browser.evaluate(
            "[stops.indexOf(document.activeElement), getComputedStyle(document.activeElement).outlineStyle]",
        );
        assert_eq!(at, json!([stop, "auto"]));
    }
}

#[test]
fn hostile_text_runs_nothing() {
    let Some(mut browser) = Chromium::start() else { return };
    let home = tempfile::tempdir().expect("a folder");
    let hostile = "</script></pre></textarea><script>hacked = 1</script><img src=x onerror='hacked = 1'>\u{2028}\u{2029}\u{202e}<!--]]>${hacked = 1}\\u003c";
    let run = Run { model: hostile, tasks: vec![hostile.to_owned(), "T/1".into()], ..Run::default() };
    let (paths, comparison) = reported(home.path(), &run, |_, _| {
        let mut made = session(2, false);
        for text in [&mut made.program, &mut made.prompt, &mut made.message, &mut made.test] {
            *text = hostile.to_owned();
        }
        let mut step = guided(1, &format!("    {hostile}\n"), &["</script>"]);
        step.decision.reason = hostile.to_owned();
        step.signal = Some(Signal { text: hostile.to_owned(), prompt_tokens: 1, capped: true });
        for text in step.candidates.iter_mut().map(|candidate| &mut candidate.text) {
            *text = hostile.to_owned();
        }
        made.steps[1] = step;
        Some(made)
    });
    let seen = hostile
        .replace('\u{2028}', "⟨U+2028⟩")
        .replace('\u{2029}', "⟨U+2029⟩")
        .replace('\u{202e}', "⟨U+202E⟩");
    for (page, shown, scripts) in
        [(&paths.pages[1], "pre.committed", 1), (&paths.overview, "dd", 1), (&comparison, "dd:last-child", 0)]
    {
        browser.open(page);
        browser.press("j");
        let found = browser.evaluate(
            "[typeof hacked, document.scripts.length, document.images.length, \
             [...document.body.children].map((element) => element.tagName).join()]",
        );
        let elements = if scripts == 1 { "MAIN,SCRIPT" } else { "MAIN" };
        assert_eq!(found, json!(["undefined", scripts, 0, elements]), "{}", page.display());
        let texts = browser.evaluate(&format!(
            "[...document.querySelectorAll('{shown}')].map((element) => element.innerText)"
        ));
        assert!(
            texts
                .as_array()
                .expect("texts")
                .iter()
                .any(|text| text.as_str().is_some_and(|text| text.contains(&seen))),
            "{texts}"
        );
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{}", page.display());
    }

    // The browser would have told: of a page whose text is not escaped, and of one without its policy.
    let html = fs::read_to_string(&paths.pages[1]).expect("a page");
    let broken =
        html.replace("&lt;img", "<img").replace("onerror=&#39;hacked = 1&#39;&gt;", "onerror='hacked = 1'>");
    let open = |browser: &mut Chromium, html: &str| {
        let path = home.path().join("broken.html");
        fs::write(&path, html).expect("written");
        browser.open(&path);
        let hacked = browser.evaluate("typeof hacked");
        (hacked, browser.complaints().join("\n"))
    };
    let (hacked, told) = open(&mut browser, &broken);
    assert_eq!(hacked, "undefined", "the policy holds");
    assert!(told.contains("Content Security Policy"), "{told}");
    let (hacked, told) = open(&mut browser, &broken.replace("Content-Security-Policy", "X"));
    assert_eq!(hacked, "number");
    assert!(told.contains("request: "), "{told}");
}

/// Loading the page of a large run may take so long.
const LOADED_WITHIN: Duration = Duration::from_secs(10);
/// And it may be so large.
const OVERVIEW_BYTES: u64 = 400 << 10;

#[test]
fn the_map_of_five_hundred_tasks_is_quick_and_leads_to_every_session() {
    let Some(mut browser) = Chromium::start() else { return };
    let home = tempfile::tempdir().expect("a folder");
    let methods =
        "[[method]]\nmethod = \"greedy\"\n[[method]]\nmethod = \"eg-cfg\"\ngamma = [0, 0.5, 1, 3]\n";
    let run = Run { tasks: names(500), methods, ..Run::default() };
    // On every tenth task the cells differ.
    let passes =
        |task: usize, cell: usize| if task.is_multiple_of(10) { cell == 4 } else { task.is_multiple_of(3) };
    let (paths, comparison) = reported(home.path(), &run, |task, cell| Some(session(4, passes(task, cell))));
    assert_eq!(paths.pages.len(), 2500);

    browser.resize(1400, 500);
    let started = Instant::now();
    browser.open(&paths.overview);
    browser.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))");
    let (time, bytes) = (started.elapsed(), fs::metadata(&paths.overview).expect("a page").len());
    println!("500 tasks, 5 cells: {} KiB, drawn after {:.2} s", bytes >> 10, time.as_secs_f64());
    assert!(time < LOADED_WITHIN && bytes < OVERVIEW_BYTES, "{time:?}, {bytes} bytes");

    // Every square is in its task's row and its cell's column, looks as its session went, and leads to its page.
    let squares = browser.evaluate(
        "[...document.querySelectorAll('.heat tbody tr')].map((row) => [row.cells[0].textContent, ...[...row.querySelectorAll('td > a')].map((a) => a.textContent + a.getAttribute('href'))])",
    );
    let rows = squares.as_array().expect("rows");
    assert_eq!(rows.len(), 500);
    let mut pages = paths.pages.iter();
    for (task, row) in rows.iter().enumerate() {
        let row: Vec<&str> = row.as_array().expect("a row").iter().filter_map(Value::as_str).collect();
        assert_eq!((row[0], row.len()), (format!("T/{task}").as_str(), 6));
        for (cell, square) in row[1..].iter().enumerate() {
            let link = square.strip_prefix(if passes(task, cell) { '●' } else { '◐' });
            let link = link.unwrap_or_else(|| panic!("T/{task}, cell {cell}: {square}"));
            assert_eq!(&home.path().join(link), pages.next().expect("a page"));
            assert!(home.path().join(link).is_file(), "{link}");
        }
    }

    // The filter leaves the tasks on which cells differ.
    browser.evaluate("document.getElementById('differ').focus()");
    let visible =
        "[...document.querySelectorAll('.heat tbody tr')].filter((row) => row.checkVisibility()).length";
    assert_eq!(browser.evaluate(visible), 500);
    browser.press(" ");
    assert_eq!(browser.evaluate(visible), 50);

    // By keyboard: one stop, in it the arrows, over hidden rows, to the ends; and back from a session.
    browser.press("Tab");
    let at = "(() => {
        const square = document.activeElement;
        const frame = square.getBoundingClientRect();
        const hit = document.elementFromPoint(frame.x + frame.width / 2, frame.y + frame.height / 2);
        return [square.title, hit === square];
    })()";
    assert_eq!(browser.evaluate(at), json!(["T/0 · greedy · ◐ only the guiding tests passed", true]));
    browser.press("ArrowUp");
    for key in ["ArrowDown"; 30].into_iter().chain(["ArrowUp"; 20]).chain(["ArrowRight"; 9]) {
        browser.press(key);
    }
    assert_eq!(browser.evaluate(at), json!(["T/100 · eg-cfg γ=3 · ● held-out tests passed", true]));
    browser.press("ArrowLeft");
    assert_eq!(browser.evaluate(at), json!(["T/100 · eg-cfg γ=1 · ◐ only the guiding tests passed", true]));
    browser.press("Tab");
    assert_eq!(browser.evaluate("document.activeElement.textContent"), "Manifest");
    browser.evaluate("document.querySelector('.heat a[tabindex=\"0\"]').focus()");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    browser.follow();
    let title = "[document.querySelector('h1').textContent, document.querySelector('.eyebrow').textContent]";
    assert_eq!(browser.evaluate(title), json!(["T/100", "made · eg-cfg γ=1"]));
    let beside = "[...document.querySelectorAll('nav a')].map((link) => link.textContent)";
    assert_eq!(browser.evaluate(beside), json!(["← eg-cfg γ=0.5", "→ eg-cfg γ=3", "↑ T/99", "↓ T/101"]));
    browser.evaluate("document.querySelectorAll('nav a')[3].focus()");
    browser.follow();
    assert_eq!(browser.evaluate(title), json!(["T/101", "made · eg-cfg γ=1"]));
    browser.evaluate("document.querySelector('.eyebrow a').focus()");
    browser.follow();
    assert_eq!(browser.evaluate("document.querySelector('h1').textContent"), "made");

    browser.open(&comparison);
    assert_eq!(browser.evaluate("document.querySelectorAll('svg.plot').length"), 5);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Texts of a page whose contrast with what is behind them is below 4.5 (WCAG 2.1, success criterion 1.4.3), with details open.
const PALE: &str = "(() => {
    document.querySelectorAll('details').forEach((details) => { details.open = true; });
    const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => 0.2126 * light(r / 255) + 0.7152 * light(g / 255) + 0.0722 * light(b / 255);
    const behind = (element) => {
        for (; element; element = element.parentElement) {
            const [r, g, b, a = 1] = parts(getComputedStyle(element).backgroundColor);
            if (a === 1) return [r, g, b];
            if (a > 0) throw new Error('a translucent background');
        }
        throw new Error('no background');
    };
    const pale = new Set();
    const texts = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
    let count = 0;
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !element.checkVisibility() || element.tagName === 'title') continue;
        count += 1;
        const style = getComputedStyle(element);
        const [a, b] = [luminance(parts(element.closest('svg') ? style.fill : style.color)), luminance(behind(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) pale.add(`${element.tagName}.${element.className.baseVal ?? element.className} in .${element.parentElement.className}: ${contrast.toFixed(2)}`);
    }
    if (count < 20) throw new Error('too few texts');
    return [...pale];
})()";

/// What sticks out of a page to the right, and which labels of a plot out of it.
const OUTSIDE: &str = "(() => {
    const page = document.documentElement;
    const wide = page.scrollWidth > page.clientWidth;
    const all = wide ? [...document.querySelectorAll('main *')] : [];
    const out = all.filter((element) => element.getBoundingClientRect().right > page.clientWidth + 1 && !element.parentElement.closest('.scroll, svg'));
    const cut = [...document.querySelectorAll('svg text')].filter((text) => {
        const [box, frame] = [text.getBBox(), text.ownerSVGElement.viewBox.baseVal];
        return box.x < 0 || box.x + box.width > frame.width || box.y < 0 || box.y + box.height > frame.height;
    });
    return [wide, ...new Set(out.map((element) => `${element.tagName}.${element.className}`)), ...cut.map((text) => text.textContent)];
})()";

#[test]
fn pages_are_legible_in_any_light_and_width_and_state() {
    let Some(mut browser) = Chromium::start() else { return };
    let home = tempfile::tempdir().expect("a folder");
    // All states that a session can have; names as long as can be.
    let mut tasks = names(6);
    tasks[1] = "benchmark/".to_owned() + &"a-very-long-name-without-a-blank".repeat(5);
    let methods = "[[method]]\nmethod = \"greedy\"\n[[method]]\nmethod = \"eg-cfg\"\ngamma = [1, 3]\nhorizon = [2, 3]\n\
                   prompt = [\"default\", \"long-code\"]\nseed = [1234567890123, 2]\n";
    let many =
        reported(&home.path().join("many"), &Run { tasks, methods, ..Run::default() }, |task, cell| {
            let mut made = session(3, (task + cell) % 2 == 0);
            made.guiding = Some(cell % 3 == 0);
            match task {
                3 => made.held_out = None,
                4 if cell > 2 => made = Session::skipped("greedy"),
                5 if cell > 1 => return None,
                _ => {}
            }
            made.prompt = "x".repeat(300);
            Some(made)
        });
    let one = reported(
        &home.path().join("one"),
        &Run { tasks: names(1), methods: "[[method]]\nmethod = \"greedy\"\n", ..Run::default() },
        |_, _| {
            let mut made = session(1, false);
            (made.held_out, made.guiding, made.seconds) = (None, None, None);
            Some(made)
        },
    );
    let none = reported(&home.path().join("none"), &Run::default(), |_, _| None);
    let pages = [&many.0.pages[0], &many.0.pages[1], &many.0.pages[20], &one.0.pages[0]];
    let runs = [&many, &one, &none].into_iter().flat_map(|(paths, comparison)| [&paths.overview, comparison]);
    for page in pages.into_iter().chain(runs) {
        browser.resize(1400, 900);
        browser.open(page);
        // Of a session the first step is then the current one.
        browser.press("j");
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            assert_eq!(browser.evaluate(PALE), json!([]), "{} in {scheme}", page.display());
        }
        for width in [1400, 800, 400] {
            browser.resize(width, 900);
            assert_eq!(browser.evaluate(OUTSIDE), json!([false]), "{} at {width}", page.display());
        }
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{}", page.display());
    }
}
