// Kernels of the emulator's own test, right and wrong ones.
#include "device.cuh"

#include "self_test.h"

extern "C" __global__ void multiply(MultiplyArguments args) {
    const u32 lane = threadIdx.x % WARP, group = lane / 4, member = lane % 4;
    const u32 warp = (blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    const u16 *a = args.a + warp * 256, *b = args.b + warp * 128;
    float *out = args.d + warp * 128;
    const auto rows = [&](u32 row, u32 column) { return *(const u32 *)(a + row * 16 + column); };
    const auto columns = [&](u32 row) { return b[row * 8 + group] | (u32)b[(row + 1) * 8 + group] << 16; };
    const Quad left = {rows(group, 2 * member), rows(group + 8, 2 * member), rows(group, 2 * member + 8),
                       rows(group + 8, 2 * member + 8)};
    const u32 b0 = columns(2 * member), b1 = columns(2 * member + 8);
    float d[4] = {out[group * 8 + 2 * member], out[group * 8 + 2 * member + 1], out[(group + 8) * 8 + 2 * member],
                  out[(group + 8) * 8 + 2 * member + 1]};
    for (u32 i = 0; i < args.times; i++)
        mma(d, left, b0, b1);
    out[group * 8 + 2 * member] = d[0];
    out[group * 8 + 2 * member + 1] = d[1];
    out[(group + 8) * 8 + 2 * member] = d[2];
    out[(group + 8) * 8 + 2 * member + 1] = d[3];
}
KERNEL(multiply)

extern "C" __global__ void shuffle(ShuffleArguments args) {
    const u32 lane = threadIdx.x;
    u32 *out = args.out + 8 * lane;
    out[0] = __shfl_sync(EVERY_LANE, lane, (int)lane + 5);
    out[1] = __shfl_xor_sync(EVERY_LANE, lane, 3);
    out[2] = __shfl_down_sync(EVERY_LANE, lane, 2, 8);
    out[3] = __shfl_up_sync(EVERY_LANE, lane, 30);
    out[4] = __ballot_sync(EVERY_LANE, lane % 3 == 0);
    out[5] = __any_sync(EVERY_LANE, lane == 7) + 2 * __all_sync(EVERY_LANE, lane == 7);
    out[6] = (u32)(__shfl_sync(EVERY_LANE, (u64)lane << 40, 9) >> 40);
    // The halves of the warp each on their own.
    const double half = lane < 16 ? __shfl_xor_sync(0xffff, (double)lane, 1) : 0.5;
    out[7] = lane < 16 ? (u32)half : __popc(__ballot_sync(0xffff0000, lane & 1));
}
KERNEL(shuffle)

// Sums within the warp, the block and, by the last block, all blocks.
extern "C" __global__ void sum(SumArguments args) {
    DYNAMIC_SHARED(float, warp_sums);
    const u32 at = blockIdx.x * blockDim.x + threadIdx.x;
    const float of_warp = warp_sum(at < args.count ? args.values[at] : 0.0f);
    if (threadIdx.x % WARP == 0) warp_sums[threadIdx.x / WARP] = of_warp;
    __syncthreads();
    if (threadIdx.x == 0) {
        float of_block = 0.0f;
        for (u32 w = 0; w < blockDim.x / WARP; w++)
            of_block += warp_sums[w];
        args.block_sums[blockIdx.x] = of_block;
    }
    if (arrived_last(args.counter, gridDim.x) && threadIdx.x == 0) {
        float all = 0.0f;
        for (u32 b = 0; b < gridDim.x; b++)
            all += args.block_sums[b];
        *args.sum = all;
    }
}
KERNEL(sum)

// As `sum` within a block, but without the barrier.
extern "C" __global__ void sum_without_barrier(SumArguments args) {
    DYNAMIC_SHARED(float, warp_sums);
    const float of_warp = warp_sum(args.values[threadIdx.x]);
    if (threadIdx.x % WARP == 0) warp_sums[threadIdx.x / WARP] = of_warp;
    if (threadIdx.x == 0) {
        float of_block = 0.0f;
        for (u32 w = 0; w < blockDim.x / WARP; w++)
            of_block += warp_sums[w];
        *args.sum = of_block;
    }
}
KERNEL(sum_without_barrier)

extern "C" __global__ void add(AddArguments args) {
    atomicAdd(args.at, args.value);
}
KERNEL(add)

extern "C" __global__ void read_at(AccessArguments args) {
    if (threadIdx.x == 3) args.at[0] = args.at[args.index];
}
KERNEL(read_at)

extern "C" __global__ void write_shared_at(AccessArguments args) {
    DYNAMIC_SHARED(u32, shared);
    shared[args.index] = threadIdx.x;
}
KERNEL(write_shared_at)

__device__ __noinline__ u32 deep(u32 depth) {
    volatile u32 local[256];
    local[depth % 256] = depth;
    return depth ? deep(depth - 1) + local[depth % 256] : 0;
}

extern "C" __global__ void recurse(AccessArguments args) {
    args.at[0] = deep((u32)args.index);
}
KERNEL(recurse)

extern "C" __global__ void leave_early(AccessArguments args) {
    if (threadIdx.x == 4) return;
    args.at[0] = (u32)warp_sum(1.0f);
}
KERNEL(leave_early)

extern "C" __global__ void differ(AccessArguments args) {
    args.at[0] = threadIdx.x < 5 ? __ballot_sync(EVERY_LANE, 1) : __shfl_sync(EVERY_LANE, 1u, 0);
}
KERNEL(differ)

extern "C" __global__ void hang(AccessArguments args) {
    if (threadIdx.x < 5)
        __syncthreads();
    else
        __syncwarp();
    args.at[0] = 1;
}
KERNEL(hang)

extern "C" __global__ void two_barriers(AccessArguments args) {
    if (threadIdx.x < WARP)
        __syncthreads();
    else
        __syncthreads();
    args.at[0] = 1;
}
KERNEL(two_barriers)

// Each thread adds what its neighbour wrote in the round before; threads from `skip` on have returned.
extern "C" __global__ void rounds(BarrierArguments args) {
    __shared__ u32 values[1024];
    const u32 t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    if (t >= args.skip) return;
    values[t] = t;
    for (u32 round = 0; round < args.rounds; round++) {
        __syncthreads();
        const u32 next = values[(t + 1) % args.skip];
        __syncthreads();
        values[t] += next;
    }
    args.out[t] = values[t];
}
KERNEL(rounds)

extern "C" __global__ void switches(BarrierArguments args) {
    for (u32 round = 0; round < args.rounds; round++)
        __syncwarp();
    args.out[threadIdx.x] = threadIdx.x;
}
KERNEL(switches)
