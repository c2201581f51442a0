//! Finding the interpreter, once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::SandboxError;

/// A resolved interpreter: never a shim, which would cost a shell at every start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// The executable itself, all links followed.
    pub executable: PathBuf,
    /// For example `3.11.7`.
    pub version: String,
    /// Directories that it must be able to read.
    pub(super) reads: Vec<PathBuf>,
    /// What it was resolved from. In a virtual environment this one knows the packages.
    asked: PathBuf,
}

/// Prints the executable, the version, and every directory of the installation, one a line.
const QUESTION: &str = "
import os, sys, sysconfig
print(os.path.realpath(sys.executable))
print('%d.%d.%d' % sys.version_info[:3])
paths = sysconfig.get_paths()
found = [paths.get('stdlib'), paths.get('platstdlib'), sysconfig.get_config_var('LIBDIR')]
found += [sys.prefix, sys.base_prefix, sys.exec_prefix]
for path in found:
    if path:
        print(os.path.realpath(path))
";

/// Prints the folders in which packages are, one a line.
const PACKAGES_QUESTION: &str = "
import os, site
for path in site.getsitepackages():
    if os.path.isdir(path):
        print('vigor:' + os.path.realpath(path))
";

impl Python {
    /// Asks `python` (a path, or a name to look up in `PATH`) what it is.
    ///
    /// # Errors
    /// [`SandboxError::Python`] when it cannot be run or is older than 3.9.
    pub fn resolve(python: &Path) -> Result<Python, SandboxError> {
        let fail = |reason: String| SandboxError::Python { python: python.to_owned(), reason };
        let text = ask(python, &["-I", "-S", "-c", QUESTION])?;
        let mut lines = text.lines();
        let (Some(executable), Some(version)) = (lines.next(), lines.next()) else {
            return Err(fail("its answer is not one of CPython".to_owned()));
        };
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (3, 9) {
            return Err(fail(format!("it is Python {version}, which is too old")));
        }
        let executable = PathBuf::from(executable);
        let mut reads = vec![executable.clone()];
        // A prefix such as /usr is not an installation of its own: what is needed of it is listed by itself.
        let shared = ["/", "/usr", "/usr/local"].map(Path::new);
        for path in lines.map(PathBuf::from) {
            if !shared.contains(&path.as_path()) && !reads.contains(&path) {
                reads.push(path);
            }
        }
        Ok(Python { executable, version: version.to_owned(), reads, asked: python.to_owned() })
    }
}

impl Python {
    /// Folders in which the interpreter, or the virtual environment that it was named by, has its packages.
    pub(super) fn package_folders(&self) -> Result<Vec<PathBuf>, SandboxError> {
        let text = ask(&self.asked, &["-I", "-c", PACKAGES_QUESTION])?;
        // What is installed there may print something of its own.
        Ok(text.lines().filter_map(|line| line.strip_prefix("vigor:")).map(PathBuf::from).collect())
    }

    /// What it was resolved from.
    pub(super) fn asked(&self) -> &Path {
        &self.asked
    }
}

/// What the interpreter prints.
fn ask(python: &Path, arguments: &[&str]) -> Result<String, SandboxError> {
    let fail = |reason: String| SandboxError::Python { python: python.to_owned(), reason };
    let output = Command::new(python)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| fail(error.to_string()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
        return Err(fail(format!("it ended with {}: {last}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_interpreter_is_an_error_with_a_remedy() {
        let error = Python::resolve(Path::new("/nonexistent/python3")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/python3") && error.contains("install Python 3.9"), "{error}");
        let error = Python::resolve(Path::new("/bin/false")).unwrap_err().to_string();
        assert!(error.contains("exit status: 1"), "{error}");
    }
}
