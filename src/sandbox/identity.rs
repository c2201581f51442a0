//! Who the worker is: a user of its own, wherever that leaves Python readable.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Layer;

/// User and group that the worker has inside of a user namespace: the kernel's own `nobody`.
pub(super) const NOBODY: u32 = 65534;

/// The first of the users that workers of root become, each another one. No system gives these to anybody, no
/// file belongs to them, and the limit on a user's threads is then one on a worker's.
const FIRST_WORKER: u32 = 0x7000_0000;

/// How rights will be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Root that can become a user who owns nothing, this one.
    BecomeNobody(u32),
    /// Root that owns a Python which others cannot reach: stay the owner of its files, with no capability.
    KeepOwner,
    /// An ordinary user.
    Ordinary,
}

/// Decides how to give up rights, given what Python must read.
pub(super) fn plan(reads: &[PathBuf]) -> Plan {
    // SAFETY: takes no argument and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        Plan::Ordinary
    } else if reads.iter().all(|path| readable_by_others(path)) {
        Plan::BecomeNobody(FIRST_WORKER + std::process::id())
    } else {
        Plan::KeepOwner
    }
}

/// Whether everybody can reach and read `path`. A path that does not exist is no obstacle.
fn readable_by_others(path: &Path) -> bool {
    path.ancestors().enumerate().all(|(step, part)| match fs::metadata(part) {
        Ok(meta) => {
            let needed = if step > 0 {
                0o001
            } else if meta.is_dir() {
                0o005
            } else {
                0o004
            };
            meta.permissions().mode() & needed == needed
        }
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    })
}

/// Gives up user, groups and capabilities, for good.
pub(super) fn shed(plan: &Plan) -> Layer {
    let nobody = NOBODY as libc::c_ulong;
    if let Plan::BecomeNobody(user) = plan {
        // A container may know no users but the first 65536.
        if let Err(error) = become_user(*user).or_else(|_| become_user(NOBODY)) {
            return Layer::missing("identity", format!("cannot become nobody: {error}"));
        }
    }
    drop_capabilities();
    // SAFETY: integer arguments only.
    let locked = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0;
    if !locked {
        return Layer::missing("identity", format!("no_new_privs refused: {}", last_error()));
    }
    // SAFETY: takes no argument and cannot fail.
    let seen = unsafe { libc::geteuid() } as libc::c_ulong;
    let detail = match plan {
        Plan::BecomeNobody(_) if seen == nobody => "user nobody, no capabilities, no new privileges",
        Plan::BecomeNobody(_) => "a user of its own, who owns nothing; no capabilities, no new privileges",
        Plan::KeepOwner if seen == nobody => {
            "root of the host, shown as nobody in a user namespace: owner of its files, no capabilities, no new privileges"
        }
        Plan::KeepOwner => "root without capabilities, no new privileges (Python is readable only by root)",
        Plan::Ordinary => "the user who started vigor, no capabilities, no new privileges",
    };
    Layer::active("identity", detail)
}

fn become_user(user: u32) -> std::io::Result<()> {
    // SAFETY: plain system calls with integer arguments; the empty list of groups needs no memory.
    let refused = unsafe {
        libc::setgroups(0, std::ptr::null()) != 0
            || libc::setresgid(user, user, user) != 0
            || libc::setresuid(user, user, user) != 0
    };
    if refused { Err(last_error()) } else { Ok(()) }
}

/// Empties every capability set, and keeps root from getting them back when it executes Python.
fn drop_capabilities() {
    const SECURE_NOROOT_LOCKED: libc::c_ulong = 0b11;
    // SAFETY: prctl with integer arguments; a capability that does not exist is refused, which ends the loop.
    unsafe {
        libc::prctl(libc::PR_SET_SECUREBITS, SECURE_NOROOT_LOCKED, 0, 0, 0);
        for capability in 0..64 as libc::c_ulong {
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 {
                break;
            }
        }
    }
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let none = [0u32; 6];
    // SAFETY: version 3 of the interface reads one header and two blocks of three 32-bit words; both are
    // valid for the call.
    unsafe { libc::syscall(libc::SYS_capset, &header, none.as_ptr()) };
}

fn last_error() -> std::io::Error {
    std::io::Error::last_os_error()
}
