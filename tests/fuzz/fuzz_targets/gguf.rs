//! GGUF files: header, hyperparameters, tokenizer, weights.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigor::model::ModelFiles;
use vigor::model::tokenizer::Tokenizer;

fuzz_target!(|data: &[u8]| {
    let Ok(files) = ModelFiles::from_gguf_bytes(data.to_vec()) else { return };
    if let ModelFiles::Gguf(gguf) = &files
        && let Ok(tokenizer) = Tokenizer::from_gguf_metadata(gguf.metadata())
        && let Ok(ids) = tokenizer.encode("def f(x):\n    return x\n", true)
    {
        let _ = tokenizer.decode(&ids);
    }
    let _ = files.load(1 << 16);
});
