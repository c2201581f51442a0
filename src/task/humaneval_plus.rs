//! HumanEval+, in EvalPlus' own format (`base_input`, `plus_input`, `atol`, `canonical_solution`), or in the
//! original format that the adapter `humaneval` reads too.
//!
//! The split: **guiding** tests are the examples in the docstring, as with HumanEval; all inputs are **held
//! out**, the benchmark's first (`base_input`), then EvalPlus' (`plus_input`), several in a test. The file says
//! what to call with, not what should come of it: that is what `canonical_solution` gives, and so a test compares
//! a call with the same call of that solution. The sandbox runs it once a test, in a worker that never runs a
//! program under test, and keeps the values (see `docs/sandbox.md`, "Who judges"): the solution does not enter
//! the process of the program.
//!
//! Values must be equal. Floating-point numbers, alone or in a list of nothing else, may differ by 10⁻⁶ + 10⁻⁷
//! |b|; where the record has an `atol`, all numbers by that instead of 10⁻⁶. The roots of `find_zero` are put
//! into the polynomial, which must then be `atol` from zero at most. `contract` and `test` are not used.

use super::json::{self, Keys};
use super::records::Record;
use super::{Task, Test, humaneval};

/// Calls in one test. What they should give is found out within the time that the sandbox has for one plan.
const CALLS: usize = 40;

/// Whether a value is what was expected. The name is one that the sandbox's judge knows: see `harness/judge.py`.
const NEAR: &str = "\
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

/// The value of a polynomial, the coefficient of the lowest power first.
const POLYNOMIAL: &str = "\
def vigor_polynomial(coefficients, x):
    return sum(coefficient * x**power for power, coefficient in enumerate(coefficients))
";

pub(super) fn task(record: &Record) -> Result<Task, String> {
    if !record.has("base_input") {
        return humaneval::task(record);
    }
    let task = humaneval::untested(record)?;
    let prompt = record.text("prompt")?;
    let entry_point = record.text("entry_point")?;
    let solution = format!("{prompt}{}", record.text("canonical_solution")?);
    let tolerance = match record.raw("atol")? {
        None | Some("null") => "0",
        Some(number) if number.parse::<f64>().is_ok_and(|atol| (0.0..1.0).contains(&atol)) => number,
        Some(other) => return Err(format!("the field `atol` is {other}, not a number from 0 to 1")),
    };
    let mut held_out_tests = Vec::new();
    for field in ["base_input", "plus_input"] {
        let of_field = |reason| format!("the field `{field}`: {reason}");
        let inputs = json::elements(record.raw(field)?.unwrap_or("[]")).map_err(of_field)?;
        for inputs in inputs.chunks(CALLS) {
            let calls = inputs.iter().map(|input| arguments(input)).collect::<Result<Vec<_>, _>>();
            let calls = calls.map_err(of_field)?;
            held_out_tests.push(held_out(entry_point, &solution, tolerance, &calls));
        }
    }
    if held_out_tests.is_empty() {
        return Err("the fields `base_input` and `plus_input` are empty".to_owned());
    }
    Ok(Task { held_out_tests, ..task })
}

/// What stands between the parentheses of a call.
fn arguments(input: &str) -> Result<String, String> {
    let values = json::elements(input).map_err(|_| "an input is no list of arguments".to_owned())?;
    let python =
        values.iter().map(|value| json::to_python(value, Keys::Texts)).collect::<Result<Vec<_>, _>>();
    Ok(python?.join(", "))
}

fn held_out(entry_point: &str, solution: &str, tolerance: &str, calls: &[String]) -> Test {
    let mut source;
    if entry_point == "find_zero" {
        source = POLYNOMIAL.to_owned();
        for call in calls {
            source += &format!("assert abs(vigor_polynomial({call}, find_zero({call}))) <= {tolerance}\n");
        }
    } else {
        let reference = REFERENCE.replace("NAME", &json::quoted(entry_point));
        source = format!("{NEAR}{}", reference.replace("SOLUTION", &json::quoted(solution)));
        for call in calls {
            source +=
                &format!("assert vigor_near({entry_point}({call}), vigor_reference({call}), {tolerance})\n");
        }
    }
    Test::statements(source)
}
