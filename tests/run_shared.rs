//! Several processes work on one run at once, come and go, are killed and stopped: every session is recorded once, and
//! the run ends in the bytes that one process leaves.

use std::collections::hash_map::RandomState;
use std::fs::{File, OpenOptions};
use std::hash::BuildHasher;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fake_run::{Fake, config, manifest, outcome, outputs, run, tasks, undisturbed};
use vigor::run::{
    Journal, NoProgress, Progress, RunError, RunManifest, SessionJob, SessionOutcome, Shard, Sharing,
    SolveError, Solver, Summary, execute,
};

mod fake_run;

const HOUR: Duration = Duration::from_secs(3600);

fn sharing(lease: Duration) -> Sharing {
    Sharing { lease, ..Sharing::default() }
}

/// One process's part of a run of `count` tasks.
fn part(dir: &Path, count: usize, solver: &dyn Solver, sharing: Sharing) -> Result<Summary, RunError> {
    let (config, tasks) = (config(2, 0), tasks(count));
    let mut journal = Journal::open_shared(dir, manifest(&config, &tasks), sharing)?;
    execute(&mut journal, &config, &tasks, solver, &NoProgress, &AtomicBool::new(false))
}

/// Counts how often each session is computed.
struct Counting {
    fake: Fake,
    computed: Mutex<Vec<usize>>,
}

impl Counting {
    fn new(millis: u64) -> Self {
        Self { fake: Fake { millis }, computed: Mutex::default() }
    }

    fn computed(&self) -> Vec<usize> {
        let mut computed = self.computed.lock().unwrap().clone();
        computed.sort_unstable();
        computed
    }
}

impl Solver for Counting {
    fn solve(&self, job: &SessionJob, progress: &dyn Progress) -> Result<SessionOutcome, SolveError> {
        self.computed.lock().unwrap().push(job.index);
        self.fake.solve(job, progress)
    }
}

/// The run is whole: the right bytes, a file a session, nothing left over.
fn assert_whole(dir: &Path, count: usize) {
    assert_eq!(outputs(dir), undisturbed(count));
    let mut sessions: Vec<String> = std::fs::read_dir(dir.join("sessions"))
        .unwrap()
        .map(|f| f.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    sessions.sort();
    let expected: Vec<String> = (0..4 * count).map(|i| format!("{i:06}.jsonl")).collect();
    assert_eq!(sessions, expected);
    assert!(!dir.join("claims").exists(), "claims of a run that is finished");
}

#[test]
fn processes_share_the_sessions_and_compute_each_once() {
    for processes in [2, 4] {
        let dir = tempfile::tempdir().unwrap();
        let counting = Counting::new(4);
        std::thread::scope(|scope| {
            for _ in 0..processes {
                scope.spawn(|| {
                    let summary = part(dir.path(), 20, &counting, sharing(HOUR)).unwrap();
                    assert!(summary.complete(), "{summary:?}");
                });
            }
        });
        assert_eq!(counting.computed(), (0..80).collect::<Vec<_>>());
        assert_whole(dir.path(), 20);
        let parts = RunManifest::load(dir.path()).unwrap().parts;
        assert_eq!(parts.len(), processes, "every process is recorded");
    }
}

#[test]
fn the_shares_of_one_folder_make_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut computed = Vec::new();
    for share in ["2/3", "0/3", "1/3"] {
        let (counting, shard) = (Counting::new(0), share.parse::<Shard>().unwrap());
        let summary = part(dir.path(), 10, &counting, Sharing { shard, lease: HOUR }).unwrap();
        assert!(summary.complete() && summary.resumed == 0, "{summary:?}");
        assert_eq!(summary.sessions, counting.computed().len());
        assert!(counting.computed().iter().all(|index| shard.holds(index / 4)), "{share}");
        computed.extend(counting.computed());
    }
    computed.sort_unstable();
    assert_eq!(computed, (0..40).collect::<Vec<_>>());
    assert_whole(dir.path(), 10);
}

/// Not a test by itself: a process that others start, kill, and stop.
#[test]
fn child_process() {
    let Some(dir) = std::env::var_os("VIGOR_TEST_RUN_DIR") else { return };
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let lease = Duration::from_millis(number("VIGOR_TEST_LEASE"));
    let tasks = number("VIGOR_TEST_TASKS") as usize;
    let solver = Fake { millis: number("VIGOR_TEST_MILLIS") };
    assert!(part(Path::new(&dir), tasks, &solver, sharing(lease)).unwrap().complete());
}

/// Starts a process on a run of `tasks` tasks whose sessions take up to `millis`.
fn start(dir: &Path, tasks: usize, millis: u64, lease: Duration) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--test-threads=1", "--nocapture"])
        .env("VIGOR_TEST_RUN_DIR", dir)
        .env("VIGOR_TEST_TASKS", tasks.to_string())
        .env("VIGOR_TEST_MILLIS", millis.to_string())
        .env("VIGOR_TEST_LEASE", lease.as_millis().to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: the process is our child and not yet waited for, so the number is its own.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
}

fn files(dir: &Path, folder: &str, extension: &str) -> usize {
    let files = std::fs::read_dir(dir.join(folder)).into_iter().flatten().flatten();
    files.filter(|f| f.path().extension().is_some_and(|e| e == extension)).count()
}

fn journalled(dir: &Path) -> usize {
    files(dir, "sessions", "jsonl")
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "not in a minute: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A number below `limit`, another one each time.
fn random(limit: u64) -> u64 {
    RandomState::new().hash_one(()) % limit
}

#[test]
fn processes_that_are_killed_and_stopped_at_random_leave_the_bytes_of_one() {
    const TASKS: usize = 60;
    let lease = Duration::from_millis(300);
    for processes in [2, 4] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let mut children: Vec<Child> = (0..processes).map(|_| start(dir, TASKS, 20, lease)).collect();
        let (mut kills, mut stops) = (0, 0);
        // As long as there is work, one of them is killed and replaced, or stopped for longer than a lease.
        while journalled(dir) < 4 * TASKS - 20 {
            std::thread::sleep(Duration::from_millis(random(80)));
            let child = &mut children[random(processes) as usize];
            if child.try_wait().unwrap().is_some() {
                continue;
            }
            // The first of them is killed: chance alone may leave no time for it.
            if kills > 0 && stops < 4 && random(3) == 0 {
                signal(child, libc::SIGSTOP);
                std::thread::sleep(lease + Duration::from_millis(random(300)));
                signal(child, libc::SIGCONT);
                stops += 1;
            } else {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                *child = start(dir, TASKS, 20, lease);
                std::thread::sleep(Duration::from_millis(random(150)));
            }
        }
        for mut child in children {
            assert!(child.wait().unwrap().success(), "a process that nobody killed failed");
        }
        assert!(kills > 0, "nothing was killed; the test tested nothing");
        println!("{processes} processes: {kills} killed, {stops} stopped");
        // Who was killed may have left its file after the others had cleared up.
        run(dir, &config(1, 0), &tasks(TASKS), &Fake { millis: 0 }).unwrap();
        assert_whole(dir, TASKS);
    }
}

/// A process that has claimed sessions and recorded some.
fn at_work(dir: &Path, lease: Duration) -> Child {
    let child = start(dir, 3, 2000, lease);
    wait_for("two claims", || files(dir, "claims", "0") == 2);
    child
}

#[test]
fn what_a_killed_process_of_this_machine_held_is_taken_up_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = at_work(dir.path(), HOUR);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(files(dir.path(), "claims", "0") > 0, "its claims are still there");
    let began = Instant::now();
    assert!(part(dir.path(), 3, &Fake { millis: 0 }, sharing(HOUR)).unwrap().complete());
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_whole(dir.path(), 3);
}

#[test]
fn a_process_killed_beside_another_loses_its_sessions_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = at_work(dir.path(), HOUR);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| part(dir.path(), 3, &Fake { millis: 0 }, sharing(HOUR)));
        std::thread::sleep(Duration::from_millis(300));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(other.join().unwrap().unwrap().complete());
    });
    assert_whole(dir.path(), 3);
}

#[test]
fn a_stopped_process_loses_its_sessions_after_the_lease_and_does_no_harm_when_it_wakes_up() {
    let lease = Duration::from_millis(600);
    let dir = tempfile::tempdir().unwrap();
    let mut child = at_work(dir.path(), lease);
    signal(&child, libc::SIGSTOP);
    let counting = Counting::new(0);
    let began = Instant::now();
    let summary = part(dir.path(), 3, &counting, sharing(lease)).unwrap();
    assert!(summary.complete() && began.elapsed() >= lease, "{:?}", began.elapsed());
    assert_eq!(counting.computed().len(), 12 - summary.resumed, "all that was left");
    let before = outputs(dir.path());
    signal(&child, libc::SIGCONT);
    assert!(child.wait().unwrap().success(), "it finds its sessions recorded, and ends");
    assert_eq!(outputs(dir.path()), before);
    assert_whole(dir.path(), 3);
}

/// Leaves in the folder what a process of another machine would that holds session 5.
fn elsewhere(dir: &Path) -> File {
    std::fs::create_dir_all(dir.join("claims")).unwrap();
    std::fs::write(dir.join("claims/000005.0"), "far.7.0badcafe\n").unwrap();
    let mut file = File::create(dir.join("claims/far.7.0badcafe.process")).unwrap();
    std::io::Write::write_all(&mut file, b"{\"host\":\"far\",\"pid\":7,\"boot\":\"another\"}\n0\n").unwrap();
    file
}

#[test]
fn a_process_of_another_machine_is_believed_as_long_as_it_beats() {
    let lease = Duration::from_millis(500);
    let dir = tempfile::tempdir().unwrap();
    let process = elsewhere(dir.path());
    let silent_since = Mutex::new(None);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| part(dir.path(), 3, &Fake { millis: 0 }, sharing(lease)));
        for beat in 0..20 {
            std::os::unix::fs::FileExt::write_all_at(&process, format!("{beat:03}\n").as_bytes(), 41)
                .unwrap();
            std::thread::sleep(lease / 5);
            assert!(!dir.path().join("sessions/000005.jsonl").exists(), "taken over while it beat");
        }
        assert_eq!(journalled(dir.path()), 11);
        *silent_since.lock().unwrap() = Some(Instant::now());
        assert!(run.join().unwrap().unwrap().complete());
    });
    let waited = silent_since.lock().unwrap().unwrap().elapsed();
    assert!(waited >= lease / 2, "{waited:?}");
    // It was silent for long when the run ended, so that what it left is cleared away, too.
    assert_whole(dir.path(), 3);
}

#[test]
fn a_claim_that_does_not_say_whose_it_is_holds_for_a_lease() {
    let lease = Duration::from_millis(400);
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("claims")).unwrap();
    std::fs::write(dir.path().join("claims/000005.0"), "").unwrap();
    let began = Instant::now();
    assert!(part(dir.path(), 3, &Fake { millis: 0 }, sharing(lease)).unwrap().complete());
    assert!(began.elapsed() >= lease, "{:?}", began.elapsed());
    assert_whole(dir.path(), 3);
}

#[test]
fn whoever_finds_the_outputs_in_other_hands_leaves_its_sessions_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    drop(Journal::open(dir.path(), manifest(&config(1, 0), &tasks(3))).unwrap());
    let lock = OpenOptions::new().write(true).open(dir.path().join("run.lock")).unwrap();
    let (config, tasks) = (config(2, 0), tasks(3));
    let mut journal = Journal::open(dir.path(), manifest(&config, &tasks)).unwrap();
    lock.lock().unwrap();
    std::thread::scope(|scope| {
        let (config, tasks, journal) = (&config, &tasks, &mut journal);
        let run = scope.spawn(move || {
            execute(journal, config, tasks, &Fake { millis: 0 }, &NoProgress, &AtomicBool::new(false))
        });
        wait_for("all sessions in the journal", || journalled(dir.path()) == 12);
        assert_eq!(outputs(dir.path()), ["", "", ""], "somebody else is writing");
        lock.unlock().unwrap();
        assert!(run.join().unwrap().unwrap().complete());
    });
    drop(journal);
    assert_whole(dir.path(), 3);
}

#[test]
fn a_lock_that_is_not_let_go_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let lock = File::create(dir.path().join("run.lock")).unwrap();
    lock.lock().unwrap();
    let error = part(dir.path(), 1, &Fake { millis: 0 }, sharing(Duration::from_millis(20))).unwrap_err();
    assert!(matches!(error, RunError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("run.lock"), "{error}");
}

#[test]
fn a_torn_write_of_a_killed_process_is_put_right_beside_the_living() {
    /// Tears the end of the results once, as a killed writer does.
    struct Tearing<'a>(&'a Path, AtomicUsize);
    impl Solver for Tearing<'_> {
        fn solve(&self, job: &SessionJob, _: &dyn Progress) -> Result<SessionOutcome, SolveError> {
            if self.1.fetch_add(1, Ordering::SeqCst) == 5 {
                let path = self.0.join("results.jsonl");
                let whole = std::fs::read(&path).unwrap();
                std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();
                let mut trace = OpenOptions::new().append(true).open(self.0.join("trace.jsonl")).unwrap();
                std::io::Write::write_all(&mut trace, b"{\"session\":{\"task_id\":\"Fak").unwrap();
            }
            Ok(outcome(job))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (config, tasks) = (config(1, 0), tasks(5));
    let mut journal = Journal::open(dir.path(), manifest(&config, &tasks)).unwrap();
    let solver = Tearing(dir.path(), AtomicUsize::new(0));
    execute(&mut journal, &config, &tasks, &solver, &NoProgress, &AtomicBool::new(false)).unwrap();
    drop(journal);
    assert_whole(dir.path(), 5);
}

#[test]
fn two_processes_that_come_to_different_results_are_told_so() {
    /// Finishes session 3 behind the back of whoever computes it, in a way of its own.
    struct Contradicting<'a>(&'a Path);
    impl Solver for Contradicting<'_> {
        fn solve(&self, job: &SessionJob, _: &dyn Progress) -> Result<SessionOutcome, SolveError> {
            let outcome = outcome(job);
            if job.index == 3 {
                let other = tempfile::tempdir().unwrap();
                run(other.path(), &config(1, 0), &tasks(1), &Fake { millis: 0 }).unwrap();
                let text = std::fs::read_to_string(other.path().join("sessions/000003.jsonl")).unwrap();
                let text = text.replace("\"executions\":2", "\"executions\":3");
                std::fs::write(self.0.join("sessions/000003.jsonl"), text).unwrap();
            }
            Ok(outcome)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let error = part(dir.path(), 1, &Contradicting(dir.path()), sharing(HOUR)).unwrap_err().to_string();
    assert!(error.contains("Fake/0 · eg-cfg γ=3") && error.contains("000003.jsonl"), "{error}");
}

#[test]
fn another_experiment_is_refused_while_one_is_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let (config0, tasks) = (config(1, 0), tasks(2));
    let journal = Journal::open(dir.path(), manifest(&config0, &tasks)).unwrap();
    let error = Journal::open(dir.path(), manifest(&config(1, 5), &tasks)).unwrap_err().to_string();
    assert!(error.contains("`configuration.run.seed`: it has 0, given is 5"), "{error}");
    assert_eq!(RunManifest::load(dir.path()).unwrap().parts.len(), 1);
    let second = Journal::open(dir.path(), manifest(&config0, &tasks)).unwrap();
    assert_eq!((journal.others(), second.others()), (0, 1));
}

#[test]
fn a_process_that_is_told_to_stop_leaves_its_sessions_to_the_others() {
    /// Waits in its first session until it is told to stop.
    struct Waiting;
    impl Solver for Waiting {
        fn solve(&self, job: &SessionJob, _: &dyn Progress) -> Result<SessionOutcome, SolveError> {
            while !job.stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(SolveError::Stopped)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| {
            let (config, tasks) = (config(2, 0), tasks(3));
            let mut journal = Journal::open(dir.path(), manifest(&config, &tasks)).unwrap();
            let summary = execute(&mut journal, &config, &tasks, &Waiting, &NoProgress, &stop).unwrap();
            // It stays, without a claim, while the other goes on.
            wait_for("all sessions", || journalled(dir.path()) == 12);
            summary
        });
        wait_for("two claims", || files(dir.path(), "claims", "0") == 2);
        let other = scope.spawn(|| part(dir.path(), 3, &Fake { millis: 0 }, sharing(HOUR)));
        wait_for("the sessions of the other", || journalled(dir.path()) == 10);
        stop.store(true, Ordering::SeqCst);
        assert!(other.join().unwrap().unwrap().complete());
        assert!(!stopped.join().unwrap().complete());
    });
    assert_eq!(outputs(dir.path()), undisturbed(3));
}

#[test]
fn the_sessions_of_others_are_told() {
    struct Watch {
        finished: AtomicUsize,
        others: AtomicUsize,
        held: AtomicUsize,
    }
    impl Progress for Watch {
        fn session_finished(
            &self,
            _: usize,
            _: &vigor::run::files::ResultRow,
            _: &vigor::run::files::TimingRow,
        ) {
            self.finished.fetch_add(1, Ordering::SeqCst);
        }
        fn others(&self, finished: usize, held: usize) {
            self.others.fetch_add(finished, Ordering::SeqCst);
            self.held.fetch_max(held, Ordering::SeqCst);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let lease = Duration::from_secs(2);
    let mut child = start(dir.path(), 5, 400, lease);
    wait_for("two claims", || files(dir.path(), "claims", "0") == 2);
    let (config, tasks) = (config(1, 0), tasks(5));
    let watch = Watch { finished: 0.into(), others: 0.into(), held: 0.into() };
    let mut journal = Journal::open_shared(dir.path(), manifest(&config, &tasks), sharing(lease)).unwrap();
    let stop = AtomicBool::new(false);
    let summary = execute(&mut journal, &config, &tasks, &Fake { millis: 400 }, &watch, &stop).unwrap();
    drop(journal);
    assert!(child.wait().unwrap().success());
    let (own, others) = (watch.finished.into_inner(), watch.others.into_inner());
    assert_eq!(own + others + summary.resumed, 20, "{own} own, {others} of others, {summary:?}");
    assert!(own > 0 && others > 0 && watch.held.into_inner() > 0, "{own} own, {others} of others");
    assert_whole(dir.path(), 5);
}
