//! The machine, and what it can do at most: the limits that the rows are held against.

use std::hint::black_box;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::model::cpu::Isa;
use crate::model::cpu::simd::multiversion;

/// A machine and its measured limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name as the system gives it.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Threads that computed.
    pub threads: usize,
    /// Vector instructions in use.
    pub isa: String,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// Bytes that all threads together read from memory in a second, in 10⁹.
    pub read_gb_per_second: f64,
    /// Fused multiply-adds in f32 by all threads together in a second, in 10⁹ operations (two each).
    pub fma_gflop_per_second: f64,
    /// The GPU that computes the model, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
}

/// A GPU and its measured limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Compute capability, 90 for 9.0.
    pub capability: u32,
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// Memory in bytes.
    pub memory_bytes: usize,
    /// Bytes that it reads from its memory in a second, in 10⁹.
    pub read_gb_per_second: f64,
    /// Operations of its tensor cores in bf16 in a second, in 10⁹ (two each multiply-add).
    pub bf16_gflop_per_second: f64,
}

impl Machine {
    /// Looks the machine up and measures its limits, which takes about a second.
    pub fn measure(threads: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let proc = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = field(&proc("/proc/meminfo"), "MemTotal");
        let kib = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
        Self {
            cpu: field(&proc("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            cores,
            threads,
            isa: Isa::detect().name().to_owned(),
            memory_bytes: kib << 10,
            read_gb_per_second: read_bandwidth(threads),
            fma_gflop_per_second: fma_rate(threads),
            gpu: None,
        }
    }

    /// Bytes and operations a second, in 10⁹, that what computes the model can do at most.
    pub(super) fn limits(&self) -> (f64, f64) {
        match &self.gpu {
            Some(gpu) => (gpu.read_gb_per_second, gpu.bf16_gflop_per_second),
            None => (self.read_gb_per_second, self.fma_gflop_per_second),
        }
    }
}

/// Runs `work` on every thread at once and returns the seconds until the last is done, the shortest of `times`.
fn best_of(times: usize, threads: usize, work: impl Fn(usize) + Sync) -> f64 {
    let once = || {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let work = &work;
                scope.spawn(move || work(thread));
            }
        });
        started.elapsed().as_secs_f64()
    };
    (0..times).map(|_| once()).fold(f64::INFINITY, f64::min)
}

/// The read-only part of a STREAM-like measurement: sums over more memory than caches hold.
fn read_bandwidth(threads: usize) -> f64 {
    const WORDS: usize = (512 << 20) / 8;
    // Not zeroed memory, which the system may back by one page only.
    let words: Vec<u64> = vec![1; WORDS];
    let part = WORDS.div_ceil(threads);
    let seconds = best_of(5, threads, |thread| {
        let mine = &words[(thread * part).min(WORDS)..((thread + 1) * part).min(WORDS)];
        let mut sum = 0;
        add_up(mine, &mut sum);
        black_box(sum);
    });
    (WORDS * 8) as f64 / seconds / 1e9
}

/// Places from which a thread reads in turn: several are faster than one, as weights, scales and keys are read.
const STREAMS: usize = 8;

multiversion! {
    fn add_up(words: &[u64], sum: &mut u64) {
        const PIECE: usize = 32;
        let part = words.len() / STREAMS;
        for at in (0..part - part % PIECE).step_by(PIECE) {
            for stream in 0..STREAMS {
                for word in &words[stream * part + at..][..PIECE] {
                    *sum = sum.wrapping_add(*word);
                }
            }
        }
    }
}

/// A vector of the widest kind, and how many are in flight: enough to hide the latency of each.
type Lanes = [f32; 16];
const CHAINS: usize = 8;

#[inline(always)]
fn next(mut lanes: Lanes, by: f32, plus: f32) -> Lanes {
    for lane in &mut lanes {
        *lane = lane.mul_add(by, plus);
    }
    lanes
}

multiversion! {
    // Each chain is a variable of its own, so that it stays in a register.
    fn multiply_add(rounds: usize, by: f32, plus: f32, chains: &mut [Lanes; CHAINS]) {
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *chains;
        for _ in 0..rounds {
            (a, b, c, d) = (next(a, by, plus), next(b, by, plus), next(c, by, plus), next(d, by, plus));
            (e, f, g, h) = (next(e, by, plus), next(f, by, plus), next(g, by, plus), next(h, by, plus));
        }
        *chains = [a, b, c, d, e, f, g, h];
    }
}

/// Multiply-adds on values that stay in registers.
fn fma_rate(threads: usize) -> f64 {
    let seconds_of = |rounds: usize, times: usize| {
        best_of(times, threads, |_| {
            let mut chains = [[1.0; 16]; CHAINS];
            multiply_add(rounds, black_box(0.999), black_box(0.001), &mut chains);
            black_box(chains);
        })
    };
    // As many rounds as take about 50 ms, with fused instructions or without.
    let trial = seconds_of(20_000, 3);
    let rounds = (20_000.0 * (0.05 / trial).clamp(0.01, 1000.0)) as usize;
    let seconds = seconds_of(rounds, 3);
    (2 * 16 * CHAINS * rounds * threads) as f64 / seconds / 1e9
}

/// The most memory that this process has had in use, in bytes; 0 where the system does not tell.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|text| text.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Starts the measurement of [`peak_memory`] anew, so that it is about what comes next. Without effect where
/// the system does not allow it.
pub fn forget_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
