//! The choice of tokens from rows of logits in device memory: only the chosen tokens and their numbers come to the host.

use std::collections::VecDeque;
use std::sync::Arc;

use super::driver::{Buffer, Gpu, Grid, Kernel, Pinned, Plain, Staging};
use super::rows::Rows;
use crate::model::ModelError;
use crate::model::sampling::{Choice, Chosen, Logprobs, Selected, Selection, select_on_host};

/// Threads of a block, which looks at a chunk of a row.
const THREADS: usize = 256;
/// Selections of one launch at most.
const MOST_SELECTIONS: usize = 256;
/// Tokens that a selection chooses at most.
const MOST_CHOSEN: usize = 64;
/// Alternatives that it tells at most, but for the favourite of the plain stream.
const MOST_ALTERNATIVES: usize = 32;
/// So many more noisy sums are kept than are wanted.
const SPARE: usize = 8;
/// Room for candidates of a selection.
const CANDIDATES: usize = 4096;
/// Words of `Part` in `select.cu`, of its `Chosen`, and of its `Leading`.
const PART_WORDS: usize = 8;
const CHOSEN_WORDS: usize = 5;
const LEADING_WORDS: usize = 3;
/// Words of `Piece` in `normalise.cu`.
const PIECE_WORDS: usize = 4;

/// `Normalise` in `normalise.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct NormaliseArguments {
    slabs: u64,
    rows: u64,
    pass: u64,
    pieces: u64,
    arrived: u64,
    vocab: u32,
    stride: u32,
}

/// `Request` in `select.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    key: u64,
    score: f64,
    inverse: f64,
    plain: u32,
    signal: u32,
    gamma: f32,
    epsilon: f32,
    temperature: f32,
    top_p: f32,
    kind: u32,
    count: u32,
    alternatives: u32,
    scale: f32,
}

// SAFETY: numbers without a gap between them.
unsafe impl Plain for Request {}
const _: () = assert!(size_of::<Request>() == 64);

/// `Kind` in `select.cu`.
const DRAW: u32 = 0;
const BEST: u32 = 1;
const PERTURBED: u32 = 2;
const GIVEN: u32 = 3;
/// No row.
const NONE: u32 = u32::MAX;

/// `Select` in `select.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct SelectArguments {
    slabs: u64,
    requests: u64,
    keys: u64,
    parts: u64,
    candidates: u64,
    arrived: u64,
    found: u64,
    results: u64,
    vocab: u32,
    stride: u32,
    slots: u32,
    chosen: u32,
    result: u32,
    unused: u32,
}

fn row_of(row: &Logprobs) -> Result<u32, ModelError> {
    row.device()
        .ok_or_else(|| ModelError::Device("a row that is not on the GPU was to be chosen from".into()))
}

/// Whether a selection asks for more than the kernel has room for.
fn is_wide(selection: &Selection) -> bool {
    let chosen = match selection.choice {
        Choice::Best { n } | Choice::Perturbed { n, .. } => n,
        Choice::Draw { .. } | Choice::Given { .. } => 1,
    };
    chosen > MOST_CHOSEN || selection.alternatives > MOST_ALTERNATIVES
}

impl Request {
    fn new(selection: &Selection, vocab: usize) -> Result<Self, ModelError> {
        let mut request = Self {
            key: 0,
            score: 0.0,
            inverse: 1.0,
            plain: row_of(&selection.plain)?,
            signal: NONE,
            gamma: 0.0,
            epsilon: 0.0,
            temperature: 0.0,
            top_p: 1.0,
            kind: DRAW,
            count: 0,
            alternatives: selection.alternatives as u32,
            scale: 1.0,
        };
        if let Some((signal, guidance)) = &selection.guided {
            request.signal = row_of(signal)?;
            (request.gamma, request.epsilon) = (guidance.gamma, guidance.epsilon);
        }
        match selection.choice {
            Choice::Draw { sampling, key } => {
                (request.temperature, request.top_p) = (sampling.temperature, sampling.top_p);
                // All of the vocabulary is no cut.
                request.count = if sampling.top_k < vocab { sampling.top_k as u32 } else { 0 };
                request.key = key.bits();
            }
            Choice::Best { n } => {
                (request.kind, request.count) = (BEST, n as u32);
            }
            Choice::Perturbed { n, temperature, score, key } => {
                (request.kind, request.count) = (PERTURBED, n as u32);
                (request.temperature, request.score, request.key) = (temperature, score, key.bits());
            }
            Choice::Given { token } => (request.kind, request.count) = (GIVEN, token),
        }
        if request.temperature > 0.0 {
            request.inverse = 1.0 / f64::from(request.temperature);
            request.scale = request.inverse as f32;
        }
        Ok(request)
    }

    /// Tokens that are chosen at most.
    fn chosen(&self) -> usize {
        if matches!(self.kind, BEST | PERTURBED) { self.count as usize } else { 1 }
    }

    /// Keys that each chunk leaves at most; `plan_of` in `select.cu` counts them.
    fn slots(&self) -> usize {
        let noisy = if self.kind == PERTURBED { self.count as usize + SPARE } else { 0 };
        let few = self.kind == DRAW && self.count as usize <= MOST_CHOSEN;
        let counted = if few || self.kind == BEST { self.count as usize } else { 0 };
        counted.max(self.alternatives as usize).max(1) + noisy
    }

    /// Whether candidates are noted; `plan_of` in `select.cu` decides it.
    fn cuts(&self) -> bool {
        let many = self.count as usize > MOST_CHOSEN || self.count == 0 && self.top_p < 1.0;
        self.kind == DRAW && self.temperature > 0.0 && many
    }
}

/// The rows, and the kernels that normalise them and choose from them.
pub(super) struct Selector {
    gpu: Arc<Gpu>,
    /// The rows.
    pub rows: Rows,
    normalise: Kernel,
    select: Kernel,
    /// Rows that are normalised at once at most.
    most_rows: usize,
    pieces: Buffer<u32>,
    rows_arrived: Buffer<u32>,
    requests: Buffer<Request>,
    staging: Staging<Request>,
    keys: Buffer<u64>,
    parts: Buffer<u32>,
    candidates: Buffer<u64>,
    arrived: Buffer<u32>,
    found: Buffer<u32>,
    results: Buffer<u32>,
    read: Pinned<u32>,
}

/// Makes a buffer long enough.
fn make_room<T: Plain>(gpu: &Arc<Gpu>, buffer: &mut Buffer<T>, len: usize) -> Result<(), ModelError> {
    if buffer.len() < len {
        *buffer = gpu.alloc(len.next_power_of_two())?;
    }
    Ok(())
}

impl Selector {
    /// For passes that want at most so many rows.
    pub fn new(gpu: &Arc<Gpu>, vocab: usize, most_rows: usize) -> Result<Self, ModelError> {
        let rows = Rows::new(gpu, vocab)?;
        let chunks = rows.chunks();
        Ok(Self {
            normalise: gpu.kernel("normalise")?,
            select: gpu.kernel("select_tokens")?,
            most_rows,
            pieces: gpu.alloc(most_rows * chunks * PIECE_WORDS)?,
            rows_arrived: gpu.zeros(most_rows)?,
            requests: gpu.alloc(MOST_SELECTIONS)?,
            staging: Staging::new(gpu, MOST_SELECTIONS)?,
            keys: gpu.alloc(1)?,
            parts: gpu.alloc(MOST_SELECTIONS * chunks * PART_WORDS)?,
            candidates: gpu.alloc(1)?,
            arrived: gpu.zeros(MOST_SELECTIONS)?,
            found: gpu.zeros(MOST_SELECTIONS)?,
            results: gpu.alloc(1)?,
            read: gpu.pinned(1)?,
            rows,
            gpu: gpu.clone(),
        })
    }

    /// Normalises rows whose numbers are at an address in device memory: `count` of them or, where `pass` is the address
    /// of a `Pass` (`layout.cuh`), as many of these as it wants. May be recorded in a graph.
    ///
    /// # Safety
    /// There are `count` numbers of rows that were taken (or as many as the pass wants).
    pub unsafe fn normalise(&self, rows: u64, pass: u64, count: usize) -> Result<(), ModelError> {
        assert!(
            count <= self.most_rows,
            "{count} rows are to be normalised, there is room for {}",
            self.most_rows
        );
        if count == 0 {
            return Ok(());
        }
        let arguments = NormaliseArguments {
            slabs: self.rows.slabs(),
            rows,
            pass,
            pieces: self.pieces.address(),
            arrived: self.rows_arrived.address(),
            vocab: self.rows.vocab() as u32,
            stride: self.rows.stride() as u32,
        };
        let grid = Grid { blocks: [self.rows.chunks(), count, 1], threads: THREADS };
        // SAFETY: the buffers have room for this many rows; the numbers are the caller's promise.
        unsafe { self.gpu.launch(self.normalise, grid, &arguments) }
    }

    /// Chooses from normalised rows, as `select_on_host` does from those of the host: a chain ends at the first selection
    /// that chooses another token than it expects.
    ///
    /// All selections of a launch run at once, also those that turn out not to be wanted.
    pub fn select(&mut self, chains: &[Vec<Selection>]) -> Result<Vec<Vec<Selected>>, ModelError> {
        let selections = || chains.iter().flatten();
        if selections().any(is_wide) {
            return self.select_on_host(chains);
        }
        let vocab = self.rows.vocab();
        let requests: Vec<Request> =
            selections().map(|s| Request::new(s, vocab)).collect::<Result<_, _>>()?;
        let mut selected = VecDeque::with_capacity(requests.len());
        for requests in requests.chunks(MOST_SELECTIONS) {
            self.select_some(requests, &mut selected)?;
        }
        let told = chains.iter().map(|chain| {
            let mut results: Vec<Selected> = selected.drain(..chain.len()).collect();
            let as_expected = |(selection, result): (&Selection, &Selected)| {
                selection.expects.is_some_and(|token| result.tokens.first().is_some_and(|c| c.token == token))
            };
            let kept = chain.iter().zip(&results).take_while(|&both| as_expected(both)).count();
            results.truncate(kept + 1);
            results
        });
        Ok(told.collect())
    }

    /// The same, for selections that the kernel has no room for: their rows are copied to the host.
    fn select_on_host(&self, chains: &[Vec<Selection>]) -> Result<Vec<Vec<Selected>>, ModelError> {
        let copy = |row: &Logprobs| Ok::<_, ModelError>(Logprobs::on_host(self.rows.read(row_of(row)?)?));
        let on_host = |selection: &Selection| {
            let guided =
                selection.guided.as_ref().map(|(row, guidance)| Ok::<_, ModelError>((copy(row)?, *guidance)));
            Ok(Selection { plain: copy(&selection.plain)?, guided: guided.transpose()?, ..selection.clone() })
        };
        let chains = chains.iter().map(|chain| chain.iter().map(on_host).collect());
        Ok(select_on_host(&chains.collect::<Result<Vec<Vec<Selection>>, ModelError>>()?))
    }

    fn select_some(&mut self, requests: &[Request], out: &mut VecDeque<Selected>) -> Result<(), ModelError> {
        let chunks = self.rows.chunks();
        let most = |f: fn(&Request) -> usize| requests.iter().map(f).max().unwrap_or(0);
        let (slots, chosen, told) =
            (most(Request::slots), most(Request::chosen), most(|r| r.alternatives as usize));
        let candidates = if requests.iter().any(Request::cuts) { requests.len() * CANDIDATES } else { 0 };
        // The favourite of the plain stream may come on top.
        let words = 2 + chosen * CHOSEN_WORDS + if told > 0 { (told + 1) * LEADING_WORDS } else { 0 };
        let len = requests.len() * words;
        make_room(&self.gpu, &mut self.keys, requests.len() * chunks * slots)?;
        make_room(&self.gpu, &mut self.candidates, candidates)?;
        make_room(&self.gpu, &mut self.results, len)?;
        if self.read.len() < len {
            self.read = self.gpu.pinned(len.next_power_of_two())?;
        }
        self.staging.write(&self.requests, requests)?;
        let arguments = SelectArguments {
            slabs: self.rows.slabs(),
            requests: self.requests.address(),
            keys: self.keys.address(),
            parts: self.parts.address(),
            candidates: self.candidates.address(),
            arrived: self.arrived.address(),
            found: self.found.address(),
            results: self.results.address(),
            vocab: self.rows.vocab() as u32,
            stride: self.rows.stride() as u32,
            slots: slots as u32,
            chosen: chosen as u32,
            result: words as u32,
            unused: 0,
        };
        let grid = Grid { blocks: [chunks, requests.len(), 1], threads: THREADS };
        // SAFETY: the buffers have the sizes that the arguments name; a row that has a handle is in a slab, and no kernel
        // that is asked for later can change it before.
        unsafe { self.gpu.launch(self.select, grid, &arguments)? };
        self.results.read_pinned(0, &mut self.read, len)?;
        self.gpu.synchronize()?;
        let results = self.read[..len].chunks_exact(words);
        out.extend(results.zip(requests).map(|(words, request)| told_by(words, chosen, request)));
        Ok(())
    }
}

/// What a result says, in which there is room for `room` tokens.
fn told_by(words: &[u32], room: usize, request: &Request) -> Selected {
    let guided = |bits: u32| (request.signal != NONE).then(|| f32::from_bits(bits));
    let (chosen, leading) = words[2..].split_at(room * CHOSEN_WORDS);
    let chosen = chosen.as_chunks::<CHOSEN_WORDS>().0.iter().take(words[0] as usize);
    let leading = leading.as_chunks::<LEADING_WORDS>().0.iter().take(words[1] as usize);
    Selected {
        tokens: chosen
            .map(|&[token, logprob, signal, tempered, perturbed]| Chosen {
                token,
                logprob: f32::from_bits(logprob),
                guided: guided(signal),
                tempered: f32::from_bits(tempered),
                perturbed: f32::from_bits(perturbed),
            })
            .collect(),
        leading: leading.map(|&[token, p, q]| (token, f32::from_bits(p), guided(q))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::model::sampling::{Guidance, RngKey, Sampling, select_on_host};

    /// Numbers that look random.
    struct Random(RngKey, u64);

    impl Random {
        fn uniform(&mut self) -> f32 {
            self.1 += 1;
            self.0.uniform(self.1) as f32
        }

        fn normal(&mut self) -> f32 {
            (-2.0 * self.uniform().max(1e-9).ln()).sqrt() * (std::f32::consts::TAU * self.uniform()).cos()
        }

        fn below(&mut self, n: usize) -> usize {
            (self.uniform() * n as f32) as usize % n
        }

        fn of<T: Copy>(&mut self, values: &[T]) -> T {
            values[self.below(values.len())]
        }
    }

    /// Kinds of distributions: like a language model's; all but flat; with many equal entries; all equal; one token and a
    /// long tail that together weighs as much.
    const SHAPES: usize = 5;

    fn logits(random: &mut Random, vocab: usize, shape: usize) -> Vec<f32> {
        let mut row: Vec<f32> = (0..vocab)
            .map(|_| match shape {
                0 => 2.5 * random.normal(),
                1 => 0.01 * random.normal(),
                2 => (4.0 * random.normal()).floor() / 2.0,
                3 => 3.25,
                _ => 7.0 + 0.3 * random.normal(),
            })
            .collect();
        match shape {
            0 => (0..12).for_each(|_| row[random.below(vocab)] = 10.0 + 12.0 * random.uniform()),
            4 => row[vocab / 3] = 20.0,
            _ => {}
        }
        row
    }

    /// Places logits in new rows of the device, normalises them, and returns them there and here.
    fn place(selector: &mut Selector, logits: &[Vec<f32>]) -> (Vec<Logprobs>, Vec<Logprobs>) {
        let numbers: Vec<u32> = logits.iter().map(|_| selector.rows.take().expect("room")).collect();
        for (&row, logits) in numbers.iter().zip(logits) {
            let (slab, at) = selector.rows.place(row);
            slab.write(at, logits).expect("it fits");
        }
        let gpu = selector.gpu.clone();
        let list = gpu.buffer_of(&numbers).expect("room");
        // SAFETY: rows that were taken.
        unsafe { selector.normalise(list.address(), 0, numbers.len()).expect("it runs") };
        let host =
            numbers.iter().map(|&row| Logprobs::on_host(selector.rows.read(row).expect("it can be read")));
        let host = host.collect();
        (numbers.iter().map(|&row| selector.rows.handle(row)).collect(), host)
    }

    #[test]
    fn rows_are_normalised_alike_in_any_company() {
        let gpu = testing::gpu();
        let mut random = Random(RngKey::new(1), 0);
        for vocab in [7, 4096, 10_001] {
            let mut selector = Selector::new(&gpu, vocab, 16).expect("it opens");
            let rows: Vec<Vec<f32>> = (0..SHAPES).map(|shape| logits(&mut random, vocab, shape)).collect();
            let (_, together) = place(&mut selector, &rows);
            for (row, l) in rows.iter().zip(&together) {
                let l = l.host().expect("on the host");
                let max = f64::from(row.iter().fold(f32::MIN, |a, &b| a.max(b)));
                let shift = max + row.iter().map(|&x| (f64::from(x) - max).exp()).sum::<f64>().ln();
                for (&x, &l) in row.iter().zip(l) {
                    assert!(
                        (f64::from(l) - (f64::from(x) - shift)).abs() < 4e-6,
                        "{x} became {l} with {shift}"
                    );
                }
                let (_, alone) = place(&mut selector, std::slice::from_ref(row));
                assert_eq!(alone[0].host(), Some(l));
            }
        }
    }

    /// A selection of any kind, from the rows `p` and `q`.
    fn selection(random: &mut Random, rows: [&Logprobs; 2], vocab: usize, key: RngKey) -> Selection {
        let n = random.of(&[1, 2, 5, 16, 17, 64]);
        let temperature = random.of(&[0.0, 0.2, 0.8, 1.0, 3.0]);
        let choice = match random.below(6) {
            0 => Choice::Best { n },
            1 => Choice::Perturbed { n, temperature, score: f64::from(-40.0 * random.uniform()), key },
            2 => Choice::Given { token: random.below(vocab) as u32 },
            _ => {
                let top_k = random.of(&[0, 0, 0, 1, 5, 50, 100, 5000]);
                let top_p = random.of(&[1.0, 0.95, 0.5, 0.01]);
                Choice::Draw { sampling: Sampling { temperature, top_p, top_k }, key }
            }
        };
        let guidance =
            Guidance { gamma: random.of(&[0.0, 1.0, 0.5, 1.5, 3.0]), epsilon: random.of(&[0.0, 1e-4]) };
        Selection {
            plain: rows[0].clone(),
            guided: random.of(&[true, false]).then(|| (rows[1].clone(), guidance)),
            choice,
            alternatives: random.of(&[0, 0, 1, 5, 20, 32]),
            expects: None,
        }
    }

    /// The same selection of rows of the host.
    fn on_host(selection: &Selection, device: &[Logprobs], host: &[Logprobs]) -> Selection {
        let row = |row: &Logprobs| {
            let index = device.iter().position(|r| r.device() == row.device()).expect("one of them");
            host[index].clone()
        };
        let guided = selection.guided.as_ref().map(|(q, guidance)| (row(q), *guidance));
        Selection { plain: row(&selection.plain), guided, ..selection.clone() }
    }

    fn tokens(selected: &Selected) -> (Vec<u32>, Vec<u32>) {
        (selected.tokens.iter().map(|c| c.token).collect(), selected.leading.iter().map(|l| l.0).collect())
    }

    /// Whether all numbers are close, where the tokens are the same.
    fn close(a: &Selected, b: &Selected) -> bool {
        let near = |a: f32, b: f32| (a - b).abs() <= 1e-5 * a.abs().max(1.0);
        let both = |a: &Chosen, b: &Chosen| {
            a.logprob == b.logprob
                && a.guided == b.guided
                && near(a.tempered, b.tempered)
                && near(a.perturbed, b.perturbed)
        };
        a.tokens.iter().zip(&b.tokens).all(|(a, b)| both(a, b)) && a.leading == b.leading
    }

    #[test]
    fn the_device_chooses_as_the_host_does() {
        let gpu = testing::gpu();
        let (mut all, mut other) = (0, 0);
        for (seed, vocab) in [7, 255, 1000, 4097, 32_256, 151_936].into_iter().enumerate() {
            let mut random = Random(RngKey::new(seed as u64), 0);
            let mut selector = Selector::new(&gpu, vocab, 16).expect("it opens");
            // Two streams of each kind; the second is near the first.
            let rows: Vec<Vec<f32>> = (0..SHAPES)
                .flat_map(|shape| {
                    let p = logits(&mut random, vocab, shape);
                    let q =
                        p.iter().map(|x| if shape < 2 { x + 0.7 * random.normal() } else { *x }).collect();
                    [p, q]
                })
                .collect();
            let (device, host) = place(&mut selector, &rows);
            let count = if vocab > 10_000 { 40 } else { 120 };
            let selections: Vec<Vec<Selection>> = (0..count)
                .map(|i| {
                    let first = 2 * random.below(SHAPES);
                    vec![selection(
                        &mut random,
                        [&device[first], &device[first + 1]],
                        vocab,
                        RngKey::new(9).with(i),
                    )]
                })
                .collect();
            let on_host: Vec<Vec<Selection>> = selections
                .iter()
                .map(|chain| chain.iter().map(|s| on_host(s, &device, &host)).collect())
                .collect();
            let ours = selector.select(&selections).expect("it runs").concat();
            let theirs = select_on_host(&on_host).concat();
            for ((ours, theirs), selection) in ours.iter().zip(&theirs).zip(selections.concat()) {
                all += 1;
                let same = tokens(ours) == tokens(theirs);
                assert!(!same || close(ours, theirs), "{selection:?}: {ours:?}, not {theirs:?}");
                // What goes through exponentials may be rounded to another order, but hardly ever is.
                let cut = matches!(selection.choice, Choice::Draw { sampling, .. } if sampling.top_p < 1.0);
                let tempered = matches!(selection.choice, Choice::Perturbed { .. });
                let rounded = cut || tempered || selection.guided.is_some();
                assert!(same || rounded, "vocabulary {vocab}, {selection:?}: {ours:?}, not {theirs:?}");
                other += usize::from(!same);
            }
            // Nothing depends on what else is chosen at the same time.
            for (selection, together) in selections.iter().zip(&ours).step_by(11) {
                let alone = selector.select(std::slice::from_ref(selection)).expect("it runs").concat();
                assert_eq!(&alone[..], std::slice::from_ref(together));
            }
        }
        assert!(other * 50 <= all, "{other} of {all} differ");
    }

    #[test]
    fn chains_end_where_another_token_comes() {
        let gpu = testing::gpu();
        let mut selector = Selector::new(&gpu, 3, 16).expect("it opens");
        let rows = [vec![2.0, 1.0, 0.0], vec![0.0, 3.0, 1.0], vec![0.0, 1.0, 4.0]];
        let (device, _) = place(&mut selector, &rows);
        let greedy = Choice::Draw { sampling: Sampling::GREEDY, key: RngKey::new(0) };
        let chain = |expects: &[Option<u32>]| -> Vec<Selection> {
            let rows = device.iter().cycle().zip(expects);
            rows.map(|(plain, &expects)| Selection {
                plain: plain.clone(),
                guided: None,
                choice: greedy,
                alternatives: 0,
                expects,
            })
            .collect()
        };
        // More selections than one launch takes.
        let long: Vec<Option<u32>> = (0..300).map(|i| Some(i % 3)).collect();
        let chains =
            [chain(&[Some(0), Some(1), None]), chain(&[Some(0), Some(2), None]), chain(&[]), chain(&long)];
        let chosen: Vec<Vec<u32>> = selector
            .select(&chains)
            .expect("it runs")
            .iter()
            .map(|chain| chain.iter().flat_map(|s| tokens(s).0).collect())
            .collect();
        assert_eq!(chosen[..3], [vec![0, 1, 2], vec![0, 1], vec![]]);
        assert_eq!(chosen[3], (0..300).map(|i| i % 3).collect::<Vec<u32>>());
    }

    #[test]
    fn what_the_kernel_has_no_room_for_is_chosen_on_the_host() {
        let gpu = testing::gpu();
        let mut selector = Selector::new(&gpu, 100, 16).expect("it opens");
        let (device, host) = place(&mut selector, &[(0..100).map(|i| (i * 37 % 100) as f32).collect()]);
        let wide = |plain: &Logprobs| {
            let choice = Choice::Best { n: MOST_CHOSEN + 6 };
            vec![vec![Selection {
                plain: plain.clone(),
                guided: None,
                choice,
                alternatives: 0,
                expects: None,
            }]]
        };
        let (ours, theirs) =
            (selector.select(&wide(&device[0])).expect("it runs"), select_on_host(&wide(&host[0])));
        assert_eq!(tokens(&ours[0][0]).0, tokens(&theirs[0][0]).0);
        assert_eq!(ours[0][0].tokens.len(), MOST_CHOSEN + 6);
    }
}
