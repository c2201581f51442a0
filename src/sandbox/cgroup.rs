//! A control group (version 2) for each worker: the memory of all its processes together, and their number.
//!
//! The engine makes the group, the launcher enters it before it gives up its rights, and the engine removes it
//! when the worker has ended. Groups that an engine left behind when it was killed are removed by the next one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, io, io::Write};

use super::Layer;

pub(super) const NAME: &str = "cgroup";

/// Most processes and threads of a worker: launcher, zygote, a child, and the child's threads.
const PROCESSES: u32 = 300;

/// Bytes for a worker beside what its child may use: the zygote, and what the kernel keeps for both.
const MARGIN: u64 = 128 << 20;

/// A group that was made for one worker. Dropping it ends what is left in it, and removes it.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
    /// The limit that is set, in bytes.
    memory: u64,
}

impl Group {
    /// Makes a group below this process's own, or beside it.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn create() -> Result<Group, String> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let root = mount_point(&mounts).ok_or("cgroup v2 is not mounted")?;
        let groups = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::")).ok_or("no cgroup v2")?;
        let name = format!("vigor-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        Group::create_in(Path::new(root), own, &name)
    }

    /// As [`Group::create`]; `own` is this process's group, as a path below `root`.
    fn create_in(root: &Path, own: &str, name: &str) -> Result<Group, String> {
        let own = root.join(own.trim_start_matches('/'));
        // A group with processes in it cannot hand its controllers on; the one above it does so already.
        let above = own.parent().filter(|_| own != root);
        let mut reason = String::new();
        for parent in [Some(own.as_path()), above].into_iter().flatten() {
            match offer(parent).and_then(|()| make(&parent.join(name))) {
                Ok(group) => {
                    sweep(parent);
                    return Ok(group);
                }
                Err(error) => reason = format!("{}: {error}", parent.display()),
            }
        }
        Err(reason)
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the worker have `bytes` for its child.
    pub fn allow(&mut self, bytes: u64) -> io::Result<()> {
        let memory = bytes.saturating_add(MARGIN);
        if memory != self.memory {
            fs::write(self.path.join("memory.max"), memory.to_string())?;
            self.memory = memory;
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Missing before Linux 5.14; the worker's processes have been killed by their process group, too.
        if let Ok(mut kill) = fs::OpenOptions::new().write(true).open(self.path.join("cgroup.kill")) {
            let _ = kill.write_all(b"1");
        }
        for _ in 0..200 {
            match fs::remove_dir(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                _ => return,
            }
        }
    }
}

/// Where the first cgroup v2 of a list of mounts is.
fn mount_point(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then_some(at)
    })
}

/// Makes sure that groups below `parent` can be given memory and processes.
fn offer(parent: &Path) -> Result<(), String> {
    let listed = |file: &str| -> Result<bool, String> {
        let text = fs::read_to_string(parent.join(file)).map_err(|error| error.to_string())?;
        Ok(["memory", "pids"].iter().all(|name| text.split_whitespace().any(|word| word == *name)))
    };
    if !listed("cgroup.controllers")? {
        return Err("it has no controllers for memory and processes".to_owned());
    }
    if listed("cgroup.subtree_control")? {
        return Ok(());
    }
    fs::write(parent.join("cgroup.subtree_control"), "+memory +pids")
        .map_err(|error| format!("cannot hand on its controllers: {error}"))
}

fn make(path: &Path) -> Result<Group, String> {
    fs::create_dir(path).map_err(|error| error.to_string())?;
    let mut group = Group { path: path.to_owned(), memory: 0 };
    group.allow(0).map_err(|error| format!("memory.max: {error}"))?;
    fs::write(path.join("pids.max"), PROCESSES.to_string()).map_err(|error| format!("pids.max: {error}"))?;
    // Not there where the kernel does not account for swap.
    let _ = fs::write(path.join("memory.swap.max"), "0");
    Ok(group)
}

/// Removes groups of engines that are gone. One that is in use cannot be removed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let engine = name.to_str().and_then(|name| name.strip_prefix("vigor-")?.split('-').next());
        if engine.is_some_and(|engine| !Path::new("/proc").join(engine).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Enters the group, for the launcher.
pub(super) fn join(path: &Path) -> Layer {
    match fs::write(path.join("cgroup.procs"), "0") {
        Ok(()) => Layer::active(NAME, "memory of the worker in all, without swap; number of its processes"),
        Err(error) => Layer::missing(NAME, format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with the files that the kernel shows; a group with `controllers`, handing on `handed`.
    fn group(root: &Path, path: &str, controllers: &str, handed: &str) -> PathBuf {
        let path = root.join(path);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("cgroup.controllers"), controllers).unwrap();
        fs::write(path.join("cgroup.subtree_control"), handed).unwrap();
        path
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_group_has_its_limits_and_goes_with_its_worker() {
        let folder = tempfile::tempdir().unwrap();
        let own = group(folder.path(), "user/own", "cpu memory pids\n", "memory pids\n");
        let mut made = Group::create_in(folder.path(), "/user/own", "vigor-1-0").unwrap();
        let path = own.join("vigor-1-0");
        assert_eq!(made.path(), path);
        assert_eq!(read(&path.join("pids.max")), "300");
        assert_eq!(read(&path.join("memory.swap.max")), "0");
        assert_eq!(read(&path.join("memory.max")), (128 << 20).to_string());
        made.allow(512 << 20).unwrap();
        assert_eq!(read(&path.join("memory.max")), (640 << 20).to_string());
        assert!(join(&path).active);
        assert_eq!(read(&path.join("cgroup.procs")), "0");
        // The kernel's files go with their folder; these have to be taken out.
        for file in fs::read_dir(&path).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        drop(made);
        assert!(!path.exists());
    }

    #[test]
    fn controllers_are_handed_on_where_they_are_not_yet() {
        let folder = tempfile::tempdir().unwrap();
        let own = group(folder.path(), "own", "memory pids", "");
        let made = Group::create_in(folder.path(), "/own", "vigor-1-0").unwrap();
        assert_eq!(read(&own.join("cgroup.subtree_control")), "+memory +pids");
        assert_eq!(made.path(), own.join("vigor-1-0"));
        std::mem::forget(made);
    }

    #[test]
    fn the_group_above_is_used_where_the_own_one_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let above = group(folder.path(), "slice", "memory pids", "memory pids");
        // The kernel refuses with EBUSY where processes are; a folder in the file's place refuses, too.
        let own = group(folder.path(), "slice/own", "memory pids", "");
        fs::remove_file(own.join("cgroup.subtree_control")).unwrap();
        fs::create_dir(own.join("cgroup.subtree_control")).unwrap();
        let made = Group::create_in(folder.path(), "/slice/own", "vigor-1-0").unwrap();
        assert_eq!(made.path(), above.join("vigor-1-0"));
        std::mem::forget(made);
    }

    #[test]
    fn a_reason_is_given_where_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        group(folder.path(), "own", "cpu", "");
        let reason = Group::create_in(folder.path(), "/own", "vigor-1-0").unwrap_err();
        assert!(reason.contains("cgroup.controllers") || reason.contains("No such file"), "{reason}");
        let reason = Group::create_in(folder.path(), "/", "vigor-1-0").unwrap_err();
        assert!(reason.contains("No such file"), "{reason}");
        group(folder.path(), "", "cpu io", "");
        let reason = Group::create_in(folder.path(), "/", "vigor-1-0").unwrap_err();
        assert!(reason.contains("no controllers for memory and processes"), "{reason}");
        assert!(join(Path::new("/nonexistent/group")).detail.contains("/nonexistent/group"));
    }

    #[test]
    fn what_an_engine_left_behind_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        group(folder.path(), "", "memory pids", "memory pids");
        // No process has number 0 or one beyond the kernel's largest.
        let left = folder.path().join("vigor-99999999-0");
        let ours = folder.path().join(format!("vigor-{}-7", std::process::id()));
        for path in [&left, &ours] {
            fs::create_dir(path).unwrap();
        }
        std::mem::forget(Group::create_in(folder.path(), "/", "vigor-1-0").unwrap());
        assert!(!left.exists() && ours.exists());
    }

    #[test]
    fn the_second_version_is_found_among_mounts() {
        let mounts =
            "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_point(mounts), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mount_point("tmpfs /tmp tmpfs rw 0 0\n"), None);
    }
}
