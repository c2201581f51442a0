//! The prompts and solutions of a benchmark, line by line: true prefixes, of which none may be refused.

mod python_child;

use std::path::Path;

use python_child::compile_errors;
use vigor::session::trace::LineClass;
use vigor::syntax::{SyntaxOracle, complete};
use vigor::task::load;

#[test]
fn no_line_prefix_of_a_humaneval_solution_is_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/humaneval/HumanEval.jsonl.gz");
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return;
    }
    let tasks = load("humaneval", &path).expect("the official file loads");
    let (mut prefixes, mut programs) = (Vec::new(), Vec::new());
    let mut rejected = Vec::new();
    for task in &tasks {
        let source = task.reference_solution.as_deref().expect("each task has a solution");
        let mut oracle = SyntaxOracle::new();
        for (at, _) in source.match_indices('\n') {
            let prefix = &source[..=at];
            if oracle.line_class(prefix) == LineClass::Invalid {
                rejected.push(prefix.to_owned());
            }
            prefixes.push(prefix);
            programs.push(complete(prefix).unwrap_or_else(|| panic!("no completion of {prefix:?}")));
        }
    }
    let errors = compile_errors(&programs);
    println!(
        "{} tasks, {} line prefixes: {} classed invalid, {} completions that CPython refuses",
        tasks.len(),
        prefixes.len(),
        rejected.len(),
        errors.len()
    );
    assert_eq!(tasks.len(), 164);
    assert!(rejected.is_empty(), "{:?}", rejected.first());
    assert!(errors.is_empty(), "{:?}", errors.first().map(|(at, error)| (error, &programs[*at])));
}
