// Where things lie that several kernels share.
#pragma once
#include "device.cuh"

// What a pass is about. The arrays beside it hold as many entries as it says.
struct Pass {
    u32 tokens; // rows that go through the blocks
    u32 wanted; // rows whose logits are wanted
    u32 items;  // pieces of work of attention
    u32 whole;  // the first of them: those of whole chunks
    u32 parts;  // room for unfinished sums of attention, a token
    u32 unused[3];
};

// Activations stand as the second operand of the tensor cores takes them: eight tokens and sixteen inputs are 32 lanes of
// four bf16 values. The place of input `k` of a token, in bf16 values, where a token has `k_tiles` times sixteen inputs.
__device__ __forceinline__ size_t activation_at(u32 token, u32 k, u32 k_tiles) {
    const u32 lane = token % 8 * 4 + k % 8 / 2;
    return (((size_t)(token / 8) * k_tiles + k / 16) * WARP + lane) * 4 + k % 16 / 8 * 2 + k % 2;
}

// Positions in a page of keys and values.
constexpr u32 PAGE = 32;

// A page of one key head holds PAGE × dim bf16 values. Keys stand as the second operand of queries · keys, values as that
// of weights · values, both in pieces of 16 positions × 16 dimensions: 32 lanes of eight values.
__device__ __forceinline__ u32 key_at(u32 position, u32 dim, u32 dim_tiles) {
    const u32 lane = position % 8 * 4 + dim % 8 / 2;
    return ((position / 16 * dim_tiles + dim / 16) * WARP + lane) * 8 + position % 16 / 8 * 4 + dim % 16 / 8 * 2 + dim % 2;
}

__device__ __forceinline__ u32 value_at(u32 position, u32 dim, u32 dim_tiles) {
    const u32 lane = dim % 8 * 4 + position % 8 / 2;
    return ((position / 16 * dim_tiles + dim / 16) * WARP + lane) * 8 + dim % 16 / 8 * 4 + position % 16 / 8 * 2 +
           position % 2;
}

// Rows of logits in an allocation.
constexpr u32 SLAB = 64;

// A row of `stride` floats; `slabs` is the address of the addresses of the allocations.
__device__ __forceinline__ float *row_at(u64 slabs, u32 stride, u32 row) {
    return (float *)((const u64 *)slabs)[row / SLAB] + (size_t)(row % SLAB) * stride;
}
