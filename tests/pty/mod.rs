//! A program on a pseudo-terminal of its own.
#![allow(dead_code)] // Each test file that includes this uses its own part of it.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a program sends to take the whole terminal, and to give it back.
pub const ENTER: &str = "\x1b[?1049h";
pub const LEAVE: &str = "\x1b[?1049l";

/// A program that runs on a pseudo-terminal.
pub struct OnTerminal {
    pub child: Child,
    keyboard: File,
    /// The terminal's other end, which stays open to be looked at.
    terminal: File,
    modes: Modes,
    output: Arc<Mutex<Vec<u8>>>,
    reading: Arc<AtomicBool>,
    reader: JoinHandle<()>,
}

/// A new pseudo-terminal: the end of who looks at it, which no child may hold open, and the end of programs.
fn open() -> (File, File) {
    let mut name = [0_u8; 64];
    // SAFETY: the descriptor is new and ours, and the name is as long as is said.
    let master = unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(master >= 0 && libc::grantpt(master) == 0 && libc::unlockpt(master) == 0);
        assert_eq!(libc::ptsname_r(master, name.as_mut_ptr().cast(), name.len()), 0);
        File::from_raw_fd(master)
    };
    let name = CStr::from_bytes_until_nul(&name).unwrap().to_str().unwrap();
    let terminal = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name);
    (master, terminal.unwrap())
}

fn resize(master: &File, columns: u16, rows: u16) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open and the size lives through the call.
    assert_eq!(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &size) }, 0);
}

/// How the terminal treats what goes through it.
type Modes = ([libc::tcflag_t; 4], Vec<libc::cc_t>);

fn modes(terminal: &File) -> Modes {
    // SAFETY: a termios is plain numbers, for which zeros are values; the descriptor is open.
    let modes = unsafe {
        let mut modes: libc::termios = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), &mut modes), 0);
        modes
    };
    ([modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag], modes.c_cc.to_vec())
}

/// The exit code, waited for; nothing when it had to be killed after a minute.
fn wait(child: &mut Child) -> Option<Option<i32>> {
    for _ in 0..6000 {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.code());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    None
}

impl OnTerminal {
    /// Starts a program on a terminal of this size. It has it alone: as its input, its outputs, and as `/dev/tty`.
    pub fn start(command: &mut Command, columns: u16, rows: u16) -> Self {
        let (master, terminal) = open();
        resize(&master, columns, rows);
        let end = || terminal.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm-256color").env_remove("NO_COLOR");
        // SAFETY: both calls are allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let modes = modes(&terminal);
        let child = command.spawn().unwrap();
        let output = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, seen) = (master.try_clone().unwrap(), output.clone());
        let reading = Arc::new(AtomicBool::new(true));
        let reads = reading.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while reads.load(Ordering::SeqCst) {
                let mut poll = libc::pollfd { fd: screen.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: it is one, and lives through the call.
                if unsafe { libc::poll(&mut poll, 1, 50) } == 1 {
                    let Ok(count @ 1..) = screen.read(&mut bytes) else { break };
                    seen.lock().unwrap().extend_from_slice(&bytes[..count]);
                }
            }
        });
        Self { child, keyboard: master, terminal, modes, output, reading, reader }
    }

    /// All that the program has sent so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }

    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        resize(&self.keyboard, columns, rows);
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the process is our child and not yet waited for, so the number is its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, signal) }, 0);
    }

    /// Waits for what the output must come to.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, done: impl Fn(&str) -> bool) {
        let started = Instant::now();
        while !done(&self.output()) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended ({ended:?}) before {what}: {:?}", self.output());
            if started.elapsed() > Duration::from_secs(60) {
                self.child.kill().unwrap();
                panic!("not in a minute: {what}: {:?}", self.output());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Closes the terminal, as who closes its window does, and waits for the end: the exit code.
    #[track_caller]
    pub fn close(self) -> Option<i32> {
        let Self { mut child, keyboard, reading, reader, .. } = self;
        reading.store(false, Ordering::SeqCst);
        reader.join().unwrap();
        drop(keyboard);
        wait(&mut child).unwrap_or_else(|| panic!("it does not end without a terminal"))
    }

    /// Waits for the end, and sees that the terminal is as it was: the exit code, and what was sent after it was given back.
    #[track_caller]
    pub fn end(mut self) -> (Option<i32>, String) {
        let code = wait(&mut self.child).unwrap_or_else(|| panic!("it does not end: {:?}", self.output()));
        assert_eq!(modes(&self.terminal), self.modes, "the terminal's modes are not as they were");
        // What the program sent may still be on its way through the terminal.
        let mut output = self.output();
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.output();
            if now == output {
                break;
            }
            output = now;
        }
        let (before, after) =
            output.rsplit_once(LEAVE).unwrap_or_else(|| panic!("never given back: {output:?}"));
        assert!(before.contains(ENTER) && after.contains("\x1b[?25h"), "{output:?}");
        (code, after.to_owned())
    }
}
