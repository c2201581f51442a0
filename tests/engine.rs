//! The engine: sequences, forks, pages, batches, samplers, scoring.
//!
//! A toy model stands in for a real one: its logits are a hash of the whole history, read back through the page
//! table as attention would read it. A wrong page, a write to a shared page or a stale slot changes its logits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use vigor::engine::{
    Client, Engine, EngineError, EngineOptions, Finish, Generate, Generated, Guidance, Guide, RngKey,
    Sampler, Sampling, Sequence, StopRule, Usage,
};
use vigor::model::cpu::ops::log_softmax;
use vigor::model::sampling::{Logprobs, Selected, Selection, select_on_host};
use vigor::model::{LanguageModel, LogitRows, ModelError, Span};

const PAGE: usize = 4;
const VOCAB: usize = 16;

/// Keeps tokens where a real model keeps keys and values.
struct Toy {
    /// The tokens of all pages, one page after another.
    slots: Vec<u32>,
    page_len: usize,
    context: usize,
    delay: Duration,
    /// Lengths of the spans of every pass.
    spans: Arc<Mutex<Vec<Vec<usize>>>>,
}

impl Toy {
    fn new(pages: usize) -> Self {
        Self {
            slots: vec![u32::MAX; pages * PAGE],
            page_len: PAGE,
            context: 4096,
            delay: Duration::ZERO,
            spans: Arc::default(),
        }
    }
}

fn toy_logits(history: impl Iterator<Item = u32>) -> Vec<f32> {
    let mut key = RngKey::new(99);
    for token in history {
        key = key.with(u64::from(token));
    }
    (0..VOCAB as u64).map(|i| (4.0 * key.uniform(i)) as f32).collect()
}

impl LanguageModel for Toy {
    fn vocab(&self) -> usize {
        VOCAB
    }
    fn context(&self) -> usize {
        self.context
    }
    fn page_len(&self) -> usize {
        self.page_len
    }
    fn pages(&self) -> usize {
        self.slots.len() / self.page_len
    }
    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), ModelError> {
        let (from, to) = (from as usize * self.page_len, to as usize * self.page_len);
        self.slots.copy_within(from..from + self.page_len, to);
        Ok(())
    }
    fn forward(&mut self, spans: &[Span<'_>]) -> Result<Vec<Logprobs>, ModelError> {
        let mut rows = Vec::new();
        std::thread::sleep(self.delay);
        self.spans.lock().expect("no panic").push(spans.iter().map(|s| s.tokens.len()).collect());
        for span in spans {
            for (i, &token) in span.tokens.iter().enumerate() {
                let position = span.start + i;
                let page_len = self.page_len;
                let slot = |p: usize| span.pages[p / page_len] as usize * page_len + p % page_len;
                self.slots[slot(position)] = token;
                let wanted = match span.logits {
                    LogitRows::None => false,
                    LogitRows::Last => i + 1 == span.tokens.len(),
                    LogitRows::All => true,
                };
                if wanted {
                    let mut row = toy_logits((0..=position).map(|p| self.slots[slot(p)]));
                    log_softmax(&mut row);
                    rows.push(Logprobs::on_host(row));
                }
            }
        }
        Ok(rows)
    }
}

struct Never;

impl StopRule for Never {
    fn check(&self, _: &[u32]) -> Option<Finish> {
        None
    }
}

fn start(pages: usize) -> Engine {
    Engine::start(Box::new(Toy::new(pages)), EngineOptions { threads: 1, ..EngineOptions::default() })
}

fn request(n: usize, tokens: usize, sampler: Sampler, temperature: f32) -> Generate {
    Generate {
        n,
        sampler,
        sampling: Sampling { temperature, top_p: 1.0, top_k: 0 },
        key: RngKey::new(3),
        stop: Box::new(Never),
        max_tokens: tokens,
        alternatives: 0,
    }
}

fn generate(client: &Client, trunk: &Sequence, request: Generate) -> Vec<Generated> {
    client.generate(trunk, request).expect("generated").0
}

fn greedy(client: &Client, trunk: &Sequence, tokens: usize) -> Vec<u32> {
    generate(client, trunk, request(1, tokens, Sampler::Temperature, 0.0)).remove(0).tokens
}

/// What greedy decoding must say, computed without pages or batches.
fn greedy_truth(history: &[u32], tokens: usize) -> Vec<u32> {
    let mut all = history.to_vec();
    for _ in 0..tokens {
        let logits = toy_logits(all.iter().copied());
        let best = (0..VOCAB).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a)));
        all.push(best.expect("a token") as u32);
    }
    all.split_off(history.len())
}

/// Pages in use once the engine has handled all that was said to it before.
fn pages_in_use(client: &Client) -> usize {
    // Messages are handled in order: when this answer is here, so are all frees before it.
    let probe = client.sequence(&[0]).expect("a sequence");
    greedy(client, &probe, 1);
    drop(probe);
    std::thread::sleep(Duration::from_millis(20));
    client.stats().pages_in_use.load(Ordering::SeqCst)
}

#[derive(Debug, Clone)]
enum Action {
    Fork { from: usize, share: usize },
    Append { to: usize, tokens: Vec<u32> },
    Anew { like: usize, share: usize, more: Vec<u32> },
    Sample { from: usize, n: usize },
    Check { which: usize },
    Drop { which: usize },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (0..8usize, 0..40usize).prop_map(|(from, share)| Action::Fork { from, share }),
        (0..8usize, prop::collection::vec(0..VOCAB as u32, 1..9))
            .prop_map(|(to, tokens)| Action::Append { to, tokens }),
        (0..8usize, 0..40usize, prop::collection::vec(0..VOCAB as u32, 1..3))
            .prop_map(|(like, share, more)| Action::Anew { like, share, more }),
        (0..8usize, 1..4usize).prop_map(|(from, n)| Action::Sample { from, n }),
        (0..8usize).prop_map(|which| Action::Check { which }),
        (0..8usize).prop_map(|which| Action::Drop { which }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Any history of forks, appends, samples and drops, and of new sequences that begin like old ones: every sequence
    /// continues as its own tokens say, no child changes its parent, and in the end all pages are back.
    #[test]
    fn forks_never_change_their_parents(
        actions in prop::collection::vec(action(), 1..60),
        prefix_cache in prop::sample::select(vec![0.0, 0.02, 1.0]),
    ) {
        let options = EngineOptions { threads: 1, prefix_cache, ..EngineOptions::default() };
        let engine = Engine::start(Box::new(Toy::new(512)), options);
        let client = engine.client();
        let first = vec![1, 2, 3, 4, 5, 6];
        let mut all: Vec<(Sequence, Vec<u32>)> = vec![(client.sequence(&first).expect("sequence"), first)];
        let mut dropped: Vec<Vec<u32>> = Vec::new();
        for action in actions {
            let pick = |i: usize| i % all.len();
            match action {
                Action::Fork { from, share } => {
                    let (parent, tokens) = &all[pick(from)];
                    let len = share.clamp(1, tokens.len());
                    let child = (parent.fork(len), tokens[..len].to_vec());
                    all.push(child);
                }
                Action::Append { to, tokens } => {
                    let at = pick(to);
                    all[at].0.append(&tokens).expect("known tokens");
                    all[at].1.extend(tokens);
                }
                Action::Anew { like, share, more } => {
                    let past = if dropped.is_empty() { &all[pick(like)].1 } else { &dropped[like % dropped.len()] };
                    let mut tokens = past[..share.clamp(1, past.len())].to_vec();
                    tokens.extend(more);
                    all.push((client.sequence(&tokens).expect("sequence"), tokens));
                }
                Action::Sample { from, n } => {
                    let (parent, tokens) = &all[pick(from)];
                    let branches = generate(&client, parent, request(n, 5, Sampler::Temperature, 1.0));
                    let grown: Vec<_> = branches
                        .into_iter()
                        .map(|b| { let mut t = tokens.clone(); t.extend(&b.tokens); (b.sequence, t) })
                        .collect();
                    all.extend(grown);
                }
                Action::Check { which } => {
                    let (sequence, tokens) = &all[pick(which)];
                    prop_assert_eq!(greedy(&client, sequence, 3), greedy_truth(tokens, 3));
                }
                Action::Drop { which } => {
                    let at = pick(which);
                    if all.len() > 1 {
                        dropped.push(all.swap_remove(at).1);
                    }
                }
            }
        }
        for (sequence, tokens) in &all {
            prop_assert_eq!(sequence.len(), tokens.len());
            prop_assert_eq!(greedy(&client, sequence, 2), greedy_truth(tokens, 2));
        }
        drop(all);
        prop_assert_eq!(pages_in_use(&client), 0);
    }
}

/// The prefix of N branches is stored once: each branch adds the pages of its own tokens only.
#[test]
fn branches_share_the_pages_of_their_prefix() {
    let engine = start(2048);
    let client = engine.client();
    let prompt: Vec<u32> = (0..1000).map(|i| i % VOCAB as u32).collect();
    let trunk = client.sequence(&prompt).expect("sequence");
    let before = generate(&client, &trunk, request(1, 1, Sampler::Temperature, 1.0));
    drop(before);
    let prefix = pages_in_use(&client);
    assert_eq!(prefix, 1000 / PAGE);
    let branches = generate(&client, &trunk, request(8, 10, Sampler::Temperature, 1.0));
    let with_branches = pages_in_use(&client);
    // 10 tokens, the last of which is not computed yet, begin on a page of their own.
    assert_eq!(with_branches, prefix + 8 * 9usize.div_ceil(PAGE));
    drop(branches);
    assert_eq!(pages_in_use(&client), prefix);
}

/// What a request returns does not depend on what runs beside it, nor on the size of a pass.
#[test]
fn results_do_not_depend_on_company() {
    let ask = |client: &Client, seed: u64| {
        let prompt: Vec<u32> =
            (0..300 + seed as u32 % 7).map(|i| (i * 7 + seed as u32) % VOCAB as u32).collect();
        let trunk = client.sequence(&prompt).expect("sequence");
        let mut ask = request(3, 12, Sampler::Temperature, 0.9);
        ask.key = RngKey::new(seed);
        let (generated, usage) = client.generate(&trunk, ask).expect("generated");
        let bits: Vec<(Vec<u32>, Vec<u32>)> = generated
            .into_iter()
            .map(|g| (g.tokens, g.logprobs.iter().map(|l| l.to_bits()).collect()))
            .collect();
        (bits, usage)
    };
    let alone: Vec<_> = (0..8)
        .map(|seed| {
            let engine = start(1024);
            ask(&engine.client(), seed)
        })
        .collect();
    for rows in [1, 17, 512] {
        let options = EngineOptions { threads: 2, max_batch_rows: rows, ..EngineOptions::default() };
        let engine = Engine::start(Box::new(Toy::new(4096)), options);
        let client = &engine.client();
        let together: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|seed| scope.spawn(move || ask(client, seed))).collect();
            threads.into_iter().map(|t| t.join().expect("no panic")).collect()
        });
        assert_eq!(alone, together, "{rows} rows a pass");
    }
}

#[test]
fn scores_are_the_log_probabilities_of_generation() {
    let engine = start(256);
    let client = engine.client();
    let trunk = client.sequence(&[3, 1, 4, 1, 5]).expect("sequence");
    let branch = generate(&client, &trunk, request(1, 20, Sampler::Temperature, 1.0)).remove(0);
    let scores = client.score(&trunk, &branch.tokens).expect("scores");
    assert_eq!(scores, branch.logprobs);
    // However many rows a pass takes.
    let long: Vec<u32> = (0..700).map(|i| i * i % VOCAB as u32).collect();
    let whole = client.score(&trunk, &long).expect("scores");
    let small = start_with(Toy::new(256), 17);
    let trunk_there = small.client().sequence(&[3, 1, 4, 1, 5]).expect("sequence");
    assert_eq!(small.client().score(&trunk_there, &long).expect("scores"), whole);
    assert_eq!(whole.len(), 700);
    // Asking for alternatives changes nothing else, and the leading one is the most probable.
    let mut ask = request(1, 20, Sampler::Temperature, 1.0);
    ask.alternatives = 3;
    let with = generate(&client, &trunk, ask).remove(0);
    assert_eq!((&with.tokens, &with.logprobs), (&branch.tokens, &branch.logprobs));
    for (top, token) in with.alternatives.iter().zip(&with.tokens) {
        assert!(top.iter().any(|(t, _, _)| t == token));
        assert!(top[..3].windows(2).all(|w| w[0].1 >= w[1].1));
    }
}

/// The engine counts the tokens that requests drew: not the rows of prompts, nor what is scored.
#[test]
fn new_tokens_are_counted_once() {
    let engine = start(256);
    let client = engine.client();
    let trunk = client.sequence(&[3, 1, 4, 1, 5]).expect("sequence");
    let mut drawn = 0;
    for (n, sampler) in [(3, Sampler::Temperature), (2, Sampler::Beam), (1, Sampler::Temperature)] {
        let (_, usage) = client.generate(&trunk, request(n, 7, sampler, 1.0)).expect("generated");
        drawn += usage.generated_tokens;
    }
    assert_eq!(drawn, (3 + 2 + 1) * 7);
    client.score(&trunk, &[1, 2, 3]).expect("scores");
    pages_in_use(&client);
    // The probe that waits for the engine draws one token itself.
    assert_eq!(client.stats().generated_tokens.load(Ordering::SeqCst), drawn as u64 + 1);
}

/// Beam search finds what trying all continuations finds, when the beam holds them all.
#[test]
fn a_wide_beam_finds_the_best_continuations() {
    let engine = start(4096);
    let client = engine.client();
    let prompt = [2, 7];
    let trunk = client.sequence(&prompt).expect("sequence");
    let beams = generate(&client, &trunk, request(VOCAB, 2, Sampler::Beam, 1.0));
    let truth = |history: &[u32]| {
        let logits = toy_logits(history.iter().copied());
        let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        logits.iter().map(|&l| f64::from(l) - sum.ln()).collect::<Vec<f64>>()
    };
    let first = truth(&prompt);
    let mut all = Vec::new();
    for a in 0..VOCAB as u32 {
        let second = truth(&[prompt[0], prompt[1], a]);
        for b in 0..VOCAB as u32 {
            all.push((first[a as usize] + second[b as usize], vec![a, b]));
        }
    }
    all.sort_by(|x, y| y.0.total_cmp(&x.0));
    let expected: Vec<&Vec<u32>> = all[..VOCAB].iter().map(|(_, t)| t).collect();
    assert_eq!(beams.iter().map(|b| &b.tokens).collect::<Vec<_>>(), expected);
}

/// Sampling without replacement: no two branches are equal, and the first follows the model's distribution.
#[test]
fn stochastic_beams_differ_and_follow_the_distribution() {
    let engine = start(4096);
    let client = engine.client();
    let prompt = [5, 5, 1];
    let trunk = client.sequence(&prompt).expect("sequence");
    let rounds = 2000;
    let mut counts = [0f64; VOCAB];
    for seed in 0..rounds {
        let mut ask = request(4, 2, Sampler::StochasticBeam, 1.0);
        ask.key = RngKey::new(seed);
        let branches = generate(&client, &trunk, ask);
        for (i, a) in branches.iter().enumerate() {
            assert!(branches[..i].iter().all(|b| b.tokens != a.tokens), "equal branches");
        }
        counts[branches[0].tokens[0] as usize] += 1.0 / rounds as f64;
    }
    let logits = toy_logits(prompt.into_iter());
    let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
    for (seen, logit) in counts.iter().zip(logits) {
        let expected = f64::from(logit).exp() / sum;
        assert!((seen - expected).abs() < 0.04, "{seen} and not {expected}");
    }
}

/// γ = 0 continues as the plain stream, γ = 1 as the conditional one; both grow by the same tokens.
#[test]
fn guidance_at_its_two_ends() {
    let engine = start(512);
    let client = engine.client();
    let (plain, conditional) = (vec![1, 2, 3], vec![9, 8, 1, 2, 3]);
    for (gamma, truth) in [(0.0, &plain), (1.0, &conditional)] {
        let p = client.sequence(&plain).expect("sequence");
        let q = client.sequence(&conditional).expect("sequence");
        let ask = Guide {
            guidance: Guidance { gamma, epsilon: 1e-8 },
            sampling: Sampling::GREEDY,
            key: RngKey::new(0),
            stop: Box::new(Never),
            max_tokens: 9,
            alternatives: 2,
            drafts: Vec::new(),
        };
        let (generated, grown, _) = client.guide(p, q, ask).expect("guided");
        assert_eq!(generated.tokens, greedy_truth(truth, 9));
        let mut longer = conditional.clone();
        longer.extend(&generated.tokens);
        assert_eq!(greedy(&client, &grown, 2), greedy_truth(&longer, 2));
        let mut longer = plain.clone();
        longer.extend(&generated.tokens);
        assert_eq!(greedy(&client, &generated.sequence, 2), greedy_truth(&longer, 2));
    }
}

#[test]
fn what_does_not_fit_is_an_error_and_costs_nothing() {
    let engine = start(10);
    let client = engine.client();
    let long = client.sequence(&vec![1; 100]).expect("sequence");
    let error = client.generate(&long, request(1, 1, Sampler::Temperature, 0.0)).expect_err("too long");
    assert!(matches!(error, EngineError::OutOfPages { pages: 10, .. }), "{error}");
    drop(long);
    let short = client.sequence(&[1; 8]).expect("sequence");
    let error = client.generate(&short, request(12, 40, Sampler::Temperature, 1.0)).expect_err("too many");
    assert!(error.to_string().contains("--kv-memory"), "{error}");
    assert_eq!(greedy(&client, &short, 4), greedy_truth(&[1; 8], 4));
    drop(short);
    assert_eq!(pages_in_use(&client), 0);
    assert!(matches!(client.sequence(&[99]), Err(EngineError::UnknownToken { token: 99, .. })));

    let mut toy = Toy::new(100);
    toy.context = 12;
    let engine = Engine::start(Box::new(toy), EngineOptions::default());
    let client = engine.client();
    let trunk = client.sequence(&[1; 8]).expect("sequence");
    let generated = generate(&client, &trunk, request(1, 100, Sampler::Temperature, 0.0)).remove(0);
    assert_eq!((generated.tokens.len(), generated.finish), (4, Finish::Length));
}

#[test]
fn an_interrupt_ends_a_long_request() {
    let interrupt = Arc::new(AtomicBool::new(false));
    let mut toy = Toy::new(4096);
    toy.delay = Duration::from_millis(2);
    let engine = Engine::start(
        Box::new(toy),
        EngineOptions { interrupt: interrupt.clone(), ..EngineOptions::default() },
    );
    let client = engine.client();
    let trunk = client.sequence(&[1]).expect("sequence");
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            interrupt.store(true, Ordering::SeqCst);
        });
        let error =
            client.generate(&trunk, request(2, 4000, Sampler::Temperature, 1.0)).expect_err("interrupted");
        assert!(matches!(error, EngineError::Interrupted), "{error}");
    });
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// Ends with this token.
struct EndsWith(u32);

impl StopRule for EndsWith {
    fn check(&self, generated: &[u32]) -> Option<Finish> {
        (generated.last() == Some(&self.0)).then_some(Finish::Lines)
    }
}

/// A guided continuation of two prompts, and what is asked for.
#[derive(Debug, Clone)]
struct Guided {
    shared: Vec<u32>,
    plain: Vec<u32>,
    conditional: Vec<u32>,
    gamma: f32,
    temperature: f32,
    stop: u32,
    max_tokens: usize,
}

fn tokens(len: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..VOCAB as u32, len)
}

fn guided() -> impl Strategy<Value = Guided> {
    let gamma = prop::sample::select(vec![0.0, 0.5, 1.0, 3.0]);
    let temperature = prop::sample::select(vec![0.0, 0.7, 1.3]);
    (tokens(1..30), tokens(0..9), tokens(0..300), gamma, temperature, 0..20u32, 1..40usize).prop_map(
        |(shared, plain, conditional, gamma, temperature, stop, max_tokens)| Guided {
            shared,
            plain,
            conditional,
            gamma,
            temperature,
            stop,
            max_tokens,
        },
    )
}

/// Everything that a guided continuation says, log-probabilities by their bits.
type Said = (Vec<u32>, Vec<u32>, Vec<Vec<(u32, u32, Option<u32>)>>, Finish);

/// How both sequences and their common parent go on.
type After = [Result<Vec<u32>, String>; 3];

/// Guides, and returns what it said, how both sequences and their common parent go on, and what it cost.
fn guide(client: &Client, ask: &Guided, drafts: Vec<Vec<u32>>) -> Result<(Said, After, Usage), EngineError> {
    let trunk = client.sequence(&ask.shared)?;
    let mut plain = trunk.fork(trunk.len());
    let mut conditional = trunk.fork(trunk.len());
    plain.append(&ask.plain)?;
    // Now and then a stream says already what follows, as a trunk does that was sampled from.
    if ask.stop.is_multiple_of(2) {
        client.generate(&plain, request(1, 1, Sampler::Temperature, 0.0))?;
    }
    conditional.append(&ask.conditional)?;
    let how = Guide {
        guidance: Guidance { gamma: ask.gamma, epsilon: 1e-8 },
        sampling: Sampling { temperature: ask.temperature, top_p: 1.0, top_k: 0 },
        key: RngKey::new(11),
        stop: Box::new(EndsWith(ask.stop)),
        max_tokens: ask.max_tokens,
        alternatives: 3,
        drafts,
    };
    let (line, conditional, usage) = client.guide(plain, conditional, how)?;
    let alternatives = line
        .alternatives
        .iter()
        .map(|top| top.iter().map(|&(token, p, q)| (token, p.to_bits(), q.map(f32::to_bits))).collect());
    let logprobs = line.logprobs.iter().map(|l| l.to_bits()).collect();
    let said = (line.tokens, logprobs, alternatives.collect(), line.finish);
    let after = [&line.sequence, &conditional, &trunk].map(|sequence| {
        let next = client.generate(sequence, request(1, 2, Sampler::Temperature, 0.0));
        next.map(|(mut next, _)| next.remove(0).tokens).map_err(|e| e.to_string())
    });
    Ok((said, after, usage))
}

fn start_with(toy: Toy, max_batch_rows: usize) -> Engine {
    let options = EngineOptions { threads: 1, max_batch_rows, ..EngineOptions::default() };
    Engine::start(Box::new(toy), options)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Drafts, right and wrong ones, change no bit of a guided continuation nor of the sequences that it leaves,
    /// whatever the page, the pass, the room in the context; and never cost a pass more for the tokens they had right.
    #[test]
    fn drafts_change_nothing_but_the_number_of_passes(
        ask in guided(),
        wrong in prop::collection::vec(tokens(0..30), 0..3),
        right in prop::collection::vec((0..40usize, tokens(0..4)), 0..4),
        page in 1..9usize,
        rows in prop::sample::select(vec![3, 20, 512]),
        spare in prop::sample::select(vec![0, 1, 5, 1000]),
    ) {
        let longest = ask.shared.len() + ask.plain.len().max(ask.conditional.len());
        let toy = || Toy { context: longest + spare, page_len: page, ..Toy::new(2048) };
        let engine = start_with(toy(), rows);
        let (truth, after, alone) = guide(&engine.client(), &ask, Vec::new()).expect("guided");
        // What is found in the prefix cache costs the same.
        let again = guide(&engine.client(), &ask, Vec::new()).expect("guided");
        prop_assert_eq!(&(&again.0, &again.1, again.2), &(&truth, &after, alone));
        prop_assert_eq!((alone.drafted_tokens, alone.accepted_tokens), (0, 0));
        // Drafts that begin as the continuation does, and then go their own way.
        let mut drafts = wrong;
        drafts.extend(right.into_iter().map(|(len, tail)| [&truth.0[..len.min(truth.0.len())], &tail].concat()));
        for (drafts, engine) in [(drafts.clone(), engine), (drafts, start_with(toy(), rows))] {
            let client = engine.client();
            let (said, grown, usage) = guide(&client, &ask, drafts).expect("guided");
            prop_assert_eq!(&said, &truth);
            prop_assert_eq!(&grown, &after);
            prop_assert_eq!(usage.prefill_tokens, alone.prefill_tokens);
            prop_assert_eq!(usage.generated_tokens, alone.generated_tokens);
            prop_assert!(usage.accepted_tokens <= usage.drafted_tokens);
            // A guess may push the last prompt token into one more chunk.
            prop_assert!(usage.forward_passes + usage.accepted_tokens <= alone.forward_passes + 1);
            prop_assert_eq!(pages_in_use(&client), 0);
        }
    }
}

/// A draft that is the continuation takes one pass for 9 tokens; one that goes wrong is replaced by one that did not.
#[test]
fn drafts_save_passes() {
    let engine = start(2048);
    let client = engine.client();
    let ask = Guided {
        shared: vec![1, 2, 3],
        plain: Vec::new(),
        conditional: vec![7; 20],
        gamma: 1.0,
        temperature: 0.0,
        stop: VOCAB as u32,
        max_tokens: 19,
    };
    let (truth, _, usage) = guide(&client, &ask, Vec::new()).expect("guided");
    assert_eq!(usage.forward_passes, 19);
    let (_, _, usage) = guide(&client, &ask, vec![truth.0.clone()]).expect("guided");
    // 8 guessed and one more; 8 and one more; the last one alone.
    assert_eq!((usage.forward_passes, usage.drafted_tokens, usage.accepted_tokens), (3, 16, 16));
    let mut early = truth.0[..4].to_vec();
    early.push((truth.0[4] + 1) % VOCAB as u32);
    let (_, _, usage) = guide(&client, &ask, vec![early, truth.0]).expect("guided");
    // Ends at the wrong token, then: 8 and one more; the last 5.
    assert_eq!((usage.forward_passes, usage.drafted_tokens, usage.accepted_tokens), (3, 17, 16));
}

/// Pages that only a guess needs are no reason to fail, and where the guess had to go is not seen in the costs.
#[test]
fn guesses_give_way_when_pages_run_out() {
    let mut ask = Guided {
        shared: vec![1, 2, 3, 4],
        plain: Vec::new(),
        conditional: Vec::new(),
        gamma: 1.0,
        temperature: 0.0,
        stop: VOCAB as u32,
        max_tokens: 20,
    };
    // It ends soon; the draft has its beginning right and does not end.
    let truth = greedy_truth(&ask.shared, 20);
    let at = (4..20).find(|&at| !truth[..at].contains(&truth[at])).expect("a new token");
    ask.stop = truth[at];
    let wrong = (0..VOCAB as u32).find(|t| *t != truth[at] && *t != truth[3]).expect("another token");
    let draft = [&truth[..3], &[wrong; 8]].concat();
    let solve = |pages: usize, rows: usize, drafts: &[Vec<u32>]| {
        guide(&start_with(Toy::new(pages), rows).client(), &ask, drafts.to_vec())
    };
    let (said, _, usage) = solve(512, 512, std::slice::from_ref(&draft)).expect("enough pages");
    assert_eq!((&said.0[..], usage.accepted_tokens), (&truth[..=at], 3));
    let (mut failed, mut solved) = (0, 0);
    // Also in passes so small that a guess takes several.
    for (pages, rows) in (1..20).flat_map(|pages| [(pages, 1), (pages, 3), (pages, 512)]) {
        match (solve(pages, rows, &[]), solve(pages, rows, std::slice::from_ref(&draft))) {
            (Ok(without), Ok(with)) => {
                solved += 1;
                assert_eq!((&with.0, &without.0), (&said, &said));
                assert_eq!(with.1, without.1);
                assert_eq!(with.2, usage, "{pages} pages, {rows} rows");
            }
            (Err(without), Err(with)) => {
                failed += 1;
                assert_eq!(without.to_string(), with.to_string());
            }
            (without, with) => panic!("{pages} pages: {without:?} and with drafts {with:?}"),
        }
    }
    assert!(failed > 0 && solved > 0, "{failed} failed, {solved} solved");
}

/// What a sequence left behind serves the next one that begins alike, in full pages, and costs as much in name.
#[test]
fn a_prefix_is_found_again() {
    let rows = |client: &Client| {
        pages_in_use(client);
        client.stats().rows.load(Ordering::SeqCst)
    };
    let cached = |client: &Client| client.stats().cached_tokens.load(Ordering::SeqCst);
    let prompt: Vec<u32> = (0..300).map(|i| i * i % VOCAB as u32).collect();
    for (prefix_cache, found) in [(0.0, [0, 0, 0, 0]), (0.5, [300, 200, 48, 296])] {
        let options = EngineOptions { prefix_cache, ..EngineOptions::default() };
        let engine = Engine::start(Box::new(Toy::new(512)), options);
        let client = engine.client();
        let ask = |sequence: Sequence, tokens: &[u32]| {
            let before = (rows(&client), cached(&client));
            let (generated, usage) =
                client.generate(&sequence, request(1, 1, Sampler::Temperature, 0.0)).expect("generated");
            assert_eq!(generated[0].tokens, greedy_truth(tokens, 1));
            drop((generated, sequence));
            // The probe that waits for the engine computes a row of its own.
            (rows(&client) - before.0 - 1, (cached(&client) - before.1) as usize, usage)
        };
        let fresh = |tokens: &[u32]| client.sequence(tokens).expect("sequence");
        let (computed, _, usage) = ask(fresh(&prompt), &prompt);
        assert_eq!((computed, usage.prefill_tokens, usage.forward_passes), (300, 300, 2));
        // Longer; shorter, ending within a page; the same, whose last token has to be read.
        let longer = [&prompt[..], &[1, 2, 3]].concat();
        let other = [&prompt[..202], &[9; 100]].concat();
        let fork = fresh(&prompt).fork(250);
        let mut fork_and_more = fork.fork(250);
        fork_and_more.append(&prompt[250..]).expect("known tokens");
        for (tokens, found) in [(&longer, found[0]), (&other, found[1]), (&prompt[..51].to_vec(), found[2])] {
            let (computed, cached, usage) = ask(fresh(tokens), tokens);
            assert_eq!((cached, computed as usize), (found, tokens.len() - found));
            assert_eq!(
                (usage.prefill_tokens, usage.forward_passes),
                (tokens.len(), tokens.len().div_ceil(256))
            );
        }
        // A fork that goes on as a known sequence did.
        let (computed, cached, usage) = ask(fork_and_more, &prompt);
        assert_eq!((cached, computed as usize, usage.prefill_tokens), (found[3], 300 - found[3], 300));
    }
}

/// A fork that shares the beginning of a kept page goes its own way in a copy.
#[test]
fn kept_pages_are_never_written() {
    let engine = start(64);
    let client = engine.client();
    let prompt: Vec<u32> = (0..12).collect();
    let first = client.sequence(&prompt).expect("sequence");
    greedy(&client, &first, 1);
    let mut fork = first.fork(6);
    drop(first);
    fork.append(&[7, 7, 7]).expect("known tokens");
    greedy(&client, &fork, 1);
    let again = [&prompt[..], &[1]].concat();
    let sequence = client.sequence(&again).expect("sequence");
    assert_eq!(greedy(&client, &sequence, 2), greedy_truth(&again, 2));
    assert_eq!(client.stats().cached_tokens.load(Ordering::SeqCst), 12);
}

/// Kept pages are given up before anybody is refused one.
#[test]
fn kept_pages_give_way() {
    let options = EngineOptions { prefix_cache: 1.0, ..EngineOptions::default() };
    let engine = Engine::start(Box::new(Toy::new(10)), options);
    let client = engine.client();
    for first in 0..VOCAB as u32 {
        let tokens: Vec<u32> = (0..34).map(|i| (first + i * first) % VOCAB as u32).collect();
        let sequence = client.sequence(&tokens).expect("sequence");
        assert_eq!(greedy(&client, &sequence, 2), greedy_truth(&tokens, 2));
    }
    assert_eq!(pages_in_use(&client), 0);
}

/// A prompt that differs from the last one from some token on shares what stands before, as the conditional
/// prompts of a guided session do: no row of it is computed again, no full page of it stored again.
#[test]
fn a_changed_prompt_computes_only_what_changed() {
    let options = EngineOptions { prefix_cache: 0.0, ..EngineOptions::default() };
    let engine = Engine::start(Box::new(Toy::new(512)), options);
    let client = engine.client();
    let prompt: Vec<u32> = (0..101).map(|i| i * i % VOCAB as u32).collect();
    let last = client.sequence(&prompt).expect("sequence");
    greedy(&client, &last, 1);
    let pages = pages_in_use(&client);
    assert_eq!(pages, 101usize.div_ceil(PAGE));
    let before = client.stats().rows.load(Ordering::SeqCst);
    let mut next = last.fork(62);
    next.append(&[3; 30]).expect("known tokens");
    greedy(&client, &next, 1);
    // 15 full pages are shared; the one that holds 2 shared tokens is a copy. One row is the probe's.
    assert_eq!(pages_in_use(&client) - pages, 92usize.div_ceil(PAGE) - 15);
    assert_eq!(client.stats().rows.load(Ordering::SeqCst) - before, 30 + 1);
    assert_eq!(greedy(&client, &last, 1), greedy_truth(&prompt, 1));
}

/// A long prompt is read in smaller pieces beside those who decode, none of whom waits a pass for it; the costs do
/// not tell.
#[test]
fn prompts_do_not_hold_up_decoding() {
    let toy = Toy { delay: Duration::from_millis(1), ..Toy::new(2048) };
    let spans = toy.spans.clone();
    let engine = Engine::start(Box::new(toy), EngineOptions::default());
    let client = engine.client();
    let prompt: Vec<u32> = (0..1500).map(|i| i * i % VOCAB as u32).collect();
    let tokens = 100;
    std::thread::scope(|scope| {
        let decoding = scope.spawn(|| {
            let trunk = client.sequence(&[1, 2, 3]).expect("sequence");
            assert_eq!(greedy(&client, &trunk, tokens), greedy_truth(&[1, 2, 3], tokens));
        });
        while spans.lock().expect("no panic").len() < 10 {
            std::thread::yield_now();
        }
        let trunk = client.sequence(&prompt).expect("sequence");
        let (generated, usage) =
            client.generate(&trunk, request(1, 1, Sampler::Temperature, 0.0)).expect("generated");
        assert_eq!(generated[0].tokens, greedy_truth(&prompt, 1));
        assert_eq!(usage.forward_passes, 1500usize.div_ceil(256));
        decoding.join().expect("no panic");
    });
    let spans = spans.lock().expect("no panic");
    // One pass a token, whatever runs beside it, of at most 1 + 128 rows.
    assert!(
        spans[..tokens].iter().all(|pass| pass[0] <= 3 && pass.iter().sum::<usize>() <= 129),
        "{spans:?}"
    );
    let beside = spans[..tokens].iter().filter(|pass| pass.len() > 1).count();
    assert_eq!(beside, 1500usize.div_ceil(128));
}

/// Reading a guess is decoding: it comes before prompts, and these are read in smaller pieces beside it.
#[test]
fn a_guess_is_no_prompt() {
    let toy = Toy { delay: Duration::from_millis(1), ..Toy::new(4096) };
    let spans = toy.spans.clone();
    let engine = Engine::start(Box::new(toy), EngineOptions::default());
    let client = engine.client();
    let ask = Guided {
        shared: vec![1, 2, 3],
        plain: Vec::new(),
        conditional: vec![7],
        gamma: 1.0,
        temperature: 0.0,
        stop: VOCAB as u32,
        max_tokens: 46,
    };
    let (truth, _, _) = guide(&client, &ask, Vec::new()).expect("guided");
    let first = spans.lock().expect("no panic").len();
    let prompt: Vec<u32> = (0..4000).map(|i| i * i % VOCAB as u32).collect();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| greedy(&client, &client.sequence(&prompt).expect("sequence"), 1));
        while spans.lock().expect("no panic").len() == first {
            std::thread::yield_now();
        }
        let (said, _, usage) = guide(&client, &ask, vec![truth.0.clone()]).expect("guided");
        assert_eq!((said, usage.accepted_tokens), (truth, 40));
        assert_eq!(reading.join().expect("no panic"), greedy_truth(&prompt, 1));
    });
    let spans = spans.lock().expect("no panic");
    let beside: Vec<_> = spans[first..].iter().filter(|pass| pass[0] == 9 && pass.len() == 3).collect();
    assert!(beside.len() >= 3 && beside.iter().all(|pass| pass[..] == [9, 9, 128]), "{spans:?}");
}

/// A toy that keeps its rows to itself, as a device does.
struct Far {
    toy: Toy,
    /// The rows in use, by their numbers.
    rows: HashMap<u32, Logprobs>,
    next: u32,
    returned: (Sender<u32>, Receiver<u32>),
    counts: Arc<FarCounts>,
}

#[derive(Default)]
struct FarCounts {
    /// Calls of `select`.
    selects: AtomicU64,
    /// Rows in use at the last pass.
    rows: AtomicU64,
}

impl Far {
    fn new(counts: Arc<FarCounts>) -> Self {
        Self { toy: Toy::new(4096), rows: HashMap::new(), next: 0, returned: mpsc::channel(), counts }
    }
}

impl LanguageModel for Far {
    fn vocab(&self) -> usize {
        self.toy.vocab()
    }
    fn context(&self) -> usize {
        self.toy.context()
    }
    fn page_len(&self) -> usize {
        self.toy.page_len()
    }
    fn pages(&self) -> usize {
        self.toy.pages()
    }
    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), ModelError> {
        self.toy.copy_page(from, to)
    }
    fn forward(&mut self, spans: &[Span<'_>]) -> Result<Vec<Logprobs>, ModelError> {
        for row in self.returned.1.try_iter() {
            self.rows.remove(&row).expect("a row comes back once");
        }
        self.counts.rows.store(self.rows.len() as u64, Ordering::SeqCst);
        let rows = self.toy.forward(spans)?.into_iter().map(|row| {
            self.next += 1;
            self.rows.insert(self.next, row);
            Logprobs::on_device(self.next, self.returned.0.clone())
        });
        Ok(rows.collect())
    }
    fn select(&mut self, chains: &[Vec<Selection>]) -> Result<Vec<Vec<Selected>>, ModelError> {
        self.counts.selects.fetch_add(1, Ordering::SeqCst);
        let here = |row: &Logprobs| self.rows[&row.device().expect("a row of this model")].clone();
        let chains: Vec<Vec<Selection>> = chains
            .iter()
            .map(|chain| {
                let selection = |s: &Selection| Selection {
                    plain: here(&s.plain),
                    guided: s.guided.as_ref().map(|(row, guidance)| (here(row), *guidance)),
                    ..s.clone()
                };
                chain.iter().map(selection).collect()
            })
            .collect();
        Ok(select_on_host(&chains))
    }
}

/// The engine looks at no row: where the model keeps them elsewhere and chooses there, in one call for all requests, it
/// says the same, and every row comes back.
#[test]
fn rows_may_stay_with_the_model() {
    let asked = |client: &Client, seed: u32| {
        let trunk = client.sequence(&[3, 1, 4, 1, 5, seed]).expect("sequence");
        let mut said = Vec::new();
        for sampler in [Sampler::Temperature, Sampler::Beam, Sampler::StochasticBeam] {
            let mut ask = request(3, 12, sampler, 0.7);
            ask.alternatives = 2;
            said.push(format!("{:?}", generate(client, &trunk, ask).iter().map(parts).collect::<Vec<_>>()));
        }
        let ask = Guided {
            shared: vec![1, 2, seed],
            plain: Vec::new(),
            conditional: vec![7; 20],
            gamma: 3.0,
            temperature: 0.5,
            stop: VOCAB as u32,
            max_tokens: 19,
        };
        let (line, after, usage) = guide(client, &ask, Vec::new()).expect("guided");
        let drafted = guide(client, &ask, vec![line.0.clone()]).expect("guided");
        assert!(drafted.0 == line && drafted.2.accepted_tokens == 16);
        let scores = client.score(&trunk, &[seed; 300]).expect("scores");
        said.push(format!("{line:?} {after:?} {usage:?} {scores:?}"));
        said
    };
    fn parts(g: &Generated) -> (&[u32], &[f32], String, Finish) {
        (&g.tokens, &g.logprobs, format!("{:?}", g.alternatives), g.finish)
    }
    let together = |client: &Client| -> Vec<Vec<String>> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || asked(client, seed))).collect();
            threads.into_iter().map(|t| t.join().expect("no panic")).collect()
        })
    };
    let counts = Arc::new(FarCounts::default());
    let options = EngineOptions { threads: 2, ..EngineOptions::default() };
    let far = Engine::start(Box::new(Far::new(counts.clone())), options);
    assert_eq!(together(&far.client()), together(&start(4096).client()));
    let passes = far.client().stats().forward_passes.load(Ordering::SeqCst);
    let selects = counts.selects.load(Ordering::SeqCst);
    // A request whose first row is there already is served in a turn without a pass: beams from the same trunk.
    assert!(selects <= passes + 4 * 4, "{selects} choices, {passes} passes");
    // The first probe's pass may still find rows of what was freed before it.
    pages_in_use(&far.client());
    pages_in_use(&far.client());
    assert_eq!(counts.rows.load(Ordering::SeqCst), 0);
}

/// Fails at what it is told to.
struct Failing {
    toy: Toy,
    fails: Arc<Mutex<&'static str>>,
}

impl Failing {
    fn check(&self, what: &str) -> Result<(), ModelError> {
        let fails = *self.fails.lock().expect("no panic") == what;
        if fails { Err(ModelError::Device(format!("it broke at {what}"))) } else { Ok(()) }
    }
}

impl LanguageModel for Failing {
    fn vocab(&self) -> usize {
        self.toy.vocab()
    }
    fn context(&self) -> usize {
        self.toy.context()
    }
    fn page_len(&self) -> usize {
        self.toy.page_len()
    }
    fn pages(&self) -> usize {
        self.toy.pages()
    }
    fn copy_page(&mut self, from: u32, to: u32) -> Result<(), ModelError> {
        self.check("copy")?;
        self.toy.copy_page(from, to)
    }
    fn forward(&mut self, spans: &[Span<'_>]) -> Result<Vec<Logprobs>, ModelError> {
        if let Err(error) = self.check("forward") {
            // It got as far as to write something wrong.
            let wrong = spans.iter().map(|span| vec![VOCAB as u32; span.tokens.len()]).collect::<Vec<_>>();
            let spans = spans.iter().zip(&wrong).map(|(span, tokens)| Span { tokens, ..*span });
            self.toy.forward(&spans.collect::<Vec<_>>())?;
            return Err(error);
        }
        self.toy.forward(spans)
    }
    fn select(&mut self, chains: &[Vec<Selection>]) -> Result<Vec<Vec<Selected>>, ModelError> {
        self.check("select")?;
        Ok(select_on_host(chains))
    }
}

/// A model that fails ends the requests with its own words, and nothing else: the same sequences go on when it works
/// again.
#[test]
fn the_engine_outlives_a_failure_of_the_model() {
    let fails = Arc::new(Mutex::new(""));
    let model = Failing { toy: Toy::new(64), fails: fails.clone() };
    let engine =
        Engine::start(Box::new(model), EngineOptions { prefix_cache: 0.0, ..EngineOptions::default() });
    let client = engine.client();
    let prompt: Vec<u32> = (0..6).collect();
    for what in ["forward", "select", "copy"] {
        let trunk = client.sequence(&prompt).expect("sequence");
        *fails.lock().expect("no panic") = what;
        let error =
            client.generate(&trunk, request(2, 5, Sampler::Temperature, 1.0)).expect_err("the model fails");
        assert!(matches!(&error, EngineError::Model(why) if why.contains(what)), "{error}");
        if what != "copy" {
            let error = client.score(&trunk, &[1, 2, 3]).expect_err("the model fails");
            assert!(matches!(error, EngineError::Model(_)), "{error}");
            let error = client
                .guide(
                    trunk.fork(6),
                    trunk.fork(5),
                    Guide {
                        guidance: Guidance { gamma: 1.0, epsilon: 0.0 },
                        sampling: Sampling::GREEDY,
                        key: RngKey::new(0),
                        stop: Box::new(Never),
                        max_tokens: 3,
                        alternatives: 0,
                        drafts: Vec::new(),
                    },
                )
                .expect_err("the model fails");
            assert!(matches!(error, EngineError::Model(_)), "{error}");
        }
        *fails.lock().expect("no panic") = "";
        assert_eq!(greedy(&client, &trunk, 5), greedy_truth(&prompt, 5), "after {what}");
        drop(trunk);
        assert_eq!(pages_in_use(&client), 0, "after {what}");
    }
}
