// What the machine can do at best: memory read front to back, and tensor-core products of registers. The benchmark sets
// its figures beside these.
#include "device.cuh"

struct Limits {
    u64 memory; // 16-byte pieces
    u64 out;    // u32 a block
    u64 pieces; // in all; a multiple of threads × blocks × AT_ONCE
    u64 rounds; // of `multiply`
};
static_assert(sizeof(Limits) == 32, "as the Rust that launches it has it");

constexpr u32 AT_ONCE = 8;

extern "C" __global__ void __launch_bounds__(256) read_memory(Limits a) {
    wait_for_previous();
    const Quad *memory = (const Quad *)a.memory + (u64)blockIdx.x * 256 + threadIdx.x;
    const u64 step = (u64)gridDim.x * 256;
    u32 all = 0;
    for (u64 at = 0; at < a.pieces / step; at += AT_ONCE) {
        Quad quads[AT_ONCE];
#pragma unroll
        for (u32 i = 0; i < AT_ONCE; i++) quads[i] = load_once(memory + (at + i) * step);
#pragma unroll
        for (u32 i = 0; i < AT_ONCE; i++) all ^= quads[i].x ^ quads[i].y ^ quads[i].z ^ quads[i].w;
    }
    // What is not used would not be read.
    if (all == 0x5eed) ((u32 *)a.out)[blockIdx.x] = all;
}
KERNEL(read_memory)

extern "C" __global__ void __launch_bounds__(256) multiply(Limits a) {
    wait_for_previous();
    float sums[8][4] = {};
    Quad left = {threadIdx.x, threadIdx.x, threadIdx.x, threadIdx.x};
    for (u64 round = 0; round < a.rounds; round++) {
#pragma unroll
        for (u32 i = 0; i < 8; i++) mma(sums[i], left, left.x, left.y);
    }
    float all = 0.0f;
    for (u32 i = 0; i < 8; i++) all += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
    if (all == 0.5f) ((u32 *)a.out)[blockIdx.x] = 1;
}
KERNEL(multiply)
