//! MBPP+, in EvalPlus' own format (`base_input`, `plus_input`, `atol`, `canonical_solution`, `assertion`), or in the
//! original format that the adapter `mbpp` reads too.
//!
//! The split: the **guiding** test is the assertion in the prompt; all inputs are **held out** (see `evalplus`), several
//! in a test. The prompt is a docstring of a description and that assertion; the task's own is the description. Tasks
//! are called `MBPP/<number>`.
//!
//! The file holds lists where the benchmark has tuples and sets, and texts where it has complex numbers: which, stands in
//! EvalPlus' program, by the numbers of the tasks, and here in [`argument`]. Values are compared as EvalPlus does it: as
//! those of HumanEval+ (see `humaneval_plus`), but for eleven tasks, of which see [`comparison`]. `contract` is not used, and
//! of `assertion` only the imports are.

use super::evalplus::{NEAR, held_out, reference, tolerance};
use super::expression::is_name;
use super::json::{self, Brackets, Keys};
use super::records::Record;
use super::{PromptKind, Task, mbpp};

/// Of a match of a regular expression only whether there is one.
const FOUND: &str = "\
def vigor_near(got, expected, atol):
    return (got if type(got) is bool else got is not None) == expected
";

/// One of several values.
const EITHER: &str = "\
def vigor_near(got, expected, atol):
    return got in expected
";

/// The sum of the differences of two numbers' digits, the last ones at the same place.
const DIGIT_DISTANCE: &str = "\
def vigor_other(a, b):
    width = max(len(str(a)), len(str(b)))
    return sum(abs(int(x) - int(y)) for x, y in zip(str(a).zfill(width), str(b).zfill(width)))
";

/// The surface of a square pyramid of that height, to a whole number.
const PYRAMID: &str = "\
def vigor_other(base, height):
    return round(base**2 + 2 * base * ((base / 2) ** 2 + height**2) ** 0.5)
";

pub(super) fn task(record: &Record) -> Result<Task, String> {
    if !record.has("base_input") {
        return mbpp::task(record);
    }
    let id = record.id("task_id")?;
    let number = id.rsplit('/').next().and_then(|number| number.parse().ok());
    let number: u64 =
        number.ok_or_else(|| format!("the field `task_id` is `{id}`, which ends in no number"))?;
    let entry_point = record.text("entry_point")?;
    if !is_name(entry_point) {
        return Err(format!("the entry point `{entry_point}` is no name of a function"));
    }
    let (description, example) = parts_of(record.text("prompt")?)
        .ok_or("the field `prompt` is no docstring that ends in an assertion")?;
    let solution = record.text("canonical_solution")?;
    let (definitions, other) = comparison(entry_point);
    let definitions = format!("{definitions}{}", reference(entry_point, solution));
    let tolerance = tolerance(record)?;
    let assertion = |call: &str| match other {
        Other::Set => format!("set({entry_point}({call})) == set(vigor_reference({call}))"),
        Other::Found => {
            format!("vigor_near({entry_point}({call}), vigor_reference({call}) is not None, None)")
        }
        Other::Either => {
            format!("vigor_near({entry_point}({call}), (vigor_reference({call}), vigor_other({call})), None)")
        }
        Other::No => format!("vigor_near({entry_point}({call}), vigor_reference({call}), {tolerance})"),
    };
    let python = |value: &str, at| argument(number, at).to_python(value);
    let imports = record.optional_text("assertion")?.unwrap_or("").lines();
    Ok(Task {
        id: format!("MBPP/{number}"),
        prompt: description.to_owned(),
        prompt_kind: PromptKind::Text,
        imports: String::new(),
        setup: imports.filter(|line| line.starts_with("import ")).map(|line| format!("{line}\n")).collect(),
        guiding_tests: vec![mbpp::test(example, entry_point)],
        held_out_tests: held_out(record, python, &definitions, assertion)?,
        entry_point: Some(entry_point.to_owned()),
        reference_solution: Some(solution.to_owned()),
    })
}

/// The description and the assertion of a prompt.
fn parts_of(prompt: &str) -> Option<(&str, &str)> {
    let text = prompt.trim().strip_prefix("\"\"\"")?.strip_suffix("\"\"\"")?.trim();
    let at = text.rfind("\nassert ")?;
    Some((text[..at].trim_end(), &text[at + 1..]))
}

/// What is not compared as the other values are.
#[derive(Clone, Copy)]
enum Other {
    /// Nothing.
    No,
    /// The order of elements does not count, nor how often one is there.
    Set,
    /// What EvalPlus cannot write down: [`FOUND`].
    Found,
    /// The task can be understood in two ways.
    Either,
}

/// How the values of a function are compared, with what that needs.
fn comparison(entry_point: &str) -> (String, Other) {
    match entry_point {
        "similar_elements"
        | "find_char_long"
        | "common_in_nested_lists"
        | "extract_singly"
        | "larg_nnum"
        | "intersection_array"
        | "find_dissimilar"
        | "Diff" => (String::new(), Other::Set),
        "check_str" | "text_match_three" | "text_starta_endb" => (FOUND.to_owned(), Other::Found),
        "digit_distance_nums" => (format!("{EITHER}{DIGIT_DISTANCE}"), Other::Either),
        "surface_Area" => (format!("{EITHER}{PYRAMID}"), Other::Either),
        _ => (NEAR.to_owned(), Other::No),
    }
}

/// How an argument of the file is to be read.
enum Argument {
    /// With other brackets around some lists.
    Value(Brackets),
    /// By a function of Python.
    Of(&'static str),
}

impl Argument {
    fn to_python(&self, json: &str) -> Result<String, String> {
        match self {
            Argument::Value(brackets) => json::with_brackets(json, Keys::Texts, brackets),
            Argument::Of(function) => Ok(format!("{function}({})", json::to_python(json, Keys::Texts)?)),
        }
    }
}

/// The argument of task `number` at position `at`, from 0.
fn argument(number: u64, at: usize) -> Argument {
    let tuples = |depths| Argument::Value(Brackets { depths, around: ['(', ')'] });
    match (number, at) {
        // The argument itself.
        (2 | 116 | 132 | 143 | 222 | 261 | 273 | 394 | 399 | 421 | 424 | 429 | 470 | 560, _)
        | (579 | 596 | 616 | 630 | 726 | 740 | 744 | 809, _)
        | (250 | 307 | 405 | 446 | 617 | 720 | 763 | 808, 0)
        | (106 | 750, 1) => tuples(1..2),
        // What it holds.
        (63 | 64 | 70 | 94 | 120 | 237 | 272 | 299 | 400 | 409 | 417 | 438 | 473 | 614 | 780, _)
        | (75 | 413 | 444 | 722 | 753, 0) => tuples(2..3),
        // Both, or all at any depth.
        (259 | 278 | 401 | 445, _) => tuples(1..3),
        (580 | 615 | 791, _) => tuples(1..usize::MAX),
        (115, _) => Argument::Value(Brackets { depths: 2..3, around: ['{', '}'] }),
        (124, 0) => Argument::Of("float"),
        (124, 1) | (252, _) => Argument::Of("complex"),
        _ => Argument::Value(Brackets::JSON),
    }
}
