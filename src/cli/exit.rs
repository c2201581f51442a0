//! Exit codes: what kind of thing went wrong.

use vigor::model::ModelError;
use vigor::model::tokenizer::TokenizerError;
use vigor::report::ReportError;
use vigor::run::{ConfigError, RunError, WorkbenchError};
use vigor::sandbox::SandboxError;
use vigor::score::{SampleError, ScoreError};
use vigor::session::SessionError;
use vigor::source::SourceError;
use vigor::task::TaskError;

/// Failure, or differences found.
pub const FAILURE: u8 = 1;
/// An argument that means nothing, or means nothing here.
pub const USAGE: u8 = 2;
/// Configuration, model or dataset are not what they should be.
pub const BAD_INPUT: u8 = 3;
/// A model or dataset cannot be had.
pub const NOT_FOUND: u8 = 4;
/// No usable Python or sandbox.
pub const SANDBOX: u8 = 5;
/// A file cannot be written.
pub const WRITE: u8 = 6;
/// A GPU cannot be used, or has not enough memory.
pub const DEVICE: u8 = 7;
/// Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// An error with its exit code.
pub struct Failure {
    pub code: u8,
    pub error: anyhow::Error,
}

impl Failure {
    pub fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }

    pub fn message(code: u8, message: impl std::fmt::Display) -> Self {
        Self { code, error: anyhow::anyhow!("{message}") }
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let code = match &error {
            SourceError::Unusable { .. } | SourceError::Corrupt { .. } | SourceError::Manifest { .. } => {
                BAD_INPUT
            }
            SourceError::DiskFull { .. } => WRITE,
            SourceError::Io { action, .. } if !matches!(*action, "read" | "open") => WRITE,
            _ => NOT_FOUND,
        };
        Self::new(code, error)
    }
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        Self::new(BAD_INPUT, error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(BAD_INPUT, error)
    }
}

impl From<WorkbenchError> for Failure {
    fn from(error: WorkbenchError) -> Self {
        match error {
            WorkbenchError::Model(error) => error.into(),
            WorkbenchError::Sandbox(_) => Self::new(SANDBOX, error),
            error => Self::new(BAD_INPUT, error),
        }
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        let on_device = matches!(error, ModelError::Device(_) | ModelError::DeviceMemory(_));
        Self::new(if on_device { DEVICE } else { BAD_INPUT }, error)
    }
}

impl From<TokenizerError> for Failure {
    fn from(error: TokenizerError) -> Self {
        Self::new(BAD_INPUT, error)
    }
}

impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Self {
        Self::new(SANDBOX, error)
    }
}

impl From<SampleError> for Failure {
    fn from(error: SampleError) -> Self {
        Self::new(BAD_INPUT, error)
    }
}

impl From<ScoreError> for Failure {
    fn from(error: ScoreError) -> Self {
        let code = match &error {
            ScoreError::Stopped { .. } => INTERRUPTED,
            ScoreError::Sandbox(_) => SANDBOX,
        };
        Self::new(code, error)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let code = match &error {
            SessionError::Stopped => INTERRUPTED,
            SessionError::Sandbox(_) => SANDBOX,
            SessionError::Prompt(_) => BAD_INPUT,
            SessionError::Engine(_) => FAILURE,
        };
        Self::new(code, error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let code = match &error {
            RunError::Io { action: "read", .. } => BAD_INPUT,
            RunError::Io { .. } => WRITE,
            RunError::Session { .. } => FAILURE,
            _ => BAD_INPUT,
        };
        Self::new(code, error)
    }
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Run(error) => error.into(),
            error => Self::new(BAD_INPUT, error),
        }
    }
}
