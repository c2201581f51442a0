//! A root file system of its own: what Python needs, bound read-only, and nothing else.
//!
//! Everything that can fail is done below a directory of the host's tree, in the worker's own mount namespace.
//! Only then does the worker move into it, so that a kernel which refuses a step leaves the worker where it was.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::{fs, os::unix::fs::symlink};

use super::mounts::{self, NO_DEVICES, NO_SET_UID, READ_ONLY};
use super::{Layer, readable};

pub(super) const NAME: &str = "private-root";

/// Where the scratch space is, for a program that has one.
pub(super) const SCRATCH: &str = "/scratch";

/// Most files and directories of a scratch space.
const SCRATCH_FILES: u32 = 16_384;

/// Directories, one of which is covered while the new root is built. Nothing that Python needs may lie in it.
const STAGES: [&str; 5] = ["/tmp", "/mnt", "/run", "/sys", "/proc"];

/// Builds the root and moves into it. `scratch_bytes`: size of the scratch space, 0 for none.
pub(super) fn enter(python: &[PathBuf], scratch_bytes: u64) -> Layer {
    match build_and_enter(python, scratch_bytes) {
        Ok(()) => Layer::active(NAME, "only Python and system libraries exist, read-only"),
        Err(error) => Layer::missing(NAME, error.to_string()),
    }
}

fn build_and_enter(python: &[PathBuf], scratch_bytes: u64) -> io::Result<()> {
    let mut sources = readable::paths(python);
    // A directory before what lies in it, so that the latter is there already.
    sources.sort_by_key(|path| path.components().count());
    let stage = STAGES
        .into_iter()
        .map(Path::new)
        .find(|stage| stage.is_dir() && !sources.iter().any(|path| crosses(path, stage)))
        .ok_or_else(|| io::Error::other("no directory to build it on"))?;
    mounts::make_private()?;
    mounts::tmpfs(stage, "size=1m,mode=0755", libc::MS_NOSUID | libc::MS_NODEV)?;
    let built = Root { stage, bound: Vec::new() }.fill(&sources, scratch_bytes).and_then(|()| move_to(stage));
    if built.is_err() {
        mounts::detach(stage);
    }
    built
}

/// Whether `path`, or where its links lead, lies in `stage`.
fn crosses(path: &Path, stage: &Path) -> bool {
    path.starts_with(stage) || fs::canonicalize(path).is_ok_and(|real| real.starts_with(stage))
}

/// The root while it is built.
struct Root<'a> {
    stage: &'a Path,
    /// Real paths that are there.
    bound: Vec<PathBuf>,
}

impl Root<'_> {
    fn fill(&mut self, sources: &[PathBuf], scratch_bytes: u64) -> io::Result<()> {
        for path in sources {
            self.place(path, READ_ONLY | NO_SET_UID | NO_DEVICES, 0)?;
        }
        for device in readable::devices() {
            self.place(device, READ_ONLY | NO_SET_UID, 0)?;
        }
        let scratch = self.inside(Path::new(SCRATCH));
        if scratch_bytes > 0 {
            fs::create_dir(&scratch)?;
        }
        mounts::set_attributes(self.stage, READ_ONLY | NO_SET_UID)?;
        if scratch_bytes > 0 {
            // Whoever the worker is going to be, nobody else can reach it.
            let options = format!("size={scratch_bytes},nr_inodes={SCRATCH_FILES},mode=0777");
            mounts::tmpfs(&scratch, &options, libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC)?;
        }
        Ok(())
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.stage.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn has(&self, path: &Path) -> bool {
        self.bound.iter().any(|bound| path.starts_with(bound))
    }

    /// Makes `path` exist: every symbolic link on the way as a link, and a read-only view of what it leads to.
    fn place(&mut self, path: &Path, attributes: u64, links: u32) -> io::Result<()> {
        if links > 40 {
            return Err(io::Error::other(format!("{}: too many symbolic links", path.display())));
        }
        let mut real = PathBuf::from("/");
        let mut parts = path.components();
        while let Some(part) = parts.next() {
            match part {
                Component::Normal(name) => real.push(name),
                Component::ParentDir => {
                    real.pop();
                }
                _ => continue,
            }
            // A directory that only its owner may enter, or nothing there: not needed, then.
            let Ok(found) = fs::symlink_metadata(&real) else { return Ok(()) };
            if found.is_symlink() {
                let target = fs::read_link(&real)?;
                if !self.has(&real) {
                    self.link(&real, &target)?;
                }
                real.pop();
                let target = real.join(target).join(parts.as_path());
                return self.place(&target, attributes, links + 1);
            }
        }
        if self.has(&real) {
            return Ok(());
        }
        let at = self.inside(&real);
        if real.is_dir() {
            fs::create_dir_all(&at)?;
        } else {
            fs::create_dir_all(at.parent().unwrap_or(self.stage))?;
            fs::File::create(&at)?;
        }
        mounts::bind(&real, &at)?;
        mounts::set_attributes(&at, attributes)?;
        self.bound.push(real);
        Ok(())
    }

    fn link(&self, at: &Path, target: &Path) -> io::Result<()> {
        let at = self.inside(at);
        if at.is_symlink() {
            return Ok(());
        }
        fs::create_dir_all(at.parent().unwrap_or(self.stage))?;
        symlink(target, at)
    }
}

/// Makes `stage` the root, and lets go of the old one.
fn move_to(stage: &Path) -> io::Result<()> {
    let here = c".";
    let stage = CString::new(stage.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: the paths are NUL-terminated strings that outlive the calls. With the same directory as new root
    // and as place for the old one, the old root lies on top of the new one, from where it is detached.
    unsafe {
        if libc::chdir(stage.as_ptr()) != 0
            || libc::syscall(libc::SYS_pivot_root, here.as_ptr(), here.as_ptr()) != 0
        {
            let error = io::Error::last_os_error();
            libc::chdir(c"/".as_ptr());
            return Err(io::Error::new(error.kind(), format!("pivot_root: {error}")));
        }
        if libc::umount2(here.as_ptr(), libc::MNT_DETACH) != 0 || libc::chdir(c"/".as_ptr()) != 0 {
            // The old root is still there: there is no way back, and none on.
            eprintln!("cannot leave the old root: {}", io::Error::last_os_error());
            libc::_exit(3);
        }
    }
    Ok(())
}
