//! Tokenizers: text to token ids and back, byte for byte.
//!
//! Splitting and merging is done by the `tokenizers` crate; what it is told to do comes from the model's own file,
//! `tokenizer.json` ([`json`]) or the metadata of a GGUF file ([`gguf`]). Special tokens are ours: text from a user
//! or a model must never turn into a control token, and a token must always give back exactly the bytes that it
//! stands for.

use std::collections::HashMap;
use std::path::Path;

use thiserror::Error;

use crate::model::gguf::Gguf;

mod added;
mod bytes;
pub mod gguf;
pub mod json;
mod pre;
mod stream;

use added::AddedTokens;
use bytes::{Spelling, TokenBytes};

pub use stream::StreamDecoder;

/// Failure to build or to use a tokenizer.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The model's file says something that cannot be.
    #[error("the tokenizer in {origin} is damaged: {why}")]
    Damaged {
        /// The file, or `GGUF metadata`.
        origin: String,
        /// What is wrong.
        why: String,
    },
    /// A kind of tokenizer that is not implemented.
    #[error("the tokenizer in {origin} is not supported: {why}")]
    Unsupported {
        /// The file, or `GGUF metadata`.
        origin: String,
        /// Which kind, and which kinds are.
        why: String,
    },
    /// The text could not be split.
    #[error("cannot tokenize a text of {bytes} bytes: {why}")]
    Encode {
        /// Length of the text.
        bytes: usize,
        /// What the splitter says.
        why: String,
    },
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A piece of text.
    Text,
    /// A mark with a meaning of its own (`<|im_end|>`), which no text may forge.
    Control,
    /// A piece of text that is never split (`<tool_call>`).
    Whole,
    /// A place in the vocabulary that no text uses.
    Unused,
}

/// A model's tokenizer.
pub struct Tokenizer {
    /// Splits and merges text; knows no special tokens.
    inner: tokenizers::Tokenizer,
    added: AddedTokens,
    bytes: TokenBytes,
    kinds: Vec<TokenKind>,
    /// Ids of the tokens that are not `Text`, by their text.
    named: HashMap<String, u32>,
    settings: Settings,
}

/// What a model's files say beside the vocabulary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Vec<u32>,
    pub(crate) pad: Option<u32>,
    pub(crate) add_bos: bool,
    pub(crate) chat_template: Option<String>,
    /// The vocabulary writes a space as `▁` and a text begins with one (SentencePiece).
    pub(crate) leading_space: bool,
}

/// Control tokens that end a text, whatever the metadata lists: files often name only one of several.
const ENDS: &[&str] = &[
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|EOT|>",
    "<|end|>",
    "<end_of_turn>",
    "<｜end▁of▁sentence｜>",
    "<|file_sep|>",
    "<|repo_name|>",
    "<|fim_pad|>",
];

impl Tokenizer {
    /// The tokenizer of a model on disk: a GGUF file, or a folder with `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError`], naming the file.
    pub fn open(path: &Path) -> Result<Self, TokenizerError> {
        if path.is_dir() {
            return Self::from_folder(path);
        }
        let gguf = Gguf::open(path).map_err(|e| TokenizerError::Damaged {
            origin: path.display().to_string(),
            why: e.to_string(),
        })?;
        Self::from_gguf_metadata(gguf.metadata())
    }

    pub(crate) fn assemble(
        inner: tokenizers::Tokenizer,
        added: AddedTokens,
        bytes: TokenBytes,
        kinds: Vec<TokenKind>,
        named: HashMap<String, u32>,
        mut settings: Settings,
    ) -> Self {
        for end in ENDS {
            if let Some(&id) = named.get(*end)
                && !settings.eos.contains(&id)
            {
                settings.eos.push(id);
            }
        }
        Self { inner, added, bytes, kinds, named, settings }
    }

    /// The ids of a text. Adds nothing at either end (see [`Tokenizer::encode_prompt`]).
    ///
    /// With `parse_special`, control tokens written in the text (as a chat template writes them) become those
    /// tokens; without, they are text like any other.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] when the model's splitter fails.
    pub fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        let failed = |e: tokenizers::Error| TokenizerError::Encode { bytes: text.len(), why: e.to_string() };
        for piece in self.added.split(text, parse_special) {
            match piece {
                added::Piece::Token(id) => ids.push(id),
                added::Piece::Text(text) => {
                    ids.extend_from_slice(self.inner.encode_fast(text, false).map_err(failed)?.get_ids());
                }
            }
        }
        Ok(ids)
    }

    /// The ids of a whole prompt: [`Tokenizer::encode`] with control tokens parsed, begun with the begin token
    /// where the model wants one and the text does not have it already.
    ///
    /// # Errors
    /// See [`Tokenizer::encode`].
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = self.encode(text, true)?;
        if let Some(bos) = self.settings.bos
            && self.settings.add_bos
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// The bytes that a token stands for: possibly a part of a character. Control tokens give their text. Empty for
    /// an id outside of the vocabulary.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id)
    }

    /// The bytes of a run of tokens. Where the vocabulary is SentencePiece's, a text that was encoded comes back
    /// with one leading space.
    pub fn decode(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|&id| self.token_bytes(id)).copied().collect()
    }

    /// [`Tokenizer::decode`] as text; bytes that are no UTF-8 become U+FFFD.
    pub fn decode_lossy(&self, ids: &[u32]) -> String {
        String::from_utf8_lossy(&self.decode(ids)).into_owned()
    }

    /// Number of entries. A model's logits may have more columns (padding): those are never a token.
    pub fn vocab_size(&self) -> usize {
        self.kinds.len()
    }

    /// The id of the token that is written so: a special token by its text, any other by its bytes.
    pub fn id(&self, text: &str) -> Option<u32> {
        self.named.get(text).copied().or_else(|| self.bytes.find(text.as_bytes()))
    }

    /// What a token is for; `Unused` for an id outside of the vocabulary.
    pub fn kind(&self, id: u32) -> TokenKind {
        self.kinds.get(id as usize).copied().unwrap_or(TokenKind::Unused)
    }

    /// True for a token that is no text: a control token, or one that is not used.
    pub fn is_special(&self, id: u32) -> bool {
        matches!(self.kind(id), TokenKind::Control | TokenKind::Unused)
    }

    /// The tokens that end a text; the model's own first.
    pub fn eos_ids(&self) -> &[u32] {
        &self.settings.eos
    }

    /// True when the token ends a text.
    pub fn is_eos(&self, id: u32) -> bool {
        self.settings.eos.contains(&id)
    }

    /// The begin token.
    pub fn bos_id(&self) -> Option<u32> {
        self.settings.bos
    }

    /// True when the model wants a begin token before every prompt.
    pub fn adds_bos(&self) -> bool {
        self.settings.add_bos
    }

    /// The padding token.
    pub fn pad_id(&self) -> Option<u32> {
        self.settings.pad
    }

    /// True when encoding puts a space before the text (SentencePiece).
    pub fn adds_leading_space(&self) -> bool {
        self.settings.leading_space
    }

    /// The kind of its vocabulary, in words.
    pub fn kind_of_vocabulary(&self) -> &'static str {
        match self.bytes.spelling() {
            Spelling::ByteLevel => "byte-level BPE",
            Spelling::SentencePiece => "SentencePiece BPE",
        }
    }

    /// The chat template that came with the model.
    pub fn chat_template(&self) -> Option<&str> {
        self.settings.chat_template.as_deref()
    }

    /// Text of the begin token, for chat templates; empty where there is none.
    pub fn bos_text(&self) -> String {
        self.settings.bos.map_or_else(String::new, |id| self.decode_lossy(&[id]))
    }

    /// Text of the model's own end token, for chat templates; empty where there is none.
    pub fn eos_text(&self) -> String {
        self.settings.eos.first().map_or_else(String::new, |&id| self.decode_lossy(&[id]))
    }

    /// Bytes for which the vocabulary has no token. [`Tokenizer::encode`] drops them, as the model's own tokenizer
    /// does. Most vocabularies have all that UTF-8 uses.
    pub fn missing_bytes(&self) -> Vec<u8> {
        (0..=255).filter(|&byte| self.bytes.find(&[byte]).is_none()).collect()
    }
}

/// True for texts that look like control marks. Files mark some of them (`<|fim_prefix|>`, `<|EOT|>`) as plain
/// additions to the vocabulary; a text that contains one still must not forge it.
fn looks_like_control(text: &str) -> bool {
    let inside = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    inside.is_some_and(|inside| {
        inside.len() > 2 && ['|', '｜'].iter().any(|bar| inside.starts_with(*bar) && inside.ends_with(*bar))
    })
}

/// Reports the first merge whose parts or result the vocabulary does not have. The `tokenizers` crate assumes that
/// merges and vocabulary belong together.
fn check_merges<'a>(
    merges: impl Iterator<Item = (&'a str, &'a str)>,
    knows: impl Fn(&str) -> bool,
) -> Result<(), String> {
    let mut joined = String::new();
    for (rank, (left, right)) in merges.enumerate() {
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        if let Some(unknown) = [left, right, joined.as_str()].into_iter().find(|token| !knows(token)) {
            return Err(format!(
                "merge {rank} needs the token {unknown:?}, which the vocabulary does not have"
            ));
        }
    }
    Ok(())
}
