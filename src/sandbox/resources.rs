//! Limits that hold for the zygote and all of its children; a child adds tighter ones of its own.

use super::Layer;

/// Longest file, in bytes, where a program has a scratch space of `scratch_bytes`. More than fits into it, so
/// that it is the space that is full.
pub(super) fn longest_file(scratch_bytes: u64) -> u64 {
    if scratch_bytes == 0 { 0 } else { scratch_bytes + 4096 }
}

/// Sets the limits that every process of a worker has.
pub(super) fn limit(scratch_bytes: u64) -> Layer {
    let mut refused = Vec::new();
    // No file grows, nothing is dumped, and the number of descriptors stays small.
    for (name, resource, value) in [
        ("core", libc::RLIMIT_CORE, 0),
        ("file size", libc::RLIMIT_FSIZE, longest_file(scratch_bytes)),
        ("open files", libc::RLIMIT_NOFILE, 256),
        ("locked memory", libc::RLIMIT_MEMLOCK, 0),
        ("message queues", libc::RLIMIT_MSGQUEUE, 0),
    ] {
        let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        // SAFETY: `limit` is a valid structure that the call only reads.
        if unsafe { libc::setrlimit(resource, &limit) } != 0 {
            refused.push(name);
        }
    }
    if refused.is_empty() {
        Layer::active("limits", "address space, CPU time, file size and open files of each child")
    } else {
        Layer::missing("limits", format!("the kernel refused: {}", refused.join(", ")))
    }
}
