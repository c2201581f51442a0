//! A `tokenizer.json`, and a text of the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigor::model::tokenizer::Tokenizer;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(tokenizer) = Tokenizer::from_json(text, "these bytes") else { return };
    let sample: String = text.chars().take(200).collect();
    if let Ok(ids) = tokenizer.encode(&sample, true) {
        let _ = tokenizer.decode(&ids);
    }
});
