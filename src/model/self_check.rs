//! Whether a model is whole and computes what it should, without anything to compare it with but itself (and, where there
//! is one, a continuation that is known).

use serde::Serialize;

use super::check::{Check, Outcome, rows};
use super::cpu::attention::PAGE;
use super::sampling::sampler::argmax;
use super::template::{ChatTemplate, Message};
use super::tokenizer::Tokenizer;
use super::{Decoder, LanguageModel, LogitRows, ModelError, ModelFiles, Span};

/// What comes with a model.
#[derive(Clone, Copy)]
pub struct Companions<'a> {
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Its chat template, if it is a chat model.
    pub chat_template: Option<&'a str>,
    /// What it is known to say.
    pub golden: Option<Golden<'a>>,
}

/// A prompt and its greedy continuation, as token ids.
#[derive(Debug, Clone, Copy)]
pub struct Golden<'a> {
    /// The prompt.
    pub tokens: &'a [u32],
    /// The most probable token after each.
    pub continuation: &'a [u32],
}

/// What the checks came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// In the order in which they were made.
    pub checks: Vec<Check>,
    /// What could not be checked, and why.
    pub not_checked: Vec<NotChecked>,
}

/// A check that there was nothing for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotChecked {
    /// Its name.
    pub name: &'static str,
    /// What was missing.
    pub why: &'static str,
}

/// Tokens of the text that is read in several ways: more than a page.
const TEXT: usize = PAGE + 8;
/// Pages that the checks need, a golden of some hundred tokens included.
const PAGES: usize = 16;
/// How far probabilities may be from adding up to 1: roundings of some hundred thousand logarithms in f32.
const SUM_TOLERANCE: f64 = 1e-4;

/// A Python program, with what programs have: indentation, blank lines, operators, quotes, numbers.
const PROGRAM: &str = "\
import re
from typing import Iterable\n\n
class Counter:
    \"\"\"Counts the words of a text, 'as they are'.\"\"\"\n
    def __init__(self, words: Iterable[str] = ()) -> None:
        self.counts: dict[str, int] = {}
        for word in words:
            self.add(word)\n
    def add(self, word, n=1):
        self.counts[word] = self.counts.get(word, 0) + n  # once more
        return self\n\n
def mean(xs):
    return sum(xs) / len(xs) if xs else float('nan')\n\n
if __name__ == \"__main__\":
\ttext = r\"\\w+\\s*\" f\"{mean([1, 2.5e-3, 0xFF]):>10.3f}\"
\tprint(*re.findall(r'[a-z]+', text, re.I), sep=\"\\n\", end=\"\")
";

/// Texts that must come back from their tokens.
const TEXTS: [(&str, &str); 4] = [
    (
        "white space",
        "  a   b\tc\n\td\n\n\n    e \n \t f\u{b}g\u{c}h\u{a0}i\u{2003}j\u{2028}k\u{3000}l \t\n\n",
    ),
    ("ends of lines", "a\r\nb\r\n\r\n  c\rd\n\re\r\n"),
    (
        "Unicode",
        "na\u{ef}ve Gr\u{fc}\u{df}e, Привет, \u{5e9}\u{5dc}\u{5d5}\u{5dd}, 你好, \u{1d538}\u{1f389}\u{1f469}\u{200d}\u{1f4bb} \
         \u{20000}\u{e0041}\u{10fffd} \u{e000}\u{fffd} €½→",
    ),
    ("a Python program", PROGRAM),
];

/// Loads a model on the processor, with as much memory for keys and values as [`check`] needs.
///
/// # Errors
/// See [`Decoder::load`].
pub fn load(files: ModelFiles) -> Result<Decoder, ModelError> {
    let kv_bytes = PAGES * PAGE * files.config()?.kv_bytes_per_token();
    files.load(kv_bytes)
}

/// Checks a loaded model and what came with it. `watch` hears each check as it is done.
///
/// # Errors
/// The model's device fails.
pub fn check(
    model: &mut dyn LanguageModel,
    with: &Companions<'_>,
    watch: &mut dyn FnMut(&Check),
) -> Result<Report, ModelError> {
    let mut report = Report { checks: Vec::new(), not_checked: Vec::new() };
    let mut add = |name: &str, outcome: Outcome| {
        let passed = outcome.passed;
        report.checks.push(outcome.named(name.to_owned()));
        watch(report.checks.last().expect("just added"));
        passed
    };

    let tokenizer = with.tokenizer;
    // The ids of a larger vocabulary would have no rows.
    if add("tokenizer and model", same_vocabulary(model, tokenizer)) {
        match text_of(model, tokenizer) {
            Err(why) => {
                add("log-probabilities", Outcome::new(false, why));
            }
            Ok(text) => {
                let at_once = read_at_once(model, &text)?;
                add("log-probabilities", normalised(&at_once));
                add("token by token", same_rows(&at_once, &read_token_by_token(model, &text)?));
                add("beside another sequence", same_rows(&at_once, &read_beside_another(model, &text)?));
            }
        }
        if let Some(golden) = with.golden {
            add(GREEDY, greedy(model, tokenizer, golden)?);
        }
    }
    add("text to tokens and back", there_and_back(tokenizer));
    if let Some(source) = with.chat_template {
        add(CHAT, conversation(tokenizer, source));
    }
    if with.golden.is_none() {
        report.not_checked.push(NotChecked { name: GREEDY, why: "no golden to compare with" });
    }
    if with.chat_template.is_none() {
        report.not_checked.push(NotChecked { name: CHAT, why: "the model has none" });
    }
    Ok(report)
}

const GREEDY: &str = "greedy continuation";
const CHAT: &str = "chat template";

fn same_vocabulary(model: &dyn LanguageModel, tokenizer: &Tokenizer) -> Outcome {
    let (tokens, rows) = (tokenizer.vocab_size(), model.vocab());
    let fits = tokens <= rows;
    let verdict = if fits { "" } else { ": they DO NOT BELONG TOGETHER; the model was not run" };
    Outcome::new(fits, format!("{tokens} tokens, {rows} rows of the output{verdict}"))
}

/// The text that is read, as long as the model can read.
fn text_of(model: &dyn LanguageModel, tokenizer: &Tokenizer) -> Result<Vec<u32>, String> {
    let mut text = tokenizer.encode_prompt(PROGRAM).map_err(|e| e.to_string())?;
    text.truncate(TEXT.min(model.context()));
    Ok(text)
}

/// Enough pages for some tokens, from a number on.
fn pages(model: &dyn LanguageModel, from: usize, tokens: usize) -> Vec<u32> {
    let count = tokens.div_ceil(model.page_len());
    (from..from + count).map(|page| page as u32).collect()
}

fn read_at_once(model: &mut dyn LanguageModel, text: &[u32]) -> Result<Vec<Vec<f32>>, ModelError> {
    let pages = pages(model, 0, text.len());
    rows(model, &[Span { tokens: text, start: 0, pages: &pages, logits: LogitRows::All }])
}

fn read_token_by_token(model: &mut dyn LanguageModel, text: &[u32]) -> Result<Vec<Vec<f32>>, ModelError> {
    let pages = pages(model, PAGES / 4, text.len());
    let mut all = Vec::new();
    for (start, token) in text.iter().enumerate() {
        let tokens = std::slice::from_ref(token);
        all.extend(rows(model, &[Span { tokens, start, pages: &pages, logits: LogitRows::Last }])?);
    }
    Ok(all)
}

/// The text between two others, whose rows are not wanted.
fn read_beside_another(model: &mut dyn LanguageModel, text: &[u32]) -> Result<Vec<Vec<f32>>, ModelError> {
    let backwards: Vec<u32> = text.iter().rev().copied().collect();
    let sequences = [&backwards[..], text, &backwards[..backwards.len().div_ceil(2)]];
    // The pages of our sequence have other numbers than before, in the opposite order.
    let mut places: Vec<Vec<u32>> =
        (1..4).map(|quarter| pages(model, quarter * PAGES / 4, text.len())).collect();
    places[1].reverse();
    let spans: Vec<Span<'_>> = sequences
        .iter()
        .zip(&places)
        .enumerate()
        .map(|(i, (&tokens, pages))| Span {
            tokens,
            start: 0,
            pages,
            logits: if i == 1 { LogitRows::All } else { LogitRows::None },
        })
        .collect();
    rows(model, &spans)
}

fn normalised(rows: &[Vec<f32>]) -> Outcome {
    let mut worst = 0f64;
    for (position, row) in rows.iter().enumerate() {
        if let Some(token) = row.iter().position(|logprob| !logprob.is_finite()) {
            return Outcome::new(false, format!("{} at position {position}, token {token}", row[token]));
        }
        let total: f64 = row.iter().map(|&logprob| f64::from(logprob).exp()).sum();
        worst = worst.max((total - 1.0).abs());
    }
    let passed = worst <= SUM_TOLERANCE;
    let add_up = if passed { "add up" } else { "DO NOT ADD UP" };
    Outcome::new(
        passed,
        format!("finite at {} positions; probabilities {add_up} to 1 within {worst:.0e}", rows.len()),
    )
}

fn same_rows(wanted: &[Vec<f32>], found: &[Vec<f32>]) -> Outcome {
    let bits = |row: &[f32]| row.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let other = wanted.iter().zip(found).position(|(a, b)| bits(a) != bits(b));
    if wanted.len() != found.len() {
        return Outcome::new(false, format!("{} rows instead of {}", found.len(), wanted.len()));
    }
    match other {
        None => Outcome::new(true, format!("{} rows are the same bit for bit", wanted.len())),
        Some(position) => Outcome::new(
            false,
            format!("DIFFERS from the text read at once, first at position {position} of {}", wanted.len()),
        ),
    }
}

/// Whether the most probable tokens are those that are known.
fn greedy(
    model: &mut dyn LanguageModel,
    tokenizer: &Tokenizer,
    golden: Golden<'_>,
) -> Result<Outcome, ModelError> {
    let length = golden.tokens.len() + golden.continuation.len();
    let room = model.context().min(model.pages() * model.page_len());
    if length > room {
        return Ok(Outcome::new(false, format!("the golden has {length} tokens, there is room for {room}")));
    }
    let known = |id: &&u32| (**id as usize) < model.vocab();
    if let Some(id) = golden.tokens.iter().chain(golden.continuation).find(|id| !known(id)) {
        return Ok(Outcome::new(false, format!("the golden has token {id}, the model {}", model.vocab())));
    }
    let pages = pages(model, 0, length);
    let (mut tokens, mut start) = (golden.tokens, 0);
    for (i, wanted) in golden.continuation.iter().enumerate() {
        let next = rows(model, &[Span { tokens, start, pages: &pages, logits: LogitRows::Last }])?;
        let found = argmax(&next[0]) as u32;
        if found != *wanted {
            let shown = |id: u32| format!("{id} {:?}", tokenizer.decode_lossy(&[id]));
            return Ok(Outcome::new(
                false,
                format!(
                    "token {} of {} IS {} AND NOT {}",
                    i + 1,
                    golden.continuation.len(),
                    shown(found),
                    shown(*wanted)
                ),
            ));
        }
        start += tokens.len();
        tokens = &golden.continuation[i..=i];
    }
    Ok(Outcome::new(true, format!("{} tokens are those of the golden", golden.continuation.len())))
}

/// Whether texts come back from their tokens, and control tokens written in a text stay text.
fn there_and_back(tokenizer: &Tokenizer) -> Outcome {
    let missing = tokenizer.missing_bytes();
    let marks = format!("x = '{}{}'", tokenizer.bos_text(), tokenizer.eos_text());
    let texts = TEXTS.iter().copied().chain([("control tokens as text", marks.as_str())]);
    let (mut count, mut tokens) = (0, 0);
    for (name, text) in texts {
        let ids = match tokenizer.encode(text, false) {
            Ok(ids) => ids,
            Err(error) => return Outcome::new(false, format!("{name}: {error}")),
        };
        if let Some(&id) = ids.iter().find(|&&id| tokenizer.is_special(id)) {
            let mark = tokenizer.decode_lossy(&[id]);
            return Outcome::new(false, format!("{name}: the text became the CONTROL TOKEN {mark:?}"));
        }
        let leading = if tokenizer.adds_leading_space() { " " } else { "" };
        let wanted: Vec<u8> =
            leading.bytes().chain(text.bytes().filter(|byte| !missing.contains(byte))).collect();
        let found = tokenizer.decode(&ids);
        if found != wanted {
            let at = wanted.iter().zip(&found).take_while(|(a, b)| a == b).count();
            return Outcome::new(
                false,
                format!("{name}: comes back ANOTHER TEXT from byte {at} of {} on", wanted.len()),
            );
        }
        (count, tokens) = (count + 1, tokens + ids.len());
    }
    Outcome::new(true, format!("{count} texts, {tokens} tokens, come back byte for byte"))
}

/// Whether the chat template writes a conversation of two turns and the beginning of the next answer.
fn conversation(tokenizer: &Tokenizer, source: &str) -> Outcome {
    let said =
        ["Write a function that adds two numbers.", "def add(a, b):\n    return a + b", "Now subtract."];
    let messages: Vec<Message> = ["user", "assistant", "user"]
        .into_iter()
        .zip(said)
        .map(|(role, text)| Message::new(role, text))
        .collect();
    let rendered = ChatTemplate::new(source, &tokenizer.bos_text(), &tokenizer.eos_text())
        .and_then(|template| template.render(&messages, true));
    let text = match rendered {
        Ok(text) => text,
        Err(error) => return Outcome::new(false, error.to_string()),
    };
    let mut rest = text.as_str();
    for said in said {
        match rest.split_once(said) {
            Some((_, after)) => rest = after,
            None => {
                return Outcome::new(
                    false,
                    format!("{said:?} IS NOT in the conversation, or not in its turn"),
                );
            }
        }
    }
    match tokenizer.encode_prompt(&text) {
        Err(error) => Outcome::new(false, error.to_string()),
        Ok(ids) => {
            let marks = ids.iter().filter(|&&id| tokenizer.is_special(id)).count();
            Outcome::new(true, format!("two turns are {} tokens, {marks} of them control tokens", ids.len()))
        }
    }
}
