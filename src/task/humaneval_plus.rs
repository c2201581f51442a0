//! HumanEval+, in EvalPlus' own format (`base_input`, `plus_input`, `atol`, `canonical_solution`), or in the
//! original format that the adapter `humaneval` reads too.
//!
//! The split: **guiding** tests are the examples in the docstring, as with HumanEval; all inputs are **held
//! out** (see `evalplus`), several in a test.
//!
//! Values must be equal. Floating-point numbers, alone or in a list of nothing else, may differ by 10⁻⁶ + 10⁻⁷
//! |b|; where the record has an `atol`, all numbers by that instead of 10⁻⁶. The roots of `find_zero` are put
//! into the polynomial, which must then be `atol` from zero at most. `contract` and `test` are not used.

use super::evalplus::{NEAR, held_out, reference, tolerance};
use super::json::{self, Keys};
use super::records::Record;
use super::{Task, humaneval};

/// The value of a polynomial, the coefficient of the lowest power first.
const POLYNOMIAL: &str = "\
def vigor_polynomial(coefficients, x):
    return sum(coefficient * x**power for power, coefficient in enumerate(coefficients))
";

pub(super) fn task(record: &Record) -> Result<Task, String> {
    if !record.has("base_input") {
        return humaneval::task(record);
    }
    let task = humaneval::untested(record, "prompt")?;
    let prompt = record.text("prompt")?;
    let entry_point = record.text("entry_point")?;
    let solution = format!("{prompt}{}", record.text("canonical_solution")?);
    let tolerance = tolerance(record)?;
    let python = |value: &str, _| json::to_python(value, Keys::Texts);
    let held_out_tests = if entry_point == "find_zero" {
        let assertion =
            |call: &str| format!("abs(vigor_polynomial({call}, find_zero({call}))) <= {tolerance}");
        held_out(record, python, POLYNOMIAL, assertion)?
    } else {
        let definitions = format!("{NEAR}{}", reference(entry_point, &solution));
        let assertion =
            |call: &str| format!("vigor_near({entry_point}({call}), vigor_reference({call}), {tolerance})");
        held_out(record, python, &definitions, assertion)?
    };
    Ok(Task { held_out_tests, ..task })
}
