//! Builds the emulator: the kernels as C++, behind the functions of NVIDIA's driver.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The name by which a program looks for the driver.
pub const NAME: &str = "libcuda.so.1";

/// Compiles the emulator with the kernels, unless that was done for the same sources. Returns the folder, in `out`, in which
/// it lies as [`NAME`].
pub fn build(out: &Path) -> PathBuf {
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
    let place = out.join(format!("emulated-cuda-{name}"));
    if place.exists() {
        return place;
    }
    let folder = tempfile::tempdir_in(out).expect("a folder for objects");
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
    let linked = folder.path().join(NAME);
    let status = Command::new("c++")
        .args(["-shared", "-Wl,-soname,libcuda.so.1", "-o"])
        .arg(&linked)
        .args(&objects)
        .status()
        .expect("c++ is needed to build the emulator");
    assert!(status.success());
    // Another process may have been faster.
    let _ = std::fs::rename(folder.keep(), &place);
    place
}
