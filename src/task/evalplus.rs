//! What EvalPlus' two sets share: inputs without outputs (`base_input`, `plus_input`), and a solution that gives them
//! (`canonical_solution`).
//!
//! A test compares a call with the same call of that solution. The sandbox runs the solution once a test, in a worker that
//! never runs a program under test, and keeps the values (see `docs/sandbox.md`, "Who judges"): it does not enter the
//! process of the program.

use super::Test;
use super::json;
use super::records::Record;

/// Calls in one test. What they should give is found out within the time that the sandbox has for one plan.
const CALLS: usize = 40;

/// Whether a value is what was expected. The name is one that the sandbox's judge knows: see `harness/judge.py`.
pub(super) const NEAR: &str = "\
def vigor_near(got, expected, atol):
    if got == expected:
        return True
    items = expected if type(expected) in (list, tuple) else [expected]
    if not atol and all(type(item) is float for item in items):
        atol = 1e-6
    if not atol or type(got) is not type(expected):
        return False
    others = got if items is expected else [got]
    if len(others) != len(items):
        return False
    return all(abs(a - b) <= atol + 1e-7 * abs(b) for a, b in zip(others, items))
";

/// What the solution gives. It is a text here, so that its names are not those of the test.
const REFERENCE: &str = "\
def vigor_reference(*arguments, known={}):
    if not known:
        exec(SOLUTION, known)
    return known[NAME](*arguments)
";

/// The definition of `vigor_reference`, which calls `entry_point` as `solution` defines it.
pub(super) fn reference(entry_point: &str, solution: &str) -> String {
    let reference = REFERENCE.replace("NAME", &json::quoted(entry_point));
    reference.replace("SOLUTION", &json::quoted(solution))
}

/// How far numbers may be apart, as a Python literal.
pub(super) fn tolerance(record: &Record) -> Result<&str, String> {
    match record.raw("atol")? {
        None | Some("null") => Ok("0"),
        Some(number) if number.parse::<f64>().is_ok_and(|atol| (0.0..1.0).contains(&atol)) => Ok(number),
        Some(other) => Err(format!("the field `atol` is {other}, not a number from 0 to 1")),
    }
}

/// Tests of the inputs, the benchmark's first, then EvalPlus'. Each begins with `definitions`; `assertion` makes an
/// assertion of what stands between the parentheses of a call, which `python` makes of an argument and its position.
pub(super) fn held_out(
    record: &Record,
    python: impl Fn(&str, usize) -> Result<String, String>,
    definitions: &str,
    assertion: impl Fn(&str) -> String,
) -> Result<Vec<Test>, String> {
    let call = |input: &&str| -> Result<String, String> {
        let values = json::elements(input).map_err(|_| "an input is no list of arguments".to_owned())?;
        let values = values.iter().enumerate().map(|(at, value)| python(value, at));
        Ok(values.collect::<Result<Vec<_>, _>>()?.join(", "))
    };
    let mut tests = Vec::new();
    for field in ["base_input", "plus_input"] {
        let of_field = |reason| format!("the field `{field}`: {reason}");
        let inputs = match record.raw(field)? {
            None => Vec::new(),
            // As MBPP+ writes that there are none (793).
            Some("{}") if field == "plus_input" => Vec::new(),
            Some(inputs) => json::elements(inputs).map_err(of_field)?,
        };
        for inputs in inputs.chunks(CALLS) {
            let calls = inputs.iter().map(call).collect::<Result<Vec<_>, _>>().map_err(of_field)?;
            let assertions: String =
                calls.iter().map(|call| format!("assert {}\n", assertion(call))).collect();
            tests.push(Test::statements(format!("{definitions}{assertions}")));
        }
    }
    if tests.is_empty() {
        return Err("the fields `base_input` and `plus_input` are empty".to_owned());
    }
    Ok(tests)
}
