//! What the prompts of the styles look like, against texts written by hand, and what their own code promises.

use std::sync::Arc;

use vigor::model::random;
use vigor::model::template::ChatTemplate;
use vigor::model::tokenizer::Tokenizer;
use vigor::sandbox::{ExecRequest, Limits, Policy, Pool, PoolConfig, ScriptTest, Verdict};
use vigor::session::method::PromptTemplates;
use vigor::session::prompts::{ANSWER_PREFIX, Prompts};
use vigor::session::style::{Example, Layout, PromptStyle, own_examples};
use vigor::session::trace::Gate;
use vigor::task::{PromptKind, Task, Test};

const CHAT: &str =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>\n{% endfor %}<assistant>";

fn test(source: &str) -> Test {
    Test { source: source.into(), call: None, expected: None, script: None }
}

fn in_words() -> Task {
    Task {
        id: "T/1".into(),
        prompt: "Write a function to double a number.\n".into(),
        prompt_kind: PromptKind::Text,
        entry_point: Some("double".into()),
        imports: String::new(),
        setup: String::new(),
        guiding_tests: vec![test("assert double(2) == 4"), test("assert double(-1) == -2")],
        held_out_tests: vec![test("assert double(7) == 14")],
        reference_solution: Some("def double(n):\n    return n + n".into()),
    }
}

fn in_code() -> Task {
    Task {
        prompt: "def double(n):\n    \"\"\"Twice n.\"\"\"\n".into(),
        prompt_kind: PromptKind::Code,
        guiding_tests: vec![test("assert double(2) == 4")],
        ..in_words()
    }
}

fn prompts(templates: PromptTemplates) -> Prompts {
    let tokenizer = Tokenizer::from_json(&random::byte_tokenizer(), "the bytes").unwrap();
    Prompts::new(Arc::new(tokenizer), Some(ChatTemplate::new(CHAT, "", "").unwrap()), &templates)
}

fn raw() -> Prompts {
    prompts(PromptTemplates { layout: Layout::Raw, ..PromptTemplates::default() })
}

#[test]
fn the_few_shot_prompt_is_the_one_written_by_hand() {
    let prompt = raw().plain(&in_words(), PromptStyle::Instruct3Shot).unwrap();
    assert_eq!(prompt.text, include_str!("goldens/prompts/instruct-3-shot.raw.txt"));
    assert_eq!(prompt.program, "");
}

#[test]
fn the_long_code_prompt_is_the_one_written_by_hand() {
    let prompts = prompts(PromptTemplates::default());
    let prompt = prompts.conditional(&in_code(), PromptStyle::LongCode, "### Signal\ndouble(2)\n").unwrap();
    assert_eq!(prompt.text, include_str!("goldens/prompts/long-code.chat.conditional.txt"));
}

/// The signal stands directly before the answer, and everything before it is the plain prompt: what the trunk holds of it
/// is shared. The mark of the answer and what follows it are unchanged.
#[test]
fn a_signal_goes_directly_before_the_answer() {
    let signal = "### Signal\n1\n";
    for (prompts, mark) in [
        (raw(), "\n\n### Response:\n```python\n"),
        (prompts(PromptTemplates::default()), "</user>\n<assistant>```python\n"),
    ] {
        for style in [PromptStyle::Instruct3Shot, PromptStyle::LongCode] {
            let plain = prompts.plain(&in_words(), style).unwrap();
            let conditional = prompts.conditional(&in_words(), style, signal).unwrap();
            let before = plain.text.strip_suffix(mark).expect("the answer's place");
            assert_eq!(conditional.text, format!("{before}\n\n### Signal\n1{mark}"));
            let shared = plain.tokens.iter().zip(&conditional.tokens).take_while(|(a, b)| a == b).count();
            assert!(shared >= before.len(), "{shared} of {}", before.len());
            assert!(prompts.is_fenced(style));
        }
    }
}

#[test]
fn raw_text_has_nothing_of_the_chat_template() {
    let prompts = raw();
    let prompt = prompts.plain(&in_code(), PromptStyle::LongCode).unwrap();
    assert!(!prompt.text.contains("<user>"), "{}", prompt.text);
    // In the default style it is what a base model gets: the program itself, to go on with.
    let prompt = prompts.plain(&in_code(), PromptStyle::Default).unwrap();
    assert_eq!(
        (prompt.text.as_str(), prompt.program.as_str()),
        (in_code().prompt.as_str(), in_code().prompt.as_str())
    );
    assert!(!prompts.is_fenced(PromptStyle::Default));
}

/// A program that reads standard input is asked for as one, and what it should print is no Python.
#[test]
fn scripts_are_asked_for_as_scripts() {
    let script = |stdin: &str, stdout: &str| {
        Test::script(ScriptTest { stdin: stdin.into(), stdout: stdout.into(), ..ScriptTest::default() })
    };
    let task = Task {
        entry_point: None,
        guiding_tests: vec![script("2\n", "4\n")],
        held_out_tests: vec![script("7\n", "14\n")],
        ..in_words()
    };
    let prompts = prompts(PromptTemplates::default());
    for style in [PromptStyle::Default, PromptStyle::Instruct3Shot, PromptStyle::LongCode] {
        let text = prompts.plain(&task, style).unwrap().text;
        assert!(
            text.contains("reads standard input") && text.contains("\n\nInput:\n2\nOutput:\n4\n"),
            "{text}"
        );
        assert!(!text.contains("14") && !text.contains("```python\nInput:"), "{text}");
        let text = prompts.plain(&in_words(), style).unwrap().text;
        assert!(
            !text.contains("standard input") && text.contains("```python\nassert double(2) == 4"),
            "{text}"
        );
    }
}

/// What belongs in a function begins with its header, which the model has not to write and the test does not get.
#[test]
fn snippets_are_asked_for_as_snippets() {
    let text = "Double x.\nA:\n<code>\ndef f(x=2):\n    ### BEGIN SOLUTION\n";
    let task =
        Task { prompt: text.into(), prompt_kind: PromptKind::Snippet, guiding_tests: vec![], ..in_words() };
    let chat = prompts(PromptTemplates::default());
    for (prompts, style) in [
        (&chat, PromptStyle::Default),
        (&chat, PromptStyle::LongCode),
        (&chat, PromptStyle::Instruct3Shot),
        (&raw(), PromptStyle::LongCode),
    ] {
        let prompt = prompts.plain(&task, style).unwrap();
        assert!(prompt.text.contains("where the solution begins"), "{}", prompt.text);
        assert!(prompt.text.contains(text.trim_end()), "{}", prompt.text);
        assert!(
            prompt.text.ends_with("\n```python\ndef f(x=2):\n")
                || prompt.text.ends_with(">```python\ndef f(x=2):\n")
        );
        assert_eq!(prompt.program, "def f(x=2):\n");
        let conditional = prompts.conditional(&task, style, "### Signal\n").unwrap();
        assert_eq!(conditional.program, "def f(x=2):\n");
    }
    let prompt = raw().plain(&task, PromptStyle::Default).unwrap();
    assert_eq!((prompt.text.as_str(), prompt.program.as_str()), (text, "def f(x=2):\n"));
    let top = Task { prompt: "Double x.\n# SOLUTION START\n".into(), ..task };
    assert_eq!(chat.plain(&top, PromptStyle::Default).unwrap().program, "");
}

#[test]
fn held_out_tests_and_solutions_are_in_no_prompt() {
    for style in [PromptStyle::Default, PromptStyle::Instruct3Shot, PromptStyle::LongCode] {
        for task in [in_words(), in_code()] {
            let text = prompts(PromptTemplates::default()).plain(&task, style).unwrap().text;
            assert!(!text.contains("double(7)") && !text.contains("n + n"), "{text}");
        }
    }
}

fn mbpp(number: usize) -> Task {
    let guiding_tests = vec![test(&format!("assert f{number}(0) == 0"))];
    let held_out_tests = vec![
        test(&format!("assert f{number}(1) == 1")),
        test("a script\nof many lines"),
        test(&format!("assert f{number}(2) == 2")),
        test(&format!("assert f{number}(3) == 3")),
    ];
    let reference_solution = Some(format!("def f{number}(n):\n    return n\n"));
    Task { id: format!("MBPP/{number}"), guiding_tests, held_out_tests, reference_solution, ..in_words() }
}

#[test]
fn mbpp_brings_its_customary_examples_and_shows_no_task_its_own_solution() {
    let all: Vec<Task> = (1..=11).map(mbpp).collect();
    let examples = Example::customary(&all);
    let ids: Vec<_> = examples.iter().map(|e| e.task_id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["MBPP/2", "MBPP/3", "MBPP/4"]);
    assert_eq!(examples[1].tests, ["assert f3(0) == 0", "assert f3(1) == 1", "assert f3(2) == 2"]);
    assert_eq!(examples[1].code, "def f3(n):\n    return n");
    assert_eq!(Example::customary(&all[4..]), []);

    let prompts = prompts(PromptTemplates { examples, ..PromptTemplates::default() });
    let shown = |task: &Task| {
        let text = prompts.plain(task, PromptStyle::Instruct3Shot).unwrap().text;
        ["def f2", "def f3", "def f4"].map(|definition| text.contains(definition))
    };
    assert_eq!(shown(&all[10]), [true, true, true]);
    assert_eq!(shown(&all[2]), [true, false, true]);
}

#[test]
fn a_template_of_ones_own_can_use_the_tests_and_the_examples() {
    let templates = PromptTemplates {
        coder: Some("{{ prompt }}|{{ tests | length }}|{% for e in examples %}{{ e.prompt }}: {{ e.tests[0] }}, {{ e.code }}{% endfor %}".into()),
        conditional: Some("{{ signal }}|{{ entry_point }}|{{ coder }}".into()),
        examples: vec![Example { task_id: None, prompt: "P".into(), tests: vec!["t".into()], code: "c".into() }],
        ..PromptTemplates::default()
    };
    let prompt = prompts(templates).conditional(&in_words(), PromptStyle::Default, "s\n").unwrap();
    let expected = format!(
        "<user>s|double|Write a function to double a number.|2|P: t, c</user>\n<assistant>{ANSWER_PREFIX}"
    );
    assert_eq!(prompt.text, expected);
}

fn pool() -> Pool {
    Pool::new(PoolConfig {
        launcher: env!("CARGO_BIN_EXE_vigor").into(),
        workers: 1,
        policy: Policy::BestEffort,
        ..PoolConfig::default()
    })
    .expect("a sandbox")
}

#[test]
fn our_examples_pass_their_tests() {
    let examples = own_examples();
    assert_eq!(examples.len(), 3);
    let pool = pool();
    for example in examples {
        assert_eq!(example.tests.len(), 3);
        let report = pool
            .execute(&ExecRequest {
                code: example.code,
                tests: example.tests.into_iter().map(Into::into).collect(),
                setup: String::new(),
                trace: None,
                limits: Limits::default(),
                keep_going: true,
            })
            .unwrap();
        assert!(report.tests.iter().all(|t| t.verdict == Verdict::Passed), "{}: {report:?}", example.prompt);
    }
}

/// The right half of each pair keeps the rule that it shows: every line leaves the beginning of a program.
#[test]
fn what_long_code_calls_right_is_valid_line_by_line() {
    let text = raw().plain(&in_words(), PromptStyle::LongCode).unwrap().text;
    let blocks = |label: &str| -> Vec<String> {
        let label = format!("\n{label}:\n```python\n");
        let parts = text.split(&label).skip(1);
        parts.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
    };
    let (wrong, right) = (blocks("Wrong"), blocks("Right"));
    assert_eq!((wrong.len(), right.len()), (4, 4));
    let pool = pool();
    for block in &right {
        // `return` needs a function around it.
        let lines: Vec<String> = block.lines().map(|line| format!("    {line}\n")).collect();
        let prefixes: Vec<String> = (1..=lines.len())
            .map(|n| format!("def f(text, pairs, numbers, n):\n{}", lines[..n].concat()))
            .collect();
        let gates = pool.classify(&prefixes).unwrap();
        assert!(gates.iter().all(|gate| !matches!(gate, Gate::Invalid { .. })), "{block}: {gates:?}");
        assert_eq!(gates.last(), Some(&Gate::Complete), "{block}");
        assert!(
            [" for ", "lambda", " else "]
                .iter()
                .all(|word| !block.lines().any(|l| l.trim_start().contains(word))),
            "{block}"
        );
    }
}
