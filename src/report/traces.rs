//! The traces of single sessions, found without reading those of the others.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ReportError;
use super::read::{Sessions, each_line, ended_before, known_schema, parse};
use crate::run::{RunError, RunManifest};
use crate::session::trace::{Event, TraceLine};

/// Where the traces of a run lie in its `trace.jsonl`.
#[derive(Debug)]
pub struct Traces {
    path: PathBuf,
    file: File,
    /// One a session; `None` where it has no trace yet.
    spans: Vec<Option<Span>>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// The lines of one session.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u64,
    length: usize,
    /// Number of the first.
    line: usize,
}

/// As much of a line as says where it belongs.
#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow)]
    session: Key<'a>,
}

#[derive(Deserialize)]
struct Key<'a> {
    #[serde(borrow)]
    task_id: Cow<'a, str>,
    #[serde(borrow)]
    cell: Cow<'a, str>,
}

impl Traces {
    /// Looks where each session's lines are. They are read only when they are asked for.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is malformed or does not fit the manifest.
    pub fn open(dir: &Path, manifest: &RunManifest) -> Result<Self, ReportError> {
        let path = dir.join("trace.jsonl");
        let sessions = Sessions::new(manifest);
        let mut spans: Vec<Option<Span>> = vec![None; manifest.sessions()];
        let (mut at, mut last) = (0, None);
        let warnings = each_line(&path, |line, bytes| {
            let Peek { session: Key { task_id, cell } } = parse(&path, line, bytes)?;
            let session = sessions.find(&path, line, &task_id, &cell)?;
            match &mut spans[session] {
                Some(span) if last == Some(session) => span.length += bytes.len(),
                Some(_) => return Err(ended_before(&path, line)),
                none => *none = Some(Span { start: at, length: bytes.len(), line }),
            }
            at += bytes.len() as u64;
            last = Some(session);
            Ok(())
        })?;
        let file = File::open(&path).map_err(|e| RunError::io("read", &path, e))?;
        Ok(Self { path, file, spans, warnings: warnings.into_iter().collect() })
    }

    /// The events of a session; `None` where it has none.
    ///
    /// # Errors
    /// When they cannot be read, are malformed, or of a newer schema.
    pub fn session(&mut self, session: usize) -> Result<Option<Vec<Event>>, ReportError> {
        let Some(span) = self.spans[session] else { return Ok(None) };
        let mut bytes = vec![0; span.length];
        self.file
            .seek(SeekFrom::Start(span.start))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|e| RunError::io("read", &self.path, e))?;
        let mut events = Vec::new();
        for (number, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let TraceLine { event, .. } = parse(&self.path, span.line + number, line)?;
            known_schema(&self.path, &event)?;
            events.push(event);
        }
        Ok(Some(events))
    }
}
