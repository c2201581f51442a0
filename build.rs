//! Compiles the kernels for NVIDIA GPUs, with the feature `cuda`. Without it there is nothing to do.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What decides how the kernels are compiled. PATH is not here: it changes too often, and rarely nvcc with it.
const VARIABLES: [&str; 6] =
    ["CUDA_HOME", "CUDA_PATH", "VIGOR_CUDA_ARCHS", "NVCC_CCBIN", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"];

/// The same for each file; `kernels/spills.py` has them too. The kinds of GPUs are compiled for at once, as many as
/// there are processors. Products and sums are fused where the source says so and nowhere else: the variants of a kernel
/// must agree to the bit.
const FLAGS: [&str; 7] =
    ["-fatbin", "--threads=0", "-std=c++17", "-O3", "-fmad=false", "--expt-relaxed-constexpr", "-lineinfo"];

/// Machine code for 8.0 runs on every 8.x, and that for 9.0 on Hopper. Later GPUs get the PTX of the last.
const ARCHS: &str = "80;90";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=kernels");
    for variable in VARIABLES {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if let Err(message) = compile_kernels() {
        // A line is a directive of its own.
        for line in message.lines() {
            println!("cargo::error={line}");
        }
    }
}

fn compile_kernels() -> Result<(), String> {
    let nvcc = find_nvcc()?;
    let targets = targets(&env::var("VIGOR_CUDA_ARCHS").unwrap_or_else(|_| ARCHS.into()))?;
    let names = kernel_files().map_err(|error| format!("cannot read the folder kernels: {error}"))?;
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));

    let jobs = env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1).max(1);
    for names in names.chunks(jobs) {
        // All have ended before one of them may end the build.
        let started: Vec<_> = names.iter().map(|name| (name, start(&nvcc, &targets, name, &out))).collect();
        let ended: Vec<_> = started.into_iter().map(|(name, child)| finish(name, child?)).collect();
        ended.into_iter().collect::<Result<(), String>>()?;
    }

    // The driver reads numbers out of a fat binary where it lies, so it must be aligned.
    let mut source = format!("const MODULES: [(&str, &[u8]); {}] = {{\n", names.len());
    source += "#[allow(dead_code)]\n#[repr(align(64))]\nstruct Aligned<T>(T);\n[\n";
    for name in &names {
        source += &format!("({name:?}, &Aligned(*include_bytes!(\"{name}.fatbin\")).0),\n");
    }
    fs::write(out.join("modules.rs"), source + "]\n};\n")
        .map_err(|error| format!("cannot write modules.rs: {error}"))
}

/// An nvcc that starts.
fn find_nvcc() -> Result<PathBuf, String> {
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os);
    let homes = homes.map(|home| Path::new(&home).join("bin/nvcc"));
    let mut tried = String::new();
    for nvcc in homes.chain(["nvcc".into(), "/usr/local/cuda/bin/nvcc".into()]) {
        match Command::new(&nvcc).arg("--version").output() {
            Ok(output) if output.status.success() => return Ok(nvcc),
            Ok(output) => tried += &format!("  {}: {}\n", nvcc.display(), output.status),
            Err(error) => tried += &format!("  {}: {error}\n", nvcc.display()),
        }
    }
    Err(format!(
        "the feature `cuda` needs NVIDIA's compiler nvcc; looked at CUDA_HOME, CUDA_PATH, PATH and /usr/local/cuda:\n\
         {tried}\
         Install the CUDA toolkit 12.8 or later and set CUDA_HOME to its folder,\n\
         or let a script fetch the compiler alone: bash kernels/toolkit.sh cargo build --release --features cuda"
    ))
}

/// nvcc's arguments for a list such as `80;90`.
fn targets(archs: &str) -> Result<Vec<String>, String> {
    let numbers = archs.split(';').map(|arch| arch.trim().parse::<u32>().ok().filter(|arch| *arch >= 80));
    let Some(numbers) = numbers.collect::<Option<Vec<_>>>() else {
        return Err(format!(
            "VIGOR_CUDA_ARCHS is {archs:?}; it should list numbers from 80 on, such as 80;90"
        ));
    };
    let last = numbers.iter().max().expect("a text has at least one part");
    let code = numbers.iter().map(|arch| format!("-gencode=arch=compute_{arch},code=sm_{arch}"));
    Ok(code.chain([format!("-gencode=arch=compute_{last},code=compute_{last}")]).collect())
}

/// The names of `kernels/*.cu`, in order.
fn kernel_files() -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("kernels")? {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(".cu")).map(String::from));
    }
    names.sort();
    Ok(names)
}

fn start(nvcc: &Path, targets: &[String], name: &str, out: &Path) -> Result<Child, String> {
    let mut command = Command::new(nvcc);
    command.args(FLAGS).args(targets).arg(format!("kernels/{name}.cu"));
    command.arg("-o").arg(out.join(format!("{name}.fatbin"))).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| format!("cannot start {}: {error}", nvcc.display()))
}

fn finish(name: &str, child: Child) -> Result<(), String> {
    let output = child.wait_with_output().map_err(|error| format!("cannot wait for nvcc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("nvcc cannot compile kernels/{name}.cu ({}):\n{text}", output.status));
    }
    for line in text.lines() {
        println!("cargo::warning={line}");
    }
    Ok(())
}
