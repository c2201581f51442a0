// Makes log-probabilities of rows of logits: finds what is to be subtracted, `max + ln Σ exp(x − max)`, and writes it to
// the end of the row. The logits stay as they are. Bound by reading each row once, from the second-level cache.
//
// A block sums up a chunk relative to the chunk's own maximum; the last block of a row to arrive adds up the chunks, in
// their order. Exponentials and logarithms are CUDA's, whose last bits differ from those of the processor's path.
#include "select.cuh"

struct Normalise {
    u64 slabs;   // u64: addresses of the slabs that hold the rows
    u64 rows;    // u32: the rows in question
    u64 pass;    // Pass, or 0: only as many rows as it wants
    u64 pieces;  // Piece: [row in question][chunk]
    u64 arrived; // u32: [row in question], 0
    u32 vocab;
    u32 stride; // floats of a row
};

// What a block found in its chunk.
struct alignas(16) Piece {
    u64 largest; // the largest logit and, among equals, the lowest token
    float sum;   // Σ exp(x − largest logit)
    u32 unused;
};

// A thread's share of a chunk: four times four logits.
constexpr u32 LOADS = CHUNK / THREADS / 4;

// blockIdx: chunk, row in question.
extern "C" __global__ void __launch_bounds__(THREADS) normalise(Normalise a) {
    let_next_start();
    wait_for_previous();
    if (a.pass && blockIdx.y >= ((const Pass *)a.pass)->wanted) return;
    float *row = row_at(a.slabs, a.stride, ((const u32 *)a.rows)[blockIdx.y]);
    const u32 first = blockIdx.x * CHUNK + threadIdx.x * 4;
    float x[LOADS * 4];
#pragma unroll
    for (u32 load = 0; load < LOADS; load++) {
        const u32 token = first + load * THREADS * 4;
        Quad bits = {0, 0, 0, 0};
        if (token < a.vocab) bits = *(const Quad *)(row + token);
        x[load * 4] = __uint_as_float(bits.x);
        x[load * 4 + 1] = __uint_as_float(bits.y);
        x[load * 4 + 2] = __uint_as_float(bits.z);
        x[load * 4 + 3] = __uint_as_float(bits.w);
    }
    u64 largest = 0;
#pragma unroll
    for (u32 i = 0; i < LOADS * 4; i++) {
        const u32 token = first + i / 4 * THREADS * 4 + i % 4;
        if (token >= a.vocab) x[i] = -INFINITY;
        const u64 key = (u64)ordered(x[i]) << 32 | (u32)~token;
        if (token < a.vocab && key > largest) largest = key;
    }
    largest = block_max(largest);
    // Where all are −∞ there is nothing to add, and nothing to subtract them from either.
    const float max = fmaxf(unordered((u32)(largest >> 32)), -3e38f);
    float sum = 0.0f;
#pragma unroll
    for (u32 i = 0; i < LOADS * 4; i++) sum += expf(x[i] - max);
    sum = block_sum(sum);
    Piece *pieces = (Piece *)a.pieces + (size_t)blockIdx.y * gridDim.x;
    if (threadIdx.x == 0) pieces[blockIdx.x] = {largest, sum, 0};
    if (!arrived_last((u32 *)a.arrived + blockIdx.y, gridDim.x)) return;

    u64 row_largest = 0;
    for (u32 i = threadIdx.x; i < gridDim.x; i += THREADS)
        row_largest = pieces[i].largest > row_largest ? pieces[i].largest : row_largest;
    row_largest = block_max(row_largest);
    const float row_max = unordered((u32)(row_largest >> 32));
    float row_sum = 0.0f;
    for (u32 i = threadIdx.x; i < gridDim.x; i += THREADS)
        row_sum += pieces[i].sum * expf(unordered((u32)(pieces[i].largest >> 32)) - row_max);
    row_sum = block_sum(row_sum);
    if (threadIdx.x == 0) *row_end(row, a.stride) = {row_max + logf(row_sum), ~(u32)row_largest, {0, 0}};
}
KERNEL(normalise)
