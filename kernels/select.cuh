// What the kernels over rows of logits share: what a row ends with, how blocks divide it, sums and maxima over a block.
//
// A row holds the logits of the vocabulary, and at its end what `normalise` found out about them. A row is cut into
// chunks of a fixed size, a block each, however many rows a launch is about: so what comes out of a row, down to the
// last bit, depends on nothing but the row.
#pragma once
#include "layout.cuh"

constexpr u32 THREADS = 256;
constexpr u32 WARPS = THREADS / WARP;
// Entries of a row that a block looks at.
constexpr u32 CHUNK = 4096;
// The longest row has this many.
constexpr u32 MOST_CHUNKS = 72;
// The last four floats of a row.
struct RowEnd {
    float shift; // the log-probability of a token is its logit minus this
    u32 largest; // the lowest token among those of the largest logit
    u32 unused[2];
};

__device__ __forceinline__ RowEnd *row_end(float *row, u32 stride) {
    return (RowEnd *)(row + stride - 4);
}

// Bits of a float that are in order as unsigned integers. Both zeros are the same.
__device__ __forceinline__ u32 ordered(float value) {
    const u32 bits = __float_as_uint(value + 0.0f);
    return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

__device__ __forceinline__ float unordered(u32 bits) {
    return __uint_as_float(bits & 0x80000000 ? bits & 0x7fffffff : ~bits);
}

// The largest value of a block, in all its threads.
__device__ __forceinline__ u64 block_max(u64 value) {
    __shared__ u64 warps[WARPS];
    for (u32 step = WARP / 2; step > 0; step /= 2) {
        const u64 other = __shfl_xor_sync(EVERY_LANE, value, step);
        value = other > value ? other : value;
    }
    if (threadIdx.x % WARP == 0) warps[threadIdx.x / WARP] = value;
    __syncthreads();
    for (u32 i = 0; i < WARPS; i++) value = warps[i] > value ? warps[i] : value;
    __syncthreads();
    return value;
}

// The sum of a block's values, in all its threads; the order of additions is fixed.
__device__ __forceinline__ float block_sum(float value) {
    __shared__ float warps[WARPS];
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) warps[threadIdx.x / WARP] = value;
    __syncthreads();
    float sum = 0.0f;
    for (u32 i = 0; i < WARPS; i++) sum += warps[i];
    __syncthreads();
    return sum;
}
