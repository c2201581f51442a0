//! How a vocabulary wants its text cut into words before merging. GGUF files give this a name; the expressions
//! behind the names are those of the models' own `tokenizer.json`.

use tokenizers::SplitDelimiterBehavior;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

/// Qwen 2 and 2.5: like Llama 3, but every digit alone.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Llama 3: digits in groups of up to three.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Chinese, Japanese and Korean, as DeepSeek's tokenizers delimit them.
const DEEPSEEK_CJK: &str = "[一-龥\u{800}-一가-\u{d7ff}]+";

/// The names that [`splitter`] knows.
pub(super) const KNOWN: &str = "qwen2, deepseek-r1-qwen, llama3, llama-v3, llama-bpe, deepseek-coder, deepseek-llm, \
     starcoder, smollm, refact, codeshell, command-r, exaone, gpt-2, phi-2, mpt, olmo, granite";

/// The splitter of that name, and whether whole words of the vocabulary are taken without merging. `None` for a name
/// that is not known.
pub(super) fn splitter(name: &str) -> Option<Result<(PreTokenizerWrapper, bool), tokenizers::Error>> {
    let splits = match name {
        "qwen2" | "deepseek-r1-qwen" => expressions(&[QWEN2]),
        "llama3" | "llama-v3" | "llama-bpe" => {
            return Some(expressions(&[LLAMA3]).map(|splits| (splits, true)));
        }
        "deepseek-coder" => expressions(&[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, r"\p{N}"]),
        "deepseek-llm" => expressions(&[
            r"[\r\n]",
            // The original lists all cased letters by hand, from a time when Georgian was not cased.
            r"\s?[\p{Lu}\p{Ll}\p{Lt}&&[^\x{10D0}-\x{10FF}]]+",
            "\\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+",
            r"\s+$",
            DEEPSEEK_CJK,
            r"\p{N}",
        ]),
        "starcoder" | "smollm" | "refact" | "codeshell" | "command-r" | "exaone" => Ok(sequence(vec![
            PreTokenizerWrapper::Digits(Digits::new(true)),
            PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
        ])),
        "gpt-2" | "phi-2" | "mpt" | "olmo" | "granite" => {
            Ok(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)))
        }
        _ => return None,
    };
    Some(splits.map(|splits| (splits, false)))
}

/// Cuts at the matches of each expression in turn, then writes bytes in GPT-2's alphabet.
fn expressions(patterns: &[&str]) -> Result<PreTokenizerWrapper, tokenizers::Error> {
    let mut steps = Vec::new();
    for pattern in patterns {
        let pattern = SplitPattern::Regex((*pattern).to_owned());
        steps.push(PreTokenizerWrapper::Split(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?));
    }
    steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false)));
    Ok(sequence(steps))
}

fn sequence(steps: Vec<PreTokenizerWrapper>) -> PreTokenizerWrapper {
    PreTokenizerWrapper::Sequence(Sequence::new(steps))
}

#[cfg(test)]
mod tests {
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::*;

    fn words(name: &str, text: &str) -> Vec<String> {
        let (splitter, _) = splitter(name).unwrap().unwrap();
        let mut pieces = PreTokenizedString::from(text);
        splitter.pre_tokenize(&mut pieces).unwrap();
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (start, end), _)| text[start..end].to_owned()).collect()
    }

    #[test]
    fn every_known_name_has_a_splitter() {
        for name in KNOWN.split(", ") {
            assert_eq!(words(name, "a b").concat(), "a b", "{name}");
        }
        assert!(splitter("no-such").is_none());
    }

    #[test]
    fn the_splitters_differ_where_they_should() {
        let text = "x1234 if\n    y";
        assert_eq!(words("qwen2", text), ["x", "1", "2", "3", "4", " if", "\n", "   ", " y"]);
        assert_eq!(words("llama3", text), ["x", "123", "4", " if", "\n", "   ", " y"]);
        assert_eq!(words("smollm", text), ["x", "1", "2", "3", "4", " if", "\n   ", " y"]);
        assert_eq!(words("gpt-2", text), ["x", "1234", " if", "\n   ", " y"]);
        assert_eq!(words("deepseek-coder", text), ["x", "1", "2", "3", "4", " if", "\n", "   ", " y"]);
    }
}
