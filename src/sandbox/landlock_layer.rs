//! Landlock: only the Python installation and the system's libraries can be read, nothing can be written.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

use super::Layer;

/// What any Python needs beside its own installation.
const SYSTEM: [&str; 12] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
];

/// Applies the rules to this process and all that come from it.
pub(super) fn restrict(reads: &[PathBuf]) -> Layer {
    match apply(reads) {
        Ok((RulesetStatus::NotEnforced, status)) => {
            Layer::missing("landlock", format!("not offered by this kernel ({status:?})"))
        }
        Ok((how, LandlockStatus::Available { effective_abi, .. })) => {
            let how = if how == RulesetStatus::FullyEnforced { "" } else { ", older rules only" };
            Layer::active(
                "landlock",
                format!("reads only Python and system libraries, no writes ({effective_abi:?}{how})"),
            )
        }
        Ok((_, status)) => Layer::missing("landlock", format!("{status:?}")),
        Err(error) => Layer::missing("landlock", error.to_string()),
    }
}

fn apply(reads: &[PathBuf]) -> Result<(RulesetStatus, LandlockStatus), landlock::RulesetError> {
    // Ask for the newest rules that this crate knows and take what the kernel has.
    let abi = ABI::V7;
    let system = SYSTEM.into_iter().map(PathBuf::from);
    let readable: Vec<PathBuf> = system.chain(reads.iter().cloned()).filter(|path| path.exists()).collect();
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(readable, AccessFs::from_read(abi)))?
        .restrict_self()?;
    Ok((status.ruleset, status.landlock))
}
