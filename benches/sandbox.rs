//! What running a program costs: in the sandbox, in the sandbox without its isolation, and in a fresh interpreter.
//!
//! `cargo bench --bench sandbox [-- ROUNDS]` (default 400; best on a quiet machine, on one core: `taskset -c 1 cargo bench …`)
//! runs the first alone, then the three in turns, and prints medians, 99th percentiles and ratios. All run the same program
//! on the same three tests, with the same tracer. `VIGOR_TEST_PYTHON` chooses another interpreter than `python3`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use vigor::sandbox::{ExecRequest, ExecTest, Policy, Pool, PoolConfig, TraceCaps};

const PROGRAM: &str = "\
def longest_run(values, limit):
    best = []
    run = []
    for value in values:
        if not run or value > run[-1]:
            run.append(value)
        else:
            run = [value]
        if len(run) > len(best):
            best = list(run)
    return best[:limit]
";

const TESTS: [&str; 3] = [
    "assert longest_run([3, 1, 2, 4, 1], 5) == [1, 2, 4]",
    "assert longest_run([5, 4, 3], 2) == [5]",
    "assert longest_run([1, 2, 3, 4, 0, 9], 3) == [1, 2, 3]",
];

/// The parts of the harness that a fresh interpreter needs, and what it does with them.
const FRESH: &str = concat!(
    include_str!("../src/sandbox/harness/values.py"),
    include_str!("../src/sandbox/harness/plain.py"),
    include_str!("../src/sandbox/harness/tracer.py"),
    include_str!("../src/sandbox/harness/hooks.py"),
    include_str!("../src/sandbox/harness/runner.py"),
    r#"
from json import loads
job = loads(sys.stdin.read())
program = _compile(job["code"], PROGRAM, "exec", 0, True)
for test in job["tests"]:
    tracer = Tracer(PROGRAM, job["trace"])
    code = compile_test(test)[0]
    space = {}
    tracer.start()
    _exec(program, space)
    _exec(code, space)
    tracer.stop()
    print(encode({"verdict": "passed", "trace": tracer.result()}))
"#
);

/// Milliseconds of each round.
struct Times(Vec<f64>);

impl Times {
    fn measure(&mut self, run: impl FnOnce()) {
        let begun = Instant::now();
        run();
        self.0.push(begun.elapsed().as_secs_f64() * 1e3);
    }

    fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * share).round() as usize]
    }

    fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }
}

fn main() {
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(400);
    let python: PathBuf = std::env::var_os("VIGOR_TEST_PYTHON").unwrap_or("python3".into()).into();
    let pool = |policy| {
        let launcher = env!("CARGO_BIN_EXE_vigor").into();
        let config =
            PoolConfig { python: python.clone(), launcher, workers: 1, policy, ..PoolConfig::default() };
        Pool::new(config).expect("a sandbox")
    };
    let request = ExecRequest {
        code: PROGRAM.to_owned(),
        tests: TESTS.map(ExecTest::from).to_vec(),
        trace: Some(TraceCaps::default()),
        ..ExecRequest::default()
    };
    let mut before = children();
    let (strict, strict_tree) = (pool(Policy::Strict), new_children(&mut before));
    let (off, off_tree) = (pool(Policy::Off), new_children(&mut before));
    let interpreter = strict.python().executable.clone();
    let run = |pool: &Pool| {
        let report = pool.execute(&request).expect("a report");
        assert_eq!(report.passed(), TESTS.len());
        report
    };
    let mut events = 0;
    for _ in 0..20 {
        run(&off);
        events = run(&strict).tests.iter().flat_map(|test| &test.trace).map(|trace| trace.events.len()).sum();
    }
    let job =
        serde_json::json!({ "code": PROGRAM, "tests": TESTS, "trace": TraceCaps::default() }).to_string();
    let mut alone = Times(Vec::new());
    for _ in 0..rounds {
        alone.measure(|| drop(run(&strict)));
    }
    let (mut sandboxed, mut plain, mut fresh) = (Times(Vec::new()), Times(Vec::new()), Times(Vec::new()));
    let (strict_cpu, off_cpu) = (cpu_of(&strict_tree), cpu_of(&off_tree));
    for round in 0..rounds {
        sandboxed.measure(|| drop(run(&strict)));
        plain.measure(|| drop(run(&off)));
        if round % 8 == 0 {
            fresh.measure(|| fresh_interpreter(&interpreter, &job));
        }
    }
    let strict_cpu = (cpu_of(&strict_tree) - strict_cpu) / rounds as f64;
    let off_cpu = (cpu_of(&off_tree) - off_cpu) / rounds as f64;
    println!(
        "{} {}, {rounds} rounds, {events} events in 3 tests",
        strict.python().version,
        interpreter.display()
    );
    println!("{:<34} {:>8} {:>8} {:>8} {:>12}", "ms", "median", "p99", "mean", "CPU of it");
    for (name, times, cpu) in [
        ("sandbox, strict, alone", &alone, None),
        ("in turns: sandbox, strict", &sandboxed, Some(strict_cpu)),
        ("sandbox, isolation off", &plain, Some(off_cpu)),
        ("python3 -I for each execution", &fresh, None),
    ] {
        let cpu = cpu.map_or(String::from("-"), |cpu| format!("{cpu:.2}"));
        let (median, p99, mean) = (times.at(0.5), times.at(0.99), times.mean());
        println!("{name:<34} {median:>8.2} {p99:>8.2} {mean:>8.2} {cpu:>12}");
    }
    println!("rate, sandbox to fresh interpreter: {:.1}", fresh.mean() / sandboxed.mean());
    println!("CPU, strict to isolation off: {:.3}", strict_cpu / off_cpu);
}

fn fresh_interpreter(python: &PathBuf, job: &str) {
    use std::io::Write;
    let mut child = Command::new(python)
        .args(["-I", "-c", FRESH])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter starts");
    child.stdin.take().expect("a pipe").write_all(job.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(),
        TESTS.len()
    );
}

/// Of each process: its parent, and the CPU time of it and of the children that it waited for, in milliseconds.
fn processes() -> Vec<(u32, u32, f64)> {
    // SAFETY: takes an integer and returns one.
    let tick = 1e3 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            let ticks: f64 = fields[11..15].iter().filter_map(|field| field.parse::<f64>().ok()).sum();
            Some((pid, fields[1].parse().ok()?, ticks * tick))
        })
        .collect()
}

fn children() -> Vec<u32> {
    let own = std::process::id();
    processes().into_iter().filter(|process| process.1 == own).map(|process| process.0).collect()
}

/// The children that are not among `known`, which then knows them.
fn new_children(known: &mut Vec<u32>) -> Vec<u32> {
    let new: Vec<u32> = children().into_iter().filter(|child| !known.contains(child)).collect();
    known.extend(&new);
    new
}

/// CPU milliseconds of these processes and all below them.
fn cpu_of(roots: &[u32]) -> f64 {
    let all = processes();
    let mut tree = roots.to_vec();
    let mut at = 0;
    while at < tree.len() {
        let parent = tree[at];
        tree.extend(all.iter().filter(|process| process.1 == parent).map(|process| process.0));
        at += 1;
    }
    all.iter().filter(|process| tree.contains(&process.0)).map(|process| process.2).sum()
}
