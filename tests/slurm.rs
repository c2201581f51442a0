//! The script of `vigor run --slurm` on a real Slurm of one node: an array of four leaves the bytes of one process, also
//! when some of its processes are told to end. Skipped with a message where there is no Slurm, or no right to start one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use vigor::source::{FetchOptions, Kind, resolve};

const BIN: &str = env!("CARGO_BIN_EXE_vigor");

/// Sessions of the run: four tasks, two methods.
const SESSIONS: usize = 8;

/// A running Slurm; stopped when dropped.
struct Slurm {
    home: tempfile::TempDir,
}

impl Slurm {
    /// None where it cannot be had, with the reason told.
    fn start() -> Option<Self> {
        for program in ["munged", "slurmctld", "slurmd", "sbatch"] {
            if !Command::new("which").arg(program).output().is_ok_and(|found| found.status.success()) {
                eprintln!("skipped: no {program}; install slurm-wlm and munge to run this test");
                return None;
            }
        }
        // SAFETY: it only asks who we are.
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("skipped: only root may start a Slurm");
            return None;
        }
        // The path of a socket may not be long.
        let home = tempfile::Builder::new().prefix("slurm").tempdir_in("/tmp").unwrap();
        let started = script("start", home.path());
        let slurm = Self { home };
        assert!(started.status.success(), "{}", said(&started));
        Some(slurm)
    }

    fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env("SLURM_CONF", self.home.path().join("slurm.conf"));
        command
    }

    fn jobs(&self) -> usize {
        let output = self.command("squeue", Path::new("/")).args(["-h", "-r"]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap().lines().count()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        script("stop", self.home.path());
    }
}

fn script(what: &str, home: &Path) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slurm/one_node.sh");
    Command::new("bash").arg(path).arg(what).arg(home).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn item(name: &str, kind: Kind) -> PathBuf {
    let item = resolve(name, kind, &FetchOptions::default());
    item.unwrap_or_else(|e| panic!("`vigor pull {name}` is needed: {e}")).path
}

fn vigor(folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(BIN).current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    output
}

/// Writes the script of a run into the folder `out`.
fn job(folder: &Path, out: &str) -> String {
    let resources = ["--slurm-cpus", "1", "--slurm-mem", "1G", "--slurm-time", "10"];
    let arguments = [&["run", "an experiment.toml", "--slurm", "--out", out][..], &resources].concat();
    let name = format!("{out}.sh");
    fs::write(folder.join(&name), vigor(folder, &arguments).stdout).unwrap();
    name
}

fn outputs(out: &Path) -> [Vec<u8>; 2] {
    ["results.jsonl", "trace.jsonl"].map(|name| fs::read(out.join(name)).unwrap())
}

fn journal(out: &Path) -> usize {
    let files = fs::read_dir(out.join("sessions")).into_iter().flatten().flatten();
    files.filter(|f| f.path().extension().is_some_and(|e| e == "jsonl")).count()
}

fn logs(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap().flatten().map(|f| f.path());
    let logs = files.filter(|f| f.extension().is_some_and(|e| e == "log"));
    logs.map(|log| fs::read_to_string(log).unwrap()).collect()
}

#[test]
fn an_array_of_four_leaves_the_bytes_of_one_process() {
    let Some(slurm) = Slurm::start() else { return };
    let home = tempfile::tempdir().unwrap();
    // A folder that a shell would take apart.
    let folder = home.path().join("it's a $HOME folder");
    fs::create_dir(&folder).unwrap();
    let text = format!(
        "[run]\nname = \"slurmed\"\nseed = 3\nmax_tokens = 24\n[model]\nname = {:?}\n\
         [dataset]\nname = \"humaneval\"\npath = {:?}\nadapter = \"humaneval\"\nlimit = 4\n\
         [sandbox]\npolicy = \"best-effort\"\n[[method]]\nmethod = \"greedy\"\n\
         [[method]]\nmethod = \"sample\"\nn = 2\n",
        item("smollm2-135m-instruct", Kind::Model),
        item("humaneval", Kind::Dataset)
    );
    fs::write(folder.join("an experiment.toml"), text).unwrap();
    vigor(&folder, &["run", "an experiment.toml", "--out", "whole", "--offline"]);
    let expected = outputs(&folder.join("whole"));

    let name = job(&folder, "four");
    let submitted = slurm.command("sbatch", &folder).args(["--wait", &name]).output().unwrap();
    assert!(submitted.status.success(), "{}\n{}", said(&submitted), logs(&folder));
    assert!(outputs(&folder.join("four")) == expected, "the array left other bytes\n{}", logs(&folder));
    let manifest = fs::read_to_string(folder.join("four/run_manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["parts"].as_array().unwrap().len(), 4, "each process is recorded");

    // What Slurm sends before the time limit ends the processes that run; those that wait, and those that are submitted
    // again, go on.
    let (name, out) = (job(&folder, "cut"), folder.join("cut"));
    let submitted = slurm.command("sbatch", &folder).args(["--parsable", &name]).output().unwrap();
    assert!(submitted.status.success(), "{}", said(&submitted));
    let id = String::from_utf8(submitted.stdout).unwrap().trim().to_owned();
    let began = Instant::now();
    let wait = |what: &str| {
        assert!(began.elapsed() < Duration::from_secs(240), "not in four minutes: {what}\n{}", logs(&folder));
        std::thread::sleep(Duration::from_millis(20));
    };
    while journal(&out) == 0 {
        wait("the first session");
    }
    slurm.command("scancel", &folder).args(["--signal=TERM", &id]).output().unwrap();
    while !logs(&folder).contains("interrupted after") {
        wait("a process that ends when told to");
    }
    while slurm.jobs() > 0 {
        wait("the end of the array");
    }
    let submitted = slurm.command("sbatch", &folder).args(["--wait", &name]).output().unwrap();
    assert!(submitted.status.success(), "{}\n{}", said(&submitted), logs(&folder));
    assert_eq!(journal(&out), SESSIONS);
    assert!(outputs(&out) == expected, "interrupted and gone on with, the array left other bytes");
}
