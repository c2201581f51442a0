//! A throw-away CPython with limits, for tests that ask CPython itself.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The interpreter that tests ask: `python3`, or the one that `VIGOR_TEST_PYTHON` names.
pub fn interpreter() -> PathBuf {
    std::env::var_os("VIGOR_TEST_PYTHON").unwrap_or("python3".into()).into()
}

/// Runs `script` with `input` on its standard input and returns what it prints. The child gets an isolated
/// interpreter, `seconds` of CPU time (and four times that on the clock), 2 GiB of memory and no large files.
///
/// # Panics
/// When there is no such interpreter, or the script fails.
pub fn python(script: &str, input: &str, seconds: u32) -> String {
    let limits = format!(
        "ulimit -t {seconds}; ulimit -v 2097152; ulimit -f 0; exec timeout -k 1 {} \"$1\" -I -c \"$0\"",
        4 * seconds
    );
    let mut child = Command::new("bash")
        .args(["-c", &limits, script])
        .arg(interpreter())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash and python3 are needed for this test");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("the child runs");
    assert!(output.status.success(), "python3 ended with {}", output.status);
    writer.join().expect("the writer does not panic").expect("the child reads all its input");
    String::from_utf8(output.stdout).expect("the child prints UTF-8")
}

/// CPython's complaint about each program that it does not compile, with the program's index.
#[allow(dead_code)]
pub fn compile_errors(programs: &[String]) -> Vec<(usize, String)> {
    let script = "
import json, sys, warnings
warnings.simplefilter('ignore')
for index, program in enumerate(json.load(sys.stdin)):
    try:
        compile(program, 'program', 'exec', dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        print(json.dumps([index, str(error)]))
";
    let input = serde_json::to_string(programs).expect("strings are JSON");
    python(script, &input, 120)
        .lines()
        .map(|line| serde_json::from_str(line).expect("the child prints JSON"))
        .collect()
}
