//! The terminal while the dashboard has it, and how it is given back whatever happens.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Stderr, Write, stderr, stdin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, TryLockError};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};

use crate::cli::exit::{Failure, USAGE};

/// True while the dashboard has the terminal.
static OPEN: AtomicBool = AtomicBool::new(false);

/// Held while something is drawn, so that nothing is drawn once the terminal is given back.
static DRAWING: Mutex<()> = Mutex::new(());

/// Whether the dashboard has the terminal.
pub fn is_open() -> bool {
    OPEN.load(Ordering::SeqCst)
}

/// Gives the terminal back as it was; does nothing where it is not held. Callable from any thread, also from one that
/// panics while it draws.
pub fn leave() {
    let _drawn = wait_for_drawing();
    if OPEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stderr(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Waits for what is being drawn, but not for ever: a terminal that takes nothing must not keep the program.
fn wait_for_drawing() -> Option<MutexGuard<'static, ()>> {
    for _ in 0..50 {
        match DRAWING.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    None
}

/// Whether there is a keyboard: the standard input, or else the terminal that the process belongs to.
pub fn has_keyboard() -> bool {
    stdin().is_terminal() || File::open("/dev/tty").is_ok()
}

/// Says whether there is a terminal to draw on.
///
/// # Errors
/// When the standard error is none, or one that can only print lines, or there is no keyboard.
pub fn check() -> Result<(), Failure> {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    let what = match stderr().is_terminal() {
        false => "the standard error is none",
        true if dumb => "TERM=dumb can only print lines",
        true if !has_keyboard() => "there is no keyboard",
        true => return Ok(()),
    };
    Err(Failure::message(
        USAGE,
        format!("--tui draws on a terminal, and {what}: leave --tui out, and progress is printed"),
    ))
}

/// The terminal, drawn on through the standard error: the standard output is for the answer.
pub struct Screen(Terminal<CrosstermBackend<BufWriter<Stderr>>>);

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it cannot be had; it is then as it was.
    pub fn open() -> io::Result<Self> {
        give_back_on_panic();
        enable_raw_mode()?;
        OPEN.store(true, Ordering::SeqCst);
        let open = || {
            execute!(stderr(), EnterAlternateScreen, Hide)?;
            Terminal::new(CrosstermBackend::new(BufWriter::new(stderr())))
        };
        open().map(Self).inspect_err(|_| leave())
    }

    /// Draws a picture; false when the terminal has been given back.
    ///
    /// # Errors
    /// When the terminal takes nothing more.
    pub fn draw(&mut self, picture: impl FnOnce(&mut Frame)) -> io::Result<bool> {
        let _drawing = DRAWING.lock().unwrap_or_else(|e| e.into_inner());
        if !is_open() {
            return Ok(false);
        }
        self.0.draw(picture)?;
        self.0.backend_mut().flush()?;
        Ok(true)
    }
}

/// A panic anywhere gives the terminal back before it is told.
fn give_back_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            tell(panic);
        }));
    });
}
