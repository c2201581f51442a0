//! Progress of long work, for whoever draws it.

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Another process holds the lock on this item.
    Waiting,
    /// Bytes arrive from a network.
    Downloading,
    /// Bytes are hashed.
    Verifying,
}

/// A moment of the work. `done` never shrinks within one phase of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being done.
    pub phase: Phase,
    /// The file's name.
    pub what: &'a str,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Receives progress. Called often, from the thread that called into this room.
pub type ProgressFn<'a> = dyn Fn(Progress<'_>) + 'a;

/// Ignores progress.
pub fn silent(_: Progress<'_>) {}
