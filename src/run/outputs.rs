//! The three files that readers read: concatenations of the session files, in session order.
//!
//! Several processes may extend them, one at a time. Every one of them writes what the session files say, at the place
//! where it belongs: so a process need not be told what others wrote; it finds the bytes there, or writes them.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::RunError;
use super::journal::Repair;
use super::sessions::SessionFiles;

/// Names of the outputs.
pub const OUTPUTS: [&str; 3] = ["results.jsonl", "trace.jsonl", "timings.jsonl"];

/// One of the files, as far as it is known to be right.
#[derive(Debug)]
struct Output {
    file: File,
    path: PathBuf,
    /// Its first bytes that are what the session files say.
    right: u64,
    /// Lines among those.
    lines: usize,
    dropped: u64,
    rewritten: u64,
}

/// The three files, open.
#[derive(Debug)]
pub(super) struct Outputs {
    files: [Output; 3],
    /// Sessions before this one are in them.
    next: usize,
    /// True when this process wrote the line of the last session in them.
    wrote_last: bool,
}

impl Outputs {
    /// Opens those of the run in folder `dir`, and takes nothing in them for granted.
    pub fn open(dir: &Path) -> Result<Self, RunError> {
        let open = |name: &str| {
            let path = dir.join(name);
            let mut options = OpenOptions::new();
            let file = options.create(true).truncate(false).read(true).write(true).open(&path);
            match file {
                Ok(file) => Ok(Output { file, path, right: 0, lines: 0, dropped: 0, rewritten: 0 }),
                Err(e) => Err(RunError::io("open", &path, e)),
            }
        };
        let [results, trace, timings] = OUTPUTS;
        let files = [open(results)?, open(trace)?, open(timings)?];
        Ok(Self { files, next: 0, wrote_last: false })
    }

    /// Sessions before this one are in the files.
    pub fn next(&self) -> usize {
        self.next
    }

    /// True when the last session in the files was put there by this process.
    pub fn wrote_last(&self) -> bool {
        self.wrote_last
    }

    /// Makes the files hold the sessions up to `end`. Only who holds the lock of the run may call it.
    pub fn extend(&mut self, sessions: &SessionFiles, end: usize) -> Result<(), RunError> {
        for output in &self.files {
            // Somebody shortened a file behind our back: nothing is known of it any more.
            if output.length()? < output.right {
                self.next = 0;
            }
        }
        if self.next == 0 {
            for output in &mut self.files {
                (output.right, output.lines) = (0, 0);
            }
        }
        while self.next < end {
            let lines = sessions.read(self.next)?;
            for (output, text) in self.files.iter_mut().zip(&lines.outputs) {
                self.wrote_last = output.put(text)?;
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Cuts off what an interrupted write left behind the sessions of the files, and says all that was put right.
    /// Complete lines there are sessions whose files are gone: not ours to delete.
    pub fn trim(&mut self, sessions: &SessionFiles) -> Result<Vec<Repair>, RunError> {
        for output in &self.files {
            if output.goes_on()? {
                let (path, journal) = (output.path.clone(), sessions.dir().to_owned());
                return Err(RunError::BeyondJournal { path, line: output.lines + 1, journal });
            }
        }
        let mut repairs = Vec::new();
        for output in &mut self.files {
            output.cut()?;
            let (dropped, rewritten) =
                (std::mem::take(&mut output.dropped), std::mem::take(&mut output.rewritten));
            if dropped > 0 || rewritten > 0 {
                repairs.push(Repair { path: output.path.clone(), dropped, rewritten });
            }
        }
        Ok(repairs)
    }

    /// Makes the files durable.
    pub fn sync(&self) -> Result<(), RunError> {
        for output in &self.files {
            output.file.sync_all().map_err(|e| RunError::io("write", &output.path, e))?;
        }
        Ok(())
    }
}

impl Output {
    fn length(&self) -> Result<u64, RunError> {
        self.file.metadata().map(|m| m.len()).map_err(|e| RunError::io("read", &self.path, e))
    }

    /// Makes the file go on with this text. False when it did already.
    fn put(&mut self, text: &str) -> Result<bool, RunError> {
        let mut found = vec![0; text.len()];
        let there = self.length()? > self.right
            && self.file.read_exact_at(&mut found, self.right).is_ok()
            && found == text.as_bytes();
        if !there {
            self.cut()?;
            let mut at = self.right;
            // One write a line, straight to the system: a reader that follows the file sees whole lines.
            for line in text.split_inclusive('\n') {
                let written = self.file.write_all_at(line.as_bytes(), at);
                written.map_err(|e| RunError::io("append to", &self.path, e))?;
                at += line.len() as u64;
            }
            self.rewritten += text.len() as u64;
        }
        self.right += text.len() as u64;
        self.lines += text.lines().count();
        Ok(!there)
    }

    /// Drops what is not known to be right.
    fn cut(&mut self) -> Result<(), RunError> {
        let length = self.length()?;
        if length > self.right {
            self.file.set_len(self.right).map_err(|e| RunError::io("repair", &self.path, e))?;
            self.dropped += length - self.right;
        }
        Ok(())
    }

    /// True when a complete line follows.
    fn goes_on(&self) -> Result<bool, RunError> {
        let fail = |e| RunError::io("read", &self.path, e);
        let mut reader = BufReader::new(&self.file);
        reader.seek(SeekFrom::Start(self.right)).map_err(fail)?;
        let mut rest = Vec::new();
        reader.read_until(b'\n', &mut rest).map_err(fail)?;
        Ok(rest.ends_with(b"\n") && serde_json::from_slice::<serde_json::Value>(&rest).is_ok())
    }
}
