//! The task of the rows `step` and `session`: made for this benchmark, so that it needs no dataset.

use crate::task::{PromptKind, Task, Test};

const PROMPT: &str = r#"def longest_plateau(values: list) -> tuple:
    """Find the longest run of equal neighbours in a list.
    Return the value and the length of that run. If several runs are longest, take the first of them.
    An empty list has no run: return (None, 0).

    >>> longest_plateau([1, 2, 2, 2, 3, 3])
    (2, 3)
    >>> longest_plateau([])
    (None, 0)
    """
"#;

/// The task, with the docstring's examples as guiding tests.
pub fn task() -> Task {
    let test = |call: &str, expected: &str| Test {
        source: format!("assert {call} == {expected}"),
        call: Some(call.into()),
        expected: Some(expected.into()),
        script: None,
    };
    Task {
        id: "bench/longest_plateau".into(),
        prompt: PROMPT.into(),
        prompt_kind: PromptKind::Code,
        entry_point: Some("longest_plateau".into()),
        imports: String::new(),
        setup: String::new(),
        guiding_tests: vec![
            test("longest_plateau([1, 2, 2, 2, 3, 3])", "(2, 3)"),
            test("longest_plateau([])", "(None, 0)"),
        ],
        held_out_tests: vec![test("longest_plateau([5, 5, 1, 4, 4])", "(5, 2)")],
        reference_solution: None,
    }
}
