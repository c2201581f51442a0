//! What the verdicts come to.

use std::collections::BTreeMap;

use super::{Sample, SampleVerdict};
use crate::task::Task;

/// Counts over all samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Samples by verdict, the most frequent first.
    pub verdicts: Vec<(String, usize)>,
    /// Samples in all.
    pub samples: usize,
    /// Tasks of the dataset.
    pub tasks: usize,
    /// Tasks with at least one sample of which all passed.
    pub all_passed: usize,
    /// Names of the tasks without a sample, in the dataset's order.
    pub unsampled: Vec<String>,
    /// The share of a task's samples that passed, averaged over the tasks with samples.
    pub pass_at_1: f64,
    /// Modules that samples or tests asked for and Python does not have, with the number of such samples.
    pub missing_modules: BTreeMap<String, usize>,
}

impl Summary {
    /// `verdicts` are those of `samples`, in their order.
    pub fn new(tasks: &[Task], samples: &[Sample], verdicts: &[SampleVerdict]) -> Self {
        let mut of_task = vec![(0_usize, 0_usize); tasks.len()];
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        let mut missing_modules = BTreeMap::new();
        for (sample, verdict) in samples.iter().zip(verdicts) {
            let (passed, total) = &mut of_task[sample.task];
            *passed += usize::from(verdict.passed);
            *total += 1;
            *kinds.entry(&verdict.verdict).or_default() += 1;
            if let Some(module) = missing_module(&verdict.message) {
                *missing_modules.entry(module.to_owned()).or_default() += 1;
            }
        }
        let sampled: Vec<(usize, usize)> = of_task.iter().copied().filter(|(_, total)| *total > 0).collect();
        let shares: f64 = sampled.iter().map(|(passed, total)| *passed as f64 / *total as f64).sum();
        let mut verdicts: Vec<(String, usize)> =
            kinds.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect();
        verdicts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let unsampled = tasks.iter().zip(&of_task).filter(|(_, (_, total))| *total == 0);
        Self {
            verdicts,
            samples: samples.len(),
            tasks: tasks.len(),
            all_passed: sampled.iter().filter(|(passed, total)| passed == total).count(),
            unsampled: unsampled.map(|(task, _)| task.id.clone()).collect(),
            pass_at_1: shares / (sampled.len().max(1)) as f64,
            missing_modules,
        }
    }

    /// Tasks with at least one sample.
    pub fn sampled(&self) -> usize {
        self.tasks - self.unsampled.len()
    }

    /// Samples with that verdict.
    pub fn count(&self, kind: &str) -> usize {
        self.verdicts.iter().find(|(name, _)| name == kind).map_or(0, |(_, count)| *count)
    }
}

/// The module that a message of CPython misses.
fn missing_module(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("ModuleNotFoundError: No module named '")?;
    let name = &rest[..rest.find('\'')?];
    Some(name.split('.').next().unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_named_without_its_parts() {
        let message = "ModuleNotFoundError: No module named 'numpy.linalg' (line 1)";
        assert_eq!(missing_module(message), Some("numpy"));
        assert_eq!(missing_module("ImportError: no"), None);
    }
}
