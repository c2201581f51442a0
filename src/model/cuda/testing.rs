//! A GPU for tests: an emulated one, or with VIGOR_REAL_GPU=1 a real one.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::driver::{self, Gpu};

#[path = "../../../tests/emulator/build.rs"]
mod emulator;

/// The first GPU. Unless VIGOR_REAL_GPU is set, the emulator of `tests/emulator` is built and loaded in place of the driver.
pub(super) fn gpu() -> Arc<Gpu> {
    gpus(1).remove(0)
}

/// The first GPUs, as [`gpu`]; the last one again where there are fewer. Of emulated ones there are two.
pub(super) fn gpus(count: usize) -> Vec<Arc<Gpu>> {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        if std::env::var_os("VIGOR_REAL_GPU").is_none() {
            load(&emulator::build(Path::new(env!("OUT_DIR"))).join(emulator::NAME));
        }
    });
    let last = driver::devices().expect("GPUs").len() - 1;
    (0..count).map(|i| Gpu::open(i.min(last)).expect("a GPU")).collect()
}

/// Loads a library before the driver's name is looked for: the loader then finds this one by its name.
fn load(library: &Path) {
    let path =
        std::ffi::CString::new(library.to_str().expect("a path in UTF-8")).expect("a path without zeros");
    // SAFETY: tests set no variables, and read this one only here.
    unsafe { std::env::set_var("VIGOR_EMULATED_DEVICES", "2") };
    // SAFETY: the library was just built; its start-up code only fills tables.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    assert!(!handle.is_null(), "the emulator cannot be loaded");
}
