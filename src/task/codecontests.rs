//! CodeContests, in the layout of its copy on the hub: `name`, `description`, `public_tests`, `private_tests`,
//! `generated_tests` (each with the lists `input` and `output`), `solutions` (the lists `language` and
//! `solution`).
//!
//! The split: the public tests, which the statement shows, **guide**; the private and the generated ones are
//! **held out**, in this order. Where there are only public ones, the first guides and the others are held out.
//! Printed text is compared as the set's own tester does ([`Comparison::Words`]). Some problems have several
//! right answers, and the tests know only one.
//!
//! The **reference** is the first solution in Python 3.

use serde_json::Value;

use super::contest::{first_guides, script, script_task};
use super::records::Record;
use super::{Task, Test};
use crate::sandbox::Comparison;

/// The number of Python 3 among the set's languages.
const PYTHON3: u64 = 3;

pub(super) fn task(record: &Record) -> Result<Task, String> {
    let public = tests(record, "public_tests")?;
    let mut held_out = tests(record, "private_tests")?;
    held_out.extend(tests(record, "generated_tests")?);
    let split = if held_out.is_empty() { first_guides(public) } else { (public, held_out) };
    let task = script_task(record.id("name")?, record.text("description")?, split);
    Ok(Task { reference_solution: solution(record)?, ..task })
}

fn tests(record: &Record, field: &str) -> Result<Vec<Test>, String> {
    let (inputs, outputs) = (texts(record, field, "input")?, texts(record, field, "output")?);
    if inputs.len() != outputs.len() {
        return Err(format!("the field `{field}` has {} inputs and {} outputs", inputs.len(), outputs.len()));
    }
    let test = |(input, output): (&&str, &&str)| script(input, output, Comparison::Words);
    Ok(inputs.iter().zip(&outputs).map(test).collect())
}

/// The list `part` of the object `field`; an absent one is empty.
fn texts<'a>(record: &'a Record, field: &str, part: &str) -> Result<Vec<&'a str>, String> {
    let wrong = || format!("the field `{field}` has no list of texts `{part}`");
    let Some(object) = record.object(field)? else { return Ok(Vec::new()) };
    let list = object.get(part).and_then(Value::as_array).ok_or_else(wrong)?;
    list.iter().map(|item| item.as_str().ok_or_else(wrong)).collect()
}

fn solution(record: &Record) -> Result<Option<String>, String> {
    let programs = texts(record, "solutions", "solution")?;
    let languages = record.object("solutions")?.and_then(|object| object.get("language"));
    let languages = languages.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_python = |language: &Value| language.as_u64() == Some(PYTHON3) || language == "PYTHON3";
    let at = languages.iter().position(is_python);
    Ok(at.and_then(|at| programs.get(at)).map(|program| (*program).to_owned()))
}
