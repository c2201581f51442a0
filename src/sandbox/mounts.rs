//! In a mount namespace of its own: everything read-only, private places empty.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Layer;

/// Places that hold other people's data, or a view of other processes. Hidden where Python is not inside.
const HIDDEN: [&str; 9] = ["/proc", "/sys", "/tmp", "/var/tmp", "/dev/shm", "/run", "/home", "/root", "/mnt"];

/// Makes the whole tree read-only and hides private places. A second line behind Landlock.
pub(super) fn make_read_only(layers: &[Layer], reads: &[PathBuf]) -> Layer {
    const NAME: &str = "read-only-mounts";
    if !layers.iter().any(|layer| layer.active && layer.name == "mount-namespace") {
        return Layer::missing(NAME, "needs a mount namespace");
    }
    // Nothing done here may reach the host's mounts.
    if let Err(error) = mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE) {
        return Layer::missing(NAME, format!("cannot make the mounts private: {error}"));
    }
    let hidden: Vec<&str> = HIDDEN.into_iter().filter(|place| hide(place, reads)).collect();
    match set_read_only() {
        Ok(()) => Layer::active(NAME, format!("all mounts read-only; empty: {}", hidden.join(" "))),
        Err(error) => Layer::missing(NAME, format!("the kernel refused: {error}")),
    }
}

fn hide(place: &str, reads: &[PathBuf]) -> bool {
    let needed = reads.iter().any(|path| path.starts_with(place));
    let Ok(target) = CString::new(Path::new(place).as_os_str().as_bytes()) else { return false };
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    !needed
        && Path::new(place).is_dir()
        && mount(Some(c"tmpfs"), &target, Some(c"size=4k,mode=0555"), flags).is_ok()
}

/// `kind`: type of file system to mount there; without one only the flags of the existing mount change.
fn mount(
    kind: Option<&CStr>,
    target: &CStr,
    data: Option<&CStr>,
    flags: libc::c_ulong,
) -> std::io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is null or a NUL-terminated string that outlives the call.
    let result =
        unsafe { libc::mount(pointer(kind), target.as_ptr(), pointer(kind), flags, pointer(data).cast()) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// `mount_setattr(2)` on the whole tree.
fn set_read_only() -> std::io::Result<()> {
    const AT_RECURSIVE: libc::c_int = 0x8000;
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        namespace: u64,
    }
    const READ_ONLY: u64 = 1;
    let attributes = Attributes { set: READ_ONLY, clear: 0, propagation: 0, namespace: 0 };
    // SAFETY: the structure has the kernel's layout and its size is passed with it; the path is a constant.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            AT_RECURSIVE,
            &attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
