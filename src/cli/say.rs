//! What a command answers (standard output) and what it remarks (standard error). Neither ever panics.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use super::exit::WRITE;

/// Prints a line. Where the standard output cannot take it there is nobody to answer to, so the program ends:
/// without a word when the reader has left (`vigor pull --list | head -1`), else with an error.
pub fn line(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            remark(format_args!("error: cannot write to the standard output: {error}; send it elsewhere"));
            std::process::exit(i32::from(WRITE));
        }
    }
}

/// Prints a line for the user beside the answer. Work goes on where nobody can read it.
pub fn remark(text: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// `eprintln!` that never panics: see [`remark`].
macro_rules! tell {
    ($($arguments:tt)*) => {
        $crate::cli::say::remark(format_args!($($arguments)*))
    };
}

/// `println!` that never panics: see [`line`].
macro_rules! say {
    ($($arguments:tt)*) => {
        $crate::cli::say::line(format_args!($($arguments)*))
    };
}

pub(crate) use {say, tell};
