//! How many threads a worker may have: the kernel's limit on the processes of a user, where the worker is a
//! user by itself.

use std::ffi::CStr;

use super::identity::NOBODY;
use super::layers::holds;
use super::{Layer, identity::Plan};

pub(super) const NAME: &str = "thread-limit";

/// Most threads of a worker, its zygote and children included.
const THREADS: u64 = 256;

/// Sets the limit, after the worker has become who it stays.
pub(super) fn limit(plan: &Plan, layers: &[Layer]) -> Layer {
    if let Err(reason) = is_counted_alone(plan, layers) {
        return Layer::missing(NAME, reason);
    }
    let limit = libc::rlimit { rlim_cur: THREADS, rlim_max: THREADS };
    // SAFETY: `limit` is a valid structure that the call only reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &limit) } == 0 {
        Layer::active(NAME, format!("at most {THREADS} threads"))
    } else {
        Layer::missing(NAME, std::io::Error::last_os_error().to_string())
    }
}

/// Whether the kernel counts this worker's threads, and no one else's with them.
fn is_counted_alone(plan: &Plan, layers: &[Layer]) -> Result<(), &'static str> {
    // SAFETY: takes no argument and cannot fail.
    let user = unsafe { libc::geteuid() };
    match plan {
        Plan::BecomeNobody(own) if user == *own => Ok(()),
        Plan::BecomeNobody(_) => Err("shares its user with others"),
        Plan::KeepOwner => Err("the kernel does not count the threads of root"),
        Plan::Ordinary if user != NOBODY || !holds(layers, "user-namespace") => Err("needs a user namespace"),
        // Since then a user is counted in each user namespace by itself.
        Plan::Ordinary if kernel() < (5, 14) => Err("needs Linux 5.14"),
        Plan::Ordinary => Ok(()),
    }
}

/// The kernel's version.
fn kernel() -> (u32, u32) {
    // SAFETY: an array of zeros is a valid `utsname`, which the call fills with NUL-terminated texts.
    let release = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&mut name);
        CStr::from_ptr(name.release.as_ptr()).to_string_lossy().into_owned()
    };
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
