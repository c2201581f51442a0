//! One worker over thousands of executions: nothing gathers in it, and it outlives a system without room.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use vigor::sandbox::{ExecRequest, Policy, Pool, PoolConfig};
use vigor::session::trace::Gate;

/// All processes that come from this one.
fn descendants() -> BTreeSet<i32> {
    let parent = |pid: i32| -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let all: Vec<i32> = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let mut found = BTreeSet::from([std::process::id() as i32]);
    loop {
        let before = found.len();
        found.extend(
            all.iter()
                .filter(|pid| parent(**pid).is_some_and(|parent| found.contains(&parent)))
                .copied()
                .collect::<Vec<_>>(),
        );
        if found.len() == before {
            found.remove(&(std::process::id() as i32));
            return found;
        }
    }
}

fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

fn pool(python: &str) -> Pool {
    Pool::new(PoolConfig {
        python: python.into(),
        launcher: env!("CARGO_BIN_EXE_vigor").into(),
        workers: 1,
        policy: Policy::BestEffort,
        ..PoolConfig::default()
    })
    .expect("a pool")
}

fn kind(pool: &Pool, number: usize) -> String {
    let request = ExecRequest {
        code: format!("def f():\n    return {number}\n"),
        tests: vec![format!("assert f() == {number}").into()],
        ..ExecRequest::default()
    };
    pool.execute(&request).expect("a report").tests[0].verdict.record().kind
}

/// How many descriptors each process has open.
fn picture() -> Vec<usize> {
    // The next child is forked after the answer.
    std::thread::sleep(Duration::from_millis(300));
    let mut counts: Vec<usize> = descendants().into_iter().map(descriptors).collect();
    counts.push(descriptors(std::process::id() as i32));
    counts.sort_unstable();
    counts
}

#[test]
fn a_worker_stays_as_it_is() {
    let python = std::env::var("VIGOR_TEST_PYTHON").unwrap_or("python3".into());
    let pool = self::pool(&python);
    for number in 0..50 {
        assert_eq!(kind(&pool, number), "passed");
    }
    let before = picture();
    assert!(before.len() > 3 && before.iter().any(|count| *count > 3), "{before:?}");
    for number in 0..1900 {
        assert_eq!(kind(&pool, number), "passed");
    }
    assert_eq!(picture(), before, "descriptors of each process, after 1900 executions");
    // Beyond its last request the worker is another one.
    for number in 0..100 {
        assert_eq!(kind(&pool, number), "passed");
    }
    assert_eq!(picture(), before, "descriptors of each process, in the next worker");
    drop(pool);

    the_compiler_is_replaced(&python);
    no_room_for_a_process();
    assert!(descendants().is_empty(), "a pool takes its processes with it");
}

/// One child compiles for many requests, then another does; programs run beside it, and what ends it ends it alone.
fn the_compiler_is_replaced(python: &str) {
    let pool = self::pool(python);
    let ask = |number: usize| {
        let sources = [format!("x = {number}\n"), format!("x = {number} +\n"), "if x:\n".to_owned()];
        let gates = pool.classify(&sources).expect("verdicts");
        let [Gate::Complete, Gate::Invalid { message }, Gate::Incomplete] = &gates[..] else {
            panic!("{gates:?}");
        };
        assert_eq!(message, "invalid syntax");
    };
    ask(0);
    // The worker that plans tests is there, too.
    assert_eq!(kind(&pool, 0), "passed");
    let (before, processes) = (picture(), descendants());
    for number in 0..700 {
        ask(number);
        if number % 10 == 0 {
            assert_eq!(kind(&pool, number), "passed");
        }
    }
    assert_eq!(picture(), before, "descriptors of each process, after 700 round trips to the compiler");
    let kept = descendants().intersection(&processes).count();
    assert!(
        kept > 0 && kept < processes.len() - 1,
        "{kept} of {} processes are those of before",
        processes.len()
    );
}

/// The zygote is told that it may have no process more.
fn no_room_for_a_process() {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        eprintln!("skipped: no Python that everybody can read");
        return;
    }
    let pool = self::pool("/usr/bin/python3");
    if !pool.layers().iter().any(|layer| layer.active && layer.name == "thread-limit") {
        eprintln!("skipped: the processes of this worker cannot be bounded");
        return;
    }
    let workers = descendants();
    let limit = |most: u64| {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: 256 };
        // SAFETY: `limit` is valid for reading; no old value is asked for.
        let set =
            |pid: &i32| unsafe { libc::prlimit(*pid, libc::RLIMIT_NPROC, &limit, std::ptr::null_mut()) };
        workers.iter().all(|pid| set(pid) == 0)
    };
    // The child for the first request is there by then.
    std::thread::sleep(Duration::from_millis(300));
    if !limit(1) {
        eprintln!("skipped: this user cannot limit the worker's");
        limit(256);
        return;
    }
    // It tries for a while, and another worker takes its place.
    assert_eq!([kind(&pool, 1), kind(&pool, 2)], ["passed", "passed"]);
    limit(256);
    assert_eq!([kind(&pool, 3), kind(&pool, 4)], ["passed", "passed"]);
}
