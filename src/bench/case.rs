//! The rows: what each measures, and its name.

use std::fmt;
use std::str::FromStr;

/// The kinds of rows, by which a user chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Reading a prompt.
    Prefill,
    /// Decoding one sequence.
    Decode,
    /// Decoding branches of one prefix.
    Shared,
    /// Decoding unrelated sequences of several clients.
    Sessions,
    /// Decoding two streams as one under guidance, beside two plain ones.
    Guided,
    /// One step of `vigor` and of `eg-cfg`.
    Step,
    /// One whole `eg-cfg` session.
    Session,
    /// What a session asks of the engine, without a task: the same work for any weights, and for other engines.
    SyntheticSession,
}

impl Family {
    /// All, in the order of the table.
    pub const ALL: [Self; 8] = [
        Self::Prefill,
        Self::Decode,
        Self::Shared,
        Self::Sessions,
        Self::Guided,
        Self::Step,
        Self::Session,
        Self::SyntheticSession,
    ];

    /// The name that a user gives.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Shared => "shared",
            Self::Sessions => "sessions",
            Self::Guided => "guided",
            Self::Step => "step",
            Self::Session => "session",
            Self::SyntheticSession => "synthetic-session",
        }
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|family| family.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|family| family.name()).collect();
            format!("there are no rows {name:?}; choose among {}", names.join(", "))
        })
    }
}

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Which rows; those of each family once, in the order of [`Family::ALL`].
    pub families: Vec<Family>,
    /// Tokens of the prompt of `prefill`.
    pub prompt: usize,
    /// Branches of `shared`.
    pub branches: Vec<usize>,
    /// Sequences at once of `sessions`.
    pub sessions: Vec<usize>,
    /// Tokens of the prefix of `shared`.
    pub prefixes: Vec<usize>,
    /// Tokens that each sequence decodes in one repetition.
    pub steps: usize,
    /// Lines of the program of `session` at most.
    pub lines: usize,
    /// Repetitions that count.
    pub repeat: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            families: Family::ALL.into_iter().filter(|family| *family != Family::SyntheticSession).collect(),
            prompt: 512,
            branches: vec![1, 2, 4, 8, 16, 32],
            sessions: vec![1, 2, 4, 8, 16],
            prefixes: vec![256, 1024, 4096],
            steps: 32,
            lines: 40,
            repeat: 5,
        }
    }
}

/// Tokens before the first decoded one, in the rows where nothing else is said.
pub(super) const PREFIX: usize = 256;
/// Tokens by which the conditional stream of `guided` is longer: about a signal.
pub(super) const SIGNAL: usize = 256;

/// The numbers of a synthetic session, in tokens where nothing else is said; `benches/peers/egcfg_reference.py` does the
/// same work with its `--synthetic`.
pub(super) mod synthetic {
    /// The plain prompt.
    pub const PROMPT: usize = 700;
    /// A signal.
    pub const SIGNAL: usize = 600;
    /// The end of the prompt, which follows the signal in the conditional prompt.
    pub const TAIL: usize = 8;
    /// Guided lines.
    pub const LINES: usize = 12;
    /// A line.
    pub const LINE: usize = 12;
    /// Candidates a line, a number.
    pub const CANDIDATES: usize = 3;
    /// Lines of a candidate, a number.
    pub const HORIZON: usize = 3;
    /// Temperature of the candidates.
    pub const TEMPERATURE: f32 = 0.75;
    /// Their top-p.
    pub const TOP_P: f32 = 0.95;
    /// Guidance strength γ.
    pub const GAMMA: f32 = 1.0;
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Case {
    Prefill {
        tokens: usize,
    },
    Decode,
    Shared {
        branches: usize,
        prefix: usize,
    },
    Sessions {
        sequences: usize,
    },
    /// Two plain sequences of the lengths of the two streams.
    Pair,
    Guided {
        gamma: f32,
    },
    /// Of the method with this name.
    Step {
        method: &'static str,
    },
    Session,
    SyntheticSession,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefill { tokens } => write!(f, "prefill/tokens={tokens}"),
            Self::Decode => f.write_str("decode"),
            Self::Shared { branches, prefix } => write!(f, "shared/n={branches}/prefix={prefix}"),
            Self::Sessions { sequences } => write!(f, "sessions/n={sequences}"),
            Self::Pair => f.write_str("guided/two-plain"),
            Self::Guided { gamma } => write!(f, "guided/gamma={gamma}"),
            Self::Step { method } => write!(f, "step/{method}"),
            Self::Session => f.write_str("session/eg-cfg"),
            Self::SyntheticSession => f.write_str("synthetic-session"),
        }
    }
}

impl Case {
    /// What the milliseconds of a row are those of.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Prefill { .. } => "prompt",
            Self::Step { .. } => "step",
            Self::Session | Self::SyntheticSession => "session",
            _ => "token",
        }
    }

    /// Sequences that advance together.
    pub(super) fn sequences(self) -> usize {
        match self {
            Self::Shared { branches, .. } => branches,
            Self::Sessions { sequences } => sequences,
            Self::Pair | Self::Guided { .. } => 2,
            _ => 1,
        }
    }

    /// Tokens of the longest sequence before decoding begins; 0 where the row decides itself.
    pub(super) fn prefix(self) -> usize {
        match self {
            Self::Prefill { tokens } => tokens,
            Self::Shared { prefix, .. } => prefix,
            Self::Decode | Self::Sessions { .. } => PREFIX,
            Self::Pair | Self::Guided { .. } => PREFIX + SIGNAL,
            Self::SyntheticSession => {
                synthetic::PROMPT + synthetic::SIGNAL + synthetic::LINES * synthetic::LINE
            }
            Self::Step { .. } | Self::Session => 0,
        }
    }
}

impl Plan {
    pub(super) fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for family in Family::ALL.into_iter().filter(|family| self.families.contains(family)) {
            match family {
                Family::Prefill => cases.push(Case::Prefill { tokens: self.prompt }),
                Family::Decode => cases.push(Case::Decode),
                Family::Shared => {
                    for &prefix in &self.prefixes {
                        cases.extend(self.branches.iter().map(|&branches| Case::Shared { branches, prefix }));
                    }
                }
                Family::Sessions => {
                    cases.extend(self.sessions.iter().map(|&sequences| Case::Sessions { sequences }));
                }
                // With γ = 1 the mix is a copy; with 3 it is computed over the whole vocabulary.
                Family::Guided => {
                    cases.extend([Case::Pair, Case::Guided { gamma: 1.0 }, Case::Guided { gamma: 3.0 }]);
                }
                Family::Step => {
                    cases.extend([Case::Step { method: "vigor" }, Case::Step { method: "eg-cfg" }]);
                }
                Family::Session => cases.push(Case::Session),
                Family::SyntheticSession => cases.push(Case::SyntheticSession),
            }
        }
        cases
    }
}
