//! A GPU for tests: a real one where there is one, else an emulated one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use super::driver::{self, Gpu};

/// The first GPU. Where there is none, or where VIGOR_EMULATE is set, the emulator of `tests/emulator` is built and loaded
/// in place of the driver.
pub(super) fn gpu() -> Arc<Gpu> {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        let wanted = std::env::var_os("VIGOR_EMULATE").is_some();
        if wanted || driver::devices().map_or(true, |devices| devices.is_empty()) {
            load(&build());
        }
    });
    Gpu::open(0).expect("a GPU")
}

/// Compiles the emulator with the kernels, unless that was done for the same sources.
fn build() -> PathBuf {
    use sha2::{Digest, Sha256};
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = |folder: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(root.join(folder)).expect("a folder of sources");
        let mut paths: Vec<PathBuf> =
            entries.map(|e| e.expect("an entry").path()).filter(|p| p.is_file()).collect();
        paths.sort();
        paths
    };
    let sources = [files("kernels"), files("tests/emulator")].concat();
    let mut digest = Sha256::new();
    for path in &sources {
        digest.update(std::fs::read(path).expect("a source"));
    }
    let name: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let library = Path::new(env!("OUT_DIR")).join(format!("emulated-cuda-{name}.so"));
    if library.exists() {
        return library;
    }
    let folder = tempfile::tempdir_in(env!("OUT_DIR")).expect("a folder for objects");
    let units = sources.iter().filter(|p| p.extension().is_some_and(|e| e == "cu" || e == "cpp"));
    let compilers: Vec<_> = units
        .enumerate()
        .map(|(i, source)| {
            let object = folder.path().join(format!("{i}.o"));
            let child = Command::new("c++")
                .current_dir(root)
                .args([
                    "-std=c++17",
                    "-O2",
                    "-g1",
                    "-fPIC",
                    "-DVIGOR_EMULATION",
                    "-Itests/emulator",
                    "-Ikernels",
                ])
                // Kernels see the same memory as several types, and the loops have hints for nvcc.
                .args(["-fno-strict-aliasing", "-Wno-unknown-pragmas"])
                // A load at an address that is no multiple of its size, and an index beyond an array, end the process.
                .args(["-fsanitize=alignment,bounds", "-fsanitize-undefined-trap-on-error"])
                .args(["-x", "c++", "-c"])
                .arg(source)
                .arg("-o")
                .arg(&object)
                .spawn();
            (object, child.expect("c++ is needed to build the emulator"))
        })
        .collect();
    let mut objects = Vec::new();
    for (object, mut child) in compilers {
        assert!(child.wait().expect("c++ ends").success(), "{} cannot be made", object.display());
        objects.push(object);
    }
    let linked = folder.path().join("libcuda.so");
    let status = Command::new("c++")
        .args(["-shared", "-Wl,-soname,libcuda.so.1", "-o"])
        .arg(&linked)
        .args(&objects)
        .status()
        .expect("c++ is needed to build the emulator");
    assert!(status.success());
    std::fs::rename(&linked, &library).expect("the library can be named");
    library
}

/// Loads a library before the driver's name is looked for: the loader then finds this one by its name.
fn load(library: &Path) {
    let path =
        std::ffi::CString::new(library.to_str().expect("a path in UTF-8")).expect("a path without zeros");
    // SAFETY: the library was just built; its start-up code only fills tables.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    assert!(!handle.is_null(), "the emulator cannot be loaded");
}
