//! In a mount namespace of its own: everything read-only, private places empty. Used where a
//! [private root](super::private_root) cannot be had.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Layer;

pub(super) const NAME: &str = "read-only-mounts";

/// Places that hold other people's data, or a view of other processes. Hidden where Python is not inside.
const HIDDEN: [&str; 9] = ["/proc", "/sys", "/tmp", "/var/tmp", "/dev/shm", "/run", "/home", "/root", "/mnt"];

/// Attributes of a mount, as `mount_setattr(2)` knows them.
pub(super) const READ_ONLY: u64 = 1;
pub(super) const NO_SET_UID: u64 = 2;
pub(super) const NO_DEVICES: u64 = 4;

/// Makes the whole tree read-only and hides private places.
pub(super) fn make_read_only(python: &[PathBuf]) -> Layer {
    // Nothing done here may reach the host's mounts.
    if let Err(error) = make_private() {
        return Layer::missing(NAME, error.to_string());
    }
    let hidden: Vec<&str> = HIDDEN.into_iter().filter(|place| hide(place, python)).collect();
    match set_attributes(Path::new("/"), READ_ONLY) {
        Ok(()) => Layer::active(NAME, format!("all mounts read-only; empty: {}", hidden.join(" "))),
        Err(error) => Layer::missing(NAME, error.to_string()),
    }
}

fn hide(place: &str, python: &[PathBuf]) -> bool {
    let needed = python.iter().any(|path| path.starts_with(place));
    let place = Path::new(place);
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    !needed && place.is_dir() && tmpfs(place, "size=4k,mode=0555", flags).is_ok()
}

/// Cuts the connection between this namespace's mounts and the host's.
pub(super) fn make_private() -> io::Result<()> {
    mount(None, Path::new("/"), None, None, libc::MS_REC | libc::MS_PRIVATE)
}

/// An empty file system in memory.
pub(super) fn tmpfs(target: &Path, options: &str, flags: libc::c_ulong) -> io::Result<()> {
    mount(Some(Path::new("tmpfs")), target, Some(c"tmpfs"), Some(options), flags)
}

/// A second view of `source`, with what is mounted in it.
pub(super) fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount(Some(source), target, None, None, libc::MS_BIND | libc::MS_REC)
}

/// Takes what is mounted at `target` away again.
pub(super) fn detach(target: &Path) {
    let Ok(target) = path(target) else { return };
    // SAFETY: the path is a NUL-terminated string that outlives the call.
    unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
}

fn path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// An error that says what was tried.
fn failed(what: &str, target: &Path) -> io::Error {
    let error = io::Error::last_os_error();
    io::Error::new(error.kind(), format!("{what} {}: {error}", target.display()))
}

/// `mount(2)`. Without a file system only the flags of the existing mount change.
fn mount(
    source: Option<&Path>,
    target: &Path,
    kind: Option<&CStr>,
    options: Option<&str>,
    flags: libc::c_ulong,
) -> io::Result<()> {
    let source = source.map(path).transpose()?;
    let at = path(target)?;
    let options = options.map(CString::new).transpose().map_err(io::Error::other)?;
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is null or a NUL-terminated string that outlives the call.
    let result = unsafe {
        let data = pointer(options.as_deref()).cast();
        libc::mount(pointer(source.as_deref()), at.as_ptr(), pointer(kind), flags, data)
    };
    if result == 0 { Ok(()) } else { Err(failed("mount", target)) }
}

/// `mount_setattr(2)` on `target` and everything mounted below it.
pub(super) fn set_attributes(target: &Path, set: u64) -> io::Result<()> {
    const AT_RECURSIVE: libc::c_int = 0x8000;
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        namespace: u64,
    }
    let attributes = Attributes { set, clear: 0, propagation: 0, namespace: 0 };
    let at = path(target)?;
    // SAFETY: the structure has the kernel's layout and its size is passed with it; the path is a
    // NUL-terminated string that outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            at.as_ptr(),
            AT_RECURSIVE,
            &attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(failed("mount_setattr", target)) }
}
