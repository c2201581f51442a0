//! APPS: the folders of its archive, one a task, or the records of its copy on the hub, with the same contents in
//! fields (`problem_id`, `question`, `solutions`, `input_output`, `starter_code`).
//!
//! The split: there is one list of inputs and outputs; the first of it **guides**, the others are **held out**. A
//! single one is held out, and a task with none has no test. Where the list names a function (`fn_name`), tests
//! call it; it is a method where the starter code is of a class `Solution`. Else the program is a script.
//!
//! Called functions: as the official evaluation, tuples count as lists, what should be returned may be written as
//! the only element of a list, and keys that are whole numbers become numbers. Scripts: see
//! [`Comparison::Close`]; the official evaluation also takes lines in any order for right, and whole numbers that
//! differ by a hundred thousandth, which this does not.
//!
//! The **reference** is the first solution. Tasks are called `APPS/<problem_id>`.

use super::contest::{IMPORTS, call, first_guides, function_of, function_task, script, script_task};
use super::json::{self, Keys};
use super::records::Record;
use super::{Task, Test};
use crate::sandbox::Comparison;

/// The files of a task's folder, and the fields that stand for them.
pub(super) const FILES: [(&str, &str); 4] = [
    ("question.txt", "question"),
    ("input_output.json", "input_output"),
    ("solutions.json", "solutions"),
    ("starter_code.py", "starter_code"),
];

pub(super) fn task(record: &Record) -> Result<Task, String> {
    let id = record.id("problem_id")?;
    // Folders are called 0001, records 1.
    let id = format!("APPS/{}", id.parse::<u64>().map_or(id, |number| number.to_string()));
    let question = record.text("question")?;
    let starter = record.optional_text("starter_code")?.unwrap_or("");
    let lists = Lists::read(record.optional_text("input_output")?.unwrap_or(""))
        .map_err(|reason| format!("the field `input_output`: {reason}"))?;
    let reference_solution = match record.optional_text("solutions")?.map(str::trim) {
        None | Some("") => None,
        Some(solutions) => {
            let of_field = |reason| format!("the field `solutions`: {reason}");
            let all = json::elements(solutions).map_err(of_field)?;
            all.first().map(|first| json::text(first).map_err(of_field)).transpose()?
        }
    };
    let tests = |test: &dyn Fn(&str, &str) -> Result<Test, String>| {
        let pairs = lists.inputs.iter().zip(&lists.outputs).enumerate();
        pairs
            .map(|(at, (input, output))| {
                test(input, output).map_err(|reason| format!("test {} of `input_output`: {reason}", at + 1))
            })
            .collect::<Result<Vec<_>, _>>()
            .map(first_guides)
    };
    let task = match &lists.function {
        Some(function) => {
            let code =
                if starter.trim().is_empty() { reference_solution.as_deref().unwrap_or("") } else { starter };
            let name = function_of(code, function);
            function_task(id, question, starter, &name, tests(&|input, output| called(&name, input, output))?)
        }
        None => script_task(
            id,
            question,
            tests(&|input, output| Ok(script(&lines(input)?, &lines(output)?, Comparison::Close)))?,
        ),
    };
    Ok(Task { imports: IMPORTS.to_owned(), reference_solution, ..task })
}

/// What `input_output` says.
#[derive(Default)]
struct Lists<'a> {
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    function: Option<String>,
}

impl<'a> Lists<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let mut lists = Lists::default();
        if text.trim().is_empty() {
            return Ok(lists);
        }
        for (name, value) in json::members(text)? {
            let of_list = |reason| format!("`{name}`: {reason}");
            match name.as_str() {
                "inputs" => lists.inputs = json::elements(value).map_err(of_list)?,
                "outputs" => lists.outputs = json::elements(value).map_err(of_list)?,
                "fn_name" if value != "null" => {
                    let function = json::text(value).map_err(of_list)?;
                    if !super::expression::is_name(&function) {
                        return Err(format!("`fn_name` is `{function}`, which is no name of a function"));
                    }
                    lists.function = Some(function);
                }
                _ => {}
            }
        }
        if lists.inputs.len() != lists.outputs.len() {
            return Err(format!("{} inputs and {} outputs", lists.inputs.len(), lists.outputs.len()));
        }
        Ok(lists)
    }
}

/// A text, or a list of lines.
fn lines(json: &str) -> Result<String, String> {
    match json::elements(json) {
        Ok(lines) => {
            let lines: Vec<String> = lines.into_iter().map(json::text).collect::<Result<_, _>>()?;
            Ok(lines.join("\n"))
        }
        Err(_) => json::text(json).map_err(|_| "neither a text nor a list of texts".to_owned()),
    }
}

fn called(function: &str, input: &str, output: &str) -> Result<Test, String> {
    let arguments = json::elements(input).map_err(|_| "the input is no list of arguments".to_owned())?;
    let mut accepted = vec![output];
    if let Ok([only]) = json::elements(output).as_deref() {
        accepted.push(only);
    }
    call(function, &arguments, &accepted, Keys::Numbers)
}
