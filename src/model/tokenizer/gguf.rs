//! A tokenizer from the metadata of a GGUF file (`tokenizer.ggml.*`).

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, BpeBuilder, Vocab};
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use super::added::{AddedToken, AddedTokens};
use super::bytes::{Spelling, TokenBytes};
use crate::model::gguf::Value;

use super::{Settings, TokenKind, Tokenizer, TokenizerError, check_merges, looks_like_control, pre};

const ORIGIN: &str = "GGUF metadata";

/// What a GGUF file says about its tokenizer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufTokenizerMeta {
    /// `gpt2` for byte-level BPE, `llama` for SentencePiece.
    pub model: String,
    /// Name of the splitter.
    pub pre: String,
    /// All tokens in order of id.
    pub tokens: Vec<String>,
    /// Type of each token: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte. May be empty.
    pub token_type: Vec<i32>,
    /// Merges in order of rank, each `left right`.
    pub merges: Vec<String>,
    /// Score of each token (SentencePiece).
    pub scores: Vec<f32>,
    /// Id of the begin token.
    pub bos: Option<u32>,
    /// Id of the end token.
    pub eos: Option<u32>,
    /// Id of the token that ends a turn, where it is another one.
    pub eot: Option<u32>,
    /// Id of the padding token.
    pub pad: Option<u32>,
    /// Id of the unknown token.
    pub unknown: Option<u32>,
    /// Whether a prompt begins with the begin token.
    pub add_bos: Option<bool>,
    /// Whether a space is put before a text (SentencePiece).
    pub add_space_prefix: Option<bool>,
    /// The chat template.
    pub chat_template: Option<String>,
}

impl GgufTokenizerMeta {
    /// Collects the metadata through a look-up by key.
    ///
    /// # Errors
    /// [`TokenizerError::Damaged`] when a key is missing that every tokenizer needs, or has another type.
    pub fn read(get: impl Fn(&str) -> Option<Value>) -> Result<Self, TokenizerError> {
        let wrong = |key: &str| damaged(format!("`{key}` has an unexpected type"));
        let text = |key: &str| match get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(key)),
        };
        let texts = |key: &str| match get(key) {
            None => Ok(Vec::new()),
            Some(Value::Texts(texts)) => Ok(texts),
            Some(Value::Ints(empty)) if empty.is_empty() => Ok(Vec::new()),
            Some(_) => Err(wrong(key)),
        };
        let flag = |key: &str| match get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(wrong(key)),
        };
        let id = |key: &str| match get(key) {
            None => Ok(None),
            Some(Value::Int(id)) => Ok(u32::try_from(id).ok()),
            Some(_) => Err(wrong(key)),
        };
        let types = match get("tokenizer.ggml.token_type") {
            None => Vec::new(),
            Some(Value::Ints(types)) => types.into_iter().map(|kind| kind as i32).collect(),
            Some(_) => return Err(wrong("tokenizer.ggml.token_type")),
        };
        let scores = match get("tokenizer.ggml.scores") {
            None => Vec::new(),
            Some(Value::Floats(scores)) => scores,
            Some(_) => return Err(wrong("tokenizer.ggml.scores")),
        };
        let model = text("tokenizer.ggml.model")?;
        Ok(Self {
            model: model.ok_or_else(|| damaged("`tokenizer.ggml.model` is missing".to_owned()))?,
            pre: text("tokenizer.ggml.pre")?.unwrap_or_default(),
            tokens: texts("tokenizer.ggml.tokens")?,
            token_type: types,
            merges: texts("tokenizer.ggml.merges")?,
            scores,
            bos: id("tokenizer.ggml.bos_token_id")?,
            eos: id("tokenizer.ggml.eos_token_id")?,
            eot: id("tokenizer.ggml.eot_token_id")?,
            pad: id("tokenizer.ggml.padding_token_id")?,
            unknown: id("tokenizer.ggml.unknown_token_id")?,
            add_bos: flag("tokenizer.ggml.add_bos_token")?,
            add_space_prefix: flag("tokenizer.ggml.add_space_prefix")?,
            chat_template: text("tokenizer.chat_template")?,
        })
    }
}

fn damaged(why: String) -> TokenizerError {
    TokenizerError::Damaged { origin: ORIGIN.to_owned(), why }
}

fn unsupported(why: String) -> TokenizerError {
    TokenizerError::Unsupported { origin: ORIGIN.to_owned(), why }
}

impl Tokenizer {
    /// Builds the tokenizer from the metadata of a GGUF file .
    ///
    /// # Errors
    /// See [`Tokenizer::from_gguf`].
    pub fn from_gguf_metadata(metadata: &HashMap<String, Value>) -> Result<Self, TokenizerError> {
        Self::from_gguf(GgufTokenizerMeta::read(|key| metadata.get(key).cloned())?)
    }

    /// Builds the tokenizer that a GGUF file describes.
    ///
    /// # Errors
    /// [`TokenizerError::Unsupported`] for another model than `gpt2` and `llama`, or a splitter that is not known;
    /// [`TokenizerError::Damaged`] for metadata that do not fit together.
    pub fn from_gguf(meta: GgufTokenizerMeta) -> Result<Self, TokenizerError> {
        check(&meta)?;
        let kinds: Vec<TokenKind> = (0..meta.tokens.len()).map(|id| kind(&meta, id)).collect();
        let (inner, spelling) = match meta.model.as_str() {
            "gpt2" => (byte_level(&meta, &kinds)?, Spelling::ByteLevel),
            "llama" => (sentence_piece(&meta, &kinds)?, Spelling::SentencePiece),
            other => {
                let why = format!(
                    "its model is `{other}`; `gpt2` (byte-level BPE) and `llama` (SentencePiece) are"
                );
                return Err(unsupported(why));
            }
        };
        let mut added = Vec::new();
        let mut named = HashMap::new();
        for (id, (text, kind)) in meta.tokens.iter().zip(&kinds).enumerate() {
            let (id, control) = (id as u32, *kind == TokenKind::Control);
            if *kind != TokenKind::Text {
                named.entry(text.clone()).or_insert(id);
            }
            if (control || *kind == TokenKind::Whole) && !text.is_empty() {
                let text = text.clone();
                added.push(AddedToken {
                    text,
                    id,
                    control,
                    lstrip: false,
                    rstrip: false,
                    single_word: false,
                });
            }
        }
        let literal =
            meta.tokens.iter().zip(&kinds).map(|(text, kind)| (text.as_str(), *kind != TokenKind::Text));
        let bytes = TokenBytes::new(literal, spelling);
        let mut eos: Vec<u32> = meta.eos.into_iter().chain(meta.eot).collect();
        eos.dedup();
        let is_sentence_piece = spelling == Spelling::SentencePiece;
        let settings = Settings {
            bos: meta.bos,
            eos,
            pad: meta.pad,
            add_bos: meta.add_bos.unwrap_or(is_sentence_piece),
            chat_template: meta.chat_template,
            leading_space: is_sentence_piece && meta.add_space_prefix.unwrap_or(true),
        };
        Ok(Self::assemble(inner, AddedTokens::new(added), bytes, kinds, named, settings))
    }
}

/// What the file must hold for the rest not to stumble.
fn check(meta: &GgufTokenizerMeta) -> Result<(), TokenizerError> {
    let size = meta.tokens.len();
    if size == 0 {
        return Err(damaged("`tokenizer.ggml.tokens` is missing or empty".to_owned()));
    }
    if u32::try_from(meta.tokens.iter().map(String::len).sum::<usize>()).is_err() {
        return Err(damaged("its tokens take more than 4 GiB".to_owned()));
    }
    for (name, length) in [("token_type", meta.token_type.len()), ("scores", meta.scores.len())] {
        if length != 0 && length != size {
            return Err(damaged(format!("{name} has {length} entries for {size} tokens")));
        }
    }
    let ids = [
        ("bos", meta.bos),
        ("eos", meta.eos),
        ("eot", meta.eot),
        ("padding", meta.pad),
        ("unknown", meta.unknown),
    ];
    for (name, id) in ids {
        if id.is_some_and(|id| id as usize >= size) {
            return Err(damaged(format!("the {name} token is number {} of {size}", id.unwrap_or(0))));
        }
    }
    Ok(())
}

fn kind(meta: &GgufTokenizerMeta, id: usize) -> TokenKind {
    let text = meta.tokens[id].as_str();
    // Converters fill a vocabulary up to a round size with `[PAD123]`, sometimes as user-defined tokens.
    let is_filler = |text: &str| {
        let number = text.strip_prefix("[PAD").and_then(|rest| rest.strip_suffix(']'));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
    };
    match meta.token_type.get(id) {
        Some(2 | 3) => TokenKind::Control,
        Some(4) if is_filler(text) => TokenKind::Unused,
        Some(4) if looks_like_control(text) => TokenKind::Control,
        Some(4) => TokenKind::Whole,
        Some(5) => TokenKind::Unused,
        _ => TokenKind::Text,
    }
}

/// The part of the vocabulary that text can be made of. Special tokens stay out, so that no text can become one.
fn text_vocabulary(meta: &GgufTokenizerMeta, kinds: &[TokenKind]) -> HashMap<String, u32> {
    let tokens = meta.tokens.iter().zip(kinds).enumerate();
    let text = tokens.filter(|(_, (_, kind))| **kind == TokenKind::Text);
    text.map(|(id, (token, _))| (token.clone(), id as u32)).collect()
}

fn byte_level(
    meta: &GgufTokenizerMeta,
    kinds: &[TokenKind],
) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let (splitter, whole_words) = match pre::splitter(&meta.pre) {
        Some(built) => built.map_err(|e| unsupported(format!("splitter `{}`: {e}", meta.pre)))?,
        None => {
            let why = format!(
                "its splitter (`tokenizer.ggml.pre`) is `{}`; known are {}. Use the model's safetensors with its \
                 tokenizer.json instead",
                meta.pre,
                pre::KNOWN
            );
            return Err(unsupported(why));
        }
    };
    let vocabulary = text_vocabulary(meta, kinds);
    let mut merges = Vec::with_capacity(meta.merges.len());
    for (rank, merge) in meta.merges.iter().enumerate() {
        // The first character belongs to the left part even if it is a space.
        let cut = merge.char_indices().skip(1).find(|(_, character)| *character == ' ');
        let Some((cut, _)) = cut else {
            return Err(damaged(format!("merge {rank} is {merge:?}, not two tokens")));
        };
        merges.push((merge[..cut].to_owned(), merge[cut + 1..].to_owned()));
    }
    check_merges(merges.iter().map(|(a, b)| (a.as_str(), b.as_str())), |token| {
        vocabulary.contains_key(token)
    })
    .map_err(damaged)?;
    let model = build(
        BPE::builder()
            .vocab_and_merges(vocabulary.into_iter().collect::<Vocab>(), merges)
            .ignore_merges(whole_words),
    )?;
    let mut inner = tokenizers::Tokenizer::new(model);
    inner.with_pre_tokenizer(Some(splitter));
    Ok(inner)
}

fn build(builder: BpeBuilder) -> Result<BPE, TokenizerError> {
    builder.build().map_err(|e| damaged(e.to_string()))
}

/// SentencePiece's BPE: no list of merges, but any two neighbours whose joint text is a token may merge, the best
/// score first. Listing all such pairs by score gives the same merges to an ordinary BPE.
fn sentence_piece(
    meta: &GgufTokenizerMeta,
    kinds: &[TokenKind],
) -> Result<tokenizers::Tokenizer, TokenizerError> {
    if meta.scores.is_empty() {
        return Err(damaged("a `llama` tokenizer needs `tokenizer.ggml.scores`".to_owned()));
    }
    let mut vocabulary = text_vocabulary(meta, kinds);
    let is_byte = |id: u32| meta.token_type.get(id as usize) == Some(&6);
    let mut ranked: Vec<(f32, u32, u32, String, String)> = Vec::new();
    for (token, &id) in &vocabulary {
        if is_byte(id) {
            continue;
        }
        for (cut, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(cut);
            if let (Some(&a), Some(&b)) = (vocabulary.get(left), vocabulary.get(right)) {
                ranked.push((meta.scores[id as usize], a, b, left.to_owned(), right.to_owned()));
            }
        }
    }
    ranked.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)).then(x.2.cmp(&y.2)));
    let merges = ranked.into_iter().map(|(_, _, _, left, right)| (left, right)).collect();
    let mut builder = BPE::builder().byte_fallback(true).fuse_unk(true);
    if let Some(unknown) = meta.unknown {
        let text = &meta.tokens[unknown as usize];
        vocabulary.insert(text.clone(), unknown);
        builder = builder.unk_token(text.clone());
    }
    let model = build(builder.vocab_and_merges(vocabulary.into_iter().collect::<Vocab>(), merges))?;
    let mut steps = Vec::new();
    if meta.add_space_prefix.unwrap_or(true) {
        steps.push(NormalizerWrapper::Prepend(Prepend::new("▁".to_owned())));
    }
    let spaces =
        Replace::new(ReplacePattern::String(" ".to_owned()), "▁").map_err(|e| damaged(e.to_string()))?;
    steps.push(NormalizerWrapper::Replace(spaces));
    let mut inner = tokenizers::Tokenizer::new(model);
    inner
        .with_normalizer(Some(NormalizerWrapper::Sequence(Sequence::new(steps))))
        .map_err(|e| damaged(e.to_string()))?;
    inner.with_pre_tokenizer(None::<PreTokenizerWrapper>);
    Ok(inner)
}
