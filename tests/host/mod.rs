//! The machine around a sandbox, looked at before and after hostile programs ran: files, processes, sockets,
//! descriptors and memory. Things of the host that a program could reach for are put up, so that an attempt
//! that succeeds leaves a mark.

#![allow(dead_code)]

pub mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// User that the sandbox takes where it can.
const NOBODY: u32 = 65534;
/// Users that workers of root have: this, and their number.
const WORKERS: u32 = 0x7000_0000;

/// Part of every name that a program of ours tries to create.
const MARK: &str = "vigor-hostile";

/// The crate's own folder.
pub fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Things of the host that nothing in a sandbox may reach: files that everybody may write, and sockets on which
/// somebody listens.
pub struct Targets {
    folder: tempfile::TempDir,
    tcp: TcpListener,
    udp: UdpSocket,
    unix: UnixListener,
    unnamed: UnixListener,
    unnamed_name: String,
    before: Tree,
}

impl Targets {
    pub fn new() -> Targets {
        // Not in a place that the sandbox hides as a whole, where the target folder is not.
        let folder = tempfile::Builder::new().prefix("host-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("empty")).expect("a folder");
        fs::write(at("secret.txt"), "a secret of the host").expect("a file");
        fs::write(at("writable.txt"), "a text that everybody may change").expect("a file");
        std::os::unix::fs::symlink(at("secret.txt"), at("link.txt")).expect("a link");
        for (name, mode) in [("", 0o777), ("empty", 0o777), ("writable.txt", 0o666), ("secret.txt", 0o644)] {
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect("permissions");
        }
        let unnamed_name = format!("vigor-{}", folder.path().display());
        let unnamed = SocketAddr::from_abstract_name(&unnamed_name).expect("a name");
        let targets = Targets {
            tcp: TcpListener::bind("127.0.0.1:0").expect("a port"),
            udp: UdpSocket::bind("127.0.0.1:0").expect("a port"),
            unix: UnixListener::bind(at("socket")).expect("a socket"),
            unnamed: UnixListener::bind_addr(&unnamed).expect("a socket"),
            unnamed_name,
            before: Tree::of(folder.path(), &[]),
            folder,
        };
        targets.tcp.set_nonblocking(true).expect("a socket");
        targets.udp.set_nonblocking(true).expect("a socket");
        targets.unix.set_nonblocking(true).expect("a socket");
        targets.unnamed.set_nonblocking(true).expect("a socket");
        Targets { before: Tree::of(targets.folder.path(), &[]), ..targets }
    }

    /// A folder in which everybody may write.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where somebody listens.
    pub fn tcp(&self) -> std::net::SocketAddr {
        self.tcp.local_addr().expect("an address")
    }

    /// Python that tells a program where these things are.
    pub fn names(&self) -> String {
        let text = |path: &Path| format!("{:?}", path.to_str().expect("a path in UTF-8"));
        [
            format!("HOST_FOLDER = {}", text(self.folder.path())),
            format!("HOST_CRATE = {}", text(crate_folder())),
            format!("HOST_HOME = {}", text(&home())),
            format!("HOST_ENGINE = {}", text(&std::env::current_exe().expect("a path"))),
            format!("HOST_PID = {}", std::process::id()),
            format!("HOST_TCP = {}", self.tcp().port()),
            format!("HOST_UDP = {}", self.udp.local_addr().expect("an address").port()),
            format!("HOST_UNIX = {}", text(&self.folder.path().join("socket"))),
            format!("HOST_ABSTRACT = {:?}", self.unnamed_name),
            String::new(),
        ]
        .join("\n")
    }

    /// What was reached since these things were put up.
    pub fn touched(&self) -> Vec<String> {
        let mut found = Tree::of(self.folder.path(), &[]).differences(&self.before);
        let mut silent = |what: &str, refused: Option<io::Error>| {
            if refused.is_none_or(|error| error.kind() != io::ErrorKind::WouldBlock) {
                found.push(format!("somebody came to the {what} socket of the host"));
            }
        };
        silent("TCP", self.tcp.accept().err());
        silent("UDP", self.udp.recv_from(&mut [0; 16]).err());
        silent("unix", self.unix.accept().err());
        silent("abstract unix", self.unnamed.accept().err());
        found
    }
}

fn home() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

/// Everything below a folder: kind and permissions, size, time of the last change, owner.
#[derive(Debug, Clone, PartialEq)]
struct Tree(BTreeMap<PathBuf, (u32, u64, i64, i64, u32)>);

impl Tree {
    /// `without`: names of folders that are not entered.
    fn of(folder: &Path, without: &[&str]) -> Tree {
        let mut tree = Tree(BTreeMap::new());
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            // A folder that is gone is a difference by itself.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let Ok(meta) = entry.metadata() else { continue };
                if without.iter().any(|name| *name == entry.file_name()) {
                    continue;
                }
                if meta.is_dir() {
                    folders.push(entry.path());
                }
                // A folder's own time changes with what stands in it, which is seen anyway.
                let (size, seconds, nanoseconds) =
                    if meta.is_dir() { (0, 0, 0) } else { (meta.size(), meta.mtime(), meta.mtime_nsec()) };
                tree.0.insert(entry.path(), (meta.mode(), size, seconds, nanoseconds, meta.uid()));
            }
        }
        tree
    }

    fn differences(&self, before: &Tree) -> Vec<String> {
        let paths: BTreeSet<&PathBuf> = self.0.keys().chain(before.0.keys()).collect();
        let differs = paths.into_iter().filter(|path| self.0.get(*path) != before.0.get(*path));
        differs
            .map(|path| {
                format!("file {} was {:?}, is {:?}", path.display(), before.0.get(path), self.0.get(path))
            })
            .collect()
    }
}

/// Names in the places that all processes of a machine share.
fn shared_places() -> BTreeSet<PathBuf> {
    let temporary = std::env::temp_dir();
    let names = |place: PathBuf| fs::read_dir(place).into_iter().flatten().flatten();
    let mut found: BTreeSet<PathBuf> = [home(), "/dev/shm".into(), "/var/tmp".into()]
        .into_iter()
        .filter(|place| *place != temporary)
        .flat_map(names)
        .map(|entry| entry.path())
        .collect();
    // Much else happens here: only what can be a program's.
    found.extend(names(temporary).filter_map(|entry| {
        let nobodys = entry.metadata().is_ok_and(|meta| meta.uid() == NOBODY || meta.uid() >= WORKERS);
        (nobodys || entry.file_name().to_string_lossy().contains(MARK)).then(|| entry.path())
    }));
    found
}

/// The state of the host, as far as the programs of this process could have changed it.
#[derive(Debug)]
pub struct Snapshot {
    sources: Tree,
    shared: BTreeSet<PathBuf>,
    library: Option<(PathBuf, Tree)>,
    processes: BTreeMap<u32, String>,
    sockets: BTreeSet<String>,
    descriptors: usize,
    resident: u64,
}

impl Snapshot {
    /// `library`: a folder that programs may read, Python's own.
    pub fn take(library: Option<&Path>) -> Snapshot {
        adopt_orphans();
        let processes = descendants();
        Snapshot {
            sources: Tree::of(crate_folder(), &["target", ".git"]),
            shared: shared_places(),
            library: library
                .map(|folder| (folder.to_owned(), Tree::of(folder, &["site-packages", "dist-packages"]))),
            sockets: sockets(&processes),
            processes,
            descriptors: descriptors(),
            resident: resident(std::process::id()),
        }
    }

    /// What is different now, with all workers gone. `growth`: bytes of memory that this process may have gained.
    pub fn changes(&self, growth: u64) -> Vec<String> {
        // Ended processes are reaped by their parents a moment later.
        let after = settled(
            || Snapshot::take(self.library.as_ref().map(|(folder, _)| folder.as_path())),
            |after| after.processes == self.processes && after.descriptors == self.descriptors,
        );
        let mut found = after.sources.differences(&self.sources);
        if let (Some((_, before)), Some((_, after))) = (&self.library, &after.library) {
            found.extend(after.differences(before));
        }
        found.extend(after.shared.difference(&self.shared).map(|path| format!("new: {}", path.display())));
        for (pid, name) in &after.processes {
            if !self.processes.contains_key(pid) {
                found.push(format!("process {pid} ({name}) is left"));
            }
        }
        found
            .extend(after.sockets.difference(&self.sockets).map(|socket| format!("socket {socket} is left")));
        if after.descriptors != self.descriptors {
            found.push(format!("{} descriptors, were {}", after.descriptors, self.descriptors));
        }
        if after.resident > self.resident + growth {
            found.push(format!("{} bytes of memory, were {}", after.resident, self.resident));
        }
        found
    }
}

/// How much this process and its workers hold. The same after every request, whatever it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    pub processes: usize,
    pub sockets: usize,
    pub descriptors: usize,
}

impl Holdings {
    pub fn now() -> Holdings {
        let processes = descendants();
        Holdings {
            sockets: sockets(&processes).len(),
            processes: processes.len(),
            descriptors: descriptors(),
        }
    }

    /// Waits a moment for what is about to end or to begin.
    pub fn settle(self) -> Holdings {
        settled(Holdings::now, |now| *now == self)
    }
}

/// Looks until `good`, at most two seconds.
fn settled<T>(look: impl Fn() -> T, good: impl Fn(&T) -> bool) -> T {
    let started = Instant::now();
    loop {
        let seen = look();
        if good(&seen) || started.elapsed() > Duration::from_secs(2) {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// From here on a process whose parent ends becomes a child of this one: nothing that we start can get away.
fn adopt_orphans() {
    // SAFETY: integer arguments only.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0, "no subreaper");
}

/// Processes that come from this one, with their names. Without adopted ones that have ended: nobody but this test
/// could take note of that. A worker's first process, which leads a group, has to be taken note of by the pool.
pub fn descendants() -> BTreeMap<u32, String> {
    let own = std::process::id();
    let mut children: BTreeMap<u32, Vec<(u32, String)>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = tail.split_whitespace().take(3).collect();
        let [state, parent, group] = fields[..] else { continue };
        let Ok(parent) = parent.parse::<u32>() else { continue };
        if state == "Z" && parent == own && group != pid.to_string() {
            continue;
        }
        let name = head.split_once('(').map_or("", |(_, name)| name).to_owned();
        children.entry(parent).or_default().push((pid, name));
    }
    let mut found = BTreeMap::new();
    let mut parents = vec![own];
    while let Some(parent) = parents.pop() {
        for (pid, name) in children.remove(&parent).unwrap_or_default() {
            parents.push(pid);
            found.insert(pid, name);
        }
    }
    found
}

/// Sockets that the host's tables list and that this process, or one of `processes`, holds.
fn sockets(processes: &BTreeMap<u32, String>) -> BTreeSet<String> {
    let mut held = BTreeSet::new();
    for pid in processes.keys().copied().chain([std::process::id()]) {
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
            held.extend(inode.map(str::to_owned));
        }
    }
    let mut found = BTreeSet::new();
    for (table, column) in [
        ("tcp", 9),
        ("tcp6", 9),
        ("udp", 9),
        ("udp6", 9),
        ("raw", 9),
        ("raw6", 9),
        ("unix", 6),
        ("packet", 8),
        ("netlink", 9),
    ] {
        let Ok(text) = fs::read_to_string(format!("/proc/net/{table}")) else { continue };
        for line in text.lines().skip(1) {
            if let Some(inode) = line.split_whitespace().nth(column).filter(|inode| held.contains(*inode)) {
                found.insert(format!("{table} {inode}"));
            }
        }
    }
    found
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// Bytes of memory that a process occupies.
pub fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
