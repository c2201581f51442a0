// Attention of a pass's rows over the pages of keys and values.
//
// Bound by reading keys and values. Rows that share pages (branches of one trunk, neighbours in a prompt) are put together
// in one piece of work, which reads the pages once for all of them, on the tensor cores. The pieces leave unfinished sums,
// which `attention_merge` puts together.
//
// The positions that a row looks at are cut into pages, and the pages before the chunk of its own position into whole chunks.
// A whole chunk leaves one sum, a page of the last chunk one each: branches differ there. So a row's position alone decides
// how its sums are formed, not what it is put together with, and its result does not depend on what else is in the pass,
// to the bit.
#include "layout.cuh"

constexpr u32 CHUNK_PAGES = 4;
constexpr u32 CHUNK = CHUNK_PAGES * PAGE;
constexpr u32 ROWS = 16; // query heads that one product takes

// Some tokens that look at a page.
struct Piece {
    u32 page;
    u32 start; // position of its first slot
    u32 first; // in the list of tokens
    u32 tokens;
};

// What a block does: the pages of a whole chunk for the same tokens, or single pages, each for tokens of its own.
struct Item {
    Piece pieces[CHUNK_PAGES];
};

struct Attention {
    u64 pass;     // Pass
    u64 items;    // Item; those of whole chunks first
    u64 list;     // u32: tokens of the pieces
    u64 lengths;  // u32: positions that a token may look at
    u64 queries;  // bf16: [token][head][dim]
    u64 keys;     // pages of the layer
    u64 values;   // pages of the layer
    u64 sums;     // f32: [token][head][part][dim], not divided
    u64 scales;   // f32 pairs: [token][head][part] maximum and sum of the weights
    u64 out;      // activations, heads × dim a token
    u32 heads;
    u32 kv_heads;
    u32 dim;      // of a head
    float factor; // of a score: log2(e) / sqrt(dim)
};
static_assert(sizeof(Attention) == 96, "as the Rust that launches it has it");

// Sixteen rows (heads of tokens) over one page: what one warp computes. A lane holds two rows.
template <u32 TILES> struct PageSums {
    float maximum[2], weight[2];
    float out[2 * TILES][4];

    __device__ __forceinline__ void compute(const Attention &a, const Quad *keys, const Quad *values,
                                            const u32 *const (&queries)[2], const u32 (&visible)[2]) {
        const u32 member = threadIdx.x % 4;
        maximum[0] = maximum[1] = -INFINITY;
        weight[0] = weight[1] = 0.0f;
#pragma unroll
        for (u32 t = 0; t < 2 * TILES; t++)
#pragma unroll
            for (u32 i = 0; i < 4; i++) out[t][i] = 0.0f;
        // A page that no row of these sixteen sees has not even a number.
        if (!__any_sync(EVERY_LANE, visible[0] > 0 || visible[1] > 0)) return;

        float scores[4][4]; // 4 × 8 positions
#pragma unroll
        for (u32 p = 0; p < 4; p++)
#pragma unroll
            for (u32 i = 0; i < 4; i++) scores[p][i] = 0.0f;
#pragma unroll
        for (u32 t = 0; t < TILES; t++) {
            const Quad q = {queries[0][t * 8 + member], queries[1][t * 8 + member], queries[0][t * 8 + member + 4],
                            queries[1][t * 8 + member + 4]};
#pragma unroll
            for (u32 half = 0; half < 2; half++) {
                const Quad k = keys[(half * TILES + t) * WARP];
                mma(scores[2 * half], q, k.x, k.y);
                mma(scores[2 * half + 1], q, k.z, k.w);
            }
        }
#pragma unroll
        for (u32 p = 0; p < 4; p++)
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                const bool seen = p * 8 + member * 2 + i % 2 < visible[i / 2];
                scores[p][i] = seen ? scores[p][i] * a.factor : -INFINITY;
                maximum[i / 2] = fmaxf(maximum[i / 2], scores[p][i]);
            }
#pragma unroll
        for (u32 i = 0; i < 2; i++) {
            maximum[i] = fmaxf(maximum[i], __shfl_xor_sync(EVERY_LANE, maximum[i], 1));
            maximum[i] = fmaxf(maximum[i], __shfl_xor_sync(EVERY_LANE, maximum[i], 2));
        }
#pragma unroll
        for (u32 p = 0; p < 4; p++)
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                // A row that sees nothing has no maximum to take away.
                scores[p][i] = visible[i / 2] > 0 ? exp2f(scores[p][i] - maximum[i / 2]) : 0.0f;
                weight[i / 2] += scores[p][i];
            }
#pragma unroll
        for (u32 i = 0; i < 2; i++) {
            weight[i] += __shfl_xor_sync(EVERY_LANE, weight[i], 1);
            weight[i] += __shfl_xor_sync(EVERY_LANE, weight[i], 2);
        }
#pragma unroll
        for (u32 half = 0; half < 2; half++) {
            const Quad w = {pack_bf16(scores[2 * half][0], scores[2 * half][1]),
                            pack_bf16(scores[2 * half][2], scores[2 * half][3]),
                            pack_bf16(scores[2 * half + 1][0], scores[2 * half + 1][1]),
                            pack_bf16(scores[2 * half + 1][2], scores[2 * half + 1][3])};
#pragma unroll
            for (u32 t = 0; t < TILES; t++) {
                const Quad v = values[(half * TILES + t) * WARP];
                mma(out[2 * t], w, v.x, v.y);
                mma(out[2 * t + 1], w, v.z, v.w);
            }
        }
    }
};

// A block of CHUNK_PAGES warps, one a page; blockIdx: item, key head. TILES = dim / 16.
template <u32 TILES> __device__ __forceinline__ void attend(const Attention &a) {
    constexpr u32 DIM = TILES * 16, PADDED = DIM + 4;
    __shared__ float maxima[CHUNK_PAGES][ROWS], weights[CHUNK_PAGES][ROWS];
    __shared__ float sums[CHUNK_PAGES][ROWS * PADDED];
    let_next_start();
    // What the pass is about was written before it began: only queries, and the keys and values of its own rows, come from
    // the kernel before this one.
    const Pass *pass = (const Pass *)a.pass;
    const bool is_item = blockIdx.x < pass->items, is_whole = blockIdx.x < pass->whole;
    const u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, group = lane / 4, member = lane % 4;
    const Piece &piece = ((const Item *)a.items)[is_item ? blockIdx.x : 0].pieces[warp];
    const u32 shared = a.heads / a.kv_heads, kv_head = blockIdx.y;
    const u32 rows = piece.tokens * shared, start = piece.start;
    const u32 *list = (const u32 *)a.list + piece.first, *lengths = (const u32 *)a.lengths;
    const size_t page = ((size_t)piece.page * a.kv_heads + kv_head) * PAGE * DIM;
    const Quad *keys = (const Quad *)((const u16 *)a.keys + page) + lane;
    const Quad *values = (const Quad *)((const u16 *)a.values + page) + lane;
    if (is_item && rows > 0) {
        prefetch(keys - lane, PAGE * DIM * (u32)sizeof(u16));
        prefetch(values - lane, PAGE * DIM * (u32)sizeof(u16));
    }
    wait_for_previous();
    if (!is_item) return;
    // Of the sums of a row: that of this chunk, or of this page of the row's own chunk.
    const u32 parts = pass->parts, part = start / CHUNK + (is_whole ? 0 : start % CHUNK / PAGE);

    for (u32 first = 0; first < rows; first += ROWS) {
        // Rows that are not there look at nothing.
        const u32 *queries[2];
        u32 visible[2], at[2];
#pragma unroll
        for (u32 i = 0; i < 2; i++) {
            const u32 row = first + group + 8 * i, token = list[min(row, rows - 1) / shared];
            const u32 length = row < rows ? lengths[token] : 0;
            visible[i] = length > start ? min(length - start, PAGE) : 0;
            at[i] = token * a.heads + kv_head * shared + min(row, rows - 1) % shared;
            queries[i] = (const u32 *)a.queries + (size_t)at[i] * (DIM / 2);
        }
        PageSums<TILES> page_sums;
        page_sums.compute(a, keys, values, queries, visible);

        if (!is_whole) {
#pragma unroll
            for (u32 i = 0; i < 2; i++) {
                if (visible[i] == 0) continue;
                const size_t to = (size_t)at[i] * parts + part;
#pragma unroll
                for (u32 t = 0; t < 2 * TILES; t++)
                    *(Pair *)((float *)a.sums + to * DIM + t * 8 + member * 2) = {
                        __float_as_uint(page_sums.out[t][2 * i]), __float_as_uint(page_sums.out[t][2 * i + 1])};
                if (member == 0)
                    ((Pair *)a.scales)[to] = {__float_as_uint(page_sums.maximum[i]), __float_as_uint(page_sums.weight[i])};
            }
            continue;
        }

        // The pages of the chunk, one after the other.
        if (member == 0)
#pragma unroll
            for (u32 i = 0; i < 2; i++) {
                maxima[warp][group + 8 * i] = page_sums.maximum[i];
                weights[warp][group + 8 * i] = page_sums.weight[i];
            }
#pragma unroll
        for (u32 t = 0; t < 2 * TILES; t++)
#pragma unroll
            for (u32 i = 0; i < 4; i++)
                sums[warp][(group + i / 2 * 8) * PADDED + t * 8 + member * 2 + i % 2] = page_sums.out[t][i];
        __syncthreads();
        for (u32 row = warp; row < ROWS && first + row < rows; row += CHUNK_PAGES) {
            const u32 token = list[(first + row) / shared], head = kv_head * shared + (first + row) % shared;
            float most = -INFINITY, total = 0.0f, factor[CHUNK_PAGES];
#pragma unroll
            for (u32 p = 0; p < CHUNK_PAGES; p++) most = fmaxf(most, maxima[p][row]);
#pragma unroll
            for (u32 p = 0; p < CHUNK_PAGES; p++) {
                factor[p] = exp2f(maxima[p][row] - most);
                total = fmaf(weights[p][row], factor[p], total);
            }
            const size_t to = ((size_t)token * a.heads + head) * parts + part;
            for (u32 d = lane; d < DIM; d += WARP) {
                float sum = 0.0f;
#pragma unroll
                for (u32 p = 0; p < CHUNK_PAGES; p++) sum = fmaf(sums[p][row * PADDED + d], factor[p], sum);
                ((float *)a.sums)[to * DIM + d] = sum;
            }
            if (lane == 0) ((Pair *)a.scales)[to] = {__float_as_uint(most), __float_as_uint(total)};
        }
        __syncthreads();
    }
}

#define ATTENTION(tiles)                                                                                               \
    extern "C" __global__ void __launch_bounds__(128, 4) attention_##tiles(Attention a) { attend<tiles>(a); }              \
    KERNEL(attention_##tiles)

ATTENTION(1)
ATTENTION(2)
ATTENTION(3)
ATTENTION(4)
ATTENTION(5)
ATTENTION(6)
ATTENTION(7)
ATTENTION(8)

// Parts whose sums a lane of `attention_merge` holds at once.
constexpr u32 AT_ONCE = 8;

// Puts the parts of a row together, in their order. A warp for each query head; blockIdx.x: 4 of them. Bound by the
// latency of its few loads, so they are all on their way before the first is needed.
extern "C" __global__ void __launch_bounds__(128) attention_merge(Attention a) {
    let_next_start();
    const Pass pass = *(const Pass *)a.pass;
    const u32 number = blockIdx.x * 4 + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const u32 token = number / a.heads, head = number % a.heads;
    const u32 length = token < pass.tokens ? ((const u32 *)a.lengths)[token] : 0;
    wait_for_previous();
    // The whole chunks before that of its own position, and the pages of that one.
    const u32 parts = length == 0 ? 0 : (length - 1) / CHUNK + (length - 1) % CHUNK / PAGE + 1;
    const Pair *scales = (const Pair *)a.scales + (size_t)number * pass.parts;
    const Quad *sums = (const Quad *)((const float *)a.sums + (size_t)number * pass.parts * a.dim);
    const u32 pieces = a.dim / 4; // of four dimensions each; a lane has one, or none

    float most = -INFINITY;
    for (u32 c = lane; c < parts; c += WARP) most = fmaxf(most, __uint_as_float(scales[c].x));
    most = warp_max(most);
    float total = 0.0f, sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (u32 first = 0; first < parts; first += AT_ONCE) {
        Quad part[AT_ONCE];
        Pair scale[AT_ONCE];
#pragma unroll
        for (u32 i = 0; i < AT_ONCE; i++)
            if (first + i < parts) {
                scale[i] = scales[first + i];
                if (lane < pieces) part[i] = sums[(size_t)(first + i) * pieces + lane];
            }
#pragma unroll
        for (u32 i = 0; i < AT_ONCE; i++)
            if (first + i < parts) {
                const float factor = exp2f(__uint_as_float(scale[i].x) - most);
                total = fmaf(__uint_as_float(scale[i].y), factor, total);
                if (lane < pieces) {
                    sum[0] = fmaf(__uint_as_float(part[i].x), factor, sum[0]);
                    sum[1] = fmaf(__uint_as_float(part[i].y), factor, sum[1]);
                    sum[2] = fmaf(__uint_as_float(part[i].z), factor, sum[2]);
                    sum[3] = fmaf(__uint_as_float(part[i].w), factor, sum[3]);
                }
            }
    }
    if (parts == 0 || lane >= pieces) return;
    u16 *out = (u16 *)a.out;
    const u32 tiles = a.heads * a.dim / 16, at = head * a.dim + lane * 4;
    // Neighbours of an even input are one word.
    *(u32 *)(out + activation_at(token, at, tiles)) = pack_bf16(sum[0] / total, sum[1] / total);
    *(u32 *)(out + activation_at(token, at + 2, tiles)) = pack_bf16(sum[2] / total, sum[3] / total);
}
KERNEL(attention_merge)
