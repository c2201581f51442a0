//! BigCodeBench, in both of its layouts: `complete_prompt` (hub) or `prompt` (its own repository), `entry_point`,
//! `canonical_solution`, and `test`, which defines classes of `unittest`.
//!
//! The split: **guiding** tests are the examples in the docstring that can be read as a call with literal
//! arguments and a literal result; few are. Held out is **one test**: all methods of the classes in `test`. It
//! stands or falls as a whole, as in the official evaluation, and is judged inside of the process that runs the
//! program. The first method that does not pass is the verdict; an exception that is no failed assertion is told
//! as it is, so that a missing module is seen to be one.
//!
//! Prompts are completed (the variant "complete"); the instructions of the variant "instruct" are not read.

use super::records::Record;
use super::{Task, Test, humaneval};

/// Runs the classes that the test defines.
const RUN: &str = r#"
import unittest as vigor_unittest


class VigorResult(vigor_unittest.TestResult):
    first = None

    def addError(self, test, error):
        self.first = self.first or (test.id().rpartition(".")[2], error[1])

    addFailure = addError

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.addError(test, error)


vigor_result = VigorResult()
for vigor_class in list(globals().values()):
    if isinstance(vigor_class, type) and issubclass(vigor_class, vigor_unittest.TestCase):
        if vigor_class.__module__ == __name__:
            vigor_unittest.defaultTestLoader.loadTestsFromTestCase(vigor_class).run(vigor_result)
if vigor_result.first is not None:
    vigor_name, vigor_error = vigor_result.first
    if not isinstance(vigor_error, AssertionError):
        raise vigor_error
    raise AssertionError("%s: %s" % (vigor_name, vigor_error))
assert vigor_result.testsRun > vigor_result.skipped.__len__(), "no test has run"
"#;

pub(super) fn task(record: &Record) -> Result<Task, String> {
    let field = if record.has("complete_prompt") { "complete_prompt" } else { "prompt" };
    let task = humaneval::untested(record, field)?;
    let test = record.text("test")?;
    if !test.contains("TestCase") {
        return Err("the field `test` defines no class of `unittest`".to_owned());
    }
    let held_out = Test::statements(format!("{}\n{RUN}", test.trim_end()));
    Ok(Task { held_out_tests: vec![held_out], ..task })
}
