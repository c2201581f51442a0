//! A tokenizer from `tokenizer.json` and the small files beside it, as the Hugging Face hub keeps them.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::added::{AddedToken, AddedTokens};
use super::bytes::{Spelling, TokenBytes};
use super::{Settings, TokenKind, Tokenizer, TokenizerError, check_merges, looks_like_control};

/// An id above this is a damaged file, not a vocabulary.
const MAX_VOCABULARY: u64 = 1 << 24;

impl Tokenizer {
    /// Reads `tokenizer.json` in a model's folder; `tokenizer_config.json`, `generation_config.json`,
    /// `config.json` and `chat_template.jinja` beside it say which tokens begin and end a text, and how a
    /// conversation is written.
    ///
    /// # Errors
    /// [`TokenizerError`], naming the file.
    pub fn from_folder(folder: &Path) -> Result<Self, TokenizerError> {
        let read = |name: &str| {
            let path = folder.join(name);
            let text = std::fs::read_to_string(&path);
            text.map_err(|source| TokenizerError::Io { path: path.display().to_string(), source })
        };
        let optional = |name: &str| -> Result<Value, TokenizerError> {
            if !folder.join(name).is_file() {
                return Ok(Value::Null);
            }
            let origin = folder.join(name).display().to_string();
            serde_json::from_str(&read(name)?)
                .map_err(|e| TokenizerError::Damaged { origin, why: e.to_string() })
        };
        let tokenizer_config = optional("tokenizer_config.json")?;
        let generation_config = optional("generation_config.json")?;
        let config = optional("config.json")?;
        let origin = folder.join("tokenizer.json").display().to_string();
        let mut tokenizer = Self::from_json(&read("tokenizer.json")?, &origin)?;

        let named = |key: &str| {
            let value = &tokenizer_config[key];
            value.as_str().or_else(|| value["content"].as_str()).and_then(|text| tokenizer.id(text))
        };
        let number = |value: &Value| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            id.filter(|id| (*id as usize) < tokenizer.vocab_size())
        };
        let mut eos: Vec<u32> = named("eos_token").into_iter().collect();
        for value in [&generation_config["eos_token_id"], &config["eos_token_id"]] {
            eos.extend(number(value));
            eos.extend(value.as_array().into_iter().flatten().filter_map(&number));
        }
        eos.extend_from_slice(&tokenizer.settings.eos);
        let mut seen = std::collections::HashSet::new();
        eos.retain(|id| seen.insert(*id));
        let bos = named("bos_token").or_else(|| number(&config["bos_token_id"]));
        let pad = named("pad_token");
        let add_bos = match &tokenizer_config["add_bos_token"] {
            Value::Bool(add) => *add,
            // SentencePiece tokenizers add it unless told otherwise.
            _ => tokenizer.settings.add_bos,
        };
        let chat_template = match &tokenizer_config["chat_template"] {
            Value::String(template) => Some(template.clone()),
            Value::Array(several) => {
                let default = several.iter().find(|one| one["name"] == "default").or(several.first());
                default.and_then(|one| one["template"].as_str()).map(str::to_owned)
            }
            _ => None,
        };
        let chat_template = match folder.join("chat_template.jinja").is_file() {
            true => Some(read("chat_template.jinja")?),
            false => chat_template,
        };
        let leading_space = tokenizer.settings.leading_space;
        tokenizer.settings = Settings { bos, eos, pad, add_bos, chat_template, leading_space };
        Ok(tokenizer)
    }

    /// Builds the tokenizer that the text of a `tokenizer.json` describes. `origin` names it in errors.
    ///
    /// # Errors
    /// [`TokenizerError::Unsupported`] for anything but BPE; [`TokenizerError::Damaged`] for a file that does not
    /// fit together.
    pub fn from_json(text: &str, origin: &str) -> Result<Self, TokenizerError> {
        let damaged = |why: String| TokenizerError::Damaged { origin: origin.to_owned(), why };
        let mut json: Value = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        let spelling = spelling(&json, origin)?;
        check_model(&json["model"]).map_err(&damaged)?;
        let added = added_tokens(&json).map_err(&damaged)?;

        let mut texts: Vec<Option<String>> = Vec::new();
        let mut kinds: Vec<TokenKind> = Vec::new();
        let mut put = |id: u32, text: &str, kind: TokenKind| {
            let id = id as usize;
            if texts.len() <= id {
                texts.resize(id + 1, None);
                kinds.resize(id + 1, TokenKind::Unused);
            }
            texts[id] = Some(text.to_owned());
            kinds[id] = kind;
        };
        for (text, id) in json["model"]["vocab"].as_object().into_iter().flatten() {
            put(vocabulary_id(id).map_err(&damaged)?, text, TokenKind::Text);
        }
        for token in &added {
            put(token.id, &token.text, if token.control { TokenKind::Control } else { TokenKind::Whole });
        }
        let mut named = HashMap::new();
        for token in &added {
            named.entry(token.text.clone()).or_insert(token.id);
        }
        let literal = texts.iter().zip(&kinds);
        let literal = literal.map(|(text, kind)| (text.as_deref().unwrap_or(""), *kind != TokenKind::Text));
        let bytes = TokenBytes::new(literal, spelling);

        // What we do ourselves must not be done twice.
        for key in ["added_tokens", "post_processor", "truncation", "padding"] {
            json[key] = if key == "added_tokens" { Value::Array(Vec::new()) } else { Value::Null };
        }
        let inner: tokenizers::Tokenizer =
            serde_json::from_value(json).map_err(|e| damaged(e.to_string()))?;
        let is_sentence_piece = spelling == Spelling::SentencePiece;
        let settings =
            Settings { add_bos: is_sentence_piece, leading_space: is_sentence_piece, ..Settings::default() };
        Ok(Self::assemble(inner, AddedTokens::new(added), bytes, kinds, named, settings))
    }
}

fn spelling(json: &Value, origin: &str) -> Result<Spelling, TokenizerError> {
    let unsupported = |why: String| Err(TokenizerError::Unsupported { origin: origin.to_owned(), why });
    match json["model"]["type"].as_str() {
        // Old files leave the type out; only BPE has merges.
        Some("BPE") => {}
        None if json["model"]["merges"].is_array() => {}
        other => return unsupported(format!("its model is {}; only BPE is", other.unwrap_or("not named"))),
    }
    if mentions(&json["pre_tokenizer"], "ByteLevel") || mentions(&json["decoder"], "ByteLevel") {
        Ok(Spelling::ByteLevel)
    } else if json["model"]["byte_fallback"] == true {
        Ok(Spelling::SentencePiece)
    } else {
        unsupported("it is neither byte-level nor SentencePiece with bytes to fall back on".to_owned())
    }
}

/// True when a step of that type is somewhere in a description.
fn mentions(value: &Value, kind: &str) -> bool {
    match value {
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| (key == "type" && value.as_str() == Some(kind)) || mentions(value, kind)),
        Value::Array(items) => items.iter().any(|item| mentions(item, kind)),
        _ => false,
    }
}

fn vocabulary_id(id: &Value) -> Result<u32, String> {
    let valid = id.as_u64().filter(|id| *id < MAX_VOCABULARY).and_then(|id| u32::try_from(id).ok());
    valid.ok_or_else(|| format!("a token has the id {id}"))
}

fn check_model(model: &Value) -> Result<(), String> {
    let vocabulary = model["vocab"].as_object().ok_or("`model.vocab` is missing")?;
    let merges = model["merges"].as_array().ok_or("`model.merges` is missing")?;
    let mut pairs = Vec::with_capacity(merges.len());
    for merge in merges {
        // Written as "left right" in old files, as ["left", "right"] in new ones.
        let pair = match merge {
            Value::String(text) => text.split_once(' '),
            _ => merge[0].as_str().zip(merge[1].as_str()),
        };
        pairs.push(pair.ok_or_else(|| format!("merge {merge} is not two tokens"))?);
    }
    let is_plain = |key: &str| model[key].as_str().is_none_or(str::is_empty);
    if !is_plain("continuing_subword_prefix") || !is_plain("end_of_word_suffix") {
        return Err(
            "it marks parts of words (continuing_subword_prefix), which no code model does".to_owned()
        );
    }
    check_merges(pairs.into_iter(), |token| vocabulary.contains_key(token))
}

fn added_tokens(json: &Value) -> Result<Vec<AddedToken>, String> {
    let mut tokens = Vec::new();
    for token in json["added_tokens"].as_array().into_iter().flatten() {
        let text = token["content"].as_str().ok_or("an added token has no content")?;
        if text.is_empty() {
            continue;
        }
        let flag = |key: &str| token[key].as_bool().unwrap_or(false);
        tokens.push(AddedToken {
            text: text.to_owned(),
            id: vocabulary_id(&token["id"])?,
            control: flag("special") || looks_like_control(text),
            lstrip: flag("lstrip"),
            rstrip: flag("rstrip"),
            single_word: flag("single_word"),
        });
    }
    Ok(tokens)
}
