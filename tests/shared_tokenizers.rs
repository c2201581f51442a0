//! The 47 golden cases of llama.cpp's vocabulary tests, and the published `tokenizer.json` files, where a folder
//! `../shared/tokenizers` with them is at hand.

use std::path::{Path, PathBuf};

use vigor::model::tokenizer::Tokenizer;

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tokenizers").join(path);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    Some(path)
}

/// Texts, and their ids, made by the Hugging Face tokenizer of each model.
fn cases(name: &str) -> Option<Vec<(String, Vec<u32>)>> {
    let input = std::fs::read_to_string(shared(&format!("golden/ggml-vocab-{name}.gguf.inp"))?).unwrap();
    let output = std::fs::read_to_string(shared(&format!("golden/ggml-vocab-{name}.gguf.out"))?).unwrap();
    // Both files end with the separator after the last but one: the last text is empty, as are its ids.
    let texts: Vec<&str> = input.split("\n__ggml_vocab_test__\n").collect();
    let ids = |line: &str| line.split_whitespace().map(|id| id.parse().unwrap()).collect();
    let lines: Vec<Vec<u32>> = output.split('\n').map(ids).collect();
    assert_eq!(texts.len(), lines.len(), "{name}: one line of ids for each text");
    assert_eq!(texts.len(), 47);
    Some(texts.into_iter().map(str::to_owned).zip(lines).collect())
}

fn agree(tokenizer: &Tokenizer, name: &str) {
    for (text, wanted) in cases(name).unwrap() {
        assert_eq!(tokenizer.encode(&text, false).unwrap(), wanted, "{name}: {text:?}");
        let decoded = tokenizer.decode(&wanted);
        let space = if tokenizer.adds_leading_space() && !text.is_empty() { " " } else { "" };
        assert_eq!(String::from_utf8(decoded).unwrap(), format!("{space}{text}"), "{name}: {text:?}");
    }
}

#[test]
fn gguf_vocabularies_agree_with_the_golden_cases() {
    for name in ["qwen2", "deepseek-coder", "starcoder", "llama-spm"] {
        let Some(path) = shared(&format!("golden/ggml-vocab-{name}.gguf")) else { return };
        agree(&Tokenizer::open(&path).unwrap(), name);
    }
}

#[test]
fn tokenizer_json_agrees_with_the_golden_cases() {
    for (folder, name) in [
        ("deepseek-coder-6.7b-instruct", "deepseek-coder"),
        ("codellama-13b", "llama-spm"),
        ("starcoder2-rebuilt", "starcoder"),
    ] {
        let Some(folder) = shared(folder) else { return };
        agree(&Tokenizer::from_folder(&folder).unwrap(), name);
    }
}

#[test]
fn the_files_beside_tokenizer_json_are_read() {
    let Some(folder) = shared("deepseek-coder-6.7b-instruct") else { return };
    let deepseek = Tokenizer::from_folder(&folder).unwrap();
    assert_eq!(deepseek.bos_text(), "<｜begin▁of▁sentence｜>");
    assert_eq!(deepseek.eos_text(), "<|EOT|>");
    assert!(deepseek.adds_bos());
    assert!(deepseek.chat_template().unwrap().contains("### Instruction:"));
    let prompt = deepseek.encode_prompt("x").unwrap();
    assert_eq!(Some(prompt[0]), deepseek.bos_id());
    assert_eq!(deepseek.encode_prompt("<｜begin▁of▁sentence｜>x").unwrap(), prompt, "not twice");

    let Some(folder) = shared("codellama-13b") else { return };
    let llama = Tokenizer::from_folder(&folder).unwrap();
    assert_eq!((llama.bos_text().as_str(), llama.eos_text().as_str()), ("<s>", "</s>"));
    assert_eq!(llama.decode_lossy(&llama.encode("\tx = '🦙'\n", false).unwrap()), " \tx = '🦙'\n");
}

#[test]
fn smollms_file_and_the_golden_texts_come_back() {
    let Some(folder) = shared("smollm2") else { return };
    let tokenizer = Tokenizer::from_folder(&folder).unwrap();
    let missing = tokenizer.missing_bytes();
    for (text, _) in cases("qwen2").unwrap() {
        let kept: Vec<u8> = text.bytes().filter(|byte| !missing.contains(byte)).collect();
        assert_eq!(tokenizer.decode(&tokenizer.encode(&text, false).unwrap()), kept, "{text:?}");
    }
}

/// Numbers that look like noise.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// 2,000 texts: characters of every plane, ends of lines of all kinds, tabs, long runs of white space, numbers, pieces of
/// programs; and three Python files.
fn texts() -> Vec<String> {
    let sources = [
        include_str!("goldens/tiny.py"),
        include_str!("goldens/reference.py"),
        include_str!("../benches/peers/speed.py"),
    ];
    let mut noise = Noise(7);
    let mut texts: Vec<String> = sources.map(str::to_owned).to_vec();
    let spaces = [" ", "  ", "\t", "\n", "\r\n", "\r", "\n\n", "\u{a0}", "\u{3000}", "    ", "\t\t\t"];
    while texts.len() < 2003 {
        let mut text = String::new();
        for _ in 0..1 + noise.below(12) {
            match noise.below(6) {
                // A plane's first characters are the most used.
                0 => {
                    let most = if noise.below(2) == 0 { 0x600 } else { 0x1_0000 };
                    let code = (noise.below(17) * 0x1_0000 + noise.below(most)) as u32;
                    // SentencePiece writes a space as this mark.
                    text.extend(char::from_u32(code).filter(|c| *c != '▁'));
                }
                1 => text.push_str(&spaces[noise.below(spaces.len())].repeat(1 + noise.below(40))),
                2 => text.push_str(spaces[noise.below(spaces.len())]),
                3 => text.push_str(&noise.below(1 << 30).to_string()),
                4 => text.extend((0..noise.below(9)).map(|_| (32 + noise.below(95) as u8) as char)),
                _ => {
                    let source = sources[noise.below(3)];
                    let from = noise.below(source.len());
                    let piece = source.get(from..(from + noise.below(60)).min(source.len()));
                    text.push_str(piece.unwrap_or("é"));
                }
            }
        }
        texts.push(text);
    }
    texts
}

/// Both ways to a vocabulary, by `tokenizer.json` and by GGUF metadata, give the ids of the `tokenizers` crate on 2,000 texts
/// and three files, and the texts come back.
#[test]
fn two_thousand_texts_have_the_ids_of_the_reference() {
    let texts = texts();
    for (folder, gguf) in [
        ("deepseek-coder-6.7b-instruct", Some("deepseek-coder")),
        ("codellama-13b", Some("llama-spm")),
        ("starcoder2-rebuilt", Some("starcoder")),
        ("smollm2", None),
    ] {
        let Some(folder) = shared(folder) else { return };
        let reference = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
        let mut ours = vec![("tokenizer.json", Tokenizer::from_folder(&folder).unwrap())];
        if let Some(name) = gguf {
            let path = shared(&format!("golden/ggml-vocab-{name}.gguf")).unwrap();
            ours.push(("GGUF", Tokenizer::open(&path).unwrap()));
        }
        for text in &texts {
            let wanted = reference.encode_fast(text.as_str(), false).unwrap();
            for (from, tokenizer) in &ours {
                let ids = tokenizer.encode(text, false).unwrap();
                assert_eq!(ids, wanted.get_ids(), "{} by {from}: {text:?}", folder.display());
                let space = if tokenizer.adds_leading_space() && !text.is_empty() { " " } else { "" };
                let whole = format!("{space}{text}");
                let lost = tokenizer.missing_bytes();
                if whole.bytes().all(|byte| !lost.contains(&byte)) {
                    assert_eq!(tokenizer.decode(&ids), whole.as_bytes(), "{} by {from}", folder.display());
                }
            }
        }
    }
}
