//! Which task a sample's `task_id` means.

use std::collections::HashMap;

use crate::task::Task;

/// Finds tasks by the names that other tools give them: `HumanEval/0`, `Mbpp/11`, `11`.
pub(super) struct Names<'a> {
    exact: HashMap<&'a str, usize>,
    /// Names in lower case, and what stands after their last `/`. `None`: several tasks share it.
    alike: HashMap<String, Option<usize>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(tasks: &'a [Task]) -> Self {
        let mut names = Self { exact: HashMap::new(), alike: HashMap::new() };
        for (index, task) in tasks.iter().enumerate() {
            names.exact.insert(&task.id, index);
            let name = task.id.to_lowercase();
            let number = name.rsplit_once('/').map(|(_, number)| number.to_owned());
            for key in [Some(name), number].into_iter().flatten() {
                names.alike.entry(key).and_modify(|task| *task = None).or_insert(Some(index));
            }
        }
        names
    }

    /// Index of the task. A task that is called exactly so comes before one that is only called alike.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let alike = || self.alike.get(&name.to_lowercase()).copied().flatten();
        self.exact.get(name).copied().or_else(alike)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::PromptKind;

    fn tasks(ids: &[&str]) -> Vec<Task> {
        let task = |id: &&str| Task {
            id: (*id).to_owned(),
            prompt: String::new(),
            prompt_kind: PromptKind::Text,
            entry_point: None,
            imports: String::new(),
            setup: String::new(),
            guiding_tests: Vec::new(),
            held_out_tests: Vec::new(),
            reference_solution: None,
        };
        ids.iter().map(task).collect()
    }

    #[test]
    fn a_task_is_found_by_the_names_that_tools_give_it() {
        let tasks = tasks(&["MBPP/2", "MBPP/11", "11", "a/x", "b/x", "Q", "q"]);
        let names = Names::new(&tasks);
        for (name, index) in [
            ("MBPP/11", Some(1)),
            ("Mbpp/11", Some(1)),
            ("11", Some(2)),
            ("2", Some(0)),
            ("x", None),
            ("A/X", Some(3)),
            ("Q", Some(5)),
            ("q", Some(6)),
            ("HumanEval/2", None),
            ("", None),
        ] {
            assert_eq!(names.find(name), index, "{name}");
        }
    }
}
