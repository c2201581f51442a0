//! The Hugging Face hub: its cache on disk, shared with every other tool that uses it, and downloads into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};

use super::progress::{Phase, Progress, ProgressFn};
use super::{Kind, Places};

/// A hub that sends nothing for this long counts as unreachable.
const SILENCE: Duration = Duration::from_secs(60);

/// A repository at one revision.
#[derive(Debug, Clone)]
pub(super) struct HubRepo {
    pub(super) kind: Kind,
    /// `owner/name`.
    pub(super) id: String,
    /// Branch, tag or commit.
    pub(super) revision: String,
}

impl HubRepo {
    /// Every copy of a file in the cache on disk: the revision's own first, then those of other commits (a
    /// manifest's hash decides whether they are the same file).
    pub(super) fn cached(&self, places: &Places, file: &str) -> Vec<PathBuf> {
        self.snapshots(places)
            .into_iter()
            .map(|folder| folder.join(file))
            .filter(|path| path.is_file())
            .collect()
    }

    /// Folders of the commits in the cache on disk, the revision's own first.
    pub(super) fn snapshots(&self, places: &Places) -> Vec<PathBuf> {
        let Some(root) = self.root(places) else { return Vec::new() };
        let commit = fs::read_to_string(root.join("refs").join(&self.revision));
        let own = root.join("snapshots").join(commit.as_deref().map_or(self.revision.as_str(), str::trim));
        let mut others: Vec<PathBuf> = fs::read_dir(root.join("snapshots"))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        others.retain(|path| *path != own);
        others.sort();
        if own.is_dir() {
            others.insert(0, own);
        }
        others
    }

    /// Downloads a file into the cache on disk and gives its path there.
    ///
    /// # Errors
    /// One sentence, when the hub refuses, cannot be reached or falls silent.
    pub(super) fn download(
        &self,
        places: &Places,
        file: &str,
        progress: &ProgressFn<'_>,
    ) -> Result<PathBuf, String> {
        let attempt = || {
            let remote = file.to_owned();
            self.ask(places, file, progress, move |api, repo, reporter| {
                let done = api.repo(repo).download_with_progress(&remote, reporter);
                done.map_err(|error| explain(&error.to_string()))
            })
        };
        match attempt() {
            // What an earlier download left behind cannot be continued: begin again.
            Err(why) if why.contains("Invalid part file") => {
                self.forget_parts(places);
                attempt()
            }
            result => result,
        }
    }

    /// Folder of the repository in the cache on disk.
    fn root(&self, places: &Places) -> Option<PathBuf> {
        let prefix = match self.kind {
            Kind::Model => "models",
            Kind::Dataset => "datasets",
        };
        let name = format!("{prefix}--{}", self.id.replace('/', "--"));
        places.hub_cache.as_ref().map(|hub| hub.join(name))
    }

    /// Deletes unfinished downloads of the repository.
    fn forget_parts(&self, places: &Places) {
        let Some(blobs) = self.root(places).map(|root| root.join("blobs")) else { return };
        for entry in fs::read_dir(blobs).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "part") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Names of all files in the repository.
    ///
    /// # Errors
    /// See [`HubRepo::download`].
    pub(super) fn list(&self, places: &Places) -> Result<Vec<String>, String> {
        let names = self.ask(places, &self.id, &super::progress::silent, |api, repo, _| {
            api.repo(repo).info().map_err(|error| explain(&error.to_string()))
        })?;
        Ok(names.siblings.into_iter().map(|sibling| sibling.rfilename).collect())
    }

    /// Runs a request on a thread of its own: the hub's client has no time limits, and a reply that it does not
    /// expect must not take this process down.
    fn ask<T: Send + 'static>(
        &self,
        places: &Places,
        what: &str,
        progress: &ProgressFn<'_>,
        request: impl FnOnce(Api, Repo, Reporter) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        if let Some(reason) = places.offline {
            return Err(format!("not asked: {reason} forbids the network"));
        }
        let Some(cache) = places.hub_cache.clone() else {
            return Err("not asked: there is no folder for its cache; set HF_HOME".to_owned());
        };
        let api = ApiBuilder::from_cache(Cache::new(cache))
            .with_endpoint(places.hub_endpoint.clone())
            .with_token(places.hub_token.clone())
            .with_progress(false)
            .build()
            .map_err(|error| explain(&error.to_string()))?;
        let kind = match self.kind {
            Kind::Model => RepoType::Model,
            Kind::Dataset => RepoType::Dataset,
        };
        let repo = Repo::with_revision(self.id.clone(), kind, self.revision.clone());
        let (sender, events) = channel();
        let reporter = Reporter { sender, done: 0, total: 0 };
        let worker = std::thread::Builder::new()
            .name("hub".to_owned())
            .spawn(move || request(api, repo, reporter))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        if !relay(&events, what, progress) {
            return Err(format!("it sent nothing for {} seconds", SILENCE.as_secs()));
        }
        worker.join().unwrap_or_else(|_| Err("it sent a reply that is not the hub's".to_owned()))
    }
}

/// Passes progress on until the worker is done (true) or silent for too long (false).
fn relay(events: &Receiver<(u64, u64)>, what: &str, progress: &ProgressFn<'_>) -> bool {
    loop {
        match events.recv_timeout(SILENCE) {
            Ok((done, total)) => progress(Progress { phase: Phase::Downloading, what, done, total }),
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

/// Sends the hub client's progress to the thread that asked.
struct Reporter {
    sender: Sender<(u64, u64)>,
    done: u64,
    total: u64,
}

impl hf_hub::api::Progress for Reporter {
    fn init(&mut self, size: usize, _name: &str) {
        self.total = size as u64;
        self.done = 0;
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        // The receiver is gone only when the answer no longer matters.
        let _ = self.sender.send((self.done.min(self.total), self.total));
    }

    fn finish(&mut self) {}
}

/// Turns the client's message into one sentence with a remedy.
fn explain(message: &str) -> String {
    let remedy = [
        ("401", "it wants a token: set HF_TOKEN to one that may read this repository"),
        ("403", "access is refused: accept the licence on the repository's page and set HF_TOKEN"),
        ("404", "it has no such repository, revision or file"),
        ("o space left", "the disk that holds its cache is full: free some space, or set HF_HOME elsewhere"),
    ];
    match remedy.iter().find(|(sign, _)| message.contains(sign)) {
        Some((_, sentence)) => (*sentence).to_owned(),
        None => {
            let connecting = ["lookup", "onnection", "imed out"].iter().any(|sign| message.contains(sign));
            let what = if connecting { "cannot be reached" } else { "the download failed" };
            format!("{what} ({})", message.trim_start_matches("request error: "))
        }
    }
}

/// Deletes a file that a download has just put into the cache, and the bytes behind it, so that the next attempt
/// does not find them.
pub(super) fn discard(path: &Path) {
    if let Ok(blob) = fs::canonicalize(path) {
        let _ = fs::remove_file(blob);
    }
    let _ = fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::Scratch;
    use super::*;

    fn places(scratch: &Scratch, offline: bool, endpoint: &str) -> Places {
        Places::from_vars(|name| match name {
            "VIGOR_CACHE" => Some(scratch.path("c").into()),
            "HF_HOME" => Some(scratch.path("hf").into()),
            "HF_ENDPOINT" => Some(endpoint.into()),
            "HF_HUB_OFFLINE" => offline.then(|| "1".into()),
            _ => None,
        })
        .unwrap()
    }

    fn repo() -> HubRepo {
        HubRepo { kind: Kind::Model, id: "o/n".into(), revision: "main".into() }
    }

    #[test]
    fn the_revisions_own_commit_comes_first() {
        let scratch = Scratch::new("hub-cache");
        let root = scratch.path("hf/hub/models--o--n");
        for commit in ["aaa", "bbb", "ccc"] {
            fs::create_dir_all(root.join("snapshots").join(commit)).unwrap();
            fs::write(root.join("snapshots").join(commit).join("f"), commit).unwrap();
        }
        fs::create_dir_all(root.join("refs")).unwrap();
        fs::write(root.join("refs/main"), "bbb\n").unwrap();
        let places = places(&scratch, true, "http://127.0.0.1:1");
        let found: Vec<String> =
            repo().cached(&places, "f").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(found, ["bbb", "aaa", "ccc"]);
        assert!(repo().cached(&places, "g").is_empty());
    }

    #[test]
    fn offline_opens_no_socket_and_online_does() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let scratch = Scratch::new("hub-offline");
        let refused =
            repo().download(&places(&scratch, true, &endpoint), "f", &super::super::progress::silent);
        assert!(refused.unwrap_err().contains("HF_HUB_OFFLINE forbids"));
        assert!(listener.accept().is_err(), "no connection was made");

        listener.set_nonblocking(false).unwrap();
        let server = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let n = peer.read(&mut request).unwrap();
            peer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .unwrap();
            String::from_utf8_lossy(&request[..n]).into_owned()
        });
        let missing =
            repo().download(&places(&scratch, false, &endpoint), "f", &super::super::progress::silent);
        assert!(missing.unwrap_err().contains("no such repository"));
        assert!(server.join().unwrap().starts_with("GET /o/n/resolve/main/f "));
    }
}
