//! The GPU path through the binary, on emulated GPUs (`tests/emulator`), or on real ones with VIGOR_REAL_GPU=1.
#![cfg(feature = "cuda")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

#[path = "emulator/build.rs"]
mod emulator;

/// A folder with the emulated driver; none where a real one is to be used.
fn driver() -> Option<&'static Path> {
    static DRIVER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let real = || std::env::var_os("VIGOR_REAL_GPU").is_some();
    DRIVER
        .get_or_init(|| (!real()).then(|| emulator::build(Path::new(env!("CARGO_TARGET_TMPDIR")))))
        .as_deref()
}

fn vigor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigor"));
    command.args(arguments).stdin(Stdio::null());
    if let Some(driver) = driver() {
        command.env("LD_LIBRARY_PATH", driver).env("VIGOR_EMULATED_DEVICES", "2");
    }
    command
}

fn output(mut command: Command) -> (Output, String, String) {
    let output = command.output().expect("vigor starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[test]
fn the_gpu_computes_what_the_processor_does() {
    let (result, out, err) = output(vigor(&["check", "--json"]));
    assert!(result.status.success(), "{err}");
    let document: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let checks = document["checks"].as_array().expect("checks");
    assert!(checks.len() >= 13 && checks.iter().all(|check| check["passed"] == true), "{out}");
    // A second time the same, to the last digit.
    if driver().is_none() {
        assert_eq!(out, output(vigor(&["check", "--json"])).1);
    }
}

#[test]
fn doctor_shows_the_gpus() {
    let (_, out, _) = output(vigor(&["doctor"]));
    assert!(
        out.lines().any(|line| line.starts_with("gpu 0 ") && line.contains("compute capability")),
        "{out}"
    );
}

#[test]
fn without_a_gpu_the_processor_computes_and_cuda_is_refused() {
    let without = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vigor"));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env_remove("LD_LIBRARY_PATH")
            .env("CUDA_VISIBLE_DEVICES", "");
        output(command)
    };
    let generate = ["generate", "--model", "random:tiny", "--max-tokens", "3", "def f():"];
    let weaker = ["--offline", "--allow-weaker-sandbox"];
    let (result, out, err) = without(&[&generate[..], &weaker].concat());
    assert!(result.status.success() && !out.is_empty(), "{err}");
    let (result, _, err) = without(&[&generate[..], &weaker, &["--device", "cuda"]].concat());
    assert_eq!(result.status.code(), Some(7), "{err}");
    assert!(err.contains("no NVIDIA driver") || err.contains("there is no GPU 0"), "{err}");
}

#[test]
fn a_device_with_too_little_memory_is_refused() {
    let arguments = [
        "generate",
        "--model",
        "random:tiny",
        "--device",
        "cuda",
        "--offline",
        "--allow-weaker-sandbox",
        "x",
    ];
    let mut command = vigor(&[&arguments[..], &["--gpu-memory", "0.00001"]].concat());
    command.env("VIGOR_EMULATED_MEMORY", "64");
    let (result, _, err) = output(command);
    assert_eq!(result.status.code(), Some(7), "{err}");
    assert!(err.contains("out of device memory"), "{err}");
}

/// Every method, whatever the number of sessions and of GPUs.
#[test]
fn runs_are_the_same_bytes_on_one_gpu_and_on_two() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("run.toml");
    let methods = [
        "method = \"greedy\"",
        "method = \"sample\"\nn = 3",
        "method = \"vigor\"\nn = 3\nhorizon = 2\nsampler = \"beam\"",
        "method = \"vigor\"\nn = 3\nhorizon = 2\nsampler = \"stochastic-beam\"",
        "method = \"eg-cfg\"\nn = 3\nhorizon = 2\ngamma = 3.0",
    ];
    let mut text = "[run]\nname = \"cuda\"\nseed = 3\nmax_tokens = 40\n[model]\nname = \"random:tiny\"\n[dataset]\nname = \"humaneval\"\n\
                    limit = 2\n[sandbox]\npolicy = \"best-effort\"\n"
        .to_owned();
    for method in methods {
        text += &format!("[[method]]\n{method}\n");
    }
    std::fs::write(&config, text).expect("written");
    let run = |name: &str, arguments: &[&str]| {
        let out = folder.path().join(name);
        let mut all = vec!["run", config.to_str().expect("UTF-8"), "--device", "cuda", "--out"];
        all.push(out.to_str().expect("UTF-8"));
        let (result, _, err) = output(vigor(&[&all[..], arguments].concat()));
        assert!(result.status.success(), "{err}");
        let manifest = std::fs::read_to_string(out.join("run_manifest.json")).expect("a manifest");
        assert!(manifest.contains("\"arithmetic\": \"cuda sm_"), "{manifest}");
        ["results.jsonl", "trace.jsonl"].map(|file| std::fs::read(out.join(file)).expect("results"))
    };
    let one = run("one", &["--concurrency", "1"]);
    assert!(one[0].iter().filter(|&&byte| byte == b'\n').count() == 2 * methods.len());
    assert!(one == run("four", &["--concurrency", "4"]), "sessions beside each other change results");
    assert!(
        one == run("two-gpus", &["--concurrency", "3", "--devices", "0,1"]),
        "a second GPU changes results"
    );
}

#[test]
fn the_benchmark_holds_the_rows_against_the_gpu() {
    let arguments = [
        "bench",
        "--model",
        "random:tiny",
        "--device",
        "cuda",
        "--only",
        "prefill,decode,shared,guided",
        "--n",
        "1,3",
        "--prefix",
        "70",
        "--prompt",
        "70",
        "--steps",
        "3",
        "--repeat",
        "1",
        "--json",
        "--offline",
        "--allow-weaker-sandbox",
    ];
    let (result, out, err) = output(vigor(&arguments));
    assert!(result.status.success(), "{err}");
    let document: vigor::bench::Document = serde_json::from_str(&out).expect("a document");
    let gpu = document.machine.gpu.expect("a GPU");
    assert!(gpu.read_gb_per_second > 0.0 && gpu.bf16_gflop_per_second > 0.0, "{gpu:?}");
    assert_eq!(document.rows.len(), 7);
    for row in &document.rows {
        let expected = row.gb_per_second.expect("bytes") / gpu.read_gb_per_second;
        assert!((row.of_read_bandwidth.expect("a share") / expected - 1.0).abs() < 1e-9, "{row:?}");
    }
}
