//! What a worker may read: one list for every layer that hides the rest.

use std::path::{Path, PathBuf};

/// Directories and files that any Python needs beside its own installation.
const SYSTEM: [&str; 9] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/usr/share/zoneinfo",
];

/// Devices that anyone may use.
pub(super) const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/urandom"];

/// The system's part and `python`, as far as they exist. No devices.
pub(super) fn paths(python: &[PathBuf]) -> Vec<PathBuf> {
    let system = SYSTEM.iter().map(PathBuf::from);
    system.chain(python.iter().cloned()).filter(|path| path.exists()).collect()
}

/// The devices that exist.
pub(super) fn devices() -> impl Iterator<Item = &'static Path> {
    DEVICES.into_iter().map(Path::new).filter(|path| path.exists())
}
