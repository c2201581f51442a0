//! Namespaces: a network without devices, a process tree and mounts of its own.

use std::fs;

use super::identity::{NOBODY, Plan};
use super::layers::holds;
use super::{Layer, launcher::Orders};

/// Enters whatever namespaces the kernel lets this process have.
///
/// An ordinary user needs a user namespace first: in it, it may have the others. A root user who keeps the
/// ownership of Python's files takes one too, to be nobody in it. A root user who becomes nobody does without:
/// that also works where user namespaces are switched off.
pub(super) fn enter(plan: &Plan, orders: &Orders) -> Vec<Layer> {
    let mut layers = Vec::new();
    if !matches!(plan, Plan::BecomeNobody(_)) {
        layers.push(orders.layer("user-namespace", user_namespace));
    }
    for (name, flag, detail) in [
        ("network-namespace", libc::CLONE_NEWNET, "no network device, no sockets of the host"),
        ("ipc-namespace", libc::CLONE_NEWIPC, "no shared memory or queues of the host"),
        ("uts-namespace", libc::CLONE_NEWUTS, "a host name of its own"),
        ("mount-namespace", libc::CLONE_NEWNS, "mounts of its own"),
        (
            "process-namespace",
            libc::CLONE_NEWPID,
            "no process of the host can be named; all end with the zygote",
        ),
    ] {
        layers.push(orders.layer(name, || unshare(name, flag, detail)));
    }
    layers
}

fn unshare(name: &str, flag: i32, detail: &str) -> Layer {
    // SAFETY: the flag is one of the CLONE_NEW… constants; the launcher has one thread.
    if unsafe { libc::unshare(flag) } == 0 {
        Layer::active(name, detail)
    } else {
        Layer::missing(name, std::io::Error::last_os_error().to_string())
    }
}

fn user_namespace() -> Layer {
    // SAFETY: these take no argument and cannot fail.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    let layer =
        unshare("user-namespace", libc::CLONE_NEWUSER, "nobody inside; no right over anything outside");
    if !layer.active {
        return layer;
    }
    // The order is the kernel's: groups can be mapped only after setgroups is denied.
    let mapped = fs::write("/proc/self/setgroups", "deny")
        .and_then(|()| fs::write("/proc/self/uid_map", format!("{NOBODY} {user} 1")))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("{NOBODY} {group} 1")));
    match mapped {
        Ok(()) => layer,
        Err(error) => Layer::missing("user-namespace", format!("cannot map the user: {error}")),
    }
}

/// Forks once, so that the zygote is the first process of the new process namespace: when it ends, the kernel
/// ends all others in it. Returns `None` in the zygote-to-be, and its exit code in the process that waited.
pub(super) fn become_first_process(layers: &[Layer]) -> Result<Option<i32>, String> {
    if !holds(layers, "process-namespace") {
        return Ok(None);
    }
    // SAFETY: the launcher has one thread, so the child may do anything.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(format!("cannot fork: {}", std::io::Error::last_os_error()));
    }
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: closes this process's copies: only the zygote may keep the socket open, or the engine would not
    // see its end. No Rust value uses them after this point: the caller returns.
    unsafe { libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0) };
    let mut status = 0;
    // SAFETY: `status` is valid for writing; `pid` is our child.
    while unsafe { libc::waitpid(pid, &mut status, 0) } < 0 {
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return Ok(Some(4));
        }
    }
    Ok(Some(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }))
}

/// The zygote must not outlive the launcher, whom the engine kills. To be called after any change of user, which
/// the kernel takes for a reason to forget it.
pub(super) fn end_with_parent() {
    // SAFETY: integer arguments only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
}
