//! A worker that is killed from outside is replaced, and costs no request.

use std::fs;
use std::process::Command;
use std::time::Duration;

use vigor::sandbox::{ExecRequest, Pool, PoolConfig};

/// Processes whose parent is this one.
fn children() -> Vec<u32> {
    let own = std::process::id();
    let parent = |pid: &u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let pids = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent(pid) == Some(own)).collect()
}

fn kill_children() {
    for pid in children() {
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill").success());
    }
}

#[test]
fn a_lost_worker_is_replaced() {
    let config =
        PoolConfig { launcher: env!("CARGO_BIN_EXE_vigor").into(), workers: 1, ..PoolConfig::default() };
    let pool = Pool::new(config).expect("a pool");
    let request = ExecRequest {
        code: "import time\ndef f():\n    time.sleep(0.5)\n    return 1\n".to_owned(),
        tests: vec!["assert f() == 1".into()],
        ..ExecRequest::default()
    };
    // While it waits for work …
    assert_eq!(children().len(), 1);
    kill_children();
    assert_eq!(pool.execute(&request).expect("a report").passed(), 1);
    // … and in the middle of it: once is made good, twice is the harness's error, not the program's.
    for (kills, kind) in [(1, "passed"), (2, "harness_error"), (0, "passed")] {
        let report = std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..kills {
                    std::thread::sleep(Duration::from_millis(450));
                    kill_children();
                }
            });
            pool.execute(&request).expect("a report")
        });
        assert_eq!(report.tests[0].verdict.record().kind, kind, "after {kills} kills");
    }
    drop(pool);
    assert!(children().is_empty(), "a pool takes its processes with it");
}
