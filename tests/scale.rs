//! Large grids: what the numbers and the pages of a run cost in time and memory.

mod made_run;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use made_run::{Run, Session, names, write};

/// Runs the binary and returns its processor time, which a busy machine does not stretch as it does the wall time, and its peak memory
/// in MiB.
fn measured(folder: &Path, arguments: &[&str]) -> (Duration, u64) {
    let started = Instant::now();
    // Waited for below, by a call that also tells the memory.
    #[allow(clippy::zombie_processes)]
    let child = Command::new(env!("CARGO_BIN_EXE_vigor"))
        .current_dir(folder)
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .expect("vigor starts");
    let pid = libc::pid_t::try_from(child.id()).expect("a process number");
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: the process is our child and nobody else waits for it; both places are valid for writes.
    assert_eq!(unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) }, pid);
    assert_eq!(status, 0, "{arguments:?} succeeds");
    // SAFETY: all bytes were zeroed, and wait4 has filled them in.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let time = Duration::from_secs_f64(seconds(usage.ru_utime) + seconds(usage.ru_stime));
    let peak = u64::try_from(usage.ru_maxrss).expect("a size") / 1024;
    println!("{arguments:?}: {time:.2?} of a processor, {:.2?} in all, {peak} MiB", started.elapsed());
    (time, peak)
}

fn outcome(task: usize, cell: usize) -> Session {
    let hash = (task as u64 * 200 + cell as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let mut session = Session::judged(hash % 10 < 6, hash % 10 < 7);
    session.program =
        format!("def f():\n{}    return {hash}\n", "    x = 'the line of a program'\n".repeat(20));
    session.tokens = hash as usize % 1000;
    session
}

#[test]
fn a_hundred_thousand_results_take_seconds_and_little_memory() {
    let home = tempfile::tempdir().expect("a folder");
    let gammas: Vec<String> = (0..200).map(|number| format!("{}", f64::from(number) / 8.0)).collect();
    let methods = format!("[[method]]\nmethod = \"eg-cfg\"\ngamma = [{}]\n", gammas.join(", "));
    let run = Run { tasks: names(500), methods: &methods, ..Run::default() };
    write(&home.path().join("large"), &run, |task, cell| Some(outcome(task, cell)));
    // Nothing here needs it.
    std::fs::remove_file(home.path().join("large/trace.jsonl")).expect("it was there");
    for arguments in
        [&["eval", "large"][..], &["eval", "large", "--csv"], &["compare", "large", "--page", "page.html"]]
    {
        let (time, peak) = measured(home.path(), arguments);
        assert!(time < Duration::from_secs(5), "{arguments:?} took {time:?}");
        assert!(peak < 500, "{arguments:?} took {peak} MiB");
    }
    let page = std::fs::metadata(home.path().join("page.html")).expect("a page").len();
    assert!(page < 1 << 20, "the page has {page} bytes");
}

#[test]
fn the_page_of_five_hundred_tasks_is_small() {
    let home = tempfile::tempdir().expect("a folder");
    let gammas: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let methods = format!("[[method]]\nmethod = \"eg-cfg\"\ngamma = [{}]\n", gammas.join(", "));
    let run = Run { tasks: names(500), methods: &methods, ..Run::default() };
    write(&home.path().join("run"), &run, |task, cell| Some(outcome(task, cell)));
    let (time, peak) = measured(home.path(), &["report", "run"]);
    assert!(time < Duration::from_secs(30), "{time:?}");
    assert!(peak < 500, "{peak} MiB");
    let html = std::fs::read_to_string(home.path().join("run/report.html")).expect("a page");
    println!("report.html: {} KiB", html.len() >> 10);
    assert!(html.len() < 3 << 19, "{} bytes", html.len());
    assert_eq!(html.matches("href=\"trace_html/").count(), 10_000);
    // The filter names what it leaves, and hides the rest.
    let same = html.matches("<tr class=\"same\">").count();
    let differ = (0..500)
        .filter(|&task| (1..20).any(|cell| outcome(task, cell).held_out != outcome(task, 0).held_out));
    assert_eq!(500 - same, differ.count());
    assert!(html.contains(&format!("only tasks on which cells differ: {} of 500", 500 - same)));
}
