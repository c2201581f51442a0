//! What a GPU can do at best, measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::driver::{Gpu, Grid};
use crate::model::ModelError;
use crate::model::device::GpuLimits;

/// `Limits` in `limits.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Arguments {
    memory: u64,
    out: u64,
    pieces: u64,
    rounds: u64,
}

/// Bytes that are read at most: more than any cache holds.
const MOST_BYTES: usize = 2 << 30;
/// Reading that takes this long, and products that do, are long enough to be timed.
const LONG_READ: Duration = Duration::from_millis(40);
const LONG_PRODUCT: Duration = Duration::from_millis(5);
/// Times that the memory is read in one measurement, so that its start does not count.
const TIMES: usize = 4;
/// Rounds of products at most.
const MOST_ROUNDS: u64 = 1 << 16;

/// The shortest of a few runs.
fn time(gpu: &Gpu, mut work: impl FnMut() -> Result<(), ModelError>) -> Result<Duration, ModelError> {
    let mut best = Duration::MAX;
    for _ in 0..4 {
        gpu.synchronize()?;
        let start = Instant::now();
        work()?;
        gpu.synchronize()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

/// Measures a GPU; nothing else should be using it.
pub(super) fn measure(gpu: &Arc<Gpu>) -> Result<GpuLimits, ModelError> {
    let blocks = 8 * gpu.properties().multiprocessors;
    let out = gpu.zeros::<u32>(blocks)?;
    let grid = Grid { blocks: [blocks, 1, 1], threads: 256 };
    let (read, multiply) = (gpu.kernel("read_memory")?, gpu.kernel("multiply")?);

    // Eight pieces of 16 bytes a thread and turn. Not the whole memory: a model may have to find room.
    let turn = blocks * 256 * 8 * 16;
    let most = MOST_BYTES.min(gpu.memory()?.0 / 4).max(turn) / turn;
    let mut turns = 1;
    let read_gb_per_second = loop {
        let bytes = turns * turn;
        let memory = gpu.zeros::<u8>(bytes)?;
        let arguments = Arguments {
            memory: memory.address(),
            out: out.address(),
            pieces: (bytes / 16) as u64,
            rounds: 0,
        };
        let took = time(gpu, || {
            // SAFETY: the memory is as long as the kernel is told.
            (0..TIMES).try_for_each(|_| unsafe { gpu.launch(read, grid, &arguments) })
        })?;
        if turns == most || took > LONG_READ {
            break (TIMES * bytes) as f64 / took.as_secs_f64() / 1e9;
        }
        turns = (2 * turns).min(most);
    };
    let mut rounds = 1;
    let bf16_gflop_per_second = loop {
        let arguments = Arguments { memory: 0, out: out.address(), pieces: 0, rounds };
        // SAFETY: the kernel writes a number a block at most.
        let took = time(gpu, || unsafe { gpu.launch(multiply, grid, &arguments) })?;
        if rounds >= MOST_ROUNDS || took > LONG_PRODUCT {
            // A warp makes eight products of 16 × 8 × 16 a round.
            let flop = (blocks * 8 * 8 * 2 * 16 * 8 * 16) as f64 * rounds as f64;
            break flop / took.as_secs_f64() / 1e9;
        }
        rounds *= 2;
    };
    Ok(GpuLimits { read_gb_per_second, bf16_gflop_per_second })
}
