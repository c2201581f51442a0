//! What a worker says: frames, and the messages in them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vigor::sandbox::fuzzing::worker_output(data));
