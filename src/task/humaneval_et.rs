//! HumanEval-ET: HumanEval's fields, and `test_case_list`, more tests as single assertions.
//!
//! The split: **guiding** tests are the examples in the docstring, as with HumanEval; each assertion of
//! `test_case_list` is a **held-out** test. The `test` that it also carries is HumanEval's and is not used (the
//! adapter `humaneval` reads it).

use super::records::Record;
use super::{Task, humaneval, mbpp};

pub(super) fn task(record: &Record) -> Result<Task, String> {
    let task = humaneval::untested(record, "prompt")?;
    let tests = record.texts("test_case_list")?;
    if tests.is_empty() {
        return Err("the field `test_case_list` is missing or empty".to_owned());
    }
    let entry_point = record.text("entry_point")?;
    let held_out_tests = tests.into_iter().map(|source| mbpp::test(source, entry_point)).collect();
    Ok(Task { held_out_tests, ..task })
}
