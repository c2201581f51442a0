// What every kernel here uses: types, conversions, the tensor-core product, loads, sums within a warp.
//
// A kernel takes one struct by value and is registered with KERNEL(name). All of this file has a second meaning
// under VIGOR_EMULATION, where the kernels are compiled as C++ and run on the processor, thread by thread
// (tests/emulator): that is how they are tested where there is no GPU.
#pragma once

#ifdef VIGOR_EMULATION
#include "emulation.h"
#else
#define KERNEL(name)
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct alignas(8) Pair {
    u32 x, y;
};

struct alignas(16) Quad {
    u32 x, y, z, w;
};

constexpr u32 WARP = 32;
constexpr u32 EVERY_LANE = 0xffffffff;

// Two floats rounded to bf16 (to nearest, ties to even); `low` lies in the low half.
__device__ __forceinline__ u32 pack_bf16(float low, float high) {
#ifdef VIGOR_EMULATION
    return emulation::to_bf16(low) | (u32)emulation::to_bf16(high) << 16;
#else
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
#endif
}

__device__ __forceinline__ u16 to_bf16(float value) {
    return (u16)pack_bf16(value, 0.0f);
}

// The halves of a pair of bf16 values as floats.
__device__ __forceinline__ float bf16_low(u32 packed) {
    return __uint_as_float(packed << 16);
}

__device__ __forceinline__ float bf16_high(u32 packed) {
    return __uint_as_float(packed & 0xffff0000);
}

// d += a · b on the tensor cores: a is 16 × 16 and b is 16 × 8 in bf16, d is 16 × 8 in f32. With group = lane / 4 and
// member = lane % 4, a lane holds
//   a: rows group (a[0], a[2]) and group + 8 (a[1], a[3]); columns 2 member, 2 member + 1 (a[0], a[1]), and these + 8
//   b: column group; rows 2 member, 2 member + 1 (b0), and these + 8 (b1)
//   d: rows group (d[0], d[1]) and group + 8 (d[2], d[3]); columns 2 member, 2 member + 1
// A column of d depends on that column of b alone.
__device__ __forceinline__ void mma(float (&d)[4], const Quad &a, u32 b0, u32 b1) {
#ifdef VIGOR_EMULATION
    const u32 rows[4] = {a.x, a.y, a.z, a.w};
    emulation::mma_m16n8k16(d, rows, b0, b1);
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
#endif
}

// Loads of what no kernel of the same pass writes and nobody reads twice: weights.
__device__ __forceinline__ Quad load_once(const Quad *at) {
#ifdef VIGOR_EMULATION
    return *at;
#else
    Quad v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(at));
    return v;
#endif
}

__device__ __forceinline__ Pair load_once(const Pair *at) {
#ifdef VIGOR_EMULATION
    return *at;
#else
    Pair v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(at));
    return v;
#endif
}

// Asks for memory to be on its way to the second-level cache: a warp for `bytes` bytes from `at` on, a multiple of 16. What
// lies there may still change until it is loaded.
__device__ __forceinline__ void prefetch(const void *at, u32 bytes) {
#ifdef VIGOR_EMULATION
    (void)at, (void)bytes;
#elif __CUDA_ARCH__ >= 900
    if (threadIdx.x % WARP == 0 && bytes > 0)
        asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(at), "r"(bytes) : "memory");
#else
    for (u32 line = threadIdx.x % WARP * 128; line < bytes; line += WARP * 128)
        asm volatile("prefetch.global.L2 [%0];" ::"l"((const u8 *)at + line));
#endif
}

// A load of what another block of the same launch wrote: not from the first-level cache.
__device__ __forceinline__ Pair load_others(const Pair *at) {
#ifdef VIGOR_EMULATION
    return *at;
#else
    Pair v;
    asm volatile("ld.global.cg.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(at) : "memory");
    return v;
#endif
}

// A kernel may start while the one before it in the stream still runs. It may read weights at once, but must call
// `wait_for_previous` before it touches anything that another kernel writes or reads, and before it ends: the one after it
// waits for it alone. `let_next_start` allows the next one to start.
__device__ __forceinline__ void wait_for_previous() {
#if !defined(VIGOR_EMULATION) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void let_next_start() {
#if !defined(VIGOR_EMULATION) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Sums and maxima over the lanes of a warp, the same in every lane; the order of additions is fixed.
__device__ __forceinline__ float warp_sum(float value) {
    for (u32 step = WARP / 2; step > 0; step /= 2)
        value += __shfl_xor_sync(EVERY_LANE, value, step);
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
    for (u32 step = WARP / 2; step > 0; step /= 2)
        value = fmaxf(value, __shfl_xor_sync(EVERY_LANE, value, step));
    return value;
}

// Counts this block among the `blocks` that work on something together. Whether it is the last to arrive: then what
// the others wrote before is visible to all its threads, and the counter is as before, ready for the next launch.
// To be called by all threads of the block. One thread releases what its block wrote and acquires what others released; the
// barriers pass that on to the block.
__device__ __forceinline__ bool arrived_last(u32 *counter, u32 blocks) {
    __shared__ u32 arrived;
    __syncthreads();
    if (threadIdx.x == 0) {
#ifdef VIGOR_EMULATION
        arrived = atomicAdd(counter, 1);
#else
        asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;" : "=r"(arrived) : "l"(counter) : "memory");
#endif
        if (arrived == blocks - 1) *counter = 0;
    }
    __syncthreads();
    return arrived == blocks - 1;
}
