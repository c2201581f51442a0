//! What sets made of programming contests share: programs that read and print, or one function that is called.

use super::json::{self, Keys};
use super::{PromptKind, Task, Test};
use crate::sandbox::{Comparison, ScriptTest};

/// Imports that the contests' own sites make, and that solutions therefore leave out. The last one gives the
/// built-in functions their names back.
pub(super) const IMPORTS: &str = "\
import bisect, collections, copy, datetime, functools, heapq, itertools, json, math, operator, random, re, string, sys
from typing import *
from collections import *
from bisect import *
from heapq import *
from math import *
from itertools import *
from functools import *
from builtins import *
";

/// Lists and tuples alike as lists: what is expected was written as JSON, which has no tuples.
const LISTS: &str = "\
def vigor_lists(value):
    if isinstance(value, (list, tuple)):
        return [vigor_lists(item) for item in value]
    return value
";

/// A task whose program reads and prints.
pub(super) fn script_task(id: String, statement: &str, tests: (Vec<Test>, Vec<Test>)) -> Task {
    let prompt = format!(
        "{}\n\nThe program reads from standard input and prints its answer to standard output.",
        statement.trim_end()
    );
    task(id, prompt, None, tests)
}

/// A task whose program defines a function, or a class with a method: `function` as [`function_of`] names it.
/// `starter` is how the set lets it begin.
pub(super) fn function_task(
    id: String,
    statement: &str,
    starter: &str,
    function: &str,
    tests: (Vec<Test>, Vec<Test>),
) -> Task {
    let begin = match starter.trim() {
        "" => format!("Tests call `{function}`."),
        _ => format!("Begin with this code:\n\n```python\n{}\n```", starter.trim_matches('\n').trim_end()),
    };
    let prompt = format!("{}\n\n{begin}", statement.trim_end());
    // What a program has to define at its top level.
    let entry_point = function.split("()").next().unwrap_or(function);
    task(id, prompt, Some(entry_point.to_owned()), tests)
}

fn task(
    id: String,
    prompt: String,
    entry_point: Option<String>,
    (guiding_tests, held_out_tests): (Vec<Test>, Vec<Test>),
) -> Task {
    Task {
        id,
        prompt,
        prompt_kind: PromptKind::Text,
        entry_point,
        imports: String::new(),
        setup: String::new(),
        guiding_tests,
        held_out_tests,
        reference_solution: None,
    }
}

/// Tests of which the first guides and the others are held out; a single one is held out.
pub(super) fn first_guides(mut tests: Vec<Test>) -> (Vec<Test>, Vec<Test>) {
    let held_out = tests.split_off(usize::from(tests.len() > 1));
    (tests, held_out)
}

pub(super) fn script(stdin: &str, stdout: &str, comparison: Comparison) -> Test {
    Test::script(ScriptTest { stdin: stdin.to_owned(), stdout: stdout.to_owned(), comparison })
}

/// How tests name the function: a method where the program, or what it begins with, is a class `Solution`.
pub(super) fn function_of(starter: &str, function: &str) -> String {
    if starter.contains("class Solution") { format!("Solution().{function}") } else { function.to_owned() }
}

/// A call, and the values of which it must have one, all in JSON.
pub(super) fn call(
    function: &str,
    arguments: &[&str],
    accepted: &[&str],
    keys: Keys,
) -> Result<Test, String> {
    let python = |values: &[&str]| {
        values.iter().map(|value| json::to_python(value, keys)).collect::<Result<Vec<_>, _>>()
    };
    let call = format!("{function}({})", python(arguments)?.join(", "));
    let accepted = python(accepted)?;
    // A truth value of a method is told as any other value only where it is looked for among values.
    let is_plain = accepted.len() == 1
        && !accepted[0].contains('[')
        && !(function.contains("()") && ["True", "False"].contains(&accepted[0].as_str()));
    let source = if is_plain {
        format!("assert {call} == {}", accepted[0])
    } else {
        format!("{LISTS}assert vigor_lists({call}) in ({},)", accepted.join(", "))
    };
    Ok(Test { source, call: Some(call), expected: accepted.into_iter().next(), script: None })
}
