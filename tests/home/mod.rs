//! The binary as a user with an empty home starts it, and what its failures look like.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// An empty home: no cache, no configuration, no hub, working directory included.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A program with nothing of the caller's own settings.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["HF_", "VIGOR_", "XDG_", "PIP_", "HUGGINGFACE"].iter().any(|p| name.starts_with(p)) {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.0.path())
            .env("VIGOR_CACHE", self.path("cache"))
            .env("VIGOR_CONFIG", self.path("config"))
            .env("HF_HOME", self.path("hub"))
            .env("PIP_CONFIG_FILE", "/dev/null")
            // Discards; should anything be asked of a network after all, it is not there.
            .env("HF_ENDPOINT", "http://127.0.0.1:9")
            .env("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
            .stdin(Stdio::null());
        command
    }
}

/// What a program printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The command failed as documented: this exit code, one `error:` line, no panic, and these words.
#[track_caller]
pub fn assert_fails(output: &Output, code: i32, words: &[&str]) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().filter(|line| line.starts_with("error:")).count(), 1, "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in: {stderr}");
    }
}
