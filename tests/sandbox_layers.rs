//! Layer by layer: each promise that is reported is put to the test, with any layer left out, and with all of its
//! keepers left out but one.

use std::fs::{self, Permissions};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use vigor::sandbox::{Capability, ExecRequest, Limits, Policy, Pool, PoolConfig, SandboxError};

fn config() -> PoolConfig {
    PoolConfig {
        python: std::env::var_os("VIGOR_TEST_PYTHON").unwrap_or("python3".into()).into(),
        launcher: env!("CARGO_BIN_EXE_vigor").into(),
        workers: 1,
        policy: Policy::BestEffort,
        ..PoolConfig::default()
    }
}

fn without(layers: &[&str]) -> Pool {
    let without = layers.iter().map(|layer| layer.to_string()).collect();
    Pool::new(PoolConfig { without, ..config() }).expect("a pool")
}

fn names(pool: &Pool) -> Vec<String> {
    pool.layers().iter().filter(|layer| layer.active).map(|layer| layer.name.clone()).collect()
}

/// The verdict on a program with a function `f`, called once.
fn verdict(pool: &Pool, code: &str, test: &str, limits: Limits) -> String {
    let request =
        ExecRequest { code: code.to_owned(), tests: vec![test.into()], limits, ..ExecRequest::default() };
    let record = pool.execute(&request).expect("a report").tests[0].verdict.record();
    if record.message.is_empty() { record.kind } else { format!("{}: {}", record.kind, record.message) }
}

fn short() -> Limits {
    Limits { wall_test_seconds: 20.0, ..Limits::default() }
}

/// What hostile programs try to reach.
struct Targets {
    /// Anyone may write in it.
    folder: TempDir,
    tcp: TcpListener,
    udp: UdpSocket,
    victim: Child,
    /// A place to write to that no layer hides: the folder of the standard library.
    library: PathBuf,
}

const SECRET: &str = "a secret of the host";
const MARK: &str = "vigor_layer_test_mark";

impl Targets {
    fn new() -> Targets {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        fs::write(folder.path().join("secret"), SECRET).unwrap();
        fs::set_permissions(folder.path().join("secret"), Permissions::from_mode(0o666)).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        let library = Command::new(config().python)
            .args(["-I", "-c", "import os; print(os.path.dirname(os.path.realpath(os.__file__)))"])
            .output()
            .unwrap();
        Targets {
            folder,
            tcp,
            udp,
            victim: Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap(),
            library: String::from_utf8(library.stdout).unwrap().trim_end().into(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Lets a program try to break a promise, and returns how it got through.
    fn break_through(&mut self, pool: &Pool, promise: Capability) -> Option<String> {
        match promise {
            Capability::NoNetwork => self.connect(pool),
            Capability::NoWrites => self.write(pool),
            Capability::NoReads => self.read(pool),
            Capability::NoProcesses => self.start_and_kill(pool),
            Capability::NoPrivileges => self.use_rights(pool),
            Capability::BoundedMemory => {
                let code = "def f():\n    return len(bytearray(700 << 20))\n";
                let said = verdict(pool, code, "f()", short());
                (said != "memory" && !said.starts_with("killed")).then_some(said)
            }
            Capability::BoundedCpu => {
                let code = "import time\ndef f():\n    while time.process_time() < 2.5: pass\n";
                let said = verdict(
                    pool,
                    code,
                    "f()",
                    Limits { cpu_seconds: 1, wall_test_seconds: 60.0, wall_total_seconds: 60.0, ..short() },
                );
                (said != "timeout").then_some(said)
            }
            Capability::BoundedTime => {
                let code = "import time\ndef f():\n    time.sleep(3)\n";
                let said = verdict(pool, code, "f()", Limits { wall_test_seconds: 0.3, ..short() });
                (said != "timeout").then_some(said)
            }
        }
    }

    fn connect(&mut self, pool: &Pool) -> Option<String> {
        let code = format!(
            "import socket
def attempt(kind, port):
    try:
        with socket.socket(socket.AF_INET, kind) as s:
            s.settimeout(2)
            s.connect(('127.0.0.1', port))
            s.send(b'x')
    except OSError:
        pass
def f():
    attempt(socket.SOCK_STREAM, {})
    attempt(socket.SOCK_DGRAM, {})
",
            self.tcp.local_addr().unwrap().port(),
            self.udp.local_addr().unwrap().port()
        );
        verdict(pool, &code, "f()", short());
        let (tcp, udp) = (self.tcp.accept().is_ok(), self.udp.recv(&mut [0; 8]).is_ok());
        (tcp || udp).then(|| format!("TCP: {tcp}, UDP: {udp}"))
    }

    fn write(&mut self, pool: &Pool) -> Option<String> {
        let marks = [self.folder.path().join(MARK), self.library.join(MARK)];
        let code = format!(
            "import os
def attempt(what, *args):
    try:
        what(*args)
    except OSError:
        pass
def f():
    for path in {:?}, {:?}:
        attempt(os.mkdir, path)
        attempt(open, path, 'w')
        attempt(os.open, path, os.O_WRONLY | os.O_CREAT)
    attempt(os.remove, {secret:?})
    attempt(os.truncate, {secret:?}, 0)
    attempt(os.rename, {secret:?}, {secret:?} + '2')
    attempt(os.symlink, 'x', {:?} + 'l')
",
            marks[0].display().to_string(),
            marks[1].display().to_string(),
            marks[0].display().to_string(),
            secret = self.path("secret"),
        );
        verdict(pool, &code, "f()", short());
        let mut through = None;
        for mark in marks {
            if mark.exists() {
                through = Some(format!("made {}", mark.display()));
                let _ = fs::remove_dir(&mark).or_else(|_| fs::remove_file(&mark));
            }
        }
        if fs::read_to_string(self.path("secret")).ok().as_deref() != Some(SECRET) {
            through = Some("changed a file".into());
            fs::write(self.path("secret"), SECRET).unwrap();
            fs::set_permissions(self.path("secret"), Permissions::from_mode(0o666)).unwrap();
        }
        through
    }

    fn read(&mut self, pool: &Pool) -> Option<String> {
        let secret = self.path("secret");
        let code = format!("def f():\n    return open({secret:?}).read()\n");
        if verdict(pool, &code, &format!("assert f() == {SECRET:?}"), short()) == "passed" {
            return Some("read a file of the host".into());
        }
        let code = "def f():\n    return open('/etc/passwd').read()\n";
        (verdict(pool, code, "assert ':' in f()", short()) == "passed").then(|| "read /etc/passwd".into())
    }

    fn start_and_kill(&mut self, pool: &Pool) -> Option<String> {
        let code = "import os
def f():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
";
        if verdict(pool, code, "f()", short()) == "passed" {
            return Some("started a process".into());
        }
        let code = format!(
            "import fcntl, os, signal, socket
def f():
    try:
        os.kill({victim}, 9)
    except OSError:
        pass
    # A signal by way of a file that has something to read.
    a, b = socket.socketpair()
    fcntl.fcntl(a, fcntl.F_SETOWN, {victim})
    fcntl.fcntl(a, 10, signal.SIGKILL)
    fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC)
    b.send(b'x')
",
            victim = self.victim.id()
        );
        verdict(pool, &code, "f()", short());
        std::thread::sleep(Duration::from_millis(100));
        let killed = self.victim.try_wait().unwrap().is_some();
        killed.then(|| "killed a process of the host".into())
    }

    fn use_rights(&mut self, pool: &Pool) -> Option<String> {
        let code = "import os
def f():
    for name, right in ('chroot', lambda: os.chroot('/')), ('setuid', lambda: os.setuid(12345)):
        try:
            right()
            return name
        except OSError:
            pass
    raise ValueError('none')
";
        let said = verdict(pool, code, "f()", short());
        (said == "passed").then(|| "has rights".into())
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

#[test]
fn promises_hold_with_any_one_layer_left_out() {
    let mut targets = Targets::new();
    let all = names(&without(&[]));
    assert!(all.len() > 3, "{all:?}");
    for layer in all.iter().filter(|layer| *layer != "deadline") {
        let pool = without(&[layer]);
        assert!(!names(&pool).contains(layer), "{layer} was not left out");
        for promise in Capability::ALL {
            // Those cost seconds, and one layer keeps them.
            let slow = matches!(promise, Capability::BoundedCpu | Capability::BoundedTime);
            if promise.held_by(pool.layers()) && (!slow || layer == "limits") {
                let through = targets.break_through(&pool, promise);
                assert_eq!(through, None, "without {layer}: {promise}");
            }
        }
    }
}

/// Layers that stand in the way of breaking a promise as well, without promising it.
fn obstacles(promise: Capability) -> &'static [&'static str] {
    match promise {
        Capability::NoNetwork => &["landlock"],
        Capability::NoReads => &["read-only-mounts"],
        Capability::NoProcesses => &["seccomp", "process-namespace", "landlock"],
        Capability::NoPrivileges => &["user-namespace", "seccomp", "seccomp-child"],
        _ => &[],
    }
}

#[test]
fn each_keeper_of_a_promise_keeps_it_alone() {
    let mut targets = Targets::new();
    let mut tried = 0;
    let mut broken = Vec::new();
    for promise in Capability::ALL {
        for keeper in promise.keepers() {
            let others = promise.keepers().iter().chain(obstacles(promise)).copied();
            let others: Vec<&str> = others.filter(|name| name != keeper).collect();
            let pool = without(&others);
            if promise.held_by(pool.layers()) {
                assert_eq!(promise.kept_by(pool.layers()), [*keeper]);
                let through = targets.break_through(&pool, promise);
                broken.extend(through.map(|how| format!("{promise}, by {keeper} alone: {how}")));
                tried += 1;
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(tried >= Capability::ALL.len() - 2, "only {tried} could be tried");
}

/// Shows that the attempts are real: where nothing keeps a promise, it is broken.
#[test]
fn a_promise_that_nothing_keeps_is_broken_and_refused() {
    let mut targets = Targets::new();
    for promise in Capability::ALL.into_iter().filter(|promise| *promise != Capability::BoundedTime) {
        let keepers = promise.keepers();
        let strict = PoolConfig {
            policy: Policy::Strict,
            without: keepers.iter().map(|name| name.to_string()).collect(),
            ..config()
        };
        match Pool::new(strict) {
            Err(error @ SandboxError::TooWeak { .. }) => {
                let said = error.to_string();
                assert!(
                    said.contains(&promise.to_string()) && said.contains("--allow-weaker-sandbox"),
                    "{said}"
                );
                for keeper in keepers {
                    assert!(said.contains(&format!("{keeper}: left out")), "{said}");
                }
            }
            other => panic!("{promise}: {other:?}"),
        }
        let pool = without(&[keepers, obstacles(promise)].concat());
        assert!(!promise.held_by(pool.layers()), "{promise}");
        // An ordinary user has none to lose.
        if promise != Capability::NoPrivileges || is_root() {
            assert!(targets.break_through(&pool, promise).is_some(), "{promise}: nothing was tried");
        }
    }
}

fn is_root() -> bool {
    // SAFETY: takes no argument and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[test]
fn nothing_is_left_on_streams_that_programs_share() {
    let pool = without(&[]);
    let code = "import fcntl, os
def f():
    found = fcntl.fcntl(1, fcntl.F_GETFL)
    for fd in (0, 1, 2):
        fcntl.fcntl(fd, fcntl.F_SETFL, found | os.O_NONBLOCK | os.O_APPEND)
    return found & (os.O_NONBLOCK | os.O_APPEND), os.write(1, b'x')
";
    for _ in 0..3 {
        assert_eq!(verdict(&pool, code, "assert f() == (0, 1)", short()), "passed");
    }
}

#[test]
fn threads_are_bounded_where_they_are_said_to_be() {
    // The interpreter that a root user's worker becomes nobody for.
    let system = PoolConfig { python: "/usr/bin/python3".into(), ..config() };
    let Some(pool) = [system, config()]
        .into_iter()
        .filter_map(|config| Pool::new(config).ok())
        .find(|pool| names(pool).iter().any(|name| name == "thread-limit"))
    else {
        eprintln!("skipped: this machine cannot bound threads");
        return;
    };
    let code = "import threading, time
def f():
    threading.stack_size(65536)
    count = 0
    try:
        while count < 1000:
            threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
            count += 1
    except RuntimeError:
        pass
    return count
";
    let limits = Limits { memory_mb: 4096, ..short() };
    assert_eq!(verdict(&pool, code, "assert 200 < f() < 256", limits), "passed");
    assert_eq!(verdict(&pool, "x = 1\n", "assert x == 1", short()), "passed", "the worker goes on");
}

#[test]
fn a_scratch_space_is_private_small_and_empty_each_time() {
    let Ok(pool) = Pool::new(PoolConfig { scratch_mb: Some(4), ..config() }) else {
        eprintln!("skipped: this machine has no private root");
        return;
    };
    let mut targets = Targets::new();
    let code = "import os, tempfile
def f():
    found = os.listdir('.')
    with open('a.txt', 'w') as file:
        file.write('text')
    os.mkdir('b')
    os.rename('a.txt', 'b/a.txt')
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + '/c', 'wb') as file:
            file.write(b'x' * 1000)
    deep = ''
    for _ in range(3000):
        os.mkdir('d', 0)
        os.chmod('d', 0o300)
        os.chdir('d')
    return found, os.listdir('/scratch/b'), os.environ['HOME']
";
    for _ in 0..3 {
        let said = verdict(&pool, code, "assert f() == ([], ['a.txt'], '/scratch')", short());
        assert_eq!(said, "passed");
    }
    let full = "def f():\n    with open('a', 'wb') as file:\n        while True: file.write(b'x' * 65536)\n";
    let said = verdict(&pool, full, "f()", short());
    assert!(said.starts_with("exception: OSError: [Errno 28]"), "{said}");
    let sparse = "import os\ndef f():\n    os.truncate(os.open('a', os.O_RDWR | os.O_CREAT), 1 << 40)\n";
    assert!(verdict(&pool, sparse, "f()", short()).starts_with("exception: OSError"));
    let files = "def f():\n    for n in range(100000): open(str(n), 'w').close()\n";
    assert!(verdict(&pool, files, "f()", short()).starts_with("exception: OSError: [Errno 28]"));
    // What can be written can be neither executed nor used to reach anything else.
    let program = "import ctypes, os, shutil, sys
def f():
    library = next(p for p in open_paths() if os.path.exists(p))
    shutil.copyfile(library, 'copy.so')
    ctypes.CDLL('/scratch/copy.so')
def open_paths():
    import _ctypes
    yield getattr(_ctypes, '__file__', '')
";
    assert_ne!(verdict(&pool, program, "f()", short()), "passed");
    for promise in [Capability::NoWrites, Capability::NoReads, Capability::NoProcesses] {
        assert!(promise.held_by(pool.layers()));
        assert_eq!(targets.break_through(&pool, promise), None, "{promise}");
    }
    assert_eq!(verdict(&pool, code, "assert f()[0] == []", short()), "passed");
    // Nothing of it is on the host, and a pool without it has none.
    assert!(!Path::new("/scratch/a").exists());
    assert_ne!(verdict(&without(&[]), "def f():\n    open('/scratch/a', 'w')\n", "f()", short()), "passed");
}

#[test]
fn a_scratch_space_that_cannot_be_private_is_refused() {
    let weak = PoolConfig { scratch_mb: Some(1), without: vec!["private-root".into()], ..config() };
    let said = Pool::new(weak).unwrap_err().to_string();
    assert!(said.contains("scratch") && said.contains("private root"), "{said}");
    let off = PoolConfig { scratch_mb: Some(1), policy: Policy::Off, ..config() };
    assert!(Pool::new(off).unwrap_err().to_string().contains("scratch"));
}

#[test]
fn packages_are_there_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let venv = folder.path().join("venv");
    let made =
        Command::new(config().python).args(["-m", "venv", "--without-pip"]).arg(&venv).output().unwrap();
    if !made.status.success() {
        eprintln!("skipped: this Python has no venv");
        return;
    }
    let site = fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().path().join("site-packages");
    fs::write(site.join("vigor_fake.py"), "import os\nloads = [os.getpid()]\nimport vigor_other\n").unwrap();
    fs::write(site.join("vigor_other.py"), "x = 5\n").unwrap();
    // Readable for whoever the worker becomes.
    for path in [folder.path(), &venv] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let python = venv.join("bin/python");
    let code = "import os\ndef f():\n    import vigor_fake\n    return vigor_fake.loads[0] != os.getpid(), vigor_fake.vigor_other.x\n";
    let plain = Pool::new(PoolConfig { python: python.clone(), ..config() }).unwrap();
    let said = verdict(&plain, code, "f()", short());
    assert!(said.starts_with("exception: ModuleNotFoundError"), "{said}");
    let preload = vec!["json".to_owned(), "vigor_fake".to_owned()];
    let pool = Pool::new(PoolConfig { python: python.clone(), preload, ..config() }).unwrap();
    assert_eq!(verdict(&pool, code, "assert f() == (True, 5)", short()), "passed");
    let mut targets = Targets::new();
    for promise in [Capability::NoWrites, Capability::NoReads] {
        assert_eq!(targets.break_through(&pool, promise), None, "{promise}");
    }
    let preload = vec!["vigor_fake".to_owned(), "no_such_module".to_owned()];
    let said = Pool::new(PoolConfig { python, preload, ..config() }).unwrap_err().to_string();
    assert!(said.contains("`no_such_module`") && said.contains("ModuleNotFoundError"), "{said}");
}
