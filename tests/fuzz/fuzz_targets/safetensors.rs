//! A `config.json` and a safetensors file: two bytes of length, the configuration, the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigor::model::ModelFiles;

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length));
    let Some((config, file)) = rest.split_at_checked(length) else { return };
    let Ok(config) = std::str::from_utf8(config) else { return };
    if let Ok(files) = ModelFiles::from_safetensors_bytes(config, file.to_vec()) {
        let _ = files.load(1 << 16);
    }
});
