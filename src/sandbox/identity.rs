//! Who the worker is: nobody, wherever that leaves Python readable.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Layer;

/// User and group that the worker takes, inside and outside of a user namespace: the kernel's own `nobody`.
pub(super) const NOBODY: u32 = 65534;

/// How rights will be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Root that can become nobody.
    BecomeNobody,
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
        Plan::BecomeNobody
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
    if *plan == Plan::BecomeNobody {
        // SAFETY: plain system calls with integer arguments; the empty list of groups needs no memory.
        let refused = unsafe {
            libc::setgroups(0, std::ptr::null()) != 0
                || libc::setresgid(NOBODY, NOBODY, NOBODY) != 0
                || libc::setresuid(NOBODY, NOBODY, NOBODY) != 0
        };
        if refused {
            return Layer::missing("identity", format!("cannot become nobody: {}", last_error()));
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
        Plan::BecomeNobody => "user nobody, no capabilities, no new privileges",
        Plan::KeepOwner if seen == nobody => {
            "root of the host, shown as nobody in a user namespace: owner of its files, no capabilities, no new privileges"
        }
        Plan::KeepOwner => "root without capabilities, no new privileges (Python is readable only by root)",
        Plan::Ordinary => "the user who started vigor, no capabilities, no new privileges",
    };
    Layer::active("identity", detail)
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
