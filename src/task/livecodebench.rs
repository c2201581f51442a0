//! LiveCodeBench's code generation set: `question_title`, `question_content`, `question_id`, `starter_code`,
//! `public_test_cases` and `private_test_cases` (lists of `input`, `output` and `testtype`, as JSON in a text),
//! `metadata` (`func_name`, as JSON in a text).
//!
//! The split: the public tests, which the statement shows, **guide**; the private ones are **held out**. Where
//! the private ones are missing, the first public one guides and the others are held out. The private ones are
//! published packed (see `packed`); they are unpacked without running what a pickle may run.
//!
//! Tests of type `stdin` run the program as a script, and compare as the official evaluation does
//! ([`Comparison::Decimals`]). Tests of type `functional` call a method of `Solution` (a function, where there is
//! no class in the starter code), one argument a line of the input; lists and tuples count as the same.
//!
//! There is no reference solution. Tasks are called as in `question_id`.

use super::contest::{IMPORTS, call, first_guides, function_of, function_task, script, script_task};
use super::expression::is_name;
use super::json::{self, Keys};
use super::packed::unpacked;
use super::records::Record;
use super::{Task, Test};
use crate::sandbox::Comparison;

pub(super) fn task(record: &Record) -> Result<Task, String> {
    let starter = record.optional_text("starter_code")?.unwrap_or("");
    let function = function(record)?;
    let tests = |field: &str, list: &str| -> Result<Vec<Test>, String> {
        let test = |(at, test): (usize, &&str)| {
            self::test(test, starter, function.as_deref())
                .map_err(|reason| format!("test {} of the field `{field}`: {reason}", at + 1))
        };
        let list = json::elements(list).map_err(|reason| format!("the field `{field}`: {reason}"))?;
        list.iter().enumerate().map(test).collect()
    };
    let public = tests("public_test_cases", record.text("public_test_cases")?)?;
    let private = match record.optional_text("private_test_cases")?.map(str::trim) {
        None | Some("") => Vec::new(),
        Some(list) if list.starts_with('[') => tests("private_test_cases", list)?,
        Some(packed) => {
            let list =
                unpacked(packed).map_err(|reason| format!("the field `private_test_cases`: {reason}"))?;
            tests("private_test_cases", &list)?
        }
    };
    let split = if private.is_empty() { first_guides(public) } else { (public, private) };
    let (id, content) = (record.id("question_id")?, record.text("question_content")?);
    let statement = match record.optional_text("question_title")?.unwrap_or("") {
        "" => content.to_owned(),
        title => format!("{title}\n\n{content}"),
    };
    let task = match &function {
        Some(function) => function_task(id, &statement, starter, &function_of(starter, function), split),
        None => script_task(id, &statement, split),
    };
    Ok(Task { imports: IMPORTS.to_owned(), ..task })
}

/// The name of the function that functional tests call.
fn function(record: &Record) -> Result<Option<String>, String> {
    let Some(metadata) = record.optional_text("metadata")?.filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    let of_field = |reason: String| format!("the field `metadata`: {reason}");
    let members = json::members(metadata).map_err(of_field)?;
    let Some((_, name)) = members.iter().find(|(name, value)| name == "func_name" && *value != "null") else {
        return Ok(None);
    };
    let name = json::text(name).map_err(of_field)?;
    if !is_name(&name) {
        return Err(of_field(format!("`func_name` is `{name}`, which is no name of a function")));
    }
    Ok(Some(name))
}

fn test(json: &str, starter: &str, function: Option<&str>) -> Result<Test, String> {
    let members = json::members(json)?;
    let member = |name: &str| -> Result<String, String> {
        let found = members.iter().find(|(other, _)| other == name);
        let (_, value) = found.ok_or_else(|| format!("`{name}` is missing"))?;
        json::text(value).map_err(|reason| format!("`{name}`: {reason}"))
    };
    let (input, output) = (member("input")?, member("output")?);
    match (member("testtype")?.as_str(), function) {
        ("stdin", _) => Ok(script(&input, &output, Comparison::Decimals)),
        ("functional", Some(function)) => {
            let arguments: Vec<&str> = input.lines().filter(|line| !line.trim().is_empty()).collect();
            call(&function_of(starter, function), &arguments, &[output.as_str()], Keys::Texts)
        }
        ("functional", None) => Err("it calls a function, and `metadata` names none".to_owned()),
        (other, _) => Err(format!("its `testtype` is `{other}`; known are `stdin` and `functional`")),
    }
}
