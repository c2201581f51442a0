//! Ten thousand executions in a row while workers die, pipes close, and messages arrive in halves, garbled or late.
//!
//! This executable is also the pool's launcher: it starts the real one and stands between it and the engine, and does
//! to a request what the request's own program asks for, in a comment. So the test knows what hit which execution.

mod host;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use host::{Holdings, Snapshot, descendants, resident};
use vigor::sandbox::{ExecRequest, ExecTest, Limits, Pool, PoolConfig, SandboxError, TraceCaps};

const EXECUTIONS: usize = 10_000;
const THREADS: usize = 4;
const WORKERS: usize = 2;
const SEED: u64 = 5;
/// Bytes that this process may gain after the first thousand executions.
const GROWTH: u64 = 50 << 20;
/// While this file exists, no worker comes up.
const NO_START: &str = "no-start";
const MARK: &str = "# fault:";

/// What can go wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// The worker's first process is killed.
    KillLauncher,
    /// Python is killed.
    KillZygote,
    /// The process that runs the program is killed.
    KillChild,
    /// The relay itself is gone at once.
    Exit,
    /// The socket is closed before the request arrives.
    CloseBefore,
    /// The socket is closed instead of an answer.
    CloseAfter,
    /// Only a part of the request arrives.
    HalfRequest,
    /// Only a part of the answer arrives, then the end.
    HalfAnswer,
    /// Only a part of the answer arrives, and then nothing.
    Silence,
    /// Bytes of the request, or of its header, are not the same.
    GarbleRequest,
    GarbleHeader,
    /// Bytes of the answer, of its header or of their lengths are not the same.
    GarbleAnswer,
    GarbleEnding,
    GarbleLength,
    /// The answer is late, or comes byte by byte.
    Late,
    Dribble,
}

use Fault::*;

const FAULTS: [Fault; 16] = [
    KillLauncher,
    KillZygote,
    KillChild,
    Exit,
    CloseBefore,
    CloseAfter,
    HalfRequest,
    HalfAnswer,
    Silence,
    GarbleRequest,
    GarbleHeader,
    GarbleAnswer,
    GarbleEnding,
    GarbleLength,
    Late,
    Dribble,
];

/// A sequence of numbers that depends on a seed only (splitmix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Folder where a relay notes that it has done what was asked for once, so that the second try succeeds. `engine`:
/// number of the process that holds the pool.
fn notes(engine: u32) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{engine}"))
}

// ---------------------------------------------------------------------------------------------------- the relay

/// What a request asks to be done to itself.
struct Order {
    fault: Fault,
    /// Where in a message, or how late, in thousandths.
    at: usize,
}

/// Stands in for the launcher. Its standard input is the socket to the engine.
fn relay(args: &[OsString]) -> io::Result<()> {
    let notes = notes(std::os::unix::process::parent_id());
    let engine = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if notes.join(NO_START).exists() {
        // Half of a handshake.
        (&engine).write_all(&[7, 0])?;
        return Ok(());
    }
    let (zygote, theirs) = UnixStream::pair()?;
    let mut launcher = Command::new(env!("CARGO_BIN_EXE_vigor"))
        .args(args)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .spawn()?;
    let result = pass_on(&engine, &zygote, &mut launcher, &notes);
    let _ = engine.shutdown(Shutdown::Both);
    let _ = zygote.shutdown(Shutdown::Both);
    launcher.kill()?;
    launcher.wait()?;
    result
}

fn pass_on(engine: &UnixStream, zygote: &UnixStream, launcher: &mut Child, notes: &Path) -> io::Result<()> {
    // The harness and its settings; what the launcher could do, and the answer of Python.
    for _ in 0..2 {
        send(zygote, &receive(engine)?)?;
    }
    for _ in 0..3 {
        send(engine, &receive(zygote)?)?;
    }
    loop {
        let (header, work) = (receive(engine)?, receive(engine)?);
        let Some(order) = order(&work, notes) else {
            send(zygote, &header)?;
            send(zygote, &work)?;
            send(engine, &receive(zygote)?)?;
            send(engine, &receive(zygote)?)?;
            continue;
        };
        let part = |length: usize| length * order.at / 1000;
        // Before the request arrives: later, the last of them may already wait for the next one.
        let chain = chain(launcher.id());
        match order.fault {
            CloseBefore => return Ok(()),
            Exit => std::process::exit(0),
            HalfRequest => {
                send(zygote, &header)?;
                let work = frame(&work);
                let mut zygote = zygote;
                zygote.write_all(&work[..part(work.len())])?;
                return Ok(());
            }
            GarbleHeader => {
                send(zygote, &garbled(header, order.at))?;
                send(zygote, &work)?;
            }
            GarbleRequest => {
                send(zygote, &header)?;
                send(zygote, &garbled(work, order.at))?;
            }
            _ => {
                send(zygote, &header)?;
                send(zygote, &work)?;
            }
        }
        if matches!(order.fault, KillLauncher | KillZygote | KillChild) {
            thread::sleep(Duration::from_micros(5 * order.at as u64));
            // Where there are only two, the first is Python itself, or the child is not there yet.
            let victim = match (order.fault, chain.len()) {
                (KillZygote, 3..) => chain.get(1),
                (KillChild, _) => chain.get(2),
                _ => chain.first(),
            };
            if let Some(victim) = victim {
                Command::new("kill").args(["-9", &victim.to_string()]).stderr(Stdio::null()).status()?;
            }
        }
        let (ending, body) = (receive(zygote)?, receive(zygote)?);
        let mut answer = [frame(&ending), frame(&body)].concat();
        let mut to = engine;
        match order.fault {
            CloseAfter => return Ok(()),
            HalfAnswer => {
                to.write_all(&answer[..part(answer.len())])?;
                return Ok(());
            }
            Silence => {
                to.write_all(&answer[..part(answer.len())])?;
                // Until the engine has lost its patience.
                let _ = (&mut to).read(&mut [0]);
                return Ok(());
            }
            GarbleAnswer => answer = [frame(&ending), frame(&garbled(body, order.at))].concat(),
            GarbleEnding => answer = [frame(&garbled(ending, order.at)), frame(&body)].concat(),
            GarbleLength => {
                let at = if order.at < 500 { 0 } else { 4 + ending.len() };
                answer[at + order.at % 4] ^= 1 << (order.at % 8);
                to.write_all(&answer)?;
                return Ok(());
            }
            Late => thread::sleep(Duration::from_micros(50 * order.at as u64)),
            Dribble => {
                for part in answer.chunks(1 + order.at % 7).take(500) {
                    to.write_all(part)?;
                    thread::yield_now();
                }
                let sent = (1 + order.at % 7) * 500;
                answer.drain(..sent.min(answer.len()));
            }
            _ => {}
        }
        to.write_all(&answer)?;
    }
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

fn send(mut to: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&frame(bytes))
}

fn receive(mut from: &UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// With a byte that neither JSON nor UTF-8 has: anything else could make another program of a program, unseen.
fn garbled(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    let length = bytes.len();
    if length > 0 {
        bytes[length * at / 1000] = 0xff;
    }
    bytes
}

/// What the program of a request asks for: `# fault:KIND:AT:TRY#`, where TRY is a name for "only once" or empty.
fn order(work: &[u8], notes: &Path) -> Option<Order> {
    let text = String::from_utf8_lossy(work);
    let mut fields = text.split_once(MARK)?.1.split_once('#')?.0.split(':');
    let fault = FAULTS[fields.next()?.parse::<usize>().ok()?];
    let at = fields.next()?.parse().ok()?;
    let once = fields.next()?;
    let first =
        once.is_empty() || OpenOptions::new().write(true).create_new(true).open(notes.join(once)).is_ok();
    first.then_some(Order { fault, at })
}

/// The comment that asks for a fault.
fn mark(fault: Fault, at: usize, once: &str) -> String {
    let kind = FAULTS.iter().position(|one| *one == fault).expect("it is one of them");
    format!("{MARK}{kind}:{at}:{once}#\n")
}

/// A process, its child, the child of that …
fn chain(first: u32) -> Vec<u32> {
    let mut chain = vec![first];
    loop {
        let last = chain[chain.len() - 1];
        let children = fs::read_to_string(format!("/proc/{last}/task/{last}/children")).unwrap_or_default();
        match children.split_whitespace().next_back().and_then(|child| child.parse().ok()) {
            Some(child) => chain.push(child),
            None => return chain,
        }
    }
}

// --------------------------------------------------------------------------------------------------- the engine

/// Programs and the verdicts of their tests, where nothing goes wrong.
const PROGRAMS: [(&str, &[&str]); 12] = [
    ("def f(x):\n    return x * x\n", &["passed", "passed", "failed"]),
    ("def f(x):\n    return 4\n", &["passed", "failed", "failed"]),
    (
        "def f(x):\n    total = 0\n    for i in range(x):\n        total += x\n    return total\n",
        &["passed", "passed", "failed"],
    ),
    ("def f(x):\n    return x / 0\n", &["exception", "exception", "exception"]),
    (
        "def f(x):\n    if x == 3:\n        raise KeyError(x)\n    return x * x\n",
        &["passed", "exception", "failed"],
    ),
    ("def f(x)\n    return x\n", &["syntax_error", "syntax_error", "syntax_error"]),
    ("raise SystemExit(0)\n", &["exception", "exception", "exception"]),
    (
        "import os\ndef f(x):\n    if x == 3:\n        os._exit(0)\n    return x * x\n",
        &["passed", "forbidden", "failed"],
    ),
    ("def f(x):\n    print('x' * 10000)\n    return [x] * 100\n", &["failed", "failed", "exception"]),
    (
        "def f(x):\n    with open('/tmp/vigor-hostile-fault', 'wb') as file:\n        file.write(bytes(1 << 20))\n    return x * x\n",
        &["refused", "refused", "refused"],
    ),
    (
        "import ctypes\ndef f(x):\n    if x == 3:\n        ctypes.string_at(1)\n    return x * x\n",
        &["passed", "killed", "failed"],
    ),
    ("def f(x):\n    while x == 3:\n        pass\n    return x * x\n", &["passed", "timeout", "failed"]),
];
const TESTS: [&str; 3] = ["assert f(2) == 4", "assert f(3) == 9", "assert abs(f(4) - 17) < 0.5"];
/// The last one takes its whole time, and is drawn less often.
const HANGS: usize = PROGRAMS.len() - 1;

/// One execution: a program, and what is done to it.
struct Execution {
    program: usize,
    trace: bool,
    fault: Option<Fault>,
    /// On the first try only, or on every one.
    once: bool,
    at: usize,
}

impl Execution {
    fn draw(number: usize) -> Execution {
        let mut draw = Draw(SEED.wrapping_mul(1 << 32).wrapping_add(number as u64));
        let program = if draw.below(100) == 0 { HANGS } else { draw.below(HANGS) };
        let trace = draw.below(4) == 0;
        // A worker comes up in a tenth of a second: two in a hundred requests lose theirs. Waiting for an answer that
        // never comes takes ten seconds.
        let fault = match draw.below(1000) {
            0..25 => Some(FAULTS[draw.below(FAULTS.len())]),
            _ => None,
        };
        let fault = fault.filter(|fault| *fault != Silence || number.is_multiple_of(4));
        let once = draw.below(3) > 0 || fault == Some(Silence);
        Execution { program, trace, fault, once, at: draw.below(1000) }
    }

    fn request(&self, number: usize) -> ExecRequest {
        let once = if self.once { format!("once-{number}") } else { String::new() };
        let mark = self.fault.map(|fault| mark(fault, self.at, &once)).unwrap_or_default();
        let (code, _) = PROGRAMS[self.program];
        let hangs = self.program == HANGS;
        ExecRequest {
            code: format!("{code}{mark}"),
            tests: TESTS.map(ExecTest::from).to_vec(),
            trace: self.trace.then(TraceCaps::default),
            limits: Limits {
                wall_test_seconds: if hangs { 0.05 } else { 10.0 },
                wall_total_seconds: if hangs || self.fault == Some(Silence) { 1.0 } else { 20.0 },
                memory_mb: 256,
                ..Limits::default()
            },
            keep_going: true,
            ..ExecRequest::default()
        }
    }

    /// Whether these kinds of verdicts can be right.
    fn allows(&self, kinds: &[String]) -> bool {
        let wanted = PROGRAMS[self.program].1;
        let is = |kind: &str, wanted: &str| match wanted {
            "refused" => kind == "forbidden" || kind == "exception",
            // Where loading the program takes as long on a busy machine, no test is reached.
            _ if self.program == HANGS => kind == wanted || kind == "timeout",
            _ => kind == wanted,
        };
        let right = kinds.iter().zip(wanted).all(|(kind, wanted)| is(kind, wanted));
        let never_passed_wrongly =
            kinds.iter().zip(wanted).all(|(kind, wanted)| kind != "passed" || *wanted == "passed");
        let lost = kinds.iter().all(|kind| kind == "harness_error");
        match self.fault {
            None | Some(Late | Dribble) => right,
            // A second worker makes good for what the first was lost with.
            Some(
                KillLauncher | KillZygote | Exit | CloseBefore | CloseAfter | HalfRequest | HalfAnswer
                | Silence | GarbleHeader | GarbleEnding,
            ) if self.once => right,
            // A child that is killed from outside cannot be told from one that the kernel ended for its memory.
            Some(KillChild) => {
                never_passed_wrongly
                    && kinds.iter().zip(wanted).all(|(kind, wanted)| is(kind, wanted) || kind == "killed")
            }
            // What was garbled on the way is a forgery to the engine.
            Some(GarbleRequest | GarbleAnswer | GarbleLength) => never_passed_wrongly,
            Some(_) => right || lost,
        }
    }
}

/// Runs the executions of the numbers in `range`, on several threads, and says which faults were asked for.
fn run(
    pool: &Pool,
    range: Range<usize>,
    draw: fn(usize) -> Execution,
    wrong: &Mutex<Vec<String>>,
) -> BTreeMap<Fault, usize> {
    let next = AtomicUsize::new(range.start);
    let faults = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= range.end {
                        return;
                    }
                    let execution = draw(number);
                    let told = match pool.execute(&execution.request(number)) {
                        Ok(report) => {
                            let kinds: Vec<String> =
                                report.tests.iter().map(|test| test.verdict.record().kind).collect();
                            let good = kinds.len() == TESTS.len() && execution.allows(&kinds);
                            (!good).then(|| format!("{kinds:?}"))
                        }
                        Err(error) => Some(error.to_string()),
                    };
                    if let Some(told) = told {
                        let Execution { program, fault, once, at, .. } = execution;
                        let what =
                            format!("{number}: program {program}, {fault:?}, once: {once}, at {at}: {told}");
                        wrong.lock().expect("no thread panics").push(what);
                    }
                    if let Some(fault) = execution.fault {
                        *faults.lock().expect("no thread panics").entry(fault).or_default() += 1;
                    }
                }
            });
        }
    });
    faults.into_inner().expect("no thread panics")
}

/// `VIGOR_TEST_PYTHON` chooses another interpreter than `python3`.
fn python() -> PathBuf {
    std::env::var_os("VIGOR_TEST_PYTHON").unwrap_or("python3".into()).into()
}

fn pool(workers: usize, launcher: PathBuf) -> Result<Pool, SandboxError> {
    Pool::new(PoolConfig { python: python(), launcher, workers, ..PoolConfig::default() })
}

/// Brings up every worker that was lost last, and says what this process then holds.
fn quiet(pool: &Pool, wrong: &Mutex<Vec<String>>) -> Holdings {
    run(pool, 0..100, |number| Execution { program: 0, fault: None, ..Execution::draw(number) }, wrong);
    // Each worker forks a child for the next request.
    thread::sleep(Duration::from_millis(500));
    Holdings::now()
}

fn ten_thousand_executions() {
    let before = Snapshot::take(None);
    let pool = pool(WORKERS, std::env::current_exe().expect("a path")).expect("a pool");
    let wrong = Mutex::new(Vec::new());
    // All workers are up, and every allocator has what it needs.
    run(&pool, 0..1000, Execution::draw, &wrong);
    let warm = quiet(&pool, &wrong);
    let memory = resident(std::process::id());
    let started = Instant::now();
    let faults = run(&pool, 1000..EXECUTIONS, Execution::draw, &wrong);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} executions on {WORKERS} workers in {seconds:.1} s, {:.0} a second; faults: {faults:?}",
        EXECUTIONS - 1000,
        (EXECUTIONS - 1000) as f64 / seconds
    );
    let after = quiet(&pool, &wrong);
    let gained = resident(std::process::id()).saturating_sub(memory);
    println!("memory: {:.1} MiB gained; {after:?}", gained as f64 / f64::from(1 << 20));
    let wrong = wrong.into_inner().expect("no thread panics");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(50)].join("\n"));
    assert!(
        FAULTS.iter().all(|fault| faults.contains_key(fault)),
        "some faults were never injected: {faults:?}"
    );
    assert!(gained < GROWTH, "{gained} bytes gained");
    assert_eq!(after, warm, "{:?}", descendants());
    drop(pool);
    let changes = before.changes(u64::MAX >> 1);
    assert!(changes.is_empty(), "{changes:#?}");
}

/// Workers that do not come up are an error of the machine, not a verdict; when they do again, the pool goes on.
fn workers_that_do_not_start(notes: &Path) {
    let switch = notes.join(NO_START);
    let pool = pool(1, std::env::current_exe().expect("a path")).expect("a pool");
    let lost = ExecRequest {
        code: format!("def f(x):\n    return x * x\n{}", mark(CloseBefore, 0, "")),
        tests: TESTS[..1].iter().map(|test| (*test).into()).collect(),
        ..ExecRequest::default()
    };
    let plain = ExecRequest { code: "def f(x):\n    return x * x\n".to_owned(), ..lost.clone() };
    let before = quiet(&pool, &Mutex::new(Vec::new()));
    for _ in 0..20 {
        fs::write(&switch, "").expect("a file");
        let error = pool.execute(&lost).expect_err("no worker comes up");
        assert!(matches!(error, SandboxError::Launcher { .. }), "{error}");
        fs::remove_file(&switch).expect("it is there");
        assert_eq!(pool.execute(&plain).expect("a report").passed(), 1);
    }
    assert_eq!(before.settle(), before);
    println!("20 workers that did not come up: the pool goes on");
}

/// Nothing is written anywhere: neither a full disk nor a missing folder for temporary files matters. This process is
/// started again with a limit that lets no file grow.
fn a_full_disk() {
    let python =
        Command::new(python()).args(["-c", "import sys; print(sys.executable)"]).output().expect("python3");
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 0 && exec \"$0\" full-disk"])
        .arg(std::env::current_exe().expect("a path"))
        // A shim could want to write.
        .env("VIGOR_TEST_PYTHON", String::from_utf8_lossy(&python.stdout).trim())
        .env("TMPDIR", "/nonexistent")
        .env("HOME", "/nonexistent")
        .current_dir("/proc")
        .output()
        .expect("sh");
    assert!(output.status.success(), "without a place to write: {}", String::from_utf8_lossy(&output.stderr));
    println!("with a full disk: as ever");
}

fn on_a_full_disk() {
    let wrong = Mutex::new(Vec::new());
    // A file cannot be made, or cannot grow.
    let file = std::env::temp_dir().join("file");
    assert!(fs::write(&file, "x").is_err());
    let pool = pool(WORKERS, env!("CARGO_BIN_EXE_vigor").into()).expect("a pool");
    run(&pool, 0..300, |number| Execution { fault: None, ..Execution::draw(number) }, &wrong);
    let wrong = wrong.into_inner().expect("no thread panics");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.first().and_then(|first| first.to_str()) {
        Some("__sandbox") => return if relay(&args).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE },
        Some("full-disk") => {
            on_a_full_disk();
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let notes = notes(std::process::id());
    fs::create_dir(&notes).expect("a folder");
    a_full_disk();
    ten_thousand_executions();
    workers_that_do_not_start(&notes);
    fs::remove_dir_all(&notes).expect("it is ours");
    ExitCode::SUCCESS
}
