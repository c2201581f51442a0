//! What protects the machine from a program, and whether it is enough.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much of the sandbox must hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Every [`Capability`] must be provided by at least one layer; else nothing is run.
    #[default]
    Strict,
    /// Whatever the kernel offers is used, and what holds is reported.
    BestEffort,
    /// Only limits on time and memory. For programs that you would run yourself.
    Off,
}

impl Policy {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Policy::Strict => "strict",
            Policy::BestEffort => "best-effort",
            Policy::Off => "off",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Policy> {
        [Policy::Strict, Policy::BestEffort, Policy::Off].into_iter().find(|policy| policy.as_str() == text)
    }
}

/// One mechanism, and whether it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// For example `landlock`.
    pub name: String,
    /// Whether it holds.
    pub active: bool,
    /// What it does where it is active, else why it is not.
    pub detail: String,
}

impl Layer {
    pub(super) fn active(name: &str, detail: impl Into<String>) -> Layer {
        Layer { name: name.to_owned(), active: true, detail: detail.into() }
    }

    pub(super) fn missing(name: &str, detail: impl Into<String>) -> Layer {
        Layer { name: name.to_owned(), active: false, detail: detail.into() }
    }

    /// A layer that was not wanted.
    pub(super) fn left_out(name: &str) -> Layer {
        Layer::missing(name, "left out")
    }
}

/// Whether the layer `name` is among `layers` and in force.
pub(super) fn holds(layers: &[Layer], name: &str) -> bool {
    layers.iter().any(|layer| layer.active && layer.name == name)
}

/// What the sandbox promises. Each promise can be kept by more than one mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// No connection to anything.
    NoNetwork,
    /// No file is created, changed or removed, but for the program's own scratch space where it has one.
    NoWrites,
    /// Files outside of the Python installation and the system's libraries cannot be read.
    NoReads,
    /// No process is started, and no other process is reached.
    NoProcesses,
    /// No capability and no way to get one; of root, where Python remains readable, not the user either.
    NoPrivileges,
    /// Memory is bounded.
    BoundedMemory,
    /// CPU time is bounded.
    BoundedCpu,
    /// Wall-clock time is bounded.
    BoundedTime,
}

impl Capability {
    /// All of them.
    pub const ALL: [Capability; 8] = [
        Capability::NoNetwork,
        Capability::NoWrites,
        Capability::NoReads,
        Capability::NoProcesses,
        Capability::NoPrivileges,
        Capability::BoundedMemory,
        Capability::BoundedCpu,
        Capability::BoundedTime,
    ];

    /// Names of the layers of which any one keeps the promise.
    pub fn keepers(self) -> &'static [&'static str] {
        match self {
            Capability::NoNetwork => &["network-namespace", "seccomp", "seccomp-child"],
            Capability::NoWrites => &["private-root", "read-only-mounts", "landlock", "seccomp-child"],
            Capability::NoReads => &["private-root", "landlock"],
            Capability::NoProcesses => &["seccomp-child"],
            Capability::NoPrivileges => &["identity"],
            Capability::BoundedMemory => &["limits", "cgroup"],
            Capability::BoundedCpu => &["limits"],
            Capability::BoundedTime => &["deadline"],
        }
    }

    /// Names of those of `layers` that keep the promise.
    pub fn kept_by(self, layers: &[Layer]) -> Vec<&'static str> {
        self.keepers().iter().copied().filter(|keeper| holds(layers, keeper)).collect()
    }

    /// Whether one of `layers` keeps the promise.
    pub fn held_by(self, layers: &[Layer]) -> bool {
        !self.kept_by(layers).is_empty()
    }

    /// The promises that none of `layers` keeps.
    pub fn missing(layers: &[Layer]) -> Vec<Capability> {
        Capability::ALL.into_iter().filter(|capability| !capability.held_by(layers)).collect()
    }

    /// The promise, and for each layer that could keep it why it does not.
    pub(super) fn explain(self, layers: &[Layer]) -> String {
        let reasons: Vec<String> = self
            .keepers()
            .iter()
            .map(|keeper| {
                let layer = layers.iter().find(|layer| layer.name == *keeper);
                format!("{keeper}: {}", layer.map_or("not tried", |layer| &layer.detail))
            })
            .collect();
        format!("{self} ({})", reasons.join("; "))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Capability::NoNetwork => "no network",
            Capability::NoWrites => "no writes",
            Capability::NoReads => "no reads of private files",
            Capability::NoProcesses => "no other processes",
            Capability::NoPrivileges => "no privileges",
            Capability::BoundedMemory => "bounded memory",
            Capability::BoundedCpu => "bounded CPU time",
            Capability::BoundedTime => "bounded wall-clock time",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_active_layer_is_enough_for_a_capability() {
        let layers = [Layer::missing("landlock", "no kernel support"), Layer::active("seccomp-child", "")];
        assert!(Capability::NoWrites.held_by(&layers));
        assert!(!Capability::NoReads.held_by(&layers));
        assert!(Capability::missing(&layers).contains(&Capability::NoPrivileges));
    }

    #[test]
    fn what_is_not_kept_is_said_with_every_reason() {
        let layers = [Layer::missing("landlock", "no kernel support"), Layer::left_out("private-root")];
        let said = Capability::NoReads.explain(&layers);
        assert_eq!(said, "no reads of private files (private-root: left out; landlock: no kernel support)");
    }
}
