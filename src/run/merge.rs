//! Puts folders of one experiment together: shares that were computed apart, or parts of a run that was moved.

use std::path::{Path, PathBuf};

use super::error::RunError;
use super::journal::{Journal, Sharing};
use super::manifest::{MANIFEST_FILE, Part, RunManifest};
use super::sessions::{Lines, SessionFiles};

/// What a merge came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// Sessions of the experiment.
    pub sessions: usize,
    /// Those that the folder now holds.
    pub finished: usize,
    /// Those of them that it did not hold before.
    pub added: usize,
}

/// Puts the finished sessions of `runs` into `out`, which may hold some already. Sessions that several folders hold are
/// taken once; `out`, or else the first folder given, then says how long they took.
///
/// # Errors
/// When the folders are not of one experiment, when two of them tell different things of a session (before anything is
/// written), and when a file cannot be read or written.
pub fn merge(out: &Path, runs: &[PathBuf]) -> Result<Merged, RunError> {
    let mut manifests = Vec::new();
    for dir in runs {
        manifests.push(RunManifest::load(dir)?);
    }
    let Some(mut manifest) = manifests.first().cloned() else {
        return Ok(Merged { sessions: 0, finished: 0, added: 0 });
    };
    for (dir, other) in runs.iter().zip(&manifests) {
        if let Some((key, first, other)) = manifest.difference(other) {
            let (dir, with) = (dir.clone(), runs[0].clone());
            return Err(RunError::OtherExperiment { dir, with, key, first, other });
        }
    }
    if out.join(MANIFEST_FILE).exists()
        && let Some((key, old, new)) = RunManifest::load(out)?.difference(&manifest)
    {
        return Err(RunError::Differs { dir: out.to_owned(), key, old, new });
    }

    let total = manifest.sessions();
    let folders: Vec<&Path> = std::iter::once(out).chain(runs.iter().map(PathBuf::as_path)).collect();
    let mut holders: Vec<Vec<SessionFiles>> = std::iter::repeat_with(Vec::new).take(total).collect();
    for dir in folders {
        let sessions = SessionFiles::of(dir);
        if dir == out && !sessions.dir().exists() {
            continue;
        }
        for (index, _) in sessions.finished(total)?.iter().enumerate().filter(|(_, finished)| **finished) {
            holders[index].push(SessionFiles::of(dir));
        }
    }
    // What the clock ended may be another thing elsewhere; and where sessions are skipped, so may what comes after it.
    let by_time = manifest.configuration["run"]["stop_when_solved"].is_null();
    for (index, holders) in holders.iter().enumerate() {
        let mut first: Option<Lines> = None;
        for sessions in holders {
            let lines = sessions.read(index)?;
            match &first {
                Some(first)
                    if !first.agree(&lines)
                        && !(by_time && (first.ended_by_time() || lines.ended_by_time())) =>
                {
                    let session = manifest.session_name(index);
                    let (path, other) = (holders[0].path(index), sessions.path(index).display().to_string());
                    return Err(RunError::Contradiction { session, path, other });
                }
                Some(_) => {}
                None => first = Some(lines),
            }
        }
    }

    manifest.parts = manifests.into_iter().flat_map(|manifest| manifest.parts).collect();
    let mut journal =
        Journal::open_with(out, manifest, Sharing::default(), |old, given, _, _| united(old, &given))?;
    let before = journal.finished();
    for (index, holders) in holders.iter().enumerate() {
        if let Some(sessions) = holders.first() {
            journal.keep(index, &sessions.text(index)?)?;
        }
    }
    journal.close()?;
    let finished = journal.finished();
    Ok(Merged { sessions: total, finished, added: finished - before })
}

/// Adds to `parts` what it lacks of `given`, so that a folder that is merged twice is recorded once.
fn united(mut parts: Vec<Part>, given: &[Part]) -> Vec<Part> {
    let mut unmatched = parts.clone();
    for part in given {
        match unmatched.iter().position(|old| old == part) {
            Some(at) => drop(unmatched.swap_remove(at)),
            None => parts.push(part.clone()),
        }
    }
    parts
}
