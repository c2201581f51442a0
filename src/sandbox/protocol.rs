//! What the engine, the launcher and the zygote say to each other over one socket.
//!
//! Towards the zygote: frames of a little-endian `u32` length and that many bytes. From it: a header in JSON
//! and a body, each with its length. The body of an answer is what the child wrote to its status pipe: records
//! of a nonce, eight hexadecimal digits of length, and JSON. The zygote does not look into it, and nothing in it
//! is believed without the nonce.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::{Layer, Trace, TraceCaps, Verdict};
use crate::session::trace::Gate;

/// What the zygote learns once.
#[derive(Debug, Serialize)]
pub(super) struct Init<'a> {
    /// The second filter, in hexadecimal; empty for none.
    pub child_filter: &'a str,
    /// The number in the filter that a child replaces by its own.
    pub own_pid: u32,
    /// Whether children set limits on themselves.
    pub limits: bool,
    /// Longest file, in bytes, that a program may write; 0: it has no scratch space.
    pub longest_file: u64,
    /// Modules to import ahead of time.
    pub preload: &'a [String],
    /// Folders in which packages are.
    pub packages: Vec<std::borrow::Cow<'a, str>>,
}

/// The launcher's only message: what it could put in force.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Launched {
    pub layers: Vec<Layer>,
}

/// The zygote's first message.
#[derive(Debug, Deserialize)]
pub(super) struct Ready {
    pub version: String,
    /// Whether the second filter holds in a child.
    pub sealed: bool,
    pub detail: String,
    /// The first module that could not be imported ahead of time, and why.
    #[serde(default)]
    pub not_loaded: Option<(String, String)>,
}

/// For the zygote: how long to listen, and to how much.
#[derive(Debug, Serialize)]
pub(super) struct Supervision {
    /// Seconds without a word from the child.
    pub idle: f64,
    /// Seconds in all.
    pub total: f64,
    /// Bytes.
    pub cap: usize,
    /// What ends the answer of a child that goes on to live, see [`Supervision::kept`]; empty where the end of the
    /// child does.
    pub last_word: String,
}

impl Supervision {
    /// For work of which nothing runs: a child that the zygote keeps for it does it. Its answer ends with an empty
    /// record.
    pub fn kept(self, nonce: &str) -> Self {
        Self { last_word: format!("{nonce}{:08x}", 0), ..self }
    }
}

/// For the child.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Work<'a> {
    Run {
        nonce: &'a str,
        memory_mb: u64,
        cpu_seconds: u64,
        output_bytes: usize,
        code: &'a str,
        setup: &'a str,
        tests: Vec<TestWork<'a>>,
        trace: Option<TraceCaps>,
        keep_going: bool,
    },
    /// How each of these tests is to be judged.
    Plan {
        nonce: &'a str,
        memory_mb: u64,
        cpu_seconds: u64,
        tests: &'a [&'a str],
    },
    /// Whether assertions hold for values that an earlier child told.
    Judge {
        nonce: &'a str,
        memory_mb: u64,
        cpu_seconds: u64,
        items: &'a [JudgeWork<'a>],
    },
    Classify {
        nonce: &'a str,
        memory_mb: u64,
        cpu_seconds: u64,
        sources: &'a [&'a str],
    },
}

/// One test, as the child that runs the program gets it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum TestWork<'a> {
    /// The whole test.
    Inside { source: &'a str },
    /// Only its calls, each with what is needed of its value.
    Outside { prelude: &'a str, asks: Vec<(&'a str, &'static str)> },
    /// What the program, run as a script, reads.
    Script { stdin: &'a str },
}

/// An assertion about a value.
#[derive(Debug, Serialize)]
pub(super) struct JudgeWork<'a> {
    pub prelude: &'a str,
    pub expression: &'a str,
    /// The value, as the child wrote it; `None` where it is no plain data.
    pub value: Option<&'a str>,
}

impl Work<'_> {
    /// What the child may use, in MiB.
    pub fn memory_mb(&self) -> u64 {
        match self {
            Work::Run { memory_mb, .. }
            | Work::Classify { memory_mb, .. }
            | Work::Plan { memory_mb, .. }
            | Work::Judge { memory_mb, .. } => *memory_mb,
        }
    }
}

/// How the child ended, by the zygote.
#[derive(Debug, Deserialize)]
pub(super) struct Ending {
    /// `closed` by itself, `hung up` (closed its pipe and lived on), `timeout`, `flood`; `kept` where it did not end;
    /// `no child` where the system had no room for one, with the reason for a body.
    pub ended: String,
    pub cpu_ms: u64,
    #[serde(default)]
    pub exit: Option<i32>,
    #[serde(default)]
    pub signal: Option<i32>,
}

/// The value of one call, or what a script printed, as the child tells it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Answer {
    /// For messages.
    pub shown: String,
    /// For the comparison; `None` where it is no plain data, or too much text.
    pub value: Option<String>,
}

/// What a child without a program says of an assertion.
#[derive(Debug, Deserialize)]
pub(super) struct Judged {
    pub holds: bool,
    /// The exception that the assertion ended in.
    #[serde(default)]
    pub error: Option<Verdict>,
}

/// What a child says.
#[derive(Debug, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Record {
    /// The program's top level ran; the test begins.
    Loaded,
    /// Outcome of a test.
    Test {
        verdict: Verdict,
        #[serde(default)]
        answers: Vec<Answer>,
        #[serde(default)]
        trace: Option<Trace>,
        #[serde(default)]
        output: String,
    },
    /// The program cannot be loaded: the outcome of every test.
    Program {
        verdict: Verdict,
        #[serde(default)]
        trace: Option<Trace>,
        #[serde(default)]
        output: String,
    },
    /// Verdict of the compiler.
    Gate { gate: Gate },
    /// How a test is to be judged.
    Plan { plan: Plan },
    /// Whether an assertion holds.
    Judged { judged: Judged },
    /// The harness failed.
    Harness { message: String },
}

/// Reads records until the end, or until something that the harness did not write. The flag says which.
pub(super) fn records(mut body: &[u8], nonce: &str) -> (Vec<Record>, bool) {
    let mut found = Vec::new();
    while !body.is_empty() {
        let Some((record, rest)) = next_record(body, nonce.as_bytes()) else { return (found, true) };
        found.push(record);
        body = rest;
    }
    (found, false)
}

fn next_record<'a>(body: &'a [u8], nonce: &[u8]) -> Option<(Record, &'a [u8])> {
    let rest = body.strip_prefix(nonce)?;
    let (length, rest) = rest.split_at_checked(8)?;
    let length = usize::from_str_radix(std::str::from_utf8(length).ok()?, 16).ok()?;
    let (json, rest) = rest.split_at_checked(length)?;
    Some((serde_json::from_slice(json).ok()?, rest))
}

/// Writes one frame.
pub(super) fn write_frame(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a request of more than 4 GiB"))?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(bytes)
}

/// Reads one frame of at most `limit` bytes.
pub(super) fn read_frame(from: &mut impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > limit {
        return Err(io::Error::other(format!(
            "a frame of {length} bytes where at most {limit} were expected"
        )));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads a frame of JSON.
pub(super) fn read_json<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let bytes = read_frame(from, 1 << 20)?;
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_believed_without_the_nonce() {
        let good = br#"n0nce00000013{"record":"loaded"}"#;
        let (found, tampered) = records(good, "n0nce");
        assert!(found.len() == 1 && !tampered);
        for forged in [
            &br#"n0nce00000013{"record":"loaded"}{"verdict":"passed"}"#[..],
            br#"00000013{"record":"loaded"}"#,
            b"n0nce",
            b"n0nceffffffff{}",
            b"n0nce00000002{}",
        ] {
            assert!(records(forged, "n0nce").1, "{}", String::from_utf8_lossy(forged));
        }
    }
}
