//! Landlock: only the Python installation and the system's libraries can be read, nothing can be written.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

use super::private_root::SCRATCH;
use super::{Layer, readable};

/// Applies the rules to this process and all that come from it.
///
/// `scratch`: whether there is a scratch space, which can be written.
pub(super) fn restrict(python: &[PathBuf], scratch: bool) -> Layer {
    match apply(python, scratch) {
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

fn apply(
    python: &[PathBuf],
    scratch: bool,
) -> Result<(RulesetStatus, LandlockStatus), landlock::RulesetError> {
    // Ask for the newest rules that this crate knows and take what the kernel has.
    let abi = ABI::V7;
    let read = AccessFs::from_read(abi);
    let files = AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::Refer
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir;
    let scratch = scratch.then_some(SCRATCH);
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(readable::paths(python), read))?
        .add_rules(path_beneath_rules(readable::devices(), AccessFs::ReadFile | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(scratch, files | AccessFs::ReadFile | AccessFs::ReadDir))?
        .restrict_self()?;
    Ok((status.ruleset, status.landlock))
}
